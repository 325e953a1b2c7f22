"""`emfs sample` and `emfs stats`: lists that are the same everywhere, masks, splits, exact statistics; tokens of jobs."""

import csv
import hashlib
import hmac
import itertools
import json
import math
import os
import time

import numpy as np
import pytest
import zarr

import sample_rule
import reference_volumes
from mounting import configuration, emfs, mounted
from origin import Fault

SHAPE = (72, 160, 200)


def blobs(shape, seed):
    """Labels 1 to 5 in blobs, 0 around them."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    labels = np.zeros(shape, "u2")
    for number in range(14):
        centre = [rng.integers(0, n) for n in shape]
        distance = sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True))
        labels[distance < rng.integers(18, 30) ** 2] = number % 5 + 1
    return labels


def write_pyramid(folder, levels, scale):
    """A Zarr v2 group of these arrays, each half as fine as the one before, centres of voxels where they belong."""
    scales = [[size * 2**level for size in scale] for level in range(len(levels))]
    first = [[size * (2**level - 1) / 2 for size in scale] for level in range(len(levels))]
    paths = [f"s{level}" for level in range(len(levels))]
    group = zarr.create_group(folder, zarr_format=2, attributes={"multiscales": reference_volumes.multiscales(paths, scales, first, "0.4")})
    for path, array in zip(paths, levels, strict=True):
        group.create_array(path, shape=array.shape, dtype=array.dtype, chunks=(32, 32, 32), fill_value=0)[...] = array


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """An image with labels of its grid, and with the same labels at two levels, beginning elsewhere; a configuration."""
    from origin import Origin

    root = tmp_path_factory.mktemp("labelled")
    labels = blobs(SHAPE, 3)
    write_pyramid(root / "em.zarr", [reference_volumes.noise(SHAPE, "u1", 1)], (8.0, 8.0, 8.0))
    write_pyramid(root / "cells.zarr", [labels, labels[::2, ::2, ::2]], (8.0, 8.0, 8.0))
    with Origin(root) as origin:
        config = root / "labelled.toml"
        source = {"kind": "zarr", "url": f"{origin.url}/em.zarr"}
        image = {"name": "part", "source": source, "labels": [{"name": "cells", "source": {"kind": "zarr", "url": f"{origin.url}/cells.zarr"}}]}
        config.write_text(configuration({"v": {"source": source, "images": [image]}}))
        yield config, labels


def rows(text):
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def sample(config, *arguments, **options):
    return rows(emfs("sample", "--config", config, *arguments, **options).stdout)


def box(row):
    return tuple(slice(int(row[axis]), int(row[axis]) + int(row["d" + axis])) for axis in "zyx")


def start(row):
    return tuple(side.start for side in box(row))


def test_a_list_is_what_its_rule_says_in_another_language(labelled):
    config, _ = labelled
    for seed, name, store in ((0, "v", "v/em.zarr"), (7, "v/part.chunk-64.v3", "v/part.chunk-64.v3.zarr"), (2**64 - 1, "v", "v/em.zarr")):
        found = sample(config, name, "--count", 50, "--size", "16x32x24", "--seed", seed)
        assert [start(row) for row in found] == sample_rule.starts(seed, store, "s0", [(0, n) for n in SHAPE], (16, 32, 24), 50)
        assert {(row["dataset"], row["store"], row["level"], row["dz"], row["dy"], row["dx"], row["split"]) for row in found} == {
            ("v", store, "s0", "16", "32", "24", "all")}


def test_a_list_of_a_view_whose_levels_are_numbered_is_that_of_the_store_whose_levels_are_called_as_in_lists(labelled, tmp_path):
    config, _ = labelled
    names = "v/em.numbered", "v/em.numbered.zarr", "v/em"
    (text,) = {emfs("sample", "--config", config, name, "--count", 5, "--size", 16).stdout for name in names}
    (tmp_path / "list.csv").write_text(text)
    emfs("warm", "--config", config, "--list", tmp_path / "list.csv", "--cache-dir", tmp_path / "cache")


def test_a_list_has_its_rule_in_its_header_and_says_the_same_as_json(labelled):
    config, _ = labelled
    arguments = ["sample", "--config", config, "v", "v/part", "--count", "20", "--size", "16", "--region", "48x4", "--split", "a:0.5,b:0.5"]
    text = emfs(*arguments).stdout
    assert text == emfs(*arguments).stdout
    header = [line for line in text.splitlines() if line.startswith("# ")]
    assert header[0] == "# emfs sample, rule 2" and "seed 0, 4 at a time from regions of 48x48x48, images by volume" in header[1]
    assert header[2] == "# splits a:0.5,b:0.5 by blocks of 96x96x96 voxels or more, 2x2x2 apart"
    assert header[3].startswith("# v/em.zarr s0: 10 samples from z0-72_y0-160_x0-200, voxels of 8 x 8 x 8 nm, ")
    assert text.splitlines()[len(header)].startswith("dataset,image,store,level,z,y,x,dz,dy,dx,split")
    told = json.loads(emfs(*arguments, "--format", "json").stdout)
    assert told["rule"] == 2 and [f"# {line}" for line in told["header"]] == header
    assert [{key: str(value) for key, value in row.items()} for row in told["samples"]] == rows(text)


def test_no_place_has_more_outside_of_the_labels_than_allowed_and_all_allowed_ones_are_as_likely(labelled, long):
    from scipy.stats import chisquare

    config, labels = labelled
    size, count = (8, 24, 24), 10_000 if long else 1000
    for inside, is_inside, options in (
            ("cells", labels > 0, []), ("cells=1,3", np.isin(labels, [1, 3]), []), ("cells=2", labels == 2, ["--mask-level", "s0"])):
        found = sample(config, "v/part", "--count", count, "--size", "8x24x24", "--inside", inside, "--fraction", "0.8", *options)
        sums = np.pad(is_inside.astype(int), ((1, 0),) * 3).cumsum(0).cumsum(1).cumsum(2)
        for axis, extent in enumerate(size):
            sums = np.take(sums, range(extent, sums.shape[axis]), axis) - np.take(sums, range(sums.shape[axis] - extent), axis)
        allowed = sums >= 0.8 * np.prod(size)
        places = np.array([start(row) for row in found])
        assert len(found) == count and allowed[tuple(places.T)].all(), "of each place at least 80 % are inside, counted by numpy"
        number = np.cumsum(allowed.ravel())[np.ravel_multi_index(tuple(places.T), allowed.shape)] - 1
        counts = np.bincount(number * 16 // allowed.sum(), minlength=16)
        assert chisquare(counts, np.bincount(np.arange(allowed.sum()) * 16 // allowed.sum()) * count / allowed.sum()).pvalue > 0.01


def test_what_is_found_in_a_coarse_level_of_a_mask_is_judged_in_the_finest_one(labelled):
    config, labels = labelled
    arguments = ["v/part", "--count", 300, "--size", "8x24x24", "--inside", "cells", "--fraction", "0.95", "--mask-level", "s1"]
    assert "judged in s0 place by place, where s1 has any inside" in emfs("sample", "--config", config, *arguments).stdout
    assert min((labels[box(row)] > 0).mean() for row in sample(config, *arguments)) >= 0.95


def test_splits_share_no_voxel_and_keep_their_margin(labelled):
    config, _ = labelled
    found = sample(config, "v/part", "--count", 200, "--size", "12", "--split", "train:0.8,val:0.1,test:0.1", "--split-block", 40, "--margin", 5)
    counts = {split: sum(row["split"] == split for row in found) for split in ("train", "val", "test")}
    assert counts == {"train": 160, "val": 20, "test": 20}
    for one, other in itertools.combinations(found, 2):
        if one["split"] != other["split"]:
            gaps = [max(a.start - b.stop, b.start - a.stop) for a, b in zip(box(one), box(other), strict=True)]
            assert max(gaps) >= 5


def test_what_cannot_be_sampled_is_told_with_what_was_found(labelled):
    config, _ = labelled
    for arguments, reason in (
            (["--size", "128"], "samples of 128×128×128 voxels do not fit into 72×160×200 voxels; give a smaller --size"),
            (["--inside", "cells", "--fraction", "1", "--size", "64"], "after 200000 places in a row none had 100 % inside cells; of those that were not, the fullest had"),
            (["--inside", "nuclei"], "it has no labels `nuclei`; it has cells"),
            (["--inside", "cells=999", "--size", "8"], "0 of 10 samples were found"),
            (["--split", "a:0.5,b:0.5", "--size", "64", "--split-block", "160"], "2 splits need a block of space each"),
            (["--level", "s3"], "there is no level s3; the levels are s0"),
            (["--size", "32", "--region", "16x8"], "--region: samples of 32×32×32 voxels do not fit into 16×16×16 voxels")):
        done = emfs("sample", "--config", config, "v/part", "--count", "10", *arguments, check=False)
        assert done.returncode in (1, 2) and reason in done.stderr and not done.stdout, done.stderr


def test_a_mask_that_cannot_be_read_is_an_error_and_no_list(labelled, tmp_path, serve):
    config, _ = labelled
    origin = serve(config.parent)
    own = tmp_path / "own.toml"
    own.write_text(config.read_text().replace(f"127.0.0.1:{config.read_text().split('127.0.0.1:')[1].split('/')[0]}", origin.host))
    origin.fault = lambda request: Fault("status", 500) if "cells.zarr/s0/" in request.path and "." in request.path.split("s0/")[1] else None
    done = emfs("sample", "--config", own, "v/part", "--count", "10", "--size", "16", "--inside", "cells", "--timeout", "2", check=False)
    assert done.returncode == 1 and "500" in done.stderr and not done.stdout


def numpy_of(volume, found):
    return np.concatenate([volume[box(row)].ravel() for row in found])


def test_statistics_are_those_of_numpy_for_every_type(reference, tmp_path):
    names = {volume.dtype.name: name for name, volume in reference.volumes.items() if min(volume.levels[0].shape) >= 5}
    assert len(names) >= 8
    lists = tmp_path / "list.csv"
    lists.write_text(emfs("sample", "--config", reference.mount.config_file, *names.values(), "--count", 6 * len(names), "--size", "5", "--weights", "equal").stdout)
    told = json.loads(emfs("stats", "--config", reference.mount.config_file, "--list", lists, "--format", "json").stdout)
    assert {entry["dataset"] for entry in told} == set(names.values())
    for entry in told:
        found = [row for row in rows(lists.read_text()) if row["dataset"] == entry["dataset"]]
        voxels = numpy_of(reference.volumes[entry["dataset"]].levels[0], found)
        assert entry["voxels"] == voxels.size and entry["dtype"] == voxels.dtype.name
        voxels = voxels.astype(voxels.dtype.newbyteorder("="))
        if voxels.dtype.kind != "f":
            assert (entry["min"], entry["max"]) == (voxels.min(), voxels.max())
        exact = voxels.astype(np.longdouble)
        for key, value in {"mean": exact.mean(), "std": exact.std(), "min": voxels.min(), "max": voxels.max()}.items():
            assert entry[key] == pytest.approx(float(value), rel=1e-13), (entry["dtype"], key)
        if voxels.dtype.kind != "f":
            whole = [int(voxel) for voxel in voxels]
            # Python divides whole numbers exactly and rounds once.
            assert entry["mean"] == sum(whole) / len(whole), entry["dtype"]
            squares = len(whole) * sum(voxel * voxel for voxel in whole) - sum(whole) ** 2
            assert entry["std"] == math.sqrt(squares / len(whole) ** 2), entry["dtype"]
        for percent, value in entry["percentiles"].items():
            assert value == pytest.approx(float(np.percentile(voxels.astype("f8"), float(percent))), rel=1e-13), (entry["dtype"], percent)
        assert sum(entry["histogram"]["counts"]) == voxels.size
        lines = sorted(",".join([row["store"], *(row[key] for key in ("level", "z", "y", "x", "dz", "dy", "dx"))]) + "\n" for row in found)
        assert entry["blocks_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_list_of_a_crop_is_in_the_voxels_of_the_crop(labelled, tmp_path):
    config, _ = labelled
    whole = zarr.open_array(config.parent / "em.zarr/s0", mode="r")[...]
    name = "v/em.crop-z8-72_y16-160_x40-200.chunk-64.zarr"
    lists = tmp_path / "list.csv"
    lists.write_text(emfs("sample", "--config", config, name, "--count", 9, "--size", "24", "--region", "48x3").stdout)
    crop = whole[8:72, 16:160, 40:200]
    (told,) = json.loads(emfs("stats", "--config", config, "--list", lists, "--format", "json").stdout)
    assert told["mean"] == numpy_of(crop, rows(lists.read_text())).mean()
    with mounted(tmp_path, config.read_text()) as mount:
        array = zarr.open_array(mount / name / "s0", mode="r")
        assert all(np.array_equal(array[box(row)], crop[box(row)]) for row in rows(lists.read_text()))


def test_each_dataset_is_sampled_at_its_level_nearest_to_a_voxel_size(demo, tmp_path):
    config = tmp_path / "demo.toml"
    config.write_text(demo.config)
    for length in (8, 16, 40):
        done = emfs("sample", "--config", config, "hemibrain", "jrc_mus-nacc-2", "--count", 8, "--size", "8", "--voxel-size", length, "--weights", "equal")
        levels = {row["dataset"]: int(row["level"][1:]) for row in rows(done.stdout)}
        for dataset, level in levels.items():
            scales = [float(np.prod(scale)) ** (1 / 3) for scale in demo.truth[dataset, "em", None].scale]
            assert level == min(range(len(scales)), key=lambda at: abs(np.log(scales[at] / length)))
            percent = (scales[level] / length - 1) * 100
            off = f"{length} nm as asked for" if abs(percent) < 0.05 else f"{percent:+.1f} % off {length} nm"
            assert f"{dataset}/em.zarr s{level}: {off}" in done.stderr and f"({off})" in done.stdout


def test_statistics_of_one_level_of_a_list_are_those_of_its_rows(demo, tmp_path):
    config = tmp_path / "demo.toml"
    config.write_text(demo.config)
    texts = {level: emfs("sample", "--config", config, "hemibrain", "--count", 6, "--size", "16", "--level", level).stdout for level in ("s0", "s1")}
    lists = {"both": texts["s0"] + "".join(line + "\n" for line in texts["s1"].splitlines() if line.startswith("hemibrain,"))} | texts
    for name, text in lists.items():
        (tmp_path / f"{name}.csv").write_text(text)
    def told(name, *arguments, check=True):
        return emfs("stats", "--config", config, "--list", tmp_path / f"{name}.csv", "--format", "json", *arguments, check=check)
    assert told("both", "--level", "s1").stdout == told("s1").stdout == told("both", "hemibrain", "--level", "s1").stdout
    assert [entry["level"] for entry in json.loads(told("both").stdout)] == ["s0", "s1"]
    done = told("both", "--level", "s2", check=False)
    assert done.returncode == 1 and "both.csv: no row is of s2; they are of s0, s1" in done.stderr


def test_a_list_in_json_is_taken_wherever_one_in_csv_is(labelled, tmp_path):
    config, _ = labelled
    arguments = ["sample", "--config", config, "v/part", "--count", "6", "--size", "20", "--region", "48x3", "--split", "a:0.5,b:0.5"]
    told = {}
    for form in ("csv", "json"):
        path = tmp_path / f"list.{form}"
        path.write_text(emfs(*arguments, "--format", form).stdout)
        statistics = emfs("stats", "--config", config, "--list", path, "--split", "b", "--format", "json").stdout
        warmed = emfs("warm", "--config", config, "--list", path, "--cache-dir", tmp_path / form).stdout.split(";")[0]
        followed = emfs("warm", "--config", config, "--follow", path, "--cache-dir", tmp_path / f"{form}-2").stdout.split(";")[0]
        emfs("export", "--config", config, "--list", path, tmp_path / f"out-{form}", "--chunk", "20", "--quiet")
        exported = {str(file.relative_to(tmp_path / f"out-{form}")): file.read_bytes() for file in sorted((tmp_path / f"out-{form}").rglob("s0/*/*/*"))}
        told[form] = statistics, warmed, followed, exported
    assert told["csv"] == told["json"] and len(told["json"][3]) >= 6
    wrong = json.loads((tmp_path / "list.json").read_text())
    wrong["samples"][3]["z"] = 70
    (tmp_path / "wrong.json").write_text(json.dumps(wrong, indent=2))
    line = 1 + [number for number, text in enumerate((tmp_path / "wrong.json").read_text().splitlines()) if text == "    {"][3]
    done = emfs("warm", "--config", config, "--list", tmp_path / "wrong.json", "--cache-dir", tmp_path / "json", check=False)
    assert done.returncode == 1 and f"wrong.json:{line}: " in done.stderr and "does not lie in the 72×160×200 voxels of s0" in done.stderr
    (tmp_path / "wrong.json").write_text("{\n")
    done = emfs("warm", "--config", config, "--list", tmp_path / "wrong.json", "--cache-dir", tmp_path / "json", check=False)
    assert done.returncode == 1 and "wrong.json:2: " in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_window_of_no_samples_is_wrong_use(labelled, tmp_path):
    config, _ = labelled
    (tmp_path / "list.csv").write_text("store,level,z,y,x,dz,dy,dx\nv/em.zarr,s0,0,0,0,8,8,8\n")
    done = emfs("warm", "--config", config, "--follow", tmp_path / "list.csv", "--ahead", "0", "--cache-dir", tmp_path / "cache", check=False, timeout=20)
    assert done.returncode == 2 and "--ahead" in done.stderr


def test_statistics_do_not_depend_on_the_order_of_the_list(labelled, tmp_path):
    config, _ = labelled
    text = emfs("sample", "--config", config, "v", "--count", 30, "--size", "20").stdout
    comments = [line for line in text.splitlines() if line.startswith("#")]
    head, *lines = [line for line in text.splitlines() if not line.startswith("#")]
    told = []
    for number, order in enumerate((lines, lines[::-1])):
        lists = tmp_path / f"{number}.csv"
        lists.write_text("\n".join([*comments, head, *order]) + "\n")
        told.append(emfs("stats", "--config", config, "--list", lists, "--format", "json").stdout)
    one = {min(os.sched_getaffinity(0))}
    alone = emfs("stats", "--config", config, "--list", lists, "--format", "json", preexec_fn=lambda: os.sched_setaffinity(0, one)).stdout
    assert alone == told[0], "on one processor"
    drawn = emfs("stats", "--config", config, "v", "--blocks", 30, "--size", "20", "--format", "json").stdout
    assert told[0] == told[1] == drawn, "the default blocks are those of the list with the same numbers"


def test_statistics_are_kept_and_shown_in_metadata(labelled, tmp_path):
    config, _ = labelled
    def shown(path):
        image = json.loads(path.read_text())["images"][0]
        return image["intensity"]
    cache = tmp_path / "cache"
    with mounted(tmp_path / "before", config.read_text(), cache=cache) as mount:
        (mount / "v/em.zarr/.zattrs").read_bytes()
        record = json.loads((mount / "v/metadata.json").read_text())
        assert record["images"][0]["intensity"]["mean"] is None
        assert record["images"][0]["intensity"]["max"] == 255 and record["provenance"]["/images/0/intensity/max"]["rule"] == "the range of the type"
        assert "emfs stats" in json.dumps(record["missing"])
    (told,) = json.loads(emfs("stats", "--config", config, "v", "--blocks", 5, "--size", "32", "--cache-dir", cache, "--format", "json").stdout)
    with mounted(tmp_path / "after", config.read_text(), cache=cache) as mount:
        (mount / "v/em.zarr/.zattrs").read_bytes()
        record = json.loads((mount / "v/metadata.json").read_text())
        intensity = record["images"][0]["intensity"]
        assert (intensity["mean"], intensity["std"], intensity["percentiles"]) == (told["mean"], told["std"], told["percentiles"])
        assert (intensity["min"], intensity["max"]) == (told["min"], told["max"]) and isinstance(intensity["max"], int)
        for field in ("mean", "min", "max"):
            way = record["provenance"][f"/images/0/intensity/{field}"]
            assert way["method"] == "computed" and told["blocks_sha256"] in way["rule"]


def test_statistics_of_a_crop_are_kept_as_no_images_and_name_their_store(labelled, tmp_path):
    config, _ = labelled
    cache, lists = tmp_path / "cache", tmp_path / "list.csv"
    crop, view = "v/em.crop-z8-72_y16-160_x40-200.zarr", "v/em.chunk-64.zarr"
    options = ["--config", config, "--size", "24", "--cache-dir", cache, "--format", "json"]
    def shown():
        with mounted(tmp_path / "m", config.read_text(), cache=cache) as mount:
            (mount / "v/em.zarr/.zattrs").read_bytes()
            return json.loads((mount / "v/metadata.json").read_text())["images"][0]["intensity"]["mean"]
    (told,) = json.loads(emfs("stats", crop, "--blocks", 5, *options).stdout)
    assert told["store"] == crop and shown() is None
    lists.write_text(emfs("sample", crop, "--count", 5, "--size", "24", "--config", config).stdout)
    (told,) = json.loads(emfs("stats", "--list", lists, "--config", config, "--cache-dir", cache, "--format", "json").stdout)
    assert told["store"] == crop and shown() is None
    (told,) = json.loads(emfs("stats", view, "--blocks", 5, *options).stdout)
    assert told["store"] == view and shown() == told["mean"], "other chunks show the whole image"
    table = emfs("stats", crop, "v", "--blocks", 5, "--size", "24", "--config", config).stdout.splitlines()
    assert [line.split()[0] for line in table] == ["store", crop, "v/em.zarr"]


def test_what_a_list_needs_is_fetched_and_nothing_else(labelled, tmp_path, serve):
    config, _ = labelled
    origin = serve(config.parent)
    own = tmp_path / "own.toml"
    own.write_text(config.read_text().replace(config.read_text().split("http://")[1].split("/")[0], origin.host))
    lists = tmp_path / "list.csv"
    lists.write_text(emfs("sample", "--config", own, "v", "--count", 12, "--size", "20").stdout)
    origin.requests.clear()
    emfs("warm", "--config", own, "--list", lists, "--cache-dir", tmp_path / "cache")
    asked = {request.path for request in origin.requests if "/s0/" in request.path and not request.path.endswith(".zarray")}
    needed = {
        f"/em.zarr/s0/{z}.{y}.{x}" for row in rows(lists.read_text())
        for z, y, x in itertools.product(*(range(side.start // 32, -(-side.stop // 32)) for side in box(row)))}
    assert {path.replace("/s0/", "/s0/").replace("/em.zarr/s0/", "").replace("/", ".") for path in asked} >= {path.rpartition("/")[2] for path in needed}
    assert len(asked) <= len(needed) + 8, "beside the blocks of the display window"
    with mounted(tmp_path, own.read_text(), cache=tmp_path / "cache") as mount:
        zarr.open_array(mount / "v/em.zarr/s0", mode="r")
        origin.fault = lambda request: Fault("status", 500)
        array = zarr.open_array(mount / "v/em.zarr/s0", mode="r")
        expected = zarr.open_array(config.parent / "em.zarr/s0", mode="r")[...]
        for row in rows(lists.read_text()):
            assert np.array_equal(array[box(row)], expected[box(row)])
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("store,level,z,y,x,dz,dy,dx\nv/em.zarr,s0,70,0,0,8,8,8\n")
    origin.fault = None
    done = emfs("warm", "--config", own, "--list", wrong, "--cache-dir", tmp_path / "cache", check=False)
    assert done.returncode == 1 and "wrong.csv:2: " in done.stderr and "does not lie in the 72×160×200 voxels of s0" in done.stderr


def test_a_job_is_followed_with_a_bounded_number_of_samples_ahead(labelled, tmp_path, serve):
    import subprocess

    from mounting import BINARY, wait_for

    config, _ = labelled
    origin = serve(config.parent)
    own = tmp_path / "own.toml"
    own.write_text(config.read_text().replace(config.read_text().split("http://")[1].split("/")[0], origin.host))
    lists = tmp_path / "list.csv"
    # Samples that share no block: one in each of 30.
    blocks = list(itertools.product(range(2), range(5), range(6)))[:30]
    lists.write_text("store,level,z,y,x,dz,dy,dx\n" + "".join(f"v/em.zarr,s0,{32 * z},{32 * y},{32 * x},8,8,8\n" for z, y, x in blocks))
    origin.requests.clear()
    def fetched():
        return len({request.path for request in origin.requests if "/s0/" in request.path and not request.path.endswith(".zarray")})
    command = [BINARY, "warm", "--config", own, "--follow", lists, "--ahead", "10", "--cache-dir", tmp_path / "cache"]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:
        wait_for(lambda: fetched() >= 10, 20, "the first ten")
        time.sleep(0.5)
        assert fetched() == 10
        (tmp_path / "list.csv.read").write_text("0\n4\n")
        wait_for(lambda: fetched() >= 15, 20, "ten after the fifth")
        time.sleep(0.5)
        assert fetched() == 15
        with open(tmp_path / "list.csv.read", "a") as file:
            file.write("29\n")
        assert process.wait(20) == 0
    assert fetched() == 30


def test_a_list_is_exported_as_a_store_for_each_row(labelled, tmp_path):
    config, labels = labelled
    lists = tmp_path / "list.csv"
    lists.write_text(emfs("sample", "--config", config, "v/part", "--count", 4, "--size", "20").stdout)
    emfs("export", "--config", config, "--list", lists, tmp_path / "out", "--chunk", "20", "--quiet")
    expected = zarr.open_array(config.parent / "em.zarr/s0", mode="r")[...]
    for number, row in enumerate(rows(lists.read_text())):
        store = zarr.open_group(tmp_path / "out" / f"{number:06}.zarr", mode="r")
        assert np.array_equal(store["s0"][...], expected[box(row)])
        assert np.array_equal(store["labels/cells/s0"][...], labels[box(row)])


def test_a_token_says_what_a_job_may_read_and_is_revoked_with_its_key(tmp_path):
    keys = tmp_path / "own" / "keys"
    token = emfs("token", "create", "--key-file", keys, "--dataset", "hemibrain", "--expires", "12h", "--job", "j-1").stdout.strip()
    signed, _, signature = token.rpartition(".")
    assert keys.stat().st_mode & 0o777 == 0o600
    import base64
    key = bytes.fromhex(keys.read_text().split()[0])
    assert base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).decode().rstrip("=") == signature
    shown = emfs("token", "show", "--key-file", keys, "--dataset", "hemibrain", token).stdout
    assert shown.startswith("hemibrain, until ") and "for j-1" in shown
    def refused(token, *options):
        done = emfs("token", "show", "--key-file", keys, *options, token, check=False)
        assert done.returncode == 1
        return done.stderr
    assert "does not allow other" in refused(token, "--dataset", "other")
    short = emfs("token", "create", "--key-file", keys, "--expires", "1s").stdout.strip()
    time.sleep(1.1)
    assert "has expired" in refused(short)
    emfs("token", "key", "--key-file", keys)
    assert emfs("token", "show", "--key-file", keys, token).returncode == 0, "an old key is valid until it is left out"
    emfs("token", "key", "--key-file", keys, "--revoke")
    assert "its key was revoked" in refused(token)
