//! Failures that are remembered for a moment: what many ask for at once is not tried for each of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a failure is the answer to who asks again.
pub const FAILURE_REMEMBERED: Duration = Duration::from_secs(1);

/// Why something failed, and when.
#[derive(Debug, Clone)]
pub struct RecentFailure<E> {
    error: E,
    when: Instant,
}

impl<E> RecentFailure<E> {
    /// One of this moment.
    pub fn now(error: E) -> Self {
        RecentFailure { error, when: Instant::now() }
    }

    /// Why it failed, however long ago.
    pub fn error(&self) -> &E {
        &self.error
    }

    /// Why it failed, where that is so short a time ago that it is not tried again.
    pub fn recent(&self) -> Option<&E> {
        self.is_recent().then_some(&self.error)
    }

    fn is_recent(&self) -> bool {
        self.when.elapsed() < FAILURE_REMEMBERED
    }
}

/// Failures by what was tried.
pub struct RecentFailures<K, E>(Mutex<State<K, E>>);

struct State<K, E> {
    failures: HashMap<K, RecentFailure<E>>,
    /// When it was looked last for those to forget.
    swept: Instant,
}

impl<K, E> Default for RecentFailures<K, E> {
    fn default() -> Self {
        RecentFailures(Mutex::new(State { failures: HashMap::new(), swept: Instant::now() }))
    }
}

impl<K: Hash + Eq, E: Clone> RecentFailures<K, E> {
    /// Why it failed a moment ago.
    pub fn get(&self, key: &K) -> Option<E> {
        self.0.lock().failures.get(key)?.recent().cloned()
    }

    /// Remembers a failure for a moment; says whether it is news.
    pub fn remember(&self, key: K, error: E) -> bool {
        let mut state = self.0.lock();
        if state.swept.elapsed() >= FAILURE_REMEMBERED {
            state.sweep();
        }
        let old = state.failures.insert(key, RecentFailure::now(error));
        old.is_none_or(|old| !old.is_recent())
    }

    /// It is tried again when somebody asks for it.
    pub fn forget(&self, key: &K) {
        self.0.lock().failures.remove(key);
    }

    /// So is all.
    pub fn clear(&self) {
        self.0.lock().failures.clear();
    }

    /// Lets go of what is no answer any more. Who remembers a failure does so as well.
    pub fn sweep(&self) {
        self.0.lock().sweep();
    }
}

impl<K, E> State<K, E> {
    fn sweep(&mut self) {
        self.failures.retain(|_, failure| failure.is_recent());
        self.swept = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        let failures = RecentFailures::default();
        let age = |failures: &RecentFailures<u8, &str>| {
            let mut state = failures.0.lock();
            state.swept -= FAILURE_REMEMBERED;
            state.failures.values_mut().for_each(|failure| failure.when -= FAILURE_REMEMBERED);
        };
        assert!(failures.remember(1, "first") && failures.remember(2, "other"));
        assert!(!failures.remember(1, "second"), "it is no news");
        assert_eq!((failures.get(&1), failures.get(&2), failures.get(&3)), (Some("second"), Some("other"), None));
        failures.forget(&2);
        assert_eq!(failures.get(&2), None);
        age(&failures);
        assert_eq!(failures.get(&1), None);
        assert!(failures.remember(2, "again"));
        assert_eq!(failures.0.lock().failures.len(), 1, "the old one was let go of");
        age(&failures);
        assert!(failures.remember(2, "later"), "it is news again");
        age(&failures);
        failures.sweep();
        assert!(failures.0.lock().failures.is_empty());
        failures.remember(1, "last");
        failures.clear();
        assert_eq!(failures.get(&1), None);
    }
}
