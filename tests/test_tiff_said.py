"""What a TIFF file says of its voxels beside their numbers, and which files of a folder are its sections, through a mount."""

import os

import mrcfile
import numpy as np
import tifffile

from mounting import configuration, mounted
from readers import assert_equal
from test_tiff_as_left import planes, refusal, scale, sections, voxels_of, write

#: Untitled numbers, then titled values, as Zeiss' microscopes write them.
HEADER = ["0", "0", "0", "1e-08"] + ["0"] * 40
PIXEL = ["AP_PIXEL_SIZE", "Pixel Size = 10.00 nm"]
IMAGE = ["AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 3.000 nm"]
BEAM = "[User]\r\nDate=1\r\n[IRBeam]\r\nHFW=2.0e-7\r\nVFW=1.6e-7\r\n[Image]\r\nResolutionX=50\r\nResolutionY=40\r\n"


def zeiss(*lines):
    text = ("\r\n".join([*HEADER, *lines]) + "\r\n").encode("latin-1")
    return {"extratags": [(34118, 1, len(text), text, True)]}


def tiles(file, shape, dtype, nodata, compression):
    """A file of tiles of which every third was never written."""
    count = -(-shape[0] // 16) * (-(-shape[1] // 16))
    made = (None if number % 3 == 1 else np.full((16, 16), number + 1, dtype) for number in range(count))
    extra = [] if nodata is None else [(42113, "s", 0, nodata, True)]
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, made, shape=shape, dtype=dtype, tile=(16, 16), photometric="minisblack", metadata=None,
                     compression=compression, extratags=extra)
    return tifffile.imread(file)


def test_what_was_never_written_is_what_the_file_says_stands_for_it(tmp_path):
    made, sources = {}, {}
    for number, (dtype, nodata, compression) in enumerate([
            ("u1", "255", None), ("u1", "255", "zlib"), ("i2", "-9999", "lzw"), ("u2", "65535", "zstd"), ("f4", "nan", None),
            ("f4", "-3.5", "zlib"), ("u1", None, "zlib"), ("u1", "-9999", "zlib"), ("i4", "-7", "packbits")]):
        name = f"v{number}"
        made[name] = tiles(tmp_path / f"{name}.tif", (70, 90), dtype, nodata, compression)[None]
        sources[name] = {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")}
    made["folder"] = np.stack([tiles(tmp_path / "folder" / f"s_{z}.tif", (70, 90), "u1", "200", "zlib") for z in range(4)])
    sources["folder"] = {"kind": "tiff", "url": f"{tmp_path / 'folder'}/"}
    assert made["v0"].max() == 255 and (made["folder"] == 200).any(), "the reference shows them"
    with mounted(tmp_path, configuration(sources), timeout=20) as mount:
        for name, expected in made.items():
            assert_equal(voxels_of(mount, name), expected, name)
        log = mount.log
    assert 'GDAL_NODATA "-9999" is no value of uint8' in log


def test_a_pixel_is_as_large_as_the_file_says_it_is(tmp_path):
    one = planes(2, (40, 50))
    wide = planes(1, (20, 2048))
    centimetres = {"resolution": (2.5e6, 2.5e6), "resolutionunit": "CENTIMETER"}
    digital = [(65003, "s", 3, "nm", True), (65004, "s", 3, "nm", True), (65009, "d", 1, 4.0, True), (65010, "d", 1, 5.0, True)]
    ome = ('<?xml version="1.0"?><OME><Image ID="Image:0"><Pixels ID="P" DimensionOrder="XYZCT" Type="uint8" SizeX="{}" SizeY="{}" '
           'SizeZ="2" SizeC="1" SizeT="1" PhysicalSizeX="0.004" PhysicalSizeY="0.004"><TiffData/></Pixels></Image></OME>')
    cases = {
        "image": (wide, zeiss(*PIXEL, *IMAGE), [None, 3.0, 3.0]),
        "display": (wide, zeiss(*PIXEL), [None, 5.0, 5.0]),
        "header": (wide, zeiss("AP_WD", "WD = 4.9 mm"), [None, 5.0, 5.0]),
        "beam": (one, {"extratags": [(34682, 2, 0, BEAM, True)]}, [None, 4.0, 4.0]),
        "digital": (one, {"extratags": digital}, [None, 5.0, 4.0]),
        "imagej": (one, {"imagej": True, "metadata": {"axes": "ZYX"}, "photometric": None} | centimetres, [None, 4.0, 4.0]),
        "bioformats": (one, {"description": "ImageJ=\nhyperstack=true\nimages=2\nslices=2\n"} | centimetres, [None, 4.0, 4.0]),
        "millimetres": (one, {"resolution": (250000.0, 250000.0), "resolutionunit": "MILLIMETER"}, [None, 4.0, 4.0]),
        "micrometres": (one, {"resolution": (250.0, 250.0), "resolutionunit": "MICROMETER"}, [None, 4.0, 4.0]),
        "own": (one, {"description": ome.format(50, 40)}, [None, 4.0, 4.0]),
        "other": (one, {"description": ome.format(100, 80)}, [None, None, None]),
    }
    for name, (voxels, options, _) in cases.items():
        write(tmp_path / f"{name}.tif", voxels, **options)
    sources = {name: {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")} for name in cases}
    with mounted(tmp_path, configuration(sources), timeout=20) as mount:
        for name, (voxels, _, expected) in cases.items():
            assert_equal(voxels_of(mount, name), voxels, name)
            assert scale(mount, name) == expected, name
        assert "its description is of an image of 80×100 pixels, not of these 40×50" in mount.log


def test_no_section_is_left_out_of_a_folder_without_a_word(tmp_path):
    made = planes(6, (40, 50))
    for z, plane in enumerate(made):
        write(tmp_path / "bytes" / f"s_{z}.tif", plane)
        write(tmp_path / "first" / ("Stack.tif" if z == 0 else f"Stack ({z}).tif"), plane)
        write(tmp_path / "endings" / f"s{z}.{'tif' if z < 4 else 'btf'}", plane)
        write(tmp_path / "format" / f"s{z}.tif", plane)
    for z in (4, 5):
        os.rename(tmp_path / "bytes" / f"s_{z}.tif", os.fsencode(tmp_path / "bytes") + b"/s\xe4_%d.tif" % z)
        (tmp_path / "format" / f"s{z}.tif").rename(tmp_path / "format" / f"s{z}.dm3")
    for name, told in [
            ("bytes", "2 files have names that are no text in UTF-8, as `s\\xe4_4.tif`"),
            ("first", '"Stack.tif" has the name of the series of "Stack (1).tif" without a number'),
            ("endings", "files of several numbered series: 4 as"),
            ("format", '2 files of another format, as "s4.dm3", have numbers that are missing')]:
        assert told in refusal(tmp_path, {"kind": "tiff", "url": f"{tmp_path / name}/"}), name
    sources = {"chosen": {"kind": "tiff", "url": f"{tmp_path / 'bytes'}/", "pattern": r"s_(\d+)\.tif"}}
    read = {"chosen": made[:4]}
    for ending in ("mrcs", "map", "rec", "st"):
        for z, plane in enumerate(made):
            (tmp_path / ending).mkdir(exist_ok=True)
            mrcfile.write(tmp_path / ending / f"s{z}.{ending}", plane.astype("i2"))
        sources[ending] = {"kind": "mrc", "url": f"{tmp_path / ending}/"}
        read[ending] = made.astype("i2")
    for ending in ("btf", "tf8"):
        sections(tmp_path / ending, made, name="s_{}." + ending)
        sources[ending] = {"kind": "tiff", "url": f"{tmp_path / ending}/"}
        read[ending] = made
    # A name that the address would lose a letter of is that of another file.
    for z, plane in enumerate(made):
        write(tmp_path / "tab" / f"s\t{z}.tif", plane)
        write(tmp_path / "tab" / f"s{z}.tif", 255 - plane)
    sources["tab"] = {"kind": "tiff", "url": f"{tmp_path / 'tab'}/", "pattern": r"s\t(\d+)\.tif"}
    read["tab"] = made
    with mounted(tmp_path, configuration(sources), timeout=20) as mount:
        for name, expected in read.items():
            assert_equal(voxels_of(mount, name), expected, name)


def test_a_page_whose_only_strip_was_never_written_is_an_error_and_no_zeros(tmp_path):
    made = planes(3, (40, 50))
    for z, plane in enumerate(made):
        write(tmp_path / "v" / f"s_{z}.tif", plane, compression="zlib", rowsperstrip=40)
    with tifffile.TiffFile(tmp_path / "v" / "s_1.tif", mode="r+") as file:
        for tag in ("StripOffsets", "StripByteCounts"):
            file.pages[0].tags[tag].overwrite(0)
    with mounted(tmp_path, configuration({"v": {"kind": "tiff", "url": f"{tmp_path / 'v'}/", "chunk": [1, 40, 50]}})) as mount:
        chunks = mount / "v" / "em.zarr" / "s0"
        assert (chunks / "0" / "0" / "0").read_bytes() == made[0].tobytes()
        assert (chunks / "2" / "0" / "0").read_bytes() == made[2].tobytes()
        try:
            read = (chunks / "1" / "0" / "0").read_bytes()
        except OSError as error:
            assert error.errno == 5
        else:
            raise AssertionError(f"{len(read)} bytes were read")
        assert "nothing was stored, as where a write has failed" in mount.log


def test_addresses_that_mean_no_file_say_what_to_write(tmp_path):
    sections(tmp_path / "stack", planes(3))
    (tmp_path / "deeper" / "stack").mkdir(parents=True)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "s_0.tif.gz").write_bytes(b"\x1f\x8b")
    file = str(tmp_path / "stack" / "s_0000.tif")
    write(tmp_path / "colours.tif", planes(3), photometric="rgb", planarconfig="separate", metadata={})
    write(tmp_path / "lossless.tif", planes(2), compression="jpeg", compressionargs={"lossless": True})
    for source, told in [
            ({"url": f"{tmp_path}/stack/*.tif"}, "name the folder"),
            ({"url": f"{tmp_path}/stack/s_%04d.tif"}, "name the folder"),
            ({"url": r"C:\data\stack.tif"}, "a path of Windows"),
            ({"url": file, "kind": "dm3"}, 'write `kind = "tiff"` for it'),
            ({"url": f"{tmp_path}/deeper/"}, 'it holds folders, as "stack"'),
            ({"url": f"{tmp_path}/packed/"}, "gzip has compressed"),
            ({"urls": [f"{tmp_path}/stack", f"{tmp_path}/stack"]}, "is a folder among the files of `urls`"),
            ({"url": file, "kind": "dm4"}, "did you mean `dm3`?"),
            ({"url": f"{tmp_path}/colours.tif"}, 'photometric="minisblack"'),
            ({"url": f"{tmp_path}/lossless.tif"}, "lossless JPEG compression is not supported; store it in another way, in Python")]:
        said = refusal(tmp_path, {"kind": "tiff"} | source)
        assert told in said, said
