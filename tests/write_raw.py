"""Writes a precomputed volume of raw chunks, by the words of the format."""

import itertools
import json

import reference_volumes


def write_raw(folder, shape, dtype, chunk, seed=1):
    """Writes noise of `shape` (z, y, x) and returns it."""
    voxels = reference_volumes.noise(shape, dtype, seed)
    (folder / "s0").mkdir(parents=True)
    scale = {"key": "s0", "size": shape[::-1], "resolution": [4, 4, 40], "voxel_offset": [0, 0, 0], "chunk_sizes": [chunk[::-1]], "encoding": "raw"}
    info = {"type": "image", "data_type": dtype, "num_channels": 1, "scales": [scale]}
    (folder / "info").write_text(json.dumps(info))
    for index in itertools.product(*(range(0, size, step) for size, step in zip(shape, chunk))):
        ends = [min(start + step, size) for start, step, size in zip(index, chunk, shape)]
        name = "_".join(f"{index[axis]}-{ends[axis]}" for axis in (2, 1, 0))
        part = voxels[tuple(slice(start, end) for start, end in zip(index, ends))]
        (folder / "s0" / name).write_bytes(part.astype(part.dtype.newbyteorder("<")).tobytes())
    return voxels
