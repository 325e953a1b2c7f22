//! Chunks of views, assembled from native blocks.

use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::time::timeout;

use super::VolumeError;
use super::block::{BlockKey, BlockVoxels};
use super::blocks::Blocks;
use super::copy::{PlacedArray, copy_part, fill, moved, placed};
use super::image::Image;
use crate::cache::{FetchReservation, Held, Joined, MemoryBudget, PoolShare, Shares, SingleFlight};
use crate::geometry::{CellIndex, Grid, LevelIndex, Region, Shape};
use crate::source::Placement;
use crate::stats::Stats;
use crate::store::off_the_runtime;
use crate::task;

/// Blocks that one chunk asks for at once; more would only wait for memory.
const AT_ONCE: usize = 256;

/// Chunks of at most so many bytes are put together by the thread that asks, where all is in memory: to hand that to
/// another takes as long as the copy.
const SHORT: u64 = 1 << 20;

/// The same is true of so many blocks at most.
const FEW: usize = 64;

/// Chunks with more blocks than this are not looked through to see whether they can be put together without a host.
const MANY: usize = 4096;

/// How often it is tried again to have others give way to a chunk that waits for memory.
const AGAIN: Duration = Duration::from_millis(50);

/// A chunk by what it shows, so that equal chunks of different views and formats are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    /// Number of the image, see [`Image::number`].
    pub image: u32,
    /// Its voxels.
    pub geometry: ChunkGeometry,
}

/// Where the voxels of a chunk lie in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkGeometry {
    /// Level of the image.
    pub level: LevelIndex,
    /// Voxels of that level that the chunk shows; its far part may be missing at edges.
    pub region: Region,
    /// Full shape of the chunk; what `region` does not cover is padded with 0.
    pub chunk: Shape,
}

type Chunk = Result<Arc<Held>, VolumeError>;

/// Blocks that were asked for, as they come.
type Results = BoxStream<'static, (CellIndex, Result<BlockVoxels, VolumeError>)>;

/// The chunks of all views of a mount.
pub struct Chunks {
    pool: MemoryBudget<ChunkKey>,
    shares: Shares,
    /// Has chunks that are being read give way, about so many bytes of them.
    give_way: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
    flights: Arc<SingleFlight<ChunkKey, Chunk>>,
    blocks: Arc<Blocks>,
    stats: Arc<Stats>,
}

impl Chunks {
    /// Keeps at most `limit` bytes of chunks, beside the blocks.
    pub fn new(limit: u64, blocks: Arc<Blocks>, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Chunks {
            pool: MemoryBudget::new(limit),
            shares: Shares::of(limit),
            give_way: OnceLock::new(),
            flights: SingleFlight::new(),
            blocks,
            stats,
        })
    }

    /// Calls `give_way` when a chunk waits for memory, with how much should be freed.
    pub fn when_memory_is_wanted(&self, give_way: impl Fn(u64) + Send + Sync + 'static) {
        // The first one stays; there is one who holds chunks.
        let _ = self.give_way.set(Box::new(give_way));
    }

    /// Bytes in use by chunks and blocks.
    pub fn used(&self) -> u64 {
        self.pool.used() + self.blocks.used()
    }

    /// Bytes that may be in use by chunks.
    pub fn limit(&self) -> u64 {
        self.pool.limit()
    }

    /// The chunk where it is in memory.
    pub fn cached(&self, image: &Image, key: &ChunkKey) -> Option<Arc<Held>> {
        let block = whole_block(image, &key.geometry).and_then(|block| self.blocks.present(&block));
        // A block that is absent at the origin is filled as a chunk of its own.
        let held = block.or_else(|| self.in_pool(key))?;
        self.stats.chunk(true);
        Some(held)
    }

    fn in_pool(&self, key: &ChunkKey) -> Option<Arc<Held>> {
        self.pool.get(key).filter(|held| !held.is_over())
    }

    /// Keeps a chunk no longer, unless somebody still reads it. A block that is a chunk stays a block.
    pub fn release(&self, key: &ChunkKey) {
        self.pool.release(key);
    }

    /// All bytes of a chunk, C order, little-endian, padded to the full shape: complete, or an error.
    pub async fn read(self: &Arc<Self>, image: &Arc<Image>, key: ChunkKey) -> Chunk {
        let joined = self.flights.join(&key, || self.in_pool(&key).map(Ok));
        self.stats.chunk(matches!(joined, Joined::Ready(_)));
        match joined {
            Joined::Ready(chunk) => chunk,
            Joined::Following(follower) => follower.await.unwrap_or(Err(VolumeError::Lost)),
            Joined::Leading(leader, follower) => {
                let (this, image) = (self.clone(), image.clone());
                let at_hand = self.is_at_hand(&image, &key.geometry);
                let mut assembling = Box::pin(async move { this.assemble(&image, key).await });
                if at_hand && let Some(chunk) = assembling.as_mut().now_or_never() {
                    leader.finish(chunk.clone());
                    return chunk;
                }
                // A task of its own, so that the work goes on for the others if the first to ask goes away, and ends with the last.
                let flights = self.flights.clone();
                task::spawn(async move {
                    tokio::select! {
                        chunk = assembling => leader.finish(chunk),
                        () = flights.unwanted(std::slice::from_ref(&key)) => leader.give_up(),
                    }
                });
                follower.await.unwrap_or(Err(VolumeError::Lost))
            }
        }
    }

    /// Whether a chunk is put together from what is in memory, and soon.
    fn is_at_hand(&self, image: &Image, geometry: &ChunkGeometry) -> bool {
        let is_short = geometry.chunk.bytes(image.item_size()).is_some_and(|bytes| bytes <= SHORT);
        is_short && self.has_blocks(image, geometry, FEW)
    }

    /// Whether a chunk that is dropped can be made again of blocks that are in memory. One that is a block cannot.
    pub fn can_be_made(&self, image: &Image, geometry: &ChunkGeometry) -> bool {
        whole_block(image, geometry).is_none_or(|block| self.blocks.present(&block).is_none())
            && self.is_in_memory(image, geometry)
    }

    /// Whether the blocks of a chunk are in memory.
    fn is_in_memory(&self, image: &Image, geometry: &ChunkGeometry) -> bool {
        self.has_blocks(image, geometry, MANY)
    }

    /// Whether the blocks of a chunk are in memory, and no more than `most`.
    fn has_blocks(&self, image: &Image, geometry: &ChunkGeometry, most: usize) -> bool {
        let Some(grid) = image.grid(geometry.level) else { return false };
        let mut cells = grid.cells_in(&geometry.region);
        let here = |index| self.blocks.has(&BlockKey { image: image.number, level: geometry.level, index });
        cells.by_ref().take(most).all(here) && cells.next().is_none()
    }

    async fn assemble(&self, image: &Arc<Image>, key: ChunkKey) -> Chunk {
        let ChunkGeometry { level, region, chunk } = key.geometry;
        let description = image.source.description();
        let item_size = image.item_size();
        let Some(grid) = image.grid(level) else {
            return Err(VolumeError::Unsuitable(format!("there is no level {level}")));
        };
        let mut absent = None;
        if let Some(block) = whole_block(image, &key.geometry)
            && let Some((_, result)) = self.blocks.request(image, level, vec![block.index], None).next().await
        {
            match result? {
                // The block is the chunk, and the cache of blocks keeps it.
                BlockVoxels::Present(held) => return Ok(held),
                voxels @ BlockVoxels::Absent => absent = self.blocks.sooner(None, &block, &voxels),
            }
        }
        let (is_absent, mut until) = (absent.is_some(), absent);
        let bytes = chunk.bytes(item_size).unwrap_or(u64::MAX);
        let Ok(length) = usize::try_from(bytes) else {
            return Err(VolumeError::Unsuitable(format!("a chunk of {chunk} voxels is too large")));
        };
        let waits = !is_absent && !self.is_in_memory(image, &key.geometry);
        // So that one image does not ask for more than it has memory for, whose blocks would be gone when it has.
        let _permit = if waits {
            self.unless_kept(image, &key.geometry, image.permit(self.at_once(), bytes)).await
        } else {
            None
        };
        let (mut reservation, mut asked) = if waits {
            self.first_blocks(image, &grid, &key.geometry, bytes).await?
        } else {
            (self.reserve_with(None, bytes).await, None)
        };
        let mut data = vec![0u8; length];
        let mut target = PlacedArray { data: data.as_mut_slice(), region: placed(&region, chunk) };
        if is_absent && !fill(&mut target, &region, description.fill.as_le_bytes()) {
            return Err(VolumeError::Lost);
        }
        // A chunk that is an absent block has no other ones.
        let done = usize::from(is_absent) + if asked.is_some() { AT_ONCE } else { 0 };
        let mut cells = grid.cells_in(&region).skip(done);
        let mut ask = || batch(&mut cells).map(|batch| self.blocks.request(image, level, batch, None).boxed());
        while let Some(mut results) = asked.take().or_else(&mut ask) {
            while let Some((index, result)) = results.next().await {
                let voxels = result?;
                until = self.blocks.sooner(until, &BlockKey { image: image.number, level, index }, &voxels);
                if !put(&mut target, image, &grid, (index, &voxels), &region) {
                    return Err(VolumeError::Lost);
                }
            }
        }
        self.when_others_give_way(reservation.complete(&self.pool)).await;
        let held = Arc::new(Held::new(Bytes::from(data), reservation.lease).until(until));
        self.pool.insert(key, held.clone());
        Ok(held)
    }

    /// Memory for a chunk, once its first block is there, and the first blocks of it where that was there at once. No block
    /// is held while memory is waited for: chunks wait for blocks, never the other way round.
    async fn first_blocks(
        &self,
        image: &Arc<Image>,
        grid: &Grid,
        geometry: &ChunkGeometry,
        bytes: u64,
    ) -> Result<(FetchReservation, Option<Results>), VolumeError> {
        // What takes much of the memory must not have it while it waits for its last block, if its blocks can be kept.
        let is_large = bytes > self.pool.limit() / 4 && bytes <= self.blocks.limit() / 2;
        let mut reservation = pin!(self.reserve(image, geometry, bytes));
        let mut cells = grid.cells_in(&geometry.region);
        while let Some(batch) = batch(&mut cells) {
            let mut results = self.blocks.request(image, geometry.level, batch, None);
            while let Some((index, result)) = results.next().await {
                let voxels = result?;
                if !is_large {
                    if let Some(reservation) = reservation.as_mut().now_or_never() {
                        let first = stream::iter([(index, Ok(voxels))]);
                        return Ok((reservation, Some(first.chain(results).boxed())));
                    }
                    drop(voxels);
                    // The others are wanted all the while, each held for no longer than it takes to see it.
                    let mut others = results.for_each(|_| std::future::ready(()));
                    let reservation = match select(reservation.as_mut(), &mut others).await {
                        Either::Left((reservation, _)) => reservation,
                        Either::Right(((), reservation)) => reservation.await,
                    };
                    return Ok((reservation, None));
                }
            }
        }
        Ok((reservation.await, None))
    }

    /// Memory for a chunk whose host may fall silent before it is complete.
    async fn reserve(&self, image: &Image, geometry: &ChunkGeometry, bytes: u64) -> FetchReservation {
        let share = self.unless_kept(image, geometry, self.shares.take(&image.place, bytes)).await.flatten();
        self.reserve_with(share, bytes).await
    }

    /// Memory for a chunk by its share. Where it takes much, the rest is leased when all of it is there.
    async fn reserve_with(&self, share: Option<PoolShare>, bytes: u64) -> FetchReservation {
        let first = share.as_ref().map_or(bytes.min(self.pool.limit() / 4), PoolShare::bytes);
        let lease = self.when_others_give_way(self.pool.lease(first)).await;
        FetchReservation::new(lease, bytes.saturating_sub(first), share)
    }

    /// What one image may have under way at a time.
    fn at_once(&self) -> u64 {
        self.pool.limit().min(self.blocks.limit() / 2)
    }

    /// Waits for what others of the same host have, unless all blocks of the chunk can be had without the host.
    async fn unless_kept<T>(
        &self,
        image: &Image,
        geometry: &ChunkGeometry,
        waiting: impl Future<Output = T>,
    ) -> Option<T> {
        let mut waiting = pin!(waiting);
        if let Some(ready) = waiting.as_mut().now_or_never() {
            return Some(ready);
        }
        match select(waiting, pin!(self.is_kept(image, geometry))).await {
            Either::Left((ready, _)) => Some(ready),
            Either::Right((true, _)) => None,
            Either::Right((false, waiting)) => Some(waiting.await),
        }
    }

    /// Whether all blocks of a chunk are in memory or on this machine's disks.
    async fn is_kept(&self, image: &Image, geometry: &ChunkGeometry) -> bool {
        let Some(grid) = image.grid(geometry.level) else { return false };
        let is_missing = |index: &CellIndex| {
            !self.blocks.has(&BlockKey { image: image.number, level: geometry.level, index: *index })
        };
        if image.is_computed(geometry.level) {
            return image.has_computed(geometry.level, grid.cells_in(&geometry.region).take(FEW + 1).collect()).await;
        }
        let mut cells = grid.cells_in(&geometry.region);
        let mut missing = cells.by_ref().take(MANY).filter(is_missing).peekable();
        // One at first: mostly none is there, and finding blocks may take requests for indices.
        let mut at_once = 1;
        while missing.peek().is_some() {
            let mut placements = Vec::new();
            for index in missing.by_ref().take(at_once) {
                match image.locate(geometry.level, index).await {
                    Ok(placement) => placements.push(placement),
                    Err(_) => return false,
                }
            }
            let are_at_hand = move || placements.iter().all(Placement::is_at_hand);
            if !off_the_runtime(are_at_hand).await.unwrap_or(false) {
                return false;
            }
            at_once *= 4;
        }
        drop(missing);
        cells.next().is_none()
    }

    /// Waits for memory, for which chunks that are only partly read give way.
    async fn when_others_give_way<T>(&self, leasing: impl Future<Output = T>) -> T {
        let mut leasing = pin!(leasing);
        if let Some(leased) = leasing.as_mut().now_or_never() {
            return leased;
        }
        loop {
            let missing = self.pool.missing();
            if let (Some(give_way), 1..) = (self.give_way.get(), missing) {
                // Some more, for those who wait behind.
                give_way(missing.max(self.pool.limit() / 4));
            }
            if let Ok(leased) = timeout(AGAIN, &mut leasing).await {
                return leased;
            }
        }
    }

    /// Bytes of a chunk, where they can be put together from blocks that are in memory: of a chunk that was complete once.
    pub fn part(&self, image: &Image, geometry: &ChunkGeometry, bytes: Range<u64>) -> Option<Bytes> {
        let grid = image.grid(geometry.level)?;
        let [_, height, width] = geometry.chunk.0;
        let row = width.checked_mul(image.item_size() as u64).filter(|&row| row > 0)?;
        let length = geometry.chunk.bytes(image.item_size())?;
        let (start, end) = (bytes.start.min(length), bytes.end.min(length));
        let rows = start / row..end.div_ceil(row).max(start / row);
        let mut data = vec![0u8; usize::try_from((rows.end - rows.start).checked_mul(row)?).ok()?];
        let mut left = data.as_mut_slice();
        let mut first = rows.start;
        while first < rows.end {
            // Whole planes at once, or what there is of one.
            let (z, y) = (first / height, first % height);
            let planes = if y == 0 { (rows.end - first) / height } else { 0 };
            let taken = if planes > 0 { planes * height } else { (height - y).min(rows.end - first) };
            let part = Region {
                start: [z, y, 0],
                end: [z + planes.max(1), if planes > 0 { height } else { y + taken }, width],
            };
            let (these, others) = left.split_at_mut_checked(usize::try_from(taken * row).ok()?)?;
            self.put_part(
                &mut PlacedArray { data: these, region: moved(&part, geometry.region.start) },
                image,
                &grid,
                geometry,
            )?;
            left = others;
            first += taken;
        }
        let from = start - rows.start * row;
        Some(Bytes::from(data).slice(usize::try_from(from).ok()?..usize::try_from(from + end - start).ok()?))
    }

    fn put_part(
        &self,
        target: &mut PlacedArray<&mut [u8]>,
        image: &Image,
        grid: &Grid,
        geometry: &ChunkGeometry,
    ) -> Option<()> {
        let Some(shown) = target.region.intersection(&geometry.region) else { return Some(()) };
        for index in grid.cells_in(&shown) {
            let block = self.blocks.cached(&BlockKey { image: image.number, level: geometry.level, index })?;
            if !put(target, image, grid, (index, &block), &shown) {
                return None;
            }
        }
        Some(())
    }
}

/// Copies what a block has of `region` to where it belongs; `false` where some of it is missing. What it has beyond a crop is
/// padding there.
fn put(
    target: &mut PlacedArray<&mut [u8]>,
    image: &Image,
    grid: &Grid,
    block: (CellIndex, &BlockVoxels),
    region: &Region,
) -> bool {
    let (index, voxels) = block;
    let block = grid.region(index);
    let Some(part) = block.intersection(region) else { return true };
    match voxels {
        BlockVoxels::Present(held) => {
            copy_part(&PlacedArray { data: &held.data, region: block }, target, &part, image.item_size())
        }
        BlockVoxels::Absent => fill(target, &part, image.source.description().fill.as_le_bytes()),
    }
}

/// The next blocks that are asked for together.
fn batch(cells: &mut impl Iterator<Item = CellIndex>) -> Option<Vec<CellIndex>> {
    let batch: Vec<CellIndex> = cells.take(AT_ONCE).collect();
    (!batch.is_empty()).then_some(batch)
}

/// The native block that is exactly this chunk, if one is.
fn whole_block(image: &Image, geometry: &ChunkGeometry) -> Option<BlockKey> {
    let ChunkGeometry { level, region, chunk } = *geometry;
    let grid = image.grid(level)?;
    let index =
        grid.cells_in(&region).next().filter(|&first| region.shape() == chunk && grid.region(first) == region)?;
    Some(BlockKey { image: image.number, level, index })
}
