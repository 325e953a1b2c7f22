"""Labels with a grid of their own: nanometres say where they lie over their image."""

import csv
import json
import pathlib
import subprocess

import numpy as np
import pytest
import tensorstore
import tifffile
import zarr

import lone_volumes
import readers
import reference_volumes
from make_precomputed_fixtures import CLOUDVOLUME_PYTHON, SEGMENTATION, open_scale, read_scale, sharding
from mounting import configuration, emfs, mounted
from origin import Origin

SHAPE, CENTRE, RADIUS = (180, 190, 200), (89.0, 96.0, 101.0), 84.0


def sphere(shape, factor):
    """Voxels of `factor` finest ones each whose centres lie in the sphere."""
    places = np.meshgrid(*((np.arange(n) + 0.5) * factor for n in shape), indexing="ij")
    return sum((place - c) ** 2 for place, c in zip(places, CENTRE)) < RADIUS**2


@pytest.fixture(scope="module", params=["tiff", "precomputed"])
def spheres(request, tmp_path_factory):
    """A sphere in an image and its label at half the resolution, with a mount of both."""
    root = tmp_path_factory.mktemp("spheres")
    voxels, label = np.where(sphere(SHAPE, 1), 200, 50).astype("u1"), sphere([n // 2 for n in SHAPE], 2).astype("u1")
    with Origin(root) as origin:
        if request.param == "tiff":
            tifffile.imwrite(root / "em.tif", voxels, photometric="minisblack")
            tifffile.imwrite(root / "label.tif", label, photometric="minisblack")
            sources = [{"kind": "tiff", "url": f"{origin.url}/{name}.tif", "voxel_size": [n] * 3} for name, n in (("em", 8.0), ("label", 16.0))]
        else:
            made = [lone_volumes.lone_scale(root, name, array, (16, 16, 16), (0, 0, 0), (n,) * 3, [], kind)
                    for name, array, n, kind in (("em", voxels, 8.0, "image"), ("label", label, 16.0, "segmentation"))]
            sources = [reference_volumes.source_at(volume, origin) for volume in made]
        images = [{"name": "a", "source": sources[0], "labels": [
            {"name": "ball", "source": sources[1], "values": [{"value": 1, "name": "ball", "colour": "#00ff80"}]}]}]
        with mounted(tmp_path_factory.mktemp("m"), configuration({"v": {"source": sources[0], "images": images}}), timeout=20) as mount:
            yield mount / "v"


def in_nanometres(group, level=0):
    """Voxels and the position of the corner of the first one, with their size."""
    dataset = json.loads((group / ".zattrs").read_text())["multiscales"][0]["datasets"][level]
    scale, translation = (np.array(entry[entry["type"]]) for entry in dataset["coordinateTransformations"])
    return readers.zarr_array(group, level, False), translation - scale / 2, scale


def overlap(image, label):
    """Intersection over union of what is bright and what is labelled, by nanometres."""
    voxels, corner, size = in_nanometres(image)
    values, first, step = in_nanometres(label)
    index = [np.floor((corner[axis] + (np.arange(voxels.shape[axis]) + 0.5) * size[axis] - first[axis]) / step[axis]).astype(int) for axis in range(3)]
    inside = [np.clip(i, 0, n - 1) for i, n in zip(index, values.shape)]
    labelled = values[np.ix_(*inside)] > 0
    bright = voxels > 100
    return (bright & labelled).sum() / (bright | labelled).sum()


def test_a_sphere_and_its_label_at_half_the_resolution_overlap_by_nanometres(spheres):
    found = overlap(spheres / "a.zarr", spheres / "a.zarr" / "labels" / "ball")
    assert found >= 0.98
    one_off = overlap_shifted(spheres / "a.zarr", spheres / "a.zarr" / "labels" / "ball")
    assert found > one_off, "no other place fits better"


def overlap_shifted(image, label):
    """The same with the label half a voxel further."""
    voxels, _, _ = in_nanometres(image)
    values, _, _ = in_nanometres(label)
    labelled = np.roll(values.repeat(2, 0).repeat(2, 1).repeat(2, 2), 1, 2) > 0
    bright = voxels > 100
    return (bright & labelled).sum() / (bright | labelled).sum()


def test_crops_cut_labels_by_nanometres(spheres):
    crop = spheres / "a.crop-z11-70_y20-121_x31-120.zarr"
    whole = readers.zarr_array(spheres / "a.zarr" / "labels" / "ball", 0, False)
    found, corner, size = in_nanometres(crop / "labels" / "ball")
    np.testing.assert_array_equal(found, whole[5:35, 10:61, 15:60])
    _, first, step = in_nanometres(crop)
    assert (corner <= first).all() and (corner > first - size).all()
    assert overlap(crop, crop / "labels" / "ball") >= 0.97


@pytest.mark.parametrize("wanted", ["{crop}", "{crop}/labels/ball", "whole --box"])
def test_what_is_warmed_and_located_of_a_crop_are_the_labels_over_it(spheres, tmp_path, wanted):
    crop = "a.crop-z11-70_y20-121_x31-120.zarr"
    what = ["v/a.zarr", "--box", "z11-70_y20-121_x31-120"] if "--box" in wanted else [wanted.format(crop=f"v/{crop}")]
    config, cache = spheres.parent.parent / "config.toml", tmp_path / "cache"
    emfs("warm", *what, "--config", config, "--cache-dir", cache)
    with mounted(tmp_path / "m", config.read_text(), "--offline", cache=cache) as mount:
        for name in ["labels/ball"] if "labels" in wanted else ["", "labels/ball"]:
            found = readers.zarr_array(mount / "v" / crop / name, 0, False)
            np.testing.assert_array_equal(found, readers.zarr_array(spheres / crop / name, 0, False))
    for place in (f"{crop}/labels/ball/s0", f"{crop}/labels/ball/s0/0/0/0"):
        located = emfs("locate", f"v/{place}", "--config", config, "--cache-dir", cache, "--offline", "--json")
        blocks = json.loads(located.stdout)["blocks"]
        assert blocks and all(block["absent"] or block["kept"] == block["length"] for block in blocks), f"{place}: {blocks}"


def test_places_that_are_sampled_from_labels_in_a_crop_lie_in_what_the_mount_shows_of_them(spheres):
    crop = "a.crop-z11-70_y20-121_x31-120.zarr"
    config = spheres.parent.parent / "config.toml"
    voxels = readers.zarr_array(spheres / crop / "labels" / "ball", 0, False)
    rows = emfs("sample", f"v/{crop}/labels/ball", "--count", 50, "--size", 8, "--config", config).stdout.splitlines()
    rows = list(csv.DictReader(row for row in rows if not row.startswith("#")))
    assert len(rows) == 50
    for row in rows:
        assert all(int(row[axis]) + int(row["d" + axis]) <= n for axis, n in zip("zyx", voxels.shape)), row


def test_what_values_mean_is_told_to_viewers(spheres):
    label = json.loads((spheres / "a.zarr" / "labels" / "ball" / ".zattrs").read_text())["image-label"]
    assert label["source"] == {"image": "../../"}
    assert label["colors"] == [{"label-value": 1, "rgba": [0, 255, 128, 255]}]
    assert label["properties"] == [{"label-value": 1, "name": "ball"}]


def test_bodies_of_the_hemibrain_are_bit_by_bit_those_of_tensorstore_and_coarser_ones_are_no_others(demo):
    names = {(dataset, image, label) for dataset, image, label in demo.truth if label}
    assert {("hemibrain", "em", label) for label in ("segmentation", "tissue", "mitochondria", "rois")} <= names
    assert ("jrc_mus-nacc-2", "em", "nuclei") in names
    for (dataset, image, label), volume in demo.truth.items():
        if dataset not in ("hemibrain", "jrc_mus-nacc-2") or label is None:
            continue
        group = demo.mount / dataset / f"{image}.zarr" / "labels" / label
        finest = set(np.unique(volume.levels[0]))
        for number, level in enumerate(volume.levels):
            readers.assert_equal(readers.zarr_array(group, number, False), level, f"{group} s{number}")
            assert set(np.unique(level)) <= finest
        if label == "segmentation":
            assert volume.levels[0].min() > 1 << 53


def test_numbers_above_2_to_the_53_are_bit_by_bit_those_of_cloud_volume(tmp_path):
    root = tmp_path / "files"
    names = {"plain": None, "shards": sharding(9, 6, 14, data="gzip"), "murmur": sharding(1, 2, 2, "murmurhash3_x86_128")}
    orders = []
    for seed, (name, shards) in enumerate(names.items()):
        for level in range(2):
            voxels = lone_volumes.large_labels((69 >> level, 75 >> level, 150 >> level), 10 * seed + level)
            scale = {"key": str(level), "size": voxels.shape[::-1], "resolution": [8 << level] * 3, "chunk_size": [32, 32, 32],
                     "encoding": SEGMENTATION, "compressed_segmentation_block_size": [8, 8, 8], "voxel_offset": [64 >> level, 0, 32 >> level]}
            store = open_scale(root / name, scale | ({"sharding": shards} if shards else {}), "uint64", "segmentation")
            with tensorstore.Transaction() as transaction:
                store.with_transaction(transaction)[..., 0] = voxels.transpose(2, 1, 0)
            orders.append({"folder": str(root / name), "level": level, "out": str(tmp_path / f"{name}-{level}.npy")})
    script = pathlib.Path(__file__).with_name("read_cloudvolume.py")
    subprocess.run([CLOUDVOLUME_PYTHON, script], input=json.dumps(orders), text=True, check=True, timeout=120, capture_output=True)
    with Origin(root) as origin:
        image = {"kind": "precomputed", "url": f"{origin.url}/plain"}
        labels = [{"name": name, "source": image | {"url": f"{origin.url}/{name}"}} for name in names]
        datasets = {"v": {"source": image, "images": [{"name": "a", "source": image, "labels": labels}]}}
        with mounted(tmp_path / "m", configuration(datasets), timeout=20) as mount:
            for order in orders:
                name, read = pathlib.Path(order["folder"]).name, np.load(order["out"])
                assert read.min() > 1 << 53 and len(np.unique(read)) > 100
                found = readers.zarr_array(mount / "v" / "a.zarr" / "labels" / name, order["level"], False)
                readers.assert_equal(found, read, f"{name} s{order['level']} by cloud-volume")
                ours = read_scale(root / name, None, order["level"])
                readers.assert_equal(found, ours, f"{name} s{order['level']} by TensorStore")


SIZE, AT = (30.0, 8.0, 8.0), (630.0, 56.0, 104.0)


@pytest.fixture(scope="module", params=["precomputed", "zarr"])
def placed(request, tmp_path_factory):
    """An image that says where it lies, with labels in TIFF files that do not: of its voxels, of larger ones, of none that is told."""
    root = tmp_path_factory.mktemp("placed")
    voxels = reference_volumes.noise((45, 83, 97), "u1", 1)
    labels = {"same": reference_volumes.noise((45, 83, 97), "u2", 2), "coarse": reference_volumes.noise((23, 42, 49), "u2", 3)}
    for name, array in labels.items():
        tifffile.imwrite(root / f"{name}.tif", array, photometric="minisblack")
    with Origin(root) as origin:
        if request.param == "precomputed":
            made = lone_volumes.lone_scale(root, "em", voxels, (16, 32, 32), (21, 7, 13), SIZE, [])
            source = reference_volumes.source_at(made, origin)
        else:
            group = zarr.open_group(root / "em.zarr", mode="w", zarr_format=2)
            group.create_array("0", shape=voxels.shape, chunks=(16, 32, 32), dtype="u1")[...] = voxels
            at = [{"type": "scale", "scale": SIZE}, {"type": "translation", "translation": AT}]
            axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
            group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": at}]}]
            source = {"kind": "zarr", "url": f"{origin.url}/em.zarr"}
        tiff = lambda name, **size: {"kind": "tiff", "url": f"{origin.url}/{name}.tif", **size}
        images = [{"name": "a", "source": source, "labels": [
            {"name": "same", "source": tiff("same", voxel_size=list(SIZE))},
            {"name": "silent", "source": tiff("same")},
            {"name": "coarse", "source": tiff("coarse", voxel_size=[60.0, 16.0, 16.0])}]}]
        with mounted(tmp_path_factory.mktemp("m"), configuration({"v": {"source": source, "images": images}}), timeout=20) as mount:
            yield mount / "v", labels | {"silent": labels["same"]}


def corner_in_tiff(file, size):
    """The corner of the first voxel in nanometres, as ImageJ counts, of an axis whose origin is not told 0."""
    with tifffile.TiffFile(file) as tiff:
        told = tiff.imagej_metadata
    return [-told.get(f"{axis}origin", 0) * length for axis, length in zip("zyx", size)]


def test_labels_without_a_place_begin_at_the_corner_of_an_image_that_has_one(placed):
    folder, labels = placed
    assert in_nanometres(folder / "a.zarr")[1].tolist() == [615.0, 52.0, 100.0]
    for name, voxels in labels.items():
        found, corner, size = in_nanometres(folder / "a.zarr" / "labels" / name)
        np.testing.assert_array_equal(found, voxels)
        assert corner.tolist() == [615.0, 52.0, 100.0], name
        assert list(size) == ([60.0, 16.0, 16.0] if name == "coarse" else list(SIZE))
        np.testing.assert_allclose(corner_in_tiff(folder / f"a.labels-{name}.tif", size), AT)
    np.testing.assert_allclose(corner_in_tiff(folder / "a.tif", SIZE), AT)


def test_crops_of_an_image_that_has_a_place_show_the_labels_over_it(placed):
    folder, labels = placed
    crop = folder / "a.crop-z4-40_y11-60_x20-80.zarr"
    for name, box in (("same", np.s_[4:40, 11:60, 20:80]), ("silent", np.s_[4:40, 11:60, 20:80]), ("coarse", np.s_[2:20, 5:30, 10:40])):
        found, corner, size = in_nanometres(crop / "labels" / name)
        np.testing.assert_array_equal(found, labels[name][box])
        np.testing.assert_array_equal(tifffile.imread(crop.with_suffix(f".labels-{name}.tif")), labels[name][box])
        assert corner.tolist() == [at - half + start.start * length for at, half, start, length in zip(AT, (15, 4, 4), box, size)]


def shown_places(folder, image):
    """Scale and translation of each level, by the document of a store."""
    datasets = json.loads((folder / image["zarr"] / ".zattrs").read_text())["multiscales"][0]["datasets"]
    return [[entry[entry["type"]] for entry in dataset["coordinateTransformations"]] for dataset in datasets]


def check_record(folder):
    """The record says of each image, labels too, what its store does."""
    for image in json.loads((folder / "metadata.json").read_text())["images"]:
        unit = json.loads((folder / image["zarr"] / ".zattrs").read_text())["multiscales"][0]["axes"][0].get("unit")
        if unit is None:
            continue
        found = [[level["scale_nm"], level["translation_nm"]] for level in image["levels"]]
        assert found == shown_places(folder, image), (folder.name, image["name"], image["label_of"])
        assert [[image[field][axis] for axis in "zyx"] for field in ("voxel_size", "origin")] == found[0]


def test_the_record_says_of_labels_what_their_stores_do(placed, demo):
    check_record(placed[0])
    for dataset in sorted({dataset for dataset, _, _ in demo.truth}):
        for image in json.loads((demo.mount / dataset / "metadata.json").read_text())["images"]:
            (demo.mount / dataset / image["zarr"] / ".zattrs").read_text()
        check_record(demo.mount / dataset)


def test_coarser_labels_that_begin_with_their_image_have_its_corner(demo):
    folder = demo.mount / "hemibrain"
    attributes = json.loads((folder / "em.zarr/labels/mitochondria/s0/.zattrs").read_text())
    assert (attributes["offset"], attributes["voxel_size"]) == ([0, 0, 0], [16, 16, 16])
    crop = "crop-z20-40_y20-40_x20-40"
    for name in ("em.tif", "em.labels-mitochondria.tif"):
        assert corner_in_tiff(folder / name, (1, 1, 1)) == [0, 0, 0], name
    assert corner_in_tiff(folder / f"em.{crop}.labels-mitochondria.tif", (1, 1, 1)) == [10, 10, 10]
    assert corner_in_tiff(folder / f"em.{crop}.tif", (1, 1, 1)) == [20, 20, 20]


def test_labels_have_a_file_of_each_level_that_their_store_in_a_crop_has(demo):
    folder, crop = demo.mount / "jrc_mus-nacc-2", "em.crop-z69-70_y137-147_x108-117"
    store = folder / f"{crop}.zarr/labels/nuclei"
    levels = [path.name for path in store.iterdir() if path.name.startswith("s")]
    assert "s2" in levels
    for level in levels:
        found = tifffile.imread(folder / f"{crop}.{level}.labels-nuclei.tif")
        np.testing.assert_array_equal(np.atleast_3d(found).reshape(-1), readers.zarr_array(store, int(level[1:]), False).reshape(-1))
    assert not (folder / f"{crop}.s9.labels-nuclei.tif").exists()


def test_labels_of_the_hemibrain_lie_over_the_image(demo):
    em = in_nanometres(demo.mount / "hemibrain" / "em.zarr")
    for label in ("segmentation", "tissue"):
        _, corner, size = in_nanometres(demo.mount / "hemibrain" / "em.zarr" / "labels" / label)
        np.testing.assert_allclose(corner, em[1])
        assert list(size) == [8.0 if label == "segmentation" else 16.0] * 3
