"""An address that is pasted with more around it than it needs shows what it names."""

import numpy as np
import pytest
import zarr

from mounting import configuration, emfs, mounted
from origin import Origin

SHAPE, CHUNK = (12, 14, 16), (8, 8, 8)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store whose image and label have other voxels, at a server."""
    root = tmp_path_factory.mktemp("pasted")
    voxels = {"em": np.random.default_rng(1).integers(1, 200, SHAPE, "u1"), "seg": np.random.default_rng(2).integers(1, 9000, SHAPE, "u8")}
    group = zarr.open_group(root / "x.ome.zarr", mode="w", zarr_format=2)
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    for folder, path, image in ((group, "s0", "em"), (group.create_group("labels/seg"), "s0", "seg")):
        folder.create_array(path, shape=SHAPE, chunks=CHUNK, dtype=voxels[image].dtype)[...] = voxels[image]
        level = {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [8, 8, 8]}]}
        folder.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]
    with Origin(root) as origin:
        yield origin.url, root, voxels


#: What is pasted for an address `{}`, and which image that is.
PASTED = [
    ("{}?labels/seg", "seg"),
    ("zarr:{}?labels%2Fseg", "seg"),
    ("zarr://{}/?/labels/seg/", "seg"),
    ("{}/labels?seg", "seg"),
    ("{}?s0", "em"),
    ("<{}#>", "em"),
    ('"{}"', "em"),
    ("[x.ome.zarr]({})", "em"),
    ("simplecache::{}", "em"),
    ("zarr2:{}/.zattrs", "em"),
    ("{}?labels/seg/.zattrs", "seg"),
    ("{}/labels/seg|zarr2:|", "seg"),
]


def test_what_is_pasted_around_an_address_changes_nothing_of_what_it_names(store, tmp_path):
    url, root, voxels = store
    here = (root / "x.ome.zarr").as_uri()
    sources, wanted = {}, {}
    for number, (text, image) in enumerate(PASTED):
        for place, address in (("there", f"{url}/x.ome.zarr"), ("here", here)):
            sources[f"{place}-{number}"] = {"kind": "zarr", "url": text.format(address)}
            wanted[f"{place}-{number}"] = image
    with mounted(tmp_path, configuration(sources)) as mount:
        for name, image in wanted.items():
            shown = zarr.open_array(mount / name / "em.zarr" / "s0", mode="r")[...]
            np.testing.assert_array_equal(shown, voxels[image], err_msg=sources[name]["url"])


@pytest.mark.parametrize("text, write", [
    ("127.0.0.1:8000/x.zarr", "it has no scheme; write `http://127.0.0.1:8000/x.zarr`"),
    ("https://h/vizarr/?source=https://h/x.zarr", "it is a link to a viewer, not to a volume; write what it shows: `https://h/x.zarr`"),
    ("https://console.cloud.google.com/storage/browser/b/em", "write `gs://b/em`"),
    ('{"driver": "zarr", "kvstore": "s3://b/x.zarr/"}', "it is a JSON spec of TensorStore; write `kind = \"zarr\"` and as `url` `s3://b/x.zarr/`"),
])
def test_what_is_no_address_of_a_volume_says_what_to_write(tmp_path, text, write):
    file = tmp_path / "c.toml"
    file.write_text(configuration({"a": {"kind": "zarr", "url": text}}))
    told = emfs("datasets", "--config", file, check=False)
    assert told.returncode != 0 and write in told.stderr, told.stderr
