"""Stores that cannot be shown say why and what to do, take nothing else along, and come back by themselves."""

import errno
import json
import os
import shutil

import numcodecs
import numpy as np
import pytest
import tifffile
import zarr

import readers
import reference_volumes
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault, Origin
from test_tolerance import attributes, rewrite, write

ERROR = "ERROR.txt"


def broken_document(folder):
    (folder / ".zattrs").write_text("<html>")


def two_channels(folder):
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    axes = [{"name": "c", "type": "channel"}, *({"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx")]
    level = {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1, 40, 8, 8]}]}
    group.attrs.update(attributes(axes=axes, datasets=[level]))
    group.create_array("s0", shape=(2, 8, 8, 8), chunks=(1, 8, 8, 8), dtype="uint8")[...] = 1


#: name: (what is done to the folder, how the origin answers, a part of the reason, a part of the remedy)
REASONS = {
    "missing": (shutil.rmtree, None, "is the address right?", "Compare the address"),
    "no JSON": (broken_document, None, ".zattrs", "Compare the address"),
    "channels": (two_channels, None, "write `channel = N`", "Compare the address"),
    "codec": (lambda folder: rewrite(folder / "s0" / ".zarray", lambda document: document.update(compressor={"id": "szip"})), None, "compressor `szip`", "Compare the address"),
    "403": (lambda folder: None, Fault("status", 403), "access denied (status 403)", 'credentials = "env"'),
    "500": (lambda folder: None, Fault("status", 500), "status 500", "emfs status"),
    "silent": (lambda folder: None, Fault("silent"), "no progress for 3 s", "emfs status"),
    "reset": (lambda folder: None, Fault("reset"), "onnection", "emfs status"),
    "html": (lambda folder: None, Fault("html"), "image/", "Compare the address"),
}


def test_offline_it_is_said_that_nobody_is_asked_and_of_a_server_without_ranges_what_helps(tmp_path):
    tifffile.imwrite(tmp_path / "v.tif", np.ones((20, 200, 200), "u1"), photometric="minisblack")
    with Origin(tmp_path) as origin:
        config = configuration({"a": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [8, 8, 8]}})
        with mounted(tmp_path / "offline", config, "--offline", cache=tmp_path / "cache") as mount:
            assert listed(mount / "a" / "em.zarr") == [[ERROR], [ERROR]]
            text = (mount / "a" / "em.zarr" / ERROR).read_text()
            assert "Nobody is asked" in text and "`emfs warm`" in text, text
        origin.fault = lambda request: Fault("ok200")
        with mounted(tmp_path / "whole", config, timeout=3) as mount:
            assert listed(mount / "a" / "em.zarr") == [[ERROR], [ERROR]]
            assert "a server that knows them" in (mount / "a" / "em.zarr" / ERROR).read_text()


def listed(folder):
    """As `ls` does it, twice: the second time the kernel may answer."""
    return [sorted(os.listdir(folder)) for _ in range(2)]


@pytest.mark.parametrize("what", REASONS)
def test_the_directory_of_a_refused_store_says_why_until_it_can_be_described(tmp_path, what):
    change, fault, reason, remedy = REASONS[what]
    expected = write(tmp_path / "volumes" / "image", "|u1", compressors=numcodecs.Zstd(1))
    shutil.copytree(tmp_path / "volumes" / "image", tmp_path / "well")
    change(tmp_path / "volumes" / "image")
    with Origin(tmp_path / "volumes") as origin:
        origin.fault = lambda request: fault
        config = configuration({"a": {"kind": "zarr", "url": f"{origin.url}/image"}})
        with mounted(tmp_path / "mount", config, timeout=3) as mount:
            for name in ("em.zarr", "em.v3.zarr"):
                store = mount / "a" / name
                assert listed(store) == [[ERROR], [ERROR]]
                text = (store / ERROR).read_text()
                assert f"emfs cannot show a/{name}: " in text and reason in text and remedy in text, text
                assert (store / ERROR).stat().st_size == len(text.encode())
                document = store / (".zattrs" if name == "em.zarr" else "zarr.json")
                with pytest.raises(OSError) as raised:
                    document.read_bytes()
                assert raised.value.errno in (errno.EIO, errno.EACCES)
                with pytest.raises(OSError):
                    os.stat(store / "s0")
                with pytest.raises(Exception) as raised:
                    zarr.open_group(store, mode="r")
                assert not isinstance(raised.value, (AssertionError, KeyError))
            record = json.loads((mount / "a" / "metadata.json").read_text())
            assert reason in record["missing"]["/images/0/shape/z"], record["missing"]["/images/0/shape/z"]
            # Once the origin is well, the store is there without anybody's help.
            origin.fault = None
            shutil.rmtree(tmp_path / "volumes" / "image", ignore_errors=True)
            shutil.copytree(tmp_path / "well", tmp_path / "volumes" / "image")
            for name, v3 in (("em.zarr", False), ("em.v3.zarr", True)):
                store = mount / "a" / name

                def is_well():
                    return "s0" in os.listdir(store)

                wait_for(is_well, 8, "the store is listed")
                assert ERROR not in os.listdir(store)
                assert not (store / ERROR).exists()
                np.testing.assert_array_equal(readers.zarr_array(store, 0, v3), expected)
                assert ERROR not in {name for name, _ in zarr.open_group(store, mode="r").members()}


@pytest.mark.parametrize("first", ["listed", "asked for", "read"])
def test_a_listing_is_not_kept_beyond_what_it_says(tmp_path, first):
    """The store is described by a read of somebody else between two listings, of which the kernel could keep the first."""
    write(tmp_path / "image", "|u1")
    with Origin(tmp_path) as origin:
        origin.fault = lambda request: Fault("status", 403)
        with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": f"{origin.url}/image"}}), timeout=3) as mount:
            store = mount / "a" / "em.zarr"
            if first == "listed":
                assert os.listdir(store) == [ERROR]
            elif first == "asked for":
                assert (store / ERROR).exists()
                assert os.listdir(store) == [ERROR]
            else:
                assert "em.zarr" in (store / ERROR).read_text()
            origin.fault = None
            wait_for(lambda: _read(store / ".zattrs"), 8, "the store is described")
            assert sorted(os.listdir(store)) == [".zattrs", ".zgroup", ".zmetadata", "s0"]
            assert not (store / ERROR).exists()


def test_a_store_that_never_failed_has_no_such_file_and_costs_no_more_messages(tmp_path):
    write(tmp_path / "image", "|u1")
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": str(tmp_path / "image")}}), timeout=5) as mount:
        store = mount / "a" / "em.zarr"
        assert not (store / ERROR).exists()
        assert not (mount / "a" / ERROR).exists() and not (store / "s0" / ERROR).exists()
        for _ in range(2):
            readers.read_file(store / "s0" / "0" / "0" / "0")
            os.listdir(store)
        before = mount.fuse()
        for _ in range(50):
            readers.read_file(store / "s0" / "0" / "0" / "0")
            assert not (store / ERROR).exists()
        after = mount.fuse()
        asked = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in ("lookup", "getattr", "read")}
        # Those of the root and of the dataset may go out.
        assert sum(asked.values()) <= 10, asked


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return None


#: How a label can fail: (what is done to its folder, how the origin answers to what is in it, a part of the reason)
LABELS = {
    "missing": (shutil.rmtree, None, "is the address right?"),
    "no JSON": (broken_document, None, ".zattrs"),
    "codec": (REASONS["codec"][0], None, "szip"),
    "403": (lambda folder: None, Fault("status", 403), "403"),
    "500": (lambda folder: None, Fault("status", 500), "status 500"),
    "silent": (lambda folder: None, Fault("silent"), "no progress"),
    "html": (lambda folder: None, Fault("html"), ".zattrs: document"),
    "too many levels": (lambda folder: rewrite(folder / ".zattrs", lambda document: document["multiscales"][0].update(datasets=document["multiscales"][0]["datasets"] * 40)), None, "40 elements"),
}


@pytest.mark.parametrize("what", LABELS)
def test_a_label_that_fails_in_any_way_leaves_its_image_readable_and_is_told(tmp_path, what):
    change, fault, reason = LABELS[what]
    root = tmp_path / "volumes"
    expected = {name: write(root / name, "|u1") for name in ("image", "good", "bad")}
    change(root / "bad")
    with Origin(root) as origin:
        origin.fault = lambda request: fault if request.path.startswith("/bad/") else None
        at = {name: {"kind": "zarr", "url": f"{origin.url}/{name}"} for name in expected}
        labels = [{"name": name, "source": at[name]} for name in ("good", "bad")]
        dataset = {"source": at["image"], "images": [{"name": "training", "source": at["image"], "labels": labels}]}
        with mounted(tmp_path / "mount", configuration({"d": dataset}), timeout=3) as mount:
            for store, v3 in (("training.zarr", False), ("training.v3.zarr", True)):
                group = mount / "d" / store
                assert {"s0", "labels"} <= set(os.listdir(group)) and ERROR not in os.listdir(group)
                np.testing.assert_array_equal(readers.zarr_array(group, 0, v3), expected["image"])
                np.testing.assert_array_equal(readers.zarr_array(group / "labels" / "good", 0, v3), expected["good"])
                assert zarr.open_group(group, mode="r")["s0"].shape == expected["image"].shape
                assert {"good", "bad"} <= set(os.listdir(group / "labels"))
                with pytest.raises(OSError):
                    os.listdir(group / "labels" / "bad")
            crop = mount / "d" / "training.crop-z0-8_y0-8_x0-8.zarr"
            assert zarr.open_group(crop, mode="r")["s0"].shape == (8, 8, 8)
            assert {"good", "bad"} & set(os.listdir(crop / "labels"))
            lines = [line for line in mount.log.splitlines() if "/bad" in line]
            assert any(reason in line for line in lines), lines
            record = json.loads((mount / "d" / "metadata.json").read_text())
            number = next(n for n, image in enumerate(record["images"]) if image["name"] == "bad")
            assert reason in record["missing"][f"/images/{number}/shape/z"], record["missing"][f"/images/{number}/shape/z"]
            assert emfs("status", mount.path, "--failed", check=False).returncode == 1
