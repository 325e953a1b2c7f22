//! What one host is asked at once and per second.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::backoff::FailedAttempt;
use super::breaker::Breaker;
use super::clock::{Clock, later};
use super::{Cause, HostLimits};
use crate::cache::{FetchPlace, PoolShare, Shares};
use crate::stats::{HostCounters, Stats};

/// How long a host that took back that an object is absent has to say it more often.
const DOUBTED: Duration = Duration::from_secs(600);

/// Reads of a filesystem of this machine at once.
const LOCAL_READS: usize = 16;

/// A host with its queue. Requests are let in first come, first served.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    limits: HostLimits,
    permits: Arc<Semaphore>,
    /// What it has a share in beside its own permits: a filesystem takes threads of this machine.
    threads: Option<(Arc<Shares>, FetchPlace)>,
    pace: Mutex<Pace>,
    counters: Arc<HostCounters>,
    /// Whether the host can be reached.
    pub(super) breaker: Breaker,
}

/// When the host may be asked again, and when it last did its work.
#[derive(Debug)]
struct Pace {
    next: Instant,
    retry_after: Instant,
    retry_status: u16,
    served: Option<Instant>,
    /// When it last sent an object that it had said to be absent.
    took_back: Option<Instant>,
    /// Whether it was found to give an object under several names of its version.
    has_mirrors: bool,
}

/// The right to have one request in flight; free again when all clones are dropped.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    _held: Arc<(OwnedSemaphorePermit, Option<PoolShare>)>,
}

/// A request in flight, for the counters.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Host);

impl Host {
    pub(super) fn new(name: String, limits: HostLimits, stats: &Stats) -> Self {
        let permits = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let now = Instant::now();
        Host {
            breaker: Breaker::new(name.clone()),
            counters: stats.host(&name),
            name,
            limits,
            permits,
            threads: None,
            pace: Mutex::new(Pace {
                next: now,
                retry_after: now,
                retry_status: 429,
                served: None,
                took_back: None,
                has_mirrors: false,
            }),
        }
    }

    /// A filesystem of this machine, which is counted under `name`. `threads`: what all of them may take together.
    pub(super) fn filesystem(name: String, place: FetchPlace, threads: Arc<Shares>, stats: &Stats) -> Self {
        let limits = HostLimits { connections: LOCAL_READS, ..HostLimits::default() };
        Host { threads: Some((threads, place)), ..Host::new(name, limits, stats) }
    }

    /// Time at less than 4 KiB/s after which a request is hedged.
    pub(super) fn stall(&self) -> Duration {
        self.limits.stall
    }

    /// Whether ETags that look like an MD5 are one.
    pub(super) fn has_md5_etags(&self) -> bool {
        self.limits.md5_etags
    }

    /// The status that it is known to have for what is not there.
    pub(super) fn absent_status(&self) -> Option<u16> {
        self.limits.absent
    }

    /// What is counted of it.
    pub(super) fn counters(&self) -> &HostCounters {
        &self.counters
    }

    /// Notes that the host serves: bytes came fast enough, or an answer is complete.
    pub(super) fn served(&self) {
        self.pace().served = Some(Instant::now());
    }

    /// Its name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Notes that behind its name are several servers; says whether that is new.
    pub(super) fn is_found_to_have_mirrors(&self) -> bool {
        !std::mem::replace(&mut self.pace().has_mirrors, true)
    }

    /// Notes that the host sent an object that it had just said to be absent.
    pub(super) fn took_absence_back(&self) {
        self.pace().took_back = Some(Instant::now());
    }

    /// Whether the host did so since then.
    pub(super) fn has_taken_absence_back_since(&self, when: Instant) -> bool {
        self.pace().took_back.is_some_and(|latest| latest > when)
    }

    /// Whether the host did so of late.
    pub(super) fn takes_absences_back(&self) -> bool {
        self.pace().took_back.is_some_and(|when| when.elapsed() < DOUBTED)
    }

    /// Nobody asks the host for so long, because it said so.
    pub(super) fn retry_after(&self, duration: Duration, status: u16) {
        let until = later(Instant::now(), duration);
        let mut pace = self.pace();
        if until > pace.retry_after {
            (pace.retry_after, pace.retry_status) = (until, status);
        }
    }

    /// Waits for a free permit. The operation's time stands still while the host serves others; a permit that comes when it is
    /// as good as over is of no use.
    pub(super) async fn permit(&self, clock: &Clock) -> Result<Permit, Cause> {
        let start = Instant::now();
        let mut acquire = std::pin::pin!(async {
            let permit = Arc::clone(&self.permits).acquire_owned().await?;
            let share = match &self.threads {
                Some((threads, place)) => threads.take(place, 1).await,
                None => None,
            };
            Ok::<_, AcquireError>(Permit { _held: Arc::new((permit, share)) })
        });
        loop {
            let served = self.pace().served.filter(|served| *served >= start);
            let deadline =
                served.map_or(clock.deadline(), |served| clock.deadline().max(later(served, clock.timeout())));
            match timeout_at(deadline, acquire.as_mut()).await {
                Ok(Ok(permit)) => {
                    let served = self.pace().served.unwrap_or(start);
                    clock.extend(served.saturating_duration_since(start));
                    if clock.is_too_late() {
                        return Err(timed_out(clock));
                    }
                    return Ok(permit);
                }
                Ok(Err(closed)) => return Err(Cause::Connection(closed.to_string())),
                Err(_) if self.pace().served.filter(|served| *served >= start) != served => {}
                Err(_) => return Err(timed_out(clock)),
            }
        }
    }

    /// A permit that nobody waits for, for a second request that hedges it.
    pub(super) fn spare_permit(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Permit { _held: Arc::new((permit, None)) })
    }

    /// Waits until the host may be asked: its rate allows it and it did not ask for a pause. Time waited for the rate
    /// is given back to the operation; a pause is not, and one that leaves it no time worth trying ends it at once.
    pub(super) async fn rate_limit(&self, clock: &Clock) -> Result<(), FailedAttempt> {
        // A pause may be prolonged by another answer while it is waited for.
        loop {
            let (retry_after, status) = self.pause();
            if retry_after <= Instant::now() {
                break;
            }
            if later(retry_after, clock.timeout() / 10) >= clock.deadline() {
                return Err(FailedAttempt::later(status, Some(Duration::MAX)));
            }
            sleep_until(retry_after).await;
        }
        let at = self.reserve();
        clock.extend(at.saturating_duration_since(Instant::now()));
        sleep_until(at).await;
        if clock.is_too_late() { Err(FailedAttempt::too_late(timed_out(clock))) } else { Ok(()) }
    }

    /// Counts a request that is about to be sent, until the returned guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.counters.requests.add(1);
        self.counters.in_flight.add(1);
        InFlight(self)
    }

    fn pause(&self) -> (Instant, u16) {
        let pace = self.pace();
        (pace.retry_after, pace.retry_status)
    }

    /// The next moment that the rate allows, which nobody else gets.
    fn reserve(&self) -> Instant {
        let spacing = self.limits.rate.and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok());
        let mut pace = self.pace();
        let at = pace.next.max(Instant::now());
        pace.next = later(at, spacing.unwrap_or_default());
        at
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock()
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.counters.in_flight.subtract(1);
    }
}

/// The cause of an operation whose time is over.
pub(super) fn timed_out(clock: &Clock) -> Cause {
    Cause::timeout(clock.timeout().as_secs_f64().ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(connections: usize, rate: Option<f64>) -> Host {
        let limits = HostLimits { connections, rate, stall: Duration::from_secs(1), ..HostLimits::default() };
        Host::new("host".into(), limits, &Stats::default())
    }

    #[tokio::test]
    async fn waiting_for_a_host_that_serves_nobody_ends_with_the_timeout() {
        let host = host(1, None);
        let _taken = host.permit(&Clock::start(Duration::from_secs(5))).await.unwrap();
        assert!(host.spare_permit().is_none());
        let waiting = host.permit(&Clock::start(Duration::from_millis(50))).await;
        assert!(matches!(waiting, Err(Cause::Timeout { .. })));
    }

    #[tokio::test]
    async fn waiting_for_a_host_that_serves_others_takes_no_time() {
        let host = host(1, None);
        let taken = host.permit(&Clock::start(Duration::from_secs(5))).await.unwrap();
        let clock = Clock::start(Duration::from_millis(500));
        let busy = async {
            for _ in 0..12 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                host.served();
            }
            drop(taken);
        };
        let (permit, ()) = tokio::join!(host.permit(&clock), busy);
        assert!(permit.is_ok() && !clock.expired());
    }

    #[tokio::test]
    async fn a_rate_spaces_requests_and_costs_the_operation_nothing() {
        let host = host(4, Some(20.0));
        let (clock, start) = (Clock::start(Duration::from_millis(100)), Instant::now());
        for _ in 0..5 {
            host.rate_limit(&clock).await.unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(199));
        assert!(!clock.expired());
    }

    #[tokio::test]
    async fn a_pause_longer_than_the_operation_ends_it_at_once() {
        let host = host(1, None);
        host.retry_after(Duration::from_secs(100), 503);
        let failure = host.rate_limit(&Clock::start(Duration::from_secs(50))).await.unwrap_err();
        assert_eq!((failure.cause, failure.retry_after), (Cause::Status(503), Some(Duration::MAX)));
    }

    #[tokio::test]
    async fn senseless_rates_do_not_stop_a_host() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            host(1, Some(rate)).rate_limit(&Clock::start(Duration::from_secs(1))).await.unwrap();
        }
    }
}
