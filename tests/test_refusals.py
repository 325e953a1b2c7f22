"""Stores that cannot be shown say why and what to do, take nothing else along, and come back by themselves."""

import errno
import json
import os
import shutil
import zipfile

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


def refused(tmp_path, kind, path, **keys):
    """The sentence for a source that is not shown, without its place."""
    file = tmp_path / "refused.toml"
    file.write_text(configuration({"a": {"kind": kind, "url": str(path)} | keys}))
    done = emfs("datasets", "--config", file, "--probe", check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def _lone(folder, shape=(8, 8, 8), dtype="uint8", change=None, **options):
    zarr.create_array(str(folder), shape=shape, chunks=(4,) * len(shape), dtype=dtype, zarr_format=options.pop("zarr_format", 2), **options)
    document = folder / (".zarray" if (folder / ".zarray").exists() else "zarr.json")
    if change:
        rewrite(document, change)


def _volume(folder, change):
    document = {"@type": "neuroglancer_multiscale_volume", "data_type": "uint8", "num_channels": 1, "type": "image", "scales": [
        {"key": "k", "size": [8, 8, 8], "resolution": [4, 4, 4], "chunk_sizes": [[8, 8, 8]], "encoding": "raw", "voxel_offset": [0, 0, 0]}]}
    change(document)
    folder.mkdir(parents=True)
    (folder / "info").write_text(json.dumps(document))


def _n5(folder, **change):
    folder.mkdir(parents=True)
    document = {"dimensions": [8, 8, 8], "blockSize": [4, 4, 4], "dataType": "uint8", "compression": {"type": "raw"}}
    (folder / "attributes.json").write_text(json.dumps(document | change))


#: name: (kind, how it is written, the reason, the remedy)
REMEDIES = {
    "moments": ("zarr", lambda f: _lone(f, (2, 8, 8, 8), attributes={"_ARRAY_DIMENSIONS": ["t", "z", "y", "x"]}), "axis `t` of length 2", "write the moment that is wanted"),
    "flat": ("zarr", lambda f: _lone(f, (8, 8)), "an array of 2 axes", "write it as an array with the axes z, y, x"),
    "filter": ("zarr", lambda f: _lone(f, filters=[numcodecs.Quantize(2, "<f4")], dtype="<f4"), "filter `quantize`", "without filters"),
    "compressor": ("zarr", lambda f: _lone(f, change=lambda d: d.update(compressor={"id": "szip"})), "compressor `szip`", "rewrite it by `zarr` of Python"),
    "dtype": ("zarr", lambda f: _lone(f, dtype="<c8", fill_value=0), "type `<c8`", "integers of 8 to 64 bits"),
    "codec": ("zarr", lambda f: _lone(f, zarr_format=3, change=lambda d: d["codecs"].append({"name": "numcodecs.adler32"})), "codec `numcodecs.adler32`", "rewrite it by `zarr` of Python"),
    "dtype of v3": ("zarr", lambda f: _lone(f, zarr_format=3, dtype="complex64"), "type `complex64`", "integers of 8 to 64 bits"),
    "grid": ("zarr", lambda f: _lone(f, zarr_format=3, change=lambda d: d.update(chunk_grid={"name": "rectilinear"})), "chunk grid `rectilinear`", "a regular grid of chunks"),
    "extension": ("zarr", lambda f: _lone(f, zarr_format=3, change=lambda d: d.update(layers={"name": "x"})), "extension `layers`", "no extensions"),
    "compresso": ("precomputed", lambda f: _volume(f, lambda d: d["scales"][0].update(encoding="compresso")), "encoding `compresso`", "rewrite it as `raw`, `jpeg`, `png`"),
    "data type": ("precomputed", lambda f: _volume(f, lambda d: d.update(data_type="float64")), "type `float64`", "`float32`"),
    "channels of JPEG": ("precomputed", lambda f: _volume(f, lambda d: (d.update(num_channels=2), d["scales"][0].update(encoding="jpeg"))), "JPEG (lossy) of 2 channels", "rewrite it as `raw`"),
    "N5 type": ("n5", lambda f: _n5(f, dataType="object"), "type `object`", "integers of 8 to 64 bits"),
    "N5 codec": ("n5", lambda f: _n5(f, compression={"type": "jpeg"}), "compression `jpeg`", "rewrite it with the compression `gzip`"),
    "N5 flat": ("n5", lambda f: _n5(f, dimensions=[8, 8], blockSize=[4, 4]), "an array of 2 axes", "write it as an array with the axes z, y, x"),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_a_variant_that_is_not_read_is_named_with_what_to_do(tmp_path, name):
    kind, make, reason, remedy = REMEDIES[name]
    make(tmp_path / "v")
    said = refused(tmp_path, kind, tmp_path / "v", channel=0) if name == "channels of JPEG" else refused(tmp_path, kind, tmp_path / "v")
    assert f"{reason}" in said and "is not supported; " in said and remedy in said, said


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(".zgroup", '{"zarr_format": 2}')


def _wkw(folder):
    (folder / "color" / "1" / "z0" / "y0").mkdir(parents=True)
    (folder / "color" / "1" / "header.wkw").write_bytes(b"WKW" + bytes(13))
    (folder / "color" / "1" / "z0" / "y0" / "x0.wkw").write_bytes(b"WKW" + bytes(100))
    (folder / "datasource-properties.json").write_text("{}")


def _icechunk(folder):
    for name in ("chunks", "manifests", "snapshots", "transactions", "refs/branch.main"):
        (folder / name).mkdir(parents=True)
    (folder / "refs" / "branch.main" / "ref.json").write_text('{"snapshot": "1CECHNKREP0F1RSTCMT0"}')


ANNEX = "/annex/objects/MD5E-s16384--0123456789abcdef\n"

#: name: (how it is made, which part of it is named, what is said of it)
OTHERS = {
    "zip": (lambda p: _zip(p / "a.zarr.zip"), "a.zarr.zip", "it is a ZIP archive, which emfs does not read; unpack it"),
    "ozx": (lambda p: _zip(p / "a.ozx"), "a.ozx", "it is a ZIP archive, which emfs does not read; unpack it"),
    "hdf5": (lambda p: (p / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600)), "a.h5", "it is HDF5"),
    "tiff": (lambda p: (p / "a").write_bytes(b"II*\0" + bytes(600)), "a", "it is TIFF: write `kind = \"tiff\"`"),
    "webknossos": (lambda p: _wkw(p / "d"), "d", "(WKW), which emfs does not read; convert it to Zarr"),
    "webknossos layer": (lambda p: _wkw(p / "d"), "d/color", "(WKW), which emfs does not read; convert it to Zarr"),
    "webknossos magnification": (lambda p: _wkw(p / "d"), "d/color/1", "(WKW), which emfs does not read; convert it to Zarr"),
    "knossos": (lambda p: ((p / "k").mkdir(), (p / "k" / "knossos.conf").write_text("experiment name")), "k", "it holds cubes of KNOSSOS"),
    "kerchunk": (lambda p: (p / "refs.json").write_text(json.dumps({"version": 1, "refs": {".zgroup": "{}"}})), "refs.json", "it is references of kerchunk"),
    "icechunk": (lambda p: _icechunk(p / "i"), "i", "it is a repository of Icechunk, which emfs does not read; write its arrays as a plain Zarr store"),
    "annex": (lambda p: (p / "a.zarr").write_text(ANNEX), "a.zarr", "it is a pointer of git-annex in place of the file; fetch the file by `git annex get`"),
    "sections": (lambda p: ((p / "s").mkdir(), (p / "s" / "a_0.tif").write_bytes(b"II*\0")), "s", "it holds TIFF files: write `kind = \"tiff\"`"),
}


@pytest.mark.parametrize("kind", ["zarr", "n5"])
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_store_at_all_is_named_with_what_to_do(tmp_path, name, kind):
    make, part, expected = OTHERS[name]
    make(tmp_path)
    said = refused(tmp_path, kind, tmp_path / part)
    assert expected in said and "nor anything else that emfs knows" not in said, said


@pytest.mark.parametrize("kind", ["zarr", "n5", "precomputed"])
def test_what_is_no_store_at_all_is_named_at_a_server_too(tmp_path, kind):
    _zip(tmp_path / "a.zarr.zip")
    _wkw(tmp_path / "d")
    _icechunk(tmp_path / "i")
    (tmp_path / "unlike").mkdir()
    (tmp_path / "unlike" / "a.txt").write_text("x")
    with Origin(tmp_path) as origin:
        assert "it is a ZIP archive" in refused(tmp_path, kind, f"{origin.url}/a.zarr.zip")
        for part in ("d", "d/color", "d/color/1"):
            assert "WEBKNOSSOS" in refused(tmp_path, kind, f"{origin.url}/{part}"), part
        assert "Icechunk" in refused(tmp_path, kind, f"{origin.url}/i")
        assert "WEBKNOSSOS" not in refused(tmp_path, kind, f"{origin.url}/unlike")
