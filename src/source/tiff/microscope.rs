//! Pixel sizes that microscopes write into tags of their own, and those that resolution tags can be believed to say.
//!
//! Sources: tifffile's readers of `FEI_SFEG`, `FEI_HELIOS` and `CZ_SEM`; rosettasciio's reader of TIFF, which also knows the tags
//! of DigitalMicrograph's export and that Zeiss counts some sizes per pixel of a display (hyperspy's pull request 2056). A resolution of print is 72 to some thousand dots
//! per inch, which would be pixels of several micrometres and more; electron microscopes have smaller ones.

use super::ifd::{Ifd, tags, text_of};
use super::read::ReadAhead;
use crate::length::Unit;
use crate::source::SourceError;

/// Longest text of a microscope.
const MAX_TEXT: u64 = 256 << 10;
/// Longest name of a unit.
const MAX_UNIT: u64 = 64;
/// Pixels along x of the display by which Zeiss counts.
const DISPLAY: f64 = 1024.0;
/// Pixels of so many nanometres or more may be those of a print.
const OF_PRINT: f64 = 1000.0;

/// Nanometres per pixel along `y, x` by the microscope, where one wrote the file, whose page is so wide.
pub(super) async fn pixel_size(file: &mut ReadAhead, ifd: &Ifd, width: u64) -> Result<[Option<f64>; 2], SourceError> {
    for tag in [tags::FEI_HELIOS, tags::FEI_SFEG] {
        if let Some(bytes) = ifd.opaque(file, tag, MAX_TEXT).await? {
            let size = fei(&text_of(&bytes));
            if size.iter().any(Option::is_some) {
                return Ok(size);
            }
        }
    }
    if let Some(bytes) = ifd.opaque(file, tags::CZ_SEM, MAX_TEXT).await? {
        return Ok([zeiss(&text_of(&bytes), width); 2]);
    }
    let mut size = [None; 2];
    for (size, (unit, scale)) in
        size.iter_mut().zip([(tags::DM_Y_UNIT, tags::DM_Y_SCALE), (tags::DM_X_UNIT, tags::DM_X_SCALE)])
    {
        let unit = ifd.opaque(file, unit, MAX_UNIT).await?;
        let unit = unit.map(|unit| text_of(unit.split(|byte| *byte == 0).next().unwrap_or_default()));
        let scale = ifd.double(file, scale).await?;
        *size = unit.zip(scale).and_then(|(unit, scale)| Unit::named(&unit)?.nanometres(scale));
    }
    Ok(size.map(|size| size.filter(|size| *size > 0.0)))
}

/// Nanometres per pixel along `y, x` by the resolution tags, where these cannot be those of a print.
pub(super) fn resolution(per_unit: [Option<[f64; 2]>; 2], unit: u64) -> [Option<f64>; 2] {
    let unit = match unit {
        2 => Unit::named("inch"),
        3 => Unit::named("cm"),
        // What tifffile has beyond TIFF 6.0.
        4 => Unit::named("mm"),
        5 => Unit::named("µm"),
        _ => None,
    };
    per_unit.map(|per_unit| unit?.per_pixel(per_unit?).filter(|size| *size < OF_PRINT))
}

/// `PixelWidth` and `PixelHeight` of the section `[Scan]`, in metres; else what `[IRBeam]` sees along each axis, by as many
/// pixels as `[Image]` has.
pub(super) fn fei(text: &str) -> [Option<f64>; 2] {
    let mut section = String::new();
    let (mut size, mut field, mut pixels) = ([None; 2], [None; 2], [None; 2]);
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.to_ascii_lowercase();
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let place = match (section.as_str(), key.trim()) {
            ("[scan]", "PixelHeight") => &mut size[0],
            ("[scan]", "PixelWidth") => &mut size[1],
            ("[irbeam]", "VFW") => &mut field[0],
            ("[irbeam]", "HFW") => &mut field[1],
            ("[image]", "ResolutionY") => &mut pixels[0],
            ("[image]", "ResolutionX") => &mut pixels[1],
            _ => continue,
        };
        *place = value.trim().parse().ok().filter(|number: &f64| *number > 0.0);
    }
    let nanometres = |metres: f64| Unit::named("m")?.nanometres(metres);
    let size: [Option<f64>; 2] = match size {
        [None, None] => std::array::from_fn(|axis| Some(nanometres(field[axis]?)? / pixels[axis]?)),
        size => size.map(|size| size.and_then(nanometres)),
    };
    size.map(|size| size.filter(|size| size.is_finite() && *size > 0.0))
}

/// `Image Pixel Size = 5.582 nm` in the line after `AP_IMAGE_PIXEL_SIZE`; else the same of `AP_PIXEL_SIZE`, or line 3 of what
/// stands before all titles, in metres, which are per pixel of a display that is 1024 wide.
pub(super) fn zeiss(text: &str, width: u64) -> Option<f64> {
    let lines = || text.lines().map(str::trim);
    let titled = |title: &str| {
        let (_, value) = lines().skip_while(|line| *line != title).nth(1)?.split_once('=')?;
        let (number, unit) = value.trim().split_once(char::is_whitespace)?;
        Unit::named(unit)?.nanometres(number.parse().ok()?).filter(|size| *size > 0.0)
    };
    let is_title = |line: &str| line.starts_with(|letter: char| letter.is_ascii_uppercase());
    let untitled = || {
        let metres = lines().take_while(|line| !is_title(line)).nth(3)?.parse().ok()?;
        Unit::named("m")?.nanometres(metres).filter(|size| *size > 0.0)
    };
    let of_image = |size: f64| Some(size * DISPLAY / width as f64).filter(|size| size.is_finite() && *size > 0.0);
    titled("AP_IMAGE_PIXEL_SIZE").or_else(|| titled("AP_PIXEL_SIZE").or_else(untitled).and_then(of_image))
}
