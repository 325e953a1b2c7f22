//! The bytes of blocks as they were fetched, in files beside the export: neither what memory could not hold nor what an
//! interrupted export had fetched is fetched twice. What is not needed any more gives its place on the disk back: pages of
//! a file where the filesystem can do that, and the whole file when nothing in it is needed.
//!
//! ```text
//!  0  header's check   u32, CRC-32C of the rest of the header
//!  4  bytes' check     u32, CRC-32C
//!  8  length           u64
//! 16  block            u64 × 3, along z, y, x
//! 40  bytes
//! ```
//! Numbers are little-endian. That the origin lacks a block is not kept here: it is asked again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::fcntl::{FallocateFlags, fallocate};
use parking_lot::Mutex;

use crate::geometry::CellIndex;

/// Bytes of a record before those of the block.
const HEADER: usize = 40;
/// Fewest bytes whose place can be given back.
const PAGE: u64 = 4096;
/// Bytes after which the next file is begun.
const MAX_FILE: u64 = 64 << 20;

/// The fetched blocks of one array.
#[derive(Debug)]
pub(super) struct BlockFiles {
    folder: PathBuf,
    state: Mutex<State>,
    /// The file that is written, once there is one. Held while it is written, so that files have no gaps.
    writing: Mutex<Option<Writing>>,
}

#[derive(Debug)]
struct Writing {
    number: u32,
    file: File,
    end: u64,
}

#[derive(Debug, Default)]
struct State {
    blocks: HashMap<CellIndex, Place>,
    /// Blocks in each file that are still needed.
    files: BTreeMap<u32, u64>,
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

impl BlockFiles {
    /// What is in a folder, which is made where it is missing.
    pub(super) fn open(folder: PathBuf) -> io::Result<BlockFiles> {
        fs::create_dir_all(&folder)?;
        let mut numbers: Vec<u32> = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(number) => numbers.push(number),
                None => fs::remove_file(entry.path())?,
            }
        }
        // In the order in which they were written, because a block that was damaged is in a later one again.
        numbers.sort_unstable();
        let mut state = State::default();
        for number in &numbers {
            state.read(*number, &File::open(path(&folder, *number))?)?;
        }
        // One that a killed process has written may end anywhere, so none is gone on with.
        state.last = numbers.last().map_or(0, |last| last.saturating_add(1));
        let journal = BlockFiles { folder, state: Mutex::new(state), writing: Mutex::new(None) };
        journal.retain(|_| true);
        Ok(journal)
    }

    /// Whether a block may be there.
    pub(super) fn has(&self, block: CellIndex) -> bool {
        self.state.lock().blocks.contains_key(&block)
    }

    /// The folder, for messages.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bytes of a block; `None` where they are not there or damaged.
    pub(super) fn get(&self, block: CellIndex) -> Option<Bytes> {
        let place = *self.state.lock().blocks.get(&block)?;
        // Many files may be needed for long, so none is held open.
        let file = File::open(path(&self.folder, place.segment)).ok()?;
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
        let (segment, is_full) = (now.number, now.end >= MAX_FILE);
        let mut state = self.state.lock();
        let places = places.into_iter().map(|(block, start, length, check)| {
            let start = first + start;
            (block, Place { segment, start, length, check })
        });
        // An earlier one of the same block was damaged; its file goes with the others in it.
        places.for_each(|(block, place)| state.add(block, place));
        if is_full {
            state.last = segment.saturating_add(1);
            *writing = None;
        }
        Ok(())
    }

    /// The next file.
    fn begin(&self) -> io::Result<Writing> {
        let number = self.state.lock().last;
        let path = path(&self.folder, number);
        let file = File::options().write(true).create(true).truncate(true).open(path)?;
        self.state.lock().files.insert(number, 0);
        Ok(Writing { number, file, end: 0 })
    }

    /// Drops blocks that are not needed any more, or damaged. Waits for the disk.
    pub(super) fn release(&self, blocks: &[CellIndex]) {
        self.free(|state| blocks.iter().filter_map(|block| state.take(*block)).collect());
    }

    /// Drops the blocks that are not needed. Waits for the disk.
    pub(super) fn retain(&self, needed: impl Fn(CellIndex) -> bool) {
        self.free(|state| {
            let others: Vec<CellIndex> = state.blocks.keys().copied().filter(|block| !needed(*block)).collect();
            others.into_iter().filter_map(|block| state.take(block)).collect()
        });
    }

    /// Gives back the place of what `take` takes, and removes files of which nothing is needed. What cannot be given back
    /// goes with the folder.
    fn free(&self, take: impl FnOnce(&mut State) -> Vec<Place>) {
        let (mut taken, emptied) = {
            // Where it is being written, it is needed.
            let writing = self.writing.try_lock();
            let mut state = self.state.lock();
            let taken = take(&mut state);
            if let Some(mut writing) = writing
                && let Some(now) = writing.take_if(|now| state.files.get(&now.number) == Some(&0))
            {
                // The bytes of a file that is removed in time never get to the disk.
                state.last = now.number.saturating_add(1);
            }
            let last = state.last;
            let emptied = state.files.extract_if(.., |number, needed| *number != last && *needed == 0);
            (taken, emptied.map(|(number, _)| number).collect::<BTreeSet<u32>>())
        };
        for number in &emptied {
            let _ = fs::remove_file(path(&self.folder, *number));
        }
        taken.retain(|place| place.length >= PAGE && !emptied.contains(&place.segment));
        taken.sort_by_key(|place| place.segment);
        for part in taken.chunk_by(|a, b| a.segment == b.segment) {
            let Ok(file) = File::options().write(true).open(path(&self.folder, part[0].segment)) else { continue };
            for place in part {
                let (Ok(start), Ok(length)) = (i64::try_from(place.start), i64::try_from(place.length)) else {
                    continue;
                };
                // The headers stay, for they lead from one to the next.
                let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                if fallocate(&file, how, start, length).is_err() {
                    return;
                }
            }
        }
    }
}

impl State {
    /// Takes what a file has, up to its end or to what is no record.
    fn read(&mut self, number: u32, file: &File) -> io::Result<()> {
        let length = file.metadata()?.len();
        self.files.insert(number, 0);
        let (mut at, mut header) = (0, [0; HEADER]);
        while file.read_exact_at(&mut header, at).is_ok() {
            let Some((block, bytes, check)) = parse(&header) else { break };
            let start = at + HEADER as u64;
            let Some(end) = start.checked_add(bytes).filter(|end| *end <= length) else { break };
            self.add(block, Place { segment: number, start, length: bytes, check });
            at = end;
        }
        Ok(())
    }

    /// Notes a block, in place of an earlier one.
    fn add(&mut self, block: CellIndex, place: Place) {
        self.take(block);
        *self.files.entry(place.segment).or_default() += 1;
        self.blocks.insert(block, place);
    }

    fn take(&mut self, block: CellIndex) -> Option<Place> {
        let place = self.blocks.remove(&block)?;
        if let Some(needed) = self.files.get_mut(&place.segment) {
            *needed = needed.saturating_sub(1);
        }
        Some(place)
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
