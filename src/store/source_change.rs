//! Since when what is kept of a source is asked for before it is believed: an object of it was found to be another one.
//!
//! A source is often many objects: the files of a folder, the chunks of a store. They are replaced together, but each is
//! believed for itself. So that one which was found to have changed has a say, the moment is kept beside what is kept of them:
//! what its origin did not confirm since then is asked for, by this process and by later ones. An old part is not shown beside a
//! new one.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::entry_metadata::Timestamp;
use super::range_store::{RangeStore, Unavailable};

/// What is known of changes of one source. Clones of what it is kept with share it.
#[derive(Debug)]
pub(super) struct SourceChange {
    disk: Arc<dyn RangeStore>,
    key: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: bool,
    since: Option<Timestamp>,
    /// Whether this process found a change.
    found: bool,
}

impl SourceChange {
    /// `key`: what tells the source from all others.
    pub(super) fn new(disk: Arc<dyn RangeStore>, key: String) -> Self {
        SourceChange { disk, key, state: Mutex::default() }
    }

    /// Has the disk say what it knows, where nobody did yet.
    pub(super) async fn look(&self) {
        if !self.has_looked() {
            let kept = self.disk.metadata_soon(&self.key).await;
            self.learn(kept);
        }
    }

    /// The same for whoever may wait on the thread.
    pub(super) fn look_now(&self) {
        if !self.has_looked() {
            let kept = self.disk.metadata(&self.key);
            self.learn(kept);
        }
    }

    fn has_looked(&self) -> bool {
        self.state.lock().looked
    }

    /// A disk that cannot tell now is asked again.
    fn learn(&self, kept: Result<Option<Bytes>, Unavailable>) {
        let Ok(kept) = kept else { return };
        let mut state = self.state.lock();
        if !state.looked {
            state.looked = true;
            state.since = kept.and_then(|since| serde_json::from_slice(&since).ok());
        }
    }

    /// Before which moment nothing is believed.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.state.lock().since
    }

    /// Notes that an object was found to be another one than what was believed.
    pub(super) fn note(&self) {
        let mut state = self.state.lock();
        // A clock that was set back must not make what is in doubt believed.
        let since = state.since.max(Some(Timestamp::now()));
        *state = State { looked: true, since, found: true };
        drop(state);
        if let Ok(metadata) = serde_json::to_vec(&since) {
            self.disk.set_metadata(&self.key, metadata.into());
        }
    }

    /// The same, unless this process found a change before: for what is found again and again.
    pub(super) fn note_once(&self) {
        if !self.state.lock().found {
            self.note();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_believed_that_was_in_doubt() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(folder.path(), 64 << 20).unwrap());
        let later: Timestamp = serde_json::from_str("4000000000000").unwrap();
        disk.set_metadata("source", serde_json::to_vec(&later).unwrap().into());
        let change = SourceChange::new(disk.clone(), "source".to_owned());
        change.look_now();
        change.note();
        assert_eq!(change.since(), Some(later));
        disk.flush();
        let next = SourceChange::new(disk, "source".to_owned());
        next.look_now();
        assert_eq!(next.since(), Some(later));
    }
}
