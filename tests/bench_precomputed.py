"""Times of a sharded JPEG volume behind an origin that answers after 20 ms, cold: through a mount, by TensorStore itself.

A run takes every way once with the same boxes. `processes` read at a time, those of emfs from one mount; a time is that from
the common start to the end of the last. Run with `read` it is one of these processes.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy as np

from make_precomputed_fixtures import write_two_minishards
from mounting import configuration, mounted

LATENCY = 0.02
EDGE = 128
SIDE = 512
GRAIN = 28  # chunks of about 50 KB, a fifth of their voxels


def boxes_of(what, processes, seed, count):
    """What each process reads: half-open ranges along z, y, x."""
    rng = np.random.default_rng(seed)
    if what == f"{count} random {EDGE}³":
        corners = [[[int(rng.integers(0, n - EDGE + 1)) for n in (SIDE, SIDE, 2 * SIDE)] for _ in range(count)] for _ in range(processes)]
        return [[[[a, a + EDGE] for a in corner] for corner in each] for each in corners]
    slab = SIDE // processes
    return [[[[n * slab, (n + 1) * slab], [0, SIDE], [0, SIDE]]] for n in range(processes)]


def rows(folder, serve, runs, count):
    root = folder / "precomputed"
    root.mkdir()
    truth = write_two_minishards(root, grain=GRAIN)
    np.save(folder / "truth.npy", truth)
    config = lambda url: configuration({"v": {"kind": "precomputed", "url": f"{url}/em"}}, {"connections": 16, "stall": 10.0})
    with serve(root, LATENCY) as url:
        for what in (f"{count} random {EDGE}³", f"a box of {SIDE}³"):
            for processes in (1, 4):
                times = {}
                for run in range(runs):
                    boxes = boxes_of(what, processes, run, count)
                    times.setdefault("direct", []).append(timed(folder, "direct", f"{url}/em", boxes))
                    for reader in ("zarr-python", "TensorStore"):
                        with mounted(folder / f"{what[:2]}-{processes}-{run}-{reader}", config(url), memory="1G") as mount:
                            times.setdefault(reader, []).append(timed(folder, reader, mount / "v" / "em.zarr", boxes))
                for reader in ("zarr-python", "TensorStore"):
                    ratio = statistics.median(a / b for a, b in zip(times["direct"], times[reader], strict=True))
                    seconds = [f"{statistics.median(times[way]):.2f}" for way in (reader, "direct")]
                    yield what, str(processes), reader, *seconds, f"{ratio:.2f}"


def timed(folder, way, path, boxes):
    """Seconds until every process has read its boxes."""
    command = [sys.executable, __file__, "read", way, path, folder / "truth.npy"]
    started = [subprocess.Popen([*command, json.dumps(each)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in boxes]
    try:
        for process in started:
            assert process.stdout.readline() == "ready\n"
        begin = time.perf_counter()
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            assert process.stdout.readline() == "read\n"
        seconds = time.perf_counter() - begin
        for process in started:
            assert process.wait(60) == 0, "wrong voxels"
        return seconds
    finally:
        for process in started:
            process.kill()
            process.wait()


def read(way, path, truth, boxes):
    import tensorstore

    if way == "zarr-python":
        import zarr

        array = zarr.open_group(path, mode="r")["s0"]
    elif way == "TensorStore":
        array = tensorstore.open({"driver": "zarr", "kvstore": f"file://{path}/s0/"}, open=True, read=True).result()
    else:
        array = tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": f"{path}/"}, open=True, read=True).result()
        array = array[..., 0].transpose([2, 1, 0])
    boxes = [tuple(slice(*ends) for ends in box) for box in json.loads(boxes)]
    print("ready", flush=True)
    sys.stdin.readline()
    found = [array[box] if way == "zarr-python" else array[box].read().result() for box in boxes]
    print("read", flush=True)
    truth = np.load(truth, mmap_mode="r")
    # JPEG decoders may round either way.
    return all(np.abs(a.astype(np.int16) - truth[box]).max() <= 1 for a, box in zip(found, boxes, strict=True))


if __name__ == "__main__":
    sys.exit(0 if read(*sys.argv[2:]) else 1)
