"""What failed since a moment: `emfs mark` and `emfs status --failed --since`."""

import json
import os
import re
import signal

import pytest

import reference_volumes
from mounting import configuration, daemons, emfs, mounted, wait_for
from origin import Fault
from readers import read_file


@pytest.fixture
def scene(tmp_path, serve):
    """A mount of a described volume, and the origin, which can be told to fail."""
    (tmp_path / "files").mkdir()
    volume = reference_volumes.zarr_group(tmp_path / "files", "v", shape=(64, 64, 64), dtype="<u2", chunks=(32, 32, 32), seed=3)
    origin = serve(tmp_path / "files")
    with mounted(tmp_path, configuration({"v": reference_volumes.source_at(volume, origin)}, {"stall": 1.0}), timeout=2) as mount:
        read_file(chunk(mount, 0))
        yield mount, origin


def chunk(mount, number):
    return mount / "v" / "em.zarr" / "s0" / str(number & 1) / str(number >> 1 & 1) / str(number >> 2 & 1)


def fail(mount, origin, number):
    origin.fault = lambda request: Fault("status", 500)
    with pytest.raises(OSError):
        read_file(chunk(mount, number))
    origin.fault = None


def failed(mount, *options, code):
    done = emfs("status", mount.path, "--failed", *options, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done


def mark(mount):
    done = emfs("mark", mount.path)
    assert re.fullmatch(r"\S{3,60}\n", done.stdout)
    return done.stdout.strip()


def test_what_failed_is_listed_with_its_time_and_ends_with_1(scene):
    mount, origin = scene
    assert failed(mount, code=0).stdout == "nothing failed\n"
    fail(mount, origin, 1)
    done = failed(mount, code=1)
    (line,) = done.stdout.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z  failed  v/em.zarr/s0/1/0/0: ", line), line
    assert done.stderr == "emfs status: 1 read or look-up has failed\n"
    assert "nothing absent" in failed(mount, "--absent", code=1).stdout
    page = json.loads(failed(mount, "--absent", "--json", code=1).stdout)
    assert page["failed"]["count"] == 1 and page["failed"]["gone"] == 0 and page["absent"]["count"] == 0
    assert page["failed"]["entries"][0]["line"] in mount.log
    status = mount.status()
    assert status["failed"] == 1 and status["failures"] == [page["failed"]["entries"][0]["line"]] and status["absent"] == {}


def test_since_a_mark_is_only_what_came_after_it(scene):
    mount, origin = scene
    fail(mount, origin, 1)
    between = mark(mount)
    assert failed(mount, "--since", between, code=0).stdout == "nothing failed\n"
    fail(mount, origin, 2)
    assert "s0/0/1/0" in failed(mount, "--since", between, code=1).stdout
    assert len(failed(mount, code=1).stdout.splitlines()) == 2
    failed(mount, "--since", mark(mount), code=0)


def test_a_failure_that_is_remembered_is_told_to_each_job_that_meets_it(scene):
    mount, origin = scene
    origin.fault = lambda request: Fault("status", 500)
    for _ in range(3):
        at = mark(mount)
        with pytest.raises(OSError):
            read_file(chunk(mount, 1))
        assert "s0/1/0/0" in failed(mount, "--since", at, code=1).stdout


def test_an_image_that_cannot_be_opened_is_told_to_each_job_that_meets_it(tmp_path):
    with mounted(tmp_path, configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}}), timeout=1) as mount:
        for _ in range(3):
            at = mark(mount)
            with pytest.raises(OSError):
                read_file(mount / "v" / "em.zarr" / ".zattrs")
            assert "v/em.zarr" in failed(mount, "--since", at, code=1).stdout


def test_a_mark_of_an_earlier_mount_is_wrong_usage(tmp_path):
    config = configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}})
    with mounted(tmp_path, config) as mount:
        old = mark(mount)
        os.kill(mount.pid, signal.SIGKILL)
        wait_for(lambda: not daemons(mount.path), 10, "the daemon's end")
        done = emfs("mark", mount.path, check=False)
        assert done.returncode == 1 and "does not listen" in done.stderr, done.stderr
        emfs("mount", mount.path, "--config", mount.config_file, "--log", mount.log_file)
        done = failed(mount, "--since", old, code=2)
        assert old in done.stderr and "earlier mount" in done.stderr
        failed(mount, "--since", mark(mount), code=0)
