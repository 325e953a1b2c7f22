//! The daemon's Unix socket, through which other commands ask it.
//!
//! A client sends one line. `status`, `ledger` and `catalogue` are answered by a JSON document, `flushed` as `status` but later,
//! `mark` by a word; `wait` by nothing, until the daemon has ended and the connection with it. `end` ends the daemon as SIGTERM
//! does where its mount is no longer to be seen, else it is answered by where that is, and so is `where`.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;

use super::peer::Places;
use super::socket::{self, PlacedSocket, SocketAddress};
use crate::catalog::{Catalog, CatalogError};
use crate::disk::Disk;
use crate::ledger::{LedgerPage, Mark};
use crate::mountinfo;
use crate::stats::Snapshot;
use crate::vfs::{RecentReader, Vfs};

/// How long the other side may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Longest request line.
const MAX_REQUEST: u64 = 64;

/// What is mounted, for commands that look at the same.
#[derive(Debug, Clone, Default, Serialize)]
pub struct About {
    /// `builtin`, `file` or `text`.
    pub catalogue: &'static str,
    /// The file, by its absolute path.
    pub config: Option<PathBuf>,
    /// The text of the catalogue, where it is not the built-in one.
    #[serde(skip)]
    pub text: Option<Arc<str>>,
    /// Where fetched bytes are kept.
    pub cache_folder: Option<PathBuf>,
    /// Whether nobody is asked.
    pub offline: bool,
}

/// What a daemon says of itself.
#[derive(Debug, Clone, Serialize)]
struct Report {
    version: &'static str,
    pid: u32,
    #[serde(flatten)]
    places: Places,
    #[serde(flatten)]
    about: About,
    /// Seconds since it began.
    uptime: f64,
    /// Who read within the last minute.
    reader: Option<Recent>,
    #[serde(flatten)]
    counters: Snapshot,
}

/// The catalogue of a mount, as it was when it was mounted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Catalogue {
    /// `None`: the built-in one.
    text: Option<String>,
    /// The file it was read from.
    file: Option<PathBuf>,
}

impl Catalogue {
    /// The datasets in it.
    pub fn parse(&self) -> Result<Catalog, CatalogError> {
        let Some(text) = &self.text else { return Catalog::builtin() };
        let name =
            self.file.as_ref().map_or("the catalogue of the mount".to_owned(), |file| file.display().to_string());
        Catalog::parse(text, &name, self.file.as_deref().and_then(Path::parent))
    }
}

/// The last reader, if that is recent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recent {
    /// What was read.
    pub dataset: String,
    /// How many seconds ago.
    pub ago: f64,
    /// After how many seconds it is no longer recent.
    pub recent_for: f64,
}

impl From<RecentReader> for Recent {
    fn from(reader: RecentReader) -> Self {
        let (ago, recent_for) = (reader.ago.as_secs_f64(), reader.recent_for().as_secs_f64());
        Recent { dataset: reader.dataset, ago, recent_for }
    }
}

/// What is asked.
pub trait Inspected: Send + Sync + 'static {
    fn counters(&self) -> Snapshot;
    fn reader(&self) -> Option<RecentReader>;
    fn mark(&self) -> Mark;
    /// Confirms what was shown as absent of late, so that it is in the ledger where it may not be.
    fn confirm_absences(&self) -> BoxFuture<'_, ()>;
    fn ledger(&self) -> LedgerPage;
}

impl Inspected for Vfs {
    fn counters(&self) -> Snapshot {
        self.snapshot()
    }

    fn reader(&self) -> Option<RecentReader> {
        self.recent_reader()
    }

    fn mark(&self) -> Mark {
        Vfs::mark(self)
    }

    fn confirm_absences(&self) -> BoxFuture<'_, ()> {
        Box::pin(Vfs::confirm_absences(self))
    }

    fn ledger(&self) -> LedgerPage {
        Vfs::ledger(self)
    }
}

/// The daemon as its socket knows it.
struct Told {
    device: String,
    places: Mutex<Places>,
    about: About,
    start: Instant,
    asked: Arc<dyn Inspected>,
    disk: Option<Disk>,
}

impl Told {
    /// The report as JSON.
    fn text(&self) -> String {
        serde_json::to_string_pretty(&self.report()).unwrap_or_default() + "\n"
    }

    /// Where its mount is to be seen, as this process sees it: another one may have unmounted a copy of it in another namespace.
    fn seen_at(&self) -> Option<PathBuf> {
        let mounts = mountinfo::mounts().unwrap_or_default();
        mounts.into_iter().find(|mount| mount.device == self.device).map(|mount| mount.mountpoint)
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue { text: self.about.text.as_deref().map(str::to_owned), file: self.about.config.clone() }
    }

    fn report(&self) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            places: self.places.lock().clone(),
            about: self.about.clone(),
            uptime: self.start.elapsed().as_secs_f64(),
            reader: self.asked.reader().map(Recent::from),
            counters: self.asked.counters(),
        }
    }
}

/// A listening socket, removed when dropped.
pub struct ControlServer {
    _placed: Vec<PlacedSocket>,
    told: Arc<Told>,
}

impl ControlServer {
    /// Tells from now on that the same is served at an address of the web, too.
    pub(super) fn also_at(&self, url: &str) {
        self.told.places.lock().url = Some(url.to_owned());
    }

    /// Listens at `address` for questions about what is at `places`.
    pub(super) fn start(
        runtime: &Handle,
        address: SocketAddress<'_>,
        places: Places,
        about: About,
        asked: Arc<dyn Inspected>,
        disk: Option<Disk>,
    ) -> io::Result<Self> {
        let device = address.device.to_owned();
        let (listener, placed) = socket::listen(address)?;
        listener.set_nonblocking(true)?;
        let _inside = runtime.enter();
        let listener = UnixListener::from_std(listener)?;
        let told = Arc::new(Told { device, places: Mutex::new(places), about, start: Instant::now(), asked, disk });
        let known = Arc::clone(&told);
        runtime.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) if !is_for(&stream) => {}
                    Ok((stream, _)) => drop(tokio::spawn(answer(stream, Arc::clone(&told)))),
                    // Out of descriptors, most likely: they come back.
                    Err(error) => {
                        tracing::warn!("status socket: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        });
        Ok(ControlServer { _placed: placed, told: known })
    }
}

/// Whether the other side may know: its own user and root. A folder keeps others out, but not every address is in one.
fn is_for(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw() || peer.uid() == 0)
}

async fn answer(stream: UnixStream, told: Arc<Told>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = reader.take(MAX_REQUEST);
    let mut request = Vec::new();
    let line = async {
        while !request.ends_with(b"\n") && reader.read_buf(&mut request).await? > 0 {}
        io::Result::Ok(())
    };
    if !matches!(tokio::time::timeout(PATIENCE, line).await, Ok(Ok(()))) {
        return;
    }
    let text = match request.as_slice() {
        b"status\n" => told.text(),
        b"flushed\n" => {
            if let Some(disk) = told.disk.clone() {
                // A disk that takes longer is not waited for.
                let _ = tokio::time::timeout(PATIENCE / 2, tokio::task::spawn_blocking(move || disk.flush())).await;
            }
            told.text()
        }
        b"ledger\n" => {
            // An origin that takes longer is looked at again a minute after it was believed.
            let _ = tokio::time::timeout(PATIENCE / 2, told.asked.confirm_absences()).await;
            serde_json::to_string(&told.asked.ledger()).unwrap_or_default()
        }
        b"where\n" => told.seen_at().map(|place| place.display().to_string()).unwrap_or_default(),
        b"end\n" => match told.seen_at() {
            Some(place) => place.display().to_string(),
            None => {
                if let Err(errno) = kill(Pid::this(), Signal::SIGTERM) {
                    tracing::error!("ending: {errno}");
                }
                return;
            }
        },
        b"catalogue\n" => serde_json::to_string(&told.catalogue()).unwrap_or_default(),
        b"mark\n" => format!("{}\n", told.asked.mark()),
        b"wait\n" => {
            // Until the client goes or this process ends, which comes after the end of the runtime and of this task: what was
            // fetched is written to disk in between.
            let held = writer.as_ref().as_fd().try_clone_to_owned().map(ManuallyDrop::new);
            writer.forget();
            while reader.read_buf(&mut request).await.is_ok_and(|count| count > 0) {
                reader.set_limit(MAX_REQUEST);
                request.clear();
            }
            drop(held.map(ManuallyDrop::into_inner));
            return;
        }
        _ => return,
    };
    // A client that has gone needs no answer.
    let _ = tokio::time::timeout(PATIENCE, writer.write_all(text.as_bytes())).await;
}
