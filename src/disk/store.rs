//! What the handles and the writing thread share: the index in use, the segments, and what was asked for but is not
//! yet in the files.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

use super::{
    folder,
    index::{DiskIndex, is_damage},
    queries::{self, ExtentRow, VersionPart},
    queue::{Change, Queue},
    record,
    segments::SegmentFiles,
    types::{DiskError, FolderAccess},
};
use crate::lock::UNSUPPORTED;
use crate::ranges::{common, joined};

/// The shared part of a store.
pub struct DiskStore {
    pub folder: PathBuf,
    pub bound: u64,
    pub access: FolderAccess,
    pub segments: SegmentFiles,
    pub queue: Queue,
    index: RwLock<Option<Arc<DiskIndex>>>,
    /// Was an index put in use whose segments nobody has looked at yet?
    pub unswept: AtomicBool,
    asked: Mutex<Asked>,
    used: Mutex<HashMap<i64, i64>>,
    warned: AtomicBool,
    unreadable: AtomicBool,
    silent: AtomicBool,
    /// Why nothing is written for a while.
    trouble: Mutex<Option<String>>,
}

/// What was asked for and is not in the index yet, by object, each with the sequence it was asked at.
#[derive(Default)]
struct Asked {
    sequence: u64,
    metadata: HashMap<i64, (u64, Option<Bytes>)>,
    forgotten: BTreeMap<VersionPart, u64>,
}

impl Asked {
    /// What of an object is to be forgotten.
    fn of(&self, object: i64) -> impl Iterator<Item = VersionPart> {
        let all = VersionPart { object, bytes: None };
        self.forgotten.range(all..).map(|(part, _)| *part).take_while(move |part| part.object == object)
    }
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl DiskStore {
    pub fn open(folder: PathBuf, bound: u64) -> Result<Self, DiskError> {
        let access = folder::prepare(&folder)?;
        let store = Self {
            segments: SegmentFiles::new(&folder),
            folder,
            bound,
            access,
            queue: Queue::default(),
            index: RwLock::default(),
            unswept: AtomicBool::new(true),
            asked: Mutex::default(),
            used: Mutex::default(),
            warned: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            trouble: Mutex::default(),
        };
        if access == FolderAccess::ReadOnly && folder::is_closed_to_us(&store.folder) {
            let folder = store.folder.display();
            tracing::warn!(
                "the files of the cache in {folder} cannot be opened; let their owner run `chmod -R a+rX {folder}`"
            );
        }
        if access == FolderAccess::ReadWrite && !folder::has_locks(&store.folder) {
            tracing::warn!(
                "{}: {UNSUPPORTED}: the cache there is kept without them, so use it from one process at a time",
                store.folder.display()
            );
        }
        // A disk that is full now may have space later.
        store.reopen().unwrap_or_else(|reason| store.warn(&reason));
        Ok(store)
    }

    /// Says once that there is no cache for now, and why.
    pub fn warn(&self, reason: &dyn std::fmt::Display) {
        let folder = self.folder.display();
        if self.warned.swap(true, Ordering::Relaxed) {
            tracing::debug!("the cache in {folder} cannot be written: {reason}");
        } else {
            tracing::warn!("the cache in {folder} cannot be written, cache writes are paused: {reason}");
        }
    }

    /// Notes why nothing is written for a while, or that it is again.
    pub fn note_trouble(&self, reason: Option<String>) {
        *self.trouble.lock() = reason;
    }

    /// Why nothing is written for a while, where that is so.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Says once that what is kept cannot be read, and why.
    pub fn warn_unreadable(&self, segment: i64, reason: &std::io::Error) {
        let path = self.segments.path(segment);
        if self.unreadable.swap(true, Ordering::Relaxed) {
            tracing::debug!("{}: {reason}", path.display());
        } else {
            tracing::warn!("{} cannot be read now, so what it keeps is fetched: {reason}", path.display());
        }
    }

    /// Says once that the disk does not answer.
    pub fn warn_silent(&self) {
        if !self.silent.swap(true, Ordering::Relaxed) {
            let folder = self.folder.display();
            tracing::warn!("the cache in {folder} does not answer; what it keeps is fetched until it does");
        }
    }

    /// The index in use, if there is any.
    pub fn index(&self) -> Option<Arc<DiskIndex>> {
        self.index.read().clone()
    }

    /// Puts the folder's index in use, a new one where there is none.
    pub fn reopen(&self) -> Result<(), DiskError> {
        let mut index = self.index.write();
        if index.as_ref().is_some_and(|index| index.is_current()) {
            return Ok(());
        }
        *index = None;
        // Somebody may have removed the whole folder.
        if self.access == FolderAccess::ReadWrite {
            folder::prepare(&self.folder)?;
        }
        *index = folder::index(&self.folder, self.access)?.map(Arc::new);
        self.unswept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a damaged index out of use.
    pub fn retire(&self, damaged: &DiskIndex) -> Result<(), DiskError> {
        if self.access == FolderAccess::ReadOnly {
            return Ok(());
        }
        tracing::info!("{}: damaged, made anew from the segments", damaged.path().display());
        folder::retire(&self.folder, damaged)?;
        self.reopen()
    }

    /// The answer of the index; nothing where it was damaged, for what it held is lost.
    fn ask<T: Default>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DiskError> {
        let Some(index) = self.index() else {
            return match self.access {
                FolderAccess::ReadWrite => Err(folder::no_index(&self.folder)),
                FolderAccess::ReadOnly => Ok(T::default()),
            };
        };
        index.read(query).or_else(|reason| {
            tracing::debug!("{}: {reason}", index.path().display());
            if !is_damage(&reason) {
                return Err(folder::index_error(index.path(), reason));
            }
            self.retire(&index).unwrap_or_else(|reason| self.warn(&reason));
            Ok(T::default())
        })
    }

    pub fn rows(&self, object: i64, version: i64, range: &Range<u64>) -> Vec<ExtentRow> {
        if range.is_empty() {
            return Vec::new();
        }
        // Looked at before the index is: what is forgotten there by then is not asked for any more.
        let forgotten: Vec<VersionPart> = self.asked.lock().of(object).collect();
        if forgotten.iter().any(|part| part.bytes.is_none()) {
            return Vec::new();
        }
        let mut rows = self.ask(|connection| queries::rows_of(connection, object, version, range)).unwrap_or_default();
        rows.retain(|row| !forgotten.iter().any(|part| part.touches(object, version, &row.range())));
        rows
    }

    pub fn covered(&self, object: &str, version: &str, range: &Range<u64>) -> Vec<Range<u64>> {
        let rows = self.rows(record::hash(object), record::hash(version), range);
        joined(rows.iter().map(|row| common(&row.range(), range)), 0)
    }

    pub fn metadata(&self, object: &str) -> Result<Option<Bytes>, DiskError> {
        let hash = record::hash(object);
        let asked = self.asked.lock();
        if let Some((_, kept)) = asked.metadata.get(&hash) {
            return Ok(kept.as_ref().and_then(|kept| record::unbound(object, kept)));
        }
        if asked.of(hash).any(|part| part.bytes.is_none()) {
            return Ok(None);
        }
        drop(asked);
        let kept = self.ask(|connection| queries::metadata(connection, hash))?;
        Ok(kept.and_then(|kept| record::unbound(object, &kept)))
    }

    pub fn set_metadata(&self, object: &str, metadata: &[u8]) {
        let metadata = record::bound(object, metadata);
        let mut asked = self.asked.lock();
        asked.sequence += 1;
        let sequence = asked.sequence;
        // Under the lock, so that the sequences are queued in their order.
        if self.queue.push(Change::SetMetadata { object: object.to_owned(), metadata: metadata.clone(), sequence }) {
            asked.metadata.insert(record::hash(object), (sequence, Some(metadata)));
        }
    }

    pub fn forget(&self, object: &str) {
        let mut asked = self.asked.lock();
        asked.sequence += 1;
        let sequence = asked.sequence;
        let part = VersionPart::all(object);
        asked.metadata.insert(part.object, (sequence, None));
        asked.forgotten.insert(part, sequence);
        self.queue.push(Change::Forget { part, sequence });
    }

    pub fn forget_range(&self, object: &str, version: &str, range: &Range<u64>) {
        let mut asked = self.asked.lock();
        asked.sequence += 1;
        let sequence = asked.sequence;
        let part =
            VersionPart { object: record::hash(object), bytes: Some((record::hash(version), range.start, range.end)) };
        asked.forgotten.insert(part, sequence);
        self.queue.push(Change::Forget { part, sequence });
    }

    /// The index has the metadata of that sequence, or never will.
    pub fn metadata_is_settled(&self, object: i64, sequence: u64) {
        let mut asked = self.asked.lock();
        if asked.metadata.get(&object).is_some_and(|(latest, _)| *latest == sequence) {
            asked.metadata.remove(&object);
        }
    }

    /// The index has forgotten what it was asked to at that sequence.
    pub fn is_forgotten(&self, part: VersionPart, sequence: u64) {
        self.metadata_is_settled(part.object, sequence);
        let mut asked = self.asked.lock();
        if asked.forgotten.get(&part) == Some(&sequence) {
            asked.forgotten.remove(&part);
        }
    }

    /// Notes that a segment was used.
    pub fn note_use(&self, segment: i64) {
        self.used.lock().insert(segment, now());
    }

    /// When which segment was used since this was asked last.
    pub fn take_uses(&self) -> HashMap<i64, i64> {
        std::mem::take(&mut self.used.lock())
    }
}
