"""`emfs export` from origins and to destinations that fail, and to buckets."""

import contextlib
import os
import random
import subprocess
import threading

import pytest

import buckets
import readers
import truth
from exporting import assert_right, assert_same, export, written
from origin import Fault, Origin

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
def filesystem(folder, size):
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
    with filesystem(tmp_path / "full", "64m") as disk, Origin(root) as origin:
        file = written(tmp_path, {"v": truth.source_at(volume, origin)})
        arguments = ["v", disk / "x.zarr", "--config", file, "--memory", "32M", "--compress", "none", *form]
        done = export(*arguments, check=False)
        assert done.returncode == 1 and "No space left on device" in done.stderr, done.stderr
        assert not list((disk / "x.zarr").glob("*z*"))
        subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)
        export(*arguments, "--resume")
        readers.assert_equal(readers.tensorstore_driver(disk / "x.zarr", 0, bool(form)), volume.levels[0], "resumed")


@pytest.mark.parametrize("form", [[], ["--format", "v3", "--shard", "64x32x64"]], ids=["chunks", "shards"])
def test_a_read_only_place_is_told_and_made_writable_lets_it_go_on(small, tmp_path, form):
    volume, origin, file = small
    with filesystem(tmp_path / "mount", "64m") as disk:
        arguments = ["v", disk / "x.zarr", "--config", file, *form]

        def remount(how):
            subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)

        remount("ro")
        done = export(*arguments, check=False)
        assert done.returncode == 1 and "Read-only file system" in done.stderr and str(disk / "x.zarr") in done.stderr, done.stderr
        remount("rw")
        assert not (disk / "x.zarr").exists()
        origin.fault = lambda request: Fault("status", 403) if "/s0/" in request.path and request.path[-1] == "1" else None
        assert export(*arguments, check=False).returncode == 1
        origin.fault = None
        remount("ro")
        done = export(*arguments, "--resume", check=False)
        assert done.returncode == 1 and "Read-only file system" in done.stderr and str(disk / "x.zarr") in done.stderr, done.stderr
        remount("rw")
        export(*arguments, "--resume", "--verify")
        assert_right(disk / "x.zarr", volume.levels, bool(form))


def test_a_place_that_cannot_be_written_is_told(small, tmp_path):
    _, _, file = small
    done = export("v", "/proc/emfs.zarr", "--config", file, check=False)
    assert done.returncode == 1 and "/proc/emfs.zarr" in done.stderr
    (tmp_path / "file").write_text("")
    done = export("v", tmp_path / "file" / "x.zarr", "--config", file, check=False)
    assert done.returncode == 1 and str(tmp_path / "file") in done.stderr


# Buckets


@pytest.fixture(scope="module", params=[buckets.s3, buckets.gs], ids=["s3", "gs"])
def bucket(request, tmp_path_factory):
    with request.param(tmp_path_factory.mktemp("bucket")) as bucket:
        yield bucket


@pytest.mark.parametrize("form", [[], ["--format", "v3", "--shard", "64x32x64"]], ids=["chunks", "shards"])
def test_a_bucket_takes_an_export_and_resumes_it(small, bucket, tmp_path, form):
    volume, origin, file = small
    key = "shards" if form else "chunks"
    place = f"{bucket.url}/{key}/x.zarr"
    origin.fault = lambda request: Fault("status", 403) if request.path[-1].isdigit() and "/s0/" in request.path and request.number % 4 == 0 else None
    done = export("v", place, "--config", file, *form, check=False, env=bucket.environment)
    origin.fault = None
    assert done.returncode == 1 and "could not be had" in done.stderr, done.stderr
    done = export("v", place, "--config", file, *form, check=False, env=bucket.environment)
    assert done.returncode == 1 and "exists" in done.stderr
    export("v", place, "--config", file, *form, "--resume", "--verify", env=bucket.environment)
    export("v", tmp_path / "x.zarr", "--config", file, *form)
    for name, data in bucket.objects().items():
        if name.startswith(f"{key}/x.zarr/"):
            copy = tmp_path / "taken" / name.removeprefix(f"{key}/x.zarr/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
    assert_same(tmp_path / "taken", tmp_path / "x.zarr")
    assert_right(tmp_path / "taken", volume.levels, bool(form))


def test_a_bucket_that_is_not_there_or_refuses_is_told(small, bucket):
    _, _, file = small
    scheme = bucket.url.partition("://")[0]
    done = export("v", f"{scheme}://nowhere/x.zarr", "--config", file, check=False, env=bucket.environment)
    assert done.returncode == 1 and "nowhere" in done.stderr, done.stderr
    if scheme == "gs":
        place = f"{bucket.url}/refused.zarr"
        done = export("v", place, "--config", file, check=False, env=bucket.environment | {"GOOGLE_BEARER_TOKEN": "another"})
        assert done.returncode == 1 and place in done.stderr and "401" in done.stderr, done.stderr
