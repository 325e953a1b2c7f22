//! Native blocks of sources, decoded: fetched once however many chunks need them, kept while there is room.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::bulk_read::BulkRead;
use super::groups::Groups;
use super::image::Image;
use super::{VolumeError, fetch};
use crate::cache::{Held, Joined, Leader, MemoryBudget, Place, Room, Shares, SingleFlight};
use crate::geometry::{CellIndex, LevelIndex};
use crate::stats::Stats;

/// Absent blocks that are counted once.
const COUNTED: usize = 1 << 16;

/// A block of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Number of the image, see [`Image::number`].
    pub image: u32,
    /// Level of its pyramid.
    pub level: LevelIndex,
    /// Position in the level's grid of native blocks.
    pub index: CellIndex,
}

/// What is kept of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum BlockForm {
    /// Its voxels; no bytes where the origin holds none.
    Decoded(BlockKey),
    /// The bytes it was fetched as, ahead of anybody who wants them: most of these blocks are never decoded.
    Stored(BlockKey),
}

/// A decoded block.
#[derive(Debug, Clone)]
pub enum Voxels {
    /// The origin holds none: all voxels have the fill value.
    Absent,
    /// C order, little-endian, clipped to the array.
    Present(Arc<Held>),
}

pub(super) type Block = Voxels;
pub(super) type BlockLeader = Leader<BlockKey, Result<Voxels, VolumeError>>;

/// The blocks of all images of a mount.
pub struct Blocks {
    pub(super) pool: MemoryBudget<BlockForm>,
    shares: Shares,
    pub(super) decoding: Semaphore,
    pub(super) groups: Groups,
    flights: Arc<SingleFlight<BlockKey, Result<Voxels, VolumeError>>>,
    /// Blocks that were counted as absent, the latest ones: they are found to be so again and again.
    counted: Mutex<LruCache<BlockKey, ()>>,
    stats: Arc<Stats>,
}

impl Blocks {
    /// Keeps at most `limit` bytes of blocks and of requests for them.
    pub fn new(limit: u64, stats: Arc<Stats>) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Arc::new(Blocks {
            pool: MemoryBudget::new(limit),
            shares: Shares::of(limit),
            // Twice as many, so that processors have work while the next block is being handed to a thread.
            decoding: Semaphore::new(2 * cores),
            groups: Groups::default(),
            flights: SingleFlight::new(),
            counted: Mutex::new(LruCache::unbounded()),
            stats,
        })
    }

    /// Bytes that may be in use.
    pub fn limit(&self) -> u64 {
        self.pool.limit()
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.pool.used()
    }

    /// Memory for `bytes` that are fetched from `place`, once there is some and others have what is theirs.
    pub(super) async fn room(&self, place: &Place, bytes: u64) -> Room {
        let share = self.shares.take(place, bytes).await;
        Room::new(self.pool.lease(bytes).await, share)
    }

    /// Asks for blocks of one level at once, so that neighbours are fetched together. Results come as they are ready
    /// and should be taken in that order: a block that is ready holds memory that others may wait for. With a `sweep`,
    /// as that says.
    pub fn request(
        self: &Arc<Self>,
        image: &Arc<Image>,
        level: LevelIndex,
        wanted: Vec<CellIndex>,
        bulk: Option<&BulkRead>,
    ) -> FuturesUnordered<impl Future<Output = (CellIndex, Result<Voxels, VolumeError>)> + use<>> {
        let mut leaders = Vec::new();
        let results = FuturesUnordered::new();
        let mut array =
            (image.source.is_gathered(level) && bulk.is_none()).then(|| self.groups.array(image.number, level));
        for index in wanted {
            let key = BlockKey { image: image.number, level, index };
            let joined = self.flights.join(&key, || self.cached(&key));
            let stored = matches!(joined, Joined::Leading(..)) && self.pool.holds(&BlockForm::Stored(key));
            self.stats.block(stored || matches!(joined, Joined::Ready(_)));
            let (ready, follower) = match joined {
                Joined::Ready(result) => (Some(result), None),
                Joined::Following(follower) => (None, Some(follower)),
                Joined::Leading(leader, follower) => {
                    if stored {
                        tokio::spawn(fetch::decode_stored(self.clone(), image.clone(), leader));
                    } else {
                        leaders.push(leader);
                    }
                    (None, Some(follower))
                }
            };
            let (this, image) = (self.clone(), image.clone());
            results.push(async move {
                let result = match (ready, follower) {
                    (Some(result), _) => result,
                    (None, Some(follower)) => follower.await.unwrap_or(Err(VolumeError::Lost)),
                    (None, None) => Err(VolumeError::Lost),
                };
                match result {
                    Err(VolumeError::Ahead) => (index, this.again(&image, level, index).await),
                    result => (index, result),
                }
            });
        }
        match array.as_deref_mut() {
            _ if leaders.is_empty() => {}
            None => drop(tokio::spawn(fetch::fetch(self.clone(), image.clone(), leaders, bulk.cloned()))),
            Some(array) => {
                let alone = leaders.len() == 1;
                if array.gather(leaders) {
                    tokio::spawn(fetch::fetch_gathered(self.clone(), image.clone(), level, alone));
                }
            }
        }
        results
    }

    /// Gives the memory of a block back that nobody will ask for again.
    pub fn release(&self, image: &Image, level: LevelIndex, index: CellIndex) {
        drop(self.pool.take(&BlockForm::Decoded(BlockKey { image: image.number, level, index })));
    }

    /// Asks for a block that was under way for nobody: it is there by now, or was given up.
    fn again<'a>(
        self: &'a Arc<Self>,
        image: &'a Arc<Image>,
        level: LevelIndex,
        index: CellIndex,
    ) -> BoxFuture<'a, Result<Voxels, VolumeError>> {
        Box::pin(async move {
            let result = self.request(image, level, vec![index], None).next().await;
            result.map_or(Err(VolumeError::Lost), |(_, result)| result)
        })
    }

    /// The work for those of `wanted` that are neither in memory nor under way.
    pub(super) fn ahead(
        self: &Arc<Self>,
        image: &Image,
        level: LevelIndex,
        wanted: impl IntoIterator<Item = CellIndex>,
    ) -> Vec<BlockLeader> {
        let board = |index| {
            let key = BlockKey { image: image.number, level, index };
            // Looking must not make a block the most recently used: nobody wants it yet.
            let holds = || self.pool.holds(&BlockForm::Decoded(key)) || self.pool.holds(&BlockForm::Stored(key));
            match self.flights.join(&key, || holds().then_some(Err(VolumeError::Ahead))) {
                Joined::Leading(leader, _) => Some(leader),
                Joined::Ready(_) | Joined::Following(_) => None,
            }
        };
        wanted.into_iter().filter_map(board).collect()
    }

    /// The voxels of a block that is in memory and not absent at the origin.
    pub(super) fn present(&self, key: &BlockKey) -> Option<Arc<Held>> {
        self.pool.get(&BlockForm::Decoded(*key)).filter(|held| !held.data.is_empty())
    }

    /// Whether a block is in memory, or known to be absent at the origin.
    pub(super) fn has(&self, key: &BlockKey) -> bool {
        self.pool.holds(&BlockForm::Decoded(*key))
    }

    /// Counts a block that is absent at the origin.
    pub(super) fn count_absent(&self, image: &Image, key: &BlockKey) {
        let is_new = {
            let mut counted = self.counted.lock();
            let is_new = counted.put(*key, ()).is_none();
            if counted.len() > COUNTED {
                counted.pop_lru();
            }
            is_new
        };
        if is_new {
            self.stats.absence(image.dataset(), format!("{}: block {} of {}", image.name, key.index, key.level));
        }
    }

    /// A block that is in memory, or known to be absent at the origin.
    pub(super) fn cached(&self, key: &BlockKey) -> Option<Result<Voxels, VolumeError>> {
        let held = self.pool.get(&BlockForm::Decoded(*key)).filter(|held| !held.is_over())?;
        Some(Ok(if held.data.is_empty() { Voxels::Absent } else { Voxels::Present(held) }))
    }
}
