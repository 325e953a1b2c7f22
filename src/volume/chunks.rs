//! Chunks of views, assembled from native blocks.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use super::VolumeError;
use super::blocks::{BlockKey, Blocks, Voxels};
use super::copy::{Placed, copy_part, fill};
use super::image::Image;
use crate::cache::{Boarding, Flights, Held, Pool};
use crate::geometry::{CellIndex, LevelIndex, Region, Shape};
use crate::stats::Stats;

/// Blocks that one chunk asks for at once; more would only wait for memory.
const AT_ONCE: usize = 256;

/// Chunks of at most so many bytes are put together by the thread that asks, where all is in memory: to hand that to
/// another takes as long as the copy.
const SHORT: u64 = 1 << 20;

/// The same is true of so many blocks at most.
const FEW: usize = 64;

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

/// The chunks of all views of a mount.
pub struct Chunks {
    pool: Pool<ChunkKey>,
    flights: Arc<Flights<ChunkKey, Chunk>>,
    blocks: Arc<Blocks>,
    stats: Arc<Stats>,
}

impl Chunks {
    /// Keeps at most `limit` bytes of chunks, beside the blocks.
    pub fn new(limit: u64, blocks: Arc<Blocks>, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Chunks { pool: Pool::new(limit), flights: Flights::new(), blocks, stats })
    }

    /// Bytes in use by chunks and blocks.
    pub fn used(&self) -> u64 {
        self.pool.used() + self.blocks.used()
    }

    /// The chunk where it is in memory.
    pub fn cached(&self, image: &Image, key: &ChunkKey) -> Option<Arc<Held>> {
        let block = whole_block(image, &key.geometry).and_then(|block| self.blocks.present(&block));
        // A block that is absent at the origin is filled as a chunk of its own.
        let held = block.or_else(|| self.pool.get(key))?;
        self.stats.chunk(true);
        Some(held)
    }

    /// Keeps a chunk no longer, unless somebody still reads it. A block that is a chunk stays a block.
    pub fn let_go(&self, key: &ChunkKey) {
        self.pool.let_go(key);
    }

    /// All bytes of a chunk, C order, little-endian, padded to the full shape: complete, or an error.
    pub async fn read(self: &Arc<Self>, image: &Arc<Image>, key: ChunkKey) -> Chunk {
        let boarding = self.flights.board(&key, || self.pool.get(&key).map(Ok));
        self.stats.chunk(matches!(boarding, Boarding::Ready(_)));
        match boarding {
            Boarding::Ready(chunk) => chunk,
            Boarding::Waiting(ticket) => ticket.await.unwrap_or(Err(VolumeError::Lost)),
            Boarding::First(worker, ticket) => {
                let (this, image) = (self.clone(), image.clone());
                let at_hand = self.is_at_hand(&image, &key.geometry);
                let mut assembling = Box::pin(async move { this.assemble(&image, key).await });
                if at_hand && let Some(chunk) = assembling.as_mut().now_or_never() {
                    worker.finish(chunk.clone());
                    return chunk;
                }
                // A task of its own, so that the work goes on for the others if the first to ask goes away.
                tokio::spawn(async move { worker.finish(assembling.await) });
                ticket.await.unwrap_or(Err(VolumeError::Lost))
            }
        }
    }

    /// Whether a chunk is put together from what is in memory, and soon.
    fn is_at_hand(&self, image: &Image, geometry: &ChunkGeometry) -> bool {
        let ChunkGeometry { level, region, chunk } = *geometry;
        let description = image.source.description();
        let Some(grid) = description.levels.get(usize::from(level.0)).map(|level| level.grid) else { return false };
        let is_short = chunk.bytes(description.dtype.size()).is_some_and(|bytes| bytes <= SHORT);
        let mut cells = grid.cells_in(&region);
        let here = |index| self.blocks.has(&BlockKey { image: image.number, level, index });
        is_short && cells.by_ref().take(FEW).all(here) && cells.next().is_none()
    }

    async fn assemble(&self, image: &Arc<Image>, key: ChunkKey) -> Chunk {
        let ChunkGeometry { level, region, chunk } = key.geometry;
        let description = image.source.description();
        let item_size = description.dtype.size();
        let Some(grid) = description.levels.get(level.0 as usize).map(|level| level.grid) else {
            return Err(VolumeError::Unsuitable(format!("there is no level {level}")));
        };
        let mut is_absent = false;
        if let Some(block) = whole_block(image, &key.geometry)
            && let Some((_, result)) = self.blocks.request(image, level, vec![block.index], None).next().await
        {
            match result? {
                // The block is the chunk, and the cache of blocks keeps it.
                Voxels::Present(held) => return Ok(held),
                Voxels::Absent => is_absent = true,
            }
        }
        let bytes = chunk.bytes(item_size).unwrap_or(u64::MAX);
        let Ok(length) = usize::try_from(bytes) else {
            return Err(VolumeError::Unsuitable(format!("a chunk of {chunk} voxels is too large")));
        };
        let lease = self.pool.lease(bytes).await;
        let mut data = vec![0u8; length];
        let full = Region {
            start: region.start,
            end: std::array::from_fn(|axis| region.start[axis].saturating_add(chunk.0[axis])),
        };
        if is_absent {
            fill(&mut Placed { data: data.as_mut_slice(), region: full }, &region, description.fill.as_le_bytes());
        }
        // A chunk that is an absent block has no other ones.
        let mut cells = grid.cells_in(&region).skip(usize::from(is_absent));
        loop {
            let batch: Vec<CellIndex> = cells.by_ref().take(AT_ONCE).collect();
            if batch.is_empty() {
                break;
            }
            let mut results = self.blocks.request(image, level, batch, None);
            while let Some((index, result)) = results.next().await {
                let block = grid.region(index);
                let mut target = Placed { data: data.as_mut_slice(), region: full };
                // What a block has beyond a crop is padding there.
                let Some(part) = block.intersection(&region) else { continue };
                match result? {
                    Voxels::Present(held) => {
                        copy_part(&Placed { data: &held.data, region: block }, &mut target, &part, item_size);
                    }
                    Voxels::Absent => fill(&mut target, &part, description.fill.as_le_bytes()),
                }
            }
        }
        let held = Arc::new(Held::new(Bytes::from(data), lease));
        self.pool.insert(key, held.clone());
        Ok(held)
    }
}

/// The native block that is exactly this chunk, if one is.
fn whole_block(image: &Image, geometry: &ChunkGeometry) -> Option<BlockKey> {
    let ChunkGeometry { level, region, chunk } = *geometry;
    let grid = image.source.description().levels.get(usize::from(level.0))?.grid;
    let index =
        grid.cells_in(&region).next().filter(|&first| region.shape() == chunk && grid.region(first) == region)?;
    Some(BlockKey { image: image.number, level, index })
}
