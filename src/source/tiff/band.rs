//! Blocks that are bands of rows of a strip too long to be unpacked as a whole.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::decode;
use super::long_strip::{BandSize, Entered, LongStrip, MAX_BANDS};
use super::page_format::PageFormat;
use super::read::ReadAt;
use super::storage::{Codec, Data, Segments, Storage, Stored};
use super::unpacker::Unpacker;
use crate::source::SourceError;

/// The longest strip that is unpacked as a whole, in bytes of rows.
const MAX_WHOLE: u64 = 32 << 20;

/// Where a page is one strip that can be entered in the middle and is too long to be unpacked as a whole: offset and length
/// of the strip.
pub(super) fn long_strip(form: &PageFormat, stored: &Stored) -> Option<(u64, u64)> {
    let Storage { segments, codec, reversed, .. } = &*stored.storage;
    let (Data::Segments(places), Segments::Strips { .. }) = (&stored.data, segments) else { return None };
    let [place @ (_, 1..)] = **places else { return None };
    let is_long = stored.storage.bytes(form.height, form.width) > MAX_WHOLE;
    (is_long && Unpacker::reads(*codec) && !reversed).then_some(place)
}

/// Bands that a strip is divided into where they are not longer than [`MAX_BAND`] then.
const BANDS: u64 = 16;
/// Bytes of a band, about: some are in memory at once.
const MAX_BAND: u64 = 32 << 20;

/// Rows of the bands of a strip of so many rows and bytes: a multiple of `least`.
pub(super) fn band_rows(height: u64, bytes: u64, least: u64) -> u64 {
    let (least, bands) = (least.max(1), bytes.div_ceil(MAX_BAND).clamp(BANDS, MAX_BANDS));
    height.div_ceil(bands).div_ceil(least).saturating_mul(least).min(height)
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

    /// What its strip is packed by.
    pub(super) fn codec(&self) -> Codec {
        self.storage.codec
    }

    /// A reader at its beginning.
    pub(super) async fn enter(
        &self,
        strip: &LongStrip,
        file: &dyn ReadAt,
        bad: impl Fn(String) -> SourceError,
    ) -> Result<Entered, SourceError> {
        strip.enter(file, self.number, bad).await
    }

    /// Its packed bytes in the file.
    pub(super) fn range(&self, strip: &LongStrip) -> Option<Range<u64>> {
        let (offset, _) = self.strip;
        let range = strip.range(self.number)?;
        Some(offset.saturating_add(range.start)..offset.saturating_add(range.end))
    }

    /// Its voxels from those bytes: C order, little-endian.
    pub(super) fn decode(&self, strip: &LongStrip, entered: Entered, raw: &[u8]) -> Result<Bytes, String> {
        let rows = strip.unpack(entered, raw)?;
        decode::rows(rows, &self.storage, self.form.dtype, self.form.width, self.big_endian)
    }
}
