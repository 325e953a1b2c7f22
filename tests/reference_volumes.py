"""Volumes made by tools that are not emfs, with what they hold: tifffile, SimpleITK, zarr-python 3 and 2.

No voxel is ever 0, so that zeros in an answer are always wrong.
"""

import dataclasses
import itertools
import json
import pathlib
import subprocess

import numpy as np

from mounting import LEGACY_PYTHON


@dataclasses.dataclass
class Volume:
    """A source and its truth. `levels`: arrays z, y, x; `scale`, `translation`: nanometres of each level."""

    name: str
    source: dict
    levels: list
    scale: list
    translation: list
    chunk: list  # chunk shape of each level as emfs serves it
    file: str  # path of the source below the origin
    window: tuple | None = None  # what the file or the configuration says; None: chosen by emfs
    paths: list = dataclasses.field(default_factory=list)  # of the source's levels
    lossy: int = 0  # by how much a decoder of the same bytes may differ
    offset: list | None = None  # position of each level's first voxel in voxels of its own, where the source says one

    @property
    def dtype(self):
        return self.levels[0].dtype.newbyteorder("<")


def noise(shape, dtype, seed):
    """Voxels over the whole range of the type, none of them 0."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * 100 + rng.choice([-500.0, 500.0], shape)).astype(dtype)
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, shape, dtype=dtype.newbyteorder("="), endpoint=True)
    values[values == 0] = 1
    return values.astype(dtype)


def segments(shape, dtype, seed):
    """Numbers of cells: areas of one value beside noise of few and of many values, none of them 0."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    cells = noise([n // 8 + 1 for n in shape], dtype, seed)
    for axis in range(3):
        cells = cells.repeat(8, axis)
    cells = np.ascontiguousarray(cells[tuple(slice(0, n) for n in shape)])
    few = rng.random(shape) < 0.02
    cells[few] = noise(6, dtype, seed + 1)[rng.integers(0, 6, few.sum())]
    corner = tuple(slice(0, n // 2) for n in shape)
    cells[corner] = noise(cells[corner].shape, dtype, seed + 2)
    return cells


def one_bright_voxel(file, shape, at, bright, dtype):
    """An ImageJ TIFF file, dark but for the voxel `at`."""
    import tifffile

    voxels = np.full(shape, 10, dtype)
    voxels[at] = bright
    tifffile.imwrite(file, voxels, imagej=True, metadata={"axes": "ZYX"})


def texture(shape, dtype, seed):
    """Smooth voxels that compress as micrographs do, none of them 0."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal([n // 8 + 2 for n in shape])
    field = coarse
    for axis in range(3):
        field = field.repeat(8, axis)
    field = field[tuple(slice(0, n) for n in shape)]
    high = 200 if dtype.itemsize == 1 else 3000
    values = np.abs(field) * high / 4 + rng.integers(1, 16, shape) + 1
    return np.clip(values, 1, high).astype(dtype)


def plane_chunk(shape, itemsize):
    """Chunk shape of a stack of planes: files of 256 KiB, as deep as 16 MiB of planes allow, not wider than the plane."""
    plane = shape[1] * shape[2] * itemsize
    depth = next((depth for depth in (16, 4) if depth * plane <= 16 << 20), 1)
    side = {16: 128, 4: 256, 1: 512}[depth]
    return [depth, min(side, shape[1]), min(side // itemsize, shape[2])]


def tiff_volume(name, voxels, voxel_size, window=None):
    return Volume(
        name=name, source={"kind": "tiff", "url": f"{{origin}}/{name}.tif", "voxel_size": list(voxel_size)} | ({"window": list(window)} if window else {}),
        levels=[voxels], scale=[list(voxel_size)], translation=[[0.0, 0.0, 0.0]],
        chunk=[plane_chunk(voxels.shape, voxels.dtype.itemsize)], file=f"{name}.tif", window=window)


def imagej(root, name, shape, dtype, seed, byteorder=">", voxel_size=(20.0, 20.0, 20.0)):
    """As ImageJ saves a stack: the planes back to back behind the first directory."""
    import tifffile

    voxels = noise(shape, dtype, seed)
    tifffile.imwrite(root / f"{name}.tif", voxels, imagej=True, byteorder=byteorder, metadata={"axes": "ZYX"})
    return tiff_volume(name, voxels, voxel_size)


def itk(root, name, shape, dtype, seed, voxel_size=(5.0, 5.0, 5.0)):
    """As ITK saves a stack: a directory behind each page, so the chain is as long as the stack."""
    import SimpleITK

    voxels = noise(shape, dtype, seed)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(root / f"{name}.tif"), useCompression=False)
    return tiff_volume(name, voxels, voxel_size)


def pages(root, name, shape, dtype, seed, voxel_size=(40.0, 8.5, 8.0), window=None, **options):
    """Pages written one by one with tifffile's `options`."""
    import tifffile

    voxels = noise(shape, dtype, seed)
    big = options.pop("bigtiff", False)
    byteorder = options.pop("byteorder", "<")
    with tifffile.TiffWriter(root / f"{name}.tif", bigtiff=big, byteorder=byteorder) as writer:
        for page in voxels:
            writer.write(page, contiguous=False, photometric="minisblack", metadata=None, **options)
    return tiff_volume(name, voxels, voxel_size, window)


def pyramid(shape, dtype, factors, seed, whole=False):
    """Levels that are no means of each other, so that a level taken for another is seen.

    `whole`: coarser voxels that only a part of the finest level lies under are left out.
    """
    sizes = [[max(1, n // f if whole else -(-n // f)) for n, f in zip(shape, factor, strict=True)] for factor in factors]
    return [noise(size, dtype, seed + level) for level, size in enumerate(sizes)]


def multiscales(paths, scale, translation, version):
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    datasets = [{"path": path, "coordinateTransformations": [{"type": "scale", "scale": s}, {"type": "translation", "translation": t}]}
                for path, s, t in zip(paths, scale, translation, strict=True)]
    named = {"name": "em", "axes": axes, "datasets": datasets}
    return [{"version": version, **named}] if version == "0.4" else [named]


def absent(voxels, chunks, fill, share, seed):
    """The voxels with about `share` of the chunks set to `fill`, which writers then leave out."""
    voxels = voxels.copy()
    rng = np.random.default_rng(seed)
    for corner in itertools.product(*(range(0, n, c) for n, c in zip(voxels.shape, chunks, strict=True))):
        if rng.random() < share:
            voxels[tuple(slice(a, a + c) for a, c in zip(corner, chunks, strict=True))] = fill
    return voxels


def zarr_group(root, name, *, shape, dtype, chunks, levels=3, version=2, seed=0, fill=0, share=0.0, prefix="s", s3=False,
               writer="zarr3", scale=(2.96, 4.0, 4.0), factors=None, whole=False, **options):
    """An OME-Zarr group written by zarr-python; `options` go to its create_array. `factors`: of each level by axis."""
    import zarr

    factors = factors or [[2**level] * 3 for level in range(levels)]
    levels = len(factors)
    arrays = pyramid(shape, dtype, factors, seed, whole)
    if share:
        arrays = [absent(array, chunks, fill, share, seed) for array in arrays]
    paths = [f"{prefix}{level}" for level in range(levels)]
    scales = [[value * f for value, f in zip(scale, factor)] for factor in factors]
    translations = [[value * (f - 1) / 2 for value, f in zip(scale, factor)] for factor in factors]
    key = f"bucket/{name}/recon/em" if s3 else f"{name}.zarr"
    attributes = multiscales(paths, scales, translations, "0.4" if version == 2 else "0.5")
    attributes = {"multiscales": attributes} if version == 2 else {"ome": {"version": "0.5", "multiscales": attributes}}
    folder = root / key
    if writer == "zarr2":
        write_with_zarr2(folder, attributes, paths, arrays, chunks, fill, options)
    else:
        group = zarr.create_group(folder, zarr_format=version, attributes=attributes)
        for path, array in zip(paths, arrays, strict=True):
            stored = group.create_array(path, shape=array.shape, dtype=array.dtype, chunks=tuple(chunks), fill_value=fill,
                                        config={"write_empty_chunks": False}, **options)
            stored[...] = array
    source = {"kind": "zarr", "url": f"s3://{key}/", "endpoint": "{origin}"} if s3 else {"kind": "zarr", "url": f"{{origin}}/{key}"}
    return Volume(name=name, source=source, levels=arrays, scale=scales, translation=translations,
                  chunk=[list(chunks)] * levels, file=key, paths=paths)


def write_with_zarr2(folder, attributes, paths, arrays, chunks, fill, options):
    scratch = folder.parent / (folder.name + ".npz")
    scratch.parent.mkdir(parents=True, exist_ok=True)
    np.savez(scratch, **dict(zip(paths, arrays, strict=True)))
    order = {"folder": str(folder), "arrays": str(scratch), "attributes": attributes, "chunks": list(chunks), "fill": fill, **options}
    subprocess.run([LEGACY_PYTHON, pathlib.Path(__file__).with_name("legacy.py"), "write"], input=json.dumps(order), text=True, check=True)
    scratch.unlink()


def v2_codec(name, **options):
    import numcodecs

    return {"blosc": numcodecs.Blosc, "zstd": numcodecs.Zstd, "gzip": numcodecs.GZip, "zlib": numcodecs.Zlib}[name](**options)


def z2(codec=None, **fields):
    return lambda root, name: zarr_group(
        root, name, version=2, compressors=v2_codec(codec[0], **codec[1]) if codec else None, **fields)


def z3(codecs=(), **fields):
    def make(root, name):
        import zarr.codecs

        made = [getattr(zarr.codecs, codec)(**options) for codec, options in codecs]
        return zarr_group(root, name, version=3, compressors=made or None, **fields)
    return make


def v2_keys(separator):
    return {"name": "v2", "separator": separator}


def with_serializer(endian, **fields):
    def make(root, name):
        import zarr.codecs

        return zarr_group(root, name, version=3, serializer=zarr.codecs.BytesCodec(endian=endian), compressors=[zarr.codecs.ZstdCodec(level=3)], **fields)
    return make


def with_transpose(order, **fields):
    def make(root, name):
        import zarr.codecs

        return zarr_group(root, name, version=3, filters=[zarr.codecs.TransposeCodec(order=order)], compressors=[zarr.codecs.GzipCodec(level=1)], **fields)
    return make


def tif(maker, *arguments, **fields):
    return lambda root, name: maker(root, name, *arguments, **fields)


#: Odd volumes by name: a function of the origin's folder and the name.
VOLUMES = {
    "ij-u8": tif(imagej, (37, 75, 113), "u1", 1),
    "ij-u16": tif(imagej, (19, 300, 131), "u2", 2),
    "ij-f32": tif(imagej, (5, 67, 140), "f4", 3, voxel_size=(10.0, 4.0, 4.0)),
    "ij-little": tif(imagej, (9, 33, 65), "u1", 4, byteorder="<"),
    "itk-u8": tif(itk, (40, 131, 257), "u1", 5),
    "itk-u16": tif(itk, (7, 140, 97), "u2", 6),
    "itk-i16": tif(itk, (6, 31, 45), "i2", 7),
    "itk-f32": tif(itk, (3, 50, 20), "f4", 8),
    "big-u32": tif(pages, (4, 61, 77), "u4", 9, bigtiff=True, rowsperstrip=7, window=(10.0, 4000.0)),
    "big-be-i32": tif(pages, (3, 40, 33), "i4", 10, bigtiff=True, byteorder=">", rowsperstrip=16),
    "tiled-u16": tif(pages, (5, 150, 170), "u2", 11, tile=(64, 48)),
    "tiled-deflate-u8": tif(pages, (6, 130, 145), "u1", 12, tile=(32, 64), compression="zlib"),
    "strip-deflate-be-u16": tif(pages, (4, 90, 55), "u2", 13, byteorder=">", rowsperstrip=11, compression="zlib"),
    "strip-deflate-f32": tif(pages, (3, 29, 31), "f4", 14, rowsperstrip=8, compression="zlib"),
    "i8": tif(pages, (2, 21, 22), "i1", 15, rowsperstrip=21),
    "one-page": tif(pages, (1, 64, 80), "u1", 16),
    "one-voxel": tif(pages, (1, 1, 1), "u1", 17),
    "one-column": tif(pages, (9, 1, 1), "u2", 18),
    "one-row": tif(pages, (1, 1, 301), "u1", 19),
    "z2-zstd-i2": z2(("zstd", {"level": 3}), shape=(45, 70, 90), dtype="<i2", chunks=(16, 32, 32), fill=0, s3=True, share=0.2, seed=20),
    "z2-blosc-lz4": z2(("blosc", {"cname": "lz4", "shuffle": 1}), shape=(33, 65, 35), dtype="|u1", chunks=(16, 16, 16), seed=21,
                       chunk_key_encoding=v2_keys("/"), prefix=""),
    "z2-blosc-zstd-be": z2(("blosc", {"cname": "zstd", "shuffle": 2}), shape=(20, 40, 41), dtype=">i2", chunks=(8, 16, 32), seed=22, fill=-7, share=0.3),
    "z2-gzip-f4-fortran": z2(("gzip", {"level": 1}), shape=(18, 21, 50), dtype="<f4", chunks=(10, 10, 10), order="F", seed=23),
    "z2-zlib-be-u4": z2(("zlib", {"level": 1}), shape=(9, 9, 9), dtype=">u4", chunks=(4, 5, 6), order="F", seed=24, levels=4),
    "z2-none-dot": z2(None, shape=(30, 31, 32), dtype="|i1", chunks=(16, 16, 16), seed=25, chunk_key_encoding=v2_keys(".")),
    "z2-i8": z2(("zstd", {"level": 1}), shape=(7, 13, 5), dtype="<i8", chunks=(4, 4, 4), seed=26, levels=4),
    "z2-f8-be": z2(None, shape=(7, 6, 5), dtype=">f8", chunks=(3, 3, 3), seed=27, share=0.4, fill=1.5),
    "z2-by-zarr2": lambda root, name: zarr_group(
        root, name, shape=(41, 37, 29), dtype=">u2", chunks=(16, 8, 16), seed=28, writer="zarr2", share=0.3, fill=9,
        order="F", separator=".", codec={"id": "blosc", "cname": "zlib", "clevel": 5, "shuffle": 1}),
    "z2-one-voxel": z2(("zstd", {"level": 1}), shape=(1, 1, 1), dtype="|u1", chunks=(1, 1, 1), levels=1, seed=29),
    "z3-zstd": z3([("ZstdCodec", {"level": 3})], shape=(40, 50, 60), dtype="uint8", chunks=(32, 32, 32), seed=30, share=0.2),
    "z3-blosc-u2": z3([("BloscCodec", {"cname": "zstd", "shuffle": "shuffle"})], shape=(20, 33, 47), dtype="uint16", chunks=(16, 16, 16), seed=31, fill=3, share=0.3, s3=True),
    "z3-gzip-crc": z3([("GzipCodec", {"level": 1}), ("Crc32cCodec", {})], shape=(17, 18, 19), dtype="int32", chunks=(8, 8, 8), seed=32),
    "z3-none-dot": z3([], shape=(17, 18, 19), dtype="float64", chunks=(9, 8, 7), seed=33, chunk_key_encoding={"name": "default", "separator": "."}),
    "z3-v2-keys": z3([("ZstdCodec", {"level": 1})], shape=(17, 30, 19), dtype="int16", chunks=(8, 8, 8), seed=34, chunk_key_encoding=v2_keys("/")),
    "z3-big-endian": with_serializer("big", shape=(11, 30, 19), dtype="uint16", chunks=(8, 8, 8), seed=35),
    "z3-transpose": with_transpose((2, 0, 1), shape=(11, 30, 19), dtype="float32", chunks=(8, 9, 10), seed=36, levels=5),
}


def make_all(root, names=None):
    """Writes the volumes below `root` and returns them by name."""
    root = pathlib.Path(root)
    root.mkdir(parents=True, exist_ok=True)
    return {name: VOLUMES[name](root, name) for name in names or VOLUMES}


def source_at(volume, origin):
    """The source table of the volume when `origin` serves it."""
    return {key: value.replace("{origin}", origin.url) if isinstance(value, str) else value for key, value in volume.source.items()}
