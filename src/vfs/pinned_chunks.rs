//! Chunks that are being read, and failures that were just told.
//!
//! The kernel reads a chunk in pieces. Once the first piece was answered none of the others may fail, or a reader that
//! asks only once would take a half-filled buffer for data. So a chunk is held from its first answer until each of its
//! bytes was answered once, or until nobody has read it for a while.
//!
//! Where somebody waits for that memory, a chunk gives way whose blocks are all in memory: further pieces are put together
//! from these, without a fetch.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use bytes::Bytes;

use super::Errno;
use super::answer::slice;
use crate::cache::{Held, RecentFailures};
use crate::tree::Inode;
use crate::volume::ChunkKey;

/// How long after its last read a chunk is held.
const HELD: Duration = Duration::from_secs(5);

/// A chunk that was read so short a time ago does not give way: the other pieces of the same read are about to come.
const JUST_READ: Duration = Duration::from_millis(50);

/// What is read as one: a chunk file, or a part of a file that has many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FilePart {
    pub(super) inode: Inode,
    pub(super) number: u64,
}

impl From<Inode> for FilePart {
    fn from(inode: Inode) -> Self {
        FilePart { inode, number: 0 }
    }
}

struct Reading {
    key: ChunkKey,
    /// None once it gave way.
    chunk: Option<Arc<Held>>,
    /// Byte ranges answered so far, disjoint, sorted.
    answered: Vec<(u64, u64)>,
    last: Instant,
}

/// What is known of a chunk that somebody wants to read.
pub(super) enum ChunkState {
    /// It is being read.
    Held(Arc<Held>),
    /// It is being read, and gave way to another.
    GaveWay,
    /// Nobody reads it.
    Nothing,
}

/// What was read or failed lately, by file: a chunk that two stores show is read in pieces in each.
#[derive(Default)]
pub(super) struct PinnedChunks {
    reading: Mutex<HashMap<FilePart, Reading>>,
    failed: RecentFailures<FilePart, Errno>,
}

impl PinnedChunks {
    /// The chunk, if it is held.
    pub(super) fn get(&self, part: FilePart) -> ChunkState {
        match self.reading.lock().get(&part) {
            Some(Reading { chunk: Some(chunk), .. }) => ChunkState::Held(chunk.clone()),
            Some(_) => ChunkState::GaveWay,
            None => ChunkState::Nothing,
        }
    }

    /// Has chunks give way, those first that were read longest ago, until about so many bytes are free. Only those do that
    /// can be made again: `can_be_made`.
    pub(super) fn give_way(&self, bytes: u64, can_be_made: impl Fn(&ChunkKey) -> bool) {
        let mut reading = self.reading.lock();
        let mut idle: Vec<&mut Reading> = reading
            .values_mut()
            .filter(|reading| reading.chunk.is_some() && reading.last.elapsed() >= JUST_READ)
            .collect();
        idle.sort_by_key(|reading| reading.last);
        let (mut freed, mut dropped) = (0, Vec::new());
        for reading in idle {
            if freed >= bytes {
                break;
            }
            if can_be_made(&reading.key)
                && let Some(chunk) = reading.chunk.take()
            {
                freed += chunk.data.len() as u64;
                dropped.push(chunk);
            }
        }
        // They give their bytes back, and wake who waits for them, only after the lock is released.
        drop(reading);
        drop(dropped);
    }

    /// Counts a piece of a chunk as answered that gave way.
    pub(super) fn answered_part(&self, part: FilePart, length: u64, start: u64, end: u64) {
        let mut reading = self.reading.lock();
        let Some(entry) = reading.get_mut(&part) else { return };
        if mark(&mut entry.answered, start, end) {
            entry.last = Instant::now();
        }
        if entry.answered == [(0, length)] {
            reading.remove(&part);
        }
    }

    /// The error of a read that failed a moment ago.
    pub(super) fn failure(&self, part: FilePart) -> Option<Errno> {
        self.failed.get(&part)
    }

    /// Remembers an error for a moment; says whether it is news.
    pub(super) fn fail(&self, part: FilePart, errno: Errno) -> bool {
        self.failed.remember(part, errno)
    }

    /// The next read of what failed tries again.
    pub(super) fn forget_failures(&self) {
        self.failed.clear();
    }

    /// Up to `size` bytes of a chunk from `offset`, which count as answered, and whether by now each byte of it was.
    pub(super) fn answer(
        &self,
        part: FilePart,
        key: &ChunkKey,
        chunk: &Arc<Held>,
        offset: u64,
        size: u32,
    ) -> (Bytes, bool) {
        let bytes = slice(&chunk.data, offset, size);
        let start = offset.min(chunk.data.len() as u64);
        let whole = self.mark(part, key, chunk, start..start + bytes.len() as u64);
        (bytes, whole)
    }

    fn mark(&self, part: FilePart, key: &ChunkKey, chunk: &Arc<Held>, bytes: Range<u64>) -> bool {
        let (start, end) = (bytes.start, bytes.end);
        let mut reading = self.reading.lock();
        let length = chunk.data.len() as u64;
        if start == 0 && end == length && !reading.contains_key(&part) {
            return true;
        }
        let entry = reading.entry(part).or_insert_with(|| Reading {
            key: *key,
            chunk: None,
            answered: Vec::new(),
            last: Instant::now(),
        });
        entry.chunk.get_or_insert_with(|| chunk.clone());
        // Bytes that are read again and again must not hold the others for ever.
        if mark(&mut entry.answered, start, end) {
            entry.last = Instant::now();
        }
        let whole = entry.answered == [(0, length)];
        if whole {
            reading.remove(&part);
        }
        whole
    }

    /// Lets go of what was not read for a while. To be called about every second.
    pub(super) fn sweep(&self) {
        self.reading.lock().retain(|_, reading| reading.last.elapsed() < HELD);
        self.failed.sweep();
    }
}

/// Adds `start..end` to sorted disjoint ranges that do not touch; says whether anything in it is new.
fn mark(ranges: &mut Vec<(u64, u64)>, start: u64, end: u64) -> bool {
    if start >= end || ranges.iter().any(|&(first, last)| first <= start && end <= last) {
        return false;
    }
    let (mut start, mut end) = (start, end);
    ranges.retain(|&(first, last)| {
        let touches = first <= end && start <= last;
        if touches {
            start = start.min(first);
            end = end.max(last);
        }
        !touches
    });
    let at = ranges.partition_point(|&(first, _)| first < start);
    ranges.insert(at, (start, end));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::MemoryBudget;
    use crate::geometry::{LevelIndex, Region, Shape};
    use crate::volume::ChunkGeometry;

    const INODE: FilePart = FilePart { inode: Inode::new(7), number: 0 };

    fn key() -> ChunkKey {
        let region = Region { start: [0; 3], end: [1; 3] };
        ChunkKey { image: 0, geometry: ChunkGeometry { level: LevelIndex(0), region, chunk: Shape([1; 3]) } }
    }

    async fn chunk(bytes: usize) -> Arc<Held> {
        let pool = MemoryBudget::<u8>::new(1 << 20);
        Arc::new(Held::new(Bytes::from(vec![0; bytes]), pool.lease(bytes as u64).await))
    }

    #[tokio::test]
    async fn a_chunk_is_held_until_each_byte_was_answered_once() {
        let (pinned, chunk) = (PinnedChunks::default(), chunk(100).await);
        assert!(!pinned.answer(INODE, &key(), &chunk, 50, 50).1);
        assert!(matches!(pinned.get(INODE), ChunkState::Held(_)));
        assert!(!pinned.answer(INODE, &key(), &chunk, 50, 50).1);
        assert!(matches!(pinned.get(INODE), ChunkState::Held(_)));
        assert!(pinned.answer(INODE, &key(), &chunk, 0, 50).1);
        assert!(matches!(pinned.get(INODE), ChunkState::Nothing));
    }

    #[tokio::test]
    async fn a_chunk_answered_at_once_is_not_held() {
        let (pinned, chunk) = (PinnedChunks::default(), chunk(100).await);
        assert!(pinned.answer(INODE, &key(), &chunk, 0, 100).1);
        assert!(matches!(pinned.get(INODE), ChunkState::Nothing));
    }

    #[tokio::test]
    async fn a_chunk_gives_way_where_it_can_be_made_again_and_counts_as_read_further() {
        let (pinned, chunk) = (PinnedChunks::default(), chunk(100).await);
        pinned.answer(INODE, &key(), &chunk, 0, 50);
        pinned.give_way(1, |_| true);
        assert!(matches!(pinned.get(INODE), ChunkState::Held(_)), "it was read just now");
        pinned.reading.lock().get_mut(&INODE).unwrap().last -= JUST_READ;
        pinned.give_way(1, |_| false);
        assert!(matches!(pinned.get(INODE), ChunkState::Held(_)));
        pinned.give_way(1, |_| true);
        assert!(matches!(pinned.get(INODE), ChunkState::GaveWay));
        pinned.answered_part(INODE, 100, 50, 80);
        assert!(matches!(pinned.get(INODE), ChunkState::GaveWay));
        pinned.answered_part(INODE, 100, 80, 100);
        assert!(matches!(pinned.get(INODE), ChunkState::Nothing));
    }

    #[test]
    fn answered_ranges_melt_together() {
        let mut ranges = Vec::new();
        assert!(mark(&mut ranges, 12, 14) && !mark(&mut ranges, 12, 13));
        for (start, end) in [(10, 20), (30, 40), (5, 5), (0, 5), (18, 31), (5, 10)] {
            mark(&mut ranges, start, end);
        }
        assert_eq!(ranges, [(0, 40)]);
    }
}
