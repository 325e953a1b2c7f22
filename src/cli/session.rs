//! What a command needs to read images without a mount: the origins, what is kept of them, memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::config::ConfigArgs;
use super::output::eprint_line;
use super::{CliError, size};
use crate::archive::{self, ImageFailure, OpenImage};
use crate::catalog::SourceSpec;
use crate::daemon;
use crate::disk::{CacheUse, Disk};
use crate::remote::LimitsByHost;
use crate::stats::Stats;
use crate::store::Remote;
use crate::volume::{Blocks, VolumeError, measure};
use crate::xdg;

/// What is kept at most where nobody says.
pub(super) const CACHE_SIZE: u64 = 20 << 30;

/// Options of every command that reads from the archives.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CacheArgs {
    /// Where what was fetched is kept [default: $XDG_CACHE_HOME/emfs or ~/.cache/emfs]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// How much is kept: bytes, or K, M, G; 0 keeps nothing and uses nothing that is kept [default: 20G to mount, warm and
    /// export; other commands leave what there is]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes_or_none, allow_negative_numbers = true)]
    pub cache_size: Option<u64>,
    /// Serve cached data only; anything else fails immediately
    #[arg(long)]
    pub offline: bool,
    /// Ask the archives whether what is kept is still what they have, rather than believe it for 7 days
    #[arg(long, conflicts_with = "offline")]
    pub revalidate: bool,
    /// How long it is believed that an archive lacks a chunk, once that was confirmed: seconds, or with s, m, h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = size::time, allow_negative_numbers = true)]
    pub absent_ttl: Duration,
}

/// Whose voxels a command reads, and how.
#[derive(Debug, clap::Args)]
pub(super) struct ReadArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Fail what makes no progress for so long
    #[arg(long, value_name = "S", default_value = "60", value_parser = size::seconds)]
    pub timeout: Duration,
    #[command(flatten)]
    pub cache: CacheArgs,
}

impl CacheArgs {
    /// Opens the store for a command that fetches much. A folder that was named must be usable; without the default one,
    /// nothing is kept.
    pub fn cache(&self) -> Result<CacheUse, CliError> {
        self.cache_up_to(CACHE_SIZE)
    }

    /// The same for a command that fetches little: it must not make a large store small because nobody said how large it
    /// is to be.
    pub fn cache_of_any_size(&self) -> Result<CacheUse, CliError> {
        self.cache_up_to(u64::MAX)
    }

    fn cache_up_to(&self, default: u64) -> Result<CacheUse, CliError> {
        let disk = match self.cache_size.unwrap_or(default) {
            0 => None,
            size => self.open(size)?,
        };
        let doubted_before = self.revalidate.then(SystemTime::now);
        Ok(CacheUse { disk, offline: self.offline, doubted_before, absent_ttl: self.absent_ttl })
    }

    fn open(&self, size: u64) -> Result<Option<Disk>, CliError> {
        if let Some(folder) = &self.cache_dir {
            let folder = absolute(folder)?;
            let opened = Disk::open_soon(&folder, size);
            return opened.map(Some).map_err(|error| CliError::Failed(format!("the cache: {error}")));
        }
        let opened =
            default_folder().and_then(|folder| Disk::open_soon(&folder, size).map_err(|error| error.to_string()));
        Ok(opened.inspect_err(|reason| eprint_line(&format!("emfs: nothing is kept: {reason}"))).ok())
    }
}

/// A folder by a path that a mount in the background, which changes to another directory, can use.
pub(super) fn absolute(folder: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(folder).map_err(CliError::system(folder.display().to_string()))
}

/// Where things are kept if nobody says; else why that cannot be told.
pub(super) fn default_folder() -> Result<PathBuf, String> {
    let caches = xdg::cache_home().map_err(|missing| format!("{missing}; name a folder with --cache-dir"))?;
    Ok(caches.join("emfs"))
}

/// Does the work of a command to its end. What hangs then is not waited for.
pub(super) fn finish<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = daemon::runtime()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

/// Reads images as a mount does. What was fetched is on disk once this is dropped.
pub(super) struct Session {
    pub remote: Remote,
    pub blocks: Arc<Blocks>,
    pub stats: Arc<Stats>,
    disk: Option<Disk>,
    images: AtomicU32,
}

impl Session {
    /// `memory`: half of it is for blocks, cached and in flight; the rest is the caller's. `timeout`: how long an origin may be silent.
    pub fn new(limits: &LimitsByHost, cache: CacheUse, timeout: Duration, memory: u64) -> Result<Self, CliError> {
        let stats = Arc::new(Stats::default());
        let policy = cache.policy(memory);
        let disk = cache.disk;
        let remote = Remote::with_policy(limits.clone(), timeout, Arc::clone(&stats), policy)
            .map_err(|error| CliError::Failed(error.to_string()))?;
        let blocks = Blocks::new(memory / 2, remote.absent_ttl(), Arc::clone(&stats));
        Ok(Session { remote, blocks, stats, disk, images: AtomicU32::new(0) })
    }

    /// Waits until what was fetched is on disk, and so is known to be kept.
    pub async fn flush(&self) {
        if let Some(disk) = self.disk.clone() {
            // Fails only where the thread panics, and then less is known to be kept.
            let _ = tokio::task::spawn_blocking(move || disk.flush()).await;
        }
    }

    /// Opens an image; `name` is for messages.
    pub async fn open(&self, spec: &SourceSpec, name: &str) -> Result<OpenImage, ImageFailure> {
        let number = self.images.fetch_add(1, Ordering::Relaxed);
        let opened = archive::open_image(&self.remote, spec, number, name).await?;
        for level in &opened.pyramid.format.left_out {
            eprint_line(&format!("emfs: {name} is read without {level}"));
        }
        Ok(opened)
    }

    /// Measures the display window of an open image and keeps it, where nobody states one and there is a cache.
    pub async fn measure_window(&self, spec: &SourceSpec, opened: &OpenImage) -> Result<(), VolumeError> {
        match self.remote.disk().is_some() && !self.remote.is_offline() {
            true => measure::measure_and_keep(&opened.image, &self.blocks, spec, &opened.notes).await,
            false => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.flush();
        }
    }
}
