//! The indices of shards of a volume, fetched once each and kept while there is memory.

use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

use super::SourceError;
use crate::cache::{Desk, Joined, RecentFailures, SingleFlight};
use crate::store::{Object, is_past_caches};

/// Memory for the indices of all images, of which each gets an equal part, in bytes: outside of `--memory`, so no large
/// part of what else a process takes. A minishard of 512 chunks takes 12 KiB.
const KEPT: usize = 24 << 20;

/// What an index takes beside its numbers.
const OVERHEAD: usize = 512;

/// What is kept under a key.
pub(super) trait CachedIndex: Clone {
    /// Bytes of its numbers; `None` where it must not be kept.
    fn bytes(&self) -> Option<usize>;
}

/// The indices of a volume.
pub(super) struct Indices<K: Hash + Eq + Copy, V: CachedIndex> {
    /// By key, and whether no cache may answer: who asks so is not given what a cache gave to somebody else.
    flights: Arc<SingleFlight<(K, bool), Result<V, SourceError>>>,
    kept: Mutex<CachedIndices<K, V>>,
    /// One for each image that shares the memory for indices.
    sharers: Arc<()>,
    /// Why an index makes no sense that was fetched past every cache, a moment ago.
    failed: RecentFailures<K, SourceError>,
}

struct CachedIndices<K: Hash + Eq, V> {
    indices: LruCache<K, V>,
    bytes: usize,
}

impl<K: Hash + Eq + Copy, V: CachedIndex> Indices<K, V> {
    pub fn new(desk: &Desk) -> Self {
        let kept = Mutex::new(CachedIndices { indices: LruCache::unbounded(), bytes: 0 });
        Indices { flights: SingleFlight::new(), kept, sharers: desk.sharers(), failed: RecentFailures::default() }
    }

    /// The index under `key`, which `fetch` gets where nobody has it or is getting it.
    pub async fn get(&self, key: K, fetch: impl Future<Output = Result<V, SourceError>>) -> Result<V, SourceError> {
        loop {
            match self.flights.join(&(key, is_past_caches()), || self.known(&key)) {
                Joined::Ready(answer) => return answer,
                Joined::Leading(leader, _) => {
                    let answer = fetch.await;
                    match &answer {
                        Err(SourceError::Remote(_)) => {}
                        Err(error) => self.remember(key, error),
                        Ok(index) => self.keep(key, index),
                    }
                    leader.finish(answer.clone());
                    return answer;
                }
                Joined::Following(follower) => match follower.await {
                    Ok(answer) => return answer,
                    // Who was getting it has gone away.
                    Err(_) => continue,
                },
            }
        }
    }

    /// What is kept under `key`, whether or not it may be used.
    pub fn peek(&self, key: &K) -> Option<V> {
        self.kept.lock().indices.peek(key).cloned()
    }

    fn known(&self, key: &K) -> Option<Result<V, SourceError>> {
        if let Some(index) = self.cached(key) {
            return Some(Ok(index));
        }
        self.failed.get(key).map(Err)
    }

    /// Remembers a failure for a moment, unless the index is fetched once more because of it.
    fn remember(&self, key: K, error: &SourceError) {
        if is_past_caches() {
            self.failed.remember(key, error.clone());
        }
    }

    fn cached(&self, key: &K) -> Option<V> {
        if is_past_caches() {
            return None;
        }
        self.kept.lock().indices.get(key).cloned()
    }

    fn keep(&self, key: K, index: &V) {
        let Some(bytes) = index.bytes() else { return };
        // One of them is the desk's own.
        let share = KEPT / Arc::strong_count(&self.sharers).saturating_sub(1).max(1);
        let mut kept = self.kept.lock();
        // What came past every cache is not replaced by what a cache may have given.
        if !is_past_caches() && kept.indices.contains(&key) {
            return;
        }
        kept.bytes += OVERHEAD + bytes;
        if let Some((_, replaced)) = kept.indices.push(key, index.clone()) {
            kept.bytes -= OVERHEAD + replaced.bytes().unwrap_or(0);
        }
        // The newest is kept even where it alone is too long: who asked for it is about to use it.
        while kept.bytes > share && kept.indices.len() > 1 {
            let Some((_, dropped)) = kept.indices.pop_lru() else { break };
            kept.bytes -= OVERHEAD + dropped.bytes().unwrap_or(0);
        }
    }
}

/// Makes sure that the origin gives an index twice in the same way, before it is believed what it leaves out.
pub(super) async fn is_given_again(
    object: &Object,
    range: Range<u64>,
    bytes: &Bytes,
    field: &str,
) -> Result<(), SourceError> {
    match object.gives_again(range, bytes).await? {
        true => Ok(()),
        false => Err(SourceError::malformed(object.url(), field, "it is another one each time it is fetched")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::past_caches;

    impl CachedIndex for u8 {
        fn bytes(&self) -> Option<usize> {
            Some(1)
        }
    }

    #[tokio::test]
    async fn who_heals_an_index_does_not_wait_for_one_of_a_cache_and_what_is_healed_stays() {
        let indices = Indices::<u8, u8>::new(&Desk::of(1 << 20));
        let (late, waits) = oneshot::channel::<()>();
        let bad = indices.get(7, async {
            waits.await.unwrap();
            Ok(1)
        });
        let healing = async {
            let healed = past_caches(indices.get(7, async { Ok(2) })).await;
            late.send(()).unwrap();
            healed
        };
        let (bad, healed) = tokio::join!(bad, healing);
        assert_eq!((bad.unwrap(), healed.unwrap()), (1, 2));
        assert_eq!(indices.get(7, async { panic!("it is kept") }).await.unwrap(), 2);
    }
}
