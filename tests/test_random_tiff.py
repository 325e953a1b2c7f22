"""Random TIFF and MRC files of other people's writers, voxel by voxel; and the same files damaged, read as tifffile reads them or refused."""

import concurrent.futures
import io
import json
import logging
import random
import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest
import SimpleITK
import tensorstore
import tifffile

import reference_volumes
from mounting import configuration, mounted
from readers import assert_equal, tensorstore_driver

cv2 = pytest.importorskip("cv2")
mrcfile = pytest.importorskip("mrcfile")

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]
CODECS = [None, None, "deflate", "adobe_deflate", "lzw", "packbits", "zstd"]
PREDICTED = ["deflate", "adobe_deflate", "lzw", "packbits", "zstd"]


def voxels_of(rng, dtype, seed, flat=False):
    shape = (1 if flat else rng.randint(1, 6), rng.randint(1, 70), rng.randint(2, 90))
    if np.dtype(dtype) == np.float16:
        return reference_volumes.noise(shape, "uint8", seed).astype("f2") / 8
    return reference_volumes.noise(shape, dtype, seed)


def by_tifffile(rng, file, seed):
    dtype = rng.choice(INTEGERS + FLOATS)
    voxels = voxels_of(rng, dtype, seed)
    order, codec = rng.choice("<>"), rng.choice(CODECS)
    options = {"compression": codec, "byteorder": order, "bigtiff": rng.random() < 0.3, "photometric": rng.choice(["minisblack", "miniswhite"])}
    if codec in PREDICTED and rng.random() < 0.6:
        options["predictor"] = 3 if voxels.dtype.kind == "f" else 2
    if rng.random() < 0.4:
        options["tile"] = (16 * rng.randint(1, 4), 16 * rng.randint(1, 4))
    elif rng.random() < 0.7:
        options["rowsperstrip"] = rng.randint(1, 80)
    # Of other orders tifffile packs the bytes wrongly.
    if codec is None and (voxels.dtype == "uint8" or (voxels.dtype == "uint16" and order == "<")) and rng.random() < 0.2:
        options["bitspersample"] = bits = rng.randint(1, 7) if voxels.dtype == "uint8" else rng.randint(9, 15)
        voxels &= (1 << bits) - 1
    stored = voxels.astype(voxels.dtype.newbyteorder(order))
    facts = {}
    if rng.random() < 0.5:
        tifffile.imwrite(file, stored, metadata=None if rng.random() < 0.3 else {}, **options)
    elif rng.random() < 0.4 and dtype in ("uint8", "uint16", "float32") and "bitspersample" not in options:
        options = {"byteorder": order, "compression": codec}
        z, y, x = rng.choice([4, 8, 50]), rng.choice([4, 5, 8]), rng.choice([4, 5, 8])
        tifffile.imwrite(file, stored, imagej=True, resolution=(1 / x, 1 / y), metadata={"axes": "ZYX", "unit": "nm", "spacing": z}, **options)
        facts = {"scale": [z, y, x]} if len(voxels) > 1 else {}
    else:
        with tifffile.TiffWriter(file, bigtiff=options.pop("bigtiff"), byteorder=options.pop("byteorder")) as writer:
            for plane in stored:
                writer.write(plane, contiguous=False, metadata=None, **options)
    return voxels, facts


def by_pillow(rng, file, seed):
    voxels = voxels_of(rng, rng.choice(["uint8", "uint8", "uint16"]), seed)
    compression = rng.choice(["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate"])
    first, *others = [PIL.Image.fromarray(plane) for plane in voxels]
    first.save(file, save_all=True, append_images=others, compression=compression)
    return voxels, {}


def by_itk(rng, file, seed):
    voxels = voxels_of(rng, rng.choice(["uint8", "int8", "uint16", "int16", "float32"]), seed)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(file))
    if rng.random() < 0.5:
        writer.UseCompressionOn()
        writer.SetCompressor(rng.choice(["Deflate", "LZW", "PackBits"]))
    writer.Execute(SimpleITK.GetImageFromArray(voxels))
    return voxels, {}


def by_opencv(rng, file, seed):
    voxels = voxels_of(rng, rng.choice(["uint8", "uint16", "float32"]), seed)
    compression = rng.choice([1, 5, 8, 32773, 32946]) if voxels.dtype != "float32" else 1
    assert cv2.imwritemulti(str(file), list(voxels), [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    return voxels, {}


def by_mrcfile(rng, file, seed):
    voxels = voxels_of(rng, rng.choice(["int8", "int16", "float32", "uint16", "float16"]), seed)
    order = rng.choice("<>")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new(file) as opened:
            opened.set_data(voxels.astype(voxels.dtype.newbyteorder(order)))
            opened.voxel_size = (40.0, 50.0, 80.0)
            if rng.random() < 0.3:
                opened.set_extended_header(np.zeros(rng.randint(1, 300), "V8"))
    return voxels, {"scale": [8.0, 5.0, 4.0]}


WRITERS = [("tif", by_tifffile)] * 6 + [("tif", by_pillow), ("tif", by_itk), ("tif", by_opencv), ("mrc", by_mrcfile)]


def written(root, count):
    """Random files by name: source, voxels and what else is known."""
    root.mkdir()
    made = {}
    for seed in range(count):
        rng = random.Random(f"tiff {seed}")
        ending, writer = WRITERS[seed % len(WRITERS)]
        file = root / f"{seed}.{ending}"
        voxels, facts = writer(rng, file, seed)
        made[f"{writer.__name__.replace('_', '-')}-{seed}"] = ({"kind": "tiff" if ending == "tif" else "mrc", "url": str(file)}, voxels, facts)
    return made


def together(work, items):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, items))


def test_random_files_of_other_writers_are_voxel_by_voxel_what_was_written(tmp_path, long):
    made = written(tmp_path / "files", 2000 if long else 200)
    config = configuration({name: source for name, (source, *_) in made.items()})
    with mounted(tmp_path / "mount", config, timeout=20) as mount:
        def look(name):
            _, voxels, facts = made[name]
            expected = voxels.astype("f4") if voxels.dtype == np.float16 else voxels
            try:
                found = tensorstore_driver(mount / name / "em.zarr", 0, False)
                assert_equal(found, expected.astype(expected.dtype.newbyteorder("=")), name)
            except Exception as error:
                return f"{name}: {error}"
            if "scale" in facts:
                multiscale = json.loads((mount / name / "em.zarr" / ".zattrs").read_text())["multiscales"][0]
                scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
                if not np.allclose(scale, facts["scale"]):
                    return f"{name}: {scale} for {facts['scale']}"
            return None

        wrong = [error for error in together(look, made) if error]
        assert not wrong, f"{len(wrong)} of {len(made)}:\n" + "\n".join(wrong)
        assert mount.status()["failures"] == []


def sparse_big(file, rng):
    """A BigTIFF of more than 4 GiB, of which only some planes hold anything."""
    shape = (150, 5000, 6000)
    voxels = tifffile.memmap(file, shape=shape, dtype="u1", bigtiff=True, photometric="minisblack")
    looked_at = [0, 75, 143, 144, 149]  # a plane of 30 MB lies across 4 GiB
    for z in looked_at:
        voxels[z] = rng.integers(1, 255, shape[1:], "u1")
    voxels.flush()
    return shape, looked_at


def sparse_classic(file, rng):
    """A TIFF of nearly 4 GiB with a directory for each page, written behind all voxels; most of it are holes."""
    shape = (143, 5000, 6000)
    pages, plane = shape[0], shape[1] * shape[2]
    tags = [(256, shape[2]), (257, shape[1]), (258, 8), (259, 1), (262, 1), (273, None), (277, 1), (278, shape[1]), (279, plane)]
    size = 2 + 12 * len(tags) + 4
    first = 8 + pages * plane
    looked_at = [0, 71, 72, 142]
    with open(file, "wb") as opened:
        opened.write(struct.pack("<2sHI", b"II", 42, first))
        for z in looked_at:
            opened.seek(8 + z * plane)
            opened.write(rng.integers(1, 255, plane, "u1").tobytes())
        opened.seek(first)
        for z in range(pages):
            opened.write(struct.pack("<H", len(tags)))
            for tag, value in tags:
                opened.write(struct.pack("<HHII", tag, 4, 1, 8 + z * plane if value is None else value))
            opened.write(struct.pack("<I", first + (z + 1) * size if z + 1 < pages else 0))
        assert (1 << 32) - opened.tell() < 10 << 20
    return shape, looked_at


@pytest.mark.parametrize("writer", [sparse_big, sparse_classic])
def test_files_of_4_gib_are_read_as_tifffile_reads_them(tmp_path, writer):
    file = tmp_path / "v.tif"
    shape, looked_at = writer(file, np.random.default_rng(5))
    assert file.stat().st_blocks * 512 < 1 << 30, "the file has holes"
    with mounted(tmp_path / "m", configuration({"v": {"kind": "tiff", "url": str(file), "voxel_size": [50, 8, 8]}}), timeout=20) as mount:
        store = tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": f"{mount / 'v'}/em.zarr/s0/"}}, read=True).result()
        assert store.shape == shape
        with tifffile.TiffFile(file) as opened:
            assert len(opened.pages) in (1, shape[0])
            series = opened.series[0]
            for z in looked_at:
                expected = series.pages[z].asarray() if len(series.pages) == shape[0] and series.pages[z] is not None else tifffile.memmap(file)[z]
                rows, columns = slice(z * 25, z * 25 + 600), slice(0, 700)
                assert_equal(store[z, rows, columns].read().result(), expected[rows, columns], f"plane {z}")


def reference(body):
    """What tifffile reads of a damaged file, where it reads all of it without a word."""
    noted = io.StringIO()
    handler = logging.StreamHandler(noted)
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        with tifffile.TiffFile(io.BytesIO(body)) as opened:
            pages = [page.aspage() for page in opened.pages]
            if len({page.shape for page in pages}) != 1 or pages[0].ndim != 2:
                return None
            voxels = np.stack([page.asarray() for page in pages])
    except Exception:
        return None
    finally:
        logger.removeHandler(handler)
    return None if noted.getvalue() else voxels


def test_damaged_files_are_read_as_tifffile_reads_them_or_refused(tmp_path, long):
    count = 4000 if long else 200
    made = {name: value for name, value in written(tmp_path / "files", max(count // 10, 40)).items() if value[0]["kind"] == "tiff"}
    sources, expected = {}, {}
    names = sorted(made)
    (tmp_path / "damaged").mkdir()
    for seed in range(count):
        rng = random.Random(f"damaged {seed}")
        name = names[seed % len(names)]
        body = bytearray(open(made[name][0]["url"], "rb").read())
        for _ in range(rng.choice([1, 1, 2, 5])):
            # Directories rather than voxels.
            within = rng.choice([len(body), min(len(body), 400)])
            body[rng.randrange(within)] = rng.choice([0, 1, 2, 255, rng.randrange(256)])
        if rng.random() < 0.2:
            body = body[: rng.randrange(8, len(body) + 1)]
        file = tmp_path / "damaged" / f"{seed}.tif"
        file.write_bytes(body)
        key = f"d-{seed}"
        sources[key], expected[key] = {"kind": "tiff", "url": str(file)}, reference(bytes(body))
    with mounted(tmp_path / "mount", configuration(sources), timeout=10) as mount:
        def look(key):
            try:
                found = tensorstore_driver(mount / key / "em.zarr", 0, False)
            except (ValueError, OSError):
                return "refused"
            other = expected[key]
            if other is None:
                return "alone"
            other = other.astype("f4") if other.dtype == np.float16 else other.astype("u1") if other.dtype == bool else other
            is_same = found.shape == other.shape and np.array_equal(found, other, equal_nan=found.dtype.kind == "f")
            return "same" if is_same else f"other: {found.shape} {found.dtype}, tifffile {other.shape} {other.dtype}"

        seen = dict(zip(sources, together(look, sources)))
        other = {key: word for key, word in seen.items() if word.startswith("other")}
        assert not other, "\n".join(f"{sources[key]['url']}: {word}" for key, word in other.items())
        assert {"refused", "same"} <= set(seen.values())
        assert "panicked" not in mount.log and mount.alive()
        assert mount.rss() < 1 << 30
