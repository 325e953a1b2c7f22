"""More writers of random stores: Zarr v2 and unsharded v3, precomputed images, and cloud-volume itself."""

import json
import pathlib
import subprocess

import numcodecs
import numpy as np
import tensorstore
import zarr

import reference_volumes
from make_precomputed_fixtures import CLOUDVOLUME_PYTHON, JPEG, PNG, RAW, SEGMENTATION, open_scale, read_scale

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
TYPES = [*INTEGERS, "float32", "float64"]


def shape(rng, most=30):
    return [rng.randint(1, most) for _ in range(3)]


def without_some(rng, voxels, chunk, fill):
    """The voxels without some chunks, whose writers then leave them out or not."""
    for index in np.ndindex(*[-(-n // c) for n, c in zip(voxels.shape, chunk)]):
        if rng.random() < 0.2:
            voxels[tuple(slice(i * c, i * c + c) for i, c in zip(index, chunk))] = fill
    return voxels


def offset(rng):
    return [rng.choice([0, rng.randint(-50, 50), rng.randint(-10**6, 10**6)]) for _ in range(3)]


def v2_codec(rng, dtype):
    item = np.dtype(dtype).itemsize
    shuffle = rng.choice([numcodecs.Blosc.NOSHUFFLE, numcodecs.Blosc.SHUFFLE, numcodecs.Blosc.BITSHUFFLE])
    compressor = rng.choice([
        None, numcodecs.Zstd(rng.randint(-5, 9)), numcodecs.GZip(rng.randint(0, 9)), numcodecs.Zlib(rng.randint(0, 9)), numcodecs.BZ2(rng.randint(1, 9)),
        numcodecs.LZMA(preset=rng.randint(0, 2)), numcodecs.LZ4(),
        numcodecs.Blosc(rng.choice(["lz4", "lz4hc", "zstd", "zlib", "blosclz"]), rng.randint(1, 9), shuffle)])
    filters = [None, None, [numcodecs.Shuffle(item)]] + ([[numcodecs.Delta(np.dtype(dtype).str)]] if np.dtype(dtype).kind in "iu" else [])
    return {"compressors": compressor, "filters": rng.choice(filters)}


def zarr_2(rng, folder, seed):
    size, chunk, dtype = shape(rng), [rng.randint(3, 12) for _ in range(3)], np.dtype(rng.choice(TYPES)).newbyteorder(rng.choice("<>"))
    fill = rng.choice([0, 7])
    array = zarr.create_array(str(folder), shape=size, chunks=chunk, dtype=dtype, fill_value=fill, zarr_format=2, order=rng.choice("CF"),
                              chunk_key_encoding={"name": "v2", "separator": rng.choice("./")}, **v2_codec(rng, dtype))
    array[...] = voxels = without_some(rng, reference_volumes.noise(size, dtype.newbyteorder("<").name, seed), chunk, fill)
    return {"kind": "zarr", "url": str(folder)}, voxels


def zarr_3(rng, folder, seed):
    size, chunk, dtype, fill = shape(rng), [rng.randint(3, 12) for _ in range(3)], rng.choice(TYPES), rng.choice([0, 7])
    axes = [0, 1, 2]
    rng.shuffle(axes)
    item = np.dtype(dtype).itemsize
    pool = [
        {"name": "zstd", "configuration": {"level": rng.randint(-5, 5)}}, {"name": "gzip", "configuration": {"level": rng.randint(1, 9)}}, {"name": "crc32c"},
        {"name": "blosc", "configuration": {"cname": rng.choice(["lz4", "zstd", "zlib", "blosclz"]), "clevel": 5, "shuffle": rng.choice(["noshuffle", "shuffle", "bitshuffle"]), "typesize": item, "blocksize": 0}}]
    codecs = ([{"name": "transpose", "configuration": {"order": axes}}] if rng.random() < 0.5 else []) + [
        {"name": "bytes", "configuration": {"endian": rng.choice(["little", "big"])}}, *rng.sample(pool, rng.choice([0, 1, 1, 2, 3]))]
    keys = rng.choice([{"name": "default", "configuration": {"separator": rng.choice("./")}}, {"name": "v2", "configuration": {"separator": rng.choice("./")}}])
    store = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}, "create": True, "metadata": {
        "shape": size, "data_type": dtype, "fill_value": fill, "codecs": codecs, "chunk_key_encoding": keys,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}}}}).result()
    store[...] = voxels = without_some(rng, reference_volumes.noise(size, dtype, seed), chunk, fill)
    return {"kind": "zarr", "url": str(folder)}, voxels


def images(rng, folder, seed):
    """Precomputed images; what they hold is what TensorStore reads, of which JPEG may be off by one."""
    encoding = rng.choice([RAW, RAW, PNG, JPEG])
    dtype = {RAW: rng.choice([*INTEGERS[:-1], "float32"]), PNG: rng.choice(["uint8", "uint16"]), JPEG: "uint8"}[encoding]
    size, chunk = shape(rng, 40), [rng.randint(3, 16) for _ in range(3)]
    scale = {"key": "s", "size": size[::-1], "resolution": [8, 8, 8], "chunk_size": chunk[::-1], "encoding": encoding, "voxel_offset": offset(rng)}
    if encoding == JPEG:
        scale["jpeg_quality"] = rng.randint(30, 95)
    if rng.random() < 0.6:
        scale["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": rng.randint(0, 4), "minishard_bits": rng.randint(0, 3), "shard_bits": rng.randint(0, 3),
            "hash": rng.choice(["identity", "murmurhash3_x86_128"]), "minishard_index_encoding": rng.choice(["raw", "gzip"]), "data_encoding": rng.choice(["raw", "gzip"])}
    store = open_scale(folder, scale, dtype)
    make = reference_volumes.texture if encoding == JPEG else reference_volumes.noise
    voxels = without_some(rng, make(tuple(size), dtype, seed), chunk, 0)
    with tensorstore.Transaction() as transaction:
        store.with_transaction(transaction)[..., 0] = voxels.transpose(2, 1, 0)
    return {"kind": "precomputed", "url": str(folder)}, read_scale(folder, None, 0), int(encoding == JPEG)


def cloud_volume(rngs, root, kind):
    """Volumes that cloud-volume writes as it does by default, with names of their compression where it has such."""
    made, orders = {}, []
    for seed, rng in enumerate(rngs):
        name, sharded = f"{kind}-{seed}", rng.random() < 0.3
        encoding = rng.choice([RAW, SEGMENTATION] if sharded else [RAW, SEGMENTATION, JPEG])
        dtype = {RAW: rng.choice(["uint8", "uint16", "float32"]), SEGMENTATION: rng.choice(["uint32", "uint64"]), JPEG: "uint8"}[encoding]
        # What it shards must have chunks of one size along all axes.
        chunk = [rng.choice([4, 8])] * 3 if sharded else [rng.randint(3, 16) for _ in range(3)]
        # A shard that is not there is one that it fails to write.
        size = shape(rng, 24) if not sharded else [chunk[0] * rng.randint(2, 6) for _ in range(3)]
        voxels = {JPEG: reference_volumes.texture, SEGMENTATION: reference_volumes.segments}.get(encoding, reference_volumes.noise)(tuple(size), dtype, seed)
        folder = pathlib.Path(root) / name
        folder.mkdir(parents=True)
        np.save(folder / "voxels.npy", voxels)
        orders.append({"folder": str(folder), "encoding": encoding, "sharded": sharded, "offset": offset(rng), "chunk": chunk[::-1]}
                      | ({} if sharded else {"compress": rng.choice(["gzip", "br", "zstd", None])}))
        made[name] = {"kind": "precomputed", "url": str(folder)}, voxels, encoding == JPEG, sharded
    script = pathlib.Path(__file__).with_name("write_cloudvolume.py")
    done = subprocess.run([CLOUDVOLUME_PYTHON, script], input=json.dumps(orders), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, (source, voxels, lossy, sharded) in made.items():
        folder = pathlib.Path(source["url"])
        if lossy:
            # What a decoder gives is what cloud-volume itself reads.
            voxels = np.load(folder / "read.npy").transpose(2, 1, 0)
        elif sharded:
            # Where boxes of it share a file, the last one is in it.
            voxels = read_scale(folder, None, 0)
        for file in folder.glob("*.npy"):
            file.unlink()
        made[name] = source, voxels, int(lossy)
    return made
