"""The tree is what its documents say: names, sizes, modes, bytes; nothing can be written, nothing else is there."""

import errno
import hashlib
import json
import os
import pathlib
import random
import shutil
import stat
import subprocess
import tempfile

import pytest

import expected

both = pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])


def listing(folder):
    return sorted(os.listdir(folder))


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def test_the_root_lists_the_datasets(reference):
    assert set(reference.volumes) <= set(listing(reference.mount.path))


def test_a_dataset_lists_both_stores_and_the_64_ones_where_the_grid_is_another(reference, volume):
    assert (reference.store(volume.name) / ".zattrs").stat()  # the grid of a Zarr source is known once somebody looked
    names = set(listing(reference.mount / volume.name))
    assert {"em.zarr", "em.v3.zarr", "metadata.json"} <= names
    other = any(list(chunk) != [64, 64, 64] for chunk in volume.chunk)
    assert names & {"em.chunk-64.zarr", "em.chunk-64.v3.zarr"} == ({"em.chunk-64.zarr", "em.chunk-64.v3.zarr"} if other else set())


@both
def test_a_store_holds_its_documents_and_every_chunk_and_nothing_else(reference, volume, v3):
    documents = set(expected.documents(volume, v3=v3))
    chunks = {f"s{level}/{expected.chunk_path(index, v3)}" for level, array in enumerate(volume.levels)
              for index in expected.chunk_indices(array.shape, volume.chunk[level])}
    assert set(files_below(reference.store(volume.name, v3))) == documents | chunks


@both
def test_chunk_files_are_little_endian_c_order_padded_with_0(reference, volume, v3):
    store = reference.store(volume.name, v3)
    for level, array in enumerate(volume.levels):
        chunk = volume.chunk[level]
        for index in expected.chunk_indices(array.shape, chunk):
            path = store / f"s{level}" / expected.chunk_path(index, v3)
            assert path.read_bytes() == expected.chunk_bytes(array, chunk, index), path


@both
def test_documents_are_as_specified_field_by_field(reference, volume, v3):
    store = reference.store(volume.name, v3)
    for path, document in expected.documents(volume, v3=v3).items():
        assert expected.relaxed(json.loads((store / path).read_text())) == expected.relaxed(document), path


def test_a_configured_window_is_in_the_omero_block(reference):
    volume = reference.volumes["big-u32"]
    for path, inner in ((".zattrs", lambda d: d), ("zarr.json", lambda d: d["attributes"]["ome"])):
        store = reference.store(volume.name, path == "zarr.json")
        window = inner(json.loads((store / path).read_text()))["omero"]["channels"][0]["window"]
        assert (window["start"], window["end"]) == volume.window


@pytest.mark.parametrize("name", ["ij-u8", "one-page", "z2-blosc-lz4"])
def test_the_window_of_8_bits_is_the_whole_range_where_nobody_says_another(reference, name):
    window = json.loads((reference.store(name) / ".zattrs").read_text())["omero"]["channels"][0]["window"]
    assert window["start"] == 0 and window["end"] == 255 or name == "ij-u8"


def test_zmetadata_holds_the_single_documents(reference, volume):
    store = reference.store(volume.name)
    consolidated = json.loads((store / ".zmetadata").read_text())
    assert consolidated["zarr_consolidated_format"] == 1
    singles = {path for path in expected.documents(volume) if path != ".zmetadata"}
    assert set(consolidated["metadata"]) == singles
    for path in singles:
        assert consolidated["metadata"][path] == json.loads((store / path).read_text()), path


def test_the_64_store_differs_in_its_chunks_only(reference, volume):
    chunks = [[64, 64, 64]] * len(volume.levels)
    for v3 in (False, True):
        store = reference.mount / volume.name / f"em.chunk-64{'.v3' if v3 else ''}.zarr"
        for path, document in expected.documents(volume, chunks=chunks, v3=v3).items():
            assert expected.relaxed(json.loads((store / path).read_text())) == expected.relaxed(document), path
        array = volume.levels[0]
        for index in expected.chunk_indices(array.shape, chunks[0]):
            path = store / "s0" / expected.chunk_path(index, v3)
            assert path.read_bytes() == expected.chunk_bytes(array, chunks[0], index), path


def test_labels_are_listed_and_described(demo):
    found = 0
    for (dataset, image, label), volume in demo.truth.items():
        if label is None:
            continue
        found += 1
        v2, v3 = demo.mount / dataset / f"{image}.zarr", demo.mount / dataset / f"{image}.v3.zarr"
        assert "labels" in listing(v2) and "labels" in listing(v3)
        assert label in json.loads((v2 / "labels" / ".zattrs").read_text())["labels"]
        assert json.loads((v2 / "labels" / ".zgroup").read_text()) == {"zarr_format": 2}
        group = json.loads((v3 / "labels" / "zarr.json").read_text())
        assert group["node_type"] == "group" and label in group["attributes"]["ome"]["labels"]
        # Zarr 3 believes a .zmetadata that it finds, so what that leaves out is not there for its users.
        consolidated = json.loads((v2 / ".zmetadata").read_text())["metadata"]
        below = {f"labels/{path}" for path in files_below(v2 / "labels") if path.rpartition("/")[2].startswith(".z") and not path.endswith(".zmetadata")}
        assert below <= set(consolidated)
        for path in below:
            assert consolidated[path] == json.loads((v2 / path).read_text()), path
        assert "image-label" in json.loads((v2 / "labels" / label / ".zattrs").read_text())
        assert "image-label" in json.loads((v3 / "labels" / label / "zarr.json").read_text())["attributes"]["ome"]
        assert json.loads((v2 / "labels" / label / "s0" / ".zarray").read_text())["shape"] == list(volume.levels[0].shape)
    assert found


def test_an_image_without_labels_has_no_labels_folder(reference, volume):
    assert not (reference.store(volume.name) / "labels").exists()


def everything(mount):
    for at, folders, names in os.walk(mount.path):
        for name in folders + names:
            yield os.path.join(at, name)


@pytest.mark.parametrize("name", ["ij-u8", "z2-zstd-i2", "z3-zstd"])
def test_sizes_modes_and_owner(reference, name):
    for path in [*everything(type("Folder", (), {"path": reference.mount / name})), reference.mount / name]:
        found = os.lstat(path)
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid()), path
        if stat.S_ISDIR(found.st_mode):
            assert stat.S_IMODE(found.st_mode) == 0o755, path
            continue
        assert stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o644, path
        with open(path, "rb") as file:
            assert found.st_size == len(file.read()), path
        assert found.st_blocks == -(-found.st_size // 512), path


def test_readdir_and_stat_agree(reference):
    for at in [reference.mount.path, reference.mount / "z2-zstd-i2", reference.store("z2-zstd-i2"), reference.store("z2-zstd-i2") / "s0" / "0"]:
        for entry in os.scandir(at):
            if at == reference.mount.path and entry.is_file():
                continue  # A look-up of a document asks the archives, and may then find a newer revision.
            assert entry.inode() == os.lstat(entry.path).st_ino, entry.path
            assert entry.is_dir() == stat.S_ISDIR(os.lstat(entry.path).st_mode), entry.path


def test_inodes_are_unique(reference):
    seen = {}
    for name in ("ij-u8", "z2-zstd-i2", "one-voxel"):
        for path in everything(type("Folder", (), {"path": reference.mount / name})):
            inode = os.lstat(path).st_ino
            assert inode not in seen, f"{path} and {seen[inode]} have the inode {inode}"
            seen[inode] = path


def digest(folder):
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files_below(folder)}


@pytest.mark.parametrize("name", ["ij-u8", "z2-zstd-i2"])
@both
def test_cp_tar_and_rsync_copy_equal_bytes(reference, name, v3, tmp_path):
    store = reference.store(name, v3)
    right = digest(store)
    subprocess.run(["cp", "-r", store, tmp_path / "cp"], check=True)
    subprocess.run(["rsync", "-a", f"{store}/", tmp_path / "rsync"], check=True)
    subprocess.run(["tar", "-C", store, "-S", "-cf", tmp_path / "store.tar", "."], check=True)
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "tar", "-xf", tmp_path / "store.tar"], check=True)
    for way in ("cp", "rsync", "tar"):
        assert digest(tmp_path / way) == right, way
    level = reference.volumes[name].levels[0]
    index = next(iter(expected.chunk_indices(level.shape, reference.volumes[name].chunk[0])))
    assert (tmp_path / "cp" / "s0" / expected.chunk_path(index, v3)).read_bytes() == expected.chunk_bytes(level, reference.volumes[name].chunk[0], index)
    subprocess.run(["chmod", "-R", "u+w", tmp_path], check=True)


def code(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def test_nothing_can_be_written(reference, tmp_path):
    store = reference.store("ij-u8")
    chunk = store / "s0" / "0" / "0" / "0"
    assert code(open, chunk, "r+b") == "EROFS"
    assert code(open, store / "new", "wb") == "EROFS"
    assert code(os.mkdir, store / "folder") == "EROFS"
    assert code(os.unlink, chunk) == "EROFS"
    assert code(os.rmdir, store / "s0") == "EROFS"
    assert code(os.rename, chunk, store / "s0" / "0" / "0" / "9") == "EROFS"
    assert code(os.symlink, "x", store / "link") == "EROFS"
    assert code(os.link, chunk, store / "link") == "EROFS"
    assert code(os.chmod, chunk, 0o666) == "EROFS"
    assert code(os.utime, chunk) == "EROFS"
    assert code(os.truncate, chunk, 0) == "EROFS"
    assert code(os.mknod, store / "pipe", stat.S_IFIFO | 0o600) == "EROFS"
    assert code(os.setxattr, chunk, "user.x", b"y") in ("EROFS", "EOPNOTSUPP")
    assert os.statvfs(reference.mount.path).f_flag & os.ST_RDONLY


OUTSIDE = [
    "em.zarr/zarr.json", "em.zarr/.zarray", "em.zarr/labels", "em.zarr/attributes.json", "em.zarr/s0/.zgroup", "em.zarr/s0/zarr.json", "em.zarr/s1x",
    "em.zarr/s9", "em.zarr/s00", "em.zarr/s-1", "em.zarr/s0/c", "em.zarr/s0/999", "em.zarr/s0/00", "em.zarr/s0/-1", "em.zarr/s0/+1", "em.zarr/s0/0x0",
    "em.zarr/s0/0/999", "em.zarr/s0/0/0/999", "em.zarr/s0/0/0/00", "em.zarr/s0/0/0/18446744073709551616", "em.zarr/s0/0/0/0 ", "em.zarr/s0/٠",
    "em.v3.zarr/.zgroup", "em.v3.zarr/.zattrs", "em.v3.zarr/s0/.zarray", "em.v3.zarr/s0/0", "em.v3.zarr/s0/c/0/0/999", "em.v3.zarr/s0/c/c",
    "em", "em.Zarr", "other.zarr", "em.chunk-0.zarr", "em.chunk-064.zarr", "em.chunk-64", "em.v2.zarr", "em.v3.v3.zarr", "upstream.json",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_outside_the_tree_are_absent_and_the_kernel_remembers_it(reference, name):
    path = reference.mount / "z2-zstd-i2" / name
    os.stat(reference.store("z2-zstd-i2") / "s0" / "0" / "0" / "0")
    assert code(os.stat, path) == "ENOENT"
    before = reference.mount.fuse().get("lookup", 0)
    assert code(os.stat, path) == "ENOENT"
    assert reference.mount.fuse().get("lookup", 0) == before


def test_a_chunk_is_no_folder(reference):
    assert code(os.stat, reference.store("z2-zstd-i2") / "s0" / "0" / "0" / "0" / "0") == "ENOTDIR"


def test_dataset_names_outside_the_catalogue_are_absent(reference):
    for name in ("nothing", "IJ-U8", ".Trash", "autorun.inf", "ij-u8.zarr"):
        assert code(os.stat, reference.mount / name) == "ENOENT"


def test_a_remount_gives_the_same_inodes(reference, tmp_path):
    from mounting import mounted

    paths = ["em.zarr", "em.v3.zarr", "em.zarr/s1", "em.zarr/s0/1/1/1", "em.v3.zarr/s0/c/1/1/1", "em.chunk-64.zarr/s0/0/0/0"]
    first = [os.stat(reference.mount / "z2-zstd-i2" / path).st_ino for path in paths]
    with mounted(tmp_path, reference.mount.config_file.read_text()) as second:
        assert [os.stat(second / "z2-zstd-i2" / path).st_ino for path in paths] == first


def test_reads_at_any_offset_are_parts_of_the_whole(reference):
    for name in ("itk-u8", "z2-zstd-i2", "strip-deflate-f32"):
        path = reference.store(name) / "s0" / "0" / "0" / "0"
        whole = path.read_bytes()
        generator = random.Random(1)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            for _ in range(200):
                start, length = generator.randrange(len(whole) + 10), generator.randrange(1, 70000)
                assert os.pread(descriptor, length, start) == whole[start:start + length]
            assert os.pread(descriptor, 10, len(whole)) == b""
        finally:
            os.close(descriptor)


def test_mmap_sees_the_same_bytes(reference):
    import mmap

    path = reference.store("ij-u16") / "s0" / "0" / "1" / "0"
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:] == path.read_bytes()


def test_posix_locks_are_possible(reference):
    import fcntl

    with open(reference.store("ij-u8") / "s0" / "0" / "0" / "0", "rb") as file:
        fcntl.lockf(file, fcntl.LOCK_SH)
        fcntl.lockf(file, fcntl.LOCK_UN)


def test_the_table_of_mounts_names_emfs_so_that_programs_can_leave_it_out(reference):
    kinds = [line.split(" - ")[1].split()[0] for line in open("/proc/self/mountinfo") if f" {reference.mount.path} " in line]
    assert kinds == ["fuse.emfs"]
    assert (reference.mount / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    done = subprocess.run(["tar", "-c", "-f", "-", "--exclude-caches-all", "-C", reference.mount.path.parent, reference.mount.path.name], capture_output=True, timeout=60)
    assert b"em.zarr" not in done.stdout and done.returncode == 0, done.stderr


def test_df_tells_no_share_of_use(reference):
    (reference.mount / next(iter(reference.volumes)) / "em.zarr" / ".zattrs").read_bytes()
    found = os.statvfs(reference.mount.path)
    assert found.f_blocks > 0 and found.f_blocks == found.f_bfree and found.f_bavail == 0
    line = subprocess.run(["df", "-P", reference.mount.path], capture_output=True, text=True, check=True).stdout.splitlines()[1].split()
    assert (line[0], line[2], line[4]) == ("emfs", "0", "-"), line


def test_an_ordinary_user_can_delete_a_copy(reference, tmp_path):
    """Copied with all modes, as `cp -a` and `rsync -a` do."""
    name = min(reference.volumes, key=lambda name: reference.volumes[name].levels[0].size)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", "--preserve=mode,timestamps", reference.mount / name / "em.zarr", copy], check=True, timeout=120)
    as_user = []
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "nobody", copy], check=True)
        home = pathlib.Path(tempfile.mkdtemp(dir="/var/tmp"))
        copy = copy.rename(home / "copy") if os.stat(home).st_dev == os.stat(copy).st_dev else pathlib.Path(shutil.move(copy, home / "copy"))
        subprocess.run(["chown", "-R", "nobody", home], check=True)
        as_user = ["runuser", "-u", "nobody", "--"]
    subprocess.run([*as_user, "rm", "-r", copy], check=True, stdin=subprocess.DEVNULL, timeout=60)
    assert not copy.exists()


def test_statfs_is_answered(reference):
    assert os.statvfs(reference.mount.path).f_namemax >= 255
