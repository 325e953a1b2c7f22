//! The two indices of a shard. All positions in them count from the end of the shard's index.

use std::ops::Range;

use super::sharding::ENTRY;

/// Bytes of a chunk's entry in the index of a minishard: code, position, length.
const CHUNK_ENTRY: usize = 24;

/// Reads one entry of a shard's index: where the index of a minishard is; `None` where the minishard is empty.
pub(super) fn shard_entry(entry: [u8; ENTRY as usize]) -> Result<Option<Range<u64>>, String> {
    let start = u64_at(&entry, 0).unwrap_or(0);
    let end = u64_at(&entry, 8).unwrap_or(0);
    match start.cmp(&end) {
        std::cmp::Ordering::Less => Ok(Some(start..end)),
        std::cmp::Ordering::Equal => Ok(None),
        std::cmp::Ordering::Greater => Err(format!("it ends at {end}, before its start at {start}")),
    }
}

/// Where the chunks of a minishard are, by their codes, which ascend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Minishard {
    codes: Vec<u64>,
    ranges: Vec<(u64, u64)>,
}

impl Minishard {
    /// Reads the decoded index: codes, positions and lengths one after the other, codes as differences and positions
    /// as differences to the end of the chunk before. A chunk that lies before that one has a difference below zero: what
    /// is beyond 64 bits is left out, as in the sums of other readers.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.len().is_multiple_of(CHUNK_ENTRY) {
            return Err(format!("{} bytes are no whole number of entries", bytes.len()));
        }
        let count = bytes.len() / CHUNK_ENTRY;
        let (mut codes, mut ranges) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let number = |row: usize, column: usize| u64_at(bytes, 8 * (row * count + column)).unwrap_or(0);
        let (mut code, mut end) = (0u64, 0u64);
        for column in 0..count {
            let step = number(0, column);
            if step == 0 && column > 0 {
                return Err(format!("chunk {code} is listed twice"));
            }
            let overflow = || format!("the numbers of entry {column} are beyond 64 bits");
            code = code.checked_add(step).ok_or_else(overflow)?;
            let start = end.wrapping_add(number(1, column));
            let length = number(2, column);
            end = start.checked_add(length).ok_or_else(overflow)?;
            codes.push(code);
            ranges.push((start, length));
        }
        Ok(Minishard { codes, ranges })
    }

    /// Position and length of a chunk, `None` where the minishard does not have it.
    pub fn find(&self, code: u64) -> Option<(u64, u64)> {
        let at = self.codes.binary_search(&code).ok()?;
        self.ranges.get(at).copied()
    }

    /// The codes of its chunks.
    pub fn codes(&self) -> impl Iterator<Item = u64> {
        self.codes.iter().copied()
    }

    /// Memory it takes.
    pub fn bytes(&self) -> usize {
        self.codes.len() * CHUNK_ENTRY
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
#[path = "tests/index.rs"]
mod tests;
