"""napari's own model of a viewer, without a window: where it puts the voxels of each level, and what its first frame costs."""

import numpy as np
import pytest

import reference_volumes
from mounting import configuration, mounted
from origin import Origin

#: Rows and columns of a canvas.
CANVAS = (600, 800)


def opened(store):
    """A viewer with the first layer of a store, as the plugin for OME-Zarr reads it."""
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari_ome_zarr import napari_get_reader

    viewer = ViewerModel()
    viewer.add_layer(Layer.create(*napari_get_reader(str(store))(str(store))[0]))
    return viewer, viewer.layers[0]


def centre(layer, voxel):
    """World coordinates of the centre of a voxel of what is shown, as `napari/_vispy/layers/base.py` lays it out: in two dimensions
    pixels begin half a voxel of the finest level before it, in three each level is moved by what its voxels are larger."""
    voxel = np.asarray(voxel, float)
    displayed = layer._slice_input.displayed
    in_data = np.array(layer._transforms["tile2data"](voxel))
    factors = layer._transforms["tile2data"].scale
    if layer._slice_input.ndisplay == 2:
        in_data[displayed] = np.array(layer._transforms["tile2data"](voxel + 0.5))[displayed] - 0.5
    else:
        in_data += (factors - 1) / 2
    return np.array(layer._data_to_world(in_data))


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
def test_a_bright_voxel_lies_at_its_nanometres_at_every_level(tmp_path, v3):
    at, size = (40, 77, 1001), 8.0
    reference_volumes.one_bright_voxel(tmp_path / "v.tif", (72, 144, 1304), at, 250, "u1")
    with Origin(tmp_path) as origin:
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [size] * 3}})
        with mounted(tmp_path / "m", config, timeout=20) as mount:
            viewer, layer = opened(mount / "v" / ("em.v3.zarr" if v3 else "em.zarr"))
            assert layer.multiscale and len(layer.level_shapes) == 3
            viewer.dims.set_point(0, at[0] * size)
            for level in range(3):
                layer.locked_data_level = level
                layer.refresh()
                factors = layer.downsample_factors[level]
                plane = np.asarray(layer._slice.image.raw)
                found = np.unravel_index(plane.argmax(), plane.shape)
                assert plane[found] > plane.min(), f"the plane of s{level} that is shown is the one with the voxel"
                off = np.abs(centre(layer, (at[0] // factors[0], *found)) - np.array(at) * size)
                assert (off[1:] <= factors[1:] * size / 2).all(), f"s{level} in two dimensions is off by {off} nm"
            layer.locked_data_level = None
            viewer.dims.ndisplay = 3
            layer.refresh()
            volume = np.asarray(layer._slice.image.raw)
            found = np.unravel_index(volume.argmax(), volume.shape)
            off = np.abs(centre(layer, found) - np.array(at) * size)
            assert volume.shape == tuple(layer.level_shapes[-1]) and (off <= layer.downsample_factors[-1] * size / 2).all(), off


def test_the_first_frame_of_a_cold_volume_like_epfl_s_costs_no_more_than_five_planes(tmp_path):
    shape = (72, 1536, 2048)
    reference_volumes.itk(tmp_path, "epfl", shape, "u1", 77)
    plane = shape[1] * shape[2]
    with Origin(tmp_path) as origin:
        config = configuration({"v": {"kind": "tiff", "url": f"{origin.url}/epfl.tif", "voxel_size": [5, 5, 5]}})
        with mounted(tmp_path / "m", config, timeout=20, memory="1G") as mount:
            viewer, layer = opened(mount / "v" / "em.zarr")
            # What the canvas says at its first drawing, when it shows all of a plane.
            zoom = min(CANVAS[0] / shape[1], CANVAS[1] / shape[2]) / 5 * 0.95
            corners = np.array([[0, 0], [5 * (shape[1] - 1), 5 * (shape[2] - 1)]], float)
            layer._update_draw(scale_factor=1 / zoom, corner_pixels_displayed=corners, shape_threshold=CANVAS)
            frame = np.asarray(layer._slice.image.raw)
            assert frame.shape[0] >= CANVAS[0] // 2 and frame.any()
            voxels = [request.range for request in origin.requests if request.range and request.range[1] - request.range[0] > 100_000]
            fetched = sum(end - start for start, end in voxels)
            assert fetched <= 5 * plane, f"{fetched / plane:.2f} planes"
