"""`emfs export`: what it writes is the truth, the same each time, within its memory, and told on the command line."""

import contextlib
import json
import os
import pathlib
import pty
import re
import subprocess
import time

import numpy as np
import pytest

import readers
import reference_volumes
from exporting import PATIENT, assert_right, assert_same, export, validate, wire, written
from mounting import BINARY, LEGACY_PYTHON, emfs
from origin import Origin

LEGACY = pathlib.Path(__file__).with_name("legacy.py")


@pytest.fixture
def config(demo, tmp_path):
    file = tmp_path / "replica.toml"
    file.write_text(demo.config)
    return file


def read_by_zarr_2(stores, folder):
    """Writes the levels of v2 stores by name to `NAME.sN.npy` in a folder, as zarr 2 reads them."""
    order = {"stores": {name: str(path) for name, path in stores.items()}, "out": str(folder), "compressed": True}
    subprocess.run([LEGACY_PYTHON, LEGACY, "read"], input=json.dumps(order), text=True, check=True, timeout=300)


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
def test_a_random_crop_exported_twice_is_the_same_and_right(demo, config, tmp_path, v3):
    form = ["--format", "v3"] if v3 else []
    for folder in ("a.zarr", "b.zarr"):
        name = emfs("crop", "hemibrain", "--size", 200, "--seed", 7, "--config", config).stdout.strip()
        done = export(name, tmp_path / folder, "--config", config, *form)
        assert done.stdout == ""
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    start = [int(part[1:].split("-")[0]) for part in name.split("crop-")[1].removesuffix(".zarr").split("_")]
    volume = demo.truth["hemibrain", "em", None]
    levels = []
    for level, voxels in enumerate(volume.levels):
        factor = 2**level
        levels.append(voxels[tuple(slice(a // factor, min(-(-(a + 200) // factor), n)) for a, n in zip(start, voxels.shape, strict=True))])
    assert levels[0].shape == (200, 200, 200)
    assert_right(tmp_path / "a.zarr", levels, v3, volume.lossy)
    validate(tmp_path / "a.zarr", v3)
    if not v3:
        read_by_zarr_2({"crop": tmp_path / "a.zarr"}, tmp_path)
        for level, voxels in enumerate(levels):
            readers.assert_equal(np.load(tmp_path / f"crop.s{level}.npy"), voxels, f"s{level} by zarr 2", volume.lossy)
    manifest = json.loads((tmp_path / "a.zarr" / "manifest.json").read_text())
    assert manifest["arguments"]["box"]["start"] == start
    assert any(version["etag"] for version in manifest["objects"].values())
    assert json.loads((tmp_path / "a.zarr" / "metadata.json").read_text())["id"] == "hemibrain"


WAYS = {
    "v2-plain": ["--compress", "none"],
    "v2-zstd": ["--compress", "zstd:1"],
    "v2-blosc": ["--compress", "blosc", "--chunk", "40"],
    "v3-plain": ["--format", "v3", "--compress", "none"],
    "v3-blosc": ["--format", "v3", "--compress", "blosc"],
    "v3-plain-shards": ["--format", "v3", "--compress", "none", "--chunk", "32", "--shard", "64x64x96"],
    "v3-zstd-shards": ["--format", "v3", "--chunk", "20x30x40", "--shard", "40x60x120"],
}


@pytest.mark.parametrize("way", WAYS)
def test_all_datasets_in_one_command_are_the_truth(demo, config, tmp_path, way):
    v3 = way.startswith("v3")
    export("--all", tmp_path / "all", "--config", config, *WAYS[way], "--verify")
    stores = {}
    for (dataset, image, label), volume in demo.truth.items():
        store = tmp_path / "all" / dataset / f"{image}.zarr"
        path = store if label is None else store / "labels" / label
        assert_right(path, volume.levels, v3, volume.lossy)
        validate(path, v3, label is not None)
        stores[f"{dataset}.{image}.{label}"] = path, volume
        assert (store / "NOTICE").exists() == (dataset == "epfl-hippocampus")
        assert not (store / ".emfs-export").exists()
    if not v3:
        read_by_zarr_2({name: path for name, (path, _) in stores.items()}, tmp_path)
        for name, (_, volume) in stores.items():
            for level, voxels in enumerate(volume.levels):
                readers.assert_equal(np.load(tmp_path / f"{name}.s{level}.npy"), voxels, name, volume.lossy)


@pytest.mark.parametrize("way", ["v2-zstd", "v3-shards"])
def test_odd_volumes_are_the_truth(volumes, tmp_path, way):
    root, made = volumes
    v3 = way == "v3-shards"
    form = ["--format", "v3", "--chunk", "20", "--shard", "40x20x60", "--compress", "blosc"] if v3 else ["--compress", "zstd:1"]
    with Origin(root) as origin:
        file = written(tmp_path, {name: reference_volumes.source_at(volume, origin) for name, volume in made.items()})
        export("--all", tmp_path / "all", "--config", file, *form, "--memory", "16M")
    for name, volume in made.items():
        store = tmp_path / "all" / name / "em.zarr"
        for level, voxels in enumerate(volume.levels):
            reader = readers.zarr_array if level % 2 else readers.tensorstore_driver
            readers.assert_equal(reader(store, level, v3), voxels, f"{store}/s{level}")



@pytest.mark.parametrize("format", ["v2", "v3"])
def test_zarr_shows_an_export_as_a_tree_and_warns_of_none_of_its_other_files(config, tmp_path, format):
    import warnings

    import zarr

    store = tmp_path / "store.zarr"
    export("epfl-hippocampus/training", store, "--format", format, "--config", config)
    assert (store / "manifest.json").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open(store, mode="r")
        tree = str(group.tree())
        members = {name for name, _ in group.members(max_depth=None)}
    assert "mitochondria" in tree and "s0 (" in tree and "upstream" not in tree and "manifest" not in tree
    assert members == {"s0", "labels", "labels/mitochondria", "labels/mitochondria/s0"}


def test_what_memory_cannot_hold_is_fetched_once(tmp_path):
    volume = reference_volumes.itk(tmp_path, "itk", (70, 500, 700), "u1", 1)
    size = volume.levels[0].nbytes
    with Origin(tmp_path) as origin:
        file = written(tmp_path, {"v": reference_volumes.source_at(volume, origin) | {"pyramid": False}}, PATIENT)
        export("v", tmp_path / "whole.zarr", "--config", file, "--memory", "8M", "--chunk", "60x90x100")
        assert wire(origin) < 1.05 * size
        origin.forget()
        export("v", tmp_path / "sharded.zarr", "--config", file, "--memory", "8M", "--format", "v3", "--chunk", "33x50x60", "--shard", "66x100x120")
        assert wire(origin) < 1.05 * size
    assert_right(tmp_path / "whole.zarr", volume.levels, False)
    assert_right(tmp_path / "sharded.zarr", volume.levels, True)


def test_levels_can_be_chosen_and_keep_their_names(demo, config, tmp_path):
    export("jrc_mus-nacc-2", tmp_path / "x.zarr", "--config", config, "--level", "s1", "--level", "s3")
    import zarr

    group = zarr.open_group(tmp_path / "x.zarr", mode="r")
    assert [entry["path"] for entry in group.attrs["multiscales"][0]["datasets"]] == ["s1", "s3"]
    volume = demo.truth["jrc_mus-nacc-2", "em", None]
    described = group.attrs["multiscales"][0]["metadata"]["description"]
    assert described.startswith("all levels (s1, s3) are coarser ones of the origin's (") and "s0" not in described
    for level in (1, 3):
        readers.assert_equal(readers.zarr_array(tmp_path / "x.zarr", level, False), volume.levels[level], f"s{level}")
    assert not (tmp_path / "x.zarr" / "s0").exists()
    validate(tmp_path / "x.zarr", False)


def test_memory_is_bounded_whatever_the_chunks(tmp_path, long):
    import tifffile

    budget, chunk, shard, shape = (64, 256, 1024, (320, 2048, 2048)) if long else (16, 128, 512, (160, 1024, 2048))
    rows = np.random.default_rng(1).integers(1, 256, shape[1:], "u1")
    voxels = tifffile.memmap(tmp_path / "big.tif", shape=shape, dtype="u1", metadata=None)
    for z in range(shape[0]):
        voxels[z] = np.roll(rows, 7 * z, axis=1)
    voxels.flush()
    with Origin(tmp_path) as origin:
        file = written(tmp_path, {"v": {"kind": "tiff", "url": f"{origin.url}/big.tif", "voxel_size": [1, 1, 1], "pyramid": False}}, PATIENT)
        arguments = [BINARY, "export", "v", tmp_path / "x.zarr", "--config", file, "--cache-size", "0", "--quiet", "--memory", f"{budget}M",
                     "--format", "v3", "--chunk", str(chunk), "--shard", str(shard), "--compress", "zstd:1"]
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                peak = max([peak, *(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))])
            time.sleep(0.02)
        assert process.returncode == 0
        asked = wire(origin)
    print(f"peak {peak / 2**20:.0f} MiB of a budget of {budget} MiB, {asked / np.prod(shape):.3f} of the voxels asked for")
    assert peak <= (budget + 100) << 20
    assert asked <= 1.05 * np.prod(shape)
    import tensorstore

    array = tensorstore.open({"driver": "zarr3", "kvstore": f"file://{tmp_path}/x.zarr/s0/"}).result()
    for z in range(0, shape[0], 37):
        assert (array[z].read().result() == np.roll(rows, 7 * z, axis=1)).all()


# On the command line


def test_progress_is_a_bar_in_a_terminal_lines_elsewhere_and_nothing_when_quiet(small, tmp_path):
    _, origin, file = small
    done = export("v", tmp_path / "a", "--config", file)
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "voxels" in done.stderr and "from the wire" in done.stderr
    done = export("v", tmp_path / "b", "--config", file, "--quiet")
    assert (done.stdout, done.stderr) == ("", "")
    origin.latency = 0.3
    primary, secondary = pty.openpty()
    process = subprocess.Popen([BINARY, "export", "v", tmp_path / "c", "--config", file, "--cache-size", "0"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=secondary, env=os.environ | {"TERM": "xterm", "COLUMNS": "160"})
    os.close(secondary)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(primary, 65536):
            shown += piece
    os.close(primary)
    assert process.wait(60) == 0 and process.stdout.read() == b""
    process.stdout.close()
    text = shown.decode()
    assert "%" in text and "from the wire" in text and "retries" in text and "\r" in text, text


def test_a_dry_run_tells_the_cost_and_reads_no_voxels(small, tmp_path):
    volume, origin, file = small
    done = export("v", tmp_path / "x", "--config", file, "--dry-run")
    assert not (tmp_path / "x").exists()
    assert "requests" in done.stdout and "on the wire" in done.stdout and "on disk" in done.stdout and "127.0.0.1" in done.stdout
    assert not [request.path for request in origin.requests if "/s0/" in request.path and request.path[-1].isdigit()]


def test_a_dry_run_counts_what_would_be_fetched(scene):
    def dry_run(name, *options, code=0):
        done = scene.emfs("export", name, scene.folder / "x", "--dry-run", *options, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    def requests(name):
        return int(re.search(r": (?:about )?(\d+) requests", dry_run(name)[0]).group(1))

    for name in ("zarr", "itk"):
        before = requests(name)
        scene.emfs("warm", name, "--level", "s0", "--box", "z0-32_y0-64_x0-256")
        part = requests(name)
        assert 0 < part < before
        scene.emfs("warm", name)
        scene.origin.forget()
        text, _ = dry_run(name)
        assert "nothing has to be fetched" in text and "requests" not in text
        scene.emfs("export", name, scene.folder / f"{name}.zarr", "--quiet")
        assert scene.origin.requests == [], "as the dry run said"


def test_a_dry_run_counts_what_it_has_fetched_itself_as_kept(tmp_path, serve):
    volume = reference_volumes.itk(tmp_path, "v", (5, 40, 50), "u2", 1)
    file = written(tmp_path, {"v": reference_volumes.source_at(volume, serve(tmp_path))})
    for _ in range(2):
        done = emfs("export", "v", tmp_path / "x", "--dry-run", "--config", file, "--cache-dir", tmp_path / "cache")
        assert "nothing has to be fetched" in done.stdout, "the start of the file, which is all of it, was asked for"


def test_a_dry_run_tells_what_is_missing_where_nobody_may_be_asked(scene):
    def dry_run(name, code):
        done = scene.emfs("export", name, scene.folder / "x", "--dry-run", "--offline", check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, done.stderr

    scene.emfs("warm", "zarr", "--level", "s0", "--box", "z0-32_y0-64_x0-256")
    scene.origin.forget()
    text, error = dry_run("zarr", 1)
    assert re.search(r"127.0.0.1: (at most )?[\d.]+ [KM]iB are not kept", text) and "not all of it is kept" in error
    scene.emfs("warm", "zarr")
    scene.origin.forget()
    assert dry_run("zarr", 0) == ("zarr/em: all of it is here\n", "")
    assert scene.origin.requests == []


def test_a_dry_run_of_files_of_this_machine_fetches_nothing(tmp_path):
    volume = reference_volumes.zarr_group(tmp_path, "group", shape=(9, 20, 30), dtype="<i2", chunks=(8, 8, 8), seed=2)
    file = written(tmp_path, {"v": {"kind": "zarr", "url": str(tmp_path / volume.file)}})
    assert "nothing has to be fetched" in export("v", tmp_path / "x", "--config", file, "--dry-run").stdout
    assert export("v", tmp_path / "x", "--config", file, "--dry-run", "--offline").stdout == "v/em: all of it is here\n"


@pytest.mark.parametrize("arguments, word", [
    (["v"], "DEST"), (["--all", "v", "x"], "--all"), (["v", "x", "--shard", "64"], "shards"), (["v", "v/em", "x"], "twice"),
    (["v", "x", "--format", "v3", "--shard", "50"], "multiple"), (["v", "x", "--level", "s7"], "s7"), (["v", "x", "--chunk", "1"], "chunk"),
    (["v", "ftp://x/y"], "ftp"), (["v", "x", "--memory", "4K"], "--memory"),
])
def test_wrong_usage_is_told(small, tmp_path, arguments, word):
    _, _, file = small
    done = export(*arguments, "--config", file, check=False, cwd=tmp_path)
    assert done.returncode == 2 and word in done.stderr, done.stderr
    assert not (tmp_path / "x").exists()


def test_a_damaged_export_says_what_to_do(small, tmp_path):
    _, _, file = small
    export("v", tmp_path / "x", "--config", file)
    (tmp_path / "x" / "s0" / "0" / "0" / "0").unlink()
    for option in ("--resume", "--verify"):
        done = export("v", tmp_path / "x", "--config", file, option, check=False)
        assert done.returncode == 1 and "s0/0/0/0 is missing" in done.stderr
        assert "export it again to a new DEST, or remove this one" in done.stderr
