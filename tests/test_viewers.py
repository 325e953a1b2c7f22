"""Links of `emfs link`, opened in a headless Chromium: neuroglancer, Viv and vizarr of the npm registry, and the pages of the server.

These viewers are fetched and bundled (half a minute each), so that part is for `--long`; the pages are looked at wherever a Chromium is.
"""

import json
import pathlib
import shutil
import subprocess
import time

import numpy as np
import pytest
import tifffile

import browser
import lone_volumes
import replica
import test_labels_in_place
import reference_volumes
from mounting import ROOT, configuration, emfs
from origin import Origin
from serving import served

DATASETS = ["idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"]
needs_browser = pytest.mark.skipif(not browser.is_there(), reason="needs the packages chromium and chromium-driver")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A server of the replica, and the truth of its images."""
    folder = tmp_path_factory.mktemp("viewers")
    with replica.served(folder / "replica.log") as config:
        made = {(dataset, image): replica.truth(source) for dataset, image, label, source in replica.images(config) if label is None}
        with served(folder, config) as server:
            yield server, made


@pytest.fixture(scope="module")
def window():
    with browser.browser() as window:
        yield window


def built(name, long, *command):
    """Builds a viewer's page of a folder beside this file and of the npm registry, once, and serves it."""
    if not long:
        pytest.skip("only with --long")
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    app = ROOT / "target" / name
    shutil.copytree(pathlib.Path(__file__).with_name(name), app, dirs_exist_ok=True)
    if not (app / "dist" / "main.js").exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=app, check=True, timeout=600)
        subprocess.run(command, cwd=app, check=True, timeout=300)
    shutil.copy(app / "index.html", app / "dist")
    return browser.pages(app / "dist")


@pytest.fixture(scope="module")
def neuroglancer(long):
    """The address of a copy of neuroglancer."""
    with built("neuroglancer", long, "node", "build.mjs", "dist") as page:
        yield page


@pytest.fixture(scope="module")
def viv(long):
    """The address of a page on Viv, which takes the addresses of vizarr."""
    with built("viv", long, "npx", "esbuild", "main.js", "--bundle", "--format=esm", "--outdir=dist", "--log-level=error") as page:
        yield page


@pytest.fixture(scope="module")
def vizarr(long):
    """The address of a page on vizarr, which takes the addresses of vizarr's own."""
    with built("vizarr", long, "node", "build.mjs", "dist") as page:
        yield page


def attributes(server, dataset):
    return json.loads(server.get(f"/{dataset}/em.zarr/.zattrs")[2])


def window_of(server, dataset):
    """Values shown black and white."""
    channel = attributes(server, dataset)["omero"]["channels"][0]
    start, end = channel["window"]["start"], channel["window"]["end"]
    return (end, start) if channel["inverted"] else (start, end)


def sizes_of(server, dataset):
    """Distance of voxels, and the place of the first one: nm, z, y, x."""
    scale, translation = attributes(server, dataset)["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    return np.array(scale["scale"]), np.array(translation["translation"])


def opened(window, link):
    window.open("about:blank")
    window.open(link)
    window.wait("return !!window.viewer && viewer.isReady()", 60, "neuroglancer has drawn")
    time.sleep(1)
    return window.picture().astype(float)


def panel(window):
    """Left, top, width, height of the first panel."""
    return window.run("const r = document.querySelector('.neuroglancer-rendered-data-panel').getBoundingClientRect();"
                      "return [r.left, r.top, r.width, r.height]")


def seen(window, picture, made, server, dataset):
    """(what neuroglancer shows, what it should) of the pixels of the first panel that are in the image."""
    left, top, width, height = panel(window)
    x, y, z = window.run("return Array.from(viewer.position.value)")
    scale = window.run("return viewer.crossSectionScale.value")
    black, white = window_of(server, dataset)
    sizes, first = sizes_of(server, dataset)
    step = scale * sizes.min() / sizes
    offset = first / sizes
    rows, columns = np.mgrid[int(top) + 4 : int(top + height) - 4, int(left) + 4 : int(left + width) - 4]
    at_y = np.floor((rows + 0.5 - top - height / 2) * step[1] + y - offset[1] + 0.5).astype(int)
    at_x = np.floor((columns + 0.5 - left - width / 2) * step[2] + x - offset[2] + 0.5).astype(int)
    plane = made.levels[0][round(z - offset[0])]
    inside = (at_y >= 0) & (at_y < plane.shape[0]) & (at_x >= 0) & (at_x < plane.shape[1])
    expected = np.clip((plane[at_y[inside], at_x[inside]].astype(float) - black) / (white - black), 0, 1)
    return picture[rows[inside], columns[inside]].mean(axis=1), expected


def bar_length(picture):
    """Pixels of the white bar at the bottom left."""
    longest = 0
    for row in picture[-60:, :300].min(axis=2) > 250:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        longest = max([longest, *(edges[1::2] - edges[::2])])
    return longest


@needs_browser
@pytest.mark.parametrize("dataset", DATASETS)
def test_neuroglancer_shows_the_slice_in_its_window(shown, window, neuroglancer, dataset):
    server, made = shown
    link = emfs("link", dataset, "--server", server.url, "--page", neuroglancer).stdout.strip()
    opened(window, link)
    # Labels lie over the image.
    window.run("viewer.layerManager.managedLayers.slice(1).forEach(layer => layer.setVisible(false))")
    window.wait("return viewer.isReady()", 60, "neuroglancer has drawn")
    time.sleep(1)
    picture = window.picture().astype(float)
    got, expected = seen(window, picture, made[dataset, "em"], server, dataset)
    assert len(got) > 10_000
    assert np.corrcoef(got, expected)[0, 1] >= 0.95
    assert abs(got.mean() / 255 - expected.mean()) < 0.03, "the window is the stated one"
    if window.run("return viewer.layout.toJSON()") == "xy":
        nanometres = bar_length(picture) * window.run("return viewer.crossSectionScale.value") * sizes_of(server, dataset)[0].min()
        lead = nanometres / 10 ** np.floor(np.log10(nanometres))
        assert min(abs(lead / round_one - 1) for round_one in (1, 1.5, 2, 3, 5, 7.5, 10)) < 0.03, nanometres


@needs_browser
def test_an_image_whose_white_is_zero_is_shown_so(tmp_path, window, neuroglancer):
    made = reference_volumes.tiff_volume("white", reference_volumes.texture((12, 300, 400), "u1", 3), (8.0, 8.0, 8.0))
    tifffile.imwrite(tmp_path / "white.tif", made.levels[0], photometric="miniswhite")
    config = configuration({"white": {"kind": "tiff", "url": str(tmp_path / "white.tif"), "voxel_size": [8, 8, 8], "window": [0, 200]}})
    with served(tmp_path, config) as server:
        assert window_of(server, "white") == (200, 0)
        picture = opened(window, emfs("link", "white", "--server", server.url, "--page", neuroglancer).stdout.strip())
        got, expected = seen(window, picture, made, server, "white")
        assert np.corrcoef(got, expected)[0, 1] >= 0.95 and abs(got.mean() / 255 - expected.mean()) < 0.03


@needs_browser
@pytest.mark.parametrize("dataset", DATASETS)
def test_viv_shows_the_slice_of_a_link_for_vizarr(shown, window, viv, dataset):
    server, made = shown
    window.open("about:blank")
    window.open(emfs("link", dataset, "--viewer", "vizarr", "--server", server.url, "--page", viv).stdout.strip())
    window.wait("return !!window.drawn", 60, "Viv has drawn")
    time.sleep(1)
    picture, found = window.picture().astype(float).mean(axis=2), window.run("return window.shown")
    plane = made[dataset, "em"].levels[0][found["z"]].astype(float)
    low, high = window_of(server, dataset)
    assert found["labels"] == ["z", "y", "x"] and found["window"] == [low, high]
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    place = lambda pixels, axis: np.floor((pixels + 0.5 - picture.shape[axis] / 2) / 2 ** found["zoom"] + plane.shape[axis] / 2).astype(int)
    y, x = place(rows, 0), place(columns, 1)
    inside = (y >= 0) & (y < plane.shape[0]) & (x >= 0) & (x < plane.shape[1])
    got, expected = picture[inside] / 255, np.clip((plane[y[inside], x[inside]] - low) / (high - low), 0, 1)
    assert len(got) > 10_000 and np.corrcoef(got, expected)[0, 1] >= 0.95 and abs(got.mean() - expected.mean()) < 0.03


@needs_browser
@pytest.mark.parametrize("dataset,options,first", [*((dataset, [], 0) for dataset in DATASETS), ("hemibrain", ["--at", "0,100,60"], 0), (
    "hemibrain", ["--crop", "z100-164_y20-180_x30-190"], 100), ("epfl-hippocampus", ["--crop", "z5-15_y20-120_x30-150"], 5)])
def test_vizarr_shows_the_slice_of_a_link(shown, window, vizarr, dataset, options, first):
    server, made = shown
    window.open("about:blank")
    link = emfs("link", dataset, "--viewer", "vizarr", "--server", server.url, "--page", vizarr, *options).stdout.strip()
    window.open(link)
    state = "new URL(location.href).searchParams.get('viewState')"
    window.wait(f"return !!{state}", 60, "vizarr has drawn")
    time.sleep(4)
    view = json.loads(window.run(f"return {state}"))
    picture = window.picture().astype(float).mean(axis=2)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    sizes, begin = sizes_of(server, dataset)

    def index(pixels, axis):
        nanometres = (pixels + 0.5 - picture.shape[axis - 1] / 2) / 2 ** view["zoom"] + view["target"][2 - axis]
        return np.floor((nanometres - begin[axis]) / sizes[axis]).astype(int)

    y, x = index(rows, 1), index(columns, 2)
    plane = made[dataset, "em"].levels[0][first].astype(float)
    box = [part.split("-") for part in options[1].split("_")] if "--crop" in options else None
    (top, bottom), (left, right) = [(int(a[1:]), int(b)) for a, b in box[1:]] if box else [(0, n) for n in plane.shape]
    # Its controls are at the left.
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right) & (columns > 300)
    low, high = window_of(server, dataset)
    got, expected = picture[inside] / 255, np.clip((plane[y[inside], x[inside]] - low) / (high - low), 0, 1)
    assert len(got) > 10_000 and np.corrcoef(got, expected)[0, 1] >= 0.95 and abs(got.mean() - expected.mean()) < 0.03
    if "--at" in options:
        at = int(options[1].split(",")[1]), int(options[1].split(",")[2])
        middle = [index(np.array([n / 2 - 0.5]), axis)[0] for n, axis in zip(picture.shape, (1, 2))]
        assert middle == list(at)


@needs_browser
@pytest.mark.parametrize("name", ["epfl-hippocampus/training", "hemibrain"])
def test_labels_lie_over_the_image(shown, window, neuroglancer, name):
    server, _ = shown
    picture = opened(window, emfs("link", name, "--server", server.url, "--page", neuroglancer).stdout.strip())
    coloured = np.ptp(picture[100:700, 250:940], axis=2) > 60
    assert 0.01 < coloured.mean() < (0.5 if name != "hemibrain" else 1)


def in_first_panel(window):
    """The pixels of the first panel, without its edges, of what is drawn now."""
    window.wait("return viewer.isReady()", 60, "neuroglancer has drawn")
    time.sleep(1)
    left, top, width, height = (round(n) for n in panel(window))
    return window.picture()[top + 4 : top + height - 4, left + 4 : left + width - 4].astype(float)


@needs_browser
def test_a_bright_voxel_lies_at_its_nanometres_at_every_level(tmp_path, window, neuroglancer):
    at = (41, 77, 1001)
    reference_volumes.one_bright_voxel(tmp_path / "v.tif", (71, 141, 1301), at, 65000, "u2")
    folder = tmp_path / "serve"
    folder.mkdir()
    with Origin(tmp_path) as origin, served(folder, configuration({"v": {
            "kind": "tiff", "url": f"{origin.url}/v.tif", "voxel_size": [8, 8, 8], "window": [0, 500]}})) as server:
        link = emfs("link", "v", "--at", ",".join(map(str, at)), "--server", server.url, "--page", neuroglancer).stdout.strip()
        opened(window, link)
        assert list(window.run("return Array.from(viewer.position.value)"))[::-1] == list(at)
        zoom = 8
        window.run(f"viewer.showAxisLines.value = viewer.showScaleBar.value = false; viewer.crossSectionScale.value = {1 / zoom}")
        for level in range(3):
            side = zoom * 2**level
            window.run(f"viewer.layerManager.managedLayers[0].layer.sliceViewRenderScaleTarget.value = {side}")
            # Around the middle, without what is written in its corners.
            picture = in_first_panel(window)
            height, width = (n // 2 for n in picture.shape[:2])
            bright = picture[height - 150 : height + 150, width - 150 : width + 150].min(axis=2) > 200
            rows, columns = np.nonzero(bright)
            assert len(rows), f"s{level} shows nothing bright"
            shape = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
            assert (np.abs(shape - side) <= 2).all(), f"s{level}: {shape} pixels, should be {side}"
            off = np.array([rows.mean(), columns.mean()]) + 0.5 - np.array(bright.shape) / 2
            assert (np.abs(off) <= side / 2 + 1).all(), f"s{level} is off by {off} pixels of {zoom} a voxel"


@needs_browser
def test_a_sphere_and_its_label_overlap_where_a_link_shows_them(tmp_path, window, neuroglancer):
    shape = test_labels_in_place.SHAPE
    voxels = np.where(test_labels_in_place.sphere(shape, 1), 200, 50).astype("u1")
    label = test_labels_in_place.sphere([n // 2 for n in shape], 2).astype("u1")
    em, ball = (lone_volumes.lone_scale(tmp_path, name, array, (16, 16, 16), (0, 0, 0), (n,) * 3, [], kind)
                for name, array, n, kind in (("em", voxels, 8.0, "image"), ("ball", label, 16.0, "segmentation")))
    folder = tmp_path / "serve"
    folder.mkdir()
    with Origin(tmp_path) as origin:
        source = reference_volumes.source_at(em, origin)
        images = [{"name": "a", "source": source, "labels": [{"name": "ball", "source": reference_volumes.source_at(ball, origin)}]}]
        with served(folder, configuration({"v": {"source": source, "images": images}})) as server:
            opened(window, emfs("link", "v/a", "--server", server.url, "--page", neuroglancer).stdout.strip())
            picture = in_first_panel(window)
            # Within the yellow box that neuroglancer draws around the volume.
            rows, columns = np.nonzero((picture[..., :2].min(axis=2) > 200) & (picture[..., 2] < 50))
            inside = slice(rows.min() + 5, rows.max() - 4), slice(columns.min() + 5, columns.max() - 4)
            labelled = np.ptp(picture[inside], axis=2) > 40
            window.run("viewer.layerManager.managedLayers[1].setVisible(false)")
            bright = in_first_panel(window)[inside].min(axis=2) > 150
            assert 0.3 < bright.mean() < 0.8
            assert (bright & labelled).sum() / (bright | labelled).sum() >= 0.98


@needs_browser
def test_the_picture_comes_when_the_origin_is_back(tmp_path, window, neuroglancer):
    made = reference_volumes.zarr_group(tmp_path, "group", shape=(64, 96, 80), dtype="|u1", chunks=(32, 32, 32), levels=1, seed=5)
    origin = Origin(tmp_path)
    origin.start()
    folder = tmp_path / "serve"
    folder.mkdir()
    with served(folder, configuration({"v": reference_volumes.source_at(made, origin)}), "--timeout", "2") as server:
        link = emfs("link", "v", "--server", server.url, "--page", neuroglancer).stdout.strip()
        origin.stop()
        window.open("about:blank")
        window.open(link)
        time.sleep(6)
        assert not window.run("return viewer.isReady()")
        assert "503" in server.log or "group" in server.log
        origin.start()
        window.wait("return viewer.isReady()", 90, "the picture")
        time.sleep(1)
        got, expected = seen(window, window.picture().astype(float), made, server, "v")
        assert np.corrcoef(got, expected)[0, 1] >= 0.9
    origin.stop()


@needs_browser
def test_the_first_page_shows_each_dataset(shown, window):
    server, _ = shown
    window.open(server.url)
    sizes = window.wait("const found = [...document.querySelectorAll('.thumb img')]; found.forEach(i => i.loading = 'eager');"
                        "return found.every(i => i.complete && i.naturalWidth > 0) && found.map(i => i.naturalWidth)", 30, "the pictures")
    assert len(sizes) == len(DATASETS)
    assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")


@needs_browser
@pytest.mark.parametrize("script", [True, False])
def test_an_image_can_be_looked_at_on_a_narrow_screen_with_and_without_scripts(shown, script):
    server, made = shown
    options = [] if script else ["--blink-settings=scriptEnabled=false"]
    with browser.browser(480, 900, *options) as narrow:
        narrow.open(f"{server.url}epfl-hippocampus/em/?z=4&level=s0")
        time.sleep(1.5)
        picture = narrow.picture().astype(float)
        plane = made["epfl-hippocampus", "em"].levels[0][4].astype(float)
        low, high = window_of(server, "epfl-hippocampus")
        rows = picture[120 : 120 + 200, 40:440].mean(axis=2)
        expected = np.clip((plane - low) / (high - low), 0, 1)
        assert rows.std() > 15 and abs(rows.mean() / 255 - expected.mean()) < 0.15
        if script:
            assert narrow.run("return document.documentElement.scrollWidth <= window.innerWidth")
            bar = narrow.run("const b = document.querySelector('.bar'), p = b.parentElement;"
                             "return [b.textContent, b.getBoundingClientRect().width / p.getBoundingClientRect().width]")
            shown_length = plane.shape[1] * made["epfl-hippocampus", "em"].scale[0][2]
            assert np.isclose(float(bar[0].split()[0]) * {"nm": 1, "µm": 1000}[bar[0].split()[1]], bar[1] * shown_length, rtol=0.02)
