"""Starts `emfs serve` and always ends it; clients that are no library of ours."""

import contextlib
import http.client
import json
import pathlib
import select
import signal
import subprocess
import urllib.parse

import numpy as np

import reference_volumes
from mounting import BINARY, emfs

#: The first chunk of the volume `v`, which `small_volume` is.
CHUNK = "/v/em.zarr/s0/0/0/0"


def small_volume(root):
    return reference_volumes.zarr_group(root, "small", shape=(64, 96, 80), dtype="<u2", chunks=(32, 32, 32), levels=2, seed=5)


def first_chunk(made):
    """The bytes of its first chunk."""
    return np.ascontiguousarray(made.levels[0][:32, :32, :32]).tobytes()


class Server:
    """A server. `url` ends in a slash."""

    def __init__(self, process, url, log_file):
        self.process = process
        self.url = url
        self.log_file = log_file
        self.port = urllib.parse.urlsplit(url).port

    @property
    def log(self):
        return self.log_file.read_text(errors="replace")

    def ask(self, path, method="GET", body=True, **headers):
        """(status, headers, body) of a request on a connection of its own; `_` in names of headers stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read() if body else b""
        finally:
            connection.close()

    def status(self):
        return json.loads(emfs("status", self.url, "--json").stdout)

    def get(self, path, **headers):
        return self.ask(path, **headers)


@contextlib.contextmanager
def served(folder, config, *options, listen="127.0.0.1:0", cache=None):
    """Serves `config` (TOML text); SIGTERM has to end it."""
    folder = pathlib.Path(folder)
    config_file, log_file = folder / "serve.toml", folder / "serve.log"
    config_file.write_text(config)
    keep = ["--cache-size", "0"] if cache is None else ["--cache-dir", cache]
    arguments = [BINARY, "serve", "--listen", listen, "--config", config_file, *keep, *options]
    with open(log_file, "wb") as log:
        process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
    try:
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready, "no address within 30 s"
        line = process.stdout.readline().decode()
        assert line.endswith("/\n"), f"{line!r} {log_file.read_text()}"
        yield Server(process, line.rstrip("\n"), log_file)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, log_file.read_text()[-2000:]
    finally:
        process.kill()
        process.wait(15)
        process.stdout.close()
