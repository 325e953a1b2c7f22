"""Random stores of TensorStore, zarr-python and cloud-volume's formats, bit by bit; and the same stores damaged, never wrong behind a checksum."""

import concurrent.futures
import json
import pathlib
import random
import time

import numpy as np
import pytest
import tensorstore
import zarr

import random_writers
import readers
import reference_volumes
from mounting import configuration, mounted

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
TYPES = [*INTEGERS, "float32", "float64"]
KINDS = ["segmentation", "sharded", "sharded-python", "n5", "v2", "v3", "images", "cloud-volume"]
MEMORY = 64 << 20  # of the mounts of damaged stores
DEADLINE = 10  # of their operations, in seconds


def opened(spec):
    return tensorstore.open(spec, create=True, open=True).result()


def at(folder):
    return {"driver": "file", "path": f"{folder}/"}


def shape(rng, most=30):
    return [rng.randint(1, most) for _ in range(3)]


def fixed(transaction_of, voxels):
    with tensorstore.Transaction() as transaction:
        transaction_of(transaction, voxels)


def segmentation(rng, folder, seed):
    size, chunk = shape(rng), [2 ** rng.randint(2, 4) for _ in range(3)]
    dtype, channels = rng.choice(["uint32", "uint64"]), rng.choice([1, 1, 1, 2])
    scale = {"key": "s", "size": size[::-1], "resolution": [8, 8, 8], "chunk_size": chunk[::-1], "encoding": "compressed_segmentation",
             "voxel_offset": [rng.randint(-50, 50) for _ in range(3)], "compressed_segmentation_block_size": [rng.randint(1, 9) for _ in range(3)]}
    if rng.random() < 0.6:
        scale["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": rng.randint(0, 4), "minishard_bits": rng.randint(0, 3), "shard_bits": rng.randint(0, 3),
            "hash": rng.choice(["identity", "murmurhash3_x86_128"]), "minishard_index_encoding": rng.choice(["raw", "gzip"]), "data_encoding": rng.choice(["raw", "gzip"])}
    store = opened({"driver": "neuroglancer_precomputed", "kvstore": at(folder), "scale_metadata": scale,
                    "multiscale_metadata": {"data_type": dtype, "num_channels": channels, "type": "segmentation"}})
    make = rng.choice([reference_volumes.noise, reference_volumes.segments])
    voxels = np.stack([random_writers.without_some(rng, make(size, dtype, seed + n), chunk, 0) for n in range(channels)])
    fixed(lambda transaction, voxels: store.with_transaction(transaction).__setitem__(..., voxels.transpose(3, 2, 1, 0)), voxels)
    channel = rng.randrange(channels)
    return {"kind": "precomputed", "url": str(folder)} | ({"channel": channel} if channels > 1 else {}), voxels[channel]


def compressed(rng, size):
    pool = [
        {"name": "zstd", "configuration": {"level": rng.randint(-5, 5)}}, {"name": "gzip", "configuration": {"level": rng.randint(1, 9)}}, {"name": "crc32c"},
        {"name": "blosc", "configuration": {"cname": rng.choice(["lz4", "zstd", "zlib", "blosclz"]), "clevel": 5, "shuffle": rng.choice(["noshuffle", "shuffle", "bitshuffle"]), "typesize": size, "blocksize": 0}},
    ]
    return rng.sample(pool, rng.choice([0, 1, 1, 1, 2]))


def order(rng, rank):
    axes = list(range(rank))
    rng.shuffle(axes)
    return {"name": "transpose", "configuration": {"order": axes}}


def sharded(rng, folder, seed):
    size, chunk, dtype = shape(rng), [rng.randint(3, 10) for _ in range(3)], rng.choice(TYPES)
    shard = [c * rng.randint(1, 4) for c in chunk]
    endian = lambda: {"name": "bytes", "configuration": {"endian": rng.choice(["little", "big"])}}
    before = [order(rng, 3)] if rng.random() < 0.3 else []
    axes = before[0]["configuration"]["order"] if before else [0, 1, 2]
    item = np.dtype(dtype).itemsize
    codecs = ([order(rng, 3)] if rng.random() < 0.3 else []) + [endian(), *compressed(rng, item)]
    index = ([order(rng, 4)] if rng.random() < 0.3 else []) + [endian()] + ([{"name": "crc32c"}] if rng.random() < 0.8 else [])
    inner = {"chunk_shape": [chunk[axis] for axis in axes], "codecs": codecs, "index_codecs": index, "index_location": rng.choice(["start", "end"])}
    fill = rng.choice([0, 7])
    store = opened({"driver": "zarr3", "kvstore": at(folder), "metadata": {
        "shape": size, "data_type": dtype, "fill_value": fill, "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "codecs": [*before, {"name": "sharding_indexed", "configuration": inner}]}})
    voxels = random_writers.without_some(rng, reference_volumes.noise(size, dtype, seed), chunk, fill)
    fixed(lambda transaction, voxels: store.with_transaction(transaction).__setitem__(..., voxels), voxels)
    return {"kind": "zarr", "url": str(folder)}, voxels


def sharded_python(rng, folder, seed):
    size, chunk, dtype = shape(rng), [rng.randint(3, 10) for _ in range(3)], rng.choice(TYPES)
    shard, fill = [c * rng.randint(1, 4) for c in chunk], rng.choice([0, 7])
    compressors = rng.choice([None, zarr.codecs.ZstdCodec(), zarr.codecs.GzipCodec(), zarr.codecs.BloscCodec()])
    array = zarr.create_array(str(folder), shape=size, chunks=chunk, shards=shard, dtype=dtype, fill_value=fill, compressors=compressors)
    array[...] = voxels = random_writers.without_some(rng, reference_volumes.noise(size, dtype, seed), chunk, fill)
    return {"kind": "zarr", "url": str(folder)}, voxels


def n5(rng, folder, seed):
    size, chunk, dtype = shape(rng), [rng.randint(3, 12) for _ in range(3)], rng.choice(TYPES)
    compression = rng.choice([
        {"type": "raw"}, {"type": "gzip", "level": rng.randint(-1, 9), "useZlib": rng.random() < 0.5}, {"type": "bzip2", "blockSize": 1}, {"type": "xz", "preset": 0},
        {"type": "zstd", "level": 1}, {"type": "blosc", "cname": rng.choice(["lz4", "zstd"]), "clevel": 5, "shuffle": rng.randint(0, 2)}])
    voxels = random_writers.without_some(rng, reference_volumes.noise(size, dtype, seed), chunk, 0)
    metadata, order = {"dataType": dtype, "compression": compression}, [2, 1, 0]
    if rng.random() < 0.5:
        axes = ["z", "y", "x", *rng.sample(["c", "t"], rng.randint(0, 2))]
        order = rng.sample(range(len(axes)), len(axes))
        metadata["axes"] = [axes[axis] for axis in order]
    pick = lambda extents: [[*extents, 1, 1][axis] for axis in order]
    store = opened({"driver": "n5", "kvstore": at(folder), "metadata": {"dimensions": pick(size), "blockSize": pick(chunk), **metadata}})
    store[...] = voxels.reshape(*size, *[1] * (len(order) - 3)).transpose(order)
    return {"kind": "n5", "url": str(folder)}, voxels


WRITERS = {"segmentation": segmentation, "sharded": sharded, "sharded-python": sharded_python, "n5": n5,
           "v2": random_writers.zarr_2, "v3": random_writers.zarr_3, "images": random_writers.images}


def written(root, kind, count):
    """Random stores by name: source, voxels, and by how much these may be off."""
    if kind == "cloud-volume":
        return random_writers.cloud_volume([random.Random(f"{kind} {seed}") for seed in range(count)], root, kind)
    made = {}
    for seed in range(count):
        rng = random.Random(f"{kind} {seed}")
        source, voxels, *lossy = WRITERS[kind](rng, root / f"{kind}-{seed}", seed)
        made[f"{kind}-{seed}"] = source, voxels, sum(lossy)
    return made


def together(work, items):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, items))


@pytest.mark.parametrize("kind", KINDS)
def test_random_stores_are_bit_by_bit_what_was_written(tmp_path, kind, long):
    made = written(tmp_path / "stores", kind, 1000 if long else 100)
    config = configuration({name: source for name, (source, *_) in made.items()})
    with mounted(tmp_path / "mount", config, timeout=20) as mount:
        def check(name):
            v3 = hash(name) % 2 == 0
            found = readers.tensorstore_driver(mount / name / ("em.v3.zarr" if v3 else "em.zarr"), 0, v3)
            readers.assert_equal(found, made[name][1], name, made[name][2])

        together(check, made)
        assert mount.status()["failures"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_stores_are_errors_or_right_where_a_checksum_tells_and_the_mount_stays(tmp_path, kind, long):
    made = written(tmp_path / "stores", kind, 1000 if long else 100)
    rng, damaged = random.Random(kind), {}
    for name in made:
        files = sorted(file for file in (tmp_path / "stores" / name).rglob("*") if file.is_file())
        file = damaged[name] = rng.choice(files)
        body = bytearray(file.read_bytes())
        for _ in range(rng.choice([1, 1, 3, 20])):
            if body:
                body[rng.randrange(len(body))] = rng.randrange(256)
        if rng.random() < 0.3:
            body = body[: rng.randrange(len(body) + 1)]
        file.write_bytes(body)
    config = configuration({name: source for name, (source, *_) in made.items()})
    with mounted(tmp_path / "mount", config, timeout=DEADLINE, memory=str(MEMORY)) as mount:
        took = {}

        def look(name):
            began = time.monotonic()
            try:
                found = readers.tensorstore_driver(mount / name / "em.zarr", 0, False)
            except (ValueError, OSError):
                return "error"
            finally:
                took[name] = time.monotonic() - began
            expected = made[name][1]
            if made[name][2] and found.shape == expected.shape:
                return "right" if np.abs(found.astype(int) - expected).max() <= made[name][2] else "other"
            return "right" if found.shape == expected.shape and np.array_equal(found, expected) else "other"

        seen = dict(zip(made, together(look, made)))
        assert "error" in seen.values() and "right" in seen.values()
        for name, word in seen.items():
            # A document has no checksum.
            assert word != "other" or damaged[name].suffix == ".json" or not is_checked(tmp_path / "stores" / name), name
        assert "panicked" not in mount.log
        # A document may tell of more chunks than there were.
        assert max(took.values()) < 3 * DEADLINE, max(took, key=took.get)
        assert peak(mount.pid) < MEMORY + (100 << 20), f"{peak(mount.pid) >> 20} MiB"
        assert json.loads((mount / "metadata.json").read_text()) is not None


def peak(pid):
    """The most memory that a process had resident, in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) << 10


def is_checked(folder):
    """Whether every byte of every chunk is behind a checksum: that of CRC-32C outermost, and of the index as well."""
    try:
        document = json.loads((folder / "zarr.json").read_text())
        sharding = document["codecs"][-1]["configuration"]
        return all(sharding[key][-1]["name"] == "crc32c" for key in ("codecs", "index_codecs"))
    except (OSError, ValueError, LookupError, TypeError):
        return False
