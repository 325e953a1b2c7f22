"""TIFF files of ImageJ2, ImageJ and others whose pages are not what one would think: order of axes, counts that contradict each other,
smaller pictures in front, and files that are none of TIFF."""

import io
import json
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from mounting import configuration, mounted
from origin import Origin
from readers import assert_equal
from test_sections import warnings
from test_tiff_as_left import planes, refusal, scale, voxels_of, write


def scifio(axes, lengths, scales, units, channels=1, slices=1, frames=1):
    return (f"SCIFIO=0.42.0\naxes={axes}\nlengths={lengths}\nscales={scales}\nunits={units}\nbitsPerPixel=8\nimages=6\nchannels={channels}\n"
            f"slices={slices}\nframes={frames}\nhyperstack=true\nmode=composite\nunit=nm\n")


def test_the_pages_of_imagej2_follow_each_other_in_the_order_of_its_list_of_axes(tmp_path):
    voxels = planes(6, (20, 30))
    files = {
        "slices": scifio("X,Y,Z", "30,20,6", "4,8,30", "nm,nm,nm", slices=6),
        "channels first": scifio("X,Y,Channel,Z", "30,20,2,3", "4,8,1,30", "nm,nm,null,nm", 2, 3),
        "slices first": scifio("X,Y,Z,Channel", "30,20,3,2", "4,8,30,1", "nm,nm,nm,null", 2, 3),
        "lifetimes": scifio("X,Y,Z,Lifetime", "30,20,3,2", "4,8,30,1", "nm,nm,nm,ns", 1, 3),
        "times": scifio("X,Y,Z,Time", "30,20,3,2", "4,8,30,1", "nm,nm,nm,s", 1, 3, 2),
        "unknown": scifio("X,Y,Unknown", "30,20,6", "4,8,30", "nm,nm,nm"),
    }
    urls = {}
    for name, text in files.items():
        urls[name] = str(tmp_path / f"{name.replace(' ', '_')}.tif")
        tifffile.imwrite(urls[name], voxels, description=text, metadata=None, photometric="minisblack")
    datasets, made = {}, {}
    for number, (name, channel, expected) in enumerate([
            ("slices", None, voxels), ("channels first", 0, voxels[::2]), ("channels first", 1, voxels[1::2]), ("slices first", 0, voxels[:3]),
            ("slices first", 1, voxels[3:]), ("unknown", None, voxels)]):
        datasets[f"v{number}"] = {"kind": "tiff", "url": urls[name]} | ({} if channel is None else {"channel": channel})
        made[f"v{number}"] = expected
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name, expected in made.items():
            assert_equal(voxels_of(mount, name), expected, name)
            assert scale(mount, name) == [30.0, 8.0, 4.0], name
    for name, words in [("slices first", ["3 slices, 2 channels", "`channel = N`"]), ("lifetimes", ["3 slices, 2 pages along `l`", "file of their own"]),
                        ("times", ["2 time points", "bfconvert -timepoint"])]:
        said = refusal(tmp_path, {"kind": "tiff", "url": urls[name]})
        assert all(word in said for word in words), said


def test_more_pages_than_imagej_speaks_of_are_told_with_both_numbers_and_cost_one_request(tmp_path):
    voxels = planes(40, (60, 70))
    for name, said in [("few", 4), ("two", 2), ("all", 40), ("cut", 39)]:
        (tmp_path / "files").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "files" / f"{name}.tif", voxels, description=f"ImageJ=1.53t\nimages={said}\nslices={said}\n", metadata=None,
                         photometric="minisblack")
    made = {"few": 4, "two": 2, "all": 40, "cut": 39}
    with Origin(tmp_path / "files") as origin:
        requests = {}
        for name, count in made.items():
            source = {"kind": "tiff", "url": f"{origin.url}/{name}.tif"}
            with mounted(tmp_path / name, configuration({name: source}), timeout=20) as mount:
                attributes = json.loads((mount / name / "em.zarr" / "s0" / ".zarray").read_text())
                requests[name] = mount.requests()
                assert attributes["shape"] == [count, 60, 70]
                assert_equal(voxels_of(mount, name), voxels[:count], name)
                warned = warnings(mount, f"its description speaks of {count} pages, which are shown; the file has at least")
                assert len(warned) == (name != "all"), warned
                record = (mount / name / "metadata.json").read_text()
                assert (f"the first {count} of at least" in record) == (name != "all"), record
        assert requests["few"] <= requests["all"] + 1 and requests["cut"] <= requests["all"] + 1, requests


def test_of_imagej_counts_that_contradict_each_other_all_pages_are_shown_with_a_warning(tmp_path):
    voxels = planes(6, (20, 30))
    for name, text in [("product", "images=6\nchannels=2\nslices=2\nhyperstack=true\n"), ("lacking", "images=6\nchannels=2\nhyperstack=true\n")]:
        tifffile.imwrite(tmp_path / f"{name}.tif", voxels, description=f"ImageJ=1.53t\n{text}", metadata=None, photometric="minisblack")
    datasets = {name: {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")} for name in ("product", "lacking")}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name in datasets:
            assert_equal(voxels_of(mount, name), voxels, name)
        assert len(warnings(mount, "speaks of 6 pages and of 2 channels, 2 slices; the 6 are shown")) == 1
        assert len(warnings(mount, "speaks of 2 channels; all 6 pages are shown")) == 1
    assert "without `channel` all pages are shown" in refusal(tmp_path, datasets["product"] | {"channel": 1})


THUMBNAILS = {"two": [(16, 20), (32, 40)], "three": [(8, 10), (16, 20), (32, 40)], "as high": [(64, 16)], "as wide": [(16, 80)], "colours": [(16, 20, 3), (32, 40, 3)]}


def test_sections_and_files_that_begin_with_smaller_pictures_are_shown_without_them(tmp_path):
    voxels = planes(4, (64, 80))
    datasets = {}
    for number, shapes in enumerate(THUMBNAILS.values()):
        for z, plane in enumerate(voxels):
            file = tmp_path / f"t{number}" / f"s_{z}.tif"
            file.parent.mkdir(exist_ok=True)
            with tifffile.TiffWriter(file) as writer:
                for shape in shapes:
                    colours = {"photometric": "rgb" if len(shape) == 3 else "minisblack"}
                    writer.write(planes(1, shape)[0], contiguous=False, metadata=None, **colours)
                writer.write(plane, contiguous=False, metadata=None, photometric="minisblack")
        datasets[f"t{number}"] = {"kind": "tiff", "url": f"{tmp_path / f't{number}'}/"}
        datasets[f"one{number}"] = {"kind": "tiff", "url": str(tmp_path / f"t{number}" / "s_2.tif")}
    with mounted(tmp_path, configuration(datasets), timeout=30) as mount:
        for number in range(len(THUMBNAILS)):
            assert_equal(voxels_of(mount, f"t{number}"), voxels, str(number))
            assert_equal(voxels_of(mount, f"one{number}"), voxels[2:3], str(number))


def test_pages_of_other_forms_are_refused_with_what_to_do(tmp_path):
    with tifffile.TiffWriter(tmp_path / "white.tif") as writer:
        for photometric in ("minisblack", "miniswhite"):
            writer.write(planes(1)[0], contiguous=False, metadata=None, photometric=photometric)
    with tifffile.TiffWriter(tmp_path / "types.tif") as writer:
        for dtype in ("u1", "u2"):
            writer.write(planes(1, dtype=dtype)[0], contiguous=False, metadata=None, photometric="minisblack")
    for name, words in [("white", "white is 0, unlike"), ("types", "uint16, unlike")]:
        with mounted(tmp_path / name, configuration({"v": {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")}}), timeout=20) as mount:
            store = mount / "v" / "em.zarr"
            said = (store / "ERROR.txt").read_text() if (store / "ERROR.txt").exists() else mount.log
            assert words in said and "tiffcp" in said, said


def test_descriptions_that_are_refused_say_what_to_do(tmp_path):
    image = '<Image ID="Image:{0}"><Pixels ID="Pixels:{0}" DimensionOrder="XYZCT" Type="uint8" SizeX="70" SizeY="60" SizeZ="3" SizeC="1" SizeT="1"/></Image>'
    images = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">' + image.format(0) + image.format(1) + "</OME>"
    voxels = planes(6)
    write(tmp_path / "images.tif", voxels, description=images)
    tifffile.imwrite(tmp_path / "times.tif", voxels.reshape(2, 3, 60, 70), imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(tmp_path / "shape.tif", voxels.reshape(2, 3, 60, 70), photometric="minisblack")
    tifffile.imwrite(tmp_path / "turned.tif", voxels, photometric="minisblack", metadata={"axes": "ZXY"})
    for name, words in [("images", "bfconvert -series"), ("times", "bfconvert -timepoint"), ("shape", "name its axes"), ("turned", "of axes ZYX")]:
        said = refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")})
        assert words in said and "channel = N" not in said, said
    # What one of these remedies gives.
    tifffile.imwrite(tmp_path / "named.tif", voxels.reshape(2, 3, 60, 70), photometric="minisblack", metadata={"axes": "CZYX"})
    with mounted(tmp_path, configuration({"v": {"kind": "tiff", "url": str(tmp_path / "named.tif"), "channel": 1}}), timeout=20) as mount:
        assert_equal(voxels_of(mount, "v"), voxels[3:], "named")


def foreign():
    """Files that are none of TIFF, by their own writers."""
    plane = planes(1)[0]
    files = {}
    for name in ("PNG", "JPEG", "GIF"):
        buffer = io.BytesIO()
        Image.fromarray(plane).save(buffer, name)
        files[name] = (buffer.getvalue(), "a picture (JPEG 2000 or GIF)" if name == "GIF" else f"{name}, which emfs does not read; convert it to TIFF")
    buffer = io.BytesIO()
    np.save(buffer, plane)
    files["NumPy"] = (buffer.getvalue(), "an array of NumPy")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("v.tif", plane.tobytes())
    files["ZIP"] = (buffer.getvalue(), "a ZIP archive, which emfs does not read; unpack it")
    files["MetaImage"] = (b"ObjectType = Image\nNDims = 3\nElementDataFile = v.raw\n", "MetaImage")
    files["HTML"] = (b"\n<!doctype HTML>\n<html><body>Sign in</body></html>", "a web page (HTML)")
    files["git-lfs"] = (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n", "git lfs pull")
    return files


@pytest.mark.parametrize("name", foreign())
def test_a_file_that_is_no_tiff_is_called_what_it_is_with_what_to_do(tmp_path, name):
    content, words = foreign()[name]
    (tmp_path / "v.tif").write_bytes(content)
    said = refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / "v.tif")})
    assert "not a TIFF file but" in said and words in said, said


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", ">f4", "<f8"])
def test_predictors_are_undone_behind_packbits_as_tifffile_does_it(tmp_path, dtype):
    voxels = np.cumsum(planes(3, dtype="u1").astype("i4"), axis=2).astype(dtype)
    datasets, predictor = {}, 3 if "f" in dtype else 2
    for name, layout in [("strips", {"rowsperstrip": 7}), ("tiles", {"tile": (32, 48)})]:
        file = tmp_path / f"{name}.tif"
        write(file, voxels, compression="packbits", predictor=predictor, byteorder=dtype[0] if dtype[0] in "<>" else "<", **layout)
        assert np.array_equal(tifffile.imread(file), voxels)
        datasets[name] = {"kind": "tiff", "url": str(file)}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name in datasets:
            assert_equal(voxels_of(mount, name), voxels, name)
