//! The bytes-to-bytes codecs of a chunk, undone within bounds.
//!
//! Each step may give no more bytes than a valid chunk can have there, whatever its stream claims; a stream must end
//! where its input ends; and the last step must give exactly the bytes of a chunk.

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;
use bzip2::read::MultiBzDecoder;
use flate2::Decompress;
use liblzma::read::XzDecoder;
use liblzma::stream::Stream;
use zarrs::array::codec::{blosc_decompress_bytes, blosc_validate};

use super::codec_size::{CodecSize, buffer, too_long};
use super::layout::ByteOrder;
use super::{filters, lz4};
use crate::decompress::{InflateError, gunzip_into, inflate, unzstd};
use crate::dtype::DataType;

/// A codec that turns bytes into bytes. Its parameters matter to writers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BytesCodec {
    /// Zstandard frames (RFC 8878).
    Zstd,
    /// Gzip members (RFC 1952).
    Gzip,
    /// A zlib stream (RFC 1950).
    Zlib,
    /// A Blosc 1 buffer.
    Blosc,
    /// Bzip2 streams.
    Bzip2,
    /// An xz file, or the older format of one.
    Xz,
    /// A block of LZ4 behind the length of what it holds, as numcodecs has it.
    Lz4,
    /// Blocks of LZ4 as lz4-java has them.
    Lz4Java,
    /// Differences from one voxel to the next, of a type and in big-endian order or not.
    Delta(DataType, ByteOrder),
    /// The first bytes of all words of that many bytes, then the second ones, and so on.
    Shuffle(usize),
    /// The bytes followed by their CRC-32C, little-endian.
    Crc32c,
}

/// A chunk that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{codec}: {reason}")]
pub(super) struct CodecError {
    /// The step that failed.
    pub codec: &'static str,
    /// What is wrong with its input.
    pub reason: String,
}

/// Memory that an xz file may ask for: twice what the strongest preset does.
const XZ_MEMORY: u64 = 128 << 20;

/// Bytes of the CRC-32C behind the data.
const CHECKSUM: usize = 4;

impl BytesCodec {
    /// The codec of that name; `None` where emfs does not read it. Both Zarr versions use the same names.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "zstd" => Some(BytesCodec::Zstd),
            "gzip" => Some(BytesCodec::Gzip),
            "zlib" => Some(BytesCodec::Zlib),
            "blosc" => Some(BytesCodec::Blosc),
            "bz2" => Some(BytesCodec::Bzip2),
            "lzma" => Some(BytesCodec::Xz),
            "lz4" => Some(BytesCodec::Lz4),
            "crc32c" => Some(BytesCodec::Crc32c),
            _ => None,
        }
    }

    /// Name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            BytesCodec::Zstd => "zstd",
            BytesCodec::Gzip => "gzip",
            BytesCodec::Zlib => "zlib",
            BytesCodec::Blosc => "blosc",
            BytesCodec::Bzip2 => "bz2",
            BytesCodec::Xz => "lzma",
            BytesCodec::Lz4 | BytesCodec::Lz4Java => "lz4",
            BytesCodec::Delta(..) => "delta",
            BytesCodec::Shuffle(_) => "shuffle",
            BytesCodec::Crc32c => "crc32c",
        }
    }

    /// Undoes the codec.
    fn decode<'a>(self, encoded: &'a [u8], size: CodecSize) -> Result<Cow<'a, [u8]>, String> {
        let decoded = match self {
            BytesCodec::Zstd => Cow::Owned(unzstd(encoded, size.most)?),
            BytesCodec::Gzip => Cow::Owned(ungzip(encoded, size.most)?),
            BytesCodec::Zlib => Cow::Owned(unzlib(encoded, size.most)?),
            BytesCodec::Blosc => Cow::Owned(unblosc(encoded, size)?),
            BytesCodec::Bzip2 => Cow::Owned(read(&mut MultiBzDecoder::new(encoded), size.most)?),
            BytesCodec::Xz => Cow::Owned(unxz(encoded, size.most)?),
            BytesCodec::Lz4 => Cow::Owned(lz4::block(encoded, size)?),
            BytesCodec::Lz4Java => Cow::Owned(lz4::java(encoded, size.most)?),
            BytesCodec::Delta(dtype, order) => Cow::Owned(filters::undelta(encoded, dtype, order)),
            BytesCodec::Shuffle(size) => Cow::Owned(filters::unshuffle(encoded, size)?),
            BytesCodec::Crc32c => Cow::Borrowed(checked(encoded)?),
        };
        size.check(decoded.len())?;
        Ok(decoded)
    }
}

/// Lengths of a chunk along a chain of codecs, from the plain voxels to what is stored: one more than codecs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sizes(Vec<CodecSize>);

impl Sizes {
    /// The sizes of a chunk of `chunk_bytes` plain bytes, written through `codecs`.
    pub fn of_chain(chunk_bytes: usize, codecs: &[BytesCodec]) -> Self {
        let mut sizes = vec![CodecSize { most: chunk_bytes, exact: true }];
        let mut last = sizes[0];
        for codec in codecs {
            last = match codec {
                BytesCodec::Delta(..) | BytesCodec::Shuffle(_) => last,
                BytesCodec::Crc32c => CodecSize { most: last.most.saturating_add(CHECKSUM), ..last },
                // No compressor in use grows incompressible data by a hundredth; the rest is space for headers.
                _ => {
                    CodecSize { most: last.most.saturating_add(last.most / 128).saturating_add(64 << 10), exact: false }
                }
            };
            sizes.push(last);
        }
        Sizes(sizes)
    }

    /// The longest body that can be a valid chunk.
    pub fn stored(&self) -> u64 {
        self.0.last().map_or(0, |size| size.most as u64)
    }
}

/// Undoes `codecs`, given in the order of writing, on a stored chunk.
pub(super) fn decode(raw: Bytes, codecs: &[BytesCodec], sizes: &Sizes) -> Result<Bytes, CodecError> {
    let mut bytes = raw;
    for (codec, &size) in codecs.iter().zip(&sizes.0).rev() {
        bytes = match codec.decode(&bytes, size) {
            Ok(Cow::Borrowed(part)) => bytes.slice_ref(part),
            Ok(Cow::Owned(decoded)) => decoded.into(),
            Err(reason) => return Err(CodecError { codec: codec.name(), reason }),
        };
    }
    match sizes.0.first() {
        Some(size) => size.check(bytes.len()).map_err(|reason| CodecError { codec: "chunk", reason })?,
        None => return Err(CodecError { codec: "chunk", reason: "no size is known".to_owned() }),
    }
    Ok(bytes)
}

/// Reads all that a decoder gives.
fn read(decoder: &mut impl Read, most: usize) -> Result<Vec<u8>, String> {
    let mut out = buffer(most.saturating_add(1))?;
    let mut bounded = decoder.take((most as u64).saturating_add(1));
    bounded.read_to_end(&mut out).map_err(|error| format!("corrupt: {error}"))?;
    if out.len() > most { Err(too_long(most)) } else { Ok(out) }
}

fn unxz(encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let stream = Stream::new_auto_decoder(XZ_MEMORY, 0).map_err(|error| error.to_string())?;
    let mut decoder = XzDecoder::new_stream(encoded, stream);
    let out = read(&mut decoder, most)?;
    match (encoded.len() as u64).saturating_sub(decoder.total_in()) {
        0 => Ok(out),
        more => Err(format!("{more} bytes after the end of the stream")),
    }
}

fn unzlib(encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = buffer(most.saturating_add(1))?;
    let consumed = inflate(Decompress::new(true), encoded, most, &mut out).map_err(in_words)?;
    match encoded.len() - consumed {
        0 => Ok(out),
        more => Err(format!("{more} bytes after the end of the stream")),
    }
}

fn ungzip(encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    if encoded.is_empty() {
        return Err(in_words(InflateError::CutOff(0)));
    }
    let mut out = buffer(most.saturating_add(1))?;
    gunzip_into(encoded, most, &mut out).map_err(in_words)?;
    Ok(out)
}

fn in_words(error: InflateError) -> String {
    match error {
        InflateError::TooLong(most) => too_long(most),
        error => error.to_string(),
    }
}

/// Bytes of the header of a Blosc 1 buffer: version, version of the codec, flags, type size, then three little-endian
/// 32-bit numbers: plain bytes, bytes of a block, stored bytes.
const BLOSC_HEADER: usize = 16;

/// The version of the Blosc 1 format, the only one there is.
const BLOSC_VERSION: u8 = 2;

fn unblosc(encoded: &[u8], size: CodecSize) -> Result<Vec<u8>, String> {
    let Some((header, _)) = encoded.split_first_chunk::<BLOSC_HEADER>() else {
        return Err(format!("{} bytes are too few for a header", encoded.len()));
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (plain, block, stored) = (number(4), number(8), number(12));
    if header[0] != BLOSC_VERSION {
        return Err(format!("header: format version {} instead of {BLOSC_VERSION}", header[0]));
    }
    if header[3] == 0 {
        return Err("header: a type size of 0".to_owned());
    }
    if stored != encoded.len() {
        return Err(format!("header: {stored} stored bytes, but there are {}", encoded.len()));
    }
    size.check(plain).map_err(|reason| format!("header: {reason}"))?;
    if block == 0 || block > plain {
        return Err(format!("header: blocks of {block} bytes for {plain} bytes"));
    }
    if blosc_validate(encoded) != Some(plain) {
        return Err("header: not a valid Blosc buffer".to_owned());
    }
    blosc_decompress_bytes(encoded, plain, 1).map_err(|error| format!("corrupt: {error}"))
}

/// The data before a CRC-32C that is right.
fn checked(encoded: &[u8]) -> Result<&[u8], String> {
    let Some((data, stored)) = encoded.split_last_chunk::<CHECKSUM>() else {
        return Err(format!("{} bytes are too few for a checksum", encoded.len()));
    };
    let (stored, computed) = (u32::from_le_bytes(*stored), crc32c::crc32c(data));
    if stored == computed { Ok(data) } else { Err(format!("checksum {stored:08x}, but the data has {computed:08x}")) }
}

#[cfg(test)]
mod tests;
