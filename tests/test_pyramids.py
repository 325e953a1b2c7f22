"""Levels that emfs computes of volumes that have one only: bit by bit those of TensorStore, wherever and however they are read."""

import concurrent.futures
import hashlib
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest
import tifffile

import lone_volumes
import readers
import reference_volumes
from cached_scene import cached_files
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault, Origin

NAMES = ["be-u16", "u8", "i16", "f32", "thick", "one-plane", "one-row", "zarr-odd", "zarr-f8", "zarr-sparse", "placed", "cells"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("lone")
    volumes = lone_volumes.make_all(root)
    assert sorted(volumes) == sorted(NAMES)
    return root, volumes


@pytest.fixture(scope="module")
def setup(made, tmp_path_factory):
    root, volumes = made
    with Origin(root) as origin:
        config = configuration({name: reference_volumes.source_at(volume, origin) for name, volume in volumes.items()})
        with mounted(tmp_path_factory.mktemp("mount"), config, timeout=20) as mount:
            yield mount, origin, volumes


def store(mount, name, v3=False, image="em"):
    return mount / name / f"{image}{'.v3' if v3 else ''}.zarr"


def metadata(path):
    return json.loads((path / ".zattrs").read_text())["multiscales"][0]


@pytest.mark.parametrize("name", NAMES)
def test_every_level_is_bit_by_bit_what_tensorstore_makes_of_the_one_below(setup, name):
    mount, _, volumes = setup
    volume = volumes[name]
    levels = volume.levels()
    assert sorted(path.name for path in store(mount, name).iterdir() if path.is_dir()) == [f"s{n}" for n in range(len(levels))]
    for number, level in enumerate(levels):
        readers.assert_equal(readers.zarr_array(store(mount, name), number, False), level, f"{name} s{number} by zarr-python")
        readers.assert_equal(readers.tensorstore_driver(store(mount, name, True), number, True), level, f"{name} s{number} by TensorStore")


@pytest.mark.parametrize("name", NAMES)
def test_documents_tell_where_levels_lie_how_they_are_cut_and_by_which_rule_they_are_made(setup, name):
    mount, _, volumes = setup
    volume = volumes[name]
    described = metadata(store(mount, name))
    for number, (dataset, (scale, translation)) in enumerate(zip(described["datasets"], volume.placed(), strict=True)):
        transforms = {entry["type"]: entry[entry["type"]] for entry in dataset["coordinateTransformations"]}
        np.testing.assert_allclose(transforms["scale"], scale, rtol=1e-12)
        np.testing.assert_allclose(transforms["translation"], translation, rtol=1e-12, atol=1e-9)
        if number:
            array = json.loads((store(mount, name) / f"s{number}" / ".zarray").read_text())
            assert array["chunks"] == volume.chunks[number - 1]
    assert described["type"] == volume.rule
    assert described["metadata"]["method"] == f"emfs {volume.rule}" and described["metadata"]["version"] == "1"
    record = json.loads((mount / name / "metadata.json").read_text())["images"][0]["levels"]
    assert all(f"rule {volume.rule} 1" in level["made_by"] for level in record[1:]), record
    assert "emfs" not in record[0]["made_by"]


def test_labels_are_the_most_frequent_ones_and_no_new_ones(made, tmp_path):
    root, _ = made
    cells = reference_volumes.segments((70, 140, 700), "u2", 31)
    tifffile.imwrite(root / "cells.tif", cells, imagej=True, metadata={"axes": "ZYX"})
    image = reference_volumes.imagej(root, "below-cells", cells.shape, "u1", 32)
    with Origin(root) as origin:
        source = {"kind": "tiff", "url": f"{origin.url}/cells.tif"}
        images = [{"name": "training", "source": reference_volumes.source_at(image, origin), "labels": [{"name": "cells", "source": source}]}]
        config = configuration({"v": {"source": reference_volumes.source_at(image, origin), "images": images}})
        with mounted(tmp_path, config, timeout=20) as mount:
            labels = store(mount, "v", image="training") / "labels" / "cells"
            expected = lone_volumes.Lone("cells", {}, cells, [(2, 2, 2)], [], rule="mode").levels()
            for number, level in enumerate(expected):
                found = readers.zarr_array(labels, number, False)
                readers.assert_equal(found, level, f"labels s{number}")
                assert set(np.unique(found)) <= set(np.unique(cells))
            assert metadata(labels)["type"] == "mode"


@pytest.mark.parametrize("name", ["u8", "zarr-odd", "placed"])
def test_crops_chunks_single_levels_and_tiff_files_show_them_as_stored_ones(setup, name):
    mount, _, volumes = setup
    levels = volumes[name].levels()
    last = len(levels) - 1
    found = readers.zarr_array(mount / name / "em.chunk-64.zarr", 1, False)
    readers.assert_equal(found, levels[1], "by other chunks")
    alone = mount / name / f"em.s{last}.zarr"
    readers.assert_equal(readers.zarr_array(alone, last, False), levels[last], "alone")
    assert metadata(alone)["metadata"]["method"].startswith("emfs")
    readers.assert_equal(tifffile.imread(mount / name / f"em.s{last}.tif").reshape(levels[last].shape), levels[last], "as TIFF")
    box = [(11, 47), (3, 70), (100, 640)]
    crop = mount / name / ("em.crop-" + "_".join(f"{axis}{a}-{b}" for axis, (a, b) in zip("zyx", box)) + ".zarr")
    offset = volumes[name].offset
    for number, level in enumerate(levels):
        factor, first = 2**number, [o // 2**number for o in offset]
        cut = tuple(slice((a + o) // factor - f, -(-(b + o) // factor) - f) for (a, b), o, f in zip(box, offset, first))
        if number < 2:
            readers.assert_equal(readers.zarr_array(crop, number, False), level[cut], f"crop s{number}")


def test_an_export_holds_them(made, tmp_path):
    import zarr

    root, volumes = made
    with Origin(root) as origin:
        (tmp_path / "c.toml").write_text(configuration({"v": reference_volumes.source_at(volumes["thick"], origin)}))
        emfs("export", "v", tmp_path / "out.zarr", "--config", tmp_path / "c.toml", "--quiet", timeout=120)
        group = zarr.open_group(tmp_path / "out.zarr", mode="r")
        for number, level in enumerate(volumes["thick"].levels()):
            readers.assert_equal(group[f"s{number}"][...], level, f"exported s{number}")


def test_an_export_of_all_levels_fetches_the_finest_once_without_a_disk_that_keeps_it(tmp_path):
    import zarr

    root = tmp_path / "files"
    root.mkdir()
    volume = reference_volumes.itk(root, "v", (90, 800, 1300), "u1", 9)
    lone = lone_volumes.of_planes(volume, [(2, 2, 2), (1, 2, 2)])
    with Origin(root) as origin:
        (tmp_path / "c.toml").write_text(configuration({"v": reference_volumes.source_at(volume, origin)}))
        # The volume is larger than all memory for its blocks.
        emfs("export", "v", tmp_path / "out.zarr", "--config", tmp_path / "c.toml", "--memory", "128M", "--compress", "none", "--quiet", timeout=120)
        bytes, _ = sent(origin)
        assert bytes <= 1.05 * volume.levels[0].nbytes, f"{bytes / volume.levels[0].nbytes:.2f} times"
        group = zarr.open_group(tmp_path / "out.zarr", mode="r")
        for number, level in enumerate(lone.levels()):
            readers.assert_equal(group[f"s{number}"][...], level, f"exported s{number}")


def test_none_are_shown_where_the_configuration_says_so(made, tmp_path):
    root, volumes = made
    with Origin(root) as origin:
        config = configuration({name: reference_volumes.source_at(volumes[name], origin) | {"pyramid": False} for name in ("u8", "cells")})
        with mounted(tmp_path, config) as mount:
            for name in ("u8", "cells"):
                assert [path.name for path in store(mount, name).iterdir() if path.is_dir()] == ["s0"]
                assert not (store(mount, name) / "s1").exists() and "method" not in metadata(store(mount, name))["metadata"]


def test_shapes_cost_no_request_that_opening_does_not(made, tmp_path):
    root, volumes = made
    requests = []
    for number, pyramid in enumerate((True, False)):
        with Origin(root) as origin:
            config = configuration({"v": reference_volumes.source_at(volumes["u8"], origin) | {"pyramid": pyramid}})
            with mounted(tmp_path / str(number), config) as mount:
                (store(mount, "v") / ".zattrs").read_text()
                os.listdir(store(mount, "v"))
                os.stat(store(mount, "v") / "s0" / "0" / "0" / "0")
                requests.append(len(origin.requests))
    assert requests[0] == requests[1]


def files(mount, volume, name):
    """All documents and the chunks of all computed levels."""
    paths = [path for path in sorted(store(mount, name).iterdir()) if path.is_file()]
    for number, level in enumerate(volume.levels()[1:], 1):
        folder, chunk = store(mount, name) / f"s{number}", volume.chunks[number - 1]
        paths += [folder / ".zarray", folder / ".zattrs"]
        paths += [folder / "/".join(map(str, index)) for index in np.ndindex(*[-(-n // c) for n, c in zip(level.shape, chunk)])]
    return paths


def sums(mount, volume, name, threads):
    paths = files(mount, volume, name)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda path: hashlib.sha256(path.read_bytes()).hexdigest(), paths)
        return {str(path.relative_to(mount.path)): sum for path, sum in zip(paths, found)}


@pytest.mark.parametrize("name", ["be-u16", "zarr-sparse"])
def test_all_files_are_the_same_by_any_threads_cold_warm_remounted_and_with_half_the_cache_gone(made, tmp_path, name):
    root, volumes = made
    volume, cache = volumes[name], tmp_path / "cache"
    with Origin(root) as origin:
        config = configuration({name: reference_volumes.source_at(volume, origin)})
        with mounted(tmp_path / "a", config, cache=cache, timeout=20) as mount:
            first = sums(mount, volume, name, 8)
        with mounted(tmp_path / "b", config, timeout=20) as mount:
            assert sums(mount, volume, name, 1) == first
        origin.forget()
        with mounted(tmp_path / "c", config, cache=cache, timeout=20) as mount:
            assert sums(mount, volume, name, 8) == first
            assert sums(mount, volume, name, 1) == first
        if volume.source["kind"] == "tiff":
            assert not origin.requests, "all of it was kept"
        segments = sorted(path for path in cached_files(cache) if path.name.endswith(".segment"))
        for path in segments[::2]:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with mounted(tmp_path / "d", config, cache=cache, timeout=20) as mount:
            assert sums(mount, volume, name, 8) == first
        shutil.rmtree(cache)


def test_a_part_that_cannot_be_had_is_an_error_and_never_a_mean_over_zeros(made, tmp_path):
    root, volumes = made
    for name in ("u8", "zarr-odd", "cells"):
        levels = volumes[name].levels()
        with Origin(root) as origin:
            config = configuration({name: reference_volumes.source_at(volumes[name], origin)})
            with mounted(tmp_path / name, config, timeout=3) as mount:
                (store(mount, name) / ".zattrs").read_text()
                origin.fault = lambda request: Fault("status", status=500)
                chunk = store(mount, name) / f"s{len(levels) - 1}" / "0" / "0" / "0"
                with pytest.raises(OSError) as failed:
                    chunk.read_bytes()
                assert failed.value.errno == 5
                origin.fault = None
                wait_for(lambda: read_or_none(chunk), 20, "the chunk")
                readers.assert_equal(readers.tensorstore_driver(store(mount, name), len(levels) - 1, False), levels[-1], "once it is back")


def read_or_none(path):
    try:
        return path.read_bytes()
    except OSError:
        return None


def test_blocks_of_another_version_are_computed_anew(tmp_path):
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    for seed in (1, 2):
        volume = reference_volumes.imagej(root, "v", (70, 90, 650), "u1", seed)
        lone = lone_volumes.of_planes(volume, [(2, 2, 2)])
        with Origin(root) as origin:
            if seed == 1:
                port = origin.port
            else:
                origin.stop()
                origin.port = port
                origin.start()
            config = configuration({"v": reference_volumes.source_at(volume, origin)})
            with mounted(tmp_path / str(seed), config, *(["--revalidate"] if seed == 2 else []), cache=cache, timeout=20) as mount:
                readers.assert_equal(readers.zarr_array(store(mount, "v"), 1, False), lone.levels()[1], f"version {seed}")


@pytest.fixture(scope="module")
def epfl(tmp_path_factory):
    """Planes of the size that EPFL's have, written by ITK with a directory behind each."""
    root = tmp_path_factory.mktemp("epfl")
    return root, reference_volumes.itk(root, "epfl", (72, 1536, 2048), "u1", 77)


def sent(origin):
    """Bytes of voxels that were asked for, and how often."""
    voxels = [request for request in origin.requests if request.range and request.range[1] - request.range[0] > 100_000]
    return sum(request.range[1] - request.range[0] for request in voxels), len(origin.requests)


@pytest.mark.parametrize("level", [1, 2])
def test_a_cold_view_of_a_level_costs_its_planes_and_one_request_for_each(epfl, tmp_path, level):
    root, volume = epfl
    plane = 1536 * 2048
    with Origin(root) as origin:
        with mounted(tmp_path, configuration({"v": reference_volumes.source_at(volume, origin)}), timeout=20, memory="1G") as mount:
            (store(mount, "v") / ".zattrs").read_text()
            documents = len(origin.requests)
            origin.forget()
            z = 72 // 2**level // 2
            readers.assert_equal(
                readers_slice(store(mount, "v"), level, z), lone_volumes.of_planes(volume, [(2, 2, 2), (1, 2, 2)]).levels()[level][z], "the view")
            bytes, requests = sent(origin)
            assert bytes <= 1.02 * 2**level * plane
            assert requests <= 2**level + documents


def readers_slice(path, level, z):
    import tensorstore

    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/s{level}/"}}
    return tensorstore.open(spec, open=True, read=True).result()[z].read().result()


def test_no_byte_is_fetched_twice_for_three_levels_of_a_region(epfl, tmp_path):
    root, volume = epfl
    with Origin(root) as origin:
        with mounted(tmp_path / "mount", configuration({"v": reference_volumes.source_at(volume, origin)}), cache=tmp_path / "cache", timeout=20) as mount:
            for level in (2, 0, 1):
                readers_slice(store(mount, "v"), level, 8 // 2**level)
                for z in range(8 // 2**level, 16 // 2**level):
                    readers_slice(store(mount, "v"), level, z)
            asked = sorted(request.range for request in origin.requests if request.range)
            voxels = [part for part in asked if part[1] - part[0] > 100_000]
            assert all(after[0] >= before[1] for before, after in zip(voxels, voxels[1:])), "no two overlap"


def test_warm_computes_levels_once_for_all_who_read_them_later(made, tmp_path):
    root, volumes = made
    volume, cache = volumes["thick"], tmp_path / "cache"
    with Origin(root) as origin:
        config = tmp_path / "c.toml"
        config.write_text(configuration({"v": reference_volumes.source_at(volume, origin)}))
        done = emfs("warm", "v", "--level", "s1,s2", "--config", config, "--cache-dir", cache, timeout=120)
        assert "0 of them kept before" in done.stdout
        again = emfs("warm", "v", "--level", "s1,s2", "--config", config, "--cache-dir", cache, timeout=120)
        count = again.stdout.split(" blocks, ")
        assert count[1].startswith(f"{count[0].split()[-1]} of them kept before"), again.stdout
        located = json.loads(emfs("locate", "v/em.zarr/s2/3/0/0", "--json", "--config", config, "--cache-dir", cache).stdout)["blocks"]
        assert located[0]["computed"] == "s2" and located[0]["kept"] == located[0]["length"] and located[1]["url"]
        origin.forget()
        with mounted(tmp_path / "m", config.read_text(), "--offline", cache=cache) as mount:
            for number in (1, 2):
                readers.assert_equal(readers.zarr_array(store(mount, "v"), number, False), volume.levels()[number], f"offline s{number}")
        assert not origin.requests


def test_a_bright_voxel_lies_at_its_nanometres_at_every_level(tmp_path):
    at, size = (41, 77, 1001), 8.0
    reference_volumes.one_bright_voxel(tmp_path / "v.tif", (70, 140, 1300), at, 250, "u1")
    with Origin(tmp_path) as origin:
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [size] * 3}})
        with mounted(tmp_path / "m", config, timeout=20) as mount:
            for number, dataset in enumerate(metadata(store(mount, "v"))["datasets"]):
                scale, translation = (np.array(entry[entry["type"]]) for entry in dataset["coordinateTransformations"])
                level = readers.zarr_array(store(mount, "v"), number, False)
                found = np.unravel_index(level.argmax(), level.shape)
                assert (np.abs(np.array(found) * scale + translation - np.array(at) * size) <= scale / 2).all()


def test_memory_for_a_volume_a_hundred_times_larger_stays_in_the_budget_and_unmounting_waits_for_nothing(tmp_path):
    shape = (100, 8000, 8000)
    planes = tifffile.memmap(tmp_path / "big.tif", shape=shape, dtype="u1", bigtiff=True, photometric="minisblack")
    del planes
    with Origin(tmp_path) as origin:
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/big.tif", "voxel_size": [50, 8, 8]}})
        with mounted(tmp_path / "m", config, timeout=60, memory="64M") as mount:
            (store(mount, "v") / ".zattrs").read_text()
            last = max(number for number in range(9) if (store(mount, "v") / f"s{number}").exists())
            assert last == 4
            before = mount.rss()
            readers_slice(store(mount, "v"), last, 3)
            assert mount.rss() - before < 64 << 20
            reader = threading.Thread(target=lambda: read_or_none(store(mount, "v") / f"s{last}" / "20" / "0" / "0"))
            origin.latency = 0.5
            reader.start()
            time.sleep(0.3)
            assert reader.is_alive()
            start = time.monotonic()
            mount.unmount()
            assert time.monotonic() - start < 2
            reader.join(20)
