//! One batch: its blocks are fetched, copied into the chunks that need them, and each chunk is written once it is whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::array::Array;
use super::destination::{Destination, blocking};
use super::error::ExportError;
use super::layout::Batch;
use super::progress::Progress;
use super::spool::Claim;
use super::versions::Versions;
use crate::cache::Pool;
use crate::geometry::{CellIndex, Region};
use crate::volume::blocks::Voxels;
use crate::volume::copy::{Placed, copy_part, fill};
use crate::volume::{Blocks, VolumeError};

/// Blocks asked for at once; more would only wait for memory.
const AT_ONCE: usize = 1024;
/// A batch that is a larger part of its array than one in so many has its blocks kept on disk until it is written, so
/// that they are not lost with an interrupted export.
const LARGE: u64 = 16;

/// What all batches share.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) blocks: Arc<Blocks>,
    /// Memory for chunks that are being filled.
    pub(super) buffers: Arc<Pool<()>>,
    /// Threads that compress.
    pub(super) jobs: Arc<Semaphore>,
    pub(super) destination: Destination,
    pub(super) progress: Arc<Progress>,
    pub(super) versions: Arc<Versions>,
    /// For messages.
    pub(super) name: String,
}

impl Work {
    /// Before anything is written that was made of them, so that an interrupted export knows what it is made of.
    async fn save_versions(&self) -> Result<(), ExportError> {
        if self.versions.are_saved() {
            return Ok(());
        }
        let versions = self.versions.clone();
        let saved = tokio::task::spawn_blocking(move || versions.save()).await;
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
    work: &'a Work,
    array: &'a Arc<Array>,
    chunks: HashMap<CellIndex, Chunk>,
    failed: bool,
    /// Whether all that failed did because the origin could not be asked.
    outage: bool,
    /// Whether any chunk is whole.
    any: bool,
    writing: JoinSet<Result<(), ExportError>>,
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it is written.
    Complete,
    /// Some of it is.
    Partly,
    /// Nothing of it could be had, because the origin could not be asked.
    InVain,
}

/// Fetches and writes what is missing of a batch. Chunks that cannot be had are noted
/// and do not stop the others; a destination that cannot be written is an error.
pub(super) async fn run(work: &Work, array: &Arc<Array>, batch: &Batch) -> Result<Ended, ExportError> {
    if array.is_finished(batch.number) {
        return Ok(Ended::Complete);
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
    let whole = layout.chunks.shape.bytes(layout.item_size).unwrap_or(u64::MAX);
    let large = bytes > whole / LARGE;
    let mut filling = Filling { work, array, chunks, failed: false, outage: true, any: false, writing: JoinSet::new() };
    let mut wanted: Vec<CellIndex> = blocks.iter().copied().collect();
    while !wanted.is_empty() {
        let (mut missing, mut elsewhere) = (Vec::new(), Vec::new());
        let mut claims = HashMap::new();
        for block in wanted {
            match array.spool.claim(block) {
                // Looked for only now, because whoever had claimed it may just have kept it.
                Ok(claim) => match kept(array, block).await {
                    Some(voxels) => filling.add(block, Some(&voxels[..]).filter(|voxels| !voxels.is_empty())),
                    None => {
                        claims.insert(block, claim);
                        missing.push(block);
                    }
                },
                Err(other) => elsewhere.push((block, other)),
            }
        }
        for part in missing.chunks(AT_ONCE) {
            let mut results = work.blocks.request(&array.target.image, array.target.level, part.to_vec());
            while let Some((block, result)) = results.next().await {
                let claim = claims.remove(&block);
                let voxels = match result {
                    Ok(voxels) => voxels,
                    Err(error) => {
                        filling.fail(block, &error);
                        continue;
                    }
                };
                let others =
                    || layout.batches_with(block).any(|other| other != batch.number && !array.is_finished(other));
                if large || others() {
                    filling.keep(block, voxels.clone(), claim);
                }
                filling.add(block, plain(&voxels));
            }
        }
        wanted = Vec::with_capacity(elsewhere.len());
        for (block, other) in elsewhere {
            // Never has a permit: it is closed when the other batch has kept the block, or could not have it.
            let _ = other.acquire().await;
            wanted.push(block);
        }
    }
    let ended = filling.finish().await?;
    if ended == Ended::Complete {
        array.finish(batch.number);
    }
    for block in blocks {
        if array.spool.has(block) && layout.batches_with(block).all(|other| array.is_finished(other)) {
            array.spool.remove(block);
        }
    }
    Ok(ended)
}

/// The voxels of a block that was kept, none for one that the origin does not have.
async fn kept(array: &Arc<Array>, block: CellIndex) -> Option<Vec<u8>> {
    if !array.spool.has(block) {
        return None;
    }
    let layout = &array.target.layout;
    let length = layout.native.region(block).shape().bytes(layout.item_size)?;
    let array = array.clone();
    blocking(move || Ok(array.spool.get(block, length))).await.ok().flatten()
}

/// The bytes of a block, where the origin has it.
fn plain(voxels: &Voxels) -> Option<&[u8]> {
    match voxels {
        Voxels::Present(held) => Some(&held.data),
        Voxels::Absent => None,
    }
}

impl Filling<'_> {
    /// Keeps a block on disk, then lets go of it.
    fn keep(&mut self, block: CellIndex, voxels: Voxels, claim: Option<Claim>) {
        let (work, array) = (self.work.clone(), self.array.clone());
        self.writing.spawn(async move {
            work.save_versions().await?;
            let kept = blocking(move || array.spool.put(block, plain(&voxels).unwrap_or_default())).await;
            drop(claim);
            kept.map_err(ExportError::write("keeping a block for later"))
        });
    }

    /// Copies a block, or the fill value where the origin has none, into the chunks that need it.
    fn add(&mut self, block: CellIndex, voxels: Option<&[u8]>) {
        let target = &self.array.target;
        let layout = &target.layout;
        let item_size = target.dtype.size();
        let from = layout.native.region(block);
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
            let mut to = Placed { data: chunk.voxels.as_mut_slice(), region: full };
            // A block may reach beyond a crop, where the file is padding.
            if let Some(part) = from.intersection(&shown) {
                match voxels {
                    Some(data) => copy_part(&Placed { data, region: from }, &mut to, &part, item_size),
                    None => fill(&mut to, &part, target.fill.as_le_bytes()),
                }
            }
            chunk.left = chunk.left.saturating_sub(1);
            if chunk.left == 0
                && let Some(chunk) = self.chunks.remove(&index)
            {
                self.write(index, chunk.voxels);
            }
        }
    }

    fn write(&mut self, index: CellIndex, voxels: Vec<u8>) {
        self.any = true;
        let (work, array) = (self.work.clone(), self.array.clone());
        self.writing.spawn(async move {
            // Never closed, and without a permit compressing would only be less orderly.
            let _permit = work.jobs.acquire().await;
            let (compression, dtype) = (array.target.compression, array.target.dtype);
            let encoded = tokio::task::spawn_blocking(move || compression.encode(voxels, dtype)).await;
            let key = || format!("{}/{} {index}", work.destination, array.target.path);
            let encoded = encoded.map_err(ExportError::write(key()))?.map_err(ExportError::write(key()))?;
            work.save_versions().await?;
            array.write(&work.destination, index, encoded, &work.progress).await?;
            let shown = array.target.layout.chunks.region(index).shape();
            work.progress.did(shown.voxels().unwrap_or(0));
            Ok(())
        });
    }

    /// Gives up the chunks that need a block which cannot be had.
    fn fail(&mut self, block: CellIndex, error: &VolumeError) {
        self.outage &= error.is_outage();
        for index in self.array.target.layout.chunks_with(block) {
            if self.chunks.remove(&index).is_some() {
                self.failed = true;
                let path = &self.array.target.path;
                self.work.progress.fail(|| format!("{}: chunk {path}/{index}: {error}", self.work.name));
            }
        }
    }

    /// Waits until all is written.
    async fn finish(mut self) -> Result<Ended, ExportError> {
        let in_vain = self.failed && self.outage && !self.any;
        while let Some(written) = self.writing.join_next().await {
            written.map_err(ExportError::write("writing a chunk"))??;
        }
        Ok(match self.failed || !self.chunks.is_empty() {
            false => Ended::Complete,
            true if in_vain => Ended::InVain,
            true => Ended::Partly,
        })
    }
}
