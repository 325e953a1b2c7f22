"""Times of random 128³ blocks of a sharded Zarr v3 array (zstd) and of segmentations (compressed_segmentation), cold, behind an
origin that answers after 20 ms: through a mount, and by TensorStore that reads the origin itself. One process reads; in each run
every way reads the same blocks. Run with `read` it is this process. TensorStore asks for 32 objects at a time over HTTP and for 4 files; through
the mount it is told to ask for as many files, as the manual says.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy as np
import tensorstore

import reference_volumes
from make_precomputed_fixtures import SEGMENTATION, open_scale, sharding
from mounting import configuration, mounted

LATENCY = 0.02
AT_A_TIME = {"file_io_concurrency": {"limit": 32}}
EDGE = 128
SIDE = 512
LITTLE, ZSTD, CRC = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd", "configuration": {"level": 3}}, {"name": "crc32c"}


def local(folder):
    return {"driver": "file", "path": f"{folder}/"}


def grainy():
    """As micrographs are: smooth, with a noise that makes chunks of about half of their voxels' bytes."""
    voxels = np.tile(reference_volumes.texture((64,) * 3, "uint8", 5) // 2, (SIDE // 64,) * 3)
    return voxels + np.tile(np.random.default_rng(6).integers(0, 28, (64,) * 3, "uint8"), (SIDE // 64,) * 3)


def cells():
    """Bodies of about 30 voxels, with numbers of 64 bits."""
    coarse = np.random.default_rng(7).integers(1, 2**60, (SIDE // 32 + 1,) * 3, "uint64")
    place = [np.minimum((np.arange(SIDE) + (np.arange(SIDE) // 7 * 5) % 11) // 32, SIDE // 32) for _ in range(3)]
    return coarse[np.ix_(*place)]


def sharded_v3(folder):
    voxels = grainy()
    codecs = [{"name": "sharding_indexed", "configuration": {"chunk_shape": [64] * 3, "codecs": [LITTLE, ZSTD], "index_codecs": [LITTLE, CRC]}}]
    store = tensorstore.open({"driver": "zarr3", "kvstore": local(folder), "create": True, "metadata": {
        "shape": voxels.shape, "data_type": "uint8", "codecs": codecs, "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [256] * 3}}}}).result()
    with tensorstore.Transaction() as transaction:
        store.with_transaction(transaction)[...] = voxels
    return voxels


def segmentation(folder, shards):
    voxels = cells()
    scale = {"key": "s", "size": [SIDE] * 3, "resolution": [8, 8, 8], "chunk_size": [64] * 3, "encoding": SEGMENTATION, "voxel_offset": [0, 0, 0],
             "compressed_segmentation_block_size": [8, 8, 8]} | ({"sharding": shards} if shards else {})
    store = open_scale(folder, scale, "uint64")
    with tensorstore.Transaction() as transaction:
        store.with_transaction(transaction)[..., 0] = voxels.transpose(2, 1, 0)
    return voxels


#: name: (how it is written, kind in the configuration, driver of TensorStore)
VOLUMES = {
    "sharded Zarr v3, zstd": (sharded_v3, "zarr", "zarr3"),
    "compressed_segmentation, sharded, gzip": (lambda folder: segmentation(folder, sharding(6, 1, 2, data="gzip")), "precomputed", "neuroglancer_precomputed"),
    "compressed_segmentation, unsharded": (lambda folder: segmentation(folder, None), "precomputed", "neuroglancer_precomputed"),
}


def run(folder, serve, runs, count):
    root = folder / "formats"
    root.mkdir()
    for number, (write, _, _) in enumerate(VOLUMES.values()):
        np.save(folder / f"truth-{number}.npy", write(root / str(number)))
    print(f"\n{count} random {EDGE}³ blocks, cold, one process, origin answering after {LATENCY * 1000:.0f} ms; speed is that of emfs with TensorStore's own as 1.\n")
    print("| Volume | Mount by TensorStore, s | TensorStore on the origin, s | Speed |")
    print("|---|---:|---:|---:|")
    with serve(root, LATENCY) as url:
        for number, (name, (_, kind, driver)) in enumerate(VOLUMES.items()):
            direct, through = [], []
            for seed in range(runs):
                corners = np.random.default_rng(seed).integers(0, SIDE - EDGE + 1, (count, 3)).tolist()
                voxels = folder / f"truth-{number}.npy"
                direct.append(timed(driver, f"{url}/{number}/", voxels, corners))
                config = configuration({"v": {"kind": kind, "url": f"{url}/{number}"}}, {"connections": 32, "stall": 10.0})
                with mounted(folder / f"formats-{number}-{seed}", config, memory="1G") as mount:
                    through.append(timed("zarr", f"file://{mount.path}/v/em.zarr/s0/", voxels, corners))
            ratio = statistics.median(a / b for a, b in zip(direct, through, strict=True))
            print(f"| {name} | {statistics.median(through):.2f} | {statistics.median(direct):.2f} | {ratio:.2f} |", flush=True)


def timed(driver, store, voxels, corners):
    """Seconds that a process of its own takes for all blocks, from when the array is open."""
    command = [sys.executable, __file__, "read", driver, store, voxels, json.dumps(corners)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def read(driver, store, voxels, corners):
    array = tensorstore.open({"driver": driver, "kvstore": store, "context": AT_A_TIME}, open=True, read=True).result()
    if driver == "neuroglancer_precomputed":
        array = array[..., 0].transpose([2, 1, 0])
    boxes = [tuple(slice(a, a + EDGE) for a in corner) for corner in json.loads(corners)]
    begin = time.perf_counter()
    found = [array[box].read().result() for box in boxes]
    seconds = time.perf_counter() - begin
    expected = np.load(voxels, mmap_mode="r")
    assert all(np.array_equal(block, expected[box]) for block, box in zip(found, boxes, strict=True)), "wrong voxels"
    print(seconds)


if __name__ == "__main__":
    read(*sys.argv[2:])
