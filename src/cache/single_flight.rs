//! Single flight: the first to ask for something does the work, everybody gets the result.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How long nobody may wait for a result before the work for it is given up: who asks again at once joins it.
const UNWANTED: Duration = Duration::from_millis(500);

/// Work that is under way, by key.
pub struct SingleFlight<K: Hash + Eq + Clone, V: Clone> {
    under_way: Mutex<HashMap<K, Follower<V>>>,
}

/// A place in the queue for one result; `Err` when the leader vanished without one.
pub type Follower<V> = Shared<oneshot::Receiver<V>>;

/// What [`SingleFlight::join`] found.
pub enum Joined<K: Hash + Eq + Clone, V: Clone> {
    /// The result was there already.
    Ready(V),
    /// Somebody is at it: wait.
    Following(Follower<V>),
    /// Nobody is: the caller must do the work.
    Leading(Leader<K, V>, Follower<V>),
}

/// The duty to produce one result. Dropped without one, those who wait are told, and the next caller starts anew.
pub struct Leader<K: Hash + Eq + Clone, V: Clone> {
    flights: Arc<SingleFlight<K, V>>,
    key: K,
    sender: Option<oneshot::Sender<V>>,
}

impl<K: Hash + Eq + Clone, V: Clone> SingleFlight<K, V> {
    /// Nothing under way.
    pub fn new() -> Arc<Self> {
        Arc::new(SingleFlight { under_way: Mutex::new(HashMap::new()) })
    }

    /// Joins the work for `key`, or becomes its leader. `finished` looks the result up where leaders put it before they
    /// call [`Leader::finish`]; it is asked under the lock, so that a result is never computed twice.
    pub fn join(self: &Arc<Self>, key: &K, finished: impl FnOnce() -> Option<V>) -> Joined<K, V> {
        let mut under_way = self.under_way.lock();
        if let Some(follower) = under_way.get(key) {
            return Joined::Following(follower.clone());
        }
        if let Some(value) = finished() {
            return Joined::Ready(value);
        }
        let (sender, receiver) = oneshot::channel();
        let follower = receiver.shared();
        under_way.insert(key.clone(), follower.clone());
        Joined::Leading(Leader { flights: self.clone(), key: key.clone(), sender: Some(sender) }, follower)
    }

    /// Ends once nobody has waited for any of these results for a moment; from then on who asks for one of them starts anew.
    /// To be followed by [`Leader::give_up`] of each.
    pub async fn unwanted(&self, keys: &[K]) {
        let mut before = false;
        loop {
            sleep(UNWANTED).await;
            let mut under_way = self.under_way.lock();
            // The one reference that is left is the one in the map.
            let now = keys.iter().all(|key| under_way.get(key).is_none_or(|flight| flight.strong_count() == Some(1)));
            if before && now {
                keys.iter().for_each(|key| drop(under_way.remove(key)));
                return;
            }
            before = now;
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Leader<K, V> {
    /// What the work is for.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Ends the work that was found to be [unwanted](SingleFlight::unwanted).
    pub fn give_up(mut self) {
        // The key may be that of a later flight.
        drop(self.sender.take());
    }

    /// Hands the result to all who wait.
    pub fn finish(mut self, value: V) {
        if let Some(sender) = self.sender.take() {
            // Before anybody is told: who asks again because of the result must not join this flight again.
            self.flights.under_way.lock().remove(&self.key);
            // Nobody may be left waiting, which is no fault.
            let _ = sender.send(value);
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Drop for Leader<K, V> {
    fn drop(&mut self) {
        // Once it has finished, the key may be that of a later flight.
        if self.sender.is_some() {
            self.flights.under_way.lock().remove(&self.key);
        }
    }
}

impl<K: Hash + Eq + Clone + fmt::Debug, V: Clone> fmt::Debug for Leader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(flights: &Arc<SingleFlight<u8, u8>>) -> Joined<u8, u8> {
        flights.join(&7, || None)
    }

    #[tokio::test]
    async fn all_who_ask_get_the_result_of_the_first() {
        let flights = SingleFlight::new();
        let Joined::Leading(leader, follower) = join(&flights) else { panic!("the first is the leader") };
        let Joined::Following(second) = join(&flights) else { panic!("the second waits") };
        leader.finish(42);
        assert_eq!((follower.await, second.await), (Ok(42), Ok(42)));
        assert!(matches!(flights.join(&7, || Some(42)), Joined::Ready(42)));
    }

    #[tokio::test]
    async fn a_worker_that_vanishes_is_noticed_and_replaced() {
        let flights = SingleFlight::new();
        let Joined::Leading(leader, follower) = join(&flights) else { panic!("the first is the leader") };
        drop(leader);
        assert!(follower.await.is_err());
        assert!(matches!(join(&flights), Joined::Leading(..)));
    }

    #[tokio::test]
    async fn work_is_unwanted_once_nobody_waits_for_any_of_it() {
        let flights = SingleFlight::<u8, u8>::new();
        let Joined::Leading(first, follower) = flights.join(&1, || None) else { panic!("the first is the leader") };
        let Joined::Leading(second, other) = flights.join(&2, || None) else { panic!("the first is the leader") };
        drop(other);
        assert!(tokio::time::timeout(UNWANTED * 3, flights.unwanted(&[1, 2])).await.is_err());
        drop(follower);
        flights.unwanted(&[1, 2]).await;
        let Joined::Leading(again, follower) = flights.join(&1, || None) else { panic!("the work was given up") };
        first.give_up();
        second.give_up();
        again.finish(42);
        assert_eq!(follower.await, Ok(42));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn who_is_told_finds_the_flight_ended() {
        for _ in 0..crate::test_cases(2000) {
            let flights = SingleFlight::new();
            let Joined::Leading(leader, follower) = join(&flights) else { panic!("the first is the leader") };
            let told = tokio::spawn({
                let flights = flights.clone();
                async move {
                    follower.await.unwrap();
                    join(&flights)
                }
            });
            tokio::spawn(async move { leader.finish(1) });
            assert!(matches!(told.await.unwrap(), Joined::Leading(..)));
            assert!(flights.under_way.lock().is_empty());
        }
    }
}
