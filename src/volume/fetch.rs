//! Fetches blocks: finds them, asks for joined ranges, decodes, and hands each to those who wait for it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;

use super::VolumeError;
use super::blocks::{Block, BlockKey, BlockWorker, Blocks, Voxels};
use super::groups::Edges;
use super::image::Image;
use super::plan::{self, Piece, Request, join};
use crate::cache::Held;
use crate::geometry::LevelIndex;
use crate::remote::{Cause, Object, RemoteError};
use crate::source::Placement;

/// Single blocks longer than twice this are fetched as parallel ranges of this length.
const PART: u64 = 4 << 20;

/// How often an object that does not decode is fetched.
const WHOLE_ATTEMPTS: u32 = 2;

/// What a block without voxels of its own is charged: its entry in the cache.
const EMPTY_ENTRY: u64 = 256;

/// How long a lone miss waits for others to be looked at together with it: readers send those of one box within about
/// this time, and no archive answers as fast.
const MOMENT: Duration = Duration::from_millis(2);

/// How many times half a moment is added while misses go on to come.
const MOMENTS: u32 = 16;

/// Decoded bytes of the largest group that is fetched ahead.
const AHEAD: u64 = 128 << 20;

/// Requests for groups may be longer than others, because they are asked for one after the other.
const GROUPED: u64 = 16 << 20;

/// A block to fetch, and whether somebody asked for it.
struct Job {
    worker: BlockWorker,
    wanted: bool,
}

/// Does the work for all `workers`, which want blocks of an image.
pub(super) async fn fetch(blocks: Arc<Blocks>, image: Arc<Image>, workers: Vec<BlockWorker>) {
    let jobs = workers.into_iter().map(|worker| Job { worker, wanted: true }).collect();
    start(&blocks, &image, jobs, plan::JOINED).await;
}

/// Does the work that is gathered of a level of an image, after a moment where it is a single block so far.
pub(super) async fn fetch_gathered(blocks: Arc<Blocks>, image: Arc<Image>, level: LevelIndex, alone: bool) {
    if alone {
        a_moment(&blocks, &image, level).await;
    }
    let description = image.source.description();
    let grid = description.levels.get(usize::from(level.0)).map(|level| level.grid);
    let jobs = {
        let mut array = blocks.groups.array(image.number, level);
        let block = grid.and_then(|grid| grid.cell.bytes(description.dtype.size())).unwrap_or(u64::MAX);
        let room = blocks.pool.spare().min(AHEAD) / block.max(1);
        // A group of 2^k blocks along each axis has 8^k.
        let room = room.checked_ilog2().unwrap_or(0) / 3;
        let (workers, neighbours) = array.take(grid.as_ref(), Edges { together: image.source.together(level), room });
        let mut jobs: Vec<Job> = workers.into_iter().map(|worker| Job { worker, wanted: true }).collect();
        let ahead = blocks.ahead(&image, level, neighbours);
        jobs.extend(ahead.into_iter().map(|worker| Job { worker, wanted: false }));
        jobs
    };
    start(&blocks, &image, jobs, GROUPED).await;
}

/// Waits while misses come in one after the other.
async fn a_moment(blocks: &Blocks, image: &Image, level: LevelIndex) {
    tokio::time::sleep(MOMENT).await;
    let mut before = 1;
    for _ in 0..MOMENTS {
        let now = blocks.groups.array(image.number, level).gathered();
        if now <= before {
            break;
        }
        before = now;
        tokio::time::sleep(MOMENT / 2).await;
    }
}

/// Finds the blocks and starts the requests for them, of about `longest` bytes where they are joined.
async fn start(blocks: &Arc<Blocks>, image: &Arc<Image>, jobs: Vec<Job>, longest: u64) {
    let mut located: FuturesUnordered<_> = jobs
        .into_iter()
        .map(|job| {
            let image = image.clone();
            async move {
                let BlockKey { level, index, .. } = *job.worker.key();
                let placement = image.source.locate(level, index).await;
                (job, placement)
            }
        })
        .collect();
    let mut pieces = Vec::new();
    let mut wholes = Vec::new();
    while let Some((job, placement)) = located.next().await {
        match placement {
            Ok(Placement::Absent) => finish_absent(blocks, job.worker).await,
            Ok(Placement::Range { object, start, length }) => pieces.push(Piece { object, start, length, tag: job }),
            Ok(Placement::Whole { object, limit }) => wholes.push((job, object, limit)),
            Err(error) => job.worker.finish(Err(error.into())),
        }
    }
    for request in join(pieces, longest) {
        tokio::spawn(fetch_range(blocks.clone(), image.clone(), request));
    }
    for (job, object, limit) in wholes {
        tokio::spawn(fetch_whole(blocks.clone(), image.clone(), job, object, limit));
    }
}

async fn finish_absent(blocks: &Blocks, worker: BlockWorker) {
    let lease = blocks.pool.lease(EMPTY_ENTRY).await;
    finish(blocks, worker, Held::new(Bytes::new(), lease));
}

fn finish(blocks: &Blocks, worker: BlockWorker, held: Held) {
    let held = Arc::new(held);
    blocks.pool.insert(*worker.key(), held.clone());
    let block: Block = if held.data.is_empty() { Voxels::Absent } else { Voxels::Present(held) };
    worker.finish(Ok(block));
}

async fn fetch_range(blocks: Arc<Blocks>, image: Arc<Image>, request: Request<Job>) {
    let Request { object, start, end, pieces } = request;
    let decoded: u64 =
        pieces.iter().map(|piece| image.block_bytes(*piece.tag.worker.key())).fold(0, u64::saturating_add);
    let bytes = (end - start).saturating_add(decoded);
    let _share = image.take_share(bytes).await;
    let mut lease = blocks.pool.lease(bytes).await;
    let alone = pieces.len() == 1;
    let fetched = match alone {
        true => fetch_parts(&object, start..end).await,
        false => object.range(start..end).await.map(|fetched| fetched.bytes),
    };
    let raw = match fetched {
        Ok(raw) => raw,
        Err(error) => {
            drop(lease);
            return fail(&blocks, &image, pieces, error);
        }
    };
    let decoding: FuturesUnordered<_> = pieces
        .into_iter()
        .map(|piece| {
            let first = (piece.start - start) as usize;
            let bytes = raw.slice(first..first + piece.length as usize);
            let share = lease.split(image.block_bytes(*piece.tag.worker.key()));
            let (blocks, image) = (&blocks, &image);
            async move {
                let Job { worker, wanted } = piece.tag;
                match decode(blocks, image, *worker.key(), wanted, bytes, alone).await {
                    Ok(decoded) => finish(blocks, worker, Held::new(decoded, share)),
                    Err(error) => worker.finish(Err(error)),
                }
            }
        })
        .collect();
    decoding.collect::<()>().await;
}

/// Ends pieces whose range could not be had. Those that nobody asked for must not be the reason that others fail.
fn fail(blocks: &Arc<Blocks>, image: &Arc<Image>, pieces: Vec<Piece<Job>>, error: RemoteError) {
    let (wanted, ahead): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.tag.wanted);
    // What takes long, is refused or has changed would be so for a shorter range as well.
    let by_range = matches!(error.cause, Cause::Protocol(_) | Cause::Status(_));
    let retry = by_range && !ahead.is_empty();
    ahead.into_iter().for_each(|piece| piece.tag.worker.finish(Err(VolumeError::GivenUp)));
    if retry {
        for request in join(wanted, plan::JOINED) {
            tokio::spawn(fetch_range(blocks.clone(), image.clone(), request));
        }
        return;
    }
    let error = VolumeError::Source(error.into());
    wanted.into_iter().for_each(|piece| piece.tag.worker.finish(Err(error.clone())));
}

async fn fetch_whole(blocks: Arc<Blocks>, image: Arc<Image>, job: Job, object: Object, limit: u64) {
    let Job { worker, wanted } = job;
    let key = *worker.key();
    let bytes = image.block_bytes(key);
    let _share = image.take_share(limit.saturating_add(bytes)).await;
    let mut lease = blocks.pool.lease(limit.saturating_add(bytes)).await;
    let mut attempt = 1;
    loop {
        match object.anew().whole(limit).await {
            Ok(fetched) => match decode(&blocks, &image, key, wanted, fetched.bytes, true).await {
                Ok(decoded) => return finish(&blocks, worker, Held::new(decoded, lease.split(bytes))),
                // Nothing says how long a whole object must be, so a cut or foreign answer is noticed only here.
                Err(_) if attempt < WHOLE_ATTEMPTS => attempt += 1,
                Err(error) => return worker.finish(Err(VolumeError::Undecodable(attempt, error.into()))),
            },
            Err(RemoteError { cause: Cause::NotFound, .. }) => {
                return finish(&blocks, worker, Held::new(Bytes::new(), lease.split(EMPTY_ENTRY)));
            }
            Err(error) => return worker.finish(Err(VolumeError::Source(error.into()))),
        }
    }
}

/// A long range as several parallel ones.
async fn fetch_parts(object: &Object, range: Range<u64>) -> Result<Bytes, RemoteError> {
    let length = range.end - range.start;
    if length <= 2 * PART {
        return Ok(object.range(range).await?.bytes);
    }
    let parts = (range.start..range.end)
        .step_by(PART as usize)
        .map(|start| object.range(start..range.end.min(start + PART)))
        .map(|part| async move { part.await.map(|fetched| fetched.bytes) });
    let parts = try_join_all(parts).await?;
    let mut whole = BytesMut::with_capacity(length as usize);
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    Ok(whole.freeze())
}

/// Decodes on a thread that may compute. `wanted`: somebody waits for it. `alone`: no other block shares `raw`.
async fn decode(
    blocks: &Blocks,
    image: &Arc<Image>,
    key: BlockKey,
    wanted: bool,
    raw: Bytes,
    alone: bool,
) -> Result<Bytes, VolumeError> {
    // Never closed, and without a permit decoding would only be less orderly.
    let _ahead = if wanted { None } else { blocks.decoding_ahead.acquire().await.ok() };
    let _permit = blocks.decoding.acquire().await;
    let image = image.clone();
    let expected = image.block_bytes(key);
    let task = tokio::task::spawn_blocking(move || {
        let decoded = image.source.decode(key.level, key.index, raw.clone())?;
        if decoded.len() as u64 != expected {
            let reason = format!("{} bytes where {expected} were due", decoded.len());
            return Err(VolumeError::Unsuitable(format!("block {} of {}: {reason}", key.index, key.level)));
        }
        // A slice would keep the whole joined answer in memory, for which it is not charged.
        let shared = !alone && raw.as_ptr_range().contains(&decoded.as_ptr());
        Ok(if shared { Bytes::copy_from_slice(&decoded) } else { decoded })
    });
    task.await.unwrap_or(Err(VolumeError::Lost))
}
