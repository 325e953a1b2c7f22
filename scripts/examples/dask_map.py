"""Maps a function over the blocks of a list, in parallel by dask: emfs exec -- python dask_map.py list.csv [--allow-absent]

Prints a line per block: its row, and its mean. A read that fails ends the job, whatever dask has done by then; voxels that the
archive does not have end it with 1 unless they are allowed. So does a place that does not lie in its array.
"""

import os
import sys

import dask.array
import dask.base

import emfs_job


def main(path):
    rows = emfs_job.rows(path)
    arrays, means = {}, []
    for row in rows:
        name = f"{os.environ['EMFS_MOUNT']}/{row['store']}/{row['level']}"
        array = arrays.setdefault(name, dask.array.from_zarr(name))
        means.append(array[emfs_job.box(row, array.shape)].mean(dtype="float64"))
    # Rows of one region lie together in the list, and so do their chunks in what is computed at a time.
    for first in range(0, len(rows), 64):
        for number, mean in enumerate(dask.base.compute(*means[first : first + 64], scheduler="threads"), first):
            print(f"{number},{mean:.6f}")


if __name__ == "__main__":
    with emfs_job.all_read("--allow-absent" in sys.argv):
        main(sys.argv[1])
