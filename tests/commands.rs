//! The life of a mount as its user sees it: the binary, a real mountpoint, exit codes and sentences. No test needs a
//! network, since mounting and listing need none. Skipped where this machine cannot mount.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A dataset at an address where nobody answers.
const CATALOG: &str = "[[dataset]]\nname = \"a\"\nsource = { kind = \"tiff\", url = \"http://127.0.0.1:9/a.tif\" }\n";

const DEADLINE: Duration = Duration::from_secs(30);

/// A mountpoint with what belongs to it; whatever a test leaves mounted is taken away at the end.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mnt")).unwrap();
        std::fs::write(folder.path().join("config.toml"), CATALOG).unwrap();
        Place { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("mnt")
    }

    fn mount_command(&self) -> Command {
        let mut command = emfs();
        command.arg("mount").arg(self.path()).arg("--config").arg(self.folder.path().join("config.toml"));
        command
    }

    /// Mounts in the background; `None` where this machine cannot mount.
    fn mounted(&self) -> Option<()> {
        let done = self.mount_command().arg("--log").arg(self.folder.path().join("log")).output().unwrap();
        self.can_mount(&done).then(|| assert!(done.status.success(), "{}", errors(&done)))
    }

    fn can_mount(&self, done: &Output) -> bool {
        let text = errors(done);
        let cannot = ["/dev/fuse", "fusermount3", "mounting at"].iter().any(|reason| text.contains(reason));
        if cannot {
            eprintln!("skipped: {text}");
        }
        !cannot
    }

    fn status(&self) -> serde_json::Value {
        let done = emfs().arg("status").arg(self.path()).arg("--json").output().unwrap();
        assert!(done.status.success(), "{}", errors(&done));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.status()["pid"].as_i64().unwrap() as i32)
    }

    fn umount(&self) -> Output {
        emfs().arg("umount").arg(self.path()).output().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if is_mounted(&self.path()) {
            let _ = emfs::unmount(&self.path(), true);
        }
    }
}

fn emfs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emfs"));
    command.stdin(Stdio::null()).env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

fn errors(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn is_mounted(path: &Path) -> bool {
    emfs::mountinfo::mounts().unwrap().iter().any(|mount| mount.mountpoint == path)
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(pid: Pid) -> bool {
    // A zombie has ended; it waits for whoever inherited it.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Keeps the mount in use until killed.
struct User(Child);

impl User {
    fn of(path: &Path) -> Self {
        User(Command::new("sleep").arg("60").current_dir(path).spawn().unwrap())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_mount_answers_when_the_command_returns_and_is_gone_after_umount() {
    let place = Place::new();
    let Some(()) = place.mounted() else { return };
    assert!(place.path().join("a").is_dir());
    let (pid, report) = (place.pid(), place.status());
    assert_eq!(report["mountpoint"].as_str(), place.path().to_str());
    assert_eq!(report["hosts"], serde_json::json!({}), "mounting and listing use no network");
    let again = place.mount_command().output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(errors(&again).contains("emfs is mounted at"), "{}", errors(&again));
    let done = place.umount();
    assert!(done.status.success(), "{}", errors(&done));
    assert!(!is_mounted(&place.path()) && !is_alive(pid));
    assert_eq!(place.umount().status.code(), Some(1));
}

#[test]
fn a_mount_in_use_is_not_taken_away_by_umount() {
    let place = Place::new();
    let Some(()) = place.mounted() else { return };
    let user = User::of(&place.path());
    let done = place.umount();
    assert_eq!(done.status.code(), Some(1));
    assert!(errors(&done).contains("is in use"), "{}", errors(&done));
    drop(user);
    assert!(place.umount().status.success());
}

#[test]
fn a_signal_ends_a_mount_in_use() {
    let place = Place::new();
    let Some(()) = place.mounted() else { return };
    let (pid, _user) = (place.pid(), User::of(&place.path()));
    kill(pid, Signal::SIGTERM).unwrap();
    wait_for("the daemon ends", || !is_alive(pid));
    assert!(!is_mounted(&place.path()));
}

#[test]
fn a_dead_mount_is_named_and_removed() {
    let place = Place::new();
    let Some(()) = place.mounted() else { return };
    let (pid, _user) = (place.pid(), User::of(&place.path()));
    kill(pid, Signal::SIGKILL).unwrap();
    wait_for("the daemon is dead", || !is_alive(pid));
    let done = place.umount();
    assert!(done.status.success() && errors(&done).contains("had died"), "{}", errors(&done));
    assert!(!is_mounted(&place.path()));
    assert!(place.mounted().is_some());
    assert!(place.umount().status.success());
}

#[test]
fn a_mount_takes_the_place_of_one_that_has_died() {
    let place = Place::new();
    let Some(()) = place.mounted() else { return };
    let (pid, _user) = (place.pid(), User::of(&place.path()));
    kill(pid, Signal::SIGKILL).unwrap();
    wait_for("the daemon is dead", || !is_alive(pid));
    let again = place.mount_command().arg("--log").arg(place.folder.path().join("log")).output().unwrap();
    assert!(again.status.success() && errors(&again).contains("had died"), "{}", errors(&again));
    assert!(place.path().join("a").is_dir() && place.pid() != pid);
    let mounts = emfs::mountinfo::all_at(&place.path()).unwrap();
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert!(place.umount().status.success() && !is_mounted(&place.path()));
}

#[test]
fn a_foreground_mount_ends_with_its_signal() {
    let place = Place::new();
    let mut child = place.mount_command().arg("--foreground").stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !is_mounted(&place.path()) && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < DEADLINE, "the mount does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
    // What ended early could not mount, and says why.
    let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGINT);
    let done = child.wait_with_output().unwrap();
    if place.can_mount(&done) {
        assert!(done.status.success(), "{}", errors(&done));
        assert!(errors(&done).contains("mounted at"), "{}", errors(&done));
        assert!(!is_mounted(&place.path()));
    }
}

#[test]
fn what_stands_in_the_way_is_a_sentence() {
    let place = Place::new();
    let try_at = |path: PathBuf, extra: &[&str]| {
        let log = place.folder.path().join("log");
        let done = emfs().arg("mount").arg(path).args(extra).arg("--log").arg(log).output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        errors(&done)
    };
    assert!(try_at(place.path().join("none"), &[]).contains("create it with `mkdir -p"));
    assert!(try_at(place.folder.path().join("config.toml"), &[]).contains("is not a directory"));
    std::fs::create_dir(place.folder.path().join("full")).unwrap();
    std::fs::write(place.folder.path().join("full/file"), "").unwrap();
    assert!(try_at(place.folder.path().join("full"), &[]).contains("is not empty"));
    assert!(try_at(place.path(), &["--dataset", "b"]).contains("no dataset `b`; the catalogue has idr-9846137"));
    assert!(try_at(place.path(), &["--config", "/nonexistent.toml"]).contains("/nonexistent.toml: No such file"));
    assert!(!is_mounted(&place.path()));
}

#[test]
fn wrong_usage_has_its_own_code() {
    for arguments in [&["mount"][..], &["mount", "/m", "--memory", "x"], &["fly"], &[]] {
        assert_eq!(emfs().args(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_built_in_catalogue_is_printed_as_it_is() {
    let done = emfs().args(["datasets", "--toml"]).output().unwrap();
    assert!(done.status.success());
    assert_eq!(String::from_utf8(done.stdout).unwrap(), emfs::BUILTIN);
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child = emfs().args(["datasets", "--toml"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success() && said.is_empty(), "{said}");
}
