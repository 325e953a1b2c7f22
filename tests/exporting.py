"""What the tests of `emfs export` share."""

import json

import readers
from mounting import configuration, emfs

#: Manners by which a slow machine is not taken for a silent server, whose requests are sent twice.
PATIENT = {"stall": 60.0}


def export(*arguments, check=True, timeout=240, **options):
    return emfs("export", *arguments, "--cache-size", "0", check=check, timeout=timeout, **options)


def files(folder):
    """Every file below a folder with its bytes; the manifest without its time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "manifest.json":
                manifest = json.loads(data)
                assert manifest.pop("time")["exported"]
                data = json.dumps(manifest).encode()
            found[str(path.relative_to(folder))] = data
    return found


def assert_same(found, expected):
    found, expected = files(found), files(expected)
    assert sorted(found) == sorted(expected)
    different = [name for name in found if found[name] != expected[name]]
    assert not different, different


def assert_right(store, levels, v3, lossy=0):
    for level, voxels in enumerate(levels):
        for reader in (readers.zarr_array, readers.tensorstore_driver):
            readers.assert_equal(reader(store, level, v3), voxels, f"{store}/s{level} by {reader.__name__}", lossy)


def validate(store, v3, label=False):
    import zarr
    from ome_zarr_models.v04.image import Image as Image04
    from ome_zarr_models.v04.image_label import ImageLabel as Label04
    from ome_zarr_models.v05.image import Image as Image05
    from ome_zarr_models.v05.image_label import ImageLabel as Label05

    models = (Label05, Label04) if label else (Image05, Image04)
    models[0 if v3 else 1].from_zarr(zarr.open_group(store, mode="r"))


def written(tmp_path, sources, manners=None):
    file = tmp_path / "config.toml"
    file.write_text(configuration(sources, manners))
    return file


def wire(origin):
    """Bytes that were asked for since the last `forget`, those of whole files included."""
    def length(request):
        if request.range and request.range[1] < 1 << 61:
            return request.range[1] - request.range[0]
        file = origin.root / request.path.lstrip("/")
        return file.stat().st_size if file.is_file() else 0

    with origin._lock:
        return sum(map(length, origin.requests))
