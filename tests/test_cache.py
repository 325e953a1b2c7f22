"""What was fetched is kept on disk: it survives the mount and works without a network."""

import concurrent.futures
import os
import re
import time

import numpy as np

import expected
import replica
from cached_scene import cached_files, read
from mounting import emfs, mounted, wait_for
from origin import Fault


def without_times(document):
    return re.sub(rb'("retrieved": )"[^"]*"', rb"\1null", document) if isinstance(document, bytes) else document


def everything(mount):
    """Path and bytes of every file of every store that is listed, of the records and of the archives' documents."""
    found = {}
    # The images are opened first, so that the documents say all there is to say.
    for store in sorted(mount.path.glob("*/*.zarr")):
        for at, _, names in os.walk(store):
            for name in names:
                found[os.path.relpath(os.path.join(at, name), mount.path)] = read(os.path.join(at, name))
    for pattern in ("*", "*/*", "*/upstream/*"):
        for path in sorted(mount.path.glob(pattern)):
            if path.is_file():
                found[str(path.relative_to(mount.path))] = without_times(read(path))
    assert not [path for path, content in found.items() if isinstance(content, str)]
    return found


def test_a_remount_needs_no_request_for_what_was_read_online_or_offline(tmp_path):
    cache = tmp_path / "cache"
    with replica.served(tmp_path / "server.log") as config:
        with mounted(tmp_path, config, cache=cache, timeout=20) as mount:
            first = everything(mount)
            assert mount.requests() > 0
        with mounted(tmp_path, config, cache=cache, timeout=20) as mount:
            assert everything(mount) == first
            assert mount.requests() == 0
            status = mount.status()
            assert status["disk"]["hits"] > 0 and status["disk"]["bytes"] > 0
            assert f"read from {cache}" in emfs("status", mount.path).stdout
    # The server is gone.
    with mounted(tmp_path, config, "--offline", cache=cache, timeout=20) as mount:
        assert everything(mount) == first
        assert mount.requests() == 0 and mount.status()["failed"] == 0
    done = emfs("metadata", "--offline", "--cache-dir", cache, "--config", tmp_path / "config.toml")
    assert "acquisition/method" in done.stdout
    assert {name.split("/")[0] for name in first if "/" in name} == {
        "idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"}


def test_an_object_that_changed_at_the_origin_is_dropped_and_read_anew_after_a_remount(scene):
    scene.fill()
    file = scene.origin.root / scene.volumes["itk"].file
    os.utime(file, (5, 5))
    try:
        with scene.mounted("--revalidate") as mount:
            scene.origin.forget()
            scene.check(mount)
            assert scene.origin.count(scene.volumes["itk"].file) > 10, "all of it was fetched again"
        with scene.mounted() as mount:
            scene.check(mount)
            assert mount.requests() == 0
            os.utime(file, (6, 6))
            scene.cache_emfs("prune", "--to", "0")
            mount_failed = scene.found(mount, "itk", (2, 1, 1))
            assert mount_failed == scene.right("itk", (2, 1, 1)), "what is in memory is of one version"
    finally:
        os.utime(file)


def test_a_change_that_is_met_in_the_middle_is_an_error_and_never_a_mixture(scene):
    chunks = [chunk for chunk in scene.chunks() if chunk[0] == "itk"]
    with scene.mounted() as mount:
        scene.check(mount, chunks[:3])
    file = scene.origin.root / scene.volumes["itk"].file
    os.utime(file, (7, 7))
    try:
        with scene.mounted() as mount:
            scene.check(mount, chunks[:3])
            assert scene.found(mount, *chunks[-1]) == "EIO"
            wait_for(lambda: "changed at the origin, remount" in mount.log, 5, "a line in the log")
        with scene.mounted() as mount:
            scene.check(mount, chunks)
    finally:
        os.utime(file)


def test_offline_what_is_not_kept_is_eio_at_once_with_a_line_that_says_so(scene):
    chunks = [chunk for chunk in scene.chunks() if chunk[0] == "itk"]
    with scene.mounted() as mount:
        scene.check(mount, chunks[:2])
    scene.origin.forget()
    with scene.mounted("--offline", timeout=20) as mount:
        scene.check(mount, chunks[:2])
        begin = time.monotonic()
        assert scene.found(mount, *chunks[-1]) == "EIO"
        assert read(mount / "zarr" / "em.zarr" / ".zattrs") == "EIO"
        assert time.monotonic() - begin < 15
        (line,) = wait_for(lambda: [line for line in mount.log.splitlines() if expected.chunk_path(chunks[-1][1]) in line], 5, "a line")
        assert "offline" in line and scene.origin.host in line
        assert mount.requests() == 0
    assert scene.origin.requests == []


def test_a_host_that_cannot_be_reached_fails_at_once_and_is_found_again(scene):
    chunks = [chunk for chunk in scene.chunks() if chunk[0] == "itk"]
    with scene.mounted(timeout=3) as mount:
        scene.check(mount, chunks[:2])
        (mount / "zarr" / "em.zarr" / ".zattrs").read_bytes()
        scene.origin.stop()
        assert scene.found(mount, *chunks[-1]) == "EIO"
        for name, index in chunks[-9:-1]:
            assert scene.found(mount, name, index) == "EIO"
        wait_for(lambda: "offline" in mount.log, 5, "a line that says so")
        assert mount.log.count("until it answers") == 1
        scene.check(mount, chunks[:2])
        scene.origin.start()
        wait_for(lambda: scene.found(mount, *chunks[-1]) == scene.right(*chunks[-1]), 60, "recovery")
        wait_for(lambda: not scene.check(mount, or_failed=True), 60, "recovery of all")


def test_what_is_kept_of_a_group_is_served_offline_whatever_is_fetched_ahead(tmp_path):
    """Chunks of the hemibrain come with their neighbours, of which most are not kept here."""
    cache = tmp_path / "cache"
    with replica.served(tmp_path / "server.log") as config:
        (tmp_path / "c.toml").write_text(config)
        options = ["--config", tmp_path / "c.toml", "--cache-dir", cache]
        with mounted(tmp_path, config, timeout=20) as mount:
            store = mount / "hemibrain" / "em.zarr" / "s0"
            paths = sorted(path.relative_to(store) for path in store.glob("[0-9]*/*/*"))
            right = {path: (store / path).read_bytes() for path in paths}
        some = paths[::3]
        emfs("warm", *[f"hemibrain/em.zarr/s0/{path}" for path in some], *options)
    with mounted(tmp_path, config, "--offline", cache=cache, timeout=20) as mount:
        store = mount / "hemibrain" / "em.zarr" / "s0"
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = dict(zip(some, pool.map(lambda path: read(store / path), some), strict=True))
        assert found == {path: right[path] for path in some}
        assert mount.requests() == 0


def test_nothing_is_kept_where_nobody_wants_it(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    for _ in range(2):
        with mounted(tmp_path / "none", scene.config, "--cache-size", "0", timeout=3) as mount:
            scene.check(mount, scene.chunks()[:3])
            assert mount.requests() > 0 and "nothing is kept" in emfs("status", mount.path).stdout
    assert not (tmp_path / "caches").exists()
    with mounted(tmp_path / "default", scene.config, "--cache-size", "1G", timeout=3) as mount:
        scene.check(mount, scene.chunks()[:3])
    assert cached_files(tmp_path / "caches" / "emfs")
    refused = emfs("mount", mount.path, "--cache-dir", "/dev/null", check=False)
    assert refused.returncode == 1 and "/dev/null" in refused.stderr


def test_an_answer_that_is_no_document_is_not_believed_for_a_week(scene):
    scene.origin.fault = lambda request: Fault("html")
    with scene.mounted() as mount:
        assert read(mount / "zarr" / "em.zarr" / ".zattrs") == "EIO"
    scene.origin.fault = None
    with scene.mounted() as mount:
        scene.check(mount, [("zarr", (0, 0, 0))])


def test_voxels_are_right_through_a_reader_after_a_remount(scene):
    import zarr

    scene.fill()
    with scene.mounted("--offline") as mount:
        for name, volume in scene.volumes.items():
            assert np.array_equal(zarr.open_group(mount / name / "em.zarr", mode="r")["s0"][...], volume.levels[0])
