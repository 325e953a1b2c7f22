//! The few documents that describe an image, fetched in as few rounds as can be.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use super::fault::{LevelFault, is_document};
use crate::cache::Desk;
use crate::document::{Document, DocumentKind, Packed};
use crate::remote::{Location, RemoteError};
use crate::source::{SourceError, foreign};
use crate::store::{Remote, is_past_caches};

/// Bytes of a document of a group that are counted on: real ones have some kilobytes, a consolidated `zarr.json`, which holds
/// those of all its arrays, some dozens. A longer one is fetched once more, to the [`LONGEST_DOCUMENT`](crate::store::LONGEST_DOCUMENT).
pub(super) const MAX_GROUP_DOCUMENT: u64 = 1 << 20;

/// The same of an array: real ones have some hundreds of bytes.
pub(super) const MAX_ARRAY_DOCUMENT: u64 = 256 << 10;

/// After what time a document is asked for again that is said to be missing, or in whose place something else is.
pub(super) const AGAIN: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(1) };

/// Names of a folder that are looked at.
const MAX_NAMES: usize = 256;

/// Where documents come from. A missing one is an error with [`NotFound`](crate::remote::Cause::NotFound).
pub(super) trait Documents: Sync {
    /// The document at `location`, which hardly ever has more than `usual` bytes.
    fn get<'a>(&'a self, location: &'a Location, usual: u64) -> BoxFuture<'a, Result<Bytes, RemoteError>>;

    /// When the origin sent or confirmed it last.
    fn confirmed<'a>(&'a self, _location: &'a Location) -> BoxFuture<'a, SystemTime> {
        Box::pin(async { SystemTime::now() })
    }

    /// Names in the folder, where it can be listed without asking anybody.
    fn names<'a>(&'a self, _folder: &'a Location) -> BoxFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// First bytes of a file, where it is one and is there.
    fn front<'a>(&'a self, _file: &'a Location) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(std::future::ready(None))
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

/// What `read` makes of the document of a level and its name. That it is missing, or that something else stands in its place,
/// hides the level as long as the image is open, so it is believed only where it is so again a while later, past every cache.
/// `members`: those that every such document has.
pub(super) async fn of_level<T>(
    documents: &impl Documents,
    location: &Location,
    members: &[&str],
    read: impl Fn(&str, &[u8]) -> Result<T, SourceError>,
) -> Result<T, LevelFault> {
    let file = location.to_string();
    let once = async || {
        let answer = documents.get(location, MAX_ARRAY_DOCUMENT).await;
        let bytes = answer.map_err(|error| LevelFault::of(error.into(), false))?;
        // At once: its bytes are counted while others are waited for.
        documents.alone(|| read(&file, &bytes).map_err(|error| LevelFault::of(error, is_document(&bytes, members))))
    };
    let began = Instant::now();
    let answer = once().await;
    let is_believed = match &answer {
        // Of a host that took such an answer back before, it is said for seconds already.
        Err(LevelFault::Missing(_)) => began.elapsed() >= AGAIN,
        Err(fault) => !fault.is_of_answer(),
        Ok(_) => true,
    };
    if is_believed || !is_past_caches() || location.url.scheme() == "file" {
        return answer;
    }
    tokio::time::sleep(AGAIN).await;
    once().await
}

impl Documents for Remote {
    fn get<'a>(&'a self, location: &'a Location, usual: u64) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        Box::pin(async move { self.object(location)?.description(usual).await })
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

    fn front<'a>(&'a self, file: &'a Location) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(async move { Some(self.object(file).ok()?.start(foreign::FRONT).await.ok()?.bytes) })
    }

    fn confirmed<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, SystemTime> {
        Box::pin(async move {
            let Ok(object) = self.object(location) else { return SystemTime::now() };
            object.look_up().await;
            object.confirmed()
        })
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
    pub(super) async fn into_documents(self, group: &Location, without: &[&Location]) -> Vec<Document> {
        let kind = |location: &Location| {
            let path = location.url.path();
            let below =
                path.strip_prefix(group.url.path().trim_end_matches('/')).and_then(|path| path.strip_prefix('/'));
            let (folder, file) = match below {
                Some(path) => path.rsplit_once('/').unwrap_or(("", path)),
                None => ("above", path.rsplit('/').next().unwrap_or(path)),
            };
            let stem = file.trim_start_matches('.').trim_end_matches(".json");
            DocumentKind::of_store(stem, folder)
        };
        let mut fetched = self.documents.into_inner();
        // In which order the answers came says nothing.
        fetched.sort_by_cached_key(|(at, _)| at.to_string());
        let is_shown = |at: &Location| {
            let is_below = |folder: &&Location| at.to_string().starts_with(&format!("{folder}/"));
            !without.iter().any(is_below)
        };
        let documents = fetched.iter().filter(|(at, _)| is_shown(at)).filter_map(|(at, packed)| {
            let document = Document::fetched(kind(at), at.to_string(), &packed.all())?;
            Some(self.inner.confirmed(at).map(|confirmed| document.retrieved_at(confirmed)))
        });
        join_all(documents).await
    }
}

impl<D: Documents> Documents for CachedDocuments<'_, D> {
    fn get<'a>(&'a self, location: &'a Location, usual: u64) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        Box::pin(async move {
            let bytes = self.inner.get(location, usual).await?;
            let mut documents = self.documents.lock();
            // What came last is what something was made of.
            documents.retain(|(at, _)| at != location);
            documents.push((location.clone(), Packed::of(&bytes)));
            drop(documents);
            Ok(bytes)
        })
    }

    fn names<'b>(&'b self, folder: &'b Location) -> BoxFuture<'b, Vec<String>> {
        self.inner.names(folder)
    }

    fn front<'b>(&'b self, file: &'b Location) -> BoxFuture<'b, Option<Bytes>> {
        self.inner.front(file)
    }

    fn desk(&self) -> Option<&Desk> {
        self.inner.desk()
    }
}
