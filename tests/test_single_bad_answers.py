"""One bad answer, given once: no byte is wrong, and all is right soon after, after a remount and in an export."""

import collections
import contextlib
import re
import struct

import numpy as np
import pytest

import archives
import dm_files
import readers
import reference_volumes
from faults import MODES, Trigger, altered, first_byte_flipped
from make_precomputed_fixtures import open_scale, sharding
from mounting import configuration, emfs, mounted
from origin import Origin
from watched import REFUSED, Watched, side_by_side

TIMEOUT = 4  # of the mounts here, in seconds
FAULTS = MODES | {"first-flip": altered(first_byte_flipped)}

#: Place of the answer: the archive that is read, and which of its requests is meant.
PLACES = {
    "zarr chunk": ("zarr", lambda request, _: re.search(r"/s0/\d", request.path)),
    "zarr .zattrs": ("zarr", lambda request, _: request.path.endswith("em/.zattrs")),
    "zarr .zarray": ("zarr", lambda request, _: request.path.endswith("s0/.zarray")),
    "info": ("raw", lambda request, _: request.path.endswith("/info")),
    "shard": ("raw", lambda request, files: is_shard(request) and not is_index(request) and not is_minishard(request, files)),
    "shard of jpeg": ("jpeg", lambda request, files: is_shard(request) and not is_index(request) and not is_minishard(request, files)),
    "shard index": ("raw", lambda request, _: is_index(request)),
    "minishard index": ("raw", lambda request, files: is_minishard(request, files)),
    "dm listing": ("dm", lambda request, _: request.path == "/dm/"),
    "dm first header": ("dm", lambda request, _: request.path.endswith("0000.dm3") and request.range[0] == 0),
    "dm header": ("dm", lambda request, _: request.path.endswith("0002.dm3") and request.range[0] == 0),
    "dm pixels": ("dm", lambda request, _: request.path.endswith("0002.dm3") and length(request) > 64 << 10),
    "dm tags": ("dm", lambda request, _: request.path.endswith("0002.dm3") and request.range[0] > 64 << 10),
    "tiff start": ("imagej", lambda request, _: request.path.endswith(".tif") and request.range[0] == 0),
    "tiff pixels": ("imagej", lambda request, _: request.path.endswith(".tif") and length(request) > 100 << 10),
    "tiff end": ("imagej", lambda request, _: request.path.endswith(".tif") and request.range[0] > 0 and length(request) < 4096),
    "tiff last directory": ("itk", lambda request, files: holds_directory(request, files, -1)),
    "tiff directory": ("itk", lambda request, files: holds_directory(request, files, 2)),
    "omero file": ("imagej", lambda request, _: "original_file_paths" in request.path),
    "omero image": ("imagej", lambda request, _: "/m/images/" in request.path),
    "empiar entry": ("empiar", lambda request, _: "/api/entry/" in request.path),
}

BAD_ANSWERS = [(place, mode) for place, modes in {
    "zarr chunk": ["404", "html", "empty", "zeros", "flip", "total"],
    "zarr .zattrs": ["html", "first-flip", "zeros"],
    "zarr .zarray": ["404", "flip", "empty"],
    "info": ["html", "first-flip", "empty", "404"],
    "shard": ["404", "zeros", "total"],
    "shard of jpeg": ["404", "zeros", "html-206"],
    "shard index": ["404", "zeros", "flip", "total", "redirect-to-login"],
    "minishard index": ["404", "zeros", "flip", "first-flip"],
    "dm listing": ["html", "404", "empty"],
    "dm first header": ["zeros", "first-flip", "html"],
    "dm header": ["404", "html", "empty", "zeros", "total", "first-flip"],
    "dm tags": ["zeros", "404", "first-flip"],
    "dm pixels": ["404", "zeros", "total"],
    "tiff start": ["zeros", "first-flip", "total", "404", "html"],
    "tiff pixels": ["404", "zeros"],
    "tiff end": ["zeros", "404", "html"],
    "tiff last directory": ["zeros", "404"],
    "tiff directory": ["zeros", "flip", "404", "html-206"],
    "omero file": ["html", "404", "empty"],
    "omero image": ["html", "zeros"],
    "empiar entry": ["html", "404", "first-flip"],
}.items() for mode in modes]


def length(request):
    return request.range[1] - request.range[0]


def is_shard(request):
    return request.path.endswith(".shard")


def is_index(request):
    return is_shard(request) and request.range == (0, archives.SHARD_INDEX)


def is_minishard(request, files):
    if not is_shard(request):
        return False
    entries = (files / request.path.lstrip("/")).read_bytes()[:archives.SHARD_INDEX]
    spans = [struct.unpack_from("<QQ", entries, at) for at in range(0, archives.SHARD_INDEX, 16)]
    return request.range in [(start + archives.SHARD_INDEX, end + archives.SHARD_INDEX) for start, end in spans]


def holds_directory(request, files, page):
    """Whether a short range, not the one at the file's beginning, has the directory of the page in it."""
    if not request.path.endswith("itk.tif") or request.range[0] == 0 or length(request) > 140 << 10:
        return False
    import tifffile

    with tifffile.TiffFile(files / request.path.lstrip("/")) as file:
        return request.range[0] <= file.pages[page].offset < request.range[1]


def name_of(place, mode):
    return f"{place}-{mode}".replace(" ", "-").replace(".", "")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All bad answers, each in a dataset of its own; by place and mode."""
    folder = tmp_path_factory.mktemp("single")
    root = folder / "files"
    made = archives.write(root)
    with contextlib.ExitStack() as stack:
        watched = {}
        for place, mode in BAD_ANSWERS:
            archive, concerns = PLACES[place]
            origin = stack.enter_context(Origin(root, naming=made[archive].naming))
            trigger = Trigger(FAULTS[mode], "once", lambda request, concerns=concerns: concerns(request, root))
            watched[place, mode] = Watched(name_of(place, mode), origin, made[archive], trigger)
        config = configuration({each.name: each.archive.at(each.origin) for each in watched.values()}, {"stall": 1.0})
        everyone = list(watched.values())

        def read_all(mount):
            side_by_side(lambda each: each.read_while_on(mount, each.archive.indices()[::5] + each.archive.indices()[-1:]), everyone)

        with mounted(folder, config, cache=folder / "cache", timeout=TIMEOUT) as mount:
            read_all(mount)
            side_by_side(lambda each: each.recover(mount, "same mount"), everyone)
        with mounted(folder, config, cache=folder / "cache", timeout=TIMEOUT) as mount:
            side_by_side(lambda each: each.recover(mount, "after a remount"), everyone)
        emfs("export", "--all", folder / "export", "--config", folder / "config.toml", "--cache-dir", folder / "cache", "--compress", "none",
             check=False, timeout=300)
        yield watched, folder / "export"


@pytest.mark.parametrize("place, mode", BAD_ANSWERS, ids=[name_of(*bad) for bad in BAD_ANSWERS])
def test_one_bad_answer_gives_no_wrong_byte_and_does_no_lasting_harm(done, place, mode):
    watched, exported = done
    each = watched[place, mode]
    assert each.trigger.given == 1, f"the answer was given {each.trigger.given} times: {each.origin.requests}"
    wrong = {word for word in each.seen if word != "right" and word not in REFUSED}
    assert not wrong and not each.trouble, f"{wrong} {each}"
    voxels, right = readers.zarr_array(exported / each.name / "em.zarr", 0, False), each.archive.voxels
    off = np.abs(voxels.astype(int) - right)
    assert voxels.shape == right.shape and off.max() <= (1 if each.archive.lossy else 0), f"the export: {(off > 0).mean():.2%} of voxels are wrong"


@pytest.mark.parametrize("kind", ["imagej", "itk", "sections", "shards"])
def test_voxels_that_are_zeros_are_asked_for_twice_and_read_as_zeros(tmp_path, kind):
    root = tmp_path / "files"
    voxels, source = half_black(root, kind)
    with Origin(root) as origin:
        source = {key: value.replace("{origin}", origin.url) if isinstance(value, str) else value for key, value in source.items()}
        config = configuration({"em": source}, {"stall": 60.0})
        with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=10) as mount:
            np.testing.assert_array_equal(readers.zarr_array(mount / "em" / "em.zarr", 0, False), voxels)
            assert mount.status()["failed"] == 0
            # What is not zeros, and what was asked for twice, is not asked for again.
            asked = collections.Counter((request.path, request.range) for request in origin.requests)
            assert max(asked.values()) <= 2, asked
            origin.forget()
            small = readers.zarr_array(mount / "em" / "em.chunk-16.zarr", 0, False)
            np.testing.assert_array_equal(small, voxels)
            assert origin.requests == []
        with mounted(tmp_path, config, cache=tmp_path / "cache", timeout=10) as mount:
            np.testing.assert_array_equal(readers.zarr_array(mount / "em" / "em.zarr", 0, False), voxels)
            assert origin.requests == []


def half_black(root, kind):
    """A volume of which some planes, or one half, are zeros; its voxels and its source."""
    import tensorstore
    import tifffile

    root.mkdir()
    voxels = reference_volumes.noise((4, 400, 330), "u1", 1)
    voxels[[1, 2]] = 0
    if kind == "sections":
        for z, plane in enumerate(voxels):
            dm_files.write(root / "dm" / f"slice_{z:04}.dm3", plane)
        return voxels, {"kind": "dm3", "url": "{origin}/dm/"}
    if kind == "shards":
        voxels = reference_volumes.noise((64, 64, 96), "u1", 1)
        voxels[:32] = 0
        scale = {"key": "s0", "size": [96, 64, 64], "resolution": [8, 8, 8], "chunk_size": [32, 32, 32], "encoding": "raw", "sharding": sharding(1, 1, 1)}
        store = open_scale(root / "em", scale, "uint8")
        with tensorstore.Transaction() as transaction:
            # What equals the fill value is stored all the same.
            store.with_transaction(transaction)[..., 0].write(voxels.transpose(2, 1, 0)).result()
        return voxels, {"kind": "precomputed", "url": "{origin}/em"}
    if kind == "imagej":
        tifffile.imwrite(root / "em.tif", voxels, imagej=True, metadata={"axes": "ZYX"})
    else:
        import SimpleITK

        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(root / "em.tif"), useCompression=False)
    return voxels, {"kind": "tiff", "url": "{origin}/em.tif", "voxel_size": [5, 5, 5]}
