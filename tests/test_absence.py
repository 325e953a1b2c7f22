"""Absence is a finding: believed when two say so and the store's document still answers, for minutes, and counted."""

import collections
import contextlib
import json
import os
import re
import shutil
import time

import numpy as np
import pytest

import expected
import readers
import sparse_volumes
from cached_scene import read
from mounting import configuration, emfs, mounted, wait_for
from origin import Answer, Fault, Origin

NAMES = ["v2", "v3", "plain", "shards"]
LONG_SILENCE = {"stall": 60.0}  # so that no request is sent twice because a machine is slow


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("sparse")
    return root, sparse_volumes.write(root)


@pytest.fixture
def scene(written, tmp_path):
    root, volumes = written
    with Origin(root) as origin:
        yield Scene(origin, volumes, tmp_path)


@pytest.fixture
def own(written, tmp_path):
    """The same with files that a test may change."""
    root, volumes = written
    copy = tmp_path / "files"
    shutil.copytree(root, copy)
    with Origin(copy) as origin:
        yield Scene(origin, volumes, tmp_path)


class Scene:
    """Sparse volumes, their origin and mounts of them with one cache."""

    def __init__(self, origin, volumes, folder):
        self.origin, self.volumes, self.folder = origin, volumes, folder
        self.config = configuration({name: volume.at(origin) for name, volume in volumes.items()}, LONG_SILENCE)
        self.config_file = folder / "config.toml"
        self.config_file.write_text(self.config)

    def mounted(self, *options, **more):
        return mounted(self.folder, self.config, *options, **{"cache": self.folder / "cache", "timeout": 5} | more)

    def chunk(self, mount, name, index):
        """What a chunk is: right, zeros or the fill value where it should not be, or an errno's name."""
        found = read(mount / name / "em.zarr" / "s0" / expected.chunk_path(index))
        if isinstance(found, str):
            return found
        right = expected.chunk_bytes(self.volumes[name].voxels, sparse_volumes.CHUNK, index)
        return "right" if found == right else "wrong" if len(set(found)) > 2 else "fill"

    def asked(self, paths):
        """Requests by path, of these paths."""
        return {path: count for path, count in collections.Counter(request.path for request in self.origin.requests).items() if path in paths}

    def documents_asked(self, name):
        volume = self.volumes[name]
        folder = "/" + volume.folder.name + "/"
        return collections.Counter(request.path for request in self.origin.requests
                                   if request.path.startswith(folder) and volume.is_document(request.path))

    def describe(self, mount, name):
        (mount / name / "em.zarr" / "s0" / ".zarray").read_bytes()

    def path_of(self, name, index):
        """The path at the origin of a chunk that has a file of its own."""
        separator, start = {"v2": (".", "/v2.zarr/s0/"), "v3": ("/", "/v3.zarr/s0/c/")}[name]
        return start + separator.join(map(str, index))


def assert_right(scene, mount, name):
    found = readers.zarr_array(mount / name / "em.zarr", 0, False)
    np.testing.assert_array_equal(found, scene.volumes[name].voxels)


@pytest.mark.parametrize("name", NAMES)
def test_a_sparse_array_reads_right_with_two_requests_per_absent_block_and_a_document_check_a_minute(scene, name):
    volume = scene.volumes[name]
    with scene.mounted() as mount:
        scene.describe(mount, name)
        scene.origin.forget()
        begin = time.monotonic()
        assert_right(scene, mount, name)
        minutes = 1 + (time.monotonic() - begin) // 60
        asked = scene.asked(volume.missing)
        assert asked and max(asked.values()) <= 2, collections.Counter(asked.values())
        documents = scene.documents_asked(name)
        assert sum(documents.values()) <= minutes, documents
        assert mount.status()["failed"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_block_is_asked_for_twice_before_it_is_believed(scene, name):
    volume = scene.volumes[name]
    with scene.mounted() as mount:
        assert_right(scene, mount, name)
        asked = scene.asked(volume.missing)
        assert set(asked.values()) == {2}, collections.Counter(asked.values())
        assert sum(scene.documents_asked(name).values()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_absent_blocks_are_counted_by_dataset(scene, name):
    volume = scene.volumes[name]
    with scene.mounted() as mount:
        assert_right(scene, mount, name)
        counted = mount.status()["absent"]
        assert {dataset for dataset, count in counted.items() if count} == {name}
        if name != "shards":
            assert counted[name] == len(volume.absent)
        assert counted[name] > 0
        text = emfs("status", mount.path).stdout
        assert re.search(rf"\b{counted[name]}\b.*\babsent\b|\babsent\b.*\b{counted[name]}\b", text), text


@pytest.mark.parametrize("name", NAMES)
def test_after_a_remount_within_minutes_nothing_is_asked_and_absences_are_counted_again(scene, name):
    with scene.mounted() as mount:
        assert_right(scene, mount, name)
        before = mount.status()["absent"]
    scene.origin.forget()
    with scene.mounted() as mount:
        assert_right(scene, mount, name)
        assert scene.origin.requests == []
        assert mount.status()["absent"] == before


@pytest.mark.parametrize("name", NAMES)
def test_an_absence_that_is_older_than_its_time_is_asked_about_again(own, name):
    volume = own.volumes[name]
    with own.mounted() as mount:
        assert_right(own, mount, name)
    time.sleep(1.2)
    own.origin.forget()
    with own.mounted("--absent-ttl", "10m") as mount:
        assert_right(own, mount, name)
        assert own.origin.requests == []
    with own.mounted("--absent-ttl", "1") as mount:
        assert_right(own, mount, name)
        assert set(own.asked(volume.missing)) == volume.missing


def test_a_chunk_that_was_written_since_is_read_once_its_absence_is_too_old(own):
    index = own.volumes["v2"].absent[3]
    with own.mounted() as mount:
        assert own.chunk(mount, "v2", index) == "right"
    source = own.path_of("v2", own.volumes["v2"].present()[0])
    shutil.copy(own.origin.root / source.lstrip("/"), own.origin.root / own.path_of("v2", index).lstrip("/"))
    time.sleep(1.2)
    with own.mounted("--absent-ttl", "1") as mount:
        found = read(mount / "v2" / "em.zarr" / "s0" / expected.chunk_path(index))
        assert found == expected.chunk_bytes(own.volumes["v2"].voxels, sparse_volumes.CHUNK, own.volumes["v2"].present()[0])


@pytest.mark.parametrize("name", ["v2", "v3", "plain", "shards"])
@pytest.mark.parametrize("change", ["other bytes of other length", "other bytes of equal length", "no document"])
def test_a_404_below_a_document_that_changed_is_an_error_and_not_absence(own, name, change):
    volume = own.volumes[name]
    folder = own.origin.root / volume.folder.name
    document = folder / {"v2": "s0/.zarray", "v3": "s0/zarr.json", "plain": "info", "shards": "info"}[name]
    with own.mounted() as mount:
        own.describe(mount, name)
        text = document.read_text()
        if change == "no document":
            # All of them, because it is not said which is asked.
            for file in [file for file in folder.rglob("*") if file.is_file() and volume.is_document(str(file))]:
                file.unlink()
        elif change == "other bytes of other length":
            document.write_text(text + "\n")
        else:
            assert re.search(r"\d", text)
            document.write_text(re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), text, count=1))
        if change != "no document":
            os.utime(document, (5, 5))
        index = volume.absent[-1]
        assert own.chunk(mount, name, index) == "EIO"
        assert expected.chunk_path(index) in mount.log
        assert not mount.status()["absent"].get(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_bucket_that_says_403_of_all_that_is_not_there_reads_as_fill_where_chunks_are_absent(scene, name):
    scene.origin.missing = 403
    with scene.mounted() as mount:
        assert_right(scene, mount, name)
        assert mount.status()["failed"] == 0
        assert mount.status()["absent"][name] > 0


@pytest.mark.parametrize("name", NAMES)
def test_what_denied_means_is_asked_once_and_shown_by_status(scene, name):
    scene.origin.missing = 403
    with scene.mounted() as mount:
        assert_right(scene, mount, name)
        probes = [request.path for request in scene.origin.requests if "emfs-no-such-object" in request.path]
        assert len(set(probes)) == 1 and len(probes) <= 2, probes
        (store, means_absent), = mount.status()["denied_is_absent"].items()
        assert means_absent and store.startswith(scene.origin.url), store
        assert f'"denied" (403) of a chunk means that it is absent at {store}' in emfs("status", mount.path).stdout


@pytest.mark.parametrize("stated", [403, 404])
@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_says_what_the_status_of_absence_is(scene, name, stated):
    """Then nobody is asked for what surely does not exist."""
    scene.origin.missing = 403
    config = configuration({name: scene.volumes[name].at(scene.origin)}, LONG_SILENCE | {"absent": stated})
    with mounted(scene.folder, config, cache=scene.folder / "cache", timeout=5) as mount:
        found = {scene.chunk(mount, name, index) for index in scene.volumes[name].absent}
        # What the index of a shard says to be absent nobody is asked for.
        assert found == {"right"} if stated == 403 else "EACCES" in found and found <= {"EACCES", "right"}
        assert scene.chunk(mount, name, scene.volumes[name].present()[0]) == "right"
        assert not [request for request in scene.origin.requests if "emfs-no-such-object" in request.path]


@pytest.mark.parametrize("name", ["v2", "v3"])
def test_a_403_for_a_chunk_where_what_is_not_there_is_404_is_an_error(scene, name):
    present, absent = scene.volumes[name].present()[0], scene.volumes[name].absent[0]
    refused = scene.path_of(name, present)
    scene.origin.fault = lambda request: Fault("status", 403) if request.path == refused else None
    with scene.mounted() as mount:
        assert scene.chunk(mount, name, absent) == "right"
        for _ in range(2):
            assert scene.chunk(mount, name, present) == "EACCES"
            time.sleep(1.1)
        scene.origin.fault = None
        assert scene.chunk(mount, name, present) == "right"


@pytest.mark.parametrize("name", ["v2", "v3"])
def test_one_404_and_then_the_chunk_is_the_chunk(scene, name):
    present = scene.volumes[name].present()[0]
    lost = scene.path_of(name, present)
    given = []
    scene.origin.fault = lambda request: Fault("status", 404) if request.path == lost and not given and not given.append(1) else None
    with scene.mounted() as mount:
        assert scene.chunk(mount, name, present) == "right"
        assert given


def test_a_document_that_could_not_be_asked_makes_no_absence(scene):
    index = scene.volumes["v2"].absent[0]
    with scene.mounted() as mount:
        scene.describe(mount, "v2")
        scene.origin.fault = lambda request: Fault("status", 503) if scene.volumes["v2"].is_document(request.path) else None
        assert scene.chunk(mount, "v2", index) == "EIO"
        scene.origin.fault = None
        deadline = time.monotonic() + 20
        while scene.chunk(mount, "v2", index) != "right":
            assert time.monotonic() < deadline, "a document that answers again confirms absences again"
            time.sleep(0.5)


def bad_once(is_meant, given, answers):
    """Each path that is meant gives one bad answer, of these in turn."""
    def fault(request):
        if request.path in given or not is_meant(request.path):
            return None
        given.add(request.path)
        return answers[len(given) % len(answers)]
    return fault


@pytest.mark.parametrize("seen", [True, False], ids=["where something is there", "where nothing is known to be there"])
@pytest.mark.parametrize("name", NAMES)
def test_one_page_in_place_of_a_404_does_no_lasting_harm(scene, name, seen):
    """Of chunks and of shards; in the same mount, in later ones, and with --revalidate."""
    volume, given = scene.volumes[name], set()
    pages = [Fault("html"), Fault("altered", alter=lambda request, answer, origin: Answer(200, [("Content-Type", "text/plain")], b""))]
    # Of the shards, whole ones are missing in one half.
    absent = [index for index in volume.absent if index[0] >= 2][:12]
    with scene.mounted() as mount:
        scene.describe(mount, name)
        if seen:
            assert scene.chunk(mount, name, volume.present()[0]) == "right"
        scene.origin.fault = bad_once(lambda path: path in volume.missing, given, pages)
        for index in absent:
            assert scene.chunk(mount, name, index) in ("right", "EIO"), index
        scene.origin.fault = None
        assert given
        time.sleep(1.2)  # a failure is remembered for one second
        assert {index: scene.chunk(mount, name, index) for index in absent} == dict.fromkeys(absent, "right")
    for options in ([], ["--revalidate"], []):
        with scene.mounted(*options) as mount:
            assert {index: scene.chunk(mount, name, index) for index in absent} == dict.fromkeys(absent, "right"), options
            assert mount.status()["failed"] == 0, options


@pytest.mark.parametrize("name", ["v2", "v3", "plain"])
def test_a_page_that_was_given_for_a_while_is_kept_nowhere(scene, name):
    volume = scene.volumes[name]
    chunks = [*volume.absent[:4], *volume.present()[:4]]
    with scene.mounted() as mount:
        scene.describe(mount, name)
        scene.origin.fault = lambda request: Fault("html")
        assert {scene.chunk(mount, name, index) for index in chunks} <= {"EIO"}
        scene.origin.fault = None
        time.sleep(1.2)
        wait_for(lambda: all(scene.chunk(mount, name, index) == "right" for index in chunks), 20, "all is right again")
    for options in ([], ["--revalidate"]):
        with scene.mounted(*options) as mount:
            assert {index: scene.chunk(mount, name, index) for index in chunks} == dict.fromkeys(chunks, "right"), options


# --- where absences are told --------------------------------------------------------------------------------------------


def test_locate_says_when_an_absence_was_confirmed(scene):
    index = scene.volumes["v2"].absent[0]
    with scene.mounted() as mount:
        assert scene.chunk(mount, "v2", index) == "right"
        path = mount / "v2" / "em.zarr" / "s0" / expected.chunk_path(index)
        told = r"absent, confirmed at \d{4}-\d\d-\d\d[T ]\d\d:\d\d"
        # What is kept is written a moment later.
        wait_for(lambda: re.search(told, emfs("locate", path).stdout), 10, "locate says so")


def absent_counts(document):
    """All numbers under the name `absent`, however deep, and those of a table under it."""
    found = []
    for key, value in document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ():
        if key == "absent":
            found += [value] if isinstance(value, int) else list(value.values())
        else:
            found += absent_counts(value)
    return found


@pytest.mark.parametrize("name", ["v2", "v3", "plain"])
def test_warm_and_the_manifest_of_an_export_count_absent_blocks(scene, name):
    volume, count = scene.volumes[name], len(scene.volumes[name].absent)
    arguments = ["--config", scene.config_file, "--cache-dir", scene.folder / "cache"]
    told = emfs("warm", name, *arguments).stdout
    assert re.search(rf"\b{count}\b[^,;\n]*\babsent\b|\babsent\b[^,;\n]*\b{count}\b", told), told
    for number in range(2):
        # The first time from what was asked for just now, the second time without what is kept.
        destination = scene.folder / f"{number}.zarr"
        kept = arguments if number == 0 else ["--config", scene.config_file, "--cache-size", "0"]
        emfs("export", name, destination, *kept)
        np.testing.assert_array_equal(readers.zarr_array(destination, 0, False), volume.voxels)
        assert absent_counts(json.loads((destination / "manifest.json").read_text())) == [count]


def vanishing():
    """An archive of which nothing is there any more once the document of a store has borne something out."""
    documents = collections.Counter()

    def fault(request):
        if max(documents.values(), default=0) >= 2:
            return Fault("status", 404)
        if request.path.endswith(("s0/.zarray", "/info")):
            documents[request.path] += 1
        return None

    return fault


def test_a_command_that_ends_before_an_absence_is_confirmed_is_not_clean_where_its_archive_has_vanished(scene):
    volume = scene.volumes["v2"]
    chunks = [f"$EMFS_MOUNT/v2/em.zarr/s0/{expected.chunk_path(index)}" for index in (volume.absent[0], volume.present()[0])]
    arguments = ["--config", scene.config_file, "--cache-size", "0", "--require-clean", "--", "sh", "-c", f"cat {' '.join(chunks)} > /dev/null"]
    emfs("exec", *arguments)
    scene.origin.fault = vanishing()
    ended = emfs("exec", *arguments, check=False)
    assert ended.returncode == 75 and "was shown as absent" in ended.stderr, (ended.returncode, ended.stderr)


def test_what_was_believed_of_an_archive_that_vanished_is_among_the_failures_at_once(scene):
    volume = scene.volumes["v2"]
    with scene.mounted() as mount:
        assert scene.chunk(mount, "v2", volume.absent[0]) == "right"
        assert emfs("status", mount.path, "--failed").returncode == 0
        scene.origin.fault = lambda request: Fault("status", 404)
        assert scene.chunk(mount, "v2", volume.present()[0]) == "fill"
        told = emfs("status", mount.path, "--failed", check=False)
        assert told.returncode == 1 and "was shown as absent" in told.stdout, (told.stdout, told.stderr)


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("name", NAMES)
def test_in_an_outage_of_a_moment_nothing_is_absent_though_the_document_was_there_just_before(scene, name, status):
    volume = scene.volumes[name]
    scene.origin.missing = status
    with scene.mounted() as mount:
        assert scene.chunk(mount, name, volume.present()[0]) == "right"
        for index in volume.absent[:3]:
            assert scene.chunk(mount, name, index) == "right"
        scene.origin.fault = lambda request: Fault("status", status)
        lost = volume.present()[-1]
        assert scene.chunk(mount, name, lost) in ("EIO", "EACCES")
        scene.origin.fault = None
        wait_for(lambda: scene.chunk(mount, name, lost) == "right", 20, "it is right again")


def test_an_outage_of_a_moment_is_told_and_kept_nowhere_where_nothing_was_seen_to_be_there(scene):
    volume = scene.volumes["v2"]
    with scene.mounted() as mount:
        assert scene.chunk(mount, "v2", volume.absent[0]) == "right"
        scene.origin.fault = lambda request: Fault("status", 404)
        assert scene.chunk(mount, "v2", volume.present()[0]) == "fill"
        scene.origin.fault = None
        told = emfs("status", mount.path, "--failed", check=False)
        assert told.returncode == 1 and "said to be absent and is there" in told.stdout, (told.stdout, told.stderr)
    with scene.mounted() as mount:
        assert scene.chunk(mount, "v2", volume.present()[0]) == "right"


@pytest.mark.parametrize("options", [[], ["--format", "v3", "--shard", "64"]])
@pytest.mark.parametrize("name", ["v2", "plain"])
def test_an_export_under_which_its_archive_vanishes_fails_and_goes_on_with_the_right_bytes(scene, name, options):
    volume, destination = scene.volumes[name], scene.folder / "copy.zarr"
    arguments = ["export", name, destination, *options, "--config", scene.config_file, "--cache-size", "0"]
    scene.origin.fault = vanishing()
    failed = emfs(*arguments, check=False)
    assert failed.returncode == 1 and "may be moving" in failed.stderr and "--resume" in failed.stderr, failed.stderr
    scene.origin.fault = None
    emfs(*arguments, "--resume")
    np.testing.assert_array_equal(readers.zarr_array(destination, 0, bool(options)), volume.voxels)
    assert absent_counts(json.loads((destination / "manifest.json").read_text())) == [len(volume.absent)]


@pytest.mark.parametrize("command", ["mount", "warm", "export"])
def test_the_time_that_absences_are_believed_is_an_option_with_or_without_a_unit(scene, command):
    for value in ("1", "90", "10m", "30s", "1h"):
        subject = {"mount": [scene.folder / "nowhere"], "warm": ["v2", "--level", "s0", "--box", "z0-1_y0-1_x0-1"],
                   "export": ["v2", scene.folder / f"{value}.zarr"]}[command]
        if command == "mount":
            with mounted(scene.folder / value, scene.config, "--absent-ttl", value, timeout=5) as mount:
                assert mount.alive()
        else:
            emfs(command, *subject, "--config", scene.config_file, "--cache-dir", scene.folder / "cache", "--absent-ttl", value)
    refused = emfs(command, *subject, "--config", scene.config_file, "--absent-ttl", "soon", check=False)
    assert refused.returncode == 2 and "absent-ttl" in refused.stderr


@contextlib.contextmanager
def frozen(origin):
    """An origin that gives nothing."""
    origin.fault = lambda request: Fault("status", 503)
    yield
    origin.fault = None


def test_offline_an_absence_that_was_confirmed_is_read_however_old_it_is(scene):
    index = scene.volumes["v2"].absent[0]
    with scene.mounted() as mount:
        assert scene.chunk(mount, "v2", index) == "right"
    time.sleep(1.2)
    with frozen(scene.origin), scene.mounted("--offline", "--absent-ttl", "1") as mount:
        assert scene.chunk(mount, "v2", index) == "right"
