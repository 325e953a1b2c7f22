"""The small stores made after public reports, where `../shared` is there: each gives what its list says."""

import json
import os
import pathlib
import subprocess
import tarfile

import numpy as np
import pytest
import zarr

import readers
from mounting import LEGACY_PYTHON, ROOT, configuration, mounted

SAMPLES = pathlib.Path(os.environ.get("EMFS_SAMPLES") or ROOT.parent / "shared" / "samples")
ARCHIVE = SAMPLES.parent / "cases" / "zarr.tar.xz"
#: What is more than one image or none: a part of the sentence that is told.
SENTENCES = {
    "z-bf2raw-root": "bioformats2raw", "z-labels-group": "group of labels", "z-v3-bare-group": "write the address",
    "z-two-channels": "write `channel = N`", "p-channels-raw": "write `channel = N`",
}
#: More to be configured.
ADDRESSES = {"p-url-of-info": "/info", "z-url-of-zattrs": "/.zattrs"}
#: Where the image is in what is no image itself.
FURTHER_DOWN = {"z-bf2raw-root": "0", "z-labels-group": "cells", "z-v3-bare-group": "1"}
CHANNELS = {"z-two-channels": 2, "p-channels-raw": 3}
WARNINGS = {"z-level-missing": "is left out", "z-levels-dtype": "is left out", "z-separator-missing": "no dimension_separator", "z-unit-partly": "axis z has no unit"}
READERS = [readers.zarr_array, readers.tensorstore_driver]


def kind(name):
    return "precomputed" if name.startswith("p-") else "n5" if name == "z-n5" else "zarr"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    if not ARCHIVE.exists():
        pytest.skip("without ../shared/cases")
    root = tmp_path_factory.mktemp("cases")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    root = root / "zarr"
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    sources = {name: {"kind": kind(name), "url": f"{root / name}{ADDRESSES.get(name, '')}"} for name in names}
    for name, channels in CHANNELS.items():
        sources |= {f"{name}.{channel}": sources[name] | {"channel": channel} for channel in range(channels)}
    for name, path in FURTHER_DOWN.items():
        sources[f"{name}.down"] = sources[name] | {"url": f"{root / name / path}"}
    with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
        yield mount, root, names


def truths(root, names):
    """(name of the dataset, voxels) of all that is to be shown."""
    for name in names:
        voxels = np.load(root / f"{name}.npy")
        if name not in SENTENCES:
            yield name, voxels
        elif name in CHANNELS:
            # Of one the first channel is told, of the other all are.
            for channel in range(CHANNELS[name] if voxels.ndim == 4 else 1):
                yield f"{name}.{channel}", voxels[channel] if voxels.ndim == 4 else voxels
        elif name in FURTHER_DOWN:
            yield f"{name}.down", voxels


@pytest.mark.parametrize("v3", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_every_store_that_can_be_shown_has_the_right_voxels(cases, reader, v3):
    mount, root, names = cases
    assert len(names) == 34
    wrong = []
    for name, expected in truths(root, names):
        try:
            found = reader(mount / name / ("em.v3.zarr" if v3 else "em.zarr"), 0, v3)
            expected = expected.astype("f4") if expected.dtype == "f2" else expected
            np.testing.assert_array_equal(found, expected)
        except Exception as error:
            wrong.append(f"{name}: {str(error)[:200]}")
    assert not wrong, "\n".join(wrong)


def test_they_are_read_by_zarr_2(cases, tmp_path):
    mount, root, names = cases
    expected = dict(truths(root, names))
    order = {"stores": {name: str(mount / name / "em.zarr") for name in expected}, "out": str(tmp_path)}
    subprocess.run([LEGACY_PYTHON, ROOT / "tests" / "legacy.py", "read"], input=json.dumps(order), text=True, check=True, timeout=120)
    for name, voxels in expected.items():
        found = np.load(tmp_path / f"{name}.s0.npy")
        np.testing.assert_array_equal(found, voxels.astype(found.dtype), err_msg=name)


def test_what_is_no_image_is_told_with_what_to_write(cases):
    mount, _, _ = cases
    for name, sentence in SENTENCES.items():
        assert sentence in (mount / name / "em.zarr" / "ERROR.txt").read_text(), name


def test_what_is_left_out_or_guessed_is_told(cases):
    mount, _, _ = cases
    for name, warning in WARNINGS.items():
        readers.zarr_array(mount / name / "em.zarr", 0, False)
        lines = [line for line in mount.log.splitlines() if name in line]
        assert any(warning in line for line in lines), (name, lines)


def test_a_unit_of_some_axes_is_kept_for_these(cases):
    mount, _, _ = cases
    image = zarr.open_group(mount / "z-unit-partly" / "em.zarr", mode="r").attrs["multiscales"][0]
    assert [axis.get("unit") for axis in image["axes"]] == [None, "nanometer", "nanometer"]
    scales = [dataset["coordinateTransformations"][0]["scale"] for dataset in image["datasets"]]
    assert scales == [[1, 8, 8], [1, 16, 16]]
    record = json.loads((mount / "z-unit-partly" / "metadata.json").read_text())
    assert record["images"][0]["voxel_size"] == {"z": None, "y": 8.0, "x": 8.0, "unit": "nanometer"}
    assert "more of the voxel size than y, x" in record["missing"]["/images/0/voxel_size/z"]
