"""`emfs link`, and the way back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse

import numpy as np
import pytest

import reference_volumes
from mounting import BINARY, configuration, emfs, mounted, wait_for
from origin import Origin
from serving import served


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("origin")
    stack = reference_volumes.imagej(root, "stack", (20, 60, 80), "u1", 1)
    made = reference_volumes.zarr_group(root, "group", shape=(64, 96, 80), dtype="<u2", chunks=(32, 32, 32), levels=2, seed=5)
    with Origin(root) as origin:
        config = configuration({"stack": reference_volumes.source_at(stack, origin), "group": reference_volumes.source_at(made, origin)})
        folder = tmp_path_factory.mktemp("serve")
        with served(folder, config) as server:
            yield server, folder / "serve.toml", {"stack": stack, "group": made}


def state(link):
    return json.loads(urllib.parse.unquote(link.strip().partition("#!")[2]))


@pytest.mark.parametrize("dataset, layout", [("stack", "xy"), ("group", "4panel")])
def test_a_link_says_what_neuroglancer_has_to_know(scene, dataset, layout):
    server, _, volumes = scene
    made = volumes[dataset]
    found = state(emfs("link", dataset, "--server", server.url).stdout)
    z, y, x = made.scale[0]
    for axis, scale in zip("xyz", (x, y, z)):
        assert found["dimensions"][axis][1] == "m" and np.isclose(found["dimensions"][axis][0], scale * 1e-9)
    assert found["layout"] == layout and found["layers"][0]["name"] == dataset
    assert found["layers"][0]["source"] == f"zarr2://{server.url}{dataset}/em.zarr"
    window = json.loads(server.get(f"/{dataset}/em.zarr/.zattrs")[2])["omero"]["channels"][0]["window"]
    assert found["layers"][0]["shaderControls"]["contrast"]["range"] == [window["start"], window["end"]]


def test_a_link_at_a_voxel_leads_back_to_it(scene):
    server, config, volumes = scene
    link = emfs("link", "group", "--at", "40,50,60", "--server", server.url).stdout.strip()
    offsets = np.array(volumes["group"].translation[0]) / np.array(volumes["group"].scale[0])
    assert np.allclose(state(link)["position"], (offsets + [40, 50, 60])[::-1])
    done = emfs("crop", "--from-neuroglancer", link, "--size", "16", "--config", config)
    assert done.stdout == "group/em.crop-z32-48_y42-58_x52-68.zarr\n"
    cropped = emfs("link", done.stdout.strip(), "--server", server.url).stdout.strip()
    again = emfs("crop", "--from-neuroglancer", cropped, "--size", "8", "--config", config)
    assert again.stdout == "group/em.crop-z36-44_y46-54_x56-64.zarr\n"
    boxed = emfs("link", "group", "--crop", "z32-48_y42-58_x52-68", "--at", "40,50,60", "--server", server.url).stdout.strip()
    assert state(boxed)["position"] == state(link)["position"], "the voxel is one of the image with --crop, too"
    outside = emfs("link", "group", "--crop", "z32-48_y42-58_x52-68", "--at", "8,8,8", "--server", server.url, check=False)
    assert outside.returncode == 2 and "--at lies outside of the box of --crop" in outside.stderr
    assert "no state" in emfs("crop", "--from-neuroglancer", "http://x/#!{", "--size", "8", "--config", config, check=False).stderr


def test_the_way_back_takes_the_layer_that_is_meant_and_where_it_lies(scene):
    server, config, _ = scene
    link = emfs("link", "group", "--at", "40,50,60", "--server", server.url).stdout.strip()
    here = "group/em.crop-z32-48_y42-58_x52-68.zarr\n"

    def crop(change):
        found = state(link)
        del found["selectedLayer"]
        change(found)
        url = "https://n/#!" + urllib.parse.quote(json.dumps(found))
        return emfs("crop", "--from-neuroglancer", url, "--size", "16", "--config", config, check=False)

    foreign = [{"type": "image", "name": "a", "source": f"zarr2://{server.url}{name}"} for name in ("group/other.zarr", "none/em.zarr")]
    stack = {"type": "image", "name": "s", "source": f"zarr2://{server.url}stack/em.zarr", "visible": False}
    for layers in ([], foreign, [stack], [*foreign, stack]):
        assert crop(lambda found, layers=layers: found.update(layers=[*layers, *found["layers"]])).stdout == here, layers
    outside = crop(lambda found: found.update(layers=[stack, *found["layers"]], selectedLayer={"layer": "s"}))
    assert "stack/em" in outside.stdout + outside.stderr, "the selected one"
    none = crop(lambda found: found.update(layers=foreign))
    assert none.returncode == 1 and "group has no image `other`" in none.stderr

    def moved(matrix):
        def change(found):
            space = {axis: found["dimensions"][axis] for axis in "zyx"}
            found["layers"][0]["source"] = [{"url": found["layers"][0]["source"], "transform": {"matrix": matrix, "outputDimensions": space}}]
        return crop(change)

    assert moved([[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, -4]]).stdout == "group/em.crop-z27-43_y42-58_x56-72.zarr\n"
    turned = moved([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]])
    assert turned.returncode == 1 and "the layer `group`" in turned.stderr and not turned.stdout
    bare = crop(lambda found: found.update(dimensions={axis: [1, ""] for axis in "xyz"}))
    assert bare.returncode == 1 and "no length" in bare.stderr
    short = emfs("crop", "--from-neuroglancer", "https://tinyurl.com/x", "--size", "8", "--config", config, check=False)
    assert short.returncode == 1 and "copy the long address" in short.stderr


def test_a_listed_view_leads_back_to_its_image(demo):
    link = emfs("link", demo.mount / "hemibrain/sample-100").stdout.strip()
    done = emfs("crop", "--from-neuroglancer", link, "--size", "16", cwd=demo.mount.path)
    assert done.stdout.startswith("hemibrain/em.crop-z") and os.path.isdir(demo.mount / done.stdout.strip())


def test_each_viewer_gets_what_it_needs(scene):
    server, _, _ = scene
    store = f"{server.url}stack/em.zarr"
    lines = {viewer: emfs("link", "stack", "--viewer", viewer, "--server", server.url).stdout for viewer in (
        "vizarr", "validator", "napari", "fiji", "webknossos", "python")}
    assert all(line.count("\n") == 1 for line in lines.values())
    assert lines["webknossos"].strip() == store and store in lines["napari"] and lines["vizarr"].strip().endswith(f"?source={store}")
    assert f'open("{server.url}stack/em.tif")' in lines["fiji"]
    command = lines["python"].replace("python -c", f"{sys.executable} -c")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert int(done.stdout) == scene[2]["stack"].levels[0][10, 30, 40]


def test_napari_s_reader_takes_the_address_of_its_line(scene):
    from napari_ome_zarr import napari_get_reader

    server, _, volumes = scene
    line = emfs("link", "group", "--viewer", "napari", "--server", server.url).stdout
    url = line.split("'")[1]
    data, attributes, kind = napari_get_reader(url)(url)[0]
    assert kind == "image" and np.array_equal(np.asarray(data[0])[..., :], volumes["group"].levels[0])
    assert np.allclose(attributes["scale"], volumes["group"].scale[0])


def test_imagej_opens_the_file_of_the_line_for_fiji(scene, tmp_path, long):
    if not long or shutil.which("imagej") is None or shutil.which("xvfb-run") is None:
        pytest.skip("only with --long, and with the packages imagej and xvfb")
    server, _, volumes = scene
    line = emfs("link", "stack", "--viewer", "fiji", "--server", server.url).stdout
    assert line.startswith("fiji -eval '")
    voxels, saved = volumes["stack"].levels[0], tmp_path / "voxels.raw"
    macro = line.split("'")[1] + f' saveAs("raw", "{saved}");'
    environment = os.environ | {"HOME": str(tmp_path)}
    # It stays, as for somebody who looks at the picture.
    program = subprocess.Popen(["xvfb-run", "-a", "imagej", "-e", macro], env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: saved.exists() and saved.stat().st_size == voxels.nbytes, 120, "the voxels that ImageJ has opened")
        assert np.array_equal(np.fromfile(saved, "u1").reshape(voxels.shape), voxels)
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def test_without_a_server_the_archive_is_asked_and_that_is_said(scene, tmp_path):
    server, config, _ = scene
    done = emfs("link", "group", "--server", "http://127.0.0.1:9/", "--config", config, "--cache-size", "0")
    assert "emfs serve" in done.stderr
    secret = emfs("link", "group", "--server", "http://127.0.0.1:9/t0ken-of-somebody/", "--config", config, "--cache-size", "0")
    assert "http://127.0.0.1:9 " in secret.stderr and "t0ken" not in secret.stderr
    there = state(emfs("link", "group", "--server", server.url).stdout)
    alone = state(done.stdout)
    assert alone["dimensions"] == there["dimensions"] and alone["layers"][0]["source"] == "zarr2://http://127.0.0.1:9/group/em.zarr"


def test_a_path_in_a_mount_means_the_dataset_of_its_catalogue(scene, tmp_path):
    _, config, _ = scene
    with mounted(tmp_path, config.read_text()) as mount:
        for name, folder in ((mount / "group" / "em.zarr", None), ("mnt/group", tmp_path)):
            done = subprocess.run([BINARY, "link", name, "--server", "http://127.0.0.1:9/"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            assert state(done.stdout)["layers"][0]["source"] == "zarr2://http://127.0.0.1:9/group/em.zarr"


def test_a_crop_can_be_named_as_a_box(scene):
    server, config, _ = scene
    box = "z10-40_y20-60_x0-50"
    link = emfs("link", "group", "--crop", box, "--server", server.url).stdout
    assert link == emfs("link", f"group/em.crop-{box}", "--server", server.url).stdout
    assert state(link)["layers"][0]["source"].endswith(f"/group/em.crop-{box}.zarr")
    done = emfs("crop", "--from-neuroglancer", link.strip(), "--size", "4", "--config", config)
    assert done.stdout == "group/em.crop-z23-27_y38-42_x23-27.zarr\n", "its middle"
    line = emfs("link", "group/em.chunk-16", "--crop", box, "--viewer", "napari", "--server", server.url).stdout
    assert f"/group/em.crop-{box}.chunk-16.zarr'" in line
    for arguments, words in ((["--crop", "z0-65_y0-1_x0-1"], "emfs explain group/em.crop-z0-65_y0-1_x0-1"), (["--crop", "z0-1"], "z0-1"), ([f"group/em.crop-{box}", "--crop", box], "already")):
        name = [] if arguments[0].startswith("group") else ["group"]
        done = emfs("link", *name, *arguments, "--server", server.url, check=False)
        assert done.returncode in (1, 2) and words in done.stderr and not done.stdout, done.stderr


def test_where_white_is_zero_the_link_says_so(scene, tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "white.tif", reference_volumes.texture((4, 30, 40), "u1", 1), photometric="miniswhite")
    config = configuration({"w": {"kind": "tiff", "url": str(tmp_path / "white.tif"), "window": [20, 220]}})
    with served(tmp_path, config) as server:
        found = state(emfs("link", "w", "--server", server.url).stdout)
    assert found["layers"][0]["shaderControls"]["contrast"]["range"] == [220, 20]


def test_what_a_link_cannot_show_is_said(scene):
    server, _, _ = scene
    for arguments, words in ((["nothing"], "no nothing/em.zarr"), (["group", "--at", "64,0,0"], "outside"),
                             (["group", "--viewer", "napari", "--open"], "no page"), (["group", "--server", "ftp://x"], "no address"),
                             (["group", "--server", "127.0.0.1:8474"], "no address"), (["group", "--server", "http://h/?x=1"], "no address"),
                             (["group", "--page", "not a url"], "no address"), (["group", "--viewer", "napari", "--page", "http://x/"], "no page")):
        done = emfs("link", *arguments, *([] if "--server" in arguments else ["--server", server.url]), check=False)
        assert done.returncode in (1, 2) and words in done.stderr and not done.stdout, done.stderr


def test_the_browser_is_told(scene, tmp_path):
    server, _, _ = scene
    opener = tmp_path / "opener"
    opener.write_text(f"#!/bin/sh\nprintf %s \"$1\" > {tmp_path}/opened\n")
    opener.chmod(0o755)
    done = emfs("link", "group", "--open", "--server", server.url, env=os.environ | {"BROWSER": str(opener)})
    assert (tmp_path / "opened").read_text() == done.stdout.strip()
