//! The record of a dataset, `metadata.json`: one set of fields for all archives, each value with the way it came.
//!
//! A field is claimed by documents of the archive (`upstream`), by the catalogue (`curated`), by a rule (`computed`) or by
//! custom (`assumed`). What emfs shows is always the value; a claim that says the same tells where it came from, and one
//! that says otherwise is kept under `alternatives`. What is not known is `null`, with the reason under `missing`; what
//! stands in a document and belongs to no field is under `extra`. Everything is made from what was fetched already.

mod about;
mod claim_set;
mod croissant;
mod dates;
mod fields;
mod image;
mod maps;
mod passport;
mod places;
mod rocrate;
mod schema;
mod tables;
mod terms;
mod text;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use croissant::{croissant, croissant_of_all};
pub use rocrate::{ro_crate, ro_crate_of_all};
pub use schema::schema;
pub use tables::{correspondence, csv};
pub use text::{aligned_columns, is_field, markdown, readme};

use self::claim_set::{ClaimSet, Doc};
use self::fields::{DATASET, RecordField};
use self::maps::ClaimTarget;
use crate::catalog::{Dataset, NamedSource, NamedView, SourceKind, SourceSpec};
use crate::document::{Document, bounds};
use crate::geometry::Region;
use crate::volume::Pyramid;
use crate::volume::intensity::Intensity;
use crate::volume::view::in_place;

/// Version of the record's layout.
const SCHEMA_VERSION: &str = "1.0.0";

/// What is known of an image at the moment.
pub enum Knowledge<'a> {
    /// It is open.
    Described {
        /// What it looks like.
        pyramid: &'a Pyramid,
        /// URL its voxels come from.
        origin: &'a str,
        /// Statistics of its voxels that were computed on this machine.
        intensity: Option<&'a Intensity>,
    },
    /// It is not, for the reason given.
    Missing(String),
}

/// An image or label image of the dataset.
pub struct ImageRecord<'a> {
    /// Its names, and where its voxels come from.
    pub named: NamedSource<'a>,
    /// What is known of it.
    pub knowledge: Knowledge<'a>,
    /// What archive and source said; an archive may have answered where the source did not.
    pub documents: &'a [Document],
}

/// The file name of an image's document below `upstream`: its own for the main image, else after the image's name.
pub fn document_name(of: &NamedSource<'_>, document: &Document) -> String {
    let NamedSource { image, label, .. } = of;
    match label {
        None if *image == crate::catalog::MAIN_IMAGE => document.name.clone(),
        None => format!("{image}.{}", document.name),
        Some(label) => format!("{image}.labels.{label}.{}", document.name),
    }
}

/// The record as JSON.
pub fn record(dataset: &Dataset, images: &[ImageRecord<'_>]) -> Value {
    let mut docs = Vec::new();
    let mut targets = Vec::with_capacity(images.len());
    let mut left = bounds::MAX_VALUES;
    for (number, image) in images.iter().enumerate() {
        let first = docs.len();
        docs.extend(image.documents.iter().map(|document| Doc {
            file: document_name(&image.named, document),
            document,
            value: read(document, &mut left),
        }));
        targets.push(ClaimTarget { prefix: format!("/images/{number}"), main: number == 0, docs: first..docs.len() });
    }
    let documents: Vec<Value> = docs.iter().map(listed).collect();
    let mut claims = ClaimSet::new(docs);
    for target in &targets {
        maps::read(&mut claims, target);
    }
    let names: Vec<String> = images.iter().map(|image| image.named.to_string()).collect();
    let reference = ["voxel_size_reference", "landing_page"].iter().find_map(|key| dataset.about.get(*key)?.as_str());
    for (target, image) in targets.iter().zip(images) {
        let reference = reference.unwrap_or("the configuration");
        image::claim(&mut claims, &target.prefix, image, image_of(images, image), reference);
    }
    about::claim(&mut claims, dataset, &names);
    if let Some(Knowledge::Missing(reason)) = images.first().map(|image| &image.knowledge) {
        for section in ["study", "biosample", "specimen", "acquisition"] {
            claims.missing(&format!("/{section}"), reason);
        }
    }
    let mut record = template(DATASET);
    record["images"] = images.iter().map(|record| image::template(levels(images, record))).collect();
    record["extra"] = about::extra(dataset);
    claims.fill(&mut record);
    let mut whole = json!({
        "schema_version": SCHEMA_VERSION,
        "id": dataset.name,
        "title": dataset.about.get("title").and_then(toml::Value::as_str),
    });
    if whole["title"].is_null() {
        whole["title"] = record["study"]["title"].clone();
    }
    whole["documents"] = documents.into();
    whole["views"] = dataset.views.iter().map(|view| listed_view(dataset, view)).collect();
    if let (Some(whole), Value::Object(rest)) = (whole.as_object_mut(), record) {
        whole.extend(rest);
    }
    whole["generated_by"] = json!({"software": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")});
    whole
}

/// What a document says, as long as all of a dataset together are not beyond the bounds of one.
fn read(document: &Document, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(document.values)?;
    Some(document.value())
}

/// What is known of the image that a label image belongs to, where that is open.
fn image_of<'a>(images: &[ImageRecord<'a>], label: &ImageRecord<'_>) -> Option<&'a Pyramid> {
    let image = images.iter().find(|record| record.named.label.is_none() && record.named.image == label.named.image)?;
    match image.knowledge {
        Knowledge::Described { pyramid, .. } => Some(pyramid),
        Knowledge::Missing(_) => None,
    }
}

/// How many levels are known of an image, of labels as they are shown over theirs.
fn levels(images: &[ImageRecord<'_>], record: &ImageRecord<'_>) -> usize {
    match (&record.knowledge, image_of(images, record)) {
        (Knowledge::Described { pyramid, .. }, Some(image)) if record.named.label.is_some() => {
            in_place(image, pyramid).levels.len()
        }
        (Knowledge::Described { pyramid, .. }, _) => pyramid.levels.len(),
        (Knowledge::Missing(_), _) => 0,
    }
}

fn listed(doc: &Doc<'_>) -> Value {
    json!({
        "file": format!("upstream/{}", doc.file),
        "url": doc.document.url,
        "retrieved": doc.document.retrieved_text(),
        "bytes": doc.document.content.len(),
        "sha256": doc.document.sha256,
        "redacted": doc.document.redacted,
    })
}

/// A view that the dataset's directory lists under a name of its own.
fn listed_view(dataset: &Dataset, view: &NamedView) -> Value {
    let image = dataset.images.get(view.image).map(|image| image.name.as_str());
    let Region { start: [z, y, x], end: [z_end, y_end, x_end] } = view.crop;
    json!({
        "name": view.name,
        "image": image,
        "crop": format!("z{z}-{z_end}_y{y}-{y_end}_x{x}-{x_end}"),
        "zarr": format!("{}.zarr", view.name),
        "zarr_v3": format!("{}.v3.zarr", view.name),
    })
}

/// An object with all of these fields, none of them known.
fn template(fields: &[RecordField]) -> Value {
    let mut object = Value::Object(Map::new());
    for field in fields {
        let mut place = &mut object;
        for part in field.path.split('/') {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[part];
        }
    }
    object
}

/// The address as configured, where the configuration has one.
fn configured_url(spec: &SourceSpec) -> Option<String> {
    match &spec.kind {
        SourceKind::Idr { url, .. } => url.as_ref().map(ToString::to_string),
        SourceKind::Empiar { .. } => None,
        SourceKind::Dm3 { files } | SourceKind::Tiff { files } | SourceKind::Mrc { files } => Some(files.to_string()),
        SourceKind::Precomputed { url } | SourceKind::Zarr { url } | SourceKind::N5 { url } => Some(url.to_string()),
    }
}
