//! The time that an operation has left.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use tokio::time::Instant;

/// Slower than this is no progress.
const BYTES_PER_SECOND: u64 = 4096;
/// Progress is judged over so long, so that a few bytes in quick succession do not count as a fast host.
const WINDOW: Duration = Duration::from_secs(1);

/// An operation fails when its clock was not set back for the whole timeout. Bytes at 4 KiB/s or more set it back.
#[derive(Debug)]
pub(super) struct Clock {
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    deadline: Instant,
    window: Instant,
    bytes: u64,
}

impl Clock {
    pub(super) fn start(timeout: Duration) -> Self {
        let now = Instant::now();
        Clock { timeout, state: Mutex::new(State { deadline: later(now, timeout), window: now, bytes: 0 }) }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the operation fails if nothing more comes.
    pub(super) fn deadline(&self) -> Instant {
        self.lock().deadline
    }

    /// Whether the time is over.
    pub(super) fn expired(&self) -> bool {
        self.deadline() <= Instant::now()
    }

    /// Notes bytes that were received; returns whether they are progress.
    pub(super) fn received(&self, bytes: usize, now: Instant) -> bool {
        let mut state = self.lock();
        if now.saturating_duration_since(state.window) > WINDOW {
            // What came during a second that saw too little is not saved up.
            (state.window, state.bytes) = (now, 0);
        }
        state.bytes = state.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let progress = state.bytes >= BYTES_PER_SECOND * WINDOW.as_secs();
        if progress {
            (state.window, state.bytes) = (now, 0);
            state.deadline = later(now, self.timeout);
        }
        progress
    }

    /// Gives back time that was spent waiting in emfs's own queue.
    pub(super) fn extend(&self, waited: Duration) {
        let mut state = self.lock();
        state.deadline = later(state.deadline, waited).min(later(Instant::now(), self.timeout));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// `instant + duration`, for any duration a configuration may hold.
pub(super) fn later(instant: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    instant.checked_add(duration.min(YEAR)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_drip_is_no_progress_however_it_is_cut() {
        for pieces in [1, 16] {
            let clock = Clock::start(TIMEOUT);
            let (start, deadline) = (Instant::now(), clock.deadline());
            for second in 0..100 {
                let now = start + Duration::from_secs(second);
                for piece in 0..pieces {
                    assert!(!clock.received(1024 / pieces, now + Duration::from_millis(piece as u64)));
                }
            }
            assert_eq!(clock.deadline(), deadline);
        }
    }

    #[test]
    fn four_kib_per_second_is_progress() {
        let clock = Clock::start(TIMEOUT);
        let start = Instant::now();
        let progress = (0..40u32).filter(|quarter| clock.received(1100, start + Duration::from_millis(250) * *quarter));
        assert_eq!(progress.count(), 10);
        assert!(clock.deadline() >= start + Duration::from_secs(19));
    }

    #[test]
    fn time_given_back_is_never_more_than_the_timeout() {
        let clock = Clock::start(TIMEOUT);
        clock.extend(Duration::MAX);
        assert!(clock.deadline() <= Instant::now() + TIMEOUT);
    }
}
