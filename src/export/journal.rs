//! The bytes of blocks as they were fetched, in files beside the export: neither what memory could not hold nor what an
//! interrupted export had fetched is fetched twice. A file goes when no block in it is needed any more.
//!
//! ```text
//!  0  header's check   u32, CRC-32C of the rest of the header
//!  4  bytes' check     u32, CRC-32C
//!  8  length           u64
//! 16  block            u64 × 3, along z, y, x
//! 40  bytes
//! ```
//! Numbers are little-endian. A block without bytes is one that the origin does not have.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::geometry::CellIndex;

/// Bytes of a record before those of the block.
const HEADER: usize = 40;
/// Bytes after which the next file is begun.
const LONGEST: u64 = 64 << 20;

/// The fetched blocks of one array.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    state: Mutex<State>,
    /// The file that is written, once there is one. Held while it is written, so that files have no gaps.
    writing: Mutex<Option<Writing>>,
}

#[derive(Debug)]
struct Writing {
    number: u32,
    file: Arc<File>,
    end: u64,
}

#[derive(Debug, Default)]
struct State {
    blocks: HashMap<CellIndex, Place>,
    files: BTreeMap<u32, Segment>,
    /// Number of the file that is written now or next; those before it go when they are not needed.
    last: u32,
}

/// Where the bytes of a block are.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u32,
    start: u64,
    length: u64,
    check: u32,
}

#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    /// Blocks in it that are still needed.
    needed: u64,
}

impl Journal {
    /// What is in a folder, which is made where it is missing.
    pub(super) fn open(folder: PathBuf) -> io::Result<Journal> {
        fs::create_dir_all(&folder)?;
        let mut state = State::default();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(number) => state.read(number, File::open(entry.path())?)?,
                None => fs::remove_file(entry.path())?,
            }
        }
        // One that a killed process has written may end anywhere, so none is gone on with.
        state.last = state.files.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        let journal = Journal { folder, state: Mutex::new(state), writing: Mutex::new(None) };
        journal.retain(|_| true);
        Ok(journal)
    }

    /// Whether a block may be there.
    pub(super) fn has(&self, block: CellIndex) -> bool {
        self.state.lock().blocks.contains_key(&block)
    }

    /// The bytes of a block; `None` where they are not there or damaged.
    pub(super) fn get(&self, block: CellIndex) -> Option<Bytes> {
        let (place, file) = {
            let state = self.state.lock();
            let place = *state.blocks.get(&block)?;
            (place, state.files.get(&place.segment)?.file.clone())
        };
        // That the file is so long was seen before memory is taken.
        let mut bytes = vec![0; usize::try_from(place.length).ok()?];
        file.read_exact_at(&mut bytes, place.start).ok()?;
        (crc32c::crc32c(&bytes) == place.check).then(|| bytes.into())
    }

    /// Keeps blocks. Waits for the disk.
    pub(super) fn put(&self, blocks: &[(CellIndex, Bytes)]) -> io::Result<()> {
        let mut records = Vec::with_capacity(blocks.iter().map(|(_, bytes)| HEADER + bytes.len()).sum());
        let mut places = Vec::with_capacity(blocks.len());
        for (block, bytes) in blocks {
            let check = crc32c::crc32c(bytes);
            records.extend(header(*block, bytes.len() as u64, check));
            places.push((*block, records.len() as u64, bytes.len() as u64, check));
            records.extend_from_slice(bytes);
        }
        let mut writing = self.writing.lock();
        let now = match &mut *writing {
            Some(now) => now,
            None => writing.insert(self.begin()?),
        };
        let first = now.end;
        // What a failure leaves is written over.
        now.file.write_all_at(&records, first)?;
        now.end += records.len() as u64;
        let (segment, is_full) = (now.number, now.end >= LONGEST);
        let mut state = self.state.lock();
        let places = places.into_iter().map(|(block, start, length, check)| {
            let start = first + start;
            (block, Place { segment, start, length, check })
        });
        let emptied: Vec<u32> = places.filter_map(|(block, place)| state.add(block, place)).collect();
        if is_full {
            state.last = segment.saturating_add(1);
            *writing = None;
        }
        drop(state);
        drop(writing);
        self.remove(&emptied);
        Ok(())
    }

    /// The next file.
    fn begin(&self) -> io::Result<Writing> {
        let number = self.state.lock().last;
        let path = path(&self.folder, number);
        let file = Arc::new(File::options().read(true).write(true).create(true).truncate(true).open(path)?);
        self.state.lock().files.insert(number, Segment { file: file.clone(), needed: 0 });
        Ok(Writing { number, file, end: 0 })
    }

    /// Drops a block that is not needed any more, or damaged.
    pub(super) fn release(&self, block: CellIndex) {
        let emptied = self.state.lock().drop_block(block);
        self.remove(emptied.as_slice());
    }

    /// Drops the blocks that are not needed.
    pub(super) fn retain(&self, needed: impl Fn(CellIndex) -> bool) {
        let mut state = self.state.lock();
        let others: Vec<CellIndex> = state.blocks.keys().copied().filter(|block| !needed(*block)).collect();
        let mut emptied: Vec<u32> = others.into_iter().filter_map(|block| state.drop_block(block)).collect();
        let last = state.last;
        emptied.extend(state.files.extract_if(.., |number, file| *number != last && file.needed == 0).map(|(n, _)| n));
        drop(state);
        self.remove(&emptied);
    }

    fn remove(&self, files: &[u32]) {
        for number in files {
            // What stays behind goes with the folder.
            let _ = fs::remove_file(path(&self.folder, *number));
        }
    }
}

impl State {
    /// Takes what a file has, up to its end or to what is no record.
    fn read(&mut self, number: u32, file: File) -> io::Result<()> {
        let length = file.metadata()?.len();
        self.files.insert(number, Segment { file: Arc::new(file), needed: 0 });
        let mut at = 0;
        while let Some(segment) = self.files.get(&number) {
            let mut header = [0; HEADER];
            if segment.file.read_exact_at(&mut header, at).is_err() {
                break;
            }
            let Some((block, bytes, check)) = parse(&header) else { break };
            let start = at + HEADER as u64;
            let Some(end) = start.checked_add(bytes).filter(|end| *end <= length) else { break };
            self.add(block, Place { segment: number, start, length: bytes, check });
            at = end;
        }
        Ok(())
    }

    /// Notes a block, in place of an earlier one; gives the file that is not needed any more.
    fn add(&mut self, block: CellIndex, place: Place) -> Option<u32> {
        if let Some(segment) = self.files.get_mut(&place.segment) {
            segment.needed += 1;
        }
        let earlier = self.blocks.insert(block, place)?;
        self.needed_less(earlier.segment)
    }

    fn drop_block(&mut self, block: CellIndex) -> Option<u32> {
        let place = self.blocks.remove(&block)?;
        self.needed_less(place.segment)
    }

    fn needed_less(&mut self, number: u32) -> Option<u32> {
        let segment = self.files.get_mut(&number)?;
        segment.needed = segment.needed.saturating_sub(1);
        let is_emptied = segment.needed == 0 && number != self.last;
        is_emptied.then(|| self.files.remove(&number)).flatten().map(|_| number)
    }
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(number.to_string())
}

fn header(block: CellIndex, length: u64, check: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[4..8].copy_from_slice(&check.to_le_bytes());
    let numbers = [length, block.0[0], block.0[1], block.0[2]];
    for (place, number) in bytes[8..].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
    let own = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&own.to_le_bytes());
    bytes
}

/// The block, the length of its bytes and their check.
fn parse(header: &[u8; HEADER]) -> Option<(CellIndex, u64, u32)> {
    let (own, rest) = header.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*own) != crc32c::crc32c(rest) {
        return None;
    }
    let (check, numbers) = rest.split_first_chunk::<4>()?;
    let mut numbers = numbers.as_chunks::<8>().0.iter().copied().map(u64::from_le_bytes);
    let length = numbers.next()?;
    let block = CellIndex([numbers.next()?, numbers.next()?, numbers.next()?]);
    Some((block, length, u32::from_le_bytes(*check)))
}

#[cfg(test)]
mod tests;
