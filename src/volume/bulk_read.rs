//! Reading all of a level, by who knows beforehand which blocks it will ask for.
//!
//! Nothing is fetched but what is asked for. What was fetched is handed to a journal before anybody sees its voxels, so
//! that it need not be fetched again when it has left the memory, nor after the process was killed. What is lost then is
//! what was under way, which is bounded as a part of the whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::geometry::CellIndex;
use crate::task;

/// Of all voxels, at most one in so many is under way.
const PARTS: u64 = 12;

/// Requests that should be under way together, so that one answer does not hold up all others.
const REQUESTS: u32 = 4;

/// The bytes of blocks of one level as they came from their origin. What is on this machine anyway is not in it.
pub trait Journal: Send + Sync {
    /// Whether the block may be there.
    fn has(&self, block: CellIndex) -> bool;

    /// The bytes of a block; `None` where they are not there or damaged. Waits for a disk.
    fn get(&self, block: CellIndex) -> Option<Bytes>;

    /// Keeps blocks that were just fetched. Waits for a disk. That it cannot is told to whom the journal belongs.
    fn put(&self, blocks: Vec<(CellIndex, Bytes)>);

    /// Drops a block, because its bytes do not decode. Waits for a disk.
    fn forget(&self, block: CellIndex);
}

/// How a level is swept.
#[derive(Clone)]
pub struct BulkRead {
    /// Where what was fetched is kept.
    pub journal: Arc<dyn Journal>,
    /// What may be under way, of this level and of others that are swept with it.
    pub window: Arc<InFlightLimit>,
}

impl BulkRead {
    /// Hands to the journal what was fetched, and waits until it has it.
    pub(super) async fn note(&self, fetched: Vec<(CellIndex, Bytes)>) {
        let journal = self.journal.clone();
        // Where the thread ends otherwise, the block is not kept, which costs a request if it is needed again.
        let _ = task::spawn_blocking(move || journal.put(fetched)).await;
    }

    /// Drops from the journal what does not decode.
    pub(super) async fn forget(&self, block: CellIndex) {
        let journal = self.journal.clone();
        // Where the thread ends otherwise, it is found out again.
        let _ = task::spawn_blocking(move || journal.forget(block)).await;
    }

    /// The bytes of a block that the journal has.
    pub(super) async fn noted(&self, block: CellIndex) -> Option<Bytes> {
        let journal = self.journal.clone();
        // A thread that ended without an answer has found nothing.
        task::spawn_blocking(move || journal.get(block)).await.unwrap_or_default()
    }
}

/// What may be under way at a time, in KiB of voxels.
#[derive(Debug)]
pub struct InFlightLimit {
    size: u32,
    free: Semaphore,
    is_closed: AtomicBool,
}

impl InFlightLimit {
    /// For a sweep of so many bytes of voxels, in blocks of at most `block` bytes. A few of these may always be under way,
    /// also where they are a larger part.
    pub fn of(bytes: u64, block: u64) -> InFlightLimit {
        // A semaphore has no more places.
        let most = u32::MAX >> 3;
        let few = block.div_ceil(1024).saturating_mul(u64::from(REQUESTS));
        let size = u32::try_from((bytes / PARTS / 1024).max(few)).unwrap_or(most).clamp(1, most);
        InFlightLimit { size, free: Semaphore::new(size as usize), is_closed: AtomicBool::new(false) }
    }

    /// How many blocks of so many bytes of voxels one request should be for.
    pub(crate) fn blocks(&self, bytes: u64) -> usize {
        let blocks = u64::from(self.size.div_ceil(REQUESTS)) / bytes.div_ceil(1024).max(1);
        usize::try_from(blocks).unwrap_or(usize::MAX).max(1)
    }

    /// Waits until so many bytes of voxels more may be under way; `None` once the window is closed.
    pub(super) async fn enter(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let places = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.size);
        let permit = self.free.acquire_many(places).await.ok();
        permit.filter(|_| !self.is_closed.load(Ordering::Acquire))
    }

    /// Whether no request is started any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Starts no request any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Waits until no request is under way, after [`InFlightLimit::close`].
    pub async fn end(&self) {
        drop(self.free.acquire_many(self.size).await);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_than_a_twelfth_is_under_way_or_a_few_blocks() {
        let window = InFlightLimit::of(120 << 10, 1024);
        assert_eq!((window.size, window.blocks(1024), window.blocks(1), window.blocks(1 << 30)), (10, 3, 3, 1));
        let first = window.enter(8 << 10).await;
        assert!(window.free.try_acquire_many(3).is_err() && window.free.try_acquire_many(2).is_ok());
        drop(first);
        // What is longer than all that may be under way is under way alone.
        let _all = window.enter(1 << 30).await.unwrap();
        assert!(window.free.try_acquire().is_err());
        for few in [0, 1, 15 << 10, 47 << 10] {
            let window = InFlightLimit::of(few, 1 << 10);
            assert_eq!((window.size, window.blocks(1 << 10)), (4, 1));
        }
        assert_eq!(InFlightLimit::of(u64::MAX, u64::MAX).size, u32::MAX >> 3);
    }

    #[tokio::test]
    async fn a_closed_window_lets_nobody_in_and_ends_with_the_last_that_is_under_way() {
        let window = Arc::new(InFlightLimit::of(24 << 10, 0));
        let first = window.enter(2 << 10).await.unwrap();
        let waiting = tokio::spawn({
            let window = window.clone();
            async move { window.enter(1024).await.is_some() }
        });
        tokio::task::yield_now().await;
        window.close();
        assert!(tokio::time::timeout(Duration::from_millis(20), window.end()).await.is_err());
        drop(first);
        window.end().await;
        assert!(!waiting.await.unwrap());
    }
}
