//! The guardian of a mount: a process that does nothing until the daemon has ended, and answers then in its place.
//!
//! It has the daemon's end of the mount open as its standard output, so that the mount outlives the daemon, and reads the
//! mountpoint and the names of the datasets from its standard input, which ends when the daemon does. Until then it looks whether the daemon
//! answers ([`Watchdog`]).

use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::Pid;

use super::watchdog::Watchdog;
use super::{DaemonError, background};
use crate::tree::Remains;
use crate::{fuse, mountinfo};

/// The name of the command that the process is started with.
pub const COMMAND: &str = "guardian";

/// What ends the mountpoint, before the names of the datasets.
const END: u8 = 0;

/// The guardian, as the daemon knows it. It ends when this is dropped.
#[derive(Debug)]
pub struct Guardian {
    process: Child,
    stays: bool,
}

impl Guardian {
    /// Starts it for the mount at `mountpoint`, behind `channel`. `patience`: how long the daemon may take to answer; any
    /// time where none is given.
    pub fn start<'a>(
        channel: OwnedFd,
        mountpoint: &Path,
        patience: Option<Duration>,
        datasets: impl Iterator<Item = &'a str>,
    ) -> io::Result<Guardian> {
        let mut command = Command::new(std::env::current_exe()?);
        let numbers = [u64::from(std::process::id()), patience.unwrap_or_default().as_secs()];
        command.arg(COMMAND).args(numbers.map(|number| number.to_string()));
        command.current_dir("/").stdin(Stdio::piped()).stdout(channel).stderr(Stdio::null());
        // From its first moment on it takes no signals.
        let signals = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let spawned = command.spawn();
        signals.thread_set_mask()?;
        let mut guardian = Guardian { process: spawned?, stays: false };
        let names: String = datasets.flat_map(|name| [name, "\n"]).collect();
        if let Some(pipe) = &mut guardian.process.stdin {
            pipe.write_all(mountpoint.as_os_str().as_bytes())?;
            pipe.write_all(&[END])?;
            pipe.write_all(names.as_bytes())?;
        }
        Ok(guardian)
    }

    /// Leaves the mount to it, from the end of this process on and not before: what this process took of the kernel after
    /// the guardian began would never be answered. So the pipe stays open as long as the process lives.
    pub fn stay(&mut self) {
        self.stays = true;
        if let Some(pipe) = self.process.stdin.take() {
            let _ = OwnedFd::from(pipe).into_raw_fd();
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        if !self.stays {
            // Fails where somebody else has ended it.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// In the guardian: waits for the end of the daemon, and guards what it leaves. Nothing but `kill -9` ends it before that,
/// since it is started with all signals blocked: what ends the daemon often goes to all processes of a terminal or a job.
pub fn guard(arguments: &[OsString]) -> Result<(), DaemonError> {
    background::detach()?;
    let mut input = io::stdin().lock();
    let mut mountpoint = Vec::new();
    input.read_until(END, &mut mountpoint).map_err(DaemonError::system("reading the mountpoint"))?;
    mountpoint.pop();
    if let Some(watchdog) = watchdog(PathBuf::from(OsString::from_vec(mountpoint)), arguments) {
        // Without it the daemon is not watched, which is no reason not to guard what it leaves.
        let _ = std::thread::Builder::new().spawn(move || watchdog.watch());
    }
    let mut names = String::new();
    input.read_to_string(&mut names).map_err(DaemonError::system("waiting for the daemon's end"))?;
    let device = io::stdout().as_fd().try_clone_to_owned().map_err(DaemonError::system("taking over the mount"))?;
    fuse::guard(device, Remains::new(names.lines().map(str::to_owned).collect()))
        .map_err(DaemonError::system("guarding the mount"))
}

/// The watchdog that the arguments ask for.
fn watchdog(mountpoint: PathBuf, arguments: &[OsString]) -> Option<Watchdog> {
    let [daemon, seconds] = arguments else { return None };
    let daemon = Pid::from_raw(daemon.to_str()?.parse().ok()?);
    let patience = seconds.to_str()?.parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)?;
    let device = mountinfo::all_at(&mountpoint).ok()?.pop()?.device;
    Some(Watchdog { mountpoint, device, daemon, patience })
}
