//! Fetches the bytes of blocks to be kept on disk, without decoding them.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;

use super::VolumeError;
use super::fetch::fetch_parts;
use super::image::Image;
use super::plan::{JOINED, Piece, Request, join};
use crate::disk::Disk;
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::{Cause, KeptWhole, Object, RemoteError};
use crate::source::{Placement, SourceError};

/// Requests of one image under way at once; its host may allow fewer.
const AT_ONCE: usize = 8;

/// The disk is waited for after so many bytes, so that none are dropped because it is slower than the network.
const UNWRITTEN: u64 = 16 << 20;

/// How far it is.
#[derive(Debug, Default)]
pub struct Tally {
    /// Blocks looked at.
    pub blocks: AtomicU64,
    /// Those of which all was kept before.
    pub found: AtomicU64,
    /// Bytes fetched.
    pub bytes: AtomicU64,
}

/// A block whose bytes could not be had or kept.
pub type Failure = (CellIndex, VolumeError);

/// Something to fetch, and the blocks in it.
enum Job {
    Range(Request<CellIndex>),
    Whole { object: Object, limit: u64, block: CellIndex },
}

/// Fetches what of `blocks` of a level is not on `disk` yet; returns those that are not there in the end.
pub async fn warm(image: &Image, level: LevelIndex, blocks: &[CellIndex], disk: &Disk, tally: &Tally) -> Vec<Failure> {
    let located = join_all(blocks.iter().map(|&block| image.source.locate(level, block))).await;
    let mut failures = Vec::new();
    let (mut pieces, mut jobs, mut found) = (Vec::new(), Vec::new(), 0);
    for (&block, placement) in blocks.iter().zip(located) {
        match placement {
            Ok(Placement::Absent) => found += 1,
            Ok(Placement::Range { object, start, length }) => {
                let piece = Piece { object, start, length, tag: block };
                if piece.is_kept() { found += 1 } else { pieces.push(piece) }
            }
            // A file of this machine.
            Ok(Placement::Gzip { .. }) => found += 1,
            Ok(Placement::Whole { object, .. }) if is_kept(&object) => found += 1,
            Ok(Placement::Whole { object, limit }) => jobs.push(Job::Whole { object, limit, block }),
            Err(error) => failures.push((block, error.into())),
        }
    }
    tally.found.fetch_add(found, Ordering::Relaxed);
    tally.blocks.fetch_add(found + failures.len() as u64, Ordering::Relaxed);
    jobs.extend(join(pieces, JOINED).into_iter().map(Job::Range));
    let unwritten = AtomicU64::new(0);
    let fetching = stream::iter(jobs).map(|job| async {
        let result = fetch(&job).await;
        let bytes = result.as_ref().copied().unwrap_or(0);
        tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        tally.blocks.fetch_add(job.blocks(), Ordering::Relaxed);
        if unwritten.fetch_add(bytes, Ordering::Relaxed) + bytes >= UNWRITTEN {
            unwritten.store(0, Ordering::Relaxed);
            flush(disk).await;
        }
        (job, result)
    });
    let fetched: Vec<_> = fetching.buffer_unordered(AT_ONCE).collect().await;
    flush(disk).await;
    for (job, result) in fetched {
        match result {
            Ok(_) => failures.extend(job.not_kept().into_iter().map(|block| (block, VolumeError::NotKept))),
            Err(error) => {
                let error = VolumeError::Source(SourceError::from(error));
                failures.extend(job.into_blocks().into_iter().map(|block| (block, error.clone())));
            }
        }
    }
    failures
}

fn is_kept(object: &Object) -> bool {
    match object.kept_whole() {
        KeptWhole::Absent => true,
        KeptWhole::There { length, kept } => length == kept,
        KeptWhole::Unknown => false,
    }
}

/// Returns the bytes fetched.
async fn fetch(job: &Job) -> Result<u64, RemoteError> {
    match job {
        Job::Range(request) => {
            let missing = (request.end - request.start) - request.object.kept_bytes(&(request.start..request.end));
            fetch_parts(&request.object, request.start..request.end).await?;
            Ok(missing)
        }
        Job::Whole { object, limit, .. } => match object.whole(*limit).await {
            Ok(fetched) => Ok(fetched.bytes.len() as u64),
            Err(RemoteError { cause: Cause::NotFound, .. }) => Ok(0),
            Err(error) => Err(error),
        },
    }
}

async fn flush(disk: &Disk) {
    let disk = disk.clone();
    // Fails only where the thread panics, and then the blocks are found missing.
    let _ = tokio::task::spawn_blocking(move || disk.flush()).await;
}

impl Job {
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
            Job::Whole { object, block, .. } => (!is_kept(object)).then_some(*block).into_iter().collect(),
        }
    }
}
