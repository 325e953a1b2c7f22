"""Files of this machine that are rewritten in place under a mount, with the time of their content put back.

Nothing but the time of the last change tells of it, which nobody can set. A read gives bytes of one version, or EIO.
"""

import concurrent.futures
import errno
import json
import os
import random
import threading

import pytest

import dm_files
import expected
import reference_volumes
from mounting import configuration, mounted
from readers import read_file

SHAPE = (32, 256, 512)


def tiff(folder, seed):
    voxels = reference_volumes.noise(SHAPE, "u1", seed)
    reference_volumes.imagej(folder, "v", SHAPE, "u1", seed)
    return voxels, {"kind": "tiff", "url": f"{folder}/v.tif"}


def stack(folder, seed):
    voxels = reference_volumes.noise(SHAPE, "u1", seed)
    dm_files.write(folder / "v.dm4", voxels, 4)
    return voxels, {"kind": "dm3", "url": f"{folder}/v.dm4"}


def sections(folder, seed):
    voxels = reference_volumes.noise((40, 30, 40), "u1", seed)
    for z, plane in enumerate(voxels):
        dm_files.write(folder / "v" / f"slice_{z:03}.dm3", plane, 3)
    return voxels, {"kind": "dm3", "url": f"{folder}/v", "chunk": [1, 16, 16]}


def zarr(folder, seed):
    volume = reference_volumes.zarr_group(folder, "v", shape=(64, 64, 128), dtype="|u1", chunks=(16, 16, 16), levels=1, seed=seed, compressors=None)
    return volume.levels[0], {"kind": "zarr", "url": f"{folder}/v.zarr"}


#: How a volume is made; which of its files holds a chunk.
KINDS = {"tiff": (tiff, lambda _: 0), "dm-stack": (stack, lambda _: 0), "dm-sections": (sections, lambda index: index[0]), "zarr": (zarr, lambda index: index)}
TIMES = ["before anything", "once it is described", "after half of it", "while it is read"]
#: A file of the first two kinds is written in pieces, those of others in one go: what was left half written is a version too.
PIECE = 1 << 16


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rewrite(folder, files):
    """Writes the files' new bytes over the old ones and puts their times back after each piece."""
    for path, content in files.items():
        descriptor = os.open(folder / path, os.O_WRONLY)
        try:
            times = os.fstat(descriptor)
            assert times.st_size == len(content)
            for at in range(0, len(content), PIECE):
                os.pwrite(descriptor, content[at:at + PIECE], at)
                os.utime(descriptor, ns=(times.st_atime_ns, times.st_mtime_ns))
            assert os.fstat(descriptor).st_mtime_ns == times.st_mtime_ns
        finally:
            os.close(descriptor)


def read(store, indices, chunk, versions):
    """(index, "a", "b" or "EIO") of each chunk; anything else fails."""
    def one(index):
        try:
            data = read_file(store / "s0" / expected.chunk_path(index))
        except OSError as error:
            assert error.errno == errno.EIO
            return index, "EIO"
        for name, voxels in versions.items():
            if data == expected.chunk_bytes(voxels, chunk, index):
                return index, name
        raise AssertionError(f"chunk {index} is neither of the one version nor of the other")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, indices))


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_rewritten_in_place_is_read_of_one_version_or_not_at_all(tmp_path, kind, time, long):
    make, file_of = KINDS[kind]
    voxels, files = {}, {}
    for seed, name in enumerate("ba"):
        (tmp_path / name).mkdir()
        voxels[name], source = make(tmp_path / name, seed)
        files[name] = contents(tmp_path / name)
    assert files["a"].keys() == files["b"].keys()
    random.seed(time)
    for number in range(20 if long else 3):
        rewrite(tmp_path / "a", files["a"])
        with mounted(tmp_path / str(number), configuration({"v": source}), timeout=10) as mount:
            store = mount / "v" / "em.zarr"
            if time == "before anything":
                rewrite(tmp_path / "a", files["b"])
            chunk = json.loads((store / "s0" / ".zarray").read_text())["chunks"]
            indices = list(expected.chunk_indices(voxels["a"].shape, chunk))
            random.shuffle(indices)
            half = len(indices) // 2
            if time == "once it is described":
                rewrite(tmp_path / "a", files["b"])
            if time == "while it is read":
                writer = threading.Thread(target=rewrite, args=(tmp_path / "a", files["b"]))
                writer.start()
                found = read(store, indices, chunk, voxels)
                writer.join()
            else:
                found = read(store, indices[:half], chunk, voxels)
                if time == "after half of it":
                    rewrite(tmp_path / "a", files["b"])
                found += read(store, indices[half:], chunk, voxels)
            versions = {}
            for index, version in found:
                if version != "EIO":
                    assert versions.setdefault(file_of(index), version) == version, found
            seen = [version for _, version in found]
            if time == "before anything":
                assert set(seen) == {"b"}
            if time == "after half of it":
                assert set(seen[:half]) == {"a"}
            if time == "once it is described" and kind in ("tiff", "dm-stack"):
                assert set(seen) == {"EIO"} and "changed at the origin, remount" in mount.log
