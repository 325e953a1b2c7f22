"""The daemon among other programs: mounts over it, signals, a stop, locks, and other environments than its own."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from hanging import stop
from mounting import BINARY, clean_up, configuration, daemons, emfs, is_mounted, mounted, wait_for

SILENT = pathlib.Path(__file__).parent / "silent_daemon.py"
CONFIG = configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}})


@pytest.fixture
def place(tmp_path):
    """A mountpoint, which is clean in the end, and the arguments that mount there."""
    path = tmp_path / "m"
    path.mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    arguments = ["mount", path, "--config", tmp_path / "config.toml", "--log", tmp_path / "log", "--cache-size", "0"]
    yield path, arguments
    clean_up(path)


@pytest.fixture
def covered(tmp_path):
    """A mount with a tmpfs over it."""
    if os.getuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    with mounted(tmp_path, CONFIG) as mount:
        subprocess.run(["mount", "-t", "tmpfs", "upper", mount.path], check=True)
        try:
            yield mount
        finally:
            while uppermost(mount.path) == "tmpfs":
                subprocess.run(["umount", mount.path], check=True)


def uppermost(path):
    """The type of the filesystem that was mounted last at `path`."""
    lines = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = [fields[fields.index("-") + 1] for fields in lines if fields[4] == str(path)]
    return kinds[-1] if kinds else None


def with_signals(action, *signals):
    """What a child process does first: nohup, a shell's `&` or a terminal have set these signals."""
    return lambda: [signal.signal(number, action) for number in signals]


def test_a_daemon_that_ends_leaves_what_is_mounted_over_it(covered):
    (covered / "theirs").write_text("x")
    os.kill(covered.pid, signal.SIGTERM)
    wait_for(lambda: not daemons(covered.path), 10, "the daemon's end")
    assert uppermost(covered.path) == "tmpfs" and (covered / "theirs").read_text() == "x"
    lines = [line for line in covered.log.splitlines() if "tmpfs" in line]
    assert len(lines) == 1 and f"is mounted over the emfs at {covered.path}" in lines[0] and f"`umount {covered.path}`" in lines[0] and f"`emfs umount {covered.path}`" in lines[0], covered.log
    subprocess.run(["umount", covered.path], check=True)
    assert is_mounted(covered.path), "dead, until it is unmounted, too"
    covered.unmount()
    assert not is_mounted(covered.path)


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a tmpfs needs root")
def test_a_dead_mount_below_which_something_is_mounted_does_not_give_way(place):
    path, arguments = place
    emfs(*arguments)
    subprocess.run(["mount", "-t", "tmpfs", "lower", path / "v"], check=True)
    (daemon,) = daemons(path)
    os.kill(daemon, signal.SIGKILL)
    wait_for(lambda: not daemons(path), 10, "the daemon's end")
    done = emfs(*arguments, check=False)
    assert done.returncode == 1 and f"the emfs mounted at {path} has died" in done.stderr, done.stderr
    # With all that is below it.
    subprocess.run(["umount", "-l", path], check=True)
    assert not is_mounted(path)


def devices(path):
    """The device numbers of what is mounted at `path`."""
    lines = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    return {fields[2] for fields in lines if fields[4] == str(path)}


def is_listed(path):
    """Whether an emfs that lives answers there."""
    try:
        return "v" in os.listdir(path)
    except OSError:
        return False


def abort(devices, folder):
    """Has the kernel end the mounts of a daemon that hangs, with all who look at them, for ever otherwise."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "fusectl", folder], check=True)
    for device in devices:
        (folder / device.split(":")[1] / "abort").write_text("1")
    subprocess.run(["umount", folder], check=True)


def test_a_kill_at_any_moment_of_the_first_look_hangs_nothing_and_the_next_mount_works(place, tmp_path, long):
    path, arguments = place
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    times = 500 if long else 60
    for turn in range(times):
        before, start = devices(path), time.monotonic()
        daemon = subprocess.Popen([BINARY, *arguments, "--foreground"], env=environment)
        # The kernel gives the number of a dead mount that was taken away to another one.
        while not (new := devices(path) - before) and not (new := devices(path) if is_listed(path) else set()):
            assert time.monotonic() < start + 10 and daemon.poll() is None, f"no mount in turn {turn}"
        time.sleep(0.02 * turn / times)
        daemon.kill()
        try:
            daemon.wait(10)
        finally:
            if daemon.returncode is None:
                abort(new, tmp_path / "connections")
    emfs(*arguments, env=environment)
    assert os.listdir(path) and len(devices(path)) == 1, "what was killed halfway is gone"
    assert not any(is_mounted(folder) for folder in (tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("command", ["status", "umount"])
def test_a_command_says_what_lies_over_the_mount_and_that_it_goes_first(covered, command):
    done = emfs(command, covered.path, check=False)
    assert done.returncode == 1 and "upper (tmpfs)" in done.stderr and f"`umount {covered.path}`" in done.stderr, done.stderr
    assert "over the emfs" in done.stderr and uppermost(covered.path) == "tmpfs"


def test_a_hang_up_ends_a_mount_in_the_foreground(place):
    path, arguments = place
    default = with_signals(signal.SIG_DFL, signal.SIGHUP)
    with subprocess.Popen([BINARY, *arguments, "--foreground"], preexec_fn=default) as daemon:
        wait_for(lambda: is_mounted(path) and os.listdir(path), 20, "the mount")
        daemon.send_signal(signal.SIGHUP)
        assert daemon.wait(20) == 0
    assert not is_mounted(path)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_hang_up_that_was_ignored_at_the_start_does_not_end_a_mount_in_the_foreground_and_other_signals_do(place, ending):
    path, arguments = place
    ignored = with_signals(signal.SIG_IGN, signal.SIGHUP, signal.SIGINT)
    with subprocess.Popen([BINARY, *arguments, "--foreground"], preexec_fn=ignored) as daemon:
        wait_for(lambda: is_mounted(path) and os.listdir(path), 20, "the mount")
        daemon.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(2)
        assert os.listdir(path)
        daemon.send_signal(ending)
        assert daemon.wait(20) == 0
    assert not is_mounted(path)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_mount_in_the_background_though_its_caller_ignored_it(place, number):
    path, arguments = place
    emfs(*arguments, preexec_fn=with_signals(signal.SIG_IGN, number))
    (daemon,) = daemons(path)
    os.kill(daemon, number)
    wait_for(lambda: not daemons(path), 20, "the daemon's end")
    assert not is_mounted(path)


@pytest.fixture
def stopped(tmp_path):
    """A mount whose daemon hangs, and the daemon's process number."""
    with mounted(tmp_path, CONFIG) as mount:
        pid = mount.pid
        stop(pid)
        try:
            yield mount, pid
        finally:
            if daemons(mount.path):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["background", "foreground"])
def test_a_mount_where_a_daemon_hangs_is_a_sentence(stopped, how):
    mount, _ = stopped
    options = ["--foreground"] if how == "foreground" else []
    done = emfs("mount", mount.path, "--config", mount.config_file, *options, check=False, timeout=30)
    assert done.returncode == 1 and f"the emfs mounted at {mount.path} does not answer" in done.stderr and f"`emfs umount {mount.path}`" in done.stderr, done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize("command", ["mount", "umount"])
def test_commands_end_though_a_daemon_has_taken_their_question_and_never_answers(tmp_path, command):
    path = tmp_path / "mnt"
    path.mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    options = ["--config", tmp_path / "config.toml"] if command == "mount" else []
    silent = subprocess.Popen([sys.executable, SILENT, path], stdout=subprocess.PIPE)
    try:
        assert silent.stdout.readline() == b"mounted\n"
        done = emfs(command, path, *options, check=False, timeout=60)
        assert silent.stdout.readline().startswith(b"asked")
        if command == "mount":
            assert done.returncode == 1 and "does not answer" in done.stderr, done.stderr
    finally:
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)
        silent.kill()
        silent.wait()
    assert not is_mounted(path)


def test_status_of_a_daemon_that_hangs_is_a_sentence(stopped):
    mount, _ = stopped
    done = emfs("status", mount.path, check=False)
    assert done.returncode == 1 and "os error" not in done.stderr, done.stderr
    assert "does not answer" in done.stderr and f"`emfs umount {mount.path}`" in done.stderr


def test_umount_names_the_process_of_a_daemon_that_hangs(stopped):
    mount, pid = stopped
    done = emfs("umount", mount.path, check=False)
    assert done.returncode == 1 and re.search(rf"`kill (-\w+ )?{pid}`", done.stderr), done.stderr
    assert not is_mounted(mount.path)


def test_a_lock_that_the_caller_holds_of_the_mountpoint_does_not_hinder_the_mount(place):
    path, arguments = place
    subprocess.run(["flock", path, BINARY, *arguments], check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert os.listdir(path)


def without_runtime_folder():
    return {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}


def answers_and_ends(path, environment):
    """The daemon of `path` is found from `environment`, and its end is waited for."""
    emfs("status", path, env=environment)
    emfs("umount", path, env=environment)
    # The kernel closes what a process has open a moment before the process is gone.
    wait_for(lambda: not daemons(path), 2, "the end that umount has waited for")


@pytest.mark.parametrize("client", ["the same", "none"])
def test_a_daemon_is_found_though_its_runtime_folder_has_a_path_too_long_for_a_socket(place, tmp_path, client):
    path, arguments = place
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    environment = os.environ | {"XDG_RUNTIME_DIR": str(folder)}
    emfs(*arguments, env=environment)
    answers_and_ends(path, environment if client == "the same" else without_runtime_folder())


def test_a_daemon_is_found_without_the_runtime_folder_that_it_was_started_with(place, tmp_path):
    path, arguments = place
    folder = tmp_path / "run"
    folder.mkdir()
    emfs(*arguments, env=os.environ | {"XDG_RUNTIME_DIR": str(folder)})
    (socket,) = (folder / "emfs").iterdir()
    link = pathlib.Path(f"/tmp/emfs-{os.getuid()}") / socket.name
    assert link.is_symlink()
    answers_and_ends(path, without_runtime_folder())
    assert not socket.exists() and not link.is_symlink(), "nothing is left behind"


def test_umount_of_a_bind_mount_leaves_the_daemon_to_the_other_and_does_not_wait_for_it(tmp_path):
    if os.getuid() != 0:
        pytest.skip("a bind mount needs root")
    bound = tmp_path / "bound"
    bound.mkdir()
    with mounted(tmp_path, CONFIG) as mount:
        subprocess.run(["mount", "--bind", mount.path, bound], check=True)
        try:
            done = emfs("umount", bound, timeout=10)
            assert f"{bound} is unmounted" in done.stderr and f"at {mount.path} as well" in done.stderr, done.stderr
            assert "kill" not in done.stderr and not is_mounted(bound) and mount.alive() and os.listdir(mount.path)
            # The other way round: the daemon goes on for the bind mount, even by force.
            subprocess.run(["mount", "--bind", mount.path, bound], check=True)
            emfs("umount", "--force", mount.path, timeout=10)
            assert not is_mounted(mount.path) and mount.alive() and os.listdir(bound)
            emfs("umount", "--force", bound)
            assert not is_mounted(bound) and not mount.alive()
        finally:
            if is_mounted(bound):
                subprocess.run(["umount", "-l", bound], check=True)
