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
