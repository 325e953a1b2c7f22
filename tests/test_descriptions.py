"""Datasets and the whole as Croissant and RO-Crate: valid for the validators of others, and no other than the record says."""

import hashlib
import json
import os
import subprocess

import pytest

from mounting import DESCRIPTIONS_PYTHON, ROOT, mounted

if not DESCRIPTIONS_PYTHON.exists():
    pytest.skip("target/venv/descriptions is not there: scripts/test makes it", allow_module_level=True)


@pytest.fixture(scope="module")
def folders(demo):
    """The mount and its datasets, all of them open."""
    datasets = [demo.mount / name for name in os.listdir(demo.mount.path) if (demo.mount / name).is_dir()]
    for folder in datasets:
        (folder / "metadata.json").read_bytes()
    return [demo.mount.path, *datasets]


def read(path):
    return json.loads(path.read_text())


def test_croissant_is_valid(folders):
    command = DESCRIPTIONS_PYTHON.with_name("mlcroissant")
    for folder in folders:
        done = subprocess.run([command, "validate", "--jsonld", folder / "croissant.json"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "not standard" not in done.stderr and "error" not in done.stderr.lower(), done.stderr


def test_ro_crate_is_valid_and_all_that_it_names_is_there(folders):
    """What is recommended, too, but for an author, their affiliation, and a publisher or its page, where nobody says those."""
    done = subprocess.run([DESCRIPTIONS_PYTHON, ROOT / "tests" / "crates.py", *folders], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    issues = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") >= 3]
    unknown = {"ro-crate-1.1_22.2", "ro-crate-1.1_22.3", "ro-crate-1.1_30.2", "ro-crate-1.1_30.3", "ro-crate-1.1_31.2"}
    assert not [issue for issue in issues if issue[1] == "REQUIRED" or issue[2] not in unknown], issues
    for folder in folders:
        for entity in read(folder / "ro-crate-metadata.json")["@graph"]:
            if entity["@type"] in ("File", "Dataset"):
                path = folder / entity["@id"]
                assert path.is_dir() == (entity["@type"] == "Dataset") and path.exists(), path


def test_licence_authors_and_checksums_are_those_of_the_record(folders):
    for folder in folders[1:]:
        record, croissant = read(folder / "metadata.json"), read(folder / "croissant.json")
        graph = {entity["@id"]: entity for entity in read(folder / "ro-crate-metadata.json")["@graph"]}
        study = record["study"]
        licence = study["licence_url"] or study["licence"] or study["licence_statement"]
        assert croissant.get("license") == licence
        assert study["licence"] is None or graph[graph["./"]["license"]["@id"]]["name"] == study["licence"]
        authors = [author["name"] for author in croissant.get("creator", [])]
        assert authors == (study["authors"] or [])
        assert [entity["name"] for entity in graph.values() if entity["@type"] == "Person"] == authors
        files = {part["@id"]: part for part in croissant["distribution"] if part["@type"] == "cr:FileObject"}
        assert set(files) == {document["file"] for document in record["documents"]}
        for name, part in files.items():
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            assert part["sha256"] == digest == graph[name]["sha256"], name
        stores = {part["@id"] for part in croissant["distribution"] if part["@type"] == "cr:FileSet"}
        assert stores <= set(os.listdir(folder)) | {f"{image['name']}.tif" for image in record["images"]}
        rows = croissant["recordSet"][0]["data"]
        assert [row["images/zarr"] for row in rows] == [image["zarr"] for image in record["images"]]


def test_a_source_that_does_not_answer_leaves_valid_descriptions(tmp_path):
    from mounting import configuration

    config = configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}})
    with mounted(tmp_path, config, timeout=2) as mount:
        command = DESCRIPTIONS_PYTHON.with_name("mlcroissant")
        done = subprocess.run([command, "validate", "--jsonld", mount / "v" / "croissant.json"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        done = subprocess.run([DESCRIPTIONS_PYTHON, ROOT / "tests" / "crates.py", mount / "v"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "REQUIRED" not in done.stdout, done.stderr + done.stdout
