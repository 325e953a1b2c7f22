//! Taking a mount away, by the kernel or by `fusermount3`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::mountinfo::Mount;
use crate::shell::word;

/// Why a mount could not be taken away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnmountError {
    /// A program has a file or its working directory in it.
    #[error(
        "{} is in use; end the programs that use it (`fuser -vm {}` lists them) and try again",
        .0.display(), word(.0)
    )]
    Busy(PathBuf),
    /// The path names what was mounted later.
    #[error(
        "{source} ({kind}) is mounted over the emfs at {}; unmount that first with `umount {path}`, then this with \
         `emfs umount {path}`", .over.mountpoint.display(),
        source = .over.source, kind = .over.kind, path = word(&.over.mountpoint)
    )]
    Covered {
        /// The uppermost mount there.
        over: Box<Mount>,
    },
    /// Only root or the one who mounted may.
    #[error("{} cannot be unmounted: {reason}", path.display())]
    Failed {
        /// The mountpoint.
        path: PathBuf,
        /// What the kernel or `fusermount3` says.
        reason: String,
    },
}

/// Unmounts what is at `mountpoint`, which [`crate::mountinfo::resolve`] gave. With `lazy`, it goes out of sight at once
/// and ends when the last program lets go of it.
pub fn unmount(mountpoint: &Path, lazy: bool) -> Result<(), UnmountError> {
    let failed = |reason: String| UnmountError::Failed { path: mountpoint.to_owned(), reason };
    let flags = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    match umount2(mountpoint, flags | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => return Ok(()),
        // Another has done it since it was looked for.
        Err(Errno::EINVAL) => return Ok(()),
        Err(Errno::EBUSY) => return Err(UnmountError::Busy(mountpoint.to_owned())),
        // Not root: its helper may.
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(failed(errno.desc().to_owned())),
    }
    let Some(helper) = fusermount() else { return Err(failed("fusermount3 is missing; install fuse3".to_owned())) };
    let output = Command::new(helper)
        .args(if lazy { ["-u", "-z"].as_slice() } else { &["-u"] })
        .arg("--")
        .arg(mountpoint)
        .stdin(Stdio::null())
        // The text of its errors is looked at.
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if reason.contains("busy") { Err(UnmountError::Busy(mountpoint.to_owned())) } else { Err(failed(reason)) }
}

/// The setuid helper with which users mount and unmount.
pub(super) fn fusermount() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("FUSERMOUNT_PATH") {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders: Vec<_> = std::env::split_paths(&path).chain(usual).collect();
    ["fusermount3", "fusermount"].iter().find_map(|name| {
        let file = |folder: &PathBuf| folder.join(OsStr::new(name));
        folders.iter().map(file).find(|file| file.is_file())
    })
}
