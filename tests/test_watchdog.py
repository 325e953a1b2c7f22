"""A daemon that answers nothing is ended by its guardian, and whoever waits for it gets an error."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from hanging import stop
from mounting import configuration, daemons, emfs, is_mounted, mounted, wait_for

PATIENCE = 4

#: Stops threads of a process as a debugger does, and holds them until it is killed.
STOPPER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for thread in map(int, sys.argv[1:]):
    assert libc.ptrace(16, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(thread, 0x40000000)
print("stopped", flush=True)
time.sleep(600)
"""


CONFIG = configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}})


def answering(pid):
    """The threads of a daemon that take the kernel's questions."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return [task.name for task in tasks if (task / "comm").read_text().startswith("fuser-")]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_daemon_that_answers_nothing_is_ended_and_who_waits_for_it_gets_an_error(tmp_path):
    with mounted(tmp_path, CONFIG, "--watchdog", PATIENCE) as mount:
        [daemon] = daemons(mount.path)
        assert os.listdir(mount.path)
        stopper = subprocess.Popen([sys.executable, "-c", STOPPER, *answering(daemon)], stdout=subprocess.PIPE)
        try:
            assert stopper.stdout.readline() == b"stopped\n"
            with pytest.raises(OSError) as error:
                os.listdir(mount.path / "v" / "em.zarr")
            assert error.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
            wait_for(lambda: not daemons(mount.path), 15, "the end of the daemon")
        finally:
            stopper.kill()
            stopper.wait()
        assert is_mounted(mount.path)
        emfs("umount", mount.path)
        assert not is_mounted(mount.path)


def test_a_daemon_that_is_stopped_for_longer_is_left_alone(tmp_path):
    with mounted(tmp_path, CONFIG, "--watchdog", PATIENCE) as mount:
        [daemon] = daemons(mount.path)
        stop(daemon)
        time.sleep(4 * PATIENCE)
        os.kill(daemon, signal.SIGCONT)
        assert "v" in os.listdir(mount.path)
        assert daemons(mount.path) == [daemon]
