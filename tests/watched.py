"""A dataset whose origin misbehaves for a while, what was read of it meanwhile, and whether it is right afterwards."""

import collections
import concurrent.futures
import time

import expected
from cached_scene import read
from mounting import wait_for

#: What a read may end with.
REFUSED = {"EIO", "EACCES"}
#: Until all must be right again: 20 s, and what a busy machine takes to read some dozen volumes.
RECOVERY = 20 + 15


class Watched:
    """`name`: of the dataset below a mount. `trigger`: becomes the fault of the origin."""

    def __init__(self, name, origin, archive, trigger):
        self.name, self.origin, self.archive, self.trigger = name, origin, archive, trigger
        origin.fault = trigger
        self.seen = collections.Counter()  # while the fault was on
        self.trouble = []
        self.notes = []

    def look(self, mount, index):
        """What is read of a chunk, in a word."""
        found = read(mount / self.name / "em.zarr" / "s0" / expected.chunk_path(index))
        if isinstance(found, str):
            return found
        if self.archive.is_right(index, found):
            return "right"
        return "wrong" if any(found) else "zeros"

    def describe(self, mount):
        wait_for(lambda: isinstance(read(mount / self.name / "em.zarr" / "s0" / ".zarray"), bytes), RECOVERY, f"{self.name}: its description")

    def read_while_on(self, mount, indices):
        self.trigger.on = True
        side_by_side(lambda index: self.seen.update([self.look(mount, index)]), indices)

    def recover(self, mount, what, allowed=()):
        """Reads all until it is right, and notes how it ended."""
        self.trigger.on = False
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

    def __str__(self):
        read = ", ".join(f"{count} {word}" for word, count in sorted(self.seen.items()))
        return f"{self.name:44} given {self.trigger.given:3}  read {read:24} {'; '.join(self.notes):60} {'; '.join(self.trouble) or 'well'}"


def side_by_side(function, items):
    """Runs `function(item)` for all at the same time, because most of it is waiting."""
    with concurrent.futures.ThreadPoolExecutor(len(items)) as pool:
        for future in [pool.submit(function, item) for item in items]:
            future.result()
