"""One bad answer for an index of a shard never makes its chunks absent: what one index does not hold, a second one must not hold either."""

import contextlib
import dataclasses
import struct

import pytest
import tensorstore

import archives
import faults
import namings
import reference_volumes
from make_precomputed_fixtures import open_scale, sharding
from mounting import configuration, mounted
from origin import Origin
from watched import REFUSED, Watched, side_by_side

TIMEOUT = 4
SHAPE, CHUNK = (64, 64, 96), [32, 32, 32]
#: Volumes of one scale: one shard or two, its indices as gzip or as they are, and one whose index is too long to be fetched whole.
SHARDINGS = {"gzip": sharding(1, 1, 1), "plain": sharding(1, 1, 1, index="raw"), "long": sharding(0, 13, 0)}


def at(position, change):
    """A fault that changes one byte."""
    def alter(request, answer, origin):
        body = bytearray(answer.body)
        body[position] = change(body[position])
        return faults.with_body(answer, bytes(body))
    return faults.altered(alter)


def empties_an_entry(request, answer, origin):
    """The bit that makes the end of the first minishard's index its beginning; they differ by 32."""
    body = bytearray(answer.body)
    start, end = struct.unpack_from("<QQ", body)
    assert start ^ end == 32 and end - start == 32, "this index is one bit from saying that the minishard is empty"
    struct.pack_into("<Q", body, 8, end ^ 32)
    return faults.with_body(answer, bytes(body))


def equal_ends(request, answer, origin):
    """Every entry says that its minishard is empty."""
    body = bytearray(answer.body)
    for place in range(0, len(body) - 15, 16):
        body[place + 8:place + 16] = body[place:place + 8]
    return faults.with_body(answer, bytes(body))


def is_shard_index(request):
    return request.range == (0, 32)


def is_entry(request):
    """A part of a long index: those are fetched entry by entry."""
    return request.range[1] <= 16 << 13


def is_minishard_of(entry):
    """The range of the index of the first minishard of a shard that is not encoded."""
    return lambda request: request.range == entry


#: Name: the volume, which of the requests for a shard, and what is wrong with the answer.
BAD = {
    "a bit empties a minishard": ("gzip", is_shard_index, faults.altered(empties_an_entry)),
    "all minishards are empty": ("gzip", is_shard_index, faults.altered(equal_ends)),
    "the index is zeros": ("gzip", is_shard_index, faults.MODES["zeros"]),
    "the entry of a long index is zeros": ("long", is_entry, faults.MODES["zeros"]),
    "the entry of a long index is empty": ("long", is_entry, faults.altered(equal_ends)),
    "the entry of a long index is 404": ("long", is_entry, faults.MODES["404"]),
} | {f"a bit of byte {byte} of the identifiers": ("plain", "minishard", at(byte, lambda value: value ^ 4)) for byte in (1, 4, 7, 9, 12, 17, 20)} | {
    "the identifiers are zeros": ("plain", "minishard", faults.altered(lambda request, answer, origin: faults.with_body(answer, bytes(24) + answer.body[24:]))),
    "a minishard is zeros": ("plain", "minishard", faults.MODES["zeros"]),
}


@dataclasses.dataclass
class Written:
    archive: archives.Archive
    minishard: tuple  # range of the first shard's first minishard's index


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("indices"), {}
    for number, (name, how) in enumerate(SHARDINGS.items()):
        voxels = reference_volumes.noise(SHAPE, "u1", number)
        scale = {"key": "s0", "size": SHAPE[::-1], "resolution": [8, 8, 8], "chunk_size": CHUNK, "encoding": "raw", "sharding": how}
        store = open_scale(root / name, scale, "uint8")
        with tensorstore.Transaction() as transaction:
            store.with_transaction(transaction)[..., 0] = voxels.transpose(2, 1, 0)
        source = {"kind": "precomputed", "url": f"{{origin}}/{name}"}
        offset = 16 << how["minishard_bits"]
        start, end = struct.unpack_from("<QQ", (root / name / "s0" / "0.shard").read_bytes())
        archive = archives.Archive(name, source, namings.nginx, voxels, CHUNK, ".shard", sparse=True)
        made[name] = Written(archive, (start + offset, end + offset))
    archives.stamp(root)
    return root, made


@pytest.fixture(scope="module")
def done(written, tmp_path_factory):
    """All bad answers, each in a dataset of its own, by name."""
    root, made = written
    folder = tmp_path_factory.mktemp("mounts")
    with contextlib.ExitStack() as stack:
        watched = {}
        for name, (volume, place, fault) in BAD.items():
            of = made[volume]
            place = is_minishard_of(of.minishard) if place == "minishard" else place
            origin = stack.enter_context(Origin(root, naming=of.archive.naming))
            trigger = faults.Trigger(fault, "once", lambda request, place=place: request.path.endswith("/0.shard") and place(request))
            watched[name] = Watched(name.replace(" ", "-"), origin, of.archive, trigger)
        everyone = list(watched.values())
        config = configuration({each.name: each.archive.at(each.origin) for each in everyone}, {"stall": 60.0})
        with mounted(folder, config, cache=folder / "cache", timeout=TIMEOUT) as mount:
            side_by_side(lambda each: each.read_while_on(mount, each.archive.indices()), everyone)
            side_by_side(lambda each: each.recover(mount, "same mount"), everyone)
        with mounted(folder, config, cache=folder / "cache", timeout=TIMEOUT) as mount:
            side_by_side(lambda each: each.recover(mount, "after a remount"), everyone)
        yield watched


@pytest.mark.parametrize("name", BAD)
def test_one_bad_answer_for_an_index_never_makes_chunks_absent(done, name):
    each = done[name]
    assert each.trigger.given == 1, f"the answer was given {each.trigger.given} times: {each.origin.requests}"
    assert set(each.seen) <= {"right"} | REFUSED and not each.trouble, str(each)
