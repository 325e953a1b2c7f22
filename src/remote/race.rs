//! One request, and a second one where the first stalls.
//!
//! Some origins accept a few of a hundred requests and then say nothing for minutes. Waiting is hopeless and giving up
//! is wrong, so an identical request is sent, and the first complete answer wins.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, select_all};
use tokio::time::{Instant, sleep_until};

use super::attempt::{Pulse, Task, attempt};
use super::backoff::{Failure, Persistence};
use super::clock::later;
use super::limits::{Slot, timed_out};
use super::object::Fetched;

/// A request that takes part. Fields are dropped in this order: the connection goes before its slot.
struct Racer<'a> {
    request: BoxFuture<'a, Result<Fetched, Failure>>,
    pulse: Arc<Pulse>,
    slot: Slot,
}

impl<'a> Racer<'a> {
    fn start(task: &'a Task<'a>, slot: Slot) -> Self {
        let pulse = Arc::new(Pulse::default());
        let beating = Arc::clone(&pulse);
        Racer { request: async move { attempt(task, &beating).await }.boxed(), pulse, slot }
    }

    /// Ends the request and keeps its slot.
    fn abandon(self) -> Slot {
        drop(self.request);
        self.slot
    }
}

/// Runs an attempt to its end, at the latest that of the operation's time. Two requests are in flight at most; where no
/// second slot is free, the stalled request is given up for the second one.
pub(super) async fn race(task: &Task<'_>, slot: Slot) -> Result<Fetched, Failure> {
    let mut racers = vec![Racer::start(task, slot)];
    // An origin that is slow, but not dead, is not started anew for ever.
    let mut patience = task.host.stall();
    loop {
        let look = stalled_at(&racers, patience).unwrap_or_else(|| later(Instant::now(), patience));
        let wake = look.min(task.clock.deadline());
        tokio::select! {
            (result, index, _) = select_all(racers.iter_mut().map(|racer| &mut racer.request)) => {
                match result {
                    Ok(fetched) => return Ok(fetched),
                    Err(failure) if failure.persistence == Persistence::Final || racers.len() == 1 => {
                        return Err(failure);
                    }
                    Err(failure) => {
                        tracing::debug!(cause = %failure.cause, "one of two requests failed, the other goes on");
                        drop(racers.remove(index));
                    }
                }
            }
            () = sleep_until(wake) => {
                if task.clock.expired() {
                    return Err(Failure::last(timed_out(&task.clock)));
                }
                // A byte may have come, or the deadline may have moved, since the time to wake was chosen.
                if stalled_at(&racers, patience).is_some_and(|stalled| stalled <= Instant::now()) {
                    second(task, &mut racers);
                    patience = patience.saturating_mul(2).max(Duration::from_millis(1));
                }
            }
        }
    }
}

/// When all requests count as stalled; `None` while one of them waits for its turn.
fn stalled_at(racers: &[Racer<'_>], patience: Duration) -> Option<Instant> {
    let mut latest = None;
    for racer in racers {
        latest = latest.max(Some(racer.pulse.last()?));
    }
    latest.map(|latest| later(latest, patience))
}

fn second<'a>(task: &'a Task<'a>, racers: &mut Vec<Racer<'a>>) {
    let spare = if racers.len() == 1 { task.host.spare_slot() } else { None };
    let slot = match spare {
        Some(slot) => {
            task.host.count(|counters| counters.hedges += 1);
            slot
        }
        None => {
            task.host.count(|counters| counters.retries += 1);
            racers.remove(0).abandon()
        }
    };
    racers.push(Racer::start(task, slot));
}
