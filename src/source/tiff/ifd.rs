//! The container of TIFF 6.0 and BigTIFF: header, image file directories (IFDs) and the values of their tags.
//!
//! Written here and not taken from a library because the file is reached by ranges that must be few: which bytes are
//! needed next, and how far to read ahead, is the very question. Every count is checked against the file's length and
//! a bound before anything is allocated.

use bytes::Bytes;

use super::read::ReadAhead;
use crate::source::{SourceError, foreign};
pub(super) use crate::tiff_tags::{self as tags, Tag};

/// Bytes of its start by which a file of another format is told; comments of OME-XML stand before its first element.
const FOREIGN: u64 = 2048;
const NO_TIFF: &str =
    "not a TIFF file (does not begin with II or MM); compare `kind` and the address with what is there";
/// Entries of one IFD that are accepted; real ones have some dozens.
const MAX_ENTRIES: u64 = 4096;
/// Numbers in one tag that are accepted: offsets of as many strips.
pub(super) const MAX_NUMBERS: u64 = 1 << 20;
/// Bytes of text that are accepted; OME-XML has some hundreds for each page.
const MAX_TEXT: u64 = 10 << 20;
/// Texts of one tag that are read: tifffile writes what it is told to and then its own.
const MAX_TEXTS: usize = 2;

/// Byte order and width of the offsets, from the first bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// `MM`: most significant byte first.
    pub(super) big_endian: bool,
    /// Offsets and counts of 64 bits.
    pub(super) big_tiff: bool,
    /// Offset of the first IFD.
    pub(super) first: u64,
    /// Whether the pages are those that are marked as reduced copies, as there are no others.
    pub(super) all_reduced: bool,
}

impl Header {
    /// Reads the 8 bytes of a classic header or the 16 of a BigTIFF one.
    pub(super) async fn read(file: &mut ReadAhead) -> Result<Header, SourceError> {
        let bad = |name: String, reason: &str| SourceError::malformed(name, "header", reason);
        let start = file.bytes(0, 8, "header").await?;
        let big_endian = match start.get(..2) {
            Some(b"II") => false,
            Some(b"MM") => true,
            _ => {
                let front = file.bytes(0, file.total().min(FOREIGN), "header").await?;
                let text = front.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&front).trim_ascii_start();
                let reason = match foreign::of_bytes(&front).or_else(|| foreign::of_bytes(text)) {
                    Some(what) => format!("not a TIFF file but {what}"),
                    None => NO_TIFF.to_owned(),
                };
                return Err(bad(file.name(), &reason));
            }
        };
        let (big_tiff, first) = match number(&start[2..4], big_endian) {
            42 => (false, number(&start[4..8], big_endian)),
            43 => {
                let rest = file.bytes(4, 12, "header").await?;
                if number(&rest[..2], big_endian) != 8 || number(&rest[2..4], big_endian) != 0 {
                    return Err(bad(file.name(), "a BigTIFF whose offsets are not of 8 bytes"));
                }
                (true, number(&rest[4..12], big_endian))
            }
            _ => return Err(bad(file.name(), "not a TIFF file (version is neither 42 nor 43)")),
        };
        Ok(Header { big_endian, big_tiff, first, all_reduced: false })
    }
}

/// An unsigned number of up to 8 bytes.
pub(super) fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let shift = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    if big_endian { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) }
}

/// One tag of an IFD, its values not yet read.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) tag: u16,
    pub(super) kind: u64,
    pub(super) count: u64,
    /// The values where they fit, else the offset they lie at.
    pub(super) inline: [u8; 8],
}

/// An image file directory.
#[derive(Debug, Clone)]
pub(super) struct Ifd {
    pub(super) header: Header,
    /// Where it stands, for messages: `page 3`.
    place: String,
    pub(super) entries: Vec<Entry>,
    /// Offset of the next IFD, 0 after the last.
    pub(super) next: u64,
}

impl Ifd {
    /// Reads the IFD at `offset`, without values that lie elsewhere.
    pub(super) async fn read(file: &mut ReadAhead, header: Header, offset: u64, page: u64) -> Result<Ifd, SourceError> {
        let place = format!("page {page}");
        let what = format!("{place}, IFD");
        let (count_size, entry_size, word) = if header.big_tiff { (8, 20, 8) } else { (2, 12, 4) };
        if offset < count_size {
            return Err(SourceError::malformed(file.name(), what, format!("offset {offset} lies in the header")));
        }
        let count = number(&file.bytes(offset, count_size, &what).await?, header.big_endian);
        if count == 0 || count > MAX_ENTRIES {
            let reason = format!("{count} entries, not 1 to {MAX_ENTRIES}");
            return Err(SourceError::malformed(file.name(), what, reason));
        }
        let length = count_size + count * entry_size + word as u64;
        let body = file.bytes(offset, length, &what).await?;
        let body = &body[count_size as usize..];
        let entries = body.chunks_exact(entry_size as usize).take(count as usize).map(|entry| {
            let mut inline = [0; 8];
            inline[..word].copy_from_slice(&entry[4 + word..4 + 2 * word]);
            Entry {
                tag: number(&entry[..2], header.big_endian) as u16,
                kind: number(&entry[2..4], header.big_endian),
                count: number(&entry[4..4 + word], header.big_endian),
                inline,
            }
        });
        let next = number(&body[(count * entry_size) as usize..], header.big_endian);
        Ok(Ifd { header, place, entries: entries.collect(), next })
    }

    /// `page 3, StripOffsets`.
    pub(super) fn field(&self, tag: Tag) -> String {
        format!("{}, {}", self.place, tag.1)
    }

    fn entry(&self, tag: Tag) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag.0)
    }

    /// Whether the tag is there.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.entry(tag).is_some()
    }

    /// Whether it is one that speaks of something else than an image.
    pub(super) fn is_of_no_image(&self) -> bool {
        let of_images = [
            tags::IMAGE_WIDTH,
            tags::IMAGE_LENGTH,
            tags::STRIP_OFFSETS,
            tags::STRIP_BYTE_COUNTS,
            tags::TILE_OFFSETS,
            tags::TILE_BYTE_COUNTS,
        ];
        // Else it may be anything.
        let is_entry = |entry: &Entry| entry.tag > 0 && (BYTE..=IFD8).contains(&entry.kind);
        self.entries.iter().all(is_entry) && !of_images.into_iter().any(|tag| self.has(tag))
    }

    /// Values of a tag as it claims.
    pub(super) fn count(&self, tag: Tag) -> u64 {
        self.entry(tag).map_or(0, |entry| entry.count)
    }

    /// The raw bytes of a tag's values, `most` at most, and the size of one value.
    async fn values(
        &self,
        file: &mut ReadAhead,
        tag: Tag,
        types: &[u64],
        most: u64,
    ) -> Result<Option<(Bytes, usize)>, SourceError> {
        match self.entry(tag) {
            Some(entry) => self.values_of(file, entry, (tag, types), most).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same of an entry of this tag.
    async fn values_of(
        &self,
        file: &mut ReadAhead,
        entry: &Entry,
        (tag, types): (Tag, &[u64]),
        most: u64,
    ) -> Result<(Bytes, usize), SourceError> {
        let bad = |reason: String| SourceError::malformed(file.name(), self.field(tag), reason);
        if !types.contains(&entry.kind) {
            return Err(bad(format!("has field type {}, which this tag cannot have", entry.kind)));
        }
        let size: u64 = match entry.kind {
            BYTE | ASCII | SBYTE | UNDEFINED => 1,
            SHORT | SSHORT => 2,
            LONG | SLONG | IFD => 4,
            _ => 8,
        };
        if entry.count == 0 || entry.count > most {
            let what = if size == 1 { "bytes" } else { "values" };
            return Err(bad(format!("{} {what}, not 1 to {most}", entry.count)));
        }
        let length = entry.count * size;
        let word = if self.header.big_tiff { 8 } else { 4 };
        let bytes = if length <= word {
            Bytes::copy_from_slice(&entry.inline[..length as usize])
        } else {
            let offset = number(&entry.inline[..word as usize], self.header.big_endian);
            file.bytes(offset, length, &self.field(tag)).await?
        };
        Ok((bytes, size as usize))
    }

    /// All values of a tag of unsigned integers, which some writers store in signed types; `None` where the tag is missing.
    pub(super) async fn unsigned(&self, file: &mut ReadAhead, tag: Tag) -> Result<Option<Vec<u64>>, SourceError> {
        let values = self.values(file, tag, &INTEGERS, MAX_NUMBERS).await?;
        let signed = self.entry(tag).is_some_and(|entry| SIGNED.contains(&entry.kind));
        let Some((bytes, size)) = values else { return Ok(None) };
        let numbers: Vec<u64> = bytes.chunks_exact(size).map(|v| number(v, self.header.big_endian)).collect();
        if signed && numbers.iter().any(|number| number >> (8 * size - 1) != 0) {
            return Err(SourceError::malformed(file.name(), self.field(tag), "is a number below 0"));
        }
        Ok(Some(numbers))
    }

    /// Whether the tag is there with one value at least.
    pub(super) fn has_values(&self, tag: Tag) -> bool {
        self.entry(tag).is_some_and(|entry| entry.count > 0)
    }

    /// The one value of a tag that some writers repeat for samples which are not there, or `default` where it is missing.
    pub(super) async fn same(&self, file: &mut ReadAhead, tag: Tag, default: u64) -> Result<u64, SourceError> {
        match self.unsigned(file, tag).await?.as_deref() {
            Some([value, others @ ..]) if others.len() < MAX_SAMPLES && others.iter().all(|other| other == value) => {
                Ok(*value)
            }
            _ => self.single(file, tag, default).await,
        }
    }

    /// The one value of a tag, or `default` where the tag is missing.
    pub(super) async fn single(&self, file: &mut ReadAhead, tag: Tag, default: u64) -> Result<u64, SourceError> {
        match self.unsigned(file, tag).await?.as_deref() {
            None => Ok(default),
            Some([value]) => Ok(*value),
            Some(several) => {
                let reason = format!("{} values where one is expected", several.len());
                Err(SourceError::malformed(file.name(), self.field(tag), reason))
            }
        }
    }

    /// The first value of a tag of fractions that no voxel needs, as numerator and denominator; `None` where it cannot be
    /// read.
    pub(super) async fn rational(&self, file: &mut ReadAhead, tag: Tag) -> Result<Option<[f64; 2]>, SourceError> {
        let values = match self.values(file, tag, &[RATIONAL], MAX_NUMBERS).await {
            Err(SourceError::Remote(error)) => return Err(error.into()),
            read_or_broken => read_or_broken.ok().flatten(),
        };
        Ok(values.map(|(bytes, _)| {
            let part = |range: std::ops::Range<usize>| number(&bytes[range], self.header.big_endian) as f64;
            [part(0..4), part(4..8)]
        }))
    }

    /// The one value of a tag of floats of 64 bits that no voxel needs; `None` where it cannot be read.
    pub(super) async fn double(&self, file: &mut ReadAhead, tag: Tag) -> Result<Option<f64>, SourceError> {
        match self.values(file, tag, &[DOUBLE], 1).await {
            Err(SourceError::Remote(error)) => Err(error.into()),
            read_or_broken => {
                let number = |(bytes, _): (Bytes, usize)| f64::from_bits(number(&bytes, self.header.big_endian));
                Ok(read_or_broken.ok().flatten().map(number))
            }
        }
    }

    /// The bytes of a tag that no voxel needs, `most` at most; `None` where it is missing, longer or cannot be read.
    pub(super) async fn opaque(&self, file: &mut ReadAhead, tag: Tag, most: u64) -> Result<Option<Bytes>, SourceError> {
        match self.values(file, tag, &[BYTE, ASCII, UNDEFINED], most).await {
            Err(SourceError::Remote(error)) => Err(error.into()),
            read_or_broken => Ok(read_or_broken.ok().flatten().map(|(bytes, _)| bytes)),
        }
    }

    /// Entries of a text of which some writers make several: those that are read.
    fn texts(&self, tag: Tag) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.tag == tag.0).take(MAX_TEXTS)
    }

    /// Bytes of a tag's texts as they are claimed, as many as are accepted at the most.
    pub(super) fn text_bytes(&self, tag: Tag) -> u64 {
        self.texts(tag).map(|entry| entry.count.min(MAX_TEXT)).sum()
    }

    /// Text `number` of a tag without its closing NUL; UTF-8, or else Latin-1, which older ImageJ writes. One of no bytes is
    /// empty.
    pub(super) async fn text(
        &self,
        file: &mut ReadAhead,
        tag: Tag,
        number: usize,
    ) -> Result<Option<String>, SourceError> {
        let Some(entry) = self.texts(tag).nth(number) else { return Ok(None) };
        if entry.count == 0 {
            return Ok(Some(String::new()));
        }
        let (bytes, _) = self.values_of(file, entry, (tag, &[ASCII, BYTE, UNDEFINED]), MAX_TEXT).await?;
        Ok(Some(text_of(bytes.split(|byte| *byte == 0).next().unwrap_or_default())))
    }
}

/// Letters as UTF-8, or else as Latin-1, in which every byte is one.
pub(super) fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

const BYTE: u64 = 1;
const ASCII: u64 = 2;
const SHORT: u64 = 3;
const LONG: u64 = 4;
const RATIONAL: u64 = 5;
const SBYTE: u64 = 6;
const UNDEFINED: u64 = 7;
const SSHORT: u64 = 8;
const SLONG: u64 = 9;
const DOUBLE: u64 = 12;
const IFD: u64 = 13;
const LONG8: u64 = 16;
const SLONG8: u64 = 17;
const IFD8: u64 = 18;

/// Types of tags of whole numbers, and those of them that may be below 0.
const INTEGERS: [u64; 10] = [BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG, IFD, LONG8, SLONG8, IFD8];
const SIGNED: [u64; 4] = [SBYTE, SSHORT, SLONG, SLONG8];
/// Samples of a pixel that a tag may speak of.
const MAX_SAMPLES: usize = 16;
