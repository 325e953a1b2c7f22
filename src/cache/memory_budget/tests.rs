//! Leases, and what is cached until their memory is needed.

use super::*;
use std::time::Duration;

async fn held(pool: &MemoryBudget<u32>, bytes: usize) -> Arc<Held> {
    Arc::new(Held::new(Bytes::from(vec![1; bytes]), pool.lease(bytes as u64).await))
}

#[tokio::test]
async fn a_lease_waits_until_another_is_given_back() {
    let pool = Arc::new(MemoryBudget::<u32>::new(100));
    let first = pool.lease(80).await;
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { pool.lease(50).await.bytes }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.unwrap(), 50);
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn nothing_is_spare_while_somebody_waits() {
    let pool = Arc::new(MemoryBudget::<u32>::new(100));
    assert_eq!(pool.spare(), 25);
    let first = pool.lease(80).await;
    assert_eq!(pool.spare(), 25);
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { drop(pool.lease(50).await) }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(pool.spare(), 0);
    drop(first);
    second.await.unwrap();
}

#[tokio::test]
async fn cached_entries_give_way_to_new_leases_oldest_first() {
    let pool = MemoryBudget::<u32>::new(100);
    for key in 0..4 {
        pool.insert(key, held(&pool, 25).await);
    }
    assert!(pool.get(&0).is_some());
    let lease = pool.lease(30).await;
    assert!(pool.get(&1).is_none() && pool.get(&2).is_none());
    assert!(pool.get(&0).is_some() && pool.get(&3).is_some());
    assert_eq!(pool.used(), 80);
    drop(lease);
}

#[tokio::test]
async fn what_is_let_go_gives_its_bytes_back_unless_somebody_uses_it() {
    let pool = MemoryBudget::<u32>::new(100);
    let reader = held(&pool, 40).await;
    pool.insert(1, reader.clone());
    pool.insert(2, held(&pool, 50).await);
    (1..=3).for_each(|key| pool.release(&key));
    assert!(pool.holds(&1) && !pool.holds(&2));
    assert_eq!(pool.used(), 40);
    drop(reader);
    pool.release(&1);
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn a_lease_larger_than_the_pool_is_granted_alone() {
    let pool = MemoryBudget::<u32>::new(10);
    pool.insert(1, held(&pool, 8).await);
    let lease = pool.lease(1000).await;
    assert_eq!(pool.used(), 1000);
    drop(lease);
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn bytes_that_are_still_read_count_until_the_reader_is_done() {
    let pool = Arc::new(MemoryBudget::<u32>::new(100));
    let reader = held(&pool, 90).await;
    pool.insert(1, reader.clone());
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { drop(pool.lease(50).await) }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    drop(reader);
    waiting.await.unwrap();
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn what_is_read_for_long_does_not_keep_others_from_memory_that_is_idle() {
    let pool = MemoryBudget::<u32>::new(100);
    let reader = held(&pool, 40).await;
    pool.insert(1, reader.clone());
    pool.insert(2, held(&pool, 50).await);
    let lease = tokio::time::timeout(Duration::from_secs(5), pool.lease(50)).await;
    assert_eq!(lease.unwrap().bytes, 50);
    drop(reader);
}

#[tokio::test]
async fn a_waiter_that_gave_up_leaves_nothing_behind() {
    let pool = Arc::new(MemoryBudget::<u32>::new(10));
    let first = pool.lease(10).await;
    let gone = tokio::time::timeout(Duration::from_millis(10), pool.lease(10)).await;
    assert!(gone.is_err());
    drop(first);
    assert_eq!(pool.used(), 0);
    assert_eq!(pool.lease(10).await.bytes, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_never_exceed_the_pool() {
    let pool = Arc::new(MemoryBudget::<u32>::new(1000));
    let tasks: Vec<_> = (0..64u32)
        .map(|task| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for round in 0..50u32 {
                    let size = 1 + (task * 37 + round * 11) % 300;
                    let entry = held(&pool, size as usize).await;
                    assert!(pool.used() <= 1000);
                    pool.insert(task * 1000 + round, entry);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(pool.used() <= 1000);
}
