"""A plain server of a folder of cloud-volume or neuroglancer-scripts has no chunk by its usual name: an error, never zeros."""

import gzip
import json
import shutil

import numpy as np
import pytest

import readers
import reference_volumes
from cached_scene import read
from mounting import configuration, emfs, mounted
from origin import Origin
from test_local_names import SHAPE, write_precomputed


@pytest.fixture(scope="module")
def voxels():
    # None is 0, which would look like what is absent.
    return reference_volumes.noise(SHAPE, "uint8", 1) | 1


def packed(folder):
    """As cloud-volume leaves it: a compressed file by a name with an ending."""
    for file in sorted(folder.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def nested(folder):
    """As neuroglancer-scripts leaves it without `--flat` and `--no-gzip`."""
    for file in sorted(folder.iterdir()):
        to = folder / (file.name.replace("_", "/") + ".gz")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


@pytest.fixture(params=[packed, nested])
def served(request, voxels, tmp_path):
    write_precomputed(tmp_path / "served/v", voxels)
    request.param(tmp_path / "served/v/s0")
    with Origin(tmp_path / "served") as origin:
        origin.is_plain = True
        yield origin, configuration({"v": {"kind": "precomputed", "url": f"{origin.url}/v"}}), tmp_path / "served/v"


def test_every_chunk_is_an_error_with_a_line_that_says_what_is_there_and_what_to_do(served, voxels, tmp_path):
    origin, config, folder = served
    with mounted(tmp_path / "m", config, timeout=5) as mount:
        level = mount / "v/em.zarr/s0"
        assert [read(level / f"{z}/{y}/{x}") for z in range(3) for y in range(3) for x in range(4)] == ["EIO"] * 36
        assert "name: it is there, and " in mount.log and "by its path on the machine that has it" in mount.log
        status = emfs("status", mount.path, "--failed", check=False)
        assert status.returncode == 1 and ".gz: name: it is there" in status.stdout
        assert emfs("status", mount.path, "--absent", check=False).stdout.count("absent") <= 1
    # By its path it is read.
    with mounted(tmp_path / "here", configuration({"v": {"kind": "precomputed", "url": str(folder)}}), timeout=5) as mount:
        np.testing.assert_array_equal(readers.zarr_array(mount / "v/em.zarr", 0, False), voxels)


def test_so_are_they_for_commands_and_where_nobody_is_asked(served, tmp_path):
    _, config, _ = served
    file, cache = tmp_path / "c.toml", tmp_path / "cache"
    file.write_text(config)
    for command in (["warm", "v", "--cache-dir", cache], ["export", "v", tmp_path / "x.zarr"], ["stats", "v", "--size", "8"]):
        done = emfs(*command, "--config", file, check=False)
        assert done.returncode == 1 and "name: it is there, and " in done.stderr, (command, done.stderr)
    with mounted(tmp_path / "off", config, "--offline", timeout=5, cache=cache) as mount:
        level = mount / "v/em.zarr/s0"
        assert [read(level / f"{z}/0/0") for z in range(3)] == ["EIO"] * 3
        assert "name: it is there, and " in mount.log


def test_a_sparse_volume_with_the_usual_names_is_read_with_zeros(voxels, tmp_path):
    write_precomputed(tmp_path / "served/v", voxels)
    shown = voxels.copy()
    # The first ones to be asked for are among them.
    shown[:16, :, :16] = 0
    for file in (tmp_path / "served/v/s0").iterdir():
        x, _, z = file.name.split("_")
        if int(x.split("-")[0]) < 16 and int(z.split("-")[0]) < 16:
            file.unlink()
    with Origin(tmp_path / "served") as origin:
        config = configuration({"v": {"kind": "precomputed", "url": f"{origin.url}/v"}})
        with mounted(tmp_path / "m", config, timeout=5, cache=tmp_path / "cache") as mount:
            np.testing.assert_array_equal(readers.zarr_array(mount / "v/em.zarr", 0, False), shown)
        with mounted(tmp_path / "again", config, "--offline", timeout=5, cache=tmp_path / "cache") as mount:
            np.testing.assert_array_equal(readers.zarr_array(mount / "v/em.zarr", 0, False), shown)


def test_an_export_and_exec_say_that_blocks_were_absent(voxels, tmp_path):
    write_precomputed(tmp_path / "served/some", voxels)
    shutil.copytree(tmp_path / "served/some", tmp_path / "served/none")
    chunks = sorted((tmp_path / "served/none/s0").iterdir())
    for file in chunks:
        file.unlink()
    (tmp_path / "served/some/s0" / chunks[0].name).unlink()
    with Origin(tmp_path / "served") as origin:
        file = tmp_path / "c.toml"
        file.write_text(configuration({name: {"kind": "precomputed", "url": f"{origin.url}/{name}", "pyramid": False, "window": [0, 255]} for name in ("some", "none")}))
        none = emfs("export", "none", tmp_path / "none.zarr", "--config", file).stderr
        assert f"none/em: warning: all {len(chunks)} blocks of s0 that were asked for are absent at the archive" in none
        some = emfs("export", "some", tmp_path / "some.zarr", "--config", file).stderr
        assert "some/em: 1 blocks of s0 are absent at the archive, and hold its fill value" in some and "warning" not in some
        assert json.loads((tmp_path / "some.zarr/manifest.json").read_text())["absent"] == {"some": 1}
        code = "cat $EMFS_MOUNT/{0}/em.zarr/s0/0/0/0 $EMFS_MOUNT/{0}/em.zarr/s0/1/1/1 > /dev/null"
        run = [emfs("exec", "--config", file, "--cache-size", "0", "--", "sh", "-c", code.format(name)).stderr for name in ("none", "some")]
        assert "emfs exec: none: all 2 blocks that were asked for are absent at the archive" in run[0] and "all" not in run[1], run
