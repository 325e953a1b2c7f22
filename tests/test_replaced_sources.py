"""Files that are replaced at their origin: after one was found to have changed, a later mount shows no old one beside a new one."""

import itertools
import json
import shutil

import numpy as np
import pytest
import tifffile

import reference_volumes
from mounting import configuration, mounted
from origin import Origin

SHAPE = (32, 64, 64)


@pytest.fixture
def versions(tmp_path):
    """Two folders with a series of sections and a store of chunks, whose voxels are even in one and odd in the other."""
    folders = []
    for number in range(2):
        folder = tmp_path / str(number)
        voxels = (np.random.default_rng(3).integers(1, 120, SHAPE, dtype=np.uint8) * 2 + number).astype("u1")
        (folder / "sections").mkdir(parents=True)
        for z, plane in enumerate(voxels):
            tifffile.imwrite(folder / "sections" / f"s_{z:03}.tif", plane)
        store = reference_volumes.zarr_group(folder, "store", shape=SHAPE, dtype="u1", chunks=(8, 32, 32), levels=1, seed=number)
        folders.append((folder, {"sections": voxels, "store": store.levels[0]}))
    return folders


def read(store, indices=None):
    """The version of each chunk that can be read."""
    array = json.loads((store / "s0" / ".zarray").read_text())
    counts = [range(-(-extent // chunk)) for extent, chunk in zip(array["shape"], array["chunks"], strict=True)]
    found = {}
    for index in indices or list(itertools.product(*counts)):
        try:
            found[index] = (store / "s0" / "/".join(map(str, index))).read_bytes()
        except OSError:
            found[index] = "error"
    return found


def parity(chunks):
    return {"error" if chunk == "error" else max(chunk) % 2 for chunk in chunks.values()}


def test_sections_that_were_replaced_are_all_new_after_a_remount(versions, tmp_path):
    source = {"kind": "tiff", "url": "{origin}/sections/"}
    with Origin(versions[0][0]) as origin:
        config = configuration({"v": {"kind": source["kind"], "url": source["url"].replace("{origin}", origin.url)}})
        with mounted(tmp_path / "first", config, cache=tmp_path / "cache", timeout=10) as mount:
            store = mount / "v" / "em.zarr"
            first = read(store)
            assert parity(first) == {0}
        shutil.rmtree(tmp_path / "cache")
        with mounted(tmp_path / "second", config, cache=tmp_path / "cache", timeout=10) as mount:
            store = mount / "v" / "em.zarr"
            assert parity(read(store, [(0, 0, 0)])) == {0}
            origin.root = versions[1][0].resolve()
            found = read(store)
            assert parity(found) <= {0, "error"}
            assert "changed at the origin, remount" in mount.log
        with mounted(tmp_path / "third", config, cache=tmp_path / "cache", timeout=10) as mount:
            assert parity(read(mount / "v" / "em.zarr")) == {1}


def test_a_store_of_which_one_chunk_was_found_replaced_is_all_new_in_later_mounts(versions, tmp_path):
    with Origin(versions[0][0]) as origin:
        volume = reference_volumes.zarr_group(tmp_path / "other", "store", shape=SHAPE, dtype="u1", chunks=(8, 32, 32), levels=1, seed=5)
        config = configuration({"v": json.loads(json.dumps(volume.source).replace("{origin}", origin.url))})
        with mounted(tmp_path / "first", config, cache=tmp_path / "cache", timeout=10) as mount:
            old = read(mount / "v" / "em.zarr")
        origin.root = versions[1][0].resolve()
        with mounted(tmp_path / "second", config, "--revalidate", cache=tmp_path / "cache", timeout=10) as mount:
            one = read(mount / "v" / "em.zarr", [(0, 0, 0)])
            assert one[0, 0, 0] != old[0, 0, 0]
        with mounted(tmp_path / "third", config, cache=tmp_path / "cache", timeout=10) as mount:
            new = read(mount / "v" / "em.zarr")
        expected = versions[1][1]["store"]
        assert new.keys() == old.keys()
        for (z, y, x), chunk in new.items():
            box = np.s_[8 * z:8 * z + 8, 32 * y:32 * y + 32, 32 * x:32 * x + 32]
            np.testing.assert_array_equal(np.frombuffer(chunk, "u1").reshape(8, 32, 32), expected[box])
