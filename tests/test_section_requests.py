"""Sections of a file per z: what the first one foretells of the others, what each costs, and that nothing of it is believed."""

import concurrent.futures
import json
import os

import numpy as np
import pytest
import SimpleITK
import tifffile

import reference_volumes
from mounting import configuration, emfs, mounted
from origin import Origin
from readers import assert_equal, zarr_array

LENGTH = 400_000


def padded(file):
    """Bytes that nobody needs, so that files of all layouts are equally long."""
    assert file.stat().st_size < LENGTH
    os.truncate(file, LENGTH)


def behind(file, plane):
    """As libtiff leaves a file: its directory follows the voxels."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(plane), str(file), useCompression=False)


def before(file, plane, **options):
    """As tifffile leaves one: the directory comes first."""
    tifffile.imwrite(file, plane, photometric="minisblack", metadata=None, **options)


def stack(folder, writer, odd=None, shape=(500, 700), count=18):
    """Sections by one writer, some by others; `odd`: those by number."""
    folder.mkdir(parents=True)
    voxels = reference_volumes.noise((count, *shape), "u1", 11)
    for z, plane in enumerate(voxels):
        file = folder / f"s_{z:04d}.tif"
        (odd or {}).get(z, writer)(file, plane)
    return voxels


#: Sections that are not as the first one foretells, in either direction.
ODD = {
    3: lambda file, plane: before(file, plane, description="x" * 5000),
    4: lambda file, plane: before(file, plane, byteorder=">"),
    6: lambda file, plane: before(file, plane, bigtiff=True),
    7: lambda file, plane: before(file, plane, compression="deflate", rowsperstrip=50),
    8: lambda file, plane: before(file, plane, tile=(64, 64)),
    9: behind,
    10: lambda file, plane: (behind(file, plane), padded(file)),
    11: lambda file, plane: (before(file, plane), padded(file)),
    12: lambda file, plane: tifffile.imwrite(file, plane, imagej=True),
}


def asked(origin, z):
    return [request.range for request in origin.requests if request.path.endswith(f"s_{z:04d}.tif")]


@pytest.mark.parametrize("writer", [behind, before, lambda file, plane: (behind(file, plane), padded(file))], ids=["behind", "before", "padded"])
def test_sections_cost_what_their_layout_needs_and_those_of_another_layout_are_right_too(tmp_path, writer):
    voxels = stack(tmp_path / "files" / "v", writer, ODD)
    with Origin(tmp_path / "files") as origin:
        source = {"kind": "tiff", "url": f"{origin.url}/v/", "voxel_size": [50, 8, 8]}
        with mounted(tmp_path / "m", configuration({"v": source}), timeout=20) as mount:
            assert_equal(zarr_array(mount / "v" / "em.zarr", 0, False), voxels, "v")
            assert mount.status()["failures"] == []
        plain = [z for z in range(1, len(voxels) - 1) if z not in ODD]
        for z in plain:
            ranges = sorted(asked(origin, z))
            directory = [(a, b) for a, b in ranges if b - a < 8192]
            # One for the plane, beside the header and the directory, which come together where they lie together.
            assert len(ranges) - len(directory) == 1 and len(directory) == (1 if writer is before else 2), (z, ranges)
            assert (0, 16) in ranges or writer is before


def test_short_sections_are_opened_by_one_request_wherever_their_directory_is(tmp_path):
    odd = {z: writer for z, writer in ODD.items() if z < 9}
    voxels = stack(tmp_path / "files" / "v", behind, odd, shape=(200, 300), count=12)
    with Origin(tmp_path / "files") as origin:
        source = {"kind": "tiff", "url": f"{origin.url}/v/", "voxel_size": [50, 8, 8]}
        with mounted(tmp_path / "m", configuration({"v": source}), timeout=20) as mount:
            assert_equal(zarr_array(mount / "v" / "em.zarr", 0, False), voxels, "v")
        assert {z: len(asked(origin, z)) for z in range(1, 11) if z not in odd} == {z: 2 for z in range(1, 11) if z not in odd}


def with_long_tables(folder, some, count):
    """`count` sections, of which `some` are told apart, with a strip for each row."""
    folder.mkdir()
    for z, plane in enumerate(some):
        before(folder / f"s_{z:04d}.tif", plane, compression="deflate", rowsperstrip=1)
    for z in range(len(some), count):
        os.link(folder / f"s_{z % len(some):04d}.tif", folder / f"s_{z:04d}.tif")
    return folder


def test_tables_of_more_sections_than_there_is_memory_for_are_read_again_when_they_are_needed(tmp_path):
    """Each takes 32 KiB for its 2048 strips, of which 8 MiB are kept at the least memory."""
    count, some = 330, reference_volumes.noise((8, 2048, 24), "u1", 3)
    folder = with_long_tables(tmp_path / "v", some, count)
    with mounted(tmp_path / "m", configuration({"v": {"kind": "tiff", "url": f"{folder}/", "voxel_size": [50, 8, 8]}}), timeout=60, memory="64M") as mount:
        for _ in range(2):
            assert_equal(zarr_array(mount / "v" / "em.zarr", 0, False), some[np.arange(count) % len(some)], "v")
        assert mount.status()["failures"] == []


def test_readers_of_many_sections_at_once_and_other_datasets_get_what_they_ask_for_where_memory_is_short(tmp_path):
    """Each section takes 320 KB for its 20 000 strips, of which 8 MiB are kept at the least memory."""
    count, some = 60, reference_volumes.noise((4, 20000, 8), "u1", 4)
    folder = with_long_tables(tmp_path / "v", some, count)
    before(tmp_path / "other.tif", some[0], compression="deflate", rowsperstrip=1)
    sources = {"v": {"kind": "tiff", "url": f"{folder}/", "voxel_size": [50, 8, 8], "pyramid": False},
               "other": {"kind": "tiff", "url": str(tmp_path / "other.tif"), "voxel_size": [50, 8, 8], "pyramid": False}}
    with mounted(tmp_path / "m", configuration(sources), timeout=60, memory="64M") as mount:
        array = zarr_array(mount / "v" / "em.chunk-16x512x8.zarr", 0, False)
        slabs = [slice(z, z + 16) for z in range(0, count, 16)] * 3
        with concurrent.futures.ThreadPoolExecutor(len(slabs)) as pool:
            for slab, found in zip(slabs, pool.map(lambda slab: array[slab], slabs), strict=True):
                assert np.array_equal(found, some[np.arange(count)[slab] % len(some)])
        assert_equal(zarr_array(mount / "other" / "em.zarr", 0, False), some[:1], "other")
        assert mount.status()["failures"] == []


def omero(root, image, names, planes, shape=(60, 70), size=None):
    """What OMERO answers for an image of these files."""
    for path, document in [
            (f"webgateway/original_file_paths/{image}", {"repo": [], "client": [f"uod/idr/filesets/{name}" for name in names]}),
            (f"api/v0/m/images/{image}", {"data": {"@id": image, "Pixels": {
                **dict(zip(("SizeZ", "SizeY", "SizeX", "SizeC", "SizeT"), (planes, *shape, 1, 1))),
                **{f"PhysicalSize{axis}": {"Unit": "NANOMETER", "Value": value} for axis, value in zip("ZYX", size or ())}}}})]:
        (root / path).mkdir(parents=True)
        (root / path / "index.json").write_text(json.dumps(document))


def ome(count, own):
    parts = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{"abc"[2 - z]}.ome.tif">urn:uuid:{z}</UUID></TiffData>' for z in range(count))
    return (f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}"><Image ID="Image:0"><Pixels ID="Pixels:0"'
            f' DimensionOrder="XYZCT" Type="uint8" SizeX="70" SizeY="60" SizeZ="{count}" SizeC="1" SizeT="1">{parts}</Pixels></Image></OME>')


def test_an_image_of_idr_in_several_files_is_shown_whole_or_not_at_all(tmp_path):
    root = tmp_path / "files"
    voxels = stack(root / "set", before, shape=(60, 70), count=11)
    for z, plane in enumerate(voxels[:3]):
        (root / "ome").mkdir(exist_ok=True)
        before(root / "ome" / f"{'abc'[2 - z]}.ome.tif", plane, description=ome(3, z))
    names = [f"set/s_{z:04d}.tif" for z in (7, 2, 10, 0, 1, 9, 3, 8, 4, 6, 5)]
    omero(root, 1, [*names, "set/notes.xml"], 11, size=(50.0, 8.0, 8.0))
    omero(root, 2, names, 5)
    omero(root, 3, ["ome/b.ome.tif", "ome/a.ome.tif", "ome/c.ome.tif"], 3)
    # One plane, of which the others are not named as its set.
    (root / "part").mkdir()
    for name, plane in zip("ab", voxels):
        before(root / "part" / f"{name}.ome.tif", plane)
    omero(root, 4, ["part/a.ome.tif", "part/b.ome.tif"], 2)
    # A TIFF file beside what the image is made of.
    omero(root, 5, ["part/a.ome.tif", *(f"set/s_{z}.dm3" for z in range(5))], 5)
    # An order says nothing of which files are sections.
    omero(root, 6, names, 13)
    with Origin(root) as origin:
        image = lambda number, **keys: {"kind": "idr", "image": number, "server": origin.url, "files": origin.url} | keys
        datasets = {"all": image(1), "some": image(2, pattern=r"s_(000[0-4])"), "ome": image(3)}
        with mounted(tmp_path / "m", configuration(datasets), timeout=20) as mount:
            for name, expected in [("all", voxels), ("some", voxels[:5]), ("ome", voxels[:3])]:
                assert_equal(np.asarray(zarr_array(mount / name / "em.zarr", 0, False)), expected, name)
            multiscale = json.loads((mount / "all" / "em.zarr" / ".zattrs").read_text())["multiscales"][0]
            assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [50.0, 8.0, 8.0]
            assert "notes.xml" in mount.log
        for number, said in [(2, "an image of 5 planes in an import of 11 TIFF files; `pattern"), (4, "1 of the 2 planes of an image in 2 files"),
                             (5, "1 of the 5 planes of an image in 6 files"), (6, "an image of 13 planes in an import of 11 TIFF files")]:
            (tmp_path / "c.toml").write_text(configuration({"v": image(number, **({"order": "natural"} if number == 6 else {}))}))
            done = emfs("datasets", "--config", tmp_path / "c.toml", "--probe", check=False)
            assert done.returncode == 1 and said in done.stderr, done.stderr
