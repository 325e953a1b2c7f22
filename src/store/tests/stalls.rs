//! What is kept is asked for without holding up whoever else the runtime serves.

use std::time::{Duration, Instant};

use super::cache_policy::Machine;
use super::origin::correct;
use super::*;
use crate::disk::Disk;
use crate::store::{CachePolicy, Witness, off_the_runtime};

/// What else a runtime of one thread has to get done while readers wait half a second for a locked index: a few hundred times
/// as much on a machine that is free, next to nothing where the thread waits with them.
const MANY: usize = 20;

/// How often a runtime of one thread came back to something else, every millisecond at best, while `work` was done.
async fn turns_of_others(work: impl Future<Output = ()>) -> usize {
    let mut turns = 0;
    let others = async {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            turns += 1;
        }
    };
    tokio::select! {
        () = others => {}
        () = work => {}
    }
    turns
}

#[tokio::test]
async fn an_index_that_another_process_writes_holds_up_nobody_else() {
    let machine = Machine::new(|_, request| correct(&data(100_000), "\"v\"", request)).await;
    machine.online().range(0..50_000).await.unwrap();
    let object = machine.online();
    let index = std::fs::read_dir(machine.disk.folder()).unwrap().map(|entry| entry.unwrap().path());
    let index = index.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "sqlite")).unwrap();
    let writer = rusqlite::Connection::open(index).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let turns = turns_of_others(async {
        let fetched = object.range(0..50_000).await.unwrap();
        assert_eq!(fetched.bytes, data(100_000)[..50_000], "what cannot be looked up is fetched");
        let asked = object.clone();
        assert_eq!(off_the_runtime(move || asked.is_at_hand(Some(&(0..50_000)))).await, Some(false));
    });
    let turns = turns.await;
    writer.execute_batch("ROLLBACK").unwrap();
    assert!(turns >= MANY, "{turns}");
}

#[tokio::test]
async fn a_witness_and_a_moment_of_confirmation_hold_up_nobody_while_the_index_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    let policy = CachePolicy { disk: Some(Arc::new(disk)), ..CachePolicy::default() };
    let remote = Remote::with_policy(LimitsByHost::default(), TIMEOUT, Arc::default(), policy).unwrap();
    let location = Location::parse("https://example.org/s/.zarray", None).unwrap();
    let locked = crate::disk::locked(folder.path());
    let turns = turns_of_others(async {
        Witness::new(&remote, &location, 100, b"{}").await;
    });
    let turns = turns.await;
    let began = Instant::now();
    remote.object(&location).unwrap().confirmed();
    let took = began.elapsed();
    drop(locked);
    assert!(turns >= MANY, "{turns}");
    assert!(took < Duration::from_millis(100), "{took:?}");
}
