"""A filesystem below one source that hangs costs the others nothing, and all is well when it goes on."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

import dm_files
import reference_volumes
from hanging import bound
from mounting import configuration, daemons, emfs, is_mounted, mounted, wait_for
from origin import Origin

#: Answers come in milliseconds. This is for a machine that does much else; what waits for the filesystem waits longer.
SOON = 6
PROCESSES = 4
PENDING = 256
#: Threads that may wait for one filesystem, and for all of them, as README says.
OF_ONE, OF_ALL = 16, 128
#: Threads that may come beside these: they decode, and read what is kept.
OTHERS = 12
SHAPE = (256, 512, 512)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """A folder with volumes of every kind."""
    root = tmp_path_factory.mktemp("volumes")
    made = {name: reference_volumes.zarr_group(root, name, shape=shape, dtype="u1", chunks=(64, 64, 64), levels=1, seed=seed)
            for seed, (name, shape) in enumerate({
                "hung": SHAPE, "unopened": (64, 64, 64), "cached": (64, 128, 128), "served": (64, 128, 128), "local": (64, 128, 128),
                "later": (64, 64, 64)}.items())}
    made["tiff"] = reference_volumes.itk(root, "tiff", (16, 64, 64), "u1", 11)
    (root / "dm").mkdir()
    sections = reference_volumes.noise((4, 64, 64), "u1", 12)
    for z, voxels in enumerate(sections):
        dm_files.write(root / "dm" / f"section_{z:03}.dm3", voxels)
    return root, made


def at(volume, place):
    return json.loads(json.dumps(volume.source).replace("{origin}", str(place)))


def chunks(store):
    return [store / "s0" / "/".join(map(str, index)) for index in itertools.product(*(range(-(-extent // 64)) for extent in SHAPE))]


def sums(volume):
    """The sums of the chunks, in their order."""
    voxels = volume.levels[0]
    return [hashlib.sha256(voxels[z:z + 64, y:y + 64, x:x + 64].tobytes()).hexdigest()
            for z, y, x in itertools.product(*(range(0, extent, 64) for extent in SHAPE))]


@contextlib.contextmanager
def reading(paths):
    """Processes that read all `paths` at once."""
    shares = [paths[number::PROCESSES] for number in range(PROCESSES)]
    program = [sys.executable, pathlib.Path(__file__).with_name("pending_reader.py")]
    processes = [subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in shares]
    for process, share in zip(processes, shares, strict=True):
        process.stdin.write("\n".join(map(str, share)))
        process.stdin.close()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait(30)
            process.stdout.close()


def results(processes, seconds):
    """What came of each file, within so many seconds."""
    deadline = time.monotonic() + seconds
    answers = {}
    for process in processes:
        process.wait(max(0.1, deadline - time.monotonic()))
        answers |= json.loads(process.stdout.read())
    return answers


def threads(mount):
    return len(os.listdir(f"/proc/{mount.pid}/task"))


def soon(what, action):
    began = time.monotonic()
    result = action()
    took = time.monotonic() - began
    print(f"{what}: {took:.2f} s")
    assert took < SOON, f"{what} took {took:.1f} s"
    return result


def assert_others_answer(mount, made):
    for name in ("local", "served", "cached"):
        path = mount / name / "em.chunk-64x128x128.zarr" / "s0" / "0" / "0" / "0"
        bytes_ = soon(f"a chunk of {name}", path.read_bytes)
        np.testing.assert_array_equal(np.frombuffer(bytes_, "u1").reshape(64, 128, 128), made[name].levels[0])
    opened = soon("opening", lambda: zarr.open_group(mount / "later" / "em.zarr", mode="r")["s0"][:])
    np.testing.assert_array_equal(opened, made["later"].levels[0])
    for path in ("", "hung", "hung/em.zarr/s0", "unopened", "local/em.zarr"):
        soon(f"ls {path}", lambda path=path: os.listdir(mount / path))
    soon("ls -l", lambda: [entry.stat() for entry in os.scandir(mount.path)])
    soon("status", mount.status)


def sources(root, made, hung, origin):
    local = {name: at(made[name], root) for name in ("local", "later")}
    return {name: at(made[name], hung) for name in ("hung", "unopened", "tiff")} | {"dm": {"kind": "dm3", "url": str(hung / "dm")}} \
        | {name: at(made[name], origin.url) for name in ("served", "cached")} | local


@contextlib.contextmanager
def scene(volumes, tmp_path, timeout):
    root, made = volumes
    with bound(root, tmp_path / "bound") as hung, Origin(root) as origin:
        with mounted(tmp_path, configuration(sources(root, made, hung.path, origin)), timeout=timeout, cache=tmp_path / "cache") as mount:
            os.listdir(mount / "hung" / "em.zarr" / "s0")
            for y, x in itertools.product(range(2), repeat=2):
                (mount / "cached" / "em.zarr" / "s0" / "0" / str(y) / str(x)).read_bytes()
            try:
                yield mount, hung
            finally:
                # Whoever cleans up must not hang.
                hung.go_on()


def test_256_reads_that_hang_cost_the_others_nothing_and_end_well(volumes, tmp_path):
    with scene(volumes, tmp_path, timeout=60) as (mount, hung):
        before = threads(mount)
        hung.hang()
        paths = chunks(mount / "hung" / "em.zarr")
        assert len(paths) == PENDING
        with reading(paths) as processes:
            time.sleep(2)
            assert_others_answer(mount, volumes[1])
            print(f"{threads(mount)} threads, {before} before")
            assert threads(mount) <= before + OF_ONE + OTHERS
            assert not any(process.poll() for process in processes), "they waited for nothing"
            hung.go_on()
            answers = results(processes, 30)
        assert [answers[str(path)] for path in paths] == sums(volumes[1]["hung"])
        assert mount.status()["hosts"]["file:"]["hedges"] == 0


def test_reads_of_a_filesystem_that_hangs_end_in_time_and_take_no_thread_each(volumes, tmp_path):
    with scene(volumes, tmp_path, timeout=4) as (mount, hung):
        before = threads(mount)
        hung.hang()
        paths = chunks(mount / "hung" / "em.zarr")
        for _ in range(3):
            with reading(paths) as processes:
                time.sleep(1)
                assert_others_answer(mount, volumes[1])
                began = time.monotonic()
                answers = results(processes, 30)
                print(f"ended after {time.monotonic() - began:.1f} s more; {threads(mount)} threads, {before} before")
            assert set(answers.values()) == {errno.EIO}
            assert threads(mount) <= before + OF_ONE + OTHERS
        assert "no progress for 4 s" in mount.log
        for name in ("unopened", "tiff", "dm"):
            with pytest.raises(OSError, match="Input/output"):
                os.listdir(mount / name / "em.zarr" / "s0")
        assert_others_answer(mount, volumes[1])
        hung.go_on()
        # An error is remembered for a second.
        time.sleep(1.5)
        with reading(paths) as processes:
            answers = results(processes, 30)
        assert [answers[str(path)] for path in paths] == sums(volumes[1]["hung"])
        assert zarr.open_group(mount / "unopened" / "em.zarr", mode="r")["s0"][0, 0, 0] == volumes[1]["unopened"].levels[0][0, 0, 0]


@pytest.mark.parametrize("how", ["umount", "SIGTERM"])
def test_a_mount_ends_while_a_filesystem_hangs(volumes, tmp_path, how):
    with scene(volumes, tmp_path, timeout=60) as (mount, hung):
        hung.hang()
        with reading(chunks(mount / "hung" / "em.zarr")) as processes:
            time.sleep(1)
            began = time.monotonic()
            if how == "umount":
                emfs("umount", "--force", mount.path)
            else:
                os.kill(mount.pid, signal.SIGTERM)
            wait_for(lambda: not daemons(mount.path), 15, "the daemon ends")
            print(f"{how}: {time.monotonic() - began:.1f} s")
            assert not is_mounted(mount.path) or how == "SIGTERM"
            answers = results(processes, 15)
        assert all(isinstance(answer, int) for answer in answers.values())


def test_several_filesystems_that_hang_leave_room_for_one_more(volumes, tmp_path):
    root, made = volumes
    with contextlib.ExitStack() as stack:
        hung = [stack.enter_context(bound(root, tmp_path / f"bound-{number}")) for number in range(10)]
        datasets = {f"hung-{number}": at(made["hung"], one.path) for number, one in enumerate(hung)} | {"local": at(made["local"], root)}
        with mounted(tmp_path, configuration(datasets), timeout=30) as mount:
            for number in range(len(hung)):
                os.listdir(mount / f"hung-{number}" / "em.zarr" / "s0")
            before = threads(mount)
            for one in hung:
                one.hang()
            paths = [path for number in range(len(hung)) for path in chunks(mount / f"hung-{number}" / "em.zarr")[:24]]
            try:
                with reading(paths) as processes:
                    time.sleep(2)
                    print(f"{threads(mount)} threads, {before} before")
                    assert before + OF_ALL // 2 < threads(mount) <= before + OF_ALL + OTHERS
                    path = mount / "local" / "em.zarr" / "s0" / "0" / "0" / "0"
                    voxels = np.frombuffer(soon("a local chunk", path.read_bytes), "u1").reshape(64, 64, 64)
                    np.testing.assert_array_equal(voxels, made["local"].levels[0][:64, :64, :64])
                    for one in hung:
                        one.go_on()
                    answers = results(processes, 30)
                for number in range(len(hung)):
                    expected = sums(made["hung"])[:24]
                    assert [answers[str(path)] for path in chunks(mount / f"hung-{number}" / "em.zarr")[:24]] == expected
            finally:
                for one in hung:
                    one.go_on()


def test_a_cache_that_hangs_costs_a_moment_and_no_read(volumes, tmp_path):
    root, made = volumes
    (tmp_path / "kept").mkdir()
    with bound(tmp_path / "kept", tmp_path / "bound") as hung, Origin(root) as origin:
        config = configuration({name: at(made[name], origin.url) for name in ("hung", "cached", "served")} | {"local": at(made["local"], root)})

        def mount_it():
            return mounted(tmp_path, config, timeout=20, cache=hung.path / "cache")

        def whole(mount, name):
            return (mount / name / "em.chunk-64x128x128.zarr" / "s0" / "0" / "0" / "0").read_bytes()

        with mount_it() as mount:
            assert whole(mount, "cached") == made["cached"].levels[0].tobytes()
        asked = origin.count("cached", "s0/0")
        with mount_it() as mount:
            # Opened, with two chunks in memory and all others on the disk alone.
            for name in ("cached", "served", "hung"):
                (mount / name / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()
            assert origin.count("cached", "s0/0") == asked
            before = threads(mount)
            hung.hang()
            with reading(chunks(mount / "hung" / "em.zarr")) as processes:
                for name in ("cached", "served", "local"):
                    assert soon(f"a chunk of {name}", lambda name=name: whole(mount, name)) == made[name].levels[0].tobytes()
                soon("ls", lambda: os.listdir(mount / "local" / "em.zarr"))
                soon("status", mount.status)
                answers = results(processes, 30)
            assert [answers[str(path)] for path in chunks(mount / "hung" / "em.zarr")] == sums(made["hung"])
            # Threads that decoded and have nothing to do go after some seconds; those that hang do not.
            wait_for(lambda: threads(mount) <= before + 2 * OF_ONE + OTHERS, 30, "threads that have nothing to do end")
            assert "does not answer; what it keeps is fetched until it does" in mount.log
            assert origin.count("cached", "s0/0") > asked
            hung.go_on()
            wait_for(lambda: mount.status()["fuse"] is not None, 5, "it answers")
        asked = origin.count("cached", "s0/0")
        with mount_it() as mount:
            assert whole(mount, "cached") == made["cached"].levels[0].tobytes()
        assert origin.count("cached", "s0/0") == asked, "what is kept is used again"


def test_a_mount_begins_and_ends_while_its_cache_hangs(volumes, tmp_path):
    root, made = volumes
    (tmp_path / "kept").mkdir()
    with bound(tmp_path / "kept", tmp_path / "bound") as hung, Origin(root) as origin:
        config = configuration({"served": at(made["served"], origin.url)})
        with mounted(tmp_path, config, timeout=20, cache=hung.path / "cache") as mount:
            (mount / "served" / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()
            hung.hang()
            (mount / "served" / "em.zarr" / "s0" / "0" / "1" / "0").read_bytes()
            began = time.monotonic()
            emfs("umount", "--force", mount.path, check=False)
            wait_for(lambda: not daemons(mount.path), 30, "the daemon ends")
            print(f"ended after {time.monotonic() - began:.1f} s")
            done = emfs("mount", mount.path, "--config", mount.config_file, "--cache-dir", hung.path / "cache", check=False)
            assert done.returncode == 1 and "does not answer" in done.stderr, done.stderr
            hung.go_on()
