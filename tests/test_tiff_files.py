"""The TIFF files beside the stores, with the programs that read them: voxels, calibration, requests, memory, failures."""

import errno
import json
import os
import pathlib
import re
import shutil
import subprocess
import warnings

import numpy as np
import pytest

import exporting
import readers
import reference_volumes
from mounting import ROOT, configuration, emfs, mounted
from origin import Origin

BIOFORMATS = ROOT / "target" / "venv" / "bioformats"
#: What Pillow reads of TIFF files of one channel.
PILLOW = {"uint8", "uint16", "int32", "float32"}
#: What ImageJ reads as it is, but for numbers of 32 bits that it takes for signed: its bytes have no sign.
IMAGEJ = {"uint8", "uint16", "int16", "int32", "uint32", "float32"}


def program(name, package):
    found = shutil.which(name)
    return found or pytest.skip(f"{name} is not installed (Debian: {package})")


def levels(reference):
    """(path of the TIFF file, voxels, volume, level) of all levels of all odd volumes."""
    for name, volume in reference.volumes.items():
        for level, voxels in enumerate(volume.levels):
            yield reference.mount / name / f"em.s{level}.tif", voxels, volume, level


def test_tifffile_has_the_voxels_of_every_level_and_type(reference):
    import tifffile

    for path, voxels, volume, level in levels(reference):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with tifffile.TiffFile(path) as file:
                assert len(file.pages) == len(voxels) and not file.is_bigtiff, path
                assert file.series[0].shape == (voxels.shape if len(voxels) > 1 else voxels.shape[1:]), path
                found = file.asarray().reshape(voxels.shape)
                pages = np.stack([page.asarray() for page in file.pages])
                offset = file.series[0].dataoffset
                told = file.imagej_metadata
        readers.assert_equal(found, voxels, path, volume.lossy)
        readers.assert_equal(pages, voxels, path, volume.lossy)
        assert offset is not None, "the voxels are one array at one offset"
        assert path.stat().st_size == offset + voxels.nbytes and path.stat().st_blocks == -(-path.stat().st_size // 512)
        if volume.scale[level]:
            assert (told["unit"], told["spacing"]) == ("nm", volume.scale[level][0]), path
            x, y = (page_tag(path, tag) for tag in ("XResolution", "YResolution"))
            assert [y[1] / y[0], x[1] / x[0]] == pytest.approx(volume.scale[level][1:], rel=1e-12), path
        if volume.window:
            shift = 32768 if voxels.dtype == np.int16 else 0  # ImageJ's numbers of 16 bits are unsigned
            assert (told["min"], told["max"]) == tuple(value + shift for value in volume.window), path


def page_tag(path, tag):
    import tifffile

    with tifffile.TiffFile(path) as file:
        return file.pages[0].tags[tag].value


def test_the_finest_level_is_listed_once_the_image_is_open(reference, volume):
    (reference.store(volume.name) / ".zattrs").stat()
    assert "em.tif" in os.listdir(reference.mount / volume.name)
    files = [reference.mount / volume.name / name for name in ("em.tif", "em.s0.tif")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_pillow_has_every_page(reference):
    from PIL import Image, ImageSequence

    seen = set()
    for path, voxels, volume, _ in levels(reference):
        if voxels.dtype.name in PILLOW:
            seen.add(voxels.dtype.name)
            with Image.open(path) as image:
                found = np.stack([np.array(page) for page in ImageSequence.Iterator(image)])
            readers.assert_equal(found, voxels, path, volume.lossy)
    assert seen >= {"uint8", "uint16"}


def test_simpleitk_has_the_voxels(reference):
    import SimpleITK

    for path, voxels, volume, _ in levels(reference):
        if voxels.dtype.name in {"uint8", "int8", "uint16", "int16", "float32"}:
            found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
            readers.assert_equal(found.reshape(voxels.shape), voxels, path, volume.lossy)


def test_labels_crops_and_listed_views_are_files_of_their_own(demo):
    import tifffile

    found = 0
    for (dataset, image, label), volume in demo.truth.items():
        if label is not None:
            found += 1
            crop = (".crop-z1-5_y7-40_x3-50", np.s_[1:5, 7:40, 3:50])
            # What a crop has of labels with another grid is tested in test_labels_in_place.py.
            is_alike = volume.levels[0].shape == demo.truth[dataset, image, None].levels[0].shape
            for view, part in [("", np.s_[:])] + [crop] * is_alike:
                path = demo.mount / dataset / f"{image}{view}.labels-{label}.tif"
                readers.assert_equal(tifffile.imread(path), volume.levels[0][part], path)
                assert "min" not in tifffile.TiffFile(path).imagej_metadata
            assert f"{image}.labels-{label}.tif" in os.listdir(demo.mount / dataset)
    assert found
    path = demo.mount / "hemibrain" / "em.crop-z13-77_y50-150_x20-101.s1.tif"
    import zarr

    store = zarr.open(demo.mount / "hemibrain" / "em.crop-z13-77_y50-150_x20-101.zarr", mode="r")
    readers.assert_equal(tifffile.imread(path), store["s1"][:], path)
    told = tifffile.TiffFile(path).imagej_metadata
    assert (told["zorigin"], told["yorigin"], told["xorigin"]) == (-6, -25, -10)


@pytest.mark.parametrize("name", ["em.chunk-64.tif", "em.v3.tif", "em.s40.tif", "em.tiff", "em.labels-none.tif", "none.tif"])
def test_what_is_no_view_is_no_file(reference, name):
    with pytest.raises(FileNotFoundError):
        (reference.mount / "ij-u8" / name).stat()


def test_libtiff_reads_each_page_as_a_copy_by_tifffile(reference, tmp_path):
    import tifffile

    tiffinfo, tiffcmp = program("tiffinfo", "libtiff-tools"), program("tiffcmp", "libtiff-tools")
    for path, voxels, volume, _ in levels(reference):
        if volume.lossy or voxels.dtype.itemsize == 8:  # tiffcmp compares at most 32 bits
            continue
        done = subprocess.run([tiffinfo, "-D", path], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert done.stdout.count("TIFF Directory at offset") == len(voxels), path
        copy = tmp_path / "copy.tif"
        with tifffile.TiffWriter(copy) as writer:
            for page in voxels:
                writer.write(page.astype(voxels.dtype.newbyteorder("<")), contiguous=False, metadata=None)
        # The copy lacks texts and resolutions, which is told page by page; voxels that differ are told by their place.
        done = subprocess.run([tiffcmp, path, copy], capture_output=True, text=True, timeout=60)
        assert not re.search(r"Scanline|sample|ImageWidth|ImageLength|Bits|SampleFormat|different|No more", done.stdout + done.stderr), done.stdout


MACRO = """
open(getArgument());
getDimensions(width, height, channels, slices, frames);
getVoxelSize(x, y, z, unit);
getMinAndMax(low, high);
total = 0;
for (n = 1; n <= nSlices; n++) {
    setSlice(n);
    for (j = 0; j < height; j++) for (i = 0; i < width; i++) total += calibrate(getPixel(i, j));
}
print("" + width + " " + height + " " + slices + " " + x + " " + y + " " + z + " " + unit + " " + d2s(total, 3) + " " + low + " " + high);
"""


def test_imagej_has_voxels_calibration_and_window(reference, tmp_path):
    xvfb, java = program("xvfb-run", "xvfb xauth"), program("java", "default-jre")
    jar = pathlib.Path("/usr/share/java/ij.jar")
    if not jar.exists():
        pytest.skip("ImageJ is not installed (Debian: imagej)")
    (tmp_path / "macro.ijm").write_text(MACRO)
    seen = set()
    for path, voxels, volume, level in levels(reference):
        if voxels.dtype.name not in IMAGEJ - seen or voxels.size > 200_000 or volume.lossy:
            continue
        seen.add(voxels.dtype.name)
        done = subprocess.run([xvfb, "-a", java, "-cp", jar, "ij.ImageJ", "-ijpath", tmp_path, "-batch", tmp_path / "macro.ijm", path],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        width, height, slices, x, y, z, unit, total, low, high = done.stdout.split()[-10:]
        assert (int(slices), int(height), int(width)) == voxels.shape, path
        seen_as = voxels.astype("<u4").view("<i4") if voxels.dtype.name == "uint32" else voxels
        values = seen_as.astype("f4" if voxels.dtype.itemsize == 4 else "f8").astype("f8")
        assert float(total) == pytest.approx(values.sum(), abs=1e-6 * np.abs(values).sum()), path
        if volume.scale[level]:
            assert [float(z), float(y), float(x)] == pytest.approx(volume.scale[level], rel=1e-4) and unit == "nm", path
        window = json.loads((path.parent / "em.zarr" / ".zattrs").read_text())["omero"]["channels"][0]["window"]
        assert [float(low), float(high)] == pytest.approx([window["start"], window["end"]], rel=1e-5), path
    assert seen >= {"uint8", "uint16"}, seen


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "float32"])
def test_bio_formats_has_voxels_and_the_size_of_pixels(reference, tmp_path, dtype):
    """It takes the spacing of planes for micrometres, whatever the unit says, which the manual tells."""
    import tifffile

    java, (jar,) = program("java", "default-jre"), [*BIOFORMATS.glob("lib/python*/site-packages/bioformats/jars/bioformats_package.jar")]
    path, voxels, volume, level = next(of for of in levels(reference) if of[1].dtype.name == dtype and len(of[1]) > 1 and of[2].scale[of[3]])
    run = [java, "-Djava.awt.headless=true", "-cp", jar]
    told = subprocess.run([*run, "loci.formats.tools.ImageInfo", "-nopix", "-omexml-only", path], capture_output=True, text=True, timeout=120).stdout
    size = {axis: (float(re.search(f'PhysicalSize{axis}="([^"]*)"', told)[1]), re.search(f'PhysicalSize{axis}Unit="([^"]*)"', told)[1]) for axis in "XYZ"}
    z, y, x = volume.scale[level]
    assert [value for value, _ in size.values()] == pytest.approx([x, y, z], rel=1e-4), told
    assert [unit for _, unit in size.values()] == ["nm", "nm", "µm"], told
    done = subprocess.run([*run, "loci.formats.tools.ImageConverter", "-no-upgrade", path, tmp_path / "copy.ome.tif"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    readers.assert_equal(np.squeeze(tifffile.imread(tmp_path / "copy.ome.tif")), np.squeeze(voxels), str(path), volume.lossy)


def test_a_file_read_from_end_to_end_fetches_each_byte_once_and_planes_in_order(large, tmp_path):
    root, volume = large
    with Origin(root) as origin:
        config = configuration({"v": reference_volumes.source_at(volume, origin)}, exporting.PATIENT)
        with mounted(tmp_path, config, memory="64M", timeout=20) as mount:
            size = (mount / "v" / "em.tif").stat().st_size
            origin.forget()
            with open(mount / "v" / "em.tif", "rb") as file:
                data = b"".join(iter(lambda: file.read(1 << 20), b""))
            with origin._lock:
                ranges = [request.range for request in origin.requests if request.range]
    assert len(data) == size
    found = np.frombuffer(data[-volume.levels[0].nbytes:], volume.dtype).reshape(volume.levels[0].shape)
    readers.assert_equal(found, volume.levels[0], "em.tif")
    ordered = sorted(ranges)
    assert all(before[1] <= after[0] for before, after in zip(ordered, ordered[1:])), "a byte was fetched twice"
    assert sum(end - start for start, end in ranges) < 1.01 * volume.levels[0].nbytes
    # Requests that are under way together may change places, as far as is read ahead.
    behind = max(max(a[0] for a in ranges[:number + 1]) - ranges[number][0] for number in range(len(ranges)))
    assert behind <= 24 << 20, behind


def sparse(folder, name, shape, dtype, marked):
    """A TIFF file that takes no room on disk, with some planes that are not 0."""
    import tifffile

    voxels = tifffile.memmap(folder / f"{name}.tif", shape=shape, dtype=dtype, bigtiff=True, photometric="minisblack")
    for z in marked:
        voxels[z] = np.arange(shape[1] * shape[2]).reshape(shape[1:]) % 251 + 1
    voxels.flush()
    return {"kind": "tiff", "url": str(folder / f"{name}.tif")}


def test_a_copy_of_2_gib_is_made_in_bounded_memory(tmp_path):
    shape = (512, 2048, 2048)
    config = configuration({"v": sparse(tmp_path, "large", shape, "u1", [0, 300, 511])})
    with mounted(tmp_path, config, memory="128M", timeout=20) as mount:
        path = mount / "v" / "em.tif"
        assert 2 << 30 <= path.stat().st_size < (2 << 30) + (1 << 20)
        copying = subprocess.Popen(["cp", path, "/dev/null"])
        most = 0
        while copying.poll() is None:
            most = max(most, mount.rss())
            try:
                copying.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        assert copying.returncode == 0
        assert most < 256 << 20, most >> 20
        with open(path, "rb") as file:
            for z in (300, 511):
                file.seek(path.stat().st_size - (shape[0] - z) * 2048 * 2048)
                plane = np.frombuffer(file.read(2048 * 2048), "u1")
                assert (plane == np.arange(2048 * 2048) % 251 + 1).all()


def test_above_4_gib_it_is_bigtiff_that_resolves_by_name(tmp_path):
    import tifffile

    shape = (520, 2048, 2048)
    config = configuration({"v": sparse(tmp_path, "large", shape, "u2", [519]) | {"pyramid": False}})
    with mounted(tmp_path, config, timeout=20) as mount:
        assert (mount / "v" / "em.zarr" / ".zattrs").stat()
        assert not [name for name in os.listdir(mount / "v") if name.endswith(".tif")]
        with tifffile.TiffFile(mount / "v" / "em.tif") as file:
            assert file.is_bigtiff and len(file.pages) == 520 and file.series[0].shape == shape
            assert (file.pages[519].asarray().ravel() == np.arange(2048 * 2048) % 251 + 1).all()


def test_a_dead_origin_is_an_error_and_never_zeros(large, tmp_path):
    root, volume = large
    origin = Origin(root)
    origin.start()
    config = configuration({"v": reference_volumes.source_at(volume, origin)})
    with mounted(tmp_path, config, timeout=3) as mount:
        size = (mount / "v" / "em.tif").stat().st_size
        with open(mount / "v" / "em.tif", "rb", buffering=0) as file:
            origin.stop()
            head = file.read(4096)
            assert head[:4] == b"II*\0" and len(head) == 4096, "what the file says of itself is made here"
            for place in (1 << 20, size // 2, size - 5000):
                with pytest.raises(OSError) as raised:
                    file.seek(place)
                    file.read(4096)
                assert raised.value.errno == errno.EIO
        assert "v/em.tif" in mount.log


def test_explain_says_what_a_file_holds(demo, tmp_path):
    config = tmp_path / "replica.toml"
    config.write_text(demo.config)
    for name, level in (("em.tif", 0), ("em.s1.tif", 1), ("em.crop-z13-77_y50-150_x20-101.tif", 0)):
        told = emfs("explain", f"hemibrain/{name}", "--config", config).stdout
        size = (demo.mount / "hemibrain" / name).stat().st_size
        assert told.startswith(f"hemibrain/{name}: level s{level}, ") and told.endswith(f"; TIFF; {size} bytes\n"), told
    assert "labels" in emfs("explain", "epfl-hippocampus/training.labels-mitochondria.tif", "--config", config).stdout
    refused = emfs("explain", "hemibrain/em.labels-none.tif", "--config", config, check=False)
    assert refused.returncode == 1 and "has no labels `none`" in refused.stderr
