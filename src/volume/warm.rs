//! Fetches the bytes of blocks to be kept on disk, without decoding them.

mod computed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::VolumeError;
use super::image::Image;
use super::parts::fetch_parts;
use super::plan::{JOINED, Piece, PlannedRequest, are_kept, join, kept_apart, kept_wholes};
use crate::disk::Disk;
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::RemoteError;
use crate::source::{Placement, SourceError};
use crate::store::{CachedExtent, Object, Witness};
use crate::task;

/// Requests of one image under way at once; its host may allow fewer.
const AT_ONCE: usize = 8;

/// Bytes of requests after which an image waits for the disk.
const BATCH: u64 = 16 << 20;

/// Of all images, KiB that may be fetched and not be written yet: the disk drops what comes much faster than it writes.
const UNWRITTEN: u32 = 48 << 10;

/// One part in so many of the cache is not counted on: its segments are not full, and what is wanted must not push itself out.
const PART_FREE: u64 = 8;

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
    /// Bytes that are wanted and kept, with those that are on their way.
    held: AtomicU64,
    /// Of which images no more is fetched because it cannot be kept; `None` stands for all.
    stopped: Mutex<BTreeSet<Option<u32>>>,
    unwritten: Semaphore,
}

impl Default for WarmProgress {
    fn default() -> Self {
        let ((blocks, found, local, held), absent, stopped) = Default::default();
        let unwritten = Semaphore::new(UNWRITTEN as usize);
        WarmProgress { blocks, found, local, absent, held, stopped, unwritten }
    }
}

impl WarmProgress {
    fn count_absent(&self, image: &Image, blocks: u64) {
        if blocks > 0 {
            *self.absent.lock().entry(image.dataset().to_owned()).or_default() += blocks;
        }
    }

    /// Whether it was told that no more of the image is fetched.
    fn is_stopped(&self, image: &Image) -> bool {
        let stopped = self.stopped.lock();
        stopped.contains(&None) || stopped.contains(&Some(image.number))
    }

    /// Has no more fetched of an image, or of all; `error` stands for all that is left, unless that was told.
    fn stop(&self, image: Option<u32>, block: CellIndex, error: VolumeError) -> Option<BlockFailure> {
        let mut stopped = self.stopped.lock();
        (!stopped.contains(&None) && stopped.insert(image)).then_some((block, error))
    }

    /// Counts bytes that are to be kept, or says why they cannot be: they would push out what was wanted as well.
    fn hold(&self, bytes: u64, room: u64) -> Result<(), VolumeError> {
        let most = room - room / PART_FREE;
        let held = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held <= most {
            return Ok(());
        }
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        Err(VolumeError::NoRoom(format!(
            "{} of what is wanted fill the {} that the cache may take, and more would push them out; give it a larger --cache-size or disk",
            mib(held - bytes),
            mib(room)
        )))
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
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
    if progress.is_stopped(image) {
        return Vec::new();
    }
    let located = join_all(blocks.iter().map(|&block| image.locate(level, block))).await;
    let mut failures = Vec::new();
    let (mut pieces, mut wholes, mut found, mut local, mut absent) = (Vec::new(), Vec::new(), 0, 0, 0);
    for (&block, placement) in blocks.iter().zip(located) {
        match placement {
            Ok(Placement::Absent { .. }) => (found, absent) = (found + 1, absent + 1),
            Ok(placement) if placement.is_local() => local += 1,
            Ok(Placement::Range { object, start, length }) => {
                pieces.push(Piece { object, start, length, tag: block });
            }
            Ok(Placement::Whole { object, limit, witness } | Placement::Packed { object, limit, witness, .. }) => {
                wholes.push((object, limit, witness, block));
            }
            Err(error) => failures.push((block, error.into())),
        }
    }
    let (kept, pieces) = kept_apart(pieces).await;
    found += kept.len() as u64;
    let mut held = kept.iter().map(|piece| piece.length).sum();
    let kept = kept_wholes(wholes.iter().map(|(object, ..)| object.clone()).collect()).await;
    let mut jobs = Vec::new();
    for ((object, limit, witness, block), kept) in wholes.into_iter().zip(kept) {
        match length_kept(kept) {
            Some(length) => (found, held) = (found + 1, held + length),
            None => jobs.push(Job::Whole { object, limit, witness, block }),
        }
    }
    progress.found.fetch_add(found, Ordering::Relaxed);
    progress.local.fetch_add(local, Ordering::Relaxed);
    progress.count_absent(image, absent);
    progress.held.fetch_add(held, Ordering::Relaxed);
    progress.blocks.fetch_add(found + local + failures.len() as u64, Ordering::Relaxed);
    jobs.extend(join(pieces, JOINED).into_iter().map(Job::Range));
    // Small ones where little can be kept, so that it is noticed in time that there is no more room.
    let room = room(disk).await;
    for batch in batches(jobs, BATCH.min(room / PART_FREE)) {
        let Some(first) = batch.first().and_then(Job::first) else { continue };
        let bytes = batch.iter().map(Job::bytes).fold(0, u64::saturating_add);
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        // Never closed, and without a permit only more would have to be fetched again.
        let _permit = progress.unwritten.acquire_many(kib.min(UNWRITTEN)).await;
        if progress.is_stopped(image) {
            break;
        }
        if let Err(error) = progress.hold(bytes, room) {
            failures.extend(progress.stop(None, first, error));
            break;
        }
        let mut left = batch;
        for attempt in 1..=ATTEMPTS {
            let (before, is_single) = (left.len(), left.len() == 1);
            let again = run((image, level), left, disk, progress, &mut failures).await;
            if again.is_empty() {
                break;
            }
            if let Some(reason) = disk.trouble() {
                failures.extend(progress.stop(None, first, VolumeError::NoRoom(reason)));
                break;
            }
            // What nothing is kept of at all will not be the next time either.
            if again.len() == before && (!is_single || attempt > 1) {
                failures.extend(progress.stop(Some(image.number), first, VolumeError::NotKept));
                break;
            }
            if attempt == ATTEMPTS {
                for job in &again {
                    let not_kept = job.not_kept().await;
                    failures.extend(not_kept.into_iter().map(|block| (block, VolumeError::NotKept)));
                }
                break;
            }
            left = again;
        }
        // The jobs told what their bytes are at most.
        progress.held.fetch_sub(bytes, Ordering::Relaxed);
    }
    failures
}

/// Fetches and waits for the disk; returns the jobs of which not all is kept.
async fn run(
    (image, level): (&Image, LevelIndex),
    jobs: Vec<Job>,
    disk: &Disk,
    progress: &WarmProgress,
    failures: &mut Vec<BlockFailure>,
) -> Vec<Job> {
    let fetching = stream::iter(jobs).map(|job| async {
        let mut result = fetch(&job).await.map_err(SourceError::from);
        if let (Ok(false), Some(block)) = (&result, job.first()) {
            result = image.bear_out_absence(level, block).await.map(|()| false);
        }
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
            Ok(_) if !job.not_kept().await.is_empty() => again.push(job),
            Ok(_) => {
                progress.held.fetch_add(job.kept().await, Ordering::Relaxed);
            }
            Err(error) => {
                let error = VolumeError::Source(error);
                failures.extend(job.into_blocks().into_iter().map(|block| (block, error.clone())));
            }
        }
    }
    progress.blocks.fetch_sub(again.iter().map(Job::blocks).sum(), Ordering::Relaxed);
    again
}

/// Jobs of about `most` bytes together.
fn batches(jobs: Vec<Job>, most: u64) -> Vec<Vec<Job>> {
    let mut batches: Vec<Vec<Job>> = Vec::new();
    let mut bytes = most;
    for job in jobs {
        bytes = bytes.saturating_add(job.bytes());
        match batches.last_mut() {
            Some(last) if bytes <= most => last.push(job),
            _ => {
                bytes = job.bytes();
                batches.push(vec![job]);
            }
        }
    }
    batches
}

/// Bytes of an object, where it is kept as a whole.
fn length_kept(kept: CachedExtent) -> Option<u64> {
    match kept {
        CachedExtent::Present { length, kept } => (length == kept).then_some(length),
        CachedExtent::Unknown => None,
    }
}

async fn whole_length_kept(object: &Object) -> Option<u64> {
    kept_wholes(vec![object.clone()]).await.into_iter().find_map(length_kept)
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

async fn room(disk: &Disk) -> u64 {
    let disk = disk.clone();
    // Fails only where the thread panics; that there is too little is noticed later then.
    task::spawn_blocking(move || disk.room()).await.unwrap_or(u64::MAX)
}

async fn flush(disk: &Disk) {
    let disk = disk.clone();
    // Fails only where the thread panics, and then the blocks are found missing.
    let _ = task::spawn_blocking(move || disk.flush()).await;
}

impl Job {
    /// Bytes at most.
    fn bytes(&self) -> u64 {
        match self {
            Job::Range(request) => request.end - request.start,
            Job::Whole { limit, .. } => *limit,
        }
    }

    /// Bytes of one that is kept.
    async fn kept(&self) -> u64 {
        match self {
            Job::Range(_) => self.bytes(),
            Job::Whole { object, .. } => whole_length_kept(object).await.unwrap_or(0),
        }
    }

    /// Its first block.
    fn first(&self) -> Option<CellIndex> {
        match self {
            Job::Range(request) => request.pieces.first().map(|piece| piece.tag),
            Job::Whole { block, .. } => Some(*block),
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

    async fn not_kept(&self) -> Vec<CellIndex> {
        match self {
            Job::Range(request) => {
                let pieces = request.pieces.iter().zip(are_kept(&request.pieces).await);
                pieces.filter(|(_, is_kept)| !is_kept).map(|(piece, _)| piece.tag).collect()
            }
            Job::Whole { object, witness, block, .. } => {
                let is_there = whole_length_kept(object).await.is_some() || witness.knows_absent(object).is_some();
                (!is_there).then_some(*block).into_iter().collect()
            }
        }
    }
}
