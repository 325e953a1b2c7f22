"""What is kept on disk, read with the page cache dropped: against fio on the same bytes in plain files, and from the start.

Every chunk of an uncompressed TIFF is read once, in random order by four threads. fio reads files of the same size as the
chunks, each once, in random order by four jobs.
"""

import concurrent.futures
import json
import os
import random
import shutil
import statistics
import subprocess
import time

import expected
import truth
from mounting import configuration, emfs, mounted

THREADS = 4


def volume(root):
    return truth.imagej(root, "kept", (256, 1024, 1024), "u1", 4)


def measure(folder, made, url, runs, drop):
    """Rows of the table: what, the mount, the peer, ratio."""
    source = {key: value.replace("{origin}", url) if isinstance(value, str) else value for key, value in made.source.items()}
    config, cache, plain = configuration({"v": source}), folder / "kept", folder / "plain"
    config_file = folder / "kept.toml"
    config_file.write_text(config)
    emfs("warm", "v", "--config", config_file, "--cache-dir", cache, timeout=600)
    indices = list(expected.chunk_indices(made.levels[0].shape, made.chunk[0]))
    plain.mkdir()
    for number, index in enumerate(indices):
        (plain / str(number)).write_bytes(expected.chunk_bytes(made.levels[0], made.chunk[0], index))
    os.sync()
    chunk_bytes, total = (plain / "0").stat().st_size, sum(file.stat().st_size for file in plain.iterdir())
    ours, theirs, starts = [], [], []
    for run in range(runs):
        random.Random(run).shuffle(indices)
        drop(cache)
        with mounted(folder / f"kept-{run}", config, "--offline", cache=cache, memory="1G") as mount:
            store = mount / "v" / "em.zarr" / "s0"
            (store / ".zarray").read_bytes()
            drop(cache)
            ours.append(total / by_threads([store / expected.chunk_path(index) for index in indices]))
        drop(plain)
        paths = [plain / str(number) for number in range(len(indices))]
        theirs.append(total / (by_fio(plain, chunk_bytes) if shutil.which("fio") else by_threads(random.Random(run).sample(paths, len(paths)))))
        begin = time.perf_counter()
        with mounted(folder / f"start-{run}", config, "--offline", cache=cache) as mount:
            found = (mount / "v" / "em.zarr" / "s0" / expected.chunk_path(indices[0])).read_bytes()
            starts.append(time.perf_counter() - begin)
            assert found == expected.chunk_bytes(made.levels[0], made.chunk[0], indices[0])
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    peer = "fio" if shutil.which("fio") else "plain files"
    rate = lambda values: f"{statistics.median(values) / (1 << 20):.0f} MiB/s"
    yield f"kept chunks in random order, {THREADS} threads, page cache dropped", rate(ours), f"{peer}: {rate(theirs)}", f"{ratio:.2f}"
    yield "from the start of `emfs mount` to the first kept chunk", f"{statistics.median(starts) * 1000:.0f} ms", "", ""


def by_threads(paths):
    """Seconds to read the files."""
    def read(path):
        descriptor = os.open(path, os.O_RDONLY)
        while os.read(descriptor, 1 << 20):
            pass
        os.close(descriptor)

    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, paths))
    return time.perf_counter() - begin


def by_fio(folder, chunk_bytes):
    names = sorted(file.name for file in folder.iterdir())
    job = ["fio", "--ioengine=psync", f"--bs={chunk_bytes}", "--group_reporting", "--output-format=json", "--thread", "--invalidate=1"]
    jobs = []
    for thread in range(THREADS):
        mine = names[thread::THREADS]
        jobs += [f"--name=r{thread}", "--rw=randread", f"--directory={folder}", f"--filename={':'.join(mine)}", "--file_service_type=random", f"--io_size={len(mine) * chunk_bytes}", f"--nrfiles={len(mine)}"]
    done = subprocess.run([*job, *jobs], capture_output=True, text=True, check=True, cwd=folder)
    found = json.loads(done.stdout[done.stdout.index("{"):])
    (sums,) = [job["read"] for job in found["jobs"]]
    return sums["runtime"] / 1000 * (len(names) * chunk_bytes / sums["io_bytes"])
