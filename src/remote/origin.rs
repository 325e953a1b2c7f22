//! One object at its origin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checks::RangeRequest;
use super::fetched::Fetched;
use super::limits::Host;
use super::operation::{self, Target};
use super::pin::Pin;
use super::transport::Transport;
use super::{Cause, RemoteError};
use crate::cache::FetchPlace;

/// Where an object is had from, with what it was when it was first answered: any other version is refused.
pub(crate) struct Origin {
    url: String,
    transport: Transport,
    host: Arc<Host>,
    place: FetchPlace,
    pin: Arc<Pin>,
    timeout: Duration,
}

impl Origin {
    pub(super) fn new(
        url: String,
        transport: Transport,
        host: Arc<Host>,
        place: FetchPlace,
        timeout: Duration,
    ) -> Self {
        Origin { url, transport, host, place, pin: Arc::default(), timeout }
    }

    /// The address, for messages.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where requests go; the same as [`Origin::url`] but for buckets.
    pub(crate) fn address(&self) -> &str {
        match &self.transport {
            Transport::Http(target) => target.url.as_str(),
            Transport::File(_) => &self.url,
        }
    }

    /// Who has to answer: a host, or a filesystem of this machine.
    pub(crate) fn place(&self) -> &FetchPlace {
        &self.place
    }

    /// Which version the object is.
    pub(crate) fn pin(&self) -> &Arc<Pin> {
        &self.pin
    }

    /// Whether it is a file of this machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.transport, Transport::File(_))
    }

    /// Whether its host is known to be out of reach.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        self.host.breaker.is_open()
    }

    /// Whether its host sent an object since then that it had just said to be absent.
    pub(crate) fn has_taken_absence_back_since(&self, when: Instant) -> bool {
        self.host.has_taken_absence_back_since(when.into())
    }

    /// The status that its host is known to have for what is not there.
    pub(crate) fn absent_status(&self) -> Option<u16> {
        self.host.absent_status()
    }

    /// Exactly what `ask` wants of the version that `pin` has, or the reason why not. `past_caches`: no cache on the way may
    /// answer.
    pub(super) async fn ask_once(
        &self,
        ask: &RangeRequest,
        pin: &Pin,
        past_caches: bool,
    ) -> Result<Fetched, RemoteError> {
        let Origin { url, transport, host, timeout, .. } = self;
        operation::run(Target { url, transport, host, pin, past_caches }, ask.clone(), *timeout).await
    }

    /// The error of an operation for which nothing was sent.
    pub(crate) fn failed(&self, ask: &RangeRequest, cause: Cause) -> RemoteError {
        RemoteError { url: self.url.clone(), range: ask.range(), attempts: 0, cause }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}
