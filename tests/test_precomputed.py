"""Neuroglancer precomputed volumes of other people's writers, read through a mount."""

import dataclasses

import numpy as np
import pytest

import readers
from make_precomputed_fixtures import VARIANTS, write_all, write_cloudvolume
from mounting import configuration, mounted
from origin import Fault, Origin

CLOUDVOLUME = ["cv-jpeg", "cv-raw-gz", "cv-sharded-jpeg", "cv-sharded-raw"]
SEEDS = [1]


@dataclasses.dataclass
class Setup:
    mount: object
    origin: object
    volumes: dict

    def store(self, name, v3=False):
        return self.mount / name / ("em.v3.zarr" if v3 else "em.zarr")


@pytest.fixture(scope="module")
def written(tmp_path_factory, long):
    root = tmp_path_factory.mktemp("precomputed")
    volumes = {}
    for seed in [1, 2, 3] if long else SEEDS:
        volumes |= {f"{name}-{seed}": made for name, made in (write_all(root, seed) | write_cloudvolume(root, seed)).items()}
    return root, volumes


@pytest.fixture(scope="module")
def setup(written, tmp_path_factory):
    root, volumes = written
    with Origin(root) as origin:
        sources = {name: {"kind": "precomputed", "url": f"precomputed://{origin.url}/{made.folder.name}"} for name, made in volumes.items()}
        with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
            yield Setup(mount, origin, volumes)


def of_seeds(setup, variant):
    return {name: made for name, made in setup.volumes.items() if made.name == variant}


def differences(read, truth):
    return np.abs(read.astype(np.float64) - truth.astype(np.float64))


@pytest.mark.parametrize("v3", [False, True])
@pytest.mark.parametrize("reader", [readers.zarr_array, readers.tensorstore_driver])
@pytest.mark.parametrize("variant", [*VARIANTS, *CLOUDVOLUME])
def test_every_level_is_what_tensorstore_reads(setup, variant, reader, v3):
    for name, made in of_seeds(setup, variant).items():
        for level, truth in enumerate(made.levels):
            read = reader(setup.store(name, v3), level, v3)
            assert (read.shape, read.dtype) == (truth.shape, truth.dtype)
            if made.lossy:
                off = differences(read, truth)
                assert off.max() <= 1, f"{name} s{level}"
                assert (off > 0).mean() < 0.03, f"{name} s{level}: {(off > 0).mean():.2%} of voxels differ by 1"
            else:
                np.testing.assert_array_equal(read, truth)


@pytest.mark.parametrize("variant", [*VARIANTS, *CLOUDVOLUME])
def test_the_chunk_grid_scale_and_position_are_the_volume_s(setup, variant):
    import zarr

    for name, made in of_seeds(setup, variant).items():
        group = zarr.open_group(setup.store(name), mode="r")
        datasets = group.attrs["multiscales"][0]["datasets"]
        assert len(datasets) == len(made.levels)
        for level, dataset in enumerate(datasets):
            assert list(group[dataset["path"]].chunks) == made.chunk
            scale, translation = (transform[kind] for transform, kind in zip(dataset["coordinateTransformations"], ("scale", "translation")))
            assert scale == made.resolution[level]
            offset = [n // 2**level for n in made.offset]
            expected = [o * r + (r - f) / 2 for o, r, f in zip(offset, made.resolution[level], made.resolution[0])]
            assert translation == expected


def test_chunks_that_are_not_stored_are_zeros_without_an_error(setup):
    for variant in ("jpeg-holes", "murmur", "unsharded-jpeg", "unsharded-raw", "preshift-64"):
        for name, made in of_seeds(setup, variant).items():
            read = readers.zarr_array(setup.store(name), 0, False)
            zeros = made.levels[0] == 0
            assert zeros.mean() > 0.2 and (read[zeros] <= (1 if made.lossy else 0)).all()
    assert setup.mount.status()["failures"] == []


@pytest.fixture
def lone(tmp_path):
    """A fresh copy of one volume with an origin and a mount of its own: `mount, origin, folder = lone(name)`."""
    import contextlib

    with contextlib.ExitStack() as stack:
        def start(variant, change=None, fault=None):
            made = write_all(tmp_path / "origin", 1, [variant])[variant]
            if change:
                change(made)
            origin = stack.enter_context(Origin(tmp_path / "origin"))
            origin.fault = fault
            source = {"kind": "precomputed", "url": f"{origin.url}/{made.folder.name}"}
            return stack.enter_context(mounted(tmp_path, configuration({"a": source}), timeout=5)), origin, made

        yield start


def first_chunk(made):
    return sorted((made.folder / "scale" / "0").glob("*"))[0]


def test_a_corrupt_jpeg_is_an_error_and_its_neighbours_are_read(lone):
    def cut(made):
        name = "12-60_-8-24_4-68"
        file = made.folder / "scale/0" / name
        assert file.exists(), sorted(file.parent.iterdir())
        file.write_bytes(file.read_bytes()[:-100])

    mount, _, made = lone("unsharded-jpeg", cut)
    chunks = mount / "a" / "em.zarr" / "s0"
    with pytest.raises(OSError) as error:
        (chunks / "0/0/0").read_bytes()
    assert error.value.errno == 5
    assert len((chunks / "0/0/1").read_bytes()) == 64 * 32 * 48
    assert "cut off" in mount.log


def test_a_refused_shard_is_an_error_and_a_missing_one_is_zeros(lone):
    mount, origin, made = lone("murmur")
    origin.fault = lambda request: Fault("status", status=403) if request.path.endswith(".shard") else None
    chunk = mount / "a" / "em.zarr" / "s0" / "0/0/0"
    with pytest.raises(OSError) as error:
        chunk.read_bytes()
    assert error.value.errno in (5, 13)
    origin.fault = lambda request: Fault("status", status=404) if request.path.endswith(".shard") else None
    assert set((mount / "a" / "em.zarr" / "s0" / "0/1/1").read_bytes()) == {0}


def test_a_shard_that_changes_under_a_mount_is_an_error(lone):
    mount, origin, made = lone("jpeg")
    chunks = mount / "a" / "em.zarr" / "s0"
    (chunks / "0/0/0").read_bytes()
    origin.fault = lambda request: Fault("etag") if request.path.endswith(".shard") else None
    shards = {request.path for request in origin.requests if request.path.endswith(".shard")}
    assert len(shards) == 1
    with pytest.raises(OSError):
        # A chunk of the same minishard that is not a neighbour.
        (chunks / "0/2/0").read_bytes() + (chunks / "0/0/2").read_bytes() + (chunks / "2/0/0").read_bytes() + (chunks / "0/0/3").read_bytes()
    assert "changed at the origin" in mount.log
