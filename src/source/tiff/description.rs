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
        // Of what is not read, what holds for one page is said beside the variant.
        let parsed =
            move |text: &str| parse(text, resolution, plane).map_err(|variant| (variant, of_plane(text, plane)));
        let lost = || SourceError::malformed(file.name(), ifd.field(tag), "could not be made sense of");
        let text = match file.work(text, parsed).await.ok_or_else(lost)? {
            Ok(text) => text,
            Err((_, text)) if reading.pages.is_some() => text,
            // Whatever there is beside it, a section is the one page of its file.
            Err((variant, text)) if reading.section.is_some() => {
                if reading.is_told() {
                    let (name, field) = (file.name(), ifd.field(tag));
                    tracing::warn!("{name}: {field}: {variant}; a section is the one page of its file");
                }
                text
            }
            Err((variant, _)) => return Err(SourceError::unsupported(file.name(), ifd.field(tag), variant)),
        };
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
