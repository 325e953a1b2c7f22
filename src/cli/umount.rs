//! `emfs umount`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::CliError;
use super::control::Watched;
use crate::fuse::mountinfo::{self, Mount, State};
use crate::fuse::{UnmountError, unmount};

/// How long a program that is just letting go of a file may take.
const LETTING_GO: Duration = Duration::from_secs(1);

/// How long the daemon may take to end.
const ENDING: Duration = Duration::from_secs(15);

/// Unmount and wait until the daemon has ended.
#[derive(Debug, clap::Args)]
pub(super) struct UmountArgs {
    /// Where emfs is mounted; a mount whose daemon has died counts
    mountpoint: PathBuf,
}

/// Unmounts.
pub(super) fn run(args: &UmountArgs) -> Result<(), CliError> {
    let mount = find(&args.mountpoint)?;
    let path = &mount.mountpoint;
    let daemon = Watched::new(&mount).ok();
    let give_up = Instant::now() + LETTING_GO;
    loop {
        match unmount(path, false) {
            Ok(()) => break,
            // What programs hold of a dead mount is of no use to them.
            Err(UnmountError::Busy(_)) if daemon.is_none() && mount.state() == State::Dead => {
                unmount(path, true)?;
                break;
            }
            Err(UnmountError::Busy(_)) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error.into()),
        }
    }
    let Some(daemon) = daemon else { return Ok(()) };
    let process = daemon.process();
    if daemon.ends_within(ENDING) {
        return Ok(());
    }
    let reason = match process {
        Some(pid) => format!(
            "its daemon, process {pid}, has not ended; end it with `kill {pid}`, or with `kill -9 {pid}` where \
             it hangs"
        ),
        None => "its daemon has not ended".to_owned(),
    };
    Err(CliError::Failed(format!("{} is unmounted, but {reason}", path.display())))
}

/// The mount of emfs at `path`, alive or dead.
pub(super) fn find(path: &Path) -> Result<Mount, CliError> {
    let named = |error: io::Error| CliError::System { what: path.display().to_string(), error };
    let mut there = mountinfo::resolve(path).and_then(|path| mountinfo::all_at(&path)).map_err(named)?;
    match there.pop() {
        Some(mount) if mount.is_emfs() => Ok(mount),
        Some(over) if there.iter().any(Mount::is_emfs) => Err(UnmountError::Covered { over }.into()),
        Some(mount) => Err(CliError::Failed(format!(
            "what is mounted at {} is not emfs but {} ({})",
            path.display(),
            mount.source,
            mount.kind
        ))),
        None => Err(CliError::Failed(format!("nothing is mounted at {}; name the mountpoint itself", path.display()))),
    }
}
