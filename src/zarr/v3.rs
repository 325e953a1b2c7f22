//! Documents of Zarr v3 with OME-Zarr 0.5: one `zarr.json` per group and array.
//!
//! Source: <https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html>. What groups say of all that is below them is
//! not in the specification, but zarr-python and xarray warn where it is not there.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Coordinate, Format, Group, array, document, ome};
use crate::dtype::DataType;
use crate::view::AXES;
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

/// `zarr.json` of an array of coordinates.
pub fn coordinate(coordinate: &Coordinate) -> Bytes {
    document(&coordinate_value(coordinate))
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
    for (name, level) in group.levels() {
        nodes.insert(format!("{prefix}{name}"), array_value(group.pyramid, level));
    }
    for coordinate in group.coordinates() {
        nodes.insert(format!("{prefix}{}", coordinate.axis), coordinate_value(&coordinate));
    }
}

fn array_value(pyramid: &Pyramid, level: &Level) -> Value {
    let names = AXES.as_slice();
    stored(level.grid.shape.0, level.grid.cell.0, pyramid.dtype, array::attributes(pyramid, level), names)
}

fn coordinate_value(coordinate: &Coordinate) -> Value {
    let Coordinate { axis, length, .. } = coordinate;
    stored([*length], [coordinate.chunk()], Coordinate::DTYPE, coordinate.attributes(), &[*axis])
}

fn stored<const RANK: usize>(
    shape: [u64; RANK],
    chunk: [u64; RANK],
    dtype: DataType,
    attributes: Map<String, Value>,
    names: &[char],
) -> Value {
    let bytes = if dtype.size() == 1 {
        json!({"name": "bytes"})
    } else {
        json!({"name": "bytes", "configuration": {"endian": "little"}})
    };
    json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape.as_slice(),
        "data_type": dtype.name(),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk.as_slice()}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [bytes],
        "fill_value": 0,
        "attributes": attributes,
        "dimension_names": names,
    })
}

fn ome_group(keys: Map<String, Value>) -> Value {
    let mut ome = Map::new();
    ome.insert("version".into(), json!("0.5"));
    ome.extend(keys);
    json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})
}
