//! When an export stops asking: where a host is down, all that is left would fail as well, one request after the other.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::volume::VolumeError;

/// How long nothing came from any origin.
pub(super) struct Outage {
    /// How long it may be; `None` where nobody is asked anyway, which costs nothing.
    patience: Option<Duration>,
    /// When something was fetched last.
    served: Mutex<Instant>,
}

impl Outage {
    pub(super) fn new(patience: Option<Duration>) -> Outage {
        Outage { patience, served: Mutex::new(Instant::now()) }
    }

    /// Notes that something was fetched.
    pub(super) fn served(&self) {
        *self.served.lock() = Instant::now();
    }

    /// Whether an error is one of so many in so long a time that there is no hope left.
    pub(super) fn is_hopeless(&self, error: &VolumeError) -> bool {
        error.is_outage() && self.patience.is_some_and(|patience| self.served.lock().elapsed() >= patience)
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
        assert!(!outage.is_hopeless(&error(Cause::Timeout(60))));
        *outage.served.lock() -= Duration::from_secs(3600);
        assert!(outage.is_hopeless(&error(Cause::Timeout(60))) && outage.is_hopeless(&error(Cause::Status(503))));
        assert!(!outage.is_hopeless(&error(Cause::Denied(403))), "the origin answers");
        outage.served();
        assert!(!outage.is_hopeless(&error(Cause::Timeout(60))));
    }

    #[test]
    fn who_asks_nobody_does_not_give_up() {
        let outage = Outage::new(None);
        *outage.served.lock() -= Duration::from_secs(3600);
        assert!(!outage.is_hopeless(&error(Cause::Offline("not in the cache".to_owned()))));
    }
}
