//! The live views and their numbers.
//!
//! Stores of the catalogue have the first numbers for good. Others get theirs when their name is looked up and lose
//! them when the kernel has forgotten everything in them. The kernel forgets only when it needs memory itself, so it is
//! asked to forget the oldest where there are many. Numbers are given out round robin, so that a number comes back as
//! late as possible.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::inode::VIEWS;
use super::store::{NewStore, TreeStore};
use super::{DatasetId, ImageId, Miss, ViewId};
use crate::view::ViewSpec;

/// Views outside the catalogue that can be live at a time.
const LIVE: usize = 65_536;
/// Views outside the catalogue that may be live without anybody using them.
const IDLE: usize = 4096;

pub(super) struct ViewTable {
    /// Ordered by view number, without gaps.
    fixed: Vec<Arc<TreeStore>>,
    /// First number after the fixed ones.
    start: u32,
    looked_up: RwLock<LookedUp>,
    limit: usize,
}

struct LookedUp {
    by_name: HashMap<(ImageId, ViewSpec), Arc<TreeStore>>,
    /// By the first view number of each.
    by_view: BTreeMap<u32, Arc<TreeStore>>,
    /// By age, those that the kernel was not asked to forget since their name was looked up.
    by_age: BTreeMap<u64, Arc<TreeStore>>,
    start: u32,
    /// Where the search for free numbers goes on.
    next: u32,
    next_serial: u64,
    next_age: u64,
}

impl ViewTable {
    pub fn new(fixed: Vec<Arc<TreeStore>>) -> ViewTable {
        ViewTable::with_limit(fixed, LIVE)
    }

    pub fn with_limit(fixed: Vec<Arc<TreeStore>>, limit: usize) -> ViewTable {
        let start = fixed.last().map_or(0, |store| store.views().end);
        let looked_up = LookedUp {
            by_name: HashMap::new(),
            by_view: BTreeMap::new(),
            by_age: BTreeMap::new(),
            start,
            next: start,
            next_serial: 1,
            next_age: 1,
        };
        ViewTable { fixed, start, looked_up: RwLock::new(looked_up), limit }
    }

    /// The store that a view number belongs to, and which of its members it stands for.
    pub fn find(&self, view: ViewId) -> Option<(Arc<TreeStore>, usize)> {
        let fixed = self.fixed.partition_point(|store| store.views().end <= view.0);
        let store = match self.fixed.get(fixed) {
            Some(store) => store.clone(),
            None => self.read().find(view)?.clone(),
        };
        let member = view.0.checked_sub(store.views().start)? as usize;
        Some((store, member))
    }

    /// The live store of that name, with one more reference.
    pub fn open(&self, image: ImageId, spec: ViewSpec) -> Option<Arc<TreeStore>> {
        {
            let state = self.read();
            let store = state.by_name.get(&(image, spec))?;
            if state.by_age.contains_key(&store.age.load(Ordering::Relaxed)) {
                // Under the lock, so that the last FORGET cannot remove it in between.
                store.lookups.fetch_add(1, Ordering::Relaxed);
                return Some(store.clone());
            }
        }
        self.write().open(&(image, spec))
    }

    /// The store of a new store's name, made live if it is not, with one more reference.
    pub fn add(&self, new_store: NewStore) -> Result<Arc<TreeStore>, Miss> {
        let mut state = self.write();
        let key = (new_store.image, new_store.spec);
        if let Some(store) = state.open(&key) {
            return Ok(store);
        }
        if state.by_name.len() >= self.limit {
            return Err(Miss::TooManyViews);
        }
        let first = state.free_run(new_store.labels as u32 + 1).ok_or(Miss::TooManyViews)?;
        let serial = state.next_serial;
        let store = Arc::new(TreeStore::looked_up(new_store, ViewId(first), serial));
        store.lookups.store(1, Ordering::Relaxed);
        state.next_serial += 1;
        state.next = store.views().end;
        state.by_name.insert(key, store.clone());
        state.by_view.insert(first, store.clone());
        state.grow_old(&store);
        Ok(store)
    }

    /// One more reference to something in a store. Those of the catalogue need no counting.
    pub fn remember(&self, view: ViewId) {
        if view.0 < self.start {
            return;
        }
        if let Some(store) = self.read().find(view) {
            store.lookups.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Some references less to something in a store.
    pub fn forget(&self, view: ViewId, lookups: u64) {
        if view.0 < self.start {
            return;
        }
        let last = self.read().find(view).is_some_and(|store| subtract(&store.lookups, lookups) == 0);
        if !last {
            return;
        }
        let mut state = self.write();
        // A lookup may have come between the two locks.
        let Some(store) = state.find(view).filter(|store| store.lookups.load(Ordering::Relaxed) == 0).cloned() else {
            return;
        };
        state.by_name.remove(&(store.image, store.spec));
        state.by_view.remove(&store.views().start);
        state.by_age.remove(&store.age.load(Ordering::Relaxed));
    }

    /// The oldest of the views that are too many to keep unless they are in use, each of which is told once, and again
    /// after its name was looked up anew. Those of datasets that are `busy` are left for later.
    pub fn surplus(&self, busy: impl Fn(DatasetId) -> bool) -> Vec<Arc<TreeStore>> {
        if self.live() <= IDLE {
            return vec![];
        }
        let mut state = self.write();
        let surplus = state.by_name.len().saturating_sub(IDLE);
        let told = state.by_age.iter().filter(|(_, store)| !busy(store.dataset)).take(surplus);
        let told: Vec<_> = told.map(|(age, store)| (*age, store.clone())).collect();
        told.into_iter().map(|(age, store)| state.by_age.remove(&age).unwrap_or(store)).collect()
    }

    pub fn live(&self) -> usize {
        self.read().by_name.len()
    }

    // A panic elsewhere leaves the state consistent: no operation on it stops half way.
    fn read(&self) -> RwLockReadGuard<'_, LookedUp> {
        self.looked_up.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, LookedUp> {
        self.looked_up.write()
    }
}

/// Subtracts down to 0 and returns what is left. A count below 0 would be the kernel's mistake.
fn subtract(count: &AtomicU64, lookups: u64) -> u64 {
    let mut now = count.load(Ordering::Relaxed);
    loop {
        let left = now.saturating_sub(lookups);
        match count.compare_exchange_weak(now, left, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return left,
            Err(other) => now = other,
        }
    }
}

impl LookedUp {
    fn find(&self, view: ViewId) -> Option<&Arc<TreeStore>> {
        let (_, store) = self.by_view.range(..=view.0).next_back()?;
        store.views().contains(&view.0).then_some(store)
    }

    /// The store of that name, with one more reference. Somebody has use for it again, where the kernel was asked to forget it.
    fn open(&mut self, key: &(ImageId, ViewSpec)) -> Option<Arc<TreeStore>> {
        let store = self.by_name.get(key)?.clone();
        store.lookups.fetch_add(1, Ordering::Relaxed);
        if !self.by_age.contains_key(&store.age.load(Ordering::Relaxed)) {
            self.grow_old(&store);
        }
        Some(store)
    }

    /// Makes it the youngest of those that the kernel may be asked to forget.
    fn grow_old(&mut self, store: &Arc<TreeStore>) {
        store.age.store(self.next_age, Ordering::Relaxed);
        self.by_age.insert(self.next_age, store.clone());
        self.next_age += 1;
    }

    /// First of `length` numbers in a row that no live view has, the next free ones after those given out last.
    fn free_run(&self, length: u32) -> Option<u32> {
        let mut candidate = self.next;
        let mut wrapped = false;
        loop {
            if candidate.checked_add(length)? > VIEWS {
                if wrapped {
                    return None;
                }
                wrapped = true;
                candidate = self.start;
            }
            let end = candidate.checked_add(length)?;
            match self.by_view.range(..end).next_back().map(|(_, store)| store.views().end) {
                Some(taken) if taken > candidate => candidate = taken,
                _ => return (end <= VIEWS).then_some(candidate),
            }
        }
    }
}
