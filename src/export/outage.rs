//! When an export stops asking: where a host is down, all that is left would fail as well, one request after the other.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::volume::VolumeError;

/// How long nothing came from any origin.
pub(super) struct Outage {
    /// How long it may be; `None` where nobody is asked anyway, which costs nothing.
    patience: Option<Duration>,
    state: Mutex<State>,
}

struct State {
    /// When something was fetched last.
    served: Instant,
    /// When something could not be fetched for the first time since then.
    failed: Option<Instant>,
}

impl Outage {
    pub(super) fn new(patience: Option<Duration>) -> Outage {
        Outage { patience, state: Mutex::new(State { served: Instant::now(), failed: None }) }
    }

    /// Notes that something was fetched.
    pub(super) fn served(&self) {
        *self.state.lock() = State { served: Instant::now(), failed: None };
    }

    /// Whether after an error there is no hope left: nothing was fetched for so long, though it was tried.
    pub(super) fn is_hopeless(&self, error: &VolumeError) -> bool {
        let Some(patience) = self.patience.filter(|_| error.is_outage()) else { return false };
        let mut state = self.state.lock();
        let failed = *state.failed.get_or_insert_with(Instant::now);
        state.served.elapsed() >= patience && (error.is_silence() || failed.elapsed() >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Cause, RemoteError};
    use crate::source::SourceError;

    fn error(cause: Cause) -> VolumeError {
        VolumeError::Source(SourceError::Remote(RemoteError { url: "u".to_owned(), range: None, attempts: 1, cause }))
    }

    #[test]
    fn there_is_hope_as_long_as_something_is_fetched() {
        let outage = Outage::new(Some(Duration::from_secs(3600)));
        assert!(!outage.is_hopeless(&error(Cause::timeout(3600))));
        outage.state.lock().served -= Duration::from_secs(3600);
        assert!(outage.is_hopeless(&error(Cause::timeout(3600))) && !outage.is_hopeless(&error(Cause::Denied(403))));
        outage.served();
        assert!(!outage.is_hopeless(&error(Cause::timeout(3600))));
    }

    #[test]
    fn a_first_failure_after_long_work_without_the_origin_is_no_outage() {
        let outage = Outage::new(Some(Duration::from_secs(3600)));
        outage.state.lock().served -= Duration::from_secs(3600);
        assert!(!outage.is_hopeless(&error(Cause::Status(503))));
        *outage.state.lock().failed.as_mut().unwrap() -= Duration::from_secs(3600);
        assert!(outage.is_hopeless(&error(Cause::Status(503))));
    }

    #[test]
    fn who_asks_nobody_does_not_give_up() {
        let outage = Outage::new(None);
        outage.state.lock().served -= Duration::from_secs(3600);
        assert!(!outage.is_hopeless(&error(Cause::Offline("not in the cache".to_owned()))));
    }
}
