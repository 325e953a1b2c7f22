"""Chunks that are damaged on the way, of archives that state checksums: fetched again, and never shown."""

import base64
import errno
import hashlib
import struct
import threading
import time

import google_crc32c
import pytest

import truth
from mounting import configuration, mounted
from origin import Origin, send
from readers import assert_equal, read_file, zarr_array


class Stating(Origin):
    """An object store in a folder that states a checksum of each object, and flips a bit in a chunk while `flips` lasts."""

    def __init__(self, root, store):
        super().__init__(root)
        self.store = store
        self.flips = 0
        self._flipping = threading.Lock()

    def _serve(self, connection, request, fault, file, gone):
        body = file.read()
        if self.store == "s3":
            headers = [("ETag", f'"{hashlib.md5(body).hexdigest()}"'), ("x-amz-request-id", "1")]
        else:
            crc, md5 = struct.pack(">I", google_crc32c.value(body)), hashlib.md5(body).digest()
            headers = [("x-goog-hash", f"{name}={base64.b64encode(value).decode()}") for name, value in (("crc32c", crc), ("md5", md5))]
            headers.append(("ETag", f'"{request.path}"'))
        assert request.range is None, "small documents and chunks are fetched whole"
        with self._flipping:
            flip = self.flips > 0 and not request.path.rpartition("/")[2].startswith(".z")
            self.flips -= flip
        if flip:
            body = body[:-9] + bytes([body[-9] ^ 16]) + body[-8:]
        return send(connection, request, 200, headers, body)


@pytest.fixture(params=["s3", "gs"])
def store(request, tmp_path):
    """A Zarr group without compression, in which any bit may be flipped and no decoder minds."""
    volume = truth.zarr_group(tmp_path / "origin", "v", shape=(32, 32, 64), dtype="<u2", chunks=(16, 16, 16), levels=2, seed=3, compressors=None, s3=True)
    with Stating(tmp_path / "origin", request.param) as origin:
        source = {"kind": "zarr", "url": f"{request.param}://{volume.file}/", "endpoint": origin.url}
        with mounted(tmp_path, configuration({"v": source}), timeout=20) as mount:
            yield volume, origin, mount, request.param


def test_a_flipped_bit_is_fetched_again(store):
    volume, origin, mount, _ = store
    origin.flips = 5
    for level, voxels in enumerate(volume.levels):
        assert_equal(zarr_array(mount / "v" / "em.zarr", level, False), voxels, f"s{level}")
    status = mount.status()
    assert origin.flips == 0 and status["failures"] == []
    assert sum(host["retries"] for host in status["hosts"].values()) == 5


def test_a_bit_that_is_always_flipped_is_an_error_until_it_is_right(store):
    volume, origin, mount, kind = store
    chunk = mount / "v" / "em.zarr" / "s0" / "1/0/2"
    origin.flips = 1 << 30
    with pytest.raises(OSError) as error:
        read_file(chunk)
    assert error.value.errno == errno.EIO
    header, name = {"s3": ("etag", "md5"), "gs": ("x-goog-hash", "crc32c")}[kind]
    assert f"the body's {name} is " in mount.log and f"the header `{header}` says" in mount.log
    origin.flips = 0
    time.sleep(1.5)  # an error is remembered for a second
    assert_equal(zarr_array(mount / "v" / "em.zarr", 0, False), volume.levels[0], "s0")
