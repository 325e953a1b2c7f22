//! Documents of Zarr v3 with OME-Zarr 0.5: one `zarr.json` per group and array.
//!
//! Source: <https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html>. No inline consolidated metadata: it is not
//! in the specification and zarr-python warns of it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Format, Group, array, document, ome};
use crate::volume::view::AXES;
use crate::volume::{Level, Pyramid};

/// `zarr.json` of an image's group.
pub fn group(group: &Group<'_>) -> Bytes {
    ome_group(ome::image(group, Format::V3))
}

/// `zarr.json` of the `labels` group.
pub fn labels<'a>(names: impl Iterator<Item = &'a str>) -> Bytes {
    let mut keys = Map::new();
    keys.insert("labels".into(), json!(names.collect::<Vec<_>>()));
    ome_group(keys)
}

/// `zarr.json` of a level.
pub fn array(pyramid: &Pyramid, level: &Level) -> Bytes {
    let bytes = if pyramid.dtype.size() == 1 {
        json!({"name": "bytes"})
    } else {
        json!({"name": "bytes", "configuration": {"endian": "little"}})
    };
    document(&json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": level.grid.shape.0,
        "data_type": pyramid.dtype.name(),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": level.grid.cell.0}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [bytes],
        "fill_value": 0,
        "attributes": array::attributes(pyramid, level),
        "dimension_names": AXES,
    }))
}

fn ome_group(keys: Map<String, Value>) -> Bytes {
    let mut ome = Map::new();
    ome.insert("version".into(), json!("0.5"));
    ome.extend(keys);
    document(&json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}))
}
