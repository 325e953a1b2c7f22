"""Times of cold views of computed levels of a stack of planes, behind an origin that answers after 20 ms: through a mount, and by
tifffile over fsspec, which reads the same planes and is spared the mean.
"""

import statistics
import time

import fsspec
import tensorstore
import tifffile

import reference_volumes
from mounting import configuration, mounted

LATENCY = 0.02
LEVELS = (1, 2)


def through_mount(store, level, z):
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{store}/s{level}/"}}
    return tensorstore.open(spec, read=True).result()[z].read().result()


def by_tifffile(url, planes):
    with fsspec.open(url, "rb").open() as file, tifffile.TiffFile(file) as opened:
        return [opened.pages[plane].asarray() for plane in planes]


def run(folder, serve, runs):
    root = folder / "pyramids"
    root.mkdir()
    reference_volumes.itk(root, "planes", (72, 1536, 2048), "u1", 1)
    print(f"\nCold views of computed levels of 72 × 1536 × 2048 voxels, origin answering after {LATENCY * 1000:.0f} ms; tifffile reads the same planes.\n")
    print("| Level | Mount by TensorStore, s | tifffile over fsspec, s | Speed |")
    print("|---|---:|---:|---:|")
    with serve(root, LATENCY) as url:
        config = configuration({"v": {"kind": "tiff", "url": f"{url}/planes.tif", "voxel_size": [5, 5, 5]}}, {"connections": 16, "stall": 10.0})
        for level in LEVELS:
            direct, through = [], []
            for number in range(runs):
                z = (5 + 3 * number) % (72 >> level)
                with mounted(folder / f"pyramids-{level}-{number}", config, memory="1G") as mount:
                    start = time.perf_counter()
                    through_mount(mount / "v" / "em.zarr", level, z)
                    through.append(time.perf_counter() - start)
                start = time.perf_counter()
                by_tifffile(f"{url}/planes.tif", range(z << level, (z + 1) << level))
                direct.append(time.perf_counter() - start)
            ratio = statistics.median(a / b for a, b in zip(direct, through, strict=True))
            print(f"| s{level} | {statistics.median(through):.2f} | {statistics.median(direct):.2f} | {ratio:.2f} |", flush=True)
