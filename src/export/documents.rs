//! The documents of a store: those of the tree, with the compression and the shards of the export.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::codec::ChunkCompression;
use crate::geometry::{LevelIndex, Shape};
use crate::view::LevelNames;
use crate::volume::Pyramid;
use crate::zarr::{Coordinate, Format, Group, v2, v3};

/// An image or label image as it is exported.
pub(super) struct ShownStore<'a> {
    /// Name for viewers.
    pub(super) title: &'a str,
    /// Name of the label image, if it is one.
    pub(super) label: Option<&'a str>,
    /// The exported levels.
    pub(super) pyramid: &'a Pyramid,
    /// Their numbers in the tree.
    pub(super) levels: &'a [u8],
    /// What they are called.
    pub(super) level_names: LevelNames,
    /// Whether arrays beside the level tell where its voxels lie, as in views of one level.
    pub(super) coordinates: bool,
}

/// How voxels are stored.
#[derive(Clone, Copy)]
pub(super) struct ChunkStorage {
    pub(super) format: Format,
    pub(super) compression: ChunkCompression,
    pub(super) shard: Option<Shape>,
}

impl ShownStore<'_> {
    /// Where its group is in the store: empty, or a path with a slash behind it.
    pub(super) fn prefix(&self) -> String {
        self.label.map_or_else(String::new, |label| format!("labels/{label}/"))
    }
}

/// All documents by key, in the order in which they are put: the one that makes the store a store comes last. The
/// positions of a level's voxels, which are made as the documents are, come before them.
pub(super) fn documents(
    image: &ShownStore<'_>,
    labels: &[ShownStore<'_>],
    storage: ChunkStorage,
) -> Vec<(String, Bytes)> {
    let mut all = Vec::new();
    let mut positions = Vec::new();
    for shown in labels.iter().chain([image]) {
        let level = shown.pyramid.levels.first().filter(|_| shown.coordinates);
        for coordinate in level.into_iter().flat_map(|level| Coordinate::all(level, shown.pyramid.calibrated)) {
            let path = format!("{}{}", shown.prefix(), coordinate.axis);
            let folder = match storage.format {
                Format::V2 => {
                    all.push((format!("{path}/.zattrs"), parsed(&v2::coordinate_attributes(&coordinate))));
                    all.push((format!("{path}/.zarray"), parsed(&v2::coordinate(&coordinate))));
                    path
                }
                Format::V3 => {
                    all.push((format!("{path}/zarr.json"), parsed(&v3::coordinate(&coordinate))));
                    format!("{path}/c")
                }
            };
            let chunks = 0..coordinate.chunks();
            positions.extend(chunks.map(|chunk| (format!("{folder}/{chunk}"), coordinate.values(chunk))));
        }
        for (level, number) in shown.pyramid.levels.iter().zip(shown.levels) {
            let path = format!("{}{}", shown.prefix(), shown.level_names.name(LevelIndex(*number)));
            match storage.format {
                Format::V2 => {
                    let mut array = parsed(&v2::array(shown.pyramid, level));
                    array["compressor"] = storage.compression.v2(shown.pyramid.dtype);
                    all.push((format!("{path}/.zattrs"), parsed(&v2::array_attributes(shown.pyramid, level))));
                    all.push((format!("{path}/.zarray"), array));
                }
                Format::V3 => {
                    let mut array = parsed(&v3::array(shown.pyramid, level));
                    store_v3(&mut array, shown.pyramid, level.grid.cell, storage);
                    all.push((format!("{path}/zarr.json"), array));
                }
            }
        }
    }
    for shown in labels {
        all.extend(group(shown, storage.format));
    }
    if !labels.is_empty() {
        let names = || labels.iter().filter_map(|shown| shown.label);
        match storage.format {
            Format::V2 => {
                all.push(("labels/.zattrs".to_owned(), parsed(&v2::labels_attributes(names()))));
                all.push(("labels/.zgroup".to_owned(), parsed(&v2::group())));
            }
            Format::V3 => all.push(("labels/zarr.json".to_owned(), parsed(&v3::labels(names())))),
        }
    }
    let root = group(image, storage.format);
    match storage.format {
        Format::V2 => {
            let every: Map<String, Value> = all.iter().chain(&root).cloned().collect();
            all.push((".zmetadata".to_owned(), json!({"zarr_consolidated_format": 1, "metadata": every})));
            all.extend(root);
        }
        Format::V3 => {
            let path = |key: &String| key.strip_suffix("/zarr.json").map(str::to_owned);
            let below: Map<String, Value> =
                all.iter().filter_map(|(key, value)| Some((path(key)?, value.clone()))).collect();
            all.extend(root.into_iter().map(|(key, value)| (key, v3::consolidate(value, below.clone()))));
        }
    }
    let documents = all.into_iter().map(|(key, value)| (key, Bytes::from(value.to_string())));
    positions.into_iter().chain(documents).collect()
}

/// Chunks and codecs of an array of Zarr v3.
fn store_v3(array: &mut Value, pyramid: &Pyramid, chunk: Shape, storage: ChunkStorage) {
    let plain = array["codecs"].as_array().cloned().unwrap_or_default();
    let codecs: Vec<Value> = plain.into_iter().chain(storage.compression.v3(pyramid.dtype)).collect();
    let Some(shard) = storage.shard else {
        array["codecs"] = codecs.into();
        return;
    };
    array["chunk_grid"]["configuration"]["chunk_shape"] = json!(shard.0);
    array["codecs"] = json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": chunk.0,
        "codecs": codecs,
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }}]);
}

/// The documents of an image's group.
fn group(shown: &ShownStore<'_>, format: Format) -> Vec<(String, Value)> {
    let ShownStore { title: name, pyramid, levels, level_names, label, coordinates } = *shown;
    let (numbers, is_label) = (Some(levels), label.is_some());
    let described = Group { name, pyramid, numbers, level_names, coordinates, is_label };
    let prefix = shown.prefix();
    match format {
        Format::V2 => {
            let attributes = parsed(&v2::attributes(&described));
            vec![(format!("{prefix}.zattrs"), attributes), (format!("{prefix}.zgroup"), parsed(&v2::group()))]
        }
        Format::V3 => vec![(format!("{prefix}zarr.json"), parsed(&v3::group(&described)))],
    }
}

fn parsed(document: &Bytes) -> Value {
    serde_json::from_slice(document).unwrap_or_default()
}
