"""N5 arrays and images, written by TensorStore, zarr-python 2 and z5-like hands, read through a mount."""

import json
import struct
import subprocess

import numpy as np
import pytest
import tensorstore

import readers
import reference_volumes
from conftest import ReferenceMount
from mounting import LEGACY_PYTHON, configuration, emfs, mounted
from origin import Origin

# name: (shape z y x, dtype, block z y x, compression)
TENSORSTORE = {
    "raw": ((20, 30, 40), "uint8", (8, 16, 12), {"type": "raw"}),
    "gzip": ((21, 18, 25), "uint16", (8, 8, 8), {"type": "gzip", "level": 5}),
    "zlib": ((21, 18, 25), "int32", (8, 8, 8), {"type": "gzip", "useZlib": True}),
    "bzip2": ((21, 18, 25), "float32", (21, 9, 25), {"type": "bzip2", "blockSize": 1}),
    "xz": ((20, 31, 17), "uint64", (7, 7, 7), {"type": "xz", "preset": 1}),
    "blosc": ((33, 30, 40), "int16", (16, 16, 16), {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}),
    "zstd": ((20, 30, 40), "float64", (8, 8, 8), {"type": "zstd", "level": 1}),
}


def write_tensorstore(folder, name, seed):
    shape, dtype, block, compression = TENSORSTORE[name]
    store = tensorstore.open({"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/"}, "create": True, "metadata": {
        "dimensions": shape[::-1], "blockSize": block[::-1], "dataType": dtype, "compression": compression}}).result()
    voxels = reference_volumes.noise(shape, dtype, seed)
    # Blocks of zeros are not stored.
    voxels[: block[0], : block[1]] = 0
    store[...] = voxels.transpose(2, 1, 0)
    return voxels


def write_legacy(folder, seed):
    """By zarr-python 2, whose blocks at the edges are whole."""
    voxels = reference_volumes.noise((21, 18, 25), "uint16", seed)
    np.save(folder.parent / "voxels.npy", voxels)
    code = """if True:
        import numpy, sys, zarr
        voxels = numpy.load(sys.argv[2])
        store = zarr.N5Store(sys.argv[1])
        zarr.group(store=store).create_dataset("volume", data=voxels, chunks=(8, 8, 8), compressor=zarr.codecs.GZip(1))
    """
    subprocess.run([LEGACY_PYTHON, "-W", "ignore", "-c", code, folder, folder.parent / "voxels.npy"], check=True, capture_output=True)
    return voxels


def write_lz4(folder, seed):
    """As lz4-java writes it, which Python has no writer for."""
    import imagecodecs

    voxels = reference_volumes.segments((9, 10, 11), "uint16", seed)
    (folder / "0/0").mkdir(parents=True)
    (folder / "attributes.json").write_text(json.dumps({
        "dimensions": [11, 10, 9], "blockSize": [11, 10, 9], "dataType": "uint16", "compression": {"type": "lz4", "blockSize": 65536}}))
    plain, body = voxels.astype(">u2").tobytes(), b""
    for part in [plain[start:start + 500] for start in range(0, len(plain), 500)] + [b""]:
        packed = imagecodecs.lz4_encode(part) if part else b""
        how, stored = (0x25, packed) if len(packed) < len(part) else (0x15, part)
        body += b"LZ4Block" + struct.pack("<BIII", how, len(stored), len(part), xxh32(part) & 0xfffffff if part else 0) + stored
    (folder / "0/0/0").write_bytes(struct.pack(">HHIII", 0, 3, 11, 10, 9) + body)
    return voxels


def xxh32(data, seed=0x9747b28c):
    """The 32-bit hash of xxHash."""
    first, second, third, fourth, fifth = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    mask = 0xffffffff
    turn = lambda value, bits: (value << bits | value >> 32 - bits) & mask
    at = 0
    if len(data) >= 16:
        lanes = [(seed + first + second) & mask, (seed + second) & mask, seed, (seed - first) & mask]
        while at + 16 <= len(data):
            for lane, number in enumerate(struct.unpack_from("<4I", data, at)):
                lanes[lane] = turn((lanes[lane] + number * second) & mask, 13) * first & mask
            at += 16
        total = sum(turn(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & mask
    else:
        total = (seed + fifth) & mask
    total = (total + len(data)) & mask
    while at + 4 <= len(data):
        total = turn((total + struct.unpack_from("<I", data, at)[0] * third) & mask, 17) * fourth & mask
        at += 4
    for byte in data[at:]:
        total = turn((total + byte * fifth) & mask, 11) * first & mask
    for bits, factor in ((15, second), (13, third), (16, 1)):
        total = (total ^ total >> bits) * factor & mask
    return total


def write_pyramid(folder, seed, group, levels=({}, {})):
    """Two levels `s0`, `s1` with these attributes."""
    made = [reference_volumes.noise(shape, "uint8", seed + n) for n, shape in enumerate([(21, 18, 25), (11, 9, 13)])]
    for number, (voxels, attributes) in enumerate(zip(made, levels)):
        path = folder / f"s{number}"
        tensorstore.open({"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True, "metadata": {
            "dimensions": voxels.shape[::-1], "blockSize": [8, 8, 8], "dataType": "uint8", "compression": {"type": "gzip"}, **attributes,
        }}).result()[...] = voxels.transpose(2, 1, 0)
    if group is not None:
        (folder / "attributes.json").write_text(json.dumps(group))
    return made


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    root = tmp_path_factory.mktemp("n5")
    volumes = {name: write_tensorstore(root / name, name, 1) for name in TENSORSTORE}
    volumes["lz4"] = write_lz4(root / "lz4", 2)
    volumes["legacy"] = write_legacy(root / "legacy", 3)
    sources = {}
    with Origin(root) as origin:
        for name in volumes:
            sources[name] = {"kind": "n5", "url": f"{origin.url}/{name}" + ("/volume" if name == "legacy" else "")}
        sources["gzip"]["url"] = f"n5://{sources['gzip']['url']}/attributes.json"
        sources["xz"]["url"] += "/|n5:"
        with mounted(tmp_path_factory.mktemp("mount"), configuration(sources), timeout=20) as mount:
            yield ReferenceMount(mount, origin, volumes)


@pytest.mark.parametrize("reader", [readers.zarr_array, readers.tensorstore_driver])
@pytest.mark.parametrize("name", [*TENSORSTORE, "lz4", "legacy"])
def test_every_voxel_is_what_was_written(setup, name, reader):
    v3 = reader is readers.zarr_array
    readers.assert_equal(reader(setup.store(name, v3), 0, v3), setup.volumes[name], name)
    assert setup.mount.status()["failures"] == []


FACTORS = [[1, 1, 1], [2, 2, 2]]
RESOLUTION = {"dimensions": [4.0, 4.0, 5.0], "unit": "nm"}


def transform(factor):
    return {"transform": {"axes": ["z", "y", "x"], "scale": [5.0 * factor, 4.0 * factor, 4.0 * factor],
                          "translate": [2.5 * (factor - 1), 2.0 * (factor - 1), 2.0 * (factor - 1)], "units": ["nm"] * 3}}


GROUPS = {
    "viewers": ({"pixelResolution": RESOLUTION, "downsamplingFactors": FACTORS}, ({}, {})),
    "scales": ({"pixelResolution": RESOLUTION, "scales": FACTORS}, ({}, {})),
    "cosem": ({"multiscales": [{"datasets": [{"path": "s0", **transform(1)}, {"path": "s1", **transform(2)}]}]}, ({}, {})),
    "levels": ({"pixelResolution": {"dimensions": [1.0, 1.0, 1.0], "unit": "um"}, "scales": [[1, 1, 1], [3, 3, 3]]}, (transform(1), transform(2))),
    "own": (None, ({"pixelResolution": RESOLUTION}, {"downsamplingFactors": [2, 2, 2]})),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_an_image_has_the_levels_and_sizes_that_its_writer_states(tmp_path, kind):
    import zarr

    made = write_pyramid(tmp_path / "image", 5, *GROUPS[kind])
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "n5", "url": str(tmp_path / "image")}}), timeout=10) as mount:
        store = mount / "a" / "em.zarr"
        for level, voxels in enumerate(made):
            readers.assert_equal(readers.zarr_array(store, level, False), voxels, f"s{level}")
        datasets = zarr.open_group(store, mode="r").attrs["multiscales"][0]["datasets"]
        steps = [[next(iter(step[step["type"]] for step in dataset["coordinateTransformations"] if step["type"] == kind)) for kind in ("scale", "translation")] for dataset in datasets]
        assert steps == [[[5.0, 4.0, 4.0], [0.0, 0.0, 0.0]], [[10.0, 8.0, 8.0], [2.5, 2.0, 2.0]]]


# name: (names in the order of `dimensions`, channels)
AXES = {"zyx": ("zyx", 1), "yzx": ("yzx", 1), "upper": ("XYZ", 1), "cxyz": ("cxyz", 1), "cxyzt": ("cxyzt", 1), "xyczt": ("xyczt", 1), "channels": ("zcyx", 3)}


def test_axes_are_those_that_tensorstore_and_ilastik_name(tmp_path):
    sources, expected = {}, {}
    for seed, (name, (axes, channels)) in enumerate(AXES.items()):
        folder, extents, block = tmp_path / "stores" / name, {"x": 17, "y": 31, "z": 20, "c": channels, "t": 1}, {"c": min(channels, 2), "t": 1}
        at = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/"}}
        written = tensorstore.open({**at, "create": True, "metadata": {
            "dimensions": [extents[axis.lower()] for axis in axes], "blockSize": [block.get(axis, 8) for axis in axes], "axes": list(axes),
            "dataType": "uint16", "compression": {"type": "gzip"}}}).result()
        written[...] = reference_volumes.noise(written.shape, "uint16", seed)
        # Whoever wrote it, TensorStore says which axis is which.
        read = tensorstore.open(at).result()
        for axis, index in {"c": channels - 1, "t": 0}.items():
            read = read[tensorstore.d[axis][index]] if axis in axes else read
        shown = ["Z", "Y", "X"] if axes.isupper() else ["z", "y", "x"]
        expected[name] = read[tensorstore.d[shown].transpose[:]].read().result()
        attributes = json.loads((folder / "attributes.json").read_text())
        sizes = {"z": 40, "y": 9, "x": 8}
        attributes |= {"resolution": [sizes.get(axis.lower(), 1) for axis in axes], "units": ["nm" if axis.lower() in sizes else "" for axis in axes]}
        (folder / "attributes.json").write_text(json.dumps(attributes))
        sources[name] = {"kind": "n5", "url": str(folder)} | ({"channel": 2} if channels == 3 else {})
    with mounted(tmp_path / "mount", configuration(sources), timeout=20) as mount:
        for name, voxels in expected.items():
            for v3 in (False, True):
                store = mount / name / ("em.v3.zarr" if v3 else "em.zarr")
                readers.assert_equal(readers.tensorstore_driver(store, 0, v3), voxels, name)
            steps = json.loads((mount / name / "em.zarr" / ".zattrs").read_text())["multiscales"][0]["datasets"][0]["coordinateTransformations"]
            assert steps[0]["scale"] == [40, 9, 8], name
        assert mount.status()["failures"] == []


def test_a_group_and_the_arrays_in_it_have_the_axes_that_the_group_names(tmp_path):
    group = {"axes": ["z", "y", "x"], "units": ["nm"] * 3, "resolution": [40, 9, 8], "downsamplingFactors": FACTORS}
    made = write_pyramid(tmp_path / "image", 9, group)
    sources = {"group": {"kind": "n5", "url": str(tmp_path / "image")}, "level": {"kind": "n5", "url": str(tmp_path / "image" / "s1")}}
    with mounted(tmp_path / "mount", configuration(sources), timeout=10) as mount:
        for level, voxels in enumerate(made):
            readers.assert_equal(readers.zarr_array(mount / "group" / "em.zarr", level, False), voxels.transpose(2, 1, 0), f"s{level}")
        readers.assert_equal(readers.zarr_array(mount / "level" / "em.zarr", 0, False), made[1].transpose(2, 1, 0), "level")
        datasets = json.loads((mount / "group" / "em.zarr" / ".zattrs").read_text())["multiscales"][0]["datasets"]
        assert [dataset["coordinateTransformations"][0]["scale"] for dataset in datasets] == [[40, 9, 8], [80, 18, 16]]


def test_a_crop_lies_where_its_offset_says(tmp_path):
    voxels = write_legacy(tmp_path / "crop", 10)
    file = tmp_path / "crop" / "volume" / "attributes.json"
    said = {"resolution": [2, 3, 4], "resolution_unit": "nm", "offset": [80, 160, 400], "offset_unit": "nm"}
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "n5", "url": str(file.parent)}}), timeout=10) as mount:
        readers.assert_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), voxels, "crop")
        steps = json.loads((mount / "a" / "em.zarr" / ".zattrs").read_text())["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        assert [step[step["type"]] for step in steps] == [[4, 3, 2], [400, 160, 80]]


def test_a_block_that_is_smaller_than_its_place_is_read_as_tensorstore_reads_it(tmp_path):
    folder = tmp_path / "image"
    write_tensorstore(folder, "raw", 11)
    for seed, (block, extents) in enumerate({"1/0/1": (5, 16, 8), "2/0/1": (12, 3, 8), "1/1/0": (12, 16, 1), "2/1/1": (1, 1, 1), "3/1/2": (2, 3, 4)}.items()):
        voxels = reference_volumes.noise(extents, "uint8", seed)
        (folder / block).write_bytes(struct.pack(">HHIII", 0, 3, *extents) + voxels.tobytes())
    expected = tensorstore.open({"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/"}}).result().read().result()
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "n5", "url": str(folder)}}), timeout=10) as mount:
        readers.assert_equal(readers.tensorstore_driver(mount / "a" / "em.zarr", 0, False), expected.transpose(2, 1, 0), "short")
        assert mount.status()["failures"] == []


def test_what_paintera_keeps_is_told_apart(tmp_path):
    write_pyramid(tmp_path / "raw" / "data", 12, {"multiScale": True, "resolution": [4, 4, 5], "offset": [40, 80, 0]}, ({}, {"downsamplingFactors": [2, 2, 2]}))
    (tmp_path / "raw" / "attributes.json").write_text('{"painteraData": {"type": "raw"}}')
    multiset = {"isLabelMultiset": True, "maxId": 7}
    write_pyramid(tmp_path / "labels", 13, {"multiScale": True, **multiset}, (multiset, multiset))
    with Origin(tmp_path) as origin:
        sources = {name: {"kind": "n5", "url": f"{origin.url}/{path}"} for name, path in {"raw": "raw", "data": "raw/data", "sized": "raw/data", "labels": "labels"}.items()}
        sources["sized"]["voxel_size"] = [5, 4, 4]
        with mounted(tmp_path / "mount", configuration(sources), timeout=10) as mount:
            reasons = {name: (mount / name / "em.zarr" / "ERROR.txt").read_text() for name in ("raw", "labels")}
            images = [json.loads((mount / name / "em.zarr" / ".zattrs").read_text())["multiscales"][0] for name in ("data", "sized")]
            assert "its `resolution` has no unit and is taken for nanometres" in mount.log
        assert f"write the address {origin.url}/raw/data" in reasons["raw"]
        assert "multisets of labels" in reasons["labels"] and "to-scalar" in reasons["labels"]
        for image in images:
            steps = [[step[step["type"]] for step in dataset["coordinateTransformations"]] for dataset in image["datasets"]]
            assert steps == [[[5, 4, 4], [0, 80, 40]], [[10, 8, 8], [2.5, 82, 42]]]
            assert image["axes"][0]["unit"] == "nanometer"


def test_a_setup_of_big_data_viewer_is_read_and_its_root_says_where_it_is(tmp_path):
    made = write_pyramid(tmp_path / "image" / "setup0" / "timepoint0", 6, {"multiScale": True, "resolution": [4.0, 4.0, 5.0]})
    (tmp_path / "image" / "setup0" / "attributes.json").write_text(json.dumps({"downsamplingFactors": FACTORS, "dataType": "uint8"}))
    (tmp_path / "image" / "attributes.json").write_text('{"n5": "2.5.1"}')
    sources = {path or "root": {"kind": "n5", "url": str(tmp_path / "image" / path)} for path in ("", "setup0")}
    sources["moment"] = {"kind": "n5", "url": str(tmp_path / "image" / "setup0" / "timepoint0")}
    with mounted(tmp_path / "mount", configuration(sources), timeout=10) as mount:
        for name in ("setup0", "moment"):
            for level, voxels in enumerate(made):
                readers.assert_equal(readers.zarr_array(mount / name / "em.zarr", level, False), voxels, name)
            # Its unit is in another file; the ratio of the edges is known.
            image = json.loads((mount / name / "em.zarr" / ".zattrs").read_text())["multiscales"][0]
            assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.25, 1, 1] and "unit" not in image["axes"][0]
        with pytest.raises(OSError):
            (mount / "root" / "em.zarr" / ".zattrs").read_bytes()
        assert "write the address" in mount.log and "/image/setup0/timepoint0" in mount.log


def test_a_damaged_block_is_an_error_and_its_neighbours_are_read(tmp_path):
    voxels = write_tensorstore(tmp_path / "image", "gzip", 7)
    block = tmp_path / "image" / "1" / "1" / "1"
    body = bytearray(block.read_bytes())
    body[3] = 7
    block.write_bytes(body)
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "n5", "url": str(tmp_path / "image")}}), timeout=5) as mount:
        chunks = mount / "a" / "em.zarr" / "s0"
        with pytest.raises(OSError) as error:
            (chunks / "1/1/1").read_bytes()
        assert error.value.errno == 5
        assert (chunks / "1/1/0").read_bytes() == voxels[8:16, 8:16, :8].tobytes()
        assert "block: 7 axes where the array has 3" in mount.log


def test_an_address_of_n5_of_another_kind_is_named(tmp_path):
    write_tensorstore(tmp_path / "image", "raw", 8)
    with mounted(tmp_path / "mount", configuration({"a": {"kind": "zarr", "url": str(tmp_path / "image")}}), timeout=5) as mount:
        with pytest.raises(OSError):
            (mount / "a" / "em.zarr" / ".zattrs").read_bytes()
        assert 'write `kind = "n5"` for it' in mount.log
    file = tmp_path / "config.toml"
    file.write_text('[[dataset]]\nname = "a"\n[dataset.source]\nkind = "zarr"\nurl = "n5://https://h/x"\n')
    done = emfs("datasets", "--config", file, check=False)
    assert done.returncode == 2 or done.returncode == 1
    assert 'config.toml:5:7: url' in done.stderr and 'write `kind = "n5"` instead of `zarr`' in done.stderr


def test_what_zarr_python_writes_as_n5_is_read_with_each_of_its_codecs_and_types(tmp_path):
    code = """if True:
        import numcodecs, numpy, sys, zarr
        codecs = {"raw": None, "gzip": numcodecs.GZip(1), "bz2": numcodecs.BZ2(1), "lzma": numcodecs.LZMA(preset=1), "blosc": numcodecs.Blosc(),
                  "zlib": numcodecs.Zlib(1), "zstd": numcodecs.Zstd(1), "lz4": numcodecs.LZ4(), "lz4-fast": numcodecs.LZ4(acceleration=9)}
        for name, codec in codecs.items():
            for dtype in ("bool", "u1", "i2", "u4", "f4", "u8", "f8"):
                voxels = numpy.random.default_rng(1).integers(0, 2 if dtype == "bool" else 99, (9, 10, 11)).astype(dtype)
                voxels[:4, :4, :4] = 0
                array = zarr.group(store=zarr.N5Store(f"{sys.argv[1]}/{name}-{dtype}")).create_dataset("v", shape=voxels.shape, chunks=(4, 4, 4), dtype=dtype, compressor=codec)
                array[...] = voxels
                numpy.save(f"{sys.argv[1]}/{name}-{dtype}.npy", array[...])
    """
    subprocess.run([LEGACY_PYTHON, "-W", "ignore", "-c", code, tmp_path], check=True, capture_output=True)
    written = {file.stem: np.load(file) for file in tmp_path.glob("*.npy")}
    assert len(written) == 9 * 7
    with mounted(tmp_path / "mount", configuration({name: {"kind": "n5", "url": str(tmp_path / name / "v")} for name in written}), timeout=20) as mount:
        for name, voxels in written.items():
            voxels = voxels.astype("u1") if voxels.dtype == bool else voxels
            readers.assert_equal(readers.zarr_array(mount / name / "em.zarr", 0, False), voxels, name)
        assert mount.status()["failures"] == []


def test_a_level_alone_has_the_voxel_size_that_its_group_lists(tmp_path):
    write_tensorstore(tmp_path / "em" / "s0", "gzip", 1)
    write_tensorstore(tmp_path / "em" / "s1", "gzip", 2)
    datasets = [{"path": f"s{level}"} | transform(2**level) for level in range(2)]
    (tmp_path / "em" / "attributes.json").write_text(json.dumps({"multiscales": [{"datasets": datasets}]}))
    sources = {f"s{level}": {"kind": "n5", "url": str(tmp_path / "em" / f"s{level}")} for level in range(2)}
    with mounted(tmp_path / "mount", configuration(sources), timeout=20) as mount:
        for level in range(2):
            image = json.loads((mount / f"s{level}" / "em.zarr" / ".zattrs").read_text())["multiscales"][0]
            assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [5.0 * 2**level, 4.0 * 2**level, 4.0 * 2**level]
            assert {axis["unit"] for axis in image["axes"]} == {"nanometer"}
