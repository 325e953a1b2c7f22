"""Validators that are not ours accept both stores of every dataset, and the labels."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import readers
import reference_volumes
from exporting import export
from mounting import configuration, mounted

both = pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])


def every_store(demo, reference, v3):
    yield from (path for path, _ in demo.stores(v3))
    yield from (reference.store(name, v3) for name in reference.volumes)


@both
def test_ome_zarr_models(demo, reference, v3):
    import zarr
    from ome_zarr_models.v04.image import Image as Image04
    from ome_zarr_models.v05.image import Image as Image05

    for store in every_store(demo, reference, v3):
        (Image05 if v3 else Image04).from_zarr(zarr.open_group(store, mode="r"))


def test_ome_zarr_models_as_a_command(demo):
    command = pathlib.Path(sys.executable).with_name("ome-zarr-models")
    for v3 in (False, True):
        for store, _ in demo.stores(v3):
            done = subprocess.run([command, "validate", store], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, f"{store}: {done.stdout}{done.stderr}"


@both
def test_ngff_zarr(demo, reference, v3):
    import ngff_zarr

    for store in every_store(demo, reference, v3):
        image = ngff_zarr.from_ngff_zarr(str(store), validate=True).images[0]
        assert image.data.ndim == 3
        assert image.dims == ["z", "y", "x"] or tuple(image.dims) == ("z", "y", "x")


@both
def test_yaozarrs(demo, reference, v3):
    import yaozarrs

    for store in every_store(demo, reference, v3):
        yaozarrs.validate_zarr_store(str(store))


@both
def test_labels(demo, v3):
    import ngff_zarr
    import yaozarrs
    import zarr
    from ome_zarr_models.v04.image_label import ImageLabel as ImageLabel04
    from ome_zarr_models.v05.image_label import ImageLabel as ImageLabel05

    stores = [path for path, _ in demo.labels(v3)]
    assert stores, "the replica has labels"
    for store in stores:
        (ImageLabel05 if v3 else ImageLabel04).from_zarr(zarr.open_group(store, mode="r"))
        yaozarrs.validate_zarr_store(str(store))
        yaozarrs.validate_zarr_store(str(store.parent.parent))
        ngff_zarr.from_ngff_zarr(str(store), validate=True)


@both
def test_every_document_is_what_its_json_schema_wants(demo, reference, v3):
    """The schemas of OME-NGFF come with ngff-zarr."""
    import json

    import jsonschema
    import ngff_zarr
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    version = "0.5" if v3 else "0.4"
    folder = next(pathlib.Path(ngff_zarr.__file__).parent.glob(f"spec/{version}/schemas"))
    resources = [(schema["$id"], DRAFT202012.create_resource(schema)) for file in folder.glob("*.schema") if "$id" in (schema := json.loads(file.read_text()))]
    schema = json.loads((folder / "image.schema").read_text())
    validator = jsonschema.Draft202012Validator(schema, registry=Registry().with_resources(resources))
    for store in every_store(demo, reference, v3):
        document = json.loads((store / ("zarr.json" if v3 else ".zattrs")).read_text())
        validator.validate(document["attributes"] if v3 else document)


def multiscale(folder, name, shape, size, levels):
    """An image of stored levels, by zarr-python."""
    import zarr

    group = zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=2)
    datasets = []
    for level in range(levels):
        voxels = reference_volumes.segments([max(1, n >> level) for n in shape], "u4", level)
        group.create_array(str(level), shape=voxels.shape, chunks=(16, 32, 32), dtype="u4")[...] = voxels
        scale = [length * 2**level for length in size]
        begin = [(length - of_image) / 2 for length, of_image in zip(scale, (8.0, 4.0, 4.0))]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}, {"type": "translation", "translation": begin}]})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return {"kind": "zarr", "url": f"{folder}/{name}.zarr"}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """An image of three levels, which emfs computes, with labels that have one and three, and with some that have two and six."""
    import tifffile

    root, size = tmp_path_factory.mktemp("labelled"), [8.0, 4.0, 4.0]
    for name, dtype in (("em", "u1"), ("same", "u2")):
        tifffile.imwrite(root / f"{name}.tif", reference_volumes.noise((40, 120, 1500), dtype, 1), photometric="minisblack")
    tiff = lambda name: {"kind": "tiff", "url": f"{root}/{name}.tif", "voxel_size": size}
    labels = {
        "same": tiff("same"), "coarse": multiscale(root, "coarse", (20, 30, 375), (16.0, 16.0, 16.0), 1), "lone": multiscale(root, "lone", (1, 1, 1), (320.0, 480.0, 6000.0), 1),
        "three": multiscale(root, "three", (40, 120, 1500), size, 3),
    }
    others = {"two": multiscale(root, "two", (40, 120, 1500), size, 2), "off": multiscale(root, "off", (20, 30, 375), (16.0, 16.0, 16.0), 1) | {"pyramid": False},
              "six": multiscale(root, "six", (40, 120, 1500), size, 6)}
    of = lambda labels: [{"name": name, "source": source} for name, source in labels.items()]
    images = [{"name": "a", "source": tiff("em"), "labels": of(labels)}, {"name": "b", "source": tiff("em"), "labels": of(others)}]
    with mounted(tmp_path_factory.mktemp("m"), configuration({"v": {"source": tiff("em"), "images": images}})) as mount:
        yield mount, sorted(labels)


def levels_of(store, v3):
    """The names of the levels in a store's document."""
    import zarr

    attributes = zarr.open_group(store, mode="r").attrs
    return [dataset["path"] for dataset in (attributes["ome"] if v3 else attributes)["multiscales"][0]["datasets"]]


def assert_valid_with_labels(store, v3, labels):
    import ngff_zarr
    import yaozarrs
    import zarr
    from ome_zarr_models.v04.image import Image as Image04
    from ome_zarr_models.v04.image_label import ImageLabel as Label04
    from ome_zarr_models.v05.image import Image as Image05
    from ome_zarr_models.v05.image_label import ImageLabel as Label05

    (Image05 if v3 else Image04).from_zarr(zarr.open_group(store, mode="r"))
    yaozarrs.validate_zarr_store(str(store))
    group = zarr.open_group(store / "labels", mode="r").attrs
    assert sorted((group["ome"] if v3 else group)["labels"]) == labels, store
    for label in labels:
        path = store / "labels" / label
        assert levels_of(path, v3) == levels_of(store, v3), f"{path}: OME-NGFF wants as many levels as of the image"
        (Label05 if v3 else Label04).from_zarr(zarr.open_group(path, mode="r"))
        ngff_zarr.from_ngff_zarr(str(path), validate=True)


@both
@pytest.mark.parametrize("view", ["", ".crop-z3-30_y7-90_x90-1400", ".crop-z0-1_y0-1_x1499-1500", ".s0", ".s1", ".s2", ".numbered", ".crop-z3-30_y7-90_x90-1400.s2", ".chunk-64"])
def test_labels_have_as_many_levels_as_their_image_in_every_view(labelled, view, v3):
    mount, labels = labelled
    assert_valid_with_labels(mount / "v" / f"a{view}{'.v3' if v3 else ''}.zarr", v3, labels)


@both
@pytest.mark.parametrize("view", ["", ".crop-z3-30_y7-90_x90-1400", ".s2", " --level s1 --level s2"])
def test_labels_have_as_many_levels_as_their_image_in_exports(labelled, tmp_path, view, v3):
    mount, labels = labelled
    view, *options = view.split(" ")
    told = export(mount / "v" / f"a{view}.zarr", tmp_path / "out.zarr", "--format", "v3" if v3 else "v2", *options).stderr
    assert "the labels" not in told
    assert_valid_with_labels(tmp_path / "out.zarr", v3, labels)


def test_levels_of_labels_beyond_their_own_are_the_most_frequent_ones_below(labelled):
    import tensorstore

    mount, labels = labelled
    for label in labels:
        store = mount / "v" / "a.zarr" / "labels" / label
        levels = [readers.zarr_array(store, level, False) for level in range(len(levels_of(store, False)))]
        assert len(levels) == 3
        if label == "three":
            continue
        for below, level in zip(levels, levels[1:]):
            factors = [round(a / b) for a, b in zip(below.shape, level.shape)]
            made = tensorstore.downsample(tensorstore.array(below), factors, "mode").read().result()
            readers.assert_equal(level, made, f"{store} {factors}")
            assert set(np.unique(level)) <= set(np.unique(below))


def test_labels_whose_levels_cannot_be_computed_have_their_own_and_an_export_says_so(labelled, tmp_path):
    mount, _ = labelled
    found = {name: len(levels_of(mount / "v" / "b.zarr" / "labels" / name, False)) for name in ("two", "off", "six")}
    assert found == {"two": 2, "off": 1, "six": 6}
    told = export(mount / "v" / "b.zarr", tmp_path / "all.zarr").stderr
    assert "v/b: the labels two have no level s2" in told and "v/b: the labels off have no level s1, s2" in told
    told = export(mount / "v" / "b.zarr", tmp_path / "one.zarr", "--level", "s1").stderr
    assert "the labels off are not written" in told and "labels two" not in told
    assert sorted(path.name for path in (tmp_path / "one.zarr" / "labels").iterdir() if path.is_dir()) == ["six", "two"]
