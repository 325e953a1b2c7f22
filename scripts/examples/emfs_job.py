"""What a job on a mount asks of emfs: the rows of its list, and at its end whether all that it read was there. Made to be copied.

    with all_read(): ...          # ends the program with 1 where a read failed in there, or met voxels that the archive does not have
"""

import contextlib
import csv
import json
import os
import pathlib
import subprocess
import sys


def emfs(*arguments):
    return subprocess.run([os.environ.get("EMFS_BIN", "emfs"), *arguments], capture_output=True, text=True)


def rows(path):
    """The rows of a list of `emfs sample`, CSV or JSON."""
    text = pathlib.Path(path).read_text("utf-8-sig")
    if text.lstrip().startswith("{"):
        return json.loads(text)["samples"]
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def box(row):
    return tuple(slice(int(row[axis]), int(row[axis]) + int(row["d" + axis])) for axis in "zyx")


@contextlib.contextmanager
def all_read(allow_absent=False):
    """Absent voxels show as the fill value, which nobody should train on unnoticed; `allow_absent` takes them for data."""
    mount = os.environ["EMFS_MOUNT"]
    mark = emfs("mark", mount).stdout.strip()
    yield
    done = emfs("status", mount, "--failed", "--absent", "--since", mark, "--json")
    ledger = json.loads(done.stdout or "{}")
    if done.returncode or (ledger["absent"]["count"] and not allow_absent):
        lines = [f"{what}: {entry['line']}" for what in ("failed", "absent") for entry in ledger.get(what, {}).get("entries", [])]
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {'; '.join(lines[:5]) or done.stderr}")
