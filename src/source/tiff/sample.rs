//! What the numbers of a page are: their type, how many bits each has, and which of them is white.

use super::ifd::{Ifd, Tag, tags};
use super::read::ReadAhead;
use crate::dtype::DataType;
use crate::source::{SourceError, remedy};

/// Longest description that is looked at for what was meant.
const MAX_TEXT: u64 = 64 << 10;

/// The numbers of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSample {
    /// As they are shown.
    pub(super) dtype: DataType,
    /// Bits of each as it is stored.
    pub(super) bits: u64,
    /// Whether 0 is the brightest.
    pub(super) white_is_zero: bool,
    pub(super) palette: Option<Palette>,
}

/// What a table of colours makes of the stored numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Palette {
    /// Greys that grow with the numbers, or fall with them.
    Grey,
    /// Anything else.
    Colours,
}

/// Reads what a page's numbers are; whatever is not one number a voxel is refused by name.
pub(super) async fn read(file: &mut ReadAhead, ifd: &Ifd) -> Result<PageSample, SourceError> {
    let refuse = |file: &ReadAhead, tag: Tag, reason: String, remedy: &'static str| {
        Err(SourceError::unsupported(file.name(), ifd.field(tag), reason).with_remedy(remedy))
    };
    // Formats that keep more than one plane behind an IFD, or pages of another meaning, in what looks like TIFF.
    if ifd.single(file, tags::IMAGE_DEPTH, 1).await? != 1 {
        return refuse(file, tags::IMAGE_DEPTH, "a page of several planes".into(), remedy::PLANES);
    }
    for (tag, name) in [(tags::UIC_STACK, "a MetaMorph stack"), (tags::LSM_INFO, "a Zeiss LSM file")] {
        if ifd.has(tag) {
            return refuse(file, tag, name.into(), remedy::PLANES);
        }
    }
    let photometric = ifd.single(file, tags::PHOTOMETRIC, 1).await?;
    let samples = ifd.single(file, tags::SAMPLES_PER_PIXEL, 1).await?;
    if samples != 1 {
        let colours = if photometric > 1 { format!(" ({})", photometric_name(photometric)) } else { String::new() };
        let remedy = match photometric {
            _ if is_stack_as_colours(file, ifd, samples).await? => remedy::PLANES_AS_COLOURS,
            0 | 1 => remedy::SAMPLES,
            _ => remedy::COLOURS,
        };
        return refuse(file, tags::SAMPLES_PER_PIXEL, format!("{samples} samples per pixel{colours}"), remedy);
    }
    let bits = ifd.same(file, tags::BITS_PER_SAMPLE, 1).await?;
    let (mut white_is_zero, mut palette) = (photometric == 0, None);
    match photometric {
        0 | 1 => {}
        3 => {
            let color_map = ifd.unsigned(file, tags::COLOR_MAP).await?.unwrap_or_default();
            let (kind, falling) = palette_of(&color_map, bits);
            (white_is_zero, palette) = (falling, Some(kind));
        }
        other => return refuse(file, tags::PHOTOMETRIC, photometric_name(other), remedy::COLOURS),
    }
    let format = ifd.same(file, tags::SAMPLE_FORMAT, 1).await?;
    let dtype = match (format, bits) {
        // Format 4 is "undefined", which writers of unsigned data have used.
        (1 | 4, 1..=8) => DataType::U8,
        (1 | 4, 9..=16) => DataType::U16,
        (1 | 4, 32) => DataType::U32,
        (1 | 4, 64) => DataType::U64,
        (2, 8) => DataType::I8,
        (2, 16) => DataType::I16,
        (2, 32) => DataType::I32,
        (2, 64) => DataType::I64,
        // Floats of half the size are shown as those, which hold them exactly.
        (3, 16 | 32) => DataType::F32,
        (3, 64) => DataType::F64,
        (1..=4, bits) => {
            let reason = format!("{bits} bits in sample format {format}");
            return refuse(file, tags::BITS_PER_SAMPLE, reason, remedy::NUMBERS);
        }
        (5 | 6, _) => return refuse(file, tags::SAMPLE_FORMAT, "complex numbers".into(), remedy::NUMBERS),
        _ => return refuse(file, tags::SAMPLE_FORMAT, format!("sample format {format}"), remedy::NUMBERS),
    };
    Ok(PageSample { dtype, bits, white_is_zero, palette })
}

/// Whether a page of several samples is a stack that tifffile took for one of colours: an array of `[3, y, x]` is written so, a
/// plane of each, unless it is told that these are no colours.
async fn is_stack_as_colours(file: &mut ReadAhead, ifd: &Ifd, samples: u64) -> Result<bool, SourceError> {
    const SEPARATE: u64 = 2;
    let is_separate = ifd.unsigned(file, tags::PLANAR_CONFIGURATION).await?.as_deref() == Some(&[SEPARATE]);
    let text = ifd.opaque(file, tags::IMAGE_DESCRIPTION, MAX_TEXT).await?.unwrap_or_default();
    let squeezed: Vec<u8> = text.iter().copied().filter(|byte| *byte != b' ').collect();
    Ok(is_separate && squeezed.starts_with(format!("{{\"shape\":[{samples},").as_bytes()))
}

/// What a table of all red, all green and all blue values is, and whether it falls.
fn palette_of(color_map: &[u64], bits: u64) -> (Palette, bool) {
    let size = 1usize.checked_shl(bits.min(16) as u32).unwrap_or_default();
    let (Some(red), true) = (color_map.get(..size), color_map.len() == 3 * size) else {
        return (Palette::Colours, false);
    };
    let grey = color_map.chunks_exact(size).all(|colour| colour == red);
    match (grey, red.is_sorted(), red.iter().rev().is_sorted()) {
        // One of a single grey is both.
        (true, true, false) => (Palette::Grey, false),
        (true, false, true) => (Palette::Grey, true),
        _ => (Palette::Colours, false),
    }
}

fn photometric_name(number: u64) -> String {
    let name = match number {
        2 => "RGB",
        3 => "a palette",
        4 => "a transparency mask",
        5 => "CMYK",
        6 => "YCbCr",
        8..=10 => "CIE L*a*b*",
        32803 => "a colour filter array",
        34892 => "linear raw",
        _ => return format!("photometric interpretation {number}"),
    };
    name.to_owned()
}
