"""The commands: what they print, with which exit code they end, and what they say when something is wrong."""

import json
import os
import re
import signal
import subprocess
import tomllib

import pytest

import reference_volumes
from mounting import BINARY, clean_up, configuration, daemons, emfs, is_mounted, mounted, wait_for

COMMANDS = ["mount", "umount", "status", "datasets", "demo"]
VALID = configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}})


def sentence(done, *words, code=1):
    """The command failed with the code and one message that has the words, without a panic or a trace."""
    assert done.returncode == code, f"{done.returncode}: {done.stderr}"
    assert done.stdout == ""
    assert "panicked" not in done.stderr and "RUST_BACKTRACE" not in done.stderr
    if code == 1:
        assert len(done.stderr.strip().splitlines()) <= 4, done.stderr
    for word in words:
        assert re.search(word, done.stderr, re.I), f"{word!r} is not in: {done.stderr}"


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(VALID)
    return file


def test_help_names_every_command_and_has_examples():
    text = emfs("--help").stdout
    assert "example" in text.lower()
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\b", text, re.M), command
        own = emfs(command, "--help").stdout
        assert re.search(rf"^Usage: emfs {command}\b", own, re.M), command


def test_version():
    assert re.fullmatch(r"emfs \d+\.\d+\.\d+.*\n", emfs("--version").stdout)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["mount"], ["mount", "--nonsense", "/x"], ["umount"], ["status"], ["status", "/x", "/y"]])
def test_wrong_usage_is_exit_code_2(arguments):
    done = emfs(*arguments, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr.lower()


@pytest.mark.parametrize("option", [["--memory", "lots"], ["--memory", "-1"], ["--memory", "12T"], ["--memory", "99999999999G"], ["--timeout", "soon"], ["--timeout", "-3"]])
def test_a_bad_value_of_an_option_is_exit_code_2_and_names_it(tmp_path, option):
    (tmp_path / "m").mkdir()
    done = emfs("mount", tmp_path / "m", *option, check=False)
    sentence(done, option[0], code=2)
    assert not is_mounted(tmp_path / "m")


def test_a_missing_mountpoint_is_a_sentence(tmp_path, config):
    sentence(emfs("mount", tmp_path / "none", "--config", config, check=False), "none", "does not exist|no such|mkdir")


def test_a_file_as_mountpoint_is_a_sentence(tmp_path, config):
    sentence(emfs("mount", config, "--config", config, check=False), "config.toml", "director|folder")


def test_a_mountpoint_that_is_not_empty_is_a_sentence(tmp_path, config):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "file").write_text("mine")
    sentence(emfs("mount", tmp_path / "m", "--config", config, check=False), "is not empty; name an empty directory")
    assert (tmp_path / "m" / "file").read_text() == "mine"


@pytest.mark.parametrize("option", ["--log", "--cache-dir"])
def test_what_emfs_writes_may_not_lie_in_the_mountpoint_and_nothing_is_left_there(tmp_path, config, option):
    (tmp_path / "m").mkdir()
    done = emfs("mount", tmp_path / "m", "--config", config, option, tmp_path / "m" / "x", check=False)
    sentence(done, option, "lies in the mountpoint", code=2)
    assert list((tmp_path / "m").iterdir()) == []


def mounting_behind(hiding, mountpoint, config):
    """A mount where a shell command has hidden something, in a mount namespace of its own."""
    hidden = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{hiding} && exec "$@"', "sh"]
    return subprocess.run([*hidden, BINARY, "mount", mountpoint, "--config", config], capture_output=True, text=True, timeout=60)


def test_without_the_table_of_mounts_it_is_that_what_is_missing(tmp_path, config):
    if os.getuid() != 0:
        pytest.skip("hiding /proc needs root")
    (tmp_path / "m").mkdir()
    hidden = mounting_behind("umount -l /proc", tmp_path / "m", config)
    sentence(hidden, "/proc/self/mountinfo", "mount /proc")


def test_a_mount_that_cannot_start_leaves_no_dead_mount_behind(tmp_path, config):
    (tmp_path / "m").mkdir()
    for kib in range(140_000, 700_000, 40_000):
        limited = ["sh", "-c", f'ulimit -v {kib}; exec "$@"', "sh", BINARY, "mount", tmp_path / "m", "--config", config, "--log", tmp_path / "log"]
        done = subprocess.run(limited, capture_output=True, text=True, timeout=60, env=os.environ | {"XDG_STATE_HOME": str(tmp_path)})
        assert done.returncode == 0 or not is_mounted(tmp_path / "m"), f"{kib} KiB: {done.stderr}"
        clean_up(tmp_path / "m")


def test_a_second_mount_at_the_same_place_is_a_sentence(tmp_path):
    with mounted(tmp_path, VALID) as mount:
        sentence(emfs("mount", mount.path, "--config", mount.config_file, check=False), "already|mounted|in use")
        assert os.listdir(mount.path)


def test_of_mounts_that_begin_at_once_at_one_place_one_mounts(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "config.toml").write_text(VALID)
    command = [BINARY, "mount", tmp_path / "m", "--config", tmp_path / "config.toml", "--cache-size", "0", "--log", tmp_path / "log"]
    for _ in range(4):
        started = [subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) for _ in range(4)]
        try:
            said = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
            assert sorted(code for _, code in said) == [0, 1, 1, 1], said
            assert all("mounted" in text for text, code in said if code), said
        finally:
            emfs("umount", tmp_path / "m")
        assert not is_mounted(tmp_path / "m")


def test_a_missing_configuration_is_a_sentence(tmp_path):
    (tmp_path / "m").mkdir()
    sentence(emfs("mount", tmp_path / "m", "--config", tmp_path / "none.toml", check=False), "none.toml")


def test_mount_without_the_device_is_a_sentence(tmp_path, config):
    if os.getuid() != 0:
        pytest.skip("hiding /dev/fuse needs root")
    (tmp_path / "m").mkdir()
    hidden = mounting_behind("mount -t tmpfs none /dev", tmp_path / "m", config)
    sentence(hidden, "/dev/fuse is missing")


def test_datasets_lists_the_built_in_ones_without_network():
    environment = os.environ | {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}
    text = emfs("datasets", env=environment).stdout
    for name in ("idr-9846137", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"):
        assert name in text
    entries = json.loads(emfs("datasets", "--json", env=environment).stdout)
    entries = entries["datasets"] if isinstance(entries, dict) else entries
    assert {"idr-9846137", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"} <= {entry.get("name") or entry.get("dataset") for entry in entries}


def test_datasets_toml_is_a_configuration_that_can_be_used(tmp_path):
    text = emfs("datasets", "--toml").stdout
    parsed = tomllib.loads(text)
    assert {"idr-9846137", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"} <= {dataset["name"] for dataset in parsed["dataset"]}
    (tmp_path / "own.toml").write_text(text)
    assert emfs("datasets", "--config", tmp_path / "own.toml").stdout == emfs("datasets").stdout


def test_datasets_shows_a_dash_for_what_is_unknown_and_asks_the_sources_with_probe(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = reference_volumes.itk(tmp_path / "files", "v", (7, 23, 29), "u2", 1)
    origin = serve(tmp_path / "files")
    file = tmp_path / "config.toml"
    file.write_text(configuration({"v": reference_volumes.source_at(volume, origin)}))
    text = emfs("datasets", "--config", file).stdout
    assert "-" in text.split() and origin.requests == []
    probed = emfs("datasets", "--config", file, "--probe").stdout
    assert origin.requests
    for word in ("7", "23", "29", "uint16"):
        assert re.search(rf"\b{word}\b", probed), probed
    assert json.loads(emfs("datasets", "--config", file, "--probe", "--json").stdout)
    origin.stop()
    gone = emfs("datasets", "--config", file, "--probe", check=False, timeout=120)
    assert "panicked" not in gone.stderr


def test_what_is_recorded_is_shown_with_a_mark_and_the_file_counts_when_it_is_opened(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = reference_volumes.itk(tmp_path / "files", "v", (7, 23, 29), "u2", 1)
    origin = serve(tmp_path / "files")
    recorded = {"shape": [7, 23, 30], "dtype": "uint16", "certainty": "uncertain", "reference": "https://example.org/paper"}
    config = configuration({"v": reference_volumes.source_at(volume, origin) | {"recorded": recorded}})
    (tmp_path / "config.toml").write_text(config)
    text = emfs("datasets", "--config", tmp_path / "config.toml").stdout
    assert "7×23×30*" in text and "uint16*" in text and origin.requests == []
    [row] = json.loads(emfs("datasets", "--config", tmp_path / "config.toml", "--json").stdout)
    assert row["shape"] == [7, 23, 30] and row["recorded"] == ["shape", "dtype"] and row["certainty"] == "uncertain"
    probed = emfs("datasets", "--config", tmp_path / "config.toml", "--probe").stdout
    assert "7×23×29 " in probed and "*" not in probed, probed
    with mounted(tmp_path / "m", config) as mount:
        assert json.loads((mount / "v" / "em.zarr" / "s0" / ".zarray").read_text())["shape"] == [7, 23, 29]
        [line] = [line for line in mount.log.splitlines() if "is recorded" in line]
        assert "v/em" in line and "[7, 23, 30]" in line and "[7, 23, 29]" in line, line


def test_sources_that_cannot_be_shown_are_told_apart_from_those_that_do_not_answer(tmp_path, serve):
    import numpy as np
    import tifffile

    files = tmp_path / "files"
    files.mkdir()
    volume = reference_volumes.itk(files, "v", (7, 23, 29), "u2", 1)
    tifffile.imwrite(files / "colours.tif", np.zeros((4, 16, 16, 3), "u1"), photometric="rgb")
    origin = serve(files)
    sources = {"v": reference_volumes.source_at(volume, origin), "colours": {"kind": "tiff", "url": f"{origin.url}/colours.tif"},
               "silent": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}}
    file = tmp_path / "config.toml"
    file.write_text(configuration(sources))
    for command in (["datasets", "--probe"], ["metadata"]):
        done = emfs(*command, "--config", file, check=False, timeout=120)
        assert done.returncode == 1 and "1 of 3 sources did not answer, 1 of 3 sources cannot be shown" in done.stderr, done.stderr


@pytest.mark.parametrize("arguments", [["datasets"], ["datasets", "--json"], ["datasets", "--toml"], ["--help"], ["mount", "--help"]])
def test_output_into_a_closed_pipe_does_not_panic(arguments):
    for consumer in ("true", "head -0", "head -c 1"):
        done = subprocess.run(["bash", "-c", f'set -o pipefail; "$0" "$@" | {consumer}', BINARY, *arguments], capture_output=True, text=True, timeout=30)
        assert "panicked" not in done.stderr and done.returncode in (0, 1, 128 + signal.SIGPIPE), done.stderr


def test_mount_returns_once_the_tree_answers_and_leaves_one_daemon(tmp_path):
    with mounted(tmp_path, VALID) as mount:
        assert os.listdir(mount.path)
        assert len(daemons(mount.path)) == 1


def test_the_daemon_does_not_keep_open_what_its_caller_had(tmp_path, config):
    (tmp_path / "m").mkdir()
    reader, writer = os.pipe()
    try:
        emfs("mount", tmp_path / "m", "--config", config, "--log", tmp_path / "log", pass_fds=[writer])
        os.close(writer)
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b"", "nobody has the other end any more"
        assert daemons(tmp_path / "m")
    finally:
        os.close(reader)
        clean_up(tmp_path / "m")


def test_a_mountpoint_may_follow_two_dashes(tmp_path, config):
    (tmp_path / "-m").mkdir()
    try:
        emfs("mount", "--config", config, "--log", tmp_path / "log", "--", "-m", cwd=tmp_path)
        assert is_mounted(tmp_path / "-m")
        emfs("umount", "--", "-m", cwd=tmp_path)
    finally:
        clean_up(tmp_path / "-m")


def test_the_daemon_lets_go_of_the_terminal_and_of_the_working_folder(tmp_path):
    with mounted(tmp_path, VALID) as mount:
        for number in (0, 1, 2):
            assert not os.readlink(f"/proc/{mount.pid}/fd/{number}").startswith(("/dev/pts", "pipe:"))
        assert os.readlink(f"/proc/{mount.pid}/cwd") == "/"
        assert os.getsid(mount.pid) == mount.pid or os.getsid(mount.pid) != os.getsid(0)


def test_status_is_for_people_and_as_json(tmp_path):
    with mounted(tmp_path, VALID) as mount:
        assert "request" in emfs("status", mount.path).stdout.lower()
        assert {"fuse", "hosts", "cache", "memory", "failures"} <= set(mount.status())


def test_status_and_umount_of_what_is_not_mounted_are_sentences(tmp_path):
    for command in ("status", "umount"):
        sentence(emfs(command, tmp_path, check=False), re.escape(str(tmp_path)))
        sentence(emfs(command, tmp_path / "none", check=False), "none")


def test_umount_of_a_busy_mount_says_so_and_it_goes_on(tmp_path):
    with mounted(tmp_path, VALID) as mount:
        descriptor = os.open(mount.path, os.O_RDONLY)
        try:
            done = emfs("umount", mount.path, check=False)
            if done.returncode:
                sentence(done, "busy|in use")
                assert os.listdir(mount.path)
        finally:
            os.close(descriptor)


def test_only_the_named_datasets_are_mounted(tmp_path):
    two = configuration({name: {"kind": "tiff", "url": f"http://127.0.0.1:9/{name}.tif"} for name in ("one", "two", "three")})
    with mounted(tmp_path, two, "--dataset", "one", "--dataset", "three") as mount:
        assert {"one", "three"} <= set(os.listdir(mount.path)) and "two" not in os.listdir(mount.path)


def test_an_unknown_dataset_is_a_sentence(tmp_path, config):
    (tmp_path / "m").mkdir()
    sentence(emfs("mount", tmp_path / "m", "--config", config, "--dataset", "other", check=False), "other")


def test_the_built_in_catalogue_mounts_without_network(tmp_path):
    path = tmp_path / "m"
    path.mkdir()
    try:
        emfs("mount", path, "--log", tmp_path / "log")
        assert {"idr-9846137", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"} <= set(os.listdir(path))
        assert {"em.zarr", "training.zarr", "testing.zarr"} <= set(os.listdir(path / "epfl-hippocampus"))
        status = json.loads(emfs("status", path, "--json").stdout)
        assert sum(host["requests"] for host in status["hosts"].values()) == 0
    finally:
        clean_up(path)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unmounts(tmp_path, config, how):
    path = tmp_path / "m"
    path.mkdir()
    try:
        with subprocess.Popen([BINARY, "mount", path, "--config", config, "--foreground"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as daemon:
            wait_for(lambda: is_mounted(path) and os.listdir(path), 20, "the mount")
            daemon.send_signal(how)
            _, log = daemon.communicate(timeout=20)
            assert daemon.returncode == 0, log
        assert not is_mounted(path)
    finally:
        clean_up(path)


def test_the_log_lies_under_the_state_folder_unless_named(tmp_path, config):
    path = tmp_path / "m"
    path.mkdir()
    try:
        emfs("mount", path, "--config", config, env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")})
        assert list((tmp_path / "state" / "emfs").iterdir())
    finally:
        clean_up(path)


def test_a_relative_mountpoint_and_a_path_with_spaces_work(tmp_path, config):
    path = tmp_path / "my data"
    path.mkdir()
    try:
        emfs("mount", "my data", "--config", config, "--log", tmp_path / "log", cwd=tmp_path)
        assert os.listdir(path)
        emfs("status", "my data/", cwd=tmp_path)
        emfs("umount", "my data", cwd=tmp_path)
        wait_for(lambda: not is_mounted(path), 10, "unmounting")
    finally:
        clean_up(path)


def test_files_of_this_machine_are_sources_too(tmp_path):
    import expected

    files = tmp_path / "files"
    files.mkdir()
    stack = reference_volumes.imagej(files, "stack", (9, 40, 50), "u2", 1)
    group = reference_volumes.zarr_group(files, "group", shape=(9, 20, 30), dtype="<i2", chunks=(8, 8, 8), seed=2)
    text = configuration({
        "path": {"kind": "tiff", "url": f"{files}/stack.tif"}, "relative": {"kind": "tiff", "url": "../files/stack.tif"},
        "file-url": {"kind": "tiff", "url": f"file://{files}/stack.tif"}, "group": {"kind": "zarr", "url": f"{files}/group.zarr"},
    })
    with mounted(tmp_path / "mount", text) as mount:
        for name, volume in (("path", stack), ("relative", stack), ("file-url", stack), ("group", group)):
            assert (mount / name / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes() == expected.chunk_bytes(volume.levels[0], volume.chunk[0], (0, 0, 0)), name


def test_warming_files_of_this_machine_is_done_at_once(tmp_path):
    stack = reference_volumes.imagej(tmp_path, "stack", (9, 40, 50), "u2", 1)
    reference_volumes.zarr_group(tmp_path, "group", shape=(9, 20, 30), dtype="<i2", chunks=(8, 8, 8), seed=2)
    config = tmp_path / "config.toml"
    config.write_text(configuration({
        "path": {"kind": "tiff", "url": str(tmp_path / stack.file)}, "group": {"kind": "zarr", "url": str(tmp_path / "group.zarr")},
    }))
    done = emfs("warm", "path", "group", "--config", config, "--cache-dir", tmp_path / "cache")
    assert done.stderr == "" and "0 B fetched" in done.stdout
    blocks, local = (re.search(pattern, done.stdout, re.M).group(1) for pattern in (r"^(\d+) blocks, 0 of them", r"^(\d+) blocks are in files of this machine"))
    assert int(blocks) >= int(local) > 0


def test_of_scales_without_a_unit_the_ratio_is_shown_and_the_log_says_so(tmp_path):
    volume = reference_volumes.zarr_group(tmp_path, "z", shape=(20, 20, 20), dtype="uint8", chunks=(10, 10, 10), levels=1, seed=1)
    document = tmp_path / volume.file / ".zattrs"
    attributes = json.loads(document.read_text())
    for axis in attributes["multiscales"][0]["axes"]:
        del axis["unit"]
    document.write_text(json.dumps(attributes))
    with mounted(tmp_path / "mount", configuration({"v": {"kind": "zarr", "url": str(document.parent)}})) as mount:
        image = json.loads((mount / "v" / "em.zarr" / ".zattrs").read_bytes())["multiscales"][0]
        scale = image["datasets"][0]["coordinateTransformations"][0]["scale"]
        assert scale == pytest.approx([size / min(volume.scale[0]) for size in volume.scale[0]]) and "unit" not in image["axes"][0]
        assert mount.log.count("have no unit") == 1, mount.log


def test_a_voxel_size_that_a_file_says_along_two_axes_is_completed_and_not_overruled(tmp_path):
    import numpy
    import tifffile

    stack = numpy.zeros((4, 20, 30), "u1")
    # No spacing: the file says 8 nm along y and x, and ImageJ takes a depth of one unit unless somebody says another.
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, resolution=(1 / 8, 1 / 8), metadata={"unit": "nm", "axes": "ZYX"})
    url = f"{tmp_path}/stack.tif"
    sources = {"gap": [30, 8, 8], "disagrees": [30, 4, 4], "silent": None}
    text = configuration({
        name: {"kind": "tiff", "url": url} | ({"voxel_size": size} if size else {}) for name, size in sources.items()})
    with mounted(tmp_path / "mount", text) as mount:
        def scale(name):
            image = json.loads((mount / name / "em.zarr" / ".zattrs").read_bytes())["multiscales"][0]
            return image["datasets"][0]["coordinateTransformations"][0]["scale"], image["axes"][0].get("unit")

        assert scale("gap") == ([30, 8, 8], "nanometer")
        assert scale("disagrees") == ([30, 8, 8], "nanometer")
        assert scale("silent") == ([1, 8, 8], "nanometer"), "as ImageJ shows it"
        warnings = [line for line in mount.log.splitlines() if "voxel size" in line]
        assert len(warnings) == 1 and "disagrees/em" in warnings[0], mount.log


def test_verbose_logs_more(tmp_path):
    with mounted(tmp_path / "quiet", VALID) as quiet:
        os.listdir(quiet.path)
    with mounted(tmp_path / "loud", VALID, "-v", "-v", "-v") as loud:
        os.listdir(loud.path)
    assert len(loud.log) > len(quiet.log)
