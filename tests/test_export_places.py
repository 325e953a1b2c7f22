"""`emfs export` from origins and to destinations that fail, and to buckets."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

import buckets
import readers
import reference_volumes
from exporting import assert_right, assert_same, export, written
from mounting import BINARY, clean_up, is_mounted, wait_for
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
        "itk": reference_volumes.itk(root, "itk", (20, 150, 160), "u1", 1),
        "z2": reference_volumes.zarr_group(root, "z2", shape=(64, 96, 64), dtype="<u2", chunks=(32, 32, 32), seed=3, levels=1),
        "z3": reference_volumes.zarr_group(root, "z3", shape=(64, 64, 96), dtype="uint8", chunks=(32, 32, 32), seed=4, levels=1, version=3),
    }
    with Origin(root) as origin:
        file = written(tmp_path, {name: reference_volumes.source_at(volume, origin) for name, volume in made.items()}, {"stall": 0.5, "connections": 16})
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
        # The kernel lets go of the files of a process that has ended a moment later than the process.
        end = time.monotonic() + 20
        while (done := subprocess.run(["umount", folder], capture_output=True, text=True)).returncode and time.monotonic() < end:
            time.sleep(0.1)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", [[], ["--format", "v3", "--chunk", "64", "--shard", "256"]], ids=["chunks", "shards"])
def test_a_full_disk_is_told_and_room_lets_it_go_on(large, tmp_path, form):
    root, volume = large
    with filesystem(tmp_path / "full", "64m") as disk, Origin(root) as origin:
        file = written(tmp_path, {"v": reference_volumes.source_at(volume, origin)})
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


@pytest.fixture
def without_locks():
    """What a command begins with for a system whose flock is not implemented, as on Lustre and some NFS."""
    def under(*command, **options):
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 240} | options
        return subprocess.run([*tracing, *map(str, command)], **options)

    if not shutil.which("strace"):
        pytest.skip("strace, which makes flock fail, is not installed")
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOSYS"]
    if under("true").returncode:
        pytest.skip("strace may trace nothing here")
    return under


def test_without_file_locks_an_export_works_and_resumes_with_one_warning(small, tmp_path, without_locks):
    volume, origin, file = small
    command = [BINARY, "export", "v", tmp_path / "x.zarr", "--config", file, "--cache-size", "0"]
    origin.fault = lambda request: Fault("status", 403) if "/s0/" in request.path and request.path[-1] == "1" else None
    done = without_locks(*command)
    assert done.returncode == 1 and "could not be had" in done.stderr and done.stderr.count("no file locks") == 1, done.stderr
    origin.fault = None
    done = without_locks(*command, "--resume", "--verify")
    assert done.returncode == 0 and done.stderr.count("no file locks") == 1, done.stderr
    assert_right(tmp_path / "x.zarr", volume.levels, False)
    assert not (tmp_path / "x.zarr" / ".emfs-export").exists()


def test_without_file_locks_the_cache_keeps_with_one_warning(small, tmp_path, without_locks):
    volume, origin, file = small
    place, log, cache = tmp_path / "m", tmp_path / "log", ["--cache-dir", tmp_path / "cache", "--cache-size", "100M"]
    place.mkdir()
    for _ in range(2):
        origin.forget()
        daemon = threading.Thread(target=without_locks, args=(BINARY, "mount", place, "--foreground", "--log", log, "--config", file, *cache))
        daemon.start()
        try:
            wait_for(lambda: is_mounted(place) and os.listdir(place), 30, "the mount")
            assert_right(place / "v" / "em.zarr", volume.levels, False)
        finally:
            clean_up(place)
            daemon.join(30)
        assert log.read_text().count("kept without them") == 1, log.read_text()
        log.unlink()
    assert not [request.path for request in origin.requests if "/s0/" in request.path and request.path[-1].isdigit()]


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
    # Lasting for that chunk: a second try would get what is refused for a moment only.
    origin.fault = lambda request: Fault("status", 403) if request.path.endswith(("s0/1.2.1", "s0/c/1/2/1", "s0/1/2/1")) else None
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


def test_what_is_fetched_for_a_bucket_is_resumed_before_it_has_an_object(small, bucket, tmp_path):
    volume, origin, file = small
    place = f"{bucket.url}/first/x.zarr"
    form = ["--level", "s0", "--format", "v3", "--shard", "1024"]
    origin.fault = lambda request: Fault("status", 403) if request.path.endswith(("s0/1.2.1", "s0/c/1/2/1", "s0/1/2/1")) else None
    done = export("v", place, "--config", file, *form, check=False, env=bucket.environment)
    origin.fault = None
    assert done.returncode == 1 and "could not be had" in done.stderr, done.stderr
    assert not [name for name in bucket.objects() if name.startswith("first/")]
    origin.forget()
    export("v", place, "--config", file, *form, "--resume", "--verify", env=bucket.environment)
    asked = [request.path for request in origin.requests if "/s0/" in request.path and request.path[-1].isdigit()]
    assert len(asked) == 1, asked


def test_no_credential_goes_where_a_request_is_redirected_to(tmp_path):
    with Origin(tmp_path) as asked, Origin(tmp_path) as other:
        asked.fault = lambda request: Fault("status", 307, (("Location", f"{other.url}{request.path}"),))
        source = {"kind": "zarr", "url": "s3://bucket/v.zarr", "endpoint": asked.url, "credentials": "env"}
        file = written(tmp_path, {"v": source}, {})
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token", "AWS_REGION": "us-east-1"}
        done = export("v", tmp_path / "x.zarr", "--config", file, check=False, env=os.environ | keys)
        assert done.returncode != 0 and "credentials" in done.stderr and "token" not in done.stderr, done.stderr
        assert asked.requests and not other.requests


@pytest.fixture
def parts(tmp_path):
    """A bucket with nobody else's uploads."""
    with buckets.gs(tmp_path) as bucket:
        yield bucket
        bucket.server.fault = None


def test_no_parts_stay_of_what_a_bucket_refuses(small, parts):
    _, _, file = small
    parts.server.fault = lambda request: request.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
    done = export("v", f"{parts.url}/x.zarr", "--config", file, "--format", "v3", "--shard", "64x32x64", check=False, env=parts.environment)
    assert done.returncode == 1 and "403" in done.stderr, done.stderr
    assert parts.server.count > 0 and parts.server.uploads == {}


def test_no_parts_stay_of_what_is_interrupted(small, parts):
    _, _, file = small
    stalled, go_on = threading.Event(), threading.Event()

    def stall(request):
        stalled.set()
        go_on.wait(60)
        request.answer(200, b"", b"")
    parts.server.fault = stall
    command = [BINARY, "export", "v", f"{parts.url}/x.zarr", "--config", file, "--format", "v3", "--shard", "64x32x64"]
    with subprocess.Popen(command, env=parts.environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert stalled.wait(60) and parts.server.uploads
            process.send_signal(signal.SIGINT)
            assert process.wait(30) != 0
        finally:
            process.kill()
            go_on.set()
    assert parts.server.uploads == {}


def test_a_bucket_that_is_not_there_or_refuses_is_told(small, bucket):
    _, _, file = small
    scheme = bucket.url.partition("://")[0]
    done = export("v", f"{scheme}://nowhere/x.zarr", "--config", file, check=False, env=bucket.environment)
    assert done.returncode == 1 and "nowhere" in done.stderr, done.stderr
    if scheme == "gs":
        place = f"{bucket.url}/refused.zarr"
        done = export("v", place, "--config", file, check=False, env=bucket.environment | {"GOOGLE_BEARER_TOKEN": "another"})
        assert done.returncode == 1 and place in done.stderr and "401" in done.stderr, done.stderr
