//! The indices of the shards of an image.
//!
//! An index holds the object that it was read from, and chunks are read from the same one: it remembers the version of the
//! file, so that positions of one version are never applied to another.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;

use super::sharding::{ArraySharding, IndexEnd, ShardEntry};
use crate::geometry::CellIndex;
use crate::remote;
use crate::source::indices::{self, Indices, is_given_again};
use crate::source::{Placement, SourceError};
use crate::store::{Object, Remote, Witness};

/// Groups of 8 along each axis are the largest that readers are seen to want.
const MAX_GROUP: u32 = 3;

/// A shard: level and number along `z, y, x`.
pub(super) type Key = (usize, [u64; 3]);

/// An index that was asked for.
#[derive(Debug, Clone)]
enum Index {
    /// There is no such shard, which was borne out last at that time.
    NoShard(SystemTime),
    Shard(Arc<Shard>),
}

#[derive(Debug)]
struct Shard {
    object: Object,
    /// Length of the object, where it is known.
    total: Option<u64>,
    /// The decoded index.
    index: Bytes,
    /// Where it was read, and what, where nothing in it tells whether a bit of it is wrong.
    unchecked: Option<(Range<u64>, Bytes)>,
    /// Whether the origin was seen to give the same again.
    was_given_twice: AtomicBool,
}

impl indices::CachedIndex for Index {
    fn bytes(&self) -> Option<usize> {
        match self {
            // How long that is believed is known elsewhere.
            Index::NoShard(_) => None,
            Index::Shard(shard) => {
                Some(shard.index.len() + shard.unchecked.as_ref().map_or(0, |(_, bytes)| bytes.len()))
            }
        }
    }
}

/// A chunk in a shard.
pub(super) struct Chunk<'a> {
    /// The shard.
    pub key: Key,
    /// Where that is.
    pub location: &'a remote::Location,
    /// How its index is stored.
    pub sharding: &'a ArraySharding,
    /// Where the chunk's entry begins in the index.
    pub entry: u64,
    /// The chunk, for messages.
    pub block: CellIndex,
    /// The axes of the array that are `z, y, x`.
    pub axes: [usize; 3],
    /// Longest chunk that can be valid.
    pub longest: u64,
    /// What bears out that the shard is absent.
    pub witness: &'a Witness,
}

/// The indices of an image.
pub(super) struct ShardIndices {
    remote: Remote,
    indices: Indices<Key, Index>,
    /// By level, in which groups the chunks of the last shard follow each other.
    contiguous_group_log2: Mutex<BTreeMap<usize, u32>>,
}

impl ShardIndices {
    pub fn new(remote: Remote) -> Self {
        let indices = Indices::new(remote.desk());
        ShardIndices { remote, indices, contiguous_group_log2: Mutex::default() }
    }

    /// The largest `k` for which groups of 2ᵏ chunks along each axis of a level lie together, as far as that was seen.
    pub fn contiguous_group_log2(&self, level: usize) -> u32 {
        self.contiguous_group_log2.lock().get(&level).copied().unwrap_or(0)
    }

    /// Where the chunk is.
    pub async fn locate(&self, chunk: Chunk<'_>) -> Result<Placement, SourceError> {
        let shard = match self.indices.get(chunk.key, self.fetch(&chunk)).await? {
            Index::NoShard(confirmed) => return Ok(Placement::Absent { confirmed }),
            Index::Shard(shard) => shard,
        };
        let malformed =
            |reason: String| SourceError::malformed(shard.object.url(), format!("chunk {}", chunk.block), reason);
        match chunk.sharding.entry(&shard.index, chunk.entry, shard.total).map_err(malformed)? {
            ShardEntry::Absent => {
                shard.bears_out().await?;
                Ok(Placement::Absent { confirmed: shard.object.confirmed() })
            }
            ShardEntry::At(range) => {
                let length = range.end - range.start;
                if length == 0 || length > chunk.longest {
                    return Err(malformed(format!("{length} bytes cannot be a chunk")));
                }
                Ok(Placement::Range { object: shard.object.clone(), start: range.start, length })
            }
        }
    }

    async fn fetch(&self, chunk: &Chunk<'_>) -> Result<Index, SourceError> {
        let Chunk { key, location, sharding, witness, .. } = chunk;
        // What is read again must be of the version that was read before.
        let object = match self.indices.peek(key) {
            Some(Index::Shard(shard)) => shard.object.clone(),
            _ => self.remote.object(location)?,
        };
        let length = sharding.index_bytes();
        let fetched = match sharding.location {
            IndexEnd::Start => object.range_if_there(0..length, witness).await?,
            IndexEnd::End => object.end_if_there(length, witness).await?,
        };
        let Some(fetched) = fetched else {
            return Ok(Index::NoShard(witness.knows_absent(&object).unwrap_or_else(SystemTime::now)));
        };
        let malformed = |reason: String| SourceError::malformed(object.url(), "shard index", reason);
        let stored = fetched.bytes;
        if stored.len() as u64 != length {
            return Err(malformed(format!("the file has {} bytes, the index alone {length}", stored.len())));
        }
        let index = sharding.decode(stored.clone()).map_err(malformed)?;
        let start = match (sharding.location, fetched.total) {
            (IndexEnd::Start, _) => 0,
            (IndexEnd::End, Some(total)) => total.saturating_sub(length),
            (IndexEnd::End, None) => return Err(malformed("the length of the file is not told".to_owned())),
        };
        self.contiguous_group_log2.lock().insert(key.0, sharding.contiguous_group_log2(&index, chunk.axes, MAX_GROUP));
        let unchecked = (!sharding.is_checked()).then(|| (start..start.saturating_add(length), stored));
        let total = fetched.total;
        let was_given_twice = AtomicBool::new(false);
        Ok(Index::Shard(Arc::new(Shard { object, total, index, unchecked, was_given_twice })))
    }
}

impl Shard {
    /// Bears out that a chunk which is not in it is absent: a wrong bit must not make it so.
    async fn bears_out(&self) -> Result<(), SourceError> {
        let Some((range, bytes)) = &self.unchecked else { return Ok(()) };
        if !self.was_given_twice.load(Ordering::Acquire) {
            is_given_again(&self.object, range.clone(), bytes, "shard index").await?;
            self.was_given_twice.store(true, Ordering::Release);
        }
        Ok(())
    }
}
