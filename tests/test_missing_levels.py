"""That a level is said to be missing hides nothing for good that is there: it is believed late, told, and looked for."""

import json
import shutil

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr

import readers
import reference_volumes
from mounting import configuration, emfs, mounted
from origin import Fault, Origin
from test_tolerance import attributes

SHAPES = {"s0": (24, 24, 24), "s1": (12, 12, 12), "s2": (6, 6, 6)}


def write_zarr(folder):
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    for number, (name, shape) in enumerate(SHAPES.items()):
        array = group.create_array(name, shape=shape, chunks=(8, 8, 8), dtype="uint8", fill_value=0, compressors=numcodecs.Zstd(1))
        array[...] = reference_volumes.noise(shape, "uint8", number)
    sizes = [[40.0 * 2**n, 8.0 * 2**n, 8.0 * 2**n] for n in range(len(SHAPES))]
    group.attrs.update(attributes(datasets=[{"path": name, "coordinateTransformations": [{"type": "scale", "scale": size}]} for name, size in zip(SHAPES, sizes)]))


def write_n5(folder):
    """Levels that nothing lists."""
    for number, (name, shape) in enumerate(SHAPES.items()):
        store = tensorstore.open({"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder / name}/"}, "create": True, "metadata": {
            "dimensions": shape[::-1], "blockSize": [8, 8, 8], "dataType": "uint8", "compression": {"type": "gzip"}}}).result()
        store[...] = reference_volumes.noise(shape, "uint8", number).transpose(2, 1, 0)


WRITERS = {"zarr": (write_zarr, ".zarray"), "n5": (write_n5, "attributes.json")}


@pytest.fixture(params=WRITERS)
def scene(request, tmp_path):
    """`kind, document of a level, origin, configuration`."""
    write, document = WRITERS[request.param]
    write(tmp_path / "volumes" / "image")
    with Origin(tmp_path / "volumes") as origin:
        yield request.param, document, origin, configuration({"a": {"kind": request.param, "url": f"{origin.url}/image"}})


def lost(path, times=None):
    """404 for a path, so many times or always."""
    given = []

    def fault(request):
        if request.path.endswith(path) and (times is None or len(given) < times):
            given.append(1)
            return Fault("status", 404)

    return fault


def shown(store):
    group = zarr.open_group(store, mode="r")
    return [group[level["path"]].shape for level in group.attrs["multiscales"][0]["datasets"]]


@pytest.mark.parametrize("level", ["s1", "s2"])
@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_a_level_that_is_missing_for_a_moment_is_shown_with_those_behind_it(scene, tmp_path, level, times):
    _, document, origin, config = scene
    origin.fault = lost(f"/{level}/{document}", times)
    # A host that took such an answer back is asked five times, over seconds, before it is believed of others.
    with mounted(tmp_path / "mount", config, timeout=40) as mount:
        assert shown(mount / "a" / "em.zarr") == list(SHAPES.values())
        for number, shape in enumerate(SHAPES.values()):
            np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", number, False), reference_volumes.noise(shape, "uint8", number))


@pytest.mark.parametrize("level", ["s1", "s2"])
def test_a_level_that_comes_back_is_a_failure_until_a_remount_and_there_after_it(scene, tmp_path, level):
    kind, document, origin, config = scene
    origin.fault = lost(f"/{level}/{document}")
    with mounted(tmp_path / "mount", config, timeout=10) as mount:
        left = [shape for name, shape in SHAPES.items() if name != level]
        assert shown(mount / "a" / "em.zarr") == left
        if (kind, level) != ("n5", "s2"):
            # Of a level that nothing lists and behind which there is none, nothing tells that it should be there.
            assert f"level `{level}` is left out: " in mount.log
            record = json.loads((mount / "a" / "metadata.json").read_text())
            assert f"without level `{level}`" in record["images"][0]["upstream_format"]
        assert emfs("status", mount.path, "--failed", check=False).returncode == 0
        origin.fault = None
        found = emfs("status", mount.path, "--failed", check=False)
        assert found.returncode == 1 and f"{level}/{document} was said to be missing and is there now; mount again" in found.stdout
    with mounted(tmp_path / "again", config, timeout=10) as mount:
        assert shown(mount / "a" / "em.zarr") == list(SHAPES.values())


def test_a_level_that_is_not_there_is_asked_for_a_few_times_and_costs_a_second(scene, tmp_path):
    kind, document, origin, config = scene
    shutil.rmtree(tmp_path / "volumes" / "image" / "s2")
    with mounted(tmp_path / "mount", config, timeout=10) as mount:
        assert len(shown(mount / "a" / "em.zarr")) == 2
        asked = [request for request in origin.requests if request.path.endswith(f"/s2/{document}")]
        assert len(asked) <= 8, len(asked)
