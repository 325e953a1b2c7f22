//! Counters that `emfs status` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
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
    fuse: [Counter; FuseMessage::ALL.len()],
    hosts: Mutex<BTreeMap<String, Arc<HostCounters>>>,
    ledger: Ledger,
    absent: Mutex<BTreeMap<String, u64>>,
    present: Mutex<BTreeSet<String>>,
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

/// A message of the kernel, by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FuseMessage {
    Lookup,
    Getattr,
    Open,
    Opendir,
    Read,
    Readdir,
    Readdirplus,
    Forget,
    Statfs,
    Flush,
    Release,
    Releasedir,
    Getxattr,
    Listxattr,
    Ioctl,
}

impl FuseMessage {
    /// In the order in which they are declared, by which they are counted.
    const ALL: [FuseMessage; 15] = [
        FuseMessage::Lookup,
        FuseMessage::Getattr,
        FuseMessage::Open,
        FuseMessage::Opendir,
        FuseMessage::Read,
        FuseMessage::Readdir,
        FuseMessage::Readdirplus,
        FuseMessage::Forget,
        FuseMessage::Statfs,
        FuseMessage::Flush,
        FuseMessage::Release,
        FuseMessage::Releasedir,
        FuseMessage::Getxattr,
        FuseMessage::Listxattr,
        FuseMessage::Ioctl,
    ];

    /// What the protocol calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FuseMessage::Lookup => "LOOKUP",
            FuseMessage::Getattr => "GETATTR",
            FuseMessage::Open => "OPEN",
            FuseMessage::Opendir => "OPENDIR",
            FuseMessage::Read => "READ",
            FuseMessage::Readdir => "READDIR",
            FuseMessage::Readdirplus => "READDIRPLUS",
            FuseMessage::Forget => "FORGET",
            FuseMessage::Statfs => "STATFS",
            FuseMessage::Flush => "FLUSH",
            FuseMessage::Release => "RELEASE",
            FuseMessage::Releasedir => "RELEASEDIR",
            FuseMessage::Getxattr => "GETXATTR",
            FuseMessage::Listxattr => "LISTXATTR",
            FuseMessage::Ioctl => "IOCTL",
        }
    }
}

impl fmt::Display for FuseMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number that any thread may change.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes away what was added before.
    pub fn subtract(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one host, as [`HostStats`] has them.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct HostCounters {
    pub requests: Counter,
    pub bytes: Counter,
    pub retries: Counter,
    pub hedges: Counter,
    pub failures: Counter,
    pub in_flight: Counter,
}

impl HostCounters {
    fn stats(&self) -> HostStats {
        HostStats {
            requests: self.requests.get(),
            bytes: self.bytes.get(),
            retries: self.retries.get(),
            hedges: self.hedges.get(),
            failures: self.failures.get(),
            in_flight: self.in_flight.get(),
        }
    }
}

/// What one host was asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
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
    /// Datasets of which the origin had at least one block.
    #[serde(skip)]
    pub present: BTreeSet<String>,
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

impl Snapshot {
    /// Datasets of which all blocks that were asked for are absent, and how many these are.
    pub fn only_absent(&self) -> impl Iterator<Item = (&str, u64)> {
        let absent = self.absent.iter().filter(|(dataset, _)| !self.present.contains(*dataset));
        absent.map(|(dataset, blocks)| (dataset.as_str(), *blocks))
    }
}

impl Stats {
    /// Counts a FUSE message.
    pub fn fuse(&self, kind: FuseMessage) {
        if let Some(counter) = self.fuse.get(kind as usize) {
            counter.add(1);
        }
    }

    /// The counters of a host.
    pub fn host(&self, host: &str) -> Arc<HostCounters> {
        self.hosts.lock().entry(host.to_owned()).or_default().clone()
    }

    /// Bytes received from all hosts; those of files of this machine are not.
    pub fn received(&self) -> u64 {
        self.hosts.lock().iter().filter(|(name, _)| *name != FILES).map(|(_, host)| host.bytes.get()).sum()
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

    /// Remembers that the origin has a part of `dataset`.
    pub fn presence(&self, dataset: &str) {
        let mut present = self.present.lock();
        if !present.contains(dataset) {
            present.insert(dataset.to_owned());
        }
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
        let fuse = FuseMessage::ALL.iter().zip(&self.fuse).map(|(kind, counter)| (kind.name(), counter.get()));
        let hosts = self.hosts.lock().iter().map(|(name, host)| (name.clone(), host.stats())).collect::<Vec<_>>();
        Snapshot {
            fuse: fuse.filter(|(_, count)| *count > 0).collect(),
            // Those that nobody asked yet are none of them.
            hosts: hosts.into_iter().filter(|(_, host)| *host != HostStats::default()).collect(),
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
            present: self.present.lock().clone(),
            denied_is_absent: self.denials.lock().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_their_own_names() {
        let stats = Stats::default();
        for (number, kind) in FuseMessage::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            (0..=number).for_each(|_| stats.fuse(kind));
        }
        let expected = (1..).zip(FuseMessage::ALL).map(|(count, kind)| (kind.name(), count)).collect();
        assert_eq!(stats.snapshot().fuse, expected);
        assert_eq!(expected.len(), FuseMessage::ALL.len());
    }

    #[test]
    fn only_what_was_asked_is_shown() {
        let stats = Stats::default();
        let (one, again) = (stats.host("one.org"), stats.host("one.org"));
        let (_other, files) = (stats.host("other.org"), stats.host(FILES));
        assert!(stats.snapshot().hosts.is_empty() && stats.snapshot().fuse.is_empty());
        one.requests.add(1);
        again.bytes.add(10);
        files.bytes.add(100);
        let hosts = stats.snapshot().hosts;
        assert_eq!(hosts.keys().collect::<Vec<_>>(), [FILES, "one.org"]);
        assert_eq!(hosts["one.org"], HostStats { requests: 1, bytes: 10, ..HostStats::default() });
        assert_eq!(stats.received(), 10);
    }
}
