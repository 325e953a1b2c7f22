//! An operation: attempts until one succeeds, the answer is final or the time is over.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::attempt::Task;
use super::backoff::FailedAttempt;
use super::breaker::{Pass, TRIAL};
use super::checks::RangeRequest;
use super::clock::Clock;
use super::fetched::Fetched;
use super::hedge::hedge;
use super::limits::{Host, timed_out};
use super::pin::Pin;
use super::transport::Transport;
use super::{Cause, RemoteError};

/// An answer of so many bytes that are all zero is not believed before it was given twice: zeros are what broken servers,
/// disks and proxies send in place of anything else, and as voxels they look like data.
const BLANK: usize = 16;

/// How often a host has to say that an object is absent after it took such a word back a short while ago.
const DOUBTED_ABSENCES: u32 = 6;

/// How often an origin that gives an object in two versions in turn is asked for the one that is read.
const TURNS: u32 = 8;

/// What an operation works on.
pub(super) struct Target<'a> {
    pub url: &'a str,
    pub transport: &'a Transport,
    pub host: &'a Arc<Host>,
    pub pin: &'a Pin,
    /// Whether no cache on the way may answer.
    pub past_caches: bool,
}

/// Gets exactly what is asked for or says why not. Dropping the future drops its connections and frees their permits.
pub(super) async fn run(target: Target<'_>, ask: RangeRequest, timeout: Duration) -> Result<Fetched, RemoteError> {
    let range = ask.range();
    let Target { url, transport, host, pin, past_caches } = target;
    let failed = |cause, attempts| RemoteError { url: url.to_owned(), range, attempts, cause };
    let pass = match transport {
        Transport::Http(_) => host.breaker.pass().map(Some),
        Transport::File(_) => Ok(None),
    };
    let error = match pass {
        Ok(pass) => {
            let trial = pass.as_ref().is_some_and(Pass::is_trial);
            let time = if trial { timeout.min(TRIAL) } else { timeout };
            let clock = Clock::start(time);
            let task = Task {
                transport,
                host,
                pin,
                ask,
                past_caches,
                clock,
                sent: AtomicU32::new(0),
                failed: Mutex::default(),
            };
            match attempts(&task, url, trial).await {
                Ok(fetched) => return Ok(fetched),
                Err(cause) => {
                    let cause = cause.after(task.failed.lock().take());
                    pass.into_iter().for_each(|pass| pass.failed(&cause));
                    failed(cause, task.sent.load(Ordering::Relaxed))
                }
            }
        }
        Err(cause) => failed(cause, 0),
    };
    // That an object is not there is an answer, not a failure.
    if error.cause != Cause::NotFound {
        host.counters().failures.add(1);
    }
    Err(error)
}

/// `trial`: a host that still cannot be reached is not asked again.
async fn attempts(task: &Task<'_>, url: &str, trial: bool) -> Result<Fetched, Cause> {
    task.ask.check()?;
    let mut failed: Vec<Discriminant<Cause>> = Vec::new();
    let mut was_blank = false;
    loop {
        let permit = task.host.permit(&task.clock).await?;
        let failure = match hedge(task, permit).await {
            Ok(fetched) if !was_blank && is_blank(task, &fetched) => {
                was_blank = true;
                tracing::debug!(url, "nothing but zeros came, so it is asked for once more");
                continue;
            }
            Ok(fetched) => {
                if failed.contains(&discriminant(&Cause::NotFound)) {
                    tracing::info!(
                        "{url}: said to be absent and then sent; {} is doubted for a while",
                        task.host.name()
                    );
                    task.host.took_absence_back();
                }
                return Ok(fetched);
            }
            Err(failure) => failure,
        };
        if trial && matches!(failure.cause, Cause::Connection(_)) {
            return Err(failure.cause);
        }
        failed.push(discriminant(&failure.cause));
        let pause = pause(task, &failure, &failed)?;
        tracing::debug!(url, cause = %failure.cause, ?pause, "an attempt failed");
        sleep(pause).await;
        task.host.counters().retries.add(1);
    }
}

/// Whether an answer that came over a network is nothing but zeros.
fn is_blank(task: &Task<'_>, fetched: &Fetched) -> bool {
    matches!(task.transport, Transport::Http(_))
        && fetched.bytes.len() >= BLANK
        && fetched.bytes.iter().all(|byte| *byte == 0)
}

/// How long to wait for the next attempt; the cause of the operation's failure if there is none. `failed`: how attempts
/// ended, this one last.
fn pause(task: &Task<'_>, failure: &FailedAttempt, failed: &[Discriminant<Cause>]) -> Result<Duration, Cause> {
    let times = |failed: &[Discriminant<Cause>]| u32::try_from(failed.len()).unwrap_or(u32::MAX);
    let alike: Vec<_> = failed.iter().copied().filter(|cause| *cause == discriminant(&failure.cause)).collect();
    let ends = match failure.cause {
        Cause::NotFound if task.host.takes_absences_back() => times(&alike) >= DOUBTED_ABSENCES,
        Cause::Changed(_) if task.pin.flaps() => times(&alike) >= TURNS,
        _ => failure.ends_after(times(&alike)),
    };
    let pause = failure.pause(match failure.cause {
        // Another of its servers may answer at once.
        Cause::Changed(_) if task.pin.flaps() => 1,
        _ => times(failed),
    });
    let left = task.clock.time_to_send();
    match failure.cause {
        // Whoever takes it for an absence must be able to rely on it.
        Cause::NotFound | Cause::Denied(_) if !ends && pause >= left && alike.len() < 2 => Err(timed_out(&task.clock)),
        _ if ends || pause >= left => Err(failure.cause.clone()),
        _ => Ok(pause),
    }
}
