"""Objects that are stored compressed or framed, by servers and in files, and what the system says of files."""

import errno
import gzip
import os
import shutil
import time

import brotli
import numcodecs
import numpy as np
import pytest

import readers
from mounting import configuration, mounted
from origin import Fault, Origin
from test_tolerance import write
from write_raw import write_raw

SHAPE = (21, 18, 25)
#: `Content-Encoding`: what undoes it is by whoever made the bytes.
CODINGS = ["", "identity", "aws-chunked", "gzip", "aws-chunked,gzip", "aws-chunked, gzip", "br", "zstd", "aws-chunked,br"]


def compressed(data, coding):
    for name in coding.replace(" ", "").split(","):
        if name == "gzip":
            data = gzip.compress(data)
        elif name == "br":
            data = brotli.compress(data)
        elif name == "zstd":
            data = numcodecs.Zstd(1).encode(data)
    return data


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return folder, write_raw(folder / "v", SHAPE, "uint16", (8, 8, 8))


def coded(coding):
    def alter(request, answer, origin):
        if answer.status != 200:
            return answer
        return type(answer)(200, [*answer.headers, ("Content-Encoding", coding)], compressed(answer.body, coding))

    return lambda request: Fault("altered", alter=alter)


@pytest.mark.parametrize("coding", CODINGS)
def test_whole_objects_are_read_however_their_server_says_they_are_coded(volume, tmp_path, coding):
    folder, voxels = volume
    with Origin(folder) as origin:
        origin.fault = coded(coding)
        with mounted(tmp_path, configuration({"v": {"kind": "precomputed", "url": f"{origin.url}/v"}}), timeout=5) as mount:
            np.testing.assert_array_equal(readers.zarr_array(mount / "v" / "em.zarr", 0, False), voxels)


@pytest.mark.parametrize("coding", ["deflate", "gzip,br", "zst"])
def test_a_coding_that_is_not_undone_is_named(volume, tmp_path, coding):
    folder, _ = volume
    with Origin(folder) as origin, mounted(tmp_path, configuration({"v": {"kind": "precomputed", "url": f"{origin.url}/v"}}), timeout=30) as mount:
        origin.fault = coded(coding)
        with pytest.raises(OSError):
            (mount / "v" / "em.zarr" / ".zattrs").read_bytes()
        assert f"Content-Encoding `{coding}`" in mount.log


def test_a_bomb_is_refused_and_takes_no_memory(volume, tmp_path):
    folder, _ = volume
    bombs = {"gzip": gzip.compress(bytes(1 << 28), 1), "zstd": bytes.fromhex("28b52ffde0000000000001000001") + bytes(16),
             "br": bytes.fromhex("cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bdffe3ffff1ffc1300715800a07bff37")}
    with Origin(folder) as origin, mounted(tmp_path, configuration({"v": {"kind": "precomputed", "url": f"{origin.url}/v"}}), timeout=3, memory="64M") as mount:
        store = mount / "v" / "em.zarr"
        (store / ".zattrs").read_bytes()
        for number, (coding, bomb) in enumerate(bombs.items()):
            def alter(request, answer, origin, coding=coding, bomb=bomb):
                return type(answer)(200, [("Content-Encoding", coding)], bomb)

            origin.fault = lambda request, alter=alter: Fault("altered", alter=alter)
            before = mount.rss()
            with pytest.raises(OSError):
                readers.read_file(store / "s0" / "0" / "0" / str(number))
            assert mount.rss() - before < 100 << 20


@pytest.mark.parametrize("ending", ["gz", "br", "zstd"])
@pytest.mark.parametrize("which", ["info", "chunks", "both"])
def test_files_with_the_ending_of_their_compression_are_read(volume, tmp_path, ending, which):
    folder, voxels = volume
    shutil.copytree(folder / "v", tmp_path / "v")
    files = [tmp_path / "v" / "info"] if which != "chunks" else []
    files += sorted((tmp_path / "v" / "s0").iterdir()) if which != "info" else []
    for file in files:
        data = compressed(file.read_bytes(), {"gz": "gzip"}.get(ending, ending))
        file.with_name(f"{file.name}.{ending}").write_bytes(data)
        file.unlink()
    expected = voxels.copy()
    if which != "info":
        # One is absent in whichever way, another is cut.
        next((tmp_path / "v" / "s0").glob("0-8_0-8_0-8*")).unlink()
        expected[:8, :8, :8] = 0
    with mounted(tmp_path, configuration({"v": {"kind": "precomputed", "url": str(tmp_path / "v")}}), timeout=5) as mount:
        store = mount / "v" / "em.zarr"
        np.testing.assert_array_equal(readers.zarr_array(store, 0, False), expected)


@pytest.mark.parametrize("ending", ["gz", "br", "zstd"])
def test_a_compressed_file_that_is_cut_is_an_error(volume, tmp_path, ending):
    folder, _ = volume
    shutil.copytree(folder / "v", tmp_path / "v")
    file = next((tmp_path / "v" / "s0").glob("8-16_0-8_0-8"))
    file.with_name(f"{file.name}.{ending}").write_bytes(compressed(file.read_bytes(), {"gz": "gzip"}.get(ending, ending))[:-9])
    file.unlink()
    with mounted(tmp_path, configuration({"v": {"kind": "precomputed", "url": str(tmp_path / "v")}}), timeout=5) as mount:
        with pytest.raises(OSError) as raised:
            readers.read_file(mount / "v" / "em.zarr" / "s0" / "0" / "0" / "1")
        assert raised.value.errno == errno.EIO


@pytest.mark.parametrize("region", [None, "eu-central-1"])
def test_a_bucket_elsewhere_is_told_with_its_region_and_what_to_write(volume, tmp_path, region):
    folder, _ = volume
    with Origin(folder) as origin, mounted(tmp_path, configuration({"v": {"kind": "precomputed", "url": f"{origin.url}/v"}}), timeout=30) as mount:
        origin.fault = lambda request: Fault("status", 301, headers=[("x-amz-bucket-region", region)] if region else [])
        began = time.monotonic()
        text = (mount / "v" / "em.zarr" / "ERROR.txt").read_text()
        assert time.monotonic() - began < 15, text
        assert ("x-amz-bucket-region: eu-central-1" if region else "status 301 without a Location") in text
        assert "endpoint" in text


def ring(folder):
    shutil.rmtree(folder / "s0" / "0")
    (folder / "s0" / "0").symlink_to("0")


def long_name(folder):
    """A link whose target no filesystem could have."""
    shutil.rmtree(folder / "s0" / "0")
    (folder / "s0" / "0").symlink_to("x" * 300)


@pytest.mark.parametrize("change, said, number", [(ring, "symbolic links", errno.EIO), (long_name, "name too long", errno.EIO)])
def test_what_the_system_says_of_a_file_is_the_answer_at_once(tmp_path, change, said, number):
    write(tmp_path / "image", "|u1", holes=False)
    change(tmp_path / "image")
    with mounted(tmp_path / "mount", configuration({"v": {"kind": "zarr", "url": str(tmp_path / "image")}}), timeout=30) as mount:
        store = mount / "v" / "em.zarr"
        (store / ".zattrs").read_bytes()
        began = time.monotonic()
        with pytest.raises(OSError) as raised:
            readers.read_file(store / "s0" / "0" / "0" / "0")
        assert (raised.value.errno, time.monotonic() - began < 15) == (number, True)
        assert said in mount.log.lower().replace("file name", "name"), mount.log
        readers.read_file(store / "s0" / "1" / "0" / "0")


def test_a_file_that_may_not_be_read_is_denied_at_once_with_the_systems_words(tmp_path):
    write(tmp_path / "image", "|u1", holes=False)
    if os.getuid() == 0:
        pytest.skip("root may read everything; test_user.py mounts as another user")
    os.chmod(tmp_path / "image" / "s0" / "0" / "0" / "0", 0)
    with mounted(tmp_path / "mount", configuration({"v": {"kind": "zarr", "url": str(tmp_path / "image")}}), timeout=30) as mount:
        began = time.monotonic()
        with pytest.raises(OSError) as raised:
            readers.read_file(mount / "v" / "em.zarr" / "s0" / "0" / "0" / "0")
        assert (raised.value.errno, time.monotonic() - began < 15) == (errno.EACCES, True)
        assert "Permission denied" in mount.log
