"""Every reader gets bit-equal voxels from every kind of source, from both stores."""

import json
import pathlib
import subprocess

import numpy as np
import pytest

import readers
from mounting import LEGACY_PYTHON

LEGACY = pathlib.Path(__file__).with_name("legacy.py")


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
@pytest.mark.parametrize("reader", readers.ALL, ids=lambda reader: reader.__name__)
def test_odd_volumes_are_bit_equal(reference, volume, reader, v3):
    store = reference.store(volume.name, v3)
    for level, voxels in enumerate(volume.levels):
        readers.assert_equal(reader(store, level, v3), voxels, f"{store}/s{level}")


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
@pytest.mark.parametrize("reader", readers.ALL, ids=lambda reader: reader.__name__)
def test_the_replica_is_bit_equal(demo, reader, v3):
    for store, volume in [*demo.stores(v3), *demo.labels(v3)]:
        for level, voxels in enumerate(volume.levels):
            readers.assert_equal(reader(store, level, v3), voxels, f"{store}/s{level}", volume.lossy)


def read_with_zarr2(stores, folder):
    order = {"stores": {name: str(path) for name, path in stores.items()}, "out": str(folder)}
    subprocess.run([LEGACY_PYTHON, LEGACY, "read"], input=json.dumps(order), text=True, check=True, timeout=300)
    return lambda name, level: np.load(folder / f"{name}.s{level}.npy")


def test_zarr_2_reads_odd_volumes_bit_equal(reference, tmp_path):
    read = read_with_zarr2({name: reference.store(name) for name in reference.volumes}, tmp_path)
    for name, volume in reference.volumes.items():
        for level, voxels in enumerate(volume.levels):
            readers.assert_equal(read(name, level), voxels, f"{name}/s{level}")


def test_zarr_2_reads_the_replica_bit_equal(demo, tmp_path):
    stores = dict(enumerate([*demo.stores(), *demo.labels()]))
    read = read_with_zarr2({str(number): path for number, (path, _) in stores.items()}, tmp_path)
    for number, (path, volume) in stores.items():
        for level, voxels in enumerate(volume.levels):
            readers.assert_equal(read(str(number), level), voxels, f"{path}/s{level}", volume.lossy)


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
def test_ome_zarr_py_reads_the_replica_with_its_transforms(demo, v3):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    for store, volume in demo.stores(v3):
        node = next(iter(Reader(parse_url(str(store), mode="r"))()))
        assert len(node.data) == len(volume.levels)
        for level, voxels in enumerate(volume.levels):
            readers.assert_equal(node.data[level].compute(), voxels, f"{store}/s{level}", volume.lossy)
        scales = [transforms[0]["scale"] for transforms in node.metadata["coordinateTransformations"]]
        assert all(transforms[0]["type"] == "scale" for transforms in node.metadata["coordinateTransformations"])
        if volume.scale[0]:
            assert scales == [list(scale) for scale in volume.scale]


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
def test_the_reader_of_napari_gets_scale_unit_and_contrast(demo, v3):
    from napari_ome_zarr import napari_get_reader

    for store, volume in demo.stores(v3):
        layers = napari_get_reader(str(store))(str(store))
        data, fields, kind = layers[0]
        assert kind == "image"
        data = data if isinstance(data, list) else [data]
        for level, voxels in enumerate(volume.levels):
            readers.assert_equal(np.asarray(data[level]), voxels, f"{store}/s{level}", volume.lossy)
        if volume.scale[0]:
            assert list(fields["scale"]) == list(volume.scale[0])
        assert [str(unit) for unit in fields["units"]] == ["nanometer"] * 3
        low, high = fields["contrast_limits"]
        assert low < high


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
def test_the_reader_of_napari_finds_labels(demo, v3):
    from napari_ome_zarr import napari_get_reader

    parents = {path.parent.parent for path, _ in demo.labels(v3)}
    assert parents, "the replica has an image with labels"
    for store in parents:
        kinds = [layer[2] for layer in napari_get_reader(str(store))(str(store))]
        assert kinds.count("image") == 1 and kinds.count("labels") >= 1


def test_a_chunk_64_store_has_the_same_voxels(reference, volume):
    for v3 in (False, True):
        store = reference.mount / volume.name / f"em.chunk-64{'.v3' if v3 else ''}.zarr"
        for level, voxels in enumerate(volume.levels):
            readers.assert_equal(readers.zarr_array(store, level, v3), voxels, f"{store}/s{level}")
