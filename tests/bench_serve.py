"""`emfs serve` against nginx that serves the same exported files, and against a mount; as ratios of one run."""

import contextlib
import http.client
import os
import pathlib
import shutil
import statistics
import subprocess
import time

import numpy as np

import reference_volumes
from mounting import configuration, mounted
from serving import served as http_served

SECONDS = 3
EDGE = 64

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err; worker_processes auto;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=10000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextlib.contextmanager
def nginx(folder, root):
    from origin import listening_somewhere

    listener = listening_somewhere()
    port = listener.getsockname()[1]
    listener.close()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, root=root, port=port))
    os.chmod(folder, 0o755)
    process = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf", "-g", "user root;"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def load(folder):
    """A client that takes less of the machine than the servers do."""
    program = folder / "load"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", program, pathlib.Path(__file__).with_name("load.c")], check=True)
    return program


def rate(program, port, paths, connections):
    """Requests per second over kept connections, all bodies read."""
    done = subprocess.run([program, str(port), str(connections), str(SECONDS), *paths], capture_output=True, text=True, check=True)
    return float(done.stdout)


def blocks(array, number, seed, expected):
    rng = np.random.default_rng(seed)
    places = [tuple(slice(a, a + EDGE) for a in (int(rng.integers(0, n - EDGE + 1)) for n in expected.shape)) for _ in range(number)]
    start = time.perf_counter()
    for place in places:
        assert np.array_equal(array[place], expected[place])
    return (time.perf_counter() - start) / number


def run(folder, served, runs, number):
    import zarr

    root = folder / "serve-origin"
    root.mkdir()
    made = reference_volumes.zarr_group(root, "zarr", shape=(256, 512, 512), dtype="|u1", chunks=(64, 64, 64), levels=1, seed=3)
    print("\n| HTTP | Connections | serve, requests/s | nginx, requests/s | serve / nginx |\n|---|---:|---:|---:|---:|")
    with served(root) as url:
        source = {key: value.replace("{origin}", url) if isinstance(value, str) else value for key, value in made.source.items()}
        config = configuration({"v": source}, {"connections": 16, "stall": 10.0})
        copy = folder / "serve-copy"
        with mounted(folder / "serve-export", config, memory="1G") as mount:
            shutil.copytree(mount / "v", copy / "v", ignore=lambda _, names: [name for name in names if name != "em.zarr" and "zarr" in name])
        paths = [f"/v/em.zarr/s0/{z}/{y}/{x}" for z in range(4) for y in range(8) for x in range(8)]
        place = folder / "nginx"
        place.mkdir()
        home = folder / "serve-http"
        home.mkdir()
        with nginx(place, copy) as port, http_served(home, config, "--memory", "1G") as server:
            program = load(place)
            rate(program, server.port, paths, 4)
            for connections in (1, 32):
                pairs = []
                for _ in range(runs):
                    pairs.append((rate(program, server.port, paths, connections), rate(program, port, paths, connections)))
                ours, theirs = (statistics.median(values) for values in zip(*pairs))
                ratio = statistics.median(a / b for a, b in pairs)
                print(f"| warm 256 KiB chunks | {connections} | {ours:.0f} | {theirs:.0f} | {ratio:.2f} |")
    print("\n| zarr-python, random 64³ blocks | serve, ms | mount, ms | serve / mount |\n|---|---:|---:|---:|")
    with served(root, 0.02) as url:
        source = {key: value.replace("{origin}", url) if isinstance(value, str) else value for key, value in made.source.items()}
        config = configuration({"v": source}, {"connections": 16, "stall": 10.0})
        times = {"cold, origin 20 ms away": [], "warm": []}
        for attempt in range(runs):
            at = folder / f"serve-run-{attempt}"
            at.mkdir()
            with mounted(at, config, memory="1G") as mount, http_served(at, config, "--memory", "1G") as server:
                ways = [zarr.open_group(f"{server.url}v/em.zarr", mode="r")["s0"], zarr.open_group(mount / "v/em.zarr", mode="r")["s0"]]
                for state in times:
                    times[state].append([blocks(array, number, attempt, made.levels[0]) for array in ways])
        for state, pairs in times.items():
            ours, theirs = (statistics.median(values) * 1000 for values in zip(*pairs))
            print(f"| {state} | {ours:.1f} | {theirs:.1f} | {statistics.median(a / b for a, b in pairs):.2f} |")
