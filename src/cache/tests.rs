//! Shares and leases together: who may fetch how much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;

use super::{FetchPlace, FetchReservation, MemoryBudget, PoolShare, Shares};

const MIB: u64 = 1 << 20;

struct Pool {
    shares: Shares,
    budget: MemoryBudget<u32>,
}

impl Pool {
    fn new(limit: u64) -> Pool {
        Pool { shares: Shares::of(limit), budget: MemoryBudget::new(limit) }
    }

    async fn reserve(&self, place: &FetchPlace, bytes: u64) -> FetchReservation {
        let share = self.shares.take(place, bytes).await;
        let first = share.as_ref().map_or(bytes, PoolShare::bytes);
        FetchReservation::new(self.budget.lease(first).await, bytes - first, share)
    }

    /// Fetches `bytes` of a place that answers at once; whether it could.
    fn reads(&self, place: &FetchPlace, bytes: u64) -> bool {
        let reading = async {
            let mut reservation = self.reserve(place, bytes).await;
            reservation.complete(&self.budget).await;
        };
        reading.now_or_never().is_some()
    }
}

fn host(number: u64) -> FetchPlace {
    FetchPlace::host(&format!("host-{number}"))
}

const SIZES: [u64; 9] = [1, MIB, 4 * MIB, 8 * MIB, 10 * MIB, 16 * MIB, 28 * MIB, 33 * MIB, 60 * MIB];

#[test]
fn a_silent_host_keeps_no_other_place_waiting_however_large_its_reads_are_and_those_of_the_others() {
    for limit in [MIB, 4 * MIB, 28 * MIB, 128 * MIB] {
        for silent in SIZES {
            for read in SIZES {
                let pool = Pool::new(limit);
                // As many as may be under way, and those that wait for these.
                let place = host(0);
                let mut waiting: Vec<_> = (0..40).map(|_| Box::pin(pool.reserve(&place, silent))).collect();
                let under_way: Vec<_> = waiting.iter_mut().filter_map(|one| one.as_mut().now_or_never()).collect();
                assert!(!under_way.is_empty());
                for place in [host(1), FetchPlace::here("/"), FetchPlace::cached(), host(1)] {
                    assert!(
                        pool.reads(&place, read),
                        "{read} bytes of {place:?} wait for {} of {silent} in a pool of {limit}",
                        under_way.len()
                    );
                }
                drop((under_way, waiting));
                assert_eq!(pool.budget.used(), 0);
            }
        }
    }
}

#[test]
fn small_reads_go_on_beside_several_silent_hosts_with_large_ones() {
    let pool = Pool::new(28 * MIB);
    let places: Vec<_> = (0..6).map(host).collect();
    let mut waiting: Vec<_> = places.iter().map(|place| Box::pin(pool.reserve(place, 32 * MIB))).collect();
    let silent: Vec<_> = waiting.iter_mut().filter_map(|one| one.as_mut().now_or_never()).collect();
    assert!(silent.len() >= 4, "{} could begin", silent.len());
    assert!(pool.reads(&FetchPlace::here("/"), 4 * MIB));
}

#[tokio::test]
async fn what_exceeds_the_pool_by_far_waits_a_moment_for_others_and_no_longer() {
    let pool = Pool::new(28 * MIB);
    let (silent, place) = (host(0), host(1));
    let _silent = pool.reserve(&silent, 300 * MIB).await;
    let mut reservation = pool.reserve(&place, 300 * MIB).await;
    tokio::time::timeout(Duration::from_secs(20), reservation.complete(&pool.budget)).await.unwrap();
}

#[tokio::test]
async fn one_that_gives_up_waiting_does_not_keep_those_behind_it() {
    let pool = Pool::new(100);
    let _silent = pool.budget.lease(60).await;
    let mut large = Box::pin(pool.budget.lease(80));
    let mut small = Box::pin(pool.budget.lease(30));
    assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
    drop(large);
    assert!(small.now_or_never().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_reads_of_several_hosts_all_end_and_exceed_the_pool_by_no_more_than_one_of_them() {
    let limit = 28 * MIB;
    for (largest, rounds) in [(30 * MIB, 10u64), (500 * MIB, 1)] {
        let pool = Arc::new(Pool::new(limit));
        let (most, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = (0..30u64)
            .map(|task| {
                let (pool, most, done) = (pool.clone(), most.clone(), done.clone());
                tokio::spawn(async move {
                    let place = if task % 6 == 5 { FetchPlace::here("/") } else { host(task % 6) };
                    for round in 0..rounds {
                        let bytes = 1 + (task * 7_919 + round * 104_729) * 65_537 % largest;
                        let mut reservation = pool.reserve(&place, bytes).await;
                        // Some hosts take their time.
                        tokio::time::sleep(Duration::from_millis(task % 6 * 30)).await;
                        reservation.complete(&pool.budget).await;
                        most.fetch_max(pool.budget.used(), Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            tokio::time::timeout(Duration::from_secs(120), task).await.unwrap().unwrap();
        }
        assert_eq!((done.load(Ordering::Relaxed), pool.budget.used()), (30 * rounds, 0));
        let most = most.load(Ordering::Relaxed);
        assert!(most <= limit + largest.max(64 * MIB), "{most} were in use");
    }
}
