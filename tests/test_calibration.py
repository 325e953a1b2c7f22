"""Voxel sizes and axes: what is shown of groups and stacks that say them in part, in words of their own, or not at all."""

import json
import os

import numpy as np
import pytest
import tifffile
import zarr

import reference_volumes
from mounting import configuration, mounted

LEVELS = 8


def halved(folder, name, unit=None):
    """A volume 1001 deep, halved along z again and again, whose axes have `unit`."""
    axes = [{"name": axis, "type": "space"} | ({"unit": unit} if unit else {}) for axis in "zyx"]
    datasets = [{"path": f"s{n}", "coordinateTransformations": [
        {"type": "scale", "scale": [2**n, 1, 1]}, {"type": "translation", "translation": [2**n - 1, 0, 0]}]} for n in range(LEVELS)]
    group = zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    voxels, levels = reference_volumes.noise((1001, 4, 4), "u1", 1), []
    for n in range(LEVELS):
        group.create_array(f"s{n}", shape=voxels.shape, chunks=(64, 4, 4), dtype="u1")[:] = voxels
        levels.append(voxels)
        voxels = voxels[: len(voxels) // 2 * 2 : 2]
    return {"kind": "zarr", "url": f"{folder}/{name}.zarr"}, levels


def image_of(store):
    return json.loads((store / ".zattrs").read_bytes())["multiscales"][0]


def lengths(store):
    """Scale and translation of each level, and the unit."""
    image = image_of(store)
    found = [[transform[transform["type"]] for transform in level["coordinateTransformations"]] for level in image["datasets"]]
    return found, image["axes"][0].get("unit")


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """The same volume with nanometres, without a unit and in pixels, the latter two also with a configured voxel size."""
    folder = tmp_path_factory.mktemp("units")
    kinds = {"nanometres": "nanometer", "unitless": None, "pixels": "pixel"}
    made = {name: halved(folder, name, unit) for name, unit in kinds.items()}
    sources = {name: source for name, (source, _) in made.items()}
    sources |= {f"{name}-sized": sources[name] | {"voxel_size": [30, 8, 8]} for name in ("unitless", "pixels")}
    with mounted(folder / "mount", configuration(sources)) as mount:
        yield mount, made["unitless"][1]


@pytest.mark.parametrize("name", ["unitless", "pixels"])
def test_levels_without_a_known_unit_keep_the_ratios_and_places_of_their_document(units, name):
    mount, _ = units
    counted = [[[2**n, 1, 1], [2**n - 1, 0, 0]] for n in range(LEVELS)]
    assert lengths(mount / name / "em.zarr") == (counted, None)
    sized = [[[30 * 2**n, 8, 8], [30 * (2**n - 1), 0, 0]] for n in range(LEVELS)]
    assert lengths(mount / f"{name}-sized" / "em.zarr") == (sized, "nanometer")


def test_an_image_without_units_keeps_the_ratio_of_the_edges_of_its_voxels(tmp_path):
    source, _ = halved(tmp_path, "plain")
    document = tmp_path / "plain.zarr" / "zarr.json"
    attributes = json.loads(document.read_text())
    for level, dataset in enumerate(attributes["attributes"]["ome"]["multiscales"][0]["datasets"]):
        dataset["coordinateTransformations"] = [{"type": "scale", "scale": [40 * 2**level, 8, 8]}, {"type": "translation", "translation": [0, 100, 0]}]
    document.write_text(json.dumps(attributes))
    sources = {"plain": source, "sized": source | {"voxel_size": [40, 8, 8]}}
    with mounted(tmp_path / "mount", configuration(sources)) as mount:
        assert lengths(mount / "plain" / "em.zarr") == ([[[5 * 2**n, 1, 1], [0, 12.5, 0]] for n in range(LEVELS)], None)
        assert lengths(mount / "sized" / "em.zarr") == ([[[40 * 2**n, 8, 8], [0, 100, 0]] for n in range(LEVELS)], "nanometer")
        assert "the finest is 40 × 8 × 8; `voxel_size` says it in nanometres" in mount.log


def test_a_crop_shows_the_same_voxels_of_every_level_with_and_without_units(units):
    mount, levels = units
    for name in ("nanometres", "unitless", "unitless-sized", "pixels"):
        store = zarr.open_group(mount / name / "em.crop-z800-1000_y0-4_x0-4.zarr", mode="r")
        for n, voxels in enumerate(levels):
            expected = voxels[800 // 2**n : min(-(-1000 // 2**n), len(voxels))]
            assert np.array_equal(store[f"s{n}"][:], expected), f"{name} s{n}"


def test_an_unknown_unit_is_named_in_the_log(units):
    mount, _ = units
    assert lengths(mount / "pixels" / "em.zarr")[1] is None
    warnings = [line for line in mount.log.splitlines() if "pixels.zarr" in line and "unit `pixel`" in line]
    assert warnings, mount.log


def test_a_lone_array_is_shown_in_the_order_z_y_x_unless_its_named_axes_are_others(tmp_path):
    voxels = reference_volumes.noise((7, 8, 9), "u2", 2)

    def write(name, array=voxels, **options):
        zarr.create_array(tmp_path / f"{name}.zarr", shape=array.shape, chunks=(3,) * array.ndim, dtype="u2", **options)[:] = array
        return {"kind": "zarr", "url": f"{tmp_path}/{name}.zarr"}

    shown = {
        "zyx": write("zyx", dimension_names=["Z", "y", "x"]), "nameless": write("nameless", dimension_names=[None, None, None]),
        "numbered": write("numbered", dimension_names=["dim_0", "dim_1", "dim_2"]),
        "channel": write("channel", voxels[None], dimension_names=["c", "z", "y", "x"]),
        "xarray": write("xarray", zarr_format=2, attributes={"_ARRAY_DIMENSIONS": ["z", "y", "x"]}),
    }
    turned = {
        "xyz": write("xyz", dimension_names=["x", "y", "z"]),
        "xarray-xyz": write("xarray-xyz", zarr_format=2, attributes={"_ARRAY_DIMENSIONS": ["x", "y", "z"]}),
    }
    refused = {"tyx": write("tyx", dimension_names=["t", "y", "x"])}
    with mounted(tmp_path / "mount", configuration(shown | turned | refused)) as mount:
        for name in shown:
            assert np.array_equal(zarr.open_array(mount / name / "em.zarr" / "s0", mode="r")[:], voxels), name
        for name in turned:
            assert np.array_equal(zarr.open_array(mount / name / "em.zarr" / "s0", mode="r")[:], voxels.T), name
        for name, field in {"tyx": "dimension_names"}.items():
            with pytest.raises(OSError):
                os.stat(mount / name / "em.zarr" / ".zattrs")
            letters = ", ".join(f"`{letter}`" for letter in name[-3:])
            assert any(f"{name}.zarr/" in line and f"{field}: " in line and letters in line for line in mount.log.splitlines()), mount.log


def test_labels_lie_on_their_image_and_are_told_of_where_they_cannot(tmp_path):
    stack = reference_volumes.noise((4, 20, 30), "u1", 3)
    sized = {"spacing": 30, "unit": "nm", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "image.tif", stack, imagej=True, resolution=(1 / 8, 1 / 8), metadata=sized)
    tifffile.imwrite(tmp_path / "same.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "sized.tif", stack, imagej=True, resolution=(1 / 5, 1 / 5), metadata=sized | {"spacing": 5})
    tifffile.imwrite(tmp_path / "other.tif", stack[:2], photometric="minisblack")
    tiff = lambda name: {"kind": "tiff", "url": f"{tmp_path}/{name}.tif"}
    labels = [{"name": name, "source": tiff(name)} for name in ("same", "sized", "other")]
    config = configuration({"v": {"source": tiff("image"), "images": [{"name": "train", "source": tiff("image"), "labels": labels}]}})
    with mounted(tmp_path / "mount", config) as mount:
        # Those of 5 nm reach over less than the first section of 30 nm.
        for ending in ("", ".crop-z0-3_y0-20_x0-30"):
            store = mount / "v" / f"train{ending}.zarr"
            place, unit = lengths(store)
            assert (place[0][0], unit) == ([30, 8, 8], "nanometer")
            assert lengths(store / "labels" / "same") == (place, unit)
            assert lengths(store / "labels" / "sized")[0][0][0] == [5, 5, 5]
        assert lengths(mount / "v" / "train.zarr" / "labels" / "other") == ([[[1, 1, 1], [0, 0, 0]]], None)
        os.listdir(mount / "v" / "train.v3.zarr" / "labels")
        warnings = [line for line in mount.log.splitlines() if "v/train/labels/" in line]
        assert len(warnings) == 1, mount.log
        assert all(word in warnings[0] for word in ("v/train/labels/other", "2×20×30", "4×20×30")), warnings
