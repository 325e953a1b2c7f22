"""What has no name is not confirmed by its length: bodies without ETag and date, and objects that get a name later."""

import concurrent.futures
import contextlib
import os

import numpy as np
import pytest

import expected
import namings
import reference_volumes
from cached_scene import read
from mounting import configuration, mounted, wait_for
from origin import Fault, Origin

CHUNK = (64, 64, 80)  # 320 KiB as they are stored
SHAPE = (64, 128, 160)


@pytest.fixture
def group(tmp_path):
    """An uncompressed Zarr group at an origin that names no version, and a way to change all its voxels at equal length."""
    root = tmp_path / "files"
    root.mkdir()
    old = reference_volumes.zarr_group(root, "em", shape=SHAPE, dtype="|u1", chunks=CHUNK, levels=1, seed=1, compressors=None)
    new = 255 - old.levels[0]
    new[new == 0] = 77

    def change():
        import zarr

        zarr.open_group(root / "em.zarr", mode="r+")["s0"][...] = new

    with Origin(root, naming=namings.nameless) as origin:
        config = configuration({"em": reference_volumes.source_at(old, origin)}, {"stall": 60.0})
        yield origin, config, {"old": old.levels[0], "new": new}, change


def version_of(data, versions, chunk, index):
    """Which version the bytes of a chunk are of; an errno's name as it is."""
    if isinstance(data, str):
        return data
    return next((name for name, voxels in versions.items() if data == expected.chunk_bytes(voxels, chunk, index)), "a mixture")


def versions_read(mount, versions, chunk=CHUNK, store="em.zarr"):
    return {version_of(read(mount / "em" / store / "s0" / expected.chunk_path(index)), versions, chunk, index)
            for index in expected.chunk_indices(SHAPE, chunk)}


def test_a_nameless_body_that_changed_at_equal_length_is_new_after_revalidation(group, tmp_path):
    _, config, versions, change = group
    cache = tmp_path / "cache"
    with mounted(tmp_path, config, cache=cache, timeout=5) as mount:
        assert versions_read(mount, versions) == {"old"}
    change()
    with mounted(tmp_path, config, "--revalidate", cache=cache, timeout=5) as mount:
        assert versions_read(mount, versions) == {"new"}
    with mounted(tmp_path, config, "--offline", cache=cache, timeout=5) as mount:
        assert versions_read(mount, versions) == {"new"}, "what was found to be old is kept no longer"


def test_under_a_mount_a_nameless_body_that_changed_is_one_version_or_an_error(group, tmp_path):
    origin, config, versions, change = group
    for cache in (tmp_path / "cache", None):
        with mounted(tmp_path / str(bool(cache)), config, cache=cache, timeout=5) as mount:
            first = (0, 0, 0)
            assert version_of(read(mount / "em/em.zarr/s0/0/0/0"), versions, CHUNK, first) in versions
            change()
            # The same body by many small chunks, which the kernel has not seen.
            small = (16, 16, 20)
            found = {}
            for index in expected.chunk_indices(SHAPE, small):
                data = read(mount / "em/em.chunk-16x16x20.zarr/s0" / expected.chunk_path(index))
                body = tuple(i * s // c for i, s, c in zip(index, small, CHUNK, strict=True))
                found.setdefault(body, set()).add(version_of(data, versions, small, index))
            for body, read_as in found.items():
                assert len(read_as - {"EIO"}) <= 1 and "a mixture" not in read_as, (body, read_as)


@pytest.mark.parametrize("kind", ["close", "short", "stall"])
def test_a_nameless_body_that_breaks_off_and_changes_before_the_second_try_is_no_mixture(group, tmp_path, kind):
    origin, config, versions, change = group
    with mounted(tmp_path, config.replace("stall = 60.0", "stall = 1.0"), timeout=4) as mount:
        (mount / "em/em.zarr/s0/.zarray").read_bytes()
        broken = []

        def choose(request):
            if broken:
                if len(broken) == 1:
                    broken.append(request)
                    change()
                return None
            broken.append(request)
            return Fault(kind)

        origin.fault = choose
        found = version_of(read(mount / "em/em.zarr/s0/0/1/1"), versions, CHUNK, (0, 1, 1))
        assert found in ("old", "new", "EIO") and len(broken) == 2


def test_a_change_between_the_readers_of_many_chunks_mixes_no_chunk(group, tmp_path):
    origin, config, versions, change = group
    origin.latency = 0.05
    with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=5) as mount, concurrent.futures.ThreadPoolExecutor(1) as pool:
        (mount / "em/em.zarr/s0/.zarray").read_bytes()
        reading = pool.submit(versions_read, mount, versions)
        wait_for(lambda: origin.count("/s0/") > 2, 10, "some requests")
        change()
        assert reading.result() <= {"old", "new", "EIO"}


@contextlib.contextmanager
def stack_with_names(tmp_path):
    """A stack in one file at an origin whose answers have the ETag in `said`: `origin, config, volume, said`."""
    root = tmp_path / "files"
    root.mkdir()
    volume = reference_volumes.itk(root, "em", (40, 500, 520), "u1", 1)
    said = {"ETag": None}
    with Origin(root, naming=lambda file, stat: [("ETag", said["ETag"])] if said["ETag"] else []) as origin:
        yield origin, configuration({"em": reference_volumes.source_at(volume, origin)}, {"stall": 60.0}), volume, said


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not-kept"])
def test_an_object_whose_first_answer_had_no_name_gets_one_later_and_keeps_it(tmp_path, kept):
    with stack_with_names(tmp_path) as (origin, config, volume, said), mounted(
            tmp_path, config, cache=tmp_path / "cache" if kept else None, timeout=5) as mount:
        def chunk(*index):
            found = read(mount / "em" / "em.zarr" / "s0" / expected.chunk_path(index))
            return "right" if found == expected.chunk_bytes(volume.levels[0], volume.chunk[0], index) else found

        (mount / "em" / "em.zarr" / ".zattrs").read_bytes()
        said["ETag"] = '"a"'
        assert chunk(0, 1, 1) == "right"
        said["ETag"] = '"b"'
        assert chunk(1, 3, 3) == "EIO"
        wait_for(lambda: "changed at the origin" in mount.log, 5, "a line in the log")
        said["ETag"] = '"a"'
        wait_for(lambda: chunk(1, 3, 3) == "right", 20, "recovery")


def test_a_file_of_this_machine_whose_date_is_put_back_is_never_a_mixture(tmp_path):
    volume = reference_volumes.itk(tmp_path, "em", (40, 500, 520), "u1", 1)
    file = tmp_path / "em.tif"
    old = volume.levels[0]
    with mounted(tmp_path, configuration({"em": {"kind": "tiff", "url": str(file), "voxel_size": [5, 5, 5]}}), timeout=5) as mount:
        (mount / "em" / "em.zarr" / "s0" / "0/0/0").read_bytes()
        before = file.stat()
        data = bytearray(file.read_bytes())
        for page in old:
            at = data.find(page.tobytes()[:64])
            data[at:at + page.nbytes] = (page ^ 0xFF).tobytes()
        with open(file, "r+b") as opened:
            opened.write(data)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.stat().st_mtime_ns == before.st_mtime_ns
        versions = {"old": old, "new": old ^ 0xFF}
        found = {version_of(read(mount / "em" / "em.zarr" / "s0" / expected.chunk_path(index)), versions, volume.chunk[0], index)
                 for index in expected.chunk_indices(old.shape, volume.chunk[0]) if index[0] > 0}
        assert found == {"EIO"}, "pages of which none was read before"
    with mounted(tmp_path, configuration({"em": {"kind": "tiff", "url": str(file), "voxel_size": [5, 5, 5]}}), timeout=5) as mount:
        assert np.frombuffer((mount / "em" / "em.zarr" / "s0" / "0/0/0").read_bytes(), "u1").any()
