//! An operation: attempts until one succeeds, the answer is final or the time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::attempt::Task;
use super::backoff::Failure;
use super::breaker::{Pass, TRIAL};
use super::checks::Ask;
use super::clock::Clock;
use super::limits::Host;
use super::object::Fetched;
use super::pin::Pin;
use super::race::race;
use super::transport::Transport;
use super::{Cause, RemoteError};

/// What an operation works on.
pub(super) struct Subject<'a> {
    pub url: &'a str,
    pub transport: &'a Transport,
    pub host: &'a Arc<Host>,
    pub pin: &'a Pin,
}

/// Gets exactly what is asked for or says why not. Dropping the future drops its connections and frees their slots.
pub(super) async fn run(subject: Subject<'_>, ask: Ask, timeout: Duration) -> Result<Fetched, RemoteError> {
    let range = ask.range();
    let Subject { url, transport, host, pin } = subject;
    let failed = |cause, attempts| RemoteError { url: url.to_owned(), range, attempts, cause };
    let pass = match transport {
        Transport::Http(_) => host.breaker.pass().map(Some),
        Transport::File(_) => Ok(None),
    };
    let error = match pass {
        Ok(pass) => {
            let trial = pass.as_ref().is_some_and(Pass::is_trial);
            let time = if trial { timeout.min(TRIAL) } else { timeout };
            let task = Task { transport, host, pin, ask, clock: Clock::start(time), sent: AtomicU32::new(0) };
            match attempts(&task, url, trial).await {
                Ok(fetched) => return Ok(fetched),
                Err(cause) => {
                    pass.into_iter().for_each(|pass| pass.failed(&cause));
                    failed(cause, task.sent.load(Ordering::Relaxed))
                }
            }
        }
        Err(cause) => failed(cause, 0),
    };
    // That an object is not there is an answer, not a failure.
    if error.cause != Cause::NotFound {
        host.count(|counters| counters.failures += 1);
    }
    Err(error)
}

/// `trial`: a host that still cannot be reached is not asked again.
async fn attempts(task: &Task<'_>, url: &str, trial: bool) -> Result<Fetched, Cause> {
    task.ask.check()?;
    let mut failures = 0;
    loop {
        let slot = task.host.slot(&task.clock).await?;
        let failure = match race(task, slot).await {
            Ok(fetched) => return Ok(fetched),
            Err(failure) => failure,
        };
        if trial && matches!(failure.cause, Cause::Connection(_)) {
            return Err(failure.cause);
        }
        failures += 1;
        let pause = pause(task, &failure, failures)?;
        tracing::debug!(url, cause = %failure.cause, ?pause, "an attempt failed");
        sleep(pause).await;
        task.host.count(|counters| counters.retries += 1);
    }
}

/// How long to wait for the next attempt; the cause of the operation's failure if there is none.
fn pause(task: &Task<'_>, failure: &Failure, failures: u32) -> Result<Duration, Cause> {
    let pause = failure.pause(failures);
    let left = task.clock.deadline().saturating_duration_since(Instant::now());
    if failure.ends_after(failures) || pause >= left { Err(failure.cause.clone()) } else { Ok(pause) }
}
