"""`emfs sample --inside`: what is inside is counted in labels of any voxel size, wherever they begin and however large they are."""

import json

import numpy as np
import pytest
import zarr

import reference_volumes
from mounting import configuration, emfs
from origin import Origin
from test_sample import blobs, box, rows, start, write_pyramid

SHAPE = (48, 96, 120)


def begin_at(folder, translation):
    """Moves the centre of the first voxel of each level by so many nanometres."""
    attributes = json.loads((folder / ".zattrs").read_text())
    for dataset in attributes["multiscales"][0]["datasets"]:
        transformation = dataset["coordinateTransformations"][1]
        transformation["translation"] = [length + translation for length in transformation["translation"]]
    (folder / ".zattrs").write_text(json.dumps(attributes))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A function that writes an image of 8 nm with labels of some levels, and gives the configuration."""
    root = tmp_path_factory.mktemp("inside")
    write_pyramid(root / "em.zarr", [reference_volumes.noise(SHAPE, "u1", 1)], (8.0, 8.0, 8.0))
    with Origin(root) as origin:
        def make(name, levels, size=8.0, translation=0.0):
            write_pyramid(root / f"{name}.zarr", levels, (size,) * 3)
            begin_at(root / f"{name}.zarr", translation)
            source = {"kind": "zarr", "url": f"{origin.url}/em.zarr"}
            image = {"name": "part", "source": source, "labels": [{"name": "cells", "source": {"kind": "zarr", "url": f"{origin.url}/{name}.zarr"}}]}
            config = root / f"{name}.toml"
            config.write_text(configuration({"v": {"source": source, "images": [image]}}))
            return config

        yield make


def sample(config, *arguments, **options):
    done = emfs("sample", "--config", config, "v/part", "--inside", "cells", *arguments, **options)
    return rows(done.stdout) if done.returncode == 0 else done.stderr


def shares(is_inside, size, translation):
    """Of each image voxel the share that is inside: of the label at its centre, or of the finer labels whose centres lie in it."""
    result = is_inside.astype(float)
    for axis, extent in enumerate(SHAPE):
        if size >= 8:
            at = np.floor((np.arange(extent) * 8 - translation) / size + 0.5).astype(int)
            here = (at >= 0) & (at < result.shape[axis])
            picked = np.take(result, np.clip(at, 0, result.shape[axis] - 1), axis)
            result = picked * here.reshape([-1 if n == axis else 1 for n in range(3)])
        else:
            assert (size, translation) == (4, -2)
            result = result.reshape([*result.shape[:axis], extent, 2, *result.shape[axis + 1:]]).mean(axis + 1)
    return result


def box_sums(values, size):
    sums = np.pad(values, ((1, 0),) * 3).cumsum(0).cumsum(1).cumsum(2)
    for axis, extent in enumerate(size):
        sums = np.take(sums, range(extent, sums.shape[axis]), axis) - np.take(sums, range(sums.shape[axis] - extent), axis)
    return sums


@pytest.mark.parametrize("nanometres, translation, shape", [
    (16, 4, (24, 48, 60)), (16, 12, (24, 48, 60)), (16, 0, (24, 48, 61)), (24, 8, (16, 32, 40)), (24, -16, (16, 32, 40)),
    (12, 2, (32, 64, 80)), (40, 16, (10, 20, 24)), (4, -2, (96, 192, 240)), (8, 24, (30, 96, 100))])
def test_places_in_labels_of_another_voxel_size_are_judged_as_numpy_does(scene, long, nanometres, translation, shape):
    from scipy.stats import chisquare

    rng = np.random.default_rng(nanometres)
    # Grains, so that half a label voxel at the border of a place decides.
    is_inside = blobs(shape, 5) > 0
    is_inside &= rng.random(shape) < 0.9
    config = scene(f"cells-{nanometres}-{translation}", [is_inside.astype("u1")], nanometres, translation)
    inside = shares(is_inside, nanometres, translation)
    count = 10_000 if long else 2000
    for size, fraction in (((7, 9, 11), 0.75), ((12, 16, 8), 0.6)):
        allowed = box_sums(inside, size) >= fraction * np.prod(size) - 1e-6
        found = sample(config, "--count", count, "--size", "x".join(map(str, size)), "--fraction", fraction)
        places = np.array([start(row) for row in found])
        assert len(places) == count and allowed[tuple(places.T)].all(), "of none more is outside, counted by numpy"
        assert (places % 2 == 1).any(0).all(), "odd starts too"
        number = np.cumsum(allowed.ravel())[np.ravel_multi_index(tuple(places.T), allowed.shape)] - 1
        counts = np.bincount(number * 16 // allowed.sum(), minlength=16)
        expected = np.bincount(np.arange(allowed.sum()) * 16 // allowed.sum())
        assert chisquare(counts, expected * count / allowed.sum()).pvalue > 0.01


def test_places_of_the_hemibrain_are_judged_in_labels_of_half_its_resolution(demo, tmp_path):
    config = tmp_path / "demo.toml"
    config.write_text(demo.config)
    labels = np.kron(demo.truth["hemibrain", "em", "mitochondria"].levels[0] > 0, np.ones((2, 2, 2), "u1"))
    arguments = ["--count", 2000, "--size", 16, "--inside", "mitochondria", "--fraction", "0.5"]
    found = rows(emfs("sample", "--config", config, "hemibrain", *arguments).stdout)
    assert len(found) == 2000 and min(labels[box(row)].sum() for row in found) >= 0.5 * 16**3


def test_a_list_is_the_same_whether_labels_are_held_in_memory_or_read_place_by_place(scene):
    labels = blobs(SHAPE, 3)
    labels[np.indices(SHAPE).sum(0) % 3 == 0] = 0
    config = scene("thin", [labels, labels[::2, ::2, ::2]])
    arguments = ["--count", 200, "--size", "8x16x16", "--fraction", "0.55", "--seed", 4]
    assert sample(config, *arguments, "--mask-level", "s1") == sample(config, *arguments) == sample(config, *arguments, "--mask-level", "s0")
    told = emfs("sample", "--config", config, "v/part", "--inside", "cells", *arguments, "--mask-level", "s1").stdout
    assert "judged in s0 place by place, where s1 has any inside, which are " in told and "what s1 has lost of s0 is left out" in told


def test_a_coarse_level_that_has_lost_everything_is_named_as_the_reason(scene):
    labels = np.zeros(SHAPE, "u1")
    labels[::2] = 1  # of each 2×2×2 voxels four, and the most frequent of them, the smaller of two, is 0
    config = scene("lost", [labels, np.zeros([n // 2 for n in SHAPE], "u1")])
    assert len(sample(config, "--count", 5, "--size", 16, "--fraction", "0.4")) == 5
    told = sample(config, "--count", 5, "--size", 16, "--fraction", "0.4", "--mask-level", "s1", check=False)
    assert "0 of 5 samples were found" in told and "not one of them was worth reading" in told and "since s1 may have lost what there is" in told


def test_what_a_coarse_level_promises_and_the_finest_does_not_keep_ends_with_what_was_found(scene):
    labels = np.ones(SHAPE, "u1")
    labels.reshape(24, 2, 48, 2, 60, 2)[:, [0, 0, 1], :, [0, 1, 1], :, [0, 1, 0]] = 0
    assert labels.mean() == 0.625
    config = scene("full", [labels, np.ones([n // 2 for n in SHAPE], "u1")])
    for size, fullest in ((16, "62.500"), (32, "62.500")):
        told = sample(config, "--count", 5, "--size", size, "--fraction", "0.9", "--mask-level", "s1", check=False, timeout=300)
        assert "places in a row, 4096 of them read, none had 90 % inside cells; of those that were not, the fullest had " + fullest in told, told


def test_labels_that_do_not_fit_the_memory_are_read_place_by_place(tmp_path):
    """Of more than 2^30 voxels, nearly all of them absent and therefore of the fill value."""
    shape, chunk = (1032, 1024, 1040), 344
    for name, fill in (("em", 0), ("cells", 1)):
        attributes = {"multiscales": reference_volumes.multiscales(["s0"], [[8.0] * 3], [[0.0] * 3], "0.4")}
        group = zarr.create_group(tmp_path / f"{name}.zarr", zarr_format=2, attributes=attributes)
        array = group.create_array("s0", shape=shape, dtype="u1", chunks=(chunk,) * 3, fill_value=fill)
        if name == "cells":
            array[:chunk, :chunk, :chunk] = 0
    with Origin(tmp_path) as origin:
        source = {"kind": "zarr", "url": f"{origin.url}/em.zarr"}
        image = {"name": "part", "source": source, "labels": [{"name": "cells", "source": {"kind": "zarr", "url": f"{origin.url}/cells.zarr"}}]}
        config = tmp_path / "v.toml"
        config.write_text(configuration({"v": {"source": source, "images": [image]}}))
        arguments = ["--count", 30, "--size", 16, "--fraction", "0.9", "--within", "z0-1032_y0-1024_x0-1040"]
        done = emfs("sample", "--config", config, "v/part", "--inside", "cells", *arguments, timeout=300)
        assert "judged in s0 place by place, voxels of 8 x 8 x 8 nm" in done.stdout
        outside = [np.prod([max(0, min(chunk - first, 16)) for first in start(row)]) for row in rows(done.stdout)]
        assert len(outside) == 30 and max(outside) <= 0.1 * 16**3
        done = emfs(
            "sample", "--config", config, "v/part", "--inside", "cells", "--count", 5, "--size", 16, "--within", "z0-300_y0-300_x0-300",
            "--mask-level", "s0", check=False)
        assert done.returncode == 1 and "the fullest had 0.000 %" in done.stderr
