//! What all clones of an object share.

use std::sync::Arc;

use super::cache_entry::CacheEntry;
use super::healing;
use super::seen::SeenVersions;
use crate::cache::Desk;
use crate::remote::{Cause, Fetched, Origin, RangeRequest, RemoteError};
use crate::stats::Stats;

/// An object at its origin, with what is kept of it.
pub(super) struct Handle {
    pub(super) origin: Origin,
    pub(super) offline: bool,
    pub(super) kept: Option<CacheEntry>,
    pub(super) stats: Arc<Stats>,
    pub(super) seen: Arc<SeenVersions>,
    pub(super) desk: Arc<Desk>,
}

impl Handle {
    /// Asks the origin, unless nobody is to be asked.
    pub(super) async fn ask(&self, ask: &RangeRequest) -> Result<Fetched, RemoteError> {
        if self.offline {
            return Err(self.origin.failed(ask, Cause::Offline("not in the cache".to_owned())));
        }
        self.origin.ask(ask, healing::is_past_caches()).await
    }
}
