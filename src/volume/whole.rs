//! Objects that are one block each.

use crate::store::{Object, Witness};

/// An object that is one block.
pub(super) struct Whole {
    pub(super) object: Object,
    /// Its longest valid body.
    pub(super) limit: u64,
    /// Where it is a gzip file, the longest that it may hold.
    pub(super) gzip: Option<u64>,
    /// What bears out that it is absent.
    pub(super) witness: Witness,
}

impl Whole {
    pub(super) fn new(object: Object, limit: u64, witness: Witness) -> Self {
        Whole { object, limit, gzip: None, witness }
    }

    /// A gzip file that holds at most `limit` bytes.
    pub(super) fn gzip(object: Object, limit: u64, witness: Witness) -> Self {
        // No gzip file is much longer than what it holds.
        let stored = limit.saturating_add(limit / 128).saturating_add(1 << 10);
        Whole { object, limit: stored, gzip: Some(limit), witness }
    }

    /// Bytes of memory that it takes to fetch it, its voxels aside.
    pub(super) fn needed(&self) -> u64 {
        self.limit.saturating_add(self.gzip.unwrap_or(0))
    }
}
