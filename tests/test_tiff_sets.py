"""OME-TIFF files that hold the planes of one image together: a plane in each, several in each, and folders of them."""

import itertools
import uuid
from xml.sax.saxutils import escape

import numpy as np
import pytest
import tifffile

from mounting import configuration, emfs, mounted
from origin import Origin
from readers import assert_equal
from test_sections import warnings
from test_tiff_as_left import planes, refusal, scale, voxels_of

SIZES = ('PhysicalSizeX="4" PhysicalSizeXUnit="nm" PhysicalSizeY="8" PhysicalSizeYUnit="nm" PhysicalSizeZ="30" PhysicalSizeZUnit="nm"')


def image_set(folder, where, z=4, channels=1, times=1, order="XYZCT", name="s_{}.ome.tif", told=True, blocks=False):
    """Writes the files of an image by tifffile. `where(z, c, t)` is the number of a plane's file; pages follow each other in the order
    of z, then c, then t. `told`: whether each file has the whole description; else all but the first name that one. `blocks`: one
    element of the description for planes that follow each other. The voxels come as t, c, z, y, x."""
    folder.mkdir(parents=True)
    places = [(t, c, number) for t in range(times) for c in range(channels) for number in range(z)]
    voxels = planes(len(places), (20, 30), seed=len(places)).reshape(times, channels, z, 20, 30)
    files, parts = {}, []
    for t, c, number in places:
        pages = files.setdefault(where(number, c, t), [])
        parts.append((number, c, t, where(number, c, t), len(pages)))
        pages.append(voxels[t, c, number])
    ids = {file: f"urn:uuid:{uuid.uuid4()}" for file in files}
    named = escape(name, {"'": "&#39;", "é": "&#xe9;"})
    element = ('<TiffData FirstZ="{0}" FirstC="{1}" FirstT="{2}" IFD="{4}" PlaneCount="{5}"><UUID FileName="' + named.replace("{}", "{3}") + '">{6}</UUID></TiffData>')
    if blocks:
        grouped = [list(group) for _, group in itertools.groupby(parts, key=lambda part: part[3])]
        tiff_data = "".join(element.format(*group[0], len(group), ids[group[0][3]]) for group in grouped)
    else:
        tiff_data = "".join(element.format(*part, 1, ids[part[3]]) for part in parts)
    for file, pages in files.items():
        head = f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[file]}">'
        text = (f'{head}<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint8" SizeX="30" SizeY="20" SizeZ="{z}" '
                f'SizeC="{channels}" SizeT="{times}" {SIZES}>{tiff_data}</Pixels></Image></OME>')
        if not told and file != min(files):
            text = f'{head}<BinaryOnly MetadataFile="{named.format(min(files))}" UUID="{ids[min(files)]}"/></OME>'
        with tifffile.TiffWriter(folder / name.format(file)) as writer:
            for number, page in enumerate(pages):
                writer.write(page, description=text.encode() if number == 0 else None, metadata=None, photometric="minisblack")
    return voxels


def first(folder):
    return str(sorted(folder.iterdir())[0])


DIVISIONS = {
    "a plane in each": (lambda z, c, t: c * 4 + z, {}),
    "a plane in each by slices": (lambda z, c, t: z * 2 + c, {"order": "XYCZT"}),
    "a channel in each": (lambda z, c, t: c, {}),
    "a channel in each by blocks": (lambda z, c, t: c, {"blocks": True}),
    "a slice in each": (lambda z, c, t: z, {}),
    "half of the slices in each": (lambda z, c, t: z // 2, {}),
    "unequal parts": (lambda z, c, t: z // 3, {}),
    "one with the description": (lambda z, c, t: z // 2, {"told": False}),
    "one with the description of channels": (lambda z, c, t: c, {"told": False}),
}


def test_a_channel_of_a_set_of_files_is_its_planes_however_these_are_divided(tmp_path):
    made, datasets = {}, {}
    for number, (name, (where, options)) in enumerate(DIVISIONS.items()):
        voxels = image_set(tmp_path / f"d{number}", where, channels=2, **options)
        url = first(tmp_path / f"d{number}")
        said = refusal(tmp_path, {"kind": "tiff", "url": url})
        assert "2 channels" in said and "4 slices" in said and "`channel = N`" in said, said
        assert "channel 2 of 2" in refusal(tmp_path, {"kind": "tiff", "url": url, "channel": 2}), name
        for channel in (0, 1):
            datasets[f"d{number}-{channel}"] = {"kind": "tiff", "url": url, "channel": channel}
            made[f"d{number}-{channel}"] = voxels[0, channel]
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name, voxels in made.items():
            assert_equal(voxels_of(mount, name), voxels, name)
            assert scale(mount, name) == [30.0, 8.0, 4.0], name


def test_slices_in_several_files_are_one_stack_whichever_file_is_named(tmp_path):
    made, datasets = {}, {}
    for name, where, options in [("halves", lambda z, c, t: z // 3, {}), ("blocks", lambda z, c, t: z // 2, {"blocks": True}),
                                 ("turned", lambda z, c, t: 6 - z, {})]:
        voxels = image_set(tmp_path / name, where, z=7, **options)[0, 0]
        for number, file in enumerate(sorted((tmp_path / name).iterdir())):
            datasets[f"{name}{number}"] = {"kind": "tiff", "url": str(file)}
            made[f"{name}{number}"] = voxels
        assert np.array_equal(tifffile.imread(first(tmp_path / name)).squeeze(), voxels), "tifffile has the same"
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name, voxels in made.items():
            assert_equal(voxels_of(mount, name), voxels, name)


@pytest.mark.parametrize("told", [True, False], ids=["each has the description", "one has the description"])
def test_files_are_found_by_the_names_that_xml_means(told, tmp_path):
    voxels = image_set(tmp_path / "v", lambda z, c, t: z // 2, name="a & b's é_{}.ome.tif", told=told)[0, 0]
    assert np.array_equal(tifffile.imread(first(tmp_path / "v")).squeeze(), voxels), "tifffile has the same"
    with mounted(tmp_path, configuration({"v": {"kind": "tiff", "url": first(tmp_path / "v")}}), timeout=20) as mount:
        assert_equal(voxels_of(mount, "v"), voxels, "v")
    if not told:
        said = refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / "v" / "a & b's é_1.ome.tif")})
        assert "a & b's é_0.ome.tif" in said, said


def test_a_file_of_a_set_that_is_bad_is_an_error_for_its_own_planes_alone(tmp_path):
    voxels = image_set(tmp_path / "v", lambda z, c, t: z // 2, z=8)[0, 0]
    (tmp_path / "v" / "s_2.ome.tif").write_bytes(b"no TIFF at all, " * 100)
    source = {"kind": "tiff", "url": first(tmp_path / "v"), "chunk": [1, 20, 30]}
    with mounted(tmp_path, configuration({"v": source}), timeout=20) as mount:
        chunks = mount / "v" / "em.zarr" / "s0"
        for z in range(8):
            if z in (4, 5):
                with pytest.raises(OSError):
                    (chunks / str(z) / "0" / "0").read_bytes()
            else:
                assert (chunks / str(z) / "0" / "0").read_bytes() == voxels[z].tobytes(), z


def test_a_set_over_http_costs_few_requests_for_each_file_of_several_planes(tmp_path):
    voxels = image_set(tmp_path / "files" / "v", lambda z, c, t: z // 10, z=40)[0, 0]
    with Origin(tmp_path / "files") as origin:
        source = {"kind": "tiff", "url": f"{origin.url}/v/s_0.ome.tif", "chunk": [1, 20, 30]}
        with mounted(tmp_path, configuration({"v": source}), timeout=20) as mount:
            assert (mount / "v" / "em.zarr" / "s0" / "25" / "0" / "0").read_bytes() == voxels[25].tobytes()
            assert mount.requests() <= 12
            assert_equal(voxels_of(mount, "v"), voxels, "v")


def test_time_points_of_a_set_are_refused_with_what_helps_and_not_with_a_channel(tmp_path):
    for number, (where, options) in enumerate([
            (lambda z, c, t: t * 4 + z, {}), (lambda z, c, t: (t * 2 + c) * 4 + z, {"channels": 2}), (lambda z, c, t: t, {}),
            (lambda z, c, t: t, {"channels": 2})]):
        image_set(tmp_path / f"t{number}", where, times=2, **options)
        for keys in ({}, {"channel": 0}):
            said = refusal(tmp_path, {"kind": "tiff", "url": first(tmp_path / f"t{number}")} | keys)
            assert "2 time points" in said and "bfconvert -timepoint" in said and "`channel = N`" not in said, said


def test_what_axis_is_z_is_chosen_of_a_set_as_of_one_file(tmp_path):
    only = image_set(tmp_path / "channels", lambda z, c, t: c, z=1, channels=4)[0, :, 0]
    times = image_set(tmp_path / "times", lambda z, c, t: t * 2 + c, z=1, channels=2, times=3)[:, :, 0]
    url = first(tmp_path / "channels")
    said = refusal(tmp_path, {"kind": "tiff", "url": first(tmp_path / "times")})
    assert '`axes = "tyx"`' in said, said
    datasets = {"channels": {"kind": "tiff", "url": url}, "quiet": {"kind": "tiff", "url": url, "axes": "cyx"},
                "third": {"kind": "tiff", "url": url, "channel": 2},
                "times": {"kind": "tiff", "url": first(tmp_path / "times"), "axes": "tyx", "channel": 1}}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        assert_equal(voxels_of(mount, "channels"), only, "channels")
        assert_equal(voxels_of(mount, "quiet"), only, "quiet")
        assert_equal(voxels_of(mount, "third"), only[2:3], "third")
        assert_equal(voxels_of(mount, "times"), times[:, 1], "times")
        assert len(warnings(mount, "its 4 channels are shown as the planes along z")) == 1


def test_a_folder_in_which_channels_or_times_are_numbered_in_one_run_is_refused_unless_somebody_chose_of_it(tmp_path):
    for number, options in enumerate([{"channels": 2}, {"times": 2}, {"channels": 2, "times": 2}]):
        folder = tmp_path / f"f{number}"
        voxels = image_set(folder, lambda z, c, t: (t * options.get("channels", 1) + c) * 4 + z, **options)
        said = refusal(tmp_path, {"kind": "tiff", "url": f"{folder}/"})
        assert ("by `url` name one of them" in said) == ("times" not in options) and "`pattern`" in said and "4 slices, 2 " in said, said
    image_set(tmp_path / "stacks", lambda z, c, t: c, channels=2)
    assert "by `url` name one of them" in refusal(tmp_path, {"kind": "tiff", "url": f"{tmp_path / 'stacks'}/"})
    image_set(tmp_path / "halves", lambda z, c, t: z // 2)
    assert "name one of them by `url`" in refusal(tmp_path, {"kind": "tiff", "url": f"{tmp_path / 'halves'}/"})
    image_set(tmp_path / "binary", lambda z, c, t: z, told=False)
    said = refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / "binary" / "s_1.ome.tif")})
    assert "description is in \"s_0.ome.tif\"; name that file by `url`" in said, said
    for number, source in enumerate([{"url": f"{tmp_path / 'f0'}/"}, {"url": f"{tmp_path / 'f0'}/", "order": "natural"},
                                     {"urls": [str(file) for file in sorted((tmp_path / "f0").iterdir())]}]):
        said = refusal(tmp_path, {"kind": "tiff", "channel": 1} | source)
        assert "`channel = 1` is asked for, but each file is a section of one channel; leave `channel` out" in said, said
    # What each of these remedies gives.
    voxels = image_set(tmp_path / "all", lambda z, c, t: c * 4 + z, channels=2)[0]
    alone = tmp_path / "alone"
    alone.mkdir()
    for z in range(4):
        (alone / f"s_{4 + z}.ome.tif").write_bytes((tmp_path / "all" / f"s_{4 + z}.ome.tif").read_bytes())
    slices = image_set(tmp_path / "slices", lambda z, c, t: z)[0, 0]
    channels = image_set(tmp_path / "channels", lambda z, c, t: c, z=1, channels=3)[0, :, 0]
    base = {"kind": "tiff", "url": f"{tmp_path / 'all'}/"}
    datasets = {"pattern": base | {"pattern": r"s_([4-7])\."}, "set": {"kind": "tiff", "url": first(tmp_path / "all"), "channel": 1},
                "urls": {"kind": "tiff", "urls": [str(tmp_path / "all" / f"s_{z}.ome.tif") for z in range(4, 8)]},
                "alone": {"kind": "tiff", "url": f"{alone}/"}, "natural": base | {"order": "natural"},
                "slices": {"kind": "tiff", "url": f"{tmp_path / 'slices'}/"}, "channels": {"kind": "tiff", "url": f"{tmp_path / 'channels'}/"}}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name in ("pattern", "set", "urls", "alone"):
            assert_equal(voxels_of(mount, name), voxels[1], name)
        assert_equal(voxels_of(mount, "natural"), voxels.reshape(8, 20, 30), "natural")
        assert_equal(voxels_of(mount, "slices"), slices, "slices")
        assert not warnings(mount, "along `z`")


def test_explain_says_in_how_many_files_the_planes_are(tmp_path):
    image_set(tmp_path / "v", lambda z, c, t: z // 2, z=6)
    file = tmp_path / "v.toml"
    file.write_text(configuration({"v": {"kind": "tiff", "url": first(tmp_path / "v")}}))
    assert emfs("datasets", "--config", file, "--probe").returncode == 0
    with mounted(tmp_path, configuration({"v": {"kind": "tiff", "url": first(tmp_path / "v")}})) as mount:
        assert "in 3 files" in (mount / "v" / "metadata.json").read_text()
