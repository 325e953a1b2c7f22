//! How a page is stored: its division into strips or tiles, what they are packed by, and where they lie.
//!
//! What libtiff mends in the tags of uncompressed pages is mended here, too, as long as what is read then lies in the file
//! and is of this strip alone: their lengths follow from the page's extents.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::ifd::{Ifd, Tag, tags};
use super::page_format::PageFormat;
use super::read::ReadAhead;
use crate::dtype::{DataType, FillValue};
use crate::source::{SourceError, remedy};

/// Bytes of tables that all strips of a page in JPEG have in common.
const MAX_TABLES: u64 = 64 << 10;

/// What strips and tiles are packed by, each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Deflate,
    Lzw,
    PackBits,
    Zstd,
    Jpeg,
}

/// What is stored of a number instead of the number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    /// The difference to the one before it, as integers of its size.
    Horizontal,
    /// The differences of the bytes of a row, of which all first bytes come first.
    Float,
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

    /// Rows and columns of a whole segment.
    pub(super) fn whole(&self, form: &PageFormat) -> (u64, u64) {
        match *self {
            Segments::Strips { rows } => (rows, form.width),
            Segments::Tiles { height, width } => (height, width),
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

/// How a page is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) segments: Segments,
    pub(super) codec: Codec,
    pub(super) predictor: Predictor,
    /// Bits of a number; rows begin at whole bytes.
    pub(super) bits: u64,
    /// Whether the bits of each byte stand in reverse.
    pub(super) reversed: bool,
    /// What precedes each strip or tile in JPEG.
    pub(super) tables: Option<Bytes>,
    /// What voxels are that were never written.
    pub(super) fill: FillValue,
}

impl Storage {
    /// Bytes of a row of so many numbers, unpacked.
    pub(super) fn row(&self, width: u64) -> u64 {
        width.saturating_mul(self.bits).div_ceil(8)
    }

    /// Bytes of rows of so many numbers, unpacked.
    pub(super) fn bytes(&self, rows: u64, width: u64) -> u64 {
        self.row(width).saturating_mul(rows)
    }

    /// Whether rows are stored as they are shown but for the order of a voxel's bytes.
    pub(super) fn is_plain(&self, dtype: DataType) -> bool {
        self.codec == Codec::None && self.bits == 8 * dtype.size() as u64 && !self.reversed
    }
}

/// As in `deflate with horizontal predictor`.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.codec {
            Codec::None => "uncompressed",
            Codec::Deflate => "deflate",
            Codec::Lzw => "LZW",
            Codec::PackBits => "PackBits",
            Codec::Zstd => "Zstandard",
            Codec::Jpeg => "JPEG",
        })?;
        f.write_str(match self.predictor {
            Predictor::None => "",
            Predictor::Horizontal => " with horizontal predictor",
            Predictor::Float => " with floating-point predictor",
        })
    }
}

/// Where the voxels of a page lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// All rows one after the other, as they are shown but for the order of bytes, from this offset.
    Contiguous(u64),
    /// Offset and length of each segment; both 0 where it was never written.
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

    /// Number of segments, and of those of them that were never written.
    pub(super) fn unwritten(&self) -> (usize, usize) {
        match self {
            Data::Contiguous(_) => (1, 0),
            Data::Segments(segments) => (segments.len(), segments.iter().filter(|(_, length)| *length == 0).count()),
        }
    }

    /// Whether every segment was written.
    pub(super) fn is_whole(&self) -> bool {
        self.unwritten().1 == 0
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

/// How and where a page is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) storage: Arc<Storage>,
    pub(super) data: Data,
}

impl Stored {
    /// Bytes of memory that the places of strips and tiles take.
    pub(super) fn kept(&self) -> u64 {
        match &self.data {
            Data::Contiguous(_) => 64,
            Data::Segments(places) => 64 + 16 * places.len() as u64,
        }
    }

    /// Bytes of the file that its voxels take.
    pub(super) fn packed_bytes(&self, form: &PageFormat) -> u64 {
        match &self.data {
            Data::Contiguous(_) => self.storage.bytes(form.height, form.width),
            Data::Segments(places) => places.iter().map(|(_, length)| *length).fold(0, u64::saturating_add),
        }
    }
}

/// The value of a tag that every page has.
pub(super) async fn required(file: &mut ReadAhead, ifd: &Ifd, tag: Tag) -> Result<u64, SourceError> {
    match ifd.single(file, tag, 0).await? {
        0 => Err(SourceError::malformed(file.name(), ifd.field(tag), "is missing or 0")),
        value => Ok(value),
    }
}

/// Reads how a page is stored.
pub(super) async fn read(
    file: &mut ReadAhead,
    ifd: &Ifd,
    form: &PageFormat,
    bits: u64,
) -> Result<Storage, SourceError> {
    let refuse = |file: &ReadAhead, tag: Tag, reason: String| {
        Err(SourceError::unsupported(file.name(), ifd.field(tag), reason).with_remedy(remedy::CODEC))
    };
    let codec = match ifd.single(file, tags::COMPRESSION, 1).await? {
        1 => Codec::None,
        5 => Codec::Lzw,
        7 => Codec::Jpeg,
        8 | 32946 => Codec::Deflate,
        32773 => Codec::PackBits,
        50000 | 34926 => Codec::Zstd,
        other => {
            let error = SourceError::unsupported(file.name(), ifd.field(tags::COMPRESSION), compression_name(other));
            let remedy = if is_of_libtiff(other) { remedy::CODEC } else { remedy::CODEC_OF_PYTHON };
            return Err(error.with_remedy(remedy));
        }
    };
    let predictor = match ifd.single(file, tags::PREDICTOR, 1).await? {
        1 => Predictor::None,
        2 if matches!(bits, 8 | 16 | 32 | 64) && is_predicted(codec) => Predictor::Horizontal,
        3 if matches!(form.dtype, DataType::F32 | DataType::F64) && is_predicted(codec) => Predictor::Float,
        // Without such a codec libtiff takes no notice of the tag and others do.
        other => return refuse(file, tags::PREDICTOR, format!("predictor {other} here")),
    };
    if codec == Codec::Jpeg && bits != 8 {
        return refuse(file, tags::BITS_PER_SAMPLE, format!("JPEG of {bits} bits"));
    }
    let reversed = match ifd.single(file, tags::FILL_ORDER, 1).await? {
        // A stream of JPEG has an order of its own.
        2 => codec != Codec::Jpeg,
        _ => false,
    };
    let tables = match codec {
        Codec::Jpeg => ifd.opaque(file, tags::JPEG_TABLES, MAX_TABLES).await?,
        _ => None,
    };
    let segments = read_segments(file, ifd, form).await?;
    Ok(Storage { segments, codec, predictor, bits, reversed, tables, fill: FillValue::zero(form.dtype) })
}

/// Whether predictors belong to a codec.
fn is_predicted(codec: Codec) -> bool {
    matches!(codec, Codec::Deflate | Codec::Lzw | Codec::Zstd | Codec::PackBits)
}

async fn read_segments(file: &mut ReadAhead, ifd: &Ifd, form: &PageFormat) -> Result<Segments, SourceError> {
    if ifd.has(tags::TILE_WIDTH) || ifd.has(tags::TILE_OFFSETS) {
        let height = required(file, ifd, tags::TILE_LENGTH).await?;
        let width = required(file, ifd, tags::TILE_WIDTH).await?;
        let most = u64::from(u32::MAX);
        if height > most || width > most {
            let reason = format!("{height} × {width} is out of bounds");
            return Err(SourceError::malformed(file.name(), ifd.field(tags::TILE_LENGTH), reason));
        }
        return Ok(Segments::Tiles { height, width });
    }
    let rows = match ifd.single(file, tags::ROWS_PER_STRIP, form.height).await?.min(form.height) {
        0 => form.height,
        rows => rows,
    };
    Ok(Segments::Strips { rows })
}

/// Whether libtiff unpacks it.
fn is_of_libtiff(number: u64) -> bool {
    matches!(number, 2..=4 | 6 | 32771 | 32809 | 32908 | 32909 | 34676 | 34677 | 34887 | 34925 | 50001)
}

fn compression_name(number: u64) -> String {
    let name = match number {
        2 => "CCITT RLE",
        3 => "CCITT Group 3",
        4 => "CCITT Group 4",
        6 => "old-style JPEG",
        34712 | 33003 | 33005 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        50001 | 34927 => "WebP",
        34892 => "lossy JPEG",
        22610 | 34934 => "JPEG XR",
        50002 | 52546 => "JPEG XL",
        34933 => "PNG",
        50013 => "PIXTIFF",
        _ => return format!("compression {number}"),
    };
    format!("{name} compression")
}
