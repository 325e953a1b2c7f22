//! The documents of Zarr v3, `zarr.json`. Format: the Zarr core specification, version 3.1.

use serde_json::Value;

use super::array::{self, ArrayDocument, ChunkFormat, ChunkKeys, Extents, Separator};
use super::chain::{self, Chain};
use super::extension::Extension;
use super::fill;
use super::json::{self, JsonField, quoted};
use super::layout::c_order;
use crate::dtype::DataType;
use crate::source::{SourceError, remedy};

/// Members that the document of every array has.
pub(super) const MEMBERS: [&str; 4] = ["zarr_format", "node_type", "shape", "data_type"];

/// Members of an array document that the specification names.
const ARRAY_MEMBERS: [&str; 11] = [
    "zarr_format",
    "node_type",
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "fill_value",
    "codecs",
    "attributes",
    "storage_transformers",
    "dimension_names",
];

/// Members of a group document; the last one is a copy of other documents that emfs does not rely on.
const GROUP_MEMBERS: [&str; 4] = ["zarr_format", "node_type", "attributes", "consolidated_metadata"];

/// What a `zarr.json` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeType {
    Group,
    Array,
}

/// Says what a `zarr.json` is about.
pub(super) fn node(document: &JsonField) -> Result<NodeType, SourceError> {
    let format = document.member("zarr_format")?;
    if format.whole()? != 3 {
        return Err(format.malformed("a zarr.json has format 3"));
    }
    let kind = document.member("node_type")?;
    match kind.text()? {
        "group" => Ok(NodeType::Group),
        "array" => Ok(NodeType::Array),
        other => Err(kind.malformed(format!("{} is neither `group` nor `array`", quoted(other)))),
    }
}

/// Refuses members that the specification does not name, unless they say that they may be ignored.
pub(super) fn check_members(document: &JsonField, node: NodeType) -> Result<(), SourceError> {
    let known = match node {
        NodeType::Group => GROUP_MEMBERS.as_slice(),
        NodeType::Array => ARRAY_MEMBERS.as_slice(),
    };
    for (name, value) in document.object()? {
        let may_be_ignored = value.get("must_understand") == Some(&Value::Bool(false));
        if !known.contains(&name.as_str()) && !may_be_ignored {
            let reason = format!("extension {}", quoted(name));
            return Err(document.unsupported(reason).with_remedy(remedy::ZARR_PLAIN));
        }
    }
    Ok(())
}

/// Reads the `zarr.json` of an array.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<ArrayDocument, SourceError> {
    let value = json::parse(file, bytes)?;
    let document = JsonField::root(file, &value)?;
    if node(&document)? != NodeType::Array {
        return Err(document.member("node_type")?.malformed("it is a group where an array is expected"));
    }
    check_members(&document, NodeType::Array)?;
    let (dtype, form) = data_type(&document.member("data_type")?)?;
    let chunk_shape = chunk_grid(document.member("chunk_grid")?)?;
    let shape = document.member("shape")?;
    let fill_value = document.member("fill_value")?;
    let fill = if form == ChunkFormat::Half { fill::half(&fill_value)? } else { fill::parse(&fill_value, dtype)? };
    let keys = chunk_keys(&document.member("chunk_key_encoding")?)?;
    let chain = chain::read(&document.member("codecs")?, c_order(array::extents(&shape)?.len()), form.stored(dtype))?;
    let (extents, mut storage) = match chain {
        Chain::Chunk(storage) => (Extents::read(&shape, &chunk_shape, form.stored(dtype))?, storage),
        Chain::Shard(shard) => shard.read(&shape, &chunk_shape, form.stored(dtype))?,
    };
    storage.form = form;
    if let Some(transformers) = document.optional("storage_transformers")?
        && let Some(transformer) = transformers.elements(array::MAX_CODECS)?.into_iter().next()
    {
        let name = Extension::read(transformer.clone())?.name;
        let reason = format!("storage transformer {}", quoted(name));
        return Err(transformer.unsupported(reason).with_remedy(remedy::ZARR_PLAIN));
    }
    Ok(ArrayDocument::new(extents, dtype, fill, keys, storage))
}

fn chunk_grid(field: JsonField) -> Result<JsonField, SourceError> {
    let grid = Extension::read(field)?;
    match grid.name {
        "regular" => grid.member("chunk_shape"),
        other => {
            let reason = format!("chunk grid {}", quoted(other));
            Err(grid.field.unsupported(reason).with_remedy(remedy::ZARR_PLAIN))
        }
    }
}

fn chunk_keys(field: &JsonField) -> Result<ChunkKeys, SourceError> {
    let encoding = Extension::read(field.clone())?;
    let separator = encoding.optional("separator")?.map(|field| Separator::parse(&field)).transpose()?;
    match encoding.name {
        "default" => Ok(ChunkKeys {
            prefixed: true,
            separator: separator.unwrap_or(Separator::Slash),
            reversed: false,
            is_guess: false,
        }),
        "v2" => Ok(ChunkKeys {
            prefixed: false,
            separator: separator.unwrap_or(Separator::Dot),
            reversed: false,
            is_guess: false,
        }),
        other => {
            Err(field.unsupported(format!("chunk key encoding {}", quoted(other))).with_remedy(remedy::ZARR_PLAIN))
        }
    }
}

fn data_type(field: &JsonField) -> Result<(DataType, ChunkFormat), SourceError> {
    let name = Extension::read(field.clone())?.name;
    match name {
        // Half the length is shown as the whole, which has a place for each of its values.
        "float16" => return Ok((DataType::F32, ChunkFormat::Half)),
        "bool" => return Ok((DataType::U8, ChunkFormat::Bare)),
        _ => {}
    }
    let known = DataType::ALL.into_iter().find(|dtype| dtype.name() == name);
    let known =
        known.ok_or_else(|| field.unsupported(format!("type {}", quoted(name))).with_remedy(remedy::ZARR_TYPE))?;
    Ok((known, ChunkFormat::Bare))
}
