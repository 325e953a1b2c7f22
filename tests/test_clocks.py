"""Time goes by the clock: an operation fails when it is over, one bad connection costs nothing, and who is killed ends."""

import concurrent.futures
import errno
import itertools
import json
import os
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

import expected
import reference_volumes
from faults import MODES, with_header
from mounting import configuration, mounted
from origin import Fault, Origin

TIMEOUT = 6  # of the mounts here, in seconds
STALL = 1.0
#: An errno is there so long after the deadline at the latest.
LATE = 5
#: A killed program ends within this time.
ENDS = 5
#: Nothing is sent in the last second of an operation; some of that for a machine that does much else.
QUIET = 0.7

BAD = {
    "stalls in the middle": Fault("stall"),
    "drips at 100 B/s": Fault("drip", bytes_per_second=100),
    "drips at 2 KiB/s": Fault("drip", bytes_per_second=2048),
    "is silent": Fault("silent"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("clocks")
    made = {
        "planes": reference_volumes.imagej(root, "planes", (32, 1024, 1024), "u1", 1),
        "chunks": reference_volumes.zarr_group(root, "chunks", shape=(128, 256, 256), dtype="u1", chunks=(32, 64, 64), seed=2, levels=1),
    }
    return root, made


class Scene:
    def __init__(self, mount, origin, volumes):
        self.mount, self.origin, self.volumes = mount, origin, volumes

    def path(self, name, index):
        return self.mount / name / "em.zarr" / "s0" / expected.chunk_path(index)

    def describe(self, name):
        (self.mount / name / "em.zarr" / "s0" / ".zarray").read_text()

    def indices(self, name):
        volume = self.volumes[name]
        return list(itertools.product(*(range(-(-n // c)) for n, c in zip(volume.levels[0].shape, volume.chunk[0], strict=True))))

    def read(self, name, index):
        """Whether the chunk could be read; it must be right then. And how long it took."""
        began = time.monotonic()
        try:
            found = self.path(name, index).read_bytes()
        except OSError as error:
            assert error.errno == errno.EIO, error
            return False, time.monotonic() - began
        volume = self.volumes[name]
        assert found == expected.chunk_bytes(volume.levels[0], volume.chunk[0], index)
        return True, time.monotonic() - began


@pytest.fixture
def scene(files, tmp_path):
    root, made = files
    with Origin(root) as origin:
        config = configuration({name: reference_volumes.source_at(volume, origin) for name, volume in made.items()}, {"stall": STALL, "connections": 16})
        with mounted(tmp_path, config, timeout=TIMEOUT) as mount:
            yield Scene(mount, origin, made)
            assert mount.alive()


@pytest.mark.parametrize("name", ["planes", "chunks"])
@pytest.mark.parametrize("kind", BAD)
def test_an_origin_of_which_every_connection_is_bad_gives_an_errno_in_time(scene, kind, name):
    scene.describe(name)
    scene.origin.fault = lambda request: BAD[kind]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for could, took in pool.map(lambda index: scene.read(name, index), scene.indices(name)[:8]):
            print(f"{took:.1f} s")
            assert not could and took < TIMEOUT + LATE, f"{took:.1f} s"


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind != "drips at 2 KiB/s"])
def test_an_origin_of_which_every_connection_is_bad_gives_an_errno_in_time_with_the_defaults(files, tmp_path, kind, long):
    if not long:
        pytest.skip("takes more than a minute")
    root, made = files
    with Origin(root) as origin:
        config = configuration({"planes": reference_volumes.source_at(made["planes"], origin)}, {"stall": 10.0, "connections": 16})
        with mounted(tmp_path, config) as mount:
            scene = Scene(mount, origin, made)
            scene.describe("planes")
            origin.fault = lambda request: BAD[kind]
            could, took = scene.read("planes", (0, 0, 0))
            print(f"{took:.1f} s")
            assert not could and took < 60 + LATE


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_connection_among_good_ones_costs_no_error(scene, kind):
    for name in scene.volumes:
        scene.describe(name)
    first, lock, given = [], threading.Lock(), itertools.count()

    def fault(request):
        with lock:
            if next(given) % 5:
                return None
            first.append(request.path)
            return BAD[kind]

    scene.origin.fault = fault
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for name in scene.volumes:
            indices = scene.indices(name)[::4]
            assert all(could for could, _ in pool.map(lambda index, name=name: scene.read(name, index), indices))
    assert first
    host = scene.mount.status()["hosts"][scene.origin.host]
    assert host["hedges"] + host["retries"] >= len(first) / 2 and host["failures"] == 0


def test_operations_whose_time_is_over_send_nothing_more(scene):
    scene.describe("chunks")
    sent = []

    def silent(request):
        sent.append(time.monotonic())
        return Fault("silent")

    scene.origin.fault = silent
    indices = scene.indices("chunks")[:64]
    assert len(indices) == 64
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda index: scene.read("chunks", index), indices))
    assert not any(could for could, _ in results)
    assert max(took for _, took in results) < TIMEOUT + LATE
    first_end = began + min(took for _, took in results)
    late = [moment - began for moment in sent if moment > first_end - QUIET]
    assert sent and not late, late


def waiting(command, path):
    """A program that waits for an answer about `path`."""
    program = subprocess.Popen([*command, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    assert program.poll() is None, program.communicate()
    return program


def ends(program, sent=signal.SIGKILL):
    began = time.monotonic()
    program.send_signal(sent)
    assert program.wait(timeout=30) == -sent
    took = time.monotonic() - began
    print(f"{took:.1f} s")
    assert took < ENDS, f"{took:.1f} s"


READ = ["python3", "-c", "import os, sys; os.pread(os.open(sys.argv[1], os.O_RDONLY), 1 << 18, 0)"]
THREADS = ["python3", "-c", "import concurrent.futures, os, sys; list(concurrent.futures.ThreadPoolExecutor(4).map(os.stat, sys.argv[1:] * 4))"]


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_program_ends_whatever_it_waits_for(files, tmp_path, sent, after):
    root, made = files
    with Origin(root) as origin:
        sources = {name: reference_volumes.source_at(made["chunks"], origin) for name in ("looked-up", "by-threads", "listed", "read")}
        config = configuration(sources, {"stall": 30.0})
        with mounted(tmp_path, config, timeout=60) as mount:
            scene = Scene(mount, origin, {"read": made["chunks"]})
            scene.describe("read")
            origin.fault = lambda request: Fault("silent")
            programs = [
                waiting(["stat"], mount / "looked-up" / "em.zarr" / "s0" / ".zarray"),
                waiting(THREADS, mount / "by-threads" / "em.zarr" / "s0"),
                waiting(["ls"], mount / "listed" / "em.zarr"),
                waiting(READ, scene.path("read", (0, 0, 0))),
            ]
            time.sleep(after)
            with concurrent.futures.ThreadPoolExecutor(len(programs)) as pool:
                list(pool.map(lambda program: ends(program, sent), programs))


def test_many_programs_that_wait_for_the_same_and_are_killed_end(files, tmp_path):
    root, made = files
    with Origin(root) as origin:
        with mounted(tmp_path, configuration({"v": reference_volumes.source_at(made["chunks"], origin)}, {"stall": 30.0}), timeout=60) as mount:
            origin.fault = lambda request: Fault("silent")
            programs = [waiting(["cat"], mount / "v" / "em.zarr" / "s0" / ".zarray") for _ in range(16)]
            with concurrent.futures.ThreadPoolExecutor(len(programs)) as pool:
                list(pool.map(ends, programs))


def test_who_waits_for_the_same_as_a_killed_program_gets_it(files, tmp_path):
    root, made = files
    with Origin(root) as origin:
        speak = threading.Event()

        def late(request):
            speak.wait(30)

        with mounted(tmp_path, configuration({"v": reference_volumes.source_at(made["chunks"], origin)}, {"stall": 30.0}), timeout=30) as mount:
            scene = Scene(mount, origin, {"v": made["chunks"]})
            origin.fault = late
            for path in (mount / "v" / "em.zarr" / "s0" / ".zarray", scene.path("v", (0, 0, 0))):
                speak.clear()
                # The first has asked. What waits in the kernel for another one's answer cannot end before that comes.
                killed, other = waiting(["cat"], path), waiting(["cat"], path)
                ends(killed)
                asked = len(origin.requests)
                speak.set()
                out, err = other.communicate(timeout=20)
                assert other.returncode == 0, err
                assert out == path.read_bytes() and asked
            assert json.loads((mount / "v" / "em.zarr" / "s0" / ".zarray").read_text())["shape"] == [128, 256, 256]
            assert scene.read("v", (0, 0, 0))[0] and scene.read("v", (1, 1, 1))[0]


def another_name(etag):
    """A mirror that tells another ETag of the same file, or none."""
    def answered(request, answer, origin):
        if answer.status not in (200, 206):
            return answer
        return with_header(answer, "ETag", etag) if etag else answer.without("etag")
    return answered


@pytest.mark.parametrize("etag", ['"another"', 'W/"weak"', None])
def test_two_mirrors_that_name_the_same_file_differently_are_read_as_one(scene, etag):
    own = itertools.count()

    def fault(request):
        if next(own) % 2 == 0:
            return None
        wanted = request.headers.get("if-match")
        if wanted is None or wanted == etag:
            request.headers.pop("if-match", None)
            return Fault("altered", alter=another_name(etag))
        return Fault("status", 412)

    scene.origin.fault = fault
    for name in scene.volumes:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda index, name=name: scene.read(name, index)[0], scene.indices(name)))
        assert all(results), f"{name}: {results.count(False)} of {len(results)} failed"
    if etag != 'W/"weak"':
        assert scene.mount.log.count("taken for one version") == 1


def test_a_mirror_with_another_version_is_never_mixed_in(files, scene):
    root, made = files
    older = np.bitwise_xor(made["planes"].levels[0], 1)
    swapped = {(root / "planes.tif").read_bytes().index(made["planes"].levels[0].tobytes()): older.tobytes()}
    (start, body), = swapped.items()
    old = (root / "planes.tif").read_bytes()[:start] + body
    given = itertools.count()

    def lagging(request, answer, origin):
        if answer.status != 206:
            return answer
        first, last = request.range
        return with_header(type(answer)(206, answer.headers, old[first:min(last, len(old))].ljust(len(answer.body), b"\0")), "ETag", '"older"')

    def fault(request):
        if next(given) % 2 == 0:
            return None
        if request.headers.get("if-match") not in (None, '"older"'):
            return Fault("status", 412)
        request.headers.pop("if-match", None)
        return Fault("altered", alter=lagging)

    scene.describe("planes")
    scene.origin.fault = fault
    # `read` compares what it gets.
    results = [scene.read("planes", index)[0] for index in scene.indices("planes")]
    assert all(results), f"{results.count(False)} of {len(results)} failed"
    assert "taken for one version" not in scene.mount.log


@pytest.mark.parametrize("answers", [["403"], ["401"], ["503", "html"], ["503", "short"], ["503", "403"], ["503", "html-206"], ["html", "503"], ["403", "html", "503"]])
def test_a_bad_answer_of_each_kind_is_asked_for_again(scene, answers):
    for name in scene.volumes:
        scene.describe(name)
    asked, lock = {}, threading.Lock()

    def fault(request):
        with lock:
            nth = asked[request.path, request.range] = asked.get((request.path, request.range), -1) + 1
        return MODES[answers[nth]] if nth < len(answers) else None

    scene.origin.fault = fault
    for name in scene.volumes:
        could, _ = scene.read(name, scene.indices(name)[-1])
        assert could, scene.mount.log
    assert max(asked.values()) >= len(answers)
