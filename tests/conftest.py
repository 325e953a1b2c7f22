"""What several test files share: the binary, the odd volumes with their origin and mount, the replica with its own."""

import dataclasses
import os
import pathlib
import subprocess
import tempfile

import pytest

import replica
import reference_volumes
from exporting import written
from cached_scene import Scene
from mounting import BINARY, Mount, configuration, mounted
from origin import Origin
from reference_volumes import VOLUMES, Volume, make_all, source_at


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the same tests at full counts")


def pytest_configure(config):
    # A program that is started without a word about a cache must not use the one of whoever runs the tests.
    caches = tempfile.TemporaryDirectory(prefix="emfs-test-caches-")
    config.add_cleanup(caches.cleanup)
    os.environ["XDG_CACHE_HOME"] = caches.name
    # Machines with a proxy would send the tests' own look-ups of 127.0.0.1 there.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    os.environ.pop("XDG_STATE_HOME", None)


@pytest.fixture(scope="session")
def long(request):
    return request.config.getoption("--long")


@pytest.fixture(scope="session", autouse=True)
def binary(request):
    if not BINARY.exists() and any(item.path.name != "test_origin.py" for item in request.session.items):
        pytest.exit(f"{BINARY} does not exist: run cargo build, or set EMFS_BIN", returncode=2)


@dataclasses.dataclass
class ReferenceMount:
    """A mount of the odd volumes."""

    mount: Mount
    origin: Origin
    volumes: dict

    def store(self, name, v3=False):
        return self.mount / name / ("em.v3.zarr" if v3 else "em.zarr")


@pytest.fixture(scope="session")
def volumes(tmp_path_factory):
    """The odd volumes by name, and the folder that an origin may serve."""
    root = tmp_path_factory.mktemp("volumes")
    return root, make_all(root)


@pytest.fixture(scope="session")
def reference(volumes, tmp_path_factory):
    root, made = volumes
    with Origin(root) as origin:
        config = configuration({name: source_at(volume, origin) for name, volume in made.items()})
        with mounted(tmp_path_factory.mktemp("odd"), config, timeout=20) as mount:
            yield ReferenceMount(mount, origin, made)


@pytest.fixture(params=list(VOLUMES))
def volume(request, reference) -> Volume:
    """Each odd volume in turn."""
    return reference.volumes[request.param]


@dataclasses.dataclass
class Replica:
    """A mount of the replica. `truth`: by (dataset, image, label or None)."""

    mount: Mount
    config: str
    truth: dict
    log_file: pathlib.Path

    def stores(self, v3=False):
        """(path, truth) of every image, without labels."""
        for (dataset, image, label), volume in self.truth.items():
            if label is None:
                yield self.mount / dataset / f"{image}{'.v3' if v3 else ''}.zarr", volume

    def labels(self, v3=False):
        for (dataset, image, label), volume in self.truth.items():
            if label is not None:
                yield self.mount / dataset / f"{image}{'.v3' if v3 else ''}.zarr" / "labels" / label, volume


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replica")
    with replica.served(folder / "server.log") as config:
        truth = {(dataset, image, label): replica.truth(source) for dataset, image, label, source in replica.images(config)}
        with mounted(folder, config, timeout=20) as mount:
            yield Replica(mount, config, truth, folder / "server.log")


@pytest.fixture
def serve(tmp_path):
    """An origin of a folder of one's own: `origin = serve(folder)`."""
    running = []

    def start(root, **options):
        origin = Origin(root, **options)
        origin.start()
        running.append(origin)
        return origin

    yield start
    for origin in running:
        origin.stop()


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A volume of which what is under way at a time is a small part."""
    root = tmp_path_factory.mktemp("large")
    return root, reference_volumes.imagej(root, "large", (384, 512, 512), "u1", 1)


@pytest.fixture
def small_served(tmp_path):
    """A small volume and its origin."""
    folder = tmp_path / "origin"
    folder.mkdir()
    volume = reference_volumes.zarr_group(folder, "small", shape=(64, 96, 80), dtype="<u2", chunks=(32, 32, 32), levels=2, seed=5)
    with Origin(folder) as origin:
        yield volume, origin


@pytest.fixture
def small(small_served, tmp_path):
    """A small volume, its origin, and a configuration."""
    volume, origin = small_served
    return volume, origin, written(tmp_path, {"v": reference_volumes.source_at(volume, origin)})


@pytest.fixture(scope="session")
def kept_volumes(tmp_path_factory):
    """A stack of planes with bytes between them, and a Zarr group of which a third of the chunks is absent."""
    root = tmp_path_factory.mktemp("kept")
    made = {
        "itk": reference_volumes.itk(root, "itk", (40, 500, 520), "u1", 1),
        "zarr": reference_volumes.zarr_group(root, "zarr", shape=(128, 128, 256), dtype="<u2", chunks=(32, 32, 64), seed=3, levels=2, share=0.33),
    }
    return root, made


@pytest.fixture
def scene(kept_volumes, serve, tmp_path):
    root, made = kept_volumes
    return Scene(tmp_path, serve(root), made)


@pytest.fixture
def tmpfs(tmp_path):
    """A folder that is a filesystem of 64 MiB."""
    if os.getuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
