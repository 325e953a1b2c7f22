"""What was fetched is kept on disk: it survives the mount, is shared, bounded and checked, and works without a network."""

import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import random
import re
import subprocess
import threading
import time

import numpy as np
import pytest

import expected
import replica
import truth
from mounting import BINARY, configuration, emfs, mounted, wait_for
from origin import Fault

MIB = 1 << 20


def read(path):
    """Bytes, or the errno's name."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        return errno.errorcode[error.errno]


def without_times(document):
    return re.sub(rb'("retrieved": )"[^"]*"', rb"\1null", document) if isinstance(document, bytes) else document


def everything(mount):
    """Path and bytes of every file of every store that is listed, of the records and of the archives' documents."""
    found = {}
    # The images are opened first, so that the documents say all there is to say.
    for store in sorted(mount.path.glob("*/*.zarr")):
        for at, _, names in os.walk(store):
            for name in names:
                found[os.path.relpath(os.path.join(at, name), mount.path)] = read(os.path.join(at, name))
    for pattern in ("*", "*/*", "*/upstream/*"):
        for path in sorted(mount.path.glob(pattern)):
            if path.is_file():
                found[str(path.relative_to(mount.path))] = without_times(read(path))
    assert not [path for path, content in found.items() if isinstance(content, str)]
    return found


def test_a_remount_needs_no_request_for_what_was_read_online_or_offline(tmp_path):
    cache = tmp_path / "cache"
    with replica.served(tmp_path / "server.log") as config:
        with mounted(tmp_path, config, cache=cache, timeout=20) as mount:
            first = everything(mount)
            assert mount.requests() > 0
        with mounted(tmp_path, config, cache=cache, timeout=20) as mount:
            assert everything(mount) == first
            assert mount.requests() == 0
            status = mount.status()
            assert status["disk"]["hits"] > 0 and status["disk"]["bytes"] > 0
            assert f"read from {cache}" in emfs("status", mount.path).stdout
    # The server is gone.
    with mounted(tmp_path, config, "--offline", cache=cache, timeout=20) as mount:
        assert everything(mount) == first
        assert mount.requests() == 0 and mount.status()["failed"] == 0
    done = emfs("metadata", "--offline", "--cache-dir", cache, "--config", tmp_path / "config.toml")
    assert "acquisition/method" in done.stdout
    assert {name.split("/")[0] for name in first if "/" in name} == {
        "idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A stack of planes with bytes between them, and a Zarr group of which a third of the chunks is absent."""
    root = tmp_path_factory.mktemp("kept")
    made = {
        "itk": truth.itk(root, "itk", (40, 500, 520), "u1", 1),
        "zarr": truth.zarr_group(root, "zarr", shape=(128, 128, 256), dtype="<u2", chunks=(32, 32, 64), seed=3, levels=2, share=0.33),
    }
    return root, made


class Scene:
    """Volumes at an origin, a cache folder, and mounts of them one after the other or at once."""

    def __init__(self, folder, origin, volumes):
        self.folder, self.origin, self.volumes = folder, origin, volumes
        self.cache = folder / "cache"
        self.config = configuration({name: truth.source_at(volume, origin) for name, volume in volumes.items()}, {"stall": 1.0})
        self.config_file = folder / "config.toml"
        self.config_file.write_text(self.config)

    def mounted(self, *options, name="one", cache=None, timeout=3, **more):
        return mounted(self.folder / name, self.config, *options, cache=cache or self.cache, timeout=timeout, **more)

    def chunks(self):
        """(volume, index) of all chunks of the finest levels."""
        return [(name, index) for name, volume in self.volumes.items()
                for index in expected.chunk_indices(volume.levels[0].shape, volume.chunk[0])]

    def right(self, name, index):
        return expected.chunk_bytes(self.volumes[name].levels[0], self.volumes[name].chunk[0], index)

    def found(self, mount, name, index):
        return read(mount / name / "em.zarr" / "s0" / expected.chunk_path(index))

    def check(self, mount, chunks=None, or_failed=False):
        """Compares chunks with the truth; returns how many could not be read."""
        failed = 0
        for name, index in chunks if chunks is not None else self.chunks():
            found = self.found(mount, name, index)
            if or_failed and isinstance(found, str):
                failed += 1
            else:
                assert found == self.right(name, index), f"{name} {index}: {found[:20]}"
        return failed

    def fill(self):
        with self.mounted() as mount:
            self.check(mount)

    def emfs(self, command, *arguments, **options):
        return emfs(command, *arguments, "--config", self.config_file, "--cache-dir", self.cache, **options)

    def cache_emfs(self, *arguments, **options):
        return emfs("cache", *arguments, "--cache-dir", self.cache, **options)


@pytest.fixture
def scene(files, serve, tmp_path):
    root, made = files
    return Scene(tmp_path, serve(root), made)


def kept_files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def size(folder):
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def kill(mount):
    os.kill(mount.pid, 9)


def test_after_being_killed_at_any_moment_no_byte_is_wrong(scene, long):
    generator, chunks = random.Random(5), scene.chunks()
    counts = []
    for _ in range(200 if long else 20):
        with scene.mounted("--cache-size", "8M") as mount:
            scene.check(mount, generator.sample(chunks, 4))

            def look(seed, mount=mount):
                order = random.Random(seed).sample(chunks, len(chunks))
                for name, index in order:
                    found = scene.found(mount, name, index)
                    assert isinstance(found, str) or found == scene.right(name, index), (name, index)

            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                readers = [pool.submit(look, generator.random()) for _ in range(3)]
                time.sleep(generator.random() * 0.4)
                kill(mount)
                for reader in readers:
                    reader.result()
        counts.append(len(kept_files(scene.cache)))
    with scene.mounted("--cache-size", "8M") as mount:
        scene.check(mount)
    scene.cache_emfs("verify")
    assert max(counts[len(counts) // 2:]) <= max(counts[:len(counts) // 2]) + 20, f"litter that grows: {counts}"


def flip(path):
    data = bytearray(path.read_bytes())
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path.write_bytes(data)


def cut(path):
    os.truncate(path, random.randrange(path.stat().st_size + 1))


DAMAGES = {"a flipped bit": flip, "a cut": cut, "a removed file": pathlib.Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_found_out_and_never_served(scene, damage, long):
    random.seed(7)
    for round_ in range(30 if long else 3):
        scene.fill()
        for path in random.sample(kept_files(scene.cache), 1 + round_ % 2):
            DAMAGES[damage](path)
        with scene.mounted("--offline", name="offline") as mount:
            scene.check(mount, or_failed=True)
            assert mount.requests() == 0
        with scene.mounted() as mount:
            scene.check(mount)
    scene.cache_emfs("verify", check=False)
    scene.cache_emfs("verify")


def test_damage_under_a_mount_is_found_out(scene):
    scene.fill()
    random.seed(11)
    with scene.mounted(memory="64M") as mount:
        scene.check(mount, scene.chunks()[::7])
        for path in kept_files(scene.cache):
            if path.stat().st_size > 100_000:
                for _ in range(20):
                    flip(path)
        scene.check(mount)


def test_an_object_that_changed_at_the_origin_is_dropped_and_read_anew_after_a_remount(scene):
    scene.fill()
    file = scene.origin.root / scene.volumes["itk"].file
    os.utime(file, (5, 5))
    try:
        with scene.mounted("--revalidate") as mount:
            scene.origin.forget()
            scene.check(mount)
            assert scene.origin.count(scene.volumes["itk"].file) > 10, "all of it was fetched again"
        with scene.mounted() as mount:
            scene.check(mount)
            assert mount.requests() == 0
            os.utime(file, (6, 6))
            scene.cache_emfs("prune", "--to", "0")
            mount_failed = scene.found(mount, "itk", (2, 1, 1))
            assert mount_failed == scene.right("itk", (2, 1, 1)), "what is in memory is of one version"
    finally:
        os.utime(file)


def test_a_change_that_is_met_in_the_middle_is_an_error_and_never_a_mixture(scene):
    chunks = [chunk for chunk in scene.chunks() if chunk[0] == "itk"]
    with scene.mounted() as mount:
        scene.check(mount, chunks[:3])
    file = scene.origin.root / scene.volumes["itk"].file
    os.utime(file, (7, 7))
    try:
        with scene.mounted() as mount:
            scene.check(mount, chunks[:3])
            assert scene.found(mount, *chunks[-1]) == "EIO"
            wait_for(lambda: "changed at the origin, remount" in mount.log, 5, "a line in the log")
        with scene.mounted() as mount:
            scene.check(mount, chunks)
    finally:
        os.utime(file)


def test_two_mounts_share_a_cache_that_is_ten_times_too_small(files, serve, tmp_path, long):
    root = tmp_path / "volumes"
    root.mkdir()
    made = {f"v{n}": truth.itk(root, f"v{n}", (64, 512, 512), "u1", n) for n in range(4 if long else 2)}
    scene = Scene(tmp_path, serve(root), made)
    bound = sum(volume.levels[0].nbytes for volume in made.values()) // 10
    chunks, largest, done = scene.chunks(), [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            largest[0] = max(largest[0], size(scene.cache))

    def look(mount, seed):
        for name, index in random.Random(seed).sample(chunks, len(chunks)):
            assert scene.found(mount, name, index) == scene.right(name, index), (name, index)

    with scene.mounted("--cache-size", bound, name="one", timeout=20) as one, scene.mounted("--cache-size", bound, name="two", timeout=20) as two:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for reader in [pool.submit(look, (one, two)[n % 2], n) for n in range(8)]:
                    reader.result()
        finally:
            done.set()
            watcher.join()
        assert one.status()["failed"] == two.status()["failed"] == 0
    stat = json.loads(scene.cache_emfs("stat", "--json").stdout)
    assert stat["files"] <= stat["bytes"] / (16 * MIB) + 1000
    assert len(kept_files(scene.cache)) <= size(scene.cache) / (16 * MIB) + 1000
    segment = max(bound // 16, 64 << 10)
    assert largest[0] <= bound + segment, f"{largest[0]} bytes of {bound}"
    scene.cache_emfs("verify")


@pytest.fixture
def tmpfs(tmp_path):
    """A function that mounts a filesystem of 64 MiB, and one that makes it read-only."""
    if os.getuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_warning_and_reads_go_on(scene, tmpfs):
    cache = tmpfs / "cache"
    with scene.mounted(cache=cache) as mount:
        scene.check(mount, scene.chunks()[:20])
        with open(tmpfs / "filler", "wb") as filler, contextlib.suppress(OSError):
            while filler.write(bytes(MIB)):
                filler.flush()
        scene.check(mount)
        assert mount.status()["failed"] == 0
        warnings = [line for line in mount.log.splitlines() if "WARN" in line]
        assert len(warnings) <= 1, warnings
    with scene.mounted(cache=cache) as mount:
        scene.check(mount)
        assert mount.status()["failed"] == 0


def test_a_read_only_cache_is_used_and_not_written(scene, tmpfs):
    cache = tmpfs / "cache"
    chunks = scene.chunks()
    with scene.mounted(cache=cache) as mount:
        scene.check(mount, chunks[::2])
    before = {path: path.read_bytes() for path in kept_files(cache)}
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    with scene.mounted(cache=cache) as mount:
        scene.check(mount, chunks[::2])
        assert mount.requests() == 0
        scene.check(mount)
        assert mount.requests() > 0 and mount.status()["failed"] == 0
    assert {path: path.read_bytes() for path in kept_files(cache)} == before
    refused = emfs("warm", "itk", "--config", scene.config_file, "--cache-dir", cache, check=False)
    assert refused.returncode == 1 and "cannot be written" in refused.stderr


def test_offline_what_is_not_kept_is_eio_at_once_with_a_line_that_says_so(scene):
    chunks = [chunk for chunk in scene.chunks() if chunk[0] == "itk"]
    with scene.mounted() as mount:
        scene.check(mount, chunks[:2])
    scene.origin.forget()
    with scene.mounted("--offline", timeout=20) as mount:
        scene.check(mount, chunks[:2])
        begin = time.monotonic()
        assert scene.found(mount, *chunks[-1]) == "EIO"
        assert read(mount / "zarr" / "em.zarr" / ".zattrs") == "EIO"
        assert time.monotonic() - begin < 15
        (line,) = wait_for(lambda: [line for line in mount.log.splitlines() if expected.chunk_path(chunks[-1][1]) in line], 5, "a line")
        assert "offline" in line and scene.origin.host in line
        assert mount.requests() == 0
    assert scene.origin.requests == []


def test_a_host_that_cannot_be_reached_fails_at_once_and_is_found_again(scene):
    chunks = [chunk for chunk in scene.chunks() if chunk[0] == "itk"]
    with scene.mounted(timeout=3) as mount:
        scene.check(mount, chunks[:2])
        (mount / "zarr" / "em.zarr" / ".zattrs").read_bytes()
        scene.origin.stop()
        assert scene.found(mount, *chunks[-1]) == "EIO"
        for name, index in chunks[-9:-1]:
            assert scene.found(mount, name, index) == "EIO"
        wait_for(lambda: "offline" in mount.log, 5, "a line that says so")
        assert mount.log.count("until it answers") == 1
        scene.check(mount, chunks[:2])
        scene.origin.start()
        wait_for(lambda: scene.found(mount, *chunks[-1]) == scene.right(*chunks[-1]), 60, "recovery")
        wait_for(lambda: not scene.check(mount, or_failed=True), 60, "recovery of all")


def test_what_is_kept_of_a_group_is_served_offline_whatever_is_fetched_ahead(tmp_path):
    """Chunks of the hemibrain come with their neighbours, of which most are not kept here."""
    cache = tmp_path / "cache"
    with replica.served(tmp_path / "server.log") as config:
        (tmp_path / "c.toml").write_text(config)
        options = ["--config", tmp_path / "c.toml", "--cache-dir", cache]
        with mounted(tmp_path, config, timeout=20) as mount:
            store = mount / "hemibrain" / "em.zarr" / "s0"
            paths = sorted(path.relative_to(store) for path in store.glob("[0-9]*/*/*"))
            right = {path: (store / path).read_bytes() for path in paths}
        some = paths[::3]
        emfs("warm", *[f"hemibrain/em.zarr/s0/{path}" for path in some], *options)
    with mounted(tmp_path, config, "--offline", cache=cache, timeout=20) as mount:
        store = mount / "hemibrain" / "em.zarr" / "s0"
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = dict(zip(some, pool.map(lambda path: read(store / path), some), strict=True))
        assert found == {path: right[path] for path in some}
        assert mount.requests() == 0


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
    assert piped.stderr == "" and piped.stdout.count("\n") == 1
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


def test_locate_tells_absent_chunks_of_zarr(scene):
    with scene.mounted() as mount:
        scene.check(mount, [chunk for chunk in scene.chunks() if chunk[0] == "zarr"])
    told = json.loads(scene.emfs("locate", "zarr/em.zarr/s0", "--json", "--offline").stdout)["blocks"]
    assert len(told) == 64
    absent = [block for block in told if block["url"] is None]
    assert 5 < len(absent) < 40
    for block in told:
        assert block["url"] is None or block["kept"] == block["length"] > 0


def test_nothing_is_kept_where_nobody_wants_it(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    for _ in range(2):
        with mounted(tmp_path / "none", scene.config, "--cache-size", "0", timeout=3) as mount:
            scene.check(mount, scene.chunks()[:3])
            assert mount.requests() > 0 and "nothing is kept" in emfs("status", mount.path).stdout
    assert not (tmp_path / "caches").exists()
    with mounted(tmp_path / "default", scene.config, "--cache-size", "1G", timeout=3) as mount:
        scene.check(mount, scene.chunks()[:3])
    assert kept_files(tmp_path / "caches" / "emfs")
    refused = emfs("mount", mount.path, "--cache-dir", "/dev/null", check=False)
    assert refused.returncode == 1 and "/dev/null" in refused.stderr


def test_an_answer_that_is_no_document_is_not_believed_for_a_week(scene):
    scene.origin.fault = lambda request: Fault("html")
    with scene.mounted() as mount:
        assert read(mount / "zarr" / "em.zarr" / ".zattrs") == "EIO"
    scene.origin.fault = None
    with scene.mounted() as mount:
        scene.check(mount, [("zarr", (0, 0, 0))])


def test_voxels_are_right_through_a_reader_after_a_remount(scene):
    import zarr

    scene.fill()
    with scene.mounted("--offline") as mount:
        for name, volume in scene.volumes.items():
            assert np.array_equal(zarr.open_group(mount / name / "em.zarr", mode="r")["s0"][...], volume.levels[0])
