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
from mounting import BINARY, configuration, mounted

LATENCY = 0.02
EDGE = 128
SIDE = 512
READERS = ("zarr-python", "TensorStore")
GRAIN = 28  # chunks of about 50 KB, a fifth of their voxels


def boxes_of(what, processes, seed, count):
    """What each process reads: half-open ranges along z, y, x."""
    rng = np.random.default_rng(seed)
    if what == f"{count} random {EDGE}³":
        corners = [[[int(rng.integers(0, n - EDGE + 1)) for n in (SIDE, SIDE, 2 * SIDE)] for _ in range(count)] for _ in range(processes)]
        return [[[[a, a + EDGE] for a in corner] for corner in each] for each in corners]
    slab = SIDE // processes
    return [[[[n * slab, (n + 1) * slab], [0, SIDE], [0, SIDE]]] for n in range(processes)]


def run(folder, serve, runs, count):
    bench = Bench(folder, serve)
    print(f"\nA sharded JPEG volume, cold, origin answering after {LATENCY * 1000:.0f} ms; speed is that of emfs with TensorStore's own as 1.\n")
    print("| Read | Processes | Reader | Mount, s | TensorStore on the origin, s | Speed |")
    print("|---|---:|---|---:|---:|---:|")
    for row in bench.rows(runs, count):
        print("| " + " | ".join(row) + " |", flush=True)
    print("\n| JPEG decoder alone, million voxels a second | Share of a chunk with its checks | Share of a volume in a local file |")
    print("|---:|---:|---:|")
    print(bench.decoding())
    print("\n| Entries | `ls -l` in a mount, ms | in a local folder, ms | Ratio |")
    print("|---:|---:|---:|---:|")
    print("| " + " | ".join(bench.listing()) + " |")


class Bench:
    """A volume in `folder`, and what is measured of it. `serve`: see bench.served."""

    def __init__(self, folder, serve):
        self.folder, self.serve = folder, serve
        self.root = folder / "precomputed"
        self.root.mkdir()
        np.save(folder / "truth.npy", write_two_minishards(self.root, grain=GRAIN))

    def mounted(self, name, url):
        config = configuration({"v": {"kind": "precomputed", "url": f"{url}/em"}}, {"connections": 16, "stall": 10.0})
        return mounted(self.folder / name, config, memory="1G")

    def rows(self, runs, count):
        with self.serve(self.root, LATENCY) as url:
            for what in (f"{count} random {EDGE}³", f"a box of {SIDE}³"):
                for processes in (1, 4):
                    yield from self.compare(url, what, processes, runs, count)

    def compare(self, url, what, processes, runs, count):
        times = {}
        for run in range(runs):
            boxes = boxes_of(what, processes, run, count)
            times.setdefault("direct", []).append(timed(self.folder, "direct", f"{url}/em", boxes))
            for reader in READERS:
                with self.mounted(f"{what[:2]}-{processes}-{run}-{reader}".replace(" ", ""), url) as mount:
                    times.setdefault(reader, []).append(timed(self.folder, reader, mount / "v" / "em.zarr", boxes))
        for reader in READERS:
            ratio = statistics.median(a / b for a, b in zip(times["direct"], times[reader], strict=True))
            seconds = [f"{statistics.median(times[way]):.2f}" for way in (reader, "direct")]
            yield what, str(processes), reader, *seconds, f"{ratio:.2f}"

    def decoding(self):
        """A row: the decoder alone, and shares of it, see src/cli/decode_rate.rs."""
        result = subprocess.run([BINARY, "decode-rate", self.root / "em"], text=True, capture_output=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return next(line for line in result.stdout.splitlines() if line.startswith("| "))

    def listing(self, runs=15, entries=647):
        """Directories that nobody has listed yet, of as many chunks as the hemibrain has along an axis."""
        local = self.folder / "listing"
        for run in range(runs):
            for n in range(entries):
                (local / str(run) / str(n)).mkdir(parents=True)
        info = json.loads((self.root / "em" / "info").read_text())
        info["scales"][0]["size"] = [64 * entries] * 3
        (self.root / "wide" / "em").mkdir(parents=True)
        (self.root / "wide" / "em" / "info").write_text(json.dumps(info))
        with self.serve(self.root / "wide") as url, self.mounted("wide", url) as mount:
            store = mount / "v" / "em.zarr" / "s0"
            store.stat()
            times = [(seconds("ls", "-l", store / str(run)), seconds("ls", "-l", local / str(run))) for run in range(runs)]
        medians = [f"{statistics.median(column) * 1000:.1f}" for column in zip(*times)]
        return str(entries), *medians, f"{statistics.median(a / b for a, b in times):.2f}"


def seconds(*command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


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
