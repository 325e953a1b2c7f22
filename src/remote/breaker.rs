//! Whether a host can be reached. One that is known to be out of reach is not waited for again and again: operations
//! fail at once, but for one now and then that tries.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Cause;
use super::clock::later;

/// Time until the first trial.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time between two trials.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How long a trial waits for an answer at most.
pub(super) const TRIAL: Duration = Duration::from_secs(15);

/// What is known of one host.
#[derive(Debug)]
pub(super) struct Breaker {
    host: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the host last said anything.
    answered: Option<Instant>,
    /// Set while it cannot be reached.
    broken: Option<Broken>,
}

#[derive(Debug)]
struct Broken {
    reason: String,
    pause: Duration,
    /// When the next operation may try.
    next: Instant,
    trying: bool,
}

/// The right to ask the host.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    since: Instant,
    trial: bool,
}

impl Breaker {
    pub(super) fn new(host: String) -> Self {
        Breaker { host, state: Mutex::default() }
    }

    /// Lets an operation ask the host, or says why not.
    pub(super) fn pass(&self) -> Result<Pass<'_>, Cause> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Result<Pass<'_>, Cause> {
        let mut state = self.state.lock();
        let Some(broken) = &mut state.broken else { return Ok(Pass { breaker: self, since: now, trial: false }) };
        if broken.trying || now < broken.next {
            return Err(Cause::Offline(format!("{} cannot be reached ({})", self.host, broken.reason)));
        }
        broken.trying = true;
        Ok(Pass { breaker: self, since: now, trial: true })
    }

    /// Whether the host is known to be out of reach.
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().broken.is_some()
    }

    /// The host said something.
    pub(super) fn answered(&self) {
        let mut state = self.state.lock();
        state.answered = Some(Instant::now());
        if state.broken.take().is_some() {
            tracing::info!("{} answers again", self.host);
        }
    }
}

impl Pass<'_> {
    /// Whether the operation is there to find out if the host can be reached.
    pub(super) fn is_trial(&self) -> bool {
        self.trial
    }

    /// The operation failed. Where the host said nothing to anybody since it began, it cannot be reached.
    pub(super) fn failed(self, cause: &Cause) {
        self.failed_at(cause, Instant::now());
    }

    fn failed_at(self, cause: &Cause, now: Instant) {
        if !matches!(cause, Cause::Connection(_) | Cause::Timeout { .. }) {
            return;
        }
        let mut state = self.breaker.state.lock();
        if state.answered.is_some_and(|answered| answered >= self.since) {
            return;
        }
        let reason = cause.to_string();
        match &mut state.broken {
            None => {
                tracing::warn!(
                    "{} cannot be reached ({reason}); circuit open: uncached reads fail immediately until it answers",
                    self.breaker.host
                );
                let next = later(now, FIRST_PAUSE);
                state.broken = Some(Broken { reason, pause: FIRST_PAUSE, next, trying: false });
            }
            Some(broken) if self.trial => {
                let pause = broken.pause.saturating_mul(2).min(MAX_PAUSE);
                *broken = Broken { reason, pause, next: later(now, pause), trying: false };
            }
            // It was begun before another found out.
            Some(_) => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial
            && let Some(broken) = &mut self.breaker.state.lock().broken
        {
            broken.trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Cause {
        Cause::timeout(60)
    }

    /// A breaker of a host that was found out of reach, and when.
    fn broken() -> (Breaker, Instant) {
        let (breaker, now) = (Breaker::new("host".to_owned()), Instant::now());
        breaker.pass_at(now).unwrap().failed_at(&silence(), now);
        (breaker, now)
    }

    #[test]
    fn a_host_out_of_reach_is_tried_by_one_operation_at_a_time() {
        let (breaker, now) = broken();
        let refused = breaker.pass_at(now).unwrap_err().to_string();
        assert_eq!(refused, "offline: host cannot be reached (no progress for 60 s)");
        let later = now + FIRST_PAUSE;
        let trial = breaker.pass_at(later).unwrap();
        assert!(breaker.is_open());
        assert!(trial.is_trial() && breaker.pass_at(later).is_err());
        breaker.answered();
        drop(trial);
        assert!(!breaker.is_open());
        assert!(!breaker.pass_at(later).unwrap().is_trial());
    }

    #[test]
    fn pauses_between_trials_grow_to_five_seconds() {
        let (breaker, mut now) = broken();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let begin = now;
            let trial = loop {
                match breaker.pass_at(now) {
                    Ok(trial) => break trial,
                    Err(_) => now += Duration::from_millis(500),
                }
            };
            pauses.push((now - begin).as_secs());
            trial.failed_at(&silence(), now);
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_the_next_one_free() {
        let (breaker, now) = broken();
        drop(breaker.pass_at(now + FIRST_PAUSE).unwrap());
        assert!(breaker.pass_at(now + FIRST_PAUSE).unwrap().is_trial());
    }

    #[test]
    fn a_host_that_answers_others_is_within_reach() {
        let breaker = Breaker::new("host".to_owned());
        let slow = breaker.pass().unwrap();
        breaker.answered();
        slow.failed(&silence());
        assert!(breaker.pass().is_ok());
        breaker.pass().unwrap().failed(&Cause::Status(503));
        assert!(breaker.pass().is_ok());
    }
}
