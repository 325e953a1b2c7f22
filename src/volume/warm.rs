//! Fetches the bytes of blocks to be kept on disk, without decoding them.

mod computed;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::VolumeError;
use super::image::Image;
use super::parts::fetch_parts;
use super::plan::{JOINED, Piece, PlannedRequest, join};
use crate::disk::Disk;
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::RemoteError;
use crate::source::{Placement, SourceError};
use crate::store::{CachedExtent, Object, Witness};

/// Requests of one image under way at once; its host may allow fewer.
const AT_ONCE: usize = 8;

/// Bytes of requests after which an image waits for the disk.
const BATCH: u64 = 16 << 20;

/// Of all images, KiB that may be fetched and not be written yet: the disk drops what comes much faster than it writes.
const UNWRITTEN: u32 = 48 << 10;

/// How often bytes are fetched that the disk dropped.
const ATTEMPTS: u32 = 3;

pub use computed::warm_computed;

/// How far it is.
#[derive(Debug)]
pub struct WarmProgress {
    /// Blocks looked at.
    pub blocks: AtomicU64,
    /// Those of which all was kept before.
    pub found: AtomicU64,
    /// Those in files of this machine, which are not kept.
    pub local: AtomicU64,
    /// Those that the archive does not have, by dataset.
    pub absent: Mutex<BTreeMap<String, u64>>,
    unwritten: Semaphore,
}

impl Default for WarmProgress {
    fn default() -> Self {
        let ((blocks, found, local), absent) = Default::default();
        WarmProgress { blocks, found, local, absent, unwritten: Semaphore::new(UNWRITTEN as usize) }
    }
}

impl WarmProgress {
    fn count_absent(&self, image: &Image, blocks: u64) {
        if blocks > 0 {
            *self.absent.lock().entry(image.dataset().to_owned()).or_default() += blocks;
        }
    }
}

/// A block whose bytes could not be had or kept.
pub type BlockFailure = (CellIndex, VolumeError);

/// Something to fetch, and the blocks in it.
enum Job {
    Range(PlannedRequest<CellIndex>),
    Whole { object: Object, limit: u64, witness: Witness, block: CellIndex },
}

/// Fetches what of `blocks` of a level is not on `disk` yet; returns those that are not there in the end.
pub async fn warm(
    image: &Image,
    level: LevelIndex,
    blocks: &[CellIndex],
    disk: &Disk,
    progress: &WarmProgress,
) -> Vec<BlockFailure> {
    let located = join_all(blocks.iter().map(|&block| image.locate(level, block))).await;
    let mut failures = Vec::new();
    let (mut pieces, mut jobs, mut found, mut local, mut absent) = (Vec::new(), Vec::new(), 0, 0, 0);
    for (&block, placement) in blocks.iter().zip(located) {
        match placement {
            Ok(Placement::Absent { .. }) => (found, absent) = (found + 1, absent + 1),
            Ok(placement) if placement.is_local() => local += 1,
            Ok(Placement::Range { object, start, length }) => {
                let piece = Piece { object, start, length, tag: block };
                if piece.is_kept() { found += 1 } else { pieces.push(piece) }
            }
            Ok(Placement::Whole { object, .. } | Placement::Packed { object, .. }) if is_kept(&object) => found += 1,
            Ok(Placement::Whole { object, limit, witness } | Placement::Packed { object, limit, witness, .. }) => {
                jobs.push(Job::Whole { object, limit, witness, block })
            }
            Err(error) => failures.push((block, error.into())),
        }
    }
    progress.found.fetch_add(found, Ordering::Relaxed);
    progress.local.fetch_add(local, Ordering::Relaxed);
    progress.count_absent(image, absent);
    progress.blocks.fetch_add(found + local + failures.len() as u64, Ordering::Relaxed);
    jobs.extend(join(pieces, JOINED).into_iter().map(Job::Range));
    for batch in batches(jobs) {
        let kib = u32::try_from(batch.iter().map(Job::bytes).sum::<u64>().div_ceil(1024)).unwrap_or(u32::MAX);
        // Never closed, and without a permit only more would have to be fetched again.
        let _permit = progress.unwritten.acquire_many(kib.min(UNWRITTEN)).await;
        let mut left = batch;
        for attempt in 1..=ATTEMPTS {
            let again = run(image, left, disk, progress, &mut failures).await;
            if again.is_empty() || attempt == ATTEMPTS {
                failures.extend(again.iter().flat_map(Job::not_kept).map(|block| (block, VolumeError::NotKept)));
                break;
            }
            left = again;
        }
    }
    failures
}

/// Fetches and waits for the disk; returns the jobs of which not all is kept.
async fn run(
    image: &Image,
    jobs: Vec<Job>,
    disk: &Disk,
    progress: &WarmProgress,
    failures: &mut Vec<BlockFailure>,
) -> Vec<Job> {
    let fetching = stream::iter(jobs).map(|job| async {
        let result = fetch(&job).await;
        if let Ok(false) = result {
            progress.count_absent(image, 1);
        }
        progress.blocks.fetch_add(job.blocks(), Ordering::Relaxed);
        (job, result)
    });
    let fetched: Vec<_> = fetching.buffer_unordered(AT_ONCE).collect().await;
    flush(disk).await;
    let mut again = Vec::new();
    for (job, result) in fetched {
        match result {
            Ok(_) if job.not_kept().is_empty() => {}
            Ok(_) => again.push(job),
            Err(error) => {
                let error = VolumeError::Source(SourceError::from(error));
                failures.extend(job.into_blocks().into_iter().map(|block| (block, error.clone())));
            }
        }
    }
    progress.blocks.fetch_sub(again.iter().map(Job::blocks).sum(), Ordering::Relaxed);
    again
}

/// Jobs of about [`BATCH`] bytes together.
fn batches(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut batches: Vec<Vec<Job>> = Vec::new();
    let mut bytes = BATCH;
    for job in jobs {
        bytes = bytes.saturating_add(job.bytes());
        match batches.last_mut() {
            Some(last) if bytes <= BATCH => last.push(job),
            _ => {
                bytes = job.bytes();
                batches.push(vec![job]);
            }
        }
    }
    batches
}

fn is_kept(object: &Object) -> bool {
    match object.kept_whole() {
        CachedExtent::Present { length, kept } => length == kept,
        CachedExtent::Unknown => false,
    }
}

/// Returns whether the archive has it.
async fn fetch(job: &Job) -> Result<bool, RemoteError> {
    match job {
        Job::Range(request) => fetch_parts(&request.object, request.start..request.end).await.map(|_| true),
        Job::Whole { object, limit, witness, .. } => {
            object.whole_if_there(*limit, witness).await.map(|fetched| fetched.is_some())
        }
    }
}

async fn flush(disk: &Disk) {
    let disk = disk.clone();
    // Fails only where the thread panics, and then the blocks are found missing.
    let _ = tokio::task::spawn_blocking(move || disk.flush()).await;
}

impl Job {
    /// Bytes at most.
    fn bytes(&self) -> u64 {
        match self {
            Job::Range(request) => request.end - request.start,
            Job::Whole { limit, .. } => *limit,
        }
    }

    fn blocks(&self) -> u64 {
        match self {
            Job::Range(request) => request.pieces.len() as u64,
            Job::Whole { .. } => 1,
        }
    }

    fn into_blocks(self) -> Vec<CellIndex> {
        match self {
            Job::Range(request) => request.pieces.into_iter().map(|piece| piece.tag).collect(),
            Job::Whole { block, .. } => vec![block],
        }
    }

    fn not_kept(&self) -> Vec<CellIndex> {
        match self {
            Job::Range(request) => {
                request.pieces.iter().filter(|piece| !piece.is_kept()).map(|piece| piece.tag).collect()
            }
            Job::Whole { object, witness, block, .. } => {
                let is_there = is_kept(object) || witness.knows_absent(object).is_some();
                (!is_there).then_some(*block).into_iter().collect()
            }
        }
    }
}
