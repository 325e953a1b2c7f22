"""metadata.json of each dataset: what it says, and how it changes under those who have it open."""

import json
import os

import truth
from mounting import configuration, mounted, wait_for


def image_of(document):
    """The record of the image `em`, whichever way the document nests its images."""
    return document["image"] if "image" in document else document["images"]["em"] if isinstance(document["images"], dict) else document["images"][0]


def shape_of(record):
    shape = record["shape"]
    return [shape[axis] for axis in "zyx"] if isinstance(shape, dict) else shape


def test_it_says_shape_type_voxel_size_and_source(odd, volume):
    path = odd.mount / volume.name / "metadata.json"
    (odd.store(volume.name) / ".zattrs").read_text()
    document = json.loads(path.read_text())
    record = image_of(document)
    assert shape_of(record) == list(volume.levels[0].shape)
    assert record["dtype"] == volume.dtype.name
    sizes = record["voxel_size"]
    assert [sizes[axis] for axis in "zyx"] == volume.scale[0] if isinstance(sizes, dict) else sizes == volume.scale[0]
    assert volume.file.rpartition("/")[2] in json.dumps(document)


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
            record = image_of(document)
            assert record["shape"] is None and record["dtype"] is None
            assert "127.0.0.1" in json.dumps(document), "the reason names the address that failed"
            inode = os.fstat(old.fileno()).st_ino

            origin.start()

            def complete():
                found = json.loads(path.read_text())
                return found if image_of(found)["shape"] is not None else None

            late = wait_for(complete, 15, "metadata.json becomes complete when the origin is back")
            assert shape_of(image_of(late)) == list(volume.levels[0].shape)
            assert os.stat(path).st_ino != inode, "a revision has an inode of its own"
            old.seek(0)
            assert old.read() == early, "an old descriptor stays whole"
            assert os.pread(old.fileno(), len(early) + 100, 0) == early
        assert (mount / "v" / "em.zarr" / "s0" / "0" / "0" / "0").read_bytes()


def test_listing_it_uses_no_network(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = truth.itk(tmp_path / "files", "v", (3, 20, 20), "u1", 1)
    origin = serve(tmp_path / "files")
    with mounted(tmp_path / "m", configuration({"v": truth.source_at(volume, origin)}), timeout=5) as mount:
        assert "metadata.json" in os.listdir(mount / "v")
        assert origin.requests == []
