"""Prints one SHA-256 over all blocks of a list, in the order of the list, however they were read.

    block_hash.py LIST plain                                       with the zarr of this interpreter, one after the other
    block_hash.py LIST zarr|tensorstore-zarr WORKERS METHOD RANKS [POSITION]   with emfs_blocks, shuffled, over workers and ranks (gloo)
"""

import csv
import hashlib
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts" / "examples"))


def digest(voxels):
    return hashlib.sha256(voxels.tobytes()).digest()


def plain(path):
    import numpy
    import zarr

    arrays, found = {}, []
    for row in csv.DictReader(line for line in open(path) if not line.startswith("#")):
        name = f"{os.environ['EMFS_MOUNT']}/{row['store']}/{row['level']}"
        array = arrays.setdefault(name, zarr.open(name, mode="r"))
        box = tuple(slice(int(row[axis]), int(row[axis]) + int(row["d" + axis])) for axis in "zyx")
        found.append(digest(numpy.ascontiguousarray(array[box])))
    return found


def read(rank, path, reader, workers, method, ranks, meeting, position=None):
    import torch
    from torch.utils.data import DataLoader

    from emfs_blocks import Blocks, Stream

    torch.set_num_threads(1)
    skip = [int(row) for row in open(position)] if position and os.path.exists(position) else []
    stream = Stream(Blocks(path, reader=reader, position=position), shuffle=8, seed=3, rank=rank, world=ranks, skip=skip)
    loader = DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context=method if workers else None)
    found = [(row, digest(image.numpy())) for image, row in loader]
    if ranks == 1:
        return found
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    parts = [None] * ranks
    torch.distributed.all_gather_object(parts, found)
    torch.distributed.destroy_process_group()
    if rank == 0:
        report([entry for part in parts for entry in part])


def report(found):
    rows = sorted(row for row, _ in found)
    assert rows == list(range(len(rows))), "each row once"
    print(hashlib.sha256(b"".join(part for _, part in sorted(found))).hexdigest(), flush=True)


def main(path, reader, workers="0", method="fork", ranks="1", position=None):
    if reader == "plain":
        print(hashlib.sha256(b"".join(plain(path))).hexdigest())
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments = path, reader, int(workers), method, int(ranks), f"{folder}/meeting", position
        if int(ranks) == 1:
            found = read(0, *arguments)
            if position:
                print(len(found), "read", flush=True)
            else:
                report(found)
        else:
            import torch.multiprocessing

            torch.multiprocessing.spawn(read, arguments, nprocs=int(ranks))


if __name__ == "__main__":
    main(*sys.argv[1:])
