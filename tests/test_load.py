"""Many readers at once: right bytes, bounded memory, nothing left behind."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import reference_volumes
from mounting import BINARY, clean_up, configuration, emfs, is_mounted, mounted, resident, wait_for
from origin import Origin

READER = pathlib.Path(__file__).with_name("block_reader.py")
MEMORY = 64 << 20  # much less than the volumes, so that the budget is always full
OVERHEAD = 100 << 20


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """Three volumes of 40 to 70 MB, one of each way, with their truth in files that the readers map."""
    root = tmp_path_factory.mktemp("big")
    made = {
        "imagej": reference_volumes.imagej(root, "imagej", (130, 520, 700), "u1", 1),
        "itk": reference_volumes.itk(root, "itk", (130, 640, 500), "u1", 2),
        "zarr": reference_volumes.zarr_group(root, "zarr", shape=(160, 450, 450), dtype="<i2", chunks=(64, 64, 64), levels=1, seed=3, s3=True,
                                 compressors=reference_volumes.v2_codec("zstd", level=1)),
    }
    for name, volume in made.items():
        np.save(root / f"{name}.npy", volume.levels[0])
    with Origin(root) as origin:
        yield root, made, configuration({name: reference_volumes.source_at(volume, origin) for name, volume in made.items()})


def start_readers(path, root, volumes, seconds, count=8):
    names = list(volumes)
    return [
        subprocess.Popen(
            [sys.executable, READER, "chunks", path / name / "em.zarr" / "s0", root / f"{name}.npy", str(volumes[name].chunk[0]), str(seed), str(seconds)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in range(count) for name in [names[seed % len(names)]]
    ]


def census(pid):
    """Threads and descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))


def test_eight_readers_get_right_bytes_within_the_memory_budget(big, tmp_path, long):
    root, volumes, config = big
    seconds = 600 if long else 8
    with mounted(tmp_path, config, memory=str(MEMORY), timeout=30) as mount:
        for name in volumes:
            (mount / name / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()
        pid = mount.pid
        threads, descriptors = census(pid)
        readers = start_readers(mount.path, root, volumes, seconds)
        most = 0
        while any(reader.poll() is None for reader in readers):
            most = max(most, resident(pid))
            time.sleep(0.05)
        for reader in readers:
            out, err = reader.communicate()
            assert reader.returncode == 0, err
            assert int(out) > 0
        print(f"{most >> 20} MiB resident at most with --memory {MEMORY >> 20} MiB")
        assert most <= MEMORY + OVERHEAD, f"{most >> 20} MiB resident"
        assert mount.status()["memory"]["used"] <= MEMORY
        assert mount.status()["failed"] == 0

        def calm():
            now_threads, now_descriptors = census(pid)
            # The connections to the origin (8 in this configuration) may stay open, and workers may have been started lazily.
            return now_threads <= threads + 16 and now_descriptors <= descriptors + 8 + 4
        wait_for(calm, 20, f"threads and descriptors go back to about {threads} and {descriptors}, they are {census(pid)}")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_is_a_clean_exit(big, tmp_path, how):
    root, volumes, config = big
    path = tmp_path / "mnt"
    path.mkdir()
    (tmp_path / "config.toml").write_text(config)
    with open(tmp_path / "log", "wb") as log:
        daemon = subprocess.Popen(
            [BINARY, "mount", path, "--config", tmp_path / "config.toml", "--foreground", "--memory", str(MEMORY)], stdout=log, stderr=log)
    readers = []
    try:
        wait_for(lambda: is_mounted(path) and os.listdir(path), 20, "the mount")
        readers = start_readers(path, root, volumes, 60)
        time.sleep(3)
        assert all(reader.poll() is None for reader in readers), [reader.communicate() for reader in readers if reader.poll() is not None]
        daemon.send_signal(how)
        assert daemon.wait(20) == 0, (tmp_path / "log").read_text()[-2000:]
        for reader in readers:
            _, err = reader.communicate(timeout=20)
            assert reader.returncode == 3, f"wrong bytes at the end, or no error: {err}"
        assert "panicked" not in (tmp_path / "log").read_text()
        if is_mounted(path):  # not where no reader had begun to read when the signal came
            emfs("umount", path)
        assert os.listdir(path) == []
    finally:
        for process in [*readers, daemon]:
            process.kill()
            process.wait()
        clean_up(path)


@pytest.mark.parametrize("name", ["imagej", "itk", "zarr"])
def test_four_forked_workers_read_right_blocks(big, tmp_path, name, long):
    root, volumes, config = big
    with mounted(tmp_path, config, memory=str(MEMORY), timeout=30) as mount:
        for seed, store in enumerate(("em.zarr", "em.v3.zarr", "em.chunk-64.zarr")):
            if not (mount / name / store).exists():
                continue
            done = subprocess.run(
                [sys.executable, READER, "forked", mount / name / store, root / f"{name}.npy", str(seed), str(40 if long else 4)],
                capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, f"{store}: {done.stderr}"
