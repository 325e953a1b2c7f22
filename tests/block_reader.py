"""A reading process of the load tests.

block_reader.py chunks FOLDER TRUTH.npy CHUNK SEED SECONDS   random chunk files of a level, dropped from the page cache behind each read
block_reader.py forked STORE TRUTH.npy SEED BLOCKS           four forked workers, random 128³ blocks by zarr-python 3

Ends with 0 and a line with the number of reads when every one was right; an error of the operating system ends it with 3.
"""

import json
import multiprocessing
import os
import sys
import time

import numpy as np


def chunks(folder, truth, chunk, seed, seconds):
    import expected

    voxels = np.load(truth, mmap_mode="r")
    grid = expected.grid(voxels.shape, chunk)
    rng = np.random.default_rng(seed)
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        index = [int(rng.integers(n)) for n in grid]
        descriptor = os.open(os.path.join(folder, *map(str, index)), os.O_RDONLY)
        try:
            found = os.read(descriptor, 1 << 27)
            while len(found) < os.fstat(descriptor).st_size and (more := os.read(descriptor, 1 << 27)):
                found += more
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        if found != expected.chunk_bytes(voxels, chunk, index):
            sys.exit(f"wrong bytes in {folder} {index}")
        count += 1
    print(count)


def forked(store, truth, seed, blocks):
    import zarr

    voxels = np.load(truth, mmap_mode="r")
    array = zarr.open_group(store, mode="r")["s0"]
    array[:1, :1, :1]  # a read in the parent, which starts the threads that a fork does not take along

    def work(number):
        rng = np.random.default_rng([seed, number])
        for _ in range(blocks):
            start = [int(rng.integers(0, max(1, n - 127))) for n in voxels.shape]
            block = tuple(slice(a, a + 128) for a in start)
            if not np.array_equal(array[block], voxels[block]):
                os.write(2, f"wrong voxels at {start}\n".encode())
                os._exit(1)

    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        if worker.exitcode != 0:
            sys.exit(f"a worker ended with {worker.exitcode}")
    print(4 * blocks)


if __name__ == "__main__":
    try:
        if sys.argv[1] == "chunks":
            chunks(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]))
        else:
            forked(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
