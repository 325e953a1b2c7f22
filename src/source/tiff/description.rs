//! The first page's ImageDescription, in whichever dialect it is: ImageJ's lines, those of ImageJ2, OME-XML, tifffile's JSON.

use super::ifd::{Ifd, tags};
use super::read::ReadAhead;
use super::text::{Text, image_j, scifio};
use super::{Reading, ome, shaped};
use crate::source::SourceError;
use crate::store::is_past_caches;

/// Reads the first description of a page that says something of a volume. One that cannot be read is left out with a warning:
/// no voxel needs it.
pub(super) async fn read(
    file: &mut ReadAhead,
    ifd: &Ifd,
    (resolution, plane): ([Option<[f64; 2]>; 2], [u64; 2]),
    reading: Reading<'_>,
) -> Result<Text, SourceError> {
    let tag = tags::IMAGE_DESCRIPTION;
    let mut number = 0;
    loop {
        let text = match ifd.text(file, tag, number).await {
            Ok(None) => return Ok(Text::PLAIN),
            Ok(Some(text)) => text,
            // What may be the fault of one bad answer is believed only where it was fetched past every cache.
            Err(error @ SourceError::Malformed { .. }) if is_past_caches() => {
                if reading.is_told() {
                    tracing::warn!(
                        "{error}; it is left out, and with it what it may say of voxel size, display window, channels and \
                         order of pages: all pages are shown as the planes along z"
                    );
                }
                String::new()
            }
            Err(error) => return Err(error),
        };
        let made = move |text: &str| match parse(text, resolution, plane) {
            Ok(text) => (text, None),
            Err(variant) => (of_plane(text, plane), Some(variant)),
        };
        let lost = || SourceError::malformed(file.name(), ifd.field(tag), "could not be made sense of");
        let (text, unread) = file.work(text, made).await.ok_or_else(lost)?;
        if let Some(variant) = unread.filter(|_| reading.pages.is_none()) {
            let (name, field) = (file.name(), ifd.field(tag));
            // Whatever there is beside it, a section is the one page of its file.
            if reading.section.is_none() {
                return Err(SourceError::unsupported(name, field, variant));
            }
            if reading.is_told() {
                tracing::warn!("{name}: {field}: {variant}; a section is the one page of its file");
            }
        }
        if text != Text::PLAIN {
            return Ok(text);
        }
        number += 1;
    }
}

/// Reads a description. `resolution` is the pixels per unit along `y, x` of the page's tags, as fractions, `plane` its
/// height and width. The error is the variant that is not read.
pub(super) fn parse(text: &str, resolution: [Option<[f64; 2]>; 2], plane: [u64; 2]) -> Result<Text, String> {
    if text.starts_with("ImageJ=") {
        image_j(text, resolution)
    } else if text.starts_with("SCIFIO=") {
        scifio(text)
    } else if ome::is_ome(text) {
        ome::parse(text, plane)
    } else if text.starts_with('{') {
        shaped::parse(text, plane)
    } else {
        Ok(Text::PLAIN)
    }
}

/// What a description that is not read says nevertheless of the only page of a file.
pub(super) fn of_plane(text: &str, plane: [u64; 2]) -> Text {
    if ome::is_ome(text) { ome::of_plane(text, plane) } else { Text::PLAIN }
}
