//! Shares of a pool, so that whoever waits for one place never takes the memory of others.
//!
//! A place is what can fall silent: a host, or a filesystem of this machine. What is to be fetched from it takes a share
//! before it leases memory. A place that has a share gets more of it only as long as it leaves as much free as it has
//! itself: one gets half, two a third each, and there is always something left for the next one. Shares together are
//! never larger than the pool, so a lease that has one waits for memory that is in use, not for a place.
//!
//! What is larger than half of what a place can get is one request of its place at a time. It leases a part before it is
//! asked for and the rest once all has come: a host that falls silent has no more than that, before the first byte or after.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::memory_budget::{Lease, MemoryBudget};

/// Of all, one part in so many is for what is on this machine alone.
const RESERVED: u64 = 4;

/// What is large leases one part in so many of what its place can get before it is asked for.
const PART_OF_LARGE: u64 = 4;

/// KiB of large requests, beyond what they lease, that may be coming at once. No place takes more than half.
const COMING: u32 = 64 << 10;

/// Where something is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchPlace {
    name: Arc<str>,
    is_here: bool,
}

impl FetchPlace {
    /// Another machine.
    pub fn host(name: &str) -> FetchPlace {
        FetchPlace { name: name.into(), is_here: false }
    }

    /// A filesystem of this machine.
    pub fn here(name: &str) -> FetchPlace {
        FetchPlace { name: name.into(), is_here: true }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was fetched before and is in memory or kept on disk.
    pub fn cached() -> FetchPlace {
        FetchPlace::here("")
    }
}

/// A pool's shares.
#[derive(Debug)]
pub struct Shares {
    state: Arc<Mutex<State>>,
    coming: Arc<Semaphore>,
}

#[derive(Debug)]
struct State {
    limit: u64,
    used: u64,
    used_by_hosts: u64,
    lines: BTreeMap<FetchPlace, Line>,
}

/// A place with those who wait for a share of it, first come, first served.
#[derive(Debug, Default)]
struct Line {
    used: u64,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: u64,
    is_large: bool,
    sender: oneshot::Sender<PoolShare>,
}

/// A part of a pool that is taken for a place; free again when dropped.
#[derive(Debug)]
pub struct PoolShare {
    state: Arc<Mutex<State>>,
    place: FetchPlace,
    bytes: u64,
    _coming: Option<OwnedSemaphorePermit>,
}

impl PoolShare {
    /// What is to be leased before anything is asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Memory for what is fetched from a place, with the share that stands for it until all of it is there.
#[derive(Debug)]
pub struct FetchReservation {
    /// The memory, of which what has come takes its part.
    pub lease: Lease,
    rest: u64,
    _share: Option<PoolShare>,
}

impl FetchReservation {
    /// Memory that was leased with that share, or without one where nobody has to answer; `rest` is to be leased yet.
    pub fn new(lease: Lease, rest: u64, share: Option<PoolShare>) -> Self {
        FetchReservation { lease, rest, _share: share }
    }

    /// Leases what is missing of it once all has come, from the pool of its lease. Waits for no place.
    pub async fn complete<K: Hash + Eq>(&mut self, pool: &MemoryBudget<K>) {
        if self.rest > 0 {
            self.lease.join(pool.lease_rest(self.rest).await);
            self.rest = 0;
        }
    }
}

impl Drop for PoolShare {
    fn drop(&mut self) {
        let granted = {
            let mut state = self.state.lock();
            state.count(&self.place, |used| used.saturating_sub(self.bytes));
            state.grant(&self.state)
        };
        // Outside the lock: a receiver that is gone drops its share at once, which locks again.
        for (sender, share) in granted {
            let _ = sender.send(share);
        }
    }
}

impl Shares {
    /// Shares of a pool of `limit` bytes.
    pub fn of(limit: u64) -> Self {
        let state = State { limit, used: 0, used_by_hosts: 0, lines: BTreeMap::new() };
        Shares { state: Arc::new(Mutex::new(state)), coming: Arc::new(Semaphore::new(COMING as usize)) }
    }

    /// Waits until `bytes` more may be fetched from `place`. The share is for fewer where that is much.
    pub async fn take(&self, place: &FetchPlace, bytes: u64) -> Option<PoolShare> {
        let mut share = self.share(place, bytes).await?;
        let rest = bytes.saturating_sub(share.bytes);
        if rest > 0 {
            // About half of it are the bytes as they come, the other half what becomes of them. There is one such request of a
            // place, so that others always have the other half of this.
            let coming = u32::try_from(rest.div_ceil(2 << 10)).unwrap_or(COMING).min(COMING / 2);
            // Never closed, and without a permit more would only be in memory at once.
            share._coming = self.coming.clone().acquire_many_owned(coming).await.ok();
        }
        Some(share)
    }

    async fn share(&self, place: &FetchPlace, bytes: u64) -> Option<PoolShare> {
        let receiver = {
            let mut state = self.state.lock();
            let most = state.limit_for(place);
            let is_large = bytes > most / 2;
            let bytes = if is_large { most / PART_OF_LARGE } else { bytes };
            let line = state.lines.entry(place.clone()).or_default();
            line.waiting.retain(|waiter| !waiter.sender.is_closed());
            if line.waiting.is_empty() && state.fits(place, bytes, is_large) {
                state.count(place, |used| used + bytes);
                return Some(PoolShare { state: self.state.clone(), place: place.clone(), bytes, _coming: None });
            }
            let (sender, receiver) = oneshot::channel();
            state.lines.entry(place.clone()).or_default().waiting.push_back(Waiter { bytes, is_large, sender });
            receiver
        };
        // Senders are dropped only after their receiver is gone; without a share sharing would only be less fair.
        receiver.await.ok()
    }
}

impl State {
    fn limit_for(&self, place: &FetchPlace) -> u64 {
        if place.is_here { self.limit } else { self.limit - self.limit / RESERVED }
    }

    /// What is free for a place.
    fn free(&self, place: &FetchPlace) -> u64 {
        let free = self.limit.saturating_sub(self.used);
        if place.is_here { free } else { free.min(self.limit_for(place).saturating_sub(self.used_by_hosts)) }
    }

    fn fits(&self, place: &FetchPlace, bytes: u64, is_large: bool) -> bool {
        let used = self.lines.get(place).map_or(0, |line| line.used);
        let Some(left) = self.free(place).checked_sub(bytes) else { return false };
        // Who has nothing goes first, so that something large is not kept waiting by others that are small for ever.
        used == 0 || !is_large && used.saturating_add(bytes).saturating_add(self.largest_without()) <= left
    }

    /// The largest that a place without any share waits for.
    fn largest_without(&self) -> u64 {
        let lines = self.lines.values().filter(|line| line.used == 0);
        let first =
            |line: &Line| line.waiting.iter().find(|waiter| !waiter.sender.is_closed()).map(|first| first.bytes);
        lines.filter_map(first).max().unwrap_or(0)
    }

    fn count(&mut self, place: &FetchPlace, change: impl FnOnce(u64) -> u64) {
        let line = self.lines.entry(place.clone()).or_default();
        let (before, after) = (line.used, change(line.used));
        line.used = after;
        if after == 0 && line.waiting.is_empty() {
            self.lines.remove(place);
        }
        self.used = self.used.saturating_sub(before).saturating_add(after);
        if !place.is_here {
            self.used_by_hosts = self.used_by_hosts.saturating_sub(before).saturating_add(after);
        }
    }

    /// The shares that can be had now.
    fn grant(&mut self, this: &Arc<Mutex<State>>) -> Vec<(oneshot::Sender<PoolShare>, PoolShare)> {
        let mut granted = Vec::new();
        let places: Vec<FetchPlace> = self.lines.keys().cloned().collect();
        for place in places {
            while let Some(Waiter { bytes, sender, .. }) = self.next(&place) {
                self.count(&place, |used| used + bytes);
                let share = PoolShare { state: this.clone(), place: place.clone(), bytes, _coming: None };
                granted.push((sender, share));
            }
        }
        granted
    }

    /// Takes the first in the line of a place out of it where it can have its share.
    fn next(&mut self, place: &FetchPlace) -> Option<Waiter> {
        let line = self.lines.get_mut(place)?;
        while line.waiting.front().is_some_and(|first| first.sender.is_closed()) {
            line.waiting.pop_front();
        }
        let Some((bytes, is_large)) = line.waiting.front().map(|first| (first.bytes, first.is_large)) else {
            self.count(place, |used| used);
            return None;
        };
        if !self.fits(place, bytes, is_large) {
            return None;
        }
        self.lines.get_mut(place)?.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// As many shares of `bytes` as can be had at once.
    fn fill(shares: &Shares, place: &FetchPlace, bytes: u64) -> Vec<PoolShare> {
        std::iter::from_fn(|| shares.take(place, bytes).now_or_never().flatten()).collect()
    }

    fn host(number: u32) -> FetchPlace {
        FetchPlace::host(&format!("host-{number}"))
    }

    #[test]
    fn silent_hosts_leave_as_much_free_as_each_of_them_has() {
        let shares = Shares::of(4000);
        let mut silent = Vec::new();
        for number in 0..6 {
            let taken = fill(&shares, &host(number), 10);
            assert!(!taken.is_empty(), "nothing was left for host {number}");
            silent.push(taken);
        }
        assert_eq!(silent[0].len(), 150);
        assert!(
            fill(&shares, &FetchPlace::here("/"), 10).len() >= 50,
            "a fourth is for this machine, of which one gets half"
        );
        drop(silent);
        let state = shares.state.lock();
        assert!(state.lines.is_empty() && state.used == 0 && state.used_by_hosts == 0, "{state:?}");
    }

    #[tokio::test]
    async fn those_of_one_place_are_served_in_their_order() {
        let shares = Arc::new(Shares::of(4000));
        let mut all = fill(&shares, &host(1), 1000);
        let place = host(1);
        let mut second = Box::pin(shares.take(&place, 1500));
        let mut third = Box::pin(shares.take(&place, 1));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        all.clear();
        let _second = second.as_mut().now_or_never().unwrap();
        assert!(third.as_mut().now_or_never().is_none());
    }

    #[test]
    fn something_large_is_not_kept_waiting_by_what_is_small() {
        let shares = Shares::of(4000);
        let mut small = fill(&shares, &host(1), 100);
        let _silent = fill(&shares, &host(3), 100);
        let large_place = host(2);
        let mut large = Box::pin(shares.take(&large_place, 1500));
        assert!(large.as_mut().now_or_never().is_none());
        for _ in 0..100 {
            if large.as_mut().now_or_never().is_some() {
                return;
            }
            // One ends, and the next wants its memory.
            small.remove(0);
            small.extend(fill(&shares, &host(1), 100));
        }
        panic!("{} small ones went first", small.len());
    }

    #[test]
    fn who_gave_up_leaves_nothing_behind() {
        let shares = Shares::of(4000);
        let first = fill(&shares, &host(1), 1000);
        let place = host(1);
        assert!(shares.take(&place, 1000).now_or_never().is_none());
        drop(first);
        assert!(shares.state.lock().lines.is_empty());
        assert!(shares.take(&place, 1000).now_or_never().is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_tasks_never_take_more_than_there_is_and_all_end() {
        let shares = Arc::new(Shares::of(1000));
        let tasks: Vec<_> = (0..64u64)
            .map(|task| {
                let shares = shares.clone();
                tokio::spawn(async move {
                    let place = if task % 5 == 0 { FetchPlace::here("/") } else { host(task as u32 % 7) };
                    for round in 0..50 {
                        let share = shares.take(&place, 1 + (task * 37 + round * 11) % 500).await;
                        assert!(shares.state.lock().used <= 1000);
                        tokio::task::yield_now().await;
                        drop(share);
                    }
                })
            })
            .collect();
        for task in tasks {
            tokio::time::timeout(std::time::Duration::from_secs(60), task).await.unwrap().unwrap();
        }
        assert!(shares.state.lock().lines.is_empty());
    }
}
