"""Small volumes in the forms of the further public ones: at the same addresses below an origin, stored as what is known of each says."""

import dataclasses
import json
import tomllib
import urllib.parse

import cv2
import numpy as np
import tensorstore

import reference_volumes
from make_precomputed_fixtures import JPEG, RAW, SEGMENTATION, open_scale, read_scale, sharding
from mounting import ROOT, configuration, toml

CATALOGUE = tomllib.loads((ROOT / "src" / "catalog" / "further.toml").read_text())["dataset"]


@dataclasses.dataclass
class Form:
    """A precomputed volume. Chunks, resolutions, places and shapes along z, y, x; `placeholders`: levels that hold no voxels."""

    encoding: str = RAW
    shards: dict | None = None
    chunk: tuple = (64, 64, 64)
    resolution: tuple = (8, 8, 8)
    offset: tuple = (0, 0, 0)
    shape: tuple = (70, 90, 130)
    levels: int = 2
    thick: bool = False  # z is halved last
    placeholders: int = 0

    def write(self, folder, seed):
        labels = self.encoding == SEGMENTATION
        dtype = "uint64" if labels else "uint8"
        written = []
        for level in range(self.levels):
            factor = [1 if self.thick else 2**level, 2**level, 2**level]
            shape = [-(-n // f) for n, f in zip(self.shape, factor)]
            resolution = [n * f for n, f in zip(self.resolution, factor)]
            scale = {
                "key": "_".join(str(n) for n in resolution[::-1]), "size": shape[::-1], "resolution": resolution[::-1],
                "chunk_size": list(self.chunk[::-1]), "encoding": self.encoding,
                "voxel_offset": [o // f for o, f in zip(self.offset, factor)][::-1]}
            scale |= {"sharding": self.shards} if self.shards else {}
            scale |= {"compressed_segmentation_block_size": [8, 8, 8]} if labels else {}
            scale |= {"jpeg_quality": 80} if self.encoding == JPEG else {}
            store = open_scale(folder, scale, dtype, "segmentation" if labels else "image")
            if level < self.placeholders:
                continue
            voxels = (reference_volumes.segments if labels else reference_volumes.texture)(tuple(shape), "u2" if labels else dtype, seed + level)
            voxels = voxels.astype("u8") + np.uint64(1 << 60) if labels else voxels
            with tensorstore.Transaction() as transaction:
                store.with_transaction(transaction)[..., 0] = voxels.transpose(2, 1, 0)
            written.append(read_scale(folder, None, level))
        return written


JPEG_SHARDS = Form(JPEG, sharding(9, 6, 14))
CELLS_IN_SHARDS = Form(SEGMENTATION, sharding(9, 6, 15, data="gzip"))
MICRONS = Form(RAW, sharding(9, 6, 14, data="gzip"), (32, 128, 128), (40, 8, 8), (14816, 13824, 13824), (40, 140, 150), thick=True)

#: Of each precomputed volume, by dataset and label.
FORMS = {
    ("male-cns", None): JPEG_SHARDS, ("male-cns", "segmentation"): CELLS_IN_SHARDS,
    ("manc", None): JPEG_SHARDS, ("manc", "segmentation"): CELLS_IN_SHARDS,
    ("flywire", None): Form(JPEG, None, (64, 64, 64), (40, 4, 4), shape=(70, 400, 520), levels=4, thick=True, placeholders=2),
    ("flywire", "segmentation"): Form(SEGMENTATION, sharding(9, 6, 14, data="gzip"), resolution=(40, 16, 16), thick=True),
    ("h01", None): Form(JPEG, sharding(9, 6, 14), (64, 128, 128), (33, 4, 4), shape=(70, 140, 300), levels=3, thick=True),
    ("h01", "c3"): Form(SEGMENTATION, sharding(9, 6, 14, data="gzip"), resolution=(33, 8, 8), thick=True),
    ("minnie65", None): MICRONS,
    ("fib-25", None): Form(JPEG), ("fib-25", "ground-truth"): Form(SEGMENTATION),
    ("vclem-xh", None): Form(RAW, sharding(9, 6, 14), resolution=(30, 8, 8), shape=(70, 300, 530), levels=3, thick=True),
}


@dataclasses.dataclass
class Made:
    """What was written of an image or label image, its levels as they are shown."""

    levels: list
    scale: list | None  # of the finest, nanometres
    lossy: int = 0


def write(root):
    """Writes all volumes below `root`; returns their datasets as a configuration has them, with `{origin}`, and what is in them."""
    datasets, made = [], {}
    for seed, dataset in enumerate(CATALOGUE):
        name = dataset["name"]
        sources = {None: dataset["source"]} | {label["name"]: label["source"] for label in dataset.get("labels", [])}
        for label, source in sources.items():
            made[name, label] = WRITERS[source["kind"]](root, name, label, source, 100 * seed)
        here = {label: source | ({"server": "{origin}", "files": "{origin}/empiar"} if source["kind"] == "empiar" else {"endpoint": "{origin}"})
                for label, source in sources.items()}
        datasets.append((name, here))
    return datasets, made


def config(datasets, origin):
    """The configuration of these datasets at an origin."""
    text = []
    for name, sources in datasets:
        text.append(f"[[dataset]]\nname = {toml(name)}\nsource = {toml(sources[None])}\n")
        text += [f"[[dataset.labels]]\nname = {toml(label)}\nsource = {toml(source)}\n" for label, source in sources.items() if label]
    return "\n".join(text).replace("{origin}", origin.url) + configuration({})


def folder(root, source):
    """Where an endpoint of the origin has an address of a bucket."""
    address = urllib.parse.urlparse(source["url"])
    assert address.scheme in ("s3", "gs")
    return root / address.netloc / address.path.strip("/")


def precomputed(root, name, label, source, seed):
    form = FORMS[name, label]
    assert source.get("first_level", 0) == form.placeholders
    levels = form.write(folder(root, source), seed + (7 if label else 0))
    factor = 2**form.placeholders
    scale = [n * f for n, f in zip(form.resolution, [1 if form.thick else factor, factor, factor])]
    return Made(levels, scale, int(form.encoding == JPEG))


def zarr_of_openorganelle(root, name, label, source, seed):
    """Levels beside each other, of which chunks without tissue were never written."""
    import numcodecs
    import zarr

    arrays = reference_volumes.pyramid((70, 140, 300), "u1", [[1] * 3, [2] * 3, [4] * 3], seed)
    arrays = [reference_volumes.absent(array, (64, 128, 128), 0, 0.4, seed + level) for level, array in enumerate(arrays)]
    scales = [[8.0 * 2**level] * 3 for level in range(3)]
    paths = [f"s{level}" for level in range(3)]
    attributes = {"multiscales": reference_volumes.multiscales(paths, scales, [[(s - 8) / 2 for s in scale] for scale in scales], "0.4")}
    group = zarr.create_group(folder(root, source), zarr_format=2, attributes=attributes)
    for path, array in zip(paths, arrays):
        group.create_array(path, shape=array.shape, dtype="u1", chunks=(64, 128, 128), fill_value=0, compressors=numcodecs.Zstd(level=6),
                           chunk_key_encoding={"name": "v2", "separator": "/"}, config={"write_empty_chunks": False})[...] = array
    return Made(arrays, scales[0])


def sections(root, name, label, source, seed):
    """A TIFF file per section as libtiff leaves it: strips of two rows, the directory behind them."""
    entry = source["entry"]
    voxels = reference_volumes.noise((18, 256, 300), "u1", seed)
    data = root / "empiar" / str(entry) / "data"
    data.mkdir(parents=True)
    for z, plane in enumerate(voxels):
        assert cv2.imwrite(str(data / f"section_{z:04d}.tif"), plane, [cv2.IMWRITE_TIFF_COMPRESSION, 1, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 2])
    images = {"name": "sections", "directory": "/data", "num_images_or_tilt_series": len(voxels), "image_width": 300, "image_height": 256,
              "pixel_width": 80.0, "pixel_height": 80.0}
    document = root / "api" / "entry" / str(entry)
    document.mkdir(parents=True)
    (document / "index.json").write_text(json.dumps({f"EMPIAR-{entry}": {"title": name, "imagesets": [images]}}))
    return Made([voxels], None)


WRITERS = {"precomputed": precomputed, "zarr": zarr_of_openorganelle, "empiar": sections}
