//! What may be answered without asking the origin.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::entry_metadata::EntryMetadata;
use super::range_store::RangeStore;

/// How long what an origin said is believed without asking again.
const TRUSTED: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long it is believed that an object is absent, where nobody says.
pub const ABSENT_TTL: Duration = Duration::from_secs(600);

/// The store of what was fetched, and when it is believed. The default keeps nothing.
#[derive(Clone)]
pub struct CachePolicy {
    /// Where fetched bytes are kept; nowhere where there is none.
    pub disk: Option<Arc<dyn RangeStore>>,
    /// Nothing but this machine is asked.
    pub offline: bool,
    /// What was kept before this moment is believed only after the origin confirmed it.
    pub doubted_before: Option<SystemTime>,
    /// How long it is believed that an object is absent.
    pub absent_ttl: Duration,
    /// Bytes that the process may take, of which documents get a part; see [`crate::cache::Desk`].
    pub memory: u64,
}

impl Default for CachePolicy {
    fn default() -> Self {
        CachePolicy { disk: None, offline: false, doubted_before: None, absent_ttl: ABSENT_TTL, memory: 0 }
    }
}

impl CachePolicy {
    /// Whether what the origin said of an object is still believed.
    pub(super) fn is_fresh(&self, metadata: &EntryMetadata) -> bool {
        let trusted = match metadata {
            EntryMetadata::Present(_) => TRUSTED,
            EntryMetadata::Absent(_) => self.absent_ttl,
        };
        self.left(metadata.at(), trusted).is_some()
    }

    /// For how long more it is believed that an object is absent, which was so at `when`.
    pub(super) fn absence_left(&self, when: SystemTime) -> Option<Duration> {
        // Offline there is nobody to ask.
        if self.offline { Some(self.absent_ttl) } else { self.left(when, self.absent_ttl) }
    }

    fn left(&self, when: SystemTime, trusted: Duration) -> Option<Duration> {
        // A clock that was set back must not make an answer young for ever.
        let age = SystemTime::now().duration_since(when).ok()?;
        let left = trusted.checked_sub(age).filter(|left| !left.is_zero());
        left.filter(|_| self.doubted_before.is_none_or(|moment| when >= moment))
    }
}

impl std::fmt::Debug for CachePolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachePolicy")
            .field("disk", &self.disk)
            .field("offline", &self.offline)
            .field("doubted_before", &self.doubted_before)
            .finish()
    }
}
