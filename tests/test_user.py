"""Another user than root mounts by fusermount3; others see a mount only where that was asked for."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import pytest

import expected
import reference_volumes
from mounting import BINARY, configuration, daemons, emfs, is_mounted, mounted, wait_for

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user; the other tests ran as one")
USER = "nobody"


def as_user(*command, home, **options):
    user = pwd.getpwnam(USER)
    return subprocess.run(
        ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *command],
        env={"PATH": os.environ["PATH"], "HOME": str(home)}, cwd="/", capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options)


@pytest.fixture
def home():
    """A folder of the other user with the binary in it, because neither a clone of root nor pytest's folders can be entered by others."""
    if os.stat("/dev/fuse").st_mode & 0o666 != 0o666:
        os.chmod("/dev/fuse", 0o666)
    user = pwd.getpwnam(USER)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="emfs-user-"))
    shutil.copy(BINARY, folder / "emfs")
    (folder / "mnt").mkdir()
    for path in (folder, folder / "mnt", folder / "emfs"):
        os.chown(path, user.pw_uid, user.pw_gid)
        os.chmod(path, 0o755)
    yield folder
    clean_up_of_user(folder / "mnt")
    shutil.rmtree(folder)


def clean_up_of_user(path):
    if is_mounted(path):
        subprocess.run(["umount", "-l", path], check=True)
    for pid in daemons(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


@pytest.fixture
def scene(tmp_path, serve):
    (tmp_path / "files").mkdir()
    volume = reference_volumes.itk(tmp_path / "files", "v", (20, 140, 150), "u2", 1)
    origin = serve(tmp_path / "files")
    return configuration({"v": reference_volumes.source_at(volume, origin)}), volume


def mount_as_user(home, config, *options):
    (home / "config.toml").write_text(config)
    os.chmod(home / "config.toml", 0o644)
    return as_user(home / "emfs", "mount", home / "mnt", "--config", home / "config.toml", *options, home=home)


def test_another_user_mounts_reads_and_unmounts(home, scene):
    config, volume = scene
    done = mount_as_user(home, config)
    assert done.returncode == 0, done.stderr
    chunk = home / "mnt" / "v" / "em.zarr" / "s0" / "0" / "0" / "0"
    (home / "copy.sh").write_text(f"cat '{chunk}' > '{home}/chunk' && stat -c '%u %a' '{chunk}' && ! touch '{chunk.parent}/new' && ls '{home}/mnt'"
                               f" && cp -r '{home}/mnt/v/em.zarr' '{home}/taken' && cmp '{chunk}' '{home}/taken/s0/0/0/0' && rm -r '{home}/taken'")
    read = as_user("sh", home / "copy.sh", home=home)
    assert read.returncode == 0, read.stderr
    assert read.stdout.split()[:2] == [str(pwd.getpwnam(USER).pw_uid), "644"]
    assert "Read-only" in read.stderr
    assert not (home / "taken").exists(), "a copy can be deleted by who made it"
    assert (home / "chunk").read_bytes() == expected.chunk_bytes(volume.levels[0], volume.chunk[0], (0, 0, 0))
    assert list((home / ".local" / "state" / "emfs").iterdir()), "the log lies in the user's state folder"
    status = as_user(home / "emfs", "status", home / "mnt", "--json", home=home)
    assert status.returncode == 0, status.stderr
    gone = as_user(home / "emfs", "umount", "--force", home / "mnt", home=home)
    assert gone.returncode == 0, gone.stderr
    wait_for(lambda: not is_mounted(home / "mnt") and not daemons(home / "mnt"), 10, "unmounting")


def test_a_mount_left_dead_gives_way_to_a_new_one_of_the_same_user_and_of_nobody_else(home, scene):
    config, volume = scene
    path = home / "mnt"
    chunk = path / "v" / "em.zarr" / "s0" / "0" / "0" / "0"
    for number in (signal.SIGTERM, signal.SIGKILL):
        done = mount_as_user(home, config)
        assert done.returncode == 0, done.stderr
        assert ("had died" in done.stderr) == (number == signal.SIGKILL), done.stderr
        assert as_user("sha256sum", chunk, home=home).returncode == 0
        (daemon,) = daemons(path)
        os.kill(daemon, number)
        wait_for(lambda: not daemons(path), 10, "the daemon's end")
        assert "not connected" in as_user("stat", "-f", path, home=home).stderr
    done = emfs("mount", path, "--config", home / "config.toml", "--log", home / "log", check=False)
    assert done.returncode == 1 and f"`emfs umount {path}`" in done.stderr, "not root's own"
    assert mount_as_user(home, config).returncode == 0
    assert as_user("sha256sum", chunk, home=home).returncode == 0
    refused = as_user(home / "emfs", "umount", path, home=home)
    assert refused.returncode == 1 and "stays mounted: v was read" in refused.stderr, refused.stderr
    (daemon,) = daemons(path)
    os.kill(daemon, signal.SIGKILL)
    wait_for(lambda: not daemons(path), 10, "the daemon's end")
    cleared = as_user(home / "emfs", "umount", path, home=home)
    assert cleared.returncode == 0 and "had died" in cleared.stderr, cleared.stderr
    assert not is_mounted(path)


def test_fusermount3_missing_is_a_sentence(home, scene):
    config, _ = scene
    (home / "config.toml").write_text(config)
    user = pwd.getpwnam(USER)
    (home / "empty").mkdir()
    # fusermount3 is found by the search path, and by nothing else.
    done = subprocess.run(
        [shutil.which("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", home / "emfs", "mount", home / "mnt", "--config", home / "config.toml"],
        env={"PATH": str(home / "empty"), "HOME": str(home)}, cwd="/", capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        pytest.skip("fusermount3 was found at its usual place")
    assert done.returncode == 1 and "fusermount3" in done.stderr and "fuse3" in done.stderr, done.stderr


def test_the_mount_of_another_user_is_not_unmounted_and_it_is_said_whose_it_is(home, scene, tmp_path):
    config, _ = scene
    with mounted(tmp_path / "m", config, "--allow-other") as mount:
        os.chmod(tmp_path, 0o755)
        done = as_user(home / "emfs", "umount", mount.path, home=home)
        assert done.returncode == 1 and "was mounted by user 0; only they and root can unmount it" in done.stderr, done.stderr
        assert is_mounted(mount.path)


def test_others_are_kept_out_unless_allowed(scene):
    config, volume = scene
    right = expected.chunk_bytes(volume.levels[0], volume.chunk[0], (0, 0, 0))
    for options, allowed in (((), False), (("--allow-other",), True)):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="emfs-other-"))
        os.chmod(folder, 0o755)
        try:
            with mounted(folder, config, *options) as mount:
                chunk = mount / "v" / "em.zarr" / "s0" / "0" / "0" / "0"
                done = as_user("sha256sum", chunk, home=folder)
                assert (done.returncode == 0) == allowed, done.stderr
                assert chunk.read_bytes() == right
        finally:
            shutil.rmtree(folder)


def test_allow_other_that_the_machine_forbids_is_a_sentence(home, scene):
    config, _ = scene
    allowed = pathlib.Path("/etc/fuse.conf")
    if allowed.exists() and any(line.strip() == "user_allow_other" for line in allowed.read_text().splitlines()):
        pytest.skip("this machine allows it")
    done = mount_as_user(home, config, "--allow-other")
    assert done.returncode == 1 and "--allow-other needs the line `user_allow_other`" in done.stderr, done.stderr
    assert not is_mounted(home / "mnt")


def test_a_user_without_a_name_is_told_why_fusermount3_would_not_mount(home, scene):
    number = 54321
    with pytest.raises(KeyError):
        pwd.getpwuid(number)
    for path in (home, home / "mnt"):
        os.chown(path, number, number)
    (home / "config.toml").write_text(scene[0])
    done = subprocess.run(
        ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", home / "emfs", "mount", home / "mnt",
         "--config", home / "config.toml", "--cache-size", "0"],
        env={"PATH": os.environ["PATH"], "HOME": str(home)}, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"user {number} has no name" in done.stderr and "emfs exec" in done.stderr, done.stderr
