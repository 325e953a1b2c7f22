"""An archive that vanishes under a mount or between two: errors for what is not kept, right bytes once it is back."""

import contextlib
import itertools
import time

import pytest

import archives
import expected
import sparse_volumes
from cached_scene import read
from mounting import configuration, mounted, wait_for
from origin import Fault, Origin
from watched import side_by_side

TIMEOUT = 4
#: Until an archive that is back must be read again, and what a busy machine takes for it.
RECOVERY = 20 + 10
#: How it can be gone: for a request of a dataset's own folder and for any other, what is answered.
WAYS = {
    "everything is 404": (404, 404),
    "the folder of the dataset is 404": (404, None),
    "everything is 403": (403, 403),
    "the folder of the dataset is 403": (403, None),
    "everything is 410": (410, 410),
}
FOLDERS = {"imagej": "/files/", "itk": "/itk/", "dm": "/dm/", "zarr": "/bucket/zarr/", "raw": "/bucket/raw/", "jpeg": "/bucket/jpeg/"}


#: Of these, what is tried without --long.
FEW = ["everything is 404", "the folder of the dataset is 403"]


def pytest_generate_tests(metafunc):
    marked = any(mark.name == "parametrize" for mark in metafunc.definition.iter_markers())
    if "way" in metafunc.fixturenames and not marked:
        metafunc.parametrize("way", list(WAYS) if metafunc.config.getoption("--long") else FEW)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("vanishing")
    made = archives.write(root / "full")
    return root / "full", {name: made[name] for name in FOLDERS}


class Scene:
    """A dataset of each archive, all of one cache, whose origins can vanish together."""

    def __init__(self, files, folder, stack):
        root, self.archives = files
        self.folder = folder
        self.origins = {name: stack.enter_context(Origin(root, naming=archive.naming)) for name, archive in self.archives.items()}
        self.config = configuration({name: archive.at(self.origins[name]) for name, archive in self.archives.items()}, {"stall": 60.0})

    def mounted(self, *options):
        return mounted(self.folder, self.config, *options, cache=self.folder / "cache", timeout=TIMEOUT)

    def vanish(self, way):
        own, others = WAYS[way]
        for name, origin in self.origins.items():
            def choose(request, folder=FOLDERS[name]):
                status = own if request.path.startswith(folder) else others
                return Fault("status", status) if status else None
            origin.fault = choose

    def return_(self):
        for origin in self.origins.values():
            origin.fault = None

    def look(self, mount, name, index):
        found = read(mount / name / "em.zarr" / "s0" / expected.chunk_path(index))
        if isinstance(found, str):
            return found
        return "right" if self.archives[name].is_right(index, found) else "wrong" if any(found) else "zeros"

    def look_at_all(self, mount):
        """What is read of each chunk by dataset, which is right or an error."""
        found = {}

        def look(name):
            found[name] = {index: self.look(mount, name, index) for index in self.archives[name].indices()}
            assert set(found[name].values()) <= {"right", "EIO", "EACCES"}, (name, found[name])

        side_by_side(look, list(self.archives))
        return found

    def assert_errors(self, mount, failing):
        """Of a chunk of each dataset: an errno, a line in the log and a failure that is counted."""
        time.sleep(1.1)  # a failure is remembered for a second and told once
        for name, index in failing.items():
            self.assert_error(mount, name, index)

    def assert_error(self, mount, name, index):
        before = mount.status()["failed"]
        found = self.look(mount, name, index)
        assert found in ("EIO", "EACCES"), f"{name} {index}: {found}"
        wanted = f"{name}/em.zarr/s0/{expected.chunk_path(index)}"
        wait_for(lambda: wanted in mount.log, 5, f"a line in the log about {wanted}")
        assert mount.status()["failed"] > before
        assert not mount.status().get("absent", {}).get(name)

    def assert_back(self, mount, name, index):
        wait_for(lambda: self.look(mount, name, index) == "right", RECOVERY, f"{name} {index} is right again")


@pytest.fixture
def scene(files, tmp_path):
    with contextlib.ExitStack() as stack:
        yield Scene(files, tmp_path, stack)


def test_under_a_mount_what_is_not_cached_is_an_error_and_right_again_when_the_archive_is_back(scene, way):
    with scene.mounted() as mount:
        for name, archive in scene.archives.items():
            assert scene.look(mount, name, archive.indices()[0]) == "right"
        scene.vanish(way)
        failed = {name: [index for index, word in found.items() if word != "right"] for name, found in scene.look_at_all(mount).items()}
        assert all(failed.values()), "something of each was not cached"
        scene.assert_errors(mount, {name: indices[-1] for name, indices in failed.items()})
        scene.return_()
        side_by_side(lambda name: [scene.assert_back(mount, name, index) for index in failed[name]], list(failed))


def test_between_two_mounts_what_is_not_kept_is_an_error_and_right_again_without_a_remount(scene, way):
    with scene.mounted() as mount:
        for name, archive in scene.archives.items():
            assert scene.look(mount, name, archive.indices()[0]) == "right"
    scene.vanish(way)
    failed = {}
    for last in (False, True):
        with scene.mounted() as mount:
            for name, found in scene.look_at_all(mount).items():
                failed[name] = [index for index, word in found.items() if word != "right"]
                assert found[scene.archives[name].indices()[0]] == "right", f"{name}: what is kept is read"
            scene.assert_errors(mount, {name: indices[-1] for name, indices in failed.items()})
            if last:
                scene.return_()
                side_by_side(lambda name: [scene.assert_back(mount, name, index) for index in failed[name]], list(failed))


@pytest.mark.parametrize("way", ["everything is 404", "everything is 403"])
def test_a_sparse_archive_that_vanishes_is_neither_absent_nor_fill_and_both_again_when_it_is_back(tmp_path, way):
    root = tmp_path / "files"
    root.mkdir()
    volumes = sparse_volumes.write(root)
    status = WAYS[way][0]
    with Origin(root) as origin:
        config = configuration({name: volume.at(origin) for name, volume in volumes.items()}, {"stall": 60.0})
        with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=TIMEOUT) as mount:
            for name in volumes:
                (mount / name / "em.zarr" / "s0" / ".zarray").read_bytes()
            origin.fault = lambda request: Fault("status", status)
            for name, volume in volumes.items():
                for index in volume.present()[:3] + volume.absent[:3]:
                    found = read(mount / name / "em.zarr" / "s0" / expected.chunk_path(index))
                    assert found in ("EIO", "EACCES"), f"{name} {index}"
            origin.fault = None
            for name, volume in volumes.items():
                for index in volume.present()[:3] + volume.absent[:3]:
                    right = expected.chunk_bytes(volume.voxels, sparse_volumes.CHUNK, index)
                    wait_for(lambda: read(mount / name / "em.zarr" / "s0" / expected.chunk_path(index)) == right, RECOVERY, f"{name} {index}")


@pytest.mark.parametrize("status", [404, 403, 410])
@pytest.mark.parametrize("name", ["dm", "itk", "imagej"])
def test_a_section_or_a_stack_that_is_gone_is_an_error_and_never_fill(scene, name, status):
    archive, origin = scene.archives[name], scene.origins[name]
    lost = {"dm": "0002.dm3", "itk": "itk.tif", "imagej": "imagej.tif"}[name]
    with scene.mounted() as mount:
        (mount / name / "em.zarr" / "s0" / ".zarray").read_bytes()
        origin.fault = lambda request: Fault("status", status) if request.path.endswith(lost) else None
        affected = [index for index in archive.indices() if index[0] == 2][-1]
        for _ in range(2):
            scene.assert_errors(mount, {name: affected})
    with scene.mounted() as mount:
        scene.assert_error(mount, name, affected)
        origin.fault = None
        scene.assert_back(mount, name, affected)


def test_a_dataset_that_was_never_there_is_an_error_and_not_an_empty_one(scene):
    scene.vanish("everything is 404")
    with scene.mounted() as mount:
        for name, v3 in itertools.product(scene.archives, (False, True)):
            store = mount / name / ("em.v3.zarr" if v3 else "em.zarr")
            for path in (store / ("zarr.json" if v3 else ".zattrs"), store / "s0" / ("c/0/0/0" if v3 else "0/0/0")):
                assert read(path) in ("EIO", "EACCES"), path
        scene.return_()
        for name in scene.archives:
            scene.assert_back(mount, name, (0, 0, 0))


@pytest.mark.parametrize("name", ["v2", "v3", "plain", "shards"])
def test_a_folder_of_this_machine_that_is_gone_is_an_error_and_not_absence(tmp_path, name):
    """As a network filesystem that is not mounted for a moment."""
    root = tmp_path / "files"
    root.mkdir()
    volume = sparse_volumes.write(root)[name]
    source = {key: value.replace("{origin}", str(root)) for key, value in volume.source.items()}
    with mounted(tmp_path, configuration({"em": source}), timeout=TIMEOUT) as mount:
        def chunk(index):
            found = read(mount / "em" / "em.zarr" / "s0" / expected.chunk_path(index))
            return "right" if found == expected.chunk_bytes(volume.voxels, sparse_volumes.CHUNK, index) else found

        (mount / "em" / "em.zarr" / "s0" / ".zarray").read_bytes()
        root.rename(tmp_path / "away")
        indices = volume.present()[-2:] + volume.absent[-2:]
        assert {chunk(index) for index in indices} == {"EIO"}
        (tmp_path / "away").rename(root)
        for index in indices:
            wait_for(lambda: chunk(index) == "right", RECOVERY, f"{index} is right again")


@pytest.mark.parametrize("name", ["v2", "plain", "shards"])
def test_what_was_believed_in_the_minute_after_the_document_answered_is_asked_again_when_it_is_too_old(tmp_path, name):
    """A document is asked for once a minute, so an archive that goes right after that is found out later."""
    root = tmp_path / "files"
    root.mkdir()
    volume = sparse_volumes.write(root)[name]
    with Origin(root) as origin:
        config = configuration({"em": volume.at(origin)}, {"stall": 60.0})

        def chunk(mount, index):
            found = read(mount / "em" / "em.zarr" / "s0" / expected.chunk_path(index))
            return "right" if found == expected.chunk_bytes(volume.voxels, sparse_volumes.CHUNK, index) else found if isinstance(found, str) else "fill"

        indices = [volume.present()[0], volume.present()[-1]]
        with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=TIMEOUT) as mount:
            assert chunk(mount, volume.absent[-1]) == "right"
            origin.fault = lambda request: Fault("status", 404)
            assert {chunk(mount, index) for index in indices} <= {"EIO", "fill", "right"}
        time.sleep(1.1)
        with mounted(tmp_path, config, "--absent-ttl", "1", cache=tmp_path / "cache", timeout=TIMEOUT) as mount:
            assert {chunk(mount, index) for index in indices} <= {"EIO", "right"}
            origin.fault = None
            for index in indices:
                wait_for(lambda: chunk(mount, index) == "right", RECOVERY, f"{index} is right again")
        with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=TIMEOUT) as mount:
            assert {chunk(mount, index) for index in indices} == {"right"}
