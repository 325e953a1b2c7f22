//! The codec `sharding_indexed` of Zarr v3: which chunks are in which object, and what its index says of them.
//!
//! Format: <https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html>, version 1.0.

use std::ops::Range;

use bytes::Bytes;

use super::codec::{self, BytesCodec, Sizes};
use super::layout::ByteOrder;

/// Bytes of an entry of the index: position and length of a chunk.
const ENTRY: usize = 16;

/// Chunks in a shard: an index of more would be longer than 4 MiB. Real ones have some thousands.
pub(super) const MAX_CHUNKS: u64 = 1 << 18;

/// How the chunks of an array are put together in objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArraySharding {
    /// Chunks of a shard along each axis of the array; their product is at most [`MAX_CHUNKS`].
    pub counts: Vec<u64>,
    /// Numbers of the index from one chunk to the next along each axis of the array.
    pub strides: Vec<u64>,
    /// Numbers of the index from a chunk's position to its length.
    pub length_step: u64,
    /// Where the index is.
    pub location: IndexEnd,
    /// How its numbers are stored.
    pub byte_order: ByteOrder,
    /// Codecs of the index's bytes, all of which keep its length.
    pub codecs: Vec<BytesCodec>,
    /// Lengths of the index along them.
    pub sizes: Sizes,
}

/// Which end of a shard has its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexEnd {
    Start,
    End,
}

/// Where a chunk is by the index of its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ShardEntry {
    Absent,
    At(Range<u64>),
}

impl ArraySharding {
    /// Bytes of the index as it is stored.
    pub fn index_bytes(&self) -> u64 {
        self.sizes.stored()
    }

    /// Whether a wrong bit in the index shows.
    pub fn is_checked(&self) -> bool {
        self.codecs.contains(&BytesCodec::Crc32c)
    }

    /// The shard of a chunk, and where in the decoded index its entry begins.
    pub fn place(&self, chunk: &[u64]) -> (Vec<u64>, u64) {
        let shard = chunk.iter().zip(&self.counts).map(|(index, count)| index / count).collect();
        let within = chunk.iter().zip(&self.counts).zip(&self.strides);
        (shard, within.map(|((index, count), stride)| index % count * stride).sum())
    }

    /// Undoes the codecs of an index.
    pub fn decode(&self, stored: Bytes) -> Result<Bytes, String> {
        codec::decode(stored, &self.codecs, &self.sizes).map_err(|error| error.to_string())
    }

    /// The entry that begins at a place in a decoded index of a shard of `total` bytes.
    pub fn entry(&self, index: &[u8], at: u64, total: Option<u64>) -> Result<ShardEntry, String> {
        let (numbers, _) = index.as_chunks::<{ ENTRY / 2 }>();
        let read = |at: u64| {
            let bytes = *numbers.get(usize::try_from(at).ok()?)?;
            Some(match self.byte_order {
                ByteOrder::Little => u64::from_le_bytes(bytes),
                ByteOrder::Big => u64::from_be_bytes(bytes),
            })
        };
        let entry = read(at).zip(at.checked_add(self.length_step).and_then(read));
        let (start, length) = entry.ok_or_else(|| "it is behind the end of the index".to_owned())?;
        if (start, length) == (u64::MAX, u64::MAX) {
            return Ok(ShardEntry::Absent);
        }
        let end = start.checked_add(length).ok_or_else(|| "it lies beyond 64 bits".to_owned())?;
        // The index is no part of a chunk.
        let (first, last) = match self.location {
            IndexEnd::Start => (self.index_bytes(), total),
            IndexEnd::End => (0, total.map(|total| total.saturating_sub(self.index_bytes()))),
        };
        if start < first || last.is_some_and(|last| end > last) {
            let place = last.map_or_else(String::new, |last| format!(", where chunks are at {first} to {last}"));
            return Err(format!("it is at {start} to {end}{place}"));
        }
        Ok(ShardEntry::At(start..end))
    }

    /// The largest `k` up to `most` for which the chunks of an aligned group of 2ᵏ along each of the axes `axes` follow
    /// each other in the shard in Morton order, x fastest, as far as they are there. Part of a group is then one range, too.
    pub fn contiguous_group_log2(&self, index: &[u8], axes: [usize; 3], most: u32) -> u32 {
        (1..=most).take_while(|edge| self.are_contiguous(index, axes, *edge)).last().unwrap_or(0)
    }

    fn are_contiguous(&self, index: &[u8], axes: [usize; 3], edge: u32) -> bool {
        let counts = axes.map(|axis| self.counts[axis]);
        let strides = axes.map(|axis| self.strides[axis]);
        let side = 1u64 << edge;
        // A group of more than a shard has is in several objects.
        if counts.iter().any(|count| !count.is_multiple_of(side)) {
            return false;
        }
        cells(counts.map(|count| count / side)).all(|group| {
            let mut span: Option<Range<u64>> = None;
            for member in (0..side.pow(3)).map(of_morton) {
                let at = (0..3).map(|axis| (group[axis] * side + member[axis]) * strides[axis]).sum();
                if let Ok(ShardEntry::At(range)) = self.entry(index, at, None) {
                    let before = span.unwrap_or(range.start..range.start);
                    if range.start != before.end {
                        return false;
                    }
                    span = Some(before.start..range.end);
                }
            }
            true
        })
    }
}

/// The cell of a cube at a place in Morton order.
fn of_morton(code: u64) -> [u64; 3] {
    let bits = |first: u32| (0..u64::BITS / 3).map(|bit| (code >> (3 * bit + first) & 1) << bit).sum();
    [bits(2), bits(1), bits(0)]
}

fn cells([z, y, x]: [u64; 3]) -> impl Iterator<Item = [u64; 3]> {
    (0..z).flat_map(move |z| (0..y).flat_map(move |y| (0..x).map(move |x| [z, y, x])))
}

/// Bytes of a decoded index of so many chunks.
pub(super) fn plain_bytes(chunks: u64) -> usize {
    usize::try_from(chunks).unwrap_or(usize::MAX).saturating_mul(ENTRY)
}

#[cfg(test)]
mod tests;
