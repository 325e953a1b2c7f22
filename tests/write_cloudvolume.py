"""Run by the Python that has cloud-volume: writes the volumes that standard input orders."""

import json
import sys

import numpy as np
from cloudfiles import CloudFiles
from cloudvolume import Bbox, CloudVolume

for order in json.load(sys.stdin):
    voxels = np.load(order["folder"] + "/voxels.npy").transpose(2, 1, 0)[..., np.newaxis]
    info = CloudVolume.create_new_info(
        num_channels=1, layer_type="segmentation" if "seg" in order["encoding"] else "image", data_type=str(voxels.dtype), encoding=order["encoding"], resolution=[4, 8, 40],
        voxel_offset=order["offset"], chunk_size=order["chunk"], volume_size=voxels.shape[:3])
    url = "file://" + order["folder"]
    if order["sharded"]:
        info["scales"][0]["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 2, "minishard_bits": 1,
            "shard_bits": 2, "minishard_index_encoding": "gzip", "data_encoding": "raw" if order["encoding"] == "jpeg" else "gzip",
        }
    volume = CloudVolume(url, info=info, **({"compress": order["compress"]} if "compress" in order else {}))
    volume.commit_info()
    if "factors" in order:
        for factor in order["factors"]:
            volume.add_scale(factor)
        volume.commit_info()
        for level in range(1 + len(order["factors"])):
            # Without compression, whose names of files on this machine TensorStore does not know.
            scale = CloudVolume(url, mip=level, compress=False)
            numbers = np.random.default_rng(level).integers(1, np.iinfo(voxels.dtype).max, scale.shape)
            scale[:, :, :] = numbers.astype(voxels.dtype) if level else voxels
        continue
    if not order["sharded"]:
        volume[:, :, :] = voxels
        if order["encoding"] == "jpeg":
            np.save(order["folder"] + "/read.npy", np.asarray(volume[:, :, :])[..., 0])
        continue
    # A shard is written as a whole: cut the volume along the shards' shape.
    shape = volume.image.shard_shape(0)
    start, end = volume.bounds.minpt, volume.bounds.maxpt
    files = CloudFiles(url + "/" + volume.key)
    for x in range(start[0], end[0], int(shape[0])):
        for y in range(start[1], end[1], int(shape[1])):
            for z in range(start[2], end[2], int(shape[2])):
                corner = np.array([x, y, z])
                box = Bbox(corner, np.minimum(corner + shape, end))
                low, high = (np.array(point - start).astype(int) for point in (box.minpt, box.maxpt))
                part = voxels[low[0]:high[0], low[1]:high[1], low[2]:high[2]]
                name, data = volume.image.make_shard(part, box, 0)
                files.put(name, data, compress=None, content_type="application/octet-stream")
