"""Broken and hostile files: an error that names the file and the field, a daemon that lives on and stays small."""

import errno
import gzip
import json
import os
import struct
import time
import zlib

import numpy as np
import pytest

import expected
import reference_volumes
from mounting import configuration, mounted

SMALL = 300 << 20  # bytes that the daemon may have resident after all of it (its --memory is 64 MiB)


def ifd(entries, following=0, byteorder="<", big=False):
    """A directory with (tag, type, count, raw value or offset)."""
    text = struct.pack(byteorder + ("Q" if big else "H"), len(entries))
    for tag, kind, count, value in sorted(entries):
        text += struct.pack(byteorder + ("HHQQ" if big else "HHII"), tag, kind, count, value)
    return text + struct.pack(byteorder + ("Q" if big else "I"), following)


def page(width=64, height=64, bits=8, offset=512, count=None, compression=1, rows=None, extra=()):
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, compression), (262, 3, 1, 1), (273, 4, 1, offset),
        (277, 3, 1, 1), (278, 4, 1, height if rows is None else rows), (279, 4, 1, width * height * bits // 8 if count is None else count), *extra,
    ]


def tiff(*directories, offset=8, size=8192):
    """A classic little-endian file: directories one after another at `offset`, then noise."""
    text = struct.pack("<2sHI", b"II", 42, offset)
    at = offset
    text = text.ljust(offset, b"\0")
    for number, entries in enumerate(directories):
        length = 2 + 12 * len(entries) + 4
        text += ifd(entries, at + length if number + 1 < len(directories) else 0)
        at += length
    return text.ljust(size, b"\x55")


def cyclic():
    entries = page()
    return (struct.pack("<2sHI", b"II", 42, 8) + ifd(entries, 8)).ljust(8192, b"\x55")


def two_cyclic():
    entries = page()
    length = 2 + 12 * len(entries) + 4
    return (struct.pack("<2sHI", b"II", 42, 8) + ifd(entries, 8 + length) + ifd(page(offset=600), 8)).ljust(8192, b"\x55")


def huge_chain():
    """200 000 directories that all point on, at odd distances: 23 MB of them for a file that holds no more voxels than a stamp."""
    directory = ifd(page(width=1, height=1, offset=8, count=1))[:-4]
    pieces, at = [struct.pack("<2sHI", b"II", 42, 8)], 8
    for number in range(200_000):
        gap = number % 3
        at += len(directory) + 4 + gap
        pieces.append(directory + struct.pack("<I", at) + b"\0" * gap)
    return b"".join(pieces)


def patched_deflate(replace):
    """A valid deflate file whose only strip is replaced."""
    return tiff(page(offset=512, count=len(replace), compression=8), size=512) + replace


TIFFS = {
    "empty": b"",
    "one-byte": b"I",
    "no-tiff": b"<!DOCTYPE html><html><body>not here</body></html>" * 40,
    "wrong-magic": struct.pack("<2sHI", b"II", 41, 8) + b"\0" * 100,
    "no-directory": struct.pack("<2sHI", b"II", 42, 0) + b"\0" * 100,
    "directory-behind-the-end": struct.pack("<2sHI", b"II", 42, 0xFFFFFFF0) + b"\0" * 100,
    "no-entries": tiff([]),
    "too-many-entries": struct.pack("<2sHIH", b"II", 42, 8, 65535) + b"\1" * 400,
    "cyclic": cyclic(),
    "two-cyclic": two_cyclic(),
    "huge-chain": huge_chain(),
    "offset-behind-the-end": tiff(page(offset=0xFFFFFF00)),
    "strip-behind-the-end": tiff(page(offset=8000)),
    "huge-width": tiff(page(width=0xFFFFFFFF, count=64)),
    "huge-both": tiff(page(width=0xFFFFFFFF, height=0xFFFFFFFF, count=0xFFFFFFFF)),
    "zero-width": tiff(page(width=0, count=0)),
    "zero-height": tiff(page(height=0, count=0)),
    "strip-of-length-0": tiff(page(count=0)),
    "strip-too-short": tiff(page(count=17)),
    "zero-rows-per-strip": tiff(page(rows=0)),
    "bits-7": tiff(page(bits=7)),
    "bits-65535": tiff(page(bits=65535, count=64)),
    "unknown-compression": tiff(page(compression=34712)),
    "lzw": tiff(page(compression=5, count=300)),
    "jpeg": tiff(page(compression=7, count=300)),
    "array-behind-the-end": tiff([e for e in page(rows=1) if e[0] not in (273, 279)] + [(273, 4, 64, 0xFFFFFF00), (279, 4, 64, 0xFFFFFF00)]),
    "huge-array": tiff([e for e in page() if e[0] != 273] + [(273, 4, 0xFFFFFFFF, 600)]),
    "no-offsets": tiff([e for e in page() if e[0] != 273]),
    "no-width": tiff([e for e in page() if e[0] != 256]),
    "width-as-text": tiff([e for e in page() if e[0] != 256] + [(256, 2, 4, 0x41414141)]),
    "unknown-type": tiff([e for e in page() if e[0] != 256] + [(256, 99, 1, 64)]),
    "three-samples": tiff([e for e in page() if e[0] != 277] + [(277, 3, 1, 3)]),
    "pages-of-two-sizes": tiff(page(), page(width=32, height=32)),
    "pages-of-two-widths": tiff(page(), page(width=32)),
    "tile-of-0": tiff([e for e in page() if e[0] not in (273, 278, 279)] + [(322, 3, 1, 0), (323, 3, 1, 0), (324, 4, 1, 512), (325, 4, 1, 4096)]),
    "huge-tile": tiff([e for e in page() if e[0] not in (273, 278, 279)]
                      + [(322, 4, 1, 0x7FFFFFF0), (323, 4, 1, 0x7FFFFFF0), (324, 4, 1, 512), (325, 4, 1, 4096)]),
    "imagej-claims-more-images": tiff(page(extra=[(270, 2, 60, 300)]), size=300) + b"ImageJ=1.52p\nimages=4000000000\nslices=4000000000\n".ljust(300, b"\0") + b"\x55" * 8000,
    "imagej-claims-negative-images": tiff(page(extra=[(270, 2, 40, 300)]), size=300) + b"ImageJ=1.52p\nimages=-1\nslices=-1\n".ljust(300, b"\0") + b"\x55" * 8000,
    "bigtiff-huge": struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0xFFFFFFFFFFFFFFF0) + b"\0" * 100,
    "bigtiff-odd-offset-size": struct.pack("<2sHHHQ", b"II", 43, 4, 0, 16) + b"\0" * 100,
    "bigtiff-many-entries": struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 1 << 60) + b"\0" * 100,
    "deflate-garbage": patched_deflate(b"\xde\xad\xbe\xef" * 30),
    "deflate-short": patched_deflate(zlib.compress(b"\x55" * 100)),
    "deflate-long": patched_deflate(zlib.compress(b"\x55" * 5000)),
    "deflate-bomb": patched_deflate(zlib.compress(b"\0" * (1 << 27), 1)),
    "deflate-cut": patched_deflate(zlib.compress(np.random.default_rng(1).bytes(4096))[:-40]),
}

ZARRAY = {"zarr_format": 2, "shape": [8, 8, 8], "chunks": [8, 8, 8], "dtype": "|u1", "order": "C", "fill_value": 0,
          "compressor": None, "filters": None, "dimension_separator": "/"}
ATTRIBUTES = {"multiscales": reference_volumes.multiscales(["s0"], [[8.0, 8.0, 8.0]], [[0.0, 0.0, 0.0]], "0.4")}
ZARR3 = {"zarr_format": 3, "node_type": "array", "shape": [8, 8, 8], "data_type": "uint8",
         "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8, 8, 8]}},
         "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "codecs": [{"name": "bytes"}], "fill_value": 0, "attributes": {}}
ZSTD, GZIP, ZLIB = {"id": "zstd", "level": 3}, {"id": "gzip", "level": 1}, {"id": "zlib", "level": 1}
BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
#: A frame of 16 bytes whose header claims 2⁴⁰ bytes of content.
ZSTD_BOMB = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\x00\x00"


def v2(array=None, chunk=b"\x55" * 512, attributes=ATTRIBUTES, **changes):
    """Files of a group: `changes` are those of a valid .zarray; `array` may replace it as a whole."""
    array = {**ZARRAY, **changes} if array is None else array
    as_text = lambda value: value if isinstance(value, bytes) else json.dumps(value).encode()
    return {".zgroup": b'{"zarr_format":2}', ".zattrs": as_text(attributes), "s0/.zarray": as_text(array), "s0/0/0/0": chunk}


def v3(chunk=b"\x55" * 512, **changes):
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", "multiscales": ATTRIBUTES["multiscales"]}}}
    return {"zarr.json": json.dumps(group).encode(), "s0/zarr.json": json.dumps({**ZARR3, **changes}).encode(), "s0/c/0/0/0": chunk}


def without(key):
    return v2({name: value for name, value in ZARRAY.items() if name != key})


ZARRS = {
    "nothing": {},
    "no-arrays": {name: text for name, text in v2().items() if name != "s0/.zarray"},
    "attributes-cut": v2(attributes=json.dumps(ATTRIBUTES).encode()[:40]),
    "attributes-a-list": v2(attributes=b"[]"),
    "no-multiscales": v2(attributes={}),
    "no-datasets": v2(attributes={"multiscales": [{**ATTRIBUTES["multiscales"][0], "datasets": []}]}),
    "scale-as-text": v2(attributes={"multiscales": reference_volumes.multiscales(["s0"], [["8", "8", "8"]], [[0.0] * 3], "0.4")}),
    "path-out-of-the-group": v2(attributes={"multiscales": reference_volumes.multiscales(["../../secret"], [[8.0] * 3], [[0.0] * 3], "0.4")}),
    "deep-json": v2(attributes=b"[" * 200_000),
    "array-cut": v2(json.dumps(ZARRAY).encode()[:50]),
    "array-empty": v2(b""),
    "array-of-20-mb": v2(b'{"shape":[' + b"1," * 10_000_000 + b"1]}"),
    "not-utf-8": v2(b"\xff\xfe{}"),
    "shape-as-text": v2(shape="8,8,8"),
    "shape-negative": v2(shape=[-8, 8, 8]),
    "shape-fraction": v2(shape=[8.5, 8, 8]),
    "shape-2d": v2(shape=[8, 8], chunks=[8, 8]),
    "shape-huge": v2(shape=[2**32, 2**32, 2**32]),
    "shape-overflowing": v2(shape=[2**63, 2**63, 2**63], chunks=[2**62, 2**62, 2**62]),
    "shape-above-64-bits": v2(b'{"zarr_format":2,"shape":[99999999999999999999999,8,8],"chunks":[8,8,8],"dtype":"|u1","order":"C","fill_value":0,"compressor":null,"filters":null}'),
    "chunks-of-zero": v2(chunks=[0, 8, 8]),
    "chunks-huge": v2(chunks=[2**31, 2**31, 2**31]),
    "chunks-of-two-axes": v2(chunks=[8, 8]),
    "dtype-unknown": v2(dtype="<c8"),
    "dtype-structured": v2(dtype=[["a", "<u2"], ["b", "<u2"]]),
    "dtype-number": v2(dtype=7),
    "order-k": v2(order="K"),
    "fill-as-text": v2(fill_value="zero"),
    "fill-out-of-range": v2(fill_value=700),
    "codec-unknown": v2(compressor={"id": "vendor-x"}),
    "codec-without-id": v2(compressor={"level": 3}),
    "codec-as-text": v2(compressor="zstd"),
    "filters": v2(filters=[{"id": "packbits"}]),
    "separator-odd": v2(dimension_separator="--"),
    **{f"without-{key}": without(key) for key in ("shape", "chunks", "dtype")},
    "v3-sharded": v3(codecs=[{"name": "sharding_indexed", "configuration": {"chunk_shape": [4, 4, 4], "codecs": [{"name": "bytes"}], "index_codecs": [{"name": "bytes"}]}}]),
    "v3-codec-unknown": v3(codecs=[{"name": "bytes"}, {"name": "vendor-x"}]),
    "v3-codecs-as-text": v3(codecs="bytes"),
    "v3-must-understand": v3(storage_transformers=[{"name": "vendor-x"}]),
    "v3-type-unknown": v3(data_type="complex64"),
    "v3-grid-unknown": v3(chunk_grid={"name": "rectangular", "configuration": {}}),
    "v3-shape-huge": v3(shape=[2**40, 2**40, 2**40]),
    "v3-group-as-array": v3(node_type="group"),
    "chunk-too-short": v2(chunk=b"\x55" * 511),
    "chunk-too-long": v2(chunk=b"\x55" * 513),
    "chunk-empty": v2(chunk=b""),
    "chunk-of-100-mb": v2(chunk=b"\x55" * 100_000_000),
    "v3-chunk-too-short": v3(chunk=b"\x55" * 511),
    "zstd-bomb": v2(compressor=ZSTD, chunk=ZSTD_BOMB),
    "zstd-garbage": v2(compressor=ZSTD, chunk=b"\x28\xb5\x2f\xfd" + b"\xff" * 60),
    "zstd-html": v2(compressor=ZSTD, chunk=b"<html>" * 50),
    "gzip-bomb": v2(compressor=GZIP, chunk=gzip.compress(b"\0" * (1 << 27), 1)),
    "gzip-cut": v2(compressor=GZIP, chunk=gzip.compress(np.random.default_rng(1).bytes(512))[:-20]),
    "gzip-short": v2(compressor=GZIP, chunk=gzip.compress(b"\x55" * 511)),
    "zlib-bomb": v2(compressor=ZLIB, chunk=zlib.compress(b"\0" * (1 << 27), 1)),
    "zlib-garbage": v2(compressor=ZLIB, chunk=b"\xde\xad" * 40),
    "blosc-header-cut": v2(compressor=BLOSC, chunk=b"\2\1\1\1"),
    "blosc-claims-much": v2(compressor=BLOSC, chunk=struct.pack("<BBBBIII", 2, 1, 1, 1, 0x7FFFFFFF, 512, 40) + b"\1" * 24),
    "blosc-claims-little": v2(compressor=BLOSC, chunk=struct.pack("<BBBBIII", 2, 1, 0x33, 1, 10, 10, 26) + b"\1" * 10),
    "blosc-garbage": v2(compressor=BLOSC, chunk=struct.pack("<BBBBIII", 2, 1, 0x21, 1, 512, 512, 200) + np.random.default_rng(2).bytes(184)),
    "blosc-block-of-0": v2(compressor=BLOSC, chunk=struct.pack("<BBBBIII", 2, 1, 0x21, 1, 512, 0, 60) + b"\1" * 44),
}

#: Files that are strange but have one right reading, so that reading them is no mistake.
TOLERABLE = {
    "tiff-strip-too-short", "tiff-deflate-long", "tiff-imagej-claims-more-images", "tiff-imagej-claims-negative-images", "tiff-strip-of-length-0",
    "tiff-cyclic", "tiff-zero-rows-per-strip", "tiff-huge-chain", "zarr-separator-odd", "zarr-order-k", "zarr-blosc-claims-little",
    "zarr-fill-out-of-range", "zarr-v3-group-as-array",
    # Numbers of seven bits, as tifffile reads them.
    "tiff-bits-7",
    # A smaller picture behind the last page is none of the volume's, as for tifffile.
    "tiff-pages-of-two-sizes",
}
NAMES = [f"tiff-{name}" for name in TIFFS] + [f"zarr-{name}" for name in ZARRS]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    from origin import Origin

    root = tmp_path_factory.mktemp("hostile")
    sources = {}
    (root / "tiff").mkdir()
    for name, content in TIFFS.items():
        (root / "tiff" / f"{name}.tif").write_bytes(content)
        sources[f"tiff-{name}"] = {"kind": "tiff", "url": f"{{origin}}/tiff/{name}.tif"}
    for name, contents in ZARRS.items():
        (root / "zarr" / name).mkdir(parents=True)
        for path, content in contents.items():
            (root / "zarr" / name / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "zarr" / name / path).write_bytes(content)
        sources[f"zarr-{name}"] = {"kind": "zarr", "url": f"{{origin}}/zarr/{name}"}
    healthy = reference_volumes.imagej(root, "healthy", (5, 40, 50), "u1", 1)
    sources["healthy"] = healthy.source
    with Origin(root) as origin:
        sources = {name: {key: value.replace("{origin}", origin.url) if isinstance(value, str) else value for key, value in source.items()}
                   for name, source in sources.items()}
        with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=10, memory="64M") as mount:
            yield mount, healthy


def outcome(path):
    """The errno of the first touch that fails, or the bytes of the first chunk."""
    try:
        document = json.loads((path / "em.zarr" / "s0" / ".zarray").read_text())
        assert len(document["shape"]) == 3
        return (path / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()
    except OSError as error:
        return errno.errorcode[error.errno]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_an_error_that_names_the_file_and_the_daemon_lives_on(hostile, name):
    mount, healthy = hostile
    begin = time.monotonic()
    found = outcome(mount / name)
    assert time.monotonic() - begin < 30
    if not isinstance(found, bytes):
        assert found == "EIO"
        kind, _, file = name.partition("-")
        lines = [line for line in mount.log.splitlines() if f"/{kind}/{file}" in line]
        assert lines, f"no line of the log names the file: {mount.log[-2000:]}"
        assert "panic" not in lines[-1]
    else:
        assert name in TOLERABLE, f"read as {found[:32]!r}…"
    assert mount.alive()
    assert outcome(mount / "healthy") == expected.chunk_bytes(healthy.levels[0], healthy.chunk[0], (0, 0, 0))
    assert mount.rss() < SMALL, f"{mount.rss() >> 20} MiB resident"


def test_the_daemon_never_panicked(hostile):
    mount, _ = hostile
    for name in NAMES:
        outcome(mount / name)
    assert "panicked" not in mount.log
    assert mount.rss() < SMALL


def test_random_damage_of_documents_and_files_never_kills_the_daemon(tmp_path, serve, long):
    """Bytes of valid files changed at random places; what is still read must have the right size."""
    root = tmp_path / "files"
    root.mkdir()
    rng = np.random.default_rng(5)
    valid = reference_volumes.itk(root, "v", (4, 30, 40), "u2", 1)
    whole = (root / valid.file).read_bytes()
    group = v2(compressor=ZSTD, chunk=b"")
    sources = {}
    for number in range(300 if long else 60):
        damaged = bytearray(whole)
        for place in rng.integers(0, 400 if number % 2 else len(whole), 1 + number % 5):
            damaged[place] = rng.integers(0, 256)
        (root / f"t{number}.tif").write_bytes(damaged)
        sources[f"t{number}"] = {"kind": "tiff", "url": f"{{origin}}/t{number}.tif"}
        for path, content in group.items():
            content = bytearray(content)
            if content and path != ".zgroup":
                content[rng.integers(0, len(content))] = rng.integers(0, 256)
            target = root / f"g{number}" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        sources[f"g{number}"] = {"kind": "zarr", "url": f"{{origin}}/g{number}"}
    origin = serve(root)
    sources = {name: source | {"url": source["url"].replace("{origin}", origin.url)} for name, source in sources.items()}
    with mounted(tmp_path / "m", configuration(sources), timeout=5, memory="64M") as mount:
        for name in sources:
            found = outcome(mount / name)
            assert isinstance(found, bytes) or found == "EIO", (name, found)
            if isinstance(found, bytes):
                assert len(found) == os.stat(mount / name / "em.zarr" / "s0" / "0" / "0" / "0").st_size
        assert mount.alive() and "panicked" not in mount.log
        assert mount.rss() < SMALL
