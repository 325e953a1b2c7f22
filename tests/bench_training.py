"""What share of its time a training loop waits: scripts/bench training [STEP].

128³ uint8 blocks of a volume of 64³ native blocks, 20 ms from its origin, to a step of 0.1 s (or STEP) by 4 workers: through a mount, by
regions and uniformly, cold and warm, by TensorStore on the origin, and where nothing is read at all. One run, interleaved.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from torch.utils.data import DataLoader

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts" / "examples"))

from emfs_blocks import Blocks, Stream  # noqa: E402
from mounting import configuration, emfs, mounted  # noqa: E402

COUNT, SIDE, STEP = 96, 640, float(sys.argv[1]) if len(sys.argv) > 1 else 0.1

SERVE = "import sys, time; sys.path.insert(0, sys.argv[2]); from origin import Origin; o = Origin(sys.argv[1], latency=0.02); o.start(); print(o.url, flush=True); time.sleep(3600)"


class OnOrigin(Blocks):
    """The same blocks by TensorStore from the origin itself, with a cache that holds some regions."""

    def open(self, path):
        if os.getpid() not in self.opened:
            import tensorstore

            context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 256 << 20}})
            spec = {"driver": "zarr", "kvstore": f"{self.root}/em.zarr/s0/", "recheck_cached_data": False}
            self.opened[os.getpid()] = tensorstore.open(spec, read=True, context=context).result()
        return self.opened[os.getpid()]


class Nothing(Blocks):
    """Blocks of zeros, to see what the loader costs."""

    def read(self, path, box):
        return np.zeros([side.stop - side.start for side in box], "u1")


def epoch(data):
    loader = DataLoader(Stream(data), batch_size=1, num_workers=4, prefetch_factor=4)
    given = iter(loader)
    waited, begin = 0.0, time.perf_counter()
    samples = 0
    while True:
        asked = time.perf_counter()
        block = next(given, None)
        if block is None:
            break
        # The first one waits for the workers to start.
        if samples:
            waited += time.perf_counter() - asked
        else:
            begin = time.perf_counter()
        samples += 1
        time.sleep(STEP)
    seconds = time.perf_counter() - begin
    return waited / seconds, samples / seconds


def main():
    import zarr

    here = pathlib.Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory(prefix="emfs-bench-training-") as folder:
        folder = pathlib.Path(folder)
        (folder / "files").mkdir()
        scales = [{"type": "scale", "scale": [8.0, 8.0, 8.0]}]
        axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
        multiscales = [{"version": "0.4", "axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": scales}]}]
        group = zarr.create_group(folder / "files/em.zarr", zarr_format=2, attributes={"multiscales": multiscales})
        array = group.create_array("s0", shape=(SIDE,) * 3, dtype="u1", chunks=(64,) * 3, fill_value=0, compressors=None)
        array[...] = np.random.default_rng(0).integers(1, 255, (SIDE,) * 3, dtype="u1")
        server = subprocess.Popen([sys.executable, "-c", SERVE, folder / "files", here], stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().strip()
            config = configuration({"v": {"kind": "zarr", "url": f"{url}/em.zarr"}}, {"connections": 32})
            (folder / "config.toml").write_text(config)
            lists = {}
            for name, options in {"regions": ["--region", "256x8"], "uniform": []}.items():
                lists[name] = folder / f"{name}.csv"
                lists[name].write_text(emfs("sample", "--config", folder / "config.toml", "v", "--count", COUNT, *options).stdout)
            found = {}
            for number in range(2):
                for name, path in lists.items():
                    with mounted(folder / f"{name}{number}", config, cache=folder / f"cache-{name}{number}") as mount:
                        data = Blocks(path, root=str(mount.path))
                        found.setdefault(f"emfs, {name}, cold", []).append(epoch(data))
                        found.setdefault(f"emfs, {name}, warm", []).append(epoch(data))
                found.setdefault("nothing read", []).append(epoch(Nothing(lists["regions"], root=url)))
                found.setdefault("TensorStore on the origin, regions", []).append(epoch(OnOrigin(lists["regions"], root=url)))
            for name, runs in found.items():
                waits, rates = zip(*runs, strict=True)
                print(f"{name:<40} waits {statistics.median(waits):6.1%}   {statistics.median(rates):5.2f} samples/s")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
