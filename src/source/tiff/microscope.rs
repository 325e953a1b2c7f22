//! Pixel sizes that microscopes write into tags of their own, and those that resolution tags can be believed to say.
//!
//! Sources: tifffile's readers of `FEI_SFEG`, `FEI_HELIOS` and `CZ_SEM`. A resolution of print is 72 to some thousand dots
//! per inch, which would be pixels of several micrometres and more; electron microscopes have smaller ones.

use super::ifd::{Ifd, tags, text_of};
use super::read::ReadAhead;
use crate::length::Unit;
use crate::source::SourceError;

/// Longest text of a microscope.
const MAX_TEXT: u64 = 256 << 10;
/// Pixels of so many nanometres or more may be those of a print.
const OF_PRINT: f64 = 1000.0;

/// Nanometres per pixel along `y, x` by the microscope, where one wrote the file.
pub(super) async fn pixel_size(file: &mut ReadAhead, ifd: &Ifd) -> Result<[Option<f64>; 2], SourceError> {
    for tag in [tags::FEI_HELIOS, tags::FEI_SFEG] {
        if let Some(bytes) = ifd.opaque(file, tag, MAX_TEXT).await? {
            let size = fei(&text_of(&bytes));
            if size.iter().any(Option::is_some) {
                return Ok(size);
            }
        }
    }
    match ifd.opaque(file, tags::CZ_SEM, MAX_TEXT).await? {
        Some(bytes) => Ok([zeiss(&text_of(&bytes)); 2]),
        None => Ok([None; 2]),
    }
}

/// Nanometres per pixel along `y, x` by the resolution tags, where these cannot be those of a print.
pub(super) fn resolution(per_unit: [Option<[f64; 2]>; 2], unit: u64) -> [Option<f64>; 2] {
    let unit = match unit {
        2 => Unit::named("inch"),
        3 => Unit::named("cm"),
        _ => None,
    };
    per_unit.map(|per_unit| unit?.per_pixel(per_unit?).filter(|size| *size < OF_PRINT))
}

/// `PixelWidth` and `PixelHeight` of the section `[Scan]`, in metres.
pub(super) fn fei(text: &str) -> [Option<f64>; 2] {
    let mut within = false;
    let mut size = [None; 2];
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line.eq_ignore_ascii_case("[scan]");
        }
        let Some((key, value)) = line.split_once('=').filter(|_| within) else { continue };
        let place = match key.trim() {
            "PixelHeight" => &mut size[0],
            "PixelWidth" => &mut size[1],
            _ => continue,
        };
        *place = value.trim().parse().ok().and_then(|metres: f64| Unit::named("m")?.nanometres(metres));
    }
    size.map(|size| size.filter(|size| *size > 0.0))
}

/// `Image Pixel Size = 5.582 nm` in the line after `AP_IMAGE_PIXEL_SIZE`, else the same of `AP_PIXEL_SIZE`.
pub(super) fn zeiss(text: &str) -> Option<f64> {
    ["AP_IMAGE_PIXEL_SIZE", "AP_PIXEL_SIZE"].into_iter().find_map(|name| {
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != name);
        let (_, value) = lines.nth(1)?.split_once('=')?;
        let (number, unit) = value.trim().split_once(char::is_whitespace)?;
        Unit::named(unit)?.nanometres(number.parse().ok()?).filter(|size| *size > 0.0)
    })
}
