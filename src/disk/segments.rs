//! The files that hold the payload: one process appends to a segment, under its lock; everybody reads it, by `pread`,
//! because reading a mapped file that somebody truncates ends the process.

use std::{
    fs::{File, OpenOptions},
    io,
    num::NonZeroUsize,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use lru::LruCache;
use parking_lot::Mutex;

use super::{
    reader::{FileReader, LoadedPart, is_linked},
    record,
    scratch::Scratch,
};
use crate::lock::{Lock, try_lock};
use crate::store::COMPUTED;

/// Files held open for reading.
const HELD_OPEN: NonZeroUsize = NonZeroUsize::new(128).unwrap();
const SUFFIX: &str = ".segment";
/// Segments with this number and those above hold what was computed.
const FIRST_COMPUTED: i64 = 1 << 62;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// What was fetched.
    Fetched,
    /// What was computed, which costs more to have again.
    Computed,
}

impl SegmentKind {
    /// Of an object by its name.
    pub fn of(object: &str) -> Self {
        if object.starts_with(COMPUTED) { SegmentKind::Computed } else { SegmentKind::Fetched }
    }

    /// Of a segment by its number.
    pub fn of_segment(id: i64) -> Self {
        if SegmentKind::Computed.numbers().contains(&id) { SegmentKind::Computed } else { SegmentKind::Fetched }
    }

    /// The numbers of its segments.
    fn numbers(self) -> Range<i64> {
        match self {
            SegmentKind::Fetched => 1..FIRST_COMPUTED,
            SegmentKind::Computed => FIRST_COMPUTED..i64::MAX,
        }
    }
}

/// The segments of a folder.
pub struct SegmentFiles {
    folder: PathBuf,
    open: Mutex<LruCache<i64, Arc<FileReader>>>,
    scratch: Scratch,
}

/// A segment this process appends to, locked against the others.
pub struct Active {
    /// Its number.
    pub id: i64,
    /// Where the next record goes.
    pub end: u64,
    /// Where the segment is full.
    pub capacity: u64,
    file: File,
}

/// A segment that nobody appends to, locked where the filesystem has locks. To remove it does no harm to whoever appends
/// to it without one: it finds its file gone and takes another.
pub struct Idle {
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was written last, in milliseconds since 1970.
    pub written: i64,
    path: PathBuf,
    file: File,
    is_locked: bool,
}

/// The number a file name stands for, if it is a segment's.
pub fn number(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = i64::from_str_radix(digits, 16).ok()?;
    (format!("{number:016x}") == digits).then_some(number)
}

impl SegmentFiles {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: Mutex::new(LruCache::new(HELD_OPEN)), scratch: Scratch::default() }
    }

    pub fn path(&self, id: i64) -> PathBuf {
        self.folder.join(format!("{id:016x}{SUFFIX}"))
    }

    /// The numbers of the segments in the folder.
    pub fn list(&self) -> io::Result<Vec<i64>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            found.extend(entry?.file_name().to_str().and_then(number));
        }
        Ok(found)
    }

    /// Creates a segment under a number nobody has, which says what it is for.
    pub fn create(&self, capacity: u64, kind: SegmentKind) -> io::Result<Active> {
        loop {
            let id = rand::random_range(kind.numbers());
            let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path(id));
            match made {
                Ok(file) => match try_lock(&file) {
                    Ok(Lock::Held | Lock::Unsupported) => return Ok(Active { id, end: 0, capacity, file }),
                    // Taken for litter by another process between the two calls.
                    Ok(Lock::Taken) => continue,
                    Err(reason) => {
                        self.remove(id);
                        return Err(reason);
                    }
                },
                Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(reason) => return Err(reason),
            }
        }
    }

    /// A segment that nobody appends to, locked for as long as the result lives; `None` when somebody does, or when
    /// there is no such file that could be written. Where there are no locks, somebody may append to it all the same.
    pub fn idle(&self, id: i64) -> Option<Idle> {
        let path = self.path(id);
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        let is_locked = match try_lock(&file).ok()? {
            Lock::Taken => return None,
            lock => lock == Lock::Held,
        };
        let known = file.metadata().ok().filter(|known| known.nlink() > 0)?;
        Some(Idle { bytes: known.len(), written: known.mtime().saturating_mul(1000), path, file, is_locked })
    }

    /// Reads a record of `length` bytes from `offset` on. `once`: whoever asks wants all of it, and will not ask again.
    pub fn read(&self, id: i64, offset: u64, length: usize, once: bool) -> io::Result<LoadedPart<'_>> {
        let held = self.open.lock().get(&id).cloned();
        let reader = match held {
            Some(reader) => reader,
            None => {
                let reader = Arc::new(FileReader::open(&self.path(id))?);
                self.open.lock().put(id, reader.clone());
                reader
            }
        };
        reader.read(offset, length, once, &self.scratch)
    }

    /// Removes a segment.
    pub fn remove(&self, id: i64) {
        self.open.lock().pop(&id);
        let _ = std::fs::remove_file(self.path(id));
    }

    /// Closes the files that others have removed, whose bytes would be kept on the disk by us.
    pub fn close_removed(&self) {
        let held: Vec<_> = self.open.lock().iter().map(|(id, reader)| (*id, reader.clone())).collect();
        for (id, reader) in held {
            if !reader.is_there() {
                self.open.lock().pop(&id);
            }
        }
    }
}

impl Active {
    /// Appends a record and returns its offset. What a failure leaves is behind the end, and is written over.
    pub fn append(&mut self, header: &[u8], payload: &[u8]) -> io::Result<u64> {
        let offset = self.end;
        self.file.write_all_at(header, offset)?;
        let start = offset + header.len() as u64;
        self.file.write_all_at(payload, start)?;
        self.end = start + payload.len() as u64;
        Ok(offset)
    }

    /// May `bytes` more be appended?
    pub fn fits(&self, bytes: usize) -> bool {
        self.end.checked_add(bytes as u64).is_some_and(|end| end <= self.capacity)
    }

    /// Is the file still in its folder?
    pub fn is_there(&self) -> bool {
        is_linked(&self.file)
    }

    /// Gives back what a failed append may have taken.
    pub fn trim(&self) {
        let _ = self.file.set_len(self.end);
    }
}

impl Idle {
    /// Goes on appending from `end` on; `None` where the rest cannot be cut off, or another may append to it as well.
    pub fn adopt(self, id: i64, end: u64, capacity: u64) -> Option<Active> {
        if !self.is_locked {
            return None;
        }
        self.file.set_len(end).ok()?;
        Some(Active { id, end, capacity, file: self.file })
    }

    /// Removes the file while it is locked.
    pub fn remove(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(reason) if reason.kind() != io::ErrorKind::NotFound => Err(reason),
            _ => Ok(()),
        }
    }

    /// The records from the first on, with their offsets, up to the end or the first damaged header.
    pub fn records(&self) -> Vec<(u64, record::DiskRecord)> {
        let mut found = Vec::new();
        let mut offset = 0;
        while let Some(record) = self.record(offset) {
            let length = record::header_length(&record.object, &record.version) + record.length;
            let next = offset + length as u64;
            if next > self.bytes {
                break;
            }
            found.push((offset, record));
            offset = next;
        }
        found
    }

    fn record(&self, offset: u64) -> Option<record::DiskRecord> {
        // Most headers are read by one call.
        let mut bytes = vec![0; usize::try_from(self.bytes.checked_sub(offset)?.min(512)).ok()?];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        let length = record::promised_length(&bytes)?;
        if length > bytes.len() {
            bytes.resize(length, 0);
            self.file.read_exact_at(&mut bytes, offset).ok()?;
        }
        record::parse(&bytes)
    }
}
