//! How chunks are compressed, and what documents say of it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde_json::{Value, json};
use zarrs::array::codec::api::{BytesToBytesCodecTraits, CodecOptions};
use zarrs::array::codec::{BloscCodec, BloscCompressionLevel, BloscCompressor, BloscShuffleMode, ZstdCodec};

use crate::dtype::DataType;

/// Levels of Zstandard that are taken; negative ones are of no use on disk.
const LEVELS: std::ops::RangeInclusive<i32> = 1..=22;
/// Level of Zstandard where none is said.
const USUAL_LEVEL: i32 = 1;
/// Level of Blosc.
const BLOSC_LEVEL: u8 = 5;

/// A compression of chunks, as in `--compress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkCompression {
    /// The voxels as they are.
    None,
    /// Zstandard at a level.
    Zstd(i32),
    /// Blosc with Zstandard inside and the bytes (for single bytes, the bits) shuffled.
    Blosc,
}

impl Default for ChunkCompression {
    fn default() -> Self {
        ChunkCompression::Zstd(USUAL_LEVEL)
    }
}

impl FromStr for ChunkCompression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let (first, last) = (LEVELS.start(), LEVELS.end());
            format!("must be none, blosc, zstd or zstd:N with N from {first} to {last}")
        };
        match text {
            "none" => Ok(ChunkCompression::None),
            "blosc" => Ok(ChunkCompression::Blosc),
            "zstd" => Ok(ChunkCompression::default()),
            _ => {
                let level = text.strip_prefix("zstd:").and_then(|level| level.parse().ok()).ok_or_else(wrong)?;
                if LEVELS.contains(&level) { Ok(ChunkCompression::Zstd(level)) } else { Err(wrong()) }
            }
        }
    }
}

impl fmt::Display for ChunkCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChunkCompression::None => f.write_str("none"),
            ChunkCompression::Zstd(level) => write!(f, "zstd:{level}"),
            ChunkCompression::Blosc => f.write_str("blosc"),
        }
    }
}

impl ChunkCompression {
    /// Compresses a chunk; the same bytes give the same bytes, whatever else is running.
    pub(super) fn encode(self, plain: Vec<u8>, dtype: DataType) -> Result<Bytes, String> {
        let options = CodecOptions::default().with_concurrent_target(1);
        let plain = Cow::Owned(plain);
        let encoded = match self {
            ChunkCompression::None => plain,
            ChunkCompression::Zstd(level) => {
                ZstdCodec::new(level, false).encode(plain, &options).map_err(|error| error.to_string())?
            }
            ChunkCompression::Blosc => {
                let level = BloscCompressionLevel::try_from(BLOSC_LEVEL).map_err(|_| "no level of Blosc".to_owned())?;
                let shuffle = if dtype.size() == 1 { BloscShuffleMode::BitShuffle } else { BloscShuffleMode::Shuffle };
                let codec = BloscCodec::new(BloscCompressor::Zstd, level, None, shuffle, Some(dtype.size()))
                    .map_err(|error| error.to_string())?;
                codec.encode(plain, &options).map_err(|error| error.to_string())?
            }
        };
        Ok(encoded.into_owned().into())
    }

    /// `compressor` of a `.zarray`.
    pub(super) fn v2(self, dtype: DataType) -> Value {
        match self {
            ChunkCompression::None => Value::Null,
            ChunkCompression::Zstd(level) => json!({"id": "zstd", "level": level}),
            ChunkCompression::Blosc => json!({
                "id": "blosc", "cname": "zstd", "clevel": BLOSC_LEVEL, "shuffle": if dtype.size() == 1 { 2 } else { 1 },
                "blocksize": 0,
            }),
        }
    }

    /// The codec after `bytes` in a `zarr.json`.
    pub(super) fn v3(self, dtype: DataType) -> Option<Value> {
        match self {
            ChunkCompression::None => None,
            ChunkCompression::Zstd(level) => {
                Some(json!({"name": "zstd", "configuration": {"level": level, "checksum": false}}))
            }
            ChunkCompression::Blosc => Some(json!({"name": "blosc", "configuration": {
                "cname": "zstd", "clevel": BLOSC_LEVEL, "typesize": dtype.size(), "blocksize": 0,
                "shuffle": if dtype.size() == 1 { "bitshuffle" } else { "shuffle" },
            }})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_read_as_they_are_written() {
        for text in ["none", "blosc", "zstd:1", "zstd:22"] {
            assert_eq!(text.parse::<ChunkCompression>().unwrap().to_string(), text);
        }
        assert_eq!("zstd".parse(), Ok(ChunkCompression::Zstd(1)));
        for text in ["", "zstd:0", "zstd:23", "zstd:-1", "zstd:x", "gzip", "None"] {
            assert!(text.parse::<ChunkCompression>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_compression_keeps_the_bytes() {
        let plain: Vec<u8> = (0..20_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let zstd = ChunkCompression::Zstd(1).encode(plain.clone(), DataType::U32).unwrap();
        assert_eq!(zstd::bulk::decompress(&zstd, plain.len()).unwrap(), plain);
        let blosc = ChunkCompression::Blosc.encode(plain.clone(), DataType::U32).unwrap();
        assert_eq!(zarrs::array::codec::blosc_decompress_bytes(&blosc, plain.len(), 1).unwrap(), plain);
        assert!(blosc.len() < plain.len() / 2 && zstd.len() < plain.len() / 2);
        assert_eq!(ChunkCompression::None.encode(plain.clone(), DataType::U32).unwrap(), plain);
    }
}
