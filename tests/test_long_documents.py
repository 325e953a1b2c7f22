"""Documents with far more in them than describes the image, as microscopes and consolidated metadata leave them."""

import json
import os

import numpy as np
import pytest
import tensorstore
import zarr

from mounting import configuration, mounted
from origin import Origin

SHAPE, CHUNK = (20, 18, 25), (8, 8, 8)
VOXELS = np.random.default_rng(5).integers(1, 255, SHAPE, "u1")
#: What Bio-Formats keeps of a file beside an image.
INFO = "\n".join(f"Information|Image|S|Scene|Position #{number} = {number * 1.5}" for number in range(60_000))
#: A frame of a microscope's series, of ten values.
FRAMES = [{"t": number, "stage": [number * 1.0] * 6, "text": "x" * 60} for number in range(8_000)]


def ome(folder, zarr_format):
    group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    group.create_array("s0", shape=SHAPE, chunks=CHUNK, dtype="u1")[...] = VOXELS
    level = {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [40, 8, 8]}]}
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    return group, [{"version": "0.4", "axes": axes, "datasets": [level]}]


def rewritten(file, change):
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    return file


def frames(folder):
    group, multiscales = ome(folder, 2)
    group.attrs.update({"frames": FRAMES, "multiscales": multiscales})
    return folder / ".zattrs"


def consolidated(folder):
    group, multiscales = ome(folder, 3)
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    one = json.loads((folder / "s0" / "zarr.json").read_text())
    metadata = {"kind": "inline", "must_understand": False, "metadata": {f"tables/t{number}": one for number in range(3000)}}
    return rewritten(folder / "zarr.json", lambda document: document.update(consolidated_metadata=metadata))


def array(folder):
    zarr.create_array(folder, data=VOXELS, chunks=CHUNK, zarr_format=3, attributes={"frames": FRAMES})
    return folder / "zarr.json"


def n5(folder):
    metadata = {"dimensions": SHAPE[::-1], "blockSize": CHUNK[::-1], "dataType": "uint8", "compression": {"type": "gzip"}}
    store = {"driver": "n5", "kvstore": {"driver": "file", "path": str(folder)}, "metadata": metadata}
    tensorstore.open(store, create=True).result().write(VOXELS.T).result()
    return rewritten(folder / "attributes.json", lambda document: document.update(imageProperties={"Info": INFO}))


def precomputed(folder):
    metadata = {"type": "image", "data_type": "uint8", "num_channels": 1}
    scale = {"size": SHAPE[::-1], "resolution": [8, 8, 40], "chunk_size": CHUNK[::-1], "encoding": "raw", "key": "s0"}
    store = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": str(folder)}, "multiscale_metadata": metadata, "scale_metadata": scale}
    tensorstore.open(store, create=True).result()[..., 0].write(VOXELS.T).result()
    return rewritten(folder / "info", lambda document: document.update(log=["x" * 100] * 30_000))


#: name: (kind, what writes it and gives its long document)
LONG = {
    "frames in .zattrs": ("zarr", frames),
    "consolidated metadata": ("zarr", consolidated),
    "attributes of an array": ("zarr", array),
    "N5 attributes": ("n5", n5),
    "info": ("precomputed", precomputed),
}


def shown(mount, name):
    return zarr.open_array(mount / name / "em.zarr" / "s0", mode="r")[...]


@pytest.mark.parametrize("name", LONG)
def test_what_is_long_beside_the_description_of_an_image_keeps_nobody_from_it(tmp_path, name):
    kind, write = LONG[name]
    document = write(tmp_path / "root" / "v")
    assert document.stat().st_size > (1 << 20)
    with Origin(tmp_path / "root") as origin:
        sources = {"here": {"kind": kind, "url": str(tmp_path / "root" / "v")}, "there": {"kind": kind, "url": f"{origin.url}/v"}}
        with mounted(tmp_path, configuration(sources), cache=tmp_path / "cache") as mount:
            for each in sources:
                np.testing.assert_array_equal(shown(mount, each), VOXELS)
        origin.stop()
        with mounted(tmp_path / "again", configuration(sources), "--offline", cache=tmp_path / "cache") as mount:
            np.testing.assert_array_equal(shown(mount, "there"), VOXELS)


@pytest.mark.parametrize("name", LONG)
def test_a_document_that_is_too_long_says_so_and_blames_no_origin(tmp_path, name):
    kind, write = LONG[name]
    document = write(tmp_path / "root" / "v")
    document.write_bytes(document.read_bytes() + b" " * (5 << 20))
    with Origin(tmp_path / "root") as origin:
        sources = {"here": {"kind": kind, "url": str(tmp_path / "root" / "v")}, "there": {"kind": kind, "url": f"{origin.url}/v"}}
        with mounted(tmp_path, configuration(sources)) as mount:
            for each in sources:
                assert os.listdir(mount / each / "em.zarr") == ["ERROR.txt"]
                text = (mount / each / "em.zarr" / "ERROR.txt").read_text()
                assert f"{document.name}: document: it is longer than 4 MiB, the most that is read of one document" in text, text
                assert "Compare the address" in text and "The origin" not in text, text


@pytest.mark.parametrize("needed", ["multiscales", "axes"])
def test_a_part_that_is_too_long_and_needed_is_an_error_that_says_so(tmp_path, needed):
    def change(attributes):
        within = attributes if needed == "multiscales" else attributes["multiscales"][0]
        within[needed] = within[needed] * 3_000

    rewritten(frames(tmp_path / "v"), change)
    with mounted(tmp_path, configuration({"v": {"kind": "zarr", "url": str(tmp_path / "v")}})) as mount:
        assert os.listdir(mount / "v" / "em.zarr") == ["ERROR.txt"]
        text = (mount / "v" / "em.zarr" / "ERROR.txt").read_text()
        assert f"{needed}: it is `more than 8192 values" in text, text
