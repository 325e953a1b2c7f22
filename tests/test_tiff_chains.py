"""TIFF files of tifffile with one thing in them patched, through a mount: broken pages, ends that are none, descriptions."""

import errno
import struct

import numpy as np
import tifffile

from mounting import configuration, mounted
from readers import assert_equal
from test_tiff_as_left import planes, refusal, voxels_of, write


def ifds(body):
    """Offsets of the IFDs of a little-endian classic file."""
    found, (at,) = [], struct.unpack_from("<I", body, 4)
    while at:
        found.append(at)
        (at,) = struct.unpack_from("<I", body, at + 2 + 12 * struct.unpack_from("<H", body, at)[0])
    return found


def entry(body, ifd, tag):
    (count,) = struct.unpack_from("<H", body, ifd)
    return next(at for at in range(ifd + 2, ifd + 2 + 12 * count, 12) if struct.unpack_from("<H", body, at)[0] == tag)


def link(body, ifd, to):
    struct.pack_into("<I", body, ifd + 2 + 12 * struct.unpack_from("<H", body, ifd)[0], to)


def patch(file, change):
    body = bytearray(file.read_bytes())
    change(body, ifds(body))
    file.write_bytes(body)


def pages(file, voxels, **options):
    """A page after the other, each with its IFD before it."""
    with tifffile.TiffWriter(file, byteorder="<") as writer:
        for plane in voxels:
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None, **options)


def failing(mount, name, voxels):
    """The planes that are errors, where all others are right."""
    found = []
    for z, plane in enumerate(voxels):
        try:
            assert (mount / name / "em.zarr" / "s0" / str(z) / "0" / "0").read_bytes() == plane.tobytes(), (name, z)
        except OSError as error:
            assert error.errno == errno.EIO
            found.append(z)
    return found


def test_a_broken_page_is_an_error_for_its_own_blocks_alone(tmp_path):
    voxels = planes(20)
    beyond = lambda page: lambda body, at: struct.pack_into("<I", body, entry(body, at[page], 273) + 8, 0x7FFFFFFF)
    other_type = lambda page: lambda body, at: struct.pack_into("<H", body, entry(body, at[page], 258) + 8, 24)
    zeros = lambda page: lambda body, at: struct.pack_into("<12x", body, at[page])
    bad = {}
    for name, options, change, number in [
            ("packed", {"compression": "lzw"}, beyond(3), 3), ("type", {"compression": "packbits"}, other_type(7), 7),
            ("plain", {}, other_type(10), 10), ("plain-beyond", {}, beyond(11), 11), ("plain-zeros", {}, zeros(9), 9)]:
        pages(tmp_path / f"{name}.tif", voxels, **options)
        patch(tmp_path / f"{name}.tif", change)
        bad[name] = number
    datasets = {name: {"kind": "tiff", "url": str(tmp_path / f"{name}.tif"), "chunk": [1, 60, 70]} for name in bad}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name, number in bad.items():
            assert failing(mount, name, voxels) == [number], name
            assert any(f"{name}.tif" in line and f"page {number}, " in line or f"page {number}: " in line
                       for line in mount.log.splitlines()), name


def test_what_follows_the_last_page_is_left_out_with_a_warning(tmp_path):
    voxels = planes(6)
    expected, datasets = {}, {}

    def case(name, change=lambda body, at: None, **keys):
        file = tmp_path / f"{name}.tif"
        if not file.exists():
            pages(file, voxels, compression="lzw")
        patch(file, change)
        datasets[name] = {"kind": "tiff", "url": str(file)} | keys

    def append(tail):
        def change(body, at):
            link(body, at[-1], len(body))
            body.extend(tail)
        return change

    case("end", append(b""))
    case("empty", append(bytes(6)))
    case("text", append(struct.pack("<HHHI4sI", 1, 305, 2, 4, b"abc\0", 0)))
    case("loop", lambda body, at: link(body, at[-1], at[0]), truncated="show")
    for name, tail in [("thumbnail", [(voxels[0][::4, ::4], 0)]), ("mask", [(voxels[0] > 9, 4)]),
                       ("pyramid", [(voxels[0][::2, ::2], 0), (voxels[0][::4, ::4], 0)])]:
        with tifffile.TiffWriter(tmp_path / f"{name}.tif", byteorder="<") as writer:
            for plane, kind in [(plane, 0) for plane in voxels] + tail:
                writer.write(plane, photometric="minisblack", contiguous=False, metadata=None, subfiletype=kind)
        case(name)
    assert "`truncated = \"show\"`" in refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / "loop.tif")})
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name in datasets:
            assert_equal(voxels_of(mount, name), voxels, name)
            assert any(f"{name}.tif" in line and "WARN" in line for line in mount.log.splitlines()), name


def test_a_description_is_heard_where_it_is_the_second_and_left_out_where_it_cannot_be_read(tmp_path):
    voxels = planes(6)
    both = np.stack([voxels, 255 - voxels])
    write(tmp_path / "two.tif", both, description="my acquisition", metadata={"axes": "CZYX"})
    assert "`channel = N`" in refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / "two.tif")})
    datasets = {"two": {"kind": "tiff", "url": str(tmp_path / "two.tif"), "channel": 1}}
    for name, change in [
            ("beyond", lambda body, at: struct.pack_into("<I", body, entry(body, at[0], 270) + 8, 0x7FFFFFF0)),
            ("numbers", lambda body, at: struct.pack_into("<H", body, entry(body, at[0], 270) + 2, 12)),
            ("long", lambda body, at: None)]:
        text = "x" * (11 << 20 if name == "long" else 50)
        write(tmp_path / f"{name}.tif", voxels, byteorder="<", description=text)
        patch(tmp_path / f"{name}.tif", change)
        datasets[name] = {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        assert_equal(voxels_of(mount, "two"), both[1], "two")
        for name in ("beyond", "numbers", "long"):
            assert_equal(voxels_of(mount, name), voxels, name)
            assert any(f"{name}.tif" in line and "ImageDescription" in line and "it is left out" in line
                       for line in mount.log.splitlines()), name


def test_planes_of_ome_files_are_where_tifffile_reads_them(tmp_path):
    voxels = planes(6)

    def ome(name, count, planes):
        pixels = (f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="70" SizeY="60" SizeZ="{count}" '
                  f'SizeC="1" SizeT="1">{planes}</Pixels>')
        xml = ('<?xml version="1.0"?><!-- <Pixels SizeZ="9"/> --><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
               f'UUID="urn:uuid:A"><Image ID="Image:0">{pixels}</Image></OME>')
        with tifffile.TiffWriter(tmp_path / f"{name}.ome.tif") as writer:
            for z, plane in enumerate(voxels):
                writer.write(plane, contiguous=False, photometric="minisblack", metadata=None,
                             description=xml.encode() if z == 0 else None)

    ome("uuid", 6, "".join(f'<TiffData FirstZ="{z}" IFD="{z}" PlaneCount="1"><UUID FileName="uuid.ome.tif">urn:uuid:B</UUID>'
                           "</TiffData>" for z in range(6)))
    ome("reverse", 6, "".join(f'<TiffData FirstZ="{z}" IFD="{5 - z}" PlaneCount="1"/>' for z in range(6)))
    ome("later", 5, '<TiffData IFD="1" PlaneCount="5"/>')
    names = ["uuid", "reverse", "later"]
    datasets = {name: {"kind": "tiff", "url": str(tmp_path / f"{name}.ome.tif")} for name in names}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name, expected in [("uuid", voxels), ("reverse", voxels[::-1]), ("later", voxels[1:])]:
            assert_equal(tifffile.imread(tmp_path / f"{name}.ome.tif"), expected, name)
            assert_equal(voxels_of(mount, name), expected, name)


def test_as_many_strips_are_read_as_there_is_memory_for(tmp_path):
    voxels = np.broadcast_to((np.arange(600) % 251).astype("u1")[:, None, None], (600, 1024, 64))
    pages(tmp_path / "strips.tif", voxels, compression="packbits", rowsperstrip=1)
    source = {"kind": "tiff", "url": str(tmp_path / "strips.tif")}
    with mounted(tmp_path, configuration({"strips": source}), timeout=60) as mount:
        assert_equal(voxels_of(mount, "strips")[[0, 299, 599]], voxels[[0, 299, 599]], "strips")
    with mounted(tmp_path / "small", configuration({"strips": source}), memory="64M", timeout=60) as mount:
        assert not (mount / "strips" / "em.zarr" / ".zarray").exists()
        text = (mount / "strips" / "em.zarr" / "ERROR.txt").read_text()
        assert "--memory" in text and "tiffcp" in text, text
