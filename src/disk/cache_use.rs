//! How a process uses what is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Disk;
use crate::store::{ABSENT_TTL, CachePolicy, RangeStore};

/// Bytes that may wait to be kept however little memory there is.
const LEAST_WAITING: u64 = 32 << 20;

/// The cache on disk as a process uses it. The default keeps nothing.
#[derive(Debug, Clone)]
pub struct CacheUse {
    /// Where fetched bytes are kept; nowhere where there is none.
    pub disk: Option<Disk>,
    /// Nothing but this machine is asked.
    pub offline: bool,
    /// What was kept before this moment is believed only after the origin confirmed it.
    pub doubted_before: Option<SystemTime>,
    /// How long it is believed that an object is absent.
    pub absent_ttl: Duration,
}

impl Default for CacheUse {
    fn default() -> Self {
        CacheUse { disk: None, offline: false, doubted_before: None, absent_ttl: ABSENT_TTL }
    }
}

impl CacheUse {
    /// What objects are to know of it, in a process that may take `memory` bytes. What waits to be kept takes no more than
    /// its share of these, but enough for a burst: what finds no memory there would have to be fetched again.
    pub fn policy(&self, memory: u64) -> CachePolicy {
        let CacheUse { disk, offline, doubted_before, absent_ttl } = self.clone();
        if let Some(disk) = &disk {
            disk.limit_queue((memory / 8).max(LEAST_WAITING));
        }
        let disk = disk.map(|disk| Arc::new(disk) as Arc<dyn RangeStore>);
        CachePolicy { disk, offline, doubted_before, absent_ttl, memory }
    }
}
