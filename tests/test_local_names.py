"""What the names in a folder of this machine say: a link without its content is no absence, and chunks may be called in two ways."""

import gzip
import json
import shutil

import numpy as np
import pytest
import tensorstore
import zarr

import readers
import reference_volumes
from cached_scene import read
from mounting import configuration, mounted
from origin import Origin

SHAPE, CHUNK = (20, 18, 25), (8, 8, 8)
ANNEXED = "../../.git/annex/objects/XX/YY/MD5E-s123--abc/MD5E-s123--abc"


@pytest.fixture(scope="module")
def voxels():
    # None is 0, which would look like what is absent.
    return reference_volumes.noise(SHAPE, "uint8", 1) | 1


def write_zarr(path, voxels, **options):
    zarr.create_array(str(path), data=voxels, chunks=CHUNK, compressors=None, **options)


def write_precomputed(path, voxels, offset=(0, 0, 0)):
    """By TensorStore: chunks called `x_y_z`; `offset` along z, y, x."""
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True,
            "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
            "scale_metadata": {"key": "s0", "size": list(voxels.shape[::-1]), "chunk_size": list(CHUNK[::-1]), "encoding": "raw",
                               "resolution": [4, 8, 40], "voxel_offset": list(offset[::-1])}}
    tensorstore.open(spec).result()[...] = voxels.T[..., np.newaxis]


def write_n5(path, voxels):
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True,
            "metadata": {"dimensions": list(SHAPE[::-1]), "blockSize": list(CHUNK[::-1]), "dataType": "uint8", "compression": {"type": "raw"}}}
    tensorstore.open(spec).result()[...] = voxels.T


def link(path, target):
    """Puts a link in the place of a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(target)


def test_a_chunk_whose_content_is_not_here_is_an_error_by_name_and_its_neighbours_are_right(voxels, tmp_path):
    slashes = {"chunk_key_encoding": {"name": "v2", "separator": "/"}, "zarr_format": 2}
    write_zarr(tmp_path / "dots", voxels, zarr_format=2)
    write_zarr(tmp_path / "slashes", voxels, **slashes)
    write_zarr(tmp_path / "folder", voxels, **slashes)
    write_zarr(tmp_path / "file", voxels, **slashes)
    write_zarr(tmp_path / "shards", voxels, shards=(16, 16, 16), zarr_format=3)
    write_precomputed(tmp_path / "precomputed", voxels)
    write_precomputed(tmp_path / "packed", voxels)
    write_n5(tmp_path / "n5", voxels)
    link(tmp_path / "dots/0.0.0", ANNEXED)
    link(tmp_path / "slashes/0/0/0", ANNEXED)
    link(tmp_path / "folder/0", "/nonexistent/folder")
    shutil.rmtree(tmp_path / "file/0")
    (tmp_path / "file/0").write_bytes(b"x")
    link(tmp_path / "shards/c/0/0/0", ANNEXED)
    link(tmp_path / "precomputed/s0/0-8_0-8_0-8", ANNEXED)
    (tmp_path / "packed/s0/0-8_0-8_0-8").rename(tmp_path / "packed/s0/0-8_0-8_0-8.gz")
    link(tmp_path / "packed/s0/0-8_0-8_0-8.gz", ANNEXED)
    link(tmp_path / "n5/0/0/0", ANNEXED)
    told = dict.fromkeys(["dots", "slashes", "shards", "precomputed", "packed", "n5"], "`git annex get` or `datalad get`")
    told |= {"folder": "is a link to `/nonexistent/folder`, which is not here", "file": "is a file in the place of a folder"}
    kinds = {"precomputed": "precomputed", "packed": "precomputed", "n5": "n5"}
    sources = {name: {"kind": kinds.get(name, "zarr"), "url": str(tmp_path / name)} for name in told}
    with mounted(tmp_path / "m", configuration(sources), timeout=5) as mount:
        for name in told:
            level = mount / name / "em.zarr" / "s0"
            assert read(level / "0/0/0") == "EIO", name
            lines = [line for line in mount.log.splitlines() if f"{tmp_path / name}/" in line]
            assert any(told[name] in line for line in lines), (name, lines)
            assert np.frombuffer((level / "2/2/1").read_bytes(), "u1").reshape(CHUNK)[:4, :2].tolist() == voxels[16:, 16:, 8:16].tolist(), name


def test_a_document_whose_content_is_not_here_is_an_error_that_says_so(voxels, tmp_path):
    write_zarr(tmp_path / "zarr", voxels, zarr_format=2)
    write_precomputed(tmp_path / "precomputed", voxels)
    link(tmp_path / "zarr/.zarray", ANNEXED)
    link(tmp_path / "precomputed/info", ANNEXED)
    sources = {name: {"kind": name, "url": str(tmp_path / name)} for name in ("zarr", "precomputed")}
    with mounted(tmp_path / "m", configuration(sources), timeout=5) as mount:
        for name in sources:
            assert read(mount / name / "em.zarr/.zattrs") == "EIO"
            assert "by `git annex get` or `datalad get`" in (mount / name / "em.zarr/ERROR.txt").read_text()


def test_chunks_in_folders_of_their_positions_are_read_as_those_in_one_folder(voxels, tmp_path):
    """As `volume-to-precomputed` of neuroglancer-scripts 1.2.0 writes them without `--flat` (its `file_accessor.py`)."""
    for name, packed in [("plain", False), ("gz", True)]:
        write_precomputed(tmp_path / name, voxels, (-3, 5, 7))
        for flat in sorted((tmp_path / name / "s0").iterdir()):
            nested = flat.parent / flat.name.replace("_", "/")
            nested.parent.mkdir(parents=True, exist_ok=True)
            if packed:
                nested.with_name(nested.name + ".gz").write_bytes(gzip.compress(flat.read_bytes()))
            else:
                nested.write_bytes(flat.read_bytes())
            flat.unlink()
    sources = {name: {"kind": "precomputed", "url": str(tmp_path / name)} for name in ("plain", "gz")}
    with mounted(tmp_path / "m", configuration(sources), timeout=5) as mount:
        for name in sources:
            np.testing.assert_array_equal(readers.zarr_array(mount / name / "em.zarr", 0, False), voxels)


def test_a_scale_whose_chunks_are_called_otherwise_than_by_its_info_is_refused(voxels, tmp_path):
    write_precomputed(tmp_path / "v", voxels, (-3, 5, 7))
    info = json.loads((tmp_path / "v/info").read_text())
    del info["scales"][0]["voxel_offset"]
    (tmp_path / "v/info").write_text(json.dumps(info))
    with mounted(tmp_path / "m", configuration({"v": {"kind": "precomputed", "url": str(tmp_path / "v")}}), timeout=5) as mount:
        assert read(mount / "v/em.zarr/.zattrs") == "EIO"
        text = (mount / "v/em.zarr/ERROR.txt").read_text()
        assert "no name that is one of the scale by `info`, as 0-8_0-8_0-8 is" in text and "`voxel_offset`" in text


def test_a_volume_that_has_moved_is_read_where_it_is_and_never_in_files_of_this_machine(voxels, tmp_path):
    write_precomputed(tmp_path / "served/there", voxels)
    write_precomputed(tmp_path / "here", voxels)
    whole = json.loads((tmp_path / "here/info").read_text())
    with Origin(tmp_path / "served") as origin:
        redirects = {"relative": "../there", "absolute": f"precomputed://{origin.url}/there", "alone": "../relative", "circle": "../circle2", "circle2": "../circle",
                     "local": f"precomputed://file://{tmp_path}/here", "other": "http://localhost:9/there"}
        for name, redirect in redirects.items():
            (tmp_path / "served" / name).mkdir()
            (tmp_path / "served" / name / "info").write_text(json.dumps({"redirect": redirect} | ({} if name == "alone" else whole)))
        (tmp_path / "from-here").mkdir()
        (tmp_path / "from-here/info").write_text(json.dumps({"redirect": "../here"}))
        sources = {name: {"kind": "precomputed", "url": f"{origin.url}/{name}"} for name in redirects}
        sources["from-here"] = {"kind": "precomputed", "url": str(tmp_path / "from-here")}
        with mounted(tmp_path / "m", configuration(sources), timeout=5) as mount:
            for name in ("relative", "absolute", "alone", "from-here"):
                np.testing.assert_array_equal(readers.zarr_array(mount / name / "em.zarr", 0, False), voxels)
                assert f"/{name}: the volume has moved to" in mount.log
            for name, told in [("local", "a file of this machine, which is not read"), ("other", "followed only on the same host"), ("circle", "the volume has moved")]:
                assert read(mount / name / "em.zarr/.zattrs") == "EIO"
                text = (mount / name / "em.zarr/ERROR.txt").read_text()
                assert told in text and "write the address at which it is by `url`" in text, text
