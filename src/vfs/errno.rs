//! The error numbers that callers get.

use crate::volume::VolumeError;

/// An error number of `libc`, positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// There is no such name.
    pub const NOT_FOUND: Errno = Errno(libc::ENOENT);
    /// The name cannot have anything below it.
    pub const NOT_A_DIRECTORY: Errno = Errno(libc::ENOTDIR);
    /// A directory is not read like a file.
    pub const IS_A_DIRECTORY: Errno = Errno(libc::EISDIR);
    /// The data could not be had.
    pub const IO: Errno = Errno(libc::EIO);
    /// The origin wants credentials.
    pub const ACCESS: Errno = Errno(libc::EACCES);
    /// Too many views are in use.
    pub const TOO_MANY: Errno = Errno(libc::ENFILE);
    /// The inode is none that was handed out.
    pub const STALE: Errno = Errno(libc::ESTALE);
}

impl From<&VolumeError> for Errno {
    fn from(error: &VolumeError) -> Self {
        if error.is_denied() { Errno::ACCESS } else { Errno::IO }
    }
}
