"""Whatever is wrong with answers: each read gives the right bytes or an error, and all is right once the origin is.

Modes × archives × {once, sometimes, always} × {on voxels, on everything}; a tenth of the cells unless `--long` is given.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import random
import time

import pytest

import archives
import expected
from faults import LATER, MODES, Trigger
from kept import read
from mounting import configuration, mounted, wait_for
from origin import Origin

TIMEOUT = 4  # of the mounts here, in seconds
#: Until all must be right again: 20 s, and what a busy machine takes to read some dozen volumes.
RECOVERY = 20 + 15
AT_A_TIME = 48  # cells of one mount
ARCHIVES = ["imagej", "dm", "itk", "zarr", "raw", "jpeg"]
OFTEN = ["once", "sometimes", "always"]
WHERE = ["voxels", "everything"]
REFUSED = {"EIO", "EACCES"}
#: Modes by which an origin says that something is not there.
ABSENT = {"404", "410", "403", "redirect-to-404"}
#: Modes by which an object becomes another one, as far as anybody can see: an error until a remount, says the contract.
CHANGED = {"other-etag", "other-object", "older"}


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    mode: str
    archive: str
    often: str
    where: str

    def __str__(self):
        return f"{self.mode}-{self.archive}-{self.often}-{self.where}"


def told(cell):
    """Why the bytes of this cell may be other ones: nothing that the origin says contradicts them. None: they may not."""
    whole_and_summed = cell.archive == "zarr"  # chunks come whole and their ETag is their MD5
    if cell.mode in ("flip", "other-body") and not whole_and_summed:
        return "nobody states a checksum of a part"
    if cell.mode == "zeros" and cell.often != "once" and not whole_and_summed:
        return "voxels may be zeros, and were so twice"
    if cell.mode == "other-object":
        if cell.where == "everything" or cell.archive in ("zarr", "raw", "jpeg"):
            return "another object with the name of that one, seen for the first time"
    if cell.mode == "older":
        if cell.where == "everything" or cell.archive in ("zarr", "raw", "jpeg"):
            return "that is how the object was"
    return None


def may_be_absent(cell):
    """Whether absence is what the origin says, and may be believed while it is counted."""
    if cell.mode not in ABSENT or cell.often == "once" or cell.archive not in ("zarr", "raw", "jpeg"):
        return False
    # Where all is gone the documents are gone too.
    return cell.where == "voxels" or cell.often == "sometimes"


EVERY_CELL = [Cell(*cell) for cell in itertools.product(MODES, ARCHIVES, OFTEN, WHERE)]


def some_cells():
    """Three cells of each mode, the same each time."""
    by_mode = itertools.groupby(EVERY_CELL, lambda cell: cell.mode)
    return [cell for mode, cells in by_mode for cell in random.Random(mode).sample(list(cells), 3)]


def pytest_generate_tests(metafunc):
    if "cell" in metafunc.fixturenames:
        cells = EVERY_CELL if metafunc.config.getoption("--long") else some_cells()
        metafunc.parametrize("cell", cells, ids=str)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return archives.write_with_older(tmp_path_factory.mktemp("archives"))


class Run:
    """One cell: an origin with its fault, and what was read of it."""

    def __init__(self, cell, origin, archive):
        self.cell, self.origin, self.archive = cell, origin, archive
        concerns = (lambda request: archive.holds_voxels(request.path)) if cell.where == "voxels" else (lambda request: True)
        self.trigger = Trigger(MODES[cell.mode], cell.often, concerns, str(cell), cell.mode in LATER)
        origin.fault = self.trigger
        self.seen = collections.Counter()  # while the fault was on
        self.trouble = []
        self.notes = []

    def look(self, mount, index):
        """What is read of a chunk, in a word."""
        found = read(mount / str(self.cell) / "em.zarr" / "s0" / expected.chunk_path(index))
        if isinstance(found, str):
            return found
        if self.archive.is_right(index, found):
            return "right"
        return "wrong" if any(found) else "zeros"

    def begin(self, mount):
        if self.cell.where == "voxels":
            wait_for(lambda: isinstance(read(mount / str(self.cell) / "em.zarr" / "s0" / ".zarray"), bytes), RECOVERY, f"{self.cell}: its description")
        self.trigger.on = True
        indices = self.archive.indices()
        for index in (indices[-1], indices[0]):
            self.seen[self.look(mount, index)] += 1

    def judge(self, absent):
        """What must not have been read while the fault was on."""
        for word in self.seen:
            if word == "right" or word in REFUSED:
                continue
            if word == "zeros" and may_be_absent(self.cell):
                if not absent.get(str(self.cell)):
                    self.trouble.append("zeros that are not counted as absent")
            elif not (told(self.cell) and word in ("zeros", "wrong")):
                self.trouble.append(f"{word} while the fault was on")

    def recover(self, mount, what, allowed=()):
        """Reads all until it is right, and says how it ended."""
        deadline = time.monotonic() + RECOVERY
        left = self.archive.indices()
        while True:
            words = {index: self.look(mount, index) for index in left}
            left = [index for index, word in words.items() if word != "right" and word not in allowed]
            wrong = {words[index] for index in left} - REFUSED
            if not left or wrong or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if left:
            self.trouble.append(f"{what}: {dict(collections.Counter(words[index] for index in left))} of {len(self.archive.indices())}")
        self.notes.append(f"{what}: {'right' if not left else 'not right'}")

    def recover_at_once(self, mount):
        self.trigger.on = False
        if told(self.cell):
            return
        if self.cell.mode in CHANGED and self.cell.where == "everything":
            allowed = REFUSED
        else:
            # The kernel keeps what it was given, and what was believed to be absent is so for minutes.
            allowed = {"zeros"} if may_be_absent(self.cell) else ()
        self.recover(mount, "same mount", allowed)

    def recover_later(self, mount):
        if not told(self.cell):
            self.recover(mount, "after a remount")

    def recover_asked(self, mount):
        if self.cell.mode in ("other-object", "older") and self.cell.archive != "dm":
            self.recover(mount, "after --revalidate")

    def __str__(self):
        read = ", ".join(f"{count} {word}" for word, count in sorted(self.seen.items()))
        outcome = "; ".join(self.trouble) or ("told: " + told(self.cell) if told(self.cell) else "well")
        return f"{str(self.cell):44} given {self.trigger.given:3}  read {read:24} {'; '.join(self.notes):44} {outcome}"


def run(cells, files, folder):
    """Runs cells side by side; by cell."""
    root, made = files
    with contextlib.ExitStack() as stack:
        runs = [Run(cell, stack.enter_context(Origin(root, naming=made[cell.archive].naming)), made[cell.archive]) for cell in cells]
        config = configuration({str(each.cell): each.archive.at(each.origin) for each in runs}, {"stall": 1.0})
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(len(runs)))

        def all_at_once(step, mount):
            for future in [pool.submit(step, each, mount) for each in runs]:
                future.result()

        cache = folder / "cache"
        with mounted(folder, config, cache=cache, timeout=TIMEOUT) as mount:
            all_at_once(Run.begin, mount)
            absent = mount.status().get("absent", {})
            for each in runs:
                each.judge(absent)
            all_at_once(Run.recover_at_once, mount)
        time.sleep(1.1)  # longer than absences are believed below
        with mounted(folder, config, "--absent-ttl", "1", cache=cache, timeout=TIMEOUT) as mount:
            all_at_once(Run.recover_later, mount)
        with mounted(folder, config, "--revalidate", cache=cache, timeout=TIMEOUT) as mount:
            all_at_once(Run.recover_asked, mount)
    return {each.cell: each for each in runs}


@pytest.fixture(scope="module")
def table(files, tmp_path_factory, request, long):
    """All cells that were chosen, run; the table is written to a file, and printed at --long."""
    cells = [item.callspec.params["cell"] for item in request.session.items if "cell" in getattr(getattr(item, "callspec", None), "params", {})]
    # Neighbours have the same mode, and those that wait would all wait in one mount.
    random.Random(1).shuffle(cells)
    done = {}
    for number, start in enumerate(range(0, len(cells), AT_A_TIME)):
        done |= run(cells[start:start + AT_A_TIME], files, tmp_path_factory.mktemp(f"mount-{number}"))
    text = "\n".join(str(done[cell]) for cell in sorted(done))
    (tmp_path_factory.mktemp("table") / "matrix.txt").write_text(text + "\n")
    if long:
        with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
            print("\n" + text)
    return done


def test_the_tenth_that_is_run_each_time_has_every_mode_archive_frequency_and_place():
    chosen = some_cells()
    for field, values in (("mode", MODES), ("archive", ARCHIVES), ("often", OFTEN), ("where", WHERE)):
        assert {getattr(cell, field) for cell in chosen} == set(values), field


def test_no_byte_is_wrong_and_all_is_right_again(cell, table):
    assert not table[cell].trouble, str(table[cell])
