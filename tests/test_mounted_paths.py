"""A path below a mount means what is mounted there, however it is written, for every command that takes one."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
import zarr

from mounting import BINARY, configuration, daemons, emfs, mounted, wait_for

CHUNK = "em.zarr/s0/0/0/0"


@pytest.fixture
def work(demo, tmp_path):
    """A directory beside a link to the mount of the demo."""
    (tmp_path / "link").symlink_to(demo.mount.path)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def ways(demo, work, path):
    """(working directory, spelling) of a path in the mount."""
    yield work, demo.mount / path
    yield work, f"../link/{path}"
    yield work, f"{demo.mount.path}/../{demo.mount.path.name}/./{path}"
    yield demo.mount.path, path
    yield demo.mount.path, f"./{path}"
    dataset, _, rest = path.partition("/")
    yield demo.mount / dataset, path
    if rest:
        yield demo.mount / dataset, rest
    other = "idr-9846137" if dataset != "idr-9846137" else "hemibrain"
    yield demo.mount / other / "em.zarr", f"../../{path}"


def test_locate_finds_the_blocks_of_the_mount_s_own_server(demo, work):
    told = {emfs("locate", spelling, "--json", cwd=at).stdout for at, spelling in ways(demo, work, f"hemibrain/{CHUNK}")}
    (text,) = told
    assert json.loads(text)["path"] == f"hemibrain/{CHUNK}"
    assert all(block["url"].startswith("http://127.0.0.1:") for block in json.loads(text)["blocks"])


def test_explain_says_what_the_mount_shows(demo, work):
    name = "hemibrain/em.crop-z0-10_y0-20_x0-30.zarr"
    (told,) = {emfs("explain", spelling, cwd=at).stdout for at, spelling in ways(demo, work, name)}
    assert told.startswith(f"{name}: image em") and "10×20×30 voxels" in told


def test_crop_draws_from_the_image_that_is_mounted(demo, work):
    """The built-in catalogue has another box of tissue than the small replica."""
    (told,) = {emfs("crop", spelling, "--size", 20, "--seed", 3, cwd=at).stdout for at, spelling in ways(demo, work, "hemibrain")}
    assert os.path.isdir(demo.mount / told.strip())


def test_export_writes_what_is_mounted(demo, work):
    name = "hemibrain/em.crop-z3-20_y5-25_x0-30.numbered.v3.zarr"
    for number, (at, spelling) in enumerate(ways(demo, work, name)):
        emfs("export", spelling, work / f"{number}.zarr", "--cache-size", 0, cwd=at)
        assert sorted(zarr.open_group(work / f"{number}.zarr", mode="r").array_keys()) == ["0", "1", "2"]
        for level in "012":
            found, expected = (zarr.open_array(store / level, mode="r")[:] for store in (work / f"{number}.zarr", demo.mount / name))
            assert np.array_equal(found, expected), (spelling, level)


def test_warm_keeps_in_the_cache_of_the_mount(scene, tmp_path):
    with scene.mounted() as mount:
        (tmp_path / "work").mkdir()
        spelling = os.path.relpath(mount / "itk" / CHUNK, tmp_path / "work")
        # Not by `emfs`, which names a cache.
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "other")}
        subprocess.run([BINARY, "warm", spelling, "--quiet"], check=True, timeout=60, cwd=tmp_path / "work", env=environment)
        assert not (tmp_path / "other").exists()
        (block, *_) = json.loads(emfs("locate", mount / "itk" / CHUNK, "--json").stdout)["blocks"]
        assert block["kept"] == block["length"]


def test_a_configuration_that_changed_since_the_mount_is_not_taken(scene, tmp_path):
    with scene.mounted() as mount:
        before = emfs("explain", mount / "itk" / "em.zarr").stdout
        mount.config_file.write_text("changed")
        assert emfs("explain", mount / "itk" / "em.zarr").stdout == before


def test_status_takes_a_path_below_the_mount(demo, work):
    for at, spelling in ways(demo, work, "hemibrain/em.zarr"):
        if os.path.lexists(os.path.join(at, spelling)):
            assert json.loads(emfs("status", spelling, "--json", cwd=at).stdout)["mountpoint"] == str(demo.mount.path)


def test_what_cannot_be_reached_fails_in_seconds_with_one_sentence(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[[dataset]]\nname = "far"\nsource = { kind = "precomputed", url = "http://127.0.0.1:9/volume" }\n')
    for command in (["explain", "far/em.zarr"], ["locate", f"far/{CHUNK}"], ["crop", "far", "--size", "10"]):
        begin = time.monotonic()
        done = emfs(*command, "--config", config, "--cache-size", "0", check=False)
        assert done.returncode == 1 and time.monotonic() - begin < 20
        assert len(done.stderr.strip().splitlines()) == 1 and "127.0.0.1:9" in done.stderr, done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="a bind mount needs root")
@pytest.mark.parametrize("part", ["hemibrain", "hemibrain/em.zarr"])
def test_a_path_in_a_bind_mount_of_a_part_means_what_is_there(demo, tmp_path, part):
    """As containers are given one dataset."""
    bound = tmp_path / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", demo.mount / part, bound], check=True)
    try:
        chunk = f"hemibrain/{CHUNK}"
        for at, spelling in ((tmp_path, bound / chunk.removeprefix(f"{part}/")), (bound, chunk.removeprefix(f"{part}/"))):
            told = json.loads(emfs("locate", spelling, "--json", cwd=at).stdout)
            assert told["path"] == chunk and told["blocks"]
        assert "image em" in emfs("explain", bound if "zarr" in part else bound / "em.zarr").stdout
    finally:
        subprocess.run(["umount", bound], check=True)


@pytest.mark.parametrize("command", ["warm", "locate", "explain", "export"])
def test_of_a_mount_whose_daemon_has_died_each_command_says_so_and_what_to_do(tmp_path, command):
    with mounted(tmp_path / "m", configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}})) as mount:
        os.kill(mount.pid, signal.SIGKILL)
        wait_for(lambda: not daemons(mount.path), 10, "the daemon's end")
        more = [tmp_path / "copy"] if command == "export" else []
        done = emfs(command, mount / "v" / "em.zarr", *more, check=False)
        assert done.returncode == 1 and "does not listen; if it has died" in done.stderr and f"`emfs umount {mount.path}`" in done.stderr, done.stderr
