"""Views: crops and other chunk shapes by name, through the same blocks and caches as their images."""

import os
import time

import numpy as np
import pytest

import expected
import readers
from expected import cut, view_name
from make_precomputed_fixtures import write_all
from mounting import configuration, emfs, mounted, wait_for
from origin import Origin
from reference_volumes import make_all, source_at

PLANES, PYRAMID, ODD_CHUNKS = "itk-u8", "z2-zstd-i2", "z2-blosc-lz4"


def boxes(shape):
    """Corners, edges and the middle."""
    z, y, x = shape
    yield [(0, 1), (0, 1), (0, 1)]
    yield [(z - 1, z), (y - 1, y), (x - 1, x)]
    yield [(z // 3, z // 3 + max(1, z // 2)), (y // 4, y // 4 + y // 2), (x // 5, x)]
    yield [(0, z), (y // 2, y), (0, x)]
    yield [(0, z), (0, y), (0, x)]


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
@pytest.mark.parametrize("reader", [readers.zarr_array, readers.tensorstore_driver], ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("name", [PLANES, PYRAMID, ODD_CHUNKS, "tiled-u16"])
def test_a_crop_is_the_slice_of_every_level(reference, name, reader, v3):
    volume = reference.volumes[name]
    scales = [scale or [1.0, 1.0, 1.0] for scale in volume.scale]
    for box in boxes(volume.levels[0].shape):
        store = reference.mount / name / view_name("em", box, v3=v3)
        shown = list(cut(volume.levels, scales, box))
        assert {entry for entry in os.listdir(store) if entry.startswith("s")} == {f"s{n}" for n in range(len(shown))}
        for level, (voxels, _) in enumerate(shown):
            readers.assert_equal(reader(store, level, v3), voxels, f"{store}/s{level}")


@pytest.mark.parametrize("name", [PLANES, PYRAMID, ODD_CHUNKS])
def test_what_a_crop_s_last_chunks_have_beyond_it_is_0(reference, name):
    voxels = reference.volumes[name].levels[0]
    box = [(n // 5, n // 5 + max(1, n // 2)) for n in voxels.shape]
    part = voxels[tuple(slice(a, b) for a, b in box)]
    store = reference.mount / name / view_name("em", box, 20)
    for index in expected.chunk_indices(part.shape, [20] * 3):
        assert (store / "s0" / expected.chunk_path(index)).read_bytes() == expected.chunk_bytes(part, [20] * 3, index), index


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
@pytest.mark.parametrize("chunk", ["20", "64", "16x32x17", "4x300x64"])
def test_another_chunk_shape_shows_the_same_voxels(reference, chunk, v3):
    for name in (PLANES, PYRAMID, ODD_CHUNKS):
        volume = reference.volumes[name]
        box = [(n // 4, n) for n in volume.levels[0].shape]
        for voxels, store in [(volume.levels[0], view_name("em", None, chunk, v3)),
                              (volume.levels[0][tuple(slice(a, b) for a, b in box)], view_name("em", box, chunk, v3))]:
            readers.assert_equal(readers.zarr_array(reference.mount / name / store, 0, v3), voxels, store)


def test_ome_zarr_py_reads_a_crop_with_its_place(reference):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    volume = reference.volumes[PYRAMID]
    box = [(5, 30), (11, 60), (7, 90)]
    store = reference.mount / PYRAMID / view_name("em", box)
    node = next(iter(Reader(parse_url(str(store), mode="r"))()))
    for level, (voxels, start) in enumerate(cut(volume.levels, volume.scale, box)):
        readers.assert_equal(node.data[level].compute(), voxels, f"{store}/s{level}")
        transforms = {t["type"]: t[t["type"]] for t in node.metadata["coordinateTransformations"][level]}
        corner = [t + s * a for t, s, a in zip(volume.translation[level], volume.scale[level], start)]
        np.testing.assert_allclose(transforms["translation"], corner, rtol=1e-12)


def test_a_listed_view_of_a_precomputed_volume_is_its_crop(demo):
    truth = demo.truth["hemibrain", "em", None]
    assert {"sample-100.zarr", "sample-100.v3.zarr"} <= set(os.listdir(demo.mount / "hemibrain"))
    for v3 in (False, True):
        store = demo.mount / "hemibrain" / f"sample-100{'.v3' if v3 else ''}.zarr"
        for level, (voxels, _) in enumerate(cut(truth.levels, truth.scale, [(20, 120)] * 3)):
            readers.assert_equal(readers.zarr_array(store, level, v3), voxels, f"{store}/s{level}", lossy=1)


RATIOS = {"r15": [1, 1.5, 2.25], "r43": [1, 4 / 3, 16 / 9], "r25": [1, 2.5], "r16": [1, 2, 16.18], "r2": [1, 2, 4], "rounded": [1, 2.0001, 4.0003]}


@pytest.fixture(scope="module")
def resized(tmp_path_factory):
    """Images whose voxels say where they are, in nanometres, with levels at any ratio; labels on their grid."""
    import zarr

    root, size, shape = tmp_path_factory.mktemp("resized"), np.array([8, 4, 4]), np.array([60, 90, 400])
    datasets = {}
    for name, ratios in RATIOS.items():
        group = zarr.open_group(root / f"{name}.zarr", mode="w", zarr_format=2)
        levels = []
        for level, ratio in enumerate(ratios):
            scale, extents = size * ratio, np.ceil(shape / ratio - 1e-2).astype(int)
            first = (scale - size) / 2
            places = [begin + np.arange(n) * s for begin, n, s in zip(first, extents, scale)]
            array = group.create_array(f"s{level}", shape=extents, chunks=(32, 32, 32), dtype="f4", chunk_key_encoding={"name": "v2", "separator": "/"})
            array[...] = (places[0][:, None, None] + places[1][:, None] + places[2]).astype("f4")
            at = [{"type": "scale", "scale": scale.tolist()}, {"type": "translation", "translation": first.tolist()}]
            levels.append({"path": f"s{level}", "coordinateTransformations": at})
        axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
        source = {"kind": "zarr", "url": f"{root}/{name}.zarr"}
        datasets[name] = {"source": source, "images": [{"name": "a", "source": source, "labels": [{"name": "same", "source": source}]}]}
    with mounted(tmp_path_factory.mktemp("m"), configuration(datasets)) as mount:
        yield mount


def placed_levels(store):
    """For each level of a store its name, voxels, size of a voxel and the corners of its first and behind its last voxel (nm)."""
    import json

    import zarr

    group = zarr.open_group(store, mode="r", zarr_format=2)
    for dataset in json.loads((store / ".zattrs").read_text())["multiscales"][0]["datasets"]:
        scale, translation = (np.array(entry[entry["type"]]) for entry in dataset["coordinateTransformations"])
        voxels = group[dataset["path"]][...]
        yield dataset["path"], voxels, scale, translation - scale / 2, translation + (np.array(voxels.shape) - 0.5) * scale


@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.parametrize("box", ["z30-50_y40-80_x300-400", "z0-16_y0-16_x256-288", "z59-60_y89-90_x399-400", "z7-8_y3-4_x201-202"])
def test_coarser_levels_of_a_crop_contain_its_nanometres_at_any_ratio(resized, tmp_path, name, box):
    import tifffile

    crop = f"{name}/a.crop-{box}"
    emfs("export", resized / f"{crop}.zarr", tmp_path / "out.zarr", "--cache-size", 0)
    shown = [*placed_levels(resized / f"{crop}.zarr")]
    assert [level[0] for level in shown] == [f"s{n}" for n in range(len(RATIOS[name]))], "each has voxels over the crop"
    _, _, _, begin, end = shown[0]
    for level, voxels, scale, first, last in shown:
        noise = 2e-2 * scale
        assert (first <= begin + noise).all() and (last >= end - noise).all(), level
        assert (first + scale > begin - noise).all() and (last - scale < end + noise).all(), f"{level} has nothing beside it"
        corners = [voxels[0, 0, 0], voxels[-1, -1, -1]]
        np.testing.assert_allclose(corners, [(first + scale / 2).sum(), (last - scale / 2).sum()], rtol=1e-5)
        for other in (resized / f"{crop}.zarr" / "labels" / "same", tmp_path / "out.zarr", tmp_path / "out.zarr" / "labels" / "same", resized / f"{crop}.{level}.zarr"):
            readers.assert_equal(readers.zarr_array(other, int(level[1:]), False), voxels, f"{other} {level}")
        np.testing.assert_array_equal(tifffile.imread(resized / f"{crop}.{level}.tif").reshape(voxels.shape), voxels)


def requests_for(folder, origin, source, read):
    """Requests for voxels by a mount of its own."""
    with mounted(folder, configuration({"a": source}), timeout=20) as mount:
        os.listdir(mount / "a" / "em.zarr")
        (mount / "a" / "em.zarr" / ".zattrs").read_bytes()
        origin.forget()
        read(mount / "a")
        return len(origin.requests)


@pytest.mark.parametrize("kind", ["planes", "zarr", "precomputed"])
def test_a_crop_costs_no_more_requests_than_the_same_box_of_its_image(tmp_path, kind):
    import zarr

    root = tmp_path / "origin"
    root.mkdir()
    with Origin(root) as origin:
        if kind == "precomputed":
            made = write_all(root, 1, ["jpeg"])["jpeg"]
            source = {"kind": "precomputed", "url": f"{origin.url}/{made.folder.name}"}
        else:
            source = source_at(make_all(root, [PLANES if kind == "planes" else PYRAMID]).popitem()[1], origin)
        box = [(3, 25), (10, 64), (20, 60)]
        slices = tuple(slice(a, b) for a, b in box)
        whole = requests_for(tmp_path / "1", origin, source, lambda a: zarr.open_array(a / "em.zarr" / "s0", mode="r")[slices])
        view = requests_for(tmp_path / "2", origin, source, lambda a: zarr.open_array(a / view_name("em", box) / "s0", mode="r")[...])
        assert 0 < view <= whole


def test_a_view_and_its_image_share_what_was_fetched(reference):
    store = reference.mount / PYRAMID
    readers.zarr_array(store / "em.zarr", 0, False)
    before = len(reference.origin.requests)
    readers.zarr_array(store / view_name("em", [(1, 40), (2, 50), (3, 80)], "24"), 0, False)
    assert len(reference.origin.requests) == before


def test_many_names_leave_no_memory_behind(reference, long):
    directory = reference.mount / PYRAMID
    shape = reference.volumes[PYRAMID].levels[0].shape
    rng = np.random.default_rng(4)
    boxes = [[sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in shape] for _ in range(50_000 if long else 8_000)]
    (directory / view_name("em", boxes[0]) / "s0" / ".zarray").read_bytes()
    before = reference.mount.rss()
    for number, box in enumerate(boxes):
        assert (directory / view_name("em", box)).is_dir()
        assert not (directory / f"em.chunk-{number + 5000}.zarr").exists()
    # Those that nobody uses are let go of within a second or two, without anybody asking.
    wait_for(lambda: reference.mount.rss() - before < 12 << 20, 20, "memory about as before")
    print(f"{len(boxes)} views and as many wrong names: {(reference.mount.rss() - before) / 1024:.0f} KiB more")


def test_a_view_in_use_outlasts_the_names_looked_up_after_it(reference):
    directory = reference.mount / PYRAMID
    box = [(1, 40), (2, 50), (3, 80)]
    used = os.open(directory / view_name("em", box) / "s0", os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = [view_name("em", [(z, 40), (y, 50), (x, 80)]) for z in range(17) for y in range(17) for x in range(17)]
        for _ in range(2):
            for name in names:
                assert (directory / name).is_dir()
            time.sleep(1.5)
        first = os.open("0/0/0", os.O_RDONLY, dir_fd=used)
        try:
            held = os.read(first, 1 << 24)
        finally:
            os.close(first)
        assert ".zarray" in os.listdir(used)
    finally:
        os.close(used)
    assert held == (directory / view_name("em", box) / "s0" / "0" / "0" / "0").read_bytes()
    z, y, x = (slice(*part) for part in box)
    np.testing.assert_array_equal(readers.zarr_array(directory / view_name("em", box), 0, False), reference.volumes[PYRAMID].levels[0][z, y, x])


# --- commands --------------------------------------------------------------------------------------------------------


def explained(config, name, **options):
    done = emfs("explain", name, "--config", config, check=False)
    return done.returncode, done.stdout, done.stderr


def test_explain_says_what_a_name_is_or_why_it_is_none(demo, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(demo.config)
    code, out, _ = explained(config, "hemibrain/crop-z0-64_y0-60_x10-70.chunk-32")
    assert code == 0 and out.startswith("hemibrain/em.crop-z0-64_y0-60_x10-70.chunk-32.zarr: image em, uint8")
    assert "s0: 64×60×60 voxels of 8×8×8 nm from 0,0,10 on, 8 chunks of 32×32×32 (32768 bytes each)" in out
    assert "s1: 32×30×30" in out
    code, out, _ = explained(config, "hemibrain/sample-100.zarr")
    assert code == 0 and "s0: 100×100×100" in out
    for name, reason in [
        ("hemibrain/em.crop-z0-999_y0-1_x0-1.zarr", "z 0-999 is outside the image, whose z extent is 206"),
        ("hemibrain/em.chunk-064.zarr", "`064` has a leading zero"),
        ("hemibrain/em.chunk-4.zarr", "the smallest is 4 KiB"),
        ("hemibrain/raw.zarr", "has no image `raw`; it has em, em-raw"),
        ("hemi/em.zarr", "there is no dataset `hemi`"),
        (f"{demo.mount.path.parent}/hemibrain/em.zarr", "the path leads into no mount of emfs"),
        ("hemibrain/em.zarr/s0", "leads into a store"),
    ]:
        code, out, error = explained(config, name)
        assert (code, out) == (1, "") and reason in error, (name, error)


def test_crop_prints_a_view_that_can_be_read(demo, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(demo.config)
    done = emfs("crop", "hemibrain", "--size", "20,30,40", "--seed", "7", "--chunk", "16x16x32", "--config", config)
    assert done.stderr == "" and done.stdout == emfs("crop", "hemibrain/em", "--size", "20,30,40", "--seed", "7", "--chunk", "16x16x32", "--config", config).stdout
    array = readers.zarr_array(demo.mount / done.stdout.strip(), 0, False)
    assert array.shape == (20, 30, 40)
    drawn = emfs("crop", "hemibrain/em-raw", "--size", "80", "--nm", "--config", config)
    seed = drawn.stderr.split()[1]
    assert drawn.stdout == emfs("crop", "hemibrain/em-raw", "--size", "80", "--nm", "--seed", seed, "--config", config).stdout
    assert readers.zarr_array(demo.mount / drawn.stdout.strip(), 0, False).shape == (10, 10, 10)
    within = emfs("crop", "idr-9846137", "--size", "4", "--within", "z2-6_y10-14_x20-24", "--config", config).stdout
    assert within == "idr-9846137/em.crop-z2-6_y10-14_x20-24.zarr\n"
    assert emfs("crop", "hemibrain/em.v3", "--size", "9", "--seed", "1", "--config", config).stdout == emfs("crop", "hemibrain", "--size", "9", "--seed", "1", "--config", config).stdout
    for arguments, reason in [
        (["hemibrain", "--size", "50", "--chunk", "8"], "the smallest is 4 KiB"),
        (["hemibrain", "--size", "1000"], "a crop of 1000×1000×1000 voxels does not fit into 204×202×204 voxels"),
    ]:
        done = emfs("crop", *arguments, "--config", config, check=False)
        assert done.returncode == 1 and reason in done.stderr


def test_crop_refuses_a_box_that_is_not_inside_the_image_whatever_the_seed(demo, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(demo.config)
    for seed in range(8):
        done = emfs("crop", "hemibrain", "--size", "4", "--seed", str(seed), "--within", "z0-900_y0-4_x0-4", "--config", config, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "hemibrain/em: --within: z 0-900 is outside the image, whose z extent is 206" in done.stderr


def test_crop_takes_sizes_and_chunks_with_either_separator(demo, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(demo.config)
    texts = {emfs("crop", "hemibrain", "--seed", "7", "--size", size, "--chunk", chunk, "--config", config).stdout
             for size in ("20,30,40", "20x30x40") for chunk in ("16,16,32", "16x16x32")}
    assert len(texts) == 1 and texts.pop().endswith(".chunk-16x16x32.zarr\n")


def test_crop_of_the_built_in_hemibrain_needs_no_network():
    environment = os.environ | {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}
    out = emfs("crop", "hemibrain", "--size", "1000", "--seed", "1", env=environment).stdout
    assert out.startswith("hemibrain/em.crop-z1") and out.endswith(".zarr\n")
