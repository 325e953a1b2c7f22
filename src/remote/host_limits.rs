//! How a host wants to be asked.

use std::collections::BTreeMap;
use std::time::Duration;

/// Limits towards one host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostLimits {
    /// Requests in flight at once.
    pub connections: usize,
    /// Requests per second, where limited.
    pub rate: Option<f64>,
    /// Time at less than 4 KiB/s after which a request is hedged by a second one; half of it for ranges of up to 64 KiB.
    pub stall: Duration,
    /// Whether ETags of S3 that look like the MD5 of an object are one. Those of some servers are not.
    pub md5_etags: bool,
    /// The status that it has for what is not there, where that is known: 404, or 403 where its buckets may not be listed.
    pub absent: Option<u16>,
}

impl Default for HostLimits {
    fn default() -> Self {
        HostLimits { connections: 32, rate: None, stall: Duration::from_secs(10), md5_etags: true, absent: None }
    }
}

/// The limits of all hosts, by host name without port.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitsByHost {
    /// Hosts that were named; all others have the default.
    pub hosts: BTreeMap<String, HostLimits>,
}

impl LimitsByHost {
    /// The limits of `host`.
    pub fn of(&self, host: &str) -> HostLimits {
        self.hosts.get(host).copied().unwrap_or_default()
    }
}
