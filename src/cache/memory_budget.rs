//! A pool of bytes: leases are taken before memory is filled, and what is cached gives way to new leases.
//!
//! The pool counts every byte until its last user lets go of it, so the bound holds for what is cached, what is being
//! fetched and what is being read alike. Leases are granted in the order they were asked for, but for the rest of what has
//! come, which goes first and may go beyond the bound: see [`MemoryBudget::lease_rest`].

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use bytes::Bytes;
use futures::FutureExt;
use lru::LruCache;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How far the rest of what has come may go beyond a pool at once.
const BEYOND: u64 = 64 << 20;

/// How long it waits for others where it would go further. Who takes longer waits for a host, and has received little.
const PATIENCE: Duration = Duration::from_secs(1);

/// Permission to hold some bytes of memory; gives them back when dropped.
#[derive(Debug)]
pub struct Lease {
    ledger: Arc<Mutex<Ledger>>,
    bytes: u64,
}

impl Lease {
    /// Splits `bytes` off this lease, all of it where it holds fewer.
    pub fn split(&mut self, bytes: u64) -> Lease {
        let part = bytes.min(self.bytes);
        self.bytes -= part;
        Lease { ledger: self.ledger.clone(), bytes: part }
    }

    /// Adds another lease of the same pool.
    pub(super) fn join(&mut self, mut other: Lease) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let granted = self.ledger.lock().give_back(self.bytes, &self.ledger);
            // Sent outside the lock: a receiver that is gone drops its lease at once, which locks again.
            granted.into_iter().for_each(Grant::send);
        }
    }
}

/// Bytes together with the lease that accounts for them.
#[derive(Debug)]
pub struct Held {
    /// The bytes.
    pub data: Bytes,
    /// When they hold no longer.
    until: Option<Instant>,
    /// The versions of the objects that they were made of, where these are known: sorted, each once.
    versions: Option<Arc<[u64]>>,
    _lease: Lease,
}

impl Held {
    /// `lease` should be for as many bytes as `data` has.
    pub fn new(data: Bytes, lease: Lease) -> Self {
        Held { data, until: None, versions: None, _lease: lease }
    }

    /// The same bytes, made of objects of these versions.
    pub fn of_versions(self, versions: Option<Arc<[u64]>>) -> Self {
        Held { versions, ..self }
    }

    /// The versions of the objects that it was made of, where these are known.
    pub fn versions(&self) -> Option<&Arc<[u64]>> {
        self.versions.as_ref()
    }

    /// Holds no bytes, and that for so long.
    pub fn nothing_for(duration: Duration, lease: Lease) -> Self {
        Held { data: Bytes::new(), until: Instant::now().checked_add(duration), versions: None, _lease: lease }
    }

    /// The same bytes, which hold until then, if not for ever.
    pub fn until(self, until: Option<Instant>) -> Self {
        Held { until, ..self }
    }

    /// When they hold no longer, where they do not for ever.
    pub fn holds_until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it does not hold any more.
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// How much is in use and who waits.
#[derive(Debug)]
struct Ledger {
    limit: u64,
    used: u64,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: u64,
    /// What may be in use with it.
    limit: u64,
    sender: oneshot::Sender<Lease>,
}

struct Grant {
    lease: Lease,
    sender: oneshot::Sender<Lease>,
}

impl Grant {
    fn send(self) {
        // A waiter that gave up drops the lease here, which gives the bytes back.
        let _ = self.sender.send(self.lease);
    }
}

impl Ledger {
    /// A request larger than the whole pool is granted once the pool is empty, so that it is slow but not stuck.
    fn fits(&self, bytes: u64, limit: u64) -> bool {
        self.used == 0 || self.used.saturating_add(bytes) <= limit
    }

    fn give_back(&mut self, bytes: u64, this: &Arc<Mutex<Ledger>>) -> Vec<Grant> {
        self.used = self.used.saturating_sub(bytes);
        self.grant(this)
    }

    /// The leases that can be had now.
    fn grant(&mut self, this: &Arc<Mutex<Ledger>>) -> Vec<Grant> {
        let mut granted = Vec::new();
        while let Some(first) = self.waiting.front() {
            if first.sender.is_closed() {
                self.waiting.pop_front();
                continue;
            }
            if !self.fits(first.bytes, first.limit) {
                break;
            }
            if let Some(Waiter { bytes, sender, .. }) = self.waiting.pop_front() {
                self.used += bytes;
                granted.push(Grant { lease: Lease { ledger: this.clone(), bytes }, sender });
            }
        }
        granted
    }

    /// Bytes that must be given back before the first in the queue can go on.
    fn missing(&self) -> u64 {
        let waiting = self.waiting.iter().find(|waiter| !waiter.sender.is_closed());
        waiting.map_or(0, |first| {
            let left = first.limit.saturating_sub(first.bytes.min(first.limit));
            self.used.saturating_sub(left)
        })
    }
}

/// A bounded pool with a least-recently-used cache in it.
#[derive(Debug)]
pub struct MemoryBudget<K: Hash + Eq> {
    ledger: Arc<Mutex<Ledger>>,
    cached: Mutex<LruCache<K, Arc<Held>>>,
}

impl<K: Hash + Eq> MemoryBudget<K> {
    /// A pool of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        MemoryBudget {
            ledger: Arc::new(Mutex::new(Ledger { limit, used: 0, waiting: VecDeque::new() })),
            cached: Mutex::new(LruCache::unbounded()),
        }
    }

    /// Bytes that may be in use.
    pub fn limit(&self) -> u64 {
        self.ledger.lock().limit
    }

    /// Bytes in use: leased, cached and still read from.
    pub fn used(&self) -> u64 {
        self.ledger.lock().used
    }

    /// Bytes that may be asked for on a guess: a quarter of the pool, and nothing while somebody waits for memory.
    pub fn spare(&self) -> u64 {
        let ledger = self.ledger.lock();
        if ledger.waiting.is_empty() { ledger.limit / 4 } else { 0 }
    }

    /// Bytes that somebody waits for and that nothing idle can give way to.
    pub fn missing(&self) -> u64 {
        self.ledger.lock().missing()
    }

    /// Waits until `bytes` fit, freeing memory by dropping what was used longest ago.
    pub async fn lease(&self, bytes: u64) -> Lease {
        let limit = self.ledger.lock().limit;
        self.lease_within(bytes, limit, Turn::Last).await
    }

    /// The rest of a lease, for what has come: it waits for nobody who waits for a host. Such leases go before all others and
    /// beyond the pool, by [`BEYOND`] in all or, after a moment, one at a time: whoever has one needs nothing else to end.
    pub(super) async fn lease_rest(&self, bytes: u64) -> Lease {
        let (limit, used) = {
            let ledger = self.ledger.lock();
            (ledger.limit, ledger.used)
        };
        // What is idle goes before the pool is exceeded.
        self.free(used.saturating_add(bytes).saturating_sub(limit));
        let first = |limit: u64| self.lease_within(bytes, limit, Turn::First);
        let mut soon = Box::pin(first(limit.saturating_add(BEYOND)));
        if let Some(lease) = soon.as_mut().now_or_never() {
            return lease;
        }
        match timeout(PATIENCE, soon).await {
            Ok(lease) => lease,
            Err(_) => first(limit.saturating_add(bytes)).await,
        }
    }

    /// Waits until `bytes` fit below a limit that may be another one than the pool's.
    async fn lease_within(&self, bytes: u64, limit: u64, turn: Turn) -> Lease {
        let receiver = {
            let mut ledger = self.ledger.lock();
            if (turn == Turn::First || ledger.waiting.is_empty()) && ledger.fits(bytes, limit) {
                ledger.used += bytes;
                return Lease { ledger: self.ledger.clone(), bytes };
            }
            let (sender, receiver) = oneshot::channel();
            let waiter = Waiter { bytes, limit, sender };
            match turn {
                Turn::First => ledger.waiting.push_front(waiter),
                Turn::Last => ledger.waiting.push_back(waiter),
            }
            receiver
        };
        self.evict();
        Pending { budget: self, receiver }.lease().await
    }

    /// What is cached under `key`, which becomes the most recently used.
    pub fn get(&self, key: &K) -> Option<Arc<Held>> {
        self.cached.lock().get(key).cloned()
    }

    /// Whether there is something under `key`; does not count as a use.
    pub fn holds(&self, key: &K) -> bool {
        self.cached.lock().contains(key)
    }

    /// What is cached under `key`, which is not cached any longer.
    pub fn take(&self, key: &K) -> Option<Arc<Held>> {
        self.cached.lock().pop(key)
    }

    /// Caches what is under `key` no longer, unless somebody uses it.
    pub fn release(&self, key: &K) {
        let mut cached = self.cached.lock();
        let idle = cached.peek(key).is_some_and(|held| Arc::strong_count(held) == 1);
        let held = if idle { cached.pop(key) } else { None };
        // It gives its bytes back, and wakes the queue, only after the lock is released.
        drop(cached);
        drop(held);
    }

    /// Caches `held` until its memory is needed.
    pub fn insert(&self, key: K, held: Arc<Held>) {
        let replaced = self.cached.lock().push(key, held);
        drop(replaced);
        self.evict();
    }

    /// Drops cached entries until the first in the queue fits. What is still read frees its bytes only when the reader is
    /// done, which may be long, so it does not count as freed.
    fn evict(&self) {
        let missing = self.ledger.lock().missing();
        self.free(missing);
    }

    /// Drops cached entries of `missing` bytes, the oldest first.
    fn free(&self, missing: u64) {
        if missing == 0 {
            return;
        }
        let mut freed = 0u64;
        let mut dropped = Vec::new();
        let mut cached = self.cached.lock();
        while freed < missing {
            let Some((_, held)) = cached.pop_lru() else { break };
            if Arc::strong_count(&held) == 1 {
                freed = freed.saturating_add(held.data.len() as u64);
            }
            dropped.push(held);
        }
        // The entries give their bytes back, and wake the queue, only after the lock is released.
        drop(cached);
        drop(dropped);
    }
}

/// When a lease is had, of those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Before all others.
    First,
    /// After them.
    Last,
}

/// A lease that is waited for.
struct Pending<'a, K: Hash + Eq> {
    budget: &'a MemoryBudget<K>,
    receiver: oneshot::Receiver<Lease>,
}

impl<K: Hash + Eq> Pending<'_, K> {
    async fn lease(mut self) -> Lease {
        // Senders are dropped only after their receiver is gone, so an error is never seen; an empty lease is harmless.
        let lease = (&mut self.receiver).await;
        lease.unwrap_or_else(|_| Lease { ledger: self.budget.ledger.clone(), bytes: 0 })
    }
}

impl<K: Hash + Eq> Drop for Pending<'_, K> {
    /// Memory was freed for the first in the queue only; whoever is first now may wait for nothing else. Who gave up before
    /// there was enough may have kept others waiting who need less.
    fn drop(&mut self) {
        self.receiver.close();
        let granted = self.budget.ledger.lock().grant(&self.budget.ledger);
        granted.into_iter().for_each(Grant::send);
        self.budget.evict();
    }
}

#[cfg(test)]
mod tests;
