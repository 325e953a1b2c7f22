//! The way to each origin: connections, limits and queues that all of them share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use url::Url;

use super::filesystems::Filesystems;
use super::http::{Clients, HttpTarget};
use super::limits::Host;
use super::origin::Origin;
use super::stores::{Signer, StoreKind};
use super::transport::Transport;
use super::{Cause, Credentials, LimitsByHost, Location, RemoteError};
use crate::cache::{FetchPlace, Shares};
use crate::stats::{FILES, Stats};

/// Threads that wait for files at most: a filesystem takes as many of them as a host takes connections, and no more than it
/// leaves free.
const FILE_THREADS: u64 = 128;

/// What leads to origins.
#[derive(Debug)]
pub(crate) struct Origins {
    clients: Clients,
    limits: LimitsByHost,
    timeout: Duration,
    stats: Arc<Stats>,
    filesystems: Filesystems,
    file_threads: Arc<Shares>,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    signers: Mutex<BTreeMap<StoreKind, (Arc<Signer>, Clients)>>,
}

impl Origins {
    /// `timeout`: an operation fails when it made no progress (4 KiB/s) for so long.
    pub(crate) fn new(limits: LimitsByHost, timeout: Duration, stats: Arc<Stats>) -> Result<Self, RemoteError> {
        Ok(Origins {
            clients: Clients::new(timeout)?,
            limits,
            timeout,
            stats,
            filesystems: Filesystems::now(),
            file_threads: Arc::new(Shares::of(FILE_THREADS)),
            hosts: Mutex::default(),
            signers: Mutex::default(),
        })
    }

    /// How long an operation may go without progress.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The origin of the object at `location`. Uses no network.
    pub(crate) fn origin(&self, location: &Location) -> Result<Origin, RemoteError> {
        let url = location.to_string();
        match self.transport(location) {
            Ok((transport, host, place)) => Ok(Origin::new(url, transport, host, place, self.timeout)),
            Err(cause) => Err(RemoteError { url, range: None, attempts: 0, cause }),
        }
    }

    fn transport(&self, location: &Location) -> Result<(Transport, Arc<Host>, FetchPlace), Cause> {
        let (url, signed) = match location.url.scheme() {
            "file" => {
                let path = file_path(&location.url)?;
                let (host, place) = self.filesystem(&path);
                return Ok((Transport::File(path), host, place));
            }
            "http" | "https" => (location.url.clone(), None),
            scheme => {
                let store = StoreKind::of_scheme(scheme)
                    .ok_or_else(|| Cause::Request(format!("addresses with the scheme `{scheme}`")))?;
                let url = store.address(&location.url, location.endpoint.as_ref()).map_err(Cause::Request)?;
                let signed = match location.credentials {
                    Credentials::None => None,
                    Credentials::Env => Some(self.signed(store)?),
                };
                (url, signed)
            }
        };
        let is_s3 = StoreKind::of_scheme(location.url.scheme()) == Some(StoreKind::S3);
        let name = url.host_str().ok_or_else(|| Cause::Request("an address without a host".into()))?;
        let counted = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let host = self.host(&counted, name);
        let (signer, clients) = match signed {
            Some((signer, clients)) => (Some(signer), clients),
            None => (None, self.clients.clone()),
        };
        let place = FetchPlace::host(host.name());
        Ok((Transport::Http(HttpTarget { clients, url, signer, is_s3 }), host, place))
    }

    /// The queue of a host. One per port, so that a dead server does not hold up another on the same machine.
    fn host(&self, counted: &str, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        let new = || Arc::new(Host::new(counted.to_owned(), self.limits.of(name), &self.stats));
        Arc::clone(hosts.entry(counted.to_owned()).or_insert_with(new))
    }

    /// The filesystem that `path` is on, and its queue. No host has a name with a space.
    pub(super) fn filesystem(&self, path: &Path) -> (Arc<Host>, FetchPlace) {
        let place = self.filesystems.place(path);
        let mut hosts = self.hosts.lock();
        let Origins { file_threads, stats, .. } = self;
        let new = || Host::filesystem(FILES.to_owned(), place.clone(), Arc::clone(file_threads), stats);
        let host = hosts.entry(format!("{FILES} {}", place.name())).or_insert_with(|| Arc::new(new()));
        (Arc::clone(host), place)
    }

    /// What signs requests to a store, and the connections for these.
    fn signed(&self, store: StoreKind) -> Result<(Arc<Signer>, Clients), Cause> {
        let mut signers = self.signers.lock();
        if let Some(signed) = signers.get(&store) {
            return Ok(signed.clone());
        }
        let signer = Arc::new(Signer::from_env(store).map_err(Cause::Credentials)?);
        let clients = Clients::signed(self.timeout).map_err(|error| error.cause)?;
        signers.insert(store, (signer.clone(), clients.clone()));
        Ok((signer, clients))
    }
}

/// The path of a file of this machine.
pub(super) fn file_path(url: &Url) -> Result<PathBuf, Cause> {
    url.to_file_path().map_err(|()| Cause::Request("a file address that is no path of this machine".into()))
}
