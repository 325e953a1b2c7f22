"""Where the origin states a checksum of what is fetched whole it is checked, and what only looks like one does no harm."""

import numpy as np
import pytest

import archives
import expected
import readers
import reference_volumes
from faults import MODES, Trigger
from cached_scene import read
from make_precomputed_fixtures import open_scale, read_scale
from mounting import configuration, mounted
from namings import NAMINGS
from origin import Origin

#: Ways in which a server states a checksum.
STATED = ["s3", "google", "google_composed", "content_md5", "digest_header"]
SHAPE, CHUNK = (32, 64, 64), (16, 32, 32)
#: Archives whose chunks are objects of their own. Nothing of a chunk but its checksum tells that a bit of it flipped.
KINDS = ["zarr", "plain", "gzipped"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Uncompressed chunks in a Zarr group and in a precomputed volume, and one of chunks that were uploaded as gzip."""
    import gzip

    root = tmp_path_factory.mktemp("summed")
    zarr = reference_volumes.zarr_group(root, "zarr", shape=SHAPE, dtype="|u1", chunks=CHUNK, levels=1, seed=1, s3=True, compressors=None)
    voxels = {"zarr": zarr.levels[0]}
    for name in ("plain", "gzipped"):
        folder = root / "bucket" / name
        scale = {"key": "s0", "size": SHAPE[::-1], "resolution": [4, 4, 4], "chunk_size": CHUNK[::-1], "encoding": "raw"}
        open_scale(folder, scale, "uint8")[..., 0].write(reference_volumes.noise(SHAPE, "u1", 2).transpose(2, 1, 0)).result()
        voxels[name] = read_scale(folder, None, 0)
    for file in (root / "bucket" / "gzipped" / "s0").iterdir():
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
        file.unlink()
    archives.stamp(root)
    return root, voxels


def source(kind, origin, scheme):
    path = "bucket/zarr/recon/em" if kind == "zarr" else f"bucket/{kind}"
    place = {"url": f"{scheme}://{path}/", "endpoint": origin.url} if scheme in ("s3", "gs") else {"url": f"{origin.url}/{path}"}
    return {"kind": "zarr" if kind == "zarr" else "precomputed"} | place


def scheme_of(naming):
    return "gs" if naming.startswith("google") else "s3" if naming.startswith("s3") else "http"


def holds_voxels(request):
    return "/s0/" in request.path and request.path.rpartition("/")[2][:1].isdigit()


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_however_a_version_is_named_voxels_are_right_by_one_request_each(written, tmp_path, naming, kind):
    root, voxels = written
    with Origin(root, naming=NAMINGS[naming]) as origin:
        config = configuration({"em": source(kind, origin, scheme_of(naming))}, {"stall": 60.0})
        for _ in range(2):
            with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=5) as mount:
                np.testing.assert_array_equal(readers.zarr_array(mount / "em" / "em.zarr", 0, False), voxels[kind])
        chunks = [request for request in origin.requests if holds_voxels(request)]
        most = 2 if naming in ("s3_encrypted", "like_md5") else 1
        assert len(chunks) <= most * 8, "once for each chunk, or twice where a name is taken for a checksum at first"


def read_while(written, folder, naming, kind, often):
    """What is read of each chunk while a bit of its bytes is flipped once or always, and then on a new mount: a word each."""
    root, voxels = written
    with Origin(root, naming=NAMINGS[naming]) as origin:
        config = configuration({"em": source(kind, origin, scheme_of(naming))}, {"stall": 60.0})
        trigger = origin.fault = Trigger(MODES["flip"], often, holds_voxels)

        def words(mount):
            for index in expected.chunk_indices(SHAPE, CHUNK):
                found = read(mount / "em" / "em.zarr" / "s0" / expected.chunk_path(index))
                yield "right" if found == expected.chunk_bytes(voxels[kind], CHUNK, index) else found if isinstance(found, str) else "wrong"

        with mounted(folder, config, cache=folder / "cache", timeout=5) as mount:
            (mount / "em" / "em.zarr" / "s0" / ".zarray").read_bytes()
            trigger.on = True
            while_on = set(words(mount))
            assert trigger.given
            trigger.on = False
        with mounted(folder, config, cache=folder / "cache", timeout=5) as mount:
            return while_on, set(words(mount))


@pytest.mark.parametrize("naming", STATED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_fetched_again_and_not_seen_by_the_reader(written, tmp_path, naming, kind):
    assert read_while(written, tmp_path, naming, kind, "once") == ({"right"}, {"right"})


@pytest.mark.parametrize("kind, naming", [("zarr", "s3"), ("plain", "google"), ("plain", "digest_header")])
def test_bits_that_flip_each_time_are_an_error_and_are_not_kept(written, tmp_path, naming, kind):
    assert read_while(written, tmp_path, naming, kind, "always") == ({"EIO"}, {"right"})
