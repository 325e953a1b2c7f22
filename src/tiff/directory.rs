//! The bytes of a TIFF file's header and directories (TIFF 6.0, BigTIFF), little-endian.

use crate::dtype::DataType;
use crate::tiff_tags::{self as tags, Tag};

/// Field types.
const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const LONG8: u16 = 16;

/// Fields of every page, and one more of the first.
const FIELDS: u64 = 14;

/// Which of the two kinds of TIFF a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// Offsets of 32 bits: at most 4 GiB.
    Classic,
    /// BigTIFF: offsets of 64 bits.
    Big,
}

/// What the fields of a page are made of.
pub(super) struct PageFields<'a> {
    pub width: u32,
    pub height: u32,
    pub dtype: DataType,
    /// Whether 0 is white.
    pub inverted: bool,
    /// Voxels per nanometre along x and y, as fractions.
    pub resolution: [[u32; 2]; 2],
    /// Where its voxels are.
    pub voxels: u64,
    pub bytes: u64,
    /// Where the next page's directory is; 0 on the last one.
    pub next: u64,
    /// The text of the first page.
    pub description: Option<&'a [u8]>,
}

impl Width {
    /// Bytes of the header, after which the first directory follows.
    pub fn header(self) -> u64 {
        match self {
            Width::Classic => 8,
            Width::Big => 16,
        }
    }

    /// Bytes of a directory without what lies beside it.
    pub fn directory(self, is_first: bool) -> u64 {
        let fields = FIELDS + u64::from(is_first);
        match self {
            Width::Classic => 2 + 12 * fields + 4,
            Width::Big => 8 + 20 * fields + 8,
        }
    }

    /// Bytes beside the first directory: its text, and fractions that all pages of a classic file share.
    pub fn beside(self, description: &[u8]) -> u64 {
        let fractions = if self == Width::Classic { 16 } else { 0 };
        (fractions + description.len() as u64).next_multiple_of(8)
    }

    /// The header, the first directory and what lies beside it.
    pub fn front(self, page: &PageFields<'_>) -> Vec<u8> {
        let mut bytes = match self {
            Width::Classic => [b"II".as_slice(), &42u16.to_le_bytes(), &8u32.to_le_bytes()].concat(),
            Width::Big => {
                [b"II".as_slice(), &43u16.to_le_bytes(), &8u16.to_le_bytes(), &[0; 2], &16u64.to_le_bytes()].concat()
            }
        };
        bytes.extend(self.page(page));
        if self == Width::Classic {
            page.resolution.as_flattened().iter().for_each(|part| bytes.extend(part.to_le_bytes()));
        }
        bytes.extend(page.description.unwrap_or_default());
        bytes
    }

    /// The directory of a page.
    pub fn page(self, page: &PageFields<'_>) -> Vec<u8> {
        let beside = self.header() + self.directory(true);
        let [x, y] = page.resolution;
        let offset = if self == Width::Classic { LONG } else { LONG8 };
        // Fractions of a classic file lie beside the first directory, those of a BigTIFF in the field.
        let fraction = |place: u64, [part, of]: [u32; 2]| match self {
            Width::Classic => beside + place,
            Width::Big => u64::from(part) | u64::from(of) << 32,
        };
        let text = beside + if self == Width::Classic { 16 } else { 0 };
        let description = page.description.map(|bytes| (tags::IMAGE_DESCRIPTION, ASCII, bytes.len() as u64, text));
        let head = [
            (tags::NEW_SUBFILE_TYPE, LONG, 1, 0),
            (tags::IMAGE_WIDTH, LONG, 1, u64::from(page.width)),
            (tags::IMAGE_LENGTH, LONG, 1, u64::from(page.height)),
            (tags::BITS_PER_SAMPLE, SHORT, 1, page.dtype.size() as u64 * 8),
            // No compression.
            (tags::COMPRESSION, SHORT, 1, 1),
            // 0 is white, or black.
            (tags::PHOTOMETRIC, SHORT, 1, u64::from(!page.inverted)),
        ];
        let tail = [
            (tags::STRIP_OFFSETS, offset, 1, page.voxels),
            (tags::SAMPLES_PER_PIXEL, SHORT, 1, 1),
            (tags::ROWS_PER_STRIP, LONG, 1, u64::from(page.height)),
            (tags::STRIP_BYTE_COUNTS, offset, 1, page.bytes),
            (tags::X_RESOLUTION, RATIONAL, 1, fraction(0, x)),
            (tags::Y_RESOLUTION, RATIONAL, 1, fraction(8, y)),
            // Neither inch nor centimetre: the text tells the unit.
            (tags::RESOLUTION_UNIT, SHORT, 1, 1),
            (tags::SAMPLE_FORMAT, SHORT, 1, sample_format(page.dtype)),
        ];
        let fields: Vec<(Tag, u16, u64, u64)> = head.into_iter().chain(description).chain(tail).collect();
        let mut bytes = Vec::new();
        self.put(&mut bytes, fields.len() as u64, 2, 8);
        for (Tag(tag, _), kind, count, value) in fields {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            self.put(&mut bytes, count, 4, 8);
            self.put(&mut bytes, value, 4, 8);
        }
        self.put(&mut bytes, page.next, 4, 8);
        bytes
    }

    /// A number, in as many bytes as a file of this kind gives it.
    fn put(self, bytes: &mut Vec<u8>, number: u64, classic: usize, big: usize) {
        let length = if self == Width::Classic { classic } else { big };
        bytes.extend(number.to_le_bytes().iter().take(length));
    }
}

fn sample_format(dtype: DataType) -> u64 {
    match dtype {
        DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64 => 1,
        DataType::I8 | DataType::I16 | DataType::I32 | DataType::I64 => 2,
        DataType::F32 | DataType::F64 => 3,
    }
}
