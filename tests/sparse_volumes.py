"""Volumes of which nine tenths of the chunks were never written, as their writers leave them."""

import dataclasses
import itertools
import pathlib

import numpy as np
import tensorstore

import archives
import reference_volumes
from make_precomputed_fixtures import open_scale, sharding

FILL = 7
SHAPE, CHUNK = (64, 128, 256), (16, 32, 32)


@dataclasses.dataclass
class Sparse:
    """`missing`: paths at the origin that are not there, though chunks would be in them. `absent`: chunks that are not there."""

    name: str
    source: dict
    voxels: np.ndarray
    absent: list
    missing: set
    folder: pathlib.Path

    def at(self, origin):
        return {key: value.replace("{origin}", origin.url) for key, value in self.source.items()}

    def is_document(self, path):
        return path.rpartition("/")[2] in (".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json", "info")

    def present(self):
        return sorted(set(every_index()) - set(self.absent))


def every_index():
    return list(itertools.product(*(range(n // c) for n, c in zip(SHAPE, CHUNK, strict=True))))


def region(index):
    return tuple(slice(i * c, i * c + c) for i, c in zip(index, CHUNK, strict=True))


def chosen(seed, whole=False):
    """A tenth of the chunks; `whole`: all of them in one half of the volume, so that whole shards are missing."""
    rng = np.random.default_rng(seed)
    candidates = [index for index in every_index() if not whole or index[0] < 2]
    return sorted(candidates[n] for n in rng.permutation(len(candidates))[:len(every_index()) // 10])


def write(root):
    """All of them below `root`, by name."""
    made = [zarr(root, "v2", 2), zarr(root, "v3", 3), precomputed(root, "plain", None), precomputed(root, "shards", sharding(2, 1, 3))]
    archives.stamp(pathlib.Path(root))
    return {volume.name: volume for volume in made}


def zarr(root, name, version):
    import zarr.codecs

    voxels, there = np.full(SHAPE, FILL, "<u2"), chosen(version)
    for number, index in enumerate(there):
        voxels[region(index)] = reference_volumes.noise(CHUNK, "<u2", 100 * version + number)
    group = zarr.create_group(root / f"{name}.zarr", zarr_format=version, attributes=attributes(version))
    codec = reference_volumes.v2_codec("zstd", level=1) if version == 2 else [zarr.codecs.ZstdCodec(level=1)]
    array = group.create_array("s0", shape=SHAPE, dtype="<u2", chunks=CHUNK, fill_value=FILL, compressors=codec, config={"write_empty_chunks": False})
    array[...] = voxels
    absent = sorted(set(every_index()) - set(there))
    missing = {f"/{name}.zarr/s0/" + (".".join(map(str, index)) if version == 2 else "c/" + "/".join(map(str, index))) for index in absent}
    return checked(Sparse(name, {"kind": "zarr", "url": f"{{origin}}/{name}.zarr"}, voxels, absent, missing, root / f"{name}.zarr"), root)


def attributes(version):
    found = reference_volumes.multiscales(["s0"], [[4.0, 4.0, 4.0]], [[0.0, 0.0, 0.0]], "0.4" if version == 2 else "0.5")
    return {"multiscales": found} if version == 2 else {"ome": {"version": "0.5", "multiscales": found}}


def precomputed(root, name, shards):
    voxels, there = np.zeros(SHAPE, "u1"), chosen(5, whole=shards is not None)
    scale = {"key": "s0", "size": SHAPE[::-1], "resolution": [4, 4, 4], "chunk_size": CHUNK[::-1], "encoding": "raw"} | ({"sharding": shards} if shards else {})
    store = open_scale(root / name, scale, "uint8")
    with tensorstore.Transaction() as transaction:
        for number, index in enumerate(there):
            voxels[region(index)] = reference_volumes.noise(CHUNK, "u1", number)
            store.with_transaction(transaction)[tuple(region(index))[::-1] + (0,)] = voxels[region(index)].transpose(2, 1, 0)
    absent = sorted(set(every_index()) - set(there))
    if shards:
        missing = {f"/{name}/s0/{number:x}.shard" for number in range(1 << shards["shard_bits"])}
        missing = {path for path in missing if not (root / path.lstrip("/")).exists()}
        assert missing, "some shards are missing as a whole"
    else:
        missing = {f"/{name}/s0/" + "_".join(f"{part.start}-{part.stop}" for part in region(index)[::-1]) for index in absent}
    return checked(Sparse(name, {"kind": "precomputed", "url": f"{{origin}}/{name}"}, voxels, absent, missing, root / name), root)


def checked(volume, root):
    assert not any((root / path.lstrip("/")).exists() for path in volume.missing)
    assert len(volume.absent) > 0.89 * len(every_index())
    return volume
