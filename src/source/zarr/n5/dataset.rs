//! The attributes of an array of N5.

use crate::dtype::{DataType, FillValue};
use crate::source::zarr::array::{ArrayDocument, ArrayStorage, ChunkFormat, ChunkKeys, Extents, Separator};
use crate::source::zarr::codec::BytesCodec;
use crate::source::zarr::json::{JsonField, quoted};
use crate::source::zarr::layout::{ByteOrder, c_order};
use crate::source::{SourceError, remedy};

/// Whether these are the attributes of an array and not of a group.
pub(super) fn is_array(document: &JsonField) -> Result<bool, SourceError> {
    Ok(document.optional("dimensions")?.is_some() && document.optional("blockSize")?.is_some())
}

/// Refuses Paintera's labels of which a voxel has several, whose blocks hold lists and not voxels, whatever `dataType` says.
pub(super) fn refuse_multisets(document: &JsonField) -> Result<(), SourceError> {
    match document.optional("isLabelMultiset")? {
        Some(flag) if flag.value.as_bool() == Some(true) => {
            let what = "Paintera's multisets of labels are lists of labels for each voxel, which emfs does not read";
            Err(flag
                .malformed(format!("{what}; make one label for each voxel of them, by `paintera-convert to-scalar`")))
        }
        _ => Ok(()),
    }
}

/// Reads them. Axes are turned: N5 lists the fastest first.
pub(super) fn read(document: &JsonField) -> Result<ArrayDocument, SourceError> {
    refuse_multisets(document)?;
    let dtype = data_type(&document.member("dataType")?)?;
    let (shape, block) = (document.member("dimensions")?, document.member("blockSize")?);
    let extents = Extents::read_reversed(&shape, &block, dtype)?;
    let codecs = match (document.optional("compression")?, document.optional("compressionType")?) {
        (Some(compression), _) => compression_of(&compression)?,
        (None, Some(name)) => codec(&name, false)?,
        (None, None) => return Err(document.member("compression").err().unwrap_or_else(|| document.malformed(""))),
    };
    let keys = ChunkKeys { prefixed: false, separator: Separator::Slash, reversed: true, is_guess: false };
    let axes = c_order(extents.shape.len());
    let storage = ArrayStorage { axes, byte_order: ByteOrder::Big, codecs, sharding: None, form: ChunkFormat::N5 };
    Ok(ArrayDocument::new(extents, dtype, FillValue::zero(dtype), keys, storage))
}

fn data_type(field: &JsonField) -> Result<DataType, SourceError> {
    let name = field.text()?;
    // zarr-python 2 writes booleans as bytes of 0 and 1.
    let known =
        DataType::ALL.into_iter().find(|dtype| dtype.name() == name).or((name == "bool").then_some(DataType::U8));
    known.ok_or_else(|| field.unsupported(format!("type {}", quoted(name))).with_remedy(remedy::ZARR_TYPE))
}

fn compression_of(field: &JsonField) -> Result<Vec<BytesCodec>, SourceError> {
    let is_zlib = field.optional("useZlib")?.is_some_and(|flag| flag.value.as_bool() == Some(true));
    let name = field.member("type")?;
    // zarr-python 2 has its own, and adds what it calls it; lz4-java has a `blockSize`, which may be left out.
    let is_numcodecs = |key: &str| Ok::<_, SourceError>(field.optional(key)?.is_some());
    if name.text()? == "lz4" && !is_numcodecs("blockSize")? && (is_numcodecs("id")? || is_numcodecs("acceleration")?) {
        return Ok(vec![BytesCodec::Lz4]);
    }
    codec(&name, is_zlib)
}

fn codec(name: &JsonField, is_zlib: bool) -> Result<Vec<BytesCodec>, SourceError> {
    let codec = match name.text()? {
        "raw" => return Ok(Vec::new()),
        "gzip" if is_zlib => BytesCodec::Zlib,
        "gzip" => BytesCodec::Gzip,
        "zlib" => BytesCodec::Zlib,
        "bzip2" => BytesCodec::Bzip2,
        "xz" => BytesCodec::Xz,
        "lz4" => BytesCodec::Lz4Java,
        "blosc" => BytesCodec::Blosc,
        "zstd" => BytesCodec::Zstd,
        other => {
            let reason = format!("compression {}", quoted(other));
            return Err(name.unsupported(reason).with_remedy(remedy::N5_CODEC));
        }
    };
    Ok(vec![codec])
}
