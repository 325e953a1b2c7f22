"""OpenOrganelle's nucleus accumbens: a Zarr pyramid in a bucket."""

import json

from .files import SEED, truth
from .texture import neuropil

GROUP = "janelia-cosem-datasets/jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/recon-2/em/fibsem-int16"
LABELS = "janelia-cosem-datasets/jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/recon-2/labels/inference/segmentations/nuc"
DATASET = "jrc_mus-nacc-2"
#: Folders that hold nothing else.
PARTS = ["s3"]


def write(output):
    """A Zarr v2 pyramid with the attributes as the archive writes them."""
    import numcodecs
    import numpy
    import zarr

    folder = output / "s3" / GROUP
    shape = (70, 150, 170)
    light, _ = neuropil(shape, SEED + 2, 1.25, 1.0)
    # As in a real acquisition values sit around some offset; few distinct ones keep the chunks small.
    voxels = ((light * 42).round() * 59 - 1500).astype(numpy.int16)
    # The last chunk holds only the fill value and is therefore not written.
    voxels[64:, 128:, 128:] = 0
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    datasets = []
    arrays = {}
    level = voxels
    for number in range(4):
        if number:
            half = [n // 2 for n in level.shape]
            cut = level[: 2 * half[0], : 2 * half[1], : 2 * half[2]].astype(numpy.float64)
            level = cut.reshape(half[0], 2, half[1], 2, half[2], 2).mean(axis=(1, 3, 5)).round().astype(numpy.int16)
        array = group.create_array(
            f"s{number}", shape=level.shape, dtype="<i2", chunks=(64, 64, 64), fill_value=0, order="C",
            compressors=numcodecs.Zstd(level=1), chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        array[:] = level
        assert (zarr.open_array(str(folder / f"s{number}"), mode="r")[:] == level).all()
        arrays[f"s{number}"] = truth(level)
        factor = 2.0**number
        scale = [2.96 * factor, 4.0 * factor, 4.0 * factor]
        shift = [(s - s0) / 2 for s, s0 in zip(scale, (2.96, 4.0, 4.0))]
        datasets.append({
            "coordinateTransformations": [{"scale": scale, "type": "scale"}, {"translation": shift, "type": "translation"}],
            "path": f"s{number}",
        })
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    attributes = {"multiscales": [{
        "axes": axes, "coordinateTransformations": [{"scale": [1.0, 1.0, 1.0], "type": "scale"}], "datasets": datasets,
        "metadata": None, "name": "", "type": None, "version": "0.4",
    }]}
    (folder / ".zattrs").write_text(json.dumps(attributes, indent=4))
    assert not (folder / "s0/1/2/2").exists()
    return {"em": {**arrays["s0"], "levels": arrays}, "em/labels/nuclei": nuclei(output, shape)}


def nuclei(output, shape):
    """A label image at the grid of level s3 of the image, with levels of its own."""
    import numcodecs
    import numpy
    import zarr

    folder = output / "s3" / LABELS
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    shape = [-(-n // 8) for n in shape]
    grid = numpy.meshgrid(*(numpy.arange(n) for n in shape), indexing="ij")
    inside = sum(((axis - n / 2) / (n / 3)) ** 2 for axis, n in zip(grid, shape)) < 1
    level, datasets, arrays = inside.astype(numpy.uint8), [], {}
    # As many as the image has, as the specification wants; those of the archive have three.
    for number in range(4):
        if number:
            level = level[::2, ::2, ::2]
        array = group.create_array(
            f"s{number}", shape=level.shape, dtype="|u1", chunks=(64, 64, 64), fill_value=0, order="C",
            compressors=numcodecs.Zstd(level=6), chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        array[:] = level
        arrays[f"s{number}"] = truth(level)
        scale = [size * 8 * 2.0**number for size in (2.96, 4.0, 4.0)]
        shift = [(s - s0) / 2 for s, s0 in zip(scale, (2.96, 4.0, 4.0))]
        datasets.append({
            "coordinateTransformations": [{"scale": scale, "type": "scale"}, {"translation": shift, "type": "translation"}],
            "path": f"s{number}",
        })
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    attributes = {"multiscales": [{"axes": axes, "datasets": datasets, "name": "nuc", "version": "0.4"}]}
    (folder / ".zattrs").write_text(json.dumps(attributes, indent=4))
    return {**arrays["s0"], "levels": arrays}
