"""Run by the Python that has Zarr 2.18: reads stores as pipelines of that time do, or writes one.

legacy.py read    standard input: {"stores": {name: path of a .zarr group}, "out": folder, "compressed": may they be}; writes out/NAME.LEVEL.npy
legacy.py write   standard input: the folder, arrays and options of a group
"""

import json
import os
import sys

import numcodecs
import numpy as np
import zarr


def read(order):
    for name, path in order["stores"].items():
        group = zarr.open_group(path, mode="r")
        for level in group.attrs["multiscales"][0]["datasets"]:
            array = group[level["path"]]
            assert (array.compressor is None or order.get("compressed")) and array.dtype.newbyteorder("<") == array.dtype
            np.save(os.path.join(order["out"], f"{name}.{level['path']}.npy"), array[...])


def write(order):
    group = zarr.open_group(zarr.DirectoryStore(order["folder"]), mode="w")
    group.attrs.update(order["attributes"])
    for path, array in np.load(order["arrays"]).items():
        stored = group.create_dataset(
            path, shape=array.shape, dtype=array.dtype, chunks=tuple(order["chunks"]), fill_value=order["fill"], order=order["order"],
            dimension_separator=order["separator"], compressor=numcodecs.get_codec(order["codec"]), write_empty_chunks=False)
        stored[...] = array


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](json.load(sys.stdin))
