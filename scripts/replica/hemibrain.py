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
    return result | labels(output, shape)


def labels(output, shape):
    """Label images in shards of compressed segmentation. Their sizes differ a little from the image's, as the archive's do."""
    import numpy
    import tensorstore

    rng = numpy.random.default_rng(SEED + 4)
    size = (shape[0] + 2, shape[1] - 3, shape[2] + 3)
    seeds = rng.integers(0, size, (14, 3))
    distances = [sum((axis - s) ** 2 for axis, s in zip(numpy.ogrid[tuple(slice(0, n) for n in size)], seed)) for seed in seeds]
    cells = numpy.argmin(distances, axis=0)
    # Numbers of bodies that no double holds.
    bodies = (1 << 60) + (1 << 53) + 2 * rng.integers(1, 1 << 40, 14).astype(numpy.uint64) + 1
    near = numpy.min(distances, axis=0)[::2, ::2, ::2]
    half = cells[::2, ::2, ::2]
    made = {
        "segmentation": ("v1.2/segmentation", bodies[cells], 8.0),
        "tissue": ("mask_normalized_round6", (half % 7 + 1).astype(numpy.uint64), 16.0),
        "mitochondria": ("mito_20190717.27250582", numpy.where(near < 200, half + 1, 0).astype(numpy.uint64), 16.0),
        "rois": ("v1.0/rois", (half // 5).astype(numpy.uint64), 16.0),
    }
    result = {}
    for name, (path, level, finest) in made.items():
        folder, arrays = output / "gs" / FOLDER.partition("/")[0] / path, {}
        for number in range(3):
            if number:
                level = level[::2, ::2, ::2]
            nanometres = finest * 2**number
            sharding = {
                "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 9, "minishard_bits": 6,
                "shard_bits": 15, "minishard_index_encoding": "gzip", "data_encoding": "gzip",
            }
            store = tensorstore.open({
                "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/"},
                "multiscale_metadata": {"data_type": "uint64", "num_channels": 1, "type": "segmentation"},
                "scale_metadata": {
                    "key": "x".join([str(nanometres)] * 3), "size": level.shape[::-1], "resolution": [nanometres] * 3,
                    "chunk_size": [64, 64, 64], "encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8],
                    "sharding": sharding,
                },
            }, create=True, open=True).result()
            with tensorstore.Transaction() as transaction:
                store.with_transaction(transaction)[..., 0] = level.transpose(2, 1, 0)
            arrays[f"s{number}"] = truth(numpy.ascontiguousarray(level))
        result[f"em/labels/{name}"] = {**arrays["s0"], "levels": arrays}
    return result
