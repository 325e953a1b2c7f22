"""The records: what they say of the replica of five archives, how each value came, and how they change while mounted."""

import csv
import hashlib
import io
import json
import os
import pathlib
import time

import jsonschema
import pandas
import pytest

import replica
import reference_volumes
from published_values import CERTAIN
from published_values import unit as unit_of
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPLICA = ROOT / "src/demo/replica"
SECTIONS = ("study", "biosample", "specimen", "acquisition", "images")

@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The replica, mounted, with its configuration file."""
    folder = tmp_path_factory.mktemp("records")
    with replica.served(folder / "replica.log") as config, mounted(folder, config, timeout=20) as mount:
        yield mount


@pytest.fixture(scope="module")
def records(archives):
    def complete():
        records = json.loads((archives / "metadata.json").read_text())
        return records if all(image["chunk"]["z"] for record in records for image in record["images"]) else None

    return {record["id"]: record for record in wait_for(complete, 30, "all images are open")}


def resolve(document, pointer):
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def leaves(value, pointer=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, f"{pointer}/{number}")
    else:
        yield pointer, value


def test_all_records_fit_the_schema(archives, records):
    schema = json.loads((archives / "metadata.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert len(records) == 5
    for name, record in records.items():
        assert [error.message for error in validator.iter_errors(record)] == [], name
        assert json.loads((archives / name / "metadata.json").read_text()) == record
    assert [error.message for error in validator.iter_errors(list(records.values()))] == []
    assert list(validator.iter_errors([3])) and list(validator.iter_errors(3))


def test_every_known_value_has_a_source_and_every_unknown_one_a_reason(records):
    for name, record in records.items():
        for section in SECTIONS:
            for pointer, value in leaves(record[section], f"/{section}"):
                if value is None:
                    assert record["missing"][pointer], f"{name} {pointer}"
                else:
                    assert pointer in record["provenance"], f"{name} {pointer}"
                    assert value != ""
        assert all(resolve(record, pointer) is not None for pointer in record["provenance"])
        assert all(resolve(record, pointer) is None for pointer in record["missing"])


def test_every_pointer_leads_to_the_value_as_found(archives, records):
    pointers = 0
    for name, record in records.items():
        entries = list(record["provenance"].values())
        entries += [item for entry in entries for item in entry.get("confirmed_by", [])]
        entries += [item["provenance"] for items in record["alternatives"].values() for item in items]
        for entry in entries:
            if entry["method"] == "upstream":
                document = (archives / name / entry["document"]).read_bytes()
                assert hashlib.sha256(document).hexdigest() == entry["sha256"]
                assert resolve(json.loads(document), entry["pointer"]) == entry["value_as_found"]
                pointers += 1
    assert pointers > 200


@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_certain_is_in_the_record_with_its_unit(records, name):
    record = records[name]
    for pointer, value, unit in CERTAIN[name]["VALUE"]:
        assert (resolve(record, pointer), unit_of(record, pointer)) == (value, unit), pointer
        if value is not None:
            assert all(leaf in record["provenance"] for leaf, _ in leaves(resolve(record, pointer), pointer)), pointer
    for pointer, end in CERTAIN[name]["ADDRESS"]:
        assert resolve(record, pointer).endswith(end), pointer


@pytest.mark.parametrize("name", CERTAIN)
def test_what_documents_say_for_certain_is_kept(archives, records, name):
    record = records[name]
    entries = list(record["provenance"].values())
    entries += [item for entry in entries for item in entry.get("confirmed_by", [])]
    entries += [item["provenance"] for items in record["alternatives"].values() for item in items]
    taken = {(entry.get("document"), entry.get("pointer")) for entry in entries}
    for file, place, value in CERTAIN[name]["FOUND"]:
        document = json.loads((archives / name / "upstream" / file).read_text())
        assert resolve(document, place) == value, f"{file} {place}"
        for leaf, _ in leaves(resolve(document, place), place):
            assert leaf in record["extra"]["upstream"][file] or (f"upstream/{file}", leaf) in taken, f"{file} {leaf}"


@pytest.mark.parametrize("name", CERTAIN)
def test_contradictions_keep_both_sides_with_the_reason(records, name):
    record = records[name]
    assert CERTAIN[name]["BESIDE"]
    for pointer, value, unit in CERTAIN[name]["BESIDE"]:
        others = record["alternatives"][pointer]
        assert value in [other["value"] for other in others], pointer
        assert resolve(record, pointer) != value and unit_of(record, pointer) == unit, pointer
        assert all(other["reason"] for other in others), pointer


@pytest.mark.parametrize("name", CERTAIN)
def test_only_what_the_replica_cuts_off_differs_from_the_archive(records, name):
    for pointer, archive, unit, replica in CERTAIN[name]["CUT"]:
        assert (resolve(records[name], pointer), unit_of(records[name], pointer)) == (replica, unit), pointer
        # The same question is answered the same way for the archive's size: bytes follow from shape and type.
        assert archive != replica
    shape = {pointer: archive for pointer, archive, *_ in CERTAIN[name]["CUT"]}
    size = {"uint8": 1, "int16": 2}[resolve(records[name], "/images/0/dtype")]
    if "/images/0/bytes_uncompressed" in shape:
        z, y, x = (shape[f"/images/0/shape/{axis}"] for axis in "zyx")
        assert shape["/images/0/bytes_uncompressed"] == z * y * x * size


def test_the_upstream_directory_holds_the_documents_that_the_record_lists(archives, records):
    for name, record in records.items():
        folder = archives / name / "upstream"
        listed = {document["file"].partition("/")[2]: document for document in record["documents"]}
        assert sorted(os.listdir(folder)) == sorted(listed)
        for file, document in listed.items():
            content = (folder / file).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (document["bytes"], document["sha256"])
            # Names of OMERO's members begin so, too.
            assert b"@example.org" not in content and b"Users\\\\operator" not in content
        assert not (folder / "other.json").exists()
    tags = [entry for entry in records["empiar-11759"]["documents"] if entry["file"] == "upstream/dm-tags.json"]
    assert [pointer.rpartition("/")[2] for pointer in tags[0]["redacted"]] == ["Send to", "Base file name"]
    assert set(records["idr-9846137"]["extra"]["upstream"]) == {
        "omero-files.json", "omero-image.json", "omero-annotations.json", "omero-datasets.json", "omero-projects.json",
        "omero-study.json", "tiff-tags.json"}


def test_the_table_of_volumes_opens_in_pandas_with_the_right_types(archives):
    table = pandas.read_csv(archives / "metadata.csv")
    assert len(table) == 15 and list(table.columns[:2]) == ["dataset", "image"]
    kinds = {"shape_z": "i", "voxel_size_z_nm": "f", "bytes_uncompressed": "i", "anisotropy": "f", "lossy": "b",
             "display_window_low": "if", "acquisition_accelerating_voltage_kv": "f", "biosample_ncbi_taxid": "f"}
    for column, kind in kinds.items():
        assert table[column].dtype.kind in kind, f"{column} is {table[column].dtype}"
    nacc = table[table.dataset == "jrc_mus-nacc-2"].iloc[0]
    assert (nacc.shape_z, nacc.voxel_size_z_nm, nacc["dtype"], nacc.lossy) == (70, 2.96, "int16", False)
    assert pandas.isna(table[table.dataset == "epfl-hippocampus"].study_licence).all()


def test_the_correspondence_covers_every_shared_field(archives, records):
    rows = list(csv.DictReader(io.StringIO((archives / "correspondence.csv").read_text())))
    assert {row["role"] for row in rows} == {"value", "missing", "confirmation", "alternative"}
    fields = {row["field"] for row in rows}
    for field in {row["field"] for row in csv_fields(records)}:
        assert field in fields
    angstrom = [row for row in rows if row["unit_as_found"] == "Å"]
    assert angstrom and {(row["value_as_found"], row["value"], row["unit"]) for row in angstrom} == {("80", "8", "nanometer")}


def csv_fields(records):
    """Fields that at least two records know."""
    known = {}
    for record in records.values():
        for section in ("study", "biosample", "specimen", "acquisition"):
            for field, value in record[section].items():
                if value is not None:
                    known.setdefault(f"{section}/{field}", []).append(record["id"])
        for pointer, value in leaves({key: item for key, item in record["images"][0].items() if key != "levels"}):
            if value is not None:
                known.setdefault(pointer.strip("/").removesuffix("/0").removesuffix("/1").removesuffix("/2"), []).append(record["id"])
    return [{"field": field} for field, names in known.items() if len(names) > 1]


def test_the_readme_tells_how_it_was_done_and_how_to_cite(archives, records):
    text = (archives / "README.md").read_text()
    assert "## How it was done" in text and "{" not in text
    assert "| image/voxel_size/z | empiar-11759 | `upstream/dm-tags.json`" in text
    for record in records.values():
        assert record["study"]["citation"] in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_command_prints_a_table_without_a_mount(archives, width):
    arguments = ["metadata", "--config", archives.config_file]
    text = emfs(*arguments, env={**os.environ, "COLUMNS": str(width)}).stdout
    assert max(map(len, text.splitlines())) <= width
    golden = os.path.join(os.path.dirname(__file__), "golden", f"metadata-{width}.txt")
    with open(golden) as file:
        assert text == file.read()
    part = emfs(*arguments[:1], "hemibrain", *arguments[1:], "--field", "acquisition/*").stdout
    assert "acquisition/method" in part and "study" not in part and "epfl" not in part


def test_the_command_gives_the_same_in_all_forms(archives, records):
    def run(form):
        return emfs("metadata", "--config", archives.config_file, "--format", form).stdout

    found = {record["id"]: record for record in json.loads(run("json"))}
    assert {name: record["images"] for name, record in found.items()} == {n: r["images"] for n, r in records.items()}
    assert run("csv") == (archives / "metadata.csv").read_text()
    assert run("correspondence") == (archives / "correspondence.csv").read_text()
    table = run("markdown")
    assert table in (ROOT / "src/manual/metadata.md").read_text(), "the manual has this table; put it there anew"
    lines = table.splitlines()
    assert lines[0] == "| field | idr-9846137 | empiar-11759 | epfl-hippocampus | jrc_mus-nacc-2 | hemibrain |"


@pytest.mark.parametrize("arguments, word", [
    (["--field", "nope"], "`nope` fits no row"), (["--field", "nope/*", "--format", "markdown"], "`nope/*` fits no row"),
    (["--field", "acquisition/*", "--format", "json"], "--format"), (["--field", "acquisition/*", "--format", "csv"], "--format"),
    (["--field", "acquisition/*", "--format", "correspondence"], "--format"),
])
def test_a_choice_of_rows_that_cannot_be_made_is_wrong_usage(arguments, word):
    done = emfs("metadata", *arguments, "--offline", check=False)
    assert (done.returncode, done.stdout) == (2, "") and word in done.stderr, done.stderr


def test_it_says_shape_type_voxel_size_and_source_of_a_dataset_of_one_s_own(reference, volume):
    record = json.loads((reference.mount / volume.name / "metadata.json").read_text())["images"][0]
    assert list(record["shape"].values()) == list(volume.levels[0].shape)
    assert record["dtype"] == volume.dtype.name
    sizes = [record["voxel_size"][axis] for axis in "zyx"]
    assert sizes == (volume.scale[0] or [None] * 3)
    assert record["url"].rstrip("/").rpartition("/")[2] == volume.file.rpartition("/")[2]


def test_the_file_has_the_size_that_stat_says(reference, volume):
    path = reference.mount / volume.name / "metadata.json"
    for _ in range(2):
        with open(path, "rb") as file:
            assert os.fstat(file.fileno()).st_size == len(file.read())


def test_what_is_kept_has_the_time_it_was_fetched_at_and_makes_the_same_record(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volumes = [reference_volumes.itk(tmp_path / "files", "tiff", (8, 60, 70), "u1", 1),
               reference_volumes.zarr_group(tmp_path / "files", "zarr", shape=(8, 60, 70), dtype="<u2", chunks=(8, 32, 32), seed=2, levels=2)]
    origin = serve(tmp_path / "files")
    config = configuration({volume.name: reference_volumes.source_at(volume, origin) for volume in volumes})
    found = []
    for options in ((), ("--offline",)):
        with mounted(tmp_path / "m", config, *options, cache=tmp_path / "cache") as mount:
            found.append([(mount / volume.name / "metadata.json").read_bytes() for volume in volumes])
        time.sleep(1.1)
    assert found[0] == found[1]
    assert all(json.loads(record)["documents"] for record in found[1])


def test_looking_at_records_beside_a_dead_server_is_no_failed_read_and_waits_once(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = reference_volumes.itk(tmp_path / "files", "v", (8, 60, 70), "u1", 1)
    origin = serve(tmp_path / "files")
    origin.fault = lambda request: Fault("silent")
    with mounted(tmp_path / "m", configuration({"v": reference_volumes.source_at(volume, origin)}), timeout=3) as mount:
        os.stat(mount / "metadata.csv")
        line = wait_for(lambda: [line for line in mount.log.splitlines() if "metadata.csv" in line], 20, "the log tells of it")[0]
        assert "v/em" in line and mount.status()["failed"] == 0
        # 2 s each would be too late.
        waited = 0
        for _ in range(4):
            time.sleep(1.1)
            begin = time.monotonic()
            os.stat(mount / "metadata.csv")
            waited += time.monotonic() - begin
        assert waited < 6
        with pytest.raises(OSError):
            (mount / "v" / "em.zarr" / ".zattrs").read_bytes()
        assert mount.status()["failed"] == 1


def test_reading_it_while_the_origin_is_down_gives_nulls_with_a_reason_and_later_the_whole(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = reference_volumes.itk(tmp_path / "files", "v", (8, 60, 70), "u1", 1)
    origin = serve(tmp_path / "files")
    origin.stop()
    with mounted(tmp_path / "m", configuration({"v": reference_volumes.source_at(volume, origin)}), timeout=2) as mount:
        path = mount / "v" / "metadata.json"
        with open(path, "rb") as old:
            early = old.read()
            document = json.loads(early)
            assert document["images"][0]["shape"]["z"] is None and document["images"][0]["dtype"] is None
            assert "127.0.0.1" in document["missing"]["/images/0/shape/z"], "the reason names the address that failed"
            inode = os.fstat(old.fileno()).st_ino
            assert os.listdir(mount / "v" / "upstream") == []

            origin.start()

            def complete():
                found = json.loads(path.read_text())
                return found if found["images"][0]["shape"]["z"] is not None else None

            late = wait_for(complete, 15, "metadata.json becomes complete when the origin is back")
            assert list(late["images"][0]["shape"].values()) == list(volume.levels[0].shape)
            assert os.stat(path).st_ino != inode, "a revision has an inode of its own"
            old.seek(0)
            assert old.read() == early, "an old descriptor stays whole"
            assert os.pread(old.fileno(), len(early) + 100, 0) == early
        assert os.listdir(mount / "v" / "upstream") == ["tiff-tags.json"]
        assert json.loads((mount / "metadata.json").read_text()) == [late]
        assert (mount / "v" / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()


def test_what_the_archive_said_is_told_and_marked_while_the_file_server_is_down(tmp_path, serve):
    origin = serve(REPLICA / "ebi/pub/databases/IDR")
    origin.stop()
    with replica.served(tmp_path / "replica.log") as config:
        (found,) = [source for name, *_, source in replica.images(config) if name == "idr-9846137"]
        source = {"kind": "idr", "image": 9846137, "server": found["server"], "files": origin.url}
        with mounted(tmp_path / "m", configuration({"v": source}), timeout=2) as mount:
            path = mount / "v" / "metadata.json"

            def told():
                document = json.loads(path.read_text())
                names = {entry["file"].partition("/")[2] for entry in document["documents"]}
                known = document["images"][0]["shape"]["z"] and "127.0.0.1" in document["missing"]["/images/0/chunk/z"]
                return document if known and {"omero-study.json", "omero-annotations.json"} <= names else None

            early = wait_for(told, 20, "metadata.json tells what OMERO said")
            assert early["study"]["licence"] == "CC-BY-4.0" and early["biosample"]["organism"] == "Homo sapiens"
            image = early["images"][0]
            assert (image["shape"], image["voxel_size"]["z"], image["dtype"]) == ({"z": 24, "y": 155, "x": 225}, 20, "uint8")
            assert "not answered" in early["provenance"]["/images/0/shape/z"]["reason"]
            assert image["chunk"]["z"] is None
            assert "omero-study.json" in os.listdir(mount / "v" / "upstream")

            origin.start()

            def complete():
                document = json.loads(path.read_text())
                return document if document["images"][0]["chunk"]["z"] else None

            late = wait_for(complete, 20, "metadata.json becomes complete when the file server is back")
            assert "reason" not in late["provenance"]["/images/0/shape/z"]
            assert "tiff-tags.json" in os.listdir(mount / "v" / "upstream")


@pytest.mark.parametrize("fault", [None, Fault("html"), Fault("status")])
def test_odd_annotations_are_no_failure_of_the_image(tmp_path, serve, fault):
    files = tmp_path / "files"
    volume = reference_volumes.itk(make(files / "f"), "v", (4, 20, 30), "u1", 1)
    name = os.path.basename(volume.file)
    make(files / "api/v0/m/images/7").joinpath("index").write_text("{}")
    origin = serve(files)
    # A server of files has no routes that end in a slash, so the answers are those of a server in trouble.
    origin.fault = lambda request: fault if fault and "annotations" in request.path else None
    source = {"kind": "idr", "image": 7, "server": origin.url, "files": origin.url, "url": f"{origin.url}/f/{name}"}
    with mounted(tmp_path / "m", configuration({"v": source}), timeout=10) as mount:
        document = wait_for(lambda: opened(mount / "v" / "metadata.json"), 15, "the image is open")
        assert [entry["file"] for entry in document["documents"]] == ["upstream/tiff-tags.json"]
        assert document["missing"]["/biosample/organism"]


def opened(path):
    document = json.loads(path.read_text())
    return document if document["images"][0]["dtype"] else None


def make(folder):
    folder.mkdir(parents=True)
    return folder


def test_listing_it_uses_no_network(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = reference_volumes.itk(tmp_path / "files", "v", (3, 20, 20), "u1", 1)
    origin = serve(tmp_path / "files")
    with mounted(tmp_path / "m", configuration({"v": reference_volumes.source_at(volume, origin)}), timeout=5) as mount:
        assert {"metadata.json", "upstream"} <= set(os.listdir(mount / "v"))
        assert {"metadata.json", "metadata.csv", "correspondence.csv", "metadata.schema.json", "README.md"} <= set(os.listdir(mount.path))
        json.loads((mount / "metadata.schema.json").read_text())
        assert origin.requests == []
