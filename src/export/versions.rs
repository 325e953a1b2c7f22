//! Which versions of the origin's objects an export is made of, kept beside it so that a resumed one is made of the same.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::error::ExportError;
use crate::remote::{Remote, Seen, SeenVersion};

/// The versions that were seen by this run and by those before it.
#[derive(Debug)]
pub(super) struct Versions {
    remote: Remote,
    path: PathBuf,
    destination: String,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    earlier: BTreeMap<String, SeenVersion>,
    /// State of what was seen when it was kept last.
    saved: Option<u64>,
}

impl Versions {
    /// What earlier runs kept at `path`.
    pub(super) fn open(remote: &Remote, path: PathBuf, destination: String) -> Result<Versions, ExportError> {
        let failed = |reason: String| ExportError::Write { what: path.display().to_string(), reason };
        let earlier = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        Ok(Versions { remote: remote.clone(), path, destination, kept: Mutex::new(Kept { earlier, saved: None }) })
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
                && let Some(difference) = difference(before, now)
            {
                let reason = format!("{url} changed at the origin since the export began: {difference}");
                return Err(ExportError::Other { destination: self.destination.clone(), reason });
            }
        }
        let all = merged(&kept.earlier, seen);
        let half = self.path.with_extension("half");
        let bytes = serde_json::to_vec(&all).map_err(ExportError::write(self.path.display().to_string()))?;
        fs::write(&half, bytes)
            .and_then(|()| fs::rename(&half, &self.path))
            .map_err(ExportError::write(self.path.display().to_string()))?;
        kept.saved = Some(changes);
        Ok(())
    }

    /// All versions, and whether these are all objects.
    pub(super) fn all(&self) -> (BTreeMap<String, SeenVersion>, bool) {
        let all = merged(&self.kept.lock().earlier, self.remote.seen().versions());
        let complete = all.len() < Seen::REMEMBERED;
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
    while all.len() > Seen::REMEMBERED {
        all.pop_last();
    }
    all
}

/// Documents that a server makes anew for each answer have no ETag, and may say more today.
fn difference(before: &SeenVersion, now: &SeenVersion) -> Option<String> {
    match (&before.etag, &now.etag) {
        (Some(first), Some(etag)) if first != etag => Some(format!("ETag {etag} instead of {first}")),
        (Some(first), None) => Some(format!("no ETag instead of {first}")),
        _ => None,
    }
}
