"""Whatever the origin does, a read gives the right bytes or EIO within the time that the contract allows, and one line in the log.

Never zeros, never ENOENT, and reads of what is cached go on.
"""

import concurrent.futures
import errno
import os
import resource
import threading
import time

import pytest

import expected
import reference_volumes
from mounting import configuration, mounted, wait_for
from origin import Fault, Origin

TIMEOUT = 3  # of the mounts here, in seconds
#: Until an answer must be there: the time without progress, once more for a second request that raced, and a slow machine.
DEADLINE = 2 * TIMEOUT + 6

FAULTS = {
    "silent": Fault("silent"),
    "ok200": Fault("ok200"),
    "short": Fault("short"),
    "short_clean": Fault("short_clean"),
    "long": Fault("long"),
    "other_range": Fault("other_range"),
    "403": Fault("status", 403),
    "429": Fault("status", 429, (("Retry-After", "1"),)),
    "429-for-an-hour": Fault("status", 429, (("Retry-After", "3600"),)),
    "500": Fault("status", 500),
    "503": Fault("status", 503),
    "503-retry-after": Fault("status", 503, (("Retry-After", "1"),)),
    "302": Fault("status", 302, (("Location", "/nowhere"),)),
    "html": Fault("html"),
    "stall": Fault("stall"),
    "drip": Fault("drip", bytes_per_second=50),
    "close": Fault("close"),
    "reset": Fault("reset"),
    "etag": Fault("etag"),
}
#: Faults that a second try sees through, so that one of them must not become an error.
PASSING = ["silent", "short", "short_clean", "long", "other_range", "429", "500", "503", "503-retry-after", "html", "stall", "close", "reset"]
#: Faults behind which the right bytes may still be found.
HARMLESS = {"ok200", "etag", "other_range", "short_clean"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("faulty")
    # Planes of more than the range that opening a file reads, so that voxels are not there by accident.
    made = {
        "itk": reference_volumes.itk(root, "itk", (40, 500, 520), "u1", 1),
        "imagej": reference_volumes.imagej(root, "imagej", (40, 500, 520), "u1", 2),
        "http": reference_volumes.zarr_group(root, "http", shape=(64, 128, 128), dtype="<u2", chunks=(32, 64, 64), seed=3, levels=2),
        "s3": reference_volumes.zarr_group(root, "s3", shape=(64, 128, 128), dtype="<i2", chunks=(32, 64, 64), seed=4, levels=2, s3=True),
    }
    return root, made


class Scene:
    """A mount of an origin that is about to misbehave."""

    def __init__(self, mount, origin, volumes):
        self.mount, self.origin, self.volumes = mount, origin, volumes

    def describe(self, name):
        (self.mount / name / "em.zarr" / "s0" / ".zarray").read_text()

    def path(self, name, index):
        return self.mount / name / "em.zarr" / "s0" / expected.chunk_path(index)

    def right(self, name, index):
        volume = self.volumes[name]
        return expected.chunk_bytes(volume.levels[0], volume.chunk[0], index)

    def read(self, name, index):
        """Bytes, or the errno's name; asserts that it did not take too long."""
        begin = time.monotonic()
        found = read(self.path(name, index))
        assert time.monotonic() - begin < DEADLINE
        return found

    def lines(self, name, index):
        """Lines of the log about a chunk that failed."""
        wanted = f"{name}/em.zarr/s0/{expected.chunk_path(index)}"
        return [line for line in self.mount.log.splitlines() if wanted in line]


def read(path):
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            pieces = []
            while piece := os.read(descriptor, 1 << 20):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)
    except OSError as error:
        return errno.errorcode[error.errno]


@pytest.fixture
def scene(files, tmp_path):
    root, made = files
    with Origin(root) as origin:
        config = configuration({name: reference_volumes.source_at(volume, origin) for name, volume in made.items()}, {"stall": 1.0, "connections": 32})
        with mounted(tmp_path, config, timeout=TIMEOUT) as mount:
            yield Scene(mount, origin, made)
            assert mount.alive(), "the daemon is gone"


def once_per_volume(volumes, fault):
    """The fault for the first request of each volume."""
    left, lock = {volume.file for volume in volumes.values()}, threading.Lock()

    def choose(request):
        with lock:
            for file in left:
                if file in request.path:
                    left.remove(file)
                    return fault
        return None
    return choose


def check(condition):
    assert condition


SOURCES = ["itk", "imagej", "http", "s3"]
NEAR, FAR = (0, 0, 0), (1, 1, 1)


def for_each_source(function, names=SOURCES):
    """Runs `function(name)` for all sources at the same time, because most of each is waiting."""
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        for future in [pool.submit(function, name) for name in names]:
            future.result()


def assert_one_line(scene, name, index, what):
    lines = wait_for(lambda: scene.lines(name, index), 2, f"a line in the log about {what}")
    assert len(lines) == 1, "\n".join(lines)
    (line,) = lines
    url = scene.origin.host if scene.volumes[name].source["url"].startswith("{origin}") else scene.volumes[name].file
    assert url in line and scene.volumes[name].file.rpartition("/")[2] in line, line
    assert "attempt" in line, line
    if name in ("itk", "imagej"):
        assert any(word in line for word in ("bytes ", "range")), line


@pytest.mark.parametrize("kind", FAULTS)
def test_a_lasting_fault_is_eio_and_one_line_and_recovery_needs_no_remount(scene, kind):
    for_each_source(scene.describe)
    cached = {name: scene.read(name, NEAR) for name in SOURCES}
    assert cached == {name: scene.right(name, NEAR) for name in SOURCES}
    scene.origin.fault = lambda request: FAULTS[kind]

    def fails(name):
        found = scene.read(name, FAR)
        if isinstance(found, bytes):
            assert found == scene.right(name, FAR), f"{name}: wrong bytes"
            assert kind in HARMLESS, f"{name}: how can this read have succeeded?"
            return
        assert found == "EIO" or (kind, found) == ("403", "EACCES"), name
        assert_one_line(scene, name, FAR, kind)
        assert scene.read(name, NEAR) == cached[name], f"{name}: cached reads go on"
        assert os.stat(scene.path(name, FAR)).st_size == len(cached[name])

    for_each_source(fails)
    scene.origin.fault = None
    time.sleep(1.1)  # a failure is remembered for a second
    if kind != "429-for-an-hour":
        # A host that asked for a pause gets it, so the first answer may take a moment.
        for_each_source(lambda name: wait_for(lambda: scene.read(name, FAR) == scene.right(name, FAR), 2 * DEADLINE, f"recovery of {name}"))


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_fault_is_not_seen_by_the_reader(scene, kind):
    for_each_source(scene.describe)
    scene.origin.fault = once_per_volume(scene.volumes, FAULTS[kind])

    def succeeds(name):
        assert scene.read(name, FAR) == scene.right(name, FAR), name

    for_each_source(succeeds)
    assert scene.mount.status()["failed"] == 0


def test_an_origin_that_stopped_is_eio_until_it_is_back(scene):
    for_each_source(scene.describe)
    scene.origin.stop()

    def fails(name):
        assert scene.read(name, FAR) == "EIO", name
        assert_one_line(scene, name, FAR, "refused connections")

    for_each_source(fails)
    scene.origin.start()
    time.sleep(1.1)
    for_each_source(lambda name: wait_for(lambda: scene.read(name, FAR) == scene.right(name, FAR), 2 * DEADLINE, f"recovery of {name}"))


def test_a_daemon_out_of_descriptors_says_so_and_does_not_take_the_host_for_gone(scene):
    scene.describe("s3")
    scene.read("s3", NEAR)
    (_, hard) = resource.prlimit(scene.mount.pid, resource.RLIMIT_NOFILE)
    # Connections that wait for the next request would do for it.
    scene.origin.stop()
    scene.origin.start()
    # No descriptor may have a higher number, and the lower ones are taken.
    resource.prlimit(scene.mount.pid, resource.RLIMIT_NOFILE, (3, hard))
    assert scene.read("s3", FAR) == "EIO"
    assert_one_line(scene, "s3", FAR, "Too many open files")
    resource.prlimit(scene.mount.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert "cannot be reached" not in scene.mount.log
    time.sleep(1.1)
    assert scene.read("s3", FAR) == scene.right("s3", FAR)


def test_the_daemon_may_open_as_many_files_as_the_system_lets_it(scene):
    soft, hard = resource.prlimit(scene.mount.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


@pytest.mark.parametrize("name", ["itk", "imagej"])
def test_a_file_that_vanished_is_eio_and_never_enoent(scene, name):
    scene.describe(name)
    scene.origin.fault = lambda request: Fault("status", 404)
    assert scene.read(name, FAR) == "EIO"


@pytest.mark.parametrize("kind", ["silent", "403", "503", "html", "reset", "drip"])
def test_a_store_that_cannot_be_described_is_eio_and_never_enoent(scene, kind):
    scene.origin.fault = lambda request: FAULTS[kind]

    def fails(name):
        store = scene.mount / name / "em.zarr"
        begin = time.monotonic()
        for path in (store / ".zattrs", store / "s0" / "0" / "0" / "0"):
            assert read(path) in (("EIO", "EACCES") if kind == "403" else ("EIO",)), path
        assert time.monotonic() - begin < 2 * DEADLINE
        assert name in os.listdir(scene.mount.path) and "em.zarr" in os.listdir(scene.mount / name)

    for_each_source(fails)
    scene.origin.fault = None
    time.sleep(1.1)
    for_each_source(lambda name: wait_for(lambda: scene.read(name, NEAR) == scene.right(name, NEAR), 2 * DEADLINE, f"recovery of {name}"))


def test_a_failure_is_not_remembered_for_more_than_a_second(scene):
    for_each_source(scene.describe)
    scene.origin.fault = lambda request: Fault("status", 403)
    for_each_source(lambda name: check(scene.read(name, FAR) in ("EIO", "EACCES")))
    scene.origin.fault = None
    time.sleep(1.1)
    for_each_source(lambda name: check(scene.read(name, FAR) == scene.right(name, FAR)))


@pytest.mark.parametrize("name", ["itk", "imagej"])
def test_a_file_that_changed_at_the_origin_is_eio_and_cached_reads_go_on(scene, name):
    scene.describe(name)
    cached = scene.read(name, NEAR)
    os.utime(scene.origin.root / scene.volumes[name].file, (1, 1))
    try:
        assert scene.read(name, FAR) == "EIO"
        (line,) = wait_for(lambda: scene.lines(name, FAR), 2, "a line in the log")
        assert "changed at the origin, remount" in line
        assert scene.read(name, NEAR) == cached
    finally:
        os.utime(scene.origin.root / scene.volumes[name].file)


def test_a_slow_origin_is_waited_for(scene):
    """Longer than the timeout in all where a read needs several answers, but never without progress for so long."""
    for_each_source(scene.describe)
    scene.origin.fault = lambda request: Fault("delay", seconds=0.3 * TIMEOUT)
    for_each_source(lambda name: check(scene.read(name, FAR) == scene.right(name, FAR)))


def test_a_stalled_request_is_raced_by_a_second_one(scene):
    scene.describe("s3")
    scene.origin.fault = once_per_volume(scene.volumes, Fault("silent"))
    assert scene.read("s3", FAR) == scene.right("s3", FAR)
    assert sum(host["hedges"] for host in scene.mount.status()["hosts"].values()) == 1


def test_retry_after_is_honoured(scene):
    scene.describe("http")
    times = []

    def choose(request):
        times.append(time.monotonic())
        return Fault("status", 429, (("Retry-After", "2"),)) if len(times) == 1 else None

    scene.origin.fault = choose
    assert scene.read("http", (1, 1, 1)) == scene.right("http", (1, 1, 1))
    assert len(times) == 2 and times[1] - times[0] > 1.9


@pytest.mark.parametrize("seed", range(3))
def test_no_read_gives_wrong_bytes_while_a_third_of_all_answers_is_wrong(scene, seed):
    import random

    generator, lock = random.Random(seed), threading.Lock()
    kinds = [fault for kind, fault in FAULTS.items() if kind not in ("429-for-an-hour", "drip", "etag")]

    def choose(request):
        with lock:
            return generator.choice(kinds) if generator.random() < 0.33 else None

    for name in SOURCES:
        scene.describe(name)
    scene.origin.fault = choose
    failed = 0
    for name in SOURCES:
        volume = scene.volumes[name]
        for index in expected.chunk_indices(volume.levels[0].shape, volume.chunk[0]):
            found = scene.read(name, index)
            assert found == scene.right(name, index) or found in ("EIO", "EACCES"), f"{name} {index}: {found[:20]}"
            failed += not isinstance(found, bytes)
    scene.origin.fault = None
    time.sleep(1.1)
    for name in SOURCES:
        volume = scene.volumes[name]
        for index in expected.chunk_indices(volume.levels[0].shape, volume.chunk[0]):
            assert wait_for(lambda: scene.read(name, index) == scene.right(name, index), 2 * DEADLINE, "recovery")


def test_zarr_and_tensorstore_raise_instead_of_giving_zeros(scene):
    import numpy as np
    import tensorstore
    import zarr

    scene.describe("http")
    scene.origin.fault = lambda request: Fault("status", 503)
    store = scene.mount / "http" / "em.zarr"
    with pytest.raises(OSError):
        zarr.open_group(store, mode="r")["s0"][...]
    with pytest.raises(Exception):
        tensorstore.open({"driver": "zarr", "kvstore": f"file://{store}/s0/"}).result().read().result()
    scene.origin.fault = None

    def right():
        # What TensorStore had asked for may still be failing, and is then remembered for a second.
        try:
            return np.array_equal(zarr.open_group(store, mode="r")["s0"][...], scene.volumes["http"].levels[0])
        except OSError:
            return False

    assert wait_for(right, DEADLINE, "recovery")
