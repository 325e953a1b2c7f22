//! The files that hold the payload: one process appends to a segment, under its lock; everybody reads it, by `pread`,
//! because reading a mapped file that somebody truncates ends the process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, IoSliceMut},
    num::NonZeroUsize,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use lru::LruCache;
use nix::{errno::Errno, sys::uio::preadv};
use parking_lot::Mutex;

use super::record;

/// Files held open for reading.
const HELD_OPEN: NonZeroUsize = NonZeroUsize::new(128).unwrap();
/// Buffers that the system fills in one call at most.
const MOST_BUFFERS: usize = 1024;
/// Bytes asked for in one call at most. From short reads in a row the system learns that the reader goes on: it reads
/// ahead, into ever larger pieces of memory, so that the disk works while bytes are copied. A long read is done as it is
/// told, page by page: measured, 512 KiB at a time take half as long again and more of the processor.
const STEP: usize = 64 << 10;
const SUFFIX: &str = ".segment";

/// The segments of a folder.
pub struct Segments {
    folder: PathBuf,
    open: Mutex<LruCache<i64, Arc<File>>>,
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

/// A segment that nobody appends to, locked.
pub struct Idle {
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was written last, in milliseconds since 1970.
    pub written: i64,
    path: PathBuf,
    file: File,
}

/// The number a file name stands for, if it is a segment's.
pub fn number(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = i64::from_str_radix(digits, 16).ok()?;
    (format!("{number:016x}") == digits).then_some(number)
}

impl Segments {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: Mutex::new(LruCache::new(HELD_OPEN)) }
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

    /// Creates a segment under a number nobody has.
    pub fn create(&self, capacity: u64) -> io::Result<Active> {
        loop {
            let id = rand::random_range(1..i64::MAX);
            let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path(id));
            match made {
                Ok(file) => match file.try_lock() {
                    Ok(()) => return Ok(Active { id, end: 0, capacity, file }),
                    // Taken for litter by another process between the two calls.
                    Err(TryLockError::WouldBlock) => continue,
                    Err(TryLockError::Error(reason)) => {
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
    /// there is no such file that could be written.
    pub fn idle(&self, id: i64) -> Option<Idle> {
        let path = self.path(id);
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        file.try_lock().ok()?;
        let known = file.metadata().ok().filter(|known| known.nlink() > 0)?;
        Some(Idle { bytes: known.len(), written: known.mtime().saturating_mul(1000), path, file })
    }

    /// Fills the buffers, one after the other, with what is there from `offset` on.
    pub fn read(&self, id: i64, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let held = self.open.lock().get(&id).cloned();
        let file = match held {
            Some(file) => file,
            None => {
                let file = Arc::new(File::open(self.path(id))?);
                self.open.lock().put(id, file.clone());
                file
            }
        };
        fill(&file, offset, buffers)
    }

    /// Removes a segment.
    pub fn remove(&self, id: i64) {
        self.open.lock().pop(&id);
        let _ = std::fs::remove_file(self.path(id));
    }

    /// Closes the files that others have removed, whose bytes would be kept on the disk by us.
    pub fn close_removed(&self) {
        let held: Vec<_> = self.open.lock().iter().map(|(id, file)| (*id, file.clone())).collect();
        for (id, file) in held {
            if file.metadata().map_or(true, |known| known.nlink() == 0) {
                self.open.lock().pop(&id);
            }
        }
    }
}

fn fill(file: &File, mut offset: u64, mut buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
    // An empty one at the front would make a call that reads nothing look like the end of the file.
    IoSliceMut::advance_slices(&mut buffers, 0);
    while !buffers.is_empty() {
        let at = i64::try_from(offset).map_err(io::Error::other)?;
        match preadv(file, &mut first(buffers, STEP), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                offset += bytes as u64;
                IoSliceMut::advance_slices(&mut buffers, bytes);
            }
            Err(Errno::EINTR) => {}
            Err(reason) => return Err(reason.into()),
        }
    }
    Ok(())
}

/// The first `bytes` of the buffers, in one call's worth of them.
fn first<'a>(buffers: &'a mut [IoSliceMut<'_>], mut bytes: usize) -> Vec<IoSliceMut<'a>> {
    let mut found = Vec::new();
    for buffer in buffers.iter_mut().take(MOST_BUFFERS) {
        let length = buffer.len().min(bytes);
        bytes -= length;
        found.push(IoSliceMut::new(&mut buffer[..length]));
        if bytes == 0 {
            break;
        }
    }
    found
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
    pub fn has_room(&self, bytes: usize) -> bool {
        self.end.checked_add(bytes as u64).is_some_and(|end| end <= self.capacity)
    }

    /// Is the file still in its folder?
    pub fn is_there(&self) -> bool {
        self.file.metadata().is_ok_and(|known| known.nlink() > 0)
    }

    /// Gives back what a failed append may have taken.
    pub fn trim(&self) {
        let _ = self.file.set_len(self.end);
    }
}

impl Idle {
    /// Goes on appending from `end` on; `None` where the rest cannot be cut off.
    pub fn adopt(self, id: i64, end: u64, capacity: u64) -> Option<Active> {
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
    pub fn records(&self) -> Vec<(u64, record::Record)> {
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

    fn record(&self, offset: u64) -> Option<record::Record> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(32)))]

        #[test]
        fn buffers_of_any_length_are_filled_one_after_the_other(
            offset in 0..1000usize, lengths in prop::collection::vec(prop_oneof![0..3usize, 0..2 * STEP], 0..6), missing in 0..2usize,
        ) {
            let total: usize = lengths.iter().sum();
            let there: Vec<u8> = (0..(offset + total).saturating_sub(missing)).map(|at| (at / 7) as u8).collect();
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().write_all_at(&there, 0).unwrap();
            let mut filled: Vec<Vec<u8>> = lengths.iter().map(|length| vec![0; *length]).collect();
            let mut buffers: Vec<_> = filled.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let read = fill(file.as_file(), offset as u64, &mut buffers);
            prop_assert_eq!(read.is_ok(), missing == 0 || total == 0);
            if read.is_ok() {
                prop_assert_eq!(filled.concat(), there.get(offset..).unwrap_or_default());
            }
        }
    }
}
