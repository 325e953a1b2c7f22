"""Small volumes as the archives store them, each at an origin that names versions as its archive does."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import tensorstore

import dm_files
import expected
import faults
import namings
import reference_volumes
from make_precomputed_fixtures import open_scale, read_scale, sharding

IMAGE, ENTRY = 9846137, 11759
SECTIONS = 4
#: Bytes of the index in front of a shard: two minishards.
SHARD_INDEX = 32


@dataclasses.dataclass
class Archive:
    """`source`: its configuration with `{origin}` in place of the address. `naming`: as for an Origin."""

    name: str
    source: dict
    naming: object
    voxels: np.ndarray
    chunk: list
    ending: str  # of the files with voxels; "" where they are named by numbers
    sparse: bool = False  # whether a chunk may be absent
    lossy: bool = False

    def at(self, origin):
        return json.loads(json.dumps(self.source).replace("{origin}", origin.url))

    def indices(self):
        return list(expected.chunk_indices(self.voxels.shape, self.chunk))

    def right(self, index):
        return expected.chunk_bytes(self.voxels, self.chunk, index)

    def is_right(self, index, found):
        right = self.right(index)
        if found == right or not self.lossy or not isinstance(found, bytes) or len(found) != len(right):
            return found == right
        off = np.abs(np.frombuffer(found, np.uint8).astype(int) - np.frombuffer(right, np.uint8))
        return off.max() <= 1 and (off > 0).mean() < 0.03

    def holds_voxels(self, path):
        name = path.rpartition("/")[2]
        return name.endswith(self.ending) if self.ending else name[:1].isdigit()


def write(root, seed=0):
    """All of them below `root`, by name."""
    root = pathlib.Path(root)
    made = {}
    shape = (4, 400, 330)  # planes longer than what opening a file reads
    tiff = {"voxel_size": [5.0, 5.0, 5.0], "chunk": [1, 200, 165]}
    (root / "files").mkdir(parents=True)
    imagej = reference_volumes.imagej(root / "files", "imagej", shape, "u1", seed + 1)
    reference_volumes.imagej(root / "files", "imagej-other", shape, "u1", seed + 2)
    write_json(root / f"webgateway/original_file_paths/{IMAGE}", {"repo": ["x"], "client": ["uod/idr/filesets/imagej.tif"]})
    pixels = {f"Size{axis}": size for axis, size in zip("ZYXCT", (*shape, 1, 1), strict=True)}
    write_json(root / f"api/v0/m/images/{IMAGE}", {"data": {"@id": IMAGE, "Name": "imagej", "Pixels": pixels}})
    idr = {"kind": "idr", "image": IMAGE, "server": "{origin}", "files": "{origin}/files", **tiff}
    made["imagej"] = Archive("imagej", idr, namings.nginx, imagej.levels[0], tiff["chunk"], ".tif")

    (root / "itk").mkdir()
    itk = reference_volumes.itk(root / "itk", "itk", shape, "u1", seed + 3)
    reference_volumes.itk(root / "itk", "itk-other", shape, "u1", seed + 4)
    made["itk"] = Archive("itk", {"kind": "tiff", "url": "{origin}/itk/itk.tif", **tiff}, namings.dated, itk.levels[0], tiff["chunk"], ".tif")

    sections = reference_volumes.noise((SECTIONS, 256, 320), "u1", seed + 5)
    for z, plane in enumerate(sections):
        dm_files.write(root / "dm" / f"slice_{z:04}.dm3", plane, 3, tags={"Remark": "x" * (37 * z % 211)})
    (root / "empiar" / str(ENTRY)).mkdir(parents=True)
    (root / "empiar" / str(ENTRY) / "data").symlink_to("../../dm")
    one = {"name": "one", "directory": "data", "num_images_or_tilt_series": SECTIONS, "image_width": 320, "image_height": 256}
    write_json(root / f"api/entry/{ENTRY}", {f"EMPIAR-{ENTRY}": {"title": "one", "imagesets": [one]}})
    made["dm"] = Archive("dm", {"kind": "dm3", "url": "{origin}/dm/", "chunk": [1, 128, 160]}, namings.nginx, sections, [1, 128, 160], ".dm3")
    empiar = {"kind": "empiar", "entry": ENTRY, "server": "{origin}", "files": "{origin}/empiar/", "chunk": [1, 128, 160]}
    made["empiar"] = dataclasses.replace(made["dm"], name="empiar", source=empiar)

    zarr = reference_volumes.zarr_group(root, "zarr", shape=(32, 64, 128), dtype="<u2", chunks=(16, 32, 32), seed=seed + 6, levels=1, s3=True,
                            compressors=reference_volumes.v2_codec("zstd", level=3))
    made["zarr"] = Archive("zarr", zarr.source, namings.s3, zarr.levels[0], [16, 32, 32], "", sparse=True)

    for name, encoding in (("raw", "raw"), ("jpeg", "jpeg")):
        made[name] = write_shards(root, name, encoding, seed + 7)
    stamp(root)
    faults.write_login_page(root)
    return made


def write_shards(root, name, encoding, seed):
    """A precomputed volume of two shards of two minishards each."""
    folder, shape = root / "bucket" / name, (64, 64, 96)
    scale = {"key": "s0", "size": shape[::-1], "resolution": [8, 8, 8], "chunk_size": [32, 32, 32], "encoding": encoding,
             "sharding": sharding(1, 1, 1)} | ({"jpeg_quality": 80} if encoding == "jpeg" else {})
    store = open_scale(folder, scale, "uint8")
    made = (reference_volumes.texture if encoding == "jpeg" else reference_volumes.noise)(shape, "uint8", seed)
    with tensorstore.Transaction() as transaction:
        store.with_transaction(transaction)[..., 0] = made.transpose(2, 1, 0)
    source = {"kind": "precomputed", "url": f"gs://bucket/{name}/", "endpoint": "{origin}"}
    return Archive(name, source, namings.google, read_scale(folder, None, 0), [32, 32, 32], ".shard", sparse=True, lossy=encoding == "jpeg")


def write_json(folder, document):
    """What an origin gives for the path of the folder with a slash behind it."""
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps(document))


def stamp(root, start=1_700_000_000):
    """Gives every file a date of its own, so that none has the name of another."""
    for number, file in enumerate(sorted(file for file in root.rglob("*") if file.is_file())):
        os.utime(file, (start + 60 * number,) * 2)


def write_with_older(folder):
    """The archives below `folder/now`, and beside them what they were."""
    older = pathlib.Path(folder) / faults.OLDER
    write(older, seed=100)
    stamp(older, 1_600_000_000)
    return pathlib.Path(folder) / "now", write(pathlib.Path(folder) / "now")
