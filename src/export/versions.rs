//! Which versions of the origin's objects an export is made of, kept beside it so that a resumed one is made of the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use parking_lot::Mutex;

use super::error::ExportError;
use crate::remote::is_weak;
use crate::store::{Remote, SeenVersion, SeenVersions};

/// The versions that were seen by this run and by those before it.
#[derive(Debug)]
pub(super) struct ObservedVersions {
    remote: Remote,
    path: PathBuf,
    destination: String,
    /// Addresses of documents that go into the export as they are at its end.
    documents: BTreeSet<String>,
    kept: Mutex<SavedVersions>,
}

#[derive(Debug)]
struct SavedVersions {
    earlier: BTreeMap<String, SeenVersion>,
    /// State of what was seen when it was kept last.
    saved: Option<u64>,
}

impl ObservedVersions {
    /// What earlier runs kept at `path`. `documents`: addresses of what tells of the image, voxels aside.
    pub(super) fn open(
        remote: &Remote,
        path: PathBuf,
        destination: String,
        documents: BTreeSet<String>,
    ) -> Result<ObservedVersions, ExportError> {
        let failed = |reason: String| ExportError::Write { what: path.display().to_string(), reason };
        let earlier = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        let kept = Mutex::new(SavedVersions { earlier, saved: None });
        Ok(ObservedVersions { remote: remote.clone(), path, destination, documents, kept })
    }

    /// Whether nothing was seen since the last time.
    pub(super) fn are_saved(&self) -> bool {
        self.kept.lock().saved == Some(self.remote.seen().changes())
    }

    /// Keeps what was seen since the last time; an error where it is not what earlier runs saw. Blocks on the disk.
    pub(super) fn save(&self) -> Result<(), ExportError> {
        let mut kept = self.kept.lock();
        let changes = self.remote.seen().changes();
        if kept.saved == Some(changes) {
            return Ok(());
        }
        let seen = self.remote.seen().versions();
        for (url, now) in &seen {
            if let Some(before) = kept.earlier.get(url)
                && let Some(difference) = difference(before, now, self.documents.contains(url))
            {
                let reason = format!("{url} changed at the origin since the export began: {difference}");
                return Err(ExportError::Other { destination: self.destination.clone(), reason });
            }
        }
        let all = merged(&kept.earlier, seen);
        let half = self.path.with_extension("half");
        let bytes = serde_json::to_vec(&all).map_err(ExportError::write(self.path.display().to_string()))?;
        // On the disk before anything that was made of them.
        fs::File::create(&half)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&half, &self.path))
            .map_err(ExportError::write(self.path.display().to_string()))?;
        kept.saved = Some(changes);
        Ok(())
    }

    /// All versions, and whether these are all objects. A date is with those alone that have no ETag or a weak one, because
    /// mirrors that agree on the one disagree on the other.
    pub(super) fn all(&self) -> (BTreeMap<String, SeenVersion>, bool) {
        let mut all = merged(&self.kept.lock().earlier, self.remote.seen().versions());
        all.values_mut().filter(|version| is_named(version)).for_each(|version| version.last_modified = None);
        let complete = all.len() < SeenVersions::REMEMBERED;
        (all, complete)
    }
}

/// The first thousand of both.
fn merged(
    earlier: &BTreeMap<String, SeenVersion>,
    now: BTreeMap<String, SeenVersion>,
) -> BTreeMap<String, SeenVersion> {
    let mut all = earlier.clone();
    all.extend(now);
    while all.len() > SeenVersions::REMEMBERED {
        all.pop_last();
    }
    all
}

/// Whether an ETag alone tells the version.
fn is_named(version: &SeenVersion) -> bool {
    version.etag.as_deref().is_some_and(|etag| !is_weak(etag))
}

/// Says how an object differs from what it was. Dates count only where there was no ETag, or a weak one. A document that its server makes anew for each answer has neither, and may say more today.
fn difference(before: &SeenVersion, now: &SeenVersion, document: bool) -> Option<String> {
    let show = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    if before.etag.is_some() && before.etag != now.etag {
        return Some(format!("ETag {} instead of {}", show(&now.etag), show(&before.etag)));
    }
    if is_named(before) {
        return None;
    }
    if before.last_modified.is_some() && before.last_modified != now.last_modified {
        let (first, date) = (show(&before.last_modified), show(&now.last_modified));
        return Some(format!("Last-Modified {date} instead of {first}"));
    }
    match (before.bytes, now.bytes) {
        (Some(first), Some(length)) if first != length && !(document && before.last_modified.is_none()) => {
            Some(format!("length {length} instead of {first}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(etag: Option<&str>, date: Option<&str>, bytes: u64) -> SeenVersion {
        SeenVersion { etag: etag.map(str::to_owned), last_modified: date.map(str::to_owned), bytes: Some(bytes) }
    }

    fn differ(before: &SeenVersion, now: &SeenVersion) -> bool {
        difference(before, now, false).is_some()
    }

    #[test]
    fn an_etag_tells_versions_apart_whatever_the_dates() {
        let first = version(Some("a"), Some("monday"), 5);
        assert!(!differ(&first, &version(Some("a"), Some("tuesday"), 5)));
        assert!(differ(&first, &version(Some("b"), Some("monday"), 5)));
        assert!(differ(&first, &version(None, Some("monday"), 5)));
    }

    #[test]
    fn a_weak_etag_tells_versions_apart_only_with_the_date() {
        let first = version(Some("W/\"a\""), Some("monday"), 5);
        assert!(!differ(&first, &first));
        assert!(differ(&first, &version(Some("W/\"a\""), Some("tuesday"), 5)));
        assert!(differ(&first, &version(Some("W/\"b\""), Some("monday"), 5)));
    }

    #[test]
    fn without_an_etag_date_and_length_tell_versions_apart() {
        let first = version(None, Some("monday"), 5);
        assert!(!differ(&first, &version(None, Some("monday"), 5)));
        assert!(!differ(&first, &version(Some("a"), Some("monday"), 5)));
        assert!(differ(&first, &version(None, Some("tuesday"), 5)));
        assert!(differ(&first, &version(None, None, 5)));
        assert!(differ(&first, &version(None, Some("monday"), 6)));
        assert!(differ(&version(None, None, 5), &version(None, None, 6)));
    }

    #[test]
    fn a_document_that_is_made_anew_may_say_more() {
        assert_eq!(difference(&version(None, None, 5), &version(None, None, 6), true), None);
        assert!(difference(&version(None, Some("monday"), 5), &version(None, Some("monday"), 6), true).is_some());
        assert!(difference(&version(Some("a"), None, 5), &version(Some("b"), None, 5), true).is_some());
    }
}
