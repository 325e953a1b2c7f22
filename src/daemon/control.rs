//! The daemon's Unix socket, through which other commands ask it.
//!
//! A client sends one line. `status`, `ledger` and `catalogue` are answered by a JSON document, `flushed` as `status` but later,
//! `mark` by a word; `wait` by nothing, until the daemon has ended and the connection with it; `end` ends the daemon as SIGTERM
//! does.

use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Pid, geteuid};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;

use super::DaemonError;
use super::peer::{Peer, Places};
use super::socket::{self, PlacedSocket, SocketAddress};
use crate::catalog::{Catalog, CatalogError};
use crate::disk::Disk;
use crate::fuse::MountError;
use crate::ledger::{LedgerPage, Mark};
use crate::stats::Snapshot;
use crate::vfs::{RecentReader, Vfs};

/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest request line.
const MAX_REQUEST: u64 = 64;

/// Longest answer that a client takes.
const MAX_ANSWER: u64 = 64 << 20;

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
        let (listener, placed) = socket::listen(address)?;
        listener.set_nonblocking(true)?;
        let _inside = runtime.enter();
        let listener = UnixListener::from_std(listener)?;
        let told = Arc::new(Told { places: Mutex::new(places), about, start: Instant::now(), asked, disk });
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
        b"end\n" => {
            if let Err(errno) = kill(Pid::this(), Signal::SIGTERM) {
                tracing::error!("ending: {errno}");
            }
            return;
        }
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

/// Asks a daemon for its report, as JSON.
pub fn status(peer: impl Into<Peer>) -> io::Result<String> {
    ask(peer, "status")
}

/// The same once what it has fetched and found so far is on its disk, where others find it.
pub fn flushed_status(peer: impl Into<Peer>) -> io::Result<String> {
    ask(peer, "flushed")
}

/// Tells a daemon to end.
pub fn end(peer: impl Into<Peer>) -> io::Result<()> {
    connect(peer, "end").map(drop)
}

/// Asks a daemon for a mark, as text.
pub fn mark(peer: impl Into<Peer>) -> io::Result<String> {
    ask(peer, "mark")
}

/// Asks a daemon what failed and what was absent.
pub fn ledger(peer: impl Into<Peer>) -> io::Result<LedgerPage> {
    Ok(serde_json::from_str(&ask(peer, "ledger")?)?)
}

/// Asks a daemon for its catalogue.
pub fn catalogue(peer: impl Into<Peer>) -> io::Result<Catalogue> {
    Ok(serde_json::from_str(&ask(peer, "catalogue")?)?)
}

/// Asks a daemon who read within the last minute.
pub fn reader(peer: impl Into<Peer>) -> io::Result<Option<Recent>> {
    #[derive(Deserialize)]
    struct Answer {
        reader: Option<Recent>,
    }
    let answer: Answer = serde_json::from_str(&status(peer)?)?;
    Ok(answer.reader)
}

fn ask(peer: impl Into<Peer>, question: &str) -> io::Result<String> {
    let stream = connect(peer, question)?;
    let mut text = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut text)?;
    if text.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(text) }
}

/// A daemon whose end can be waited for.
pub struct Watched(Client);

impl Watched {
    /// Begins to watch a daemon.
    pub fn new(peer: impl Into<Peer>) -> io::Result<Self> {
        connect(peer, "wait").map(Watched)
    }

    /// Its process, unless that is not to be seen from here, as out of a container.
    pub fn process(&self) -> Option<i32> {
        getsockopt(&self.0, sockopt::PeerCredentials).ok().map(|peer| peer.pid()).filter(|pid| *pid > 0)
    }

    /// Whether the daemon ends within `patience`.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let ended = self.0.set_read_timeout(Some(patience)).and_then(|()| self.0.read(&mut [0]));
        match ended {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

fn connect(peer: impl Into<Peer>, request: &str) -> io::Result<Client> {
    let mut stream = socket::connect(&peer.into())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    Ok(stream)
}

/// For `map_err`: why a daemon gave no answer.
pub fn unanswered(peer: impl Into<Peer>) -> impl FnOnce(io::Error) -> DaemonError {
    let Peer { name, is_mount, .. } = peer.into();
    move |error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if is_mount => DaemonError::Failed(format!(
            "the emfs mounted at {name} does not listen; if it has died, mount again, or remove the mount with \
             `emfs umount {name}`"
        )),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => DaemonError::Failed(format!(
            "no emfs of this user and machine serves at {name}; `emfs serve` prints its address when it begins"
        )),
        // What a socket says when the time to read or to write is over.
        io::ErrorKind::WouldBlock if is_mount => MountError::Silent(name.into()).into(),
        io::ErrorKind::WouldBlock => DaemonError::Failed(format!("the emfs that serves at {name} does not answer")),
        _ => DaemonError::System { what: format!("asking the daemon of {name}"), error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo::Mount;
    use crate::stats::Stats;

    impl Inspected for Stats {
        fn counters(&self) -> Snapshot {
            self.snapshot()
        }

        fn reader(&self) -> Option<RecentReader> {
            Some(RecentReader { dataset: "v".to_owned(), ago: Duration::from_secs(3) })
        }

        fn mark(&self) -> Mark {
            Stats::mark(self)
        }

        fn confirm_absences(&self) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }

        fn ledger(&self) -> LedgerPage {
            Stats::ledger(self)
        }
    }

    fn places() -> Places {
        Places { mountpoint: Some("/nowhere".to_owned()), url: None }
    }

    fn mount(device: &str) -> Mount {
        Mount {
            device: device.to_owned(),
            mountpoint: "/nowhere".into(),
            kind: "fuse".to_owned(),
            source: "emfs".to_owned(),
            user: Some(geteuid().as_raw()),
        }
    }

    #[test]
    fn a_daemon_answers_and_the_socket_that_a_dead_one_left_is_taken_over() {
        let mount = mount(&format!("test-{}:1", std::process::id()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = SocketAddress { device: &mount.device, has_file: true };
        let stats = Stats::default();
        stats.fuse("READ");
        stats.failure("a/b: it broke".to_owned());
        assert!(status(&mount).is_err());
        let start = |runtime: &tokio::runtime::Runtime, stats| {
            ControlServer::start(runtime.handle(), address, places(), About::default(), Arc::new(stats), None).unwrap()
        };
        let server = start(&runtime, stats);
        let report: serde_json::Value = serde_json::from_str(&status(&mount).unwrap()).unwrap();
        assert_eq!((report["fuse"]["READ"].as_u64(), report["mountpoint"].as_str()), (Some(1), Some("/nowhere")));
        assert_eq!(report["pid"], std::process::id());
        assert_eq!(reader(&mount).unwrap().unwrap().dataset, "v");
        let page = ledger(&mount).unwrap();
        assert_eq!(page.failed.kept[0].line, "a/b: it broke");
        assert_eq!(super::mark(&mount).unwrap().trim_end(), page.mark);
        let mut watched = Watched::new(&mount).unwrap();
        assert_eq!(watched.process(), i32::try_from(std::process::id()).ok());
        assert!(!watched.ends_within(Duration::from_millis(50)));
        // As if it had died: the socket stays behind.
        std::mem::forget(server);
        runtime.shutdown_timeout(Duration::from_secs(5));
        assert!(status(&mount).is_err());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let again = start(&runtime, Stats::default());
        assert!(status(&mount).is_ok());
        drop(again);
        assert_eq!(status(&mount).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
