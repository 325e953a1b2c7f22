//! The record of a dataset, `metadata.json`: what is known of its images, and why the rest is not.

use serde_json::{Map, Value, json};

use crate::catalog::{Dataset, SourceKind, SourceSpec};
use crate::volume::Pyramid;

/// Version of the record's layout.
const SCHEMA_VERSION: &str = "0.1.0";

/// What is known of an image at the moment.
pub enum Knowledge<'a> {
    /// It is open.
    Described {
        /// What it looks like.
        pyramid: &'a Pyramid,
        /// URL its voxels come from.
        origin: &'a str,
    },
    /// It is not, for the reason given.
    Missing(String),
}

/// An image or label image of the dataset.
pub struct ImageRecord<'a> {
    /// Name of the image, or of the image that the labels are of.
    pub image: &'a str,
    /// Name of the label image, if it is one.
    pub label: Option<&'a str>,
    /// Where its voxels come from.
    pub spec: &'a SourceSpec,
    /// What is known of it.
    pub knowledge: Knowledge<'a>,
}

/// The record as JSON. Unknown values are `null`, with the reason under `missing` by their JSON Pointer. Lengths are in
/// nanometres; arrays are in the order `z, y, x`.
pub fn record(dataset: &Dataset, images: &[ImageRecord<'_>]) -> Value {
    let mut missing = Map::new();
    let images: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(number, image)| image_record(image, &format!("/images/{number}"), &mut missing))
        .collect();
    let title = dataset.about.get("title").and_then(toml::Value::as_str);
    if title.is_none() {
        missing.insert("/title".into(), "the catalogue gives none".into());
    }
    json!({
        "schema_version": SCHEMA_VERSION,
        "id": dataset.name,
        "title": title,
        "about": plain(&toml::Value::Table(dataset.about.clone())),
        "images": images,
        "missing": missing,
        "generated_by": {"software": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
    })
}

fn image_record(record: &ImageRecord<'_>, pointer: &str, missing: &mut Map<String, Value>) -> Value {
    let below = record.label.map(|label| format!("/labels/{label}")).unwrap_or_default();
    let mut value = json!({
        "name": record.label.unwrap_or(record.image),
        "content_type": if record.label.is_some() { "segmentation" } else { "em" },
        "label_of": record.label.map(|_| record.image),
        "zarr": format!("{}.zarr{below}", record.image),
        "zarr_v3": format!("{}.v3.zarr{below}", record.image),
        "axes": ["z", "y", "x"],
        "source": {"kind": record.spec.kind.name(), "url": configured_url(record.spec)},
        "shape": null,
        "dtype": null,
        "voxel_size": null,
        "levels": null,
        "bytes_uncompressed": null,
        "display_window": null,
        "upstream_format": null,
    });
    match &record.knowledge {
        Knowledge::Described { pyramid, origin } => describe(&mut value, pyramid, origin, pointer, missing),
        Knowledge::Missing(reason) => {
            for field in
                ["shape", "dtype", "voxel_size", "levels", "bytes_uncompressed", "display_window", "upstream_format"]
            {
                missing.insert(format!("{pointer}/{field}"), Value::from(reason.as_str()));
            }
        }
    }
    if value["source"]["url"].is_null() {
        missing.insert(format!("{pointer}/source/url"), "not resolved yet".into());
    }
    value
}

fn describe(value: &mut Value, pyramid: &Pyramid, origin: &str, pointer: &str, missing: &mut Map<String, Value>) {
    let Some(finest) = pyramid.levels.first() else { return };
    let [z, y, x] = finest.grid.shape.0;
    value["source"]["url"] = origin.into();
    value["shape"] = json!({"z": z, "y": y, "x": x});
    value["dtype"] = pyramid.dtype.name().into();
    value["bytes_uncompressed"] = finest.grid.shape.bytes(pyramid.dtype.size()).into();
    value["display_window"] = json!([pyramid.window.0, pyramid.window.1]);
    value["upstream_format"] = pyramid.format.as_str().into();
    if pyramid.calibrated {
        let [z, y, x] = finest.scale;
        value["voxel_size"] = json!({"z": z, "y": y, "x": x, "unit": "nanometer"});
    } else {
        missing.insert(format!("{pointer}/voxel_size"), "neither the source nor the configuration states it".into());
    }
    let levels = pyramid.levels.iter().enumerate().map(|(number, level)| {
        let mut entry = json!({"path": format!("s{number}"), "shape": level.grid.shape.0, "chunk": level.grid.cell.0});
        if pyramid.calibrated {
            entry["scale_nm"] = json!(level.scale);
            entry["translation_nm"] = json!(level.translation);
        }
        entry
    });
    value["levels"] = levels.collect();
}

/// The address as configured, where the configuration has one.
fn configured_url(spec: &SourceSpec) -> Option<String> {
    match &spec.kind {
        SourceKind::Idr { url, .. } => url.as_ref().map(ToString::to_string),
        SourceKind::Empiar { .. } => None,
        SourceKind::Dm3 { files } => Some(files.to_string()),
        SourceKind::Precomputed { url } | SourceKind::Tiff { url } | SourceKind::Zarr { url } => Some(url.to_string()),
    }
}

/// TOML as JSON; dates become their text.
fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.iter().map(plain).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, item)| (key.clone(), plain(item))).collect(),
    }
}
