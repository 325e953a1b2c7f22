//! A segment that is open for reading: records are read by the system's cache or past it.
//!
//! The kernel keeps what a mount answers, so what is read from a segment for that need not be kept a second time, and is
//! read with less work past the system's cache. But others may want the same: several mounts of a machine, or a mount that
//! is made anew. So only a record is read past the cache that is not in it, nor was wanted before: to look whether it is
//! brings the page of its header there, by which the next reader learns that it was wanted.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSliceMut},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::scratch::{ALIGNMENT, Scratch, ScratchPiece};

/// Bytes asked for in one call at most, of the system's cache. From short reads in a row the system learns that the reader
/// goes on: it reads ahead, into ever larger pieces of memory, so that the disk works while bytes are copied. A long read
/// is done as it is told, page by page: measured, 512 KiB at a time take half as long again and more of the processor.
const STEP: usize = 64 << 10;

/// A file open for reading.
pub struct FileReader {
    cached: File,
    /// The same past the system's cache, on a file system that has this.
    direct: Option<File>,
}

/// A part of a file in memory.
pub struct LoadedPart<'a> {
    memory: ScratchPiece<'a>,
    start: usize,
    length: usize,
}

impl LoadedPart<'_> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }
}

impl FileReader {
    pub fn open(path: &Path) -> io::Result<Self> {
        let cached = File::open(path)?;
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).ok();
        Ok(Self { cached, direct })
    }

    /// Is the file still in its folder?
    pub fn is_there(&self) -> bool {
        is_linked(&self.cached)
    }

    /// Reads `length` bytes from `offset` on. `once`: whoever asks wants all of them, and will not ask again.
    pub fn read<'a>(&self, offset: u64, length: usize, once: bool, scratch: &'a Scratch) -> io::Result<LoadedPart<'a>> {
        let start = (offset % ALIGNMENT as u64) as usize;
        let mut memory = scratch.take((start + length).next_multiple_of(ALIGNMENT));
        let direct = self.direct.as_ref().filter(|_| once && !self.is_cached(offset));
        let is_read =
            direct.is_some_and(|file| fill_directly(file, offset - start as u64, start + length, &mut memory));
        if !is_read {
            fill(&self.cached, offset, &mut memory[start..][..length])?;
        }
        Ok(LoadedPart { memory, start, length })
    }

    /// Is the byte at `offset` in the system's cache?
    fn is_cached(&self, offset: u64) -> bool {
        let mut byte = [0];
        let answer = preadv2(&self.cached, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT);
        // A file system that cannot tell is read as usual.
        if answer != Err(Errno::AGAIN) {
            return true;
        }
        // Newer kernels have begun with it.
        let _ = posix_fadvise(&self.cached, offset as i64, 1, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
        false
    }
}

/// Fills the memory from `offset` on, both aligned, with at least `wanted` bytes; says whether it could.
fn fill_directly(file: &File, offset: u64, wanted: usize, memory: &mut [u8]) -> bool {
    let mut at = 0;
    while at < wanted {
        match file.read_at(&mut memory[at..], offset + at as u64) {
            Ok(0) => return false,
            Ok(bytes) => at += bytes,
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

/// Fills the memory with what is there from `offset` on.
fn fill(file: &File, mut offset: u64, mut memory: &mut [u8]) -> io::Result<()> {
    while !memory.is_empty() {
        let (step, rest) = memory.split_at_mut(memory.len().min(STEP));
        file.read_exact_at(step, offset)?;
        offset += step.len() as u64;
        memory = rest;
    }
    Ok(())
}

/// Has the file a name still?
pub fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|known| known.nlink() > 0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;

    const RECORD: usize = 256 << 10;

    fn file_of(bytes: &[u8]) -> NamedTempFile {
        // Folders for temporary files may be memory.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        std::fs::create_dir_all(&folder).unwrap();
        let file = NamedTempFile::new_in(folder).unwrap();
        file.as_file().write_all_at(bytes, 0).unwrap();
        file
    }

    /// Has the system forget what it holds of the file; says whether it did, for some file systems are nothing but memory.
    fn forget(file: &NamedTempFile, reader: &FileReader) -> bool {
        file.as_file().sync_all().unwrap();
        posix_fadvise(file.as_file(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        // Asked about a place that no test reads, for the question brings it there.
        reader.direct.is_some() && !reader.is_cached(2 * RECORD as u64 - 1)
    }

    /// A file of two records that the system holds nothing of; `None` where it holds all.
    fn forgotten() -> Option<(NamedTempFile, FileReader)> {
        let file = file_of(&vec![5; 2 * RECORD]);
        let reader = FileReader::open(file.path()).unwrap();
        if forget(&file, &reader) {
            return Some((file, reader));
        }
        println!("not tested: {} is on a file system that is memory", file.path().display());
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn a_part_is_what_the_file_has_there_however_it_is_read(
            bytes in 0..3 * STEP, offset in 0..2 * STEP, length in prop_oneof![0..9000usize, 0..2 * STEP], once in any::<bool>(), cold in any::<bool>(),
        ) {
            let there: Vec<u8> = (0..bytes).map(|at| (at / 7) as u8).collect();
            let file = file_of(&there);
            let (reader, scratch) = (FileReader::open(file.path()).unwrap(), Scratch::default());
            if cold {
                forget(&file, &reader);
            }
            let part = reader.read(offset as u64, length, once, &scratch).map(|part| part.bytes().to_vec());
            match there.get(offset..offset + length) {
                Some(right) => prop_assert_eq!(part.unwrap(), right),
                None if length == 0 => prop_assert!(part.unwrap().is_empty()),
                None => prop_assert!(part.is_err()),
            }
        }
    }

    #[test]
    fn what_is_wanted_once_is_not_kept_in_memory_and_what_is_wanted_again_is() {
        let Some((file, reader)) = forgotten() else { return };
        let scratch = Scratch::default();
        let middle = RECORD as u64 / 2;
        drop(reader.read(100, RECORD, true, &scratch).unwrap());
        assert!(!reader.is_cached(middle));
        forget(&file, &reader);
        drop(reader.read(100, RECORD, false, &scratch).unwrap());
        assert!(reader.is_cached(middle));
    }

    #[test]
    fn a_record_whose_header_somebody_read_is_read_by_the_cache() {
        let Some((_file, reader)) = forgotten() else { return };
        let scratch = Scratch::default();
        // The page comes by itself.
        let give_up = Instant::now() + Duration::from_secs(60);
        while !reader.is_cached(100) {
            assert!(Instant::now() < give_up);
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(reader.read(100, RECORD, true, &scratch).unwrap());
        assert!(reader.is_cached(RECORD as u64 / 2));
    }
}
