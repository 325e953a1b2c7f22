//! One object at an origin.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use bytes::Bytes;
use url::Url;

use super::answer;
use super::checks::Ask;
use super::http::{Clients, HttpTarget};
use super::kept::{Kept, KeptWhole};
use super::limits::Host;
use super::operation::{self, Subject};
use super::pin::Pin;
use super::seen::{Seen, SeenVersion};
use super::stores::{Signer, Store};
use super::transport::Transport;
use super::{Cause, Credentials, Keeping, Location, Manners, RemoteError};
use crate::disk::Disk;
use crate::stats::Stats;

/// Local files are counted and limited under this name; no host can have it.
const FILES: &str = "file:";

/// Connections, limits and counters that all objects share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    shared: Arc<Shared>,
    keeping: Keeping,
}

#[derive(Debug)]
struct Shared {
    clients: Clients,
    manners: Manners,
    timeout: Duration,
    stats: Arc<Stats>,
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
        let shared = Arc::new(Shared { clients, manners, timeout, stats, seen: Arc::default(), hosts, signers });
        Ok(Remote { shared, keeping })
    }

    /// The versions of objects that were fetched from; empty unless asked for before with [`Seen::record`].
    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// The same without belief in what was kept until now: its origin is asked whether it is still so. `None` where
    /// nothing is kept, or nobody may be asked.
    pub fn doubting(&self) -> Option<Remote> {
        let Keeping { disk, offline, .. } = &self.keeping;
        let keeping = Keeping { doubted_before: Some(SystemTime::now()), ..self.keeping.clone() };
        (disk.is_some() && !offline).then(|| Remote { shared: Arc::clone(&self.shared), keeping })
    }

    /// Whether nobody is asked.
    pub fn is_offline(&self) -> bool {
        self.keeping.offline
    }

    /// How long an operation may go without progress.
    pub fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// A handle of the object at `location`. Uses no network.
    pub fn object(&self, location: &Location) -> Result<Object, RemoteError> {
        let (transport, host) = self.transport(location).map_err(|cause| RemoteError {
            url: location.to_string(),
            range: None,
            attempts: 0,
            cause,
        })?;
        let Keeping { disk, offline, .. } = &self.keeping;
        let (kept, offline) = match &transport {
            // What is on this machine is not kept twice, and can be read without a network.
            Transport::File(_) => (None, false),
            Transport::Http(_) => {
                let new = |disk: &Disk| Kept::new(disk.clone(), key(location), self.keeping.clone());
                (disk.as_ref().map(new), *offline)
            }
        };
        Ok(Object(Arc::new(Handle {
            url: location.to_string(),
            transport,
            host,
            pin: Pin::default(),
            timeout: self.shared.timeout,
            offline,
            kept,
            stats: Arc::clone(&self.shared.stats),
            seen: Arc::clone(&self.shared.seen),
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
        let is_s3 = Store::of_scheme(location.url.scheme()) == Some(Store::S3);
        let name = url.host_str().ok_or_else(|| Cause::Request("an address without a host".into()))?;
        let counted = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let host = self.host(&counted, name);
        Ok((Transport::Http(HttpTarget { clients: self.shared.clients.clone(), url, signer, is_s3 }), host))
    }

    /// The queue of a host. One per port, so that a dead server does not hold up another on the same machine.
    fn host(&self, counted: &str, name: &str) -> Arc<Host> {
        let mut hosts = self.shared.hosts.lock();
        let new =
            || Arc::new(Host::new(counted.to_owned(), self.shared.manners.of(name), Arc::clone(&self.shared.stats)));
        Arc::clone(hosts.entry(counted.to_owned()).or_insert_with(new))
    }

    fn signer(&self, store: Store) -> Result<Arc<Signer>, Cause> {
        let mut signers = self.shared.signers.lock();
        if let Some(signer) = signers.get(&store) {
            return Ok(Arc::clone(signer));
        }
        let signer = Arc::new(Signer::from_env(store).map_err(Cause::Credentials)?);
        signers.insert(store, Arc::clone(&signer));
        Ok(signer)
    }
}

/// What tells an object from all others: bytes fetched with credentials are not for who has none.
pub(super) fn key(location: &Location) -> String {
    let mut key = location.url.to_string();
    if let Some(endpoint) = &location.endpoint {
        key.push_str(&format!(" endpoint={endpoint}"));
    }
    if location.credentials == Credentials::Env {
        key.push_str(" credentials=env");
    }
    key
}

fn file_path(url: &Url) -> Result<PathBuf, Cause> {
    url.to_file_path().map_err(|()| Cause::Request("a file address that is no path of this machine".into()))
}

/// A handle of one object: remembers its ETag and length from the first answer and refuses any other. Cheap to clone;
/// clones share what they remember.
#[derive(Clone)]
pub struct Object(Arc<Handle>);

pub(super) struct Handle {
    pub(super) url: String,
    transport: Transport,
    host: Arc<Host>,
    pub(super) pin: Pin,
    timeout: Duration,
    offline: bool,
    kept: Option<Kept>,
    pub(super) stats: Arc<Stats>,
    pub(super) seen: Arc<Seen>,
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
    /// `Last-Modified` as sent.
    pub last_modified: Option<String>,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// Whether `bytes` are not as they were sent, which is compressed.
    pub(super) decoded: bool,
}

impl Object {
    /// The address, for messages.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Tells this handle, with its clones, from all others that live; no order of anything.
    pub(crate) fn handle(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Exactly `range`, which must not be empty.
    pub async fn range(&self, range: Range<u64>) -> Result<Fetched, RemoteError> {
        self.run(Ask::Range(range)).await
    }

    /// The bytes of `parts`, of which each begins where the one before ends, each in memory of its own; `None` where they
    /// cannot all be had from the disk without asking the origin.
    pub async fn kept_parts(&self, parts: Vec<Range<u64>>) -> Option<Vec<Bytes>> {
        answer::kept_parts(&self.0, self.0.kept.as_ref()?, parts).await
    }

    /// The first `length` bytes, fewer only where the object is shorter; `total` is always known.
    pub async fn start(&self, length: u64) -> Result<Fetched, RemoteError> {
        self.run(Ask::Start(length)).await
    }

    /// The whole object, refused as [`super::Cause::Protocol`] when longer than `limit`.
    pub async fn whole(&self, limit: u64) -> Result<Fetched, RemoteError> {
        self.run(Ask::Whole(limit)).await
    }

    /// Where requests for it go; the same as [`Object::url`] but for buckets.
    pub fn address(&self) -> &str {
        match &self.0.transport {
            Transport::Http(target) => target.url.as_str(),
            Transport::File(_) => &self.0.url,
        }
    }

    /// Whether it is a file of this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.0.transport, Transport::File(_))
    }

    /// Whether all of `range` is kept on disk.
    pub fn has(&self, range: &Range<u64>) -> bool {
        self.kept_bytes(range) == range.end.saturating_sub(range.start)
    }

    /// How many bytes of `range` are kept on disk, as far as can be said without reading them.
    pub fn kept_bytes(&self, range: &Range<u64>) -> u64 {
        self.0.kept.as_ref().map_or(0, |kept| kept.bytes(&self.0.pin, range))
    }

    /// What is kept on disk of the whole object, as far as can be said without reading it.
    pub fn kept_whole(&self) -> KeptWhole {
        self.0.kept.as_ref().map_or(KeptWhole::Unknown, |kept| kept.whole(&self.0.pin))
    }

    /// Drops what is kept on disk of `range`, because it does not decode; once, for the origin may have it so.
    pub fn distrust(&self, range: &Range<u64>) {
        if let Some(kept) = &self.0.kept {
            kept.distrust(range);
        }
    }

    /// When the origin last sent or confirmed what is known of it; now where that is not kept.
    pub fn confirmed(&self) -> SystemTime {
        let note = self.0.kept.as_ref().and_then(|kept| kept.known(&self.0.pin).note);
        note.map_or_else(SystemTime::now, |note| note.at())
    }

    /// The same object as if it had never been asked for: its next answer is the origin's and may be another one.
    pub fn anew(&self) -> Object {
        let Handle { url, transport, host, timeout, offline, kept, stats, seen, .. } = &*self.0;
        Object(Arc::new(Handle {
            url: url.clone(),
            transport: transport.clone(),
            host: Arc::clone(host),
            pin: Pin::default(),
            timeout: *timeout,
            offline: *offline,
            kept: kept.as_ref().map(Kept::anew),
            stats: Arc::clone(stats),
            seen: Arc::clone(seen),
        }))
    }

    async fn run(&self, ask: Ask) -> Result<Fetched, RemoteError> {
        let fetched = match &self.0.kept {
            Some(kept) => answer::run(&self.0, kept, ask).await,
            None => self.0.ask(ask).await,
        }?;
        let Fetched { etag, last_modified, total, .. } = &fetched;
        let version = || SeenVersion { etag: etag.clone(), last_modified: last_modified.clone(), bytes: *total };
        self.0.seen.note(&self.0.url, version);
        Ok(fetched)
    }
}

impl Handle {
    /// Asks the origin.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Fetched, RemoteError> {
        if self.offline {
            return Err(self.failed(&ask, Cause::Offline("not in the cache".to_owned())));
        }
        let Handle { url, transport, host, pin, timeout, .. } = self;
        operation::run(Subject { url, transport, host, pin }, ask, *timeout).await
    }

    /// Whether its host is known to be out of reach.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.host.breaker.is_open()
    }

    /// The error of an operation for which nothing was sent.
    pub(super) fn failed(&self, ask: &Ask, cause: Cause) -> RemoteError {
        RemoteError { url: self.url.clone(), range: ask.range(), attempts: 0, cause }
    }
}
