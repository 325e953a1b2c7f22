//! Codecs by the names and with the configurations of numcodecs, as both versions of Zarr list them: Zarr v2 in
//! `compressor` and `filters`, zarr-python 3 as codecs named `numcodecs.…`.

use super::codec::BytesCodec;
use super::json::{JsonField, quoted};
use super::layout::ByteOrder;
use crate::dtype::DataType;
use crate::source::{SourceError, remedy};

/// Longest word whose bytes may be shuffled.
const MAX_WORD: usize = 256;

/// The compressor of that name; `None` where it is none that is read. `configuration`: what is said of it.
pub(super) fn compressor(name: &str, configuration: Option<&JsonField>) -> Result<Option<BytesCodec>, SourceError> {
    let format = configuration.filter(|_| name == "lzma").map(|lzma| lzma.optional("format")).transpose()?.flatten();
    if let Some(format) = format
        && !(1..=2).contains(&format.whole()?)
    {
        return Err(format.unsupported("lzma without a header").with_remedy(remedy::ZARR_CODEC));
    }
    // A checksum is no compressor.
    Ok(BytesCodec::named(name).filter(|codec| *codec != BytesCodec::Crc32c))
}

/// A codec of bytes that zarr-python 3 lists behind `numcodecs.`.
pub(super) fn of_bytes(name: &str, configuration: Option<&JsonField>) -> Result<Option<BytesCodec>, SourceError> {
    match (name, configuration) {
        ("shuffle", Some(configuration)) => shuffle(configuration).map(Some),
        ("shuffle", None) => Ok(Some(BytesCodec::Shuffle(WORD))),
        _ => compressor(name, configuration),
    }
}

/// Bytes of a word where that is not said.
const WORD: usize = 4;

/// Reads `shuffle`.
pub(super) fn shuffle(configuration: &JsonField) -> Result<BytesCodec, SourceError> {
    let size = configuration.optional("elementsize")?.map_or(Ok(WORD as u64), |size| size.extent())?;
    let bounded = usize::try_from(size).ok().filter(|size| *size <= MAX_WORD);
    bounded
        .map(BytesCodec::Shuffle)
        .ok_or_else(|| configuration.unsupported(format!("words of {size} bytes")).with_remedy(remedy::ZARR_CODEC))
}

/// Reads the type of `delta`, whose differences must be of the same.
pub(super) fn delta(configuration: &JsonField) -> Result<(DataType, ByteOrder), SourceError> {
    let (dtype, order) = data_type(&configuration.member("dtype")?)?;
    match configuration.optional("astype")? {
        Some(stored) if data_type(&stored)? != (dtype, order) => {
            Err(stored.unsupported(format!("delta of {dtype} as another type")).with_remedy(remedy::ZARR_CODEC))
        }
        _ => Ok((dtype, order)),
    }
}

/// Reads a `delta` of Zarr v3, which is applied to voxels of the type `dtype` before they become bytes in that order.
pub(super) fn delta_of_voxels(
    configuration: &JsonField,
    dtype: DataType,
    byte_order: ByteOrder,
) -> Result<BytesCodec, SourceError> {
    let (stated, order) = delta(configuration)?;
    let is_float = |dtype| matches!(dtype, DataType::F32 | DataType::F64);
    // Sums of numbers with a sign have the same bits.
    let is_same = stated == dtype || (stated.size() == dtype.size() && !is_float(stated) && !is_float(dtype));
    if !is_same {
        let reason = format!("`delta` of {stated} for voxels of {dtype}");
        return Err(configuration.unsupported(reason).with_remedy(remedy::ZARR_CODEC));
    }
    // zarr-python takes the voxels in memory for such ones, whose bytes are the other way round there.
    if order == ByteOrder::Big {
        let reason = "`delta` of big-endian numbers";
        return Err(configuration.unsupported(reason).with_remedy(remedy::ZARR_CODEC));
    }
    Ok(BytesCodec::Delta(dtype, byte_order))
}

/// Reads a numpy type: byte order, kind, bytes.
pub(super) fn data_type(field: &JsonField) -> Result<(DataType, ByteOrder), SourceError> {
    if field.value.is_array() {
        return Err(field.unsupported("a structured type").with_remedy(remedy::ZARR_TYPE));
    }
    let text = field.text()?;
    let unsupported = || field.unsupported(format!("type {}", quoted(text))).with_remedy(remedy::ZARR_TYPE);
    let mut rest = text.chars();
    let order = rest.next().ok_or_else(unsupported)?;
    let dtype = match rest.as_str() {
        "u1" => DataType::U8,
        "i1" => DataType::I8,
        "u2" => DataType::U16,
        "i2" => DataType::I16,
        "u4" => DataType::U32,
        "i4" => DataType::I32,
        "u8" => DataType::U64,
        "i8" => DataType::I64,
        "f4" => DataType::F32,
        "f8" => DataType::F64,
        _ => return Err(unsupported()),
    };
    match order {
        '<' => Ok((dtype, ByteOrder::Little)),
        '>' => Ok((dtype, ByteOrder::Big)),
        '|' if dtype.size() == 1 => Ok((dtype, ByteOrder::Little)),
        _ => Err(field.malformed(format!("{} has no byte order", quoted(text)))),
    }
}
