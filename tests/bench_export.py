"""A 512³ crop of a sharded JPEG volume on a server that answers after 20 ms, copied in several ways, paired in each run.

curl fetches the bytes and neither decodes nor converts them: by the ranges that emfs asked for, and by a range for each
chunk of the shards, as TensorStore asks. cloud-volume downloads the box and saves it as one array; TensorStore copies it
into a Zarr array of the same chunks and compression.
"""

import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

from make_precomputed_fixtures import CLOUDVOLUME_PYTHON, open_scale, read_scale, sharding
from mounting import BINARY, configuration
from origin import Origin
from reference_volumes import texture

SHAPE, START, EDGE, CHUNK = (576, 576, 576), (30, 20, 40), 512, 64
CONNECTIONS = 16
LATENCY = 0.02

CLOUDVOLUME = """
import sys, time
import numpy as np
from cloudvolume import CloudVolume
url, start, edge, out = sys.argv[1], [int(n) for n in sys.argv[2].split(",")], int(sys.argv[3]), sys.argv[4]
begin = time.perf_counter()
volume = CloudVolume("precomputed://" + url, progress=False, cache=False, green_threads=False)
z, y, x = start
np.save(out, np.asarray(volume[x:x + edge, y:y + edge, z:z + edge]))
print(time.perf_counter() - begin)
"""


def write_volume(root):
    folder = root / "hemi"
    scale = {
        "key": "s", "size": SHAPE[::-1], "resolution": [8.0] * 3, "chunk_size": [CHUNK] * 3, "encoding": "jpeg", "voxel_offset": [0] * 3,
        "sharding": sharding(9, 6, 15), "jpeg_quality": 75,
    }
    store = open_scale(folder, scale, "uint8")
    store[..., 0].write(texture(SHAPE, "u1", 1).transpose(2, 1, 0)).result()
    return folder


def export(url, folder, to):
    file = folder / "export.toml"
    file.write_text(configuration({"v": {"kind": "precomputed", "url": f"{url}/hemi"}}, {"connections": CONNECTIONS, "stall": 30.0}))
    box = "_".join(f"{axis}{start}-{start + EDGE}" for axis, start in zip("zyx", START, strict=True))
    begin = time.perf_counter()
    subprocess.run([BINARY, "export", f"v/em.crop-{box}", to, "--config", file, "--cache-size", "0", "--quiet"], check=True)
    return time.perf_counter() - begin


def curl(url, folder, ranges):
    file = folder / "curl.txt"
    lines = []
    for number, (path, start, end) in enumerate(ranges):
        lines += [f'url = "{url}{path}"', f'range = "{start}-{end - 1}"', f'output = "{folder}/part-{number}"', "next"]
    file.write_text("\n".join(lines[:-1]) + "\n")
    begin = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", "--parallel", "--parallel-max", str(CONNECTIONS), "--config", file], check=True)
    return time.perf_counter() - begin


def tensorstore_copy(url, to):
    import tensorstore

    begin = time.perf_counter()
    box = tuple(slice(start, start + EDGE) for start in START)
    source = tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": f"{url}/hemi/"}, read=True).result()[..., 0]
    target = tensorstore.open({
        "driver": "zarr", "kvstore": f"file://{to}/",
        "metadata": {"shape": [EDGE] * 3, "chunks": [CHUNK] * 3, "dtype": "|u1", "compressor": {"id": "zstd", "level": 1}, "dimension_separator": "/"},
    }, create=True).result()
    target.write(source[box[::-1]].transpose([2, 1, 0])[tensorstore.d[:].translate_to[0]]).result()
    return time.perf_counter() - begin


def cloudvolume_copy(url, to):
    done = subprocess.run([CLOUDVOLUME_PYTHON, "-c", CLOUDVOLUME, f"{url}/hemi", ",".join(map(str, START)), str(EDGE), to],
                          check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def shard_ranges(origin):
    """The ranges of shards that were asked for."""
    return [(request.path, *request.range) for request in origin.requests
            if request.range and request.range[1] < 1 << 61 and request.path.endswith(".shard")]


def run(folder, runs):
    import zarr

    folder = pathlib.Path(folder) / "export"
    root = folder / "origin"
    root.mkdir(parents=True)
    write_volume(root)
    with Origin(root) as origin:
        export(origin.url, folder, folder / "first")
        joined = shard_ranges(origin)
        origin.forget()
        tensorstore_copy(origin.url, folder / "first-by-tensorstore")
        single = shard_ranges(origin)
    truth = read_scale(root / "hemi", None, 0)[tuple(slice(start, start + EDGE) for start in START)]
    found = zarr.open_group(folder / "first", mode="r")["s0"][...]
    assert np.abs(found.astype(int) - truth.astype(int)).max() <= 1
    server = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("bench.py"), "--serve", root, "--latency", str(LATENCY)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ways = ["emfs export", f"curl, the same {len(joined)} ranges", f"curl, a range a chunk, {len(single)}", "cloud-volume", "TensorStore"]
    times = []
    try:
        url = server.stdout.readline().strip()
        for number in range(runs):
            times.append([
                export(url, folder, folder / f"e{number}"), curl(url, folder, joined), curl(url, folder, single),
                cloudvolume_copy(url, folder / f"c{number}.npy"), tensorstore_copy(url, folder / f"t{number}"),
            ])
    finally:
        server.stdin.close()
        server.wait(10)
    print(f"\nA {EDGE}³ crop of a sharded JPEG volume, {LATENCY * 1000:.0f} ms latency, {CONNECTIONS} connections, "
          f"{sum(end - start for _, start, end in joined) / 2**20:.1f} MiB; medians of {runs} paired runs.\n")
    print("| Way | Seconds | Speed of emfs export / this |")
    print("|---|---:|---:|")
    for way, seconds in zip(ways, zip(*times), strict=True):
        ratio = statistics.median(other / run[0] for run, other in zip(times, seconds))
        print(f"| {way} | {statistics.median(seconds):.2f} | {ratio:.2f} |")
