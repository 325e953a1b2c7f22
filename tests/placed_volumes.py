"""Volumes whose levels lie anywhere: factors that differ by axis, offsets that are no multiples of them, sizes rounded
either way. Written by TensorStore, cloud-volume and zarr-python; what they hold is what TensorStore reads.
"""

import json
import pathlib
import subprocess

import numpy as np

from make_precomputed_fixtures import CLOUDVOLUME_PYTHON, JPEG, PNG, RAW, open_scale, read_scale, sharding
from reference_volumes import Volume, noise, texture, v2_codec, zarr_group

#: Of a level beside the one before, z, y, x.
FACTORS = [(1, 2, 2), (2, 2, 2), (3, 3, 3), (4, 4, 4), (1, 3, 2), (2, 1, 4), (1, 1, 2), (3, 2, 4), (4, 1, 1)]
RESOLUTIONS = [(40.0, 8.0, 4.0), (29.7, 5.24, 4.4), (8.0, 8.0, 8.0)]
SHARDINGS = [None, sharding(1, 1, 1), sharding(0, 2, 1, "murmurhash3_x86_128", data="gzip"), sharding(2, 0, 0, index="raw")]


def place(rng, kind):
    """Where the finest level begins."""
    low, high = {"zero": (0, 1), "positive": (1, 60), "negative": (-60, 0), "far": (1_000_000, 1_000_100), "far below": (-1_000_100, -1_000_000)}[kind]
    return rng.integers(low, high, 3).tolist()


def beside(rng, start, size, factor):
    """Where a level of this factor begins and how long it is along an axis, as one writer or another has it."""
    first = [start // factor, -(-start // factor), start // factor + int(rng.integers(-1, 2))][rng.integers(3)]
    last = [-(-(start + size) // factor), (start + size) // factor, -(-(start + size) // factor) + int(rng.integers(-1, 2))][rng.integers(3)]
    return first, max(1, last - first)


def volume_of(name, levels, offsets, resolutions, chunk, lossy):
    translation = [[o * r + (r - f) / 2 for o, r, f in zip(offset, resolution, resolutions[0])] for offset, resolution in zip(offsets, resolutions)]
    return Volume(name=name, source={"kind": "precomputed", "url": f"{{origin}}/{name}"}, levels=levels, scale=resolutions, translation=translation,
                  chunk=[list(chunk)] * len(levels), file=name, lossy=int(lossy), offset=offsets)


def by_tensorstore(root, name, number):
    """A volume of 2 to 4 levels, of which `number` decides everything."""
    rng = np.random.default_rng([number, 12])
    kind = ["zero", "positive", "negative", "far", "far below"][number % 5]
    encoding = [RAW, RAW, PNG, JPEG][number % 4]
    dtype = {RAW: ["uint8", "uint16", "float32"][rng.integers(3)], PNG: "uint8", JPEG: "uint8"}[encoding]
    shards, chunk = SHARDINGS[number // 2 % 4], rng.integers(5, 24, 3).tolist()
    start, size = place(rng, kind), rng.integers([1, 12, 12], [40, 60, 70]).tolist()
    finest, total, offsets, resolutions = RESOLUTIONS[number % 3], [1, 1, 1], [], []
    for level in range(rng.integers(2, 5)):
        if level:
            total = [t * f for t, f in zip(total, FACTORS[rng.integers(len(FACTORS))])]
        begin, extent = zip(*(beside(rng, *axis) for axis in zip(start, size, total))) if level else (start, size)
        offsets.append(list(begin))
        resolutions.append([r * t for r, t in zip(finest, total)])
        scale = {
            "key": str(level), "size": extent[::-1], "resolution": resolutions[-1][::-1], "chunk_size": chunk[::-1],
            "encoding": encoding, "voxel_offset": begin[::-1],
        } | ({"sharding": shards} if shards else {}) | ({"jpeg_quality": 80} if encoding == JPEG else {})
        voxels = (texture if encoding == JPEG else noise)(tuple(extent), dtype, number * 10 + level)
        open_scale(root / name, scale, dtype)[..., 0] = voxels.transpose(2, 1, 0)
    levels = [read_scale(root / name, None, level) for level in range(len(offsets))]
    return volume_of(name, levels, offsets, resolutions, chunk, encoding == JPEG)


def halved(root, name, start, seed, shape=(20, 31, 42)):
    """A volume of two levels that begins at `start`."""
    offsets, resolutions, levels = [], [[8.0] * 3, [16.0] * 3], []
    for level, factor in enumerate((1, 2)):
        offsets.append([o // factor for o in start])
        size = [-(-(o + n) // factor) - first for o, n, first in zip(start, shape, offsets[-1])]
        scale = {"key": str(level), "size": size[::-1], "resolution": resolutions[level], "chunk_size": [16, 16, 16], "encoding": RAW, "voxel_offset": offsets[-1][::-1]}
        levels.append(noise(size, "uint16", seed + level))
        open_scale(root / name, scale, "uint16")[..., 0] = levels[-1].transpose(2, 1, 0)
    return volume_of(name, levels, offsets, resolutions, [16, 16, 16], False)


def by_cloudvolume(root, names):
    """Volumes of which cloud-volume itself says how large their coarser levels are and where they begin."""
    orders = []
    for number, name in enumerate(names):
        orders.append({"folder": str(root / name), "encoding": RAW, "sharded": False, "offset": [[7, -33, 5], [0, 9, 1]][number % 2],
                       "chunk": [16, 16, 8], "factors": [[2, 2, 1], [6, 4, 3]][:1 + number % 2]})
        (root / name).mkdir(parents=True)
        np.save(root / name / "voxels.npy", noise((31, 45, 53), "uint16", 70 + number))
    script = pathlib.Path(__file__).with_name("write_cloudvolume.py")
    subprocess.run([CLOUDVOLUME_PYTHON, script], input=json.dumps(orders), text=True, check=True, capture_output=True)
    made = {}
    for name in names:
        scales = json.loads((root / name / "info").read_text())["scales"]
        levels = [read_scale(root / name, None, level) for level in range(len(scales))]
        offsets, resolutions = ([[*scale[key][::-1]] for scale in scales] for key in ("voxel_offset", "resolution"))
        made[name] = volume_of(name, levels, offsets, [[float(r) for r in of] for of in resolutions], [8, 16, 16], False)
    return made


def by_zarr(root):
    """Groups of other factors than 2, one with the last voxels of odd extents left out."""
    codec = v2_codec("zstd", level=1)
    return {
        "z2-threes": zarr_group(root, "z2-threes", shape=(31, 50, 44), dtype="<u2", chunks=(7, 16, 16), seed=80, compressors=codec, factors=[(1, 1, 1), (3, 3, 3), (9, 9, 9)]),
        "z2-mixed": zarr_group(root, "z2-mixed", shape=(17, 61, 59), dtype="|u1", chunks=(8, 16, 20), seed=81, compressors=codec, factors=[(1, 1, 1), (1, 2, 4), (2, 6, 4)]),
        "z2-left-out": zarr_group(root, "z2-left-out", shape=(19, 35, 47), dtype="<i2", chunks=(8, 8, 8), seed=82, compressors=codec, factors=[(1, 1, 1), (2, 2, 2), (4, 4, 4)], whole=True),
        "z3-fours": zarr_group(root, "z3-fours", version=3, shape=(23, 40, 66), dtype="uint8", chunks=(9, 16, 16), seed=83, factors=[(1, 1, 1), (4, 4, 4), (4, 8, 16)], whole=True),
    }


def make_placed(root, count):
    root = pathlib.Path(root)
    named = [f"placed-{number}" for number in range(count)]
    return {name: by_tensorstore(root, name, number) for number, name in enumerate(named)} | by_cloudvolume(root, ["cv-2", "cv-6"]) | by_zarr(root)
