//! Mounting by the kernel itself, where it lets this process do so. `fuser` would leave out the subtype, by which the table
//! of mounts, `findmnt -t fuse.emfs`, backups and `updatedb` tell emfs from other filesystems.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::unistd::{getegid, geteuid};

use crate::mountinfo::NAME;

/// Mounts at `place` and gives back the way to the kernel; `None` where this process may not mount and `fusermount3` has to.
pub(super) fn mount_directly(place: &Path, allow_other: bool) -> io::Result<Option<OwnedFd>> {
    let mode = File::open(place)?.metadata()?.mode();
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let (fd, user, group) = (device.as_raw_fd(), geteuid(), getegid());
    let others = if allow_other { ",allow_other" } else { "" };
    let options = format!("fd={fd},rootmode={mode:o},user_id={user},group_id={group}{others}");
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    let kind = format!("fuse.{NAME}");
    match mount(Some(NAME), place, Some(kind.as_str()), flags, Some(options.as_str())) {
        Ok(()) => Ok(Some(device.into())),
        Err(Errno::EPERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
