//! One object at an origin.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use bytes::Bytes;
use url::Url;

use super::checks::Ask;
use super::http::{Clients, HttpTarget};
use super::limits::Host;
use super::operation::{self, Subject};
use super::pin::Pin;
use super::seen::Seen;
use super::stores::{Signer, Store};
use super::transport::Transport;
use super::{Cause, Credentials, Keeping, Location, Manners, RemoteError};
use crate::stats::Stats;

/// Local files are counted and limited under this name; no host can have it.
const FILES: &str = "file:";

/// Connections, limits and counters that all objects share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clients: Clients,
    manners: Manners,
    timeout: Duration,
    stats: Arc<Stats>,
    keeping: Keeping,
    seen: Arc<Seen>,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    signers: Mutex<BTreeMap<Store, Arc<Signer>>>,
}

impl Remote {
    /// `timeout`: an operation fails when it made no progress (4 KiB/s) for so long.
    pub fn new(manners: Manners, timeout: Duration, stats: Arc<Stats>) -> Result<Self, RemoteError> {
        Self::keeping(manners, timeout, stats, Keeping::default())
    }

    /// The same with a store of what was fetched.
    pub fn keeping(
        manners: Manners,
        timeout: Duration,
        stats: Arc<Stats>,
        keeping: Keeping,
    ) -> Result<Self, RemoteError> {
        let clients = Clients::new(timeout)?;
        let (hosts, signers) = (Mutex::default(), Mutex::default());
        Ok(Remote(Arc::new(Shared { clients, manners, timeout, stats, keeping, seen: Arc::default(), hosts, signers })))
    }

    /// The versions of objects that were fetched from; empty unless asked for before with [`Seen::record`].
    pub fn seen(&self) -> &Seen {
        &self.0.seen
    }

    /// How long an operation may go without progress.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// A handle of the object at `location`. Uses no network.
    pub fn object(&self, location: &Location) -> Result<Object, RemoteError> {
        let (transport, host) = self.transport(location).map_err(|cause| RemoteError {
            url: location.to_string(),
            range: None,
            attempts: 0,
            cause,
        })?;
        Ok(Object(Arc::new(Handle {
            url: location.to_string(),
            transport,
            host,
            pin: Pin::default(),
            timeout: self.0.timeout,
            seen: Arc::clone(&self.0.seen),
        })))
    }

    fn transport(&self, location: &Location) -> Result<(Transport, Arc<Host>), Cause> {
        let (url, signer) = match location.url.scheme() {
            "file" => {
                let path = file_path(&location.url)?;
                return Ok((Transport::File(path), self.host(FILES, FILES)));
            }
            "http" | "https" => (location.url.clone(), None),
            scheme => {
                let store = Store::of_scheme(scheme)
                    .ok_or_else(|| Cause::Request(format!("addresses with the scheme `{scheme}`")))?;
                let url = store.address(&location.url, location.endpoint.as_ref()).map_err(Cause::Request)?;
                let signer = match location.credentials {
                    Credentials::None => None,
                    Credentials::Env => Some(self.signer(store)?),
                };
                (url, signer)
            }
        };
        let name = url.host_str().ok_or_else(|| Cause::Request("an address without a host".into()))?;
        let counted = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let host = self.host(&counted, name);
        Ok((Transport::Http(HttpTarget { clients: self.0.clients.clone(), url, signer }), host))
    }

    /// The queue of a host. One per port, so that a dead server does not hold up another on the same machine.
    fn host(&self, counted: &str, name: &str) -> Arc<Host> {
        let mut hosts = self.0.hosts.lock();
        let new = || Arc::new(Host::new(counted.to_owned(), self.0.manners.of(name), Arc::clone(&self.0.stats)));
        Arc::clone(hosts.entry(counted.to_owned()).or_insert_with(new))
    }

    fn signer(&self, store: Store) -> Result<Arc<Signer>, Cause> {
        let mut signers = self.0.signers.lock();
        if let Some(signer) = signers.get(&store) {
            return Ok(Arc::clone(signer));
        }
        let signer = Arc::new(Signer::from_env(store).map_err(Cause::Credentials)?);
        signers.insert(store, Arc::clone(&signer));
        Ok(signer)
    }
}

fn file_path(url: &Url) -> Result<PathBuf, Cause> {
    url.to_file_path().map_err(|()| Cause::Request("a file address that is no path of this machine".into()))
}

/// A handle of one object: remembers its ETag and length from the first answer and refuses any other. Cheap to clone;
/// clones share what they remember.
#[derive(Clone)]
pub struct Object(Arc<Handle>);

struct Handle {
    url: String,
    transport: Transport,
    host: Arc<Host>,
    pin: Pin,
    timeout: Duration,
    seen: Arc<Seen>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.0.url).finish()
    }
}

/// Bytes with what the origin said about the whole object.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes asked for.
    pub bytes: Bytes,
    /// Length of the whole object.
    pub total: Option<u64>,
    /// ETag as sent, quotes included.
    pub etag: Option<String>,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
}

impl Object {
    /// The address, for messages.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Exactly `range`, which must not be empty.
    pub async fn range(&self, range: Range<u64>) -> Result<Fetched, RemoteError> {
        self.run(Ask::Range(range)).await
    }

    /// The first `length` bytes, fewer only where the object is shorter; `total` is always known.
    pub async fn start(&self, length: u64) -> Result<Fetched, RemoteError> {
        self.run(Ask::Start(length)).await
    }

    /// The whole object, refused as [`super::Cause::Protocol`] when longer than `limit`.
    pub async fn whole(&self, limit: u64) -> Result<Fetched, RemoteError> {
        self.run(Ask::Whole(limit)).await
    }

    /// The same object as if it had never been asked for: its next answer may be another one.
    pub fn anew(&self) -> Object {
        let Handle { url, transport, host, timeout, seen, .. } = &*self.0;
        Object(Arc::new(Handle {
            url: url.clone(),
            transport: transport.clone(),
            host: Arc::clone(host),
            pin: Pin::default(),
            timeout: *timeout,
            seen: Arc::clone(seen),
        }))
    }

    async fn run(&self, ask: Ask) -> Result<Fetched, RemoteError> {
        let Handle { url, transport, host, pin, timeout, seen } = &*self.0;
        let fetched = operation::run(Subject { url, transport, host, pin }, ask, *timeout).await?;
        seen.note(url, &fetched);
        Ok(fetched)
    }
}
