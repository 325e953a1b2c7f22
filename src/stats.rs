//! Counters that `emfs status` shows.

use std::collections::BTreeMap;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use serde::Serialize;

use crate::ledger::{Ledger, LedgerPage, Mark};

/// Failures that a snapshot has.
const LATEST_FAILURES: usize = 32;

/// Stores whose denials are remembered.
const MAX_DENIALS: usize = 1024;

/// Local files are counted under this name among hosts, none of which can have it.
pub const FILES: &str = "file:";

/// Everything that is counted while a mount lives. All methods are cheap and may be called from any thread.
#[derive(Debug, Default)]
pub struct Stats {
    fuse: Mutex<BTreeMap<&'static str, u64>>,
    hosts: Mutex<BTreeMap<String, HostStats>>,
    ledger: Ledger,
    absent: Mutex<BTreeMap<String, u64>>,
    denials: Mutex<BTreeMap<String, bool>>,
    chunk_hits: AtomicU64,
    chunk_misses: AtomicU64,
    block_hits: AtomicU64,
    block_misses: AtomicU64,
    disk_hits: AtomicU64,
    disk_misses: AtomicU64,
    disk_bytes: AtomicU64,
    memory: AtomicU64,
    memory_limit: AtomicU64,
}

/// What one host was asked for.
#[derive(Debug, Default, Clone, Serialize)]
pub struct HostStats {
    /// Requests sent, second ones of hedged ones and repeated ones included.
    pub requests: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Requests that were sent again after a failure.
    pub retries: u64,
    /// Stalled requests that were hedged by a second one.
    pub hedges: u64,
    /// Operations that failed for good.
    pub failures: u64,
    /// Requests in flight now.
    pub in_flight: u64,
}

/// A copy of all counters at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// FUSE messages by kind.
    pub fuse: BTreeMap<&'static str, u64>,
    /// Requests by host.
    pub hosts: BTreeMap<String, HostStats>,
    /// Chunk and block lookups in memory.
    pub cache: CacheStats,
    /// What was read of the bytes kept on disk.
    pub disk: DiskStats,
    /// Bytes of the budget in use, and the budget.
    pub memory: MemoryStats,
    /// Reads and look-ups that ended in an error since the mount.
    pub failed: u64,
    /// The latest failures, oldest first, as they stand in the log.
    pub failures: Vec<String>,
    /// Blocks that the origin does not have and that were read as the fill value, by dataset.
    pub absent: BTreeMap<String, u64>,
    /// Arrays and volumes whose origin says "denied" (403) of some of what is asked for, by address, and whether that was found
    /// to be its way to say that something is not there.
    pub denied_is_absent: BTreeMap<String, bool>,
}

/// Lookups in the memory cache.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct CacheStats {
    pub chunk_hits: u64,
    pub chunk_misses: u64,
    pub block_hits: u64,
    pub block_misses: u64,
}

/// Ranges and documents looked for on disk.
#[derive(Debug, Clone, Serialize)]
pub struct DiskStats {
    /// Answered without asking the origin.
    pub hits: u64,
    /// Not there, or only in part.
    pub misses: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// The memory budget.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryStats {
    /// Bytes in use.
    pub used: u64,
    /// Bytes allowed (`--memory`).
    pub limit: u64,
}

impl Stats {
    /// Counts a FUSE message.
    pub fn fuse(&self, kind: &'static str) {
        *self.fuse.lock().entry(kind).or_default() += 1;
    }

    /// Changes the counters of a host.
    pub fn host(&self, host: &str, change: impl FnOnce(&mut HostStats)) {
        let mut hosts = self.hosts.lock();
        match hosts.get_mut(host) {
            Some(counters) => change(counters),
            None => change(hosts.entry(host.to_owned()).or_default()),
        }
    }

    /// Bytes received from all hosts; those of files of this machine are not.
    pub fn received(&self) -> u64 {
        self.hosts.lock().iter().filter(|(name, _)| *name != FILES).map(|(_, host)| host.bytes).sum()
    }

    /// Counts a chunk looked for in memory.
    pub fn chunk(&self, hit: bool) {
        if hit { &self.chunk_hits } else { &self.chunk_misses }.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a block looked for in memory.
    pub fn block(&self, hit: bool) {
        if hit { &self.block_hits } else { &self.block_misses }.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a range or document looked for on disk, and the bytes of it that were read.
    pub fn disk(&self, hit: bool, bytes: u64) {
        if hit { &self.disk_hits } else { &self.disk_misses }.fetch_add(1, Ordering::Relaxed);
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes the state of the memory budget.
    pub fn memory(&self, used: u64, limit: u64) {
        self.memory.store(used, Ordering::Relaxed);
        self.memory_limit.store(limit, Ordering::Relaxed);
    }

    /// Remembers a failure; `line` is what the log says.
    pub fn failure(&self, line: String) {
        self.ledger.failure(line);
    }

    /// Remembers that the origin does not have a part of `dataset`; `line` says which.
    pub fn absence(&self, dataset: &str, line: String) {
        *self.absent.lock().entry(dataset.to_owned()).or_default() += 1;
        self.ledger.absence(line);
    }

    /// Remembers whether "denied" is what the origin says of what is absent in the store at this address.
    pub fn denial(&self, store: String, means_absent: bool) {
        let mut denials = self.denials.lock();
        if denials.len() < MAX_DENIALS || denials.contains_key(&store) {
            denials.insert(store, means_absent);
        }
    }

    /// Why the latest operation on `path` that failed did.
    pub fn latest_failure_of(&self, path: &str) -> Option<String> {
        self.ledger.latest_failure_of(path)
    }

    /// This moment in the ledger of failures and absences.
    pub fn mark(&self) -> Mark {
        self.ledger.mark()
    }

    /// The ledger of failures and absences.
    pub fn ledger(&self) -> LedgerPage {
        self.ledger.page()
    }

    /// All counters as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            fuse: self.fuse.lock().clone(),
            hosts: self.hosts.lock().clone(),
            cache: CacheStats {
                chunk_hits: load(&self.chunk_hits),
                chunk_misses: load(&self.chunk_misses),
                block_hits: load(&self.block_hits),
                block_misses: load(&self.block_misses),
            },
            disk: DiskStats {
                hits: load(&self.disk_hits),
                misses: load(&self.disk_misses),
                bytes: load(&self.disk_bytes),
            },
            memory: MemoryStats { used: load(&self.memory), limit: load(&self.memory_limit) },
            failed: self.ledger.failed(),
            failures: self.ledger.latest_failures(LATEST_FAILURES),
            absent: self.absent.lock().clone(),
            denied_is_absent: self.denials.lock().clone(),
        }
    }
}
