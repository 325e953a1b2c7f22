"""`emfs export` that was interrupted: it goes on where it was, and what is there is complete, or not there."""

import os
import random
import signal
import subprocess
import time

import pytest
import tifffile

import archives
import faults
import reference_volumes
from faults import with_body, with_header
from exporting import PATIENT, assert_right, assert_same, export, wire, written
from make_precomputed_fixtures import write_two_minishards
from mounting import BINARY, emfs
from origin import Answer, Fault, Origin


def kill_and_resume(file, folder, form, rng, span):
    """Runs an export, kills it somewhere, runs it to its end; says whether it was killed in the middle."""
    arguments = [BINARY, "export", "v", folder, "--config", file, "--cache-size", "0", "--memory", "16M", "--quiet", *form]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    try:
        process.wait(rng.random() * span)
    except subprocess.TimeoutExpired:
        process.kill()
    killed = process.wait() == -signal.SIGKILL
    done = emfs(*map(str, arguments[1:]), "--resume", timeout=240)
    assert done.stderr == ""
    return killed


def test_a_killed_export_goes_on_where_it_was(large, tmp_path, long):
    root, volume = large
    ways = [["--compress", "none"], ["--format", "v3", "--chunk", "64", "--shard", "256", "--compress", "none"]]
    rng = random.Random(1)
    with Origin(root, latency=0.002) as origin:
        file = written(tmp_path, {"v": reference_volumes.source_at(volume, origin)}, {"connections": 2} | PATIENT)
        once, span = [], []
        for number, form in enumerate(ways):
            origin.forget()
            begin = time.monotonic()
            export("v", tmp_path / f"once-{number}", "--config", file, "--memory", "16M", *form)
            span.append(time.monotonic() - begin)
            once.append(wire(origin))
        assert_right(tmp_path / "once-0", volume.levels, False)
        assert_right(tmp_path / "once-1", volume.levels, True)
        killed = 0
        for number in range(50 if long else 5):
            way = number % 2
            folder = tmp_path / f"killed-{number}"
            origin.forget()
            killed += kill_and_resume(file, folder, ways[way], rng, span[way])
            assert_same(folder, tmp_path / f"once-{way}")
            assert wire(origin) <= 1.1 * once[way], f"kill {number}: {wire(origin) / once[way]:.3f} of the bytes of once"
            subprocess.run(["rm", "-r", folder], check=True)
        assert killed, "nothing was interrupted"


def test_a_killed_small_export_loses_little_on_many_connections(tmp_path, long):
    voxels = write_two_minishards(tmp_path / "origin", 256, grain=20)
    rng = random.Random(2)
    with Origin(tmp_path / "origin", latency=0.02) as origin:
        file = written(tmp_path, {"v": {"kind": "precomputed", "url": f"{origin.url}/em"}}, {"connections": 16} | PATIENT)
        begin = time.monotonic()
        export("v", tmp_path / "once", "--config", file, "--memory", "16M")
        span, once = time.monotonic() - begin, wire(origin)
        assert_right(tmp_path / "once", [voxels], False, lossy=1)
        killed, most = 0, 0.0
        for number in range(50 if long else 5):
            folder = tmp_path / f"killed-{number}"
            origin.forget()
            killed += kill_and_resume(file, folder, [], rng, span)
            assert_same(folder, tmp_path / "once")
            most = max(most, wire(origin) / once)
            subprocess.run(["rm", "-r", folder], check=True)
        print(f"{killed} kills of an export of {once} bytes cost at most {most:.3f} of the bytes of once")
        assert killed and most <= 1.1


def test_a_killed_export_of_a_file_per_section_goes_on_where_it_was(tmp_path, long):
    """Blocks that are noted are decoded by sections that the process which goes on has not opened yet."""
    voxels = reference_volumes.texture((24, 512, 1024), "u1", 7)
    (tmp_path / "origin" / "v").mkdir(parents=True)
    for z, plane in enumerate(voxels):
        tifffile.imwrite(tmp_path / "origin" / "v" / f"s_{z:03d}.tif", plane, compression="zlib", rowsperstrip=64)
    urls = [f"v/s_{z:03d}.tif" for z in range(len(voxels))]
    rng = random.Random(3)
    with Origin(tmp_path / "origin", latency=0.005) as origin:
        source = {"kind": "tiff", "urls": [f"{origin.url}/{url}" for url in urls], "voxel_size": [8, 8, 8], "pyramid": False}
        file = written(tmp_path, {"v": source}, {"connections": 2} | PATIENT)
        begin = time.monotonic()
        export("v", tmp_path / "once", "--config", file, "--memory", "16M")
        span, once = time.monotonic() - begin, wire(origin)
        assert_right(tmp_path / "once", [voxels], False)
        killed = 0
        for number in range(20 if long else 4):
            folder = tmp_path / f"killed-{number}"
            origin.forget()
            killed += kill_and_resume(file, folder, [], rng, span)
            assert_same(folder, tmp_path / "once")
            assert wire(origin) <= 1.1 * once, f"kill {number}: {wire(origin) / once:.3f} of the bytes of once"
        assert killed, "nothing was interrupted"


def test_what_is_there_is_not_overwritten(small, tmp_path):
    _, _, file = small
    (tmp_path / "there").mkdir()
    for arguments in (["v", tmp_path / "there"], ["--all", tmp_path / "there"]):
        done = export(*arguments, "--config", file, check=False)
        assert done.returncode == 1 and "exists" in done.stderr and "--resume" in done.stderr
    done = export("v", tmp_path / "there", "--config", file, "--resume", check=False)
    assert done.returncode == 1 and "no export" in done.stderr
    assert not list((tmp_path / "there").iterdir())


def stopped(origin, file, folder, *form):
    """An export that could not get one of its chunks."""
    origin.fault = lambda request: Fault("status", 403) if request.path.endswith("s0/1.2.1") or request.path.endswith("s0/c/1/2/1") or request.path.endswith("s0/1/2/1") else None
    done = export("v", folder, "--config", file, *form, check=False)
    origin.fault = None
    assert done.returncode == 1
    return done


def test_a_chunk_that_cannot_be_had_is_named_and_the_others_are_written(small, tmp_path):
    volume, origin, file = small
    folder = tmp_path / "x"
    done = stopped(origin, file, folder)
    assert "chunk s0/1/2/1" in done.stderr and "403" in done.stderr
    assert sum(path.is_file() for path in (folder / "s0").rglob("*")) == 2 * 3 * 3 - 1
    assert not [path for path in folder.rglob(".z*")] and not (folder / "manifest.json").exists()
    origin.forget()
    export("v", folder, "--config", file, "--resume")
    asked = [request.path for request in origin.requests if "/s0/" in request.path and request.path[-1].isdigit()]
    assert len(asked) == 1, asked
    assert_right(folder, volume.levels, False)


def test_an_export_is_resumed_as_it_was_begun(small, tmp_path):
    _, origin, file = small
    folder = tmp_path / "x"
    stopped(origin, file, folder)
    for other, word in ([["--compress", "none"], "compress"], [["--chunk", "64"], "levels"], [["--format", "v3"], "format"], [["--level", "s0"], "levels"]):
        done = export("v", folder, "--config", file, "--resume", *other, check=False)
        assert done.returncode == 1 and "cannot be resumed" in done.stderr and word in done.stderr, done.stderr
    export("v", folder, "--config", file, "--resume")
    done = export("v", folder, "--config", file, "--resume")
    assert "complete already" in done.stderr
    chunk = folder / "s0" / "0" / "0" / "0"
    right = chunk.read_bytes()
    chunk.write_bytes(b"?" + right[1:])
    done = export("v", folder, "--config", file, "--resume", check=False)
    assert done.returncode == 1 and "s0/0/0/0 has other bytes" in done.stderr, done.stderr
    chunk.write_bytes(right)
    done = export("v", folder, "--config", file, "--resume", "--compress", "none", check=False)
    assert done.returncode == 1 and "complete other export" in done.stderr


def test_an_export_of_another_image_is_told_by_the_names_alone(small, tmp_path):
    _, origin, file = small
    stopped(origin, file, tmp_path / "x")
    export("v", tmp_path / "y", "--config", file)
    for folder in ("x", "y"):
        done = export("v/em.chunk-64", tmp_path / folder, "--config", file, "--resume", check=False)
        assert done.returncode == 1 and "that of v/em, not of v/em.chunk-64" in done.stderr and len(done.stderr) < 400, done.stderr


def test_what_leads_into_a_store_is_refused_with_the_store_to_name(small, tmp_path):
    _, _, file = small
    done = export("v/em.zarr/s1", tmp_path / "z", "--config", file, check=False)
    assert done.returncode == 1 and "name the store itself, v/em.zarr, and the level as --level s1" in done.stderr, done.stderr
    assert not (tmp_path / "z").exists()


def test_a_source_that_changed_is_not_mixed_in(small, tmp_path):
    volume, origin, file = small
    folder = tmp_path / "x"
    stopped(origin, file, folder)
    document = origin.root / volume.file / ".zattrs"
    document = document if document.exists() else origin.root / volume.file / "zarr.json"
    os.utime(document, (1, 1))
    done = export("v", folder, "--config", file, "--resume", check=False)
    assert done.returncode == 1 and "changed at the origin" in done.stderr and "ETag" in done.stderr


#: An answer that is thrown away because it makes no sense, by archive: for which request it is given, and which answer never comes.
THROWN_AWAY = {
    "zarr": (lambda request: request.path.endswith("s0/0.0.1"), lambda request: request.path.endswith("s0/1.1.3")),
    "dm": (lambda request: request.path.endswith("slice_0002.dm3") and request.range and request.range[0] == 0,
           lambda request: request.path.endswith("slice_0002.dm3") and request.range and request.range[0] > 0),
    "raw": (lambda request: request.path.endswith(".shard") and request.range == (0, archives.SHARD_INDEX),
            lambda request: request.path.endswith(".shard") and request.range and request.range[1] - request.range[0] > 4096),
}


@pytest.mark.parametrize("answer", ["of no version", "of an older version", "of another name"])
@pytest.mark.parametrize("archive", THROWN_AWAY)
def test_an_answer_that_was_thrown_away_is_no_version_to_go_on_from(tmp_path, archive, answer):
    """The manifest is that of an export to which it was never given."""
    root, made = archives.write_with_older(tmp_path)
    is_meant, never = THROWN_AWAY[archive]
    bad = {
        "of no version": lambda request, right, origin: Answer(200, [("Content-Type", "application/json")], b"null"),
        "of an older version": lambda request, right, origin: with_body(faults.older_version(request, right, origin).without("etag"), b"null"),
        "of another name": lambda request, right, origin: with_body(with_header(right, "ETag", '"other"'), b"null"),
    }[answer]
    with Origin(root, naming=made[archive].naming) as origin:
        file = written(tmp_path, {"v": made[archive].at(origin)}, PATIENT)
        export("v", tmp_path / "clean", "--config", file, "--compress", "none")
        given = []

        def fault(request):
            if never(request):
                return Fault("status", 400)
            if not given and is_meant(request):
                given.append(request)
                return Fault("altered", alter=bad)
            return None

        origin.fault = fault
        done = export("v", tmp_path / "x", "--config", file, "--compress", "none", check=False)
        assert given and done.returncode == 1, done.stderr
        origin.fault = None
        export("v", tmp_path / "x", "--config", file, "--compress", "none", "--resume")
        assert_same(tmp_path / "x", tmp_path / "clean")
        given.clear()
        origin.fault = lambda request: None if never(request) else fault(request)
        export("v", tmp_path / "y", "--config", file, "--compress", "none")
        assert given
        assert_same(tmp_path / "y", tmp_path / "clean")


@pytest.mark.parametrize("form", [[], ["--format", "v3", "--shard", "64x32x64"]], ids=["chunks", "shards"])
def test_damage_since_the_interruption_is_mended(small, tmp_path, form):
    volume, origin, file = small
    folder = tmp_path / "x"
    stopped(origin, file, folder, *form)
    damaged = 0
    state = folder / ".emfs-export"
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if name.startswith("s") or path.name.startswith("shard-") or path.parent.name == "blocks":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            damaged += 1
        elif path.name == "chunks":
            data = bytearray(path.read_bytes())
            data[3] ^= 255
            path.write_bytes(data[:-5])
    assert damaged and state.exists()
    export("v", folder, "--config", file, "--resume", *form)
    assert_right(folder, volume.levels, bool(form))
    export("v", tmp_path / "y", "--config", file, *form)
    assert_same(folder, tmp_path / "y")


def test_verifying_finds_what_was_damaged_or_lost(small, tmp_path):
    _, _, file = small
    folder = tmp_path / "x"
    export("v", folder, "--config", file, "--verify")
    done = export("v", folder, "--config", file, "--verify")
    assert "files are as the manifest says" in done.stderr
    subprocess.run(["sha256sum", "--check", "--quiet", "checksums.sha256"], cwd=folder, check=True)
    chunk = folder / "s0" / "1" / "0" / "0"
    right = chunk.read_bytes()
    chunk.write_bytes(right[:-1] + b"?")
    done = export("v", folder, "--config", file, "--verify", check=False)
    assert done.returncode == 1 and "s0/1/0/0 has other bytes" in done.stderr
    chunk.unlink()
    done = export("v", folder, "--config", file, "--verify", check=False)
    assert done.returncode == 1 and "s0/1/0/0 is missing" in done.stderr


def test_an_interrupted_export_says_how_to_go_on(small, tmp_path):
    volume, origin, file = small
    origin.fault = lambda request: Fault("silent") if "/s0/" in request.path and request.path[-1].isdigit() else None
    process = subprocess.Popen([BINARY, "export", "v", tmp_path / "x", "--config", file, "--cache-size", "0"],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "x" / ".emfs-export").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1 and "--resume" in said, said
    origin.fault = None
    export("v", tmp_path / "x", "--config", file, "--resume")
    assert_right(tmp_path / "x", volume.levels, False)
