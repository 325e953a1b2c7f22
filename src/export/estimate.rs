//! What an export would cost, without reading a voxel. What is kept, or lies on this machine, costs nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::StreamExt;

use super::array::ArrayPlan;
use super::layout::window;
use super::plan::{ExportRequest, Plan};
use super::{ExportError, codec::ChunkCompression};
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::{Cause, RemoteError};
use crate::source::{Placement, SourceError};
use crate::store::{CachedExtent, Object};
use crate::volume::plan::{JOINED, Longest, Piece, join, kept_apart, kept_bytes, kept_wholes};

/// Batches whose blocks are looked up; of more, a part is taken for all.
const LOOKED_AT: u64 = 256;
/// Blocks of a batch that are looked up at a time.
const AT_ONCE: usize = 64;

/// What a host would be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HostEstimate {
    /// Requests, neighbours joined.
    pub requests: f64,
    /// Bytes.
    pub bytes: f64,
}

/// What an export would cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate {
    /// By host, as it stands in addresses.
    pub hosts: BTreeMap<String, HostEstimate>,
    /// Blocks of which not even the place is known, because the index is not kept and nobody may be asked.
    pub unplaced: f64,
    /// Files that would be written.
    pub files: u64,
    /// Bytes of voxels, uncompressed, edge chunks padded.
    pub plain: u64,
    /// Whether what is on disk is smaller than that.
    pub compressed: bool,
    /// Whether the objects' lengths are known, else their bytes are the most there can be.
    pub exact: bool,
    /// Whether all blocks were looked up, else a part was taken for all.
    pub whole: bool,
}

/// Estimates the cost of a request. `most`: bytes of a batch as they will be. Asks for indices only; `offline`: nobody is
/// asked, and what no index that is kept tells of is counted as missing.
pub async fn estimate(request: &ExportRequest, most: u64, offline: bool) -> Result<Estimate, ExportError> {
    let plan = Plan::new(request, most)?;
    let compressed = request.options.compression != ChunkCompression::None;
    let mut estimate = Estimate { exact: true, whole: true, compressed, ..Estimate::default() };
    let is_finest = |target: &&ArrayPlan| target.level == LevelIndex(0);
    let finest: BTreeSet<u32> = plan.targets.iter().filter(is_finest).map(|target| target.image.number).collect();
    let window = window(plan.targets.iter().map(|target| &target.layout));
    for target in &plan.targets {
        let layout = &target.layout;
        let longest = Longest { bytes: JOINED, pieces: window.blocks(layout.block_bytes()) };
        let count = |counts: [u64; 3]| counts.into_iter().fold(1, u64::saturating_mul);
        estimate.files = estimate.files.saturating_add(count(layout.files().counts()));
        let chunks = count(layout.chunks.counts());
        estimate.plain = estimate.plain.saturating_add(chunks.saturating_mul(layout.chunk_bytes()));
        let (batches, step) = (layout.batch_count(), layout.batch_count().div_ceil(LOOKED_AT).max(1));
        estimate.whole &= step == 1;
        let mut looked_at = 0u64;
        let mut missing = Missing { exact: true, ..Missing::default() };
        let mut counted = HashSet::new();
        for number in (0..batches.div_ceil(step)).map(|sample| sample * step) {
            looked_at += 1;
            let batch = layout.batch(number);
            // A block that several batches need is counted with the first of them.
            let mut blocks: Vec<_> = batch.cells().flat_map(|chunk| layout.blocks_of(chunk)).collect();
            blocks.sort();
            blocks.dedup();
            blocks.retain(|block| layout.batches_with(*block).min() == Some(batch.number) || step > 1);
            let stored = stored_blocks(target, &mut blocks, finest.contains(&target.image.number));
            let shares = blocks.iter().map(|block| {
                if stored != target.level {
                    1
                } else if step > 1 {
                    layout.batches_with(*block).count()
                } else {
                    1
                }
            });
            let shares: Vec<usize> = shares.collect();
            let mut located = futures::stream::iter(blocks.into_iter().zip(shares))
                .map(|(block, share)| async move { (target.image.locate(stored, block).await, share) })
                .buffered(AT_ONCE);
            let (mut pieces, mut wholes) = (Vec::new(), Vec::new());
            while let Some((placement, share)) = located.next().await {
                match placement {
                    Ok(placement) if placement.is_local() => {}
                    Ok(Placement::Absent { .. }) => {}
                    Ok(Placement::Range { object, start, length }) => {
                        pieces.push(Piece { object, start, length, tag: share });
                    }
                    Ok(Placement::Whole { object, limit, .. } | Placement::Packed { object, limit, .. }) => {
                        wholes.push((object, limit, share));
                    }
                    Err(SourceError::Remote(RemoteError { cause: Cause::Offline(_), .. })) if offline => {
                        missing.unplaced += 1.0 / share as f64;
                    }
                    Err(error) => return Err(ExportError::Open { name: request.name.clone(), error: error.into() }),
                }
            }
            missing.wholes(wholes).await;
            let (_, pieces) = kept_apart(pieces).await;
            // Several blocks may be parts of one range.
            let is_new = |piece: &Piece<usize>| counted.insert((piece.object.handle(), piece.start, piece.length));
            let pieces = if step == 1 { pieces.into_iter().filter(is_new).collect() } else { pieces };
            missing.joined(pieces, longest).await;
        }
        estimate.add(missing, batches as f64 / looked_at.max(1) as f64);
    }
    Ok(estimate)
}

/// The blocks that have to be fetched for those of a level that is computed: none where the finest level is exported as
/// well. Gives the level that they are of.
fn stored_blocks(target: &ArrayPlan, blocks: &mut Vec<CellIndex>, has_finest: bool) -> LevelIndex {
    if !target.image.is_computed(target.level) {
        return target.level;
    }
    let mut below = BTreeSet::new();
    for block in blocks.drain(..).filter(|_| !has_finest) {
        let (level, region) = target.image.stored(target.level, target.layout.native.region(block));
        below.extend(target.image.grid(level).iter().flat_map(|grid| grid.cells_in(&region)));
    }
    blocks.extend(below);
    LevelIndex(0)
}

impl Estimate {
    /// Whether anything would have to be fetched.
    pub fn fetches(&self) -> bool {
        !self.hosts.is_empty() || self.unplaced > 0.0
    }

    /// Adds what is missing of an array, of which one in `all` parts was looked at.
    fn add(&mut self, missing: Missing, all: f64) {
        self.exact &= missing.exact;
        self.unplaced += missing.unplaced * all;
        for (name, of) in missing.hosts {
            let host = self.hosts.entry(name).or_default();
            host.requests += of.requests * all;
            host.bytes += of.bytes * all;
        }
    }
}

/// What would have to be fetched: it is neither kept nor on this machine.
#[derive(Default)]
struct Missing {
    hosts: BTreeMap<String, HostEstimate>,
    unplaced: f64,
    exact: bool,
}

impl Missing {
    /// Counts blocks that are objects of their own: each with the bytes that it has at the most and by how many batches it is
    /// needed.
    async fn wholes(&mut self, wholes: Vec<(Object, u64, usize)>) {
        let kept = kept_wholes(wholes.iter().map(|(object, ..)| object.clone()).collect()).await;
        for ((object, limit, share), kept) in wholes.into_iter().zip(kept) {
            let bytes = match kept {
                CachedExtent::Present { length, kept } => length.saturating_sub(kept),
                CachedExtent::Unknown => {
                    self.exact = false;
                    limit
                }
            };
            if bytes > 0 {
                self.count(object.url(), 1.0 / share as f64, bytes as f64 / share as f64);
            }
        }
    }

    /// Counts pieces, neighbours joined.
    async fn joined(&mut self, pieces: Vec<Piece<usize>>, longest: Longest) {
        let requests = join(pieces, longest);
        let ranges = requests.iter().map(|request| (request.object.clone(), request.start..request.end));
        let kept = kept_bytes(ranges.collect()).await;
        for (request, kept) in requests.into_iter().zip(kept) {
            let bytes = request.end - request.start - kept;
            let of_one = 1.0 / request.pieces.len().max(1) as f64;
            let requests = request.pieces.iter().map(|piece| of_one / piece.tag as f64).sum::<f64>();
            self.count(request.object.url(), requests, bytes as f64 * requests);
        }
    }

    fn count(&mut self, url: &str, requests: f64, bytes: f64) {
        let host = self.hosts.entry(host(url)).or_default();
        host.requests += requests;
        host.bytes += bytes;
    }
}

/// The host in an address; for buckets the bucket's.
fn host(url: &str) -> String {
    let host =
        url::Url::parse(url).ok().and_then(|url| url.host_str().map(|host| (url.scheme().to_owned(), host.to_owned())));
    match host {
        Some((scheme, host)) if scheme.starts_with("http") => host,
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => url.to_owned(),
    }
}
