"""The commands about what is kept on disk: warm, cache, locate."""

import contextlib
import json
import os
import random
import re
import subprocess

import expected
from cached_scene import MIB, size
from mounting import BINARY, emfs, wait_for
from origin import Fault


def test_warming_makes_a_box_available_offline_and_a_second_run_fetches_nothing(scene):
    done = scene.emfs("warm", "zarr/em.zarr", "--level", "s0", "--box", "z0-64_y0-64_x0-256")
    assert re.search(r"^16 blocks, 0 of them kept before; .* fetched in", done.stdout)
    scene.origin.forget()
    again = scene.emfs("warm", "zarr", "--level", "s0", "--box", "z0-64_y0-64_x0-256")
    assert "16 blocks, 16 of them kept before; 0 B fetched" in again.stdout
    assert scene.origin.requests == []
    inside = [("zarr", (z, y, x)) for z in range(2) for y in range(2) for x in range(4)]
    with scene.mounted("--offline") as mount:
        scene.check(mount, inside)
        assert scene.found(mount, "zarr", (3, 3, 3)) == "EIO"
    # A mount that is there has it at once.
    with scene.mounted() as mount:
        scene.check(mount, inside)
        scene.emfs("warm", "itk")
        scene.origin.forget()
        scene.check(mount, [chunk for chunk in scene.chunks() if chunk[0] == "itk"])
        assert scene.origin.requests == []


def test_warming_reads_lists_and_tells_all_that_failed(scene):
    chosen = random.Random(2).sample(scene.chunks(), 30)
    listed = "\n".join(["# chunks of a job", "", *(f"{name}/em.v3.zarr/s0/c/{expected.chunk_path(index)}" for name, index in chosen), "zarr/em.zarr/.zattrs"])
    done = subprocess.run(
        [BINARY, "warm", "--list", "-", "--config", scene.config_file, "--cache-dir", scene.cache],
        input=listed, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    with scene.mounted("--offline") as mount:
        scene.check(mount, chosen)
    scene.cache_emfs("clear")
    scene.origin.fault = lambda request: Fault("status", 403) if "/s0/" in request.path and not request.path.endswith(".zarray") else None
    failed = scene.emfs("warm", "zarr", "--level", "s0", check=False)
    assert failed.returncode == 1
    lines = [line for line in failed.stderr.splitlines() if line.startswith("zarr/em s0 block ")]
    assert len(lines) == 4 * 4 * 4 and all("access denied" in line for line in lines)
    for wrong, reason in [("zarr/nothing", "no image"), ("zarr/em.zarr/s9", "there is no level"), ("nowhere", "no dataset")]:
        refused = scene.emfs("warm", wrong, check=False)
        assert refused.returncode == 1 and reason in refused.stderr, refused.stderr
    assert "no cache" in emfs("warm", "zarr", "--config", scene.config_file, "--cache-size", "0", check=False).stderr


def test_warming_ends_with_one_sentence_where_no_more_can_be_kept(scene, tmpfs):
    blocks = sum(name == "zarr" for name, _ in scene.chunks())
    scene.emfs("warm", "zarr", "--level", "s0", "--box", "z0-64_y0-64_x0-64")
    scene.cache_emfs("clear")
    for place, wanted, reason in [((scene.cache, "--cache-size", "2M"), 8, "larger --cache-size or disk"), ((tmpfs / "cache",), 0, "larger --cache-size or disk|full|free|few|not kept")]:
        if wanted == 0:
            with open(tmpfs / "filler", "wb") as filler, contextlib.suppress(OSError):
                while filler.write(bytes(64 << 10)):
                    filler.flush()
            os.truncate(tmpfs / "filler", os.path.getsize(tmpfs / "filler") - MIB)
        scene.origin.forget()
        done = emfs("warm", "zarr", "--level", "s0", "--config", scene.config_file, "--cache-dir", *place, check=False)
        assert done.returncode == 1
        told = [line for line in done.stderr.splitlines() if line.startswith("zarr/em s0 block ")]
        assert len(told) == 1 and re.search(reason, told[0]), done.stderr
        voxels = [request.path for request in scene.origin.requests if "/s0/" in request.path and not request.path.endswith(".zarray")]
        # Blocks of the display window are read apart from that.
        assert len(voxels) <= 2 * len(set(voxels)), "something was fetched again"
        assert wanted <= len(set(voxels)) < blocks, f"{len(set(voxels))} of {blocks}"
        if wanted:
            # What was fetched is there.
            again = emfs("warm", "zarr", "--level", "s0", "--config", scene.config_file, "--cache-dir", *place, check=False)
            kept = int(re.search(r"(\d+) of them kept before", again.stdout)[1])
            assert kept >= wanted, again.stdout


def test_of_named_levels_those_that_there_are_are_fetched_and_the_others_told(scene):
    done = scene.emfs("warm", "zarr", "--level", "s0,s9")
    assert "has no level s9" in done.stderr and not done.stdout.startswith("0 blocks")
    with scene.mounted("--offline") as mount:
        scene.check(mount, [chunk for chunk in scene.chunks() if chunk[0] == "zarr"])
    refused = scene.emfs("warm", "zarr", "--level", "s8,s9", check=False)
    assert refused.returncode == 1 and "there is no level s8" in refused.stderr


def test_a_bad_line_of_a_list_is_told_by_its_place_and_does_not_stop_the_others(scene):
    file = scene.folder / "chunks.txt"
    file.write_text("# a job\nnowhere/em.zarr\n\nzarr/em.zarr/s0/0/0/0\nzarr/em.zarr/s9\nzarr/nothing\nzarr/em.zarr/s0/99\nzarr/em.zarr/s0/0/0/1\n")
    done = scene.emfs("warm", "--list", file, check=False)
    assert done.returncode == 1 and done.stdout.startswith("2 blocks, 0 of them kept before")
    for line, reason in [(2, "no dataset `nowhere`"), (5, "no level s9"), (6, "no image `nothing`"), (7, "no chunk 99")]:
        assert any(told.startswith(f"{file}:{line}: ") and reason in told for told in done.stderr.splitlines()), done.stderr
    assert "4 could not be fetched" in done.stderr
    with scene.mounted("--offline") as mount:
        scene.check(mount, [("zarr", (0, 0, 0)), ("zarr", (0, 0, 1))])
    only = subprocess.run([BINARY, "warm", "--list", "-", "--config", scene.config_file, "--cache-dir", scene.cache],
                          input="zarr/nothing\n", capture_output=True, text=True, timeout=60, check=False)
    assert only.returncode == 1 and "-:1: " in only.stderr


def in_a_terminal(*arguments):
    """Everything that a command writes into a terminal of 100 columns, and its exit code."""
    import pty

    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm"
        os.execv(BINARY, [str(argument) for argument in (BINARY, *arguments)])
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    written = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            written += piece
    os.close(terminal)
    return written.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_a_bar_is_shown_in_a_terminal_only_and_never_when_quiet(scene):
    scene.origin.latency = 0.1
    arguments = ["--config", scene.config_file, "--cache-dir", scene.cache]
    text, code = in_a_terminal("warm", "zarr", "--level", "s0", *arguments)
    assert code == 0
    assert re.search(r"\d+/64 blocks, [\d.]+ [KM]?i?B, [\d.]+ [KM]?i?B/s, \S+ left", text), text
    assert "64 blocks, 0 of them kept before" in text
    text, code = in_a_terminal("warm", "itk", "--quiet", *arguments)
    assert (text, code) == ("", 0)
    scene.cache_emfs("clear")
    piped = scene.emfs("warm", "zarr")
    lines = piped.stdout.splitlines()
    assert piped.stderr == "" and len(lines) == 2 and lines[1].startswith("zarr: ") and "absent" in lines[1]
    text, code = in_a_terminal("cache", "verify", "--cache-dir", scene.cache)
    assert code == 0 and "0 damaged" in text


def test_the_store_can_be_looked_at_checked_and_emptied(scene):
    scene.fill()
    stat = json.loads(scene.cache_emfs("stat", "--json").stdout)
    (host,) = stat["hosts"]
    assert host["host"] == scene.origin.url and stat["writable"] and stat["bytes"] == size(scene.cache)
    assert host["bytes"] >= scene.volumes["itk"].levels[0].nbytes
    assert scene.origin.url in scene.cache_emfs("stat").stdout
    found = json.loads(scene.cache_emfs("verify", "--json").stdout)
    assert found["damaged"] == 0 and found["bytes"] >= host["bytes"]
    scene.cache_emfs("prune", "--to", "4M")
    assert json.loads(scene.cache_emfs("stat", "--json").stdout)["bytes"] <= 5 * MIB
    scene.cache_emfs("clear")
    assert json.loads(scene.cache_emfs("stat", "--json").stdout)["objects"] == 0
    missing = emfs("cache", "stat", "--cache-dir", scene.folder / "nowhere", check=False)
    assert missing.returncode == 1 and "there is no cache" in missing.stderr
    assert not (scene.folder / "nowhere").exists()
    other = scene.folder / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    for command in (["stat"], ["verify"], ["prune", "--to", "0"], ["clear"]):
        refused = emfs("cache", *command, "--cache-dir", other, check=False)
        assert refused.returncode == 1 and f"there is no cache at {other}" in refused.stderr
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_prune_tells_what_is_left_because_a_mount_writes_it(scene):
    with scene.mounted() as mount:
        scene.check(mount, [("itk", (0, 0, 0))])
        wait_for(lambda: json.loads(scene.cache_emfs("stat", "--json").stdout)["objects"] > 0, 20, "something is kept")
        assert "1 left, which mounts or commands are writing" in scene.cache_emfs("prune", "--to", "0").stdout
    pruned = json.loads(scene.cache_emfs("prune", "--to", "0", "--json").stdout)
    assert (pruned["segments"], pruned["in_use"]) == (1, 0)


def test_locate_tells_the_bytes_behind_a_chunk_without_reading_them(scene):
    volume = scene.volumes["itk"]
    file = (scene.origin.root / volume.file).read_bytes()
    index = (2, 1, 1)
    with scene.mounted() as mount:
        store = mount / "itk" / "em.zarr" / "s0"
        scene.check(mount, [("itk", (0, 0, 0))])

        def located(chunk):
            return json.loads(emfs("locate", store / expected.chunk_path(chunk), "--json").stdout)["blocks"]

        # What was read is in the files a moment later.
        wait_for(lambda: all(block["kept"] == block["length"] for block in located((0, 0, 0))), 10, "the chunk is kept")
        scene.origin.forget()
        assert len(located(index)) > 1
        assert all(end - start < 4096 for start, end in (request.range for request in scene.origin.requests)), "indices alone"
        scene.check(mount, [("itk", index)])
    told = json.loads(scene.emfs("locate", f"itk/em.zarr/s0/{expected.chunk_path(index)}", "--json", "--offline").stdout)
    assert all(block["kept"] == block["length"] for block in told["blocks"])
    assert {block["url"] for block in told["blocks"]} == {f"{scene.origin.url}/{volume.file}"}
    # A block is some rows of a plane, of full width.
    rows = b"".join(file[block["start"]:block["start"] + block["length"]] for block in told["blocks"])
    rows = {rows[at:at + 520] for at in range(0, len(rows), 520)}
    depth, height = volume.chunk[0][0], volume.chunk[0][1]
    for plane in volume.levels[0][index[0] * depth:(index[0] + 1) * depth]:
        assert {row.tobytes() for row in plane[index[1] * height:(index[1] + 1) * height]} <= rows
    text = scene.emfs("locate", "itk/em.zarr/s0/0/0/0", "--offline").stdout
    assert text.splitlines()[0].split() == ["block", "cache", "bytes", "url"] and " kept " in text


def test_locate_in_a_mount_that_asks_nobody_asks_nobody(scene):
    scene.emfs("warm", "zarr", "--level", "s0", "--box", "z0-32_y0-32_x0-64")
    with scene.mounted("--offline") as mount:
        scene.origin.forget()
        (block,) = json.loads(emfs("locate", mount / "zarr" / "em.zarr" / "s0" / "0" / "0" / "0", "--json").stdout)["blocks"]
        assert block["url"] is None or block["kept"] == block["length"] > 0
        refused = emfs("locate", mount / "itk" / "em.zarr" / "s0" / "0" / "0" / "0", check=False)
        assert refused.returncode == 1 and "offline" in refused.stderr
        assert scene.origin.requests == []


def test_locate_tells_absent_chunks_of_zarr(scene):
    with scene.mounted() as mount:
        scene.check(mount, [chunk for chunk in scene.chunks() if chunk[0] == "zarr"])
    told = json.loads(scene.emfs("locate", "zarr/em.zarr/s0", "--json", "--offline").stdout)["blocks"]
    assert len(told) == 64
    absent = [block for block in told if block["url"] is None]
    assert 5 < len(absent) < 40
    for block in told:
        assert block["url"] is None or block["kept"] == block["length"] > 0
