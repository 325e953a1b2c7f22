"""The ways people read a store. Each takes the path of a store, a level and whether the store is of Zarr v3; returns all voxels."""

import os
import warnings

import numpy as np


def zarr_array(store, level, v3):
    import zarr

    return zarr.open_array(store / f"s{level}", mode="r", zarr_format=3 if v3 else 2)[...]


def zarr_group(store, level, v3):
    import zarr

    return zarr.open_group(store, mode="r")[f"s{level}"][...]


def zarr_default_mode(store, level, v3):
    """The default mode is for appending, which a read-only tree must not refuse."""
    import zarr

    return zarr.open_group(store)[f"s{level}"][...]


def zarr_consolidated(store, level, v3):
    import zarr

    if v3:
        return zarr_group(store, level, v3)
    return zarr.open_consolidated(store, mode="r")[f"s{level}"][...]


def tensorstore_driver(store, level, v3):
    import tensorstore

    spec = {"driver": "zarr3" if v3 else "zarr", "kvstore": {"driver": "file", "path": f"{store}/s{level}/"},
            "fill_missing_data_reads": False}
    return tensorstore.open(spec, open=True, read=True).result().read().result()


def tensorstore_auto(store, level, v3):
    import tensorstore

    return tensorstore.open({"driver": "auto", "kvstore": f"file://{store}/s{level}/"}, open=True, read=True).result().read().result()


def dask_array(store, level, v3):
    import dask.array

    return dask.array.from_zarr(str(store), component=f"s{level}").compute(scheduler="threads")


def xarray_dataset(store, level, v3):
    import xarray

    paths = [f"s{n}" for n in range(64) if (store / f"s{n}").is_dir()]
    others = [path for path in paths if path != f"s{level}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = xarray.open_zarr(store, drop_variables=others)
    assert dataset[f"s{level}"].dims == ("z", "y", "x")
    return dataset[f"s{level}"].values


ALL = [zarr_array, zarr_group, zarr_default_mode, zarr_consolidated, tensorstore_driver, tensorstore_auto, dask_array, xarray_dataset]


def assert_equal(found, truth, what, lossy=0):
    """Same shape, same type (in the reader's byte order: little), same bits, or off by up to `lossy` in few voxels."""
    found = np.asarray(found)
    truth = np.ascontiguousarray(truth).astype(truth.dtype.newbyteorder("<"))
    assert found.shape == truth.shape, f"{what}: shape {found.shape}, should be {truth.shape}"
    assert found.dtype == truth.dtype, f"{what}: type {found.dtype}, should be {truth.dtype}"
    if lossy:
        off = np.abs(found.astype(np.int64) - truth.astype(np.int64))
        assert off.max() <= lossy and (off > 0).sum() <= max(2, 0.03 * off.size), f"{what}: off by {off.max()}, {(off > 0).mean():.2%} of voxels differ"
        return
    if found.tobytes() != truth.tobytes():
        different = np.argwhere(found.view(f"V{found.itemsize}") != truth.view(f"V{truth.itemsize}")) if found.itemsize else []
        first = tuple(different[0])
        raise AssertionError(f"{what}: {len(different)} of {truth.size} voxels differ, first at {first}: {found[first]}, should be {truth[first]}")


def read_file(path):
    """The bytes of a file, asked for in one piece and without the calls that Python's `open` adds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 26)
    finally:
        os.close(descriptor)
