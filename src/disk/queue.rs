//! What is to be kept, waiting for the thread that writes. Bounded: what does not fit is not kept.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::queries::{ExtentRow, VersionPart};

/// Most bytes that wait if nobody says.
const MAX_WAITING: usize = 64 << 20;
/// Bytes that are worth a transaction of their own.
const BATCH: usize = 8 << 20;
/// How long the first of a batch waits for others.
const GATHERING: Duration = Duration::from_millis(100);
/// Whoever waits for what is queued waits no longer for a writer that gets nothing done. A batch takes a second.
const HANGS: Duration = Duration::from_secs(8);
/// What an entry costs beside its bytes.
const OVERHEAD: usize = 256;

/// A change to make.
pub enum Change {
    Write {
        object: String,
        version: String,
        start: u64,
        bytes: Bytes,
    },
    SetMetadata {
        object: String,
        metadata: Bytes,
        sequence: u64,
    },
    /// The metadata where there is none.
    Restore {
        object: String,
        metadata: Bytes,
    },
    Forget {
        part: VersionPart,
        sequence: u64,
    },
    /// The index claims what is not so.
    Drop(ExtentRow),
}

impl Change {
    fn cost(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Write { bytes, .. } => bytes.len(),
                Self::SetMetadata { metadata, .. } | Self::Restore { metadata, .. } => metadata.len(),
                Self::Forget { .. } | Self::Drop(_) => 0,
            }
    }
}

/// The changes that wait.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Most bytes that wait.
    bound: usize,
    changes: VecDeque<Change>,
    bytes: usize,
    pushed: u64,
    done: u64,
    flushing: u32,
    /// How much was done when somebody gave up waiting for more.
    hung: Option<u64>,
    closed: bool,
}

/// What there is to do.
pub enum QueuedWork {
    Batch(Vec<Change>),
    /// Nothing came for a while.
    Idle,
    /// Nothing will come any more.
    Closed,
}

impl Default for Queue {
    fn default() -> Self {
        let (changes, hung) = (VecDeque::new(), None);
        let state =
            State { bound: MAX_WAITING, changes, bytes: 0, pushed: 0, done: 0, flushing: 0, hung, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl Queue {
    /// Lets no more than `bytes` wait from now on, and at most as many as without this.
    pub fn limit(&self, bytes: u64) {
        self.state.lock().bound = usize::try_from(bytes).unwrap_or(MAX_WAITING).min(MAX_WAITING);
    }

    /// Queues a change; `false` when the queue is full. Forgetting is always queued, for bytes that are not to be served
    /// must go.
    pub fn push(&self, change: Change) -> bool {
        let mut state = self.state.lock();
        let cost = change.cost();
        let must = matches!(change, Change::Forget { .. });
        // Where little may wait, long answers are kept all the same, one at a time.
        let bound = if state.changes.is_empty() { MAX_WAITING } else { state.bound };
        if state.closed || (!must && state.bytes.saturating_add(cost) > bound) {
            return false;
        }
        state.bytes += cost;
        state.pushed += 1;
        state.changes.push_back(change);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// The next batch, or what there is instead after `patience`.
    pub fn take(&self, patience: Duration) -> QueuedWork {
        let mut state = self.state.lock();
        let deadline = Instant::now() + patience;
        while state.changes.is_empty() && !state.closed {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return QueuedWork::Idle;
            }
        }
        let deadline = Instant::now() + GATHERING;
        while state.bytes < BATCH && state.flushing == 0 && !state.closed {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH
            && let Some(change) = state.changes.pop_front()
        {
            bytes += change.cost();
            batch.push(change);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        if batch.is_empty() { QueuedWork::Closed } else { QueuedWork::Batch(batch) }
    }

    /// Tells who flushes that `count` changes are made, or given up.
    pub fn done(&self, count: usize) {
        self.state.lock().done += count as u64;
        self.changed.notify_all();
    }

    /// Waits until all that was queued before is done; says whether it is, for a writer that hangs is not waited for.
    pub fn flush(&self) -> bool {
        self.flush_within(HANGS)
    }

    fn flush_within(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let until = state.pushed;
        state.flushing += 1;
        self.changed.notify_all();
        let mut done = state.done;
        let mut deadline = Instant::now() + patience;
        while state.done < until && state.hung != Some(state.done) {
            if self.changed.wait_until(&mut state, deadline).timed_out() && state.done == done {
                state.hung = Some(done);
            }
            if state.done > done {
                (done, deadline) = (state.done, Instant::now() + patience);
            }
        }
        state.flushing -= 1;
        state.done >= until
    }

    /// Takes nothing any more. What waits is still handed out.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Will nothing come any more?
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Nobody will write any more: nobody shall wait for it.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.changes.clear();
        state.done = state.pushed;
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_flushes_waits_for_a_writer_that_gets_something_done_and_not_for_one_that_hangs() {
        const PATIENCE: Duration = Duration::from_millis(200);
        let queue = Queue::default();
        for _ in 0..6 {
            assert!(queue.push(Change::Forget { part: VersionPart::all("o"), sequence: 1 }));
        }
        assert!(!queue.flush_within(PATIENCE));
        assert!(!queue.flush(), "nobody waits for it twice");
        queue.done(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    std::thread::sleep(PATIENCE / 2);
                    queue.done(1);
                }
            });
            assert!(queue.flush_within(PATIENCE));
        });
    }

    #[test]
    fn what_does_not_fit_does_not_wait_but_what_is_to_be_forgotten_does() {
        let queue = Queue::default();
        queue.limit(2000);
        let change = |bytes| Change::Restore { object: "o".to_owned(), metadata: vec![0; bytes].into() };
        assert_eq!([1000, 1000, 100].map(|bytes| queue.push(change(bytes))), [true, false, true]);
        assert!(queue.push(Change::Forget { part: VersionPart::all("o"), sequence: 1 }));
        assert!(matches!(queue.take(Duration::ZERO), QueuedWork::Batch(batch) if batch.len() == 3));
        assert_eq!([MAX_WAITING, 3000, 1].map(|bytes| queue.push(change(bytes))), [false, true, false]);
    }
}
