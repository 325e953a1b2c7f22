//! What an array document says, whichever Zarr version it is written in. Axes are in the document's own order here.

use super::codec::{BytesCodec, Sizes};
use super::json::JsonField;
use super::layout::{ByteOrder, ChunkLayout};
use super::n5;
use super::sharding::ArraySharding;
use crate::dtype::{DataType, FillValue};
use crate::source::{SourceError, remedy};

/// Axes of an array: `t, c, z, y, x`.
pub(super) const MAX_RANK: usize = 5;

/// Bytes of one decoded chunk. A chunk has to fit into memory several times over while it is decoded.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// Bytes-to-bytes codecs in a chain. Real chains have one or two.
pub(super) const MAX_CODECS: usize = 8;

/// One array: shape, voxels and the way chunks are stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ArrayDocument {
    /// Extents in voxels, none of them 0.
    pub shape: Vec<u64>,
    /// Extents of a chunk, none of them 0; as many as `shape` has. A shard has several.
    pub chunk: Vec<u64>,
    /// Type of a voxel.
    pub dtype: DataType,
    /// Value of voxels in chunks that are not stored.
    pub fill: FillValue,
    /// How chunks are named, or shards where there are.
    pub keys: ChunkKeys,
    /// How chunks are put together in shards; `None` where each is an object of its own.
    pub sharding: Option<ArraySharding>,
    /// Order and byte order of a decoded chunk.
    pub layout: ChunkLayout,
    /// What was applied to those bytes, in the order of writing.
    pub codecs: Vec<BytesCodec>,
    /// Lengths a stored chunk may have.
    pub sizes: Sizes,
    /// How it begins.
    pub form: ChunkFormat,
}

/// How a chunk's key is made of its indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkKeys {
    /// Whether keys start with `c` and a separator, as Zarr v3 has it by default.
    pub prefixed: bool,
    /// `.` or `/`.
    pub separator: Separator,
    /// Whether the last axis comes first, as N5 has it.
    pub reversed: bool,
    /// Whether the document does not say what the separator is.
    pub is_guess: bool,
}

/// How the bytes of a chunk begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkFormat {
    /// With its voxels.
    Bare,
    /// With its voxels, which are floats of 16 bits and shown as those of 32.
    Half,
    /// With a header of N5, by which it may be smaller than others.
    N5,
}

impl ChunkFormat {
    /// A type of as many bytes as a voxel of the type `shown` has where it is stored.
    pub fn stored(self, shown: DataType) -> DataType {
        match self {
            ChunkFormat::Half => DataType::U16,
            ChunkFormat::Bare | ChunkFormat::N5 => shown,
        }
    }
}

/// What stands between the indices of a chunk key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Dot,
    Slash,
}

impl Separator {
    /// Reads a separator of a document.
    pub fn parse(field: &JsonField) -> Result<Self, SourceError> {
        match field.text()? {
            "." => Ok(Separator::Dot),
            "/" => Ok(Separator::Slash),
            _ => Err(field.malformed("a separator is `.` or `/`")),
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Separator::Dot => Separator::Slash,
            Separator::Slash => Separator::Dot,
        }
    }

    /// As it stands in keys.
    pub const fn text(self) -> &'static str {
        match self {
            Separator::Dot => ".",
            Separator::Slash => "/",
        }
    }
}

impl ChunkKeys {
    /// The key of a chunk, relative to its array.
    pub fn key(self, mut indices: Vec<u64>) -> String {
        if self.reversed {
            indices.reverse();
        }
        let parts = self.prefixed.then(|| "c".to_owned()).into_iter().chain(indices.into_iter().map(|i| i.to_string()));
        parts.collect::<Vec<_>>().join(self.separator.text())
    }
}

/// Storage order as a document gives it.
pub(super) struct ArrayStorage {
    /// For each axis of the stored chunk, slowest first, the axis of the array that it is.
    pub axes: Vec<usize>,
    /// Byte order of a voxel.
    pub byte_order: ByteOrder,
    /// Bytes-to-bytes codecs in the order of writing.
    pub codecs: Vec<BytesCodec>,
    /// How chunks are put together.
    pub sharding: Option<ArraySharding>,
    /// How a chunk begins.
    pub form: ChunkFormat,
}

impl ArrayDocument {
    /// Puts together what a document of either version says.
    pub fn new(extents: Extents, dtype: DataType, fill: FillValue, keys: ChunkKeys, storage: ArrayStorage) -> Self {
        let Extents { shape, chunk, chunk_bytes } = extents;
        let layout = ChunkLayout::new(&chunk, &storage.axes, storage.form.stored(dtype).size(), storage.byte_order);
        let sizes = Sizes::of_chain(chunk_bytes, &storage.codecs);
        let ArrayStorage { codecs, sharding, form, .. } = storage;
        ArrayDocument { shape, chunk, dtype, fill, keys, sharding, layout, codecs, sizes, form }
    }

    /// Extents of what an object holds: a chunk, or a shard of them.
    pub fn object(&self) -> Vec<u64> {
        let counts = self.sharding.iter().flat_map(|sharding| &sharding.counts).copied().chain(std::iter::repeat(1));
        self.chunk.iter().zip(counts).map(|(extent, count)| extent.saturating_mul(count)).collect()
    }

    /// The longest body that can be a valid chunk.
    pub fn longest(&self) -> u64 {
        let header = match self.form {
            ChunkFormat::Bare | ChunkFormat::Half => 0,
            ChunkFormat::N5 => n5::block::header(self.shape.len()) as u64,
        };
        self.sizes.stored().saturating_add(header)
    }

    /// The codecs by name, for people.
    pub fn compression(&self) -> String {
        match self.codecs.as_slice() {
            [] => "uncompressed".to_owned(),
            codecs => codecs.iter().map(|codec| codec.name()).collect::<Vec<_>>().join(" + "),
        }
    }
}

/// Extents of an array and of its chunks, checked: as many of one as of the other, none of them 0, the bytes of a chunk
/// within bounds.
pub(super) struct Extents {
    /// Extents of the array: 1 to [`MAX_RANK`].
    pub shape: Vec<u64>,
    /// Extents of a chunk.
    pub chunk: Vec<u64>,
    chunk_bytes: usize,
}

impl Extents {
    /// Reads both from the fields that hold them.
    pub fn read(shape_field: &JsonField, chunk_field: &JsonField, dtype: DataType) -> Result<Self, SourceError> {
        let (shape, chunk) = (extents(shape_field)?, extents(chunk_field)?);
        Self::checked((shape_field, shape), (chunk_field, chunk), dtype)
    }

    /// The same of fields that list the axes the other way round.
    pub fn read_reversed(
        shape_field: &JsonField,
        chunk_field: &JsonField,
        dtype: DataType,
    ) -> Result<Self, SourceError> {
        let turned = |field| extents(field).map(|extents| extents.into_iter().rev().collect());
        Self::checked((shape_field, turned(shape_field)?), (chunk_field, turned(chunk_field)?), dtype)
    }

    /// Checks extents; the fields that they are from are named in complaints.
    pub fn checked(
        (shape_field, shape): (&JsonField, Vec<u64>),
        (chunk_field, chunk): (&JsonField, Vec<u64>),
        dtype: DataType,
    ) -> Result<Self, SourceError> {
        if shape.is_empty() {
            return Err(shape_field.unsupported("an array without axes").with_remedy(remedy::VOLUME));
        }
        if chunk.len() != shape.len() {
            let reason = format!("{} extents for an array of {} axes", chunk.len(), shape.len());
            return Err(chunk_field.malformed(reason));
        }
        if bytes_of(&shape, dtype).is_none() {
            let reason = format!("an array of {} has more bytes than 64 bits count", times(&shape));
            return Err(shape_field.malformed(reason));
        }
        let bounded = bytes_of(&chunk, dtype).filter(|&bytes| bytes <= MAX_CHUNK_BYTES);
        let chunk_bytes = bounded.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
            let reason = format!("a chunk of {} {dtype} voxels, more than 1 GiB,", times(&chunk));
            chunk_field.unsupported(reason).with_remedy(remedy::CHUNKS)
        })?;
        Ok(Extents { shape, chunk, chunk_bytes })
    }
}

pub(super) fn extents(field: &JsonField) -> Result<Vec<u64>, SourceError> {
    field.elements(MAX_RANK)?.iter().map(JsonField::extent).collect()
}

fn bytes_of(extents: &[u64], dtype: DataType) -> Option<u64> {
    extents.iter().try_fold(dtype.size() as u64, |bytes, &extent| bytes.checked_mul(extent))
}

fn times(extents: &[u64]) -> String {
    extents.iter().map(u64::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests;
