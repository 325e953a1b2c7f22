"""Whatever is wrong with answers: each read gives the right bytes or an error, and all is right once the origin is.

Modes × archives × {once, sometimes, always} × {on voxels, on everything}; a tenth of the cells unless `--long` is given.
"""

import contextlib
import dataclasses
import itertools
import random
import time

import pytest

import archives
from faults import LATER, MODES, Trigger
from mounting import configuration, mounted
from origin import Origin
from watched import REFUSED, Watched, side_by_side

TIMEOUT = 4  # of the mounts here, in seconds
AT_A_TIME = 80  # cells of one mount
ARCHIVES = ["imagej", "dm", "itk", "zarr", "raw", "jpeg"]
OFTEN = ["once", "sometimes", "always"]
WHERE = ["voxels", "everything"]
#: Modes by which an origin says that something is not there.
ABSENT = {"404", "403", "redirect-to-404"}
#: Modes in which a read may take as long as the mount lets it.
SLOW = {"429", "429-wait", "500", "502", "503", "503-wait", "drip", "interim-garbage", "redirect-refused", "reset", "silent", "slow-head", "stall"}
#: Modes by which an object becomes another one, as far as anybody can see: an error until a remount, says the contract.
CHANGED = {"other-etag", "other-object", "older", "total", "total-later"}


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    mode: str
    archive: str
    often: str
    where: str

    def __str__(self):
        return f"{self.mode}-{self.archive}-{self.often}-{self.where}"


def seen_before(cell):
    """Whether the fault concerns an object of which the mount has a right answer already: the one file of a stack."""
    return cell.where == "voxels" and cell.archive in ("imagej", "itk")


def became_another(cell):
    """Whether the object, as far as anybody can see, is another one once the fault is off."""
    # One lie about a length is found out by the next answer.
    return cell.mode in CHANGED and not seen_before(cell) and not (cell.mode.startswith("total") and cell.often == "once")


def told(cell):
    """Why the bytes of this cell may be other ones: nothing that the origin says contradicts them. None: they may not."""
    whole_and_summed = cell.archive == "zarr"  # chunks come whole and their ETag is their MD5
    if cell.mode in ("flip", "other-body") and not whole_and_summed:
        return "nobody states a checksum of a part"
    if cell.mode == "zeros" and cell.often != "once" and cell.archive not in ("zarr", "jpeg"):
        return "voxels may be zeros, and were so twice"
    if cell.mode == "other-object" and not seen_before(cell):
        return "another object with a name of its own, and nothing was known of the right one"
    if cell.mode == "older" and not seen_before(cell):
        return "that is how the object was, and nothing was known of a newer one"
    return None


def may_be_absent(cell):
    """Whether absence is what the origin says, and may be believed while it is counted. A shard's index of zeros says so too."""
    if cell.mode not in (ABSENT | {"zeros"} if cell.archive == "jpeg" else ABSENT) or cell.often == "once" or cell.archive not in ("zarr", "raw", "jpeg"):
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


class Run(Watched):
    """One cell."""

    def __init__(self, cell, origin, archive):
        concerns = (lambda request: archive.holds_voxels(request.path)) if cell.where == "voxels" else (lambda request: True)
        super().__init__(str(cell), origin, archive, Trigger(MODES[cell.mode], cell.often, concerns, str(cell), cell.mode in LATER))
        self.cell = cell

    def begin(self, mount):
        if self.cell.where == "voxels":
            self.describe(mount)
        indices = self.archive.indices()
        self.read_while_on(mount, [indices[-1], indices[len(indices) // 2], indices[0]])

    def judge(self, absent):
        """What must not have been read while the fault was on."""
        for word in self.seen:
            if word == "right" or word in REFUSED:
                continue
            if word == "zeros" and may_be_absent(self.cell):
                if not absent.get(self.name):
                    self.trouble.append("zeros that are not counted as absent")
            elif not (told(self.cell) and word in ("zeros", "wrong")):
                self.trouble.append(f"{word} while the fault was on")
        if told(self.cell):
            self.notes.append(f"told: {told(self.cell)}")

    def recover_at_once(self, mount):
        self.trigger.on = False
        if told(self.cell):
            return
        if became_another(self.cell):
            allowed = REFUSED
        else:
            # The kernel keeps what it was given, and what was believed to be absent is so for minutes.
            allowed = {"zeros"} if may_be_absent(self.cell) else ()
        self.recover(mount, "same mount", allowed)

    def recover_later(self, mount):
        if not told(self.cell):
            self.recover(mount, "after a remount")

    def recover_asked(self, mount):
        if self.cell.mode in ("other-object", "older"):
            self.recover(mount, "after --revalidate")


def run(cells, files, folder):
    """Runs cells side by side; by cell."""
    root, made = files
    with contextlib.ExitStack() as stack:
        runs = [Run(cell, stack.enter_context(Origin(root, naming=made[cell.archive].naming)), made[cell.archive]) for cell in cells]
        config = configuration({str(each.cell): each.archive.at(each.origin) for each in runs}, {"stall": 1.0})
        cache = folder / "cache"
        with mounted(folder, config, cache=cache, timeout=TIMEOUT) as mount:
            side_by_side(lambda each: each.begin(mount), runs)
            absent = mount.status().get("absent", {})
            for each in runs:
                each.judge(absent)
            side_by_side(lambda each: each.recover_at_once(mount), runs)
        time.sleep(1.1)  # longer than absences are believed below
        with mounted(folder, config, "--absent-ttl", "1", cache=cache, timeout=TIMEOUT) as mount:
            side_by_side(lambda each: each.recover_later(mount), runs)
        with mounted(folder, config, "--revalidate", cache=cache, timeout=TIMEOUT) as mount:
            side_by_side(lambda each: each.recover_asked(mount), runs)
    return {each.cell: each for each in runs}


@pytest.fixture(scope="module")
def table(files, tmp_path_factory, request, long):
    """All cells that were chosen, run; the table is written to a file, and printed at --long."""
    cells = [item.callspec.params["cell"] for item in request.session.items if "cell" in getattr(getattr(item, "callspec", None), "params", {})]
    # Those that wait do so together, and the others need not wait for them.
    cells.sort(key=lambda cell: (cell.mode not in SLOW, cell.often != "always"))
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
