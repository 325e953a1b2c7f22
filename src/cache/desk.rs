//! Memory for documents: what archives answer in words, and what is kept of it.
//!
//! It is a part of `--memory` of its own, so that opening an image never waits for voxels. What arrives takes a share per
//! place, so that a silent host keeps nothing from others. What has arrived is worked on one at a time: a tree of a
//! document takes far more than its bytes. What is kept afterwards is counted, and refused where there is no memory.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use super::shares::{FetchPlace, PoolShare, Shares};
use crate::task;

/// The least for what arrives, and for what is kept.
const LEAST: [u64; 2] = [4 << 20, 8 << 20];

/// The most for each.
const MAX_BYTES: u64 = 64 << 20;

/// Memory for documents.
#[derive(Debug)]
pub struct Desk {
    arriving: Shares,
    /// Who works next.
    next: Semaphore,
    at_work: Arc<Mutex<()>>,
    kept: Arc<Mutex<u64>>,
    for_arriving: u64,
    for_kept: u64,
    sharers: Arc<()>,
}

/// A part of the memory for what is kept; free again when dropped.
#[derive(Debug)]
pub struct Reservation {
    of: Arc<Mutex<u64>>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self.of.lock();
        *used = used.saturating_sub(self.bytes);
    }
}

/// There is no memory for what should be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it takes {bytes} bytes of memory, but {left} of the {of} for what is kept of documents are left{}",
    if *of < MAX_BYTES { "; give more with --memory" } else { "" }
)]
pub struct OutOfMemory {
    bytes: u64,
    left: u64,
    of: u64,
}

impl Desk {
    /// The desk of a process that may take `memory` bytes.
    pub fn of(memory: u64) -> Self {
        let [for_arriving, for_kept] =
            [(memory / 16).clamp(LEAST[0], MAX_BYTES), (memory / 8).clamp(LEAST[1], MAX_BYTES)];
        let (arriving, next, at_work) = (Shares::of(for_arriving), Semaphore::new(1), Arc::default());
        Desk { arriving, next, at_work, kept: Arc::default(), for_arriving, for_kept, sharers: Arc::default() }
    }

    /// All of its memory.
    pub fn bytes(&self) -> u64 {
        self.for_arriving + self.for_kept
    }

    /// Waits until a document of `bytes` at the most may arrive from `place`. Not to be held while another one is waited for.
    pub async fn arrive(&self, place: &FetchPlace, bytes: u64) -> Option<PoolShare> {
        self.arriving.take(place, bytes).await
    }

    /// Does what takes memory, with nothing else of this kind at the same time, on a thread that may compute. `None` where
    /// it panics.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        // Never closed, and without a permit memory would only be less bounded.
        let _permit = self.next.acquire().await;
        let at_work = self.at_work.clone();
        let alone = move || {
            let _alone = at_work.lock();
            work()
        };
        task::spawn_blocking(alone).await.ok()
    }

    /// The same on the thread of the caller, for what takes a moment. Others may be at work for longer than that: where
    /// tasks are run on this thread, they go to another one meanwhile.
    pub fn work_now<T>(&self, work: impl FnOnce() -> T) -> T {
        if let Some(_alone) = self.at_work.try_lock() {
            return work();
        }
        let alone = || {
            let _alone = self.at_work.lock();
            work()
        };
        // A runtime of one thread has none to give them to, which the function below takes for a mistake.
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(alone),
            _ => alone(),
        }
    }

    /// A count of those who share what is for the indices of images: one more as long as it is held.
    pub fn sharers(&self) -> Arc<()> {
        self.sharers.clone()
    }

    /// Counts what is to be kept.
    pub fn keep(&self, bytes: u64) -> Result<Reservation, OutOfMemory> {
        self.keep_below(bytes, self.for_kept)
    }

    /// The same for what its owner lets go of where there is no memory: half of the memory is left for what stays.
    pub fn keep_for_now(&self, bytes: u64) -> Result<Reservation, OutOfMemory> {
        self.keep_below(bytes, self.for_kept / 2)
    }

    fn keep_below(&self, bytes: u64, most: u64) -> Result<Reservation, OutOfMemory> {
        let mut used = self.kept.lock();
        let left = most.saturating_sub(*used);
        if bytes > left {
            return Err(OutOfMemory { bytes, left, of: self.for_kept });
        }
        *used += bytes;
        Ok(Reservation { of: self.kept.clone(), bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_free_again_when_it_goes() {
        let desk = Desk::of(64 << 20);
        let first = desk.keep(6 << 20).unwrap();
        let error = desk.keep(3 << 20).unwrap_err().to_string();
        assert!(error.contains("2097152 of the 8388608") && error.contains("--memory"), "{error}");
        drop(first);
        assert!(desk.keep(8 << 20).is_ok());
    }

    #[tokio::test]
    async fn work_is_done_one_at_a_time_and_goes_on_after_a_panic() {
        let desk = Arc::new(Desk::of(0));
        let busy = Arc::new(AtomicU32::new(0));
        let tasks = (0..8).map(|number| {
            let (desk, busy) = (desk.clone(), busy.clone());
            tokio::spawn(async move {
                let work = move || {
                    assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    busy.fetch_sub(1, Ordering::SeqCst);
                    assert_ne!(number, 3);
                    number
                };
                desk.work(work).await
            })
        });
        let done: Vec<_> = futures::future::join_all(tasks.collect::<Vec<_>>()).await;
        let done: Vec<Option<i32>> = done.into_iter().map(Result::unwrap).collect();
        assert_eq!(done, [Some(0), Some(1), Some(2), None, Some(4), Some(5), Some(6), Some(7)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_waits_for_the_desk_keeps_no_task_waiting() {
        let desk = Arc::new(Desk::of(0));
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let (is_at_work, begun) = tokio::sync::oneshot::channel();
        let long = tokio::spawn({
            let desk = desk.clone();
            async move {
                let work = move || {
                    is_at_work.send(()).unwrap();
                    waits.recv().is_ok()
                };
                desk.work(work).await
            }
        });
        begun.await.unwrap();
        let waiting = tokio::spawn({
            let desk = desk.clone();
            async move { desk.work_now(|| 7) }
        });
        // The one thread that there is for tasks waits for the desk, so that this task is run by another one.
        let other = tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            go_on.send(()).unwrap();
        });
        let all = async { (other.await.unwrap(), long.await.unwrap(), waiting.await.unwrap()) };
        let done = tokio::time::timeout(std::time::Duration::from_secs(20), all).await.unwrap();
        assert_eq!(done, ((), Some(true), 7));
    }
}
