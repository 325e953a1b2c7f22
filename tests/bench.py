"""Times of random 128³ blocks, paired: in each run every way reads the same blocks one after another.

Cold means a mount that has fetched nothing but the documents (and, for the local copy, files dropped from the page cache);
warm means the same blocks again at once. The origin is on loopback, so cold figures are the work of emfs, not of a network.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import bench_cache
import bench_formats
import bench_pyramids
import bench_precomputed
import reference_volumes
from mounting import configuration, mounted

EDGE = 128


def volumes(root):
    return {
        "ImageJ TIFF, u8": reference_volumes.imagej(root, "imagej", (256, 512, 512), "u1", 1),
        "ITK TIFF, u8": reference_volumes.itk(root, "itk", (256, 512, 512), "u1", 2),
        "Zarr v2 zstd, i2": textured_zarr(root, "zarr"),
    }


def textured_zarr(root, name):
    # Noise does not compress, so the voxels of the Zarr volume are smooth, as micrographs are.
    noise, reference_volumes.noise = reference_volumes.noise, reference_volumes.texture
    try:
        return reference_volumes.zarr_group(root, name, shape=(256, 512, 512), dtype="<i2", chunks=(64, 64, 64), levels=1, seed=3,
                                compressors=reference_volumes.v2_codec("zstd", level=3))
    finally:
        reference_volumes.noise = noise


def by_zarr(store):
    import zarr

    return zarr.open_group(store, mode="r")["s0"]


def by_tensorstore(store):
    import tensorstore

    array = tensorstore.open({"driver": "zarr", "kvstore": f"file://{store}/s0/"}, open=True, read=True).result()
    return Future(array)


def by_tensorstore_http(url):
    import tensorstore

    return Future(tensorstore.open({"driver": "zarr", "kvstore": f"{url}/s0/"}, open=True, read=True).result())


class Future:
    """A TensorStore array that reads when indexed, as the others do."""

    def __init__(self, array):
        self.array = array

    def __getitem__(self, block):
        return self.array[block].read().result()


def timed(array, blocks, voxels):
    """Seconds for all blocks; every block is compared with the truth outside of the time."""
    seconds = 0.0
    for block in blocks:
        begin = time.perf_counter()
        found = np.asarray(array[block])
        seconds += time.perf_counter() - begin
        assert np.array_equal(found, voxels[block]), f"wrong voxels at {block}"
    return seconds


def drop(folder):
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=6, help="blocks of 128³ voxels in each run")
    parser.add_argument("--only", choices=["blocks", "precomputed", "formats", "pyramids", "cache", "export", "serve"], help="leave the rest out")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--latency", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.latency)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="emfs-bench-"))
    try:
        if arguments.only in (None, "blocks"):
            bench(folder, arguments)
        if arguments.only in (None, "precomputed"):
            bench_precomputed.run(folder, served, arguments.runs, arguments.blocks)
        if arguments.only in (None, "formats"):
            bench_formats.run(folder, served, arguments.runs, arguments.blocks)
        if arguments.only in (None, "pyramids"):
            bench_pyramids.run(folder, served, arguments.runs)
        if arguments.only in (None, "cache"):
            bench_cache.run(folder, served, arguments.runs, drop)
        if arguments.only in (None, "export"):
            import bench_export

            bench_export.run(folder, arguments.runs)
        if arguments.only in (None, "serve"):
            import bench_serve

            bench_serve.run(folder, served, arguments.runs, arguments.blocks)
    finally:
        shutil.rmtree(folder)


def serve(root, latency):
    from origin import Origin

    with Origin(root, latency) as origin:
        print(origin.url, flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def served(root, latency=0.0):
    """The origin in a process of its own, so that it does not wait for this one's interpreter lock."""
    command = [sys.executable, __file__, "--serve", root, "--latency", str(latency)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.stdin.close()
        server.wait(10)


def bench(folder, arguments):
    root = folder / "origin"
    root.mkdir()
    made = volumes(root)
    with served(root) as url:
        rows = [row for title, volume in made.items() for row in measure(folder, title, volume, url, arguments)]
    print(f"Medians of {arguments.runs} paired runs of {arguments.blocks} random {EDGE}³ blocks; {os.cpu_count()} processors; origin on loopback.\n")
    print("| Volume | Reader | State | Mount, ms per block | Compared with | Other, ms per block | Mount / other |")
    print("|---|---|---|---:|---|---:|---:|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def measure(folder, title, volume, url, arguments):
    voxels = volume.levels[0]
    source = {key: value.replace("{origin}", url) if isinstance(value, str) else value for key, value in volume.source.items()}
    config = configuration({"v": source}, {"connections": 16, "stall": 10.0})
    local = folder / "local" / volume.name
    with mounted(folder / f"{volume.name}-copy", config, memory="1G") as mount:
        shutil.copytree(mount / "v" / "em.zarr", local)
    times = {}
    keep = times.setdefault
    for run in range(arguments.runs):
        rng = np.random.default_rng(run)
        blocks = [tuple(slice(a, a + EDGE) for a in (int(rng.integers(0, n - EDGE + 1)) for n in voxels.shape)) for _ in range(arguments.blocks)]
        for reader, opened in (("zarr-python 3", by_zarr), ("TensorStore", by_tensorstore)):
            with mounted(folder / f"{volume.name}-{run}-{reader[:4]}", config, memory="1G") as mount:
                array = opened(mount / "v" / "em.zarr")
                keep((reader, "cold", "mount"), []).append(timed(array, blocks, voxels))
                keep((reader, "warm", "mount"), []).append(timed(array, blocks, voxels))
            drop(local)
            array = opened(local)
            keep((reader, "cold", "local copy"), []).append(timed(array, blocks, voxels))
            keep((reader, "warm", "local copy"), []).append(timed(array, blocks, voxels))
        if source["kind"] == "zarr":
            array = by_tensorstore_http(source["url"])
            keep(("TensorStore", "cold", "TensorStore on the origin"), []).append(timed(array, blocks, voxels))
            keep(("TensorStore", "warm", "TensorStore on the origin"), []).append(timed(array, blocks, voxels))
    for (reader, state, way), others in times.items():
        if way == "mount":
            continue
        mount = times[reader, state, "mount"]
        ratio = statistics.median(a / b for a, b in zip(mount, others, strict=True))
        per_block = lambda values: f"{statistics.median(values) / arguments.blocks * 1000:.1f}"
        yield title, reader, state, per_block(mount), way, per_block(others), f"{ratio:.2f}"


if __name__ == "__main__":
    main()
