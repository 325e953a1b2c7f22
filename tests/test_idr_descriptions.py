"""An image of the IDR of which OMERO does not say what it is, for a moment, in an outage or for good: it is not shown as voxels of no size without a word."""

import errno
import json

import pytest
import tifffile

import reference_volumes
from faults import altered
from mounting import configuration, emfs, mounted, wait_for
from origin import Answer, Fault, Origin
from test_section_requests import omero

SHAPE = (4, 60, 70)
SIZE = [40.0, 8.0, 8.0]
FAULTS = {"503": Fault("status", 503), "403": Fault("status", 403), "a page": Fault("html"), "nothing": altered(
    lambda request, answer, origin: Answer(200, [("Content-Type", "application/json")], b"")), "an error": altered(
    lambda request, answer, origin: Answer(200, [("Content-Type", "application/json")], b'{"message": "Service unavailable"}'))}


@pytest.fixture
def scene(tmp_path):
    """The origin, and a function that makes a configuration with more keys of the source."""
    root = tmp_path / "files"
    (root / "v").mkdir(parents=True)
    tifffile.imwrite(root / "v" / "v.tif", reference_volumes.noise(SHAPE, "uint8", 1), photometric="minisblack", metadata=None)
    omero(root, 7, ["v/v.tif"], SHAPE[0], SHAPE[1:], SIZE)
    with Origin(root) as origin:
        source = {"kind": "idr", "image": 7, "server": origin.url, "files": origin.url}
        yield origin, lambda **keys: configuration({"v": source | keys})


def failing(name):
    fault = Fault("status", 404) if name == "404" else FAULTS[name]
    return lambda request: fault if request.path.endswith("images/7/") else None


def size(mount):
    """The voxel size that is shown, or the errno of what is not."""
    try:
        document = json.loads((mount / "v" / "em.zarr" / ".zattrs").read_bytes())
    except OSError as error:
        return error.errno
    (dataset, *_) = document["multiscales"][0]["datasets"]
    return dataset["coordinateTransformations"][0]["scale"]


def shown(mount, seconds=15):
    """The voxel size, once one is shown."""
    return wait_for(lambda: found if isinstance(found := size(mount), list) else None, seconds, "the image is shown")


@pytest.mark.parametrize("fault", ["404", *FAULTS])
def test_without_a_description_an_image_is_an_error_until_there_is_one(scene, tmp_path, fault):
    origin, config = scene
    origin.fault = failing(fault)
    with mounted(tmp_path / "m", config(), timeout=4) as mount:
        assert size(mount) in (errno.EIO, errno.EACCES)
        assert "images/7" in (mount / "v" / "em.zarr" / "ERROR.txt").read_text()
        assert emfs("status", mount.path, "--failed", check=False).returncode == 1
        origin.fault = None
        assert shown(mount) == SIZE


def test_after_an_outage_an_image_is_shown_with_the_size_that_omero_says(scene, tmp_path):
    origin, config = scene
    origin.stop()
    with mounted(tmp_path / "m", config(), timeout=4) as mount:
        assert size(mount) == errno.EIO
        origin.start()
        assert shown(mount) == SIZE


@pytest.mark.parametrize("fault", ["404", *FAULTS])
def test_that_a_configured_url_was_shown_without_a_size_is_a_failure_once_omero_says_one(scene, tmp_path, fault):
    origin, config = scene
    origin.fault = failing(fault)
    with mounted(tmp_path / "m", config(url=f"{origin.url}/v/v.tif"), timeout=4) as mount:
        assert shown(mount) == [1, 1, 1]
        assert "OMERO does not describe it" in mount.log
        origin.fault = None
        found = emfs("status", mount.path, "--failed", check=False)
        assert found.returncode == 1 and "images/7" in found.stdout, found.stdout


@pytest.mark.parametrize("said", [SIZE, [50.0, 5.0, 5.0]])
def test_what_omero_says_later_is_a_failure_where_something_else_is_shown(scene, tmp_path, said):
    origin, config = scene
    origin.fault = failing("503")
    with mounted(tmp_path / "m", config(url=f"{origin.url}/v/v.tif", voxel_size=said), timeout=4) as mount:
        assert shown(mount) == said
        assert emfs("status", mount.path, "--failed", check=False).returncode == 0
        origin.fault = None
        found = emfs("status", mount.path, "--failed", check=False)
        assert found.returncode == (0 if said == SIZE else 1), found.stdout
        assert ("did not describe the image, of which it says something else" in found.stdout) == (said != SIZE)


def test_several_channels_are_refused_once_omero_is_heard(scene, tmp_path):
    origin, config = scene
    described = tmp_path / "files" / "api/v0/m/images/7/index.json"
    document = json.loads(described.read_text())
    document["data"]["Pixels"]["SizeC"] = 2
    described.write_text(json.dumps(document))
    origin.fault = failing("a page")
    (tmp_path / "c.toml").write_text(config())
    done = emfs("datasets", "--config", tmp_path / "c.toml", "--probe", check=False)
    assert done.returncode == 1 and "images/7" in done.stderr, done.stderr
    with mounted(tmp_path / "m", config(url=f"{origin.url}/v/v.tif", voxel_size=SIZE), timeout=4) as mount:
        assert shown(mount) == SIZE
        origin.fault = None
        found = emfs("status", mount.path, "--failed", check=False)
        assert found.returncode == 1 and "images/7" in found.stdout, found.stdout
    done = emfs("datasets", "--config", tmp_path / "c.toml", "--probe", check=False)
    assert done.returncode == 1 and "an image of 2 channels" in done.stderr, done.stderr
