"""Folders of sections as microscopes, ImageJ and interrupted copies leave them: what is shown of each file, and what one bad file costs."""

import errno
import gzip
import shutil

import cv2
import mrcfile
import numpy as np
import pytest
import tifffile

import dm_files
from faults import altered, with_body, with_header, zeros
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault, Origin
from readers import assert_equal
from test_tiff_as_left import planes, refusal, scale, sections, voxels_of, write


def chunks(mount, name, count):
    """The bytes of each plane, or the errno of its read."""
    found = []
    for z in range(count):
        try:
            found.append((mount / name / "em.zarr" / "s0" / str(z) / "0" / "0").read_bytes())
        except OSError as error:
            found.append(error.errno)
    return found


def warnings(mount, words):
    return [line for line in mount.log.splitlines() if " WARN " in line and words in line]


def test_sections_that_begin_with_a_smaller_picture_are_shown_without_it_with_one_warning(tmp_path):
    full = planes(6, (200, 300))
    for z, plane in enumerate(full):
        file = tmp_path / "v" / f"s_{z}.tif"
        file.parent.mkdir(exist_ok=True)
        with tifffile.TiffWriter(file) as writer:
            for page in (plane[::10, ::10], plane):
                writer.write(page, contiguous=False, metadata=None, photometric="minisblack")
    datasets = {"folder": {"kind": "tiff", "url": f"{tmp_path / 'v'}/"}, "one": {"kind": "tiff", "url": str(tmp_path / "v" / "s_0.tif")}}
    with mounted(tmp_path, configuration(datasets)) as mount:
        assert_equal(voxels_of(mount, "folder"), full, "folder")
        assert len(warnings(mount, "a smaller picture (20×30 uint8) before the pages is left out")) == 1
        assert_equal(voxels_of(mount, "one"), full[:1], "one")


def test_a_folder_of_stacks_of_one_ifd_is_refused_as_one_of_many_pages_is(tmp_path):
    voxels = planes(5)
    for number in range(3):
        file = tmp_path / "v" / f"s_{number}.tif"
        write(file, voxels, imagej=True, metadata={"axes": "ZYX"})
        # As ImageJ writes it beyond 4 GiB: the IFDs after the first are not linked.
        with tifffile.TiffFile(file, mode="r+b") as tif:
            first = tif.pages.first
            handle, order = tif.filehandle, tif.byteorder
            handle.seek(first.offset)
            count = int.from_bytes(handle.read(2), "little" if order == "<" else "big")
            handle.seek(first.offset + 2 + 12 * count)
            handle.write(bytes(4))
        assert len(tifffile.TiffFile(file).pages) == 1 and np.array_equal(tifffile.imread(file), voxels)
    said = refusal(tmp_path, {"kind": "tiff", "url": f"{tmp_path / 'v'}/"})
    assert "a stack in each of several files is not supported; write each file as an image of its own" in said
    with mounted(tmp_path, configuration({"one": {"kind": "tiff", "url": str(tmp_path / "v" / "s_0.tif")}})) as mount:
        assert_equal(voxels_of(mount, "one"), voxels, "one")


def make(folder, kind, voxels):
    for z, plane in enumerate(voxels):
        file = folder / f"s_{z:04d}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "tif":
            write(file, plane)
        elif kind == "dm3":
            dm_files.write(file, plane)
        else:
            mrcfile.write(file, plane)


def damage(file, how, other):
    if how == "cut":
        file.write_bytes(file.read_bytes()[:1500])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "other":
        shutil.copy(other, file)
    elif how == "text":
        file.write_bytes(b"<html>no such thing</html>")
    else:
        file.unlink()


@pytest.mark.parametrize("kind", ["tif", "dm3", "mrc"])
@pytest.mark.parametrize("how", ["cut", "empty", "other", "text", "gone"])
def test_one_bad_section_is_an_error_for_its_own_blocks_wherever_it_is(tmp_path, kind, how):
    voxels = planes(6, (60, 70), "u2")
    make(tmp_path / "other", kind, planes(1, (30, 20), "u2"))
    bad = {"first": 0, "middle": 3, "last": 5}
    datasets = {}
    for place, z in bad.items():
        make(tmp_path / place, kind, voxels)
        files = sorted((tmp_path / place).iterdir())
        damage(files[z], how, next((tmp_path / "other").iterdir()))
        # By name, because a file that is gone is in no listing.
        datasets[place] = {"kind": "tiff" if kind == "tif" else kind, "urls": [str(file) for file in files], "chunk": [1, 60, 70]}
    with mounted(tmp_path, configuration(datasets)) as mount:
        for place, z in bad.items():
            expected = [errno.EIO if number == z else plane.astype("<u2").tobytes() for number, plane in enumerate(voxels)]
            assert chunks(mount, place, 6) == expected, place
        for place in ("first", "last"):
            told = warnings(mount, "what is read of this section is an error")
            assert len([line for line in told if f"/{place}/s_{bad[place]:04d}." in line]) == 1, told


@pytest.mark.parametrize("section", [0, 4])
@pytest.mark.parametrize("answer", ["zeros", "gone"])
def test_a_section_that_came_wrong_once_is_fetched_again_before_the_volume_does_without_it(tmp_path, section, answer):
    voxels = planes(5)
    sections(tmp_path / "files" / "v", voxels)
    given = []

    def once(request):
        if given or not request.path.endswith(f"s_{section:04d}.tif"):
            return None
        given.append(request)
        return altered(zeros) if answer == "zeros" else Fault("status", status=404)

    with Origin(tmp_path / "files") as origin:
        origin.fault = once
        with mounted(tmp_path, configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v/", "chunk": [1, 60, 70]}})) as mount:
            assert chunks(mount, "v", 5) == [plane.tobytes() for plane in voxels]
            assert given and not warnings(mount, "is an error")


def test_files_of_a_page_each_are_sections_whatever_their_ome_xml_says_of_other_images(tmp_path):
    voxels = planes(4)
    pixels = ('<Image ID="Image:{0}"><Pixels ID="Pixels:{0}" DimensionOrder="XYZCT" Type="uint8" SizeX="70" SizeY="60" SizeZ="{1}" SizeC="1" '
              'SizeT="1" PhysicalSizeX="0.008" PhysicalSizeY="0.01">{2}</Pixels></Image>')
    file = '<TiffData FirstZ="{0}" IFD="0" PlaneCount="1"><UUID FileName="{1}">urn:uuid:{1}</UUID></TiffData>'
    head = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:A">'
    names = [f"s_{z}.ome.tif" for z in range(4)]
    xml = {
        "positions": head + "".join(pixels.format(z, 1, file.format(0, name)) for z, name in enumerate(names)) + "</OME>",
        "planes": head + pixels.format(0, 9, "".join(file.format(z, name) for z, name in enumerate(names))) + "</OME>",
        "one": head + pixels.format(0, 4, '<TiffData FirstZ="2" IFD="0"/>') + "</OME>",
    }
    for kind, text in xml.items():
        for name, plane in zip(names, voxels):
            write(tmp_path / kind / name, plane, description=text.encode())
    datasets = {kind: {"kind": "tiff", "url": f"{tmp_path / kind}/", "voxel_size": [40.0, 1.0, 1.0]} for kind in xml}
    with mounted(tmp_path, configuration(datasets)) as mount:
        for kind in xml:
            assert_equal(voxels_of(mount, kind), voxels, kind)
            assert scale(mount, kind) == [40.0, 10.0, 8.0], kind
            assert len([line for line in warnings(mount, "a section is the one page of its file") if f"/{kind}/" in line]) == 1, mount.log


@pytest.mark.parametrize("what, words", [
    ("rgb", "convert it to grey values"), ("alpha", "keep one of them"), ("complex", "write its numbers as integers or floats"),
    ("mode 4", "magnitudes as mode 2"),
])
def test_what_is_not_read_is_refused_with_what_to_do(tmp_path, what, words):
    if what.startswith("mode"):
        file = tmp_path / "v.mrc"
        mrcfile.write(file, planes(2)[:, :, :].astype("c8"))
    else:
        file = tmp_path / "v.tif"
        voxels = {"rgb": planes(3).transpose(1, 2, 0), "alpha": planes(2).transpose(1, 2, 0), "complex": planes(1)[0].astype("c8")}[what]
        write(file, voxels, photometric="rgb" if what == "rgb" else "minisblack", planarconfig="contig")
    source = {"kind": "mrc" if what.startswith("mode") else "tiff", "url": str(file)}
    said = refusal(tmp_path, source)
    assert f"is not supported; " in said and words in said, said
    with mounted(tmp_path, configuration({"v": source})) as mount:
        assert words in (mount / "v" / "em.zarr" / "ERROR.txt").read_text()


def test_a_channel_of_sections_is_refused_with_the_key_and_what_to_write(tmp_path):
    voxels = planes(4)
    sections(tmp_path / "v", voxels)
    files = [str(tmp_path / "v" / f"s_{z:04d}.tif") for z in range(4)]
    for where in ({"url": f"{tmp_path / 'v'}/"}, {"url": str(tmp_path / "v")}, {"urls": files}, {"url": f"{tmp_path / 'v'}/", "order": "natural"}):
        said = refusal(tmp_path, {"kind": "tiff", "channel": 1} | where)
        assert "`channel = 1` is asked for, but each file is a section of one channel" in said and "`pattern`" in said, said
    with mounted(tmp_path, configuration({"a": {"kind": "tiff", "url": f"{tmp_path / 'v'}/", "channel": 0}})) as mount:
        assert_equal(voxels_of(mount, "a"), voxels, "channel 0")


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_at_a_server_says_what_is_wrong_with_it_however_its_address_ends(tmp_path, serve, slash):
    root = tmp_path / "origin"
    sections(root / "gap", planes(6))
    (root / "gap" / "s_0003.tif").unlink()
    sections(root / "sizes", planes(3))
    write(root / "sizes" / "s_0000.tif", planes(1, (30, 30))[0])
    (root / "pictures").mkdir()
    (root / "pictures" / "a_0.png").write_bytes(b"x")
    origin = serve(root)
    for name, words in (("gap", "`gaps = \"blank\"`"), ("pictures", "it holds PNG pictures, which emfs does not read; convert them to TIFF")):
        url = f"{origin.url}/{name}{slash}"
        assert words in refusal(tmp_path, {"kind": "tiff", "url": url}), name
        done = emfs("add", url, "--cache-size", "0", check=False)
        assert done.returncode == 1 and words in done.stderr, done.stderr
    for name in ("nothing", "gap/nothing"):
        assert "not found" in refusal(tmp_path, {"kind": "tiff", "url": f"{origin.url}/{name}{slash}"}), name


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_folder_of_pictures_says_what_they_are_and_what_to_do(tmp_path, ending):
    (tmp_path / "v").mkdir()
    for z, plane in enumerate(planes(3)):
        cv2.imwrite(str(tmp_path / "v" / f"s_{z}.{ending}"), plane)
    what = {"png": "PNG", "jpg": "JPEG"}[ending]
    said = refusal(tmp_path, {"kind": "tiff", "url": f"{tmp_path / 'v'}/"})
    assert f"it holds {what} pictures, which emfs does not read; convert them to TIFF, by `mogrify -format tif *.{ending}`" in said, said
    said = refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / "v" / f"s_0.{ending}")})
    assert f"not a TIFF file but {what}, which emfs does not read; convert it to TIFF" in said, said
    with pytest.raises(AssertionError):
        refusal(tmp_path, {"kind": "tiff", "url": _converted(tmp_path / "v", ending)})


def _converted(folder, ending):
    """What the remedy says, done."""
    for file in sorted(folder.glob(f"*.{ending}")):
        tifffile.imwrite(file.with_suffix(".tif"), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), photometric="minisblack", metadata=None)
    return f"{folder}/"


def half(answer):
    return answer.body[:len(answer.body) // 2]


def half_in_chunks(request, answer, origin):
    head = b"\r\n".join(line for line in answer.head().split(b"\r\n") if not line.startswith(b"Content-Length"))
    return head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(half(answer)), half(answer))


#: A part of a page that HTTP takes for a whole one.
HALVES = {
    "of a length": altered(lambda request, answer, origin: with_body(answer, half(answer))),
    "in chunks": altered(half_in_chunks),
    "compressed": altered(lambda request, answer, origin: with_body(with_header(answer, "Content-Encoding", "gzip"), gzip.compress(half(answer)))),
}


@pytest.mark.parametrize("part", HALVES)
def test_a_part_of_the_page_of_a_folder_leaves_no_section_out(tmp_path, part):
    voxels = planes(8)
    make(tmp_path / "files" / "v", "tif", voxels)
    given = []

    def once(request):
        if request.path == "/v/" and not given:
            given.append(1)
            return HALVES[part]

    with Origin(tmp_path / "files") as origin:
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v/"}})
        for mount in ("first", "from the cache"):
            origin.fault = once
            with mounted(tmp_path / mount, config, timeout=10, cache=tmp_path / "cache") as shown:
                assert_equal(voxels_of(shown, "v"), voxels, mount)
                assert emfs("status", shown.path, "--failed", check=False).returncode == 0
        assert given
        origin.fault = lambda request: HALVES[part] if request.path == "/v/" else None
        with mounted(tmp_path / "always", config, timeout=10) as shown:
            assert not readable(shown / "v" / "em.zarr" / ".zattrs")
            assert "is a listing of a folder whose end is missing" in (shown / "v" / "em.zarr" / "ERROR.txt").read_text()
            origin.fault = None
            wait_for(lambda: readable(shown / "v" / "em.zarr" / ".zattrs"), 10, "it is listed again")
            assert_equal(voxels_of(shown, "v"), voxels, "afterwards")


def readable(file):
    try:
        return bool(file.read_bytes())
    except OSError:
        return False
