"""What programs show at first sight, without options: places, types and values beside the voxels themselves."""

import json
import pathlib
import subprocess
import tempfile
import warnings

import numpy as np
import pytest

import readers
import reference_volumes
from make_precomputed_fixtures import CLOUDVOLUME_PYTHON
from mounting import CLIENTS_PYTHON, GUNPOWDER_PYTHON

SCRIPT = pathlib.Path(__file__).with_name("clients.py")
both = pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])


def ask(python, what, paths):
    """What the tool found at the paths, in their order."""
    with tempfile.TemporaryDirectory() as folder:  # daisy writes logs where it is
        done = subprocess.run([python, SCRIPT, what], input=json.dumps([str(path) for path in paths]), text=True, capture_output=True, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def pyramids(demo, v3):
    """Stores of whole nanometres, of which the hemibrain's have several levels."""
    for store, volume in demo.stores(v3):
        if all(scale and all(float(size).is_integer() for size in scale) for scale in volume.scale):
            yield store, volume


@both
def test_funlib_has_all_levels_in_one_place_with_their_voxel_size(demo, v3):
    stores = [*pyramids(demo, v3)]
    assert max(len(volume.levels) for _, volume in stores) > 1
    paths = [store / f"s{level}" for store, volume in stores for level in range(len(volume.levels))]
    found = iter(ask(CLIENTS_PYTHON, "funlib", paths))
    for store, volume in stores:
        for voxels, scale in zip(volume.levels, volume.scale, strict=True):
            array = next(found)
            assert array["begin"] == [0, 0, 0], store
            assert array["voxel_size"] == scale, store
            assert array["shape"] == [n * s for n, s in zip(voxels.shape, scale)], store
            assert (array["units"], array["axis_names"]) == (["nm"] * 3, ["z", "y", "x"])
            assert volume.lossy or array["sum"] == int(voxels.astype(np.int64).sum()), store


@both
def test_funlib_has_the_levels_of_a_crop_over_each_other(demo, v3):
    store = demo.mount / "hemibrain" / f"em.crop-z13-77_y50-150_x20-101{'.v3' if v3 else ''}.zarr"
    s0, s1 = ask(CLIENTS_PYTHON, "funlib", [store / "s0", store / "s1"])
    assert s0["begin"] == [13 * 8, 50 * 8, 20 * 8]
    assert s1["begin"] == [13 // 2 * 16, 25 * 16, 10 * 16]


@both
def test_daisy_sees_each_voxel_of_a_coarse_level_once(demo, v3):
    (path, _), = [of for of in demo.stores(v3) if of[0].parent.name == "hemibrain" and of[0].name.startswith("em.")]
    (found,), (array,) = ask(CLIENTS_PYTHON, "daisy", [path / "s1"]), ask(CLIENTS_PYTHON, "funlib", [path / "s1"])
    assert found == {"voxels": int(np.prod([n // 16 for n in array["shape"]])), "sum": array["sum"]}


def test_gunpowder_has_all_levels_in_one_place_with_their_voxel_size(demo):
    stores = [*pyramids(demo, False)]
    paths = [store / f"s{level}" for store, volume in stores for level in range(len(volume.levels))]
    found = iter(ask(GUNPOWDER_PYTHON, "gunpowder", paths))
    for store, volume in stores:
        for voxels, scale in zip(volume.levels, volume.scale, strict=True):
            array = next(found)
            assert (array["begin"], array["voxel_size"]) == ([0, 0, 0], scale), store
            assert volume.lossy or array["first"] == voxels[:4, :4, :4].tolist(), store


def test_fractional_voxel_sizes_can_be_said_to_funlib_in_a_finer_unit(demo):
    script = "import sys; from funlib.persistence import open_ds; print(list(open_ds(sys.argv[1], voxel_size=(296, 400, 400)).voxel_size))"
    path = demo.mount / "jrc_mus-nacc-2" / "em.zarr" / "s0"
    done = subprocess.run([CLIENTS_PYTHON, "-c", script, path], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[0] == "[296, 400, 400]", done.stderr


@both
def test_no_display_setting_is_an_index_that_coarser_levels_do_not_have(demo, v3):
    for store, _ in demo.stores(v3):
        document = json.loads((store / ("zarr.json" if v3 else ".zattrs")).read_text())
        assert document.get("attributes", {}).get("ome", document)["omero"]["rdefs"] == {"model": "greyscale"}


@both
def test_iohub_knows_channel_and_scale_of_a_store_with_numbered_levels(demo, v3):
    stores = [*numbered(demo, v3)]
    for (store, volume), found in zip(stores, ask(CLIENTS_PYTHON, "iohub", [store for store, _ in stores]), strict=True):
        assert found["channels"] == ["EM"] and found["shape"] == list(volume.levels[0].shape), store
        assert not volume.scale[0] or found["scale"] == volume.scale[0], store


def numbered(demo, v3):
    """The stores of which the levels are called by their numbers, as iohub and cloud-volume look for them."""
    for store, volume in demo.stores(v3):
        yield store.with_name(f"{store.name.split('.')[0]}.numbered{'.v3' if v3 else ''}.zarr"), volume


@both
def test_iohub_has_data_and_tells_of_a_store_with_numbered_levels(demo, v3):
    stores = [*numbered(demo, v3)]
    for (store, volume), found in zip(stores, ask(CLIENTS_PYTHON, "iohub_data", [store for store, _ in stores]), strict=True):
        assert found["names"] == [str(level) for level in range(len(volume.levels))], store
        assert found["shape"] == list(volume.levels[0].shape), store
        assert volume.lossy or found["sum"] == int(volume.levels[0].astype(np.int64).sum()), store
        assert found["failed"] == 0 and f"decompressed:\t\t {volume.levels[0].nbytes} " in found["info"], found["info"]


@pytest.fixture(scope="module")
def unevenly_chunked(tmp_path_factory):
    """A mount of images whose levels have different chunks: planes, of which emfs computes levels, and stored ones."""
    import tifffile
    import zarr

    from mounting import configuration, mounted

    root = tmp_path_factory.mktemp("uneven")
    shapes = {"flat": (5, 1301, 703), "deep": (70, 150, 1301), "large": (9, 2600, 1290)}
    for seed, (name, shape) in enumerate(shapes.items()):
        tifffile.imwrite(root / f"{name}.tif", reference_volumes.noise(shape, "u1", seed), photometric="minisblack")
    sources = {name: {"kind": "tiff", "url": f"{root}/{name}.tif", "voxel_size": [8.0, 8.0, 8.0]} for name in shapes}
    group = zarr.open_group(root / "stored.zarr", mode="w", zarr_format=2)
    chunks = [(16, 32, 64), (32, 32, 32), (8, 64, 64)]
    for level, chunk in enumerate(chunks):
        array = reference_volumes.noise([n >> level for n in (64, 128, 200)], "u2", level)
        group.create_array(str(level), shape=array.shape, chunks=chunk, dtype=array.dtype)[...] = array
    scale = lambda level: [{"type": "scale", "scale": [8.0 * 2**level] * 3}]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    datasets = [{"path": str(level), "coordinateTransformations": scale(level)} for level in range(len(chunks))]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    sources["stored"] = {"kind": "zarr", "url": f"{root}/stored.zarr"}
    with mounted(tmp_path_factory.mktemp("m"), configuration(sources)) as mount:
        yield mount, [*sources]


def assert_cloudvolume_reads(stores):
    """Every level of numbered stores as what zarr-python makes of those of the images."""
    from hashlib import sha256

    found = ask(CLOUDVOLUME_PYTHON, "cloudvolume_zarr", [store for store, _ in stores])
    for (store, image), read in zip(stores, found, strict=True):
        names = sorted(path.name for path in image.iterdir() if path.name[0] == "s")
        voxels = [readers.zarr_array(image, level, True) for level in range(len(names))]
        assert len(read["levels"]) == len(voxels), store
        for number, (level, found) in enumerate(zip(voxels, read["levels"])):
            # cloud-volume reckons the sizes of coarser levels itself.
            assert all(0 <= size - own <= min(number, 1) for size, own in zip(level.shape, found["shape"])), (store, level.shape, found)
            shown = np.ascontiguousarray(level[tuple(slice(size) for size in found["shape"])])
            assert found["sha256"] == sha256(shown.tobytes()).hexdigest(), (store, number)


def test_cloudvolume_reads_every_level_of_zarr_v3_with_numbered_levels(demo):
    stores = [*numbered(demo, True)]
    assert_cloudvolume_reads([(store, store.with_name(store.name.replace(".numbered", ""))) for store, _ in stores])
    for (_, volume), found in zip(stores, ask(CLOUDVOLUME_PYTHON, "cloudvolume_zarr", [store for store, _ in stores]), strict=True):
        assert not volume.scale[0] or found["resolution"] == pytest.approx(volume.scale[0][::-1])


def test_cloudvolume_reads_every_level_whatever_chunks_the_levels_of_the_image_have(unevenly_chunked, tmp_path):
    from exporting import export

    mount, names = unevenly_chunked
    chunks = lambda store: {tuple(json.loads(path.read_text())["chunks"]) for path in store.glob("*/.zarray")}
    assert all(len(chunks(mount / name / "em.zarr")) > 1 for name in names), "or nothing is shown"
    crops = [f"{name}/em.crop-z1-5_y90-150_x20-701" for name in names[:3]]
    stores = [(mount / f"{name}.numbered.v3.zarr", mount / f"{name}.v3.zarr") for name in [*(f"{name}/em" for name in names), *crops]]
    for name in ("flat", "stored"):
        export(mount / name / "em.numbered.v3.zarr", tmp_path / f"{name}.v3.zarr", "--compress", "none")
        stores.append((tmp_path / f"{name}.v3.zarr", mount / name / "em.v3.zarr"))
    assert_cloudvolume_reads(stores)


@both
def test_every_reader_and_validator_takes_numbered_levels(demo, v3):
    import ngff_zarr
    import yaozarrs
    import zarr
    from ome_zarr_models.v04.image import Image as Image04
    from ome_zarr_models.v05.image import Image as Image05

    for store, volume in numbered(demo, v3):
        group = zarr.open_group(store, mode="r")
        (Image05 if v3 else Image04).from_zarr(group)
        yaozarrs.validate_zarr_store(str(store))
        assert ngff_zarr.from_ngff_zarr(str(store), validate=True).images[0].data.shape == volume.levels[0].shape
        names = [str(level) for level in range(len(volume.levels))]
        assert sorted(name for name in group.array_keys()) == names == sorted(path.name for path in store.iterdir() if path.name[0] not in ".z" and path.name != "labels")
        for name, voxels in zip(names, volume.levels, strict=True):
            readers.assert_equal(group[name][:], voxels, f"{store}/{name}", volume.lossy)
        assert not (store / "s0").exists() and not (store / "00").exists() and not (store / str(len(names))).exists()


@both
def test_xarray_has_the_stored_type_without_options_and_warns_of_nothing(demo, reference, v3):
    import xarray

    stores = [*demo.stores(v3), *((reference.store(name, v3), volume) for name, volume in reference.volumes.items())]
    for store, volume in stores:
        for level, voxels in enumerate(volume.levels):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                others = [f"s{other}" for other in range(len(volume.levels)) if other != level]
                array = xarray.open_zarr(store, drop_variables=others)[f"s{level}"]
                assert array.dims == ("z", "y", "x")
                readers.assert_equal(array.values, voxels, f"{store}/s{level}", volume.lossy)


@both
def test_zarr_lists_a_store_with_its_labels_and_warns_of_nothing(demo, v3):
    import zarr

    for store, volume in demo.stores(v3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            group = zarr.open(store, mode="r")
            found = {name for name, _ in group.members(max_depth=None)}
        labels = {path.name: label for path, label in demo.labels(v3) if path.parent.parent == store}
        expected = {f"s{level}" for level in range(len(volume.levels))}
        expected |= {f"labels/{label}" for label in labels} | ({"labels"} if labels else set())
        assert expected <= found and {name for name in found if name.count("/") < 2} == expected, store
        for name, label in labels.items():
            assert group[f"labels/{name}/s0"].shape == label.levels[0].shape


def level_views(demo, v3):
    """(store of one level, its level, the truth of its image)."""
    for store, volume in demo.stores(v3):
        stem = store.name.removesuffix(".v3.zarr" if v3 else ".zarr")
        for level in range(len(volume.levels)):
            yield store.with_name(f"{stem}.s{level}{'.v3' if v3 else ''}.zarr"), level, volume


@both
def test_xarray_opens_a_level_with_labelled_axes_and_no_option(demo, v3):
    import xarray

    for store, level, volume in level_views(demo, v3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dataset = xarray.open_zarr(store)
            array = dataset[f"s{level}"]
            assert set(dataset.data_vars) == {f"s{level}"} and array.dims == ("z", "y", "x")
            readers.assert_equal(array.values, volume.levels[level], str(store), volume.lossy)
            if not volume.scale[level]:
                continue
            for axis, n, scale, first in zip("zyx", array.shape, volume.scale[level], volume.translation[level], strict=True):
                positions = array.coords[axis]
                assert positions.dtype == np.float64 and positions.attrs["units"] == "nm"
                np.testing.assert_allclose(positions.values, first + np.arange(n) * scale, rtol=1e-12, atol=1e-9)
            nearest = array.sel(z=volume.translation[level][0], y=0, x=0, method="nearest")
            assert nearest.shape == ()


@both
def test_every_reader_and_validator_takes_a_level_alone(demo, v3):
    import ngff_zarr
    import yaozarrs
    import zarr
    from ome_zarr_models.v04.image import Image as Image04
    from ome_zarr_models.v05.image import Image as Image05

    for store, level, volume in level_views(demo, v3):
        (Image05 if v3 else Image04).from_zarr(zarr.open_group(store, mode="r"))
        yaozarrs.validate_zarr_store(str(store))
        assert ngff_zarr.from_ngff_zarr(str(store), validate=True).images[0].data.shape == volume.levels[level].shape
        for reader in readers.ALL:
            readers.assert_equal(reader(store, level, v3), volume.levels[level], f"{store} by {reader.__name__}", volume.lossy)
    cropped = demo.mount / "hemibrain" / f"em.crop-z13-77_y50-150_x20-101.s1.chunk-32{'.v3' if v3 else ''}.zarr"
    whole = demo.mount / "hemibrain" / f"em.crop-z13-77_y50-150_x20-101{'.v3' if v3 else ''}.zarr"
    readers.assert_equal(readers.zarr_array(cropped, 1, v3), readers.zarr_array(whole, 1, v3), str(cropped))
    (alone, among) = ask(CLIENTS_PYTHON, "funlib", [cropped / "s1", whole / "s1"])
    assert alone == among


def test_commands_take_a_level_alone(demo, tmp_path):
    from exporting import export
    from mounting import emfs

    config = tmp_path / "replica.toml"
    config.write_text(demo.config)
    assert "\n  s1: " in emfs("explain", "hemibrain/em.s1.zarr", "--config", config).stdout
    refused = emfs("explain", "hemibrain/em.s7.zarr", "--config", config, check=False)
    assert refused.returncode == 1 and "there is no level s7" in refused.stderr
    located = json.loads(emfs("locate", demo.mount / "hemibrain" / "em.s1.zarr" / "s1" / "0" / "0" / "0", "--json").stdout)
    assert located["blocks"] == json.loads(emfs("locate", demo.mount / "hemibrain" / "em.zarr" / "s1" / "0" / "0" / "0", "--json").stdout)["blocks"]
    assert "\n  1: " in emfs("explain", "hemibrain/em.numbered.zarr", "--config", config).stdout
    refused = emfs("locate", demo.mount / "hemibrain" / "em.numbered.zarr" / "s1" / "0" / "0" / "0", check=False)
    assert refused.returncode == 1 and "`s1` is no level, such as 0" in refused.stderr
    export("hemibrain/em.s1.zarr", tmp_path / "level.zarr", "--config", config)
    assert [path.name for path in sorted((tmp_path / "level.zarr").glob("s*"))] == ["s1"]
    readers.assert_equal(readers.zarr_array(tmp_path / "level.zarr", 1, False), readers.zarr_array(demo.mount / "hemibrain" / "em.zarr", 1, False), "export")


@both
def test_xarray_has_the_nanometres_of_an_exported_level_as_in_the_mount(demo, tmp_path, v3):
    import xarray

    from mounting import emfs

    name = f"hemibrain/em.crop-z13-77_y50-150_x20-101.s1{'.v3' if v3 else ''}.zarr"
    emfs("export", demo.mount / name, tmp_path / "level.zarr", "--verify", "--cache-size", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for group in (None, "labels/segmentation"):
            found, expected = (xarray.open_zarr(store, group=group) for store in (tmp_path / "level.zarr", demo.mount / name))
            assert set(found.coords) == {"z", "y", "x"} and found.z.attrs["units"] == "nm", group
            assert found.identical(expected), group
