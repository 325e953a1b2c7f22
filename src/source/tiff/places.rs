//! Where the strips or tiles of a page lie, by tags that not every writer gets right.

use std::sync::Arc;

use super::ifd::{Ifd, MAX_NUMBERS, tags};
use super::nodata;
use super::page_format::PageFormat;
use super::read::ReadAhead;
use super::storage::{Codec, Data, Segments, Storage, Stored};
use crate::source::{SourceError, remedy};

/// Bytes of one decoded strip or tile that are accepted.
const MAX_SEGMENT: u64 = 1 << 30;
/// Deflate makes no more than 1032 bytes of one.
const MAX_DEFLATE_RATIO: u64 = 1040;
/// A code of nine bits stands for no more than 4096 bytes, and codes of so many grow to twelve bits before.
const MAX_LZW_RATIO: u64 = 4096;
/// Two bytes stand for 128.
const MAX_PACKBITS_RATIO: u64 = 64;
/// A block of four bytes stands for 128 KiB.
const MAX_ZSTD_RATIO: u64 = 40_000;

/// Bytes of memory that a strip or tile takes while its place is read.
const READING: u64 = 48;

/// Reads where a page that is stored so lies. `like` is how another one is stored, shared where both are alike.
pub(super) async fn read(
    file: &mut ReadAhead,
    ifd: &Ifd,
    form: &PageFormat,
    mut storage: Storage,
    like: Option<&Arc<Storage>>,
) -> Result<Stored, SourceError> {
    let data = read_places(file, ifd, form, &mut storage).await?;
    // What GDAL leaves out is said to be so; libtiff refuses such a page.
    if matches!((&data, storage.segments), (Data::Segments(places), Segments::Strips { .. }) if **places == [(0, 0)])
        && !ifd.has(tags::GDAL_NODATA)
    {
        let reason = "offset and length of its only strip are 0: nothing was stored, as where a write has failed";
        let error = SourceError::malformed(file.name(), ifd.field(tags::STRIP_OFFSETS), reason);
        return Err(error.with_remedy(remedy::EMPTY));
    }
    storage.fill = nodata::read(file, ifd, form.dtype, data.is_whole()).await?;
    let (rows, width) = storage.segments.whole(form);
    // Plain strips may be of any size: they are read in bands.
    let bands = matches!(data, Data::Contiguous(_));
    if !bands && form.bytes(rows, width).max(storage.bytes(rows, width)) > MAX_SEGMENT {
        let reason = format!("a strip or tile of more than {MAX_SEGMENT} bytes");
        return Err(SourceError::unsupported(file.name(), ifd.field(tags::IMAGE_LENGTH), reason));
    }
    let storage = like.filter(|like| ***like == storage).cloned().unwrap_or_else(|| Arc::new(storage));
    Ok(Stored { storage, data })
}

/// Reads the places, and mends the division where the tag that says it is wrong.
async fn read_places(
    file: &mut ReadAhead,
    ifd: &Ifd,
    form: &PageFormat,
    storage: &mut Storage,
) -> Result<Data, SourceError> {
    let tiles = matches!(storage.segments, Segments::Tiles { .. });
    let of_tiles = (tags::TILE_OFFSETS, tags::TILE_BYTE_COUNTS);
    let of_strips = (tags::STRIP_OFFSETS, tags::STRIP_BYTE_COUNTS);
    // Some writers put the places of tiles into the tags of strips.
    let (offset_tag, count_tag) = if tiles && ifd.has(tags::TILE_OFFSETS) { of_tiles } else { of_strips };
    let plain = storage.codec == Codec::None;
    let claimed = ifd.count(offset_tag).max(ifd.count(count_tag));
    if claimed > MAX_NUMBERS {
        let reason = format!("{claimed} strips or tiles of a page, more than {MAX_NUMBERS},");
        let error = SourceError::unsupported(file.name(), ifd.field(offset_tag), reason);
        return Err(error.with_remedy(remedy::SEGMENTS));
    }
    let _share = file.reserve(claimed.saturating_mul(READING)).await;
    let offsets = ifd.unsigned(file, offset_tag).await?.unwrap_or_default();
    let counts = match ifd.has_values(count_tag) {
        true => ifd.unsigned(file, count_tag).await?.unwrap_or_default(),
        false => Vec::new(),
    };
    let (mut down, mut across) = storage.segments.counts(form);
    // A single strip holds all rows whatever is said of their number.
    if plain && !tiles && offsets.len() == 1 && down > 1 {
        storage.segments = Segments::Strips { rows: form.height };
        (down, across) = (1, 1);
    }
    let expected = down.saturating_mul(across);
    let wrong = |tag, length: usize| {
        let reason = format!("{length} values for {expected} strips or tiles");
        Err(SourceError::malformed(file.name(), ifd.field(tag), reason))
    };
    let few = |length: usize| (length as u64) < expected;
    if few(offsets.len()) || (!plain && offsets.len() as u64 != expected) {
        return wrong(offset_tag, offsets.len());
    }
    if !plain && few(counts.len()) {
        return wrong(count_tag, counts.len());
    }
    let total = file.total();
    let mut places = Vec::with_capacity(expected as usize);
    let sorted = || {
        let mut sorted: Vec<u64> = offsets.clone();
        sorted.sort_unstable();
        sorted
    };
    let mut in_order: Option<Vec<u64>> = None;
    // A writer that counts some but not others may have stored nothing there: tifffile shows 0, libtiff refuses.
    let counts_some = counts.iter().any(|count| *count > 0);
    for (index, &offset) in offsets.iter().take(expected as usize).enumerate() {
        let count = counts.get(index).copied();
        let bad = |tag, reason: String| Err(SourceError::malformed(file.name(), ifd.field(tag), reason));
        let (rows, width) = storage.segments.extent(form, index as u64);
        let voxels = storage.bytes(rows, width);
        if offset == 0 && count == Some(0) {
            places.push((0, 0));
            continue;
        }
        if count == Some(0) && counts_some {
            return bad(count_tag, format!("strip or tile {index} is 0 and others are not: nothing was stored"));
        }
        if offset == 0 {
            return bad(offset_tag, format!("strip or tile {index} is 0: nothing was stored"));
        }
        let length = match (storage.codec, count) {
            // Some writers round the last count up; the voxels are at its beginning.
            (Codec::None, Some(count)) if count >= voxels => voxels,
            (Codec::None, count) => {
                let sorted = in_order.get_or_insert_with(sorted);
                let next = sorted.get(sorted.partition_point(|other| *other <= offset)).copied().unwrap_or(total);
                if offset.checked_add(voxels).is_none_or(|end| end > next) {
                    let count = count.unwrap_or_default();
                    return bad(count_tag, format!("{count} bytes for {voxels} of voxels in {index}"));
                }
                voxels
            }
            (codec, count) => {
                let count = count.unwrap_or_default();
                if count == 0 {
                    return bad(count_tag, format!("strip or tile {index} is 0: nothing was stored"));
                }
                if voxels / ratio(codec) > count {
                    return bad(count_tag, format!("{count} bytes cannot hold the {voxels} of strip or tile {index}"));
                }
                // The last strip may be stored with as many rows as the others.
                let (rows, width) = storage.segments.whole(form);
                let most = storage.bytes(rows, width);
                if count > most.saturating_add(most / 2).saturating_add(8192) {
                    let reason = format!("{count} bytes for only {most} of voxels in strip or tile {index}");
                    return bad(count_tag, reason);
                }
                count
            }
        };
        if offset.checked_add(length).is_none_or(|end| end > total) {
            file.note_past_end();
            let reason =
                format!("strip or tile {index} ({length} bytes at {offset}) does not lie in the file of {total} bytes");
            return Err(SourceError::malformed(file.name(), ifd.field(offset_tag), reason));
        }
        places.push((offset, length));
    }
    let one_run = storage.is_plain(form.dtype)
        && !tiles
        && places.iter().all(|(_, length)| *length > 0)
        && places.windows(2).all(|pair| pair[0].0.checked_add(pair[0].1) == Some(pair[1].0));
    Ok(match places.first() {
        Some((start, _)) if one_run => Data::Contiguous(*start),
        _ => Data::Segments(places.into()),
    })
}

/// Bytes that one byte stands for at the most.
fn ratio(codec: Codec) -> u64 {
    match codec {
        Codec::None => 1,
        Codec::Deflate => MAX_DEFLATE_RATIO,
        Codec::Lzw => MAX_LZW_RATIO,
        Codec::PackBits => MAX_PACKBITS_RATIO,
        Codec::Zstd => MAX_ZSTD_RATIO,
        // Its own header says the extents, which are checked before anything is decoded.
        Codec::Jpeg => u64::MAX,
    }
}
