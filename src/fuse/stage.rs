//! Where a new mount is made, so that who still reads below a mount whose emfs has died meets the dead one or the new
//! one and never the empty directory beneath them.

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::unistd::{geteuid, mkdtemp};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::unmount::unmount;
use crate::mountinfo::{self, Mount, MountState};

/// What the names of folders begin with in which mounts are made.
const FOLDER: &str = "emfs-mount-";

/// Whether `mount`, whose daemon is in that state, can give way to a new one: its emfs has died, it is the user's own, and
/// nobody has mounted anything below it.
pub(super) fn gives_way(mount: &Mount, state: MountState) -> bool {
    let below = |other: Mount| other.mountpoint != mount.mountpoint && other.mountpoint.starts_with(&mount.mountpoint);
    mount.is_emfs()
        && state == MountState::Dead
        && mount.user == Some(geteuid().as_raw())
        && mountinfo::mounts().is_ok_and(|mounts| !mounts.into_iter().any(below))
}

/// The place of a mount that is being made.
#[derive(Debug)]
pub(super) struct Stage {
    mountpoint: PathBuf,
    dead: Option<Mount>,
    /// A folder of its own, from which the mount is moved to the mountpoint; it goes with this.
    folder: Option<PathBuf>,
}

impl Stage {
    /// Chooses the place for a mount at `mountpoint`. Root makes it elsewhere where a dead one has to give way. Others can
    /// only take the dead one away first, so the new one has to follow at once.
    pub fn choose(mountpoint: &Path) -> Result<Self, String> {
        let dead = only_dead(mountpoint)?;
        let mut stage = Stage { mountpoint: mountpoint.to_owned(), dead, folder: None };
        if stage.dead.is_some() && geteuid().is_root() {
            clear_stages();
            let template = std::env::temp_dir().join(format!("{FOLDER}XXXXXX"));
            let folder = mkdtemp(&template).map_err(|errno| format!("{}: {errno}", template.display()))?;
            stage.folder = Some(folder);
        } else if stage.dead.is_some() {
            unmount(mountpoint, true).map_err(|error| error.to_string())?;
        }
        Ok(stage)
    }

    /// Where the mount is to be made.
    pub fn path(&self) -> &Path {
        self.folder.as_deref().unwrap_or(&self.mountpoint)
    }

    /// Whether a dead mount gives way.
    pub fn replaces(&self) -> bool {
        self.dead.is_some()
    }

    /// Brings the mount that was made to its mountpoint. What it gives back is the device number of a dead mount that had to
    /// stay under it.
    pub fn settle(&self) -> Result<Option<String>, String> {
        let (Some(folder), Some(dead)) = (&self.folder, &self.dead) else { return Ok(None) };
        let covered = match put_beneath(folder, &self.mountpoint) {
            Ok(()) => {
                let still_there = mountinfo::all_at(&self.mountpoint)
                    .is_ok_and(|mounts| mounts.iter().any(|mount| mount.device == dead.device));
                if still_there {
                    unmount(&self.mountpoint, true).map_err(|error| error.to_string())?;
                }
                None
            }
            // A kernel before 6.5, or an arrangement of mounts in which it cannot be.
            Err(reason) => {
                tracing::debug!("the new mount covers the dead one: {reason}");
                put_over(folder, &self.mountpoint).map_err(|reason| reason.to_string())?;
                Some(dead.device.clone())
            }
        };
        unmount(folder, true).map_err(|error| error.to_string())?;
        Ok(covered)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Fails only where something is still mounted there.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// The dead mount at `mountpoint` that gives way. Of several, as one that was killed halfway to its place leaves them, the
/// upper ones are taken away first, since only the uppermost can be.
fn only_dead(mountpoint: &Path) -> Result<Option<Mount>, String> {
    let text = |error: std::io::Error| error.to_string();
    loop {
        let dead = mountinfo::at(mountpoint).map_err(text)?.filter(|mount| gives_way(mount, mount.state()));
        let there = mountinfo::all_at(mountpoint).map_err(text)?;
        match there.as_slice() {
            [.., below, _] if dead.is_some() && below.is_emfs() => {
                unmount(mountpoint, true).map_err(|error| error.to_string())?;
            }
            [.., other] if dead.is_none() && other.is_emfs() => {
                return Err("another emfs is mounted there already".to_owned());
            }
            _ => return Ok(dead),
        }
    }
}

/// Takes away what was killed while it was made elsewhere, and died there.
fn clear_stages() {
    let is_stage = |mount: &Mount| {
        let name = mount.mountpoint.file_name().and_then(|name| name.to_str());
        mount.mountpoint.parent() == std::env::temp_dir().canonicalize().ok().as_deref()
            && name.is_some_and(|name| name.starts_with(FOLDER))
    };
    for mount in mountinfo::mounts().unwrap_or_default().into_iter().filter(is_stage) {
        // One that is being made now lives.
        if gives_way(&mount, mount.state()) && unmount(&mount.mountpoint, true).is_ok() {
            let _ = std::fs::remove_dir(&mount.mountpoint);
        }
    }
}

/// Shows what is mounted at `from` also under the mount at `to`.
fn put_beneath(from: &Path, to: &Path) -> rustix::io::Result<()> {
    // A copy, because what lies on a mount that is shared with other namespaces cannot be moved away.
    let copy = open_tree(CWD, from, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_BENEATH;
    move_mount(&copy, "", CWD, to, flags)
}

/// Shows what is mounted at `from` also over the mount at `to`.
pub(super) fn put_over(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}
