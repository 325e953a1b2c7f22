//! What is kept is asked for without holding up whoever else the runtime serves.

use std::time::{Duration, Instant};

use super::cache_policy::Machine;
use super::origin::correct;
use super::*;
use crate::store::off_the_runtime;

/// Readers wait for a locked index for half a second.
const NO_STALL: Duration = Duration::from_millis(250);

/// The longest time for which a runtime of one thread did nothing else while `work` was done.
async fn longest_stall(work: impl Future<Output = ()>) -> Duration {
    let mut longest = Duration::ZERO;
    let ticks = async {
        loop {
            let before = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            longest = longest.max(before.elapsed());
        }
    };
    tokio::select! {
        () = ticks => {}
        () = work => {}
    }
    longest
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
    let stall = longest_stall(async {
        let fetched = object.range(0..50_000).await.unwrap();
        assert_eq!(fetched.bytes, data(100_000)[..50_000], "what cannot be looked up is fetched");
        let asked = object.clone();
        assert_eq!(off_the_runtime(move || asked.is_at_hand(Some(&(0..50_000)))).await, Some(false));
    });
    let stall = stall.await;
    writer.execute_batch("ROLLBACK").unwrap();
    assert!(stall < NO_STALL, "{stall:?}");
}
