"""Further public volumes by name, and entries for anything else."""

import json
import subprocess
import tomllib

import mrcfile
import pytest
import tifffile

import dm_files
import further_volumes
import readers
import reference_volumes
from make_precomputed_fixtures import RAW, open_scale, sharding
from mounting import BINARY, configuration, emfs, mounted
from origin import Origin

BUILT_IN = ["idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"]


def test_further_volumes_are_listed_with_what_is_recorded_and_mounted_by_name_only(tmp_path):
    rows = json.loads(emfs("datasets", "--all", "--json").stdout)
    by_name = {row["dataset"]: row for row in rows if row["image"] == "em"}
    assert set(by_name) > set(BUILT_IN)
    further = [row for name, row in by_name.items() if name not in BUILT_IN]
    assert all(row["verified"] == "never against the live server" and row["licence"] for row in further)
    assert by_name["male-cns"]["shape"] == [134576, 78317, 94088] and by_name["male-cns"]["licence"] == "CC-BY-4.0"
    text = emfs("datasets", "--all").stdout
    assert "134576×78317×94088" in text and "never against the live server" in text
    assert {row["dataset"] for row in json.loads(emfs("datasets", "--json").stdout)} == set(BUILT_IN)


def test_a_volume_whose_finest_levels_are_placeholders_is_shown_from_the_first_with_voxels(tmp_path):
    voxels = []
    for level in range(3):
        shape = [40 >> level, 64 >> level, 48 >> level]
        size = [8.0 * 2**level] * 3
        scale = {"key": str(level), "size": shape[::-1], "resolution": size, "chunk_size": [16, 16, 16], "encoding": RAW,
                 "sharding": sharding(9, 6, 14)}
        store = open_scale(tmp_path / "v", scale, "uint8")
        voxels.append(reference_volumes.noise(shape, "u1", level))
        if level:
            store[..., 0] = voxels[-1].transpose(2, 1, 0)
    with Origin(tmp_path) as origin:
        source = {"kind": "precomputed", "url": f"{origin.url}/v"}
        with mounted(tmp_path / "m", configuration({"v": source | {"first_level": 1}}), timeout=20) as mount:
            for number in range(2):
                readers.assert_equal(readers.zarr_array(mount / "v" / "em.zarr", number, False), voxels[number + 1], f"s{number}")
            scale = json.loads((mount / "v" / "em.zarr" / ".zattrs").read_text())["multiscales"][0]["datasets"][0]
            assert scale["coordinateTransformations"][0]["scale"] == [16.0] * 3
        (tmp_path / "c.toml").write_text(configuration({"v": source | {"first_level": 3}}))
        done = emfs("datasets", "--config", tmp_path / "c.toml", "--probe", check=False)
        assert done.returncode == 1 and "first_level = 3 is asked for, but there are 3 levels" in done.stderr


@pytest.fixture(scope="module")
def further(tmp_path_factory):
    """A mount of small volumes in the forms of all further ones, and what is in them."""
    root = tmp_path_factory.mktemp("further")
    datasets, made = further_volumes.write(root)
    with Origin(root) as origin, mounted(tmp_path_factory.mktemp("m"), further_volumes.config(datasets, origin), timeout=20) as mount:
        yield mount, made


@pytest.mark.parametrize("name", [dataset["name"] for dataset in further_volumes.CATALOGUE])
def test_a_volume_in_the_form_of_each_further_one_is_shown_with_its_labels(further, name):
    mount, made = further
    for (dataset, label), volume in made.items():
        if dataset != name:
            continue
        group = mount / name / "em.zarr" if label is None else mount / name / "em.zarr" / "labels" / label
        for number, level in enumerate(volume.levels):
            readers.assert_equal(readers.zarr_array(group, number, False), level, f"{group} s{number}", volume.lossy)
        assert not (group / f"s{len(volume.levels)}").exists()
        scale = json.loads((group / ".zattrs").read_text())["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
        assert scale == volume.scale or volume.scale is None


@pytest.mark.parametrize("name", ["empiar-11759", "idr-9846137", "hemibrain"])
def test_an_entry_that_add_writes_mounts(demo, tmp_path, name):
    (dataset,) = [dataset for dataset in tomllib.loads(demo.config)["dataset"] if dataset["name"] == name]
    source = dataset["source"]
    address = {"empiar": lambda: f"EMPIAR-{source['entry']}", "idr": lambda: f"IDR-{source['image']}",
               "precomputed": lambda: f"precomputed://{source['url']}"}[source["kind"]]()
    options = [item for key in ("server", "files", "endpoint") if key in source for item in (f"--{key}", source[key])]
    done = emfs("add", address, "--name", "mine", *options, "--cache-dir", tmp_path / "cache")
    shape = demo.truth[name, "em", None].levels[0].shape
    assert "×".join(map(str, shape)) in done.stdout.splitlines()[0]
    with mounted(tmp_path / "m", done.stdout, timeout=20) as mount:
        found = readers.zarr_array(mount / "mine" / "em.zarr", 0, False)
        readers.assert_equal(found, demo.truth[name, "em", None].levels[0], name, 1 if name == "hemibrain" else 0)


def test_what_cannot_be_found_is_told_and_can_be_written_all_the_same(tmp_path):
    with Origin(tmp_path) as origin:
        done = emfs("add", f"{origin.url}/nothing.zarr", "--cache-size", "0", check=False)
        assert done.returncode == 1 and not done.stdout and "as zarr: " in done.stderr
        done = emfs("add", f"{origin.url}/nothing.zarr", "--no-probe")
        assert tomllib.loads(done.stdout)["dataset"][0] == {"name": "nothing", "source": {"kind": "zarr", "url": f"{origin.url}/nothing.zarr"}}
        assert not [request for request in origin.requests if "--no-probe" in request.path]


def test_what_is_no_address_is_told_before_anybody_is_asked(tmp_path):
    for wrong, words in (("EMPIAR-abc", "EMPIAR-NNNNN"), ("EMPIAR-99999999999999999999999", "EMPIAR-NNNNN"), ("idr0086", "IDR-NNNN")):
        done = emfs("add", wrong, "--no-probe", check=False)
        assert done.returncode == 2 and words in done.stderr and not done.stdout
    done = emfs("add", "https://reader:S3cret@h/v.tif", "--cache-size", "0", check=False)
    assert done.returncode == 1 and "password" in done.stderr and "S3cret" not in done.stderr and "--no-probe" not in done.stderr


def test_words_for_an_entry_and_texts_that_are_no_address(tmp_path):
    for text in ("doi:10.6019/EMPIAR-11759", "EMPIAR 11759", "empiar_11759"):
        source = tomllib.loads(emfs("add", text, "--no-probe").stdout)["dataset"][0]["source"]
        assert source == {"kind": "empiar", "entry": 11759}, text
    source = tomllib.loads(emfs("add", "https://h/x.zarr", "--channel", "2", "--no-probe").stdout)["dataset"][0]["source"]
    assert source == {"kind": "zarr", "url": "https://h/x.zarr", "channel": 2}
    texts = {"": "the address is empty", "~/x.tif": "`~` is the shell's", "http:/foo": "write `http://foo`", "C:\\data": "a path of Windows"}
    for text, words in texts.items():
        done = emfs("add", text, "--cache-size", "0", check=False)
        assert done.returncode == 2 and words in done.stderr and "as zarr" not in done.stderr, done.stderr
    for endpoint in ("127.0.0.1:9000", "host:9000"):
        done = emfs("add", "s3://b/x.zarr", "--endpoint", endpoint, "--cache-size", "0", check=False)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "must begin with http://" in done.stderr, done.stderr


def test_of_what_is_of_no_kind_only_what_helps_is_told(tmp_path):
    bdv = '<?xml version="1.0" encoding="UTF-8"?>\n<SpimData version="0.2"><SequenceDescription/></SpimData>'
    (tmp_path / "bdv.xml").write_text(bdv)
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "empty").mkdir()
    told = {name: emfs("add", tmp_path / name, "--cache-size", "0", check=False).stderr for name in ("bdv.xml", "picture", "empty", "nothing")}
    assert "BigDataViewer" in told["bdv.xml"] and "`voxel_size`" in told["bdv.xml"] and "OME-XML" not in told["bdv.xml"], told["bdv.xml"]
    assert "it is PNG" in told["picture"] and "nothing that emfs knows is there" in told["empty"] and "No such file" in told["nothing"]
    for text in told.values():
        assert len(text.splitlines()) == 2 and "neither DM3 nor DM4" not in text, text


def test_files_of_a_companion_document_say_that_the_voxel_size_is_there(tmp_path):
    binary = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><BinaryOnly MetadataFile="im.companion.ome" UUID="urn:uuid:9"/></OME>'
    voxels = reference_volumes.noise((3, 20, 30), "u1", 4)
    for z, plane in enumerate(voxels):
        tifffile.imwrite(tmp_path / f"im_z{z}.ome.tif", plane, ome=False, metadata=None, description=binary)
    with mounted(tmp_path.parent / "companion-mount", configuration({"a": {"kind": "tiff", "url": str(tmp_path)}})) as mount:
        readers.assert_equal(readers.zarr_array(mount / "a" / "em.zarr", 0, False), voxels, "companion")
        assert "im.companion.ome" in mount.log and "is to be written by `voxel_size`" in mount.log, mount.log


def test_the_entry_of_a_file_names_it_from_anywhere(tmp_path):
    (tmp_path / "vol.tif").write_bytes(b"")
    done = subprocess.run([BINARY, "add", "./vol.tif", "--no-probe"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert tomllib.loads(done.stdout)["dataset"][0]["source"]["url"] == str(tmp_path / "vol.tif")


def test_add_finds_mrc_and_dm_files_and_folders_of_them(tmp_path):
    voxels = reference_volumes.noise((3, 20, 30), "u1", 1).astype("i1")
    mrcfile.write(tmp_path / "a.map", voxels)
    for z, plane in enumerate(voxels):
        (tmp_path / "mrc").mkdir(exist_ok=True)
        (tmp_path / "dm").mkdir(exist_ok=True)
        mrcfile.write(tmp_path / "mrc" / f"s_{z}.mrc", plane)
        dm_files.write(tmp_path / "dm" / f"s_{z}.dm3", plane)
    with Origin(tmp_path) as origin:
        for base in (str(tmp_path), origin.url):
            for path, kind in (("a.map", "mrc"), ("mrc/", "mrc"), ("mrc", "mrc"), ("dm/", "dm3"), ("dm", "dm3")):
                done = emfs("add", f"{base}/{path}", "--cache-size", "0", check=False)
                assert done.returncode == 0, done.stderr
                assert "3×20×30" in done.stdout.splitlines()[0] and f'kind = "{kind}"' in done.stdout, done.stdout
