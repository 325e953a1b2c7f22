//! Locks on files (flock(2)), also where a filesystem has none: Lustre without the mount option `flock`, some NFS.

use std::fs::{File, TryLockError};
use std::io;

/// What came of trying to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// It is locked until the file is closed.
    Held,
    /// Another has locked it.
    Taken,
    /// This filesystem has no locks.
    Unsupported,
}

/// What a warning says of a place without locks, behind its path.
pub const UNSUPPORTED: &str = "this filesystem has no file locks (flock; on Lustre root can mount it with `-o flock`)";

/// Tries to lock a file against all others.
pub fn try_lock(file: &File) -> io::Result<Lock> {
    outcome(file.try_lock())
}

fn outcome(tried: Result<(), TryLockError>) -> io::Result<Lock> {
    match tried {
        Ok(()) => Ok(Lock::Held),
        Err(TryLockError::WouldBlock) => Ok(Lock::Taken),
        Err(TryLockError::Error(reason)) => match reason.raw_os_error() {
            // The last is what NFS says where its server locks nothing.
            Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK) => Ok(Lock::Unsupported),
            _ => Err(reason),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_locked_by_one_and_taken_for_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::create(folder.path().join("lock")).unwrap();
        let first = open();
        assert_eq!(try_lock(&first).unwrap(), Lock::Held);
        assert_eq!(try_lock(&open()).unwrap(), Lock::Taken);
        drop(first);
        assert_eq!(try_lock(&open()).unwrap(), Lock::Held);
    }

    #[test]
    fn a_filesystem_without_locks_is_no_failure_and_other_failures_are() {
        let failed = |code| outcome(Err(TryLockError::Error(io::Error::from_raw_os_error(code))));
        for code in [libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOLCK] {
            assert_eq!(failed(code).unwrap(), Lock::Unsupported);
        }
        assert_eq!(failed(libc::EIO).unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}
