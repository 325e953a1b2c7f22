//! The guardian of a mount: a process that does nothing until the daemon has ended, and answers then in its place.
//!
//! It has the daemon's end of the mount open as its standard output, so that the mount outlives the daemon, and reads the
//! names of the datasets from its standard input, which ends when the daemon does.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sys::signal::SigSet;

use super::output::complain;
use super::{CliError, background};
use crate::fuse;
use crate::tree::Remains;

/// The name of the command that the process is started with.
pub(super) const COMMAND: &str = "guardian";

/// The guardian, as the daemon knows it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Guardian {
    process: Child,
    stays: bool,
}

impl Guardian {
    /// Starts it for the mount behind `device`.
    pub fn start<'a>(device: OwnedFd, datasets: impl Iterator<Item = &'a str>) -> io::Result<Guardian> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).current_dir("/").stdin(Stdio::piped()).stdout(device).stderr(Stdio::null());
        let mut guardian = Guardian { process: command.spawn()?, stays: false };
        let names: String = datasets.flat_map(|name| [name, "\n"]).collect();
        if let Some(pipe) = &mut guardian.process.stdin {
            pipe.write_all(names.as_bytes())?;
        }
        Ok(guardian)
    }

    /// Leaves the mount to it, from the end of this process on.
    pub fn stay(&mut self) {
        self.stays = true;
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

/// In the guardian: waits for the end of the daemon, and guards what it leaves. Nothing but `kill -9` ends it before that:
/// what ends the daemon often goes to all processes of a terminal or a job.
pub(super) fn run() -> ExitCode {
    match guard() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("emfs {COMMAND}: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn guard() -> Result<(), CliError> {
    SigSet::all().thread_block().map_err(|errno| CliError::system("blocking signals")(errno.into()))?;
    background::detach()?;
    let mut names = String::new();
    io::stdin().read_to_string(&mut names).map_err(CliError::system("waiting for the daemon's end"))?;
    let device = io::stdout().as_fd().try_clone_to_owned().map_err(CliError::system("taking over the mount"))?;
    fuse::guard(device, Remains::new(names.lines().map(str::to_owned).collect()))
        .map_err(CliError::system("guarding the mount"))
}
