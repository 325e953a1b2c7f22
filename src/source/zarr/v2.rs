//! The array document of Zarr v2, `.zarray`. Format: the Zarr storage specification, version 2.

use super::array::{self, ArrayDocument, ArrayStorage, ChunkFormat, ChunkKeys, Extents, Separator};
use super::codec::BytesCodec;
use super::json::{self, JsonField, quoted};
use super::layout::{ByteOrder, c_order, f_order};
use super::{fill, numcodecs};
use crate::dtype::{DataType, FillValue};
use crate::source::{SourceError, remedy};

/// Members that every `.zarray` has.
pub(super) const MEMBERS: [&str; 4] = ["zarr_format", "shape", "chunks", "dtype"];

/// Reads a `.zarray` from `file`. Keys it does not know are left alone, those of codecs too: they matter to writers.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<ArrayDocument, SourceError> {
    let value = json::parse(file, bytes)?;
    let document = JsonField::root(file, &value)?;
    let format = document.member("zarr_format")?;
    if format.whole()? != 2 {
        return Err(format.malformed("a .zarray has format 2"));
    }
    let dtype_field = document.member("dtype")?;
    let (dtype, byte_order, form) = match dtype_field.value.as_str() {
        // Half the length is shown as the whole, which has a place for each of its values.
        Some("<f2") => (DataType::F32, ByteOrder::Little, ChunkFormat::Half),
        Some(">f2") => (DataType::F32, ByteOrder::Big, ChunkFormat::Half),
        Some("|b1") => (DataType::U8, ByteOrder::Little, ChunkFormat::Bare),
        _ => numcodecs::data_type(&dtype_field).map(|(dtype, order)| (dtype, order, ChunkFormat::Bare))?,
    };
    let extents = Extents::read(&document.member("shape")?, &document.member("chunks")?, form.stored(dtype))?;
    let fill = match document.optional("fill_value")? {
        Some(field) if form == ChunkFormat::Half => fill::half(&field)?,
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
    let separator = document.optional("dimension_separator")?.map(|field| Separator::parse(&field)).transpose()?;
    let mut codecs = Vec::new();
    if let Some(filters) = document.optional("filters")? {
        for field in filters.elements(array::MAX_CODECS)? {
            codecs.push(filter(&field)?);
        }
    }
    if let Some(compressor) = document.optional("compressor")? {
        codecs.push(codec(&compressor)?);
    }
    let is_guess = separator.is_none();
    let separator = separator.unwrap_or(Separator::Dot);
    let keys = ChunkKeys { prefixed: false, separator, reversed: false, is_guess };
    let storage = ArrayStorage { axes, byte_order, codecs, sharding: None, form };
    Ok(ArrayDocument::new(extents, dtype, fill, keys, storage))
}

fn codec(compressor: &JsonField) -> Result<BytesCodec, SourceError> {
    let id = compressor.member("id")?;
    let name = id.text()?;
    let known = numcodecs::compressor(name, Some(compressor))?;
    known.ok_or_else(|| id.unsupported(format!("compressor {}", quoted(name))).with_remedy(remedy::ZARR_CODEC))
}

/// Reads a filter, which is applied to the voxels before they are compressed.
fn filter(field: &JsonField) -> Result<BytesCodec, SourceError> {
    let id = field.member("id")?;
    match id.text()? {
        "delta" => numcodecs::delta(field).map(|(dtype, order)| BytesCodec::Delta(dtype, order)),
        "shuffle" => numcodecs::shuffle(field),
        other => Err(field.unsupported(format!("filter {}", quoted(other))).with_remedy(remedy::ZARR_CODEC)),
    }
}
