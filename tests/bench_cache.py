"""What is kept on disk, read with the page cache dropped: against plain files of the same bytes, and from the start.

Every chunk of an uncompressed TIFF is read once, in random order by four threads, and so are plain files that hold the same
chunks; each reader reads both. Of 1 MiB planes a chunk shows sixteen, and the first to be read brings them all into memory;
of larger ones it shows bands of four.
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
import reference_volumes
from mounting import configuration, emfs, mounted

THREADS = 4
SHAPES = {"1 MiB": (256, 1024, 1024), "3 MiB": (84, 1536, 2048)}


def run(folder, serve, runs, drop):
    root = folder / "kept-origin"
    root.mkdir()
    made = {planes: reference_volumes.imagej(root, f"kept-{shape[0]}", shape, "u1", 4) for planes, shape in SHAPES.items()}
    print(f"\nChunks of an uncompressed TIFF that are kept on disk, in random order, {THREADS} threads, page cache dropped; plain files hold the same chunks.\n")
    print("| Planes | Reader | Mount, MiB/s | Plain files, MiB/s | Speed |")
    print("|---|---|---:|---:|---:|")
    with serve(root) as url:
        benches = {planes: Bench(folder, volume, url, drop) for planes, volume in made.items()}
    for planes, bench in benches.items():
        for reader in [by_fio, by_threads] if shutil.which("fio") else [by_threads]:
            pairs = [bench.pair(reader, seed) for seed in range(runs)]
            mount, plain = (statistics.median(rates) for rates in zip(*pairs, strict=True))
            print(f"| {planes} | {reader.__doc__} | {mount:.0f} | {plain:.0f} | {statistics.median(a / b for a, b in pairs):.2f} |")
    starts = statistics.median(benches["1 MiB"].start() for _ in range(runs))
    print(f"\nFrom the start of `emfs mount` to the first kept chunk: {starts * 1000:.0f} ms.")


class Bench:
    """A volume that is kept whole, and its chunks as plain files."""

    def __init__(self, folder, made, url, drop):
        self.folder, self.made, self.drop = folder / made.name, made, drop
        self.cache, self.plain = self.folder / "cache", self.folder / "plain"
        self.plain.mkdir(parents=True)
        source = {key: value.replace("{origin}", url) if isinstance(value, str) else value for key, value in made.source.items()}
        self.config, config_file = configuration({"v": source}), self.folder / "warm.toml"
        config_file.write_text(self.config)
        emfs("warm", "v", "--config", config_file, "--cache-dir", self.cache, timeout=600)
        self.indices = list(expected.chunk_indices(made.levels[0].shape, made.chunk[0]))
        self.chunks = [expected.chunk_path(index) for index in self.indices]
        for chunk, index in zip(self.chunks, self.indices, strict=True):
            file = self.plain / chunk
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.right(index))
        self.total = sum((self.plain / chunk).stat().st_size for chunk in self.chunks)
        os.sync()

    def right(self, index):
        return expected.chunk_bytes(self.made.levels[0], self.made.chunk[0], index)

    def mounted(self):
        return mounted(self.folder, self.config, "--offline", cache=self.cache, memory="1G")

    def pair(self, reader, seed):
        """MiB/s through the mount and from the plain files."""
        chunks = random.Random(seed).sample(self.chunks, len(self.chunks))
        with self.mounted() as mount:
            store = mount / "v" / "em.zarr" / "s0"
            (store / ".zarray").read_bytes()
            self.drop(self.cache)
            seconds = [reader(store, chunks)]
            # What was read is what it should be, outside of the time.
            for index in self.indices[::97]:
                assert (store / expected.chunk_path(index)).read_bytes() == self.right(index)
        self.drop(self.plain)
        seconds.append(reader(self.plain, chunks))
        return [self.total / (1 << 20) / each for each in seconds]

    def start(self):
        """Seconds to the first chunk."""
        self.drop(self.cache)
        begin = time.perf_counter()
        with self.mounted() as mount:
            found = (mount / "v" / "em.zarr" / "s0" / self.chunks[0]).read_bytes()
            seconds = time.perf_counter() - begin
        assert found == self.right(self.indices[0])
        return seconds


def by_threads(folder, chunks):
    """Python"""
    def read(chunk):
        descriptor = os.open(folder / chunk, os.O_RDONLY)
        while os.read(descriptor, 1 << 20):
            pass
        os.close(descriptor)

    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, chunks))
    return time.perf_counter() - begin


def by_fio(folder, chunks):
    """fio"""
    size = (folder / chunks[0]).stat().st_size
    command = ["fio", "--readonly", "--ioengine=psync", f"--bs={size}", "--rw=randread", "--group_reporting", "--output-format=json", "--thread", "--invalidate=1", f"--directory={folder}"]
    for thread in range(THREADS):
        mine = chunks[thread::THREADS]
        command += [f"--name=r{thread}", f"--filename={':'.join(mine)}", "--file_service_type=random", f"--io_size={len(mine) * size}", f"--nrfiles={len(mine)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (sums,) = [job["read"] for job in json.loads(done.stdout[done.stdout.index("{"):])["jobs"]]
    return sums["runtime"] / 1000 * (len(chunks) * size / sums["io_bytes"])
