//! Blocks that are bands of rows of a strip too long to be unpacked as a whole.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::decode;
use super::long_strip::{BandSize, LongStrip, MAX_BANDS};
use super::page_format::PageFormat;
use super::storage::{Codec, Data, Segments, Storage, Stored};

/// The longest strip that is unpacked as a whole, in bytes of rows.
const MAX_WHOLE: u64 = 32 << 20;

/// Where a page is one strip that can be entered in the middle and is too long to be unpacked as a whole: offset and length
/// of the strip.
pub(super) fn long_strip(form: &PageFormat, stored: &Stored) -> Option<(u64, u64)> {
    let Storage { segments, codec, reversed, .. } = &*stored.storage;
    let (Data::Segments(places), Segments::Strips { .. }) = (&stored.data, segments) else { return None };
    let [place @ (_, 1..)] = **places else { return None };
    let is_long = stored.storage.bytes(form.height, form.width) > MAX_WHOLE;
    (is_long && *codec == Codec::Deflate && !reversed).then_some(place)
}

/// Rows of the bands of a long strip: a multiple of `least`.
pub(super) fn band_rows(height: u64, least: u64) -> u64 {
    let least = least.max(1);
    height.div_ceil(MAX_BANDS).div_ceil(least).saturating_mul(least).min(height)
}

/// A band.
pub(super) struct Band {
    pub(super) page: u64,
    /// Offset and length of its strip.
    pub(super) strip: (u64, u64),
    pub(super) size: BandSize,
    number: usize,
    storage: Arc<Storage>,
    form: PageFormat,
    big_endian: bool,
}

impl Band {
    /// The band of `rows` rows of a page of which the first is `start`; `None` where the page is no long strip, or is divided
    /// into other blocks.
    pub(super) fn of(
        page: u64,
        stored: &Stored,
        form: PageFormat,
        (start, rows): (u64, u64),
        big_endian: bool,
    ) -> Option<Band> {
        let strip = long_strip(&form, stored)?;
        let storage = stored.storage.clone();
        let bytes = |rows| usize::try_from(storage.bytes(rows, form.width)).ok();
        let size = BandSize { total: bytes(form.height)?, band: bytes(rows)? };
        if !size.is_possible() {
            return None;
        }
        let number = usize::try_from(start / rows.max(1)).ok()?;
        Some(Band { page, strip, size, number, storage, form, big_endian })
    }

    /// Its packed bytes in the file.
    pub(super) fn range(&self, strip: &LongStrip) -> Option<Range<u64>> {
        let (offset, _) = self.strip;
        let range = strip.range(self.number)?;
        Some(offset.saturating_add(range.start)..offset.saturating_add(range.end))
    }

    /// Its voxels from those bytes: C order, little-endian.
    pub(super) fn decode(&self, strip: &LongStrip, raw: &[u8]) -> Result<Bytes, String> {
        let rows = strip.unpack(self.number, raw)?;
        decode::rows(rows, &self.storage, self.form.dtype, self.form.width, self.big_endian)
    }
}
