"""Neuroglancer precomputed volumes of other people's writers, read through a mount."""

import contextlib
import io
import itertools
import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest
import tensorstore

import readers
import reference_volumes
from conftest import ReferenceMount
from make_precomputed_fixtures import VARIANTS, sharding, write_all, write_cloudvolume, write_two_minishards
from mounting import configuration, mounted
from origin import Fault, Origin

CLOUDVOLUME = ["cv-jpeg", "cv-raw-gz", "cv-sharded-jpeg", "cv-sharded-raw", "cv-seg", "cv-seg-sharded"]
SEEDS = [1, 2]


@pytest.fixture(scope="module")
def written(tmp_path_factory, long):
    root = tmp_path_factory.mktemp("precomputed")
    volumes = {}
    for seed in [*SEEDS, 3, 4] if long else SEEDS:
        volumes |= {f"{name}-{seed}": made for name, made in (write_all(root, seed) | write_cloudvolume(root, seed)).items()}
    return root, volumes


@pytest.fixture(scope="module")
def setup(written, tmp_path_factory):
    root, volumes = written
    with Origin(root) as origin:
        sources = {name: {"kind": "precomputed", "url": f"precomputed://{origin.url}/{made.folder.name}"} for name, made in volumes.items()}
        with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
            yield ReferenceMount(mount, origin, volumes)


def of_seeds(setup, variant):
    return {name: made for name, made in setup.volumes.items() if made.name == variant}


def differences(read, truth):
    return np.abs(read.astype(np.float64) - truth.astype(np.float64))


@pytest.mark.parametrize("v3", [False, True])
@pytest.mark.parametrize("reader", [readers.zarr_array, readers.tensorstore_driver])
@pytest.mark.parametrize("variant", [*VARIANTS, *CLOUDVOLUME])
def test_every_level_is_what_tensorstore_reads(setup, variant, reader, v3):
    # Further seeds by one reader of each format.
    seeds = of_seeds(setup, variant) if v3 == (reader is readers.zarr_array) else {f"{variant}-1": setup.volumes[f"{variant}-1"]}
    for name, made in seeds.items():
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


def test_compressed_local_files_are_read_or_refused_by_name_and_never_zeros(written, tmp_path):
    root, volumes = written
    made = volumes["cv-raw-gz-1"]
    folder = tmp_path / "volume"
    shutil.copytree(made.folder, folder)
    files = sorted(file for file in folder.rglob("*.gz"))
    assert files, "cloud-volume compresses local files"
    with mounted(tmp_path, configuration({"a": {"kind": "precomputed", "url": str(folder)}}), timeout=5) as mount:
        store = mount / "a" / "em.zarr"
        np.testing.assert_array_equal(readers.zarr_array(store, 0, False), made.levels[0])
    stored = files[0].read_bytes()
    files[0].write_text("/annex/objects/MD5E-s16384--0123456789abcdef\n")
    with mounted(tmp_path / "annex", configuration({"a": {"kind": "precomputed", "url": str(folder)}}), timeout=5) as mount:
        with pytest.raises(OSError):
            readers.zarr_array(mount / "a" / "em.zarr", 0, False)
        assert f"{files[0].name}: file: it is a pointer of git-annex" in mount.log
    files[0].write_bytes(stored)
    for file in files:
        file.rename(file.with_suffix(".xz"))
    with mounted(tmp_path / "xz", configuration({"a": {"kind": "precomputed", "url": str(folder)}}), timeout=5) as mount:
        with pytest.raises(OSError):
            (mount / "a" / "em.zarr" / "s0" / "0/0/0").read_bytes()
        assert "compression xz is not supported" in mount.log


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation"])
@pytest.mark.parametrize("sharded", [None, sharding(1, 1, 1, data="gzip")])
def test_of_several_channels_the_one_by_number_is_shown_and_none_without(tmp_path, encoding, sharded):
    shape, channels = (20, 30, 40), 3
    scale = {"key": "s", "size": shape[::-1], "resolution": [8, 8, 8], "chunk_size": [16, 16, 16], "encoding": encoding}
    scale |= {"compressed_segmentation_block_size": [8, 7, 6]} if encoding != "raw" else {}
    store = tensorstore.open({
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{tmp_path / 'volume'}/"},
        "multiscale_metadata": {"data_type": "uint32", "num_channels": channels, "type": "image"},
        "scale_metadata": scale | ({"sharding": sharded} if sharded else {}),
    }, create=True, open=True).result()
    voxels = np.stack([reference_volumes.segments(shape, "uint32", seed) for seed in range(channels)])
    store[...] = voxels.transpose(3, 2, 1, 0)
    source = {"kind": "precomputed", "url": str(tmp_path / "volume")}
    sources = {f"c{number}": source | {"channel": number} for number in range(channels)} | {"all": source, "beyond": source | {"channel": 3}}
    with mounted(tmp_path / "mount", configuration(sources), timeout=5) as mount:
        for number in range(channels):
            np.testing.assert_array_equal(readers.zarr_array(mount / f"c{number}" / "em.zarr", 0, False), voxels[number])
        for name in ("all", "beyond"):
            with pytest.raises(OSError):
                (mount / name / "em.zarr" / ".zattrs").read_bytes()
        assert "there are 3 channels; write `channel = N`, 0 to 2" in mount.log
        assert "the last one of 3 is 2" in mount.log


@pytest.fixture
def lone(tmp_path):
    """A fresh copy of one volume with an origin and a mount of its own: `mount, origin, folder = lone(name)`."""
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


# --- requests --------------------------------------------------------------------------------------------------------

SIDE = 512  # voxels along each axis whose chunks lie in one minishard


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A volume of two minishards, and what TensorStore reads from it."""
    folder = tmp_path_factory.mktemp("large")
    return folder, write_two_minishards(folder, SIDE)


@contextlib.contextmanager
def counting(large, place):
    """A new mount of the large volume with warm indices, its origin, and the truth."""
    folder, truth = large
    with Origin(folder) as origin:
        source = {"kind": "precomputed", "url": f"{origin.url}/em"}
        with mounted(place, configuration({"a": source}), timeout=20, memory="1G") as mount:
            # The farthest chunk of each minishard.
            for index in ("7/7/7", "7/7/15"):
                (mount / "a" / "em.zarr" / "s0" / index).read_bytes()
            origin.forget()
            yield mount / "a", origin, truth


@pytest.fixture
def counted(large, tmp_path):
    with counting(large, tmp_path) as counted:
        yield counted


def ranges(origin):
    return sorted(request.range for request in origin.requests if request.path.endswith(".shard"))


def nothing_twice(origin):
    found = ranges(origin)
    return all(first[1] <= second[0] for first, second in zip(found, found[1:]))


def close(read, truth):
    off = differences(read, truth)
    assert off.max() <= 1 and (off > 0).mean() < 0.03


def test_an_aligned_chunk_of_128_costs_one_request(counted):
    dataset, origin, truth = counted
    data = (dataset / "em.chunk-128.zarr" / "s0" / "1/1/1").read_bytes()
    close(np.frombuffer(data, np.uint8).reshape(128, 128, 128), truth[128:256, 128:256, 128:256])
    assert len(origin.requests) == 1


@pytest.mark.parametrize("library", ["zarr", "tensorstore"])
def test_the_same_block_by_chunks_of_64_costs_at_most_two(counted, library):
    dataset, origin, truth = counted
    box = (slice(128, 256),) * 3
    close(read_box(library, dataset / "em.zarr", box), truth[box])
    assert len(origin.requests) <= 2 and nothing_twice(origin)


@pytest.mark.parametrize("library", ["zarr", "tensorstore"])
@pytest.mark.parametrize("store", ["em.zarr", "em.chunk-128.zarr", "em.chunk-256.zarr"])
def test_a_block_of_512_in_one_minishard_costs_at_most_six(large, tmp_path, library, store):
    box = (slice(0, SIDE),) * 3
    asked = []
    # Where the machine is busy, a reader's first reads may come one by one, and the first of them is answered alone.
    while not asked or asked[-1] > 6 and len(asked) < 3:
        with counting(large, tmp_path / str(len(asked))) as (dataset, origin, truth):
            close(read_box(library, dataset / store, box), truth[box])
            assert nothing_twice(origin), ranges(origin)
            asked.append(len(origin.requests))
    assert asked[-1] <= 6, asked


def test_lone_random_chunks_cost_one_request_each(counted):
    dataset, origin, truth = counted
    rng = np.random.default_rng(3)
    # One of each cube of two, but for those of the chunks that warmed the indices.
    cubes = [cube for cube in np.ndindex(4, 4, 8) if cube not in ((3, 3, 3), (3, 3, 7))]
    chosen = [cubes[n] for n in rng.permutation(len(cubes))[:100]]
    for cube in chosen:
        index = [2 * n + int(rng.integers(2)) for n in cube]
        data = (dataset / "em.zarr" / "s0" / "/".join(map(str, index))).read_bytes()
        close(np.frombuffer(data, np.uint8).reshape(64, 64, 64), truth[tuple(slice(64 * n, 64 * n + 64) for n in index)])
    assert len(origin.requests) <= 100 and nothing_twice(origin)


def test_a_look_up_of_a_chunk_fetches_nothing(counted):
    dataset, origin, _ = counted
    for x in range(16):
        assert (dataset / "em.zarr" / "s0" / f"0/0/{x}").stat().st_size == 64**3
    assert origin.requests == []


def test_what_is_fetched_ahead_may_fail_without_harm(counted):
    dataset, origin, truth = counted
    # Ranges of more than one chunk are refused, as those behind the end of a file would be.
    origin.fault = lambda request: Fault("status", status=416) if request.range and request.range[1] - request.range[0] > 100_000 else None
    box = (slice(0, 64), slice(0, 64), slice(0, 192))
    (dataset / "em.zarr" / "s0" / "0/0/0").read_bytes()
    close(read_box("zarr", dataset / "em.zarr", box), truth[box])


def read_box(library, store, box):
    if library == "zarr":
        import zarr

        return zarr.open_array(store / "s0", mode="r")[box]
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{store}/s0/"}}
    return tensorstore.open(spec, open=True, read=True).result()[box].read().result()


# --- a volume of the hemibrain's size --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """A volume with the extent of the hemibrain of which nothing but the info is there."""
    root = tmp_path_factory.mktemp("huge")
    size, bits, scales = [34427, 39725, 41394], [(9, 6, 15), (9, 6, 12), (9, 6, 9), (9, 6, 6), (9, 6, 3), (9, 6, 0), (9, 3, 0), (9, 0, 0), (6, 0, 0)], []
    for level, each in enumerate(bits):
        scales.append({"key": f"{8.0 * 2**level}", "size": size, "resolution": [8 * 2**level] * 3, "chunk_sizes": [[64, 64, 64]],
                       "encoding": "jpeg", "sharding": sharding(*each)})
        size = [-(-n // 2) for n in size]
    (root / "em").mkdir()
    (root / "em" / "info").write_text(json.dumps({"data_type": "uint8", "num_channels": 1, "type": "image", "scales": scales}))
    with Origin(root) as origin:
        with mounted(tmp_path_factory.mktemp("mount"), configuration({"a": {"kind": "precomputed", "url": f"{origin.url}/em"}}), timeout=20) as mount:
            yield mount, origin


def test_a_listing_of_very_many_chunks_takes_no_memory_and_no_requests(huge, long):
    mount, origin = huge
    store = mount / "a" / "em.zarr" / "s0"
    assert len(os.listdir(store)) == 647 + 2
    before, requests, entries = mount.rss(), len(origin.requests), 0
    for folder, folders, files in os.walk(store):
        entries += len(folders) + len(files)
        if entries > (1_000_000 if long else 100_000):
            break
    assert mount.rss() - before < 10 << 20
    assert len(origin.requests) == requests


def test_an_absent_corner_of_a_huge_volume_costs_two_requests_and_one_for_the_info(huge):
    mount, origin = huge
    (mount / "a" / "em.zarr" / ".zattrs").read_bytes()
    origin.forget()
    # The last chunk and its neighbours, all in one shard, which is not there.
    for index in ("646/620/537", "646/620/536", "645/620/537"):
        assert set((mount / "a" / "em.zarr" / "s0" / index).read_bytes()) == {0}
    assert {request.path for request in origin.requests} <= {"/em/8.0/7112.shard", "/em/info"}
    assert origin.count(".shard") <= 2 and origin.count("info") <= 1


def _pixels(voxels):
    """A chunk c, z, y, x as a picture: rows of z and y, and channels side by side in a pixel."""
    return np.ascontiguousarray(voxels.transpose(1, 2, 3, 0).reshape(-1, voxels.shape[3], voxels.shape[0]))


def _jpeg(**options):
    def encode(chunk):
        body = io.BytesIO()
        PIL.Image.fromarray(_pixels(chunk)).save(body, "JPEG", quality=90, **options)
        return body.getvalue()

    return encode


def _png(chunk):
    import imagecodecs

    return imagecodecs.png_encode(_pixels(chunk))


def write_pictures(folder, channels, dtype, encoding, encode):
    """A volume whose chunks are pictures of several channels, by Pillow and libpng: TensorStore reads such ones."""
    chunk, shape = (8, 16, 16), (11, 20, 30)
    voxels = np.stack([reference_volumes.texture(shape, dtype, seed) for seed in range(channels)])
    (folder / "k").mkdir(parents=True)
    (folder / "info").write_text(json.dumps({
        "@type": "neuroglancer_multiscale_volume", "data_type": dtype, "num_channels": channels, "type": "image",
        "scales": [{"key": "k", "size": shape[::-1], "resolution": [4, 8, 30], "chunk_sizes": [chunk[::-1]], "encoding": encoding, "voxel_offset": [0, 0, 0]}]}))
    for start in itertools.product(*(range(0, whole, step) for whole, step in zip(shape, chunk))):
        ends = [min(a + step, whole) for a, step, whole in zip(start, chunk, shape)]
        spans = [f"{a}-{b}" for a, b in zip(start, ends)]
        part = voxels[(slice(None), *(slice(a, b) for a, b in zip(start, ends)))]
        (folder / "k" / "_".join(spans[::-1])).write_bytes(encode(part))


#: name: (channels, dtype, encoding, how chunks are encoded)
PICTURES = {
    "jpeg-444": (3, "uint8", "jpeg", _jpeg(subsampling=0)),
    "jpeg-422": (3, "uint8", "jpeg", _jpeg(subsampling=1)),
    "jpeg-420": (3, "uint8", "jpeg", _jpeg(subsampling=2)),
    "jpeg-progressive": (3, "uint8", "jpeg", _jpeg(subsampling=0, progressive=True)),
    "jpeg-rgb": (3, "uint8", "jpeg", _jpeg(keep_rgb=True)),
    **{f"png-{channels}-{dtype}": (channels, dtype, "png", _png) for channels in (2, 3, 4) for dtype in ("uint8", "uint16")},
}


@pytest.mark.parametrize("name", PICTURES)
def test_each_channel_of_chunks_that_are_pictures_of_several_is_what_tensorstore_reads(tmp_path, name):
    channels, dtype, encoding, encode = PICTURES[name]
    write_pictures(tmp_path / "v", channels, dtype, encoding, encode)
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{tmp_path / 'v'}/"}}
    truth = tensorstore.open(spec, open=True).result().read().result().transpose(3, 2, 1, 0)
    sources = {f"c{channel}": {"kind": "precomputed", "url": str(tmp_path / "v"), "channel": channel} for channel in range(channels)}
    with mounted(tmp_path / "mount", configuration(sources), timeout=20) as mount:
        for channel in range(channels):
            found = readers.zarr_array(mount / f"c{channel}" / "em.zarr", 0, False)
            assert (found.shape, found.dtype) == (truth[channel].shape, truth.dtype)
            off = differences(found, truth[channel])
            if encoding == "png":
                assert off.max() == 0
            else:
                # The cosine transform may round either way, and so may what is between colours of fewer pixels than there are.
                most, share = {"jpeg-422": (3, 0.15), "jpeg-420": (4, 0.3)}.get(name, (2, 0.03))
                assert off.max() <= most and (off > 0).mean() < share, f"{channel}: off by {off.max()}, {(off > 0).mean():.2%}"
