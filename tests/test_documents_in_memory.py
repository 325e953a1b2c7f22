"""Documents of archives take a bounded part of memory, whatever their shape, and cost the datasets beside them nothing."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import struct

import pytest
import zarr

import reference_volumes
from mounting import configuration, mounted

MEMORY = 64 << 20
#: Beside the budget: the program itself, and one document that is made sense of.
OVERHEAD = 96 << 20
AT_ONCE = 12


def filled(size, start, item, end, between=","):
    """A document of about `size` bytes: `item` again and again."""
    count = (size - len(start) - len(end)) // (len(item) + len(between))
    return start + between.join([item] * count) + end


def members(size, value):
    """An object of about `size` bytes whose members have names of their own."""
    count = size // (len(value) + 12)
    return "{" + ",".join(f'"k{number}":{value}' for number in range(count)) + "}"


def random_text(size):
    return os.urandom(size // 2).hex()[:size]


#: Documents of so many bytes. The first ones have as few values as are accepted, the others are refused.
SHAPES = {
    "one-text": lambda size: json.dumps({"a": "x" * (size - 20)}),
    "one-text-at-random": lambda size: json.dumps({"a": random_text(size - 20)}),
    "texts": lambda size: filled(size, "[", '"' + "t" * 60 + '"', "]"),
    "addresses": lambda size: filled(size, "[", '"' + "a@b.org " * 10 + '"', "]"),
    "long-name": lambda size: json.dumps({"n" * (size // 2): [f"{number}@b.org" for number in range(min(20_000, size // 40))]}),
    "few-objects": lambda size: members(min(size, 700_000), "{}"),
    "few-lists": lambda size: filled(min(size, 120_000), "[", "[0]", "]"),
    "nested": lambda size: filled(min(size, 120_000), "[", "[" * 60 + "]" * 60, "]"),
    "deep": lambda size: "[" * size,
    "numbers": lambda size: filled(size, "[", "0", "]"),
    "objects": lambda size: members(size, "{}"),
    "equal-names": lambda size: filled(size, "{", '"a":{}', "}"),
    "short-texts": lambda size: filled(size, "[", '"t"', "]"),
    "lists": lambda size: filled(size, "[", "[]", "]"),
}


def file(root, path, content):
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def empiar(root, name, text):
    number = 10_000 + int(re.sub(r"\D", "", name) or 0)
    entry = {"imagesets": [{"name": "n", "directory": "data"}], "odd": None}
    file(root, f"{name}/api/entry/{number}/index.json", json.dumps({f"EMPIAR-{number}": entry}).replace("null", text(2_000_000)))
    return {"kind": "empiar", "entry": number, "server": f"{{origin}}/{name}", "files": f"{{origin}}/{name}"}


def idr(root, name, text):
    number = 7
    odd = text(1_000_000)
    for path in ("api/v0/m/images/7/", "api/v0/m/images/7/datasets/", "webclient/api/annotations/", "api/v0/m/datasets/7/projects/"):
        document = {"data": [{"@id": number, "Pixels": {f"Size{axis}": 1 for axis in "XYZCT"}}], "annotations": None}
        file(root, f"{name}/{path}index.json", json.dumps(document).replace("null", odd))
    file(root, f"{name}/webgateway/original_file_paths/7/index.json", json.dumps({"client": ["uod/idr/filesets/a.tif"], "odd": None}).replace("null", odd))
    return {"kind": "idr", "image": number, "server": f"{{origin}}/{name}", "files": f"{{origin}}/{name}"}


def zattrs(root, name, text):
    volume = reference_volumes.zarr_group(root, name, shape=(16, 32, 32), dtype="u1", chunks=(16, 16, 16), levels=1, seed=3)
    attributes = json.loads((root / f"{name}.zarr" / ".zattrs").read_text()) | {"odd": None}
    file(root, f"{name}.zarr/.zattrs", json.dumps(attributes).replace("null", text(1_000_000), 1))
    return volume.source


def zarray(root, name, text):
    volume = reference_volumes.zarr_group(root, name, shape=(16, 32, 32), dtype="u1", chunks=(16, 16, 16), levels=1, seed=3)
    path = next((root / f"{name}.zarr").glob("*/.zarray"))
    path.write_text(path.read_text().rstrip()[:-1] + ', "odd": ' + text(250_000) + "}")
    return volume.source


def info(root, name, text):
    scale = {"key": "s0", "size": [8, 8, 8], "resolution": [8, 8, 8], "chunk_sizes": [[8, 8, 8]], "encoding": "raw", "voxel_offset": [0, 0, 0]}
    document = {"data_type": "uint8", "num_channels": 1, "type": "image", "scales": [scale], "odd": None}
    file(root, f"{name}/info", json.dumps(document).replace("null", text(500_000)))
    file(root, f"{name}/s0/0-8_0-8_0-8", bytes(512))
    return {"kind": "precomputed", "url": f"{{origin}}/{name}"}


def long_zattrs(root, name, text):
    return zattrs(root, name, lambda size: text(4 * size))


def long_info(root, name, text):
    return info(root, name, lambda size: text(8 * size))


JSON = {"empiar": empiar, "idr": idr, "zattrs": zattrs, "zarray": zarray, "info": info, "long zattrs": long_zattrs, "long info": long_info}


def page(name, row, count):
    """The page of a folder as a file of its own, which the server answers in place of its listing."""
    return b"<html>" + b"".join(row.replace(b"{}", b"%06d" % number) for number in range(count)) + b"</html>"


def listing(row, count):
    def write(root, name):
        file(root, f"{name}/data/index.json", page(name, row, count))
        return {"kind": "dm3", "url": f"{{origin}}/{name}/data/"}
    return write


def tiff(*directories, size=0, text=b""):
    """A TIFF file: directories one after another, `text` behind them; a value of None is the offset of `text`."""
    lengths = [2 + 12 * len(entries) + 4 for entries in directories]
    end = 8 + sum(lengths)
    body, at = bytearray(struct.pack("<2sHI", b"II", 42, 8)), 8
    for number, entries in enumerate(directories):
        at += lengths[number]
        body += struct.pack("<H", len(entries))
        body += b"".join(struct.pack("<HHII", tag, kind, count, end if value is None else value) for tag, kind, count, value in entries)
        body += struct.pack("<I", at if number + 1 < len(directories) else 0)
    return bytes(body + text).ljust(size, b"\x55")


def plane(width=64, height=64, extra=(), offset=8):
    plain = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, offset), (277, 3, 1, 1),
             (278, 4, 1, height), (279, 4, 1, width * height)]
    return sorted([*plain, *extra])


def described(text):
    return tiff(plane(extra=[(270, 2, len(text), None)]), text=text, size=8192)


def many_strips(count):
    numbers = struct.pack(f"<{count}I", *[8 + number % 7 * 64 for number in range(count)])
    lengths = struct.pack(f"<{count}I", *([64] * count))
    entries = [(256, 4, 1, 64), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, count, None), (277, 3, 1, 1), (278, 4, 1, 1)]
    end = 8 + 2 + 12 * (len(entries) + 1) + 4
    return tiff(sorted([*entries, (279, 4, count, end + len(numbers))]), text=numbers + lengths)


def dm(entries):
    """A DM3 file of these tags in its root group."""
    return struct.pack(">III", 3, 1 << 20, 1) + struct.pack(">BBI", 1, 0, len(entries)) + b"".join(entries) + bytes(8)


def dm_value(name, info, payload):
    return struct.pack(">BH", 21, len(name)) + name + b"%%%%" + struct.pack(f">I{len(info)}I", len(info), *info) + payload


def in_file(ending, kind, content):
    def write(root, name):
        file(root, f"{name}{ending}", content())
        return {"kind": kind, "url": f"{{origin}}/{name}{ending}"}
    return write


TIFFS = {
    "ome-of-elements": lambda: described(filled(10_000_000, "<OME><Pixels SizeZ='1'>", "<a/>", "</Pixels></OME>", "").encode()),
    "ome-of-planes": lambda: described(filled(10_000_000, "<OME><Pixels SizeZ='1'>", "<TiffData IFD='0' FirstZ='0'/>", "</Pixels></OME>", "").encode()),
    "ome-of-planes-again": lambda: described(
        filled(5_000_000, "<OME><Pixels SizeZ='65000'>", "<TiffData FirstZ='1'/>", "</Pixels></OME>", "").encode()),
    "ome-of-runs-again": lambda: described(
        filled(10_000_000, "<OME><Pixels SizeZ='65000'>", "<TiffData FirstZ='1' IFD='2' PlaneCount='60000'/>", "</Pixels></OME>", "").encode()),
    "ome-of-images": lambda: described(filled(10_000_000, "<OME>", "<Pixels SizeZ='1'/>", "</OME>", "").encode()),
    "ome-of-units": lambda: described(("<OME>" + "".join(
        f"<Pixels SizeX='9' SizeY='9' PhysicalSizeX='1' PhysicalSizeXUnit='u{n}'/>" for n in range(140_000)) + "</OME>").encode()),
    "lists-of-imagej2": lambda: described(b"SCIFIO=0.4\n" + b"".join(
        key + b"=" + b",".join(b"%d" % n for n in range(300_000)) + b"\n" for key in (b"axes", b"lengths", b"scales", b"units"))),
    "lines-of-imagej": lambda: described(b"ImageJ=1.52\n" + b"".join(b"k%d=\n" % number for number in range(400_000))),
    "not-in-utf-8": lambda: described(b"ImageJ=1.52\n" + b"\xe9" * 10_000_000),
    "json-of-tifffile": lambda: described(b'{"shape": [64, 64], "a": [' + b"[]," * 1_000_000 + b"0]}"),
    "one-text-told-often": lambda: tiff(plane(extra=[(tag, 2, 60_000, None) for tag in range(40_000, 44_000)]), text=b"t" * 60_000),
    "strips": lambda: many_strips(131_000),
    "too-many-strips": lambda: many_strips(400_000),
    "chain-of-pages": lambda: tiff(*[plane(1, 1)] * 65_000),
    "chain-without-end": lambda: tiff(*[plane(1, 1)] * 100_000),
}
DMS = {
    "tags": lambda: dm([dm_value(b"a", [2], b"\0\0")] * 16_000),
    "too-many-tags": lambda: dm([dm_value(b"a", [2], b"\0\0")] * 100_000),
    "long-names": lambda: dm([dm_value(b"n" * 60_000, [2], b"\0\0")] * 500),
    "long-values": lambda: dm([dm_value(b"v", [20, 4, 4096], b"A\0" * 4096)] * 1000),
    "long-types": lambda: dm([dm_value(b"s", [15, 0, 500] + [0, 2] * 500, b"\0\0" * 500)] * 2000),
    "groups": lambda: dm([struct.pack(">BH", 20, 1) + b"g" + struct.pack(">BBI", 1, 0, 0)] * 16_000),
}
PAGES = {
    "listing-of-short-names": (b'<a href="{}.dm3">', 400_000),
    "listing-of-sections": (b"<tr><td><a href='slice_{}.dm3'>x</a></td></tr>", 32_000),
    "listing-of-long-names": (b'<a href="' + b"n" * 200 + b'{}.dm3">', 30_000),
    "listing-of-nothing": (b' href="', 1_000_000),
}

KINDS = {kind: {shape: (lambda root, name, make=make, text=text: make(root, name, text)) for shape, text in SHAPES.items()} for kind, make in JSON.items()}
KINDS["tiff"] = {name: in_file(".tif", "tiff", content) for name, content in TIFFS.items()}
KINDS["dm"] = {name: in_file(".dm3", "dm3", content) for name, content in DMS.items()}
KINDS["pages"] = {name: listing(*content) for name, content in PAGES.items()}


def peak(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def look(path):
    """Whatever a dataset shows: its documents and what is below `upstream`."""
    for name in ("metadata.json", "em.zarr/.zattrs", "em.zarr/.zmetadata"):
        with contextlib.suppress(OSError):
            (path / name).read_bytes()
    with contextlib.suppress(OSError):
        for each in (path / "upstream").iterdir():
            with contextlib.suppress(OSError):
                each.read_bytes()


def good(root):
    """Volumes beside: one in files, one at the same server."""
    return {name: reference_volumes.zarr_group(root, name, shape=(32, 96, 96), dtype="u1", chunks=(16, 32, 32), levels=1, seed=seed)
            for seed, name in enumerate(("good-local", "good-remote"))}


def read_well(mount, volumes):
    for name, volume in volumes.items():
        assert (zarr.open(mount / name / "em.zarr", mode="r")["s0"][:] == volume.levels[0]).all(), name


def configured(root, origin, sources, volumes):
    places = {"good-local": root.as_uri(), "good-remote": origin.url}
    sources = sources | {name: json.loads(json.dumps(volume.source).replace("{origin}", places[name])) for name, volume in volumes.items()}
    return configuration(json.loads(json.dumps(sources).replace("{origin}", origin.url)), {"connections": 32})


def hostile(root, shapes, at_once):
    """Datasets of these shapes in turns, `at_once` of them."""
    names = list(shapes)
    return {f"{names[number % len(names)]}-{number}": shapes[names[number % len(names)]](root, f"{names[number % len(names)]}-{number}")
            for number in range(at_once)}


def look_at_all(mount, sources, volumes):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE + 2) as pool:
        looks = [pool.submit(look, mount / name) for name in sources]
        looks += [pool.submit(read_well, mount, volumes), pool.submit(lambda: (mount / "metadata.json").read_bytes())]
        for each in looks:
            each.result()
    read_well(mount, volumes)
    assert set(sources) <= set(os.listdir(mount.path))


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_any_shape_take_a_bounded_part_of_memory_and_nothing_of_the_others(kind, tmp_path, serve):
    root = tmp_path / "origin"
    root.mkdir()
    volumes, shapes = good(root), KINDS[kind]
    sources = hostile(root, shapes, max(AT_ONCE, len(shapes)))
    with mounted(tmp_path, configured(root, serve(root), sources, volumes), memory=MEMORY, cache=tmp_path / "cache", timeout=60) as mount:
        for _ in range(2):
            look_at_all(mount, sources, volumes)
        print(f"{kind}: peak {peak(mount.pid) >> 20} MiB")
        assert peak(mount.pid) <= MEMORY + OVERHEAD, f"{peak(mount.pid) >> 20} MiB"
        assert "panicked" not in mount.log


@pytest.mark.parametrize("shape", ["objects", "few-objects", "one-text-at-random", "addresses", "long-name"])
def test_many_documents_of_one_shape_take_no_more(shape, tmp_path, serve):
    root = tmp_path / "origin"
    root.mkdir()
    volumes = good(root)
    sources = hostile(root, {shape: KINDS["empiar"][shape]}, 2 * AT_ONCE)
    with mounted(tmp_path, configured(root, serve(root), sources, volumes), memory=MEMORY, cache=tmp_path / "cache", timeout=60) as mount:
        look_at_all(mount, sources, volumes)
        assert peak(mount.pid) <= MEMORY + OVERHEAD, f"{peak(mount.pid) >> 20} MiB"


def test_a_document_beyond_its_bounds_is_an_error_that_names_it_and_the_bound(tmp_path, serve):
    root = tmp_path / "origin"
    root.mkdir()
    volumes = good(root)
    sources = {"values": KINDS["empiar"]["numbers"](root, "a1"), "depth": KINDS["zattrs"]["deep"](root, "a2"), "tags": KINDS["dm"]["too-many-tags"](root, "a3")}
    file(root, "a4/api/entry/4/index.json", b" " * (3 << 20))
    sources["bytes"] = {"kind": "empiar", "entry": 4, "server": "{origin}/a4", "files": "{origin}/a4"}
    with mounted(tmp_path, configured(root, serve(root), sources, volumes), memory=MEMORY, timeout=20) as mount:
        for name, address, bound in [("values", "a1/api/entry/10001/", "65536 values"), ("depth", "a2.zarr/.zattrs", "64 deep"), ("tags", "a3.dm3", "16384 tags"),
                                     ("bytes", "a4/api/entry/4/", "2097152")]:
            with pytest.raises(OSError):
                (mount / name / "em.zarr" / ".zattrs").read_bytes()
            lines = [line for line in mount.log.splitlines() if address in line]
            assert any(bound in line for line in lines), (name, mount.log)
        read_well(mount, volumes)


@pytest.fixture
def group_of_512_mebibytes():
    """A control group that this process is in as long as the fixture's value says."""
    group = pathlib.Path(f"/sys/fs/cgroup/memory/emfs-documents-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(512 << 20))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    with contextlib.suppress(OSError):
        group.rmdir()


def test_a_daemon_in_a_small_group_lives_on_and_good_datasets_are_read(tmp_path, serve, group_of_512_mebibytes):
    root = tmp_path / "origin"
    root.mkdir()
    volumes = good(root)
    sources = hostile(root, KINDS["empiar"], len(SHAPES)) | hostile(root, {"objects": KINDS["idr"]["objects"]}, 4)
    before = next(line for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line).split(":")[2]
    config = configured(root, serve(root), sources, volumes)
    entered = group_of_512_mebibytes / "cgroup.procs"
    entered.write_text(str(os.getpid()))
    try:
        mount = contextlib.ExitStack()
        mounting = mount.enter_context(mounted(tmp_path, config, cache=tmp_path / "cache", timeout=60))
    finally:
        pathlib.Path(f"/sys/fs/cgroup/memory{before}/cgroup.procs").write_text(str(os.getpid()))
    with mount:
        pid = mounting.pid
        assert str(pid) in entered.read_text().split()
        look_at_all(mounting, sources, volumes)
        assert mounting.pid == pid
