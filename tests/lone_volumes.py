"""Volumes of one level, made by tools that are not emfs, and what TensorStore makes of their coarser levels."""

import dataclasses

import numpy as np
import tensorstore

import reference_volumes
from make_precomputed_fixtures import RAW, open_scale


@dataclasses.dataclass
class Lone:
    """A volume of one level. `factors`: of each computed level beside the one below, z, y, x."""

    name: str
    source: dict
    voxels: np.ndarray
    factors: list
    chunks: list  # of the computed levels
    offset: tuple = (0, 0, 0)
    size: tuple = (1.0, 1.0, 1.0)  # nanometres
    rule: str = "mean"

    def levels(self):
        """All levels, by TensorStore."""
        made, offset = [self.voxels.astype(self.voxels.dtype.newbyteorder("="))], self.offset
        for factors in self.factors:
            below = tensorstore.array(made[-1]).translate_to[tuple(offset)]
            made.append(tensorstore.downsample(below, list(factors), self.rule).read().result())
            offset = [o // f for o, f in zip(offset, factors)]
        return made

    def placed(self):
        """Scale and translation of each level in nanometres."""
        scales, offsets = [list(self.size)], [list(self.offset)]
        for factors in self.factors:
            scales.append([s * f for s, f in zip(scales[-1], factors)])
            offsets.append([o // f for o, f in zip(offsets[-1], factors)])
        translations = [[o * s + (s - f) / 2 for o, s, f in zip(offset, scale, self.size)] for offset, scale in zip(offsets, scales)]
        return list(zip(scales, translations))


def of_planes(volume, factors, rule="mean"):
    """A stack of planes that `truth` made."""
    chunks, shape = [], np.array(volume.levels[0].shape)
    for factor in factors:
        shape = -(-shape // factor)
        chunks.append([1, min(512, int(shape[1])), min(512, int(shape[2]))])
    return Lone(volume.name, volume.source, volume.levels[0], factors, chunks, size=volume.scale[0], rule=rule)


def lone_zarr(root, name, voxels, chunks, factors, rule="mean", **options):
    """An array that zarr-python writes, with no group around it."""
    import zarr

    array = zarr.create_array(root / f"{name}.zarr", shape=voxels.shape, dtype=voxels.dtype, chunks=chunks, config={"write_empty_chunks": False}, **options)
    array[...] = voxels
    return Lone(name, {"kind": "zarr", "url": f"{{origin}}/{name}.zarr"}, voxels, factors, [list(chunks)] * len(factors), rule=rule)


def lone_scale(root, name, voxels, chunk, offset, resolution, factors, kind="image", rule="mean", encoding=RAW, **scale):
    """A precomputed volume of one scale, written by TensorStore."""
    entry = {"key": "0", "size": list(voxels.shape[::-1]), "resolution": list(resolution[::-1]), "chunk_size": list(chunk[::-1]), "encoding": encoding,
             "voxel_offset": list(offset[::-1])} | scale
    open_scale(root / name, entry, voxels.dtype.name, kind)[..., 0] = voxels.transpose(2, 1, 0)
    source = {"kind": "precomputed", "url": f"{{origin}}/{name}"}
    return Lone(name, source, voxels, factors, [list(chunk)] * len(factors), tuple(offset), tuple(resolution), rule)


def large_labels(shape, seed):
    """Numbers of cells above 2⁵³, of which neighbours differ in the lowest bits."""
    cells = reference_volumes.segments(shape, "u2", seed)
    return cells.astype("u8") + np.uint64((1 << 53) + (1 << 60))


def make_all(root):
    """Odd shapes, short axes, all kinds of types and orders, positions, labels."""
    halves = (2, 2, 2)
    made = [
        of_planes(reference_volumes.imagej(root, "be-u16", (71, 131, 1291), ">u2", 1), [halves, (1, 2, 2)]),
        of_planes(reference_volumes.imagej(root, "u8", (67, 1283, 642), "u1", 2), [halves, (1, 2, 2)]),
        of_planes(reference_volumes.itk(root, "i16", (9, 131, 701), "i2", 3), [(1, 2, 2)]),
        of_planes(reference_volumes.imagej(root, "f32", (66, 90, 655), "f4", 4, voxel_size=(4.0, 4.0, 4.0)), [halves]),
        of_planes(reference_volumes.pages(root, "thick", (70, 150, 1301), "u1", 5, voxel_size=(50.0, 8.0, 8.0), rowsperstrip=16), [(1, 2, 2), (1, 2, 2)]),
        of_planes(reference_volumes.pages(root, "one-plane", (1, 700, 901), "u4", 6, tile=(64, 48)), [(1, 2, 2)]),
        of_planes(reference_volumes.pages(root, "one-row", (3, 1, 1301), "i4", 7), [(1, 1, 2), (1, 1, 2)]),
        lone_zarr(root, "zarr-odd", reference_volumes.noise((75, 133, 700), "<i8", 8), (17, 33, 45), [halves]),
        lone_zarr(root, "zarr-f8", reference_volumes.noise((5, 130, 1300), ">f8", 9), (5, 64, 64), [(1, 2, 2), (1, 2, 2)], zarr_format=2),
        lone_zarr(root, "zarr-sparse", reference_volumes.absent(reference_volumes.noise((66, 70, 645), "u2", 10), (16, 16, 32), 7, 0.4, 3), (16, 16, 32), [halves], fill_value=7),
        lone_scale(root, "placed", reference_volumes.noise((67, 99, 651), "uint16", 11), (16, 24, 32), (-7, 33, 5), (8.0, 8.0, 8.0), [halves]),
        lone_scale(root, "cells", large_labels((69, 75, 649), 12), (32, 32, 32), (3, -5, 9), (8.0, 8.0, 8.0), [halves], "segmentation", "mode",
                   "compressed_segmentation", compressed_segmentation_block_size=[8, 8, 8]),
    ]
    return {volume.name: volume for volume in made}
