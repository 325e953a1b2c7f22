"""`emfs exec`: a mount for one command, as root and as another user without fusermount3; it goes with the command, however that ends."""

import contextlib
import ctypes
import json
import os
import pathlib
import platform
import pty
import pwd
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import uuid

import pytest

import expected
import reference_volumes
from mounting import BINARY, configuration, is_mounted, wait_for

USER = "nobody"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]

#: Goes on until it is killed, and says once that it runs and for each signal that it came.
COUNTING = r"""
import os, signal, sys, time
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), lambda *_, name=name: os.write(1, name.encode() + b"\n"))
os.write(1, b"ready\n")
while True:
    time.sleep(0.01)
"""


#: Reads through an open array until it is killed, and writes down of each read whether it was right.
READING = """
import os, numpy, sys, zarr
array = zarr.open(os.environ["EMFS_MOUNT"] + "/v/em.zarr", mode="r")["s0"]
right = array[:]
with open(sys.argv[1], "w", buffering=1) as file:
    while True:
        try:
            file.write("right\\n" if numpy.array_equal(array[:], right) else "wrong\\n")
        except OSError:
            file.write("error\\n")
"""


class Scene:
    """A user with a home, in which there are the binary, a configuration and the folders for what is temporary."""

    def __init__(self, home, user, volume, origin):
        self.home, self.volume, self.origin = home, volume, origin
        self.user = pwd.getpwnam(user) if user else None
        #: What all processes of this test have in their environment.
        self.mark = f"EMFS_TEST={uuid.uuid4()}"

    def environment(self, fusermount):
        helper = {} if fusermount else {"FUSERMOUNT_PATH": str(self.home / "none")}
        name, _, value = self.mark.partition("=")
        return helper | {
            "PATH": "/usr/bin:/bin", "HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), name: value,
            "XDG_RUNTIME_DIR": str(self.home / "run")}

    @contextlib.contextmanager
    def start(self, *command, options=(), config="config.toml", fusermount=False, preexec=lambda: None, **more):
        def become():
            preexec()
            if self.user:
                os.setgroups([])
                os.setgid(self.user.pw_gid)
                os.setuid(self.user.pw_uid)
        arguments = [self.home / "emfs", "exec", "--config", self.home / config, "--cache-size", "0", *options, "--", *command]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(
                [str(argument) for argument in arguments], env=self.environment(fusermount), cwd="/", preexec_fn=become, text=True,
                **pipes | more) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def run(self, *command, input=None, timeout=60, **options):
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with self.start(*command, **options) as process:
            out, errors = process.communicate(input, timeout)
        return subprocess.CompletedProcess(command, process.returncode, out, errors)

    def shell(self, script, **options):
        return self.run("/bin/sh", "-c", script, **options)

    def processes(self):
        """Process numbers and words of all that this test started and that live."""
        found = {}
        for process in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and os.fsencode(self.mark) in (process / "environ").read_bytes().split(b"\0"):
                    words = (process / "cmdline").read_bytes().split(b"\0")[:-1]
                    if (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                        found[int(process.name)] = [os.fsdecode(word) for word in words]
        return found

    def inner(self):
        """The process that serves."""
        (pid,) = [pid for pid, words in self.processes().items() if any(word.startswith("--inside=") for word in words)]
        return pid

    def temporary(self):
        return [sorted(os.listdir(self.home / name)) for name in ("tmp", "run")]

    def is_clean(self):
        return not self.processes() and self.temporary() == [[], []]

    def chunk(self):
        return expected.chunk_bytes(self.volume.levels[0], self.volume.chunk[0], (0, 0, 0))


@pytest.fixture(params=["the user", USER])
def scene(request, tmp_path, serve):
    user = None if request.param == "the user" else USER
    if user and os.getuid() != 0:
        pytest.skip("only root can become another user")
    if os.getuid() == 0 and os.stat("/dev/fuse").st_mode & 0o666 != 0o666:
        os.chmod("/dev/fuse", 0o666)
    (tmp_path / "files").mkdir()
    volume = reference_volumes.itk(tmp_path / "files", "v", (20, 140, 150), "u2", 1)
    origin = serve(tmp_path / "files")
    # Others cannot enter the folders of pytest.
    home = pathlib.Path(tempfile.mkdtemp(prefix="emfs-exec-"))
    made = Scene(home, user, volume, origin)
    (home / "config.toml").write_text(configuration({"v": reference_volumes.source_at(volume, origin)}))
    (home / "dead.toml").write_text(configuration({"v": {"kind": "tiff", "url": "http://127.0.0.1:9/v.tif"}}))
    (home / "counting.py").write_text(COUNTING)
    shutil.copy(BINARY, home / "emfs")
    for name in ("tmp", "run", "at"):
        (home / name).mkdir()
    for path in (home, *home.iterdir()):
        if made.user:
            os.chown(path, made.user.pw_uid, made.user.pw_gid)
        os.chmod(path, 0o700 if path.name == "run" else 0o755 if path.is_dir() or path.name == "emfs" else 0o644)
    yield made
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not made.processes(), 10, "the end of all")
    left = made.processes()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for folder in (home / "tmp", home / "run"):
        for path in folder.glob("*"):
            if is_mounted(path):
                subprocess.run(["umount", "-l", path], check=True)
    shutil.rmtree(home)
    assert not left


@pytest.fixture
def other(scene):
    """The scene of another user than root."""
    if not scene.user:
        pytest.skip("root needs neither")
    return scene


def read_line(process):
    line = process.stdout.readline().rstrip("\n")
    assert line, (process.wait(20), process.stderr and process.stderr.read())
    return line


@contextlib.contextmanager
def counting(scene, *signals, **options):
    """A command that counts these signals, once it does."""
    with scene.start("/usr/bin/python3", scene.home / "counting.py", *(number.name for number in signals), **options) as process:
        try:
            assert read_line(process) == "ready"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("script, code", [("true", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_the_exit_code_is_that_of_the_command(scene, script, code):
    done = scene.shell(script)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert scene.is_clean()


def test_a_command_that_cannot_be_started_gives_the_exit_codes_of_shells(scene):
    for command, code in (("no-such-command", 127), (scene.home / "config.toml", 126), (scene.home / "none" / "x", 127)):
        done = scene.run(command)
        assert done.returncode == code and str(command) in done.stderr, done.stderr
    assert scene.is_clean()


def test_what_keeps_it_from_mounting_is_a_sentence_and_the_command_does_not_run(scene):
    for options, code, words in (
            ({"config": "none.toml"}, 1, "none.toml"), ({"options": ["--at", "/proc"]}, 1, "/proc is not empty"),
            ({"options": ["--dataset", "x"]}, 1, "x"), ({"options": ["--bad"]}, 2, "--bad")):
        done = scene.shell("echo ran", **options)
        assert (done.returncode, done.stdout) == (code, "") and words in done.stderr, done.stderr
    assert scene.is_clean()


def test_the_command_reads_as_its_user_what_nobody_outside_sees(scene):
    with scene.start("/bin/sh", "-c", 'echo $EMFS_MOUNT; cat $EMFS_MOUNT/v/em.zarr/s0/0/0/0 >&2; read x; id -u; id -g; grep CapEff /proc/self/status; ulimit -n; env',
                     stdin=subprocess.PIPE, stderr=open(scene.home / "chunk", "wb")) as process:
        place = pathlib.Path(read_line(process))
        wait_for(lambda: (scene.home / "chunk").read_bytes() == scene.chunk(), 30, "the chunk")
        assert not is_mounted(place) and os.listdir(place) == []
        uid, gid, capabilities, files, *variables = process.communicate("\n", 30)[0].splitlines()
    assert process.returncode == 0
    user = scene.user or pwd.getpwuid(os.getuid())
    assert (int(uid), int(gid)) == (user.pw_uid, user.pw_gid)
    own = "CapEff:\t0000000000000000" if scene.user else next(
        line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    assert capabilities == own
    assert int(files) == int(subprocess.run(["sh", "-c", "ulimit -n"], capture_output=True, text=True).stdout), "the limit is the caller's"
    assert {line.split("=")[0] for line in variables} - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        *scene.environment(False), "EMFS_MOUNT"}
    assert scene.is_clean()


def test_zarr_reads_through_the_mount(scene):
    if scene.user:
        pytest.skip("the environment of Python may not be readable for others")
    script = f"import os, zarr, sys; print(int(zarr.open(os.environ['EMFS_MOUNT'] + '/v/em.zarr', mode='r')['s0'][:8, :32, :32].astype('u8').sum()))"
    done = scene.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(scene.volume.levels[0][:8, :32, :32].astype("u8").sum())


def test_a_mountpoint_can_be_named_and_be_the_directory_of_the_command(scene):
    done = scene.shell("pwd; echo $EMFS_MOUNT; ls", options=["--at", scene.home / "at"])
    assert done.stdout.split()[:2] == [str(scene.home / "at")] * 2 or done.stdout.split()[:2] == ["/", str(scene.home / "at")]
    done = scene.run("/usr/bin/env", "-C", scene.home / "at", scene.home / "emfs", "exec", "--config", scene.home / "config.toml", "--cache-size", "0",
                     "--at", ".", "--", "/bin/sh", "-c", "ls; echo $EMFS_MOUNT")
    assert done.returncode == 0 and "v" in done.stdout.split() and str(scene.home / "at") in done.stdout, done
    assert os.listdir(scene.home / "at") == [] and scene.is_clean()


def test_other_commands_work_from_inside(scene):
    script = """
        "$0" status "$EMFS_MOUNT" --json
        "$0" locate v/em.zarr/s0/0/0/0 --config "$1" --cache-size 0 >&2
        "$0" crop v --size 16 --seed 7 --config "$1" --cache-size 0 >&2
        "$0" exec --config "$1" --cache-size 0 -- /bin/sh -c 'echo "$EMFS_MOUNT" >&2; test -d "$EMFS_MOUNT/v"' """
    done = scene.run("/bin/sh", "-ec", script, scene.home / "emfs", scene.home / "config.toml")
    assert done.returncode == 0, done.stderr
    status, words = json.loads(done.stdout), done.stderr.split()
    assert status["mountpoint"] != words[-1], "one in another has a place of its own"
    assert scene.origin.url in done.stderr and "crop-z" in done.stderr
    assert scene.is_clean()


def test_a_failed_read_is_told_by_the_exit_code_where_that_is_asked_for(scene):
    failing = "cat $EMFS_MOUNT/v/em.zarr/.zattrs 2>&1"
    for script, options, code in (
            (f"{failing}; true", ["--require-clean"], 75), (f"{failing}; true", [], 0), (f"{failing}; exit 3", ["--require-clean"], 3)):
        done = scene.shell(script, options=[*options, "--timeout", "2"], config="dead.toml")
        assert done.returncode == code and "Input/output error" in done.stdout, done
        assert "1 reads failed" in done.stderr and "v/em.zarr/.zattrs" in done.stderr or not options, done.stderr
    done = scene.shell("cat $EMFS_MOUNT/v/em.zarr/s0/0/0/0 | wc -c", options=["--require-clean"])
    assert (done.returncode, int(done.stdout), done.stderr) == (0, len(scene.chunk()), "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_passed_on_once(scene, number):
    with counting(scene, number, signal.SIGUSR1 if number != signal.SIGUSR1 else signal.SIGUSR2) as process:
        process.send_signal(number)
        assert read_line(process) == number.name
        last = signal.SIGUSR1 if number != signal.SIGUSR1 else signal.SIGUSR2
        process.send_signal(last)
        assert read_line(process) == last.name, "not a second time"
    with counting(scene) as process:
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    wait_for(scene.is_clean, 20, "the end of all")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_signal_to_the_whole_group_reaches_the_command_once(scene, number):
    with counting(scene, number, signal.SIGUSR1, start_new_session=True) as process:
        for _ in range(2):
            os.killpg(process.pid, number)
            assert read_line(process) == number.name
            process.send_signal(signal.SIGUSR1)
            assert read_line(process) == "SIGUSR1"


def test_a_command_in_a_terminal_reads_from_it_and_gets_one_interrupt(scene):
    controller, terminal = pty.openpty()
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    script = 'stty -echo; read x; echo "<$x>"; trap "echo interrupted" INT; echo ready; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; exit 9'
    arguments = [scene.home / "emfs", "exec", "--config", scene.home / "config.toml", "--cache-size", "0", "--", "/bin/sh", "-c", script]
    with subprocess.Popen(
            ["/usr/bin/python3", "-c", take, *map(str, arguments)], env=scene.environment(False), cwd="/", stdin=terminal, stdout=terminal,
            stderr=terminal, start_new_session=True, user=scene.user and scene.user.pw_uid, group=scene.user and scene.user.pw_gid) as process:
        os.close(terminal)
        os.write(controller, b"typed\n")
        seen = b""
        with contextlib.suppress(OSError):
            while piece := os.read(controller, 1024):
                if b"ready" in piece or b"ready" in seen + piece and b"ready" not in seen:
                    os.write(controller, b"\x03")
                seen += piece
        os.close(controller)
        assert process.wait(30) == 9, seen
    assert b"<typed>" in seen and seen.count(b"interrupted") == 1, seen


def test_a_stopped_command_finds_its_mount_alive(scene):
    def state(pid):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    with counting(scene, signal.SIGUSR1, start_new_session=True) as process:
        inner = scene.inner()
        os.killpg(process.pid, signal.SIGTSTP)
        (command,) = [pid for pid in scene.processes() if pid not in (inner, process.pid)]
        # Of a group that nobody could ever continue, the kernel stops nothing.
        if wait_for(lambda: state(command), 5, "the state") == "T":
            assert state(inner) != "T"
        os.killpg(process.pid, signal.SIGCONT)
        process.send_signal(signal.SIGUSR1)
        assert read_line(process) == "SIGUSR1"


@pytest.mark.parametrize("victim", ["outer", "inner", "command", "all"])
def test_a_kill_of_any_of_them_leaves_nothing(scene, victim):
    # The command has a child, and one that has left it for good.
    script = "(setsid sh -c 'sleep 601 & exec sleep 602' &); sleep 603 & echo $EMFS_MOUNT; exec sleep 604"
    with scene.start("/bin/sh", "-c", script) as process:
        place = read_line(process)
        # A process that is just becoming another program has no words for a moment.
        sleeping = lambda: {words[1]: pid for pid, words in scene.processes().items() if words[:1] == ["sleep"]}
        wait_for(lambda: len(sleeping()) == 4, 20, "all processes")
        inner, command = scene.inner(), sleeping()["604"]
        for pid in {"outer": [process.pid], "inner": [inner], "command": [command], "all": scene.processes()}[victim]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert process.wait(30) == (-9 if victim in ("outer", "all") else 137)
        if victim == "inner":
            assert "was killed by signal 9" in process.stderr.read()
    wait_for(scene.is_clean, 20, "the end of all")
    assert not is_mounted(place) and os.listdir(place) == []


@pytest.mark.parametrize("victim, number", [("outer", signal.SIGKILL), ("inner", signal.SIGKILL), ("outer", signal.SIGTERM), ("inner", signal.SIGTERM)])
def test_an_open_array_never_reads_zeros(scene, victim, number):
    if scene.user:
        pytest.skip("the environment of Python may not be readable for others")
    seen = scene.home / "seen"
    # Not the command itself, which the kernel ends with its parent.
    with scene.start("/bin/sh", "-c", f"'{sys.executable}' -c '{READING}' '{seen}'; exit 0") as process:
        wait_for(lambda: seen.exists() and seen.read_text().count("\n") > 20, 60, "some reads")
        os.kill(process.pid if victim == "outer" else scene.inner(), number)
        if victim == "inner" and number == signal.SIGTERM:
            count = seen.read_text().count("\n")
            wait_for(lambda: seen.read_text().count("\n") > count + 20, 60, "more reads, since it is for the command to end")
            process.send_signal(number)
        process.wait(30)
    wait_for(scene.is_clean, 20, "the end of all")
    assert "wrong" not in seen.read_text() and seen.read_text().startswith("right")


def test_a_kill_of_all_that_is_emfs_leaves_neither_mount_nor_command(scene):
    with scene.start("/bin/sh", "-c", "echo $EMFS_MOUNT; exec sleep 604") as process:
        place = read_line(process)
        both = [scene.inner(), process.pid]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in both:
                os.kill(pid, number)
        process.wait(30)
    wait_for(scene.is_clean, 20, "the end of all")
    assert not is_mounted(place)


def test_what_the_command_leaves_running_is_asked_to_end_and_then_killed(scene):
    kind = "(setsid sh -c 'trap \"touch $HOME/tmp/asked; exit\" TERM; while :; do sleep 0.05; done' >/dev/null 2>&1 &)"
    deaf = "(setsid sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' >/dev/null 2>&1 &)"
    done = scene.shell(f"{kind}; {deaf}; sleep 0.5; exit 5")
    assert done.returncode == 5
    assert (scene.home / "tmp" / "asked").exists()
    (scene.home / "tmp" / "asked").unlink()
    assert scene.is_clean()


def test_stdin_and_other_descriptors_are_the_commands(scene):
    assert scene.run("/bin/cat", input="words\n").stdout == "words\n"
    reader, writer = os.pipe()
    done = scene.run("/bin/bash", "-c", f"echo through >&{writer}; ls /proc/self/fd", pass_fds=[writer])
    os.close(writer)
    assert os.read(reader, 100) == b"through\n"
    os.close(reader)
    assert set(done.stdout.split()) == {"0", "1", "2", "3", str(writer)}, "and none of emfs"


def test_a_closed_pipe_ends_the_command_as_ever(scene):
    with scene.start("/usr/bin/yes") as process:
        read_line(process)
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE


def test_a_reader_of_the_output_sees_its_end_when_the_command_closes_it(scene):
    with scene.start("/bin/sh", "-c", "exec >&-; read x", stdin=subprocess.PIPE) as process:
        assert process.stdout.read() == ""
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 1


def test_a_caller_that_ignores_signals_gets_the_exit_code_and_its_command_ignores_them_too(scene):
    ignoring = lambda: [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGCHLD, signal.SIGHUP)]
    done = scene.shell("kill -HUP $$; exit 4", preexec=ignoring)
    assert done.returncode == 4, done.stderr
    with scene.start("/bin/sleep", "0.5", preexec=ignoring) as process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0


def test_a_mount_that_is_taken_away_ends_the_command(scene):
    if scene.user:
        pytest.skip("only root can unmount it, and only from inside")
    done = scene.shell("umount $EMFS_MOUNT; sleep 600")
    assert done.returncode == 1 and "taken away" in done.stderr, done.stderr
    assert scene.is_clean()


def forbid_namespaces():
    """Has the kernel refuse unshare(2) to this process and its children, as some machines do."""
    number = {"x86_64": 272, "aarch64": 97}[platform.machine()]
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters)))
    set_seccomp, of_filter = 22, 2
    if ctypes.CDLL(None, use_errno=True).prctl(set_seccomp, of_filter, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def test_without_a_namespace_it_mounts_by_fusermount3_in_a_directory_that_goes_again(other):
    script = "echo $EMFS_MOUNT; grep -c \" $EMFS_MOUNT \" /proc/self/mountinfo; cat $EMFS_MOUNT/v/em.zarr/s0/0/0/0 | wc -c; exit 3"
    done = other.shell(script, fusermount=True, preexec=forbid_namespaces)
    assert done.returncode == 3, done.stderr
    place, seen, size = done.stdout.split()
    assert pathlib.Path(place).parent == other.home / "run" and (seen, int(size)) == ("1", len(other.chunk()))
    wait_for(lambda: other.temporary() == [[], ["emfs"]], 10, "its directory's end")
    assert os.listdir(other.home / "run" / "emfs") == []


@pytest.mark.parametrize("victim", ["outer", "inner", "command"])
def test_a_kill_where_there_is_no_namespace_leaves_nothing_either(other, victim):
    with other.start("/bin/sh", "-c", "echo $EMFS_MOUNT; exec sleep 604", fusermount=True, preexec=forbid_namespaces) as process:
        place = read_line(process)
        assert is_mounted(place)
        inner = other.inner()
        (command,) = wait_for(lambda: [pid for pid, words in other.processes().items() if words[0] == "sleep"], 20, "the command")
        os.kill({"outer": process.pid, "inner": inner, "command": command}[victim], signal.SIGKILL)
        process.wait(30)
    wait_for(lambda: not other.processes() and not os.path.lexists(place), 20, "the end of all")
    assert not is_mounted(place)


def test_with_neither_a_namespace_nor_fusermount3_it_says_what_is_missing(other):
    done = other.shell("echo ran", preexec=forbid_namespaces)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "there is no namespace either (a user namespace:" in done.stderr and "fusermount3 is missing" in done.stderr, done.stderr
    assert not other.processes() and other.temporary() == [[], []]
