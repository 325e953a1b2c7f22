//! Single flight: the first to ask for something does the work, everybody gets the result.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::oneshot;

/// Work that is under way, by key.
pub struct Flights<K: Hash + Eq + Clone, V: Clone> {
    under_way: Mutex<HashMap<K, Ticket<V>>>,
}

/// A place in the queue for one result; `Err` when the worker vanished without one.
pub type Ticket<V> = Shared<oneshot::Receiver<V>>;

/// What [`Flights::board`] found.
pub enum Boarding<K: Hash + Eq + Clone, V: Clone> {
    /// The result was there already.
    Ready(V),
    /// Somebody is at it: wait.
    Waiting(Ticket<V>),
    /// Nobody is: the caller must do the work.
    First(Worker<K, V>, Ticket<V>),
}

/// The duty to produce one result. Dropped without one, those who wait are told, and the next caller starts anew.
pub struct Worker<K: Hash + Eq + Clone, V: Clone> {
    flights: Arc<Flights<K, V>>,
    key: K,
    sender: Option<oneshot::Sender<V>>,
}

impl<K: Hash + Eq + Clone, V: Clone> Flights<K, V> {
    /// Nothing under way.
    pub fn new() -> Arc<Self> {
        Arc::new(Flights { under_way: Mutex::new(HashMap::new()) })
    }

    /// Joins the work for `key`, or becomes its worker. `finished` looks the result up where workers put it before they
    /// call [`Worker::finish`]; it is asked under the lock, so that a result is never computed twice.
    pub fn board(self: &Arc<Self>, key: &K, finished: impl FnOnce() -> Option<V>) -> Boarding<K, V> {
        let mut under_way = self.under_way.lock();
        if let Some(ticket) = under_way.get(key) {
            return Boarding::Waiting(ticket.clone());
        }
        if let Some(value) = finished() {
            return Boarding::Ready(value);
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = receiver.shared();
        under_way.insert(key.clone(), ticket.clone());
        Boarding::First(Worker { flights: self.clone(), key: key.clone(), sender: Some(sender) }, ticket)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Worker<K, V> {
    /// What the work is for.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Hands the result to all who wait.
    pub fn finish(mut self, value: V) {
        if let Some(sender) = self.sender.take() {
            // Before anybody is told: who asks again because of the result must not board this flight again.
            self.flights.under_way.lock().remove(&self.key);
            // Nobody may be left waiting, which is no fault.
            let _ = sender.send(value);
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Drop for Worker<K, V> {
    fn drop(&mut self) {
        // Once it has finished, the key may be that of a later flight.
        if self.sender.is_some() {
            self.flights.under_way.lock().remove(&self.key);
        }
    }
}

impl<K: Hash + Eq + Clone + fmt::Debug, V: Clone> fmt::Debug for Worker<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(flights: &Arc<Flights<u8, u8>>) -> Boarding<u8, u8> {
        flights.board(&7, || None)
    }

    #[tokio::test]
    async fn all_who_ask_get_the_result_of_the_first() {
        let flights = Flights::new();
        let Boarding::First(worker, ticket) = board(&flights) else { panic!("the first is the worker") };
        let Boarding::Waiting(second) = board(&flights) else { panic!("the second waits") };
        worker.finish(42);
        assert_eq!((ticket.await, second.await), (Ok(42), Ok(42)));
        assert!(matches!(flights.board(&7, || Some(42)), Boarding::Ready(42)));
    }

    #[tokio::test]
    async fn a_worker_that_vanishes_is_noticed_and_replaced() {
        let flights = Flights::new();
        let Boarding::First(worker, ticket) = board(&flights) else { panic!("the first is the worker") };
        drop(worker);
        assert!(ticket.await.is_err());
        assert!(matches!(board(&flights), Boarding::First(..)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn who_is_told_finds_the_flight_ended() {
        for _ in 0..crate::test_cases(2000) {
            let flights = Flights::new();
            let Boarding::First(worker, ticket) = board(&flights) else { panic!("the first is the worker") };
            let told = tokio::spawn({
                let flights = flights.clone();
                async move {
                    ticket.await.unwrap();
                    board(&flights)
                }
            });
            tokio::spawn(async move { worker.finish(1) });
            assert!(matches!(told.await.unwrap(), Boarding::First(..)));
            assert!(flights.under_way.lock().is_empty());
        }
    }
}
