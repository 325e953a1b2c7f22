"""TIFF files as microscopes, ImageJ and depositors leave them, through a mount: sections, dialects, keys that overrule a file."""

import concurrent.futures
import errno
import json
import os
import pathlib
import struct
import subprocess

import numpy as np
import pytest
import tifffile

import reference_volumes
from mounting import ROOT, configuration, emfs, mounted
from origin import Origin
from readers import assert_equal, zarr_array

SAMPLES = pathlib.Path(os.environ.get("EMFS_SAMPLES") or ROOT.parent / "shared" / "samples")
CASES = SAMPLES.parent / "cases" / "tiff"

FEI = "[User]\r\nDate=01/02/2020\r\n[Scan]\r\nPixelWidth=6.5e-009\r\nPixelHeight=6.5e-009\r\n"
ZEISS = "\r\n0\r\n5.582e-009\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 8.000 nm\r\nAP_MAG\r\nMag = 5.0 K X\r\n"


def planes(count, shape=(60, 70), dtype="u1", seed=1):
    return np.stack([reference_volumes.noise(shape, dtype, seed * 1000 + z) for z in range(count)])


def write(file, voxels, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {"photometric": "minisblack", "metadata": None} | options
    tifffile.imwrite(file, voxels, **options)


def sections(folder, voxels, name="s_{:04d}.tif", **options):
    for z, plane in enumerate(voxels):
        write(folder / name.format(z), plane, **options)


def voxels_of(mount, name):
    return np.asarray(zarr_array(mount / name / "em.zarr", 0, False))


def attributes(mount, name):
    return json.loads((mount / name / "em.zarr" / ".zattrs").read_text())


def scale(mount, name):
    """Voxel size where it is known."""
    multiscale = attributes(mount, name)["multiscales"][0]
    lengths = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
    return [length if "unit" in axis else None for axis, length in zip(multiscale["axes"], lengths)]


def refusal(tmp_path, source, name="refused"):
    """The sentence for a source that is not shown."""
    file = tmp_path / f"{name}.toml"
    file.write_text(configuration({name: source}))
    done = emfs("datasets", "--config", file, "--probe", check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def test_sections_are_a_volume_whatever_microscope_wrote_them(tmp_path):
    made = {}
    for number, (name, tag, size) in enumerate([
            ("fei", (34682, 2, None, FEI, True), 6.5), ("zeiss", (34118, 2, None, ZEISS, True), 8.0), ("plain", None, None)]):
        made[name] = planes(18, seed=number)
        extra = {} if tag is None else {"extratags": [tag]}
        sections(tmp_path / name, made[name], rowsperstrip=2, **extra)
    made["centimetres"] = planes(3, seed=7)
    sections(tmp_path / "centimetres", made["centimetres"], resolution=(1e6, 1e6), resolutionunit=3)
    made["packed"] = planes(5, (200, 130), "u2", 8)
    for z, (plane, options) in enumerate(zip(made["packed"], [
            {"compression": "lzw"}, {"tile": (64, 64)}, {}, {"compression": "deflate", "rowsperstrip": 11}, {"byteorder": ">"}])):
        plane = plane.astype(">u2") if "byteorder" in options else plane
        write(tmp_path / "packed" / f"s_{z}.tif", plane, **options)
    datasets = {name: {"kind": "tiff", "url": f"{tmp_path / name}/", "voxel_size": [50.0, 9.0, 9.0]} for name in made}
    datasets["listed"] = {"kind": "tiff", "urls": [str(tmp_path / "fei" / f"s_{z:04d}.tif") for z in (3, 1, 2)]}
    made["listed"] = made["fei"][[3, 1, 2]]
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name in datasets:
            assert_equal(voxels_of(mount, name), made[name], name)
        assert scale(mount, "fei") == [50.0, 6.5, 6.5] and scale(mount, "zeiss") == [50.0, 8.0, 8.0]
        assert scale(mount, "plain") == [50.0, 9.0, 9.0] and scale(mount, "centimetres") == [50.0, 10.0, 10.0]
        assert scale(mount, "listed") == [None, 6.5, 6.5]


def test_thousands_of_sections_cost_few_requests_and_those_that_are_missing_are_errors_for_their_chunks_alone(tmp_path, long):
    count = 5000 if long else 400
    root = tmp_path / "files"
    some = planes(40)
    for z in range(count):
        write(root / "v" / f"s_{z:05d}.tif", some[z % 40], rowsperstrip=2)
    with Origin(root) as origin:
        source = {"kind": "tiff", "url": f"{origin.url}/v/", "chunk": [1, 60, 70]}
        with mounted(tmp_path, configuration({"v": source}), timeout=20) as mount:
            chunks = mount / "v" / "em.zarr" / "s0"
            assert json.loads((chunks / ".zarray").read_text())["shape"] == [count, 60, 70]
            # One of a hundred, and the last one, which was looked at and is gone since.
            missing = {*range(17, count, 100), count - 1}
            for z in missing:
                (root / "v" / f"s_{z:05d}.tif").unlink()
            before = mount.requests()
            listed = subprocess.run(["ls", "-lR", chunks], capture_output=True, text=True, check=True).stdout
            assert listed.count(f" {60 * 70} ") == count
            assert mount.requests() == before, "a listing costs nothing"
            assert (chunks / "5" / "0" / "0").read_bytes() == some[5].tobytes()
            assert mount.requests() <= 12, "the volume and one plane of it"

            def look(z):
                try:
                    return (chunks / str(z) / "0" / "0").read_bytes() == some[z % 40].tobytes()
                except OSError as error:
                    return error.errno

            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                seen = list(pool.map(look, range(count)))
            assert seen == [errno.EIO if z in missing else True for z in range(count)]


def test_a_part_is_never_shown_as_the_whole(tmp_path):
    voxels = planes(7)
    for z in range(3):
        write(tmp_path / "runs" / f"r01a_{z:04d}.tif", voxels[z])
    for z in range(4):
        write(tmp_path / "runs" / f"r01b_{z:04d}.tif", voxels[3 + z])
    said = refusal(tmp_path, {"kind": "tiff", "url": f"{tmp_path / 'runs'}/"})
    assert '4 as "r01b_0000.tif", 3 as "r01a_0000.tif"' in said and 'order = "natural"' in said and "pattern" in said
    base = {"kind": "tiff", "url": f"{tmp_path / 'runs'}/"}
    datasets = {"all": base | {"order": "natural"}, "second": base | {"pattern": r"r01b_(\d+)"}}
    for z in (0, 1, 3, 4):
        write(tmp_path / "gap" / f"s_{z:04d}.tif", voxels[z])
    gap = {"kind": "tiff", "url": f"{tmp_path / 'gap'}/"}
    said = refusal(tmp_path, gap)
    assert '"s_0002.tif" of the series is missing' in said and 'gaps = "blank"' in said
    datasets |= {"blank": gap | {"gaps": "blank"}, "close": gap | {"order": "natural"}}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        assert_equal(voxels_of(mount, "all"), voxels, "all")
        assert_equal(voxels_of(mount, "second"), voxels[3:], "second")
        blank = voxels[:5].copy()
        blank[2] = 0
        assert_equal(voxels_of(mount, "blank"), blank, "blank")
        assert_equal(voxels_of(mount, "close"), voxels[[0, 1, 3, 4]], "close")


def ome(count, own):
    parts = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="z{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>' for z in range(count))
    return (f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}"><Image ID="Image:0"><Pixels ID="Pixels:0"'
            f' DimensionOrder="XYZCT" Type="uint8" SizeX="70" SizeY="60" SizeZ="{count}" SizeC="1" SizeT="1" PhysicalSizeX="8"'
            f' PhysicalSizeXUnit="nm" PhysicalSizeY="8" PhysicalSizeYUnit="nm" PhysicalSizeZ="50" PhysicalSizeZUnit="nm">{parts}</Pixels></Image></OME>')


def test_a_set_of_ome_files_is_shown_whole_or_not_at_all(tmp_path):
    voxels = planes(4)
    for z, plane in enumerate(voxels):
        write(tmp_path / "set" / f"z{z}.ome.tif", plane, description=ome(4, z))
    companion = '<OME UUID="urn:uuid:1"><BinaryOnly MetadataFile="v.companion.ome" UUID="urn:uuid:9"/></OME>'
    write(tmp_path / "binary.ome.tif", voxels[0], description=companion)
    said = refusal(tmp_path, {"kind": "tiff", "url": str(tmp_path / "binary.ome.tif")})
    assert "v.companion.ome" in said and "`urls`" in said
    datasets = {"set": {"kind": "tiff", "url": str(tmp_path / "set" / "z2.ome.tif")}}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        assert_equal(voxels_of(mount, "set"), voxels, "set")
        assert scale(mount, "set") == [50.0, 8.0, 8.0]


def test_white_as_zero_is_told_and_shown_inverted_with_the_voxels_as_stored(tmp_path):
    voxels = planes(3)
    for name, photometric in [("white", "miniswhite"), ("black", "minisblack")]:
        write(tmp_path / f"{name}.tif", voxels, photometric=photometric)
    datasets = {name: {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")} for name in ("white", "black")}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name, inverted, membranes in [("white", True, "bright"), ("black", False, "dark")]:
            assert_equal(voxels_of(mount, name), voxels, name)
            assert attributes(mount, name)["omero"]["channels"][0]["inverted"] is inverted
            image = json.loads((mount / name / "metadata.json").read_text())["images"][0]
            assert image["membranes"] == membranes and ("white is zero" in image["upstream_format"]) is inverted


def test_the_user_can_overrule_a_file(tmp_path):
    voxels = planes(6)
    imagej = "ImageJ=1.54f\nimages=6\nslices=6\nunit=nm\nspacing=50.0\nloop=false\n"
    write(tmp_path / "size.tif", voxels, description=imagej, resolution=(0.125, 0.125), resolutionunit=1)
    write(tmp_path / "channels.tif", voxels, description="ImageJ=1.54f\nimages=6\nchannels=2\nslices=3\nhyperstack=true\n")
    write(tmp_path / "time.tif", voxels, description="ImageJ=1.54f\nimages=6\nframes=6\n")
    with tifffile.TiffWriter(tmp_path / "cut.tif") as writer:
        for plane in voxels:
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None)
    body = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(body[:len(body) * 4 // 5])
    at = lambda name, **keys: {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")} | keys
    assert "`channel = N`" in refusal(tmp_path, at("channels"))
    assert "`truncated = \"show\"`" in refusal(tmp_path, at("cut")) and "page 4 is the first one missing" in refusal(tmp_path, at("cut"))
    datasets = {
        "size": at("size"), "forced": at("size", voxel_size={"force": [40.0, 5.0, 6.0]}), "first": at("channels", channel=0),
        "second": at("channels", channel=1), "time": at("time"), "named": at("time", axes="tyx"), "cut": at("cut", truncated="show")}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        assert scale(mount, "size") == [50.0, 8.0, 8.0] and scale(mount, "forced") == [40.0, 5.0, 6.0]
        image = json.loads((mount / "forced" / "metadata.json").read_text())["images"][0]
        assert [image["voxel_size"][axis] for axis in "zyx"] == [40.0, 5.0, 6.0]
        for name, expected in [("first", voxels[::2]), ("second", voxels[1::2]), ("time", voxels), ("named", voxels), ("cut", voxels[:4])]:
            assert_equal(voxels_of(mount, name), expected, name)
        warned = [line for line in mount.log.splitlines() if "are shown as the planes along z" in line]
    assert len(warned) == 1 and "time.tif" in warned[0], warned


def test_what_is_known_of_one_axis_is_told_of_it(tmp_path):
    voxels = planes(3)
    lines = "ImageJ=1.54f\nimages=3\nslices=3\nunit=nm\nzunit=furlongs\nspacing=2\n"
    write(tmp_path / "partly.tif", voxels, description=lines, resolution=(0.125, 0.125), resolutionunit=1)
    with mounted(tmp_path, configuration({"partly": {"kind": "tiff", "url": str(tmp_path / "partly.tif")}}), timeout=20) as mount:
        assert scale(mount, "partly") == [None, 8.0, 8.0]
        record = json.loads((mount / "partly" / "metadata.json").read_text())
        assert "furlongs" in record["missing"]["/images/0/voxel_size/z"] and record["images"][0]["voxel_size"]["y"] == 8.0
        assert not any("states a voxel size" in reason for reason in record["missing"].values())
        assert len([line for line in mount.log.splitlines() if "furlongs" in line]) == 1


def mrc(file, voxels, mode, big_endian=False, cell=(4.0, 5.0, 6.0), extended=b""):
    """As the format is described: ångströms per voxel along z, y, x."""
    order = ">" if big_endian else "<"
    header = np.zeros(256, f"{order}i4")
    depth, height, width = voxels.shape
    header[[0, 1, 2, 3, 7, 8, 9]] = width, height, depth, mode, width, height, depth
    header[16:19] = 1, 2, 3
    header.view(f"{order}f4")[10:13] = width * cell[2], height * cell[1], depth * cell[0]
    header[23] = len(extended)
    header.view("u1")[208:214] = list(b"MAP " + (b"\x11\x11" if big_endian else b"\x44\x44"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(header.tobytes() + extended + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes())


def test_mrc_files_are_volumes_and_sections(tmp_path):
    made, datasets = {}, {}
    for mode, dtype in [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")]:
        for big_endian in (False, True):
            name = f"mode-{mode}-{big_endian}"
            made[name] = planes(5, (40, 50), "f4" if dtype == "f2" else dtype, mode).astype(dtype)
            mrc(tmp_path / f"{name}.mrc", made[name], mode, big_endian, extended=b"x" * 160 * mode)
            datasets[name] = {"kind": "mrc", "url": str(tmp_path / f"{name}.mrc")}
    made["folder"] = planes(6, (40, 50), "i2", 20)
    for z, plane in enumerate(made["folder"]):
        mrc(tmp_path / "folder" / f"s{z}.mrc", plane[None], 1, z % 2 == 1)
    datasets["folder"] = {"kind": "mrc", "url": f"{tmp_path / 'folder'}/"}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name, voxels in made.items():
            expected = voxels.astype("f4") if voxels.dtype == np.float16 else voxels
            assert_equal(voxels_of(mount, name), expected, name)
            assert np.allclose(scale(mount, name), [0.4, 0.5, 0.6]), name


def patched(file, words):
    """Writes whole numbers and floats to places of a little-endian header."""
    raw = bytearray(file.read_bytes())
    for at, word in words.items():
        struct.pack_into("<f" if isinstance(word, float) else "<i", raw, at, word)
    file.write_bytes(raw)


def test_bytes_of_mrc_are_what_their_header_says(tmp_path):
    """By the rules of IMOD's library: its flags, else the values that the header says, of which int8 holds some and uint8 others."""
    imod, made, datasets = 1146047817, {}, {}

    def add(name, stored, shown, words, mode=0):
        mrc(tmp_path / f"{name}.mrc", stored, mode)
        patched(tmp_path / f"{name}.mrc", words)
        made[name], datasets[name] = shown, {"kind": "mrc", "url": str(tmp_path / f"{name}.mrc")}

    numbers = planes(5, (40, 50), "u1", 1)
    assert numbers.max() > 127
    halves = np.stack([numbers & 15, numbers >> 4], -1).reshape(5, 40, 100)
    add("halves", numbers, halves, {152: imod, 156: 16})
    add("mode-101", numbers, halves[..., :99], {0: 99, 28: 99, 40: 99 * 6.0}, 101)
    add("unsigned", numbers, numbers, {76: 0.0, 80: 254.0})
    add("imod-unsigned", numbers, numbers, {152: imod, 156: 0})
    add("imod-signed", numbers, numbers.view("i1"), {152: imod, 156: 1, 76: 0.0, 80: 254.0})
    add("unsaid", numbers, numbers.view("i1"), {})
    for z, plane in enumerate(numbers):
        # One whose values are the same in both types among others.
        plane = plane & 127 if z == 2 else plane
        mrc(tmp_path / "folder" / f"s{z}.mrc", plane[None], 0)
        patched(tmp_path / "folder" / f"s{z}.mrc", {76: float(plane.min()), 80: float(plane.max())})
    made["folder"] = np.stack([plane & 127 if z == 2 else plane for z, plane in enumerate(numbers)])
    datasets["folder"] = {"kind": "mrc", "url": f"{tmp_path / 'folder'}/"}
    # As programs wrote it before there was a stamp of the byte order: 512 is a number of columns in the other order, too.
    old = np.random.default_rng(1).integers(-100, 100, (256, 256, 512), "i1")
    header = np.zeros(256, ">i4")
    header[:3] = old.shape[::-1]
    (tmp_path / "old.mrc").write_bytes(header.tobytes() + old.tobytes())
    made["old"], datasets["old"] = old, {"kind": "mrc", "url": str(tmp_path / "old.mrc"), "voxel_size": [0.4, 0.5, 0.6]}
    with mounted(tmp_path / "m", configuration(datasets), timeout=20) as mount:
        for name, voxels in made.items():
            assert_equal(voxels_of(mount, name), voxels, name)
            assert np.allclose(scale(mount, name), [0.4, 0.5, 0.6]), name
        warned = [line for line in mount.log.splitlines() if "only uint8 holds" in line]
        assert [name for name in made for line in warned if f"/{name}" in line] == ["unsigned", "folder"], warned
        record = json.loads((mount / "halves" / "metadata.json").read_text())
        assert "100" in json.dumps(record), "voxels, not bytes"


@pytest.mark.parametrize("magic, name", [
    (b"NRRD0005\n", "NRRD"), (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"WKW\x01", "WEBKNOSSOS"), (b"experiment name \"x\";\n", "KNOSSOS")])
def test_formats_that_are_not_read_are_named(tmp_path, magic, name):
    (tmp_path / "v.dat").write_bytes(magic + bytes(5000))
    for kind in ("tiff", "mrc"):
        assert name in refusal(tmp_path, {"kind": kind, "url": str(tmp_path / "v.dat")})


def reference(file):
    """What tifffile reads of a case, the pages that are alike one after the other."""
    with tifffile.TiffFile(file) as opened:
        pages = [page.aspage() for page in opened.pages]
        shape = pages[-1].shape
        return np.stack([page.asarray() for page in pages if page.shape == shape])


@pytest.mark.skipif(not CASES.is_dir(), reason="there is no ../shared/cases")
def test_the_cases_are_read_as_tifffile_reads_them(tmp_path):
    files = {file.stem.lower().replace("_", "-"): file for file in sorted(CASES.glob("*.tif"))}
    keys = {"14-cut": {"truncated": "show"}, "14-rubbish": {}}
    datasets = {name: {"kind": "tiff", "url": str(file)} | keys.get(name, {}) for name, file in files.items()}
    assert "page 4 is the first one missing" in refusal(tmp_path, {"kind": "tiff", "url": str(files["14-cut"])})
    datasets |= {
        "micrometers": {"kind": "dm3", "url": str(CASES / "09_micrometers.dm3")}, "zero": {"kind": "dm3", "url": str(CASES / "10_zero.dm3")},
        "sections": {"kind": "tiff", "url": str(CASES / "03_sections" / "Carotid2")},
        "uuid-set": {"kind": "tiff", "url": str(CASES / "12_uuid_set" / "z1.ome.tif")}}
    for folder, options in [("case", {}), ("gap", {"order": "natural"}), ("letter", {"order": "natural"}), ("time", {}), ("versions", {})]:
        datasets[f"names-{folder}"] = {"kind": "dm3", "url": str(CASES / "16_names" / folder)} | options
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        wrong = []
        for name, file in files.items():
            try:
                expected, found = reference(file), voxels_of(mount, name)
            except Exception as error:
                wrong.append(f"{name}: {error}: {[line for line in mount.log.splitlines() if file.name in line][-1:]}")
                continue
            near = 1 if "jpeg" in name else 0
            if found.shape != expected.shape or not np.all(np.abs(found.astype("f8") - expected.astype("f8")) <= near):
                wrong.append(f"{name}: {found.shape} {found.dtype} for {expected.shape} {expected.dtype}")
        assert not wrong, "\n".join(wrong)
        for name in ("09-imagej-capital", "09-imagej-micrometres", "09-ome-mu"):
            assert scale(mount, name) == [50.0, 8.0, 8.0], name
        expected = np.stack([tifffile.imread(file, is_ome=False) for file in sorted((CASES / "12_uuid_set").glob("*.tif"))])
        assert_equal(voxels_of(mount, "uuid-set"), expected, "uuid-set")
        expected = np.stack([tifffile.imread(file) for file in sorted((CASES / "03_sections" / "Carotid2").glob("*.tif"))])
        assert_equal(voxels_of(mount, "sections"), expected, "sections")
        assert scale(mount, "sections")[1:] == [65.0, 65.0]
        for name in datasets:
            if name.startswith("names-"):
                assert voxels_of(mount, name).shape[0] == 4, name


def test_an_address_without_an_ending_is_the_file_that_is_there_or_else_the_folder(tmp_path, serve):
    root = tmp_path / "origin"
    voxels = planes(3)
    write(root / "stack", voxels)
    sections(root / "sections", voxels)
    origin = serve(root)
    sources = {"here": root / "stack", "there": f"{origin.url}/stack", "folder-here": root / "sections", "folder-there": f"{origin.url}/sections"}
    text = configuration({name: {"kind": "tiff", "url": str(url), "voxel_size": [8, 8, 8]} for name, url in sources.items()})
    with mounted(tmp_path / "mount", text, timeout=20) as mount:
        for name in sources:
            assert_equal(voxels_of(mount, name), voxels, name)
