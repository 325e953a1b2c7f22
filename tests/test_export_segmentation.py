"""A crop of a segmentation of 64-bit numbers, exported to v2 and to sharded v3: verified, and opened by those who read Zarr."""

import json

import numpy as np
import pytest

from exporting import assert_right, export, validate, written
from make_precomputed_fixtures import write

FORMS = {"v2": [], "v3-shards": ["--format", "v3", "--chunk", "16x20x24", "--shard", "32x40x48"]}
#: Of an array that begins at 1, 2, 3 (z, y, x) in the coordinates of its viewer.
CROP = (slice(10, 63), slice(5, 80), slice(20, 121))


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmentation")
    made = write(folder / "v", "seg-sharded", 3)
    return {"kind": "precomputed", "url": str(folder / "v")}, made


@pytest.mark.parametrize("form", FORMS)
def test_a_crop_of_a_segmentation_is_exported_and_verified(segmentation, tmp_path, form):
    source, made = segmentation
    config, v3 = written(tmp_path, {"v": source}), form.startswith("v3")
    box = "_".join(f"{axis}{part.start}-{part.stop}" for axis, part in zip("zyx", CROP))
    done = export(f"v/em.crop-{box}.zarr", tmp_path / "crop.zarr", "--config", config, "--verify", *FORMS[form])
    assert done.returncode == 0
    finest = made.levels[0][CROP]
    assert finest.dtype == np.uint64 and finest.max() > 2**32
    # The coarser level begins at 0, 1, 1: what it has of the box contains that of the finest one.
    begin = [(part.start + offset) // 2 - offset // 2 for part, offset in zip(CROP, made.offset)]
    end = [-(-(part.stop + offset) // 2) - offset // 2 for part, offset in zip(CROP, made.offset)]
    coarse = made.levels[1][tuple(slice(a, min(b, n)) for a, b, n in zip(begin, end, made.levels[1].shape))]
    assert_right(tmp_path / "crop.zarr", [finest, coarse], v3)
    validate(tmp_path / "crop.zarr", v3)
    manifest = json.loads((tmp_path / "crop.zarr" / "manifest.json").read_text())
    assert manifest["objects"]
    if v3:
        document = json.loads((tmp_path / "crop.zarr" / "s0" / "zarr.json").read_text())
        assert (document["data_type"], document["codecs"][0]["name"]) == ("uint64", "sharding_indexed")
    again = export(f"v/em.crop-{box}.zarr", tmp_path / "crop.zarr", "--config", config, "--verify", "--resume", *FORMS[form])
    assert again.returncode == 0
    # What was changed since is found.
    file = max((path for path in (tmp_path / "crop.zarr" / "s0").rglob("*") if path.is_file() and path.suffix == "" and not path.name.startswith(".")), key=lambda path: path.stat().st_size)
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    assert export("v/em", tmp_path / "crop.zarr", "--config", config, "--verify", check=False).returncode != 0
