//! What all objects share: the ways to their origins, memory, counters, and where what is fetched is kept.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::believed::{Believed, Unconfirmed};
use super::cache_entry::CacheEntry;
use super::cache_policy::CachePolicy;
use super::entry_metadata::Timestamp;
use super::handle::Handle;
use super::object::Object;
use super::range_store::RangeStore;
use super::seen::SeenVersions;
use super::source_change::SourceChange;
use crate::cache::Desk;
use crate::hex::hex;
use crate::remote::{Cause, Credentials, LimitsByHost, Location, Origins, RemoteError};
use crate::stats::Stats;

/// Connections, limits and counters that all objects share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    shared: Arc<Shared>,
    policy: CachePolicy,
    /// Changes of the source whose objects are asked for.
    source: Option<Arc<SourceChange>>,
}

#[derive(Debug)]
struct Shared {
    origins: Origins,
    stats: Arc<Stats>,
    seen: Arc<SeenVersions>,
    desk: Arc<Desk>,
    believed: Believed,
    sources: Mutex<HashMap<String, Arc<SourceChange>>>,
}

impl Remote {
    #[cfg(test)]
    /// `timeout`: an operation fails when it made no progress (4 KiB/s) for so long.
    pub fn new(limits: LimitsByHost, timeout: Duration, stats: Arc<Stats>) -> Result<Self, RemoteError> {
        Self::with_policy(limits, timeout, stats, CachePolicy::default())
    }

    /// The same with a store of what was fetched.
    pub fn with_policy(
        limits: LimitsByHost,
        timeout: Duration,
        stats: Arc<Stats>,
        policy: CachePolicy,
    ) -> Result<Self, RemoteError> {
        let origins = Origins::new(limits, timeout, Arc::clone(&stats))?;
        let desk = Arc::new(Desk::of(policy.memory));
        let (seen, believed, sources) = Default::default();
        let shared = Shared { origins, stats, seen, desk, believed, sources };
        Ok(Remote { shared: Arc::new(shared), policy, source: None })
    }

    /// The same for objects that are parts of one source, which `name` tells from all others: where one of them is found to be
    /// another one than before, nothing that was kept of the others by then is believed without asking, nor by who comes later.
    pub fn of_source(&self, name: &str) -> Remote {
        let source = self.policy.disk.as_ref().map(|disk| {
            let key = format!("{name} changes");
            let new = || Arc::new(SourceChange::new(disk.clone(), key.clone()));
            self.shared.sources.lock().entry(key.clone()).or_insert_with(new).clone()
        });
        Remote { source, ..self.clone() }
    }

    /// Notes that a document of the source is another one than before.
    pub(super) fn found_changed(&self) {
        if let Some(source) = &self.source {
            source.note_once();
        }
    }

    /// Whether what was made at `when` of objects of the source may be of others than it has: one was found to be another
    /// one since, or nothing of before that moment is to be believed unasked.
    pub async fn is_doubted(&self, when: SystemTime) -> bool {
        let changed = match &self.source {
            Some(source) => {
                source.look().await;
                source.since().map(|since| since.time())
            }
            None => None,
        };
        changed.max(self.policy.doubted_before).is_some_and(|since| when < since)
    }

    /// Memory for documents.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.shared.desk
    }

    /// The versions of objects that were fetched from; empty unless asked for before with [`SeenVersions::record`].
    pub fn seen(&self) -> &SeenVersions {
        &self.shared.seen
    }

    /// Where what was fetched is kept.
    pub fn disk(&self) -> Option<&Arc<dyn RangeStore>> {
        self.policy.disk.as_ref()
    }

    /// Whether nobody is asked.
    pub fn is_offline(&self) -> bool {
        self.policy.offline
    }

    /// How long an operation may go without progress.
    pub fn timeout(&self) -> Duration {
        self.shared.origins.timeout()
    }

    /// How long it is believed that an object is absent.
    pub fn absent_ttl(&self) -> Duration {
        self.policy.absent_ttl
    }

    /// For how long more it is believed that an object is absent, which was so at `when`.
    pub(super) fn absence_left(&self, when: SystemTime) -> Option<Duration> {
        self.policy.absence_left(when)
    }

    /// Counts a failure that no read has met.
    pub(super) fn count_failure(&self, line: String) {
        self.shared.stats.failure(line);
    }

    /// Notes whether "denied" means that something is absent in the store with this document, for `emfs status`.
    pub(super) fn found_denial(&self, document: &Location, means_absent: bool) {
        let folder = document.to_string();
        let folder = folder.rsplit_once('/').map_or(folder.as_str(), |(folder, _)| folder).to_owned();
        self.shared.stats.denial(folder, means_absent);
    }

    /// Notes that something was taken for absent by what was said before.
    pub(super) fn believed_absences(&self, unconfirmed: &Arc<dyn Unconfirmed>) {
        self.shared.believed.add(unconfirmed);
    }

    /// Looks whether the documents of stores still bear out what was taken for absent since they were asked for, so that
    /// nobody has to wait a minute to be sure of it.
    ///
    /// # Errors
    /// Why something that was shown as absent may not be. It is counted as a failure as well.
    pub async fn confirm_absences(&self) -> Result<(), Cause> {
        self.shared.believed.revalidate().await
    }

    /// Since when it is not believed what was said before to be absent of the store with this document.
    pub(super) async fn doubted_absences(&self, document: &Location) -> Option<Timestamp> {
        let metadata = self.policy.disk.as_ref()?.metadata_soon(&absences(document)).await.ok()??;
        serde_json::from_slice(&metadata).ok()
    }

    /// Remembers that it is not.
    pub(super) fn doubt_absences(&self, document: &Location, since: Timestamp) {
        if let (Some(disk), Ok(metadata)) = (&self.policy.disk, serde_json::to_vec(&since)) {
            disk.set_metadata(&absences(document), metadata.into());
        }
    }

    /// What tells the object at `location` from all others where something is kept that is made of it.
    pub fn key(location: &Location) -> String {
        key(location)
    }

    /// A handle of the object at `location`. Uses no network.
    pub fn object(&self, location: &Location) -> Result<Object, RemoteError> {
        let origin = self.shared.origins.origin(location)?;
        // What is on this machine is not kept twice, and can be read without a network.
        let disk = self.policy.disk.as_ref().filter(|_| !origin.is_local());
        let kept =
            disk.map(|disk| CacheEntry::new(disk.clone(), key(location), self.policy.clone(), self.source.clone()));
        Ok(Object::new(Handle {
            offline: self.policy.offline && !origin.is_local(),
            origin,
            kept,
            stats: Arc::clone(&self.shared.stats),
            seen: Arc::clone(&self.shared.seen),
            desk: Arc::clone(&self.shared.desk),
        }))
    }

    /// Does `work` with the path of a local file or folder, on a thread that may wait for its filesystem. Whoever waits for
    /// the answer does so no longer than for that of a host; the thread is the filesystem's until the work is done.
    pub async fn with_path<T: Send + 'static>(
        &self,
        location: &Location,
        work: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> Result<T, RemoteError> {
        self.shared.origins.with_path(location, work).await
    }
}

/// What tells an object from all others: bytes fetched with credentials are not for who has none. It is kept on disk, so a
/// sum stands for what gives access.
pub(super) fn key(location: &Location) -> String {
    let mut key = location.to_string();
    if key != location.url.as_str() {
        let sum = hex(&Sha256::digest(location.url.as_str()));
        key.push_str(&format!(" sum={sum}"));
    }
    if let Some(endpoint) = &location.endpoint {
        key.push_str(&format!(" endpoint={endpoint}"));
    }
    if location.credentials == Credentials::Env {
        key.push_str(" credentials=env");
    }
    key
}

/// Under which key it is kept since when absences of a store are doubted.
fn absences(document: &Location) -> String {
    format!("{} absences", key(document))
}
