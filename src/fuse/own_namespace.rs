//! A mount namespace of this process and its children alone: what is mounted there is seen by nobody else, can be
//! unmounted by nobody else, and goes with the last of them, even where all are killed. It needs neither root nor
//! `fusermount3`, but a kernel that allows it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::check::{Free, device, free_directory};
use super::session::MountError;

/// Why there is no namespace of one's own. A process for which this fails halfway is good for nothing but its end.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct NamespaceError {
    what: &'static str,
    error: io::Error,
}

/// Moves this process, which must have one thread only, into a mount namespace of its own. Where that takes root, it becomes
/// one in a user namespace where there is nobody but its user, and where it may mount.
pub fn enter() -> Result<(), NamespaceError> {
    let failed = |what| move |error: io::Error| NamespaceError { what, error };
    match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => {}
        Err(Errno::EPERM) => enter_as_user()?,
        Err(errno) => return Err(failed("a mount namespace")(errno.into())),
    }
    // What is mounted outside later, as by an automounter, is to be seen here, too, but nothing the other way round.
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    let separated = mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
    separated.map_err(|errno| failed("keeping mounts to this namespace")(errno.into()))
}

fn enter_as_user() -> Result<(), NamespaceError> {
    let failed = |what| move |error: io::Error| NamespaceError { what, error };
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(|errno| failed("a user namespace")(errno.into()))?;
    // The kernel lets a user map the group only once groups cannot be dropped any more: some are there to keep out.
    fs::write("/proc/self/setgroups", "deny").map_err(failed("/proc/self/setgroups"))?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1")).map_err(failed("/proc/self/uid_map"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1")).map_err(failed("/proc/self/gid_map"))
}

/// Looks for what stands in the way of a mount at `mountpoint` in such a namespace and gives back its full path.
pub fn check(mountpoint: &Path) -> Result<PathBuf, MountError> {
    let Free { path, dead } = free_directory(mountpoint)?;
    if dead {
        // Outside of the namespace it would stay.
        return Err(MountError::Dead(path));
    }
    device()?;
    Ok(path)
}
