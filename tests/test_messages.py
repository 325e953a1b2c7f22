"""Each message that the troubleshooting topic explains, as a user gets it: in the log of a mount, or from a command."""

import dataclasses
import pathlib
import re

import pytest

import expected
import namings
import reference_volumes
from mounting import configuration, mounted, wait_for
from origin import Fault, Origin

MANUAL = pathlib.Path(__file__).parent.parent / "src" / "manual" / "troubleshooting.md"
#: Messages that other tests look for: words of the message, the file, the name of the test.
ELSEWHERE = {
    "is not empty; name an empty directory": ("test_commands.py", "test_a_mountpoint_that_is_not_empty_is_a_sentence"),
    "has died": ("test_daemon.py", "test_a_dead_mount_below_which_something_is_mounted_does_not_give_way"),
    "stays mounted: v was read": ("test_user.py", "test_a_mount_left_dead_gives_way_to_a_new_one_of_the_same_user_and_of_nobody_else"),
    "ERROR.txt": ("test_refusals.py", ""),
    "Transport endpoint is not connected": ("test_going.py", ""),
    "does not answer": ("test_daemon.py", "test_a_mount_where_a_daemon_hangs_is_a_sentence"),
    "is mounted over the emfs at": ("test_daemon.py", "test_a_daemon_that_ends_leaves_what_is_mounted_over_it"),
    "/dev/fuse is missing": ("test_commands.py", "test_mount_without_the_device_is_a_sentence"),
    "fusermount3 is missing": ("test_exec.py", "test_with_neither_a_namespace_nor_fusermount3_it_says_what_is_missing"),
    "there is no namespace either (a user namespace:": ("test_exec.py", "test_with_neither_a_namespace_nor_fusermount3_it_says_what_is_missing"),
    "--allow-other needs the line `user_allow_other`": ("test_user.py", "test_allow_other_that_the_machine_forbids_is_a_sentence"),
    "changed at the origin, remount": ("test_faults.py", ""),
    "is not supported": ("test_sharded_zarr.py", ""),
    "it is there, and ": ("test_other_names.py", "test_every_chunk_is_an_error_with_a_line_that_says_what_is_there_and_what_to_do"),
}
#: Messages of the log: the volume, and what becomes of its origin once something was read.
LOGGED = {
    "failed after": ("zarr", "silent"),
    "access denied (status 403)": ("zarr", "403"),
    "said to be absent, which is not believed": ("zarr", "404"),
    "not at the origin any more": ("tiff", "404"),
    "the body's md5 is": ("zarr", "flipped"),
    "offline: not in the cache": ("zarr", "offline"),
    "cannot be reached": ("zarr", "stopped"),
}


@pytest.mark.parametrize("message", LOGGED)
def test_a_read_that_fails_is_told_in_the_log_as_the_manual_has_it(tmp_path, message):
    name, what = LOGGED[message]
    root = tmp_path / "files"
    root.mkdir()
    volume = {
        "zarr": lambda: reference_volumes.zarr_group(root, "v", shape=(64, 64, 128), dtype="|u1", chunks=(32, 64, 64), levels=1, seed=3),
        "tiff": lambda: reference_volumes.itk(root, "v", (40, 500, 520), "u1", 1),
    }[name]()
    with Origin(root, naming=namings.content_md5 if what == "flipped" else namings.digest) as origin:
        config = configuration({"v": reference_volumes.source_at(volume, origin)}, {"stall": 1.0})
        first, last = (list(expected.chunk_indices(volume.levels[0].shape, volume.chunk[0]))[at] for at in (0, -1))
        with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=3) as mount:
            assert read(mount, first) == expected.chunk_bytes(volume.levels[0], volume.chunk[0], first)
            spoil(origin, what)
            if what != "offline":
                assert_told(mount, last, message)
        if what == "offline":
            with mounted(tmp_path, config, "--offline", cache=tmp_path / "cache", timeout=3) as mount:
                assert_told(mount, last, message)


def read(mount, index):
    return (mount / "v" / "em.zarr" / "s0" / expected.chunk_path(index)).read_bytes()


def spoil(origin, what):
    if what == "stopped":
        origin.stop()
    elif what == "flipped":
        flip = lambda request, answer, _: dataclasses.replace(answer, body=bytes([answer.body[0] ^ 1]) + answer.body[1:])
        origin.fault = lambda request: Fault("altered", alter=flip)
    elif what != "offline":
        origin.fault = lambda request: Fault("status", int(what)) if what.isdigit() else Fault(what)


def assert_told(mount, index, message):
    with pytest.raises(OSError):
        read(mount, index)
    wait_for(lambda: message in mount.log, 5, f"{message!r} in the log")


def rows():
    """The messages of the topic, without what stands for something else."""
    for line in MANUAL.read_text().splitlines():
        if found := re.match(r"\| (?:log: )?(?:``?)(…? ?)(.+?)`+ ", line):
            yield found.group(2).strip()


def test_each_message_of_the_topic_is_produced_by_a_test():
    produced = [*ELSEWHERE, *LOGGED]
    for row in rows():
        assert row == "zarr.open" or any(part.split("`")[0].strip() in row or row.split("…")[0].strip() in part for part in produced), row
    for words, (file, name) in ELSEWHERE.items():
        text = (pathlib.Path(__file__).parent / file).read_text()
        text = text[text.index(f"def {name}(") :].split("\n\n\n", 1)[0] if name else text
        assert words in text, f"{file} does not look for {words!r}"
