//! The few documents that describe an image, fetched in as few rounds as can be.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::array::ArrayDocument;
use super::axes::Axes;
use super::json::{self, Field};
use super::multiscales::{self, Multiscales};
use super::whereabouts::{self, Hint};
use super::{n5, v2, v3};
use crate::cache::Desk;
use crate::document::{Document, Packed};
use crate::remote::{Cause, Location, RemoteError};
use crate::source::SourceError;
use crate::store::{Remote, is_past_caches};

/// Longest document of a group: real ones have some kilobytes, a consolidated `zarr.json`, which holds those of all its
/// arrays, some dozens.
pub(super) const MAX_GROUP_DOCUMENT: u64 = 1 << 20;

/// Longest document of an array: real ones have some hundreds of bytes.
pub(super) const MAX_ARRAY_DOCUMENT: u64 = 256 << 10;

/// After what time a document is asked for again that is said to be missing.
pub(super) const AGAIN: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(1) };

/// Names of a folder that are looked at.
const MAX_NAMES: usize = 256;

/// Where documents come from. A missing one is an error with [`Cause::NotFound`].
pub(super) trait Documents: Sync {
    /// The document at `location`, refused when longer than `limit` bytes.
    fn get<'a>(&'a self, location: &'a Location, limit: u64) -> BoxFuture<'a, Result<Bytes, RemoteError>>;

    /// When the origin sent or confirmed it last.
    fn confirmed(&self, _location: &Location) -> SystemTime {
        SystemTime::now()
    }

    /// Names in the folder, where it can be listed without asking anybody.
    fn names<'a>(&'a self, _folder: &'a Location) -> BoxFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Where documents are made sense of, one at a time.
    fn desk(&self) -> Option<&Desk> {
        None
    }

    /// Makes sense of a document.
    fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.desk() {
            Some(desk) => desk.work_now(work),
            None => work(),
        }
    }
}

/// The document of a level. That it is missing hides the level as long as the image is open, so it is believed only where
/// it is said again a while later, past every cache.
pub(super) async fn of_level(documents: &impl Documents, location: &Location) -> Result<Bytes, RemoteError> {
    let began = Instant::now();
    let answer = documents.get(location, MAX_ARRAY_DOCUMENT).await;
    // Of a host that took such an answer back before, it is said for seconds already.
    let is_late = began.elapsed() >= AGAIN;
    let is_missing = matches!(&answer, Err(error) if matches!(error.cause, Cause::NotFound | Cause::Gone(_)));
    if !is_missing || is_late || !is_past_caches() || location.url.scheme() == "file" {
        return answer;
    }
    tokio::time::sleep(AGAIN).await;
    documents.get(location, MAX_ARRAY_DOCUMENT).await
}

impl Documents for Remote {
    fn get<'a>(&'a self, location: &'a Location, limit: u64) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        Box::pin(async move { self.object(location)?.document(limit).await })
    }

    fn names<'a>(&'a self, folder: &'a Location) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            if folder.url.scheme() != "file" {
                return Vec::new();
            }
            let list = |path: &Path| -> Vec<String> {
                let entries = std::fs::read_dir(path).into_iter().flatten().flatten().take(MAX_NAMES);
                entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
            };
            self.with_path(folder, list).await.unwrap_or_default()
        })
    }

    fn confirmed(&self, location: &Location) -> SystemTime {
        self.object(location).map_or_else(|_| SystemTime::now(), |object| object.confirmed())
    }

    fn desk(&self) -> Option<&Desk> {
        Some(Remote::desk(self))
    }
}

/// Keeps what was fetched, packed, as more is waited for meanwhile.
pub(super) struct CachedDocuments<'a, D> {
    inner: &'a D,
    documents: Mutex<Vec<(Location, Packed)>>,
}

impl<'a, D: Documents> CachedDocuments<'a, D> {
    pub(super) fn new(inner: &'a D) -> Self {
        CachedDocuments { inner, documents: Mutex::default() }
    }

    /// What was fetched from there.
    pub(super) fn content(&self, location: &Location) -> Option<Bytes> {
        let documents = self.documents.lock();
        documents.iter().find(|(at, _)| at == location).map(|(_, packed)| packed.all())
    }

    /// The fetched documents for people. Their names are their paths below `group` without the leading dots.
    /// Those below the folders `without` are no documents of what is shown.
    pub(super) fn into_documents(self, group: &Location, without: &[&Location]) -> Vec<Document> {
        let name = |location: &Location| {
            let path = location.url.path();
            let path = path.strip_prefix(group.url.path()).unwrap_or(path).trim_matches('/').to_owned();
            let (folder, file) = path.rsplit_once('/').unwrap_or(("", &path));
            let stem = file.trim_start_matches('.').trim_end_matches(".json");
            let dash = if folder.is_empty() { "" } else { "-" };
            format!("{stem}{dash}{}.json", folder.replace('/', "-"))
        };
        let mut fetched = self.documents.into_inner();
        // In which order the answers came says nothing.
        fetched.sort_by_cached_key(|(at, _)| at.to_string());
        let is_shown = |at: &Location| {
            let is_below = |folder: &&Location| at.to_string().starts_with(&format!("{folder}/"));
            !without.iter().any(is_below)
        };
        let documents = fetched.iter().filter(|(at, _)| is_shown(at)).filter_map(|(at, packed)| {
            let document = Document::fetched(name(at), at.to_string(), &packed.all())?;
            Some(document.retrieved_at(self.inner.confirmed(at)))
        });
        documents.collect()
    }
}

impl<D: Documents> Documents for CachedDocuments<'_, D> {
    fn get<'a>(&'a self, location: &'a Location, limit: u64) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        Box::pin(async move {
            let bytes = self.inner.get(location, limit).await?;
            self.documents.lock().push((location.clone(), Packed::of(&bytes)));
            Ok(bytes)
        })
    }

    fn names<'b>(&'b self, folder: &'b Location) -> BoxFuture<'b, Vec<String>> {
        self.inner.names(folder)
    }

    fn desk(&self) -> Option<&Desk> {
        self.inner.desk()
    }
}

/// Version of the storage format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
    /// N5, which is no version of Zarr but of the same kind.
    N5,
}

impl Version {
    /// What is put behind the name of what an image is.
    pub const fn told(self) -> &'static str {
        match self {
            Version::V2 => " in Zarr v2",
            Version::V3 => " in Zarr v3",
            Version::N5 => "",
        }
    }

    /// Name of the document of an array.
    pub const fn array_document(self) -> &'static str {
        match self {
            Version::V2 => ".zarray",
            Version::V3 => "zarr.json",
            Version::N5 => n5::DOCUMENT,
        }
    }
}

/// What the document of a group or of a lone array says.
pub(super) enum Root {
    /// An image of several arrays.
    Image(Version, Multiscales),
    /// One array and its axes.
    Array(Version, Box<ArrayDocument>, Axes),
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
    match lone_v2(documents, group, Axes::zyx()).await? {
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
        let attributes = Field::root(&file_name, &value)?;
        Ok::<_, SourceError>(match multiscales::parse(&attributes)? {
            Some(image) => Ok(image),
            // This version of Zarr names no axes; xarray does, and others do as it does.
            None => Err((Axes::of_array(&attributes, "_ARRAY_DIMENSIONS")?, Hint::of(&value))),
        })
    })?;
    let (axes, hint) = match attributes {
        Ok(image) => return Ok(Root::Image(Version::V2, image)),
        Err(other) => other,
    };
    if let Some(root) = lone_v2(documents, group, axes).await? {
        return Ok(root);
    }
    let consolidated = whereabouts::consolidated(documents, group).await;
    let reason = whereabouts::of_group(documents, group, hint, consolidated).await;
    Err(SourceError::malformed(file, "multiscales", reason))
}

/// The array at `group` itself, where there is one.
async fn lone_v2(documents: &impl Documents, group: &Location, axes: Axes) -> Result<Option<Root>, SourceError> {
    let location = group.join(".zarray");
    match documents.get(&location, MAX_ARRAY_DOCUMENT).await {
        Ok(bytes) => {
            let array = documents.alone(|| v2::parse(&location.to_string(), &bytes))?;
            Ok(Some(Root::Array(Version::V2, Box::new(array), axes)))
        }
        Err(error) if matches!(error.cause, Cause::NotFound | Cause::Denied(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn v3_root(documents: &impl Documents, group: &Location, file: &str, bytes: Bytes) -> Result<Root, SourceError> {
    // It is dropped in here, before another document is waited for.
    let found = documents.alone(move || {
        let value = json::parse(file, &bytes)?;
        let document = Field::root(file, &value)?;
        if v3::node(&document)? == v3::Node::Array {
            let axes = Axes::of_array(&document, "dimension_names")?;
            return Ok(Ok(Root::Array(Version::V3, Box::new(v3::parse(file, &bytes)?), axes)));
        }
        v3::check_members(&document, v3::Node::Group)?;
        let image = match document.optional("attributes")? {
            Some(attributes) => multiscales::parse(&attributes)?,
            None => None,
        };
        let hint = value.get("attributes").and_then(Hint::of);
        let consolidated = whereabouts::members(value.pointer("/consolidated_metadata/metadata"));
        Ok::<_, SourceError>(image.map(|image| Root::Image(Version::V3, image)).ok_or((hint, consolidated)))
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
    version: Version,
    locations: &[Location],
    axes: &Axes,
) -> Vec<Result<ArrayDocument, SourceError>> {
    let fetch = |location: &Location| {
        let document = location.join(version.array_document());
        async move {
            let bytes = of_level(documents, &document).await?;
            // Each at once: its bytes are counted while others are waited for.
            let file = document.to_string();
            let array = documents.alone(|| match version {
                Version::V2 => v2::parse(&file, &bytes),
                Version::V3 => v3::parse(&file, &bytes),
                Version::N5 => n5::parse(&file, &bytes),
            })?;
            axes.check(&file, &array)?;
            Ok(array)
        }
    };
    futures::future::join_all(locations.iter().map(fetch)).await
}
