"""Validators that are not ours accept both stores of every dataset, and the labels."""

import pathlib
import subprocess
import sys

import pytest

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
