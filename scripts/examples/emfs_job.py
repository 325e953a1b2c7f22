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
    """The rows of a list of `emfs sample`, CSV or JSON. A list that names nothing ends the program, as does a row that is no place."""
    text = pathlib.Path(path).read_text("utf-8-sig")
    if text.lstrip().startswith("{"):
        found = json.loads(text)["samples"]
    else:
        found = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    if not found:
        sys.exit(f"{path}: the list names nothing")
    for number, row in enumerate(found):
        for key, least in (("z", 0), ("y", 0), ("x", 0), ("dz", 1), ("dy", 1), ("dx", 1)):
            cell = str(row.get(key))
            if not cell.isdecimal() or int(cell) < least:
                sys.exit(f"{path}: row {number}: {key} is {cell}, which is no number of voxels from {least} on")
    return found


def box(row, shape=None):
    """The voxels of a row. With the `shape` of its array a row that does not lie in it ends the program, of which numpy's slices would
    give what there is."""
    sides = tuple(slice(int(row[axis]), int(row[axis]) + int(row["d" + axis])) for axis in "zyx")
    if shape is not None and any(side.stop > extent for side, extent in zip(sides, shape)):
        place, extents = (" x ".join(map(str, of)) for of in ([f"{side.start}-{side.stop}" for side in sides], shape))
        sys.exit(f"{row['store']}/{row['level']}: the place {place} does not lie in its {extents} voxels")
    return sides


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
