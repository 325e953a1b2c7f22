//! On which filesystem of this machine a path is, told without asking that filesystem, which may hang.
//!
//! The filesystem of `/` alone is asked, for symbolic links: where that hangs nothing on the machine goes on.

use std::path::{Path, PathBuf};

use crate::cache::FetchPlace;
use crate::mountinfo::{self, Mount};

/// What was mounted at the start. A path below what is mounted later counts as one of what is around it.
#[derive(Debug)]
pub(super) struct Filesystems(Vec<(PathBuf, FetchPlace)>);

impl Filesystems {
    /// Those that this process sees.
    pub(super) fn now() -> Self {
        // Without the table all paths count as of one filesystem.
        Self::of(mountinfo::mounts().unwrap_or_default())
    }

    fn of(mounts: Vec<Mount>) -> Self {
        Filesystems(mounts.into_iter().map(|mount| (mount.mountpoint, FetchPlace::here(&mount.device))).collect())
    }

    /// The one that `path`, which is absolute, is on. Links on other filesystems than that of `/` count as where they are.
    pub(super) fn place(&self, path: &Path) -> FetchPlace {
        let root = self.around(Path::new("/"));
        self.around(&mountinfo::followed(path, |at| self.around(at) != root))
    }

    /// The one that a path without links is on.
    fn around(&self, path: &Path) -> FetchPlace {
        let around = self.0.iter().filter(|(mountpoint, _)| path.starts_with(mountpoint));
        // Of those at one place the last one is seen.
        let nearest = around.max_by_key(|(mountpoint, _)| mountpoint.as_os_str().len());
        nearest.map_or_else(|| FetchPlace::here("/"), |(_, place)| place.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_what_is_mounted_nearest_and_last() {
        let mountinfo = b"21 1 8:1 / / rw - ext4 /dev/a rw\n\
            30 21 0:40 / /data rw - nfs4 server:/data rw\n\
            31 21 8:2 / /data/my\\040disk rw - ext4 /dev/b rw\n\
            32 21 8:3 / /data/my\\040disk rw - ext4 /dev/c rw\n\
            33 21 8:1 /srv /bound rw - ext4 /dev/a rw\n";
        let filesystems = Filesystems::of(mountinfo::parse(mountinfo));
        let on = |path: &str| filesystems.place(Path::new(path));
        assert_eq!(on("/database/x"), FetchPlace::here("8:1"));
        assert_eq!(on("/data/x"), FetchPlace::here("0:40"));
        assert_eq!(on("/data/my disk/x"), FetchPlace::here("8:3"));
        assert_eq!(on("/bound/x"), on("/x"), "one disk, wherever it is seen");
        assert_eq!(Filesystems::of(vec![]).place(Path::new("/x")), FetchPlace::here("/"));
    }

    #[test]
    fn a_path_by_way_of_a_link_is_on_what_the_link_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &Path| {
            let path = folder.path().join(name);
            std::os::unix::fs::symlink(target, &path).unwrap();
            path
        };
        let mountinfo = b"21 1 8:1 / / rw - ext4 /dev/a rw\n30 21 0:40 / /data rw - nfs4 server:/data rw\n";
        let filesystems = Filesystems::of(mountinfo::parse(mountinfo));
        let (root, data) = (FetchPlace::here("8:1"), FetchPlace::here("0:40"));
        let absolute = link("absolute", Path::new("/data/volumes"));
        let by_way_of_two = link("second", Path::new("./absolute/../x"));
        let round = link("round", Path::new("round"));
        assert_eq!(filesystems.place(&absolute.join("a/b")), data);
        assert_eq!(filesystems.place(&by_way_of_two), data);
        assert_eq!(filesystems.place(&round.join("a")), root);
        assert_eq!(filesystems.place(&folder.path().join("none/a")), root);
    }
}
