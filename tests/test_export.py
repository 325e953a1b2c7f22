"""`emfs export`: what it writes is the truth, the same each time, and complete or not there, whatever happens on the way."""

import contextlib
import json
import os
import pathlib
import pty
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import numpy as np
import pytest

import readers
import truth
from mounting import BINARY, LEGACY_PYTHON, ROOT, configuration, emfs
from origin import Fault, Origin

MOTO = ROOT / "target" / "venv" / "moto" / "bin" / "moto_server"
#: Manners by which a slow machine is not taken for a silent server, whose requests are sent twice.
PATIENT = {"stall": 60.0}
LEGACY = pathlib.Path(__file__).with_name("legacy.py")


def export(*arguments, check=True, timeout=240, **options):
    return emfs("export", *arguments, "--cache-size", "0", check=check, timeout=timeout, **options)


def files(folder):
    """Every file below a folder with its bytes; the manifest without its time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "manifest.json":
                manifest = json.loads(data)
                assert manifest.pop("time")["exported"]
                data = json.dumps(manifest).encode()
            found[str(path.relative_to(folder))] = data
    return found


def assert_same(found, expected):
    found, expected = files(found), files(expected)
    assert sorted(found) == sorted(expected)
    different = [name for name in found if found[name] != expected[name]]
    assert not different, different


def assert_right(store, levels, v3, lossy=0):
    for level, voxels in enumerate(levels):
        for reader in (readers.zarr_array, readers.tensorstore_driver):
            readers.assert_equal(reader(store, level, v3), voxels, f"{store}/s{level} by {reader.__name__}", lossy)


def validate(store, v3, label=False):
    import zarr
    from ome_zarr_models.v04.image import Image as Image04
    from ome_zarr_models.v04.image_label import ImageLabel as Label04
    from ome_zarr_models.v05.image import Image as Image05
    from ome_zarr_models.v05.image_label import ImageLabel as Label05

    models = (Label05, Label04) if label else (Image05, Image04)
    models[0 if v3 else 1].from_zarr(zarr.open_group(store, mode="r"))


@pytest.fixture
def config(demo, tmp_path):
    file = tmp_path / "replica.toml"
    file.write_text(demo.config)
    return file


def written(tmp_path, sources, manners=None):
    file = tmp_path / "config.toml"
    file.write_text(configuration(sources, manners))
    return file


def wire(origin):
    """Bytes that were asked for by range since the last `forget`."""
    with origin._lock:
        return sum(request.range[1] - request.range[0] for request in origin.requests if request.range and request.range[1] < 1 << 61)


# What is written


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
def test_a_random_crop_exported_twice_is_the_same_and_right(demo, config, tmp_path, v3):
    name = emfs("crop", "hemibrain", "--size", 100, "--seed", 7, "--config", config).stdout.strip()
    form = ["--format", "v3"] if v3 else []
    for folder in ("a.zarr", "b.zarr"):
        done = export(name, tmp_path / folder, "--config", config, *form)
        assert done.stdout == ""
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    start = [int(part[1:].split("-")[0]) for part in name.split("crop-")[1].removesuffix(".zarr").split("_")]
    volume = demo.truth["hemibrain", "em", None]
    levels = []
    for level, voxels in enumerate(volume.levels):
        factor = 2**level
        levels.append(voxels[tuple(slice(a // factor, min(-(-(a + 100) // factor), n)) for a, n in zip(start, voxels.shape, strict=True))])
    assert_right(tmp_path / "a.zarr", levels, v3, volume.lossy)
    validate(tmp_path / "a.zarr", v3)
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
        order = {"stores": {name: str(path) for name, (path, _) in stores.items()}, "out": str(tmp_path), "compressed": True}
        subprocess.run([LEGACY_PYTHON, LEGACY, "read"], input=json.dumps(order), text=True, check=True, timeout=300)
        for name, (_, volume) in stores.items():
            for level, voxels in enumerate(volume.levels):
                readers.assert_equal(np.load(tmp_path / f"{name}.s{level}.npy"), voxels, name, volume.lossy)


@pytest.mark.parametrize("way", ["v2-zstd", "v3-shards"])
def test_odd_volumes_are_the_truth(volumes, tmp_path, way):
    root, made = volumes
    v3 = way == "v3-shards"
    form = ["--format", "v3", "--chunk", "20", "--shard", "40x20x60", "--compress", "blosc"] if v3 else ["--compress", "zstd:1"]
    with Origin(root) as origin:
        file = written(tmp_path, {name: truth.source_at(volume, origin) for name, volume in made.items()})
        export("--all", tmp_path / "all", "--config", file, *form, "--memory", "16M")
    for name, volume in made.items():
        store = tmp_path / "all" / name / "em.zarr"
        for level, voxels in enumerate(volume.levels):
            reader = readers.zarr_array if level % 2 else readers.tensorstore_driver
            readers.assert_equal(reader(store, level, v3), voxels, f"{store}/s{level}")


def test_what_memory_cannot_hold_is_fetched_once(tmp_path):
    volume = truth.itk(tmp_path, "itk", (70, 500, 700), "u1", 1)
    size = volume.levels[0].nbytes
    with Origin(tmp_path) as origin:
        file = written(tmp_path, {"v": truth.source_at(volume, origin)}, PATIENT)
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
    for level in (1, 3):
        readers.assert_equal(readers.zarr_array(tmp_path / "x.zarr", level, False), volume.levels[level], f"s{level}")
    assert not (tmp_path / "x.zarr" / "s0").exists()
    validate(tmp_path / "x.zarr", False)


# What was interrupted


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A volume of which what is under way at a time is a small part."""
    root = tmp_path_factory.mktemp("large")
    return root, truth.imagej(root, "large", (384, 512, 512), "u1", 1)


def kill_and_resume(file, folder, form, rng, span):
    """Runs an export, kills it somewhere, runs it to its end; says whether it was killed in the middle."""
    arguments = [BINARY, "export", "v", folder, "--config", file, "--cache-size", "0", "--memory", "16M", "--quiet", *form]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    try:
        process.wait(rng.random() * span)
    except subprocess.TimeoutExpired:
        process.kill()
    killed = process.wait() == -signal.SIGKILL
    done = emfs(*map(str, arguments[1:]), "--resume", timeout=240)
    assert done.stderr == ""
    return killed


def test_a_killed_export_goes_on_where_it_was(large, tmp_path, long):
    root, volume = large
    ways = [["--compress", "none"], ["--format", "v3", "--chunk", "64", "--shard", "256", "--compress", "none"]]
    rng = random.Random(1)
    with Origin(root, latency=0.002) as origin:
        file = written(tmp_path, {"v": truth.source_at(volume, origin)}, {"connections": 2} | PATIENT)
        once, span = [], []
        for number, form in enumerate(ways):
            origin.forget()
            begin = time.monotonic()
            export("v", tmp_path / f"once-{number}", "--config", file, "--memory", "16M", *form)
            span.append(time.monotonic() - begin)
            once.append(wire(origin))
        assert_right(tmp_path / "once-0", volume.levels, False)
        assert_right(tmp_path / "once-1", volume.levels, True)
        killed = 0
        for number in range(50 if long else 5):
            way = number % 2
            folder = tmp_path / f"killed-{number}"
            origin.forget()
            killed += kill_and_resume(file, folder, ways[way], rng, span[way])
            assert_same(folder, tmp_path / f"once-{way}")
            assert wire(origin) <= 1.1 * once[way], f"kill {number}: {wire(origin) / once[way]:.3f} of the bytes of once"
            subprocess.run(["rm", "-r", folder], check=True)
        assert killed, "nothing was interrupted"


@pytest.fixture
def small(tmp_path):
    """A small volume, its origin, and a configuration."""
    folder = tmp_path / "origin"
    folder.mkdir()
    volume = truth.zarr_group(folder, "small", shape=(64, 96, 80), dtype="<u2", chunks=(32, 32, 32), levels=2, seed=5)
    with Origin(folder) as origin:
        yield volume, origin, written(tmp_path, {"v": truth.source_at(volume, origin)})


def test_what_is_there_is_not_overwritten(small, tmp_path):
    _, _, file = small
    (tmp_path / "there").mkdir()
    for arguments in (["v", tmp_path / "there"], ["--all", tmp_path / "there"]):
        done = export(*arguments, "--config", file, check=False)
        assert done.returncode == 1 and "exists" in done.stderr and "--resume" in done.stderr
    done = export("v", tmp_path / "there", "--config", file, "--resume", check=False)
    assert done.returncode == 1 and "no export" in done.stderr
    assert not list((tmp_path / "there").iterdir())


def stopped(origin, file, folder, *form):
    """An export that could not get one of its chunks."""
    origin.fault = lambda request: Fault("status", 403) if request.path.endswith("s0/1.2.1") or request.path.endswith("s0/c/1/2/1") or request.path.endswith("s0/1/2/1") else None
    done = export("v", folder, "--config", file, *form, check=False)
    origin.fault = None
    assert done.returncode == 1
    return done


def test_a_chunk_that_cannot_be_had_is_named_and_the_others_are_written(small, tmp_path):
    volume, origin, file = small
    folder = tmp_path / "x"
    done = stopped(origin, file, folder)
    assert "chunk s0/1/2/1" in done.stderr and "403" in done.stderr
    assert sum(path.is_file() for path in (folder / "s0").rglob("*")) == 2 * 3 * 3 - 1
    assert not [path for path in folder.rglob(".z*")] and not (folder / "manifest.json").exists()
    origin.forget()
    export("v", folder, "--config", file, "--resume")
    asked = [request.path for request in origin.requests if "/s0/" in request.path and request.path[-1].isdigit()]
    assert len(asked) == 1, asked
    assert_right(folder, volume.levels, False)


def test_an_export_is_resumed_as_it_was_begun(small, tmp_path):
    _, origin, file = small
    folder = tmp_path / "x"
    stopped(origin, file, folder)
    for other, word in ([["--compress", "none"], "compress"], [["--chunk", "64"], "levels"], [["--format", "v3"], "format"], [["--level", "s0"], "levels"]):
        done = export("v", folder, "--config", file, "--resume", *other, check=False)
        assert done.returncode == 1 and "cannot be resumed" in done.stderr and word in done.stderr, done.stderr
    export("v", folder, "--config", file, "--resume")
    done = export("v", folder, "--config", file, "--resume")
    assert "complete already" in done.stderr
    done = export("v", folder, "--config", file, "--resume", "--compress", "none", check=False)
    assert done.returncode == 1 and "complete other export" in done.stderr


def test_a_source_that_changed_is_not_mixed_in(small, tmp_path):
    volume, origin, file = small
    folder = tmp_path / "x"
    stopped(origin, file, folder)
    document = origin.root / volume.file / ".zattrs"
    document = document if document.exists() else origin.root / volume.file / "zarr.json"
    os.utime(document, (1, 1))
    done = export("v", folder, "--config", file, "--resume", check=False)
    assert done.returncode == 1 and "changed at the origin" in done.stderr and "ETag" in done.stderr


@pytest.mark.parametrize("form", [[], ["--format", "v3", "--shard", "64x32x64"]], ids=["chunks", "shards"])
def test_damage_since_the_interruption_is_mended(small, tmp_path, form):
    volume, origin, file = small
    folder = tmp_path / "x"
    stopped(origin, file, folder, *form)
    damaged = 0
    state = folder / ".emfs-export"
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if name.startswith("s") or path.name.startswith("shard-") or path.parent.name == "blocks":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            damaged += 1
        elif path.name == "chunks":
            data = bytearray(path.read_bytes())
            data[3] ^= 255
            path.write_bytes(data[:-5])
    assert damaged and state.exists()
    export("v", folder, "--config", file, "--resume", *form)
    assert_right(folder, volume.levels, bool(form))
    export("v", tmp_path / "y", "--config", file, *form)
    assert_same(folder, tmp_path / "y")


def test_verifying_finds_what_was_damaged_or_lost(small, tmp_path):
    _, _, file = small
    folder = tmp_path / "x"
    export("v", folder, "--config", file, "--verify")
    done = export("v", folder, "--config", file, "--verify")
    assert "files are as the manifest says" in done.stderr
    subprocess.run(["sha256sum", "--check", "--quiet", "checksums.sha256"], cwd=folder, check=True)
    chunk = folder / "s0" / "1" / "0" / "0"
    right = chunk.read_bytes()
    chunk.write_bytes(right[:-1] + b"?")
    done = export("v", folder, "--config", file, "--verify", check=False)
    assert done.returncode == 1 and "s0/1/0/0 has other bytes" in done.stderr
    chunk.unlink()
    done = export("v", folder, "--config", file, "--verify", check=False)
    assert done.returncode == 1 and "s0/1/0/0 is missing" in done.stderr


# Origins and destinations that fail


FAULTS = [
    Fault("short"), Fault("short_clean"), Fault("long"), Fault("other_range"), Fault("status", 429, (("Retry-After", "1"),)), Fault("status", 500),
    Fault("status", 503), Fault("html"), Fault("close"), Fault("reset"), Fault("etag"), Fault("ok200"), Fault("stall"), Fault("silent"),
    Fault("drip", bytes_per_second=50), Fault("status", 403),
]


def test_an_origin_that_often_fails_gives_the_truth_or_names_what_is_missing(tmp_path, long):
    root = tmp_path / "origin"
    root.mkdir()
    made = {
        "itk": truth.itk(root, "itk", (20, 150, 160), "u1", 1),
        "z2": truth.zarr_group(root, "z2", shape=(64, 96, 64), dtype="<u2", chunks=(32, 32, 32), seed=3, levels=1),
        "z3": truth.zarr_group(root, "z3", shape=(64, 64, 96), dtype="uint8", chunks=(32, 32, 32), seed=4, levels=1, version=3),
    }
    with Origin(root) as origin:
        file = written(tmp_path, {name: truth.source_at(volume, origin) for name, volume in made.items()}, {"stall": 0.5, "connections": 16})
        for seed in range(10 if long else 2):
            rng, lock = random.Random(seed), threading.Lock()

            def fault(request):
                with lock:
                    return rng.choice(FAULTS) if rng.random() < 0.3 else None

            for name, volume in made.items():
                folder = tmp_path / f"{name}-{seed}"
                origin.fault = fault
                done = export(name, folder, "--config", file, "--timeout", 2, "--chunk", "24x40x48", check=False)
                origin.fault = None
                if done.returncode == 0:
                    assert_right(folder, volume.levels, False)
                    continue
                assert done.returncode == 1 and name in done.stderr, done.stderr
                assert not (folder / ".zgroup").exists() and not (folder / "s0" / ".zarray").exists()
                if "could not be had" in done.stderr:
                    assert "chunk s0/" in done.stderr
                done = export(name, folder, "--config", file, "--chunk", "24x40x48", "--resume", check=False)
                if done.returncode:
                    # What had another ETag for a moment cannot be told from what changed.
                    assert "changed at the origin" in done.stderr, done.stderr
                    continue
                assert_right(folder, volume.levels, False)


@contextlib.contextmanager
def full(folder, size):
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root may mount a filesystem of a given size")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("form", [[], ["--format", "v3", "--chunk", "64", "--shard", "256"]], ids=["chunks", "shards"])
def test_a_full_disk_is_told_and_room_lets_it_go_on(large, tmp_path, form):
    root, volume = large
    with full(tmp_path / "full", "64m") as disk, Origin(root) as origin:
        file = written(tmp_path, {"v": truth.source_at(volume, origin)})
        arguments = ["v", disk / "x.zarr", "--config", file, "--memory", "32M", "--compress", "none", *form]
        done = export(*arguments, check=False)
        assert done.returncode == 1 and "No space left on device" in done.stderr, done.stderr
        assert not list((disk / "x.zarr").glob("*z*"))
        subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)
        export(*arguments, "--resume")
        readers.assert_equal(readers.tensorstore_driver(disk / "x.zarr", 0, bool(form)), volume.levels[0], "resumed")


def test_a_place_that_cannot_be_written_is_told(small, tmp_path):
    _, _, file = small
    done = export("v", "/proc/emfs.zarr", "--config", file, check=False)
    assert done.returncode == 1 and "/proc/emfs.zarr" in done.stderr
    (tmp_path / "file").write_text("")
    done = export("v", tmp_path / "file" / "x.zarr", "--config", file, check=False)
    assert done.returncode == 1 and str(tmp_path / "file") in done.stderr


def test_memory_is_bounded_whatever_the_chunks(tmp_path, long):
    import tifffile

    budget, chunk, shard, shape = (64, 256, 1024, (320, 2048, 2048)) if long else (16, 128, 512, (160, 1024, 2048))
    rows = np.random.default_rng(1).integers(1, 256, shape[1:], "u1")
    voxels = tifffile.memmap(tmp_path / "big.tif", shape=shape, dtype="u1", metadata=None)
    for z in range(shape[0]):
        voxels[z] = np.roll(rows, 7 * z, axis=1)
    voxels.flush()
    with Origin(tmp_path) as origin:
        file = written(tmp_path, {"v": {"kind": "tiff", "url": f"{origin.url}/big.tif", "voxel_size": [1, 1, 1]}}, PATIENT)
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


# A bucket


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The address of an S3 server, and an environment to reach it."""
    if not MOTO.exists():
        pytest.fail(f"{MOTO} is missing: scripts/test makes it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3")
    with open(log / "moto.log", "wb") as output:
        server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"), timeout=10).close()
                break
            assert time.monotonic() < deadline and server.poll() is None, (log / "moto.log").read_text()
            time.sleep(0.2)
        state = tmp_path_factory.mktemp("state")
        yield url, os.environ | {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true",
            "XDG_STATE_HOME": str(state),
        }
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("form", [[], ["--format", "v3", "--shard", "64x32x64"]], ids=["chunks", "shards"])
def test_a_bucket_takes_an_export_and_resumes_it(small, s3, tmp_path, form):
    import botocore.session

    volume, origin, file = small
    url, environment = s3
    key = "shards" if form else "chunks"
    place = f"s3://bucket/{key}/x.zarr"
    origin.fault = lambda request: Fault("status", 403) if request.path[-1].isdigit() and "/s0/" in request.path and request.number % 4 == 0 else None
    done = export("v", place, "--config", file, *form, check=False, env=environment)
    origin.fault = None
    assert done.returncode == 1 and "could not be had" in done.stderr, done.stderr
    done = export("v", place, "--config", file, *form, check=False, env=environment)
    assert done.returncode == 1 and "exists" in done.stderr
    export("v", place, "--config", file, *form, "--resume", "--verify", env=environment)
    export("v", tmp_path / "x.zarr", "--config", file, *form)
    client = botocore.session.get_session().create_client("s3", "us-east-1", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test")
    (tmp_path / "taken").mkdir()
    for listed in client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=f"{key}/x.zarr/"):
        for found in listed["Contents"]:
            copy = tmp_path / "taken" / found["Key"].removeprefix(f"{key}/x.zarr/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(client.get_object(Bucket="bucket", Key=found["Key"])["Body"].read())
    client.close()
    assert_same(tmp_path / "taken", tmp_path / "x.zarr")
    assert_right(tmp_path / "taken", volume.levels, bool(form))
    done = export("v", "s3://nowhere/x.zarr", "--config", file, check=False, env=environment)
    assert done.returncode == 1 and "nowhere" in done.stderr


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


def test_an_interrupted_export_says_how_to_go_on(small, tmp_path):
    volume, origin, file = small
    origin.fault = lambda request: Fault("silent") if "/s0/" in request.path and request.path[-1].isdigit() else None
    process = subprocess.Popen([BINARY, "export", "v", tmp_path / "x", "--config", file, "--cache-size", "0"],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "x" / ".emfs-export").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1 and "--resume" in said, said
    origin.fault = None
    export("v", tmp_path / "x", "--config", file, "--resume")
    assert_right(tmp_path / "x", volume.levels, False)


def test_a_dry_run_tells_the_cost_and_reads_no_voxels(small, tmp_path):
    volume, origin, file = small
    done = export("v", tmp_path / "x", "--config", file, "--dry-run")
    assert not (tmp_path / "x").exists()
    assert "requests" in done.stdout and "on the wire" in done.stdout and "on disk" in done.stdout and "127.0.0.1" in done.stdout
    assert not [request.path for request in origin.requests if "/s0/" in request.path and request.path[-1].isdigit()]


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
