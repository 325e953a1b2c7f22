//! The time that an operation has left.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use tokio::time::Instant;

use super::speed::Speed;

/// In the last part of its time an operation sends nothing more: no answer would come before the end.
const TOO_LATE: Duration = Duration::from_secs(1);

/// An operation fails when its clock was not set back for the whole timeout. Bytes that it had not before, at 4 KiB/s or
/// more, set it back: a request that is repeated brings nothing new until it is further than those before it.
#[derive(Debug)]
pub(super) struct Clock {
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    deadline: Instant,
    speed: Speed,
    /// How many bytes, from the first that was asked for, any of its requests received.
    had: u64,
}

impl Clock {
    pub(super) fn start(timeout: Duration) -> Self {
        let now = Instant::now();
        let state = State { deadline: later(now, timeout), speed: Speed::start(now), had: 0 };
        Clock { timeout, state: Mutex::new(state) }
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

    /// How long requests may still be sent; not at all shortly before the end.
    pub(super) fn time_to_send(&self) -> Duration {
        let last = self.deadline().checked_sub(TOO_LATE.min(self.timeout / 4));
        last.map(|last| last.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    /// Whether nothing is sent any more.
    pub(super) fn is_too_late(&self) -> bool {
        self.time_to_send().is_zero()
    }

    /// Notes that a request of the operation received `bytes` so far, from the first that was asked for; returns whether
    /// that is progress.
    pub(super) fn received(&self, bytes: u64, now: Instant) -> bool {
        let mut state = self.lock();
        let new = bytes.saturating_sub(state.had);
        state.had = state.had.max(bytes);
        let progress = new > 0 && state.speed.received(new, now);
        if progress {
            state.deadline = later(now, self.timeout);
        }
        progress
    }

    /// All bytes came. Where they are not believed, all are asked for once more, and are new then.
    pub(super) fn complete(&self) {
        self.lock().had = 0;
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
    fn bytes_that_came_before_are_no_progress() {
        let clock = Clock::start(TIMEOUT);
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert!(clock.received(1 << 20, start + second));
        let deadline = clock.deadline();
        for request in 2..100 {
            assert!(!clock.received(1 << 19, start + second * request));
            assert!(!clock.received(1 << 20, start + second * request));
        }
        assert_eq!(clock.deadline(), deadline);
        assert!(clock.received((1 << 20) + 4096, start + second * 5));
        assert_eq!(clock.deadline(), start + second * 5 + TIMEOUT);
    }

    #[test]
    fn what_is_asked_for_once_more_after_all_came_is_new() {
        let clock = Clock::start(TIMEOUT);
        let start = Instant::now();
        assert!(clock.received(1 << 20, start));
        clock.complete();
        assert!(clock.received(1 << 20, start + Duration::from_secs(3)));
    }

    #[test]
    fn nothing_is_sent_shortly_before_the_end() {
        for (timeout, is_too_late) in [(Duration::from_millis(1), false), (Duration::from_secs(10), false)] {
            assert_eq!(Clock::start(timeout * 4).is_too_late(), is_too_late);
        }
        let clock = Clock::start(Duration::from_millis(40));
        std::thread::sleep(Duration::from_millis(32));
        assert!(clock.is_too_late());
    }

    #[test]
    fn time_given_back_is_never_more_than_the_timeout() {
        let clock = Clock::start(TIMEOUT);
        clock.extend(Duration::MAX);
        assert!(clock.deadline() <= Instant::now() + TIMEOUT);
    }
}
