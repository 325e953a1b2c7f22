"""Display windows: measured from stated blocks, the same on every machine, and never waited for."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import tifffile
import zarr

import namings
import replica
import reference_volumes
from mounting import BINARY, configuration, emfs, mounted, wait_for
from origin import Fault, Origin


def window(store):
    (channel,) = json.loads((store / ".zattrs").read_text())["omero"]["channels"]
    return channel["window"]["start"], channel["window"]["end"]


def images(demo):
    """(dataset, image) of the replica."""
    return [(dataset, image) for dataset, image, label in demo.truth if label is None]


def windows(mount, demo):
    return {of: window(mount / of[0] / f"{of[1]}.zarr") for of in images(demo)}


def record(*where):
    """The image records of a command, by dataset and image."""
    told = json.loads(emfs("metadata", "--format", "json", *where).stdout)
    return {(dataset["id"], image["name"]): (image, dataset["provenance"].get(f"/images/{number}/display_window/low", {}))
            for dataset in told for number, image in enumerate(dataset["images"])}


def test_windows_show_nearly_all_voxels_and_are_used_nearly_whole(demo):
    for dataset, image in images(demo):
        low, high = window(demo.mount / dataset / f"{image}.zarr")
        voxels = demo.truth[dataset, image, None].levels[0].astype(float)
        first, last = np.percentile(voxels, [0.35, 99.65])
        assert ((voxels < low) | (voxels > high)).mean() <= 0.01, (dataset, image)
        assert (min(last, high) - max(first, low)) / (high - low) >= 0.8, (dataset, image)


@pytest.mark.parametrize("processors", ["one", "all"])
def test_what_is_measured_is_what_the_catalogue_recorded_on_any_machine(demo, tmp_path, processors):
    config = tmp_path / "replica.toml"
    config.write_text(demo.config)
    names = [f"{dataset}/{image}" for dataset, image in images(demo)]
    command = [BINARY, "warm", *names, "--config", config, "--cache-dir", tmp_path / "cache", "--quiet"]
    alone = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if processors == "one" else []
    subprocess.run([*alone, *command], check=True, timeout=300)
    with mounted(tmp_path, demo.config, "--offline", cache=tmp_path / "cache") as mount:
        assert windows(mount, demo) == windows(demo.mount, demo)
    found = record("--config", config, "--cache-dir", tmp_path / "cache", "--offline")
    for of in images(demo):
        if of[0] in ("idr-9846137", "empiar-11759"):
            continue
        image, provenance = found[of]
        assert provenance["method"] == "computed", provenance
        assert provenance["rule"].startswith("0.35 to 99.65 % of the voxels of s0 in the archive's blocks "), provenance
        assert 1 <= provenance["rule"].count(",") + 1 <= 8


@pytest.fixture
def plain(small_served):
    """A volume of which nobody states a window, its origin, and a configuration."""
    volume, origin = small_served
    return volume, origin, configuration({"plain": reference_volumes.source_at(volume, origin)})


WHOLE = (0, 65535)


def test_opening_does_not_wait_for_voxels(plain, tmp_path):
    volume, origin, config = plain
    origin.fault = lambda request: Fault("silent") if request.path.rpartition("/")[2].isdigit() else None
    with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=30) as mount:
        before = len(origin.requests)
        assert window(mount / "plain" / "em.zarr") == WHOLE
        assert not [request for request in origin.requests[before:] if request.path.rpartition("/")[2].isdigit()]


def test_a_mount_measures_what_is_read_keeps_it_and_changes_no_document(plain, tmp_path):
    volume, origin, config = plain
    cache = ["--cache-dir", tmp_path / "cache"]
    with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=30) as mount:
        store = mount / "plain" / "em.zarr"
        documents = {path: (store / path).read_bytes() for path in (".zattrs", ".zmetadata")}
        (store / "s0" / "0" / "0" / "0").read_bytes()
        measured = wait_for(
            lambda: (found := record("--config", mount.config_file, *cache)["plain", "em"])[1]["rule"].startswith("0.35") and found[0],
            60, "the window is measured")["display_window"]
        assert {path: (store / path).read_bytes() for path in documents} == documents
        assert window(mount / "plain" / "em.crop-z0-9_y0-9_x0-9.zarr") == WHOLE, "all views of a mount agree"
    expected = np.percentile(volume.levels[0], [0.35, 99.65])
    assert np.allclose((measured["low"], measured["high"]), expected, rtol=0.02, atol=65)
    origin.stop()
    with mounted(tmp_path, config, "--offline", cache=tmp_path / "cache") as mount:
        assert window(mount / "plain" / "em.zarr") == (measured["low"], measured["high"])


def test_without_a_cache_the_range_of_the_type_is_shown(plain, tmp_path):
    volume, origin, config = plain
    with mounted(tmp_path, config, timeout=30) as mount:
        assert window(mount / "plain" / "em.zarr") == WHOLE
        (mount / "plain" / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()


def test_a_recorded_window_is_shown_until_one_is_measured_and_a_configured_one_always(plain, tmp_path):
    volume, origin, _ = plain
    source = reference_volumes.source_at(volume, origin)
    sets = {"recorded": source | {"recorded_window": [5, 900]}, "configured": source | {"recorded_window": [5, 900], "window": [7, 800]}}
    config = configuration(sets)
    with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=30) as mount:
        assert {name: window(mount / name / "em.zarr") for name in sets} == {"recorded": (5, 900), "configured": (7, 800)}
    file = tmp_path / "config.toml"
    subprocess.run([BINARY, "warm", *sets, "--config", file, "--cache-dir", tmp_path / "cache", "--quiet"], check=True, timeout=60)
    with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=30) as mount:
        assert window(mount / "recorded" / "em.zarr")[0] > 5 and window(mount / "configured" / "em.zarr") == (7, 800)


def test_measuring_many_images_takes_the_memory_of_one_block(tmp_path):
    """Of each image 64 MiB of voxels are measured, and many are read first at the same time."""
    first, memory = tmp_path / "v0.zarr", 64 << 20
    array = {"zarr_format": 2, "shape": [256, 512, 512], "chunks": [128, 256, 256], "dtype": "|u1", "compressor": None, "fill_value": 0, "order": "C", "filters": None}
    first.mkdir()
    (first / ".zarray").write_text(json.dumps(array))
    blocks = list(np.ndindex(2, 2, 2))
    for number, block in enumerate(blocks):
        (first / ".".join(map(str, block))).write_bytes(reference_volumes.texture((128, 256, 256), "u1", number).tobytes())
    for number in range(1, 6):
        shutil.copytree(first, tmp_path / f"v{number}.zarr", copy_function=os.link)
    sources = {f"v{number}": {"kind": "zarr", "url": str(tmp_path / f"v{number}.zarr"), "voxel_size": [8, 8, 8]} for number in range(6)}
    with mounted(tmp_path, configuration(sources), memory=memory, cache=tmp_path / "cache", timeout=30) as mount:
        for name in sources:
            (mount / name / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()
        options = ["--config", mount.config_file, "--cache-dir", tmp_path / "cache"]

        def measured():
            rules = [provenance.get("rule", "") for _, provenance in record(*options).values()]
            return sum(rule.startswith("0.35") for rule in rules) == len(sources)

        wait_for(measured, 90, "all windows are measured")
        assert mount.peak() <= memory + (96 << 20), f"{mount.peak() >> 20} MiB"
    voxels = np.sort(np.concatenate([np.fromfile(first / ".".join(map(str, block)), np.uint8) for block in blocks]), kind="stable")
    expected = [float(voxels[int((voxels.size - 1) * share + 0.5)]) for share in (0.0035, 0.9965)]
    windows = {(image["display_window"]["low"], image["display_window"]["high"]) for image, _ in record(*options).values()}
    assert windows == {tuple(expected)}


def noted(cache, config, *options):
    """The display window and the mean that are kept of `v`."""
    arguments = ["--config", config, "--cache-dir", cache, *options]
    image, provenance = record(*arguments)["v", "em"]
    window = image["display_window"]
    return (window["low"], window["high"]) if provenance["rule"].startswith("0.35") else None, image["intensity"]["mean"]


@pytest.mark.parametrize("kind", ["tiff", "sections", "zarr"])
def test_what_was_computed_of_voxels_does_not_outlive_them(tmp_path, kind):
    """Of a file it is known whether it is another one. Of a store it is once a chunk is found to be, and asked with --revalidate."""
    root, cache, rng = tmp_path / "files", tmp_path / "cache", np.random.default_rng(1)
    root.mkdir()

    def put(low, high, when):
        voxels = rng.integers(low, high, (16, 64, 64), dtype="u1")
        if kind == "tiff":
            tifffile.imwrite(root / "v.tif", voxels, photometric="minisblack", metadata=None)
        elif kind == "sections":
            (root / "v").mkdir(exist_ok=True)
            for z, plane in enumerate(voxels):
                tifffile.imwrite(root / "v" / f"s_{z:02d}.tif", plane)
        else:
            group = zarr.open_group(root / "v.zarr", mode="a", zarr_format=2)
            if "s0" not in group:
                level = {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [5.0, 5.0, 5.0]}]}
                axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
                group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]
                group.create_array("s0", shape=voxels.shape, dtype="u1", chunks=(16, 64, 64), compressors=None)
            group["s0"][:] = voxels
        for path in root.rglob("*"):
            # The documents of the store stay what they are.
            if path.is_file() and (when == 1_600_000_000 or not path.name.startswith(".")):
                os.utime(path, (when, when))
        return voxels.mean()

    mean = put(10, 60, 1_600_000_000)
    with Origin(root, naming=namings.nginx) as origin:
        source = {"tiff": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [5, 5, 5]},
                  "sections": {"kind": "tiff", "urls": [f"{origin.url}/v/s_{z:02d}.tif" for z in range(16)], "voxel_size": [5, 5, 5]},
                  "zarr": {"kind": "zarr", "url": f"{origin.url}/v.zarr"}}[kind]
        config = tmp_path / "config.toml"
        config.write_text(configuration({"v": source}, {"stall": 60.0}))
        options = ["--config", config, "--cache-dir", cache]
        emfs("warm", "v", *options)
        emfs("stats", "v", *options)
        window, kept = noted(cache, config)
        assert window and 10 <= window[0] < window[1] < 60 and abs(kept - mean) < 5
        assert noted(cache, config) == (window, kept)
        if kind == "tiff":
            assert noted(cache, config, "--revalidate") == (window, kept), "the file is what it was"
        mean = put(120, 250, 1_700_000_000)
        assert noted(cache, config, "--revalidate") == (None, None)
        assert noted(cache, config) == (None, None)
        emfs("warm", "v", *options, *([] if kind == "tiff" else ["--revalidate"]))
        emfs("stats", "v", *options)
        window, kept = noted(cache, config)
        assert window and 120 <= window[0] and abs(kept - mean) < 10
