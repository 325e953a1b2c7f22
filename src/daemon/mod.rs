//! A mount with all that is behind it: the tree, its runtime, the socket that tells of it.

pub mod background;
pub mod client;
pub mod control;
mod error;
pub mod guardian;
pub mod look;
mod memory;
mod peer;
mod signals;
mod socket;
mod watchdog;
mod web;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::runtime::{Handle, Runtime};

use crate::catalog::{Catalog, MAIN_IMAGE};
use crate::disk::CacheUse;
use crate::fuse::{self, KernelNames, Mounted};
use crate::http::viewers::{Link, Viewer};
use crate::http::{Access, Site};
use crate::shell::word;
use crate::stats::{Snapshot, Stats};
use crate::store::Remote;
use crate::vfs::{RecentReader, Vfs};
use control::About;
pub use error::DaemonError;
use guardian::Guardian;
pub use memory::default_limit;
pub use peer::{Peer, Places};
pub use signals::{Signals, ignores};
use socket::SocketAddress;
pub use web::{Serving, Web};

/// The default of `--timeout`.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// How long programs that use the mount have to let go of it, and again to take their last answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a mount that is left to its readers waits for a second signal, which takes it away. Meanwhile it still says
/// which files there are, so that readers who ask that first meet the error, too.
const SECOND_SIGNAL: Duration = Duration::from_secs(3);

/// How long it may take at the end to confirm what was shown as absent.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Threads beside tokio's workers that there have to be: for reads of files, at the least.
const SPARE_THREADS: usize = 2;

/// Time between two looks for what is no longer read.
const SWEEP: Duration = Duration::from_secs(1);

/// What to mount, and how.
#[derive(Debug)]
pub struct Settings {
    pub mountpoint: PathBuf,
    pub catalog: Arc<Catalog>,
    /// Where the catalogue is from, for `emfs status`.
    pub about: About,
    pub memory: u64,
    pub timeout: Duration,
    pub cache: CacheUse,
    pub allow_other: bool,
    /// Whether this process is in a namespace of its own ([`fuse::own_namespace`]), which others do not see.
    pub own_namespace: bool,
    /// Who answers in place of this process should it end while the mount is there.
    pub guard: Option<Guard>,
}

impl Settings {
    /// Those for a catalogue given as text: the defaults of all options but that nothing is kept on disk.
    pub fn of_text(catalog: &str, mountpoint: &Path) -> Result<Self, DaemonError> {
        let about = About { catalogue: "text", text: Some(catalog.into()), ..About::default() };
        let catalog = Catalog::parse(catalog, "demo", None)?;
        Ok(Settings { mountpoint: mountpoint.to_owned(), about, ..Settings::of(catalog) })
    }

    /// Those for looking into a catalogue without a mount, with the same defaults.
    pub fn of(catalog: Catalog) -> Self {
        Settings {
            mountpoint: PathBuf::new(),
            catalog: Arc::new(catalog),
            about: About::default(),
            memory: default_limit(),
            timeout: TIMEOUT,
            cache: CacheUse::default(),
            allow_other: false,
            own_namespace: false,
            guard: None,
        }
    }
}

/// What the guardian of a mount does.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// How long the daemon may answer nothing before it is ended; for ever where no time is given.
    pub watchdog: Option<Duration>,
}

/// A living mount. Dropping it unmounts, whoever reads.
pub struct Daemon {
    mounted: Mounted,
    tree: Arc<Vfs>,
    control: Vec<control::ControlServer>,
    guardian: Option<Guardian>,
    settings: Settings,
    /// Where the same is served over HTTP.
    url: Option<String>,
    /// `None` once it was shut down.
    runtime: Option<Runtime>,
}

/// The runtime that fetches, decodes and answers.
pub fn runtime() -> Result<Runtime, DaemonError> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    try_threads(workers + SPARE_THREADS).map_err(DaemonError::system("starting threads"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .thread_name("emfs")
        .build()
        .map_err(DaemonError::system("starting threads"))?;
    signals::survive_file_size_limit(&runtime).map_err(DaemonError::system("catching SIGXFSZ"))?;
    Ok(runtime)
}

/// Starts so many threads at once and ends them: where the system gives fewer, tokio panics, and waits for ever for those that it has
/// begun.
fn try_threads(number: usize) -> io::Result<()> {
    let gate = RwLock::new(());
    std::thread::scope(|scope| {
        let shut = gate.write();
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, || drop(gate.read()));
        let started = (0..number).map(start).collect::<io::Result<Vec<_>>>();
        drop(shut);
        started.map(drop)
    })
}

impl Daemon {
    /// Mounts the datasets; returns when the tree answers.
    pub fn start(runtime: Runtime, settings: Settings) -> Result<Self, DaemonError> {
        let (mountpoint, lock) = free_place(&settings)?;
        let stats = Arc::new(Stats::default());
        let tree = {
            let _inside = runtime.enter();
            tree(&settings, Arc::clone(&stats))?
        };
        let options = fuse::FuseOptions { allow_other: settings.allow_other };
        let handle = runtime.handle();
        let mounted = fuse::mount(Arc::clone(&tree), stats, handle.clone(), &mountpoint, options)?;
        drop(lock);
        handle.spawn(sweep(Arc::clone(&tree), Some(mounted.names())));
        let address = SocketAddress { device: mounted.device(), has_file: !settings.own_namespace };
        let places = Places { mountpoint: Some(mounted.mountpoint().display().to_string()), url: None };
        let control = answers(handle, address, places, &settings, &tree).into_iter().collect();
        let mut daemon = Daemon { mounted, tree, control, guardian: None, settings, url: None, runtime: Some(runtime) };
        look::first(daemon.mounted.mountpoint())?;
        if let Some(guard) = daemon.settings.guard {
            daemon.guardian = daemon.guarded(guard);
        }
        if let Some(notice) = daemon.notice() {
            tracing::warn!("{notice}");
        }
        tracing::info!("mounted at {}", daemon.mounted.mountpoint().display());
        tracing::debug!(
            "emfs {}: {} datasets, {} bytes of memory, timeout {} s",
            env!("CARGO_PKG_VERSION"),
            daemon.settings.catalog.datasets.len(),
            daemon.settings.memory,
            daemon.settings.timeout.as_secs_f64(),
        );
        Ok(daemon)
    }

    fn guarded(&self, guard: Guard) -> Option<Guardian> {
        let names = self.settings.catalog.datasets.iter().map(|dataset| dataset.name.as_str());
        let mountpoint = self.mounted.mountpoint();
        let start = |channel| Guardian::start(channel, mountpoint, guard.watchdog, names);
        let guardian = self.mounted.channel().and_then(start);
        let warn = |error: &io::Error| tracing::warn!("nobody would answer in place of this process: {error}");
        guardian.inspect_err(warn).ok()
    }

    /// Mounts a catalogue given as text, with the defaults of all options but that nothing is kept on disk.
    pub fn of_text(catalog: &str, mountpoint: &Path) -> Result<Self, DaemonError> {
        Self::start(runtime()?, Settings::of_text(catalog, mountpoint)?)
    }

    /// Serves the same over HTTP as long as this lives; returns the address.
    pub fn serve(&mut self, web: Web) -> Result<String, DaemonError> {
        let Some(runtime) = &self.runtime else { return Err(DaemonError::Failed("the mount has ended".to_owned())) };
        let (handle, memory) = (runtime.handle(), self.settings.memory);
        let Serving { url, address, .. } = web.start(handle, Arc::clone(&self.tree), memory, std::future::pending())?;
        tracing::info!("serving at {url}");
        self.url = Some(url.clone());
        self.control.iter().for_each(|control| control.also_at(&url));
        let mountpoint = Some(self.mountpoint().display().to_string());
        let places = Places { mountpoint, url: Some(url.clone()) };
        self.control.extend(answers_at(handle, address, places, &self.settings, &self.tree));
        Ok(url)
    }

    /// Serves the same to this machine at a free port; returns the address, and a link that shows an image in neuroglancer.
    pub fn show(&mut self, dataset: &str) -> Result<(String, String), DaemonError> {
        let url = self.serve(Web::anywhere())?;
        let site = Site::new(Arc::clone(&self.tree), Access::default(), self.settings.memory, false);
        let described = self.serve_during(site.describe(dataset, &format!("{MAIN_IMAGE}.zarr")));
        let image = described.unwrap_or(Err("the mount has ended".to_owned())).map_err(DaemonError::Failed)?;
        let link = Link { server: &url, image: &image, at: None, page: None }.to(Viewer::Neuroglancer);
        Ok((url, link))
    }

    /// Where it is, without symbolic links.
    pub fn mountpoint(&self) -> &Path {
        self.mounted.mountpoint()
    }

    /// Waits until the mount was taken away.
    pub async fn ended(&self) {
        self.mounted.ended().await;
    }

    /// Confirms what was shown as absent of late.
    pub fn confirm_absences(&self) {
        self.serve_during(self.tree.confirm_absences());
    }

    /// All counters as they are now.
    pub fn snapshot(&self) -> Snapshot {
        self.tree.snapshot()
    }

    /// Serves while this thread does `work`.
    pub fn serve_during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        Some(self.runtime.as_ref()?.block_on(work))
    }

    /// What whoever mounts should know.
    pub fn notice(&self) -> Option<String> {
        let path = self.mounted.mountpoint().display();
        let replaces = self.mounted.replaces();
        let notices = [
            replaces.then(|| format!("the emfs that was mounted at {path} had died; this one took its place")),
            self.url.as_ref().map(|url| format!("serving at {url}")),
        ];
        let notices: Vec<String> = notices.into_iter().flatten().collect();
        (!notices.is_empty()).then(|| notices.join("; "))
    }

    /// Who would find an empty directory where the mount is now.
    fn reader(&self) -> Option<RecentReader> {
        self.tree.recent_reader().filter(|_| self.mounted.is_there())
    }

    /// Unmounts because of the signal `name`.
    async fn stop(&self, name: &str, signals: &mut Signals) {
        tracing::info!("{name}: unmounting {}", self.mounted.mountpoint().display());
        tokio::select! {
            () = self.mounted.stop(PATIENCE) => {}
            name = signals.next() => tracing::warn!("{name} again: not waiting for readers"),
        }
    }

    /// Leaves the mount dead because of the signal `name`, so that who reads there gets errors.
    async fn leave(&self, name: &str, reader: &RecentReader, signals: &mut Signals) {
        self.mounted.leave();
        // `emfs umount`, which clears it, must not refuse because of them.
        self.tree.forget_readers();
        let mountpoint = self.mounted.mountpoint();
        let (path, dataset, ago) = (mountpoint.display(), &reader.dataset, reader.ago.as_secs());
        tracing::warn!(
            "{name}: {dataset} was read {ago} s ago, so {path} stays, as a dead mount: who still reads there gets errors, \
             not an empty directory, which Zarr readers take for zeros; `emfs umount {}` clears it, and so does a \
             second signal within {} s",
            word(mountpoint),
            SECOND_SIGNAL.as_secs()
        );
        tokio::select! {
            () = self.mounted.ended() => {}
            () = tokio::time::sleep(SECOND_SIGNAL) => {}
            name = signals.next() => {
                tracing::warn!("{name} again: unmounting {path}");
                if let Err(error) = self.mounted.detach() {
                    tracing::error!("{error}");
                }
            }
        }
    }

    /// Serves until the mount is taken away, or until a signal, which unmounts, or leaves the mount to its readers. A second
    /// one waits for no readers.
    pub fn run(mut self, mut signals: Signals) {
        let Some(runtime) = self.runtime.take() else { return };
        runtime.block_on(async {
            tokio::select! {
                () = self.mounted.ended() => tracing::info!("unmounted"),
                name = signals.next() => match self.reader() {
                    None => self.stop(name, &mut signals).await,
                    Some(reader) => self.leave(name, &reader, &mut signals).await,
                }
            }
            last_look(&self.tree).await;
        });
        runtime.shutdown_background();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(async {
                self.mounted.stop(PATIENCE).await;
                last_look(&self.tree).await;
            });
            runtime.shutdown_background();
        }
        // Whoever still has the mount, left to its readers, covered, or in another mount namespace, is to get errors.
        if let Some(guardian) = &mut self.guardian
            && !self.mounted.has_ended()
        {
            guardian.stay();
        }
        if let Some(disk) = &self.settings.cache.disk {
            disk.flush();
        }
    }
}

/// Confirms at the end what was shown as absent of late, so that it is kept, or told; a host that is silent is not waited for.
pub async fn last_look(tree: &Vfs) {
    let _ = tokio::time::timeout(LAST_LOOK, tree.confirm_absences()).await;
}

/// The mountpoint without symbolic links, and the right to mount there before others do.
fn free_place(settings: &Settings) -> Result<(PathBuf, Option<File>), DaemonError> {
    if settings.own_namespace {
        return Ok((fuse::own_namespace::check(&settings.mountpoint)?, None));
    }
    let mountpoint = fuse::check(&settings.mountpoint, settings.allow_other)?;
    // Until it is mounted, so that of several that start at once one mounts and the others say why not.
    let lock = socket::mount_lock();
    // Again, since another may have mounted in the meantime.
    Ok((fuse::check(&mountpoint, settings.allow_other)?, lock))
}

/// Answers commands that ask about a server at `address`, as long as what this returns lives.
pub fn answers_at(
    runtime: &Handle,
    address: SocketAddr,
    places: Places,
    settings: &Settings,
    tree: &Arc<Vfs>,
) -> Option<control::ControlServer> {
    let device = peer::of_server(address);
    answers(runtime, SocketAddress { device: &device, has_file: !settings.own_namespace }, places, settings, tree)
}

fn answers(
    runtime: &Handle,
    address: SocketAddress<'_>,
    places: Places,
    settings: &Settings,
    tree: &Arc<Vfs>,
) -> Option<control::ControlServer> {
    let disk = settings.cache.disk.clone();
    let cache_folder = disk.as_ref().map(|disk| disk.folder().to_owned());
    let about = About { cache_folder, offline: settings.cache.offline, ..settings.about.clone() };
    let server = control::ControlServer::start(runtime, address, places, about, Arc::<Vfs>::clone(tree), disk);
    server.inspect_err(|error| tracing::warn!("`emfs status` will not work: {error}")).ok()
}

/// The tree of the datasets.
pub fn tree(settings: &Settings, stats: Arc<Stats>) -> Result<Arc<Vfs>, DaemonError> {
    let failed = |error: &dyn std::fmt::Display| DaemonError::Failed(error.to_string());
    let policy = settings.cache.policy(settings.memory);
    let remote = Remote::with_policy(settings.catalog.limits.clone(), settings.timeout, Arc::clone(&stats), policy)
        .map_err(|error| failed(&error))?;
    Vfs::new(Arc::clone(&settings.catalog), remote, settings.memory, settings.timeout, stats)
        .map_err(|error| failed(&error))
}

/// Lets go of what is no longer read, as long as the runtime lives. `kernel`: where it is asked to forget names, of a
/// tree that is mounted.
pub async fn sweep(tree: Arc<Vfs>, kernel: Option<KernelNames>) {
    let kernel = kernel.map(Arc::new);
    let mut seconds = tokio::time::interval(SWEEP);
    loop {
        seconds.tick().await;
        tree.sweep();
        let Some(names) = &kernel else { continue };
        let surplus = tree.surplus();
        if !surplus.is_empty() {
            let names = Arc::clone(names);
            let forgotten = move || surplus.iter().for_each(|(directory, name)| names.forget(*directory, name));
            // Not waited for: the kernel may take its time, and what is no longer read should still go.
            drop(tokio::task::spawn_blocking(forgotten));
        }
    }
}
