"""The hemibrain: neuroglancer volumes in a bucket."""

from .files import SEED, truth
from .texture import neuropil

FOLDER = "neuroglancer-janelia-flyem-hemibrain/emdata"
DATASET = "hemibrain"
#: Folders that hold nothing else.
PARTS = ["gs"]


def write(output):
    """Neuroglancer volumes of JPEG chunks in shards: the tissue as it was imaged, and with its contrast equalised."""
    import numpy
    import tensorstore

    folder = output / "gs" / FOLDER
    # A crop of 200³ fits in, and the last chunks along each axis are cut off.
    shape = (206, 203, 209)
    light, _ = neuropil(shape, SEED + 3, 1.8, 1.0, grain=0.015)
    equalised = (light * 215 + 20).round().clip(0, 255).astype(numpy.uint8)
    raw = (light * 90 + 85).round().clip(0, 255).astype(numpy.uint8)
    result = {}
    # The corners of the real volume are empty, too: these chunks are not written.
    empty = (slice(192, None), slice(192, None), slice(192, None))
    for image, path, voxels, quality, bits in (("em", "clahe_yz/jpeg", equalised, 22, (2, 2, 2)), ("em-raw", "raw/jpeg", raw, 12, (9, 0, 0))):
        arrays = {}
        level = voxels.copy()
        level[empty] = 0
        for number in range(3):
            if number:
                # Sizes are rounded up, as the archive's are; the last voxel is then an average with itself.
                padded = numpy.pad(level, [(0, n % 2) for n in level.shape], mode="edge").astype(numpy.float64)
                half = [n // 2 for n in padded.shape]
                level = padded.reshape(half[0], 2, half[1], 2, half[2], 2).mean(axis=(1, 3, 5)).round().astype(numpy.uint8)
            nanometres = 8.0 * 2**number
            sharding = {
                "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": bits[0],
                "minishard_bits": bits[1] if number == 0 else 0, "shard_bits": bits[2] if number == 0 else 0,
                "minishard_index_encoding": "gzip", "data_encoding": "raw",
            }
            store = tensorstore.open({
                "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder / path}/"},
                "multiscale_metadata": {"data_type": "uint8", "num_channels": 1, "type": "image"},
                "scale_metadata": {
                    "key": "x".join([str(nanometres)] * 3), "size": level.shape[::-1], "resolution": [nanometres] * 3,
                    "chunk_size": [64, 64, 64], "encoding": "jpeg", "jpeg_quality": quality, "sharding": sharding,
                },
            }, create=True, open=True).result()
            with tensorstore.Transaction() as transaction:
                store.with_transaction(transaction)[..., 0] = level.transpose(2, 1, 0)
            read = numpy.ascontiguousarray(store[..., 0].read().result().transpose(2, 1, 0))
            # JPEG is lossy: what a reader finds is what TensorStore reads, within 1.
            arrays[f"s{number}"] = truth(read)
        result[image] = {**arrays["s0"], "levels": arrays}
    return result
