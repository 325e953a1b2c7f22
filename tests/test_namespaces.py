"""Copies of a mount in other mount namespaces, as `emfs exec` and containers make them where `/` has no mount propagation."""

import os
import signal
import subprocess
import sys

import pytest

import reference_volumes
from mounting import BINARY, configuration, daemons, emfs, guardian, is_mounted, is_running, mounted, wait_for
from origin import Origin

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="a mount namespace needs root")

#: For each line it gets, one of what it sees: what `stat` and then `read` say of the chunk of that name.
COPY = """
import os, sys
print("ready", flush=True)
for line in sys.stdin:
    path, said = os.path.join(sys.argv[1], line.strip()), []
    for ask in (os.stat, lambda path: open(path, "rb").read()):
        try:
            ask(path)
            said.append("right")
        except OSError as error:
            said.append(error.strerror)
    print(*said, sep=", ", flush=True)
"""


@pytest.fixture
def copied(tmp_path):
    """A mount with a copy in the mount namespace of another process, which gets nothing of what is unmounted outside."""
    with Origin(tmp_path) as origin:
        reference_volumes.one_bright_voxel(tmp_path / "v.tif", (4, 32, 600), (1, 2, 3), 250, "u1")
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [8, 8, 8]}})
        with mounted(tmp_path / "m", config, timeout=20) as mount:
            there = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", COPY, str(mount / "v" / "em.zarr" / "s0")]
            with subprocess.Popen(there, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                try:
                    assert process.stdout.readline() == "ready\n"
                    yield mount, process
                finally:
                    process.kill()


def seen_in_the_copy(process, chunk):
    process.stdin.write(f"{chunk}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_umount_leaves_the_daemon_to_another_mount_namespace_and_names_a_process_there(copied):
    mount, process = copied
    done = emfs("umount", mount.path, timeout=10)
    assert f"{mount.path} is unmounted" in done.stderr and f"process {process.pid}," in done.stderr, done.stderr
    assert "goes on for it" in done.stderr and "kill" not in done.stderr, done.stderr
    assert not is_mounted(mount.path) and mount.alive()
    assert seen_in_the_copy(process, "0/0/0") == "right, right"
    process.kill()
    wait_for(lambda: not daemons(mount.path), 10, "the daemon's end with the last process of the namespace")


@pytest.mark.parametrize("how", ["umount --force", "umount, SIGTERM", "SIGTERM", "SIGTERM under readers", "SIGKILL"])
def test_a_copy_in_another_mount_namespace_says_that_chunks_are_there_and_fails_them(copied, how):
    """A dead mount, where `stat` fails, too, is a volume of zeros to zarr 2."""
    mount, process = copied
    guarding = guardian(mount.pid)
    if "readers" in how:
        assert seen_in_the_copy(process, "0/0/0") == "right, right"
    if "--force" in how:
        done = emfs("umount", "--force", mount.path, timeout=10)
        assert f"process {process.pid}," in done.stderr and "fails from now on" in done.stderr, done.stderr
        assert not daemons(mount.path)
    elif "umount" in how:
        emfs("umount", mount.path, timeout=10)
    if "SIG" in how:
        os.kill(mount.pid, signal.SIGKILL if how == "SIGKILL" else signal.SIGTERM)
        wait_for(lambda: not daemons(mount.path), 10, "the daemon's end")
    assert seen_in_the_copy(process, "0/0/1") == "right, Transport endpoint is not connected"
    process.kill()
    if not is_mounted(mount.path):
        wait_for(lambda: not is_running(guarding), 10, "the guardian's end with the last who has the mount")


@pytest.mark.parametrize("within", ["unshare", "exec"])
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["kindly", "by force"])
def test_whoever_unmounts_a_copy_ends_nothing_but_that(tmp_path, force, within):
    with Origin(tmp_path) as origin:
        reference_volumes.one_bright_voxel(tmp_path / "v.tif", (4, 32, 600), (1, 2, 3), 250, "u1")
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [8, 8, 8]}})
        with mounted(tmp_path / "m", config, timeout=20) as mount:
            inside = ["unshare", "--mount", "--propagation", "private"]
            if within == "exec":
                inside = [BINARY, "exec", "--config", mount.config_file, "--cache-size", "0", "--"]
            done = subprocess.run([*inside, BINARY, "umount", *force, mount.path], capture_output=True, text=True, timeout=30)
            assert done.returncode == 0 and f"goes on where its daemon runs, at {mount.path}" in done.stderr, done.stderr
            assert is_mounted(mount.path) and mount.alive()
            assert len((mount / "v" / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()) > 0
