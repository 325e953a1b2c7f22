//! The indices of shards and minishards.
//!
//! A minishard's index holds the object that it was read from, and chunks are read from the same one: it remembers
//! the version of the file, so that positions of one version are never applied to another.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use super::index::{self, Minishard};
use super::morton;
use super::sharding::{ENTRY, ShardEncoding, ShardPlace, VolumeSharding};
use crate::decompress::gunzip;
use crate::remote::Location;
use crate::source::SourceError;
use crate::source::indices::{self, Indices, is_given_again};
use crate::store::{Object, Remote, Witness};

/// Longest index of a shard that is fetched as a whole; of longer ones, entries are fetched one by one.
const WHOLE: u64 = 64 << 10;

/// Longest decoded index of a minishard: 87 000 chunks, where real ones have some hundreds.
const MAX_MINISHARD: u64 = 2 << 20;

/// Which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// Of a shard: level and number.
    Shard(usize, u64),
    /// Of a minishard: level and place.
    Minishard(usize, ShardPlace),
}

/// An index that was asked for.
#[derive(Debug, Clone)]
enum Index {
    /// There is no such shard, which was borne out last at that time.
    NoShard(SystemTime),
    /// The minishard is empty by the index of its shard, which was confirmed last at that time.
    Empty(SystemTime),
    Shard(Arc<Shard>),
    Minishard(Arc<FoundMinishard>),
}

/// A minishard that was asked for.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Its index.
    Found(Arc<FoundMinishard>),
    /// It is empty, or its shard is not there.
    Absent {
        /// When that was borne out last.
        confirmed: SystemTime,
    },
}

#[derive(Debug)]
struct Shard {
    object: Object,
    /// Empty where entries are fetched one by one.
    index: Bytes,
}

/// The index of a minishard and where it is from.
#[derive(Debug)]
pub(super) struct FoundMinishard {
    /// The shard's file.
    pub object: Object,
    /// The chunks in it.
    pub chunks: Minishard,
    /// Where it was read, and what, where nothing in it tells whether a bit of it is wrong.
    unchecked: Option<(Range<u64>, Bytes)>,
    /// Whether the origin was seen to give the same again.
    was_given_twice: AtomicBool,
}

impl FoundMinishard {
    /// Bears out that a chunk which is not in it is absent: a wrong bit must not make it so.
    pub async fn bears_out(&self) -> Result<(), SourceError> {
        let Some((range, bytes)) = &self.unchecked else { return Ok(()) };
        if !self.was_given_twice.load(Ordering::Acquire) {
            is_given_again(&self.object, range.clone(), bytes, "minishard index").await?;
            self.was_given_twice.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// Where the shards of a level are.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardedLevel<'a> {
    /// Number of the level.
    pub number: usize,
    /// Folder of the shards.
    pub folder: &'a Location,
    /// How chunks are spread.
    pub sharding: &'a VolumeSharding,
    /// Chunks of the level along `z, y, x`: no index has others.
    pub counts: [u64; 3],
}

type Answer = Result<Index, SourceError>;

/// The indices of a volume.
pub(super) struct MinishardIndices {
    remote: Remote,
    /// Bears out that a shard is absent.
    witness: Witness,
    indices: Indices<Key, Index>,
}

impl MinishardIndices {
    pub fn new(remote: Remote, witness: Witness) -> Self {
        let indices = Indices::new(remote.desk());
        MinishardIndices { remote, witness, indices }
    }

    /// The index of a minishard.
    pub async fn minishard(&self, level: ShardedLevel<'_>, place: ShardPlace) -> Result<Lookup, SourceError> {
        match self.indices.get(Key::Minishard(level.number, place), self.fetch_minishard(level, place)).await? {
            Index::Minishard(found) => Ok(Lookup::Found(found)),
            Index::NoShard(confirmed) | Index::Empty(confirmed) => Ok(Lookup::Absent { confirmed }),
            // No minishard is kept as a shard.
            Index::Shard(shard) => Err(SourceError::malformed(shard.object.url(), "minishard", "it is a shard")),
        }
    }

    async fn fetch_shard(&self, level: ShardedLevel<'_>, shard: u64) -> Answer {
        // What is read again must be of the version that was read before.
        let object = match self.indices.peek(&Key::Shard(level.number, shard)) {
            Some(Index::Shard(shard)) => shard.object.clone(),
            _ => self.remote.object(&level.folder.join(&level.sharding.file(shard)))?,
        };
        let length = level.sharding.index_bytes();
        if length > WHOLE {
            return Ok(Index::Shard(Arc::new(Shard { object, index: Bytes::new() })));
        }
        let Some(fetched) = object.range_if_there(0..length, &self.witness).await? else {
            return Ok(self.no_shard(&object));
        };
        if fetched.bytes.iter().all(|byte| *byte == 0) && fetched.total.is_some_and(|total| total > length) {
            let reason = "it has no chunk in it, although the file goes on behind it";
            return Err(SourceError::malformed(object.url(), "shard index", reason));
        }
        Ok(Index::Shard(Arc::new(Shard { object, index: fetched.bytes })))
    }

    fn no_shard(&self, object: &Object) -> Index {
        Index::NoShard(self.witness.knows_absent(object).unwrap_or_else(SystemTime::now))
    }

    async fn fetch_minishard(&self, level: ShardedLevel<'_>, place: ShardPlace) -> Answer {
        let key = Key::Shard(level.number, place.shard);
        let shard = match self.indices.get(key, self.fetch_shard(level, place.shard)).await? {
            Index::Shard(shard) => shard,
            absent => return Ok(absent),
        };
        let object = &shard.object;
        let field = || format!("minishard {}", place.minishard);
        let malformed = |reason: String| SourceError::malformed(object.url(), field(), reason);
        let (read, bytes) = if shard.index.is_empty() {
            let start = place.minishard.saturating_mul(ENTRY);
            let range = start..start.saturating_add(ENTRY);
            match object.range_if_there(range.clone(), &self.witness).await? {
                Some(fetched) => (range, fetched.bytes),
                None => return Ok(self.no_shard(object)),
            }
        } else {
            (0..shard.index.len() as u64, shard.index.clone())
        };
        let at = place.minishard.saturating_mul(ENTRY).saturating_sub(read.start);
        let entry = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.first_chunk().copied());
        let entry = entry.ok_or_else(|| malformed("its entry is behind the end of the index".to_owned()))?;
        let Some(range) = index::shard_entry(entry).map_err(malformed)? else {
            is_given_again(object, read, &bytes, "shard index").await?;
            return Ok(Index::Empty(object.confirmed()));
        };
        let longest = level.counts.into_iter().fold(24, u64::saturating_mul).min(MAX_MINISHARD);
        // No gzip stream is much longer than what it holds.
        let stored = longest.saturating_add(longest / 128).saturating_add(1 << 10);
        if range.end - range.start > stored {
            return Err(malformed(format!("an index of {} bytes", range.end - range.start)));
        }
        let range = behind(range, level.sharding).ok_or_else(|| malformed("it lies beyond 64 bits".to_owned()))?;
        let bytes = object.range(range.clone()).await.map_err(SourceError::from)?.bytes;
        let (chunks, unchecked) = match level.sharding.index_encoding {
            ShardEncoding::Raw => (Minishard::parse(&bytes), Some((range, bytes))),
            // Its end has a checksum.
            ShardEncoding::Gzip => (gunzip(&bytes, longest as usize).and_then(|bytes| Minishard::parse(&bytes)), None),
        };
        let chunks = chunks.map_err(malformed)?;
        if let Some(stranger) = chunks.codes().find(|code| level.sharding.place(*code) != place) {
            return Err(malformed(format!("it lists chunk {stranger}, which belongs elsewhere")));
        }
        if let Some(stranger) = chunks.codes().find(|code| !morton::is_code(*code, level.counts)) {
            return Err(malformed(format!("it lists chunk {stranger}, which is outside the grid")));
        }
        let was_given_twice = AtomicBool::new(false);
        Ok(Index::Minishard(Arc::new(FoundMinishard { object: object.clone(), chunks, unchecked, was_given_twice })))
    }
}

/// The range in the file of one that counts from the end of the shard's index.
pub(super) fn behind(range: Range<u64>, sharding: &VolumeSharding) -> Option<Range<u64>> {
    let offset = sharding.index_bytes();
    Some(range.start.checked_add(offset)?..range.end.checked_add(offset)?)
}

impl indices::CachedIndex for Index {
    fn bytes(&self) -> Option<usize> {
        match self {
            // How long that is believed is known elsewhere.
            Index::NoShard(_) => None,
            Index::Empty(_) => Some(0),
            Index::Shard(shard) => Some(shard.index.len()),
            Index::Minishard(found) => {
                Some(found.chunks.bytes() + found.unchecked.as_ref().map_or(0, |(_, bytes)| bytes.len()))
            }
        }
    }
}
