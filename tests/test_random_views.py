"""Thousands of random views of odd volumes of every kind, by path: documents, sizes, every byte, and where levels lie."""

import dataclasses
import json
import os

import numpy as np
import pytest

import dm_files
import expected
import readers
import reference_volumes
from expected import chunk_path, cut, view_name
from exporting import export
from mounting import configuration, mounted
from placed_volumes import halved, make_placed

VOXEL_SIZE = (50.0, 7.5, 8.0)


def sections(root, name, voxels, version):
    """A DM file per section."""
    for z, plane in enumerate(voxels):
        dm_files.write(root / name / f"slice_{z:03}.dm{version}", plane, version, VOXEL_SIZE, thumbnail=[None, 40][z % 2])
    return reference_volumes.Volume(
        name=name, source={"kind": "dm3", "url": f"{{origin}}/{name}/"}, levels=[voxels], scale=[list(VOXEL_SIZE)], translation=[[0.0] * 3],
        chunk=[reference_volumes.plane_chunk(voxels.shape, voxels.dtype.itemsize)], file=name)


@dataclasses.dataclass
class Whole:
    """An image and where each of its levels begins and ends, in nanometres by its documents."""

    volume: reference_volumes.Volume
    spans: list


def spans(store, v3):
    """For each level and axis: begin, end, extent of a voxel; by the documents alone."""
    group = json.loads((store / ("zarr.json" if v3 else ".zattrs")).read_text())
    found = []
    for dataset in (group["attributes"]["ome"] if v3 else group)["multiscales"][0]["datasets"]:
        array = json.loads((store / dataset["path"] / ("zarr.json" if v3 else ".zarray")).read_text())
        scale, translation = (transform[kind] for transform, kind in zip(dataset["coordinateTransformations"], ("scale", "translation"), strict=True))
        found.append([(t - s / 2, t + (n - 0.5) * s, s) for t, s, n in zip(translation, scale, array["shape"], strict=True)])
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory, long):
    root = tmp_path_factory.mktemp("random-views")
    volumes = reference_volumes.make_all(root) | make_placed(root, 120 if long else 24)
    volumes |= {
        "dm3": sections(root, "dm3", reference_volumes.noise((5, 61, 130), "u2", 90), 3),
        "dm4": sections(root, "dm4", reference_volumes.noise((18, 33, 47), "u1", 91), 4),
    }
    # From files, because a server in this process could not answer while np.fromfile waits, which lets no other thread run.
    sources = {name: {**volume.source, "url": str(root / volume.file)} for name, volume in volumes.items()}
    for source in sources.values():
        source.pop("endpoint", None)
    with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
        yield mount, {name: Whole(volume, spans(mount / name / "em.zarr", False)) for name, volume in volumes.items()}


def draw(rng, volume):
    """A random view of the volume: box or None, chunk shape or None, v3."""
    shape, itemsize = volume.levels[0].shape, volume.dtype.itemsize
    box = [tuple(sorted(rng.choice(n + 1, 2, replace=False).tolist())) for n in shape] if rng.random() < 0.9 else None
    if rng.random() < 0.5:
        return box, None, bool(rng.random() < 0.5)
    while True:
        chunk = [int(rng.integers(8, 40))] * 3 if rng.random() < 0.3 else (2 ** rng.uniform(0, 7, 3)).astype(int).tolist()
        if 4096 <= np.prod(chunk) * itemsize <= 100_000:
            return box, chunk, bool(rng.random() < 0.5)


def check(mount, whole, box, chunk, v3, rng, by_zarr):
    volume = whole.volume
    text = "x".join(map(str, chunk)) if chunk and (len(set(chunk)) > 1 or rng.random() < 0.3) else chunk and chunk[0]
    store = mount / volume.name / view_name("em", box, text, v3)
    levels = list(cut(volume.levels, volume.scale, box or [(0, n) for n in volume.levels[0].shape], volume.offset)) if box else [(level, [0, 0, 0]) for level in volume.levels]
    scale = volume.scale[:len(levels)]
    shown = dataclasses.replace(
        volume, levels=[voxels for voxels, _ in levels], scale=scale,
        translation=[[expected.total(t, a * s) for t, a, s in zip(*of)] for of in zip(volume.translation, (start for _, start in levels), scale)])
    chunks = [chunk] * len(levels) if chunk else volume.chunk

    documents = expected.documents(shown, chunks=chunks, v3=v3)
    for path, document in documents.items():
        assert expected.relaxed(json.loads(readers.read_file(store / path))) == expected.relaxed(document), path
    names = {path for path in documents if "/" not in path}
    assert set(os.listdir(store)) == names | {f"s{level}" for level in range(len(levels))}

    found = spans(store, v3)
    for level, axes in enumerate(found):
        for (begin, end, voxel), (first, last, _), (lowest, highest, _) in zip(axes, found[0], whole.spans[level]):
            slack = 1e-6 * voxel
            assert begin <= max(first, lowest) + slack and end >= min(last, highest) - slack, f"s{level}: {axes} of {whole.spans[level]} over {found[0]}"

    for level, (voxels, _) in enumerate(levels):
        grid = expected.grid(voxels.shape, chunks[level])
        corners = [[n - 1 for n in grid], [int(rng.integers(n)) for n in grid]]
        for index in corners:
            path = store / f"s{level}" / chunk_path(index, v3)
            truly = np.frombuffer(expected.chunk_bytes(voxels, chunks[level], index), volume.dtype)
            assert os.stat(path).st_size == truly.nbytes, path
            readers.assert_equal(np.fromfile(path, volume.dtype), truly, path, volume.lossy)
        beyond = list(corners[1])
        beyond[rng.integers(3)] = grid[0] + grid[1] + grid[2]
        assert not os.path.exists(store / f"s{level}" / chunk_path(beyond, v3))
        if by_zarr:
            readers.assert_equal(readers.zarr_array(store, level, v3), voxels, f"{store}/s{level}", volume.lossy)


def test_random_views_are_what_numpy_cuts_and_their_levels_lie_over_each_other(everything, long):
    mount, volumes = everything
    rng = np.random.default_rng(12)
    names = list(volumes)
    for number in range(50_000 if long else 5_000):
        whole = volumes[names[number % len(names)]]
        box, chunk, v3 = draw(rng, whole.volume)
        try:
            check(mount, whole, box, chunk, v3, rng, by_zarr=number % 50 == 0)
        except Exception as error:
            error.add_note(f"view {number}: {whole.volume.name}/{view_name('em', box, chunk and 'x'.join(map(str, chunk)), v3)}, offsets {whole.volume.offset}")
            raise
    assert mount.status()["failures"] == []


def test_labels_that_count_from_elsewhere_are_cropped_by_the_same_indices_in_a_mount_and_an_export(tmp_path):
    volumes = {name: halved(tmp_path, name, start, seed) for name, start, seed in [("image", (5, -7, 3), 1), ("cells", (0, 4, -9), 5)]}
    sources = {name: {"kind": "precomputed", "url": str(tmp_path / name)} for name in volumes}
    images = [{"name": "train", "source": sources["image"], "labels": [{"name": "cells", "source": sources["cells"]}]}]
    config = configuration({"v": {"source": sources["image"], "images": images}})
    with mounted(tmp_path, config, timeout=20) as mount:
        for number, box in enumerate([[(1, 2), (2, 3), (4, 5)], [(3, 14), (5, 30), (7, 40)], [(19, 20), (30, 31), (41, 42)]]):
            name = view_name("train", box)
            exported = tmp_path / f"export-{number}"
            export(f"v/{name}", exported, "--config", mount.config_file)
            for store in (mount / "v" / name, exported):
                for volume, path in ((volumes["image"], store), (volumes["cells"], store / "labels" / "cells")):
                    levels = list(cut(volume.levels, volume.scale, box, volume.offset))
                    for level, (voxels, start) in enumerate(levels):
                        readers.assert_equal(readers.zarr_array(path, level, False), voxels, f"{path}/s{level}")
                    places = [[first for first, _, _ in axes] for axes in spans(path, False)]
                    corners = [[t + (a - 0.5) * s for t, a, s in zip(*of)] for of in zip(volume.translation, (start for _, start in levels), volume.scale)]
                    assert places == corners
