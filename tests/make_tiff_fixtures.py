#!/usr/bin/env python3
"""Writes multi-page TIFF files with tools that are not emfs's own, each with the truth next to it.

    python tests/make_tiff_fixtures.py OUTDIR [SEED]

makes, for each file, NAME.tif, NAME.raw (voxels, C order z, y, x, little-endian) and NAME.json: shape, dtype, the most
requests that opening may take where that is promised, by how much voxels may differ, scale and window where the file states them, or the word that
the refusal must contain. Needs numpy, tifffile, imagecodecs, SimpleITK, Pillow.
"""

import itertools
import json
import pathlib
import sys

import numpy as np
import PIL.Image
import SimpleITK as sitk
import tifffile

rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 20200722)


def volume(shape, dtype):
    """Smooth structure plus noise over the whole range of the type."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * 1e3).astype(dtype)
    info = np.iinfo(dtype)
    z, y, x = np.indices(shape)
    smooth = (np.sin(x / 7) + np.cos(y / 5) + z % 3) / 5
    data = (smooth * (info.max // 4)).astype(np.float64) + rng.integers(0, max(info.max // 8, 2), shape)
    return data.astype(dtype)


class Out:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, name):
        return str(self.folder / f"{name}.tif")

    def truth(self, name, data, **facts):
        data = np.asarray(data)
        little = data.astype(data.dtype.newbyteorder("<"))
        (self.folder / f"{name}.raw").write_bytes(little.tobytes(order="C"))
        facts = {"shape": list(data.shape), "dtype": data.dtype.name, **facts}
        (self.folder / f"{name}.json").write_text(json.dumps(facts))

    def refused(self, name, word):
        (self.folder / f"{name}.json").write_text(json.dumps({"refused": word}))


def by_tifffile(out):
    kinds = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
    layouts = {
        "run": {},
        "strips": {"rowsperstrip": 5},
        "tiles": {"tile": (16, 32)},
        "deflate": {"compression": "deflate", "rowsperstrip": 7},
        "deflatepred": {"compression": "deflate", "predictor": 2, "rowsperstrip": 7},
        "deflatetiles": {"compression": "adobe_deflate", "predictor": 2, "tile": (32, 16)},
        "lzw": {"compression": "lzw", "rowsperstrip": 7},
        "lzwpred": {"compression": "lzw", "predictor": 2},
        "lzwtiles": {"compression": "lzw", "predictor": 2, "tile": (16, 32)},
        "packbits": {"compression": "packbits", "rowsperstrip": 3},
        "packbitstiles": {"compression": "packbits", "tile": (16, 16)},
        "zstdpred": {"compression": "zstd", "predictor": 2, "rowsperstrip": 9},
        "zstdtiles": {"compression": "zstd", "tile": (32, 32)},
    }
    for dtype, order, big, (layout, options) in itertools.product(kinds, "<>", [False, True], layouts.items()):
        if "pred" in str(options) and np.dtype(dtype).kind == "f":
            options = {**options, "predictor": 3}
        shape = tuple(int(n) for n in (rng.integers(2, 6), rng.integers(1, 70), rng.integers(2, 90)))
        data = volume(shape, dtype)
        name = f"tifffile-{dtype}-{'le' if order == '<' else 'be'}-{'big' if big else 'classic'}-{layout}"
        stored = data.astype(data.dtype.newbyteorder(order))
        tifffile.imwrite(out.path(name), stored, byteorder=order, bigtiff=big, photometric="minisblack", **options)
        out.truth(name, data)

    # Planes longer than any window.
    for layout, options in layouts.items():
        data = volume((4, 521, 701), "uint16")
        tifffile.imwrite(out.path(f"tifffile-large-{layout}"), data, photometric="minisblack", **options)
        out.truth(f"tifffile-large-{layout}", data, requests=3 if layout == "run" else 1 + len(data))

    for pages, shape in [(300, (300, 33, 65)), (2000, (2000, 20, 31))]:
        data = volume(shape, "uint16")
        tifffile.imwrite(out.path(f"tifffile-many-{pages}"), data, photometric="minisblack")
        out.truth(f"tifffile-many-{pages}", data, requests=3)

    data = volume((6, 40, 50), "uint8")
    with tifffile.TiffWriter(out.path("tifffile-page-by-page")) as writer:
        for plane in data:
            writer.write(plane, contiguous=False, photometric="miniswhite")
    out.truth("tifffile-page-by-page", data)

    data = volume((5, 300, 500), "uint8")
    with tifffile.TiffWriter(out.path("tifffile-strided")) as writer:
        for plane in data:
            writer.write(plane, contiguous=False, metadata=None, photometric="minisblack", rowsperstrip=64)
    out.truth("tifffile-strided", data, requests=3)

    data = volume((7, 21, 30), "uint8")
    tifffile.imwrite(out.path("tifffile-truncated"), data, photometric="minisblack", truncate=True)
    out.truth("tifffile-truncated", data, requests=1)

    data = volume((4, 64, 64), "uint16")
    with tifffile.TiffWriter(out.path("tifffile-pyramid")) as writer:
        for plane in data:
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None)
            writer.write(plane[::2, ::2], photometric="minisblack", subfiletype=1, contiguous=False, metadata=None)
    out.truth("tifffile-pyramid", data)

    data = volume((4, 20, 30), "uint8")
    tifffile.imwrite(out.path("ome"), data, ome=True, photometric="minisblack", metadata={
        "axes": "ZYX", "PhysicalSizeX": 0.008, "PhysicalSizeY": 8.0, "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 0.05, "PhysicalSizeZUnit": "µm"})
    out.truth("ome", data, scale=[50.0, 8.0, 8.0])
    for axes in ["CYX", "TYX"]:
        tifffile.imwrite(out.path(f"ome-{axes}"), data, ome=True, photometric="minisblack", metadata={"axes": axes})
        out.truth(f"ome-{axes}", data)
    tifffile.imwrite(out.path("ome-CZYX"), data[:4].repeat(2, 0)[:6].reshape(2, 3, 20, 30), ome=True, photometric="minisblack", metadata={"axes": "CZYX"})
    out.refused("ome-CZYX", "`channel = N`")
    tifffile.imwrite(out.path("ome-TZYX"), data[:4].repeat(2, 0)[:6].reshape(2, 3, 20, 30), ome=True, photometric="minisblack", metadata={"axes": "TZYX"})
    out.refused("ome-TZYX", "a file of 3 slices, 2 time points")
    tifffile.imwrite(out.path("ome-bracket"), data, photometric="minisblack", metadata=None, description=(
        '<OME><Image><Pixels Name="x>y" SizeX="30" SizeY="20" SizeZ="4" SizeC="1" SizeT="1" PhysicalSizeX="8" PhysicalSizeXUnit="nm"'
        ' PhysicalSizeY="8" PhysicalSizeYUnit="nm" PhysicalSizeZ="50" PhysicalSizeZUnit="nm"/></Image></OME>'))
    out.truth("ome-bracket", data, scale=[50.0, 8.0, 8.0])
    tifffile.imwrite(out.path("ome-long"), data, photometric="minisblack", metadata=None, description=(
        '<OME><Image><Pixels SizeX="30" SizeY="20" SizeZ="4" SizeC="1" SizeT="1"/></Image>' + "<Plane/>" * 700_000 + "</OME>"))
    out.truth("ome-long", data)

    tifffile.imwrite(out.path("tifffile-one-sample"), data[..., None], photometric="minisblack")
    out.truth("tifffile-one-sample", data)
    tifffile.imwrite(out.path("tifffile-4d"), data.reshape(2, 2, 20, 30), photometric="minisblack")
    out.refused("tifffile-4d", "a shape of 4 dimensions")
    tifffile.imwrite(out.path("tifffile-4d-one-sample"), data.reshape(2, 2, 20, 30, 1), photometric="minisblack")
    out.refused("tifffile-4d-one-sample", "a shape of 4 dimensions")
    tifffile.imwrite(out.path("tifffile-axes"), data, photometric="minisblack", metadata={"axes": "ZYX"})
    out.truth("tifffile-axes", data)
    tifffile.imwrite(out.path("tifffile-turned"), data, photometric="minisblack", metadata={"axes": "XZY"})
    out.refused("tifffile-turned", "axes XZY")


def imagej(out):
    for dtype, order, shape in itertools.product(["uint8", "uint16", "float32"], "<>", [(5, 33, 47), (1, 9, 11), (184, 20, 31)]):
        data = volume(shape, dtype)
        name = f"imagej-{dtype}-{'le' if order == '<' else 'be'}-{shape[0]}"
        tifffile.imwrite(
            out.path(name), data.astype(data.dtype.newbyteorder(order)), imagej=True, byteorder=order,
            resolution=(50.0, 25.0), metadata={"axes": "ZYX", "unit": "\\u00B5m", "spacing": 0.02, "min": 3.0, "max": 99.0})
        facts = {"scale": [20.0, 40.0, 20.0]} if shape[0] > 1 else {}
        out.truth(name, data, requests=3, window=[3.0, 99.0], **facts)
    data = volume((3, 20, 30), "uint8")
    tifffile.imwrite(out.path("imagej-deflate"), data, imagej=True, compression="deflate", metadata={"axes": "ZYX"})
    out.truth("imagej-deflate", data)
    # Units as ImageJ's FileSaver writes them where they differ.
    for name, lines, resolution in [
        ("z-unit", "unit=micron\nzunit=nm\nspacing=50.0\n", (125, 125)),
        ("y-unit", "unit=micron\nyunit=nm\nzunit=micron\nspacing=0.05\n", (125, 0.125)),
    ]:
        tifffile.imwrite(
            out.path(f"imagej-{name}"), data, photometric="minisblack", byteorder=">", metadata=None, resolutionunit=1,
            description=f"ImageJ=1.54f\nimages=3\nslices=3\n{lines}loop=false\n", resolution=resolution)
        out.truth(f"imagej-{name}", data, scale=[50.0, 8.0, 8.0])
    for axes in ["CYX", "TYX"]:
        tifffile.imwrite(out.path(f"imagej-{axes}"), data, imagej=True, metadata={"axes": axes})
        out.truth(f"imagej-{axes}", data)


def by_itk(out):
    kinds = ["uint8", "int8", "uint16", "int16", "float32"]
    for dtype, shape in itertools.product(kinds, [(4, 150, 260), (11, 7, 5), (3, 1, 1), (40, 131, 77), (5, 700, 800)]):
        data = volume(shape, dtype)
        name = f"itk-{dtype}-{'x'.join(map(str, shape))}"
        sitk.WriteImage(sitk.GetImageFromArray(data), out.path(name))
        out.truth(name, data, requests=3)
    for compressor in ["Deflate", "LZW", "PackBits"]:
        data = volume((3, 70, 90), "uint16")
        name = f"itk-{compressor}"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(out.path(name))
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(sitk.GetImageFromArray(data))
        out.truth(name, data)


def numbers(out):
    """Numbers of other sizes than those that are shown, and other kinds of pages."""
    shape = (3, 21, 37)
    half = volume(shape, "float32").astype("float16")
    for name, options in [("", {}), ("-predictor", {"compression": "deflate", "predictor": 3}), ("-lzw", {"compression": "lzw"})]:
        for order in "<>":
            tifffile.imwrite(out.path(f"half{name}-{order == '<'}"), half.astype(half.dtype.newbyteorder(order)), byteorder=order, photometric="minisblack", **options)
            out.truth(f"half{name}-{order == '<'}", half.astype("float32"))
    mask = volume(shape, "uint8") > 40
    tifffile.imwrite(out.path("bilevel"), mask, photometric="minisblack")
    out.truth("bilevel", mask.astype("uint8"))
    for bits, order in itertools.product([2, 4, 7, 10, 12, 14], "<>"):
        if bits > 8 and order == ">":
            continue  # tifffile packs the bytes of these in the wrong order.
        data = volume(shape, "uint8" if bits < 8 else "uint16") & ((1 << bits) - 1)
        tifffile.imwrite(out.path(f"bits-{bits}-{order == '<'}"), data, byteorder=order, photometric="minisblack", bitspersample=bits)
        out.truth(f"bits-{bits}-{order == '<'}", data)
    data = volume((2, 40, 56), "uint8")
    for name, options in [("jpeg", {}), ("jpeg-strips", {"rowsperstrip": 16}), ("jpeg-tiles", {"tile": (16, 32)})]:
        tifffile.imwrite(out.path(name), data, compression="jpeg", photometric="minisblack", **options)
        out.truth(name, tifffile.imread(out.path(name)), near=1)
    tifffile.imwrite(out.path("palette"), data, photometric="palette", colormap=rng.integers(0, 65536, (3, 256)).astype("uint16"))
    out.truth("palette", data)


def by_pillow(out):
    """Pillow writes by libtiff, a page after another."""
    data = volume((4, 33, 47), "uint8")
    for compression in ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate"]:
        first, *others = [PIL.Image.fromarray(plane) for plane in data]
        first.save(out.path(f"pillow-{compression}"), save_all=True, append_images=others, compression=compression)
        out.truth(f"pillow-{compression}", data)


def storages(out):
    """Pages that are stored in different ways, and tiles that were never written."""
    data = volume((8, 70, 90), "uint16")
    ways = [
        {}, {"compression": "lzw", "predictor": 2}, {"tile": (16, 32)}, {"compression": "deflate", "rowsperstrip": 7},
        {"compression": "packbits", "tile": (32, 16)}, {"rowsperstrip": 9}, {"compression": "zstd"}, {"compression": "lzw", "rowsperstrip": 1}]
    for name, turned in [("first-plain", ways), ("first-packed", ways[1:] + ways[:1]), ("first-tiled", ways[2:] + ways[:2])]:
        with tifffile.TiffWriter(out.path(f"mixed-{name}")) as writer:
            for plane, options in zip(data, turned):
                writer.write(plane, photometric="minisblack", contiguous=False, metadata=None, **options)
        out.truth(f"mixed-{name}", data)
    tiles = [volume((1, 16, 16), "uint8")[0] if n % 3 != 2 else None for n in range(12)]
    tifffile.imwrite(out.path("sparse"), iter(tiles), shape=(2, 32, 48), dtype="uint8", tile=(16, 16), photometric="minisblack")
    read = tifffile.imread(out.path("sparse"))
    assert read.any() and not read[:, :16, 32:].any()
    out.truth("sparse", read)
    with tifffile.TiffWriter(out.path("thumbnail-first")) as writer:
        writer.write(np.zeros((8, 12, 3), "uint8"), photometric="rgb", metadata=None)
        for plane in data:
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None)
    out.truth("thumbnail-first", data)
    with tifffile.TiffWriter(out.path("grey-thumbnail-first")) as writer:
        writer.write(data[0, ::8, ::8], photometric="minisblack", metadata=None)
        for plane in data:
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None)
    out.truth("grey-thumbnail-first", data)


def descriptions(out):
    """Descriptions of another number of pages than there are."""
    data = volume((3, 20, 30), "uint8")
    for name, text in [
        ("shaped", '{"shape": [5, 20, 30]}'), ("ome", '<OME><Image><Pixels SizeX="30" SizeY="20" SizeZ="5" SizeC="1" SizeT="1"/></Image></OME>'),
    ]:
        with tifffile.TiffWriter(out.path(f"other-pages-{name}")) as writer:
            for plane in data:
                writer.write(plane, photometric="minisblack", contiguous=False, metadata=None, description=text)
        out.truth(f"other-pages-{name}", data)
    lines = "SCIFIO=0.42.0\naxes=X,Y,Z\nlengths=30,20,3\nscales=0.008,0.008,0.05\nunits=\\u00B5m,\\u00B5m,\\u00B5m\nbitsPerPixel=8\nimages=3\nchannels=1\nslices=3\nframes=1\nhyperstack=true\nmode=composite\nunit=\\u00B5m\n"
    with tifffile.TiffWriter(out.path("scifio")) as writer:
        for plane in data:
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None, description=lines, resolution=(1250000, 1250000), resolutionunit=3)
    out.truth("scifio", data, scale=[50.0, 8.0, 8.0])


def refusals(out):
    data = volume((2, 20, 30), "uint8")
    for codec in ["lzma", "webp"]:
        options = {"photometric": "rgb"} if codec == "webp" else {"photometric": "minisblack"}
        some = np.stack([data] * 3, -1) if codec == "webp" else data
        tifffile.imwrite(out.path(f"refused-{codec}"), some, compression=codec, **options)
        out.refused(f"refused-{codec}", {"lzma": "LZMA", "webp": "samples per pixel (RGB)"}[codec])
    tifffile.imwrite(out.path("refused-complex"), data.astype("complex64"), photometric="minisblack")
    out.refused("refused-complex", "complex")
    with tifffile.TiffWriter(out.path("refused-sizes")) as writer:
        writer.write(data[0], metadata=None)
        writer.write(data[0][:10], metadata=None)
    out.refused("refused-sizes", "page 1")


def main():
    out = Out(sys.argv[1])
    by_tifffile(out)
    imagej(out)
    by_itk(out)
    by_pillow(out)
    numbers(out)
    storages(out)
    descriptions(out)
    refusals(out)
    print(f"{len(list(out.folder.glob('*.json')))} files in {out.folder}")


if __name__ == "__main__":
    main()
