"""Levels of which nothing was written, in folders of this machine: left out, or told where nothing better is there."""

import json
import shutil

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr

import readers
import reference_volumes
from mounting import configuration, emfs, mounted
from origin import Origin
from test_local_names import write_precomputed
from test_tolerance import attributes

SHAPES = [(24, 24, 24), (12, 12, 12), (6, 6, 6)]
SIZES = [[40.0 * 2**n, 8.0 * 2**n, 8.0 * 2**n] for n in range(3)]


def voxels(level):
    return reference_volumes.noise(SHAPES[level], "uint8", level) | 1


def write_zarr(folder, written, version=2, **options):
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    for level, shape in enumerate(SHAPES):
        array = group.create_array(str(level), shape=shape, chunks=(8, 8, 8), dtype="uint8", fill_value=7, **options)
        if level in written:
            array[...] = voxels(level)
    datasets = [{"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": size}]} for level, size in enumerate(SIZES)]
    if version == 2:
        group.attrs.update(attributes(datasets=datasets))
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{key: value for key, value in attributes(datasets=datasets)["multiscales"][0].items() if key != "version"}]}


def write_n5(folder, written):
    for level, shape in enumerate(SHAPES):
        store = tensorstore.open({"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/s{level}/"}, "create": True, "metadata": {
            "dimensions": shape[::-1], "blockSize": [8, 8, 8], "dataType": "uint8", "compression": {"type": "gzip"}}}).result()
        if level in written:
            store[...] = voxels(level).transpose(2, 1, 0)


def write_volume(folder, written, sharding=None):
    """As cloud-volume's `max_mip` has it: `info` lists scales that have no folder."""
    for level, shape in enumerate(SHAPES):
        scale = {"key": f"m{level}", "size": shape[::-1], "chunk_size": [8, 8, 8], "encoding": "raw", "resolution": SIZES[level][::-1]}
        if sharding:
            scale["sharding"] = sharding
        store = tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/"}, "create": True,
                                  "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1}, "scale_metadata": scale}).result()
        if level in written:
            store[...] = voxels(level).T[..., np.newaxis]


SHARDED = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 0, "minishard_bits": 0, "shard_bits": 1}

#: name: kind, writer, name of a level, value of what is absent
WRITERS = {
    "v2": ("zarr", lambda folder, written: write_zarr(folder, written, compressors=numcodecs.Zstd(1)), "{}", 7),
    "v2-slash": ("zarr", lambda folder, written: write_zarr(folder, written, chunk_key_encoding={"name": "v2", "separator": "/"}), "{}", 7),
    "v3": ("zarr", lambda folder, written: write_zarr(folder, written, 3), "{}", 7),
    "v3-v2": ("zarr", lambda folder, written: write_zarr(folder, written, 3, chunk_key_encoding={"name": "v2", "separator": "."}), "{}", 7),
    "n5": ("n5", write_n5, "s{}", 0),
    "unsharded": ("precomputed", write_volume, "m{}", 0),
    "sharded": ("precomputed", lambda folder, written: write_volume(folder, written, SHARDED), "m{}", 0),
}


@pytest.fixture(params=WRITERS)
def writer(request):
    return WRITERS[request.param]


def shown(mount):
    group = zarr.open_group(mount / "a" / "em.zarr", mode="r")
    return [group[level["path"]].shape for level in group.attrs["multiscales"][0]["datasets"]]


def check(mount, number, level):
    np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", number, False), voxels(level))


def record(mount):
    return json.loads((mount / "a" / "metadata.json").read_text())["images"][0]["upstream_format"]


@pytest.mark.parametrize("written", [{0}, {0, 1}, {0, 2}])
def test_a_level_without_a_file_is_left_out_where_a_finer_one_has_some(writer, tmp_path, written):
    kind, write, name, _ = writer
    write(tmp_path / "image", written)
    with mounted(tmp_path / "m", configuration({"a": {"kind": kind, "url": str(tmp_path / "image")}})) as mount:
        assert shown(mount) == [SHAPES[level] for level in sorted(written)]
        for number, level in enumerate(sorted(written)):
            check(mount, number, level)
        for level in set(range(3)) - written:
            text = f"level `{name.format(level)}`"
            assert f"{text} is left out: " in mount.log and "no file of a chunk is there, and a finer level has some" in mount.log
            assert f"without {text}" in record(mount)


def test_a_volume_without_any_file_is_shown_and_told(writer, tmp_path):
    kind, write, _, fill = writer
    write(tmp_path / "image", set())
    config = configuration({"a": {"kind": kind, "url": str(tmp_path / "image")}})
    told = "no file of a chunk of any level is there, so that it is shown as the fill value"
    with mounted(tmp_path / "m", config) as mount:
        assert shown(mount) == SHAPES
        assert (readers.zarr_array(mount / "a" / "em.zarr", 0, False) == fill).all()
        assert told in mount.log and told in record(mount)
    (tmp_path / "c.toml").write_text(config)
    assert told in emfs("datasets", "--config", tmp_path / "c.toml", "--probe").stderr
    assert told in emfs("add", tmp_path / "image", "--name", "a").stdout


def test_levels_that_are_finer_than_all_with_files_are_shown_and_told(writer, tmp_path):
    kind, write, name, fill = writer
    write(tmp_path / "image", {1})
    with mounted(tmp_path / "m", configuration({"a": {"kind": kind, "url": str(tmp_path / "image")}})) as mount:
        assert shown(mount) == SHAPES[:2]
        assert (readers.zarr_array(mount / "a" / "em.zarr", 0, False) == fill).all()
        check(mount, 1, 1)
        assert f"no file of a chunk of level `{name.format(0)}` is there" in mount.log


def test_a_scale_whose_folder_is_missing_or_empty_is_one_without_a_file(tmp_path):
    write_volume(tmp_path / "image", {0, 1, 2})
    for path in (tmp_path / "image/m1").iterdir():
        path.unlink()
    shutil.rmtree(tmp_path / "image/m2")
    with mounted(tmp_path / "m", configuration({"a": {"kind": "precomputed", "url": str(tmp_path / "image")}})) as mount:
        assert shown(mount) == SHAPES[:1]
        check(mount, 0, 0)


def test_a_volume_of_one_scale_is_told_as_well(tmp_path):
    write_precomputed(tmp_path / "image", voxels(0))
    shutil.rmtree(tmp_path / "image/s0")
    with mounted(tmp_path / "m", configuration({"a": {"kind": "precomputed", "url": str(tmp_path / "image")}})) as mount:
        assert shown(mount)[0] == SHAPES[0]
        assert "no file of a chunk of any level is there" in mount.log


def test_at_a_server_all_levels_are_shown(writer, tmp_path):
    kind, write, _, fill = writer
    write(tmp_path / "served/image", {0})
    with Origin(tmp_path / "served") as origin:
        with mounted(tmp_path / "m", configuration({"a": {"kind": kind, "url": f"{origin.url}/image"}}), timeout=10) as mount:
            assert shown(mount) == SHAPES
            check(mount, 0, 0)
            assert (readers.zarr_array(mount / "a" / "em.zarr", 2, False) == fill).all()
