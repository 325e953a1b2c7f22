//! Fetches blocks: finds them, asks for joined ranges, decodes, and hands each to those who wait for it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;

use super::VolumeError;
use super::blocks::{Block, BlockForm, BlockKey, BlockLeader, Blocks, Voxels};
use super::bulk_read::BulkRead;
use super::groups::Edges;
use super::image::Image;
use super::parts::fetch_parts;
use super::plan::{self, Longest, Piece, Request, join, join_rows, join_within};
use super::refetch::fetch_past_caches;
use crate::cache::{Held, Place};
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::{Cause, Compression, RemoteError};
use crate::source::Placement;
use crate::store::{Object, Witness};

/// What a block without voxels of its own is charged: its entry in the cache.
const EMPTY_ENTRY: u64 = 256;

/// How long a block that is absent is not asked for again: how long that is believed is not known here.
const ABSENT: Duration = Duration::from_secs(60);

/// How long a lone miss waits for others to be looked at together with it: readers send those of one box within about
/// this time, and no archive answers as fast.
const COALESCE_DELAY: Duration = Duration::from_millis(2);

/// How many times half a moment is added while misses go on to come.
const MOMENTS: u32 = 16;

/// Decoded bytes of the largest group that is fetched ahead.
const AHEAD: u64 = 128 << 20;

/// The bytes and the voxels of a joined request are each at most one part in so many of the memory for blocks.
const PART_OF_MEMORY: u64 = 16;

/// Requests for groups may be longer than others, because they are asked for one after the other.
const GROUPED: u64 = 16 << 20;

/// A block to fetch, and whether somebody asked for it.
struct Job {
    leader: BlockLeader,
    wanted: bool,
}

/// The bytes of a block as they were fetched.
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    /// Whether others share their memory.
    pub(super) shared: bool,
    /// Where they are a compressed file, how it is and the longest that it may hold.
    pub(super) packed: Option<(Compression, u64)>,
}

/// An object that is one block.
pub(super) struct Whole {
    pub(super) object: Object,
    /// Its longest valid body.
    pub(super) limit: u64,
    /// Where it is a compressed file, how it is and the longest that it may hold.
    pub(super) packed: Option<(Compression, u64)>,
    /// What bears out that it is absent.
    pub(super) witness: Witness,
}

impl Whole {
    pub(super) fn new(object: Object, limit: u64, witness: Witness) -> Self {
        Whole { object, limit, packed: None, witness }
    }

    /// A compressed file that holds at most `limit` bytes.
    pub(super) fn packed(object: Object, compression: Compression, limit: u64, witness: Witness) -> Self {
        // No such file is much longer than what it holds.
        let stored = limit.saturating_add(limit / 128).saturating_add(1 << 10);
        Whole { object, limit: stored, packed: Some((compression, limit)), witness }
    }
}

/// Does the work for all `leaders`, which want blocks of an image.
pub(super) async fn fetch(blocks: Arc<Blocks>, image: Arc<Image>, leaders: Vec<BlockLeader>, bulk: Option<BulkRead>) {
    let (noted, missing): (Vec<_>, Vec<_>) =
        leaders.into_iter().partition(|leader| bulk.as_ref().is_some_and(|bulk| bulk.journal.has(leader.key().index)));
    if let Some(bulk) = &bulk {
        for leader in noted {
            tokio::spawn(decode_noted(blocks.clone(), image.clone(), leader, bulk.clone()));
        }
    }
    let jobs = missing.into_iter().map(|leader| Job { leader, wanted: true }).collect();
    start(&blocks, &image, jobs, plan::JOINED, bulk).await;
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
        let (leaders, neighbours) =
            array.take(grid.as_ref(), Edges { contiguous_group_log2: image.source.contiguous_group_log2(level), room });
        let mut jobs: Vec<Job> = leaders.into_iter().map(|leader| Job { leader, wanted: true }).collect();
        let ahead = blocks.ahead(&image, level, neighbours);
        jobs.extend(ahead.into_iter().map(|leader| Job { leader, wanted: false }));
        jobs
    };
    start(&blocks, &image, jobs, GROUPED, None).await;
}

/// Waits while misses come in one after the other.
async fn a_moment(blocks: &Blocks, image: &Image, level: LevelIndex) {
    tokio::time::sleep(COALESCE_DELAY).await;
    let mut before = 1;
    for _ in 0..MOMENTS {
        let now = blocks.groups.array(image.number, level).gathered();
        if now <= before {
            break;
        }
        before = now;
        tokio::time::sleep(COALESCE_DELAY / 2).await;
    }
}

/// Finds the blocks and starts the requests for them, of about `longest` bytes where they are joined.
async fn start(blocks: &Arc<Blocks>, image: &Arc<Image>, jobs: Vec<Job>, longest: u64, bulk: Option<BulkRead>) {
    let mut located: FuturesUnordered<_> = jobs
        .into_iter()
        .map(|job| {
            let image = image.clone();
            async move {
                let BlockKey { level, index, .. } = *job.leader.key();
                let placement = image.locate(level, index).await;
                (job, placement)
            }
        })
        .collect();
    let mut pieces = Vec::new();
    let mut wholes = Vec::new();
    while let Some((job, placement)) = located.next().await {
        match placement {
            // It waits for memory, and the others must not wait with it.
            Ok(Placement::Absent { .. }) => {
                let (blocks, image) = (blocks.clone(), image.clone());
                tokio::spawn(async move { finish_absent(&blocks, &image, job.leader).await });
            }
            Ok(Placement::Range { object, start, length }) => pieces.push(Piece { object, start, length, tag: job }),
            Ok(Placement::Whole { object, limit, witness }) => {
                wholes.push((job.leader, Whole::new(object, limit, witness)));
            }
            Ok(Placement::Packed { object, compression, limit, witness }) => {
                wholes.push((job.leader, Whole::packed(object, compression, limit, witness)));
            }
            Err(error) => job.leader.finish(Err(error.into())),
        }
    }
    let at_once = match (&bulk, pieces.first()) {
        (Some(bulk), Some(piece)) => bulk.window.blocks(image.block_bytes(*piece.tag.leader.key())),
        _ => usize::MAX,
    };
    // What waits for a share of the memory should not be much of all of it.
    let most = blocks.limit() / PART_OF_MEMORY;
    let block = pieces.iter().map(|piece| image.block_bytes(*piece.tag.leader.key())).max().unwrap_or(0);
    let at_once = at_once.min(usize::try_from(most / block.max(1)).unwrap_or(usize::MAX)).max(1);
    // What is kept must not wait for what is not, nor fail with it. Between two kept blocks may be bytes that are not.
    let (kept, missing): (Vec<_>, Vec<_>) = pieces.into_iter().partition(Piece::is_kept);
    let longest = Longest { bytes: longest.min(most), pieces: at_once };
    let in_rows = missing.first().is_some_and(|piece| {
        let level = piece.tag.leader.key().level;
        image.source.is_gathered(level) && image.source.contiguous_group_log2(level) == 0
    });
    let missing = if in_rows { join_rows(missing, longest) } else { join(missing, longest) };
    for request in join_within(kept, longest, 0).into_iter().chain(missing) {
        tokio::spawn(fetch_range(blocks.clone(), image.clone(), request, bulk.clone()));
    }
    for (leader, whole) in wholes {
        tokio::spawn(fetch_whole(blocks.clone(), image.clone(), leader, whole, bulk.clone()));
    }
}

pub(super) async fn finish_absent(blocks: &Blocks, image: &Image, leader: BlockLeader) {
    blocks.count_absent(image, leader.key());
    let lease = blocks.pool.lease(EMPTY_ENTRY).await;
    finish(blocks, leader, Held::nothing_for(ABSENT, lease));
}

pub(super) fn finish(blocks: &Blocks, leader: BlockLeader, held: Held) {
    let held = Arc::new(held);
    blocks.pool.insert(BlockForm::Decoded(*leader.key()), held.clone());
    let block: Block = if held.data.is_empty() { Voxels::Absent } else { Voxels::Present(held) };
    leader.finish(Ok(block));
}

async fn fetch_range(blocks: Arc<Blocks>, image: Arc<Image>, request: Request<Job>, bulk: Option<BulkRead>) {
    let Request { object, start, end, pieces } = request;
    // What nobody asked for is kept as it is.
    let kept = |piece: &Piece<Job>| match piece.tag.wanted {
        true => image.block_bytes(*piece.tag.leader.key()),
        false => piece.length,
    };
    let voxels = pieces.iter().map(kept).fold(0, u64::saturating_add);
    let bytes = (end - start).saturating_add(voxels);
    let Ok(under_way) = enter(bulk.as_ref(), &object, voxels).await else {
        return pieces.into_iter().for_each(|piece| piece.tag.leader.finish(Err(VolumeError::GivenUp)));
    };
    let is_kept = pieces.iter().all(|piece| piece.object.is_at_hand(Some(&piece.range())));
    let cached = Place::cached();
    let mut room = blocks.room(if is_kept { &cached } else { object.place() }, bytes).await;
    let ranges: Vec<_> = pieces.iter().map(Piece::range).collect();
    let apart = object.kept_parts(ranges.clone()).await;
    if is_kept && apart.is_none() {
        // The disk has it no more.
        drop(room);
        room = blocks.room(object.place(), bytes).await;
    }
    let shared = pieces.len() > 1 && apart.is_none();
    let noting = bulk.as_ref().filter(|_| apart.is_none() && !object.is_local());
    let fetched = match apart {
        Some(parts) => Ok(parts),
        None if shared => object.range(start..end).await.map(|fetched| {
            let slice =
                |range: &Range<u64>| fetched.bytes.slice((range.start - start) as usize..(range.end - start) as usize);
            ranges.iter().map(slice).collect()
        }),
        None => fetch_parts(&object, start..end).await.map(|raw| vec![raw]),
    };
    let parts: Vec<Bytes> = match fetched {
        Ok(parts) => parts,
        Err(error) => {
            drop(room);
            return fail(&blocks, &image, pieces, error, bulk.clone());
        }
    };
    if let Some(bulk) = noting {
        let fetched = pieces.iter().map(|piece| piece.tag.leader.key().index).zip(parts.iter().cloned());
        note(bulk, fetched.collect()).await;
    }
    drop(under_way);
    let decoding = FuturesUnordered::new();
    for (piece, bytes) in pieces.into_iter().zip(parts) {
        let share = room.lease.split(kept(&piece));
        let Job { leader, wanted } = piece.tag;
        let key = *leader.key();
        if wanted {
            let decoded = decode(&blocks, &image, key, Stored { bytes, shared, packed: None });
            let (blocks, image, bulk) = (&blocks, &image, &bulk);
            decoding.push(async move {
                match decoded.await {
                    Ok(decoded) => finish(blocks, leader, Held::new(decoded, share)),
                    Err(error) => {
                        // A task of its own: many who hold some memory while they wait for more could wait for each other.
                        let (blocks, image, bulk) = (blocks.clone(), image.clone(), bulk.clone());
                        tokio::spawn(fetch_past_caches(blocks, image, leader, error, bulk));
                    }
                }
            });
        } else {
            // A slice would keep the whole answer in memory.
            let held = Held::new(if shared { Bytes::copy_from_slice(&bytes) } else { bytes }, share);
            blocks.pool.insert(BlockForm::Stored(key), Arc::new(held));
            leader.finish(Err(VolumeError::Ahead));
        }
    }
    decoding.collect::<()>().await;
}

/// Decodes a block that was fetched ahead.
pub(super) async fn decode_stored(blocks: Arc<Blocks>, image: Arc<Image>, leader: BlockLeader) {
    let key = *leader.key();
    let bytes = image.block_bytes(key);
    // Taken before the stored bytes are: many who hold some while they wait for more could wait for each other.
    let mut room = blocks.room(&Place::cached(), bytes).await;
    let Some(stored) = blocks.pool.take(&BlockForm::Stored(key)) else {
        drop(room);
        return fetch(blocks, image, vec![leader], None).await;
    };
    match decode(&blocks, &image, key, Stored { bytes: stored.data.clone(), shared: true, packed: None }).await {
        Ok(decoded) => finish(&blocks, leader, Held::new(decoded, room.lease.split(bytes))),
        // Where they were kept on disk as well, they have to go from there.
        Err(_) => {
            drop(room);
            fetch(blocks, image, vec![leader], None).await;
        }
    }
}

/// Decodes a block whose bytes a journal has; where it has not, or they do not decode, fetches it.
async fn decode_noted(blocks: Arc<Blocks>, image: Arc<Image>, leader: BlockLeader, bulk: BulkRead) {
    let key = *leader.key();
    let bytes = image.block_bytes(key);
    // The stored bytes are seldom longer than the voxels.
    let mut room = blocks.room(&Place::cached(), bytes.saturating_mul(2)).await;
    let journal = bulk.journal.clone();
    // A thread that ended without an answer has found nothing.
    let decoded = match tokio::task::spawn_blocking(move || journal.get(key.index)).await.unwrap_or_default() {
        Some(bytes) => decode(&blocks, &image, key, Stored { bytes, shared: false, packed: None }).await.ok(),
        None => None,
    };
    if let Some(decoded) = decoded {
        return finish(&blocks, leader, Held::new(decoded, room.lease.split(bytes)));
    }
    drop(room);
    forget(&bulk, key.index).await;
    start(&blocks, &image, vec![Job { leader, wanted: true }], plan::JOINED, Some(bulk)).await;
}

/// Hands to a journal what was fetched, and waits until it has it.
pub(super) async fn note(bulk: &BulkRead, fetched: Vec<(CellIndex, Bytes)>) {
    let journal = bulk.journal.clone();
    // Where the thread ends otherwise, the block is not kept, which costs a request if it is needed again.
    let _ = tokio::task::spawn_blocking(move || journal.put(fetched)).await;
}

/// Drops from a journal what does not decode.
pub(super) async fn forget(bulk: &BulkRead, block: CellIndex) {
    let journal = bulk.journal.clone();
    // Where the thread ends otherwise, it is found out again.
    let _ = tokio::task::spawn_blocking(move || journal.forget(block)).await;
}

/// Waits until a sweep may have so many bytes of voxels more under way. What is on this machine never is.
async fn enter<'a>(
    bulk: Option<&'a BulkRead>,
    object: &Object,
    voxels: u64,
) -> Result<Option<SemaphorePermit<'a>>, VolumeError> {
    match bulk.filter(|_| !object.is_local()) {
        Some(bulk) => bulk.window.enter(voxels).await.map(Some).ok_or(VolumeError::GivenUp),
        None => Ok(None),
    }
}

/// Ends pieces whose range could not be had. Those that nobody asked for must not be the reason that others fail.
fn fail(blocks: &Arc<Blocks>, image: &Arc<Image>, pieces: Vec<Piece<Job>>, error: RemoteError, bulk: Option<BulkRead>) {
    let (wanted, ahead): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.tag.wanted);
    // What takes long, is refused or has changed would be so for a shorter range as well.
    let by_range = matches!(error.cause, Cause::Protocol(_) | Cause::Status(_));
    let offline = matches!(error.cause, Cause::Offline(_));
    let retry = by_range && !ahead.is_empty() || offline && wanted.len() + ahead.len() > 1;
    ahead.into_iter().for_each(|piece| piece.tag.leader.finish(Err(VolumeError::Ahead)));
    if retry {
        // What is kept of several blocks may be all of some of them.
        let requests = if offline { join_within(wanted, 0, 0) } else { join(wanted, plan::JOINED) };
        for request in requests {
            tokio::spawn(fetch_range(blocks.clone(), image.clone(), request, bulk.clone()));
        }
        return;
    }
    let error = VolumeError::Source(error.into());
    wanted.into_iter().for_each(|piece| piece.tag.leader.finish(Err(error.clone())));
}

async fn fetch_whole(
    blocks: Arc<Blocks>,
    image: Arc<Image>,
    leader: BlockLeader,
    whole: Whole,
    bulk: Option<BulkRead>,
) {
    let Whole { object, limit, packed, witness } = whole;
    let key = *leader.key();
    let bytes = image.block_bytes(key);
    let needed = limit.saturating_add(packed.map_or(0, |(_, most)| most)).saturating_add(bytes);
    let _under_way = match enter(bulk.as_ref(), &object, bytes).await {
        Ok(under_way) => under_way,
        Err(error) => return leader.finish(Err(error)),
    };
    let cached = Place::cached();
    let place = if object.is_at_hand(None) { &cached } else { object.place() };
    let mut room = blocks.room(place, needed).await;
    let noting = bulk.as_ref().filter(|_| !object.is_local());
    let fetched = match object.whole_if_there(limit, &witness).await {
        Ok(Some(fetched)) => fetched.bytes,
        Ok(None) => {
            drop(room);
            return finish_absent(&blocks, &image, leader).await;
        }
        Err(error) => return leader.finish(Err(VolumeError::Source(error.into()))),
    };
    match decode(&blocks, &image, key, Stored { bytes: fetched.clone(), shared: false, packed }).await {
        Ok(decoded) => {
            if let Some(bulk) = noting {
                note(bulk, vec![(key.index, fetched)]).await;
            }
            finish(&blocks, leader, Held::new(decoded, room.lease.split(bytes)));
        }
        // Nothing says how long a whole object must be, so a cut or foreign answer is noticed only here.
        Err(error) => {
            drop(room);
            fetch_past_caches(blocks, image, leader, error, bulk.clone()).await;
        }
    }
}

/// Decodes on a thread that may compute.
pub(super) async fn decode(
    blocks: &Blocks,
    image: &Arc<Image>,
    key: BlockKey,
    stored: Stored,
) -> Result<Bytes, VolumeError> {
    // Never closed, and without a permit decoding would only be less orderly.
    let _permit = blocks.decoding.acquire().await;
    let image = image.clone();
    let expected = image.block_bytes(key);
    let task = tokio::task::spawn_blocking(move || {
        let Stored { bytes, shared, packed } = stored;
        let unsuitable =
            |reason: String| VolumeError::Unsuitable(format!("block {} of {}: {reason}", key.index, key.level));
        let raw = match packed {
            Some((compression, most)) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Bytes::from(compression.undo(&bytes, most).map_err(unsuitable)?)
            }
            None => bytes,
        };
        let decoded = image.source.decode(key.level, key.index, raw.clone())?;
        if decoded.len() as u64 != expected {
            return Err(unsuitable(format!("{} bytes where {expected} were due", decoded.len())));
        }
        // A slice would keep the whole joined answer in memory, for which it is not charged.
        let copied = shared && raw.as_ptr_range().contains(&decoded.as_ptr());
        Ok(if copied { Bytes::copy_from_slice(&decoded) } else { decoded })
    });
    task.await.unwrap_or(Err(VolumeError::Lost))
}
