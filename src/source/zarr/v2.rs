//! The array document of Zarr v2, `.zarray`. Format: the Zarr storage specification, version 2.

use super::array::{self, ArrayDocument, ChunkKeys, Extents, Separator, Storage};
use super::codec::BytesCodec;
use super::fill;
use super::json::{self, Field, quoted};
use super::layout::{ByteOrder, c_order, f_order};
use crate::dtype::{DataType, FillValue};
use crate::source::SourceError;

/// Reads a `.zarray` from `file`. Keys it does not know are left alone, those of codecs too: they matter to writers.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<ArrayDocument, SourceError> {
    let value = json::parse(file, bytes)?;
    let document = Field::root(file, &value)?;
    let format = document.member("zarr_format")?;
    if format.whole()? != 2 {
        return Err(format.malformed("a .zarray has format 2"));
    }
    let (dtype, byte_order) = data_type(&document.member("dtype")?)?;
    let extents = Extents::read(&document.member("shape")?, &document.member("chunks")?, dtype)?;
    let fill = match document.optional("fill_value")? {
        Some(field) => fill::parse(&field, dtype)?,
        // `null` leaves absent voxels undefined; every reader shows zeros.
        None => FillValue::zero(dtype),
    };
    let order = document.member("order")?;
    let axes = match order.text()? {
        "C" => c_order(extents.shape.len()),
        "F" => f_order(extents.shape.len()),
        other => return Err(order.malformed(format!("{} is neither `C` nor `F`", quoted(other)))),
    };
    let separator = match document.optional("dimension_separator")? {
        Some(field) => Separator::parse(&field)?,
        None => Separator::Dot,
    };
    if let Some(filters) = document.optional("filters")?
        && let Some(filter) = filters.elements(array::MAX_CODECS)?.first()
    {
        return Err(filter.unsupported(format!("filter {}", quoted(filter.member("id")?.text()?))));
    }
    let codecs = match document.optional("compressor")? {
        Some(compressor) => vec![codec(&compressor)?],
        None => Vec::new(),
    };
    let keys = ChunkKeys { prefixed: false, separator };
    let storage = Storage { axes, byte_order, codecs, sharding: None };
    Ok(ArrayDocument::new(extents, dtype, fill, keys, storage))
}

fn codec(compressor: &Field) -> Result<BytesCodec, SourceError> {
    let id = compressor.member("id")?;
    let name = id.text()?;
    // A checksum is no compressor of this version.
    BytesCodec::named(name)
        .filter(|codec| *codec != BytesCodec::Crc32c)
        .ok_or_else(|| id.unsupported(format!("compressor {}", quoted(name))))
}

/// Reads a numpy type: byte order, kind, bytes.
fn data_type(field: &Field) -> Result<(DataType, ByteOrder), SourceError> {
    if field.value.is_array() {
        return Err(field.unsupported("a structured type"));
    }
    let text = field.text()?;
    let unsupported = || field.unsupported(format!("type {}", quoted(text)));
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
