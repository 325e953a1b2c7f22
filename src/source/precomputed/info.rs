//! The document `info`: what a volume is and how its chunks are stored. It lists axes as `x, y, z`; here all triples are
//! `z, y, x` as everywhere.
//!
//! Format: <https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.rst>.

use super::segmentation::BlockShape;
use super::sharding::{Hash, MAX_MINISHARD_BITS, ShardEncoding, VolumeSharding};
use crate::dtype::DataType;
use crate::geometry::{Grid, Shape};
use crate::source::json::{self, JsonField, brief, quoted};
use crate::source::precomputed::morton;
use crate::source::{SourceError, remedy};

/// Levels that the rest of emfs can number.
const MAX_SCALES: usize = 31;

/// Choices of chunk sizes that a scale may offer.
const MAX_CHUNK_SIZES: usize = 64;

/// Bytes of one decoded chunk. A chunk has to fit into memory several times over while it is decoded.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// Channels of a volume; real ones have one to some dozens.
const MAX_CHANNELS: u64 = 1 << 16;

/// What the document says.
#[derive(Debug, Clone)]
pub(super) struct Info {
    /// Type of a voxel.
    pub dtype: DataType,
    /// Whether voxels are numbers of things.
    pub is_segmentation: bool,
    /// Which channel is shown.
    pub channel: Channel,
    /// Finest first; never empty.
    pub scales: Vec<Scale>,
    /// The scales that cannot be shown, by their keys, and why.
    pub left_out: Vec<(Option<String>, SourceError)>,
}

/// One of the channels, which follow each other in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channel {
    /// Its number, below `of`.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// One level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// Folder of its chunks, relative to that of the document; may lead out of it by `..`.
    pub key: String,
    /// The array and its chunks; none is empty, and a chunk is at most 1 GiB with all channels.
    pub grid: Grid,
    /// Position of the first voxel in voxels of this scale.
    pub offset: [i64; 3],
    /// Nanometres per voxel.
    pub resolution: [f64; 3],
    /// How a chunk's voxels are stored.
    pub codec: VoxelEncoding,
    /// How chunks are put together in files; `None` where each is an object of its own.
    pub sharding: Option<VolumeSharding>,
}

/// Encodings of voxels that emfs reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VoxelEncoding {
    Raw,
    Jpeg,
    Png,
    /// `compressed_segmentation` of blocks of that shape.
    Segmentation(BlockShape),
}

impl VoxelEncoding {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            VoxelEncoding::Raw => "raw",
            VoxelEncoding::Jpeg => "JPEG (lossy)",
            VoxelEncoding::Png => "PNG",
            VoxelEncoding::Segmentation(_) => "compressed_segmentation",
        }
    }
}

/// Reads the document `file`; `channel` is the one that is asked for.
pub(super) fn parse(file: &str, bytes: &[u8], channel: Option<u64>) -> Result<Info, SourceError> {
    let value = json::parse(file, bytes)?;
    let document = JsonField::root(file, &value)?;
    if let Some(kind) = document.optional("@type")?
        && kind.text()? != "neuroglancer_multiscale_volume"
    {
        return Err(kind.unsupported(quoted(kind.text()?)));
    }
    refuse_computed(&document)?;
    let dtype = data_type(&document.member("data_type")?)?;
    let is_segmentation = document.optional("type")?.is_some_and(|kind| kind.value == "segmentation");
    let channel = self::channel(&document.member("num_channels")?, channel)?;
    let list = document.member("scales")?;
    let (mut scales, mut left_out) = (Vec::new(), Vec::new());
    for field in list.elements(MAX_SCALES)? {
        match scale(&field, dtype, channel) {
            Ok(scale) => scales.push(scale),
            Err(error) => left_out.push((field.optional("key").ok().flatten().map(|key| brief(key.value)), error)),
        }
    }
    if scales.is_empty() {
        let first = left_out.into_iter().next().map(|(_, error)| error);
        return Err(first.unwrap_or_else(|| list.malformed("there is no scale")));
    }
    // They are written finest first, apart from hidden ones, which may stand anywhere. Equal ones keep their order.
    let volume = |scale: &Scale| scale.resolution.iter().product::<f64>();
    scales.sort_by(|a, b| volume(a).total_cmp(&volume(b)));
    Ok(Info { dtype, is_segmentation, channel, scales, left_out })
}

/// Refuses the `info` that a PyChunkedGraph server answers with: it is made as that of a volume, but no chunk is anywhere.
fn refuse_computed(document: &JsonField) -> Result<(), SourceError> {
    let (graph, data, app) = (document.optional("graph")?, document.optional("data_dir")?, document.optional("app")?);
    match graph.filter(|graph| graph.value.is_object() && (data.is_some() || app.is_some())) {
        Some(graph) => Err(graph
            .unsupported("`graphene://`, a segmentation that a PyChunkedGraph server computes,")
            .with_remedy("a flat copy of it has a `precomputed://` address")),
        None => Ok(()),
    }
}

/// Reads the number of channels and chooses the one that is asked for, or the only one.
fn channel(field: &JsonField, wanted: Option<u64>) -> Result<Channel, SourceError> {
    let of = field.whole()?;
    match (of, wanted) {
        (0, _) => Err(field.malformed("a volume without channels")),
        (MAX_CHANNELS.., _) => Err(field.unsupported(format!("a volume of {of} channels"))),
        (2.., None) => {
            let remedy = format!("write `channel = N`, 0 to {}, beside `url` to show one", of - 1);
            Err(field.malformed(format!("there are {of} channels; {remedy}")))
        }
        (_, Some(wanted)) if wanted >= of => {
            Err(field.malformed(format!("`channel = {wanted}` is asked for, but the last one of {of} is {}", of - 1)))
        }
        // Both are below the bound.
        _ => Ok(Channel { number: wanted.unwrap_or(0) as usize, of: of as usize }),
    }
}

fn data_type(field: &JsonField) -> Result<DataType, SourceError> {
    let name = field.text()?;
    // The format has no 64-bit integers with a sign and no 64-bit floating point.
    DataType::ALL
        .into_iter()
        .find(|dtype| !matches!(dtype, DataType::I64 | DataType::F64) && dtype.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| field.unsupported(format!("type {}", quoted(name))).with_remedy(remedy::PRECOMPUTED_TYPE))
}

fn scale(field: &JsonField, dtype: DataType, channel: Channel) -> Result<Scale, SourceError> {
    let size = field.member("size")?;
    let shape = Shape(triple(&size, JsonField::extent)?);
    if shape.bytes(dtype.size()).is_none() {
        return Err(size.malformed(format!("an array of {shape} has more bytes than 64 bits count")));
    }
    let choices = field.member("chunk_sizes")?;
    let choices = (choices.elements(MAX_CHUNK_SIZES)?, choices);
    let Some(first) = choices.0.first() else { return Err(choices.1.malformed("there is no chunk size")) };
    let cell = Shape(triple(first, JsonField::extent)?);
    let bytes = cell.bytes(dtype.size()).and_then(|bytes| bytes.checked_mul(channel.of as u64));
    if bytes.is_none_or(|bytes| bytes > MAX_CHUNK_BYTES) {
        let reason = format!("a chunk of {cell} {dtype} voxels in {} channels, more than 1 GiB,", channel.of);
        return Err(first.unsupported(reason).with_remedy(remedy::CHUNKS));
    }
    let grid = Grid { shape, cell };
    let offset = match field.optional("voxel_offset")? {
        Some(offset) => triple(&offset, JsonField::position)?,
        None => [0; 3],
    };
    // Chunks of an unsharded volume are named by the positions of their ends.
    if (0..3).any(|axis| i128::from(offset[axis]) + i128::from(shape.0[axis]) > i128::from(i64::MAX)) {
        return Err(size.malformed("the array ends beyond what 64 bits count"));
    }
    let resolution = field.member("resolution")?;
    let nanometres = triple(&resolution, JsonField::finite)?;
    if nanometres.iter().any(|&nanometres| nanometres <= 0.0) {
        return Err(resolution.malformed("a voxel's extent must be above 0"));
    }
    let sharding = match field.optional("sharding")? {
        Some(sharding) if choices.0.len() > 1 => {
            return Err(sharding.malformed(format!("a sharded scale has one chunk size, not {}", choices.0.len())));
        }
        Some(sharding) if morton::code_bits(grid.counts()) > u64::BITS => {
            return Err(sharding.malformed("the grid has more chunks than 64 bits number"));
        }
        Some(sharding) => Some(self::sharding(&sharding)?),
        None => None,
    };
    let key = field.member("key")?;
    if key.text()?.contains("://") || key.text()?.starts_with('/') {
        return Err(key.unsupported(format!("{}, which is no relative path,", quoted(key.text()?))));
    }
    Ok(Scale {
        key: key.text()?.to_owned(),
        grid,
        offset,
        resolution: nanometres,
        codec: codec(field, dtype, channel)?,
        sharding,
    })
}

fn codec(scale: &JsonField, dtype: DataType, channel: Channel) -> Result<VoxelEncoding, SourceError> {
    let field = scale.member("encoding")?;
    let (codec, types): (VoxelEncoding, &[DataType]) = match field.text()?.to_ascii_lowercase().as_str() {
        "raw" => (VoxelEncoding::Raw, &DataType::ALL),
        "jpeg" => (VoxelEncoding::Jpeg, &[DataType::U8]),
        "png" => (VoxelEncoding::Png, &[DataType::U8, DataType::U16]),
        "compressed_segmentation" => {
            let block = scale.member("compressed_segmentation_block_size")?;
            let shape = BlockShape::new(triple(&block, JsonField::extent)?);
            let shape = shape.ok_or_else(|| block.unsupported("a block whose indices take more than 1 GiB"))?;
            (VoxelEncoding::Segmentation(shape), &[DataType::U32, DataType::U64])
        }
        name @ ("compresso" | "crackle" | "fpzip" | "kempressed" | "zfpc" | "jxl") => {
            return Err(field.unsupported(format!("the encoding {}", quoted(name))).with_remedy(remedy::ENCODING));
        }
        name => {
            let reason = format!("the unknown encoding {}", quoted(name));
            return Err(field.unsupported(reason).with_remedy(remedy::ENCODING));
        }
    };
    if !types.contains(&dtype) {
        return Err(field.malformed(format!("{} cannot hold {dtype} voxels", quoted(field.text()?))));
    }
    // Those of a pixel in a picture.
    let is_pictured = match codec {
        VoxelEncoding::Jpeg => matches!(channel.of, 1 | 3),
        VoxelEncoding::Png => channel.of <= 4,
        VoxelEncoding::Raw | VoxelEncoding::Segmentation(_) => true,
    };
    if !is_pictured {
        let reason = format!("{} of {} channels", codec.name(), channel.of);
        return Err(field.unsupported(reason).with_remedy(remedy::ENCODING));
    }
    Ok(codec)
}

fn sharding(field: &JsonField) -> Result<VolumeSharding, SourceError> {
    let kind = field.member("@type")?;
    if kind.text()? != "neuroglancer_uint64_sharded_v1" {
        return Err(kind.unsupported(quoted(kind.text()?)));
    }
    let hash = field.member("hash")?;
    let hash = match hash.text()? {
        "identity" => Hash::Identity,
        "murmurhash3_x86_128" => Hash::Murmur,
        name => return Err(hash.unsupported(quoted(name))),
    };
    let minishard_bits = bits(&field.member("minishard_bits")?, MAX_MINISHARD_BITS)?;
    let shard_bits = bits(&field.member("shard_bits")?, u64::BITS - minishard_bits)?;
    Ok(VolumeSharding {
        preshift_bits: bits(&field.member("preshift_bits")?, u64::BITS)?,
        hash,
        minishard_bits,
        shard_bits,
        index_encoding: encoding(field.optional("minishard_index_encoding")?)?,
        data_encoding: encoding(field.optional("data_encoding")?)?,
    })
}

fn bits(field: &JsonField, most: u32) -> Result<u32, SourceError> {
    let number = field.whole()?;
    u32::try_from(number)
        .ok()
        .filter(|&bits| bits <= most)
        .ok_or_else(|| field.malformed(format!("{number} bits where {most} are the most")))
}

fn encoding(field: Option<JsonField>) -> Result<ShardEncoding, SourceError> {
    let Some(field) = field else { return Ok(ShardEncoding::Raw) };
    match field.text()? {
        "raw" => Ok(ShardEncoding::Raw),
        "gzip" => Ok(ShardEncoding::Gzip),
        name => Err(field.unsupported(quoted(name))),
    }
}

/// Three values, turned from `x, y, z` to `z, y, x`.
fn triple<'a, T: Copy>(
    field: &JsonField<'a>,
    read: impl Fn(&JsonField<'a>) -> Result<T, SourceError>,
) -> Result<[T; 3], SourceError> {
    match field.elements(3)?.as_slice() {
        [x, y, z] => Ok([read(z)?, read(y)?, read(x)?]),
        other => Err(field.malformed(format!("{} values for three axes", other.len()))),
    }
}

#[cfg(test)]
#[path = "tests/info.rs"]
mod tests;
