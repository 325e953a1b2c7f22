//! When a failed attempt is followed by another, and how long after.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use super::Cause;
use crate::decimal;

/// The pause before the first repetition, before jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that emfs chooses itself, before jitter.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// An attempt that failed.
#[derive(Debug, Clone)]
pub(super) struct FailedAttempt {
    pub cause: Cause,
    pub persistence: Persistence,
    /// How long the origin asks to wait.
    pub retry_after: Option<Duration>,
}

/// How long a failure is answered by another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// The answer is the answer.
    Final,
    /// It may be an accident; after so many attempts it is not.
    Attempts(u32),
    /// It will pass or the operation's time will.
    UntilDeadline,
}

/// No single answer is final: one that is malformed, or that says "absent", "denied" or "changed", may be a proxy's accident.
/// Twice it is what the server means.
const TWICE: Persistence = Persistence::Attempts(2);
/// Each of these attempts received bytes, which counts as progress, so that only a number of attempts ends them.
const BROKEN: Persistence = Persistence::Attempts(5);

impl FailedAttempt {
    pub(super) fn last(cause: Cause) -> Self {
        FailedAttempt { cause, persistence: Persistence::Final, retry_after: None }
    }

    /// An answer that is believed when it is given twice.
    pub(super) fn doubtful(cause: Cause) -> Self {
        FailedAttempt { cause, persistence: TWICE, retry_after: None }
    }

    /// An answer that does not fit the request, seen before its body.
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        FailedAttempt::doubtful(Cause::Protocol(reason.into()))
    }

    /// A body of another length than announced.
    pub(super) fn malformed_body(reason: impl Into<String>) -> Self {
        FailedAttempt { cause: Cause::Protocol(reason.into()), persistence: BROKEN, retry_after: None }
    }

    /// A body of which a part may be of another version. What is there now may be whole, and of the right one.
    pub(super) fn torn(reason: impl Into<String>) -> Self {
        FailedAttempt { cause: Cause::Changed(reason.into()), persistence: BROKEN, retry_after: None }
    }

    /// A connection that failed after `received` bytes of a body.
    pub(super) fn connection(reason: impl Into<String>, received: usize) -> Self {
        let persistence = if received > 0 { BROKEN } else { Persistence::UntilDeadline };
        FailedAttempt { cause: Cause::Connection(reason.into()), persistence, retry_after: None }
    }

    /// A connection, or a file, that could not be opened: `error`, which came for the reason that `chain` tells. That this
    /// machine has no descriptor left says nothing about the other side, and may pass.
    pub(super) fn opening(error: &(dyn Error + 'static), chain: String) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
            if matches!(code, Some(libc::EMFILE | libc::ENFILE)) {
                return FailedAttempt { cause: Cause::Exhausted(chain), persistence: BROKEN, retry_after: None };
            }
            cause = error.source();
        }
        FailedAttempt::connection(chain, 0)
    }

    /// A status that says "not now".
    pub(super) fn later(status: u16, retry_after: Option<Duration>) -> Self {
        FailedAttempt { cause: Cause::Status(status), persistence: Persistence::UntilDeadline, retry_after }
    }

    /// A request that was not sent, because the time of the operation is over. Others of it may still be answered.
    pub(super) fn too_late(cause: Cause) -> Self {
        FailedAttempt { cause, persistence: Persistence::UntilDeadline, retry_after: None }
    }

    /// The environment's credentials could not be had.
    pub(super) fn credentials(reason: impl Into<String>) -> Self {
        FailedAttempt::doubtful(Cause::Credentials(reason.into()))
    }

    /// Whether no further attempt is made after `times` attempts that failed in the same way as this one.
    pub(super) fn ends_after(&self, times: u32) -> bool {
        match self.persistence {
            Persistence::Final => true,
            Persistence::Attempts(most) => times >= most,
            Persistence::UntilDeadline => false,
        }
    }

    /// The pause after the `failures`-th failure. Absent chunks are asked for by the thousand, so that a pause before each
    /// second question would be most of the time.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        match self.cause {
            Cause::NotFound if failures == 1 => Duration::ZERO,
            _ => pause(failures).max(self.retry_after.unwrap_or_default()),
        }
    }
}

/// Exponential back-off, between a half and the whole of the step, so that clients that failed together come apart.
fn pause(failures: u32) -> Duration {
    let step = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_PAUSE);
    step.mul_f64(rand::random_range(0.5..1.0))
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3). A date in the past asks for no pause.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = decimal::unsigned(text) {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after(" 12 ", now), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:20 GMT", now), Some(Duration::ZERO));
        for text in ["", "-1", "1.5", "soon", "18446744073709551616", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }

    #[test]
    fn a_longer_wish_of_the_origin_wins_over_the_own_pause() {
        assert_eq!(FailedAttempt::later(503, Some(Duration::from_secs(60))).pause(1), Duration::from_secs(60));
        assert!(FailedAttempt::later(503, Some(Duration::ZERO)).pause(1) > Duration::ZERO);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn a_pause_is_never_longer_than_the_longest(failures in any::<u32>()) {
            prop_assert!(pause(failures) <= MAX_PAUSE);
            prop_assert!(pause(failures) >= FIRST_PAUSE / 2);
        }

        #[test]
        fn no_retry_after_text_breaks_the_parser(text in "([0-9]{0,25}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT|.*)") {
            let _ = retry_after(&text, SystemTime::now());
        }
    }
}
