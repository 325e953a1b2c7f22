"""What the log at -vv says of the requests that caused its lines."""

import re

import pytest

import expected
import reference_volumes
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault, Origin
from serving import served

#: A line of emfs itself: its level, the request it is caused by, and the module that wrote it.
LINE = re.compile(r"^\S+ +(ERROR|WARN|INFO|DEBUG|TRACE) (?:request\{number=(\d+) operation=(\S+) path=([^}]*)\}: )?(emfs::[\w:]+): ", re.M)


@pytest.fixture
def scene(tmp_path):
    """(origin, configuration, volume)"""
    root = tmp_path / "files"
    root.mkdir()
    volume = reference_volumes.zarr_group(root, "v", shape=(64, 64, 128), dtype="|u1", chunks=(32, 64, 64), levels=1, seed=3)
    with Origin(root) as origin:
        yield origin, configuration({"v": reference_volumes.source_at(volume, origin)}, {"stall": 1.0}), volume


def chunks(volume):
    return list(expected.chunk_indices(volume.levels[0].shape, volume.chunk[0]))


def caused(log, operation, path):
    """Demands that there are lines of the error and of what led to it, and that each names the request; returns the numbers."""
    lines = [found.groups() for found in LINE.finditer(log)]
    of_read = [line for line in lines if line[0] == "ERROR" or line[4].startswith(("emfs::remote", "emfs::store", "emfs::volume"))]
    assert {"ERROR", "DEBUG"} <= {line[0] for line in of_read}, log
    assert {line[2:4] for line in of_read} == {(operation, path)}, log
    return {int(line[1]) for line in of_read}


def test_each_line_that_a_failing_read_causes_has_its_number_operation_and_path(tmp_path, scene):
    origin, config, volume = scene
    first, last = (chunks(volume)[at] for at in (0, -1))
    with mounted(tmp_path, config, "-vv", timeout=3) as mount:
        path = lambda index: f"v/em.zarr/s0/{expected.chunk_path(index)}"
        assert (mount / path(first)).read_bytes() == expected.chunk_bytes(volume.levels[0], volume.chunk[0], first)
        origin.fault = lambda request: Fault("status", 500)
        before = len(mount.log)
        with pytest.raises(OSError):
            (mount / path(last)).read_bytes()
        wait_for(lambda: " ERROR " in mount.log[before:], 5, "the error in the log")
        assert min(caused(mount.log[before:], "READ", path(last))) > 1


def test_each_line_that_a_failing_request_over_http_causes_has_its_number_method_and_path(tmp_path, scene):
    origin, config, volume = scene
    last = chunks(volume)[-1]
    path = f"v/em.zarr/s0/{expected.chunk_path(last)}"
    with served(tmp_path, config, "--timeout", "3", "-vv") as server:
        assert server.get("/v/em.zarr/.zattrs")[0] == 200
        origin.fault = lambda request: Fault("status", 500)
        before = len(server.log)
        assert server.get(f"/{path}")[0] == 503
        wait_for(lambda: " ERROR " in server.log[before:], 5, "the error in the log")
        caused(server.log[before:], "GET", path)


def test_each_line_that_a_batch_of_an_export_causes_names_it(tmp_path, scene):
    origin, config, volume = scene
    (tmp_path / "config.toml").write_text(config)
    options = ("--config", tmp_path / "config.toml", "--timeout", "3")
    origin.fault = lambda request: Fault("status", 500) if "/s0/" in request.path and "/." not in request.path else None
    done = emfs("export", "v", tmp_path / "v.zarr", *options, "-vv", check=False)
    assert done.returncode == 1
    lines = [found.groups() for found in LINE.finditer(done.stderr)]
    attempts = [line for line in lines if line[4].startswith("emfs::remote") and line[2]]
    assert attempts and all(line[2] == "EXPORT" and line[3].startswith("v/em/s0 batch ") for line in attempts), done.stderr
