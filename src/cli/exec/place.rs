//! Where to mount when nobody says.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid, mkdtemp};

use crate::cli::CliError;
use crate::fuse::own_namespace;
use crate::xdg;

/// Directories that most machines have and few use. Those where root would rather put something come last.
const USUALLY_EMPTY: [&str; 7] = ["/media", "/var/empty", "/srv", "/var/opt", "/var/local", "/opt", "/mnt"];

/// What store names end in. Tools take the first such part of a path for the store.
const STORE: &str = ".zarr";

/// A mountpoint. What was made for it is removed when dropped.
#[derive(Debug)]
pub(super) struct Mountpoint {
    path: PathBuf,
    is_made: bool,
}

impl Mountpoint {
    /// A directory that the caller has named.
    pub fn named(path: &Path) -> Self {
        Mountpoint { path: path.to_owned(), is_made: false }
    }

    /// For a mount that others do not see: a directory that has no use, so that nothing is left of it, however this ends.
    /// `used`: paths that must stay as they are.
    pub fn hidden(used: &[PathBuf]) -> Result<Self, CliError> {
        let candidates = USUALLY_EMPTY.iter().map(PathBuf::from);
        match candidates.filter(|path| is_unused(path, used)).find_map(|path| own_namespace::check(&path).ok()) {
            Some(path) => Ok(Mountpoint { path, is_made: false }),
            None => Mountpoint::made(),
        }
    }

    /// A new temporary directory.
    pub fn made() -> Result<Self, CliError> {
        let folders = xdg::runtime_dir().into_iter().chain([env::temp_dir(), PathBuf::from("/tmp")]);
        let suitable = |folder: &PathBuf| folder.is_absolute() && folder.is_dir() && !is_in_store(folder);
        let mut reason = "there is no directory for temporary files; name a mountpoint with --at".to_owned();
        for folder in folders.filter(suitable) {
            match mkdtemp(&folder.join("emfs-XXXXXX")) {
                Ok(path) => return Ok(Mountpoint { path, is_made: true }),
                Err(errno) => reason = format!("{}: {}; name a mountpoint with --at", folder.display(), errno.desc()),
            }
        }
        Err(CliError::Failed(reason))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the process that takes care of it when the one that made it has been killed.
    pub fn remove(path: &Path) {
        // Fails where something is still mounted there, and where it has been removed.
        let _ = std::fs::remove_dir(path);
    }

    pub fn is_made(&self) -> bool {
        self.is_made
    }
}

impl Drop for Mountpoint {
    fn drop(&mut self) {
        if self.is_made {
            Mountpoint::remove(&self.path);
        }
    }
}

/// Whether nothing that is used is below `path`, or might get there: what a user can write to may be written to.
fn is_unused(path: &Path, used: &[PathBuf]) -> bool {
    let is_writable = !geteuid().is_root() && access(path, AccessFlags::W_OK).is_ok();
    !is_writable && !used.iter().any(|used| used.starts_with(path))
}

fn is_in_store(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_string_lossy().contains(STORE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_made_goes_and_one_that_was_named_stays() {
        let place = Mountpoint::made().unwrap();
        let path = place.path().to_owned();
        assert!(path.is_dir() && path.read_dir().unwrap().next().is_none());
        drop(Mountpoint::named(&path));
        assert!(path.is_dir());
        drop(place);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_used_is_not_mounted_over() {
        let used = [PathBuf::from("/srv/cache/emfs")];
        assert!(!is_unused(Path::new("/srv"), &used));
        assert!(!is_unused(Path::new("/srv/cache"), &used));
        assert!(is_unused(Path::new("/sys"), &used));
    }

    #[test]
    fn a_path_into_a_store_is_found() {
        assert!(is_in_store(Path::new("/data/em.zarr/s0")) && is_in_store(Path::new("/data/a.zarr.tmp")));
        assert!(!is_in_store(Path::new("/data/zarr")));
    }
}
