"""One silent dataset costs the others nothing: neither those that are read nor those that are opened."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import threading
import time

import numpy as np
import pytest
import zarr

import reference_volumes
from mounting import configuration, mounted, wait_for
from origin import Fault, Origin

#: Answers come in milliseconds. This is for a machine that does much else; what waits for the silent origin waits longer.
SOON = 6
TIMEOUT = 60
#: Beside the budget: the program and documents.
OVERHEAD = 100 << 20
PENDING = 1000
DOCUMENTS = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


def is_of_voxels(request):
    return not request.path.endswith(DOCUMENTS)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """A folder with two volumes on a server that falls silent, one that is read from there before, and two in files."""
    root = tmp_path_factory.mktemp("availability")
    made = {name: reference_volumes.zarr_group(root, name, shape=shape, dtype="u1", chunks=(64, 64, 64), levels=1, seed=seed)
            for seed, (name, shape) in enumerate({
                "silent": (128, 640, 640), "twin": (128, 640, 640), "cached": (64, 256, 256), "local": (64, 256, 256), "later": (64, 128, 128)}.items())}
    return root, made


def at(volume, place):
    return json.loads(json.dumps(volume.source).replace("{origin}", place))


class Readers:
    """Threads that each wait for the first bytes of a file."""

    def __init__(self, paths):
        self.threads = [threading.Thread(target=self.read, args=(path,), daemon=True) for path in paths]
        for thread in self.threads:
            thread.start()

    def read(self, path):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.pread(descriptor, 4096, 0)
            finally:
                os.close(descriptor)

    def waiting(self):
        return sum(thread.is_alive() for thread in self.threads)

    def join(self):
        deadline = time.monotonic() + 20
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
        assert self.waiting() == 0


def chunks(store, shape, chunk):
    counts = [range(-(-extent // side)) for extent, side in zip(shape, chunk, strict=True)]
    return [store / "s0" / "/".join(map(str, index)) for index in itertools.product(*counts)]


def pending(mount, shape):
    """Files of the silent volumes, of every kind of view in turn."""
    kinds = []
    for name in ("silent", "twin"):
        dataset = mount / name
        kinds += [
            chunks(dataset / "em.chunk-256.zarr", shape, (256, 256, 256)),
            chunks(dataset / "em.chunk-128.v3.zarr", shape, (128, 128, 128)),
            chunks(dataset / "em.zarr", shape, (64, 64, 64)),
            chunks(dataset / "em.crop-z5-101_y7-601_x9-629.chunk-32.zarr", (96, 594, 620), (32, 32, 32)),
        ]
    mixed = [path for group in itertools.zip_longest(*kinds) for path in group if path]
    return [v3(path) for path in mixed][:PENDING]


def v3(path):
    """The chunk's file in a store of version 3, where it is in one."""
    level = path.parents[2]
    return level / "c" / path.relative_to(level) if level.parent.name.endswith(".v3.zarr") else path


def soon(what, action):
    """The result of `action`, which must be there soon."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        result = pool.submit(action).result(timeout=TIMEOUT / 2)
        took = time.monotonic() - began
    print(f"{what}: {took:.2f} s")
    assert took < SOON, f"{what} took {took:.1f} s"
    return result


def voxels(path, index=(0, 0, 0), side=64):
    return np.frombuffer((path / "/".join(map(str, index))).read_bytes(), "u1").reshape(side, side, side)


@pytest.mark.parametrize("memory", ["1G", "64M"])
def test_a_silent_host_costs_the_others_nothing(volumes, tmp_path, memory):
    root, made = volumes
    with Origin(root) as origin:
        sources = {name: at(made[name], origin.url) for name in ("silent", "twin", "cached")}
        sources |= {name: at(made[name], str(root)) for name in ("local", "later")}
        with mounted(tmp_path, configuration(sources), memory=memory, timeout=TIMEOUT, cache=tmp_path / "cache") as mount:
            for name in ("silent", "twin", "local"):
                os.listdir(mount / name / "em.zarr" / "s0")
            # Of some chunks a block is there, so that they have memory while they wait for the others.
            for y, x in itertools.product((0, 4, 8), repeat=2):
                assert voxels(mount / "silent" / "em.zarr" / "s0", (0, y, x)).shape
            cached = made["cached"].levels[0]
            for index in itertools.product(range(1), range(4), range(4)):
                voxels(mount / "cached" / "em.zarr" / "s0", index)
            origin.fault = lambda request: Fault("silent")
            readers = Readers(pending(mount, (128, 640, 640)))
            time.sleep(2)
            assert readers.waiting() > 0.9 * PENDING
            local = made["local"].levels[0]
            soon("a local chunk", lambda: np.testing.assert_array_equal(voxels(mount / "local" / "em.zarr" / "s0"), local[:64, :64, :64]))
            whole = soon("a large local chunk", (mount / "local" / "em.chunk-64x256x256.zarr" / "s0" / "0" / "0" / "0").read_bytes)
            np.testing.assert_array_equal(np.frombuffer(whole, "u1").reshape(64, 256, 256), local)
            kept = soon("a cached chunk", (mount / "cached" / "em.chunk-64x256x256.zarr" / "s0" / "0" / "0" / "0").read_bytes)
            np.testing.assert_array_equal(np.frombuffer(kept, "u1").reshape(64, 256, 256), cached)
            first = soon("a cached chunk of the silent one", lambda: voxels(mount / "silent" / "em.v3.zarr" / "s0" / "c"))
            np.testing.assert_array_equal(first, made["silent"].levels[0][:64, :64, :64])
            for path in ("", "silent", "silent/em.zarr/s0", "local/em.zarr", "later"):
                soon(f"ls {path}", lambda path=path: os.listdir(mount / path))
            soon("opening", lambda: zarr.open_group(mount / "later" / "em.zarr", mode="r")["s0"][:64, :64, :64])
            assert mount.status()["memory"]["used"] <= (64 << 20 if memory == "64M" else 1 << 30)
            if memory == "64M":
                assert mount.rss() <= (64 << 20) + OVERHEAD, f"{mount.rss() >> 20} MiB resident"
            assert readers.waiting() > 0.9 * PENDING, "they waited for nothing"
            # A mount that goes ends who waits for it.
            mount.unmount()
        readers.join()


@pytest.mark.parametrize("memory", ["64M", "128M"])
@pytest.mark.parametrize("kind", ["blocks", "chunks"])
def test_a_host_that_falls_silent_in_a_large_read_costs_the_others_nothing(tmp_path, volumes, kind, memory):
    """Blocks, or chunks of a view, that are more than half of the memory."""
    root, made = volumes
    large = reference_volumes.zarr_group(
        tmp_path, "large", shape=(256, 256, 512), dtype="u1", chunks=(256, 256, 256) if kind == "blocks" else (64, 64, 64), levels=1, seed=11)
    with Origin(tmp_path) as silent, Origin(tmp_path) as other, Origin(root) as third:
        sources = {"silent": at(large, silent.url), "large": at(large, other.url),
                   "small": at(made["cached"], third.url), "local": at(made["local"], str(root))}
        with mounted(tmp_path, configuration(sources), memory=memory, timeout=TIMEOUT) as mount:
            for name in sources:
                os.listdir(mount / name / "em.zarr" / "s0")
            view = "em.zarr" if kind == "blocks" else "em.chunk-256x256x512.zarr"
            os.listdir(mount / "silent" / view / "s0"), os.listdir(mount / "large" / view / "s0")
            silent.fault = lambda request: None if kind == "chunks" and request.path.endswith("/0/0/0") else Fault("silent")
            readers = Readers([mount / "silent" / view / "s0" / "0" / "0" / "0"])
            time.sleep(1)
            for name in ("local", "small"):
                found = soon(f"a {name} chunk", lambda name=name: voxels(mount / name / "em.zarr" / "s0"))
                np.testing.assert_array_equal(found, made["local" if name == "local" else "cached"].levels[0][:64, :64, :64])
            found = soon("a large chunk", (mount / "large" / view / "s0" / "0" / "0" / "0").read_bytes)
            shape = (256, 256, 256 if kind == "blocks" else 512)
            np.testing.assert_array_equal(np.frombuffer(found, "u1").reshape(shape), large.levels[0][:, :, :shape[2]])
            assert readers.waiting() == 1, "it waited for nothing"
            assert mount.rss() <= (int(memory[:-1]) << 20) + OVERHEAD, f"{mount.rss() >> 20} MiB resident"
            mount.unmount()
        readers.join()


def halved(planes):
    """The level above one whose planes alone are halved."""
    depth, height, width = planes.shape
    return np.rint(planes.reshape(depth, height // 2, 2, width // 2, 2).mean(axis=(2, 4))).astype(planes.dtype)


@pytest.mark.parametrize("memory", ["1G", "64M"])
def test_a_silent_host_costs_nothing_of_what_is_computed_of_others(tmp_path, memory):
    silent_planes = reference_volumes.imagej(tmp_path, "silent", (16, 2048, 2048), "u1", 3)
    planes = reference_volumes.imagej(tmp_path, "planes", (2, 2048, 2048), "u1", 5)
    s1 = halved(planes.levels[0])
    expected = {"s1": s1, "s2": halved(s1)}
    with Origin(tmp_path) as silent, Origin(tmp_path) as other:
        sources = {"silent": at(silent_planes, silent.url), "other": at(planes, other.url), "local": at(planes, str(tmp_path))}
        with mounted(tmp_path, configuration(sources), memory=memory, timeout=TIMEOUT) as mount:
            for name in sources:
                os.listdir(mount / name / "em.zarr" / "s2")
            before, silent.fault = silent.count(), lambda request: Fault("silent")
            # More blocks than there is memory to compute at once.
            readers = Readers([mount / "silent" / "em.zarr" / level / str(z) / "0" / "0" for level in ("s2", "s1") for z in range(16)])
            wait_for(lambda: silent.count() > before, TIMEOUT / 2, "the silent host is asked")
            time.sleep(1)
            for name in ("local", "other"):
                for level, truth in expected.items():
                    with concurrent.futures.ThreadPoolExecutor(1) as pool:
                        reading = pool.submit((mount / name / "em.zarr" / level / "1" / "0" / "0").read_bytes)
                        # Before those who wait for the silent host are told that it does not answer.
                        found = np.frombuffer(reading.result(timeout=TIMEOUT / 2), "u1").reshape(512, 512)
                    np.testing.assert_array_equal(found, truth[1, :512, :512], f"{name} {level}")
            assert readers.waiting() == 32, "they waited for nothing"
            assert mount.status()["memory"]["used"] <= (64 << 20 if memory == "64M" else 1 << 30)
            if memory == "64M":
                assert mount.rss() <= (64 << 20) + OVERHEAD, f"{mount.rss() >> 20} MiB resident"
            mount.unmount()
        readers.join()


def test_an_image_without_a_window_is_opened_beside_a_silent_host(volumes, tmp_path):
    root, made = volumes
    measured = reference_volumes.zarr_group(tmp_path, "measured", shape=(40, 50, 60), dtype="<u2", chunks=(64, 64, 64), levels=1, seed=9)
    with Origin(root) as origin:
        sources = {name: at(made[name], origin.url) for name in ("silent", "twin")} | {"measured": at(measured, str(tmp_path))}
        with mounted(tmp_path, configuration(sources), memory="64M", timeout=TIMEOUT) as mount:
            os.listdir(mount / "silent" / "em.zarr"), os.listdir(mount / "twin" / "em.zarr")
            origin.fault = lambda request: Fault("silent")
            readers = Readers(pending(mount, (128, 640, 640))[:200])
            time.sleep(1)
            attributes = soon("its documents", lambda: json.loads((mount / "measured" / "em.zarr" / ".zattrs").read_text()))
            assert attributes["omero"]["channels"][0]["window"] == {"min": 0, "max": 65535, "start": 0, "end": 65535}
            mount.unmount()
        readers.join()


def test_two_large_chunks_are_read_in_turns(tmp_path):
    large = reference_volumes.imagej(tmp_path, "large", (512, 512, 512), "u1", 4)
    with mounted(tmp_path, configuration({"large": at(large, str(tmp_path))}), memory="1G", timeout=TIMEOUT) as mount:
        folder = mount / "large" / "em.chunk-256x512x512.zarr" / "s0"
        files = [os.open(folder / str(z) / "0" / "0", os.O_RDONLY) for z in range(2)]
        try:
            pieces = [bytearray(), bytearray()]

            def read():
                while len(pieces[1]) < 64 << 20:
                    for descriptor, piece in zip(files, pieces, strict=True):
                        piece += os.pread(descriptor, 1 << 20, len(piece))

            began = time.monotonic()
            read()
            took = time.monotonic() - began
            print(f"{took:.2f} s")
            assert took < 15, f"{took:.1f} s"
            for z, piece in enumerate(pieces):
                np.testing.assert_array_equal(np.frombuffer(piece, "u1").reshape(256, 512, 512), large.levels[0][256 * z:256 * (z + 1)])
        finally:
            for descriptor in files:
                os.close(descriptor)


@pytest.mark.parametrize("memory", ["1G", "64M"])
def test_a_thousand_heads_do_not_wait_for_each_other(tmp_path, memory):
    planes = reference_volumes.imagej(tmp_path, "planes", (16, 4096, 4096), "u1", 3)
    with mounted(tmp_path, configuration({"planes": at(planes, str(tmp_path))}), memory=memory, timeout=TIMEOUT) as mount:
        files = chunks(mount / "planes" / "em.zarr", (16, 4096, 4096), planes.chunk[0])
        began = time.monotonic()
        for path in files[:1000]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                assert len(os.pread(descriptor, 512, 0)) == 512
            finally:
                os.close(descriptor)
        took = time.monotonic() - began
        print(f"{len(files[:1000])} heads: {took:.2f} s")
        assert took < 20, f"{took:.1f} s"


def test_a_label_that_cannot_be_opened_leaves_its_image_readable(volumes, tmp_path):
    root, made = volumes
    broken = tmp_path / "broken"
    broken.mkdir()
    labels = [{"name": "good", "source": at(made["local"], str(root))}, {"name": "bad", "source": {"kind": "zarr", "url": str(broken)}}]
    dataset = {"source": at(made["local"], str(root)), "images": [{"name": "training", "source": at(made["local"], str(root)), "labels": labels}]}
    for label in labels:
        label["source"] = dict(label["source"])
    with mounted(tmp_path, configuration({"d": dataset}), timeout=10) as mount:
        for store in ("training.zarr", "training.crop-z0-32_y0-64_x0-64.zarr", "training.v3.zarr"):
            group = mount / "d" / store
            assert {"s0", "labels"} <= set(os.listdir(group))
            assert {"good", "bad"} <= set(os.listdir(group / "labels"))
            assert zarr.open_group(group, mode="r")["s0"][0, 0, 0] == made["local"].levels[0][0, 0, 0]
            assert zarr.open_group(group / "labels" / "good", mode="r")["s0"][0, 0, 0]
            with pytest.raises(OSError, match="Input/output"):
                os.listdir(group / "labels" / "bad")
        names = json.loads((mount / "d" / "training.zarr" / ".zmetadata").read_text())["metadata"]
        assert "labels/good/s0/.zarray" in names and not any("bad" in name for name in names)
        assert "is answered without it" in mount.log
