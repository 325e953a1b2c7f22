"""Stores as older and freer writers leave them: read where what they mean is certain, and never as zeros."""

import json
import shutil

import numcodecs
import numpy as np
import pytest
import zarr

import readers
import reference_volumes
from conftest import ReferenceMount
from mounting import configuration, mounted
from origin import Origin

SHAPE, CHUNK = (21, 18, 25), (8, 8, 8)
#: name: (dtype, options of zarr-python)
ARRAYS = {
    "lz4": ("<u2", {"compressors": numcodecs.LZ4()}),
    "bz2": ("<i4", {"compressors": numcodecs.BZ2(1)}),
    "lzma": ("|u1", {"compressors": numcodecs.LZMA(preset=1)}),
    "lzma-alone": ("|u1", {"compressors": numcodecs.LZMA(format=2, preset=1)}),
    "delta": ("<i2", {"filters": [numcodecs.Delta("<i2")], "compressors": numcodecs.Zstd(1)}),
    "delta-f-order": ("<u4", {"filters": [numcodecs.Delta("<u4")], "order": "F", "compressors": None}),
    "delta-float": ("<f4", {"filters": [numcodecs.Delta("<f4")], "compressors": numcodecs.Zlib(1)}),
    "shuffle": ("<u8", {"filters": [numcodecs.Shuffle(8)], "compressors": numcodecs.Blosc()}),
    "delta-shuffle": ("<u4", {"filters": [numcodecs.Delta("<u4"), numcodecs.Shuffle(4)], "compressors": numcodecs.GZip(1)}),
    "bool": ("|b1", {"compressors": numcodecs.Zstd(1), "fill_value": True}),
    "half": ("<f2", {"compressors": numcodecs.Zstd(1), "fill_value": 0.5}),
    "half-big": (">f2", {"compressors": None, "fill_value": float("nan")}),
}
SHOWN = {"b": "uint8", "f2": "float32"}


def attributes(**image):
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    level = {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [40.0, 8.0, 8.0]}]}
    return {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [level], **image}]}


def write(folder, dtype, holes=True, **options):
    """An image of one level, of which some chunks are absent; what is to be shown of it."""
    numbers = reference_volumes.noise(SHAPE, "uint8" if dtype == "|b1" else "int16" if "f" in dtype else dtype, 3)
    voxels = (numbers % 2 if dtype == "|b1" else numbers).astype(dtype)
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    group.attrs.update(attributes())
    array = group.create_array("s0", shape=SHAPE, chunks=CHUNK, dtype=dtype, chunk_key_encoding={"name": "v2", "separator": "/"}, **{"fill_value": 0} | options)
    array[...] = voxels
    if holes:
        shutil.rmtree(folder / "s0" / "1" / "1")
        voxels[8:16, 8:16] = array.fill_value
    shown = "uint8" if dtype == "|b1" else "float32" if dtype[1:] == "f2" else dtype
    return voxels.astype(shown)


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    root = tmp_path_factory.mktemp("tolerance")
    volumes = {name: write(root / name, dtype, **options) for name, (dtype, options) in ARRAYS.items()}
    with Origin(root) as origin:
        sources = {name: {"kind": "zarr", "url": f"{origin.url}/{name}"} for name in volumes}
        with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
            yield ReferenceMount(mount, origin, volumes)


@pytest.mark.parametrize("reader", [readers.zarr_array, readers.tensorstore_driver])
@pytest.mark.parametrize("name", ARRAYS)
def test_codecs_and_types_of_numcodecs_are_read(setup, name, reader):
    found = reader(setup.store(name), 0, False)
    expected = setup.volumes[name]
    assert (found.shape, found.dtype.newbyteorder("=")) == (expected.shape, expected.dtype.newbyteorder("="))
    np.testing.assert_array_equal(found, expected)


@pytest.fixture
def shown(tmp_path):
    """`shown(change)`: what is read of an image once `change` was made to its folder, and the mount's log."""
    def start(change, holes=True, dtype="|u1"):
        expected = write(tmp_path / "image", dtype, holes, compressors=numcodecs.Zstd(1))
        change(tmp_path / "image")
        with Origin(tmp_path) as origin, mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": f"{origin.url}/image"}}), timeout=10) as mount:
            found = readers.zarr_array(mount / "a" / "em.zarr", 0, False)
            group = zarr.open_group(mount / "a" / "em.zarr", mode="r")
            return found, expected, group.attrs["multiscales"][0], mount.log

    return start


def rewrite(file, change):
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("corner", [False, True])
def test_chunks_whose_separator_is_not_said_are_found_by_either(shown, corner):
    def change(folder):
        rewrite(folder / "s0" / ".zarray", lambda document: document.pop("dimension_separator"))
        if corner:
            # The first chunk that is looked for tells nothing.
            (folder / "s0" / "0" / "0" / "0").unlink()

    found, expected, _, log = shown(change)
    if corner:
        expected[:8, :8, :8] = 0
    np.testing.assert_array_equal(found, expected)
    assert "has no dimension_separator, but chunks are named with `/`" in log


def test_chunks_whose_separator_is_not_said_have_dots_mostly(shown):
    def change(folder):
        rewrite(folder / "s0" / ".zarray", lambda document: document.pop("dimension_separator"))
        for file in sorted((folder / "s0").glob("*/*/*")):
            file.rename(folder / "s0" / ".".join(file.parts[-3:]))

    found, expected, _, log = shown(change)
    np.testing.assert_array_equal(found, expected)
    assert "dimension_separator" not in log


def test_bare_words_for_numbers_are_understood(shown):
    def change(folder):
        file = folder / ".zattrs"
        file.write_text(file.read_text().rstrip().removesuffix("}") + ', "contrast": NaN, "limits": [-Infinity, Infinity]}')
        file = folder / "s0" / ".zarray"
        file.write_text(file.read_text().replace('"fill_value": 0.0', '"fill_value": NaN').replace('"fill_value": 0', '"fill_value": NaN'))

    found, expected, _, _ = shown(change, dtype="<f4")
    expected[8:16, 8:16] = np.nan
    np.testing.assert_array_equal(found, expected)


def test_whole_numbers_may_be_written_as_floats(shown):
    def change(folder):
        def floats(document):
            document["shape"] = [float(n) for n in document["shape"]]
            document["chunks"] = [float(n) for n in document["chunks"]]
        rewrite(folder / "s0" / ".zarray", floats)

    found, expected, _, _ = shown(change)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_the_first_versions_of_ngff_are_read_without_sizes(tmp_path, version):
    voxels = reference_volumes.noise((1, 1, *SHAPE), "uint8", 4)
    image = {"version": version, "datasets": [{"path": "0"}]} | ({"axes": list("tczyx")} if version == "0.3" else {})
    group = zarr.open_group(tmp_path / "image", mode="w", zarr_format=2)
    group.attrs["multiscales"] = [image]
    group.create_array("0", shape=voxels.shape, chunks=(1, 1, *CHUNK), dtype="uint8")[...] = voxels
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": str(tmp_path / "image"), "voxel_size": [40, 8, 8]}}), timeout=10) as mount:
        np.testing.assert_array_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), voxels[0, 0])
        scale = zarr.open_group(mount / "a" / "em.zarr", mode="r").attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
        assert scale["scale"] == [40.0, 8.0, 8.0]


def test_the_transform_of_open_organelle_is_understood(shown):
    def change(folder):
        level = {"path": "s0", "transform": {"axes": ["z", "y", "x"], "scale": [5.24, 4.0, 4.0], "translate": [1.0, 2.0, 3.0], "units": ["nm"] * 3}}
        (folder / ".zattrs").write_text(json.dumps({"multiscales": [{"name": "em", "datasets": [level]}]}))

    found, expected, image, _ = shown(change)
    np.testing.assert_array_equal(found, expected)
    assert image["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [5.24, 4.0, 4.0]}, {"type": "translation", "translation": [1.0, 2.0, 3.0]}]


LEVELS = {
    "missing": lambda folder: shutil.rmtree(folder / "s1"),
    "another type": lambda folder: rewrite(folder / "s1" / ".zarray", lambda document: document.update(dtype="<f4")),
    "another fill": lambda folder: rewrite(folder / "s1" / ".zarray", lambda document: document.update(fill_value=9)),
    "an unknown codec": lambda folder: rewrite(folder / "s1" / ".zarray", lambda document: document.update(compressor={"id": "szip"})),
    "empty": lambda folder: rewrite(folder / "s1" / ".zarray", lambda document: document.update(shape=[0, 9, 13])),
    "no JSON": lambda folder: (folder / "s1" / ".zarray").write_text("<html>"),
}


@pytest.mark.parametrize("what", LEVELS)
@pytest.mark.parametrize("finest", [False, True])
def test_a_bad_level_is_left_out_and_named_and_the_others_are_shown(tmp_path, what, finest):
    group = zarr.open_group(tmp_path / "image", mode="w", zarr_format=2)
    shapes = {"s0": SHAPE, "s1": (11, 9, 13), "s2": (6, 5, 7)}
    voxels = {name: reference_volumes.noise(shape, "uint8", n) for n, (name, shape) in enumerate(shapes.items())}
    for name, shape in shapes.items():
        group.create_array(name, shape=shape, chunks=CHUNK, dtype="uint8", fill_value=0, compressors=numcodecs.Zstd(1))[...] = voxels[name]
    levels = [{"path": name, "coordinateTransformations": [{"type": "scale", "scale": [40.0 * 2**n, 8.0 * 2**n, 8.0 * 2**n]}]} for n, name in enumerate(shapes)]
    if finest:
        levels = levels[1:]
        if what in ("another type", "another fill"):
            pytest.skip("the finest level says what the type is")
    group.attrs.update(attributes(datasets=levels[::-1]))
    LEVELS[what](tmp_path / "image")
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": str(tmp_path / "image")}}), timeout=10) as mount:
        store = mount / "a" / "em.zarr"
        for level, name in enumerate(["s2"] if finest else ["s0", "s2"]):
            np.testing.assert_array_equal(readers.zarr_array(store, level, False), voxels[name])
        assert not (store / f"s{1 if finest else 2}").exists()
        assert "level `s1` is left out: " in mount.log
        record = json.loads((mount / "a" / "metadata.json").read_text())
        assert "without level `s1`" in record["images"][0]["upstream_format"]
        scales = [level["scale_nm"][0] for level in record["images"][0]["levels"]]
        assert scales == ([160.0] if finest else [40.0, 160.0])


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", ["xyz", "cxyz", "yxz", "zcyx", "tczyx", "xyzct", "zxyc"])
def test_axes_in_any_order_are_shown_as_z_y_x(tmp_path, axes, zarr_format):
    voxels, other = reference_volumes.noise(SHAPE, "uint16", 5), [axis for axis in axes if axis in "ct"]
    sizes = dict(zip("zyx", SHAPE)) | dict.fromkeys(other, 1)
    chunks = dict(zip("zyx", (8, 6, 5))) | dict.fromkeys(other, 1)
    scales, corners = dict(zip("zyx", (40.0, 8.0, 4.0))) | dict.fromkeys(other, 1.0), dict(zip("zyx", (1.0, 2.0, 3.0))) | dict.fromkeys(other, 0.0)
    types = {"c": "channel", "t": "time"}
    listed = [{"name": axis, "type": types[axis]} if axis in types else {"name": axis, "type": "space", "unit": "nanometer"} for axis in axes]
    image = {"version": "0.4", "axes": listed, "datasets": [{"path": "s0", "coordinateTransformations": [
        {"type": "scale", "scale": [scales[axis] for axis in axes]}, {"type": "translation", "translation": [corners[axis] for axis in axes]}]}]}
    group = zarr.open_group(tmp_path / "image", mode="w", zarr_format=zarr_format)
    group.attrs.update({"multiscales": [image]} if zarr_format == 2 else {"ome": {"version": "0.5", "multiscales": [image]}})
    stored = np.expand_dims(voxels, tuple(range(len(other)))).transpose([("".join(other) + "zyx").index(axis) for axis in axes])
    order = {"order": "F"} if axes == "yxz" else {}
    array = group.create_array("s0", shape=[sizes[axis] for axis in axes], chunks=[chunks[axis] for axis in axes], dtype="uint16", **order)
    array[...] = stored
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": str(tmp_path / "image")}}), timeout=10) as mount:
        store = mount / "a" / "em.zarr"
        np.testing.assert_array_equal(readers.zarr_array(store, 0, False), voxels)
        assert zarr.open_array(store / "s0", mode="r").chunks == (8, 6, 5)
        steps = zarr.open_group(store, mode="r").attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        assert steps == [{"type": "scale", "scale": [40.0, 8.0, 4.0]}, {"type": "translation", "translation": [1.0, 2.0, 3.0]}]


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_one_of_several_channels_is_shown_by_number(tmp_path, chunk):
    voxels = np.stack([reference_volumes.noise(SHAPE, "uint8", seed) for seed in range(3)])
    axes = [{"name": "c", "type": "channel"}, *({"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx")]
    windows = [{"window": {"start": n, "end": 100 + n}} for n in range(3)]
    group = zarr.open_group(tmp_path / "image", mode="w", zarr_format=2)
    group.attrs.update(attributes(axes=axes, datasets=[{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1, 40, 8, 8]}]}]) | {"omero": {"channels": windows}})
    group.create_array("s0", shape=voxels.shape, chunks=(chunk, *CHUNK), dtype="uint8")[...] = voxels
    source = {"kind": "zarr", "url": str(tmp_path / "image")}
    with mounted(tmp_path / "mount", configuration({f"c{n}": source | {"channel": n} for n in range(3)} | {"all": source}), timeout=10) as mount:
        for n in range(3):
            store = mount / f"c{n}" / "em.zarr"
            np.testing.assert_array_equal(readers.zarr_array(store, 0, False), voxels[n])
            window = zarr.open_group(store, mode="r").attrs["omero"]["channels"][0]["window"]
            assert (window["start"], window["end"]) == (n, 100 + n)
        with pytest.raises(OSError):
            (mount / "all" / "em.zarr" / ".zattrs").read_bytes()
        assert "there are 3 channels; write `channel = N`, 0 to 2, beside `url` to show one" in mount.log
