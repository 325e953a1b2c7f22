//! Keeps the store within its bound, and its files and its index in step.

use std::{collections::HashSet, io};

use rusqlite::Transaction;

use super::{
    folder,
    index::DiskIndex,
    queries::{self, ExtentRow, SegmentRow},
    record,
    segments::{Active, SegmentKind},
    store::{DiskStore, now},
    types::DiskError,
};

const MAX_SEGMENT: u64 = 64 << 20;
const SMALLEST_SEGMENT: u64 = 64 << 10;

/// Bytes of a segment: a small store has small ones, so that removing one is not removing all.
pub fn segment_bytes(bound: u64) -> u64 {
    (bound / 16).clamp(SMALLEST_SEGMENT, MAX_SEGMENT)
}

fn failure(path: &std::path::Path, reason: io::Error) -> DiskError {
    folder::io_error(path, reason)
}

/// A segment of a kind with space for `need` bytes: one that nobody writes any more, else a new one, for which others may go.
pub fn next_segment(
    store: &DiskStore,
    index: &DiskIndex,
    need: u64,
    kind: SegmentKind,
) -> rusqlite::Result<Result<Active, DiskError>> {
    sweep(store, index)?;
    let made = index.write(|transaction| make_segment(store, index, transaction, (need, kind)))?;
    // An index from the time of a larger bound may be most of what there may be now, though few of its rows are left.
    if index.bytes() > store.bound / 2
        && let Err(reason) = index.shrink()
    {
        tracing::debug!("{} stays as long as it is: {reason}", index.path().display());
    }
    Ok(made)
}

fn make_segment(
    store: &DiskStore,
    index: &DiskIndex,
    transaction: &Transaction<'_>,
    (need, kind): (u64, SegmentKind),
) -> rusqlite::Result<Result<Active, DiskError>> {
    for row in queries::unfinished(transaction)?.into_iter().filter(|row| SegmentKind::of_segment(row.id) == kind) {
        if let Some(active) = adopt(store, transaction, row, need)? {
            return Ok(Ok(active));
        }
    }
    if DiskIndex::bytes_in_use(transaction)? > store.bound / 4 {
        queries::trim_metadata(transaction, store.bound / 16)?;
    }
    let (bound, by_disk) = match bound(store, index, transaction)? {
        Ok(bound) => bound,
        Err(reason) => return Ok(Err(reason)),
    };
    let capacity = segment_bytes(bound).max(need);
    loop {
        match evict_one(store, transaction, bound.saturating_sub(capacity))? {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(reason) => return Ok(Err(reason)),
        }
    }
    if total(transaction)?.saturating_add(capacity) > bound {
        let reason = if by_disk {
            io::Error::new(
                io::ErrorKind::StorageFull,
                "less than a twentieth of the disk, or 4 GiB of a large one, is free",
            )
        } else {
            io::Error::new(io::ErrorKind::QuotaExceeded, format!("{bound} bytes are too few for all that write to it"))
        };
        return Ok(Err(failure(&store.folder, reason)));
    }
    match store.segments.create(capacity, kind) {
        Ok(active) => {
            queries::put_segment(transaction, SegmentRow { id: active.id, bytes: capacity }, false, now())?;
            Ok(Ok(active))
        }
        Err(reason) => Ok(Err(failure(&store.folder, reason))),
    }
}

fn adopt(
    store: &DiskStore,
    transaction: &Transaction<'_>,
    row: SegmentRow,
    need: u64,
) -> rusqlite::Result<Option<Active>> {
    let Some(idle) = store.segments.idle(row.id) else { return Ok(None) };
    // What comes after the last known record was being written when a process ended.
    let end = queries::end_of(transaction, row.id)?.min(idle.bytes);
    let capacity = row.bytes.min(segment_bytes(store.bound));
    let adopted = if end.saturating_add(need) <= capacity { idle.adopt(row.id, end, capacity) } else { None };
    let bytes = if adopted.is_some() { capacity } else { end };
    queries::put_segment(transaction, SegmentRow { id: row.id, bytes }, adopted.is_none(), 0)?;
    Ok(adopted)
}

/// Bytes the store takes, with those reserved for segments that are being written, once the index is shrunk: what is removed
/// from it leaves its file as long as it was, however much is removed.
fn total(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let segments = queries::segments(transaction)?;
    let index = DiskIndex::bytes_in_use(transaction)?;
    Ok(segments.iter().fold(index, |sum, segment| sum.saturating_add(segment.bytes)))
}

/// The bound, and whether it is the disk that sets it.
fn bound(
    store: &DiskStore,
    index: &DiskIndex,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<Result<(u64, bool), DiskError>> {
    let usable = match folder::usable_bytes(&store.folder) {
        Ok(usable) => usable,
        Err(reason) => return Ok(Err(failure(&store.folder, reason))),
    };
    let mut written = i128::from(index.bytes());
    for segment in queries::segments(transaction)? {
        let bytes = std::fs::metadata(store.segments.path(segment.id)).map_or(0, |known| known.len());
        written = written.saturating_add(i128::from(bytes));
    }
    let possible = u64::try_from(written.saturating_add(usable).max(0)).unwrap_or(u64::MAX);
    Ok(Ok((store.bound.min(possible), possible < store.bound)))
}

/// The segments in the order in which they go: those used longest ago first, and what was computed after all that was fetched,
/// unless it takes more than half of what there may be.
fn in_order(store: &DiskStore, transaction: &Transaction<'_>) -> rusqlite::Result<Vec<SegmentRow>> {
    let segments = queries::segments(transaction)?;
    let (computed, fetched): (Vec<_>, Vec<_>) =
        segments.into_iter().partition(|segment| SegmentKind::of_segment(segment.id) == SegmentKind::Computed);
    let taken = computed.iter().fold(0u64, |sum, segment| sum.saturating_add(segment.bytes));
    let (first, last) = if taken > store.bound / 2 { (computed, fetched) } else { (fetched, computed) };
    Ok(first.into_iter().chain(last).collect())
}

/// Removes the first segment that may go, but none that is being written, if more than `bytes` are taken. Gives the bytes
/// of its file; `None` where nothing is to go, or nothing can.
pub fn evict_one(
    store: &DiskStore,
    transaction: &Transaction<'_>,
    bytes: u64,
) -> rusqlite::Result<Result<Option<u64>, DiskError>> {
    if total(transaction)? <= bytes {
        return Ok(Ok(None));
    }
    for segment in in_order(store, transaction)? {
        let Some(idle) = store.segments.idle(segment.id) else { continue };
        let freed = idle.bytes;
        // The file goes first: on a full disk there is no space for the journal before.
        if let Err(reason) = idle.remove() {
            return Ok(Err(failure(&store.segments.path(segment.id), reason)));
        }
        store.segments.remove(segment.id);
        queries::drop_segment(transaction, segment.id)?;
        return Ok(Ok(Some(freed)));
    }
    Ok(Ok(None))
}

/// Segments left where those that could be removed are gone, and there is more than `bytes` still: others write them.
pub fn beyond(transaction: &Transaction<'_>, bytes: u64) -> rusqlite::Result<usize> {
    if total(transaction)? <= bytes { Ok(0) } else { Ok(queries::segments(transaction)?.len()) }
}

/// Brings the index in step with the files: what is gone leaves the index, and a segment that the index does not know
/// is read for its records. That is how an index is made anew, and how nothing is left over by who was killed.
pub fn sweep(store: &DiskStore, index: &DiskIndex) -> rusqlite::Result<()> {
    let unknown = index.write(|transaction| {
        let Ok(files) = store.segments.list() else { return Ok(Vec::new()) };
        let files: HashSet<i64> = files.into_iter().collect();
        let mut known = HashSet::new();
        for segment in queries::segments(transaction)? {
            if files.contains(&segment.id) {
                known.insert(segment.id);
            } else {
                queries::drop_segment(transaction, segment.id)?;
            }
        }
        Ok(files.difference(&known).copied().collect::<Vec<_>>())
    })?;
    for segment in unknown {
        index.write(|transaction| enter(store, transaction, segment))?;
    }
    Ok(())
}

/// Enters a segment that the index does not know, unless somebody writes it.
fn enter(store: &DiskStore, transaction: &Transaction<'_>, segment: i64) -> rusqlite::Result<()> {
    let Some(idle) = store.segments.idle(segment) else { return Ok(()) };
    let records = idle.records();
    if records.is_empty() {
        store.segments.remove(segment);
        return Ok(());
    }
    queries::put_segment(transaction, SegmentRow { id: segment, bytes: idle.bytes }, true, idle.written)?;
    for (offset, record) in records {
        let row = ExtentRow {
            object: record::hash(&record.object),
            version: record::hash(&record.version),
            start: record.start,
            length: record.length,
            segment,
            offset,
            header: record::header_length(&record.object, &record.version),
        };
        queries::insert(transaction, &row, &record.object)?;
    }
    Ok(())
}
