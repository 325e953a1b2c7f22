//! Whether bytes come fast enough to be called progress.

use std::time::Duration;

use tokio::time::Instant;

/// Slower than this is no progress.
const BYTES_PER_SECOND: u64 = 4096;
/// It is judged over so long, so that a few bytes in quick succession do not count as a fast host.
const WINDOW: Duration = Duration::from_secs(1);

/// The bytes that came since a moment.
#[derive(Debug)]
pub(super) struct Speed {
    window: Instant,
    bytes: u64,
}

impl Speed {
    pub(super) fn start(now: Instant) -> Self {
        Speed { window: now, bytes: 0 }
    }

    /// Notes bytes that were received; returns whether they are progress, with those before them.
    pub(super) fn received(&mut self, bytes: u64, now: Instant) -> bool {
        if now.saturating_duration_since(self.window) > WINDOW {
            // What came during a second that saw too little is not saved up.
            *self = Speed::start(now);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let progress = self.bytes >= BYTES_PER_SECOND * WINDOW.as_secs();
        if progress {
            *self = Speed::start(now);
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_is_no_progress_however_it_is_cut() {
        for pieces in [1, 16] {
            let start = Instant::now();
            let mut speed = Speed::start(start);
            for second in 0..100 {
                let now = start + Duration::from_secs(second);
                for piece in 0..pieces {
                    assert!(!speed.received(1024 / pieces, now + Duration::from_millis(piece)));
                }
            }
        }
    }

    #[test]
    fn four_kib_per_second_is_progress() {
        let start = Instant::now();
        let mut speed = Speed::start(start);
        let progress = (0..40u32).filter(|quarter| speed.received(1100, start + Duration::from_millis(250) * *quarter));
        assert_eq!(progress.count(), 10);
    }
}
