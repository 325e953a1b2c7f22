//! `emfs umount`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::CliError;
use super::output::eprint_line;
use crate::daemon::client::{self, Watched};
use crate::daemon::control::Recent;
use crate::fuse::{UnmountError, unmount};
use crate::mountinfo::{self, Mount, MountState};
use crate::shell::word;

/// How long a program that is just letting go of a file may take.
const LETTING_GO: Duration = Duration::from_secs(1);

/// The same where the mount is to go whoever uses it.
const LETTING_GO_BY_FORCE: Duration = Duration::from_millis(500);

/// How long a daemon takes to end whose mount nobody has any more. One that takes longer is looked into.
const ENDING_ALONE: Duration = Duration::from_secs(1);

/// How long the daemon may take to end at most.
const ENDING: Duration = Duration::from_secs(15);

/// Unmount and wait until the daemon has ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where somebody read within the last minute, this refuses: programs that go on would find an empty directory, which Zarr
readers take for zeros. Who reads is not known, since the kernel answers again what was read before.")]
pub(super) struct UmountArgs {
    /// Where emfs is mounted; a mount whose daemon has died counts
    mountpoint: PathBuf,
    /// Unmount although somebody read within the last minute, still has a file open, or has it in another mount namespace
    #[arg(long)]
    force: bool,
}

/// Unmounts.
pub(super) fn run(args: &UmountArgs) -> Result<(), CliError> {
    let mount = find(&args.mountpoint)?;
    let path = &mount.mountpoint;
    if let Some(owner) = mount.user.filter(|owner| !geteuid().is_root() && *owner != geteuid().as_raw()) {
        let path = path.display();
        return Err(CliError::Failed(format!("{path} was mounted by user {owner}; only they and root can unmount it")));
    }
    let state = match client::reader(&mount) {
        Ok(Some(reader)) if !args.force => return Err(refusal(path, &reader)),
        // It hangs, and so would who asks it for more.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => MountState::Silent,
        _ => mount.state(),
    };
    let is_dead = state == MountState::Dead;
    let daemon = Watched::new(&mount).ok();
    // A bind mount, or one that was moved to: the daemon goes on for it.
    let elsewhere = || {
        let mounts = mountinfo::mounts().unwrap_or_default();
        mounts.into_iter().find(|other| other.device == mount.device && other.mountpoint != mount.mountpoint)
    };
    let give_up = Instant::now() + if args.force { LETTING_GO_BY_FORCE } else { LETTING_GO };
    loop {
        match unmount(path, false) {
            Ok(()) => break,
            Err(UnmountError::Busy(_)) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(50)),
            // What programs hold of a dead mount is of no use to them; those in one that hangs wait, and cannot even be killed
            // where its daemon has taken their question.
            Err(UnmountError::Busy(_)) if state != MountState::Alive || args.force => {
                unmount(path, true)?;
                // Else it goes on for what programs have open. One that hangs is told of below.
                if elsewhere().is_none() {
                    let _ = client::end(&mount);
                }
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if is_dead {
        eprint_line(&format!(
            "emfs umount: the emfs that was mounted at {path} had died. Programs that still read below it got errors so far; \
             from now on they find the empty directory, which Zarr readers take for zeros. End them, or mount again",
            path = path.display()
        ));
    }
    if let Some(other) = elsewhere() {
        let (path, other) = (path.display(), other.mountpoint.display());
        eprint_line(&format!(
            "emfs umount: {path} is unmounted; the same emfs is mounted at {other} as well and goes on there"
        ));
        return Ok(());
    }
    match daemon {
        Some(daemon) => ends(&mount, daemon, state, args.force),
        None => Ok(()),
    }
}

/// Waits for the end of a daemon whose mount was taken away, unless it goes on for others who have the mount.
fn ends(mount: &Mount, mut daemon: Watched, state: MountState, force: bool) -> Result<(), CliError> {
    if daemon.ends_within(ENDING_ALONE) {
        return Ok(());
    }
    let path = mount.mountpoint.display();
    // One that hangs answers nothing.
    let seen_at = match (state, force) {
        (MountState::Silent, _) => None,
        (_, true) => client::end(mount).ok().flatten(),
        (_, false) => client::seen_at(mount).ok().flatten(),
    };
    if let Some(place) = seen_at {
        eprint_line(&format!(
            "emfs umount: {path} is unmounted in this mount namespace; it goes on where its daemon runs, at {}",
            place.display()
        ));
        return Ok(());
    }
    if let Some((holder, place)) = mountinfo::in_another_namespace(&mount.device) {
        let outcome = if force { "what is read there fails from now on" } else { "emfs goes on for it" };
        eprint_line(&format!(
            "emfs umount: {path} is unmounted; process {holder}, in another mount namespace (of a container, or of `emfs exec`), has \
             the same emfs at {}, and {outcome}",
            place.display()
        ));
        if !force {
            return Ok(());
        }
    }
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
    Err(CliError::Failed(format!("{path} is unmounted, but {reason}")))
}

fn refusal(path: &Path, reader: &Recent) -> CliError {
    let (path, named, dataset) = (path.display(), word(path), &reader.dataset);
    let (ago, recent_for) = (reader.ago.floor(), reader.recent_for.ceil());
    CliError::Failed(format!(
        "{path} stays mounted: {dataset} was read {ago} s ago. If those programs (which they are is not known) go on, \
         they find an empty directory, which Zarr readers take for zeros. When they have ended, try again in {recent_for} s \
         or use `emfs umount --force {named}`"
    ))
}

/// The mount of emfs at `path`, alive or dead.
pub(super) fn find(path: &Path) -> Result<Mount, CliError> {
    let named = |error: io::Error| CliError::System { what: path.display().to_string(), error };
    let mut there = mountinfo::resolve(path).and_then(|path| mountinfo::all_at(&path)).map_err(named)?;
    match there.pop() {
        Some(mount) if mount.is_emfs() => Ok(mount),
        Some(over) if there.iter().any(Mount::is_emfs) => Err(UnmountError::Covered { over: Box::new(over) }.into()),
        Some(mount) => Err(CliError::Failed(format!(
            "what is mounted at {} is not emfs but {} ({})",
            path.display(),
            mount.source,
            mount.kind
        ))),
        None => Err(CliError::Failed(format!("nothing is mounted at {}; name the mountpoint itself", path.display()))),
    }
}
