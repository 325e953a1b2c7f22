"""Reads the blocks of a list with TensorStore, many at a time: emfs exec -- python tensorstore.py list.csv [--allow-absent]

Prints the SHA-256 of all voxels in the order of the list. Ends with 1 where a read failed, or met voxels that the archive does
not have, unless they are allowed.
"""

import hashlib
import os
import sys

# This file has the library's name, and whoever imports that gets the library.
before, here = list(sys.path), os.path.dirname(os.path.abspath(__file__))
sys.path = [path for path in before if os.path.abspath(path or ".") != here]
sys.modules.pop("tensorstore", None)
import numpy  # noqa: E402
import tensorstore  # noqa: E402

sys.path = before
import emfs_job  # noqa: E402

#: Blocks that are under way: as many as fit into the memory that the job has for them.
AT_ONCE = 16


def main(path):
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}, "file_io_concurrency": {"limit": 64}})
    arrays, under_way, digest = {}, [], hashlib.sha256()

    def take():
        # An error of the mount is raised here, and ends the job.
        digest.update(numpy.ascontiguousarray(under_way.pop(0).result()).tobytes())

    for row in emfs_job.rows(path):
        name = f"{os.environ['EMFS_MOUNT']}/{row['store']}/{row['level']}"
        if name not in arrays:
            driver = "zarr3" if os.path.exists(f"{name}/zarr.json") else "zarr"
            spec = {"driver": driver, "kvstore": {"driver": "file", "path": name}, "recheck_cached_data": False}
            arrays[name] = tensorstore.open(spec, read=True, context=context).result()
        under_way.append(arrays[name][emfs_job.box(row)].read())
        if len(under_way) == AT_ONCE:
            take()
    while under_way:
        take()
    return digest.hexdigest()


if __name__ == "__main__":
    with emfs_job.all_read("--allow-absent" in sys.argv):
        found = main(sys.argv[1])
    print(found)
