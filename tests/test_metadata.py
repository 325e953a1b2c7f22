"""The records: what they say of the replica of five archives, how each value came, and how they change while mounted."""

import csv
import hashlib
import io
import json
import os

import jsonschema
import pandas
import pytest

import replica
import truth
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault

SECTIONS = ("study", "biosample", "specimen", "acquisition", "images")

# (field, value): what the archives' pages and files say for certain. Shapes are those of the replica's cut-outs.
CERTAIN = {
    "idr-9846137": {
        "study/accession": "idr0086", "study/licence": "CC-BY-4.0", "study/doi/0": "10.17867/10000141d",
        "study/release_date": "2020-07-22", "biosample/organism": "Homo sapiens", "biosample/cell_line": "U2OS",
        "biosample/stage": "G1", "biosample/ncbi_taxid": 9606, "acquisition/method": "FIB-SEM",
        "acquisition/accelerating_voltage_kv": 1.2, "acquisition/beam_current_na": 2, "acquisition/scan_rate_mhz": 0.5,
        "images/0/dtype": "uint8", "images/0/voxel_size": {"z": 20, "y": 20, "x": 20, "unit": "nanometer"},
        "images/0/display_window": {"low": 36, "high": 199}, "images/0/lossy": False,
        "images/0/upstream_format": "ImageJ TIFF, big-endian, uncompressed",
    },
    "empiar-11759": {
        "study/accession": "EMPIAR-11759", "study/doi/0": "10.6019/EMPIAR-11759", "study/licence": "CC0-1.0",
        "study/title": "Developing retina in zebrafish 55 hpf larval eye.", "study/authors/0": "Wilsch-Bräuninger M",
        "study/deposition_date": "2023-11-01", "study/release_date": "2024-01-15", "acquisition/method": "SBF-SEM",
        "acquisition/accelerating_voltage_kv": 1.9, "acquisition/beam_current_na": 0.2, "acquisition/dwell_time_us": 0.5,
        "acquisition/slice_thickness_nm": 50, "biosample/organism": "Danio rerio", "images/0/dtype": "uint8",
        "images/0/voxel_size/z": 50, "images/0/voxel_size/x": pytest.approx(7.99825, rel=1e-5),
        "images/0/voxel_size/y": pytest.approx(7.99825, rel=1e-5), "images/0/lossy": False,
    },
    "epfl-hippocampus": {
        "study/licence": None, "biosample/organism": None, "biosample/tissue": "hippocampus, CA1 region",
        "images/0/dtype": "uint8", "images/0/voxel_size": {"z": 5, "y": 5, "x": 5, "unit": "nanometer"},
        "images/0/lossy": False, "images/2/content_type": "segmentation", "images/2/label_of": "training",
    },
    "jrc_mus-nacc-2": {
        "study/doi/0": "10.25378/janelia.24222898", "study/licence": "CC-BY-4.0", "biosample/organism": "Mus musculus",
        "acquisition/started": "2015-03-09", "acquisition/duration_days": 1, "acquisition/bias_voltage_v": 500,
        "acquisition/scan_rate_mhz": 0.4, "acquisition/beam_current_na": 0.22,
        "acquisition/accelerating_voltage_kv": 0.2, "images/0/dtype": "int16", "images/0/lossy": False,
        "images/0/voxel_size": {"z": 2.96, "y": 4, "x": 4, "unit": "nanometer"}, "images/0/chunk": {"z": 64, "y": 64, "x": 64},
        "images/0/levels/1/scale_nm": [5.92, 8, 8], "images/0/levels/1/translation_nm": [1.48, 2, 2],
    },
    "hemibrain": {
        "study/doi/0": "10.7554/eLife.57443", "study/release_date": "2020-01-22", "study/licence": "CC-BY-4.0",
        "biosample/organism": "Drosophila melanogaster", "acquisition/method": "FIB-SEM", "images/0/dtype": "uint8",
        "images/0/voxel_size": {"z": 8, "y": 8, "x": 8, "unit": "nanometer"}, "images/0/lossy": True,
        "images/0/levels/1/scale_nm": [16, 16, 16],
    },
}

# (dataset, field, value): what is said elsewhere and kept beside the value.
CONTRADICTIONS = [
    ("empiar-11759", "/images/0/voxel_size/x", 8),
    ("idr-9846137", "/images/0/voxel_size/x", 50),
    ("epfl-hippocampus", "/images/0/shape/y", 2048),
    ("jrc_mus-nacc-2", "/images/0/dtype", "uint16"),
    ("hemibrain", "/images/0/shape/x", 34432),
]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The replica, mounted, with its configuration file."""
    folder = tmp_path_factory.mktemp("records")
    with replica.served(folder / "replica.log") as config, mounted(folder, config, timeout=20) as mount:
        yield mount


@pytest.fixture(scope="module")
def records(archives):
    records = json.loads((archives / "metadata.json").read_text())
    return {record["id"]: record for record in records}


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
def test_what_is_certain_is_in_the_record(records, name):
    for field, value in CERTAIN[name].items():
        assert resolve(records[name], f"/{field}") == value, field


@pytest.mark.parametrize("name,pointer,value", CONTRADICTIONS)
def test_contradictions_keep_both_sides_with_the_reason(records, name, pointer, value):
    others = records[name]["alternatives"][pointer]
    assert value in [other["value"] for other in others]
    assert resolve(records[name], pointer) != value
    assert all(other["reason"] for other in others)


def test_the_upstream_directory_holds_the_documents_that_the_record_lists(archives, records):
    for name, record in records.items():
        folder = archives / name / "upstream"
        listed = {document["file"].partition("/")[2]: document for document in record["documents"]}
        assert sorted(os.listdir(folder)) == sorted(listed)
        for file, document in listed.items():
            content = (folder / file).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (document["bytes"], document["sha256"])
            assert b"@" not in content or not document["redacted"]
        assert not (folder / "other.json").exists()
    assert set(records["idr-9846137"]["extra"]["upstream"]) == {
        "omero-files.json", "omero-image.json", "omero-annotations.json", "tiff-tags.json"}


def test_the_table_of_volumes_opens_in_pandas_with_the_right_types(archives):
    table = pandas.read_csv(archives / "metadata.csv")
    assert len(table) == 10 and list(table.columns[:2]) == ["dataset", "image"]
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


def test_the_readme_tells_how_to_cite(archives, records):
    text = (archives / "README.md").read_text()
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
    lines = run("markdown").splitlines()
    assert lines[0] == "| field | idr-9846137 | empiar-11759 | epfl-hippocampus | jrc_mus-nacc-2 | hemibrain |"


def test_it_says_shape_type_voxel_size_and_source_of_a_dataset_of_one_s_own(odd, volume):
    record = json.loads((odd.mount / volume.name / "metadata.json").read_text())["images"][0]
    assert list(record["shape"].values()) == list(volume.levels[0].shape)
    assert record["dtype"] == volume.dtype.name
    sizes = [record["voxel_size"][axis] for axis in "zyx"]
    assert sizes == (volume.scale[0] or [None] * 3)
    assert record["url"].rstrip("/").rpartition("/")[2] == volume.file.rpartition("/")[2]


def test_the_file_has_the_size_that_stat_says(odd, volume):
    path = odd.mount / volume.name / "metadata.json"
    for _ in range(2):
        with open(path, "rb") as file:
            assert os.fstat(file.fileno()).st_size == len(file.read())


def test_reading_it_while_the_origin_is_down_gives_nulls_with_a_reason_and_later_the_whole(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = truth.itk(tmp_path / "files", "v", (8, 60, 70), "u1", 1)
    origin = serve(tmp_path / "files")
    origin.stop()
    with mounted(tmp_path / "m", configuration({"v": truth.source_at(volume, origin)}), timeout=2) as mount:
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


@pytest.mark.parametrize("fault", [None, Fault("html"), Fault("status")])
def test_odd_annotations_are_no_failure_of_the_image(tmp_path, serve, fault):
    files = tmp_path / "files"
    volume = truth.itk(make(files / "f"), "v", (4, 20, 30), "u1", 1)
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
    volume = truth.itk(tmp_path / "files", "v", (3, 20, 20), "u1", 1)
    origin = serve(tmp_path / "files")
    with mounted(tmp_path / "m", configuration({"v": truth.source_at(volume, origin)}), timeout=5) as mount:
        assert {"metadata.json", "upstream"} <= set(os.listdir(mount / "v"))
        assert {"metadata.json", "metadata.csv", "correspondence.csv", "metadata.schema.json", "README.md"} <= set(os.listdir(mount.path))
        json.loads((mount / "metadata.schema.json").read_text())
        assert origin.requests == []
