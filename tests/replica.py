"""The replica of the archives inside the binary, and the truth of its files read by tools that are not emfs."""

import contextlib
import io
import json
import os
import re
import select
import subprocess
import time
import tomllib
import urllib.error
import urllib.request

import numpy as np

from mounting import BINARY
from reference_volumes import Volume


@contextlib.contextmanager
def served(log_file):
    """Runs `emfs demo --serve --log`; yields its configuration as text. Requests are logged to `log_file`."""
    with open(log_file, "wb") as log:
        server = subprocess.Popen([BINARY, "demo", "--serve", "--log"], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield read_configuration(server)
    finally:
        server.terminate()
        try:
            assert server.wait(10) == 0, f"emfs demo --serve ended with {server.returncode} on SIGTERM"
        finally:
            server.kill()
            server.stdout.close()


def read_configuration(server):
    """What the server prints; it is complete when it parses and nothing follows for half a second."""
    text, deadline = b"", time.monotonic() + 20
    while time.monotonic() < deadline:
        ready, _, _ = select.select([server.stdout], [], [], 0.5)
        if ready:
            piece = os.read(server.stdout.fileno(), 65536)
            assert piece, f"emfs demo --serve ended early with {server.wait()}"
            text += piece
        elif text:
            with contextlib.suppress(tomllib.TOMLDecodeError):
                if "dataset" in tomllib.loads(text.decode()):
                    return text.decode()
    raise AssertionError(f"emfs demo --serve printed no configuration: {text!r}")


def images(config):
    """(dataset, image, labels, source table) of all images and labels of a configuration."""
    for dataset in tomllib.loads(config)["dataset"]:
        yield dataset["name"], "em", None, dataset["source"]
        for label in dataset.get("labels", []):
            yield dataset["name"], "em", label["name"], label["source"]
        for image in dataset.get("image", []):
            yield dataset["name"], image["name"], None, image["source"]
            for label in image.get("labels", []):
                yield dataset["name"], image["name"], label["name"], label["source"]


def truth(source):
    """The volume that a source table names, fetched whole and read by tifffile, zarr-python or nionswift-io."""
    if source["kind"] == "zarr":
        return zarr_truth(source)
    if source["kind"] == "empiar":
        return empiar_truth(source)
    if source["kind"] == "precomputed":
        return precomputed_truth(source)
    return tiff_truth(idr_file(source) if source["kind"] == "idr" else source["url"], source.get("voxel_size"))


def fetch(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def idr_file(source):
    found = json.loads(fetch(f"{source['server'].rstrip('/')}/webgateway/original_file_paths/{source['image']}/"))
    path = found["client"][0].partition("uod/idr/filesets/")[2]
    return f"{source['files'].rstrip('/')}/{path}"


def empiar_truth(source):
    import dm_files

    document = json.loads(fetch(f"{source['server'].rstrip('/')}/api/entry/{source['entry']}/"))
    (images,) = document[f"EMPIAR-{source['entry']}"]["imagesets"]
    folder = f"{source['files'].rstrip('/')}/{source['entry']}/{images['directory']}/"
    names = sorted(set(re.findall(r'href="([^"/?]+\.dm3)"', fetch(folder).decode())))
    voxels = np.stack([dm_files.read(fetch(folder + name)) for name in names])
    assert len(voxels) == images["num_images_or_tilt_series"]
    return Volume(name=folder, source={}, levels=[voxels], scale=[[50.0, 7.99825, 7.99825]], translation=[[0.0] * 3], chunk=[], file=folder)


def tiff_truth(url, voxel_size):
    import tifffile

    with tifffile.TiffFile(io.BytesIO(fetch(url))) as file:
        voxels = file.series[0].asarray()
    voxels = voxels.reshape((-1, *voxels.shape[-2:]))
    return Volume(name=url, source={}, levels=[voxels], scale=[voxel_size], translation=[[0.0] * 3], chunk=[], file=url)


def zarr_truth(source):
    import zarr

    url = source["url"].rstrip("/")
    if url.startswith("s3://"):
        url = f"{source['endpoint'].rstrip('/')}/{url[5:]}"
    multiscale = json.loads(fetch(f"{url}/.zattrs"))["multiscales"][0]
    levels, scales, translations, chunks = [], [], [], []
    for entry in multiscale["datasets"]:
        array = json.loads(fetch(f"{url}/{entry['path']}/.zarray"))
        contents = {"a/.zarray": json.dumps(array).encode()}
        separator = array.get("dimension_separator", ".")
        for index in np.ndindex(*(-(-n // c) for n, c in zip(array["shape"], array["chunks"], strict=True))):
            key = separator.join(map(str, index))
            with contextlib.suppress(urllib.error.HTTPError):
                contents[f"a/{key}"] = fetch(f"{url}/{entry['path']}/{key}")
        store = zarr.storage.MemoryStore({k: zarr.core.buffer.cpu.Buffer.from_bytes(v) for k, v in contents.items()})
        levels.append(zarr.open_array(store, path="a", mode="r", zarr_format=2)[...])
        transforms = {t["type"]: t[t["type"]] for t in entry["coordinateTransformations"]}
        scales.append(transforms["scale"])
        translations.append(transforms.get("translation", [0.0] * 3))
        chunks.append(array["chunks"])
    return Volume(name=url, source={}, levels=levels, scale=scales, translation=translations, chunk=chunks, file=url)


def precomputed_truth(source):
    import tensorstore

    url = f"{source['endpoint'].rstrip('/')}/{source['url'].partition('://')[2]}"
    info = json.loads(fetch(f"{url}/info"))
    levels, scales, translations, chunks = [], [], [], []
    finest = info["scales"][0]["resolution"][::-1]
    for number, scale in enumerate(info["scales"]):
        store = tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": f"{url}/", "scale_index": number}, read=True).result()
        levels.append(np.ascontiguousarray(store[..., 0].read().result().transpose(2, 1, 0)))
        scales.append([float(n) for n in scale["resolution"][::-1]])
        offset = scale.get("voxel_offset", [0, 0, 0])[::-1]
        translations.append([o * r + (r - f) / 2 for o, r, f in zip(offset, scales[-1], finest)])
        chunks.append(scale["chunk_sizes"][0][::-1])
    return Volume(name=url, source={}, levels=levels, scale=scales, translation=translations, chunk=chunks, file=url, lossy=1)
