"""Run by the Python that has the tools of connectomics: says what they make of arrays, without any option.

clients.py WHAT   standard input: a list of paths; standard output: a list of what WHAT found, one for each
"""

import json
import logging
import pathlib
import sys

logging.disable(logging.WARNING)


def funlib(path):
    from funlib.persistence import open_ds

    array = open_ds(path)
    return {"begin": list(array.roi.begin), "shape": list(array.roi.shape), "voxel_size": list(array.voxel_size),
            "units": list(array.units), "axis_names": list(array.axis_names), "sum": int(array[array.roi].astype("int64").sum())}


def gunpowder(path):
    import gunpowder

    store, _, dataset = path.rpartition("/")
    key = gunpowder.ArrayKey("RAW")
    source = gunpowder.ZarrSource(store, {key: dataset})
    with gunpowder.build(source):
        spec = source.spec[key]
        roi = gunpowder.Roi(spec.roi.begin, spec.voxel_size * 4)
        block = source.request_batch(gunpowder.BatchRequest({key: gunpowder.ArraySpec(roi=roi)}))[key].data
    return {"begin": list(spec.roi.begin), "voxel_size": list(spec.voxel_size), "first": block.tolist()}


def daisy(path):
    """Blocks over the whole array, by the world coordinates of funlib: how many voxels they hold and their sum."""
    import daisy as scheduler
    from funlib.persistence import open_ds

    array = open_ds(path)
    size = array.voxel_size * 32
    seen = []

    def process(block):
        part = array[block.write_roi.intersect(array.roi)]
        seen.append((part.size, int(part.astype("int64").sum())))

    block = scheduler.Roi((0,) * 3, size)
    task = scheduler.Task("sum", array.roi, block, block, process_function=process, num_workers=1, fit="overhang")
    assert scheduler.run_blockwise([task], multiprocessing=False)
    return {"voxels": sum(count for count, _ in seen), "sum": sum(total for _, total in seen)}


def iohub(path):
    from iohub import open_ome_zarr

    with open_ome_zarr(path, mode="r") as image:
        return {"channels": image.channel_names, "scale": list(image.scale)[-3:], "shape": list(image["0"].shape)}


def iohub_data(path):
    from click.testing import CliRunner
    from iohub import open_ome_zarr
    from iohub.cli.cli import cli

    info = CliRunner().invoke(cli, ["info", "-v", path])
    with open_ome_zarr(path, mode="r") as image:
        found = {"names": list(image), "shape": list(image.data.shape), "sum": int(image.data[:].astype("int64").sum())}
    return found | {"info": info.output, "failed": info.exit_code}


def cloudvolume_zarr(path):
    from hashlib import sha256

    import numpy as np
    from cloudvolume import CloudVolume

    volumes = [CloudVolume(f"zarr3://file://{path}", mip=0, progress=False)]
    volumes += [CloudVolume(f"zarr3://file://{path}", mip=mip, progress=False) for mip in volumes[0].available_mips[1:]]
    levels = []
    for number, volume in enumerate(volumes):
        # It reckons the sizes of coarser levels itself, rounded up.
        stated = json.loads((pathlib.Path(path) / str(number) / "zarr.json").read_text())["shape"]
        voxels = np.asarray(volume[:])[..., 0].T[tuple(slice(size) for size in stated)]
        levels.append({"shape": voxels.shape, "sha256": sha256(voxels.tobytes()).hexdigest()})
    return {"resolution": volumes[0].resolution.tolist(), "levels": levels}


if __name__ == "__main__":
    print(json.dumps([globals()[sys.argv[1]](path) for path in json.load(sys.stdin)]))
