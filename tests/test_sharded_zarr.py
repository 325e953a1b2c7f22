"""Zarr v3 arrays whose chunks are put together in shards, by zarr-python and TensorStore, read through a mount."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
import tensorstore
import zarr

import faults
import readers
import reference_volumes
from conftest import ReferenceMount
from cached_scene import read
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault, Origin

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
CRC = {"name": "crc32c"}
ZSTD = {"name": "zstd", "configuration": {"level": 1}}


def turned(*order):
    return {"name": "transpose", "configuration": {"order": list(order)}}


# name: (shape z y x, dtype, shard, chunk, location of the index, its codecs, codecs of a chunk, codecs before the shards)
TENSORSTORE = {
    "start": ((40, 60, 70), "uint8", (32, 32, 64), (16, 16, 16), "start", [LITTLE, CRC], [LITTLE, ZSTD], []),
    "end-without-checksum": ((33, 20, 50), "uint16", (16, 16, 32), (8, 8, 8), "end", [LITTLE], [BIG, {"name": "gzip", "configuration": {"level": 5}}], []),
    "big-index": ((20, 30, 40), "int16", (20, 20, 20), (10, 5, 4), "end", [BIG, CRC], [turned(2, 0, 1), LITTLE], []),
    "turned-index": ((20, 30, 40), "float32", (16, 16, 16), (8, 4, 16), "start", [turned(3, 1, 0, 2), LITTLE, CRC], [LITTLE, {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 0}}], []),
    "turned-shard": ((20, 30, 40), "uint32", (16, 8, 32), (8, 8, 4), "end", [LITTLE, CRC], [LITTLE, CRC], [turned(1, 2, 0)]),
    "one-chunk-each": ((20, 30, 40), "uint64", (8, 8, 8), (8, 8, 8), "end", [LITTLE, CRC], [LITTLE, ZSTD], []),
}
# name: (shape, dtype, shard, chunk, options)
ZARR_PYTHON = {
    "python": ((50, 60, 70), "uint16", (32, 32, 32), (8, 16, 8), {}),
    "python-blosc": ((30, 31, 33), "int8", (16, 16, 16), (16, 8, 4), {"compressors": zarr.codecs.BloscCodec(cname="zstd")}),
    "python-raw": ((30, 31, 33), "float64", (16, 32, 16), (4, 4, 4), {"compressors": None}),
}


def write_tensorstore(folder, name, seed):
    shape, dtype, shard, chunk, location, index, codecs, before = TENSORSTORE[name]
    order = before[0]["configuration"]["order"] if before else [0, 1, 2]
    sharded = {"name": "sharding_indexed", "configuration": {
        "chunk_shape": [chunk[axis] for axis in order], "codecs": codecs, "index_codecs": index, "index_location": location}}
    store = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}, "create": True, "metadata": {
        "shape": shape, "data_type": dtype, "fill_value": 3, "dimension_names": ["z", "y", "x"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}}, "codecs": [*before, sharded]}}).result()
    return write(store, shape, dtype, shard, chunk, seed)


def write_python(folder, name, seed):
    shape, dtype, shard, chunk, options = ZARR_PYTHON[name]
    array = zarr.create_array(str(folder), shape=shape, chunks=chunk, shards=shard, dtype=dtype, fill_value=3, zarr_format=3, **options)
    return write(array, shape, dtype, shard, chunk, seed)


def write(target, shape, dtype, shard, chunk, seed):
    """Writes all but a third of the chunks, and no shard that is the last along y; returns what should be read."""
    rng = np.random.default_rng(seed)
    voxels, stored = reference_volumes.noise(shape, dtype, seed), np.full(shape, 3, dtype)
    for index in np.ndindex(*[-(-n // c) for n, c in zip(shape, chunk)]):
        last = (shape[1] - 1) // shard[1]
        if rng.random() < 0.3 or last and index[1] * chunk[1] // shard[1] == last:
            continue
        box = tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, chunk, shape))
        stored[box] = voxels[box]
    with tensorstore.Transaction() if not isinstance(target, zarr.Array) else contextlib.nullcontext() as transaction:
        (target.with_transaction(transaction) if transaction else target)[...] = stored
    return stored


def write_all(root, seed):
    written = {name: write_tensorstore(root / f"{name}-{seed}", name, seed) for name in TENSORSTORE}
    return written | {name: write_python(root / f"{name}-{seed}", name, seed) for name in ZARR_PYTHON}


@pytest.fixture(scope="module")
def setup(tmp_path_factory, long):
    root = tmp_path_factory.mktemp("sharded")
    seeds = range(1, 8) if long else [1]
    volumes = {f"{name}-{seed}": voxels for seed in seeds for name, voxels in write_all(root, seed).items()}
    with Origin(root) as origin:
        sources = {name: {"kind": "zarr", "url": f"{origin.url}/{name}"} for name in volumes}
        with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
            yield ReferenceMount(mount, origin, volumes)


@pytest.mark.parametrize("reader", [readers.zarr_array, readers.tensorstore_driver])
@pytest.mark.parametrize("name", [*TENSORSTORE, *ZARR_PYTHON])
def test_every_voxel_is_what_was_written_and_absent_chunks_are_the_fill_value(setup, name, reader):
    for volume, voxels in setup.volumes.items():
        if volume.rpartition("-")[0] == name:
            v3 = reader is readers.zarr_array
            readers.assert_equal(reader(setup.store(volume, v3), 0, v3), voxels, volume)
            array = zarr.open_array(setup.store(volume, v3) / "s0", mode="r")
            assert array.chunks == (TENSORSTORE | ZARR_PYTHON)[name][3]
    assert setup.mount.status()["failures"] == []


def test_no_shard_was_fetched_as_a_whole(setup):
    for request in setup.origin.requests:
        if "/c/" in request.path:
            assert request.range is not None, request


@pytest.fixture
def lone(tmp_path):
    """`mount, origin, voxels, folder = lone(write, change)`: a volume of 256³ with an origin of its own."""
    with contextlib.ExitStack() as stack:
        def start(write, change=lambda folder: None):
            folder = tmp_path / "origin" / "a"
            voxels = write(folder)
            change(folder)
            origin = stack.enter_context(Origin(tmp_path / "origin"))
            mount = stack.enter_context(mounted(tmp_path, configuration({"a": {"kind": "zarr", "url": f"{origin.url}/a"}}), timeout=5))
            return mount, origin, voxels, folder

        yield start


def cube(writer, side=256, shard=256):
    def write(folder):
        voxels = reference_volumes.noise((side,) * 3, "uint8", 3)
        if writer == "python":
            zarr.create_array(str(folder), shape=voxels.shape, chunks=(64,) * 3, shards=(shard,) * 3, dtype="uint8", fill_value=0)[...] = voxels
        else:
            store = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}, "create": True, "metadata": {
                "shape": voxels.shape, "data_type": "uint8", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [shard] * 3}},
                "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [64] * 3, "codecs": [LITTLE, ZSTD], "index_codecs": [LITTLE, CRC]}}]}}).result()
            with tensorstore.Transaction() as transaction:
                store.with_transaction(transaction)[...] = voxels
        return voxels
    return write


@pytest.mark.parametrize("writer", ["python", "tensorstore"])
def test_a_random_chunk_costs_two_requests_cold_and_one_warm_and_a_block_of_128_three(lone, writer):
    mount, origin, voxels, _ = lone(cube(writer))
    store = mount / "a" / "em.zarr"
    (store / ".zattrs").read_bytes()
    counted = lambda: sum("/c/" in request.path for request in origin.requests)
    assert counted() <= 1, "what describes the window may look at a block"
    origin.requests.clear()
    assert (store / "s0" / "3/1/2").read_bytes() == voxels[192:, 64:128, 128:192].tobytes()
    assert counted() <= 2, [(r.path, r.range) for r in origin.requests]
    origin.requests.clear()
    # Through a view with such chunks, because no client is sure to ask for the eight within a moment.
    block = (mount / "a" / "em.chunk-128.zarr" / "s0" / "0/0/1").read_bytes()
    assert block == voxels[0:128, 0:128, 128:256].tobytes()
    assert counted() <= 2, "and the index before them"


def test_a_damaged_index_is_an_error_that_names_it_and_other_shards_are_read(lone):
    def damage(folder):
        shard = folder / "c" / "0" / "0" / "0"
        body = bytearray(shard.read_bytes())
        body[-20] ^= 1
        shard.write_bytes(body)

    mount, _, voxels, _ = lone(cube("python", 256, 128), damage)
    chunks = mount / "a" / "em.zarr" / "s0"
    with pytest.raises(OSError) as error:
        (chunks / "0/0/0").read_bytes()
    assert error.value.errno == 5
    assert (chunks / "0/0/2").read_bytes() == voxels[:64, :64, 128:192].tobytes()
    assert "/c/0/0/0: shard index: crc32c: checksum" in mount.log


@pytest.mark.parametrize("mode", ["zeros", "html", "404"])
def test_one_bad_answer_for_an_index_is_fetched_again(lone, mode):
    mount, origin, voxels, _ = lone(cube("python", 128, 128))
    (mount / "a" / "em.zarr" / ".zattrs").read_bytes()
    origin.fault = faults.Trigger(faults.MODES[mode], "once", lambda request: "/c/" in request.path)
    origin.fault.on = True
    assert (mount / "a" / "em.zarr" / "s0" / "1/1/1").read_bytes() == voxels[64:, 64:, 64:].tobytes()


def test_a_server_that_gives_no_ends_is_asked_for_the_same_by_range(lone):
    mount, origin, voxels, _ = lone(cube("python", 128, 128))
    origin.fault = lambda request: Fault("ok200") if request.range and request.range[0] < 0 else None
    assert (mount / "a" / "em.zarr" / "s0" / "1/0/1").read_bytes() == voxels[64:, :64, 64:].tobytes()


def test_a_server_that_hides_the_length_of_what_it_gives_a_part_of_is_read(lone):
    def hide(request, answer, _):
        headers = [(name, value.split("/")[0] + "/*" if name == "Content-Range" else value) for name, value in answer.headers]
        return dataclasses.replace(answer, headers=headers)

    mount, origin, voxels, _ = lone(cube("python", 128, 128))
    origin.fault = lambda request: Fault("altered", alter=hide) if request.range else None
    store = mount / "a" / "em.zarr"
    np.testing.assert_array_equal(readers.zarr_array(store, 0, False), voxels)
    assert all(request.range for request in origin.requests if "/c/" in request.path)


def test_a_missing_shard_is_believed_as_an_absent_chunk_is(lone):
    def remove(folder):
        (folder / "c" / "1" / "0" / "0").unlink()

    mount, origin, voxels, folder = lone(cube("tensorstore", 128, 64), remove)
    chunks = mount / "a" / "em.zarr" / "s0"
    (chunks / ".zarray").read_bytes()
    origin.fault = lambda request: Fault("status", status=404) if request.path.endswith("zarr.json") else None
    with pytest.raises(OSError):
        (chunks / "1/0/0").read_bytes()
    origin.fault = None
    wait_for(lambda: isinstance(read(chunks / "1/0/0"), bytes), 20, "the document is there again")
    assert not any((chunks / "1/0/0").read_bytes())


def test_a_shard_is_located_and_exported_by_ranges(lone, tmp_path):
    mount, _, voxels, _ = lone(cube("python", 128, 128))
    line = emfs("locate", mount / "a" / "em.zarr" / "s0" / "1/1/0").stdout
    assert "/a/c/0/0/0" in line
    emfs("export", "a/em", tmp_path / "copy.zarr", "--config", mount.config_file, timeout=120)
    np.testing.assert_array_equal(zarr.open_group(str(tmp_path / "copy.zarr"), mode="r")["s0"][...], voxels)


def test_nested_shards_are_refused_by_name(lone):
    def nest(folder):
        document = json.loads((folder / "zarr.json").read_text())
        inner = json.loads(json.dumps(document["codecs"][0]))
        inner["configuration"]["chunk_shape"] = [32, 32, 32]
        document["codecs"][0]["configuration"]["codecs"] = [inner]
        (folder / "zarr.json").write_text(json.dumps(document))

    mount, _, _, _ = lone(cube("python", 128, 128), nest)
    with pytest.raises(OSError):
        (mount / "a" / "em.zarr" / ".zattrs").read_bytes()
    assert "`sharding_indexed` within `sharding_indexed` is not supported" in mount.log


@pytest.mark.parametrize("writer", ["python", "tensorstore"])
def test_what_was_read_of_shards_is_kept_and_read_without_a_network(tmp_path, writer):
    voxels = cube(writer, 128, 64 if writer == "python" else 128)(tmp_path / "origin" / "a")
    with Origin(tmp_path / "origin") as origin:
        config = configuration({"a": {"kind": "zarr", "url": f"{origin.url}/a"}})
        with mounted(tmp_path / "first", config, cache=tmp_path / "cache", timeout=10) as mount:
            np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), voxels)
        origin.requests.clear()
        with mounted(tmp_path / "again", config, cache=tmp_path / "cache", timeout=10) as mount:
            np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), voxels)
        assert not origin.requests
    with mounted(tmp_path / "offline", config, "--offline", cache=tmp_path / "cache", timeout=10) as mount:
        np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), voxels)


def _webknossos(folder, shapes, shard, finest=(21, 50, 70)):
    """An image whose levels are rounded up to whole shards, as WEBKNOSSOS writes them; its voxels, level by level."""
    group = zarr.open_group(str(folder), mode="w", zarr_format=3)
    voxels = reference_volumes.noise(finest, "uint8", 5)
    voxels[voxels == 0] = 1
    datasets, levels = [], []
    for number, shape in enumerate(shapes):
        path = str(2**number)
        array = group.create_array(path, shape=(1, *shape[::-1]), chunks=(1, 8, 8, 8), shards=(1, *shard[number][::-1]), dtype="uint8", fill_value=0)
        array[0, : voxels.shape[2], : voxels.shape[1], : voxels.shape[0]] = voxels.transpose(2, 1, 0)
        datasets.append({"path": path, "coordinateTransformations": [{"type": "scale", "scale": [1, *(size * 2**number for size in (4, 8, 30))]}]})
        levels.append(voxels)
        voxels = voxels[::2, ::2, ::2]
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space", "unit": "nanometer"} for name in "xyz")]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return levels


def test_levels_that_are_rounded_up_to_shards_are_shown_as_far_as_the_image_goes(tmp_path):
    rounded = (24, 56, 72)
    levels = _webknossos(tmp_path / "v", [rounded, (256, 256, 256), (128, 128, 128)], [(8, 8, 8), (256, 256, 256), (128, 128, 128)])
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": str(tmp_path / "v")}}), timeout=20) as mount:
        for number, voxels in enumerate(levels):
            expected = np.zeros([-(-extent // 2**number) for extent in rounded], "uint8")
            expected[tuple(slice(extent) for extent in voxels.shape)] = voxels
            for v3 in (False, True):
                store = mount / "a" / ("em.v3.zarr" if v3 else "em.zarr")
                readers.assert_equal(readers.zarr_array(store, number, v3), expected, f"s{number}")
        assert "rounded up to whole objects; 12×28×36 of it lie in the image and are shown" in mount.log


def test_a_larger_level_that_is_not_the_image_rounded_up_is_left_out(tmp_path):
    # One shard more than the image takes.
    _webknossos(tmp_path / "v", [(24, 56, 72), (32, 128, 64)], [(8, 8, 8), (16, 32, 64)])
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": str(tmp_path / "v")}}), timeout=20) as mount:
        assert readers.zarr_array(mount / "a" / "em.zarr", 0, False).shape == (24, 56, 72)
        assert not (mount / "a" / "em.zarr" / "s1").exists()
