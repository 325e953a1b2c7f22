//! Computes blocks of coarser levels from blocks of the level below, or finds them on disk.
//!
//! A block waits for blocks of the level below and these for those of the next one, so that whoever has memory for one level
//! waits for lower ones only: each level has a pool of its own for what is being computed, and nobody waits in a circle. Of
//! each pool a place has its share, because blocks of the stored level are waited for as long as their host takes.
//! Blocks of the level below are copied to where they are needed as they come, and none is held while another is waited for.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;

use super::kept::{self, BlockVersions};
use super::parts::parts;
use super::rule::{HalvedRanges, downsample};
use super::{ComputedLevel, KeptLevels};
use crate::cache::Held;
use crate::geometry::{CellIndex, Grid, LevelIndex, Region, Shape};
use crate::task;
use crate::volume::VolumeError;
use crate::volume::block::{BlockKey, BlockLeader, BlockOutcome, BlockVoxels, Requested, sooner};
use crate::volume::block_memory::BlockMemory;
use crate::volume::bulk_read::BulkRead;
use crate::volume::copy::{PlacedArray, copy_part, fill};
use crate::volume::image::Image;

/// Planes of at most so many bytes together are fetched as a whole, though only a part of them is needed: what is next to
/// it is mostly asked for next, and a request costs more than that.
const WHOLE_PLANES: u64 = 16 << 20;

/// A request for what a block is made of is about this long, which is that of a plane of the most common cameras.
const MAX_REQUEST: u64 = 8 << 20;

/// Parts are not made of less than this for want of memory.
const SHORTEST_PART: u64 = 1 << 20;

/// Blocks of the level below that are asked for at once.
const AT_ONCE: usize = 256;

/// Gives the blocks that others are computed from.
pub(in crate::volume) trait Below: Send + Sync {
    /// The memory for blocks.
    fn memory(&self) -> &BlockMemory;

    /// Asks for blocks of one level, with joined requests of about `longest` bytes.
    fn request(
        self: Arc<Self>,
        image: &Arc<Image>,
        level: LevelIndex,
        wanted: Vec<CellIndex>,
        longest: u64,
    ) -> Requested;
}

/// A computed block: its voxels and what they were made of.
struct Made {
    voxels: Bytes,
    versions: Option<Arc<[u64]>>,
    /// When they hold no longer, where some of that was absent.
    until: Option<Instant>,
}

/// What a block is made of: the versions, and when it holds no longer.
struct Sources {
    versions: BlockVersions,
    until: Option<Instant>,
}

/// Does the work for a block of a computed level, and hands it to all who wait.
pub(in crate::volume) fn compute(
    blocks: Arc<dyn Below>,
    image: Arc<Image>,
    leader: BlockLeader,
    bulk: Option<BulkRead>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let key = *leader.key();
        let work = Work { blocks: &blocks, image: &image, key, bulk: bulk.as_ref() };
        let result = tokio::select! {
            result = work.run() => result,
            () = work.unwanted() => return leader.give_up(),
        };
        match result {
            Ok(held) => blocks.memory().finish(leader, held),
            Err(error) => leader.finish(BlockOutcome::failed(error)),
        }
    })
}

struct Work<'a> {
    blocks: &'a Arc<dyn Below>,
    image: &'a Arc<Image>,
    key: BlockKey,
    bulk: Option<&'a BulkRead>,
}

impl Work<'_> {
    /// Ends once nobody waits for the block any more, which then asks for no more blocks below. Where all of a level is read,
    /// that is never.
    async fn unwanted(&self) {
        match self.bulk {
            None => self.blocks.memory().unwanted(&[self.key]).await,
            Some(_) => std::future::pending().await,
        }
    }

    async fn run(&self) -> Result<Held, VolumeError> {
        let BlockKey { level, index, .. } = self.key;
        let levels = self.image.computed();
        let unknown = || VolumeError::Unsuitable(format!("there is no level {level}"));
        let computed = levels.get(level).ok_or_else(unknown)?;
        let bytes = self.image.block_bytes(self.key);
        if let Some(noted) = self.noted(bytes).await {
            return Ok(noted);
        }
        let kept = levels.kept.as_ref();
        if let Some(kept) = kept
            && let Some(held) = self.kept(kept, bytes).await
        {
            return Ok(held);
        }
        let Made { voxels, versions, until } = self.make(computed).await?;
        if let (Some(kept), Some(versions)) = (kept.filter(|kept| kept.is_writable()), &versions)
            && let Some(place) = kept.place(levels, level, index, versions, bytes)
        {
            kept.write(&place, voxels.clone());
        }
        // What rests on an absence is looked at anew by whoever goes on with an interrupted copy.
        let is_certain = versions.as_ref().is_some_and(|versions| !versions.contains(&kept::ABSENT));
        if let Some(bulk) = self.bulk.filter(|_| is_certain) {
            bulk.note(vec![(index, voxels.clone())]).await;
        }
        let lease = self.blocks.memory().reserve_kept(bytes).await.lease;
        Ok(Held::new(voxels, lease).of_versions(versions).until(until))
    }

    /// The block where the journal of a copy has it.
    async fn noted(&self, bytes: u64) -> Option<Held> {
        let bulk = self.bulk.filter(|bulk| bulk.journal.has(self.key.index))?;
        let lease = self.blocks.memory().reserve_kept(bytes).await.lease;
        let noted = bulk.noted(self.key.index).await.filter(|noted| noted.len() as u64 == bytes);
        if noted.is_none() {
            bulk.forget(self.key.index).await;
        }
        noted.map(|noted| Held::new(noted, lease))
    }

    /// The block where it is kept on disk and everything that it was made of is believed to be what it was.
    async fn kept(&self, kept: &KeptLevels, bytes: u64) -> Option<Held> {
        let BlockKey { level, index, .. } = self.key;
        let levels = self.image.computed();
        let versions = kept::believed(&*self.image.source, levels, level, index).await?;
        let place = kept.place(levels, level, index, &versions, bytes)?;
        let lease = self.blocks.memory().reserve_kept(bytes).await.lease;
        let voxels = kept.read(&place).await.filter(|voxels| voxels.len() as u64 == bytes)?;
        let is_certain = !versions.contains(&kept::ABSENT);
        let until = if is_certain { None } else { self.blocks.memory().absent_until() };
        Some(Held::new(voxels, lease).of_versions(Some(versions)).until(until))
    }

    /// Refuses to go on where whoever wanted it has given up. It takes no part of what may be under way: blocks that it waits
    /// for may wait for that.
    fn check_wanted(&self) -> Result<(), VolumeError> {
        match self.bulk {
            Some(bulk) if bulk.window.is_closed() => Err(VolumeError::GivenUp),
            _ => Ok(()),
        }
    }

    /// Computes the block, part by part.
    async fn make(&self, computed: &ComputedLevel) -> Result<Made, VolumeError> {
        let BlockKey { level, index, .. } = self.key;
        let below = LevelIndex(level.0 - 1);
        let size = self.image.item_size();
        let grid = self.image.grid(below).ok_or(VolumeError::Lost)?;
        let region = computed.grid.region(index);
        let memory = self.blocks.memory();
        let most = memory.computing_limit(level).clamp(SHORTEST_PART, MAX_REQUEST);
        let parts = parts(computed, region, &grid, size, most);
        let bytes = |region: &Region| region.shape().bytes(size).unwrap_or(u64::MAX);
        let largest = parts.iter().map(|part| bytes(&computed.below(part))).max().unwrap_or(0);
        // As long as it is computed, and never while memory for blocks that are done is waited for by somebody lower.
        let needed = bytes(&region).saturating_add(largest);
        let _reservation = memory.reserve_computing(level, &self.image.place, needed).await;
        let mut whole = vec![0u8; length(bytes(&region))?];
        let mut sources = Sources { versions: BlockVersions::none(), until: None };
        let planes = self.planes(computed, &region, &grid, below);
        for part in parts {
            self.check_wanted()?;
            let made = self.part(computed, &part, (below, &grid), planes, &mut sources).await?;
            let mut target = PlacedArray { data: whole.as_mut_slice(), region };
            if !copy_part(&PlacedArray { data: &made, region: part }, &mut target, &part, size) {
                return Err(VolumeError::Lost);
            }
        }
        Ok(Made { voxels: whole.into(), versions: sources.versions.all(), until: sources.until })
    }

    /// The whole planes that are fetched for a block, where it is made of such and they are not too large.
    fn planes(&self, computed: &ComputedLevel, region: &Region, grid: &Grid, below: LevelIndex) -> Option<Region> {
        if below.0 != 0 || self.image.source.description().chunked || self.bulk.is_some() {
            return None;
        }
        let Region { start, end } = computed.below(region);
        let planes = Region { start: [start[0], 0, 0], end: [end[0], grid.shape.0[1], grid.shape.0[2]] };
        let most = WHOLE_PLANES.min(self.blocks.memory().limit() / 4);
        planes.shape().bytes(self.image.item_size()).filter(|bytes| *bytes <= most).map(|_| planes)
    }

    /// Computes a part of the block.
    async fn part(
        &self,
        computed: &ComputedLevel,
        part: &Region,
        (below, grid): (LevelIndex, &Grid),
        planes: Option<Region>,
        sources: &mut Sources,
    ) -> Result<Vec<u8>, VolumeError> {
        let size = self.image.item_size();
        let source = computed.below(part);
        let mut whole = vec![0u8; length(source.shape().bytes(size).unwrap_or(u64::MAX))?];
        let mut needed = grid.cells_in(&source);
        let mut beside: Vec<CellIndex> = planes.iter().flat_map(|planes| grid.cells_in(planes)).collect();
        beside.retain(|cell| grid.region(*cell).intersection(&source).is_none());
        loop {
            let mut batch: Vec<CellIndex> = needed.by_ref().take(AT_ONCE).collect();
            let mut left = batch.len();
            if left == 0 {
                break;
            }
            batch.append(&mut beside);
            let mut results = self.blocks.clone().request(self.image, below, batch, MAX_REQUEST);
            // What is fetched along need not come, and is not waited for.
            while left > 0
                && let Some((index, result)) = results.next().await
            {
                let block = grid.region(index);
                let Some(shared) = block.intersection(&source) else { continue };
                left -= 1;
                let mut target = PlacedArray { data: whole.as_mut_slice(), region: source };
                let voxels = result?;
                let key = BlockKey { image: self.image.number, level: below, index };
                sources.until = sooner(sources.until, self.blocks.memory().holds_until(&key, &voxels));
                let is_whole = match voxels {
                    BlockVoxels::Present(held) => {
                        sources.versions.add(held.versions().map(|versions| &**versions));
                        copy_part(&PlacedArray { data: &held.data, region: block }, &mut target, &shared, size)
                    }
                    BlockVoxels::Absent => {
                        sources.versions.add(Some(&[kept::ABSENT]));
                        fill(&mut target, &shared, self.image.source.description().fill.as_le_bytes())
                    }
                };
                if !is_whole {
                    return Err(VolumeError::Lost);
                }
            }
            if left > 0 {
                return Err(VolumeError::Lost);
            }
        }
        let windows: [Vec<(usize, usize)>; 3] = std::array::from_fn(|axis| windows(computed, part, &source, axis));
        let (rule, dtype) = (self.image.computed().rule, self.image.source.description().dtype);
        let Shape([_, height, width]) = source.shape();
        let _permit = self.blocks.memory().decoding().await;
        let work = task::spawn_blocking(move || {
            let [z, y, x] = &windows;
            downsample(rule, dtype, &whole, [height as usize, width as usize], &HalvedRanges { z, y, x })
        });
        work.await.ok().flatten().ok_or(VolumeError::Lost)
    }
}

/// For each voxel of a part along an axis, those of `source` that it is made of.
fn windows(computed: &ComputedLevel, part: &Region, source: &Region, axis: usize) -> Vec<(usize, usize)> {
    let place = |voxel: u64| (voxel.clamp(source.start[axis], source.end[axis]) - source.start[axis]) as usize;
    let ends = |voxel: u64| (place(computed.start(axis, voxel)), place(computed.start(axis, voxel + 1)));
    (part.start[axis]..part.end[axis]).map(ends).collect()
}

fn length(bytes: u64) -> Result<usize, VolumeError> {
    let fits = usize::try_from(bytes).ok().filter(|bytes| isize::try_from(*bytes).is_ok());
    fits.ok_or_else(|| VolumeError::Unsuitable(format!("a block of {bytes} bytes is too large")))
}

#[cfg(test)]
mod tests;
