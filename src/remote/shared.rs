//! What all objects share: connections, limits and counters, and where what is fetched is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use url::Url;

use super::absence::{Believed, Witness};
use super::filesystems::Filesystems;
use super::http::{Clients, HttpTarget};
use super::kept::Kept;
use super::limits::Host;
use super::note::Stamp;
use super::object::{Handle, Object};
use super::pin::Pin;
use super::seen::Seen;
use super::stores::{Signer, Store};
use super::transport::Transport;
use super::{Cause, Credentials, Keeping, Location, Manners, RemoteError};
use crate::cache::{Desk, Place, Shares};
use crate::disk::Disk;
use crate::hex::hex;
use crate::stats::Stats;

/// Local files are counted under this name; no host can have it.
const FILES: &str = "file:";

/// Threads that wait for files at most: a filesystem takes as many of them as a host takes connections, and no more than it
/// leaves free.
const FILE_THREADS: u64 = 128;

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
    filesystems: Filesystems,
    file_threads: Arc<Shares>,
    desk: Arc<Desk>,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    signers: Mutex<BTreeMap<Store, (Arc<Signer>, Clients)>>,
    believed: Believed,
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
        let (hosts, signers, believed) = (Mutex::default(), Mutex::default(), Believed::default());
        let (seen, filesystems) = (Arc::default(), Filesystems::now());
        let file_threads = Arc::new(Shares::of(FILE_THREADS));
        let desk = Arc::new(Desk::of(keeping.memory));
        let shared = Shared {
            clients,
            manners,
            timeout,
            stats,
            seen,
            filesystems,
            file_threads,
            desk,
            hosts,
            signers,
            believed,
        };
        Ok(Remote { shared: Arc::new(shared), keeping })
    }

    /// Memory for documents.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.shared.desk
    }

    /// The versions of objects that were fetched from; empty unless asked for before with [`Seen::record`].
    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Where what was fetched is kept.
    pub fn disk(&self) -> Option<&Disk> {
        self.keeping.disk.as_ref()
    }

    /// Whether nobody is asked.
    pub fn is_offline(&self) -> bool {
        self.keeping.offline
    }

    /// How long an operation may go without progress.
    pub fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// For how long more it is believed that an object is absent, which was so at `when`.
    pub(super) fn absence_left(&self, when: SystemTime) -> Option<Duration> {
        self.keeping.absence_left(when)
    }

    /// Counts a failure that no read has met.
    pub(super) fn count_failure(&self, line: String) {
        self.shared.stats.failure(line);
    }

    /// Notes that something was taken for absent by what `witness` said before.
    pub(super) fn believed_absences(&self, witness: &Witness) {
        self.shared.believed.add(witness);
    }

    /// Looks whether the documents of stores still bear out what was taken for absent since they were asked for, so that
    /// nobody has to wait a minute to be sure of it.
    ///
    /// # Errors
    /// Why something that was shown as absent may not be. It is counted as a failure as well.
    pub async fn confirm_absences(&self) -> Result<(), Cause> {
        self.shared.believed.confirm().await
    }

    /// Since when it is not believed what was said before to be absent of the store with this document.
    pub(super) fn doubted_absences(&self, document: &Location) -> Option<Stamp> {
        let note = self.keeping.disk.as_ref()?.note(&absences(document)).ok()??;
        serde_json::from_slice(&note).ok()
    }

    /// Remembers that it is not.
    pub(super) fn doubt_absences(&self, document: &Location, since: Stamp) {
        if let (Some(disk), Ok(note)) = (&self.keeping.disk, serde_json::to_vec(&since)) {
            disk.set_note(&absences(document), note.into());
        }
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
        let place = match &transport {
            Transport::File(path) => self.shared.filesystems.place(path),
            Transport::Http(_) => Place::host(host.name()),
        };
        let (kept, offline) = match &transport {
            // What is on this machine is not kept twice, and can be read without a network.
            Transport::File(_) => (None, false),
            Transport::Http(_) => {
                let new = |disk: &Disk| Kept::new(disk.clone(), key(location), self.keeping.clone());
                (disk.as_ref().map(new), *offline)
            }
        };
        Ok(Object::new(Handle {
            url: location.to_string(),
            transport,
            host,
            place,
            pin: Pin::default(),
            relied_on: AtomicBool::new(false),
            timeout: self.shared.timeout,
            offline,
            kept,
            stats: Arc::clone(&self.shared.stats),
            seen: Arc::clone(&self.shared.seen),
            desk: Arc::clone(&self.shared.desk),
        }))
    }

    fn transport(&self, location: &Location) -> Result<(Transport, Arc<Host>), Cause> {
        let (url, signed) = match location.url.scheme() {
            "file" => {
                let path = file_path(&location.url)?;
                let host = self.filesystem(&path);
                return Ok((Transport::File(path), host));
            }
            "http" | "https" => (location.url.clone(), None),
            scheme => {
                let store = Store::of_scheme(scheme)
                    .ok_or_else(|| Cause::Request(format!("addresses with the scheme `{scheme}`")))?;
                let url = store.address(&location.url, location.endpoint.as_ref()).map_err(Cause::Request)?;
                let signed = match location.credentials {
                    Credentials::None => None,
                    Credentials::Env => Some(self.signed(store)?),
                };
                (url, signed)
            }
        };
        let is_s3 = Store::of_scheme(location.url.scheme()) == Some(Store::S3);
        let name = url.host_str().ok_or_else(|| Cause::Request("an address without a host".into()))?;
        let counted = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let host = self.host(&counted, name);
        let (signer, clients) = match signed {
            Some((signer, clients)) => (Some(signer), clients),
            None => (None, self.shared.clients.clone()),
        };
        Ok((Transport::Http(HttpTarget { clients, url, signer, is_s3 }), host))
    }

    /// The queue of a host. One per port, so that a dead server does not hold up another on the same machine.
    fn host(&self, counted: &str, name: &str) -> Arc<Host> {
        let mut hosts = self.shared.hosts.lock();
        let new =
            || Arc::new(Host::new(counted.to_owned(), self.shared.manners.of(name), Arc::clone(&self.shared.stats)));
        Arc::clone(hosts.entry(counted.to_owned()).or_insert_with(new))
    }

    /// The queue of the filesystem that `path` is on. No host has a name with a space.
    pub(super) fn filesystem(&self, path: &Path) -> Arc<Host> {
        let place = self.shared.filesystems.place(path);
        let mut hosts = self.shared.hosts.lock();
        let Shared { file_threads, stats, .. } = &*self.shared;
        let new = || Host::filesystem(FILES.to_owned(), place.clone(), Arc::clone(file_threads), Arc::clone(stats));
        Arc::clone(hosts.entry(format!("{FILES} {}", place.name())).or_insert_with(|| Arc::new(new())))
    }

    /// What signs requests to a store, and the connections for these.
    fn signed(&self, store: Store) -> Result<(Arc<Signer>, Clients), Cause> {
        let mut signers = self.shared.signers.lock();
        if let Some(signed) = signers.get(&store) {
            return Ok(signed.clone());
        }
        let signer = Arc::new(Signer::from_env(store).map_err(Cause::Credentials)?);
        let clients = Clients::signed(self.shared.timeout).map_err(|error| error.cause)?;
        signers.insert(store, (signer.clone(), clients.clone()));
        Ok((signer, clients))
    }
}

/// What tells an object from all others: bytes fetched with credentials are not for who has none. It is kept on disk, so a
/// sum stands for what gives access.
pub(super) fn key(location: &Location) -> String {
    let mut key = location.to_string();
    if key != location.url.as_str() {
        let sum = hex(&Sha256::digest(location.url.as_str()));
        key.push_str(&format!(" sum={sum}"));
    }
    if let Some(endpoint) = &location.endpoint {
        key.push_str(&format!(" endpoint={endpoint}"));
    }
    if location.credentials == Credentials::Env {
        key.push_str(" credentials=env");
    }
    key
}

/// Under which key it is kept since when absences of a store are doubted.
fn absences(document: &Location) -> String {
    format!("{} absences", key(document))
}

/// The path of a file of this machine.
pub(super) fn file_path(url: &Url) -> Result<PathBuf, Cause> {
    url.to_file_path().map_err(|()| Cause::Request("a file address that is no path of this machine".into()))
}
