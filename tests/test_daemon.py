"""The daemon among other programs: mounts over it, signals, a stop, locks, and other environments than its own."""

import os
import pathlib
import signal
import subprocess

import pytest

from mounting import configuration, daemons, emfs, is_mounted, mounted, wait_for

CONFIG = configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}})


@pytest.fixture
def covered(tmp_path):
    """A mount with a tmpfs over it."""
    if os.getuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    with mounted(tmp_path, CONFIG) as mount:
        subprocess.run(["mount", "-t", "tmpfs", "upper", mount.path], check=True)
        try:
            yield mount
        finally:
            while uppermost(mount.path) == "tmpfs":
                subprocess.run(["umount", mount.path], check=True)


def uppermost(path):
    """The type of the filesystem that was mounted last at `path`."""
    lines = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = [fields[fields.index("-") + 1] for fields in lines if fields[4] == str(path)]
    return kinds[-1] if kinds else None


def test_a_daemon_that_ends_leaves_what_is_mounted_over_it(covered):
    (covered / "theirs").write_text("x")
    os.kill(covered.pid, signal.SIGTERM)
    wait_for(lambda: not daemons(covered.path), 10, "the daemon's end")
    assert uppermost(covered.path) == "tmpfs" and (covered / "theirs").read_text() == "x"
    lines = [line for line in covered.log.splitlines() if "tmpfs" in line]
    assert len(lines) == 1 and f"`umount {covered.path}`" in lines[0] and f"`emfs umount {covered.path}`" in lines[0], covered.log
    subprocess.run(["umount", covered.path], check=True)
    assert is_mounted(covered.path), "dead, until it is unmounted, too"
    covered.unmount()
    assert not is_mounted(covered.path)


@pytest.mark.parametrize("command", ["status", "umount"])
def test_a_command_says_what_lies_over_the_mount_and_that_it_goes_first(covered, command):
    done = emfs(command, covered.path, check=False)
    assert done.returncode == 1 and "upper (tmpfs)" in done.stderr and f"`umount {covered.path}`" in done.stderr, done.stderr
    assert "over the emfs" in done.stderr and uppermost(covered.path) == "tmpfs"
