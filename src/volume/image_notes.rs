//! What was computed of an image's voxels on this machine, kept beside its fetched bytes.
//!
//! It is of the voxels that the image had then. So it is kept under what tells these from others: the version of the file,
//! the first and the last one of several, and what the documents say. Of a store that is a document and chunks this does not
//! tell whether a chunk is another one, so a note of it holds until an object of its source is found to be another one, and is
//! dropped where nothing is to be believed unasked.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::catalog::SourceSpec;
use crate::source::Source;
use crate::store::{Object, Remote};

/// The notes of an open image. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ImageNotes {
    remote: Remote,
    /// Tells the image, and its voxels as far as that is known, from all others.
    image: Arc<str>,
    /// Whether it tells all voxels: they lie in one object whose version is known.
    tells_all: bool,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Note<T> {
    at: SystemTime,
    value: T,
}

impl ImageNotes {
    /// Those of a source that was opened at the address `origin`. `remote`: that of the source.
    pub fn of(remote: Remote, origin: &str, source: &dyn Source, spec: &SourceSpec) -> Self {
        let description = source.description();
        let shape = description.levels.first().map(|level| level.grid.shape);
        let objects = shape.and_then(|shape| source.objects(0..shape.0[0])).unwrap_or_default();
        let ends = [objects.first(), objects.last()].map(|object| object?.as_ref()?.version_sum());
        let documents: Vec<String> = source.documents().into_iter().map(|document| document.sha256).collect();
        let content = xxh3_128(format!("{ends:?} {documents:?}").as_bytes());
        let shape = shape.map(|shape| shape.to_string()).unwrap_or_default();
        let image = format!("{origin} {shape} {} {} {content:032x}", spec.digest(), description.dtype);
        let tells_all = matches!(objects.as_slice(), [Some(only)] if Object::version_sum(only).is_some());
        ImageNotes { remote, image: image.into(), tells_all }
    }

    fn key(&self, what: &str, rule: u32) -> String {
        format!("{} {what} {rule}", self.image)
    }

    /// What was computed last by this version of a rule; nothing where it may be of other voxels, or is not what it should be.
    pub(super) async fn read<T: DeserializeOwned>(&self, what: &str, rule: u32) -> Option<T> {
        let (disk, key) = (self.remote.disk()?, self.key(what, rule));
        let Note { at, value } = serde_json::from_slice(&disk.metadata_soon(&key).await.ok()??).ok()?;
        if !self.tells_all && self.remote.is_doubted(at).await {
            disk.forget(&key);
            return None;
        }
        Some(value)
    }

    /// Keeps a value in place of the one before.
    pub(super) fn write<T: Serialize>(&self, what: &str, rule: u32, value: &T) {
        if let (Some(disk), Ok(bytes)) =
            (self.remote.disk(), serde_json::to_vec(&Note { at: SystemTime::now(), value }))
        {
            disk.set_metadata(&self.key(what, rule), Bytes::from(bytes));
        }
    }
}
