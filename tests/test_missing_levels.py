"""That a level is said to be missing, or that something else comes in its place, hides nothing for good that is there: it is
believed late, told, and looked for; and no level is shown in the place of a finer one of which nothing is known."""

import errno
import json
import shutil

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr

import readers
import reference_volumes
from faults import altered
from mounting import configuration, emfs, mounted, wait_for
from origin import Answer, Fault, Origin
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


def of_json(text):
    return altered(lambda request, answer, origin: Answer(200, [("Content-Type", "application/json")], text))


#: What servers in trouble answer in place of a document.
DISGUISES = {"a page": Fault("html"), "nothing": of_json(b""), "an error": of_json(b'{"message": "Service unavailable"}'), "a part": altered(
    lambda request, answer, origin: Answer(200, [("Content-Type", "application/json")], answer.body[:len(answer.body) // 2]))}


def disguised(path, disguise, times=None):
    """Something else for a path, so many times or always."""
    given = []

    def fault(request):
        if request.path.endswith(path) and (times is None or len(given) < times):
            given.append(1)
            return DISGUISES[disguise]

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


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("level", SHAPES)
def test_something_else_in_place_of_a_level_for_a_moment_hides_nothing(scene, tmp_path, level, disguise):
    _, document, origin, config = scene
    origin.fault = disguised(f"/{level}/{document}", disguise, times=2)
    with mounted(tmp_path / "mount", config, timeout=20) as mount:
        assert shown(mount / "a" / "em.zarr") == list(SHAPES.values())
        np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), reference_volumes.noise(SHAPES["s0"], "uint8", 0))
        assert emfs("status", mount.path, "--failed", check=False).returncode == 0


@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_coarser_level_is_shown_in_place_of_the_finest(scene, tmp_path, disguise):
    kind, document, origin, config = scene
    origin.fault = disguised(f"/s0/{document}", disguise)
    (tmp_path / "config.toml").write_text(config)
    for command in (["export", "a", tmp_path / "copy"], ["stats", "a"]):
        done = emfs(*command, "--config", tmp_path / "config.toml", check=False)
        assert done.returncode == 1 and f"s0/{document}" in done.stderr and "`first_level = 1`" in done.stderr, done.stderr
    assert not (tmp_path / "copy").exists()
    with mounted(tmp_path / "mount", config, timeout=10) as mount:
        store = mount / "a" / "em.zarr"
        with pytest.raises(OSError) as failed:
            (store / ".zattrs").read_bytes()
        assert failed.value.errno == errno.EIO
        with pytest.raises(OSError):
            (mount / "a" / "em.crop-z0-8_y0-8_x0-8.zarr" / "s0" / "0" / "0" / "0").read_bytes()
        assert "`first_level = 1` in the configuration shows the image without it" in (store / "ERROR.txt").read_text()
        assert emfs("status", mount.path, "--failed", check=False).returncode == 1
        origin.fault = None

        def described():
            try:
                return (store / ".zattrs").read_bytes()
            except OSError:
                return None

        wait_for(described, 10, "the next look tries again")
        assert shown(store) == list(SHAPES.values())
    origin.fault = disguised(f"/s0/{document}", disguise)
    coarser = configuration({"a": {"kind": kind, "url": f"{origin.url}/image", "first_level": 1}})
    with mounted(tmp_path / "coarser", coarser, timeout=10) as mount:
        assert shown(mount / "a" / "em.zarr") == [SHAPES["s1"], SHAPES["s2"]]
        np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), reference_volumes.noise(SHAPES["s1"], "uint8", 1))


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("level", ["s1", "s2"])
def test_something_else_in_place_of_a_coarser_level_is_told_and_looked_at_again(scene, tmp_path, level, disguise):
    _, document, origin, config = scene
    origin.fault = disguised(f"/{level}/{document}", disguise)
    with mounted(tmp_path / "mount", config, timeout=10) as mount:
        assert shown(mount / "a" / "em.zarr") == [shape for name, shape in SHAPES.items() if name != level]
        assert f"level `{level}` is left out: " in mount.log
        # It is bad for good, as far as anybody knows.
        assert emfs("status", mount.path, "--failed", check=False).returncode == 0
        origin.fault = None
        found = emfs("status", mount.path, "--failed", check=False)
        assert found.returncode == 1 and f"{level}/{document} made no sense and is there now; mount again" in found.stdout


@pytest.mark.parametrize("fault", ["missing", *DISGUISES])
def test_commands_tell_which_level_they_read_without(scene, tmp_path, fault):
    kind, document, origin, config = scene
    origin.fault = lost(f"/s1/{document}") if fault == "missing" else disguised(f"/s1/{document}", fault)
    (tmp_path / "config.toml").write_text(config)
    done = emfs("export", "--quiet", "a", tmp_path / "copy", "--config", tmp_path / "config.toml")
    assert "is read without level `s1` (" in done.stderr, done.stderr


@pytest.mark.parametrize("kind", ["zarr", "n5"])
def test_attributes_that_come_back_are_a_failure_until_a_remount(tmp_path, kind):
    """A voxel size that only they state is not dropped for good."""
    folder = tmp_path / "volumes" / "image"
    if kind == "zarr":
        array = zarr.create_array(folder, shape=(24, 24, 24), chunks=(8, 8, 8), dtype="uint8", compressors=None, zarr_format=2)
        array.attrs.update({"_ARRAY_DIMENSIONS": ["z", "y", "x"], "resolution": [40, 8, 8]})
        document = "/image/.zattrs"
    else:
        write_n5(folder)
        (folder / "attributes.json").write_text(json.dumps({"pixelResolution": {"unit": "nm", "dimensions": [8, 8, 40]}}))
        document = "/image/attributes.json"
    with Origin(tmp_path / "volumes") as origin:
        config = configuration({"a": {"kind": kind, "url": f"{origin.url}/image"}})
        origin.fault = lost(document)
        with mounted(tmp_path / "mount", config, timeout=10) as mount:
            shown(mount / "a" / "em.zarr")
            assert emfs("status", mount.path, "--failed", check=False).returncode == 0
            origin.fault = None
            found = emfs("status", mount.path, "--failed", check=False)
            assert found.returncode == 1 and f"{document} was said to be missing and is there now; mount again" in found.stdout
        with mounted(tmp_path / "without", config, timeout=10) as mount:
            shown(mount / "a" / "em.zarr")
            assert emfs("status", mount.path, "--failed", check=False).returncode == 0
