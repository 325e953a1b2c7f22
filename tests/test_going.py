"""A mount that goes is an error to who reads from it, never an empty directory, which Zarr readers take for zeros."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import replica
from mounting import BINARY, LEGACY_PYTHON, clean_up, daemons, emfs, guardian, is_mounted, is_running, mounted, wait_for
from readers import read_file

READER = pathlib.Path(__file__).parent / "going_reader.py"
KINDS = ["zarr2", "nested2", "zarr3", "tensorstore"]

#: Seconds from the end of a mount to the first read after it: beyond what the daemon itself still answers, and beyond what
#: the kernel knows the names of datasets for.
PAUSES = [5, 25]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    """The configuration of the five archives on loopback, and of each finest level a file of its voxels.

    They are read from a mount of their own, whose pages in the kernel's cache are of no use to another.
    """
    import zarr

    folder = tmp_path_factory.mktemp("going")
    with replica.served(folder / "server.log") as config:
        truths = {}
        with mounted(folder, config, timeout=20) as mount:
            for dataset in sorted({dataset for dataset, *_ in replica.images(config)}):
                truths[dataset] = folder / f"{dataset}.npy"
                np.save(truths[dataset], zarr.open_group(mount / dataset / "em.zarr", mode="r")["s0"][...])
        yield config, truths


class Reader:
    def __init__(self, kind, mountpoint, truths):
        python = LEGACY_PYTHON if kind.endswith("2") else sys.executable
        self.process = subprocess.Popen([python, READER, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.say(json.dumps({name: [str(mountpoint / name / "em.chunk-16.zarr" / "s0"), str(truth)] for name, truth in truths.items()}))

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        assert line, "the reader has ended"
        return line.strip()

    def count(self):
        self.say("count")
        return json.loads(self.hear())


@contextlib.contextmanager
def reading(mountpoint, truths, kinds=KINDS):
    """A process of each kind that reads from all datasets: {kind: Reader}. What follows a space only tells them apart."""
    readers = {}
    try:
        for kind in kinds:
            readers[kind] = Reader(kind.split()[0], mountpoint, truths)
        for reader in readers.values():
            assert reader.hear() == "reading"
        yield readers
    finally:
        for reader in readers.values():
            reader.process.kill()
            reader.process.communicate()


def assert_never_wrong(readers, *, right=False, errors=False):
    """Since the last count no reader had a wrong byte; `right`, `errors`: each has had some of them from each dataset."""
    for kind, reader in readers.items():
        for dataset, count in reader.count().items():
            what = f"{kind}, {dataset}: {count}"
            assert count["wrong"] == 0, what
            assert count["right"] > 0 or not right, what
            assert count["error"] > 0 or not errors, what


class Place:
    """A mountpoint of a test's own and what mounts there."""

    def __init__(self, folder, config):
        self.path, self.log_file = folder / "m", folder / "log"
        self.path.mkdir()
        (folder / "config.toml").write_text(config)
        self.options = [self.path, "--config", folder / "config.toml", "--cache-size", "0", "--timeout", "20"]

    def mount(self, **options):
        return emfs("mount", *self.options, "--log", self.log_file, **options)

    @property
    def pid(self):
        (pid,) = daemons(self.path)
        return pid

    def ends(self):
        wait_for(lambda: not daemons(self.path), 15, "the daemon's end")


@pytest.fixture
def place(tmp_path, replicas):
    place = Place(tmp_path, replicas[0])
    yield place
    clean_up(place.path)


def chunk(path, dataset="jrc_mus-nacc-2", name="0/0/0"):
    return path / dataset / "em.zarr" / "s0" / name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_after_a_signal_readers_get_errors_and_no_zeros(place, replicas, number):
    place.mount()
    with reading(place.path, replicas[1]) as readers:
        assert_never_wrong(readers, right=True)
        os.kill(place.pid, number)
        for reader in readers.values():
            reader.say("all")
        time.sleep(2)
        assert_never_wrong(readers, errors=True)
        place.ends()
        assert is_mounted(place.path), "dead, until somebody clears it"
        assert_never_wrong(readers)
        (line,) = [line for line in place.log_file.read_text().splitlines() if number.name in line]
        assert "was read 0 s ago" in line and f"`emfs umount {place.path}`" in line
        with pytest.raises(OSError, match="Transport endpoint is not connected"):
            os.statvfs(place.path)


def test_umount_under_readers_is_refused_and_they_read_on(place, replicas):
    place.mount()
    with reading(place.path, replicas[1]) as readers:
        done = emfs("umount", place.path, check=False)
        assert done.returncode == 1 and "was read 0 s ago" in done.stderr, done.stderr
        assert "zeros" in done.stderr and f"`emfs umount --force {place.path}`" in done.stderr
        assert_never_wrong(readers)
        for reader in readers.values():
            reader.say("all")
        time.sleep(2)
        assert_never_wrong(readers, right=True)


def test_umount_by_force_unmounts_under_readers(place):
    place.mount()
    with open(chunk(place.path), "rb") as file:
        assert file.read(10)
        emfs("umount", "--force", place.path)
        assert not is_mounted(place.path) and os.listdir(place.path) == [] and not daemons(place.path)


def test_of_a_mount_whose_daemon_was_killed_only_files_in_stores_are_said_to_be_there(place):
    place.mount()
    file = open(chunk(place.path), "rb", buffering=0)
    os.kill(place.pid, signal.SIGKILL)
    place.ends()
    asked = {
        "the root": lambda: os.stat(place.path),
        "its list": lambda: os.listdir(place.path),
        "its size": lambda: os.statvfs(place.path),
        "a document": lambda: (place.path / "metadata.json").read_text(),
        "a dataset": lambda: os.stat(place.path / "hemibrain"),
        "its document": lambda: (place.path / "hemibrain" / "metadata.json").read_text(),
        "a list of chunks": lambda: os.listdir(chunk(place.path).parent),
        "a store's document": lambda: (place.path / "hemibrain" / "em.zarr" / ".zattrs").read_text(),
        "a chunk": lambda: read_file(chunk(place.path)),
        "a chunk of labels": lambda: read_file(place.path / "epfl-hippocampus/training.zarr/labels/mitochondria/s0/0/0/0"),
        "a chunk of Zarr v3": lambda: read_file(place.path / "idr-9846137" / "em.v3.zarr" / "s0" / "c" / "0" / "0" / "0"),
        "an open file": lambda: file.read(10),
    }
    with file:
        for what, ask in asked.items():
            with pytest.raises(OSError, match="not connected"):
                print(what, ask())
    assert os.path.isfile(chunk(place.path)) and not os.path.exists(place.path / "none")
    done = emfs("status", place.path, check=False)
    assert done.returncode == 1 and "has died" in done.stderr, done.stderr


@pytest.mark.parametrize("way", ["umount", "SIGTERM", "SIGKILL, umount", "SIGKILL, mount", "second signal"])
def test_the_guardian_ends_with_its_mount(place, way):
    place.mount()
    if way == "second signal":
        read_file(chunk(place.path))
    pid, guarding = place.pid, guardian(place.pid)
    if way.startswith("SIG"):
        os.kill(pid, signal.Signals[way.split(",")[0]])
        place.ends()
    if way == "second signal":
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: "SIGTERM" in place.log_file.read_text(), 10, "the first signal")
        os.kill(pid, signal.SIGTERM)
        place.ends()
    if "umount" in way:
        emfs("umount", "--force", place.path)
    if way.endswith(", mount"):
        assert is_running(guarding)
        place.mount()
        assert read_file(chunk(place.path))
    wait_for(lambda: not is_running(guarding), 10, "the guardian's end")


def test_signals_to_the_guardian_and_its_end_do_no_harm_to_a_mount_that_lives(place):
    place.mount()
    guarding = guardian(place.pid)
    wait_for(lambda: os.getsid(guarding) == guarding, 10, "a session of its own")
    for number in [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT]:
        os.kill(guarding, number)
    assert read_file(chunk(place.path))
    time.sleep(0.5)
    assert is_running(guarding)
    os.kill(guarding, signal.SIGKILL)
    wait_for(lambda: not is_running(guarding), 10, "the guardian's end")
    assert read_file(chunk(place.path, "hemibrain"))
    os.kill(place.pid, signal.SIGKILL)
    place.ends()
    with pytest.raises(OSError, match="not connected"):
        os.stat(chunk(place.path, "idr-9846137"))
    emfs("umount", place.path)


def test_the_guardian_takes_next_to_no_memory(place):
    place.mount()
    guarding, pid = guardian(place.pid), place.pid
    os.kill(pid, signal.SIGKILL)
    place.ends()
    for z in range(30):
        for y in range(30):
            assert os.path.isfile(place.path / "hemibrain" / "em.chunk-16.zarr" / "s0" / str(z) / str(y) / "0")
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{guarding}/status").read_text().splitlines())
    # What it has of its own; the program's text is shared with every other emfs.
    assert int(status["RssAnon"].split()[0]) < 4096, status


def test_umount_of_a_dead_mount_clears_it_and_says_what_readers_see(place):
    place.mount()
    os.kill(place.pid, signal.SIGKILL)
    place.ends()
    done = emfs("umount", place.path)
    assert "had died" in done.stderr and "empty directory" in done.stderr and "zeros" in done.stderr
    assert not is_mounted(place.path)


@pytest.mark.parametrize("again", [False, True])
def test_after_a_kill_readers_get_errors_and_after_a_new_mount_right_bytes(place, replicas, again):
    place.mount()
    with reading(place.path, replicas[1]) as readers:
        os.kill(place.pid, signal.SIGKILL)
        for reader in readers.values():
            reader.say("all")
        if again:
            wait_for(lambda: len(daemons(place.path)) == 0, 10, "the daemon's end")
            done = place.mount()
            assert "had died" in done.stderr and str(place.path) in done.stderr
        time.sleep(2)
        assert_never_wrong(readers, errors=not again)
        if again:
            time.sleep(2)
            assert_never_wrong(readers, right=True)
            assert sum(str(place.path) in line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()) == 1


@pytest.mark.parametrize("way", ["SIGTERM", "SIGKILL", "SIGKILL, mount", "umount"])
def test_whenever_the_first_read_after_the_end_comes_it_is_right_or_an_error(place, replicas, way):
    place.mount()
    kinds = [f"{kind} {pause}" for kind in KINDS for pause in PAUSES]
    with reading(place.path, replicas[1], kinds) as readers:
        for kind, reader in readers.items():
            reader.say(f"later {kind.split()[1]}")
            assert reader.hear() == "waiting"
            reader.count()
        if way == "umount":
            assert emfs("umount", place.path, check=False).returncode == 1
        else:
            os.kill(place.pid, signal.Signals[way.split(",")[0]])
            place.ends()
        if way.endswith(", mount"):
            place.mount()
        time.sleep(max(PAUSES) + 5)
        alive = "mount" in way
        assert_never_wrong(readers, right=alive, errors=not alive)


def test_reads_that_a_kill_meets_halfway_are_errors(place, replicas):
    place.mount()
    with reading(place.path, replicas[1], ["zarr2 a", "zarr2 b", "nested2", "zarr3", "tensorstore"]) as readers:
        for reader in readers.values():
            reader.say("all")
        for _ in range(8):
            time.sleep(0.5)
            os.kill(place.pid, signal.SIGKILL)
            place.ends()
            time.sleep(0.2)
            assert_never_wrong(readers)
            place.mount()
        time.sleep(1)
        assert_never_wrong(readers)
        time.sleep(2)
        assert_never_wrong(readers, right=True)


def test_the_stores_of_the_manual_raise_even_where_the_mount_is_gone(place, replicas):
    place.mount()
    with reading(place.path, replicas[1], ["strict2", "strict3", "tensorstore"]) as readers:
        emfs("umount", "--force", place.path)
        for reader in readers.values():
            reader.say("all")
        time.sleep(2)
        assert_never_wrong(readers, errors=True)


def test_a_reader_who_finds_all_in_the_kernel_s_cache_is_seen(place):
    place.mount()
    path = chunk(place.path)
    right = read_file(path)
    begin = time.monotonic()
    while time.monotonic() < begin + 25:
        assert read_file(path) == right
        time.sleep(0.2)
    reader = json.loads(emfs("status", place.path, "--json").stdout)["reader"]
    assert reader["dataset"] == "jrc_mus-nacc-2" and reader["ago"] < time.monotonic() - begin - 1, "not since the first read"
    assert emfs("umount", place.path, check=False).returncode == 1


def test_a_second_signal_takes_the_mount_away(place):
    place.mount()
    read_file(chunk(place.path))
    pid = place.pid
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: "SIGTERM" in place.log_file.read_text(), 10, "the first signal")
    os.kill(pid, signal.SIGTERM)
    place.ends()
    assert not is_mounted(place.path)


@pytest.mark.parametrize("how", ["listing", "a document that can change"])
def test_who_only_looks_around_does_not_hold_up_the_end(place, how):
    place.mount()
    if how == "listing":
        for _ in range(2):
            assert os.listdir(place.path / "hemibrain" / "em.zarr" / "s0")
            os.stat(chunk(place.path, "hemibrain"))
    else:
        assert (place.path / "hemibrain" / "metadata.json").read_text()
    os.kill(place.pid, signal.SIGTERM)
    place.ends()
    assert not is_mounted(place.path)


def test_in_the_foreground_the_process_ends_soon_after_one_signal(place):
    with subprocess.Popen([BINARY, "mount", *place.options, "--foreground"], stderr=subprocess.PIPE, text=True) as daemon:
        wait_for(lambda: is_mounted(place.path) and os.listdir(place.path), 20, "the mount")
        read_file(chunk(place.path))
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=10)
    assert daemon.returncode == 0 and "stays, as a dead mount" in log, log
    with pytest.raises(OSError, match="not connected"):
        read_file(chunk(place.path, "hemibrain"))


def test_of_several_mounts_over_a_dead_one_one_wins(place):
    place.mount()
    os.kill(place.pid, signal.SIGKILL)
    place.ends()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: emfs("mount", *place.options, "--log", place.log_file, check=False), range(4)))
    assert sorted(one.returncode for one in done) == [0, 1, 1, 1], [one.stderr for one in done]
    assert all("is mounted at" in one.stderr for one in done if one.returncode)
    assert read_file(chunk(place.path))
    assert sum(f" {place.path} " in line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()) == 1


def test_a_dead_mount_with_another_filesystem_below_it_stays(place):
    if os.getuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    place.mount()
    inner = place.path / "hemibrain"
    subprocess.run(["mount", "-t", "tmpfs", "inner", inner], check=True)
    os.kill(place.pid, signal.SIGKILL)
    place.ends()
    done = emfs("mount", *place.options, check=False)
    assert done.returncode == 1 and "has died" in done.stderr, done.stderr
    assert is_mounted(inner)
    subprocess.run(["umount", inner], check=True)
