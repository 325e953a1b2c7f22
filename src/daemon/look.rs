//! The first look at a new mount, by a process of its own.
//!
//! Who waits for an answer that the daemon has begun to work on cannot be killed, and keeps open what its process has open.
//! A thread of the daemon that looks at the daemon's own mount would therefore outlive a `kill -9` of it: the kernel would
//! wait for that thread to end the mount, and the thread for an answer, both for ever.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::DaemonError;
use crate::mountinfo::ended;

/// The name of the command that the other process is started with.
pub const COMMAND: &str = "look";

/// How long the tree has to answer for the first time; nothing in it needs the network.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// In the other process: asks for the root, as a program would.
pub fn at(path: &Path) -> Result<(), DaemonError> {
    let seen = path.metadata().and_then(|_| path.read_dir()?.try_for_each(|entry| entry.map(drop)));
    seen.map_err(DaemonError::system(format!("listing {}", path.display())))
}

/// Returns when the tree at `mountpoint` has answered another process.
pub(super) fn first(mountpoint: &Path) -> Result<(), DaemonError> {
    let program = std::env::current_exe().map_err(DaemonError::system("finding the emfs program"))?;
    let mut looking = Command::new(program)
        .args([COMMAND, "--"])
        .arg(mountpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // What a terminal sends is for the mount.
        .process_group(0)
        .spawn()
        .map_err(DaemonError::system("starting emfs to look at the mount"))?;
    let waited =
        ended(&mut looking, FIRST_ANSWER).map_err(DaemonError::system("waiting for the first look at the mount"))?;
    let Some(status) = waited else {
        return Err(DaemonError::Failed(format!("the tree at {} does not answer", mountpoint.display())));
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(mut pipe) = looking.stderr.take() {
        // What cannot be read says nothing.
        let _ = pipe.read_to_string(&mut said);
    }
    let reason = said.trim_end();
    Err(DaemonError::Failed(match reason.strip_prefix(&format!("emfs {COMMAND}: ")) {
        Some(reason) => reason.to_owned(),
        None => format!("looking at {}: {status} {reason}", mountpoint.display()),
    }))
}
