//! Which bytes of a page a block needs, whatever strips or tiles the page is divided into, and what voxels they are.

use std::ops::Range;

use bytes::Bytes;

use super::decode::{self, SegmentExtent};
use super::page_format::PageFormat;
use super::storage::{Data, Segments, Storage, Stored};
use crate::ranges::common;
use crate::source::planes::little_endian;

/// Bytes between the strips or tiles of a block that are read along, beside as many as these have themselves.
const MAX_BETWEEN: u64 = 4 << 20;

/// Rows and columns of a page.
#[derive(Debug, Clone)]
pub(super) struct PageRegion {
    pub(super) rows: Range<u64>,
    pub(super) columns: Range<u64>,
}

/// A strip or tile that a block needs.
struct Piece {
    /// Its first row and column.
    start: (u64, u64),
    extent: SegmentExtent,
    /// Offset and length; both 0 where it was never written.
    place: (u64, u64),
}

/// The bytes from which the block is made; `None` where nothing of it was ever written.
pub(super) fn locate(stored: &Stored, form: &PageFormat, region: &PageRegion) -> Result<Option<Range<u64>>, String> {
    match &stored.data {
        Data::Contiguous(start) => {
            let offset = |row: u64| start.checked_add(form.bytes(row, form.width)).ok_or("lies beyond 2⁶⁴ bytes");
            Ok(Some(offset(region.rows.start)?..offset(region.rows.end)?))
        }
        Data::Segments(places) => span(&pieces(&stored.storage, places, form, region)?),
    }
}

/// The voxels of a block from the bytes that [`locate`] told: C order, little-endian.
pub(super) fn decode(
    stored: &Stored,
    form: &PageFormat,
    region: &PageRegion,
    raw: Bytes,
    big_endian: bool,
) -> Result<Bytes, String> {
    let (rows, columns) = (region.rows.end - region.rows.start, region.columns.end - region.columns.start);
    let places = match &stored.data {
        Data::Contiguous(_) => {
            let expected = form.bytes(rows, form.width);
            if raw.len() as u64 != expected {
                return Err(format!("{} bytes where {expected} are expected", raw.len()));
            }
            let voxels = little_endian(raw, form.dtype.size(), big_endian);
            let all = if columns == form.width { Some(voxels) } else { cut(&voxels, form, region) };
            return all.ok_or_else(|| "fewer columns than expected".to_owned());
        }
        Data::Segments(places) => places,
    };
    let pieces = pieces(&stored.storage, places, form, region)?;
    let span = span(&pieces)?.ok_or("was never written")?;
    if raw.len() as u64 != span.end - span.start {
        return Err(format!("{} bytes where {} are expected", raw.len(), span.end - span.start));
    }
    let stored_bytes = |piece: &Piece| {
        let (offset, length) = piece.place;
        let start = (offset - span.start) as usize;
        raw.slice(start..start + length as usize)
    };
    let unpack = |piece: &Piece, bytes| decode::segment(bytes, &stored.storage, form, piece.extent, big_endian);
    if let [piece] = pieces.as_slice()
        && piece.start == (region.rows.start, region.columns.start)
        && (piece.extent.rows, piece.extent.width) == (rows, columns)
    {
        let bytes = stored_bytes(piece);
        drop(raw);
        return unpack(piece, bytes);
    }
    let bytes = usize::try_from(form.bytes(rows, columns)).map_err(|_| "a block too long")?;
    let mut voxels = Vec::new();
    voxels.try_reserve_exact(bytes).map_err(|_| format!("no memory for {bytes} bytes"))?;
    let fill = stored.storage.fill.as_le_bytes();
    match fill.iter().any(|byte| *byte != 0) && pieces.iter().any(|piece| piece.place.1 == 0) {
        true => voxels.extend(fill.iter().copied().cycle().take(bytes)),
        false => voxels.resize(bytes, 0),
    }
    for piece in pieces.iter().filter(|piece| piece.place.1 > 0) {
        let decoded = unpack(piece, stored_bytes(piece))?;
        if !lay(&mut voxels, &decoded, piece, form, region) {
            return Err("a strip or tile with fewer voxels than expected".to_owned());
        }
    }
    Ok(voxels.into())
}

/// The strips or tiles that a region lies in.
fn pieces(
    storage: &Storage,
    places: &[(u64, u64)],
    form: &PageFormat,
    region: &PageRegion,
) -> Result<Vec<Piece>, String> {
    let (_, across) = storage.segments.counts(form);
    let (height, width) = storage.segments.whole(form);
    let within = |range: &Range<u64>, side: u64| range.start / side..range.end.div_ceil(side);
    let strips = matches!(storage.segments, Segments::Strips { .. });
    let columns = if strips { 0..1 } else { within(&region.columns, width) };
    let mut pieces = Vec::new();
    for down in within(&region.rows, height) {
        for column in columns.clone() {
            let index = down * across + column;
            let place = usize::try_from(index).ok().and_then(|index| places.get(index)).copied();
            let place = place.ok_or("lies in a strip or tile that the page does not have")?;
            let (rows, width) = storage.segments.extent(form, index);
            let extent = SegmentExtent { rows, most: height, width };
            pieces.push(Piece { start: (down * height, column * width), extent, place });
        }
    }
    Ok(pieces)
}

/// From the first byte of the pieces to their last; `None` where none was written.
fn span(pieces: &[Piece]) -> Result<Option<Range<u64>>, String> {
    let written = || pieces.iter().map(|piece| piece.place).filter(|(_, length)| *length > 0);
    let (Some(start), Some(end)) = (
        written().map(|(offset, _)| offset).min(),
        written().map(|(offset, length)| offset.saturating_add(length)).max(),
    ) else {
        return Ok(None);
    };
    let own: u64 = written().map(|(_, length)| length).fold(0, u64::saturating_add);
    if end - start > own.saturating_mul(2).saturating_add(MAX_BETWEEN) {
        return Err("has its strips or tiles scattered over the file".into());
    }
    Ok(Some(start..end))
}

/// The columns of a region from whole rows; `None` where these are shorter.
fn cut(voxels: &[u8], form: &PageFormat, region: &PageRegion) -> Option<Bytes> {
    let item = form.dtype.size();
    let range = region.columns.start as usize * item..region.columns.end as usize * item;
    let rows = voxels.chunks_exact((form.width as usize * item).max(1));
    let rows: Vec<&[u8]> = rows.map(|row| row.get(range.clone())).collect::<Option<_>>()?;
    Some(rows.concat().into())
}

/// Lays what a piece and the region have in common into the region's voxels; `false` where one of them is shorter than it says,
/// so that some stayed as they were.
fn lay(voxels: &mut [u8], decoded: &[u8], piece: &Piece, form: &PageFormat, region: &PageRegion) -> bool {
    let item = form.dtype.size() as u64;
    let (top, left) = piece.start;
    let rows = common(&(top..top + piece.extent.rows), &region.rows);
    let columns = common(&(left..left + piece.extent.width), &region.columns);
    let width = region.columns.end - region.columns.start;
    let mut is_whole = true;
    for row in rows {
        let from = ((row - top) * piece.extent.width + columns.start - left) * item;
        let to = ((row - region.rows.start) * width + columns.start - region.columns.start) * item;
        let length = (columns.end - columns.start) * item;
        let source = decoded.get(from as usize..(from + length) as usize);
        let target = voxels.get_mut(to as usize..(to + length) as usize);
        if let (Some(source), Some(target)) = (source, target) {
            target.copy_from_slice(source);
        } else {
            is_whole = false;
        }
    }
    is_whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DataType;

    const FORM: PageFormat = PageFormat { width: 4, height: 4, dtype: DataType::U8, white_is_zero: false };

    #[test]
    fn a_piece_with_fewer_voxels_than_it_says_is_told() {
        let region = PageRegion { rows: 1..4, columns: 1..3 };
        let piece = Piece { start: (0, 0), extent: SegmentExtent { rows: 4, most: 4, width: 4 }, place: (0, 16) };
        let decoded: Vec<u8> = (1..17).collect();
        let mut voxels = vec![0; 6];
        assert!(lay(&mut voxels, &decoded, &piece, &FORM, &region));
        assert_eq!(voxels, [6, 7, 10, 11, 14, 15]);
        assert!(!lay(&mut voxels, &decoded[..14], &piece, &FORM, &region));
        assert!(!lay(&mut voxels[..5], &decoded, &piece, &FORM, &region));
        assert_eq!(cut(&decoded, &FORM, &region).unwrap(), [2, 3, 6, 7, 10, 11, 14, 15].as_slice());
        assert_eq!(cut(&decoded, &FORM, &PageRegion { rows: 0..4, columns: 3..5 }), None);
    }
}
