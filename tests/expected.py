"""What the documents and chunk files of a store must be, worked out from a volume's truth and from nothing of emfs."""

import fractions
import itertools
import json
import math

import numpy as np

V2_NAMES = {"uint8": "|u1", "int8": "|i1"}
AXES = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]


def v2_dtype(dtype):
    dtype = np.dtype(dtype).newbyteorder("<")
    return V2_NAMES.get(dtype.name, dtype.str)


def plain(number):
    """A number without a fraction that is not there: 4.0 is 4."""
    return int(number) if float(number).is_integer() else float(number)


def total(*lengths):
    """A sum of lengths as emfs tells it: with thirteen digits of the largest, so without the noise of binary numbers."""
    largest = max(map(abs, [*lengths, sum(lengths)]))
    return round(sum(lengths), 12 - math.floor(math.log10(largest))) + 0.0 if largest else 0.0


def array_attributes(scale, translation, finest):
    """`finest`: the scale of the image's first level. Its readers count from corners, which all levels share, and not from centres."""
    corner = [total(t, -(s - f) / 2) for t, s, f in zip(translation, scale, finest, strict=True)]
    attributes = {"dimension_units": [f"{plain(value)} nm" for value in scale]}
    if all(float(value).is_integer() for value in [*scale, *corner]) and not any(c % s for c, s in zip(corner, scale)):
        # The readers of these keys truncate fractions, so they are there only where nothing is lost.
        attributes |= {
            "resolution": [int(v) for v in scale], "voxel_size": [int(v) for v in scale], "offset": [int(v) for v in corner],
            "axis_names": ["z", "y", "x"], "units": ["nm"] * 3, "types": ["space"] * 3,
        }
    return attributes


def datasets(volume):
    return [{"path": f"s{level}", "coordinateTransformations": [{"type": "scale", "scale": s}, {"type": "translation", "translation": [*map(total, t)]}]}
            for level, (s, t) in enumerate(zip(volume.scale, volume.translation, strict=True))]


def omero(window):
    low, high = window
    return {
        "version": "0.4", "name": "em",
        "channels": [{"label": "EM", "color": "FFFFFF", "active": True, "coefficient": 1, "family": "linear", "inverted": False,
                      "window": {"min": low, "max": high, "start": low, "end": high}}],
        "rdefs": {"model": "greyscale"},
    }


def documents(volume, chunks=None, window=(0, 255), v3=False):
    """Documents of a store by path, parsed."""
    chunks = chunks or volume.chunk
    multiscale = {"name": "em", "axes": AXES, "datasets": datasets(volume)}
    display = omero(window)
    if v3:
        found = {"zarr.json": {"zarr_format": 3, "node_type": "group",
                               "attributes": {"ome": {"version": "0.5", "multiscales": [multiscale], "omero": display}}}}
        little = {"configuration": {"endian": "little"}} if volume.dtype.itemsize > 1 else {}
        for level, array in enumerate(volume.levels):
            found[f"s{level}/zarr.json"] = {
                "zarr_format": 3, "node_type": "array", "shape": list(array.shape), "data_type": volume.dtype.name,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks[level])}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "codecs": [{"name": "bytes"} | little], "fill_value": 0,
                "attributes": array_attributes(volume.scale[level], volume.translation[level], volume.scale[0]), "dimension_names": ["z", "y", "x"],
            }
        nodes = {path.removesuffix("/zarr.json"): array for path, array in found.items() if path != "zarr.json"}
        found["zarr.json"]["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": nodes}
        return found
    found = {".zgroup": {"zarr_format": 2}, ".zattrs": {"multiscales": [{"version": "0.4"} | multiscale], "omero": display}}
    for level, array in enumerate(volume.levels):
        found[f"s{level}/.zarray"] = {
            "zarr_format": 2, "shape": list(array.shape), "chunks": list(chunks[level]), "dtype": v2_dtype(volume.dtype), "order": "C",
            "fill_value": None, "compressor": None, "filters": None, "dimension_separator": "/",
        }
        found[f"s{level}/.zattrs"] = {"_ARRAY_DIMENSIONS": ["z", "y", "x"]} | array_attributes(volume.scale[level], volume.translation[level], volume.scale[0])
    return found | {".zmetadata": {"zarr_consolidated_format": 1, "metadata": dict(found)}}


def grid(shape, chunk):
    return [-(-n // c) for n, c in zip(shape, chunk, strict=True)]


def chunk_indices(shape, chunk):
    return itertools.product(*map(range, grid(shape, chunk)))


def chunk_bytes(array, chunk, index):
    """Bytes of a chunk file: C order, little-endian, padded with 0."""
    block = np.zeros(chunk, np.dtype(array.dtype).newbyteorder("<"))
    region = tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, chunk, array.shape, strict=True))
    part = array[region]
    block[tuple(slice(0, n) for n in part.shape)] = part
    return block.tobytes()


def chunk_path(index, v3=False):
    return ("c/" if v3 else "") + "/".join(map(str, index))


def relaxed(document):
    """A document without what emfs is free to choose; that it is there and sound is asserted on the way."""
    document = json.loads(json.dumps(document))
    ome = document.get("attributes", {}).get("ome", document)
    for multiscale in ome.get("multiscales", []):
        name = multiscale.pop("name")
        assert name and "/" not in name
        multiscale.pop("type", None)
        multiscale.pop("metadata", None)
    if "omero" in ome:
        if ome is not document:  # in 0.5 the version is stated once, for the group
            ome["omero"].pop("version", None)
        assert ome["omero"].pop("name")
        (channel,) = ome["omero"]["channels"]
        window = channel.pop("window")
        assert set(window) == {"min", "max", "start", "end"}
        assert window["min"] <= window["start"] < window["end"] <= window["max"]
    if "zarr_consolidated_format" in document:
        document["metadata"] = {path: relaxed(inner) for path, inner in document["metadata"].items()}
    return document


def view_name(image, box=None, chunk=None, v3=False):
    crop = ".crop-" + "_".join(f"{axis}{a}-{b}" for axis, (a, b) in zip("zyx", box)) if box else ""
    return f"{image}{crop}{f'.chunk-{chunk}' if chunk else ''}{'.v3' if v3 else ''}.zarr"


def cut(levels, scales, box, offsets=None):
    """The levels of a crop: (array, first voxel) from the finest to the last that is not empty.

    `offsets`: for each level the position of its first voxel in voxels of its own, where that is not 0.
    """
    offsets = offsets or [[0, 0, 0]] * len(levels)
    for level, scale, offset in zip(levels, scales, offsets, strict=True):
        factor = [fractions.Fraction(s) / fractions.Fraction(f) for s, f in zip(scale, scales[0])]
        factor = [fractions.Fraction(max(1, round(f))) if abs(f - round(f)) < 1e-3 * f else f.limit_denominator(1000) for f in factor]
        starts = [max(0, math.floor((a + o) / f) - own) for (a, _), f, o, own in zip(box, factor, offsets[0], offset)]
        ends = [min(math.ceil((b + o) / f) - own, n) for (_, b), f, o, own, n in zip(box, factor, offsets[0], offset, level.shape)]
        if any(a >= b for a, b in zip(starts, ends)):
            return
        yield level[tuple(slice(a, b) for a, b in zip(starts, ends))], starts
