//! What is at an address: a multiscale image, a lone array, or something else that can be named.

use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use serde_json::Value;
use tokio::time::timeout;

use super::above::is_absent;
use super::array::ArrayDocument;
use super::documents::{Documents, MAX_ARRAY_DOCUMENT, MAX_GROUP_DOCUMENT, of_level};
use super::fault::LevelFault;
use super::json::{self, JsonField};
use super::multiscales::{self, Multiscales, Reading};
use super::own::{self, OwnAttributes};
use super::whereabouts::{self, Hint};
use super::{n5, v2, v3};
use crate::remote::{Cause, Location};
use crate::source::{SourceError, remedy};
use crate::store::{Healable, is_past_caches};

/// How long `.zattrs` is waited for before `zarr.json` is asked for beside it.
const HEAD_START: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_millis(500) };

/// How long it is waited for where `zarr.json` is an image: whichever version a folder of both is read as should not depend on
/// which answer comes first.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(5) };

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

    /// Name of the document of an image that may be missing where nothing is said of its arrays.
    pub const fn optional_document(self) -> Option<&'static str> {
        match self {
            StoreVersion::V2 => Some(".zattrs"),
            StoreVersion::V3 => None,
            StoreVersion::N5 => Some(n5::DOCUMENT),
        }
    }

    /// Members that every such document has.
    pub const fn array_members(self) -> &'static [&'static str] {
        match self {
            StoreVersion::V2 => &v2::MEMBERS,
            StoreVersion::V3 => &v3::MEMBERS,
            StoreVersion::N5 => &n5::MEMBERS,
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

/// What `.zattrs` says.
enum Attributes {
    Image(Box<(Multiscales, Reading)>),
    /// There is no image in it: what it says of an array, and of what is below a group.
    Other(Box<OwnAttributes>, Option<Hint>),
    /// A page, as some servers answer whatever is missing; why it is no document.
    Page(SourceError),
}

/// What `zarr.json` says.
enum Node {
    Root(Root),
    /// A group without an image: what it says of what is below it, and the documents of that.
    Group(Option<Hint>, Vec<(String, Value)>),
}

/// Reads what is at `group`: the image of `.zattrs`, else the array of `.zarray` with it, else `zarr.json`, else `.zarray`.
/// Where `.zattrs` is long in coming the next one is asked for beside it: one that is there needs no documents of version 2,
/// which may fail, or be missing at a host whose word for that is doubted.
pub(super) async fn root(documents: &impl Documents, group: &Location) -> Result<Root, SourceError> {
    let (mut attributes, mut node) = (pin!(attributes(documents, group)), pin!(node(documents, group)));
    let first = match timeout(HEAD_START, attributes.as_mut()).await {
        Ok(attributes) => Either::Left(attributes),
        Err(_) => match select(attributes.as_mut(), node.as_mut()).await {
            // Nor did the other one answer all that time.
            Either::Left((Err(error), _)) if !is_absent(&error) && !error.is_of_bytes() => return Err(error),
            Either::Left((attributes, _)) => {
                if attributes.is_ok() {
                    // A request that nobody waits for would keep its connection from the next one.
                    node.set(self::node(documents, group));
                }
                Either::Left(attributes)
            }
            Either::Right((node, _)) => Either::Right(node),
        },
    };
    match first {
        Either::Left(attributes) => settled(documents, group, attributes, node).await,
        // An array is no image of other arrays.
        Either::Right(Ok(Node::Root(root @ Root::Array(..)))) => Ok(root),
        Either::Right(Ok(Node::Root(root))) => match timeout(PATIENCE, attributes).await {
            Ok(attributes) => settled(documents, group, attributes, ready(Ok(Node::Root(root)))).await,
            Err(_) => Ok(root),
        },
        Either::Right(node) => settled(documents, group, attributes.await, ready(node)).await,
    }
}

/// Puts together what the two documents say, of which `node` is asked for only where the other one says too little.
async fn settled(
    documents: &impl Documents,
    group: &Location,
    attributes: Result<Attributes, SourceError>,
    node: impl Future<Output = Result<Node, SourceError>>,
) -> Result<Root, SourceError> {
    let is_page = matches!(attributes, Ok(Attributes::Page(_)));
    let v2 = match attributes {
        Ok(Attributes::Image(image)) => return Ok(Root::Image(StoreVersion::V2, image)),
        Ok(Attributes::Other(own, hint)) => match lone_v2(documents, group, *own).await {
            Ok(Some(root)) => return Ok(root),
            Ok(None) => Ok(hint),
            Err(error) => Err(error),
        },
        Ok(Attributes::Page(error)) | Err(error) => Err(error),
    };
    // Something else than a document in its place is believed past every cache.
    let is_other = |error: &SourceError| {
        matches!(error, SourceError::TooLong { .. }) || error.cause().is_some_and(Cause::is_invalid)
    };
    let is_missing = |error: &SourceError| is_absent(error) || is_past_caches() && (is_page || is_other(error));
    match (node.await, v2) {
        // Once more, past every cache, it may be an image.
        (Ok(Node::Root(_)), Err(error)) if error.is_of_bytes() && !is_absent(&error) && !is_past_caches() => Err(error),
        (Ok(Node::Root(root)), _) => Ok(root),
        (_, Ok(hint)) => {
            let consolidated = whereabouts::consolidated(documents, group).await;
            let reason = whereabouts::of_group(documents, group, hint, consolidated).await;
            Err(SourceError::malformed(group.join(".zattrs").to_string(), "multiscales", reason))
        }
        (Ok(Node::Group(hint, consolidated)), Err(error)) if is_missing(&error) => {
            let reason = whereabouts::of_group(documents, group, hint, consolidated).await;
            Err(SourceError::malformed(group.join("zarr.json").to_string(), "attributes.ome.multiscales", reason))
        }
        (Err(other), Err(error)) if is_missing(&error) => without_attributes(documents, group, error, other).await,
        (_, Err(error)) => Err(error),
    }
}

/// The array of `.zarray` where there is no `.zattrs`, as `attributes` says, and `node` is how it is said that there is no
/// `zarr.json`. What is bad is told.
async fn without_attributes(
    documents: &impl Documents,
    group: &Location,
    attributes: SourceError,
    node: SourceError,
) -> Result<Root, SourceError> {
    let is_denied = |error: &SourceError| matches!(error.cause(), Some(Cause::Denied(_)));
    let is_settled = match is_absent(&node) {
        true => !is_denied(&node) || is_denied(&attributes),
        false => node.is_of_bytes() && is_past_caches(),
    };
    if !is_settled {
        return Err(node);
    }
    let faults: Vec<String> =
        [&attributes, &node].into_iter().filter(|error| !is_absent(error)).map(ToString::to_string).collect();
    let note = (!faults.is_empty()).then(|| faults.join("; "));
    match lone_v2(documents, group, OwnAttributes::lacking(note)).await {
        Ok(Some(root)) => Ok(root),
        Err(error) if is_absent(&attributes) || !error.is_of_bytes() => Err(error),
        _ if is_denied(&attributes) || !is_absent(&attributes) => Err(attributes),
        _ if !is_absent(&node) => Err(node),
        _ => Err(SourceError::malformed(group.to_string(), "document", whereabouts::of_folder(documents, group).await)),
    }
}

/// Reads `.zattrs`.
async fn attributes(documents: &impl Documents, group: &Location) -> Result<Attributes, SourceError> {
    let location = group.join(".zattrs");
    let bytes = documents.get(&location, MAX_GROUP_DOCUMENT).await?;
    // They are dropped in here, before another document is waited for.
    documents.alone(move || {
        let file = location.to_string();
        let value = match json::parse(&file, &bytes) {
            Err(error) if bytes.trim_ascii_start().starts_with(b"<") => return Ok(Attributes::Page(error)),
            value => value?,
        };
        let attributes = JsonField::root(&file, &value)?;
        Ok(match image(&attributes, group)? {
            Some(image) => Attributes::Image(Box::new(image)),
            None => Attributes::Other(Box::new(of_v2(&attributes)?), Hint::of(&value)),
        })
    })
}

/// The image in the attributes of a group. Where only the places of its levels cannot be read, that says how to do without.
fn image(attributes: &JsonField, group: &Location) -> Result<Option<(Multiscales, Reading)>, SourceError> {
    multiscales::parse(attributes).map_err(|error| {
        let root = attributes.value.get("ome").unwrap_or(attributes.value);
        let path =
            root.pointer("/multiscales/0/datasets/0/path").and_then(Value::as_str).map(|path| path.trim_matches('/'));
        let Some(path) = path.filter(|path| !path.is_empty()) else { return error };
        let alone = format!("its arrays can be shown alone: write the address {}, and `voxel_size`", group.join(path));
        match multiscales::axes(attributes) {
            Ok(Some(_)) => error.with_remedy(alone),
            Err(_) if error.remedy() == Some(remedy::NGFF_VERSION) => {
                error.with_remedy(format!("{}; or {alone}", remedy::NGFF_VERSION))
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
    let attributes = document.optional("attributes")?;
    let names = document.optional("dimension_names")?;
    let is_nameless =
        names.as_ref().is_none_or(|names| names.value.as_array().is_some_and(|all| all.iter().all(Value::is_null)));
    // `zarr migrate` leaves them where version 2 has them.
    let former = match &attributes {
        Some(attributes) if is_nameless && attributes.value.is_object() => attributes.optional("_ARRAY_DIMENSIONS")?,
        _ => None,
    };
    own::read(attributes.as_ref(), former.or(names).as_ref())
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

/// Reads `zarr.json`.
async fn node(documents: &impl Documents, group: &Location) -> Result<Node, SourceError> {
    let location = group.join("zarr.json");
    let bytes = documents.get(&location, MAX_GROUP_DOCUMENT).await?;
    // They are dropped in here, before another document is waited for.
    documents.alone(move || {
        let file = location.to_string();
        let value = json::parse(&file, &bytes)?;
        let document = JsonField::root(&file, &value)?;
        if v3::node(&document)? == v3::NodeType::Array {
            let own = of_v3(&document)?;
            return Ok(Node::Root(Root::Array(StoreVersion::V3, Box::new((v3::parse(&file, &bytes)?, own)))));
        }
        v3::check_members(&document, v3::NodeType::Group)?;
        let image = match document.optional("attributes")? {
            Some(attributes) => image(&attributes, group)?,
            None => None,
        };
        Ok(match image {
            Some(image) => Node::Root(Root::Image(StoreVersion::V3, Box::new(image))),
            None => {
                let hint = value.get("attributes").and_then(Hint::of);
                Node::Group(hint, whereabouts::members(value.pointer("/consolidated_metadata/metadata")))
            }
        })
    })
}

/// Reads the documents of all arrays of an image at once; what is wrong with one says nothing of the others.
pub(super) async fn arrays(
    documents: &impl Documents,
    version: StoreVersion,
    locations: &[Location],
) -> Vec<Result<ArrayDocument, LevelFault>> {
    let parse = match version {
        StoreVersion::V2 => v2::parse,
        StoreVersion::V3 => v3::parse,
        StoreVersion::N5 => n5::parse,
    };
    let fetch = |location: &Location| {
        let document = location.join(version.array_document());
        async move { of_level(documents, &document, version.array_members(), parse).await }
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
