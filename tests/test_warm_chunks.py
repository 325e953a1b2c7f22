"""`emfs warm` of samples and boxes: all that reading them takes is kept, and a job without a network has it."""

import csv
import re

import numpy as np
import pytest
import tifffile

import readers
import reference_volumes
from mounting import TORCH_PYTHON, configuration, emfs, mounted
from origin import Origin
from test_sample import blobs, box, rows, write_pyramid
from test_training import EXAMPLES, inside, needs_torch

#: So wide that there are levels which emfs computes.
SHAPE = (70, 90, 660)
CROP = (slice(3, 66), slice(11, 80), slice(7, 603))
BOX = "_".join(f"{axis}{side.start}-{side.stop}" for axis, side in zip("zyx", CROP))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """A stack of planes whose chunks are many of them, and a group of small chunks: a configuration and the voxels of s0."""
    root = tmp_path_factory.mktemp("volumes")
    made = {"planes": reference_volumes.noise(SHAPE, "u1", 1), "group": reference_volumes.noise(SHAPE, "u2", 2)}
    tifffile.imwrite(root / "planes.tif", made["planes"], photometric="minisblack")
    write_pyramid(root / "group", [made["group"], made["group"][::2, ::2, ::2]], (8.0, 8.0, 8.0))
    with Origin(root) as origin:
        sources = {"planes": {"kind": "tiff", "url": f"{origin.url}/planes.tif", "voxel_size": [8.0] * 3}, "group": {"kind": "zarr", "url": f"{origin.url}/group"}}
        config = root / "volumes.toml"
        config.write_text(configuration(sources))
        yield config, made


@pytest.mark.parametrize("store", ["em", "em.chunk-48", "em.chunk-5x70x40.v3", f"em.crop-{BOX}", f"em.crop-{BOX}.chunk-40", "em.s1.chunk-32"])
@pytest.mark.parametrize("dataset", ["planes", "group"])
def test_what_is_warmed_of_samples_and_boxes_is_what_reading_them_takes(volumes, tmp_path, dataset, store):
    config, made = volumes
    name = f"{dataset}/{store}.zarr"
    text = emfs("sample", name, "--count", 3, "--size", "7x20x30", "--seed", 4, "--config", config).stdout
    lists = tmp_path / "list.csv"
    lists.write_text(text)
    level = rows(text)[0]["level"]
    needed = re.search(r", (\d+) native blocks of ", text).group(1)
    with mounted(tmp_path / "online", config.read_text()) as mount:
        right = [np.asarray(open_level(mount / name, level)[box(row)]) for row in rows(text)]
    if store != "em.s1.chunk-32":
        voxels = made[dataset][CROP] if "crop" in store else made[dataset]
        assert all(np.array_equal(one, voxels[box(row)]) for one, row in zip(right, rows(text), strict=True))
    ways = {"list": ["--list", lists], "follow": ["--follow", lists]}
    if "crop" not in store and "s1" not in store:
        row = rows(text)[0]
        ways["box"] = [name, "--level", "s0", "--box", "_".join(f"{axis}{side.start}-{side.stop}" for axis, side in zip("zyx", box(row)))]
    for way, what in ways.items():
        cache = tmp_path / way
        done = emfs("warm", *what, "--config", config, "--cache-dir", cache)
        if way != "box":
            assert done.stdout.startswith(f"{needed} blocks, 0 of them kept before; "), "the header of the list counts the same"
        with mounted(tmp_path / f"{way}-m", config.read_text(), "--offline", cache=cache) as mount:
            for number, row in enumerate(rows(text)[: 1 if way == "box" else None]):
                assert np.array_equal(open_level(mount / name, level)[box(row)], right[number]), (way, row)


def open_level(group, level):
    import zarr

    return zarr.open_array(group / level, mode="r")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """An image and labels of voxels twice as large that begin elsewhere, two levels each."""
    root = tmp_path_factory.mktemp("labelled")
    voxels, cells = reference_volumes.noise((96, 128, 700), "u1", 1), blobs((60, 70, 350), 3)
    write_pyramid(root / "em", [voxels, voxels[::2, ::2, ::2]], (8.0, 8.0, 8.0))
    write_pyramid(root / "cells", [cells, cells[::2, ::2, ::2]], (16.0, 16.0, 16.0))
    tifffile.imwrite(root / "planes.tif", voxels, photometric="minisblack")
    tifffile.imwrite(root / "alike.tif", blobs(voxels.shape, 5), photometric="minisblack")
    with Origin(root) as origin:
        tiff = lambda name: {"kind": "tiff", "url": f"{origin.url}/{name}.tif", "voxel_size": [8.0] * 3}
        group = lambda name: {"kind": "zarr", "url": f"{origin.url}/{name}"}
        labels = [{"name": "cells", "source": group("cells")}, {"name": "alike", "source": tiff("alike")}]
        images = [{"name": "group", "source": group("em"), "labels": labels}, {"name": "planes", "source": tiff("planes"), "labels": labels}]
        config = root / "labelled.toml"
        config.write_text(configuration({"v": {"source": group("em"), "images": images}}))
        yield config


@pytest.mark.parametrize("store", ["group", "planes.chunk-40", "group.crop-z5-90_y9-120_x31-150"])
def test_the_labels_over_samples_are_warmed_as_a_crop_shows_them(labelled, tmp_path, store):
    lists = tmp_path / "list.csv"
    lists.write_text(emfs("sample", f"v/{store}", "--count", 3, "--size", "9x20x30", "--seed", 2, "--config", labelled).stdout)
    done = emfs("warm", "--list", lists, "--config", labelled, "--cache-dir", tmp_path / "cache")
    assert done.stderr == ""
    image, _, crop = store.partition(".crop-")
    first = [int(side[1:].split("-")[0]) for side in crop.split("_")] if crop else [0, 0, 0]
    with mounted(tmp_path / "online", labelled.read_text()) as online, mounted(tmp_path / "m", labelled.read_text(), "--offline", cache=tmp_path / "cache") as mount:
        for row in rows(lists.read_text()):
            sides = [f"{axis}{of + side.start}-{of + side.stop}" for axis, of, side in zip("zyx", first, box(row))]
            shown = f"v/{image.split('.')[0]}.crop-{'_'.join(sides)}.zarr/labels"
            for label in ("cells", "alike"):
                found, right = (readers.zarr_array(where / shown / label, 0, False) for where in (mount, online))
                readers.assert_equal(found, right, f"{shown}/{label}")


@needs_torch
@pytest.mark.parametrize("level", ["s0", "s1"])
def test_a_job_that_reads_labels_needs_no_network_after_its_list_was_warmed(labelled, tmp_path, level):
    script = f"""
import sys, hashlib
sys.path.insert(0, {str(EXAMPLES)!r})
from emfs_blocks import Blocks
print([hashlib.sha256(labels.numpy().tobytes()).hexdigest() for name in ("cells", "alike") for _, labels, _ in Blocks(sys.argv[1], labels=name)])
"""
    for store in ("group", "planes.chunk-40", "group.crop-z5-90_y9-120_x31-150"):
        lists, cache = tmp_path / f"{store}.csv", tmp_path / store
        lists.write_text(emfs("sample", f"v/{store}", "--level", level, "--count", 3, "--size", "9x20x30", "--config", labelled).stdout)
        emfs("warm", "--list", lists, "--config", labelled, "--cache-dir", cache)
        right = inside(labelled, TORCH_PYTHON, "-c", script, lists).stdout
        assert right.count(",") == 5
        assert inside(labelled, TORCH_PYTHON, "-c", script, lists, cache=("--cache-dir", cache, "--offline")).stdout == right


@needs_torch
def test_the_list_of_the_replicas_views_is_read_offline(demo, tmp_path):
    config = tmp_path / "demo.toml"
    config.write_text(demo.config)
    lists = tmp_path / "list.csv"
    lists.write_text(emfs("sample", "hemibrain/em.chunk-128", "--size", 16, "--count", 2, "--config", config).stdout)
    emfs("warm", "--list", lists, "--config", config, "--cache-dir", tmp_path / "cache")
    right = inside(config, TORCH_PYTHON, EXAMPLES / "tensorstore.py", lists, "--allow-absent").stdout
    offline = inside(config, TORCH_PYTHON, EXAMPLES / "tensorstore.py", lists, "--allow-absent", cache=("--cache-dir", tmp_path / "cache", "--offline"))
    assert right and offline.stdout == right


@pytest.mark.parametrize("text", ["", "\n", "# only comments\n", "store,level,z,y,x,dz,dy,dx\n", '{"samples": []}'])
def test_a_list_that_names_nothing_is_an_error_that_says_so(volumes, tmp_path, text):
    config, _ = volumes
    lists = tmp_path / "empty.csv"
    lists.write_text(text)
    cache = ["--cache-dir", tmp_path / "cache"]
    commands = [
        ["warm", "--list", lists, *cache], ["warm", "group", "--level", "s1", "--list", lists, *cache], ["warm", "--follow", lists, *cache],
        ["stats", "--list", lists], ["export", "--list", lists, tmp_path / "out"]]
    for command in commands:
        done = emfs(*command, "--config", config, check=False)
        assert done.returncode == 1 and f"{lists}: the list names nothing" in done.stderr, (command, done.stderr)


def test_bytes_that_computed_levels_are_made_of_are_told(volumes, tmp_path):
    config, made = volumes
    done = emfs("warm", "planes", "--level", "s1", "--config", config, "--cache-dir", tmp_path / "cache")
    amount, unit = re.search(r"; ([\d.]+) (\w+) fetched", done.stdout).groups()
    scale = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "kB": 1000, "KB": 1000, "MB": 10**6}[unit]
    assert float(amount) * scale >= 0.9 * made["planes"].nbytes, done.stdout
    again = emfs("warm", "planes", "--level", "s1", "--config", config, "--cache-dir", tmp_path / "cache")
    assert "; 0 B fetched" in again.stdout


def write_list(path, row):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["store", "level", "z", "y", "x", "dz", "dy", "dx"])
        writer.writeheader()
        writer.writerow(dict.fromkeys(("z", "y", "x"), 0) | dict.fromkeys(("dz", "dy", "dx"), 8) | {"store": "group/em.zarr", "level": "s0"} | row)


@needs_torch
@pytest.mark.parametrize("script", ["dask_map.py", "tensorstore.py"])
def test_examples_refuse_places_that_are_none_and_lists_that_name_nothing(volumes, tmp_path, script):
    config, _ = volumes
    lists = tmp_path / "list.csv"
    write_list(lists, {})
    assert inside(config, TORCH_PYTHON, EXAMPLES / script, lists).stdout
    for row, sentence in (
            ({"z": 63}, None), ({"x": 10_000}, None), ({"z": -1}, "row 0: z is -1, which is no number of voxels from 0 on"),
            ({"dz": 0}, "row 0: dz is 0, which is no number of voxels from 1 on"), ({"dy": ""}, "row 0: dy is , which is no number")):
        write_list(lists, row)
        done = inside(config, TORCH_PYTHON, EXAMPLES / script, lists, check=False)
        assert done.returncode == 1 and not done.stdout, done.stdout
        if script == "dask_map.py":
            assert (sentence or "group/em.zarr/s0: the place ") in done.stderr, done.stderr
    for text in ("", "# nothing\n", "store,level,z,y,x,dz,dy,dx\n", '{"samples": []}'):
        lists.write_text(text)
        done = inside(config, TORCH_PYTHON, EXAMPLES / script, lists, check=False)
        assert done.returncode == 1 and f"{lists}: the list names nothing" in done.stderr, done.stderr
