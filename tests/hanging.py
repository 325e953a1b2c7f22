"""A filesystem that can be made to hang, as one of a file server that has died: bindfs, stopped."""

import contextlib
import os
import signal
import subprocess

from mounting import is_mounted, wait_for


class Hanging:
    """What a folder holds, seen through a filesystem of its own at `path`."""

    def __init__(self, path, process):
        self.path = path
        self.process = process

    def hang(self):
        """From now on every call to it waits."""
        stop(self.process.pid)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def bound(folder, path):
    """The folder, bound to `path`."""
    path.mkdir(parents=True)
    # What the kernel remembers of it would be answered though it hangs.
    process = subprocess.Popen(["bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0", folder, path])
    try:
        wait_for(lambda: is_mounted(path), 10, "bindfs is mounted")
        yield Hanging(path, process)
    finally:
        process.send_signal(signal.SIGCONT)
        unmount = ["umount", "-l", path] if os.getuid() == 0 else ["fusermount3", "-u", "-z", path]
        subprocess.run(unmount, check=False)
        process.terminate()
        process.wait(20)


def stop(pid):
    """Stops a process. Its threads go on until the first of them has seen the signal, which takes a while on a busy machine."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: state(pid) == "T", 20, f"process {pid} is stopped")


def state(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]
