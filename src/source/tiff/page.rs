//! One page: what its voxels are and where they lie, checked against the file's length.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::ifd::{Header, Ifd, Tag, tags};
use super::read::ReadAhead;
use crate::dtype::DataType;
use crate::source::SourceError;

/// Pages that are accepted in a chain of IFDs.
pub(super) const MAX_PAGES: u64 = 65_536;
/// Bytes of one decoded strip or tile that are accepted.
const MAX_SEGMENT: u64 = 1 << 30;
/// Deflate makes no more than 1032 bytes of one.
const MAX_DEFLATE_RATIO: u64 = 1040;

/// How strips and tiles are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// As they are.
    None,
    /// A zlib stream each; with a `predictor`, horizontal differences of it.
    Deflate { predictor: bool },
}

/// What all pages of a volume have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageFormat {
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) dtype: DataType,
    pub(super) compression: Compression,
    pub(super) white_is_zero: bool,
}

impl PageFormat {
    /// Bytes of `rows` rows of `width` voxels; the products were checked when the page was read.
    pub(super) fn bytes(&self, rows: u64, width: u64) -> u64 {
        rows.saturating_mul(width).saturating_mul(self.dtype.size() as u64)
    }

    /// Bytes of the page.
    pub(super) fn plane(&self) -> u64 {
        self.bytes(self.height, self.width)
    }
}

/// As in `1536×2048 uint8, uncompressed`.
impl fmt::Display for PageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compression = match self.compression {
            Compression::None => "uncompressed",
            Compression::Deflate { predictor: false } => "deflate",
            Compression::Deflate { predictor: true } => "deflate with a predictor",
        };
        let white = if self.white_is_zero { ", white is 0" } else { "" };
        write!(f, "{}×{} {}, {compression}{white}", self.height, self.width, self.dtype)
    }
}

/// How a page is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segments {
    /// Bands of `rows` rows; the last may be shorter.
    Strips { rows: u64 },
    /// Tiles, stored in full at the edges too.
    Tiles { height: u64, width: u64 },
}

impl Segments {
    /// Number of segments along y and x.
    pub(super) fn counts(&self, form: &PageFormat) -> (u64, u64) {
        match *self {
            Segments::Strips { rows } => (form.height.div_ceil(rows), 1),
            Segments::Tiles { height, width } => (form.height.div_ceil(height), form.width.div_ceil(width)),
        }
    }

    /// Rows and columns that segment `index` of the page stores.
    pub(super) fn extent(&self, form: &PageFormat, index: u64) -> (u64, u64) {
        match *self {
            Segments::Strips { rows } => (rows.min(form.height.saturating_sub(index.saturating_mul(rows))), form.width),
            Segments::Tiles { height, width } => (height, width),
        }
    }
}

/// Where the voxels of a page lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// All rows one after the other, uncompressed, from this offset.
    Contiguous(u64),
    /// Offset and length of each segment.
    Segments(Arc<[(u64, u64)]>),
}

impl Data {
    /// Offset of the first voxel.
    pub(super) fn start(&self) -> u64 {
        match self {
            Data::Contiguous(start) => *start,
            Data::Segments(segments) => segments.first().map_or(0, |(offset, _)| *offset),
        }
    }

    /// The same places, `by` bytes further; `None` where that leaves 64 bits.
    pub(super) fn shifted(&self, by: i64) -> Option<Data> {
        Some(match self {
            Data::Contiguous(start) => Data::Contiguous(start.checked_add_signed(by)?),
            Data::Segments(segments) => {
                let moved = segments.iter().map(|(offset, length)| Some((offset.checked_add_signed(by)?, *length)));
                Data::Segments(moved.collect::<Option<_>>()?)
            }
        })
    }
}

/// One page.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) form: PageFormat,
    pub(super) segments: Segments,
    pub(super) data: Data,
    /// Number of the page and of all pages, where the file says.
    pub(super) number: Option<(u64, u64)>,
    /// Offset of the next IFD, 0 after the last.
    pub(super) next: u64,
    /// Bytes of the file from which all this was read, and those between.
    pub(super) span: Range<u64>,
}

impl Page {
    /// Reads the IFD at `offset` and what it says of its page, which is `None` for a reduced copy of another page.
    pub(super) async fn read_at(
        file: &mut ReadAhead,
        header: Header,
        offset: u64,
        page: u64,
    ) -> Result<(Ifd, Option<Page>), SourceError> {
        file.take_touched();
        let ifd = Ifd::read(file, header, offset, page).await?;
        let subfile = ifd.single(file, tags::NEW_SUBFILE_TYPE, 0).await?;
        if subfile & 1 != 0 || ifd.single(file, tags::SUBFILE_TYPE, 0).await? == 2 {
            return Ok((ifd, None));
        }
        if subfile & 4 != 0 {
            return Err(SourceError::unsupported(
                file.name(),
                ifd.field(tags::NEW_SUBFILE_TYPE),
                "a transparency mask",
            ));
        }
        let form = read_form(file, &ifd).await?;
        let segments = read_segments(file, &ifd, &form).await?;
        let data = read_data(file, &ifd, &form, &segments).await?;
        let number = match ifd.unsigned(file, tags::PAGE_NUMBER).await?.as_deref() {
            Some([number, total]) if *total > 0 => Some((*number, *total)),
            _ => None,
        };
        let (next, span) = (ifd.next, file.take_touched().unwrap_or(offset..offset));
        Ok((ifd, Some(Page { form, segments, data, number, next, span })))
    }
}

async fn required(file: &mut ReadAhead, ifd: &Ifd, tag: Tag) -> Result<u64, SourceError> {
    match ifd.single(file, tag, 0).await? {
        0 => Err(SourceError::malformed(file.name(), ifd.field(tag), "is missing or 0")),
        value => Ok(value),
    }
}

async fn read_form(file: &mut ReadAhead, ifd: &Ifd) -> Result<PageFormat, SourceError> {
    let width = required(file, ifd, tags::IMAGE_WIDTH).await?;
    let height = required(file, ifd, tags::IMAGE_LENGTH).await?;
    for (tag, extent) in [(tags::IMAGE_WIDTH, width), (tags::IMAGE_LENGTH, height)] {
        if extent > u64::from(u32::MAX) {
            return Err(SourceError::malformed(file.name(), ifd.field(tag), format!("{extent} is out of bounds")));
        }
    }
    let refuse =
        |file: &ReadAhead, tag, reason: String| Err(SourceError::unsupported(file.name(), ifd.field(tag), reason));
    // Formats that keep more than one plane behind an IFD, or pages of another meaning, in what looks like TIFF.
    if ifd.single(file, tags::IMAGE_DEPTH, 1).await? != 1 {
        return refuse(file, tags::IMAGE_DEPTH, "a page of several planes".into());
    }
    for (tag, name) in [(tags::UIC_STACK, "a MetaMorph stack"), (tags::LSM_INFO, "a Zeiss LSM file")] {
        if ifd.has(tag) {
            return refuse(file, tag, name.into());
        }
    }
    let samples = ifd.single(file, tags::SAMPLES_PER_PIXEL, 1).await?;
    if samples != 1 {
        return refuse(file, tags::SAMPLES_PER_PIXEL, format!("{samples} samples per pixel"));
    }
    let white_is_zero = match ifd.single(file, tags::PHOTOMETRIC, 1).await? {
        0 => true,
        1 => false,
        other => return refuse(file, tags::PHOTOMETRIC, photometric_name(other)),
    };
    if ifd.single(file, tags::FILL_ORDER, 1).await? != 1 {
        return refuse(file, tags::FILL_ORDER, "reversed bit order".into());
    }
    let bits = ifd.single(file, tags::BITS_PER_SAMPLE, 1).await?;
    let format = ifd.single(file, tags::SAMPLE_FORMAT, 1).await?;
    let dtype = match (format, bits) {
        // Format 4 is "undefined", which writers of unsigned data have used.
        (1 | 4, 8) => DataType::U8,
        (1 | 4, 16) => DataType::U16,
        (1 | 4, 32) => DataType::U32,
        (1 | 4, 64) => DataType::U64,
        (2, 8) => DataType::I8,
        (2, 16) => DataType::I16,
        (2, 32) => DataType::I32,
        (2, 64) => DataType::I64,
        (3, 32) => DataType::F32,
        (3, 64) => DataType::F64,
        (1..=4, bits) => return refuse(file, tags::BITS_PER_SAMPLE, format!("{bits} bits in sample format {format}")),
        (5 | 6, _) => return refuse(file, tags::SAMPLE_FORMAT, "complex numbers".into()),
        _ => return refuse(file, tags::SAMPLE_FORMAT, format!("sample format {format}")),
    };
    let predictor = ifd.single(file, tags::PREDICTOR, 1).await?;
    let compression = match (ifd.single(file, tags::COMPRESSION, 1).await?, predictor) {
        (1, 1) => Compression::None,
        (8 | 32946, 1) => Compression::Deflate { predictor: false },
        (8 | 32946, 2) => Compression::Deflate { predictor: true },
        (8 | 32946, 3) => return refuse(file, tags::PREDICTOR, "the floating-point predictor".into()),
        (1 | 8 | 32946, other) => return refuse(file, tags::PREDICTOR, format!("predictor {other} here")),
        (other, _) => return refuse(file, tags::COMPRESSION, compression_name(other)),
    };
    Ok(PageFormat { width, height, dtype, compression, white_is_zero })
}

async fn read_segments(file: &mut ReadAhead, ifd: &Ifd, form: &PageFormat) -> Result<Segments, SourceError> {
    let segments = if ifd.has(tags::TILE_WIDTH) || ifd.has(tags::TILE_OFFSETS) {
        let height = required(file, ifd, tags::TILE_LENGTH).await?;
        let width = required(file, ifd, tags::TILE_WIDTH).await?;
        Segments::Tiles { height, width }
    } else {
        let rows = ifd.single(file, tags::ROWS_PER_STRIP, form.height).await?.min(form.height);
        if rows == 0 {
            return Err(SourceError::malformed(file.name(), ifd.field(tags::ROWS_PER_STRIP), "is 0"));
        }
        Segments::Strips { rows }
    };
    let (rows, width) = segments.extent(form, 0);
    // Uncompressed strips may be of any size: they are read in bands.
    let bands = form.compression == Compression::None && matches!(segments, Segments::Strips { .. });
    if !bands && form.bytes(rows, width) > MAX_SEGMENT {
        let reason = format!("a strip or tile of more than {MAX_SEGMENT} bytes");
        return Err(SourceError::unsupported(file.name(), ifd.field(tags::IMAGE_LENGTH), reason));
    }
    Ok(segments)
}

async fn read_data(
    file: &mut ReadAhead,
    ifd: &Ifd,
    form: &PageFormat,
    segments: &Segments,
) -> Result<Data, SourceError> {
    let (offset_tag, count_tag) = match segments {
        Segments::Strips { .. } => (tags::STRIP_OFFSETS, tags::STRIP_BYTE_COUNTS),
        Segments::Tiles { .. } => (tags::TILE_OFFSETS, tags::TILE_BYTE_COUNTS),
    };
    let (down, across) = segments.counts(form);
    let expected = down.saturating_mul(across);
    let offsets = ifd.unsigned(file, offset_tag).await?.unwrap_or_default();
    let counts = ifd.unsigned(file, count_tag).await?.unwrap_or_default();
    for (tag, length) in [(offset_tag, offsets.len()), (count_tag, counts.len())] {
        if length as u64 != expected {
            let reason = format!("{length} values for {expected} strips or tiles");
            return Err(SourceError::malformed(file.name(), ifd.field(tag), reason));
        }
    }
    let total = file.total();
    let mut places = Vec::with_capacity(offsets.len());
    for (index, (&offset, &count)) in offsets.iter().zip(&counts).enumerate() {
        let bad = |tag, reason: String| Err(SourceError::malformed(file.name(), ifd.field(tag), reason));
        let (rows, width) = segments.extent(form, index as u64);
        let voxels = form.bytes(rows, width);
        if offset == 0 || count == 0 {
            let tag = if offset == 0 { offset_tag } else { count_tag };
            return bad(tag, format!("strip or tile {index} is 0: nothing was stored"));
        }
        let length = match form.compression {
            // Some writers round the last count up; the voxels are at its beginning.
            Compression::None if count >= voxels => voxels,
            Compression::None => return bad(count_tag, format!("{count} bytes for {voxels} of voxels in {index}")),
            Compression::Deflate { .. } if voxels / MAX_DEFLATE_RATIO > count => {
                return bad(count_tag, format!("{count} bytes cannot hold the {voxels} of strip or tile {index}"));
            }
            Compression::Deflate { .. } if count > voxels + voxels / 4 + 4096 => {
                return bad(count_tag, format!("{count} bytes for only {voxels} of voxels in strip or tile {index}"));
            }
            Compression::Deflate { .. } => count,
        };
        if offset.checked_add(length).is_none_or(|end| end > total) {
            let reason =
                format!("strip or tile {index} ({length} bytes at {offset}) does not lie in the file of {total} bytes");
            return bad(offset_tag, reason);
        }
        places.push((offset, length));
    }
    let one_run = form.compression == Compression::None
        && matches!(segments, Segments::Strips { .. })
        && places.windows(2).all(|pair| pair[0].0.checked_add(pair[0].1) == Some(pair[1].0));
    Ok(match places.first() {
        Some((start, _)) if one_run => Data::Contiguous(*start),
        _ => Data::Segments(places.into()),
    })
}

fn compression_name(number: u64) -> String {
    let name = match number {
        2 => "CCITT RLE",
        3 => "CCITT Group 3",
        4 => "CCITT Group 4",
        5 => "LZW",
        6 => "old-style JPEG",
        7 => "JPEG",
        32773 => "PackBits",
        34712 | 33003 | 33005 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        50000 | 34926 => "Zstandard",
        50001 | 34927 => "WebP",
        34892 => "lossy JPEG",
        22610 | 34934 => "JPEG XR",
        50002 | 52546 => "JPEG XL",
        _ => return format!("compression {number}"),
    };
    format!("{name} compression")
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
