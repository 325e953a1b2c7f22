//! The last step before the command: this process makes itself what the command expects to be, and becomes it.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set};

use super::{VARIABLE, code_of_signal, signals};
use crate::cli::output::eprint_line;

/// The exit codes of shells for a command that is not there, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What the command is to be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Launch {
    /// The process inside, its parent.
    pub parent: i32,
    /// The limit of open files before emfs raised it.
    pub open_files: u64,
    /// The capabilities of the caller, which had more to itself in a user namespace of its own.
    pub capabilities: CapabilitySet,
}

impl Launch {
    /// As an option of the command line.
    pub fn option(&self) -> String {
        format!("--launch={},{},{}", self.parent, self.open_files, self.capabilities.bits())
    }
}

impl FromStr for Launch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields: Vec<_> = text.split(',').collect();
        let [parent, open_files, capabilities] = fields.as_slice() else { return Err("set by emfs itself") };
        let number = |field: &str| field.parse::<u64>().map_err(|_| "set by emfs itself");
        Ok(Launch {
            parent: parent.parse().map_err(|_| "set by emfs itself")?,
            open_files: number(open_files)?,
            capabilities: CapabilitySet::from_bits_retain(number(capabilities)?),
        })
    }
}

/// Becomes the command; returns an exit code where that cannot be.
pub(super) fn run(launch: &Launch, command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return NOT_FOUND };
    let name = program.display();
    if let Err(error) = prepare(launch) {
        eprint_line(&format!("emfs exec: `{name}` is not started: {error}"));
        return 1;
    }
    if getppid().as_raw() != launch.parent {
        return code_of_signal(libc::SIGKILL);
    }
    let error = Command::new(program).args(arguments).exec();
    match error.kind() {
        ErrorKind::NotFound => {
            eprint_line(&format!("emfs exec: there is no command `{name}`"));
            NOT_FOUND
        }
        _ => {
            eprint_line(&format!("emfs exec: `{name}` cannot be executed: {error}"));
            NOT_EXECUTABLE
        }
    }
}

fn prepare(launch: &Launch) -> io::Result<()> {
    // Whatever ends the process that serves the mount, the command is not to go on without one.
    set_pdeathsig(Signal::SIGKILL)?;
    keep_capabilities(launch.capabilities)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, launch.open_files.min(hard), hard)?;
    // A command that is started in the mountpoint itself would be below the mount, in an empty directory.
    if let (Ok(here), Some(mountpoint)) = (std::env::current_dir(), std::env::var_os(VARIABLE))
        && here == Path::new(&mountpoint)
    {
        std::env::set_current_dir(here)?;
    }
    signals::unblock()
}

/// Has what is executed get no capability but these. Only where this user is root, who has all of them, do any get there.
fn keep_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let surplus = capabilities(None)?.permitted - kept;
    let single = (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
    single.filter(|capability| surplus.contains(*capability)).try_for_each(|capability| {
        remove_capability_from_bounding_set(capability)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_passes_the_command_line() {
        let launch = Launch { parent: 7, open_files: u64::MAX, capabilities: CapabilitySet::SYS_ADMIN };
        let option = launch.option();
        assert_eq!(option.strip_prefix("--launch=").unwrap().parse(), Ok(launch));
        for wrong in ["", "7", "7,x,0", "7,8,0,0"] {
            assert!(wrong.parse::<Launch>().is_err(), "{wrong}");
        }
    }
}
