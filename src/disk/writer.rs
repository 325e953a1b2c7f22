//! The thread that writes: payload into this process's segment, then the rows about it in one transaction.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    eviction, folder,
    index::{DiskIndex, is_busy, is_damage},
    queries::{self, ExtentRow, SegmentRow, VersionPart},
    queue::{Change, QueuedWork},
    record,
    segments::{Active, SegmentKind},
    store::{DiskStore, now},
    types::DiskError,
};
use crate::ranges::gaps;

/// How often what others did is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long it may take until others learn what was read here.
const USES: Duration = Duration::from_secs(10);
/// How long nothing is written after a failure.
const PAUSE: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(60) };

/// How long an index that others use is waited for before a batch is given up.
const BUSY: Duration = Duration::from_secs(60);

/// The state of the writing thread.
pub struct DiskWriter {
    store: Arc<DiskStore>,
    active: Option<Active>,
    /// A segment of the other kind.
    resting: Option<Active>,
    /// Rows about records that are in the segment, not yet in the index.
    pending: Vec<(ExtentRow, String)>,
    /// What the pending rows hold, by object and version.
    holding: HashMap<(i64, i64), Vec<Range<u64>>>,
    /// What could not be forgotten when it was asked for, with the latest sequence.
    owed: BTreeMap<VersionPart, u64>,
    paused: Option<Instant>,
    uses_taken: Instant,
    /// Bytes of metadata since it was last looked through.
    metadata_bytes: u64,
}

/// Why a batch was not kept.
enum Failure {
    /// The index is damaged: another one takes its place.
    Damage(Arc<DiskIndex>, rusqlite::Error),
    /// Nothing can be written for a while.
    Trouble(DiskError),
}

/// The sequence of a change that is also kept in memory until it is in the index.
enum Sequence {
    Metadata(i64, u64),
    Forget(VersionPart, u64),
}

impl Sequence {
    fn of(change: &Change) -> Option<Self> {
        match change {
            Change::SetMetadata { object, sequence, .. } => Some(Self::Metadata(record::hash(object), *sequence)),
            Change::Forget { part, sequence } => Some(Self::Forget(*part, *sequence)),
            Change::Write { .. } | Change::Restore { .. } | Change::Drop(_) => None,
        }
    }
}

/// Whoever waits for the thread must not wait for ever when it ends.
struct Ending(Arc<DiskStore>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

impl DiskWriter {
    /// Starts the thread.
    pub fn start(store: Arc<DiskStore>) -> io::Result<std::thread::JoinHandle<()>> {
        // Its lines go where those of whoever opens the store go.
        let log = tracing::dispatcher::get_default(Clone::clone);
        std::thread::Builder::new().name("cache-writer".into()).spawn(move || {
            let _log = tracing::dispatcher::set_default(&log);
            let ending = Ending(store.clone());
            let mut writer = Self {
                store,
                active: None,
                resting: None,
                pending: Vec::new(),
                holding: HashMap::new(),
                owed: BTreeMap::new(),
                uses_taken: Instant::now(),
                paused: None,
                metadata_bytes: 0,
            };
            writer.run();
            drop(ending);
        })
    }

    fn run(&mut self) {
        loop {
            let work = self.store.queue.take(TICK);
            let (batch, last) = match work {
                QueuedWork::Batch(batch) => (batch, false),
                QueuedWork::Idle => (Vec::new(), false),
                QueuedWork::Closed => (Vec::new(), true),
            };
            let count = batch.len();
            let sequences: Vec<_> = batch.iter().filter_map(Sequence::of).collect();
            let is_done = if last || self.paused.is_none_or(|until| Instant::now() >= until) {
                self.paused = None;
                let applied = self.apply(batch, last);
                if applied.is_ok() {
                    self.store.note_trouble(None);
                }
                applied.map_err(|failure| self.fail(failure)).is_ok()
            } else {
                false
            };
            for sequence in sequences {
                match sequence {
                    Sequence::Metadata(object, sequence) => self.store.metadata_is_settled(object, sequence),
                    Sequence::Forget(part, sequence) if is_done => self.store.is_forgotten(part, sequence),
                    Sequence::Forget(part, sequence) => {
                        self.owed.insert(part, sequence);
                    }
                }
            }
            self.store.segments.close_removed();
            self.store.queue.done(count);
            if last {
                return;
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.pending.clear();
        self.holding.clear();
        let trouble = match failure {
            Failure::Damage(index, reason) => {
                tracing::debug!("{}: {reason}", index.path().display());
                // Its rows are lost; the index that comes next finds the segment like any other.
                (self.active, self.resting) = (None, None);
                match self.store.retire(&index) {
                    Ok(()) => return,
                    Err(reason) => reason,
                }
            }
            Failure::Trouble(reason) => reason,
        };
        for active in self.active.iter().chain(&self.resting) {
            active.trim();
        }
        self.store.warn(&trouble);
        self.store.note_trouble(Some(trouble.to_string()));
        self.paused = Some(Instant::now() + PAUSE);
    }

    fn apply(&mut self, batch: Vec<Change>, last: bool) -> Result<(), Failure> {
        if self.store.index().is_none_or(|index| !index.is_current()) {
            (self.active, self.resting) = (None, None);
            self.store.reopen().map_err(Failure::Trouble)?;
        }
        if self.store.unswept.swap(false, Ordering::Relaxed) {
            self.in_index(eviction::sweep).inspect_err(|_| self.store.unswept.store(true, Ordering::Relaxed))?;
        }
        self.active.take_if(|active| !active.is_there());
        self.resting.take_if(|resting| !resting.is_there());
        // Those of one kind together, so that segments are changed twice at most. Nothing else is about what was computed.
        let is_computed = |change: &Change| matches!(change, Change::Write { object, .. } if SegmentKind::of(object) == SegmentKind::Computed);
        let (computed, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_computed);
        let mut later = Vec::new();
        for change in batch.into_iter().chain(computed) {
            if matches!(change, Change::Write { .. }) && !later.is_empty() {
                self.commit(std::mem::take(&mut later), false)?;
            }
            match change {
                Change::Write { object, version, start, bytes } => self.write(&object, &version, start, &bytes)?,
                change => later.push(change),
            }
        }
        if !self.owed.is_empty()
            || !later.is_empty()
            || !self.pending.is_empty()
            || last
            || self.uses_taken.elapsed() > USES
        {
            self.commit(later, false)?;
        }
        Ok(())
    }

    /// Writes what of the bytes is not there yet into the segment.
    fn write(&mut self, object: &str, version: &str, start: u64, bytes: &Bytes) -> Result<(), Failure> {
        let Some(end) = start.checked_add(bytes.len() as u64) else { return Ok(()) };
        let key = (record::hash(object), record::hash(version));
        let range = start..end;
        let known = self.in_index(|_, index| {
            index.read_patiently(|connection| queries::rows_of(connection, key.0, key.1, &range))
        })?;
        let mut there: Vec<_> = known.iter().map(ExtentRow::range).collect();
        there.extend(self.holding.get(&key).into_iter().flatten().cloned());
        there.sort_by_key(|range| range.start);
        for gap in gaps(range, &there) {
            // Both differences are at most the number of bytes.
            let mut rest = bytes.slice((gap.start - start) as usize..(gap.end - start) as usize);
            let mut at = gap.start;
            while !rest.is_empty() {
                let piece = rest.split_to(rest.len().min(self.largest_piece()));
                self.append(object, version, at, &piece)?;
                at += piece.len() as u64;
            }
        }
        Ok(())
    }

    /// Small segments take small pieces, so that little of them stays empty.
    fn largest_piece(&self) -> usize {
        let fair = usize::try_from(eviction::segment_bytes(self.store.bound) / 8).unwrap_or(record::PIECE);
        fair.clamp(1, record::PIECE)
    }

    fn append(&mut self, object: &str, version: &str, start: u64, payload: &Bytes) -> Result<(), Failure> {
        let Some(header) = record::header(object, version, start, payload) else { return Ok(()) };
        let length = header.len() + payload.len();
        let kind = SegmentKind::of(object);
        if self.active.as_ref().is_some_and(|active| SegmentKind::of_segment(active.id) != kind) {
            self.commit(Vec::new(), false)?;
            std::mem::swap(&mut self.active, &mut self.resting);
        }
        if self.active.as_ref().is_some_and(|active| !active.fits(length)) {
            self.commit(Vec::new(), true)?;
            self.active = None;
        }
        let active = match &mut self.active {
            Some(active) => active,
            None => {
                let made = self.in_index(|store, index| eviction::next_segment(store, index, length as u64, kind))?;
                self.active.insert(made.map_err(Failure::Trouble)?)
            }
        };
        let segment = active.id;
        let offset = active
            .append(&header, payload)
            .map_err(|reason| Failure::Trouble(folder::io_error(&self.store.segments.path(segment), reason)))?;
        let (object_hash, version_hash) = (record::hash(object), record::hash(version));
        let row = ExtentRow {
            object: object_hash,
            version: version_hash,
            start,
            length: payload.len(),
            segment,
            offset,
            header: header.len(),
        };
        self.holding.entry((object_hash, version_hash)).or_default().push(row.range());
        self.pending.push((row, object.to_owned()));
        Ok(())
    }

    /// Enters the pending rows and the other changes.
    fn commit(&mut self, changes: Vec<Change>, is_full: bool) -> Result<(), Failure> {
        let uses = self.store.take_uses();
        self.uses_taken = Instant::now();
        let pending = std::mem::take(&mut self.pending);
        self.holding.clear();
        if changes.is_empty() && pending.is_empty() && uses.is_empty() && self.owed.is_empty() && !is_full {
            return Ok(());
        }
        let active = self.active.as_ref().map(|active| (active.id, active.end));
        let limit = self.store.bound / 16;
        self.metadata_bytes += changes
            .iter()
            .map(|change| match change {
                Change::SetMetadata { metadata, .. } => metadata.len() as u64 + 64,
                _ => 0,
            })
            .sum::<u64>();
        let trim = self.metadata_bytes > limit / 8;
        let owed = &self.owed;
        let (is_known, restored) = self.in_index(|_, index| {
            index.write(|transaction| {
                let mut restored = 0;
                for (segment, used) in &uses {
                    queries::touch(transaction, *segment, *used)?;
                }
                for part in owed.keys() {
                    queries::forget(transaction, *part)?;
                }
                let mut is_known = true;
                if let Some((id, end)) = active.filter(|_| !pending.is_empty() || is_full) {
                    is_known = queries::touch(transaction, id, now())?;
                    if is_known && is_full {
                        queries::put_segment(transaction, SegmentRow { id, bytes: end }, true, now())?;
                    }
                }
                for (row, name) in pending.iter().filter(|_| is_known) {
                    queries::insert(transaction, row, name)?;
                }
                for change in &changes {
                    match change {
                        Change::Write { .. } => {}
                        Change::SetMetadata { object, metadata, .. } => {
                            queries::set_metadata(transaction, record::hash(object), metadata, now())?;
                        }
                        Change::Restore { object, metadata } => {
                            let hash = record::hash(object);
                            let kept = queries::metadata(transaction, hash)?;
                            if kept.and_then(|kept| record::unbound(object, &kept)).is_none() {
                                queries::set_metadata(transaction, hash, metadata, now())?;
                                restored += metadata.len() as u64 + 64;
                            }
                        }
                        Change::Forget { part, .. } => queries::forget(transaction, *part)?,
                        Change::Drop(row) => drop(queries::drop_row(transaction, row)?),
                    }
                }
                if trim {
                    queries::trim_metadata(transaction, limit)?;
                }
                Ok((is_known, restored))
            })
        })?;
        if trim {
            self.metadata_bytes = 0;
        }
        self.metadata_bytes += restored;
        if !is_known {
            // The segment was removed by another process.
            self.active = None;
        }
        for (part, sequence) in std::mem::take(&mut self.owed) {
            self.store.is_forgotten(part, sequence);
        }
        Ok(())
    }

    /// Does something with the index in use, again where others held it for longer than SQLite waits.
    fn in_index<T>(&self, work: impl Fn(&DiskStore, &DiskIndex) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let Some(index) = self.store.index() else {
            return Err(Failure::Trouble(folder::no_index(&self.store.folder)));
        };
        let deadline = Instant::now() + BUSY;
        loop {
            match work(&self.store, &index) {
                Ok(done) => return Ok(done),
                Err(reason) if is_damage(&reason) => return Err(Failure::Damage(index, reason)),
                Err(reason) if is_busy(&reason) && Instant::now() < deadline && !self.store.queue.is_closed() => {
                    tracing::debug!("{}: {reason}", index.path().display());
                }
                Err(reason) => return Err(Failure::Trouble(folder::index_error(index.path(), reason))),
            }
        }
    }
}
