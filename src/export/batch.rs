//! One batch: its blocks are fetched, copied into the chunks that need them, and each chunk is written once it is whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::array::ArrayExport;
use super::block_log::ExportBlockLog;
use super::destination::{Destination, blocking};
use super::error::ExportError;
use super::layout::Batch;
use super::outage::Outage;
use super::progress::Progress;
use super::versions::ObservedVersions;
use crate::cache::MemoryBudget;
use crate::geometry::{CellIndex, Region};
use crate::task;
use crate::volume::block::BlockVoxels;
use crate::volume::copy::{PlacedArray, copy_part, fill};
use crate::volume::{Blocks, BulkRead, VolumeError};

/// Blocks asked for at once, whose neighbours are joined to requests; each takes memory while it is waited for.
const AT_ONCE: usize = 1 << 14;

/// What all batches share.
#[derive(Clone)]
pub(super) struct BatchWork {
    pub(super) blocks: Arc<Blocks>,
    /// Memory for chunks that are being filled.
    pub(super) buffers: Arc<MemoryBudget<()>>,
    /// Threads that compress.
    pub(super) jobs: Arc<Semaphore>,
    pub(super) destination: Destination,
    pub(super) progress: Arc<Progress>,
    pub(super) versions: Arc<ObservedVersions>,
    pub(super) outage: Arc<Outage>,
    /// For messages.
    pub(super) name: String,
}

impl BatchWork {
    /// Before anything is written that was made of them, so that an interrupted export knows what it is made of.
    async fn save_versions(&self) -> Result<(), ExportError> {
        if self.versions.are_saved() {
            return Ok(());
        }
        let versions = self.versions.clone();
        let saved = task::spawn_blocking(move || versions.save()).await;
        saved.map_err(ExportError::write("noting versions"))?
    }
}

/// A chunk that is not whole yet.
struct Chunk {
    /// Allocated with the first block.
    voxels: Vec<u8>,
    /// Blocks that are still missing.
    left: usize,
}

struct Filling<'a> {
    work: &'a BatchWork,
    array: &'a Arc<ArrayExport>,
    chunks: HashMap<CellIndex, Chunk>,
    failed: bool,
    writing: JoinSet<Result<(), ExportError>>,
}

/// Fetches and writes what is missing of a batch. Chunks that cannot be had are noted and do not stop the others; a
/// destination that cannot be written is an error, and so is an origin that cannot be asked any more.
pub(super) async fn run(
    work: &BatchWork,
    array: &Arc<ArrayExport>,
    log: &ExportBlockLog,
    bulk: &BulkRead,
    batch: &Batch,
) -> Result<(), ExportError> {
    if array.is_finished(batch.number) {
        return Ok(());
    }
    let layout = &array.target.layout;
    let mut chunks = HashMap::new();
    let mut blocks = BTreeSet::new();
    for chunk in batch.cells().filter(|chunk| !array.is_done(*chunk)) {
        let needed: Vec<CellIndex> = layout.blocks_of(chunk).collect();
        chunks.insert(chunk, Chunk { voxels: Vec::new(), left: needed.len() });
        blocks.extend(needed);
    }
    let bytes = layout.chunk_bytes().saturating_mul(chunks.len() as u64);
    let _lease = work.buffers.lease(bytes.saturating_add(layout.block_bytes())).await;
    let mut filling = Filling { work, array, chunks, failed: false, writing: JoinSet::new() };
    let wanted: Vec<CellIndex> = blocks.iter().copied().collect();
    let mut is_down = false;
    for part in wanted.chunks(AT_ONCE) {
        if is_down {
            break;
        }
        let mut results = work.blocks.request(&array.target.image, array.target.level, part.to_vec(), Some(bulk));
        while !is_down && let Some((block, result)) = results.next().await {
            log.check()?;
            match result {
                Ok(voxels) => {
                    filling.add(block, &voxels);
                    drop(voxels);
                    let is_last = |other| other == batch.number || array.is_finished(other);
                    if !array.target.is_below && layout.batches_with(block).all(is_last) {
                        // Its memory is what the next block is decoded into.
                        work.blocks.release(&array.target.image, array.target.level, block);
                    }
                }
                Err(error) => {
                    filling.fail(block, &error);
                    is_down = work.outage.is_hopeless(&error);
                }
            }
        }
    }
    let is_complete = filling.finish().await?;
    if is_down {
        let reason = "the origin cannot be reached any more and the rest was not tried";
        let advice = "the same command with --resume goes on";
        return Err(ExportError::Incomplete(format!("{}: {reason}; {advice}", work.name)));
    }
    if is_complete {
        array.finish(batch.number);
    }
    let kept: Vec<CellIndex> = blocks.into_iter().filter(|block| array.journal.has(*block)).collect();
    let array = array.clone();
    let released = blocking(move || {
        let done: Vec<CellIndex> = kept.into_iter().filter(|block| !array.needs(*block)).collect();
        array.journal.release(&done);
        Ok(())
    });
    released.await.map_err(ExportError::write("the journal"))
}

impl Filling<'_> {
    /// Copies a block, or the fill value where the origin has none, into the chunks that need it. They are given up where some
    /// of it is missing.
    fn add(&mut self, block: CellIndex, voxels: &BlockVoxels) {
        let target = &self.array.target;
        let layout = &target.layout;
        let item_size = target.dtype.size();
        let from = layout.native.region(block);
        let mut is_whole = true;
        for index in layout.chunks_with(block) {
            let Some(chunk) = self.chunks.get_mut(&index) else { continue };
            if chunk.voxels.is_empty() {
                chunk.voxels = vec![0; usize::try_from(layout.chunk_bytes()).unwrap_or(0)];
            }
            // At the far edges the file has voxels that the array does not have; they stay 0.
            let shown = layout.in_source(&layout.chunks.region(index));
            let full = Region {
                start: shown.start,
                end: std::array::from_fn(|axis| shown.start[axis].saturating_add(layout.chunks.cell.0[axis])),
            };
            let mut to = PlacedArray { data: chunk.voxels.as_mut_slice(), region: full };
            // A block may reach beyond a crop, where the file is padding.
            if let Some(part) = from.intersection(&shown) {
                let is_put = match voxels {
                    BlockVoxels::Present(held) => {
                        self.array.absent.note_present();
                        copy_part(&PlacedArray { data: &held.data, region: from }, &mut to, &part, item_size)
                    }
                    BlockVoxels::Absent => {
                        self.array.absent.note(block);
                        fill(&mut to, &part, target.fill.as_le_bytes())
                    }
                };
                if !is_put {
                    is_whole = false;
                    continue;
                }
            }
            chunk.left = chunk.left.saturating_sub(1);
            if chunk.left == 0
                && let Some(chunk) = self.chunks.remove(&index)
            {
                self.write(index, chunk.voxels);
            }
        }
        if !is_whole {
            self.fail(block, &VolumeError::Lost);
        }
    }

    fn write(&mut self, index: CellIndex, voxels: Vec<u8>) {
        let (work, array) = (self.work.clone(), self.array.clone());
        self.writing.spawn(async move {
            // Never closed, and without a permit compressing would only be less orderly.
            let permit = work.jobs.acquire().await;
            let (compression, dtype) = (array.target.compression, array.target.dtype);
            let encoded = task::spawn_blocking(move || compression.encode(voxels, dtype)).await;
            let key = || format!("{}/{} {index}", work.destination, array.target.path);
            let encoded = encoded.map_err(ExportError::write(key()))?.map_err(ExportError::write(key()))?;
            drop(permit);
            work.save_versions().await?;
            array.save_absent().await?;
            array.write(&work.destination, index, encoded, &work.progress).await?;
            let shown = array.target.layout.chunks.region(index).shape();
            work.progress.did(shown.voxels().unwrap_or(0));
            Ok(())
        });
    }

    /// Gives up the chunks that need a block which cannot be had.
    fn fail(&mut self, block: CellIndex, error: &VolumeError) {
        for index in self.array.target.layout.chunks_with(block) {
            if self.chunks.remove(&index).is_some() {
                self.failed = true;
                let path = &self.array.target.path;
                self.work.progress.fail(|| format!("{}: chunk {path}/{index}: {error}", self.work.name));
            }
        }
    }

    /// Waits until all is written; says whether that is the whole batch.
    async fn finish(mut self) -> Result<bool, ExportError> {
        while let Some(written) = self.writing.join_next().await {
            written.map_err(ExportError::write("writing a chunk"))??;
        }
        Ok(!self.failed && self.chunks.is_empty())
    }
}
