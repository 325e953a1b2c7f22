//! Reading: a record is verified in memory that is used for one after the other, and what is wanted of it copied from
//! there while the processor's cache has it.

use std::{collections::VecDeque, io, ops::Range, slice};

use bytes::Bytes;

use super::{
    queries::{self, ExtentRow},
    queue::Change,
    record::{self, DiskRecord},
    store::DiskStore,
};
use crate::ranges::common;
use crate::store::Extent;

impl DiskStore {
    pub fn read(&self, object: &str, version: &str, range: &Range<u64>) -> Vec<Extent> {
        let mut rows = self.rows(record::hash(object), record::hash(version), range);
        if let Some(bytes) = self.gather(&rows, object, version, slice::from_ref(range)) {
            return bytes.into_iter().map(|bytes| Extent { start: range.start, bytes }).collect();
        }
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Some(place) = farthest(&rows, at).or_else(|| rows.iter().position(|row| row.start > at)) else { break };
            let row = rows.remove(place);
            let part = common(&(at..range.end), &row.range());
            let mut bytes = vec![0; length(&part)];
            if self.fill(&row, object, version, part.start, &mut [&mut bytes]) {
                at = part.end;
                found.push(Extent { start: part.start, bytes: bytes.into() });
            }
        }
        queries::joined_extents(found)
    }

    pub fn read_parts(&self, object: &str, version: &str, parts: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let range = parts.first()?.start..parts.last()?.end;
        let rows = self.rows(record::hash(object), record::hash(version), &range);
        self.gather(&rows, object, version, parts)
    }

    /// The bytes of `parts` from records of `rows`, if those hold all of them and are undamaged.
    fn gather(&self, rows: &[ExtentRow], object: &str, version: &str, parts: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let range = parts.first()?.start..parts.last()?.end;
        if parts.iter().any(Range::is_empty) || parts.windows(2).any(|pair| pair[0].end != pair[1].start) {
            return None;
        }
        let mut plan = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let row = &rows[farthest(rows, at)?];
            let end = range.end.min(row.range().end);
            plan.push((row, at..end));
            at = end;
        }
        let mut filled: Vec<Vec<u8>> = parts.iter().map(|part| vec![0; length(part)]).collect();
        let mut empty: VecDeque<&mut [u8]> = filled.iter_mut().map(Vec::as_mut_slice).collect();
        for (row, part) in plan {
            let mut targets = split_off(&mut empty, length(&part));
            if !self.fill(row, object, version, part.start, &mut targets) {
                return None;
            }
        }
        Some(filled.into_iter().map(Bytes::from).collect())
    }

    /// Fills the targets with the payload of a record from `start` on, an offset in the object, if the record is what the
    /// index claims and undamaged.
    fn fill(&self, row: &ExtentRow, object: &str, version: &str, start: u64, targets: &mut [&mut [u8]]) -> bool {
        let claimed = |record: &DiskRecord| {
            (&*record.object, &*record.version, record.start, record.length) == (object, version, row.start, row.length)
        };
        match self.verified(row, start, targets) {
            Ok(Some(record)) if claimed(&record) => {
                self.note_use(row.segment);
                true
            }
            Ok(_) => {
                self.queue.push(Change::Drop(*row));
                false
            }
            Err(reason) => {
                self.warn_unreadable(row.segment, &reason);
                false
            }
        }
    }

    /// Reads a record to see whether it is what the index claims. An error where it cannot be read now.
    pub fn is_sound(&self, row: &ExtentRow) -> io::Result<bool> {
        let found = self.verified(row, row.start, &mut [])?;
        Ok(found.is_some_and(|record| {
            (record::hash(&record.object), record::hash(&record.version), record.start, record.length)
                == (row.object, row.version, row.start, row.length)
        }))
    }

    /// Reads a record, of its payload into the targets what is there from `start` on; `None` where it is damaged. An error
    /// where it cannot be read now, which says nothing about it.
    fn verified(&self, row: &ExtentRow, start: u64, targets: &mut [&mut [u8]]) -> io::Result<Option<DiskRecord>> {
        let wanted: usize = targets.iter().map(|target| target.len()).sum();
        // Of a record that is read in part the rest may be wanted next.
        let once = wanted == 0 || wanted == row.length;
        // All of it is read to verify any of it.
        match self.segments.read(row.segment, row.offset, row.header + row.length, once) {
            Ok(part) => Ok(taken(part.bytes(), row, start, targets)),
            Err(reason) if is_lost(&reason) => Ok(None),
            Err(reason) => Err(reason),
        }
    }
}

/// Whether a file or a part of it is not there any more: gone, cut off, or on a broken place of the disk.
fn is_lost(reason: &io::Error) -> bool {
    matches!(reason.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || reason.raw_os_error() == Some(libc::EIO)
}

/// The record of these bytes, if it is undamaged, of whose payload the targets get what is there from `start` on.
fn taken(bytes: &[u8], row: &ExtentRow, start: u64, targets: &mut [&mut [u8]]) -> Option<DiskRecord> {
    let (header, payload) = bytes.split_at_checked(row.header)?;
    let record = record::verify(header, payload)?;
    let mut rest = payload.get(usize::try_from(start.checked_sub(row.start)?).ok()?..)?;
    for target in targets {
        let (bytes, others) = rest.split_at_checked(target.len())?;
        target.copy_from_slice(bytes);
        rest = others;
    }
    Some(record)
}

/// Of the records that hold the byte at `at` the one that goes farthest.
fn farthest(rows: &[ExtentRow], at: u64) -> Option<usize> {
    let holding = rows.iter().enumerate().filter(|(_, row)| row.range().contains(&at));
    holding.max_by_key(|(_, row)| row.range().end).map(|(place, _)| place)
}

/// Bytes of a range that is held in memory.
fn length(range: &Range<u64>) -> usize {
    (range.end - range.start) as usize
}

/// The first `bytes` of what is to be filled.
fn split_off<'a>(empty: &mut VecDeque<&'a mut [u8]>, mut bytes: usize) -> Vec<&'a mut [u8]> {
    let mut found = Vec::new();
    while bytes > 0
        && let Some(first) = empty.pop_front()
    {
        let (head, tail) = first.split_at_mut(bytes.min(first.len()));
        bytes -= head.len();
        found.push(head);
        if !tail.is_empty() {
            empty.push_front(tail);
        }
    }
    found
}
