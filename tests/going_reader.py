"""A reading process of the tests of mounts that go away: opens arrays, reads random boxes of them and goes on whatever happens.

going_reader.py KIND       KIND: zarr2, nested2 (Zarr 2.18's DirectoryStore of the array, NestedDirectoryStore of its group) | zarr3
                           | tensorstore | strict2, strict3 (with the stores of README.md)

Standard input: a line of JSON, {name: [path of an array, its voxels as .npy]}; then lines that say what to do:
near | all     read the first quarter along y (what it does at first), or anywhere
later N        read nothing for N seconds, then anywhere; answers `waiting`
count          print counts since the last count: {name: {"right": n, "wrong": n, "error": n, "last": text of the last error}}
The end of standard input ends it. It prints `reading` once it has read from every array.
"""

import json
import os
import sys
import threading
import time

import numpy as np


def opened(kind, path):
    if kind == "tensorstore":
        import tensorstore

        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}, "fill_missing_data_reads": False}
        array = tensorstore.open(spec, open=True, read=True).result()
        return lambda box: array[box].read().result()
    import zarr

    if kind == "zarr2":
        store = zarr.DirectoryStore(path)
    elif kind == "nested2":
        array = zarr.open_group(zarr.NestedDirectoryStore(os.path.dirname(path)), mode="r")[os.path.basename(path)]
        return lambda box: array[box]
    elif kind == "zarr3":
        store = path
    elif kind == "strict2":
        class Strict(zarr.DirectoryStore):
            def getitems(self, keys, *, contexts):
                return {key: self._fromfile(os.path.join(self.path, key)) for key in keys}
        store = Strict(path)
    elif kind == "strict3":
        class Strict(zarr.storage.LocalStore):
            async def get(self, key, prototype=None, byte_range=None):
                value = await super().get(key, prototype, byte_range)
                if value is None and key.rpartition("/")[2].isdigit():
                    raise FileNotFoundError(f"{self.root}/{key}")
                return value
        store = Strict(path, read_only=True)
    array = zarr.open_array(store, mode="r")
    return lambda box: array[box]


def main(kind):
    arrays = {name: (opened(kind, path), np.load(truth, mmap_mode="r")) for name, (path, truth) in json.loads(sys.stdin.readline()).items()}
    orders, rng = {"all": False, "wait": 0, "end": False}, np.random.default_rng()

    def fresh():
        return {name: {"right": 0, "wrong": 0, "error": 0, "last": ""} for name in arrays}

    counts, lock = fresh(), threading.Lock()

    def listen():
        nonlocal counts
        for line in sys.stdin:
            with lock:
                if line.strip() == "count":
                    print(json.dumps(counts), flush=True)
                    counts = fresh()
                elif line.startswith("later"):
                    orders.update(all=True, wait=float(line.split()[1]))
                else:
                    orders["all"] = line.strip() == "all"
        orders["end"] = True

    listener = threading.Thread(target=listen, daemon=True)
    first = True
    while not orders["end"]:
        for name, (read, truth) in arrays.items():
            if orders["wait"]:
                print("waiting", flush=True)
                time.sleep(orders["wait"])
                orders["wait"] = 0
            far = orders["all"]
            reach = [truth.shape[0], truth.shape[1] if far else truth.shape[1] // 4, truth.shape[2]]
            start = [int(rng.integers(0, max(1, n - 19))) for n in reach]
            box = tuple(slice(a, min(a + 20, n)) for a, n in zip(start, reach))
            with lock:
                count = counts[name]
            try:
                found = np.asarray(read(box))
                what = "right" if np.array_equal(found, truth[box]) else "wrong"
            except Exception as error:
                what, count["last"] = "error", f"{type(error).__name__}: {error}"
            count[what] += 1
        if first:
            print("reading", flush=True)
            listener.start()
            first = False
        time.sleep(0.005)


if __name__ == "__main__":
    main(sys.argv[1])
