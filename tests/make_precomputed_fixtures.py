"""Neuroglancer precomputed volumes written by TensorStore and by cloud-volume.

What a volume holds is what TensorStore reads from it: JPEG is lossy, and chunks that were not written are zeros.
"""

import dataclasses
import json
import pathlib
import subprocess

import numpy as np
import tensorstore

from mounting import ROOT
from reference_volumes import noise, segments, texture

CLOUDVOLUME_PYTHON = ROOT / "target" / "venv" / "cloudvolume" / "bin" / "python"

JPEG, RAW, PNG, SEGMENTATION = "jpeg", "raw", "png", "compressed_segmentation"


@dataclasses.dataclass
class Written:
    """A volume below `folder`. `levels`: arrays z, y, x; `lossy`: a decoder may differ by 1."""

    name: str
    folder: pathlib.Path
    levels: list
    chunk: list  # z, y, x
    offset: list  # voxels of the finest level, z, y, x
    resolution: list  # nm of each level, z, y, x
    lossy: bool


def sharding(preshift, minishard, shard, hash="identity", index="gzip", data="raw"):
    return {
        "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": preshift, "hash": hash, "minishard_bits": minishard,
        "shard_bits": shard, "minishard_index_encoding": index, "data_encoding": data,
    }


# name: (shape z y x, dtype, chunk z y x, offset z y x, encoding, sharding, levels, whether there are holes)
VARIANTS = {
    "jpeg": ((150, 200, 300), "uint8", (64, 64, 64), (0, 0, 0), JPEG, sharding(3, 2, 2), 2, False),
    "jpeg-holes": ((130, 190, 250), "uint8", (32, 32, 32), (3000, 2000, 1000), JPEG, sharding(2, 3, 3), 2, True),
    "jpeg-gzip": ((70, 64, 129), "uint8", (64, 64, 64), (-5, 7, -64), JPEG, sharding(0, 1, 1, data="gzip"), 1, False),
    "murmur": ((90, 100, 110), "uint16", (32, 16, 24), (1, 2, 3), RAW, sharding(1, 3, 2, "murmurhash3_x86_128", data="gzip"), 1, True),
    "raw-raw": ((40, 60, 80), "uint8", (20, 30, 40), (0, 0, 0), RAW, sharding(0, 0, 0, index="raw"), 1, False),
    "png-sharded": ((40, 33, 65), "uint16", (16, 16, 32), (9, 0, 0), PNG, sharding(4, 0, 3, "murmurhash3_x86_128"), 1, True),
    "unsharded-jpeg": ((70, 80, 90), "uint8", (64, 32, 48), (4, -8, 12), JPEG, None, 2, True),
    "unsharded-raw": ((33, 20, 50), "float32", (16, 16, 16), (0, 0, 5), RAW, None, 1, True),
    "unsharded-png": ((20, 30, 40), "uint8", (8, 16, 32), (0, 0, 0), PNG, None, 1, False),
    "seg-sharded": ((70, 90, 130), "uint64", (32, 32, 32), (1, 2, 3), SEGMENTATION, sharding(2, 1, 2, data="gzip"), 2, True),
    "seg-sharded-raw": ((33, 40, 50), "uint32", (16, 24, 32), (0, 0, 0), SEGMENTATION, sharding(1, 1, 1, index="raw"), 1, False),
    "seg-unsharded": ((33, 34, 35), "uint32", (16, 20, 24), (0, -7, 5), SEGMENTATION, None, 2, True),
    "preshift-64": ((33, 34, 35), "int16", (16, 16, 16), (0, 0, 0), RAW, sharding(64, 2, 3, data="gzip"), 1, True),
}


#: Extents x, y, z of blocks of segmentations, none of which divides all chunks.
BLOCKS = {"seg-sharded": [8, 8, 8], "seg-sharded-raw": [5, 7, 3], "seg-unsharded": [64, 3, 1]}


def write_all(root, seed, names=VARIANTS):
    return {name: write(pathlib.Path(root) / f"{name}-{seed}", name, seed) for name in names}


def write(folder, name, seed):
    shape, dtype, chunk, offset, encoding, shards, levels, holes = VARIANTS[name]
    rng = np.random.default_rng([seed, len(name)])
    make = {JPEG: texture, SEGMENTATION: segments}.get(encoding, noise)
    read, resolution = [], []
    for level in range(levels):
        size = [max(1, -(-n // 2**level)) for n in shape]
        start = [n // 2**level for n in offset]
        resolution.append([40.0 * 2**level, 8.0 * 2**level, 4.0 * 2**level])
        scale = {
            "key": f"scale/{level}", "size": size[::-1], "resolution": resolution[-1][::-1], "chunk_size": chunk[::-1],
            "encoding": encoding, "voxel_offset": start[::-1],
        } | ({"sharding": shards} if shards else {}) | ({"jpeg_quality": 80} if encoding == JPEG else {})
        scale |= {"compressed_segmentation_block_size": BLOCKS[name]} if encoding == SEGMENTATION else {}
        store = open_scale(folder, scale, dtype)
        voxels = make(tuple(size), dtype, seed + level)
        grid = [-(-n // c) for n, c in zip(size, chunk)]
        with tensorstore.Transaction() as transaction:
            target = store.with_transaction(transaction)
            for index in np.ndindex(*grid):
                # Single chunks, and all of the far half along y, so that whole minishards and shards are missing.
                if holes and (rng.random() < 0.3 or index[1] * 2 >= grid[1] + 1):
                    continue
                box = [slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, chunk, size)]
                place = tuple(slice(b.start + o, b.stop + o) for b, o in zip(box, start))[::-1]
                target[place + (0,)] = voxels[tuple(box)].transpose(2, 1, 0)
        read.append(read_scale(folder, scale["key"], len(read)))
    return Written(name, folder, read, list(chunk), list(offset), resolution, encoding == JPEG)


def open_scale(folder, scale, dtype, kind="image"):
    return tensorstore.open({
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {"data_type": dtype, "num_channels": 1, "type": kind}, "scale_metadata": scale,
    }, create=True, open=True).result()


def write_two_minishards(root, side=512, grain=0):
    """A volume `em` of side × side × 2·side voxels as JPEG, one minishard for each half; what TensorStore reads from it.

    `grain`: strength of a noise, for chunks as long as those of micrographs.
    """
    shape = (side, side, 2 * side)
    scale = {
        "key": "8.0x8.0x8.0", "size": shape[::-1], "resolution": [8, 8, 8], "chunk_size": [64, 64, 64], "encoding": "jpeg",
        "jpeg_quality": 75, "sharding": sharding(9, 1, 0),
    }
    store = open_scale(pathlib.Path(root) / "em", scale, "uint8")
    # Cheap to make, and yet no chunk is like another.
    voxels = np.tile(texture((64, 64, 64), "uint8", 5) // 2, (side // 64, side // 64, side // 32))
    for index in np.ndindex(side // 64, side // 64, side // 32):
        voxels[tuple(slice(64 * n, 64 * n + 64) for n in index)] += np.uint8(sum(a * b for a, b in zip(index, (11, 31, 5))) % 100)
    if grain:
        voxels += np.tile(np.random.default_rng(6).integers(0, grain, (64, 64, 64), "uint8"), (side // 64, side // 64, side // 32))
    with tensorstore.Transaction() as transaction:
        store.with_transaction(transaction)[..., 0] = voxels.transpose(2, 1, 0)
    return read_scale(pathlib.Path(root) / "em", None, 0)


def read_scale(folder, key, level):
    """What TensorStore reads, z, y, x."""
    store = tensorstore.open({
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/"}, "scale_index": level,
    }, open=True, read=True).result()
    return np.ascontiguousarray(store[..., 0].read().result().transpose(2, 1, 0))


def write_cloudvolume(root, seed):
    """Volumes of cloud-volume's own writer; their levels are as TensorStore reads them."""
    made = {}
    orders = []
    for name, shape, dtype, encoding, sharded in [
        ("cv-jpeg", (130, 70, 100), "uint8", JPEG, False), ("cv-raw-gz", (40, 50, 60), "uint16", RAW, False),
        ("cv-sharded-jpeg", (128, 192, 256), "uint8", JPEG, True), ("cv-sharded-raw", (64, 130, 70), "uint16", RAW, True),
        ("cv-seg", (70, 50, 60), "uint64", SEGMENTATION, False), ("cv-seg-sharded", (64, 130, 70), "uint32", SEGMENTATION, True),
    ]:
        folder = pathlib.Path(root) / f"{name}-{seed}"
        folder.mkdir(parents=True)
        voxels = {JPEG: texture, SEGMENTATION: segments}.get(encoding, noise)(shape, dtype, seed)
        np.save(folder / "voxels.npy", voxels)
        orders.append({"folder": str(folder), "encoding": encoding, "sharded": sharded, "offset": [7, 64, -32],
                       "chunk": [64, 64, 64] if sharded else [32, 32, 64]})
        made[name] = (folder, voxels, encoding)
    script = pathlib.Path(__file__).parent / "write_cloudvolume.py"
    subprocess.run([CLOUDVOLUME_PYTHON, script], input=json.dumps(orders), text=True, check=True, capture_output=True)
    result = {}
    for order, (name, (folder, voxels, encoding)) in zip(orders, made.items()):
        # On file systems cloud-volume names compressed objects otherwise, and TensorStore does not know them.
        levels = [voxels if name in ("cv-raw-gz", "cv-seg") else read_scale(folder, None, 0)]
        result[name] = Written(name, folder, levels, order["chunk"][::-1], order["offset"][::-1], [[40.0, 8.0, 4.0]], encoding == JPEG)
    return result
