"""Training on a mount: one list is one hash whoever reads it, no block is fetched twice, and a run whose reads failed does not end well."""

import csv
import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

import reference_volumes
from mounting import BINARY, GUNPOWDER_PYTHON, LEGACY_PYTHON, ROOT, TORCH_PYTHON, configuration, emfs, mounted, wait_for
from origin import Fault, Origin

EXAMPLES = ROOT / "scripts" / "examples"
HASH = pathlib.Path(__file__).with_name("block_hash.py")
SHAPE, BLOCK = (128, 192, 160), 32

needs_torch = pytest.mark.skipif(not TORCH_PYTHON.exists(), reason="there is no torch on this machine (scripts/lib.sh: need_torch)")


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    return root, reference_volumes.zarr_group(root, "v", shape=SHAPE, dtype="|u1", chunks=(BLOCK,) * 3, levels=1, seed=9, compressors=None)


@pytest.fixture(scope="module")
def scene(volume):
    root, made = volume
    with Origin(root) as origin:
        config = root / "v.toml"
        config.write_text(configuration({"v": reference_volumes.source_at(made, origin)}, {"connections": 16}))
        yield root, made, origin, config


def run(*command, mount=None, timeout=300, check=True, **environment):
    environment = os.environ | {"EMFS_BIN": str(BINARY), "OMP_NUM_THREADS": "1"} | ({"EMFS_MOUNT": str(mount)} if mount else {}) | environment
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, env=environment, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, f"{done.returncode}: {done.stderr}{done.stdout}"
    return done


def inside(config, *command, cache=("--cache-size", "0"), **options):
    """The command under `emfs exec --require-clean`."""
    return run(BINARY, "exec", "--require-clean", "--config", config, *cache, "--", *command, **options)


def rows(path):
    return list(csv.DictReader(line for line in path.read_text().splitlines() if not line.startswith("#")))


def box(row):
    return tuple(slice(int(row[axis]), int(row[axis]) + int(row["d" + axis])) for axis in "zyx")


def listed(config, path, *arguments):
    path.write_text(emfs("sample", "--config", config, *arguments).stdout)
    return path


def expected(volume, path):
    import hashlib

    blocks = (np.ascontiguousarray(volume.levels[0][box(row)]).tobytes() for row in rows(path))
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()


@needs_torch
def test_one_list_is_one_hash_whoever_reads_it(scene, tmp_path, long):
    _, made, _, config = scene
    lists = listed(config, tmp_path / "list.csv", "v", "--count", 10_000 if long else 2000, "--size", "12", "--region", "48x8")
    right = expected(made, lists)
    ways = itertools.product(("zarr", "tensorstore-zarr"), (1, 4, 16), ("fork", "spawn", "forkserver"), (1, 2, 8))
    ways = [way for way in ways if way[1] * way[3] <= 16]
    if not long:
        # Each number and each way once.
        ways = [("zarr", 1, "fork", 1), ("tensorstore-zarr", 2, "spawn", 1), ("zarr", 2, "forkserver", 2)]
    with mounted(tmp_path / "one", config.read_text()) as one, mounted(tmp_path / "two", config.read_text()) as two:
        found = {("plain", python): run(python, HASH, lists, "plain", mount=one.path).stdout.strip() for python in (sys.executable, LEGACY_PYTHON)}
        for number, way in enumerate(ways):
            mount = (one, two)[number % 2]
            found[way] = run(TORCH_PYTHON, HASH, lists, *way, mount=mount.path, timeout=1200).stdout.strip()
    assert found == dict.fromkeys(found, right)


@needs_torch
def test_no_block_is_fetched_twice_across_workers_and_ranks(scene, tmp_path):
    _, made, origin, config = scene
    lists = listed(config, tmp_path / "list.csv", "v", "--count", 64, "--size", "24", "--region", "64x8")
    needed = {
        ".".join(map(str, index)) for row in rows(lists)
        for index in itertools.product(*(range(side.start // BLOCK, -(-side.stop // BLOCK)) for side in box(row)))}
    header = next(line for line in lists.read_text().splitlines() if "native blocks" in line)
    assert f" {len(needed)} native blocks of 32x32x32, {len(needed) / 64:.2f} per sample" in header
    origin.requests.clear()
    with mounted(tmp_path, config.read_text()) as mount:
        assert run(TORCH_PYTHON, HASH, lists, "zarr", 2, "fork", 2, mount=mount.path).stdout.strip() == expected(made, lists)
        fetched = sum(host["bytes"] for host in mount.status()["hosts"].values())
    asked = [request.path for request in origin.requests if "/s0/" in request.path and not request.path.endswith(".zarray")]
    assert len(asked) <= 1.05 * len(needed)
    assert fetched <= 1.05 * len(needed) * BLOCK**3 + 100_000, "the documents aside"


def test_a_run_whose_reads_failed_does_not_end_well(scene, tmp_path, serve, long):
    root, made, _, _ = scene
    origin = serve(root)
    config = tmp_path / "v.toml"
    config.write_text(configuration({"v": reference_volumes.source_at(made, origin)}, {"connections": 16}))
    lists = listed(config, tmp_path / "list.csv", "v", "--count", 60, "--size", "24")
    right = expected(made, lists)
    ended = []
    for number in range(50 if long else 3):
        chance = random.Random(number)
        # Some runs meet faults that last, others those that a second try heals.
        bad = chance.choice([503, 500, 404, 403])
        lasting = number % 2 == 0
        broken = {request for request in map(str, range(1000)) if chance.random() < 0.3}
        def fault(request, bad=bad, lasting=lasting, broken=broken, chance=chance):
            if "/s0/" not in request.path or request.path.endswith(".zarray"):
                return None
            is_bad = str(hash(request.path) % 1000) in broken if lasting else chance.random() < 0.3
            return Fault("status", bad) if is_bad else None
        origin.fault = fault
        done = inside(config, sys.executable, HASH, lists, "plain", check=False, cache=("--cache-size", "0", "--timeout", "2"))
        origin.fault = None
        ended.append((bad, lasting, done.returncode))
        absent = bad in (403, 404)
        if not absent:
            assert done.returncode != 0 or done.stdout.strip() == right, "no run ends well with a wrong hash"
        if lasting and not absent:
            assert done.returncode != 0 and "em.zarr/s0" in done.stderr, done.stderr
    assert any(code for *_, code in ended)


@needs_torch
def test_absences_in_the_list_are_failures_unless_they_are_allowed(tmp_path):
    from test_sample import blobs, write_pyramid

    root = tmp_path / "files"
    root.mkdir()
    voxels = reference_volumes.noise((32, 64, 64), "u1", 1)
    voxels[:, :32, :32] = 0  # of which zarr writes no chunk
    write_pyramid(root / "em.zarr", [voxels], (8.0, 8.0, 8.0))
    write_pyramid(root / "cells.zarr", [blobs((32, 64, 64), 2)], (8.0, 8.0, 8.0))
    with Origin(root) as origin:
        config = tmp_path / "v.toml"
        source = {"kind": "zarr", "url": f"{origin.url}/em.zarr"}
        image = {"name": "part", "source": source, "labels": [{"name": "cells", "source": {"kind": "zarr", "url": f"{origin.url}/cells.zarr"}}]}
        config.write_text(configuration({"v": {"source": source, "images": [image]}}))
        lists = listed(config, tmp_path / "list.csv", "v/part", "--count", 8, "--size", "16")
        stats = tmp_path / "stats.json"
        stats.write_text(emfs("stats", "--config", config, "--list", lists, "--format", "json").stdout)
        commands = [
            [TORCH_PYTHON, EXAMPLES / "train.py", lists, lists, "--labels", "cells", "--stats", stats, "--epochs", 1, "--workers", 0],
            [TORCH_PYTHON, EXAMPLES / "tensorstore.py", lists], [TORCH_PYTHON, EXAMPLES / "dask_map.py", lists]]
        if GUNPOWDER_PYTHON.exists():
            commands.append([GUNPOWDER_PYTHON, EXAMPLES / "gunpowder.py", lists, "cells"])
        for command in commands:
            done = inside(config, *command, check=False)
            assert done.returncode == 1 and f"{command[1].name}: absent: v/part: block 0/0/0 of s0" in done.stderr, done.stderr
            assert inside(config, *command, "--allow-absent").returncode == 0


@needs_torch
def test_a_job_whose_mount_was_killed_fails_with_a_sentence_and_goes_on_where_it_was(scene, tmp_path):
    _, made, origin, config = scene
    lists = listed(config, tmp_path / "list.csv", "v", "--count", 80, "--size", "24")
    position = tmp_path / "list.csv.read"
    origin.fault = lambda request: Fault("delay", seconds=0.1) if "/s0/" in request.path else None
    with mounted(tmp_path / "first", config.read_text()) as mount:
        command = [TORCH_PYTHON, HASH, lists, "zarr", "1", "fork", "1", position]
        environment = os.environ | {"EMFS_MOUNT": str(mount.path), "OMP_NUM_THREADS": "1"}
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as job:
            wait_for(lambda: position.exists() and position.read_text().count("\n") >= 10, 60, "the first blocks")
            os.kill(mount.pid, signal.SIGKILL)
            out, errors = job.communicate(timeout=60)
        assert job.returncode != 0 and "ReadFailed" in errors and "em.zarr/s0 at [" in errors, errors
    origin.fault = None
    read = position.read_text().split()
    assert 10 <= len(read) < 80
    with mounted(tmp_path / "second", config.read_text()) as mount:
        assert run(TORCH_PYTHON, HASH, lists, "zarr", 1, "fork", 1, position, mount=mount.path).stdout == f"{80 - len(read)} read\n"
    assert sorted(map(int, position.read_text().split())) == list(range(80)), "each row once over both runs"


@needs_torch
def test_the_examples_read_what_is_there(demo, tmp_path):
    config = tmp_path / "demo.toml"
    config.write_text(demo.config)
    name = "epfl-hippocampus/training"
    lists = listed(config, tmp_path / "list.csv", name, "--count", 12, "--size", "8x32x32")
    image, labels = (demo.truth["epfl-hippocampus", "training", label].levels[0] for label in (None, "mitochondria"))
    import hashlib

    blocks = [image[box(row)] for row in rows(lists)]
    as_json = tmp_path / "list.json"
    as_json.write_text(emfs("sample", "--config", config, name, "--count", 12, "--size", "8x32x32", "--format", "json").stdout)
    done = inside(config, TORCH_PYTHON, EXAMPLES / "tensorstore.py", as_json)
    assert done.stdout.strip() == hashlib.sha256(b"".join(np.ascontiguousarray(block).tobytes() for block in blocks)).hexdigest()
    done = inside(config, TORCH_PYTHON, EXAMPLES / "dask_map.py", lists)
    assert done.stdout.splitlines() == [f"{number},{block.mean():.6f}" for number, block in enumerate(blocks)]
    if GUNPOWDER_PYTHON.exists():
        done = inside(config, GUNPOWDER_PYTHON, EXAMPLES / "gunpowder.py", lists, "mitochondria")
        shares = [(labels[box(row)] > 0).mean() for row in rows(lists)]
        assert done.stdout.splitlines() == [f"{n},{block.mean():.6f},{share:.6f}" for n, (block, share) in enumerate(zip(blocks, shares, strict=True))]


@needs_torch
def test_a_list_in_json_is_read_as_one_in_csv(scene, tmp_path):
    _, made, _, config = scene
    arguments = ["v", "--count", 24, "--size", "24", "--region", "64x8"]
    lists, as_json = listed(config, tmp_path / "list.csv", *arguments), listed(config, tmp_path / "list.json", *arguments, "--format", "json")
    script = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
from emfs_blocks import Blocks, Stream
one, other = (Blocks(path) for path in sys.argv[1:])
assert one.rows == other.rows and Stream(one, shuffle=4, seed=1).order() == Stream(other, shuffle=4, seed=1).order()
"""
    inside(config, TORCH_PYTHON, "-c", script, lists, as_json)
    assert inside(config, TORCH_PYTHON, HASH, as_json, "zarr", 1).stdout.strip() == expected(made, lists)


@needs_torch
def test_blocks_are_normalised_by_the_statistics_of_their_store(scene, tmp_path):
    _, made, _, config = scene
    crop = "v/em.crop-z0-64_y0-96_x0-80.zarr"
    lists = {store: listed(config, tmp_path / f"{store.split('.')[1]}.csv", store, "--count", 3, "--size", "16") for store in ("v/em.zarr", crop)}
    told = {store: one for store in lists for one in json.loads(emfs("stats", "--config", config, store, "--blocks", 4, "--size", "16", "--format", "json").stdout)}
    assert told[crop]["mean"] != told["v/em.zarr"]["mean"]
    script = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
from emfs_blocks import Blocks
data = Blocks(sys.argv[1], stats=sys.argv[2])
print(*(float(image.double().mean()) for image, _ in data))
"""
    stats = tmp_path / "stats.json"
    for store, path in lists.items():
        voxels = made.levels[0][:64, :96, :80] if store == crop else made.levels[0]
        for order in (told.values(), list(told.values())[::-1], [told[store]]):
            stats.write_text(json.dumps(list(order)))
            found = [float(mean) for mean in inside(config, TORCH_PYTHON, "-c", script, path, stats).stdout.split()]
            right = [(voxels[box(row)].mean() - told[store]["mean"]) / told[store]["std"] for row in rows(path)]
            assert np.allclose(found, right, atol=1e-5), store
    view = listed(config, tmp_path / "view.csv", "v/em.chunk-64", "--count", 2, "--size", "16")
    without = [{key: value for key, value in one.items() if key != "store"} for one in told.values()]
    for path, given, words in (
            (view, list(told.values()), "there are 2 statistics of its image, and none of this store"),
            (lists["v/em.zarr"], without, "there are 2 statistics of its image"), (view, [], "there are no statistics of its image")):
        stats.write_text(json.dumps(given))
        done = inside(config, TORCH_PYTHON, "-c", script, path, stats, check=False)
        assert done.returncode == 1 and words in done.stderr, done.stderr
    stats.write_text(json.dumps([told["v/em.zarr"]]))
    assert inside(config, TORCH_PYTHON, "-c", script, view, stats).stdout, "the only ones of the image"


@needs_torch
@pytest.mark.parametrize("begin", [4.0, 0.0])
def test_labels_lie_on_their_image_by_nanometres(tmp_path, begin):
    """Labels of half the resolution that begin elsewhere: each voxel has the label that its centre lies in, and on a border the next."""
    from test_sample import write_pyramid

    rng = np.random.default_rng(4)
    root = tmp_path / "files"
    root.mkdir()
    labels = rng.integers(1, 200, (24, 32, 40), dtype="u2")
    write_pyramid(root / "em.zarr", [reference_volumes.noise((48, 64, 80), "u1", 1)], (8.0, 8.0, 8.0))
    write_pyramid(root / "cells.zarr", [labels], (16.0, 16.0, 16.0))
    attributes = json.loads((root / "cells.zarr/.zattrs").read_text())
    attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][1]["translation"] = [begin] * 3
    (root / "cells.zarr/.zattrs").write_text(json.dumps(attributes))
    with Origin(root) as origin:
        source = {"kind": "zarr", "url": f"{origin.url}/em.zarr"}
        image = {"name": "part", "source": source, "labels": [{"name": "cells", "source": {"kind": "zarr", "url": f"{origin.url}/cells.zarr"}}]}
        config = tmp_path / "v.toml"
        config.write_text(configuration({"v": {"source": source, "images": [image]}}))
        lists = listed(config, tmp_path / "list.csv", "v/part", "--count", 5, "--size", "9x16x20")
        script = f"""
import sys, numpy
sys.path.insert(0, {str(EXAMPLES)!r})
from emfs_blocks import Blocks
numpy.save({str(tmp_path / 'found.npy')!r}, numpy.stack([labels.numpy() for _, labels, _ in Blocks({str(lists)!r}, labels="cells")]))
"""
        inside(config, TORCH_PYTHON, "-c", script)
    whole = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    if begin == 0.0:
        whole = np.pad(whole, ((0, 1),) * 3)[1:, 1:, 1:]  # beyond the labels there are none
    assert np.array_equal(np.load(tmp_path / "found.npy"), np.stack([whole[box(row)] for row in rows(lists)]))


#: Dice of all voxels of held-out blocks that has to be reached, and must not where labels are shifted by 8 voxels. In trials beforehand
#: it was 0.51 to 0.59, and 0.28 to 0.32.
BOUND = 0.42


@needs_torch
def test_a_network_learns_from_the_replica_and_labels_that_are_shifted_are_not_found(demo, tmp_path):
    config = tmp_path / "demo.toml"
    config.write_text(demo.config)
    train = listed(config, tmp_path / "train.csv", "epfl-hippocampus/training", "--count", 320, "--size", "8x32x32", "--region", "8x64x64x8")
    test = listed(config, tmp_path / "test.csv", "epfl-hippocampus/testing", "--count", 32, "--size", "8x32x32", "--seed", 1)
    stats = tmp_path / "stats.json"
    stats.write_text(emfs("stats", "--config", config, "epfl-hippocampus/training", "epfl-hippocampus/testing", "--format", "json").stdout)
    done = inside(
        config, TORCH_PYTHON, EXAMPLES / "train.py", train, test, "--labels", "mitochondria", "--stats", stats, "--epochs", 2, "--workers", 1)
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if line.startswith("dice"))
    assert float(found["dice"]) > BOUND > float(found["dice with labels shifted by 8 voxels"]), done.stdout
    assert " samples/s, " in done.stdout and " bytes fetched per sample" in done.stdout
