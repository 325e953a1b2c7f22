//! One request, and a second one where the first stalls.
//!
//! Some origins accept a few of a hundred requests and then say nothing for minutes, or a few bytes a second. Waiting is
//! hopeless and giving up is wrong, so an identical request is sent, and the first complete answer wins.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, select_all};
use tokio::time::{Instant, sleep_until};

use super::attempt::{LastActivity, Task, attempt};
use super::backoff::{FailedAttempt, Persistence};
use super::checks::RangeRequest;
use super::clock::later;
use super::fetched::Fetched;
use super::limits::{Permit, timed_out};
use super::transport::Transport;

/// Requests for the same bytes that are in flight at once.
const MAX_IN_FLIGHT: usize = 4;

/// Bytes of a request that is expected soon.
const SHORT: u64 = 64 << 10;

/// A request that takes part. Fields are dropped in this order: the connection goes before its permit.
struct Attempt<'a> {
    request: BoxFuture<'a, Result<Fetched, FailedAttempt>>,
    activity: Arc<LastActivity>,
    permit: Permit,
}

impl<'a> Attempt<'a> {
    fn start(task: &'a Task<'a>, permit: Permit) -> Self {
        let activity = Arc::new(LastActivity::default());
        let (beating, own) = (Arc::clone(&activity), permit.clone());
        Attempt { request: async move { attempt(task, &beating, own).await }.boxed(), activity, permit }
    }

    /// Ends the request and keeps its permit.
    fn abandon(self) -> Permit {
        drop(self.request);
        self.permit
    }
}

/// Runs an attempt to its end, at the latest that of the operation's time. [`MAX_IN_FLIGHT`] requests are in flight at
/// most; where no further permit is free, the stalled request that received least is given up for the new one.
pub(super) async fn hedge(task: &Task<'_>, permit: Permit) -> Result<Fetched, FailedAttempt> {
    let mut attempts = vec![Attempt::start(task, permit)];
    let first = first_patience(task);
    let mut patience = first;
    let mut races = 0u32;
    loop {
        let look = stalled_at(&attempts, patience).unwrap_or_else(|| later(Instant::now(), patience));
        // Shortly before the end what is under way may still end, and no more is sent.
        let deadline = task.clock.deadline();
        let wake = if task.clock.is_too_late() { deadline } else { look.min(deadline) };
        tokio::select! {
            (result, index, _) = select_all(attempts.iter_mut().map(|racer| &mut racer.request)) => {
                match result {
                    Ok(fetched) => return Ok(fetched),
                    Err(failure) if failure.persistence == Persistence::Final || attempts.len() == 1 => {
                        return Err(failure);
                    }
                    Err(failure) => {
                        tracing::debug!(cause = %failure.cause, "one of the requests failed, the others go on");
                        drop(attempts.remove(index));
                    }
                }
            }
            () = sleep_until(wake) => {
                if task.clock.expired() {
                    return Err(FailedAttempt::last(timed_out(&task.clock)));
                }
                // A byte may have come, or the deadline may have moved, since the time to wake was chosen.
                let is_stalled = stalled_at(&attempts, patience).is_some_and(|stalled| stalled <= Instant::now());
                if is_stalled && !task.clock.is_too_late() {
                    second(task, &mut attempts);
                    // Where one request fell silent the next may as well, so two get less time. After that the origin may
                    // be slow rather than deaf, and is not started anew for ever.
                    races += 1;
                    patience = if races <= 2 { first / 2 } else { patience.saturating_mul(2) };
                    patience = patience.max(Duration::from_millis(1));
                }
            }
        }
    }
}

/// How long the first request may be silent. What is short is answered sooner, and is mostly an index or a header for
/// which others wait in a row, so it is hedged after half the time. A filesystem that hangs would take a second thread.
fn first_patience(task: &Task<'_>) -> Duration {
    if matches!(task.transport, Transport::File(_)) {
        return Duration::MAX;
    }
    let short = match &task.ask {
        RangeRequest::End(length) => *length <= SHORT,
        ask => ask.range().is_some_and(|range| range.end - range.start <= SHORT),
    };
    if short { task.host.stall() / 2 } else { task.host.stall() }
}

/// When all requests count as stalled; `None` while one of them waits to be sent.
fn stalled_at(attempts: &[Attempt<'_>], patience: Duration) -> Option<Instant> {
    let mut latest = None;
    for racer in attempts {
        latest = latest.max(Some(racer.activity.last()?));
    }
    latest.map(|latest| later(latest, patience))
}

fn second<'a>(task: &'a Task<'a>, attempts: &mut Vec<Attempt<'a>>) {
    let spare = if attempts.len() < MAX_IN_FLIGHT { task.host.spare_permit() } else { None };
    let permit = match spare {
        Some(permit) => {
            task.host.counters().hedges.add(1);
            permit
        }
        None => {
            task.host.counters().retries.add(1);
            let least = attempts.iter().enumerate().min_by_key(|(_, racer)| racer.activity.bytes());
            let least = least.map_or(0, |(index, _)| index);
            attempts.remove(least).abandon()
        }
    };
    attempts.push(Attempt::start(task, permit));
}
