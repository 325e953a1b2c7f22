//! The reader against origins that do everything an origin can do.

mod absence;
mod cache_policy;
mod changes;
mod checksums;
mod conformance;
mod endings;
mod faults;
mod files;
mod hedging;
mod mirrors;
mod nameless;
mod senseless;
mod stalls;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{Object, Remote};
use crate::remote::tests::origin::{self, Act, Origin, Request};
use crate::remote::{HostLimits, LimitsByHost, Location};
use crate::stats::{HostStats, Stats};

/// The time of operations that are to run into its end.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// No byte for so long is a stall where races are tested.
const STALL: Duration = Duration::from_millis(500);
/// What a busy machine may add to a deadline; also the time of operations that must not come near their end.
const SLACK: Duration = Duration::from_secs(10);

/// The ways to name an object of an origin.
const SCHEMES: [&str; 3] = ["http", "s3", "gs"];

/// An origin with a reader for it.
struct Bench {
    origin: Origin,
    remote: Remote,
    stats: Arc<Stats>,
}

impl Bench {
    /// `script` answers the requests, the first with number 0. Nothing is hedged.
    async fn new(
        timeout: Duration,
        connections: usize,
        script: impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::with(timeout, HostLimits { connections, rate: None, stall: timeout * 2, ..HostLimits::default() }, script)
            .await
    }

    /// The same with stalled requests hedged after [`STALL`].
    async fn racing(
        timeout: Duration,
        connections: usize,
        script: impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::with(timeout, HostLimits { connections, rate: None, stall: STALL, ..HostLimits::default() }, script).await
    }

    async fn with(
        timeout: Duration,
        limits: HostLimits,
        script: impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let limits = LimitsByHost { hosts: [("127.0.0.1".to_owned(), limits)].into() };
        let stats = Arc::<Stats>::default();
        let origin = Origin::start(script).await;
        let remote = Remote::new(limits, timeout, Arc::clone(&stats)).unwrap();
        Bench { origin, remote, stats }
    }

    /// The object `/bucket/a key` of the origin.
    fn object(&self, scheme: &str) -> Object {
        self.remote.object(&self.location(scheme).join("a key")).unwrap()
    }

    fn location(&self, scheme: &str) -> Location {
        let server = Url::parse(&self.origin.url()).unwrap();
        if scheme == "http" {
            return Location::anonymous(server.join("bucket/").unwrap());
        }
        let folder = Location::parse(&format!("{scheme}://bucket/"), None).unwrap();
        Location { endpoint: Some(server), ..folder }
    }

    fn counters(&self) -> HostStats {
        let name = self.origin.url().trim_start_matches("http://").to_owned();
        self.stats.snapshot().hosts.get(&name).cloned().unwrap_or_default()
    }
}

/// Bytes in which every range is another.
fn data(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
