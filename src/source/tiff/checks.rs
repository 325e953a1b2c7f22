//! What is said of a file's first page before a voxel is read: strips that were never written, and pictures of a kind that is not
//! read.

use super::ifd::{Ifd, tags};
use super::index::Index;
use super::nodata;
use super::page::Page;
use super::read::ReadAhead;
use super::storage::{Data, Segments};
use crate::source::{SourceError, jpeg, remedy};

/// Bytes at the beginning of a picture in JPEG by which its kind is looked for.
const JPEG_FRONT: u64 = 4096;

/// Warns of strips that were never written, of which libtiff tells an error, and of a value of theirs that cannot be shown.
pub(super) async fn warn_of_unwritten(
    file: &mut ReadAhead,
    ifd: &Ifd,
    first: &Page,
    (index, told): (&Index, bool),
) -> Result<(), SourceError> {
    let (mut strips, mut unwritten, mut is_whole) = (0, 0, true);
    for stored in index.ways() {
        let (all, missing) = stored.data.unwritten();
        is_whole &= missing == 0;
        if matches!(stored.storage.segments, Segments::Strips { .. }) {
            (strips, unwritten) = (strips + all, unwritten + missing);
        }
    }
    let name = file.name();
    if unwritten > 0 {
        tracing::warn!(
            "{name}: {unwritten} of {strips} strips were never written; they are shown as GDAL_NODATA, or 0 without it"
        );
    }
    let is_said = told || unwritten > 0;
    let dtype = first.form.dtype;
    if let Some(text) = nodata::unusable(file, ifd, dtype).await?.filter(|_| is_said && !is_whole) {
        tracing::warn!("{name}: GDAL_NODATA {text:?} is no value of {dtype}; what was never written is shown as 0");
    }
    Ok(())
}

/// Refuses a first page whose pictures are in a kind of JPEG that is not read, which no tag says.
pub(super) async fn check_jpeg(file: &mut ReadAhead, ifd: &Ifd, first: &Page) -> Result<(), SourceError> {
    let Data::Segments(places) = &first.stored.data else { return Ok(()) };
    let Some((offset, length)) = places.iter().copied().find(|(_, length)| *length > 0) else { return Ok(()) };
    let front = file.bytes(offset, length.min(JPEG_FRONT), &ifd.field(tags::STRIP_OFFSETS)).await?;
    match jpeg::unread_kind(&front) {
        None => Ok(()),
        Some(kind) => Err(SourceError::unsupported(file.name(), ifd.field(tags::COMPRESSION), kind)
            .with_remedy(remedy::CODEC_OF_PYTHON)),
    }
}
