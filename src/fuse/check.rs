//! What stands in the way of a mount, found before it is tried, so that the reason says what to do.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, User, access, geteuid};

use super::session::MountError;
use super::stage::gives_way;
use super::unmount::fusermount;
use crate::mountinfo::{self, MountState};

const DEVICE: &str = "/dev/fuse";
const SETTINGS: &str = "/etc/fuse.conf";

/// Looks for what stands in the way of a mount at `mountpoint` and gives back its full path. A mount of the user's own
/// whose emfs has died does not stand in the way: [`super::mount`] replaces it.
pub fn check(mountpoint: &Path, allow_other: bool) -> Result<PathBuf, MountError> {
    let Free { path, dead } = free_directory(mountpoint)?;
    device()?;
    if !geteuid().is_root() {
        if fusermount().is_none() {
            return Err(MountError::NoHelper);
        }
        if has_no_name(geteuid()) {
            return Err(MountError::NoName(geteuid().as_raw()));
        }
        // A dead one answers nothing of that kind; fusermount3 will, once it has given way.
        if !dead && access(&path, AccessFlags::W_OK).is_err() {
            return Err(MountError::NotWritable(path));
        }
        if allow_other && !others_allowed(&std::fs::read_to_string(SETTINGS).unwrap_or_default()) {
            return Err(MountError::OthersNotAllowed);
        }
    }
    Ok(path)
}

/// Where a mount can be.
#[derive(Debug, PartialEq)]
pub(super) struct Free {
    pub(super) path: PathBuf,
    /// Whether a mount that has died is there and gives way.
    pub(super) dead: bool,
}

pub(super) fn free_directory(mountpoint: &Path) -> Result<Free, MountError> {
    let given = || mountpoint.to_owned();
    let unreadable = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => MountError::Missing(given()),
        _ => MountError::Unreadable { path: given(), reason: error.to_string() },
    };
    if let Err(error) = mountinfo::mounts() {
        let reason = format!("the table of mounts, /proc/self/mountinfo, cannot be read ({error}); mount /proc");
        return Err(MountError::Failed { path: given(), reason });
    }
    let path = mountinfo::resolve(mountpoint).map_err(unreadable)?;
    if let Some(mount) = mountinfo::at(&path).map_err(unreadable)? {
        if mount.is_emfs() {
            return Err(match mount.state() {
                state if gives_way(&mount, state) => return Ok(Free { path, dead: true }),
                MountState::Alive => MountError::Mounted(path),
                MountState::Dead => MountError::Dead(path),
                MountState::Silent => MountError::Silent(path),
            });
        }
        if mount.kind.starts_with("fuse") {
            return Err(MountError::Taken { path, kind: mount.kind });
        }
    }
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Err(MountError::NotDirectory(path));
    }
    match path.read_dir().map_err(unreadable)?.next() {
        None => Ok(Free { path, dead: false }),
        Some(_) => Err(MountError::NotEmpty(path)),
    }
}

pub(super) fn device() -> Result<(), MountError> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {
            Err(MountError::NoDevice)
        }
        Err(error) => Err(MountError::DeviceDenied(error.to_string())),
    }
}

/// Whether it is certain that a user has no name. A directory service that cannot be asked now leaves it open.
fn has_no_name(user: Uid) -> bool {
    matches!(User::from_uid(user), Ok(None))
}

fn others_allowed(settings: &str) -> bool {
    settings.lines().any(|line| line.trim() == "user_allow_other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountpoint_must_be_an_empty_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        assert_eq!(free_directory(&path).unwrap(), Free { path: path.clone(), dead: false });
        assert!(free_directory(&path.join("none")).unwrap_err().to_string().contains("mkdir -p"));
        std::fs::write(path.join("file"), "").unwrap();
        assert!(free_directory(&path.join("file")).unwrap_err().to_string().contains("is not a directory"));
        assert!(free_directory(&path).unwrap_err().to_string().contains("is not empty"));
    }

    #[test]
    fn a_user_without_a_name_is_told_from_one_with() {
        assert!(has_no_name(Uid::from_raw(2_000_000_011)) && !has_no_name(Uid::from_raw(0)));
    }

    #[test]
    fn the_line_that_lets_others_in_is_found() {
        assert!(others_allowed("# c\n user_allow_other \n"));
        assert!(!others_allowed("#user_allow_other\nmount_max = 10"));
    }
}
