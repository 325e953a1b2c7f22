//! The chain of codecs of an array of Zarr v3, and the one of an index of shards.

use super::array::{self, ArrayStorage, ChunkFormat, Extents};
use super::codec::{BytesCodec, Sizes};
use super::extension::Extension;
use super::json::{JsonField, quoted};
use super::layout::{ByteOrder, c_order};
use super::numcodecs;
use super::sharding::{self, ArraySharding, IndexEnd};
use crate::dtype::DataType;
use crate::source::{SourceError, remedy};

/// What the codecs are applied to.
pub(super) enum Chain<'a> {
    /// A chunk, which is an object.
    Chunk(ArrayStorage),
    /// A shard, which is an object of several chunks.
    Shard(Shard<'a>),
}

/// What is said of shards.
pub(super) struct Shard<'a> {
    /// The storage of a chunk.
    storage: ArrayStorage,
    /// For each axis of a shard, slowest first, the axis of the array that it is.
    axes: Vec<usize>,
    /// Extents of a chunk along those axes.
    chunk_shape: JsonField<'a>,
    index_codecs: Option<JsonField<'a>>,
    location: IndexEnd,
}

/// Reads the chain: any number of `transpose` and `numcodecs.delta`, then `bytes` and codecs of bytes, or `sharding_indexed`
/// alone. An unknown codec is refused whatever it says of being understood: without it the bytes would be others. `axes`: those
/// of the array as they come into the chain.
pub(super) fn read<'a>(field: &JsonField<'a>, mut axes: Vec<usize>, dtype: DataType) -> Result<Chain<'a>, SourceError> {
    let mut byte_order = None;
    let mut codecs = Vec::new();
    let mut deltas = Vec::new();
    let mut shard = None;
    for element in field.elements(array::MAX_CODECS)? {
        let codec = Extension::read(element.clone())?;
        if shard.is_some() {
            // Where it is compressed as a whole, no part of a shard can be read alone.
            let reason = format!("codec {} after `sharding_indexed`", quoted(codec.name));
            return Err(element.unsupported(reason).with_remedy(remedy::ZARR_SHARDS));
        }
        match (codec.name, byte_order) {
            ("transpose", None) => axes = transpose(&codec.member("order")?, &axes)?,
            (DELTA, None) => deltas.push(codec),
            // Until September 2023 `bytes` was `endian`.
            ("bytes" | "endian", None) => byte_order = Some(endian(&codec, dtype)?),
            ("sharding_indexed", None) if deltas.is_empty() => shard = Some(self::shard(&codec, &axes, dtype)?),
            _ => {
                let known = of_bytes(&codec)?;
                let is_of_voxels = matches!(codec.name, "transpose" | "bytes" | "endian" | "sharding_indexed" | DELTA);
                match (known, byte_order) {
                    (Some(known), Some(_)) => codecs.push(known),
                    (None, _) if !is_of_voxels => {
                        let reason = format!("codec {}", quoted(codec.name));
                        return Err(element.unsupported(reason).with_remedy(remedy::ZARR_CODEC));
                    }
                    _ => {
                        return Err(
                            element.malformed(format!("codec {} stands in the wrong place", quoted(codec.name)))
                        );
                    }
                }
            }
        }
    }
    match (shard, byte_order) {
        (Some(shard), _) => Ok(Chain::Shard(shard)),
        (None, Some(byte_order)) => {
            let deltas = deltas.iter().map(|codec| delta(codec, &axes, dtype, byte_order));
            let codecs = deltas.chain(codecs.into_iter().map(Ok)).collect::<Result<_, _>>()?;
            Ok(Chain::Chunk(ArrayStorage { axes, byte_order, codecs, sharding: None, form: ChunkFormat::Bare }))
        }
        (None, None) => Err(field.malformed("codec `bytes` is missing")),
    }
}

/// The filter that zarr-python applies to voxels.
const DELTA: &str = "numcodecs.delta";

/// A codec of bytes by its name in Zarr v3, or by the one that zarr-python gives to those of numcodecs.
fn of_bytes(codec: &Extension) -> Result<Option<BytesCodec>, SourceError> {
    let configuration = codec.configuration()?;
    match codec.name.strip_prefix("numcodecs.") {
        Some(name) => numcodecs::of_bytes(name, configuration.as_ref()),
        None if codec.name == BytesCodec::Crc32c.name() => Ok(Some(BytesCodec::Crc32c)),
        None => numcodecs::compressor(codec.name, configuration.as_ref()),
    }
}

fn delta(codec: &Extension, axes: &[usize], dtype: DataType, byte_order: ByteOrder) -> Result<BytesCodec, SourceError> {
    // In which order numcodecs goes through an array depends on how it lies in memory.
    if axes.iter().enumerate().any(|(place, axis)| place != *axis) {
        let reason = format!("`{DELTA}` together with `transpose`");
        return Err(codec.field.unsupported(reason).with_remedy(remedy::ZARR_CODEC));
    }
    let configuration = codec.configuration()?;
    let configuration = configuration.ok_or_else(|| codec.field.malformed("`configuration` is missing"))?;
    numcodecs::delta_of_voxels(&configuration, dtype, byte_order)
}

fn shard<'a>(codec: &Extension<'a>, axes: &[usize], dtype: DataType) -> Result<Shard<'a>, SourceError> {
    let inner = codec.member("codecs")?;
    let Chain::Chunk(storage) = read(&inner, axes.to_vec(), dtype)? else {
        let reason = "`sharding_indexed` within `sharding_indexed`";
        return Err(inner.unsupported(reason).with_remedy(remedy::ZARR_SHARDS));
    };
    let location = match codec.optional("index_location")? {
        None => IndexEnd::End,
        Some(field) => match field.text()? {
            "start" => IndexEnd::Start,
            "end" => IndexEnd::End,
            other => return Err(field.malformed(format!("{} is neither `start` nor `end`", quoted(other)))),
        },
    };
    let chunk_shape = codec.member("chunk_shape")?;
    let index_codecs = codec.optional("index_codecs")?;
    Ok(Shard { storage, axes: axes.to_vec(), chunk_shape, index_codecs, location })
}

impl Shard<'_> {
    /// Puts it together with the shape of the array and that of a shard.
    pub fn read(
        self,
        shape: &JsonField,
        shard_shape: &JsonField,
        dtype: DataType,
    ) -> Result<(Extents, ArrayStorage), SourceError> {
        let Shard { mut storage, axes, chunk_shape, index_codecs, location } = self;
        let (shard, stored) = (array::extents(shard_shape)?, array::extents(&chunk_shape)?);
        for (extents, field) in [(&shard, shard_shape), (&stored, &chunk_shape)] {
            if extents.len() != axes.len() {
                let reason = format!("{} extents for an array of {} axes", extents.len(), axes.len());
                return Err(field.malformed(reason));
            }
        }
        let mut chunk = vec![0; axes.len()];
        axes.iter().zip(stored).for_each(|(&axis, extent)| chunk[axis] = extent);
        if shard.iter().zip(&chunk).any(|(shard, chunk)| shard % chunk != 0) {
            return Err(chunk_shape.malformed("the extents of a shard are no multiples of those of its chunks"));
        }
        let counts: Vec<u64> = shard.iter().zip(&chunk).map(|(shard, chunk)| shard / chunk).collect();
        let chunks = counts.iter().try_fold(1u64, |chunks, count| chunks.checked_mul(*count));
        let chunks = chunks.filter(|chunks| *chunks <= sharding::MAX_CHUNKS).ok_or_else(|| {
            let reason = format!("a shard of more than {} chunks", sharding::MAX_CHUNKS);
            chunk_shape.unsupported(reason).with_remedy(remedy::ZARR_SHARDS)
        })?;
        let index = index(index_codecs.as_ref(), axes.len() + 1)?;
        // The index is an array of the chunks of a shard, of two numbers each.
        let extents: Vec<u64> = axes.iter().map(|&axis| counts[axis]).chain([2]).collect();
        let (mut steps, mut step) = (vec![0; extents.len()], 1);
        for &axis in index.axes.iter().rev() {
            steps[axis] = step;
            step *= extents[axis];
        }
        let mut strides = vec![0; axes.len()];
        axes.iter().zip(&steps).for_each(|(&axis, &step)| strides[axis] = step);
        let sizes = Sizes::of_chain(sharding::plain_bytes(chunks), &index.codecs);
        let ArrayStorage { byte_order, codecs, .. } = index;
        let length_step = steps[axes.len()];
        storage.sharding = Some(ArraySharding { counts, strides, length_step, location, byte_order, codecs, sizes });
        Ok((Extents::checked((shape, array::extents(shape)?), (&chunk_shape, chunk), dtype)?, storage))
    }
}

/// How an index of that many axes is stored. Where that is not said, it is as all writers have it: its checksum will tell.
fn index(field: Option<&JsonField>, rank: usize) -> Result<ArrayStorage, SourceError> {
    let plain = |codecs| ArrayStorage {
        axes: c_order(rank),
        byte_order: ByteOrder::Little,
        codecs,
        sharding: None,
        form: ChunkFormat::Bare,
    };
    let Some(field) = field else { return Ok(plain(vec![BytesCodec::Crc32c])) };
    if field.elements(array::MAX_CODECS)?.is_empty() {
        return Ok(plain(Vec::new()));
    }
    let Chain::Chunk(storage) = read(field, c_order(rank), DataType::U64)? else {
        return Err(field.malformed("an index has no shards"));
    };
    match storage.codecs.iter().find(|codec| **codec != BytesCodec::Crc32c) {
        Some(codec) => Err(field.malformed(format!("`{}` gives no index of a fixed length", codec.name()))),
        None => Ok(storage),
    }
}

fn endian(codec: &Extension, dtype: DataType) -> Result<ByteOrder, SourceError> {
    match codec.optional("endian")? {
        Some(endian) => match endian.text()? {
            "little" => Ok(ByteOrder::Little),
            "big" => Ok(ByteOrder::Big),
            other => Err(endian.malformed(format!("{} is neither `little` nor `big`", quoted(other)))),
        },
        None if dtype.size() == 1 => Ok(ByteOrder::Little),
        None => Err(codec.field.malformed(format!("`configuration.endian` is missing for {dtype}"))),
    }
}

/// Applies a permutation of axes to those of storage. Until September 2023 it could also be written as `C`, the order in which
/// they are, or `F`, the reverse.
fn transpose(order: &JsonField, axes: &[usize]) -> Result<Vec<usize>, SourceError> {
    match order.value.as_str() {
        Some("C") => return Ok(axes.to_vec()),
        Some("F") => return Ok(axes.iter().rev().copied().collect()),
        Some(other) => return Err(order.malformed(format!("{} is neither `C` nor `F`", quoted(other)))),
        None => {}
    }
    let elements = order.elements(axes.len())?;
    let permuted = elements
        .iter()
        .map(|element| {
            let index = usize::try_from(element.whole()?).ok().and_then(|index| axes.get(index));
            index.copied().ok_or_else(|| element.malformed(format!("there are {} axes", axes.len())))
        })
        .collect::<Result<Vec<usize>, _>>()?;
    let complete = (0..axes.len()).all(|axis| permuted.contains(&axis));
    if complete { Ok(permuted) } else { Err(order.malformed("it is no permutation of the axes")) }
}
