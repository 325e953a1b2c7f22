//! What an export would cost, without reading a voxel.

use std::collections::BTreeMap;

use futures::StreamExt;

use super::layout::window;
use super::plan::{Plan, Request};
use super::{ExportError, codec::Compression};
use crate::source::Placement;
use crate::volume::plan::{JOINED, Longest, Piece, join};

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

/// Estimates the cost of a request. `most`: bytes of a batch as they will be. Asks for indices only.
pub async fn estimate(request: &Request, most: u64) -> Result<Estimate, ExportError> {
    let plan = Plan::new(request, most)?;
    let compressed = request.options.compression != Compression::None;
    let mut estimate = Estimate { exact: true, whole: true, compressed, ..Estimate::default() };
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
        let mut found: BTreeMap<String, HostEstimate> = BTreeMap::new();
        for number in (0..batches.div_ceil(step)).map(|sample| sample * step) {
            looked_at += 1;
            let batch = layout.batch(number);
            // A block that several batches need is counted with the first of them.
            let mut blocks: Vec<_> = batch.cells().flat_map(|chunk| layout.blocks_of(chunk)).collect();
            blocks.sort();
            blocks.dedup();
            blocks.retain(|block| layout.batches_with(*block).min() == Some(batch.number) || step > 1);
            let shares = blocks.iter().map(|block| if step > 1 { layout.batches_with(*block).count() } else { 1 });
            let shares: Vec<usize> = shares.collect();
            let mut located = futures::stream::iter(blocks.into_iter().zip(shares))
                .map(|(block, share)| async move { (target.image.source.locate(target.level, block).await, share) })
                .buffered(AT_ONCE);
            let mut pieces = Vec::new();
            while let Some((placement, share)) = located.next().await {
                let placement =
                    placement.map_err(|error| ExportError::Open { name: request.name.clone(), error: error.into() })?;
                match placement {
                    Placement::Absent => {}
                    Placement::Range { object, start, length } => {
                        pieces.push(Piece { object, start, length, tag: share })
                    }
                    Placement::Whole { object, limit } | Placement::Gzip { object, limit } => {
                        estimate.exact = false;
                        let host = found.entry(host(object.url())).or_default();
                        host.requests += 1.0 / share as f64;
                        host.bytes += limit as f64 / share as f64;
                    }
                }
            }
            for request in join(pieces, longest) {
                let host = found.entry(host(request.object.url())).or_default();
                let of_one = 1.0 / request.pieces.len().max(1) as f64;
                host.requests += request.pieces.iter().map(|piece| of_one / piece.tag as f64).sum::<f64>();
                let bytes = (request.end - request.start) as f64;
                host.bytes += request.pieces.iter().map(|piece| bytes * of_one / piece.tag as f64).sum::<f64>();
            }
        }
        for (name, of) in found {
            let all = batches as f64 / looked_at.max(1) as f64;
            let host = estimate.hosts.entry(name).or_default();
            host.requests += of.requests * all;
            host.bytes += of.bytes * all;
        }
    }
    Ok(estimate)
}

/// The host in an address; for buckets the bucket's.
fn host(url: &str) -> String {
    let host =
        url::Url::parse(url).ok().and_then(|url| url.host_str().map(|host| (url.scheme().to_owned(), host.to_owned())));
    match host {
        Some((scheme, host)) if scheme.starts_with("http") => host,
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => "files".to_owned(),
    }
}
