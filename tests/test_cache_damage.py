"""What is kept on disk is checked, bounded and shared: killed processes, damaged files, full disks, two mounts."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import subprocess
import threading
import time

import pytest

import reference_volumes
from cached_scene import MIB, Scene, cached_files, size
from mounting import emfs


def kill(mount):
    os.kill(mount.pid, 9)


def test_after_being_killed_at_any_moment_no_byte_is_wrong(scene, long):
    generator, chunks = random.Random(5), scene.chunks()
    counts = []
    for _ in range(200 if long else 20):
        with scene.mounted("--cache-size", "8M") as mount:
            scene.check(mount, generator.sample(chunks, 4))

            def look(seed, mount=mount):
                order = random.Random(seed).sample(chunks, len(chunks))
                for name, index in order:
                    found = scene.found(mount, name, index)
                    assert isinstance(found, str) or found == scene.right(name, index), (name, index)

            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                readers = [pool.submit(look, generator.random()) for _ in range(3)]
                time.sleep(generator.random() * 0.4)
                kill(mount)
                for reader in readers:
                    reader.result()
        counts.append(len(cached_files(scene.cache)))
    with scene.mounted("--cache-size", "8M") as mount:
        scene.check(mount)
    scene.cache_emfs("verify")
    assert max(counts[len(counts) // 2:]) <= max(counts[:len(counts) // 2]) + 20, f"litter that grows: {counts}"


def flip(path):
    data = bytearray(path.read_bytes())
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path.write_bytes(data)


def cut(path):
    os.truncate(path, random.randrange(path.stat().st_size + 1))

DAMAGES = {"a flipped bit": flip, "a cut": cut, "a removed file": pathlib.Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_found_out_and_never_served(scene, damage, long):
    random.seed(7)
    for round_ in range(30 if long else 3):
        scene.fill()
        for path in random.sample(cached_files(scene.cache), 1 + round_ % 2):
            DAMAGES[damage](path)
        with scene.mounted("--offline", name="offline") as mount:
            scene.check(mount, or_failed=True)
            assert mount.requests() == 0
        with scene.mounted() as mount:
            scene.check(mount)
    scene.cache_emfs("verify", check=False)
    scene.cache_emfs("verify")


def test_damage_under_a_mount_is_found_out(scene):
    scene.fill()
    random.seed(11)
    with scene.mounted(memory="64M") as mount:
        scene.check(mount, scene.chunks()[::7])
        for path in cached_files(scene.cache):
            if path.stat().st_size > 100_000:
                for _ in range(20):
                    flip(path)
        scene.check(mount)


def test_two_mounts_share_a_cache_that_is_ten_times_too_small(serve, tmp_path, long):
    root = tmp_path / "volumes"
    root.mkdir()
    made = {f"v{n}": reference_volumes.itk(root, f"v{n}", (64, 512, 512), "u1", n) for n in range(4 if long else 2)}
    scene = Scene(tmp_path, serve(root), made)
    bound = sum(volume.levels[0].nbytes for volume in made.values()) // 10
    chunks, largest, done = scene.chunks(), [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            largest[0] = max(largest[0], size(scene.cache))

    def look(mount, seed):
        for name, index in random.Random(seed).sample(chunks, len(chunks)):
            assert scene.found(mount, name, index) == scene.right(name, index), (name, index)

    with scene.mounted("--cache-size", bound, name="one", timeout=20) as one, scene.mounted("--cache-size", bound, name="two", timeout=20) as two:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for reader in [pool.submit(look, (one, two)[n % 2], n) for n in range(8)]:
                    reader.result()
        finally:
            done.set()
            watcher.join()
        assert one.status()["failed"] == two.status()["failed"] == 0
    stat = json.loads(scene.cache_emfs("stat", "--json").stdout)
    assert stat["files"] <= stat["bytes"] / (16 * MIB) + 1000
    assert len(cached_files(scene.cache)) <= size(scene.cache) / (16 * MIB) + 1000
    segment = max(bound // 16, 64 << 10)
    assert largest[0] <= bound + segment, f"{largest[0]} bytes of {bound}"
    scene.cache_emfs("verify")


def test_a_full_disk_is_one_warning_and_reads_go_on(scene, tmpfs):
    cache = tmpfs / "cache"
    with scene.mounted(cache=cache) as mount:
        scene.check(mount, scene.chunks()[:20])
        with open(tmpfs / "filler", "wb") as filler, contextlib.suppress(OSError):
            while filler.write(bytes(MIB)):
                filler.flush()
        scene.check(mount)
        assert mount.status()["failed"] == 0
        warnings = [line for line in mount.log.splitlines() if "WARN" in line]
        assert len(warnings) <= 1, warnings
    with scene.mounted(cache=cache) as mount:
        scene.check(mount)
        assert mount.status()["failed"] == 0


def test_a_limit_on_the_length_of_files_is_one_warning_and_reads_go_on(scene):
    """`ulimit -f`: a write beyond it is a signal that ends a process, unless that catches it."""
    with scene.mounted() as mount:
        subprocess.run(["prlimit", "--pid", str(mount.pid), "--fsize=40960:40960"], check=True)
        scene.check(mount)
        assert mount.alive()
        warnings = [line for line in mount.log.splitlines() if " WARN " in line]
        assert 1 <= len(warnings) <= 2, warnings
    with scene.mounted() as mount:
        scene.check(mount)


def test_a_read_only_cache_is_used_and_not_written(scene, tmpfs):
    cache = tmpfs / "cache"
    chunks = scene.chunks()
    with scene.mounted(cache=cache) as mount:
        scene.check(mount, chunks[::2])
    before = {path: path.read_bytes() for path in cached_files(cache)}
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    with scene.mounted(cache=cache) as mount:
        scene.check(mount, chunks[::2])
        assert mount.requests() == 0
        scene.check(mount)
        assert mount.requests() > 0 and mount.status()["failed"] == 0
    assert {path: path.read_bytes() for path in cached_files(cache)} == before
    refused = emfs("warm", "itk", "--config", scene.config_file, "--cache-dir", cache, check=False)
    assert refused.returncode == 1 and "cannot be written" in refused.stderr
