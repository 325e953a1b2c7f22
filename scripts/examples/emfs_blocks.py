"""Blocks of a list of `emfs sample` for PyTorch. Needs numpy, torch and zarr 3 (or TensorStore); made to be copied.

    data = Blocks("list.csv", split="train", labels="mitochondria", stats="stats.json")   # map style
    stream = Stream(data, shuffle=32, seed=epoch)                                         # by regions, over ranks and workers
"""

import csv, itertools, json, os, random
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info


class ReadFailed(RuntimeError):
    """Voxels could not be read, or are not where the list says. Has to end the run."""


def open_array(reader, path):
    if reader == "zarr":
        import zarr
        return zarr.open_array(path, mode="r")
    import tensorstore  # as tensorstore-zarr or tensorstore-zarr3
    spec = {"driver": reader.removeprefix("tensorstore-"), "kvstore": {"driver": "file", "path": path}, "recheck_cached_data": False}
    return tensorstore.open(spec, read=True).result()


def moments(told, row):
    """Mean and standard deviation as `emfs stats` told them of the row's store, else the only ones of its image."""
    found = [one for one in told if (one.get("store"), one["level"]) == (row["store"], row["level"])]
    found = found or [one for one in told if all(one[key] == row.get(key) for key in ("dataset", "image", "level"))]
    if len({(one["mean"], one["std"]) for one in found}) != 1:
        raise ReadFailed(f"{row['store']} {row['level']}: there are {len(found) or 'no'} statistics of its image, and none of this store")
    return found[0]["mean"], found[0]["std"] or 1.0


class Blocks(Dataset):
    """Gives (image, row) or (image, labels, row): float32 with one channel where there are statistics, else voxels as stored.
    Arrays are opened by the process that reads them, so workers may be forked or spawned. `root`: the mount, else $EMFS_MOUNT.
    `position`: a file that gets the number of each row that was read, for `emfs warm --follow` and for going on from there.
    """

    def __init__(self, path, split=None, labels=None, stats=None, root=None, reader="zarr", position=None):
        text = open(path, encoding="utf-8-sig").read()  # as `emfs sample` prints it, with --format json too
        rows = json.loads(text)["samples"] if text.lstrip()[:1] == "{" else csv.DictReader(line for line in text.splitlines() if line[:1] != "#")
        rows = ({key: "" if cell is None else str(cell) for key, cell in row.items()} for row in rows)
        self.rows = [row | {"row": number} for number, row in enumerate(rows) if split in (None, row.get("split"))]
        self.root, self.labels, self.reader, self.position = root or os.environ["EMFS_MOUNT"], labels, reader, position
        if not self.rows:
            raise ReadFailed(f"{path}: the list names nothing" + (f" of split {split}" if split else ""))
        told = json.load(open(stats)) if stats else []
        self.stats = {(row["store"], row["level"]): moments(told, row) for row in self.rows} if stats else {}
        self.opened = {}

    def __getstate__(self):
        return self.__dict__ | {"opened": {}}

    def __len__(self):
        return len(self.rows)

    def open(self, path):
        if (os.getpid(), path) not in self.opened:
            self.opened[os.getpid(), path] = open_array(self.reader, path)
        return self.opened[os.getpid(), path]

    def read(self, path, box):
        try:  # reshape fails where the box does not lie in the array, of which readers give what there is
            return np.asarray(self.open(path)[box]).reshape([side.stop - side.start for side in box])
        except Exception as error:  # whatever it is: no block may be missing unnoticed
            raise ReadFailed(f"{path} at {[side.start for side in box]}: {error}") from error

    def grid(self, store, level=None, scale=None):
        """Name, nm per voxel and centre of the first one of a level, or of that nearest to a scale."""
        v3 = ".v3.zarr" in store
        found, attributes = [], json.load(open(f"{self.root}/{store}/{'zarr.json' if v3 else '.zattrs'}"))
        for entry in (attributes["attributes"]["ome"] if v3 else attributes)["multiscales"][0]["datasets"]:
            told = {one["type"]: np.array(one[one["type"]]) for one in entry["coordinateTransformations"]}
            found.append((entry["path"], told["scale"], told.get("translation", np.zeros(3))))
        return min(found, key=lambda one: one[0] != level if level else np.abs(np.log(one[1] / scale)).sum())

    def labels_of(self, row, box):
        """The labels at the centres of the block's voxels, by nanometres; 0 beyond the labels."""
        store = f"{row['store']}/labels/{self.labels}"
        _, scale, first = self.grid(row["store"], level=row["level"])
        level, size, begin = self.grid(store, scale=scale)
        at = [(first[n] + np.arange(box[n].start, box[n].stop) * scale[n] - begin[n]) / size[n] + 0.5 for n in range(3)]
        at = [np.floor(axis + 1e-6).astype(int) for axis in at]  # a centre on a border, or nearly, belongs to what follows
        inside = [(axis >= 0) & (axis < extent) for axis, extent in zip(at, self.open(f"{self.root}/{store}/{level}").shape)]
        if not all(axis.any() for axis in inside):
            raise ReadFailed(f"{store} has no labels for {row['store']} at {[side.start for side in box]}")
        part = tuple(slice(axis[here].min(), axis[here].max() + 1) for axis, here in zip(at, inside))
        picked = self.read(f"{self.root}/{store}/{level}", part)[np.ix_(*(np.clip(axis, side.start, side.stop - 1) - side.start for axis, side in zip(at, part)))]
        return np.where(inside[0][:, None, None] & inside[1][:, None] & inside[2], picked, 0)

    def __getitem__(self, index):
        row = self.rows[index]
        box = tuple(slice(int(row[axis]), int(row[axis]) + int(row["d" + axis])) for axis in "zyx")
        given = [self.read(f"{self.root}/{row['store']}/{row['level']}", box)]
        if self.stats:
            mean, std = self.stats[row["store"], row["level"]]
            given = [((given[0].astype(np.float32) - np.float32(mean)) / np.float32(std))[None]]
        if self.labels:
            given.append(self.labels_of(row, box).astype(np.int64))
        if self.position:
            open(self.position, "ab", buffering=0).write(b"%d\n" % row["row"])
        return *(torch.from_numpy(np.ascontiguousarray(one)) for one in given), row["row"]


class Stream(IterableDataset):
    """The blocks region by region, each once over all ranks and workers. Without a seed in the order of the list; else regions
    are shuffled, and blocks in a buffer of `shuffle`. `skip`: rows read before."""

    def __init__(self, data, shuffle=0, seed=None, skip=(), rank=int(os.environ.get("RANK", 0)), world=int(os.environ.get("WORLD_SIZE", 1))):
        self.data, self.shuffle, self.seed, self.skip, self.rank, self.world = data, shuffle, seed, frozenset(skip), rank, world

    def order(self):
        rows, order, buffer, draw = self.data.rows, [], [], random.Random(self.seed)
        region = lambda index: (rows[index]["store"], rows[index]["level"], rows[index].get("split"), rows[index].get("region") or index)
        groups = [list(group) for _, group in itertools.groupby(range(len(rows)), region)]
        if self.seed is not None:
            draw.shuffle(groups)
        for index in itertools.chain.from_iterable(groups):
            buffer.append(index)
            if self.seed is None or len(buffer) > self.shuffle:
                order.append(buffer.pop(draw.randrange(len(buffer))))
        draw.shuffle(buffer)
        return [index for index in order + buffer if rows[index]["row"] not in self.skip]

    def __iter__(self):
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        yield from (self.data[index] for index in self.order()[self.rank * workers + number :: self.world * workers])
