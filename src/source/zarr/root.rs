//! What is at an address: a multiscale image, a lone array, or something else that can be named.

use bytes::Bytes;
use serde_json::Value;

use super::array::ArrayDocument;
use super::documents::{Documents, MAX_ARRAY_DOCUMENT, MAX_GROUP_DOCUMENT, of_level};
use super::json::{self, JsonField};
use super::multiscales::{self, Multiscales, Reading};
use super::own::{self, OwnAttributes};
use super::whereabouts::{self, Hint};
use super::{n5, v2, v3};
use crate::remote::{Cause, Location};
use crate::source::SourceError;

/// Version of the storage format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreVersion {
    V2,
    V3,
    /// N5, which is no version of Zarr but of the same kind.
    N5,
}

impl StoreVersion {
    /// What is put behind the name of what an image is.
    pub const fn told(self) -> &'static str {
        match self {
            StoreVersion::V2 => " in Zarr v2",
            StoreVersion::V3 => " in Zarr v3",
            StoreVersion::N5 => "",
        }
    }

    /// Name of the document of an array.
    pub const fn array_document(self) -> &'static str {
        match self {
            StoreVersion::V2 => ".zarray",
            StoreVersion::V3 => "zarr.json",
            StoreVersion::N5 => n5::DOCUMENT,
        }
    }
}

/// What the document of a group or of a lone array says.
pub(super) enum Root {
    /// An image of several arrays.
    Image(StoreVersion, Box<(Multiscales, Reading)>),
    /// One array and what it says of itself.
    Array(StoreVersion, Box<(ArrayDocument, OwnAttributes)>),
}

/// Reads what is at `group`: `.zattrs`, else `zarr.json`, else `.zarray`.
pub(super) async fn root(documents: &impl Documents, group: &Location) -> Result<Root, SourceError> {
    let attributes = group.join(".zattrs");
    let error = match documents.get(&attributes, MAX_GROUP_DOCUMENT).await {
        Ok(bytes) => return v2_root(documents, group, &attributes, bytes).await,
        Err(error) => error,
    };
    // A store that may not be listed says 403 of what is not there.
    if !matches!(error.cause, Cause::NotFound | Cause::Denied(_)) {
        return Err(error.into());
    }
    let document = group.join("zarr.json");
    match documents.get(&document, MAX_GROUP_DOCUMENT).await {
        Ok(bytes) => return v3_root(documents, group, &document.to_string(), bytes).await,
        Err(other) if matches!(other.cause, Cause::NotFound) => {}
        Err(other) if matches!((&other.cause, &error.cause), (Cause::Denied(_), Cause::Denied(_))) => {}
        Err(other) => return Err(other.into()),
    }
    match lone_v2(documents, group, OwnAttributes::default()).await? {
        Some(root) => Ok(root),
        None if matches!(error.cause, Cause::Denied(_)) => Err(error.into()),
        None => {
            Err(SourceError::malformed(group.to_string(), "document", whereabouts::of_folder(documents, group).await))
        }
    }
}

async fn v2_root(
    documents: &impl Documents,
    group: &Location,
    location: &Location,
    bytes: Bytes,
) -> Result<Root, SourceError> {
    let file = location.to_string();
    // It is dropped in here, before another document is waited for.
    let file_name = file.clone();
    let attributes = documents.alone(move || {
        let value = json::parse(&file_name, &bytes)?;
        let attributes = JsonField::root(&file_name, &value)?;
        Ok::<_, SourceError>(match image(&attributes, group)? {
            Some(image) => Ok(image),
            None => Err((of_v2(&attributes)?, Hint::of(&value))),
        })
    })?;
    let (own, hint) = match attributes {
        Ok(image) => return Ok(Root::Image(StoreVersion::V2, Box::new(image))),
        Err(other) => other,
    };
    if let Some(root) = lone_v2(documents, group, own).await? {
        return Ok(root);
    }
    let consolidated = whereabouts::consolidated(documents, group).await;
    let reason = whereabouts::of_group(documents, group, hint, consolidated).await;
    Err(SourceError::malformed(file, "multiscales", reason))
}

/// The image in the attributes of a group. Where only the places of its levels cannot be read, that says how to do without.
fn image(attributes: &JsonField, group: &Location) -> Result<Option<(Multiscales, Reading)>, SourceError> {
    multiscales::parse(attributes).map_err(|error| {
        let root = attributes.value.get("ome").unwrap_or(attributes.value);
        let path =
            root.pointer("/multiscales/0/datasets/0/path").and_then(Value::as_str).map(|path| path.trim_matches('/'));
        match (path, multiscales::axes(attributes)) {
            (Some(path), Ok(Some(_))) if !path.is_empty() => {
                let array = group.join(path);
                error.with_remedy(format!("its arrays can be shown alone: write the address {array}, and `voxel_size`"))
            }
            _ => error,
        }
    })
}

/// What the attributes of an array of version 2 say of it. This version names no axes; xarray does, and others do as it does.
fn of_v2(attributes: &JsonField) -> Result<OwnAttributes, SourceError> {
    own::read(Some(attributes), attributes.optional("_ARRAY_DIMENSIONS")?.as_ref())
}

/// The same of the document of one of version 3.
fn of_v3(document: &JsonField) -> Result<OwnAttributes, SourceError> {
    own::read(document.optional("attributes")?.as_ref(), document.optional("dimension_names")?.as_ref())
}

/// The array at `group` itself, where there is one.
async fn lone_v2(
    documents: &impl Documents,
    group: &Location,
    own: OwnAttributes,
) -> Result<Option<Root>, SourceError> {
    let location = group.join(".zarray");
    match documents.get(&location, MAX_ARRAY_DOCUMENT).await {
        Ok(bytes) => {
            let array = documents.alone(|| v2::parse(&location.to_string(), &bytes))?;
            Ok(Some(Root::Array(StoreVersion::V2, Box::new((array, own)))))
        }
        Err(error) if matches!(error.cause, Cause::NotFound | Cause::Denied(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn v3_root(documents: &impl Documents, group: &Location, file: &str, bytes: Bytes) -> Result<Root, SourceError> {
    // It is dropped in here, before another document is waited for.
    let found = documents.alone(move || {
        let value = json::parse(file, &bytes)?;
        let document = JsonField::root(file, &value)?;
        if v3::node(&document)? == v3::NodeType::Array {
            let own = of_v3(&document)?;
            return Ok(Ok(Root::Array(StoreVersion::V3, Box::new((v3::parse(file, &bytes)?, own)))));
        }
        v3::check_members(&document, v3::NodeType::Group)?;
        let image = match document.optional("attributes")? {
            Some(attributes) => image(&attributes, group)?,
            None => None,
        };
        let hint = value.get("attributes").and_then(Hint::of);
        let consolidated = whereabouts::members(value.pointer("/consolidated_metadata/metadata"));
        Ok::<_, SourceError>(
            image.map(|image| Root::Image(StoreVersion::V3, Box::new(image))).ok_or((hint, consolidated)),
        )
    })?;
    let (hint, consolidated) = match found {
        Ok(root) => return Ok(root),
        Err(other) => other,
    };
    let reason = whereabouts::of_group(documents, group, hint, consolidated).await;
    Err(SourceError::malformed(file, "attributes.ome.multiscales", reason))
}

/// Reads the documents of all arrays of an image at once; what is wrong with one says nothing of the others.
pub(super) async fn arrays(
    documents: &impl Documents,
    version: StoreVersion,
    locations: &[Location],
) -> Vec<Result<ArrayDocument, SourceError>> {
    let fetch = |location: &Location| {
        let document = location.join(version.array_document());
        async move {
            let bytes = of_level(documents, &document).await?;
            // Each at once: its bytes are counted while others are waited for.
            let file = document.to_string();
            documents.alone(|| match version {
                StoreVersion::V2 => v2::parse(&file, &bytes),
                StoreVersion::V3 => v3::parse(&file, &bytes),
                StoreVersion::N5 => n5::parse(&file, &bytes),
            })
        }
    };
    futures::future::join_all(locations.iter().map(fetch)).await
}

/// What the arrays of an image say themselves, for one that says nothing of them.
pub(super) async fn own_attributes(
    documents: &impl Documents,
    version: StoreVersion,
    locations: &[Location],
) -> Vec<Result<OwnAttributes, SourceError>> {
    let fetch = |location: &Location| {
        let document = location.join(if version == StoreVersion::V3 { "zarr.json" } else { ".zattrs" });
        async move {
            let bytes = match documents.get(&document, MAX_ARRAY_DOCUMENT).await {
                Ok(bytes) => bytes,
                Err(error) if matches!(error.cause, Cause::NotFound | Cause::Gone(_) | Cause::Denied(_)) => {
                    return Ok(OwnAttributes::default());
                }
                Err(error) => return Err(error.into()),
            };
            documents.alone(|| {
                let file = document.to_string();
                let value = json::parse(&file, &bytes)?;
                let document = JsonField::root(&file, &value)?;
                if version == StoreVersion::V3 { of_v3(&document) } else { of_v2(&document) }
            })
        }
    };
    futures::future::join_all(locations.iter().map(fetch)).await
}
