//! A store of byte ranges in a folder: it survives the process, is shared by processes, and is bounded.
//!
//! The payload is in **segments**, files to which one process at a time appends **records**. A record says itself what
//! it is and bears checksums, so whatever befalls the files, what is served is what was kept, or nothing is. The
//! **index** says where the records are; it is made anew from them when it is damaged. One thread of each process
//! writes. What was used longest ago goes, a segment at a time, to stay within the bound.
//!
//! It knows neither formats nor the network: an object is a name, a version is a name, metadata is bytes.

mod cache_use;
mod eviction;
mod folder;
mod index;
mod maintenance;
mod patience;
mod queries;
mod queue;
mod range_store;
mod reader;
mod reading;
mod record;
mod scratch;
mod segments;
mod store;
#[cfg(test)]
mod tests;
mod types;
mod writer;

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::store::Extent;
pub use cache_use::CacheUse;
use patience::Patience;
use queue::Change;
use store::DiskStore;
#[cfg(test)]
pub use tests::locked;
pub use types::{DiskError, FolderAccess, Pruned, Stat, Verified};
use writer::DiskWriter;

/// How long a store may take to open: its index may have to be made anew.
const OPENS: Duration = Duration::from_secs(10);

/// How long the last strokes of the writer may take.
const ENDS: Duration = Duration::from_secs(10);

/// Most bytes of an object's metadata.
pub const MAX_METADATA: usize = 64 << 10;

/// The store. Cheap to clone; when the last clone goes, what is queued is written first.
#[derive(Clone)]
pub struct Disk {
    handle: Arc<Handle>,
}

struct Handle {
    store: Arc<DiskStore>,
    writer: Mutex<Option<JoinHandle<()>>>,
    patience: Patience,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.store.queue.close();
        let writer = self.writer.lock().take();
        // One that hangs is not waited for.
        if self.store.queue.flush()
            && let Some(writer) = writer
        {
            let give_up = Instant::now() + ENDS;
            while !writer.is_finished() && Instant::now() < give_up {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("folder", &self.folder()).finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens the store in `folder`, which is made (0700) where it is missing, with a bound of `size` bytes over all
    /// processes. A damaged store is no error, nor is a full disk or a folder that cannot be written.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &Path, size: u64) -> Result<Self, DiskError> {
        let folder = &std::path::absolute(folder).map_err(|reason| folder::io_error(folder, reason))?;
        let store = Arc::new(DiskStore::open(folder.clone(), size)?);
        let writer = match store.access {
            FolderAccess::ReadWrite => {
                Some(DiskWriter::start(store.clone()).map_err(|reason| folder::io_error(folder, reason))?)
            }
            FolderAccess::ReadOnly => {
                store.queue.abandon();
                None
            }
        };
        let patience = Patience::new().map_err(|reason| folder::io_error(folder, reason))?;
        Ok(Self { handle: Arc::new(Handle { store, writer: Mutex::new(writer), patience }) })
    }

    /// Opens it as [`Disk::open`] does, but does not wait for a filesystem that hangs.
    ///
    /// # Errors
    /// As there, or the filesystem does not answer.
    pub fn open_soon(folder: &Path, size: u64) -> Result<Self, DiskError> {
        let (sender, receiver) = mpsc::channel();
        let opened = folder.to_owned();
        let log = tracing::dispatcher::get_default(Clone::clone);
        let opening = move || {
            let _log = tracing::dispatcher::set_default(&log);
            // Who waited may have gone.
            let _ = sender.send(Self::open(&opened, size));
        };
        let thread = std::thread::Builder::new().name("cache-opener".into()).spawn(opening);
        thread.map_err(|reason| folder::io_error(folder, reason))?;
        receiver.recv_timeout(OPENS).unwrap_or_else(|_| Err(DiskError::Silent(folder.to_owned())))
    }

    /// What comes of reading, if the disk does that soon. Where it hangs, what is kept there is as if it were not.
    pub async fn soon<T: Send + 'static>(&self, read: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        let disk = self.clone();
        let answer = self.handle.patience.read(move || read(&disk)).await;
        if answer.is_none() {
            self.store().warn_silent();
        }
        answer
    }

    /// What the index answers, if the disk does soon.
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&DiskStore) -> T + Send + 'static) -> Option<T> {
        let store = self.handle.store.clone();
        let answer = self.handle.patience.ask(move || question(&store));
        if answer.is_none() {
            self.store().warn_silent();
        }
        answer
    }

    /// Is there a store in `folder`, be it an empty one? Changes nothing.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn is_in(folder: &Path) -> Result<bool, DiskError> {
        folder::holds_store(folder)
    }

    fn store(&self) -> &DiskStore {
        &self.handle.store
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.store().folder
    }

    /// May the folder be written?
    #[must_use]
    pub fn access(&self) -> FolderAccess {
        self.store().access
    }

    /// What is there of `range` of that version of the object: in order, neither overlapping nor touching, verified.
    /// Blocks on the disk.
    #[must_use]
    pub fn read(&self, object: &str, version: &str, range: Range<u64>) -> Vec<Extent> {
        self.store().read(object, version, &range)
    }

    /// The bytes of `parts`, of which each begins where the one before ends, verified, each in memory of its own; `None`
    /// where not all of them are there. Blocks on the disk.
    #[must_use]
    pub fn read_parts(&self, object: &str, version: &str, parts: &[Range<u64>]) -> Option<Vec<Bytes>> {
        self.store().read_parts(object, version, parts)
    }

    /// The parts of `range` that are there, without reading them: in order, neither overlapping nor touching. What is
    /// damaged is found out by reading only. Blocks for microseconds, and for a second once where the disk hangs.
    #[must_use]
    pub fn covered(&self, object: &str, version: &str, range: Range<u64>) -> Vec<Range<u64>> {
        let (object, version) = (object.to_owned(), version.to_owned());
        self.ask(move |store| store.covered(&object, &version, &range)).unwrap_or_default()
    }

    /// Keeps bytes. Never blocks: they are queued, and not kept when the disk is far behind, cannot be written, or they
    /// are there already.
    pub fn write(&self, object: &str, version: &str, start: u64, bytes: Bytes) {
        let (object, version) = (object.to_owned(), version.to_owned());
        self.store().queue.push(Change::Write { object, version, start, bytes });
    }

    /// The metadata kept of an object. Blocks for microseconds, and for a second once where the disk hangs.
    ///
    /// # Errors
    /// Whether there is one cannot be said now: others are changing the index, or the disk fails or hangs.
    pub fn metadata(&self, object: &str) -> Result<Option<Bytes>, DiskError> {
        let object = object.to_owned();
        let answer = self.ask(move |store| store.metadata(&object));
        answer.unwrap_or_else(|| Err(DiskError::Silent(self.folder().to_owned())))
    }

    /// Keeps metadata of at most [`MAX_METADATA`] bytes of an object in place of what there was; what is longer is not
    /// kept. Never blocks; [`Disk::metadata`] gives it at once.
    pub fn set_metadata(&self, object: &str, metadata: Bytes) {
        if metadata.len() <= MAX_METADATA {
            self.store().set_metadata(object, &metadata);
        }
    }

    /// Keeps metadata as [`Disk::set_metadata`] does, but only where there is none when it would be written: it may have been
    /// lost after it was set, or another process may have set newer metadata.
    pub fn restore_metadata(&self, object: &str, metadata: Bytes) {
        if metadata.len() <= MAX_METADATA {
            let metadata = record::bound(object, &metadata);
            self.store().queue.push(Change::Restore { object: object.to_owned(), metadata });
        }
    }

    /// Drops everything of the object: all versions and its metadata. Never blocks; readers of this process find nothing of
    /// it at once, also in a folder that cannot be written.
    pub fn forget(&self, object: &str) {
        self.store().forget(object);
    }

    /// Drops of that version of the object the records that hold bytes of `range`. Never blocks; readers of this process
    /// find nothing of them at once.
    pub fn forget_range(&self, object: &str, version: &str, range: &Range<u64>) {
        self.store().forget_range(object, version, range);
    }

    /// Lets at most `bytes` wait to be written, or a single longer write; without this, 64 MiB, which is also the most.
    pub fn limit_queue(&self, bytes: u64) {
        self.store().queue.limit(bytes);
    }

    /// Waits until what was queued is in the files, or was given up, as it is where the disk hangs.
    pub fn flush(&self) {
        if !self.store().queue.flush() {
            self.store().warn_silent();
        }
    }

    /// Why nothing is kept for a while, where that was found: the disk is full or cannot be written.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.store().trouble()
    }

    /// Bytes that all that is kept may take: the bound, or less where the disk has no room for that. Blocks on the disk.
    #[must_use]
    pub fn room(&self) -> u64 {
        let folder = self.folder();
        let possible = folder::files(folder).ok().zip(folder::usable_bytes(folder).ok());
        let possible = possible.map(|((kept, _), usable)| u64::try_from(i128::from(kept) + usable).unwrap_or(0));
        self.store().bound.min(possible.unwrap_or(u64::MAX))
    }

    /// What the store holds. Blocks on the disk.
    ///
    /// # Errors
    /// The folder or the index cannot be read.
    pub fn stat(&self) -> Result<Stat, DiskError> {
        maintenance::stat(self.store())
    }

    /// Reads and checks everything, drops what is damaged. `progress` is told the bytes done and the bytes in total.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, DiskError> {
        self.flush();
        maintenance::verify(self.store(), progress)
    }

    /// Removes segments, those used longest ago first, until at most `size` bytes are taken. One that a process writes
    /// stays.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn prune(&self, size: u64) -> Result<Pruned, DiskError> {
        self.flush();
        maintenance::prune(self.store(), size)
    }

    #[cfg(test)]
    /// Removes everything that is kept, also by other processes.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn clear(&self) -> Result<(), DiskError> {
        self.flush();
        folder::clear(self.folder())?;
        self.store().reopen()
    }

    /// Removes everything a store has kept in a folder, also where no store can be opened any more, and no file that is
    /// not of a store.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn clear_folder(folder: &Path) -> Result<(), DiskError> {
        folder::clear(folder)
    }
}
