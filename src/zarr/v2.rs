//! Documents of Zarr v2 with OME-NGFF 0.4.
//!
//! Source: <https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html>.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Coordinate, Format, Group, array, document, ome};
use crate::dtype::DataType;
use crate::view::AXES;
use crate::volume::{Level, Pyramid};

/// `.zgroup`, the same in every group.
pub fn group() -> Bytes {
    document(&group_value())
}

/// `.zattrs` of an image's group.
pub fn attributes(group: &Group<'_>) -> Bytes {
    document(&attributes_value(group))
}

/// `.zmetadata`: every document of the group, its arrays and its labels in one. Readers that find it look nowhere else,
/// so labels must be in it.
pub fn consolidated(group: &Group<'_>, labels: &[Group<'_>]) -> Bytes {
    let mut documents = Map::new();
    add_image(&mut documents, "", group);
    if !labels.is_empty() {
        documents.insert("labels/.zgroup".into(), group_value());
        documents.insert("labels/.zattrs".into(), labels_value(labels.iter().map(|label| label.name)));
    }
    for label in labels {
        add_image(&mut documents, &format!("labels/{}/", label.name), label);
    }
    document(&json!({"zarr_consolidated_format": 1, "metadata": documents}))
}

/// `.zarray` of a level.
pub fn array(pyramid: &Pyramid, level: &Level) -> Bytes {
    document(&array_value(pyramid, level))
}

/// `.zattrs` of a level.
pub fn array_attributes(pyramid: &Pyramid, level: &Level) -> Bytes {
    document(&array_attributes_value(pyramid, level))
}

/// `.zarray` of an array of coordinates.
pub fn coordinate(coordinate: &Coordinate) -> Bytes {
    document(&coordinate_value(coordinate))
}

/// `.zattrs` of an array of coordinates.
pub fn coordinate_attributes(coordinate: &Coordinate) -> Bytes {
    document(&coordinate_attributes_value(coordinate))
}

/// `.zattrs` of the `labels` group.
pub fn labels_attributes<'a>(names: impl Iterator<Item = &'a str>) -> Bytes {
    document(&labels_value(names))
}

fn group_value() -> Value {
    json!({"zarr_format": 2})
}

fn attributes_value(group: &Group<'_>) -> Value {
    Value::Object(ome::image(group, Format::V2))
}

fn labels_value<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    json!({"labels": names.collect::<Vec<_>>()})
}

fn coordinate_value(coordinate: &Coordinate) -> Value {
    stored([coordinate.length], [coordinate.chunk()], Coordinate::DTYPE)
}

fn coordinate_attributes_value(coordinate: &Coordinate) -> Value {
    let mut keys = Map::new();
    keys.insert("_ARRAY_DIMENSIONS".into(), json!([coordinate.axis]));
    keys.extend(coordinate.attributes());
    Value::Object(keys)
}

fn array_value(pyramid: &Pyramid, level: &Level) -> Value {
    stored(level.grid.shape.0, level.grid.cell.0, pyramid.dtype)
}

fn stored<const RANK: usize>(shape: [u64; RANK], chunks: [u64; RANK], dtype: DataType) -> Value {
    json!({
        "zarr_format": 2,
        "shape": shape.as_slice(),
        "chunks": chunks.as_slice(),
        "dtype": dtype.v2_name(),
        "order": "C",
        // Every chunk of the grid is a file, so nothing is ever filled; a value would make xarray mask the voxels that have it.
        "fill_value": null,
        "compressor": null,
        "filters": null,
        "dimension_separator": "/",
    })
}

/// Zarr v2 itself has no names of axes; xarray looks for them here.
fn array_attributes_value(pyramid: &Pyramid, level: &Level) -> Value {
    let mut keys = Map::new();
    keys.insert("_ARRAY_DIMENSIONS".into(), json!(AXES));
    keys.extend(array::attributes(pyramid, level));
    Value::Object(keys)
}

fn add_image(documents: &mut Map<String, Value>, prefix: &str, group: &Group<'_>) {
    documents.insert(format!("{prefix}.zgroup"), group_value());
    documents.insert(format!("{prefix}.zattrs"), attributes_value(group));
    for (name, level) in group.levels() {
        let path = format!("{prefix}{name}");
        documents.insert(format!("{path}/.zarray"), array_value(group.pyramid, level));
        documents.insert(format!("{path}/.zattrs"), array_attributes_value(group.pyramid, level));
    }
    for coordinate in group.coordinates() {
        let path = format!("{prefix}{}", coordinate.axis);
        documents.insert(format!("{path}/.zarray"), coordinate_value(&coordinate));
        documents.insert(format!("{path}/.zattrs"), coordinate_attributes_value(&coordinate));
    }
}
