//! Documents of Zarr v3 with OME-Zarr 0.5: one `zarr.json` per group and array.
//!
//! Source: <https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html>. What groups say of all that is below them is
//! not in the specification, but zarr-python and xarray warn where it is not there.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Format, Group, array, document, level_name, ome};
use crate::volume::view::AXES;
use crate::volume::{Level, Pyramid};

/// `zarr.json` of an image's group, with every other document of the group. Readers that find these in it look nowhere
/// else, so those of labels must be among them.
pub fn consolidated(group: &Group<'_>, labels: &[Group<'_>]) -> Bytes {
    let mut nodes = Map::new();
    add_levels(&mut nodes, "", group);
    if !labels.is_empty() {
        nodes.insert("labels".into(), labels_value(labels.iter().map(|label| label.name)));
    }
    for label in labels {
        let path = format!("labels/{}", label.name);
        nodes.insert(path.clone(), group_value(label));
        add_levels(&mut nodes, &format!("{path}/"), label);
    }
    document(&consolidate(group_value(group), nodes))
}

/// `zarr.json` of an image's group alone.
pub fn group(group: &Group<'_>) -> Bytes {
    document(&group_value(group))
}

/// The document of a group with those of all that is below it, by path.
pub fn consolidate(mut group: Value, nodes: Map<String, Value>) -> Value {
    group["consolidated_metadata"] = json!({"kind": "inline", "must_understand": false, "metadata": nodes});
    group
}

/// `zarr.json` of the `labels` group.
pub fn labels<'a>(names: impl Iterator<Item = &'a str>) -> Bytes {
    document(&labels_value(names))
}

/// `zarr.json` of a level.
pub fn array(pyramid: &Pyramid, level: &Level) -> Bytes {
    document(&array_value(pyramid, level))
}

fn group_value(group: &Group<'_>) -> Value {
    ome_group(ome::image(group, Format::V3))
}

fn labels_value<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    let mut keys = Map::new();
    keys.insert("labels".into(), json!(names.collect::<Vec<_>>()));
    ome_group(keys)
}

fn add_levels(nodes: &mut Map<String, Value>, prefix: &str, group: &Group<'_>) {
    for (number, level) in (0u8..).zip(&group.pyramid.levels) {
        nodes.insert(format!("{prefix}{}", level_name(number)), array_value(group.pyramid, level));
    }
}

fn array_value(pyramid: &Pyramid, level: &Level) -> Value {
    let bytes = if pyramid.dtype.size() == 1 {
        json!({"name": "bytes"})
    } else {
        json!({"name": "bytes", "configuration": {"endian": "little"}})
    };
    json!({
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
    })
}

fn ome_group(keys: Map<String, Value>) -> Value {
    let mut ome = Map::new();
    ome.insert("version".into(), json!("0.5"));
    ome.extend(keys);
    json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})
}
