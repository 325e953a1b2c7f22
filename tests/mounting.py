"""Starts the emfs binary and always cleans up behind it."""

import contextlib
import json
import os
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("EMFS_BIN") or ROOT / "target" / "debug" / "emfs").resolve()
LEGACY_PYTHON = ROOT / "target" / "venv" / "legacy" / "bin" / "python"
CLIENTS_PYTHON = ROOT / "target" / "venv" / "clients" / "bin" / "python"
DESCRIPTIONS_PYTHON = ROOT / "target" / "venv" / "descriptions" / "bin" / "python"
TORCH_PYTHON = ROOT / "target" / "venv" / "torch" / "bin" / "python"
GUNPOWDER_PYTHON = ROOT / "target" / "venv" / "gunpowder" / "bin" / "python"


#: Commands that keep what they fetch, unless they are told not to.
KEEPING = {"mount", "metadata", "datasets", "crop", "explain", "sample", "stats", "warm", "export"}


def emfs(*arguments, timeout=60, check=True, **options):
    """Runs a command to its end; `check` demands success. Output as text in `stdout` and `stderr`.

    Nothing is kept on disk unless the arguments say where.
    """
    arguments = [str(argument) for argument in arguments]
    if arguments[:1] and arguments[0] in KEEPING and not {"--cache-dir", "--cache-size", "--toml"} & set(arguments):
        arguments[1:1] = ["--cache-size", "0"]
    done = subprocess.run(
        [BINARY, *arguments], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **options)
    if check:
        assert done.returncode == 0, f"emfs {' '.join(arguments)} gave {done.returncode}: {done.stderr}{done.stdout}"
    return done


def is_mounted(path):
    """Whether something is mounted at exactly `path`; asks the kernel's table, so a dead mount counts."""
    escaped = str(path).replace("\\", "\\134").replace(" ", "\\040")
    return any(line.split()[4] == escaped for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


def daemons(path):
    """Process numbers of emfs daemons that were started with `path` as an argument."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and os.fsencode(path) in words and b"emfs" in os.path.basename(words[0]):
            found.append(int(process.name))
    return found


def guardian(daemon):
    """The process that answers when a daemon has ended, while that lives."""
    (found,) = [int(pid) for pid in pathlib.Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()]
    return found


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds, what):
    """Waits until `condition()` is true, and fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return value


class Mount:
    """A mounted tree."""

    def __init__(self, path, config_file, log_file):
        self.path = path
        self.config_file = config_file
        self.log_file = log_file

    def __truediv__(self, name):
        return self.path / name

    def status(self):
        return json.loads(emfs("status", self.path, "--json").stdout)

    def fuse(self):
        """FUSE messages by kind, in lower case."""
        return {kind.lower(): count for kind, count in self.status()["fuse"].items()}

    def requests(self):
        """Requests to all hosts so far."""
        return sum(host["requests"] for host in self.status()["hosts"].values())

    @property
    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def pid(self):
        found = daemons(self.path)
        assert len(found) == 1, f"expected one daemon of {self.path}, found {found}"
        return found[0]

    def alive(self):
        return len(daemons(self.path)) == 1

    def rss(self):
        """Resident memory of the daemon in bytes."""
        return resident(self.pid)

    def peak(self):
        """The most resident memory that the daemon has had, in bytes."""
        return resident(self.pid, "VmHWM")

    def unmount(self):
        """Unmounts, whoever has read a moment ago."""
        emfs("umount", "--force", self.path)


def resident(pid, what="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} tells no {what}")


@contextlib.contextmanager
def mounted(folder, config, *options, timeout=None, memory=None, environment=None, cache=None):
    """Mounts `config` (TOML text) at `folder/mnt` and unmounts in any case. `cache`: a folder for what is fetched."""
    folder = pathlib.Path(folder)
    path = folder / "mnt"
    path.mkdir(parents=True, exist_ok=True)
    config_file, log_file = folder / "config.toml", folder / "emfs.log"
    config_file.write_text(config)
    arguments = ["mount", path, "--config", config_file, "--log", log_file, *options]
    if timeout is not None:
        arguments += ["--timeout", timeout]
    if memory is not None:
        arguments += ["--memory", memory]
    if cache is not None:
        arguments += ["--cache-dir", cache]
    try:
        emfs(*arguments, env=environment)
        yield Mount(path, config_file, log_file)
    finally:
        clean_up(path)


def clean_up(path):
    """Unmounts `path` and sees its daemon go; what emfs itself cannot unmount is a failure, after it was removed by force."""
    trouble = ""
    if is_mounted(path):
        done = emfs("umount", "--force", path, check=False)
        trouble = done.stderr if done.returncode else ""
    deadline = time.monotonic() + 15
    while (is_mounted(path) or daemons(path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = is_mounted(path), daemons(path)
    if left[0]:
        lazily = ["umount", "-l", path] if os.getuid() == 0 else ["fusermount3", "-u", "-z", path]
        subprocess.run(lazily, check=False)
    for pid in left[1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    assert not left[0] and not left[1], f"left behind: mount {left[0]}, processes {left[1]} {trouble}"


def toml(value):
    """A value as TOML; tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def configuration(datasets, manners=None):
    """TOML text of `{name: source}` or `{name: {"source": …, "images": […]}}`, with the manners of the test's origin."""
    text = []
    for name, dataset in datasets.items():
        if "source" not in dataset:
            dataset = {"source": dataset}
        text.append(f"[[dataset]]\nname = {toml(name)}\nsource = {toml(dataset['source'])}\n")
        for image in dataset.get("images", []):
            text.append("[[dataset.image]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in image.items()))
    manners = {"connections": 8, "stall": 2.0} | (manners or {})
    text.append('[host."127.0.0.1"]\n' + "".join(f"{key} = {toml(value)}\n" for key, value in manners.items()))
    return "\n".join(text)
