//! Reading all of a level, by who knows beforehand which blocks it will ask for.
//!
//! Nothing is fetched but what is asked for, and what was fetched is handed to a journal before anybody sees its voxels,
//! so that it need not be fetched again when it has left the memory, nor after the process was killed. What is lost then
//! is what was under way, which is bounded as a part of the whole.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::geometry::CellIndex;

/// At most one in so many blocks is under way.
const PARTS: u64 = 16;

/// Requests that should be under way together, so that one answer does not hold up all others.
const REQUESTS: u32 = 4;

/// The bytes of blocks of one level as they came from their origin. All of it may wait for a disk.
pub trait Journal: Send + Sync {
    /// Whether the block may be there. Does not wait.
    fn has(&self, block: CellIndex) -> bool;

    /// The bytes of a block, none where the origin has no such block; `None` where they are not there or damaged.
    fn get(&self, block: CellIndex) -> Option<Bytes>;

    /// Keeps blocks that were just fetched. That it cannot is told to whom the journal belongs.
    fn put(&self, blocks: Vec<(CellIndex, Bytes)>);

    /// Drops a block, because its bytes do not decode.
    fn forget(&self, block: CellIndex);
}

/// How a level is swept.
#[derive(Clone)]
pub struct Sweep {
    /// Where what was fetched is kept.
    pub journal: Arc<dyn Journal>,
    /// What may be under way, of this level and of others that are swept with it.
    pub window: Arc<Window>,
}

/// The blocks that may be under way at a time.
#[derive(Debug)]
pub struct Window {
    size: u32,
    free: Semaphore,
}

impl Window {
    /// For a sweep of so many blocks.
    pub fn of(blocks: u64) -> Window {
        let size = u32::try_from(blocks / PARTS).unwrap_or(u32::MAX).clamp(1, 1 << 20);
        Window { size, free: Semaphore::new(size as usize) }
    }

    /// Most blocks that one request should be for.
    pub(crate) fn longest(&self) -> usize {
        self.size.div_ceil(REQUESTS) as usize
    }

    /// Waits until so many blocks more may be under way.
    pub(super) async fn enter(&self, blocks: usize) -> Option<SemaphorePermit<'_>> {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX).min(self.size);
        // Never closed, and without a permit only more could be lost.
        self.free.acquire_many(blocks).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_than_a_sixteenth_is_under_way_and_never_nothing() {
        let window = Window::of(160);
        assert_eq!((window.size, window.longest()), (10, 3));
        let first = window.enter(8).await;
        assert!(window.free.try_acquire_many(3).is_err() && window.free.try_acquire_many(2).is_ok());
        drop(first);
        // A longer request than may be under way is under way alone.
        let _all = window.enter(100).await;
        assert!(window.free.try_acquire().is_err());
        for few in [0, 1, 15, 31] {
            assert_eq!((Window::of(few).size, Window::of(few).longest()), (1, 1));
        }
    }
}
