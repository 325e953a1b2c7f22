//! How far an export is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::stats::Stats;

/// Failures that are told one by one.
const TOLD: usize = 100;

/// Counters of a run. All methods are cheap and may be called from any thread.
#[derive(Debug)]
pub struct Progress {
    stats: Arc<Stats>,
    /// Voxels to write, to be known before the first is.
    voxels: AtomicU64,
    /// Of these, voxels that were written earlier.
    found: AtomicU64,
    done: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    failures: Mutex<Failures>,
    warning: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    told: Vec<String>,
}

/// All counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressState {
    /// Voxels to write.
    pub voxels: u64,
    /// Of these, voxels that an earlier run wrote.
    pub found: u64,
    /// Voxels written, those found included.
    pub done: u64,
    /// Files that are complete.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes received from all hosts.
    pub wire: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Chunks that could not be had.
    pub failed: u64,
}

impl Progress {
    /// Of a run that counts its requests in `stats`.
    pub fn new(stats: Arc<Stats>) -> Progress {
        Progress {
            stats,
            voxels: AtomicU64::default(),
            found: AtomicU64::default(),
            done: AtomicU64::default(),
            files: AtomicU64::default(),
            bytes: AtomicU64::default(),
            failures: Mutex::default(),
            warning: OnceLock::new(),
        }
    }

    /// The counters now.
    pub fn state(&self) -> ProgressState {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let hosts = self.stats.snapshot().hosts;
        let sum = |of: fn(&crate::stats::HostStats) -> u64| hosts.values().map(of).sum();
        ProgressState {
            voxels: load(&self.voxels),
            found: load(&self.found),
            done: load(&self.done),
            files: load(&self.files),
            bytes: load(&self.bytes),
            wire: sum(|host| host.bytes),
            requests: sum(|host| host.requests),
            retries: sum(|host| host.retries),
            failed: self.failures.lock().count,
        }
    }

    pub(super) fn expect(&self, voxels: u64) {
        self.voxels.fetch_add(voxels, Ordering::Relaxed);
    }

    pub(super) fn found(&self, voxels: u64) {
        self.found.fetch_add(voxels, Ordering::Relaxed);
        self.done.fetch_add(voxels, Ordering::Relaxed);
    }

    pub(super) fn found_file(&self, bytes: u64) {
        self.wrote(bytes);
    }

    pub(super) fn did(&self, voxels: u64) {
        self.done.fetch_add(voxels, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes a chunk that could not be had.
    pub(super) fn fail(&self, line: impl FnOnce() -> String) {
        let mut failures = self.failures.lock();
        failures.count += 1;
        if failures.told.len() < TOLD {
            failures.told.push(line());
        }
    }

    /// Notes what whoever started the run should know of its places, once.
    pub(super) fn warn(&self, line: impl FnOnce() -> String) {
        self.warning.get_or_init(line);
    }

    /// What that is.
    pub fn warning(&self) -> Option<&str> {
        self.warning.get().map(String::as_str)
    }

    /// The chunks that could not be had, with the reason of each; the last line counts those that are not listed.
    pub fn failures(&self) -> Vec<String> {
        let failures = self.failures.lock();
        let mut lines = failures.told.clone();
        lines.sort();
        match failures.count.saturating_sub(lines.len() as u64) {
            0 => {}
            more => lines.push(format!("and {more} more chunks")),
        }
        lines
    }
}
