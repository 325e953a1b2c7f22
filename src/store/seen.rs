//! Which versions of objects were fetched from, for those who have to tell where data came from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The version of an object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SeenVersion {
    /// ETag as sent, quotes included.
    pub etag: Option<String>,
    /// `Last-Modified` as sent.
    pub last_modified: Option<String>,
    /// Length of the whole object.
    pub bytes: Option<u64>,
}

/// Versions by address. Remembers nothing until it is asked to.
#[derive(Debug, Default)]
pub struct SeenVersions {
    versions: Mutex<Option<BTreeMap<String, SeenVersion>>>,
    changes: AtomicU64,
}

impl SeenVersions {
    /// Objects that are remembered: the first by address, so that equal work remembers equal ones.
    pub const REMEMBERED: usize = 1000;

    /// Forgets what was seen and remembers from now on.
    pub fn record(&self) {
        *self.versions.lock() = Some(BTreeMap::new());
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// What is remembered.
    pub fn versions(&self) -> BTreeMap<String, SeenVersion> {
        self.versions.lock().clone().unwrap_or_default()
    }

    /// A number that is another one after each change.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether anything is remembered.
    pub(super) fn is_recording(&self) -> bool {
        self.versions.lock().is_some()
    }

    pub(super) fn note(&self, url: &str, version: impl FnOnce() -> SeenVersion) {
        let mut versions = self.versions.lock();
        let Some(seen) = versions.as_mut() else { return };
        if seen.len() >= Self::REMEMBERED && seen.last_key_value().is_some_and(|(last, _)| url > last.as_str()) {
            return;
        }
        let version = version();
        match seen.get_mut(url) {
            Some(known) if known.bytes.is_some() || version.bytes.is_none() => return,
            Some(known) => *known = version,
            None => drop(seen.insert(url.to_owned(), version)),
        }
        if seen.len() > Self::REMEMBERED {
            seen.pop_last();
        }
        self.changes.fetch_add(1, Ordering::Release);
    }
}
