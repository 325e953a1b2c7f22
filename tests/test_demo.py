"""`emfs demo`: the replica, mounted, shown and cleaned up."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import tomllib
import urllib.parse
import urllib.request

import pytest

import replica
from mounting import BINARY, daemons, emfs, is_mounted, wait_for

DATASETS = {"idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"}


@pytest.fixture
def temporary(tmp_path):
    """The environment of a demo that has temporary folders of its own, and that folder: only its mounts count, since
    others may have a demo of theirs running."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return os.environ | {"TMPDIR": str(folder)}, folder


def mounts_below(folder):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return [place for place in (line.split()[4] for line in lines) if pathlib.Path(place).is_relative_to(folder)]


def check_picture(text):
    """The PNG that the text names exists and is a picture of several tones."""
    from PIL import Image

    (path,) = set(re.findall(r"(/\S+\.png)", text))
    with Image.open(path) as picture:
        assert picture.width > picture.height > 50
        low, high = picture.convert("L").getextrema()
        assert high - low > 50
    return pathlib.Path(path)


def test_once_shows_everything_and_leaves_nothing_behind(tmp_path, temporary):
    environment, folder = temporary
    done = emfs("demo", "--once", timeout=120, cwd=tmp_path, env=environment)
    assert f"mounted at {folder}/" in done.stdout and not mounts_below(folder)
    for name in DATASETS:
        assert name in done.stdout
    for word in ("zarr", "tensorstore", "napari"):
        assert word in done.stdout.lower()
    picture = check_picture(done.stdout + done.stderr)
    assert [path for path in folder.rglob("*") if path.is_file()] == [picture]


@contextlib.contextmanager
def running(tmp_path, **options):
    """A demo at a place of one's own, which has to end well by what is done to it."""
    path = tmp_path / "em"
    path.mkdir()
    demo = subprocess.Popen([BINARY, "demo", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, **options)
    try:
        wait_for(lambda: is_mounted(path), 60, "the mount")
        yield demo, path
        out, _ = demo.communicate(timeout=30)
        assert demo.returncode == 0, out
        assert not is_mounted(path) and not daemons(path)
    finally:
        demo.kill()
        if is_mounted(path):
            subprocess.run(["umount", "-l", path], check=False)


def test_it_mounts_where_it_is_told_and_ctrl_c_cleans_up(tmp_path):
    with running(tmp_path) as (demo, path):
        wait_for(lambda: {entry.name for entry in path.iterdir()} >= DATASETS, 20, "the datasets")
        assert (path / "jrc_mus-nacc-2" / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()
        demo.send_signal(signal.SIGINT)


@pytest.mark.parametrize("hang_up", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_hang_up_leaves_no_dead_mount(tmp_path, hang_up):
    with running(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, hang_up)) as (demo, path):
        demo.send_signal(signal.SIGHUP)
        if hang_up == signal.SIG_IGN:
            with pytest.raises(subprocess.TimeoutExpired):
                demo.wait(3)
            assert {entry.name for entry in path.iterdir()} >= DATASETS
            demo.send_signal(signal.SIGTERM)


def test_into_a_closed_pipe_it_does_not_panic(tmp_path, temporary):
    environment, folder = temporary
    with running(tmp_path, stdin=subprocess.DEVNULL) as (of_somebody_else, place):
        done = subprocess.run(
            ["bash", "-c", '"$0" demo --once | head -1', BINARY], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)
        assert f"mounted at {folder}/" in done.stdout and "panicked" not in done.stderr
        wait_for(lambda: not mounts_below(folder), 20, "no mount is left")
        assert is_mounted(place), "that of somebody else stays"
        of_somebody_else.send_signal(signal.SIGINT)


def test_the_replica_answers_on_loopback_only_and_in_the_shapes_of_the_archives(tmp_path):
    with replica.served(tmp_path / "log") as config:
        parsed = tomllib.loads(config)
        assert {dataset["name"] for dataset in parsed["dataset"]} == DATASETS
        kinds = {dataset["name"]: dataset["source"] for dataset in parsed["dataset"]}
        assert kinds["hemibrain"]["kind"] == "precomputed"
        assert kinds["idr-9846137"]["kind"] == "idr" and kinds["epfl-hippocampus"]["kind"] == "tiff" and kinds["jrc_mus-nacc-2"]["kind"] == "zarr"
        server = urllib.parse.urlsplit(kinds["idr-9846137"]["server"])
        assert server.hostname in ("127.0.0.1", "localhost")
        url = replica.idr_file(kinds["idr-9846137"])
        whole = replica.fetch(url)
        request = f"GET {urllib.parse.urlsplit(url).path} HTTP/1.1\r\nHost: x\r\nRange: bytes=10-29\r\nConnection: close\r\n\r\n"
        with socket.create_connection((server.hostname, server.port), timeout=5) as connection:
            connection.sendall(request.encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 206 " in head.splitlines()[0] and f"bytes 10-29/{len(whole)}".encode() in head
        assert body == whole[10:30]
    assert re.search(r"GET .* 206", (tmp_path / "log").read_text())


def test_without_a_mount_it_says_where_the_same_is_a_page(tmp_path):
    with replica.served(tmp_path / "log") as config:
        page, command = re.findall(r"^# .*: (.+)$", config, re.M)[-2:]
        with urllib.request.urlopen(page) as answer:
            text = answer.read().decode()
        assert all(f'href="{name}/em/"' in text for name in DATASETS)
        link = emfs(*command.split()[1:-1]).stdout
        assert command.endswith(" --open") and "#!" in link and f"{page}hemibrain/em.zarr" in urllib.parse.unquote(link)


@pytest.mark.parametrize("image", ["em", "training", "testing"])
def test_the_replica_has_the_images_of_epfl(demo, image):
    assert ("epfl-hippocampus", image, None) in demo.truth
    assert all(volume.levels[0].size > 1000 for volume in demo.truth.values())


def test_the_replica_of_idr_is_found_through_omero(demo):
    (demo.mount / "idr-9846137" / "em.zarr" / ".zattrs").read_text()
    log = demo.log_file.read_text()
    assert "original_file_paths" in log and "/api/v0/m/images/" in log
