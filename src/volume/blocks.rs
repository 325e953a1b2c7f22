//! Native blocks of sources, decoded: fetched once however many chunks need them, kept while there is memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::VolumeError;
use super::block::{BlockKey, BlockOutcome, BlockVoxels, Requested, sooner};
use super::block_memory::BlockMemory;
use super::bulk_read::BulkRead;
use super::computed::{Below, compute};
use super::fetch::Fetcher;
use super::image::Image;
use super::plan;
use crate::cache::{Held, Joined};
use crate::geometry::{CellIndex, LevelIndex};
use crate::stats::Stats;
use crate::task;

/// The blocks of all images of a mount.
pub struct Blocks {
    memory: Arc<BlockMemory>,
}

impl Blocks {
    /// Keeps at most `limit` bytes of blocks and of requests for them. `absent_ttl`: how long it is believed that one is
    /// absent.
    pub fn new(limit: u64, absent_ttl: Duration, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Blocks { memory: BlockMemory::new(limit, absent_ttl, stats) })
    }

    /// Bytes that may be in use.
    pub fn limit(&self) -> u64 {
        self.memory.limit()
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.memory.used()
    }

    /// Asks for blocks of one level at once, so that neighbours are fetched together. Results come as they are ready
    /// and should be taken in that order: a block that is ready holds memory that others may wait for. With `bulk`, as
    /// that says.
    pub fn request(
        self: &Arc<Self>,
        image: &Arc<Image>,
        level: LevelIndex,
        wanted: Vec<CellIndex>,
        bulk: Option<&BulkRead>,
    ) -> Requested {
        self.request_as(image, level, wanted, bulk, plan::JOINED)
    }

    fn request_as(
        self: &Arc<Self>,
        image: &Arc<Image>,
        level: LevelIndex,
        wanted: Vec<CellIndex>,
        bulk: Option<&BulkRead>,
        longest: u64,
    ) -> Requested {
        let mut leaders = Vec::new();
        let results = FuturesUnordered::new();
        let fetcher = Fetcher { memory: self.memory.clone(), image: image.clone(), bulk: bulk.cloned(), longest };
        let is_computed = image.is_computed(level);
        if !is_computed {
            fetcher.look_ahead(level, &wanted);
        }
        let is_gathered = !is_computed && image.source.is_gathered(level) && bulk.is_none();
        let mut array = is_gathered.then(|| self.memory.groups.of(image.number, level));
        for index in wanted {
            let (joined, stored) = self.memory.join(BlockKey { image: image.number, level, index });
            let (ready, follower) = match joined {
                Joined::Ready(outcome) => (Some(outcome), None),
                Joined::Following(follower) => (None, Some(follower)),
                Joined::Leading(leader, follower) => {
                    if is_computed {
                        task::spawn(compute(self.clone(), image.clone(), leader, bulk.cloned()));
                    } else if stored {
                        task::spawn(fetcher.clone().decode_stored(leader));
                    } else {
                        leaders.push(leader);
                    }
                    (None, Some(follower))
                }
            };
            let (this, image) = (self.clone(), image.clone());
            results.push(Box::pin(async move {
                let outcome = match (ready, follower) {
                    (Some(outcome), _) => outcome,
                    (None, Some(follower)) => {
                        follower.await.unwrap_or_else(|_| BlockOutcome::failed(VolumeError::Lost))
                    }
                    (None, None) => BlockOutcome::failed(VolumeError::Lost),
                };
                match outcome {
                    BlockOutcome::FetchedAhead => (index, this.again(&image, level, index).await),
                    BlockOutcome::Settled(result) => (index, result),
                }
            }) as BoxFuture<'static, _>);
        }
        match array.as_deref_mut() {
            _ if leaders.is_empty() => {}
            None => drop(task::spawn(fetcher.fetch(leaders))),
            Some(array) => {
                let alone = match leaders.as_slice() {
                    [one] => Some(one.key().index),
                    _ => None,
                };
                if array.gather(leaders) {
                    task::spawn(fetcher.fetch_gathered(level, alone));
                }
            }
        }
        results
    }

    /// Gives the memory of a block back that nobody will ask for again.
    pub fn release(&self, image: &Image, level: LevelIndex, index: CellIndex) {
        self.memory.release(BlockKey { image: image.number, level, index });
    }

    /// Asks for a block that was under way for nobody: it is there by now, or was given up.
    fn again<'a>(
        self: &'a Arc<Self>,
        image: &'a Arc<Image>,
        level: LevelIndex,
        index: CellIndex,
    ) -> BoxFuture<'a, Result<BlockVoxels, VolumeError>> {
        Box::pin(async move {
            let result = self.request(image, level, vec![index], None).next().await;
            result.map_or(Err(VolumeError::Lost), |(_, result)| result)
        })
    }

    /// The voxels of a block that is in memory and not absent at the origin.
    pub(super) fn present(&self, key: &BlockKey) -> Option<Arc<Held>> {
        self.memory.present(key)
    }

    /// The sooner of `until` and the moment when these voxels of a block hold no longer.
    pub(super) fn sooner(&self, until: Option<Instant>, key: &BlockKey, voxels: &BlockVoxels) -> Option<Instant> {
        sooner(until, self.memory.holds_until(key, voxels))
    }

    /// Whether a block is in memory, or known to be absent at the origin.
    pub(super) fn has(&self, key: &BlockKey) -> bool {
        self.memory.has(key)
    }

    /// A block that is in memory, or known to be absent at the origin.
    pub(super) fn cached(&self, key: &BlockKey) -> Option<BlockVoxels> {
        self.memory.cached(key)
    }
}

impl Below for Blocks {
    fn memory(&self) -> &BlockMemory {
        &self.memory
    }

    fn request(
        self: Arc<Self>,
        image: &Arc<Image>,
        level: LevelIndex,
        wanted: Vec<CellIndex>,
        longest: u64,
    ) -> Requested {
        self.request_as(image, level, wanted, None, longest)
    }
}
