"""Blocks of a list of `emfs sample` for PyTorch. Needs numpy, torch and zarr 3 (or TensorStore); made to be copied.

    data = Blocks("list.csv", split="train", labels="mitochondria", stats="stats.json")      # map style, any order
    stream = Stream(data, shuffle=32, seed=epoch)                                            # by regions, over ranks and workers
    loader = DataLoader(stream, batch_size=4, num_workers=4)
"""

import csv
import json
import os
import random
import subprocess

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info


class ReadFailed(RuntimeError):
    """Voxels could not be read, or are not where the list says. Must end the run."""


def read_list(path, split=None):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    for number, row in enumerate(rows):
        row["row"] = number
        row["box"] = tuple(slice(int(row[at]), int(row[at]) + int(row["d" + at])) for at in "zyx")
    return [row for row in rows if split is None or row["split"] == split]


class Blocks(Dataset):
    """Gives (image, row), or (image, labels, row). Images are float32 with one channel where there are statistics, else as stored.

    Arrays are opened in the process that reads them, so that workers may be forked or spawned. `root`: the mount, $EMFS_MOUNT.
    `position`: a file that gets the number of each row that was read, for `emfs warm --follow` and to go on from there.
    """

    def __init__(self, path, split=None, labels=None, stats=None, root=None, reader="zarr", position=None):
        self.rows = read_list(path, split)
        self.root, self.labels, self.reader, self.position = root or os.environ["EMFS_MOUNT"], labels, reader, position
        with open(stats or os.devnull) as file:
            stats = json.load(file) if stats else []
        self.stats = {(entry["dataset"], entry["image"], entry["level"]): (entry["mean"], entry["std"] or 1.0) for entry in stats}
        self.opened = {}

    def __getstate__(self):
        return self.__dict__ | {"opened": {}}

    def __len__(self):
        return len(self.rows)

    def open(self, path):
        key = os.getpid(), path
        if key not in self.opened:
            if self.reader == "zarr":
                import zarr
                self.opened[key] = zarr.open_array(path, mode="r")
            else:
                import tensorstore
                driver = "zarr3" if os.path.exists(f"{path}/zarr.json") else "zarr"
                spec = {"driver": driver, "kvstore": {"driver": "file", "path": path}}
                self.opened[key] = tensorstore.open(spec, read=True, recheck_cached_data=False, recheck_cached_metadata="open").result()
        return self.opened[key]

    def read(self, path, box):
        try:
            array = self.open(path)
            voxels = np.asarray(array[box] if self.reader == "zarr" else array[box].read().result())
        except Exception as error:  # whatever a reader raises: no block may be missing unnoticed
            raise ReadFailed(f"{path} at {[side.start for side in box]}: {error}") from error
        if voxels.shape != tuple(side.stop - side.start for side in box):
            raise ReadFailed(f"{path} at {[side.start for side in box]}: the box does not lie in the array")
        return voxels

    def grid(self, store, level=None, scale=None):
        """Path, nm per voxel and centre of the first one of a level, or of that nearest to a scale."""
        v3 = ".v3.zarr" in store
        with open(f"{self.root}/{store}/{'zarr.json' if v3 else '.zattrs'}") as file:
            attributes = json.load(file)
        multiscale = (attributes["attributes"]["ome"] if v3 else attributes)["multiscales"][0]
        found = []
        for entry in multiscale["datasets"]:
            transforms = {one["type"]: np.array(one[one["type"]]) for one in entry["coordinateTransformations"]}
            found.append((entry["path"], transforms["scale"], transforms.get("translation", np.zeros(3))))
        chosen = (lambda one: one[0] != level) if level else (lambda one: np.abs(np.log(one[1] / scale)).sum())
        return min(found, key=chosen)

    def labels_of(self, row):
        """The labels at the centres of the block's voxels, by nanometres; 0 where there are none."""
        store = f"{row['store']}/labels/{self.labels}"
        _, scale, first = self.grid(row["store"], level=row["level"])
        level, size, begin = self.grid(store, scale=scale)
        at = [np.rint((first[n] + np.arange(side.start, side.stop) * scale[n] - begin[n]) / size[n]).astype(int) for n, side in enumerate(row["box"])]
        shape = self.open(f"{self.root}/{store}/{level}").shape
        inside = [(axis >= 0) & (axis < extent) for axis, extent in zip(at, shape)]
        if not all(axis.any() for axis in inside):
            raise ReadFailed(f"{store} at {at[0][0], at[1][0], at[2][0]}: the labels do not cover the block")
        box = tuple(slice(axis[here].min(), axis[here].max() + 1) for axis, here in zip(at, inside))
        voxels = self.read(f"{self.root}/{store}/{level}", box)
        picked = voxels[np.ix_(*(np.clip(axis - side.start, 0, side.stop - side.start - 1) for axis, side in zip(at, box)))]
        return np.where(np.logical_and.reduce(np.ix_(*inside)), picked, 0)

    def __getitem__(self, index):
        row = self.rows[index]
        image = self.read(f"{self.root}/{row['store']}/{row['level']}", row["box"])
        given = [image]
        if self.stats:
            mean, std = self.stats[row["dataset"], row["image"], row["level"]]
            given = [((image.astype(np.float32) - np.float32(mean)) / np.float32(std))[None]]
        if self.labels:
            given.append(self.labels_of(row).astype(np.int64))
        if self.position:
            with open(self.position, "ab", buffering=0) as file:
                file.write(b"%d\n" % row["row"])
        return *(torch.from_numpy(np.ascontiguousarray(one)) for one in given), row["row"]


class Stream(IterableDataset):
    """The blocks by regions, so that neighbours share what is fetched; each once over all ranks and workers.

    `seed` None keeps the order of the list; else regions are shuffled, and blocks in a buffer of `shuffle`. `skip`: rows that were read.
    """

    def __init__(self, data, shuffle=0, seed=None, rank=None, world=None, skip=()):
        spread = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if spread else 0
        self.world = world or (torch.distributed.get_world_size() if spread else 1)
        self.data, self.shuffle, self.seed, self.skip = data, shuffle, seed, frozenset(skip)

    def order(self):
        """Indices of `data` in the order of all ranks and workers together."""
        groups = {}
        for index, row in enumerate(self.data.rows):
            groups.setdefault((row["store"], row["level"], row["split"], row["region"] or index), []).append(index)
        groups = list(groups.values())
        if self.seed is not None:
            random.Random(self.seed).shuffle(groups)
        order, buffer, draw = [], [], random.Random(f"buffer {self.seed}")
        for index in (index for group in groups for index in group):
            buffer.append(index)
            if len(buffer) > (self.shuffle if self.seed is not None else 0):
                order.append(buffer.pop(draw.randrange(len(buffer))))
        draw.shuffle(buffer)
        return [index for index in order + buffer if self.data.rows[index]["row"] not in self.skip]

    def __iter__(self):
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in self.order()[self.rank * workers + number :: self.world * workers]:
            yield self.data[index]


def check(mount, mark, allow_absent=False):
    """Raises where a read of the mount has failed since the mark, or met voxels that the archive does not have."""
    done = subprocess.run(["emfs", "status", mount, "--failed", "--absent", "--since", mark, "--json"], capture_output=True, text=True)
    found = json.loads(done.stdout or "{}")
    lines = [entry["line"] for what in ("failed", "absent") if what == "failed" or not allow_absent for entry in found.get(what, {}).get("entries", [])]
    if done.returncode or lines:
        raise ReadFailed("; ".join(lines[:5]) or done.stderr.strip())
