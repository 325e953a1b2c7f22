"""Zarr stores as they are found: codecs that zarr-python 3 names itself, addresses of levels, images that say too little."""

import json

import numpy as np
import pytest
import tensorstore
import zarr
from zarr.codecs import numcodecs as named

import readers
import reference_volumes
from conftest import ReferenceMount
from mounting import configuration, mounted
from origin import Origin

SHAPE, CHUNK = (21, 18, 25), (8, 8, 8)
SIZE = [40.0, 8.0, 4.0]
#: name: (dtype, options of zarr-python)
NAMED = {
    "zlib": ("uint16", {"compressors": [named.Zlib(level=1)]}),
    "gzip": ("int32", {"compressors": [named.GZip(level=1)]}),
    "lz4": ("uint8", {"compressors": [named.LZ4()]}),
    "bz2": ("float32", {"compressors": [named.BZ2(level=1)]}),
    "lzma": ("uint64", {"compressors": [named.LZMA(preset=1)]}),
    "zstd": ("int16", {"compressors": [named.Zstd(level=1)]}),
    "blosc": ("float64", {"compressors": [named.Blosc(cname="lz4", shuffle=1)]}),
    "shuffle": ("uint32", {"compressors": [named.Shuffle(elementsize=4), named.Zlib(level=1)]}),
    "delta": ("int16", {"filters": [named.Delta(dtype="<i2")], "compressors": [named.Zstd(level=1)]}),
    "sharded": ("uint16", {"filters": [named.Delta(dtype="<u2")], "compressors": [named.Shuffle(elementsize=2), named.LZ4()], "shards": (16, 16, 16)}),
}


def write(path, voxels, chunks=CHUNK, **document):
    """An uncompressed array of version 2, by zarr-python, with members of its document as given."""
    array = zarr.create_array(str(path), shape=voxels.shape, chunks=chunks, dtype=voxels.dtype, zarr_format=2, compressors=None, fill_value=0)
    array[...] = voxels
    if document:
        (path / ".zarray").write_text(json.dumps(json.loads((path / ".zarray").read_text()) | document))


def image(folder, arrays, attributes):
    for number, voxels in enumerate(arrays):
        write(folder / str(number), voxels, (1,) * (voxels.ndim - 3) + CHUNK)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps(attributes))


def axes(names):
    kinds = {"t": "time", "c": "channel"}
    return [{"name": name, "type": kinds.get(name, "space")} | ({} if name in kinds else {"unit": "nanometer"}) for name in names]


def multiscales(scales, names="zyx", **more):
    datasets = [{"path": str(number)} | ({"coordinateTransformations": [{"type": "scale", "scale": scale}]} if scale else {}) for number, scale in enumerate(scales)]
    return {"multiscales": [{"version": "0.4", "axes": axes(names), "datasets": datasets} | more]}


def doubled(scale, *kept):
    return [size if axis in kept else 2 * size for axis, size in enumerate(scale)]


def make(root):
    """name: (address, voxels, scales of the levels in nanometres, where they are known)."""
    volumes = {}
    for number, (name, (dtype, options)) in enumerate(NAMED.items()):
        voxels = reference_volumes.noise(SHAPE, dtype, number)
        array = zarr.create_array(str(root / name), shape=SHAPE, chunks=CHUNK, dtype=dtype, fill_value=0, zarr_format=3, **options)
        array[...] = voxels
        # What is read is what the writer reads, not what it was given.
        volumes[name] = (name, np.asarray(zarr.open_array(str(root / name), mode="r")[...]), None)
        np.testing.assert_array_equal(volumes[name][1], voxels)

    voxels = reference_volumes.noise(SHAPE, "uint16", 50)
    half = np.ascontiguousarray(voxels[::2, ::2, ::2])
    for order in "FC":
        path = root / f"transpose-{order}"
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
        little = {"name": "bytes", "configuration": {"endian": "little"}}
        permutation = [2, 1, 0] if order == "F" else [0, 1, 2]
        metadata = {"shape": SHAPE, "data_type": "uint16", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNK}},
                    "codecs": [{"name": "transpose", "configuration": {"order": permutation}}, little]}
        tensorstore.open(spec | {"create": True, "metadata": metadata}).result()[...] = voxels
        document = json.loads((path / "zarr.json").read_text())
        document["codecs"] = [{"name": "transpose", "configuration": {"order": order}}, little]
        (path / "zarr.json").write_text(json.dumps(document))
        if order == "F":
            np.testing.assert_array_equal(tensorstore.open(spec).result()[...].read().result(), voxels)
        volumes[path.name] = (path.name, voxels, None)
    for name, dtype, fill in [("fill-text", "u2", "7"), ("fill-text-float", "f4", "0.0")]:
        write(root / name, voxels.astype(dtype), fill_value=fill)
        (root / name / "1.1.1").unlink()
        with_hole = voxels.astype(dtype)
        with_hole[8:16, 8:16, 8:16] = float(fill)
        volumes[name] = (name, with_hole, None)

    scales = [SIZE, doubled(SIZE)]
    image(root / "turned", [voxels.T, half.T], multiscales([size[::-1] for size in scales], "xyz"))
    volumes |= {"turned": ("turned", voxels, scales), "turned-level": ("turned/0", voxels, scales[:1]), "turned-coarser": ("turned/1", half, scales[1:])}
    image(root / "five", [voxels[None, None], half[None, None]], multiscales([[0.0, 1.0, *size] for size in scales], "tczyx"))
    volumes |= {"five": ("five", voxels, scales), "five-level": ("five/0", voxels, scales[:1])}
    write(root / "nameless", voxels[None], (1, *CHUNK))
    volumes["nameless"] = ("nameless", voxels, None)
    for name, attributes, array, scale in [
        ("transform", {"transform": {"axes": ["x", "y", "z"], "scale": SIZE[::-1], "translate": [3, 2, 1], "units": ["nm"] * 3}}, voxels.T, SIZE),
        ("funlib", {"axis_names": ["z", "y", "x"], "voxel_size": [40, 8, 4], "offset": [400, 0, 0], "units": ["nm"] * 3}, voxels, SIZE),
        ("funlib-old", {"resolution": [40, 8, 4], "offset": [400, 0, 0]}, voxels, SIZE),
        ("xarray", {"_ARRAY_DIMENSIONS": ["x", "y", "z"]}, voxels.T, None),
    ]:
        write(root / name, array)
        (root / name / ".zattrs").write_text(json.dumps(attributes))
        volumes[name] = (name, voxels, scale and [scale])

    image(root / "short", [voxels[None], half[None]], multiscales(scales, "czyx"))
    image(root / "one-scale", [voxels, half], multiscales([SIZE, SIZE]))
    image(root / "outer-only", [voxels, half], multiscales([None, None], coordinateTransformations=[{"type": "scale", "scale": SIZE}]))
    image(root / "number", [voxels, half], multiscales(scales, version=0.4))
    slashes = multiscales(scales)
    for dataset, path in zip(slashes["multiscales"][0]["datasets"], ["0/", "/1"]):
        dataset["path"] = path
    image(root / "slashes", [voxels, half], slashes)
    volumes |= {name: (name, voxels, scales) for name in ["short", "one-scale", "outer-only", "number", "slashes"]}
    image(root / "silent", [voxels, half], multiscales([None, None]))
    paths = [{"path": "0"}, {"path": "1"}]
    image(root / "paths", [voxels, half], {"multiscales": [{"datasets": paths}]})
    image(root / "first-version", [voxels, half], {"multiscales": [{"version": "0.1", "datasets": paths}]})
    image(root / "without-axes", [voxels, half], multiscales(scales, axes=None))
    volumes |= {name: (name, voxels, None) for name in ["silent", "paths", "first-version", "without-axes"]}
    return volumes


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    root = tmp_path_factory.mktemp("as-found")
    volumes = make(root)
    with Origin(root) as origin:
        sources = {name: {"kind": "zarr", "url": f"{origin.url}/{path}"} for name, (path, _, _) in volumes.items()}
        with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
            yield ReferenceMount(mount, origin, volumes)


NAMES = [*NAMED, "transpose-F", "transpose-C", "fill-text", "fill-text-float", "turned", "turned-level", "turned-coarser", "five", "five-level", "nameless",
         "transform", "funlib", "funlib-old", "xarray", "short", "one-scale", "outer-only", "number", "slashes", "silent", "paths", "first-version", "without-axes"]


def shown_image(store):
    return json.loads(readers.read_file(store / ".zattrs"))["multiscales"][0]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_found_is_shown_as_its_writer_meant_it(setup, name):
    _, voxels, scales = setup.volumes[name]
    np.testing.assert_array_equal(readers.zarr_array(setup.store(name), 0, False), voxels)
    image = shown_image(setup.store(name))
    found = [dataset["coordinateTransformations"][0]["scale"] for dataset in image["datasets"]]
    units = [axis.get("unit") for axis in image["axes"]]
    if scales is None:
        assert units == [None] * 3
        # Where nothing else is known, shapes tell how much coarser a level is; of numbers without a unit the ratio of the edges is.
        finest = [10.0, 2.0, 1.0] if name == "without-axes" else [1.0] * 3
        assert found[0] == finest and found[1:] in ([], [doubled(finest)]), found
    else:
        assert (found, units) == (scales, ["nanometer"] * 3)


def test_places_of_lone_arrays_are_those_that_they_state(setup):
    for name, place in [("transform", [1, 2, 3]), ("funlib", [400, 0, 0]), ("funlib-old", [400, 0, 0])]:
        transformations = shown_image(setup.store(name))["datasets"][0]["coordinateTransformations"]
        assert transformations[1] == {"type": "translation", "translation": place}, name


def test_what_was_taken_for_something_else_is_told_once(setup):
    for name in NAMES:
        readers.read_file(setup.store(name) / ".zattrs")
    log = setup.mount.log
    for name, sentence in [
        ("one-scale", "all levels state the finest one's voxel size, 40 × 8 × 4 nm, but shrink; by their shapes the voxels of the coarser ones are taken to be 2×2×2 times as large"),
        ("short", "its lists have 3 numbers for the axes c, z, y, x, taken for those of the last three"),
        ("paths", "the image names no axes; those of its arrays are taken to be z, y, x"),
        ("first-version", "the image names no axes; those of its arrays are taken to be z, y, x"),
        ("funlib-old", "its voxel size has no unit and is taken for nanometres, as funlib has it"),
    ]:
        lines = [line for line in log.splitlines() if f"/{name}: " in line and sentence in line]
        assert len(lines) == 1 and " WARN " in lines[0], (name, lines)


def test_axes_that_nobody_names_are_refused_with_the_address_that_may_name_them(tmp_path):
    voxels = reference_volumes.noise((3, *SHAPE), "uint8", 60)
    write(tmp_path / "group" / "array", voxels, (1, *CHUNK))
    sources = {"v": {"kind": "zarr", "url": str(tmp_path / "group" / "array")}, "second": {"kind": "zarr", "url": str(tmp_path / "group" / "array"), "channel": 1}}
    with mounted(tmp_path / "m", configuration(sources), timeout=20) as mount:
        reason = readers.read_file(mount / "v" / "em.zarr" / "ERROR.txt").decode()
        assert f"write the address file://{tmp_path}/group if that is its image" in reason
        np.testing.assert_array_equal(readers.zarr_array(mount / "second" / "em.zarr", 0, False), voxels[1])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_lone_array_whose_axes_have_unknown_names_is_shown_in_the_given_order_with_a_warning(tmp_path, zarr_format):
    voxels = reference_volumes.noise(SHAPE, "uint16", 4)
    cases = {"all": (["depth", "row", "col"], (0, 1, 2)), "one": (["slice", "y", "x"], (0, 1, 2)), "turned": (["row", "col", "z"], (2, 0, 1))}
    for name, (names, _) in cases.items():
        named_by = {"dimension_names": names} if zarr_format == 3 else {"attributes": {"_ARRAY_DIMENSIONS": names}}
        zarr.create_array(str(tmp_path / name), shape=SHAPE, chunks=CHUNK, dtype="uint16", zarr_format=zarr_format, fill_value=0, **named_by)[...] = voxels
    refused = {"time": ["time", "lat", "lon"], "channel": ["channel", "row", "col"]}
    for name, names in refused.items():
        named_by = {"dimension_names": names} if zarr_format == 3 else {"attributes": {"_ARRAY_DIMENSIONS": names}}
        zarr.create_array(str(tmp_path / name), shape=SHAPE, chunks=CHUNK, dtype="uint16", zarr_format=zarr_format, **named_by)[...] = voxels
    sources = {name: {"kind": "zarr", "url": str(tmp_path / name)} for name in [*cases, *refused]}
    with mounted(tmp_path / "mount", configuration(sources), timeout=20) as mount:
        for name, (names, order) in cases.items():
            readers.assert_equal(readers.zarr_array(mount / name / "em.zarr", 0, False), voxels.transpose(order), name)
            told = ", ".join(names[axis] for axis in order)
            assert f"not all names of its axes say which they are; {told} are taken to be z, y, x" in mount.log
        said = {name: (mount / name / "em.zarr" / "ERROR.txt").read_text() for name in refused}
    assert "`time`, `lat`, `lon` is not supported; write the moment that is wanted as an array of its own" in said["time"]
    assert "`channel`, `row`, `col` is not supported; name its axes z, y, x" in said["channel"]
