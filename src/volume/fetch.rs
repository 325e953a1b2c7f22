//! Fetches blocks: finds them, asks for joined ranges, decodes, and hands each to those who wait for it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;

use super::VolumeError;
use super::block::{BlockKey, BlockLeader, BlockOutcome, versions_of};
use super::block_memory::BlockMemory;
use super::bulk_read::BulkRead;
use super::decode::{FetchedBlock, decode};
use super::groups::Edges;
use super::image::Image;
use super::parts::fetch_parts;
use super::plan::{self, Longest, Piece, PlannedRequest, join, join_rows, join_within};
use super::refetch::{decode_unproven, fetch_past_caches};
use super::whole::Whole;
use crate::cache::{FetchPlace, FetchReservation, Held};
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::{Cause, RemoteError};
use crate::source::Placement;
use crate::store::{Object, unproven};
use crate::task;

/// How long a lone miss waits for others to be looked at together with it: readers send those of one box within about
/// this time, and no archive answers as fast.
const COALESCE_DELAY: Duration = Duration::from_millis(2);

/// How many times half the delay is added while misses go on to come.
const MAX_DELAYS: u32 = 16;

/// Decoded bytes of the largest group that is fetched ahead.
const MAX_AHEAD: u64 = 128 << 20;

/// Decoded bytes of the largest box whose rest is fetched ahead, and which part of the memory that nobody uses it may take.
const MAX_BOX: u64 = 32 << 20;
const PART_OF_SPARE: u64 = 4;

/// The bytes and the voxels of a joined request are each at most one part in so many of the memory for blocks.
const PART_OF_MEMORY: u64 = 16;

/// Requests for groups may be longer than others, because they are asked for one after the other.
const GROUPED: u64 = 16 << 20;

/// A block to fetch, and whether somebody asked for it.
struct Job {
    leader: BlockLeader,
    wanted: bool,
}

/// The bytes of a request's pieces as they came, each with what its voxels will take.
struct Arrived {
    parts: Vec<Bytes>,
    /// Whether the parts are slices of one answer.
    shared: bool,
    reservation: FetchReservation,
}

/// Does the work for blocks of one image. Cheap to clone: each task that it starts has one.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub(super) memory: Arc<BlockMemory>,
    pub(super) image: Arc<Image>,
    /// Where all of a level is read.
    pub(super) bulk: Option<BulkRead>,
    /// Bytes of a joined request of blocks that are not gathered, about.
    pub(super) longest: u64,
}

impl Fetcher {
    /// Does the work for all `leaders`.
    pub(super) async fn fetch(self, leaders: Vec<BlockLeader>) {
        let is_noted =
            |leader: &BlockLeader| self.bulk.as_ref().is_some_and(|bulk| bulk.journal.has(leader.key().index));
        let (noted, missing): (Vec<_>, Vec<_>) = leaders.into_iter().partition(is_noted);
        if let Some(bulk) = &self.bulk {
            for leader in noted {
                task::spawn(self.clone().decode_noted(leader, bulk.clone()));
            }
        }
        let jobs = missing.into_iter().map(|leader| Job { leader, wanted: true }).collect();
        self.start(jobs, self.longest).await;
    }

    /// Does the work that is gathered of a level, after a moment where it is a single block so far.
    pub(super) async fn fetch_gathered(self, level: LevelIndex, alone: Option<CellIndex>) {
        if let Some(block) = alone {
            // Meanwhile the index is on its way, which blocks that are missed together mostly share.
            let image = self.image.clone();
            task::spawn(async move { image.locate_to_fetch(level, block).await.map(drop) });
            self.coalesce(level).await;
        }
        let jobs = self.take_gathered(level);
        self.start(jobs, GROUPED).await;
    }

    /// Waits while misses come in one after the other.
    async fn coalesce(&self, level: LevelIndex) {
        tokio::time::sleep(COALESCE_DELAY).await;
        let mut before = 1;
        for _ in 0..MAX_DELAYS {
            let now = self.memory.groups.of(self.image.number, level).gathered();
            if now <= before {
                break;
            }
            before = now;
            tokio::time::sleep(COALESCE_DELAY / 2).await;
        }
    }

    /// The gathered misses, with the neighbours that are fetched along.
    fn take_gathered(&self, level: LevelIndex) -> Vec<Job> {
        let grid = self.image.grid(level);
        let block = grid.and_then(|grid| grid.cell.bytes(self.image.item_size())).unwrap_or(u64::MAX);
        let blocks = self.memory.spare().min(MAX_AHEAD) / block.max(1);
        // A group of 2^k blocks along each axis has 8^k.
        let permitted_group_log2 = blocks.checked_ilog2().unwrap_or(0) / 3;
        let contiguous_group_log2 = self.image.source.contiguous_group_log2(level);
        let edges = Edges { contiguous_group_log2, permitted_group_log2 };
        let mut array = self.memory.groups.of(self.image.number, level);
        let (leaders, neighbours) = array.take(grid.as_ref(), edges);
        let ahead = self.memory.ahead(&self.image, level, neighbours);
        let wanted = leaders.into_iter().map(|leader| Job { leader, wanted: true });
        wanted.chain(ahead.into_iter().map(|leader| Job { leader, wanted: false })).collect()
    }

    /// Fetches the rest of the boxes that blocks which are asked for belong to, where boxes are seen to be read whole.
    pub(super) fn look_ahead(&self, level: LevelIndex, asked: &[CellIndex]) {
        // What a block of depth one belongs to is a plane, which has its own rules; a journal reads all of a level anyway.
        let Some(grid) = self.image.grid(level).filter(|grid| grid.cell.0[0] > 1 && self.bulk.is_none()) else {
            return;
        };
        let block = grid.cell.bytes(self.image.item_size()).unwrap_or(u64::MAX);
        let counts = grid.counts();
        for number in self.memory.boxes.of(self.image.number, level).note(asked, counts, Instant::now()) {
            let this = self.clone();
            task::spawn(async move {
                tokio::time::sleep(COALESCE_DELAY).await;
                let rest = this.memory.boxes.of(this.image.number, level).rest(number, counts);
                let most = (this.memory.spare() / PART_OF_SPARE).min(MAX_BOX);
                if block.saturating_mul(rest.len() as u64) <= most {
                    let leaders = this.memory.ahead(&this.image, level, rest);
                    let jobs = leaders.into_iter().map(|leader| Job { leader, wanted: false }).collect();
                    this.start(jobs, plan::JOINED).await;
                }
            });
        }
    }

    /// Finds the blocks and starts the requests for them, of about `longest` bytes where they are joined.
    async fn start(&self, jobs: Vec<Job>, longest: u64) {
        let (pieces, wholes) = self.locate(jobs).await;
        // What is kept must not wait for what is not, nor fail with it. Between two kept blocks may be bytes that are not.
        let (kept, missing) = plan::kept_apart(pieces).await;
        for (request, may_be_kept) in self.requests(kept, missing, longest) {
            task::spawn(self.clone().fetch_range(request, may_be_kept));
        }
        for (job, whole) in wholes {
            task::spawn(self.clone().fetch_whole(job, whole));
        }
    }

    /// Where the bytes of the blocks are: in ranges of objects, or in whole objects.
    async fn locate(&self, jobs: Vec<Job>) -> (Vec<Piece<Job>>, Vec<(Job, Whole)>) {
        let find = |job: Job| async move {
            let BlockKey { level, index, .. } = *job.leader.key();
            let placement = self.image.locate_to_fetch(level, index).await;
            (job, placement)
        };
        let mut located: FuturesUnordered<_> = jobs.into_iter().map(find).collect();
        let (mut pieces, mut wholes) = (Vec::new(), Vec::new());
        while let Some((job, placement)) = located.next().await {
            match placement {
                // Whoever asks for it is told.
                Ok(Placement::Absent { .. }) | Err(_) if !job.wanted => job.leader.finish(BlockOutcome::FetchedAhead),
                // It waits for memory, and the others must not wait with it.
                Ok(Placement::Absent { .. }) => {
                    let (memory, image) = (self.memory.clone(), self.image.clone());
                    task::spawn(async move { memory.finish_absent(&image, job.leader).await });
                }
                Ok(Placement::Range { object, start, length }) => {
                    pieces.push(Piece { object, start, length, tag: job });
                }
                Ok(Placement::Whole { object, limit, witness }) => {
                    wholes.push((job, Whole::new(object, limit, witness)));
                }
                Ok(Placement::Packed { object, compression, limit, witness }) => {
                    wholes.push((job, Whole::packed(object, compression, limit, witness)));
                }
                Err(error) => job.leader.finish(BlockOutcome::failed(error)),
            }
        }
        (pieces, wholes)
    }

    /// The requests for pieces of objects, of which some are kept on disk; each with whether its pieces are among those.
    fn requests(
        &self,
        kept: Vec<Piece<Job>>,
        missing: Vec<Piece<Job>>,
        longest: u64,
    ) -> Vec<(PlannedRequest<Job>, bool)> {
        let pieces = || kept.iter().chain(&missing);
        let Some(first) = pieces().next().map(|piece| *piece.tag.leader.key()) else { return Vec::new() };
        let at_once = match &self.bulk {
            Some(bulk) => bulk.window.blocks(self.image.block_bytes(first)),
            None => usize::MAX,
        };
        // What waits for a share of the memory should not be much of all of it.
        let most = self.memory.limit() / PART_OF_MEMORY;
        let block = pieces().map(|piece| self.image.block_bytes(*piece.tag.leader.key())).max().unwrap_or(0);
        let at_once = at_once.min(usize::try_from(most / block.max(1)).unwrap_or(usize::MAX)).max(1);
        let longest = Longest { bytes: longest.min(most), pieces: at_once };
        let source = &self.image.source;
        let in_rows = source.is_gathered(first.level) && source.contiguous_group_log2(first.level) == 0;
        let missing = if in_rows { join_rows(missing, longest) } else { join(missing, longest) };
        let kept = join_within(kept, longest, 0).into_iter().map(|request| (request, true));
        kept.chain(missing.into_iter().map(|request| (request, false))).collect()
    }

    /// Fetches joined pieces of an object and decodes those that somebody wants. `may_be_kept`: unless they were just found
    /// not to be on disk.
    async fn fetch_range(self, request: PlannedRequest<Job>, may_be_kept: bool) {
        let PlannedRequest { object, start, end, pieces } = request;
        let voxels = pieces.iter().map(|piece| self.held_bytes(piece)).fold(0, u64::saturating_add);
        let Ok(under_way) = self.enter(&object, voxels).await else {
            let given_up = |piece: Piece<Job>| piece.tag.leader.finish(BlockOutcome::failed(VolumeError::GivenUp));
            return pieces.into_iter().for_each(given_up);
        };
        let is_kept = may_be_kept && plan::are_at_hand(&pieces).await;
        let received = tokio::select! {
            received = self.receive(&object, start..end, &pieces, (voxels, is_kept)) => received,
            () = self.unwanted(pieces.iter().map(|piece| &piece.tag)) => {
                return pieces.into_iter().for_each(|piece| piece.tag.leader.give_up());
            }
        };
        let Arrived { parts, shared, mut reservation } = match received {
            Ok(arrived) => arrived,
            Err(error) => return self.clone().fail(pieces, error),
        };
        drop(under_way);
        let versions = versions_of(&object);
        let decoding = FuturesUnordered::new();
        for (piece, bytes) in pieces.into_iter().zip(parts) {
            let lease = reservation.lease.split(self.held_bytes(&piece));
            let Job { leader, wanted } = piece.tag;
            if !wanted {
                // A slice would keep the whole answer in memory.
                let bytes = if shared { Bytes::copy_from_slice(&bytes) } else { bytes };
                self.memory.keep_stored(leader, Held::new(bytes, lease).of_versions(versions.clone()));
                continue;
            }
            let decoded =
                decode(&self.memory, &self.image, *leader.key(), FetchedBlock { bytes, shared, packed: None });
            let (this, versions) = (&self, versions.clone());
            decoding.push(async move {
                match decoded.await {
                    Ok(decoded) => this.memory.finish(leader, Held::new(decoded, lease).of_versions(versions)),
                    // A task of its own: many who hold some memory while they wait for more could wait for each other.
                    Err(error) => drop(task::spawn(this.clone().refetch(leader, error))),
                }
            });
        }
        decoding.collect::<()>().await;
    }

    /// Ends once nobody waits any more for what somebody waited for. Where all of a level is read, that is never.
    async fn unwanted(&self, jobs: impl Iterator<Item = &Job>) {
        let (mut keys, mut was_wanted) = (Vec::new(), false);
        for job in jobs {
            keys.push(*job.leader.key());
            was_wanted |= job.wanted;
        }
        if self.bulk.is_some() || !was_wanted {
            std::future::pending::<()>().await;
        }
        self.memory.unwanted(&keys).await;
    }

    /// What is held of a piece: its voxels, or as it came where nobody asked for it.
    fn held_bytes(&self, piece: &Piece<Job>) -> u64 {
        match piece.tag.wanted {
            true => self.image.block_bytes(*piece.tag.leader.key()),
            false => piece.length,
        }
    }

    /// The bytes of pieces that lie in `range` of an object, from the disk where all of them are there, as `is_kept`
    /// expects. What came from the origin is noted.
    async fn receive(
        &self,
        object: &Object,
        range: Range<u64>,
        pieces: &[Piece<Job>],
        (voxels, is_kept): (u64, bool),
    ) -> Result<Arrived, RemoteError> {
        let bytes = (range.end - range.start).saturating_add(voxels);
        let place = if is_kept { FetchPlace::cached() } else { object.place().clone() };
        let mut reservation = self.memory.reserve(&place, bytes).await;
        let ranges: Vec<_> = pieces.iter().map(Piece::range).collect();
        if let Some(parts) = object.kept_parts(ranges.clone()).await {
            self.memory.complete(&mut reservation).await;
            return Ok(Arrived { parts, shared: false, reservation });
        }
        if is_kept {
            // The disk has it no more.
            drop(reservation);
            reservation = self.memory.reserve(object.place(), bytes).await;
        }
        let shared = pieces.len() > 1;
        let parts: Vec<Bytes> = if shared {
            let whole = object.range(range.clone()).await?.bytes;
            let at = |place: u64| (place - range.start) as usize;
            ranges.iter().map(|part| whole.slice(at(part.start)..at(part.end))).collect()
        } else {
            vec![fetch_parts(object, range).await?]
        };
        if let Some(bulk) = self.bulk.as_ref().filter(|_| !object.is_local()) {
            bulk.note(pieces.iter().map(|piece| piece.tag.leader.key().index).zip(parts.iter().cloned()).collect())
                .await;
        }
        self.memory.complete(&mut reservation).await;
        Ok(Arrived { parts, shared, reservation })
    }

    /// Decodes a block that was fetched ahead.
    pub(super) async fn decode_stored(self, leader: BlockLeader) {
        let key = *leader.key();
        let bytes = self.image.block_bytes(key);
        // Taken before the stored bytes are: many who hold some while they wait for more could wait for each other.
        let mut reservation = self.memory.reserve_kept(bytes).await;
        if let Some(stored) = self.memory.take_stored(key) {
            let versions = stored.versions().cloned();
            let stored = FetchedBlock { bytes: stored.data.clone(), shared: true, packed: None };
            // Where it does not decode and is kept on disk as well, it has to go from there.
            if let Ok(decoded) = decode(&self.memory, &self.image, key, stored).await {
                let held = Held::new(decoded, reservation.lease.split(bytes)).of_versions(versions);
                return self.memory.finish(leader, held);
            }
        }
        drop(reservation);
        self.fetch(vec![leader]).await;
    }

    /// Decodes a block whose bytes a journal has; where it has not, or they do not decode, fetches it.
    async fn decode_noted(self, leader: BlockLeader, bulk: BulkRead) {
        let key = *leader.key();
        let bytes = self.image.block_bytes(key);
        // The stored bytes are seldom longer than the voxels.
        let mut reservation = self.memory.reserve_kept(bytes.saturating_mul(2)).await;
        if let Some(noted) = bulk.noted(key.index).await {
            let stored = FetchedBlock { bytes: noted, shared: false, packed: None };
            if let Ok(decoded) = decode(&self.memory, &self.image, key, stored).await {
                return self.memory.finish(leader, Held::new(decoded, reservation.lease.split(bytes)));
            }
        }
        drop(reservation);
        bulk.forget(key.index).await;
        self.start(vec![Job { leader, wanted: true }], plan::JOINED).await;
    }

    /// Waits until so many bytes of voxels more may be under way, where there is a limit. What is on this machine never is.
    async fn enter(&self, object: &Object, voxels: u64) -> Result<Option<SemaphorePermit<'_>>, VolumeError> {
        match self.bulk.as_ref().filter(|_| !object.is_local()) {
            Some(bulk) => bulk.window.enter(voxels).await.map(Some).ok_or(VolumeError::GivenUp),
            None => Ok(None),
        }
    }

    /// Ends pieces whose range could not be had. Those that nobody asked for must not be the reason that others fail.
    fn fail(self, pieces: Vec<Piece<Job>>, error: RemoteError) {
        let (wanted, ahead): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.tag.wanted);
        // What takes long, is refused or has changed would be so for a shorter range as well.
        let by_range = error.cause.is_invalid() || matches!(error.cause, Cause::Status(_));
        let offline = matches!(error.cause, Cause::Offline(_));
        let retry = by_range && !ahead.is_empty() || offline && wanted.len() + ahead.len() > 1;
        ahead.into_iter().for_each(|piece| piece.tag.leader.finish(BlockOutcome::FetchedAhead));
        if retry {
            // What is kept of several blocks may be all of some of them.
            let requests = if offline { join_within(wanted, 0, 0) } else { join(wanted, plan::JOINED) };
            for request in requests {
                task::spawn(self.clone().fetch_range(request, offline));
            }
            return;
        }
        let error = VolumeError::Source(error.into());
        wanted.into_iter().for_each(|piece| piece.tag.leader.finish(BlockOutcome::failed(error.clone())));
    }

    /// Fetches an object that is one block.
    async fn fetch_whole(self, job: Job, whole: Whole) {
        let key = *job.leader.key();
        let (received, unproven) = tokio::select! {
            received = unproven(false, self.receive_whole(key, &whole)) => received,
            () = self.unwanted(std::iter::once(&job)) => return job.leader.give_up(),
        };
        let Job { leader, wanted } = job;
        let (fetched, mut reservation) = match received {
            Ok(Some(received)) => received,
            // Whoever asks for it is told.
            Ok(None) | Err(_) if !wanted => return leader.finish(BlockOutcome::FetchedAhead),
            Ok(None) => return self.memory.finish_absent(&self.image, leader).await,
            Err(error) => return leader.finish(BlockOutcome::failed(error)),
        };
        let stored = FetchedBlock { bytes: fetched.clone(), shared: false, packed: whole.packed };
        match decode_unproven(&self.memory, &self.image, key, stored, unproven).await {
            Ok(decoded) => {
                if let Some(bulk) = self.bulk.as_ref().filter(|_| !whole.object.is_local()) {
                    bulk.note(vec![(key.index, fetched)]).await;
                }
                let lease = reservation.lease.split(self.image.block_bytes(key));
                self.memory.finish(leader, Held::new(decoded, lease).of_versions(versions_of(&whole.object)));
            }
            Err(_) if !wanted => leader.finish(BlockOutcome::FetchedAhead),
            // Nothing says how long a whole object must be, so a cut or foreign answer is noticed only here.
            Err(error) => {
                drop(reservation);
                self.clone().refetch(leader, error).await;
            }
        }
    }

    /// The bytes of an object that is one block, with memory for them and for the voxels; nothing where it is absent.
    async fn receive_whole(
        &self,
        key: BlockKey,
        whole: &Whole,
    ) -> Result<Option<(Bytes, FetchReservation)>, VolumeError> {
        let bytes = self.image.block_bytes(key);
        let object = &whole.object;
        let _under_way = self.enter(object, bytes).await?;
        let cached = FetchPlace::cached();
        let place = if plan::is_at_hand(object).await { &cached } else { object.place() };
        let mut reservation = self.memory.reserve(place, whole.needed().saturating_add(bytes)).await;
        let Some(fetched) = whole.fetch(&self.image, key).await? else { return Ok(None) };
        self.memory.complete(&mut reservation).await;
        Ok(Some((fetched, reservation)))
    }

    /// Fetches a block once more whose bytes do not decode.
    async fn refetch(self, leader: BlockLeader, error: VolumeError) {
        fetch_past_caches(self.memory, self.image, leader, error, self.bulk).await;
    }
}
