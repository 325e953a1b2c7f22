//! The memory for blocks: what is kept of them, who may fetch how much, and which are under way.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::block::{BlockKey, BlockLeader, BlockOutcome, BlockVoxels};
use super::boxes::Boxes;
use super::computed::MAX_LEVELS;
use super::groups::ArrayMisses;
use super::image::Image;
use super::per_level::PerLevel;
use crate::cache::{FetchPlace, FetchReservation, Held, Joined, MemoryBudget, PoolShare, Shares, SingleFlight};
use crate::geometry::{CellIndex, LevelIndex};
use crate::stats::Stats;

/// Absent blocks that are counted once.
const COUNTED: usize = 1 << 16;

/// What a block without voxels of its own is charged: its entry in the cache.
const EMPTY_ENTRY: u64 = 256;

/// How long a block that is absent is not asked for again at most: since when that is believed is not known here.
const ABSENT: Duration = Duration::from_secs(60);

/// All pools for what is being computed are one part in so many of the memory for blocks.
const COMPUTED_PART: u64 = 8;

/// What is kept of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum BlockForm {
    /// Its voxels; no bytes where the origin holds none.
    Decoded(BlockKey),
    /// The bytes it was fetched as, ahead of anybody who wants them: most of these blocks are never decoded.
    Stored(BlockKey),
}

/// The memory for what is being computed of a level.
struct ComputingMemory {
    pool: MemoryBudget<()>,
    /// Whoever has some of it waits for blocks of the level below, and so for a host, which must not keep it from others.
    shares: Shares,
}

impl ComputingMemory {
    fn of(limit: u64) -> Self {
        ComputingMemory { pool: MemoryBudget::new(limit), shares: Shares::of(limit) }
    }
}

/// The memory for the blocks of all images of a mount.
pub(super) struct BlockMemory {
    budget: MemoryBudget<BlockForm>,
    shares: Shares,
    decoding: Semaphore,
    /// For what is being computed, by level: who has some of one waits for lower ones only.
    computing: [ComputingMemory; MAX_LEVELS],
    /// The misses of arrays whose neighbours lie together. Blocks have to be looked for, and those to fetch along have to be
    /// chosen and marked as under way, while one is held: a block that is missed in between would be a request of its own.
    pub(super) groups: PerLevel<ArrayMisses>,
    /// The boxes that are read.
    pub(super) boxes: PerLevel<Boxes>,
    flights: Arc<SingleFlight<BlockKey, BlockOutcome>>,
    /// Blocks that were counted as absent, the latest ones: they are found to be so again and again.
    counted: Mutex<LruCache<BlockKey, ()>>,
    /// How long a block that is absent is not asked for again.
    absent: Duration,
    stats: Arc<Stats>,
}

impl BlockMemory {
    /// At most `limit` bytes of blocks and of requests for them. `absent_ttl`: how long it is believed that one is absent.
    pub(super) fn new(limit: u64, absent_ttl: Duration, stats: Arc<Stats>) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let computing = limit / COMPUTED_PART;
        let limit = limit - computing;
        // A level has half as much as the one below, which has many more blocks to compute.
        let pool = |level: usize| ComputingMemory::of(computing >> (level + 1));
        Arc::new(BlockMemory {
            budget: MemoryBudget::new(limit),
            shares: Shares::of(limit),
            computing: std::array::from_fn(pool),
            // Twice as many, so that processors have work while the next block is being handed to a thread.
            decoding: Semaphore::new(2 * cores),
            groups: PerLevel::default(),
            boxes: PerLevel::default(),
            flights: SingleFlight::new(),
            counted: Mutex::new(LruCache::unbounded()),
            absent: absent_ttl.min(ABSENT),
            stats,
        })
    }

    /// Bytes that may be in use.
    pub(super) fn limit(&self) -> u64 {
        self.budget.limit()
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// Bytes that may be in use by what is being computed of a level.
    pub(super) fn computing_limit(&self, level: LevelIndex) -> u64 {
        self.computing(level).pool.limit()
    }

    /// Memory for `bytes` while a block of a level is computed from what is fetched from `place`, once others have what is
    /// theirs. Where that is much, it is a part: there is one such block of its place, which takes the rest as what it is
    /// made of comes.
    pub(super) async fn reserve_computing(
        &self,
        level: LevelIndex,
        place: &FetchPlace,
        bytes: u64,
    ) -> FetchReservation {
        let ComputingMemory { pool, shares } = self.computing(level);
        reserve(pool, shares, place, bytes).await
    }

    fn computing(&self, level: LevelIndex) -> &ComputingMemory {
        let [.., last] = &self.computing;
        // There are no more levels than pools.
        self.computing.get(usize::from(level.0).saturating_sub(1)).unwrap_or(last)
    }

    /// Bytes that are neither in use nor waited for.
    pub(super) fn spare(&self) -> u64 {
        self.budget.spare()
    }

    /// Memory for `bytes` that are fetched from `place`, once there is some and others have what is theirs. Where that is
    /// much, it is completed when they have come.
    pub(super) async fn reserve(&self, place: &FetchPlace, bytes: u64) -> FetchReservation {
        reserve(&self.budget, &self.shares, place, bytes).await
    }

    /// All memory of a reservation, once what it is for has come.
    pub(super) async fn complete(&self, reservation: &mut FetchReservation) {
        reservation.complete(&self.budget).await;
    }

    /// Memory for `bytes` that are in memory or kept on this machine.
    pub(super) async fn reserve_kept(&self, bytes: u64) -> FetchReservation {
        let mut reservation = self.reserve(&FetchPlace::cached(), bytes).await;
        self.complete(&mut reservation).await;
        reservation
    }

    /// Waits until a block may be decoded.
    pub(super) async fn decoding(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, and without a permit decoding would only be less orderly.
        self.decoding.acquire().await.ok()
    }

    /// Joins the work for a block somebody wants. The second value says whether it is there as it was fetched.
    pub(super) fn join(&self, key: BlockKey) -> (Joined<BlockKey, BlockOutcome>, bool) {
        let joined = self.flights.join(&key, || self.cached(&key).map(|voxels| BlockOutcome::Settled(Ok(voxels))));
        let stored = matches!(joined, Joined::Leading(..)) && self.budget.holds(&BlockForm::Stored(key));
        self.stats.block(stored || matches!(joined, Joined::Ready(_)));
        (joined, stored)
    }

    /// Ends once nobody has waited for any of these blocks for a moment; their leaders have to give up then.
    pub(super) async fn unwanted(&self, keys: &[BlockKey]) {
        self.flights.unwanted(keys).await;
    }

    /// The work for those of `wanted` that are neither in memory nor under way.
    pub(super) fn ahead(
        &self,
        image: &Image,
        level: LevelIndex,
        wanted: impl IntoIterator<Item = CellIndex>,
    ) -> Vec<BlockLeader> {
        let lead = |index| {
            let key = BlockKey { image: image.number, level, index };
            // Looking must not make a block the most recently used: nobody wants it yet.
            let holds = || self.has(&key) || self.budget.holds(&BlockForm::Stored(key));
            match self.flights.join(&key, || holds().then_some(BlockOutcome::FetchedAhead)) {
                Joined::Leading(leader, _) => Some(leader),
                Joined::Ready(_) | Joined::Following(_) => None,
            }
        };
        wanted.into_iter().filter_map(lead).collect()
    }

    /// The voxels of a block that is in memory and not absent at the origin.
    pub(super) fn present(&self, key: &BlockKey) -> Option<Arc<Held>> {
        self.budget.get(&BlockForm::Decoded(*key)).filter(|held| !held.data.is_empty() && !held.is_over())
    }

    /// When the voxels of a block hold no longer that was just given, because it is absent or made of some that are.
    pub(super) fn holds_until(&self, key: &BlockKey, voxels: &BlockVoxels) -> Option<Instant> {
        match voxels {
            BlockVoxels::Present(held) => held.holds_until(),
            BlockVoxels::Absent => {
                let held = self.budget.get(&BlockForm::Decoded(*key)).filter(|held| held.data.is_empty());
                Some(held.and_then(|held| held.holds_until()).unwrap_or_else(Instant::now))
            }
        }
    }

    /// When what is found to be absent now is asked for again.
    pub(super) fn absent_until(&self) -> Option<Instant> {
        Instant::now().checked_add(self.absent)
    }

    /// Whether a block is in memory, or known to be absent at the origin.
    pub(super) fn has(&self, key: &BlockKey) -> bool {
        self.budget.holds(&BlockForm::Decoded(*key))
    }

    /// A block that is in memory, or known to be absent at the origin.
    pub(super) fn cached(&self, key: &BlockKey) -> Option<BlockVoxels> {
        let held = self.budget.get(&BlockForm::Decoded(*key)).filter(|held| !held.is_over())?;
        Some(if held.data.is_empty() { BlockVoxels::Absent } else { BlockVoxels::Present(held) })
    }

    /// Keeps the bytes of a block that nobody asked for.
    pub(super) fn keep_stored(&self, leader: BlockLeader, stored: Held) {
        self.budget.insert(BlockForm::Stored(*leader.key()), Arc::new(stored));
        leader.finish(BlockOutcome::FetchedAhead);
    }

    /// The bytes of a block that was fetched ahead; its voxels are to take their place.
    pub(super) fn take_stored(&self, key: BlockKey) -> Option<Arc<Held>> {
        self.budget.take(&BlockForm::Stored(key))
    }

    /// Gives the memory of a block back.
    pub(super) fn release(&self, key: BlockKey) {
        drop(self.budget.take(&BlockForm::Decoded(key)));
    }

    /// Keeps the voxels of a block and hands them to all who wait.
    pub(super) fn finish(&self, leader: BlockLeader, held: Held) {
        let held = Arc::new(held);
        self.budget.insert(BlockForm::Decoded(*leader.key()), held.clone());
        let voxels = if held.data.is_empty() { BlockVoxels::Absent } else { BlockVoxels::Present(held) };
        leader.finish(BlockOutcome::Settled(Ok(voxels)));
    }

    /// Counts a block that is absent at the origin, remembers that for a while, and tells all who wait.
    pub(super) async fn finish_absent(&self, image: &Image, leader: BlockLeader) {
        let key = leader.key();
        if self.is_newly_absent(key) {
            self.stats.absence(image.dataset(), format!("{}: block {} of {}", image.name, key.index, key.level));
        }
        let lease = self.budget.lease(EMPTY_ENTRY).await;
        self.finish(leader, Held::nothing_for(self.absent, lease));
    }

    /// Notes that the origin has a block of the image.
    pub(super) fn note_present(&self, image: &Image) {
        self.stats.presence(image.dataset());
    }

    fn is_newly_absent(&self, key: &BlockKey) -> bool {
        let mut counted = self.counted.lock();
        let is_new = counted.put(*key, ()).is_none();
        if counted.len() > COUNTED {
            counted.pop_lru();
        }
        is_new
    }
}

/// Memory of a pool by a share of a place, all of it or the first part.
async fn reserve<K: Hash + Eq>(
    pool: &MemoryBudget<K>,
    shares: &Shares,
    place: &FetchPlace,
    bytes: u64,
) -> FetchReservation {
    let share = shares.take(place, bytes).await;
    let first = share.as_ref().map_or(bytes, PoolShare::bytes);
    FetchReservation::new(pool.lease(first).await, bytes.saturating_sub(first), share)
}
