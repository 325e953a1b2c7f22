"""Pages of one strip of deflate, LZW or Zstandard that is too long to be unpacked as a whole, as tifffile, imagecodecs and zlib write them."""

import errno
import json
import re
import time
import zlib

import imagecodecs
import numpy as np
import pytest
import tensorstore
import tifffile

import reference_volumes
from mounting import configuration, emfs, mounted
from origin import Fault, Origin
from readers import assert_equal

SIDE = 4200  # of planes of 16 bits: 35 MB


def opened(mount, name):
    return tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": f"{mount / name}/em.zarr/s0/"}}, read=True).result()


def grainy(seed):
    """A plane of 16 bits that deflate makes about half as long."""
    tile = reference_volumes.texture((1, 700, 700), "uint8", seed)[0].astype("u2")
    return np.tile(tile * 3, (SIDE // 700, SIDE // 700)) + np.random.default_rng(seed).integers(0, 40, (SIDE, SIDE), "u2")


def ranges(origin):
    return [(request.path, request.range) for request in origin.requests if request.method == "GET" and request.range]


PACKED = {"adobe_deflate": lambda rows: zlib.compress(rows, 1), "lzw": imagecodecs.lzw_encode, "zstd": lambda rows: imagecodecs.zstd_encode(rows, 3)}


def write(file, planes, compression="zlib", predictor=2, byteorder=">"):
    """Offset and length of the strip of each page."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(file, byteorder=byteorder) as writer:
        for plane in planes:
            writer.write(plane, compression=compression, predictor=predictor, rowsperstrip=SIDE, photometric="minisblack", metadata=None, contiguous=False)
    with tifffile.TiffFile(file) as written:
        assert all(len(page.dataoffsets) == 1 for page in written.pages)
        return [(page.dataoffsets[0], page.databytecounts[0]) for page in written.pages]


@pytest.mark.parametrize("compression", list(PACKED))
def test_strips_that_are_longer_than_the_memory_are_read_within_it(tmp_path, long, compression):
    """As long as those of a plane of 196 MB, through all pages, with less memory than one of them takes."""
    side = 14000 if long else 7000
    # Rows that come again within what deflate looks back to, so that little is read.
    pattern = np.random.default_rng(1).integers(1, 200, (28000 // side, side), "u1")
    plane = np.tile(pattern, (side // len(pattern), 1))
    with tifffile.TiffWriter(tmp_path / "v.tif", bigtiff=True) as writer:
        for z in range(16):
            packed = PACKED[compression]((plane + np.uint8(z)).tobytes())
            writer.write(iter([packed]), shape=plane.shape, dtype="u1", compression=compression, rowsperstrip=side, photometric="minisblack",
                         contiguous=False, metadata=None)
    with mounted(tmp_path / "m", configuration({"v": {"kind": "tiff", "url": str(tmp_path / "v.tif"), "voxel_size": [50, 8, 8]}}), timeout=60,
                 memory="64M") as mount:
        store = opened(mount, "v")
        before = mount.rss()
        rows, columns = slice(side // 2, side // 2 + 20), slice(side // 3, side // 3 + 600)
        expected = np.stack([plane[rows, columns] + np.uint8(z) for z in range(16)])
        assert_equal(store[:, rows, columns].read().result(), expected, "through all pages")
        assert_equal(store[3, :, columns].read().result(), plane[:, columns] + np.uint8(3), "all rows of a page")
        assert mount.peak() - before < (64 + 40) << 20, "no more than the memory, the places at which strips are entered, and buffers"


@pytest.mark.parametrize("compression", list(PACKED))
def test_a_small_file_that_unpacks_to_a_gigabyte_is_read_within_the_memory(tmp_path, long, compression):
    height, width = (32768 if long else 12000), 32767
    plane = np.zeros((height, width), "u1")
    plane[height // 2, 1000:2000] = np.arange(1000) % 256
    tifffile.imwrite(tmp_path / "v.tif", plane, compression=compression, rowsperstrip=height, photometric="minisblack", metadata=None)
    assert (tmp_path / "v.tif").stat().st_size < 5 << 20
    with mounted(tmp_path / "m", configuration({"v": {"kind": "tiff", "url": str(tmp_path / "v.tif"), "voxel_size": [50, 8, 8]}}), timeout=60,
                 memory="64M") as mount:
        store = opened(mount, "v")
        for rows in [slice(0, 10), slice(height - 10, height), slice(height // 2 - 5, height // 2 + 5)]:
            assert_equal(store[0, rows, :3000].read().result(), plane[rows, :3000], f"rows {rows}")
        assert mount.peak() < (64 + 100) << 20, "no more than `--memory` and 100 MiB"


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
@pytest.mark.parametrize("dtype, predictor, byteorder", [("u2", 1, "<"), ("u2", 2, "<"), ("f4", 3, ">"), ("f4", 3, "<"), ("u4", 2, ">")])
def test_rows_of_long_strips_are_those_that_were_written(tmp_path, compression, dtype, predictor, byteorder):
    side = 3100 if dtype[1] == "4" else SIDE
    plane = grainy(3)[:side, :side].astype(dtype)
    write(tmp_path / "v.tif", [plane], compression, predictor, byteorder)
    config = configuration({"v": {"kind": "tiff", "url": str(tmp_path / "v.tif"), "voxel_size": [50, 8, 8]}})
    with mounted(tmp_path / "m", config, timeout=60, memory="64M") as mount:
        store = opened(mount, "v")
        assert_equal(store[0, side - 300:, 100:300].read().result(), plane[side - 300:, 100:300], "the last rows first")
        assert_equal(store[0].read().result(), plane, "all of it")


@pytest.mark.parametrize("is_folder, compression", [(False, "zlib"), (True, "zlib"), (False, "lzw"), (False, "zstd")])
def test_long_strips_are_fetched_once_where_they_are_kept(tmp_path, is_folder, compression):
    root = tmp_path / "files"
    voxels = np.stack([grainy(seed) for seed in range(2)])
    if is_folder:
        places = [write(root / "v" / f"s_{z}.tif", [plane])[0] for z, plane in enumerate(voxels)]
    else:
        places = write(root / "v.tif", voxels, compression)
    length = sum(count for _, count in places)
    assert length > 20 << 20, "there is something to fetch"
    with Origin(root) as origin:
        url = f"{origin.url}/v/" if is_folder else f"{origin.url}/v.tif"
        config = configuration({"v": {"kind": "tiff", "url": url, "voxel_size": [50, 8, 8]}})
        (tmp_path / "c.toml").write_text(config)
        located = emfs("locate", "v/em.zarr/s0/1/7/0", "--config", tmp_path / "c.toml", "--cache-dir", tmp_path / "cache", "--json")
        assert {(block["start"], block["length"]) for block in json.loads(located.stdout)["blocks"]} == {places[1]}
        assert sum(end - start for _, (start, end) in ranges(origin)) < 1 << 20, "a place is told without reading what is there"
        with mounted(tmp_path / "m", config, timeout=60, memory="64M", cache=tmp_path / "cache") as mount:
            store = opened(mount, "v")
            # Rows in no order, and bands that are begun and ended in between.
            for rows in [slice(3000, 3300), slice(0, 10), slice(4100, SIDE)]:
                assert_equal(store[:, rows, 1000:1300].read().result(), voxels[:, rows, 1000:1300], f"rows {rows}")
            assert_equal(store.read().result(), voxels, "all of it")
            fetched = sum(min(end, (root / path.lstrip("/")).stat().st_size) - start for path, (start, end) in ranges(origin))
            # What the disk was too slow to take is fetched again.
            assert length <= fetched < 1.15 * length + (1 << 20), "hardly a byte twice"


def test_a_damaged_long_strip_is_an_error_and_takes_nothing_along(tmp_path):
    root = tmp_path / "files"
    voxels = [grainy(seed) for seed in range(3)]
    offset, length = write(root / "v.tif", voxels)[1]
    with open(root / "v.tif", "r+b") as file:
        file.seek(offset + length - 3000)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 16]))
    with Origin(root) as origin:
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [50, 8, 8]}})
        with mounted(tmp_path / "m", config, timeout=60) as mount:
            chunks = mount / "v" / "em.zarr" / "s0"
            names = sorted(path.relative_to(chunks / "1") for path in (chunks / "1").rglob("*") if path.is_file())
            assert len(names) > 16
            for name in [names[0], names[-1]]:
                # What lies before the damage is not given either: no checksum bears it out.
                with pytest.raises(OSError) as raised:
                    (chunks / "1" / name).read_bytes()
                assert raised.value.errno == errno.EIO
            store = opened(mount, "v")
            for z in (0, 2):
                assert_equal(store[z].read().result(), voxels[z], f"plane {z}")
            told = [line for line in mount.log.splitlines() if "v.tif: page 1" in line and "deflate" in line]
            assert told, mount.log


def test_who_goes_through_long_strips_keeps_nothing_from_others(tmp_path):
    """Neither the memory for documents nor a turn at decoding: another dataset of the same host opens, one of this machine is read."""
    root = tmp_path / "files"
    write(root / "v.tif", [grainy(seed) for seed in range(2)] * 4)
    small = reference_volumes.noise((16, 64, 64), "u1", 1)
    tifffile.imwrite(root / "small.tif", small, photometric="minisblack", metadata=None)
    with Origin(root) as origin:
        slow = {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [50, 8, 8]}
        others = {"near": {"kind": "tiff", "url": str(root / "small.tif")}, "far": {"kind": "tiff", "url": f"{origin.url}/small.tif"}}
        with mounted(tmp_path / "m", configuration({"v": slow, **others}), timeout=60) as mount:
            store = opened(mount, "v")
            origin.fault = lambda request: Fault("delay", seconds=3) if request.path.endswith("v.tif") else None
            reads = [store[z, :100, :100].read() for z in range(8)]
            began = time.monotonic()
            for name in others:
                # Not by TensorStore, which waits for its own reads.
                assert (mount / name / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes() == small.tobytes()
            assert time.monotonic() - began < 20, "they wait for nobody"
            origin.fault = None
            for read in reads:
                read.result()


def test_estimates_count_a_long_strip_once(tmp_path):
    root = tmp_path / "files"
    length = sum(count for _, count in write(root / "v.tif", [grainy(seed) for seed in range(2)]))
    with Origin(root) as origin:
        (tmp_path / "c.toml").write_text(configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [50, 8, 8]}}))
        told = emfs("export", "v/em.zarr", tmp_path / "copy.zarr", "--dry-run", "--config", tmp_path / "c.toml", "--cache-size", "0").stdout
        mebibytes = float(re.search(r"([0-9.]+) MiB on the wire", told)[1])
        assert 0.95 * length < mebibytes * (1 << 20) < 1.1 * length, told
