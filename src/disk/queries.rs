//! The rows of the index and the statements on them.

use std::ops::Range;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::record;
use crate::store::Extent;

type Answer<T> = rusqlite::Result<T>;

/// A record as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentRow {
    /// Hash of the object's name.
    pub object: i64,
    /// Hash of the version's name.
    pub version: i64,
    /// Offset of the payload in the object.
    pub start: u64,
    /// Bytes of payload.
    pub length: usize,
    /// The segment.
    pub segment: i64,
    /// Offset of the record in the segment.
    pub offset: u64,
    /// Bytes of the record's header.
    pub header: usize,
}

/// Bytes of a version of an object, or all of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionPart {
    /// Hash of the object's name.
    pub object: i64,
    /// Hash of the version's name, first byte and the one after the last.
    pub bytes: Option<(i64, u64, u64)>,
}

impl VersionPart {
    /// All of an object.
    pub fn all(object: &str) -> Self {
        Self { object: record::hash(object), bytes: None }
    }

    /// Is any of it in `range` of that version?
    pub fn touches(&self, object: i64, version: i64, range: &Range<u64>) -> bool {
        let bytes = self.bytes.is_none_or(|(of, start, end)| of == version && start < range.end && range.start < end);
        self.object == object && bytes
    }
}

/// A segment as the index knows it.
#[derive(Clone, Copy, Debug)]
pub struct SegmentRow {
    pub id: i64,
    /// Bytes reserved for it: those of the file when it is full, else its capacity.
    pub bytes: u64,
}

const COLUMNS: &str = "object, version, start, length, segment, offset, header";

impl ExtentRow {
    /// The bytes of the object this is.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.length as u64
    }

    /// `None` for numbers that were never written.
    fn read(row: &rusqlite::Row<'_>) -> Answer<Option<Self>> {
        let number = |column| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(column)?).ok());
        let size = |column| Ok::<_, rusqlite::Error>(usize::try_from(row.get::<_, i64>(column)?).ok());
        let (Some(start), Some(length), Some(offset), Some(header)) = (number(2)?, size(3)?, number(5)?, size(6)?)
        else {
            return Ok(None);
        };
        let sane = (1..=record::MAX_PAYLOAD).contains(&length) && header <= record::MAX_HEADER;
        let row =
            Self { object: row.get(0)?, version: row.get(1)?, start, length, segment: row.get(4)?, offset, header };
        Ok(sane.then_some(row))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The records that hold some of `range`, in order.
pub fn rows_of(connection: &Connection, object: i64, version: i64, range: &Range<u64>) -> Answer<Vec<ExtentRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM extents WHERE object = ?1 AND version = ?2 AND start > ?3 AND start < ?4 ORDER BY start"
    );
    let before = signed(range.start).saturating_sub(record::MAX_PAYLOAD as i64).max(-1);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![object, version, before, signed(range.end)], ExtentRow::read)?;
    let found: Answer<Vec<_>> = rows.collect();
    Ok(found?.into_iter().flatten().filter(|row| row.range().end > range.start).collect())
}

/// The records after a place, in the order of the files, at most `count`.
pub fn rows_after(connection: &Connection, (segment, offset): (i64, i64), count: u32) -> Answer<Vec<ExtentRow>> {
    let sql =
        format!("SELECT {COLUMNS} FROM extents WHERE (segment, offset) > (?1, ?2) ORDER BY segment, offset LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![segment, offset, count], ExtentRow::read)?;
    let found: Answer<Vec<_>> = rows.collect();
    Ok(found?.into_iter().flatten().collect())
}

/// What is kept as the metadata of an object, if its checksum is right.
pub fn metadata(connection: &Connection, object: i64) -> Answer<Option<Bytes>> {
    let mut statement = connection.prepare_cached("SELECT note, sum FROM notes WHERE object = ?1")?;
    let found =
        statement.query_row([object], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))).optional()?;
    Ok(found
        .filter(|(metadata, sum)| record::metadata_sum(object, metadata) == *sum)
        .map(|(metadata, _)| metadata.into()))
}

/// Enters a record. One that starts where another one does takes its place.
pub fn insert(change: &Transaction<'_>, row: &ExtentRow, name: &str) -> Answer<()> {
    change
        .prepare_cached("INSERT OR IGNORE INTO objects (id, name) VALUES (?1, ?2)")?
        .execute(params![row.object, name])?;
    let sql = format!("INSERT OR REPLACE INTO extents ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    change.prepare_cached(&sql)?.execute(params![
        row.object,
        row.version,
        signed(row.start),
        signed(row.length as u64),
        row.segment,
        signed(row.offset),
        signed(row.header as u64),
    ])?;
    Ok(())
}

const THAT_ROW: &str = "extents WHERE object = ?1 AND version = ?2 AND start = ?3 AND segment = ?4 AND offset = ?5";

/// Removes a record that is not what the index claims; `false` when it is gone already.
pub fn drop_row(change: &Transaction<'_>, row: &ExtentRow) -> Answer<bool> {
    let sql = format!("DELETE FROM {THAT_ROW}");
    let removed = change.prepare_cached(&sql)?.execute(params![
        row.object,
        row.version,
        signed(row.start),
        row.segment,
        signed(row.offset)
    ])?;
    Ok(removed > 0)
}

/// Does the index know this record?
pub fn has_row(connection: &Connection, row: &ExtentRow) -> Answer<bool> {
    let sql = format!("SELECT 1 FROM {THAT_ROW}");
    connection.prepare_cached(&sql)?.exists(params![
        row.object,
        row.version,
        signed(row.start),
        row.segment,
        signed(row.offset)
    ])
}

/// Removes the rows that cannot have been written, and the metadata whose checksum is wrong; `false` when SQLite finds the
/// file not to be sound.
pub fn check(change: &Transaction<'_>) -> Answer<bool> {
    let sql = "DELETE FROM extents WHERE start < 0 OR offset < 0 OR length NOT BETWEEN 1 AND ?1 OR header NOT BETWEEN 0 AND ?2";
    change.execute(sql, params![record::MAX_PAYLOAD as i64, record::MAX_HEADER as i64])?;
    let mut all_metadata = change.prepare("SELECT object, note, sum FROM notes")?;
    let mut rows = all_metadata.query([])?;
    let mut wrong = Vec::new();
    while let Some(row) = rows.next()? {
        let (object, metadata): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        if record::metadata_sum(object, &metadata) != row.get::<_, i64>(2)? {
            wrong.push(object);
        }
    }
    for object in wrong {
        change.execute("DELETE FROM notes WHERE object = ?1", [object])?;
    }
    let found: String = change.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(found == "ok")
}

/// Sets the metadata of an object.
pub fn set_metadata(change: &Transaction<'_>, object: i64, metadata: &[u8], now: i64) -> Answer<()> {
    let sql = "INSERT OR REPLACE INTO notes (object, note, sum, set_at) VALUES (?1, ?2, ?3, ?4)";
    change.prepare_cached(sql)?.execute(params![object, metadata, record::metadata_sum(object, metadata), now])?;
    Ok(())
}

/// Removes all of an object, or the records that hold some of its bytes.
pub fn forget(change: &Transaction<'_>, part: VersionPart) -> Answer<()> {
    let object = part.object;
    if let Some((version, start, end)) = part.bytes {
        for row in rows_of(change, object, version, &(start..end))? {
            drop_row(change, &row)?;
        }
        return Ok(());
    }
    for sql in [
        "DELETE FROM extents WHERE object = ?1",
        "DELETE FROM notes WHERE object = ?1",
        "DELETE FROM objects WHERE id = ?1",
    ] {
        change.prepare_cached(sql)?.execute([object])?;
    }
    Ok(())
}

/// Removes the metadata set longest ago until it takes at most `bytes`.
pub fn trim_metadata(change: &Transaction<'_>, bytes: u64) -> Answer<()> {
    let sum = "SELECT coalesce(sum(length(note) + 64), 0) FROM notes";
    while unsigned(change.query_row(sum, [], |row| row.get(0))?) > bytes {
        let removed = change.execute(
            "DELETE FROM notes WHERE object IN (SELECT object FROM notes ORDER BY set_at LIMIT 1 + (SELECT count(*) FROM notes) / 8)",
            [],
        )?;
        if removed == 0 {
            break;
        }
    }
    Ok(())
}

/// All segments, the one used longest ago first.
pub fn segments(connection: &Connection) -> Answer<Vec<SegmentRow>> {
    segment_rows(connection, "SELECT id, bytes FROM segments ORDER BY used, id")
}

/// The segments that are not full, the one used last first.
pub fn unfinished(connection: &Connection) -> Answer<Vec<SegmentRow>> {
    segment_rows(connection, "SELECT id, bytes FROM segments WHERE NOT is_full ORDER BY used DESC, id")
}

fn segment_rows(connection: &Connection, sql: &str) -> Answer<Vec<SegmentRow>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok(SegmentRow { id: row.get(0)?, bytes: unsigned(row.get(1)?) }))?;
    rows.collect()
}

/// Where the last known record of a segment ends.
pub fn end_of(connection: &Connection, segment: i64) -> Answer<u64> {
    let sql = "SELECT offset + header + length FROM extents WHERE segment = ?1 ORDER BY offset DESC LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([segment], |row| row.get(0)).optional()?.map_or(0, unsigned))
}

/// Enters a segment, or what is new about it.
pub fn put_segment(change: &Transaction<'_>, segment: SegmentRow, is_full: bool, used: i64) -> Answer<()> {
    let sql = "INSERT INTO segments (id, bytes, is_full, used) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (id) DO UPDATE SET bytes = ?2, is_full = ?3, used = max(used, ?4)";
    change.prepare_cached(sql)?.execute(params![segment.id, signed(segment.bytes), is_full, used])?;
    Ok(())
}

/// Says when a segment was used; `false` when the index does not know it.
pub fn touch(change: &Transaction<'_>, segment: i64, used: i64) -> Answer<bool> {
    let sql = "UPDATE segments SET used = max(used, ?2) WHERE id = ?1";
    Ok(change.prepare_cached(sql)?.execute(params![segment, used])? > 0)
}

/// Removes a segment, its records, and the names of the objects that have no other.
pub fn drop_segment(change: &Transaction<'_>, segment: i64) -> Answer<()> {
    for sql in [
        "DELETE FROM objects WHERE id IN (SELECT object FROM extents WHERE segment = ?1)
            AND NOT EXISTS (SELECT 1 FROM extents WHERE object = objects.id AND segment <> ?1)",
        "DELETE FROM extents WHERE segment = ?1",
        "DELETE FROM segments WHERE id = ?1",
    ] {
        change.prepare_cached(sql)?.execute([segment])?;
    }
    Ok(())
}

/// What the index knows in sum.
pub struct Sums {
    /// Name, number of records and bytes of payload of each object.
    pub objects: Vec<(String, u64, u64)>,
    pub segments: u64,
    /// When the segment used longest ago was used.
    pub oldest: Option<i64>,
    /// When the segment used last was used.
    pub newest: Option<i64>,
}

/// What the index knows in sum.
pub fn sums(connection: &Connection) -> Answer<Sums> {
    let sql = "SELECT coalesce(name, ''), count(*), sum(length) FROM extents LEFT JOIN objects ON id = object GROUP BY object";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?), unsigned(row.get(2)?))))?;
    let objects = rows.collect::<Answer<Vec<_>>>()?;
    connection.query_row("SELECT count(*), min(used), max(used) FROM segments", [], |row| {
        Ok(Sums { objects, segments: unsigned(row.get(0)?), oldest: row.get(1)?, newest: row.get(2)? })
    })
}

/// Bytes of payload the index knows of.
pub fn payload_bytes(connection: &Connection) -> Answer<u64> {
    Ok(unsigned(connection.query_row("SELECT coalesce(sum(length), 0) FROM extents", [], |row| row.get(0))?))
}

/// Extents in order, those that touch joined into one.
pub fn joined_extents(extents: Vec<Extent>) -> Vec<Extent> {
    let mut found: Vec<Extent> = Vec::new();
    let mut run: Vec<Extent> = Vec::new();
    for extent in extents {
        if run.last().is_some_and(|last| last.range().end != extent.start) {
            found.extend(join(std::mem::take(&mut run)));
        }
        run.push(extent);
    }
    found.extend(join(run));
    found
}

fn join(mut run: Vec<Extent>) -> Option<Extent> {
    if run.len() < 2 {
        return run.pop();
    }
    let start = run.first()?.start;
    let mut bytes = Vec::with_capacity(run.iter().map(|extent| extent.bytes.len()).sum());
    run.iter().for_each(|extent| bytes.extend_from_slice(&extent.bytes));
    Some(Extent { start, bytes: bytes.into() })
}
