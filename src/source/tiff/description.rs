//! The first page's ImageDescription, in whichever dialect it is: ImageJ's lines, those of ImageJ2, OME-XML, tifffile's JSON.

use super::text::{Text, image_j, scifio};
use super::{ome, shaped};

/// Reads a description. `resolution` is the pixels per unit along `y, x` of the page's tags, as fractions, `plane` its
/// height and width. The error is the variant that is not read.
pub(super) fn parse(text: &str, resolution: [Option<[f64; 2]>; 2], plane: [u64; 2]) -> Result<Text, String> {
    if text.starts_with("ImageJ=") {
        image_j(text, resolution)
    } else if text.starts_with("SCIFIO=") {
        scifio(text)
    } else if ome::is_ome(text) {
        ome::parse(text)
    } else if text.starts_with('{') {
        shaped::parse(text, plane)
    } else {
        Ok(Text::PLAIN)
    }
}

/// What a description that is not read says nevertheless of the only page of a file.
pub(super) fn of_plane(text: &str) -> Text {
    if ome::is_ome(text) { ome::of_plane(text) } else { Text::PLAIN }
}
