//! Options that `emfs mount` and `emfs exec` share: what is mounted, within which bounds, and what is said of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::config::ConfigArgs;
use super::session::{self, CacheArgs};
use super::{CliError, size};
use crate::daemon::control::About;
use crate::daemon::{Settings, background, default_limit};

/// Options of a mount.
#[derive(Debug, clap::Args)]
pub(super) struct MountOptions {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Mount this dataset alone; can be given several times
    #[arg(long, value_name = "NAME")]
    pub dataset: Vec<String>,
    /// Memory for voxels: bytes, or K, M, G [default: a quarter of what there is, at most 1G]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes, allow_negative_numbers = true)]
    pub memory: Option<u64>,
    /// A read fails when nothing it waits for has made progress for so many seconds
    #[arg(long, value_name = "S", default_value = "60", value_parser = size::seconds, allow_negative_numbers = true)]
    pub timeout: Duration,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// More in the log; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl MountOptions {
    /// What to mount at `mountpoint`, with everything that needs no mount read and opened.
    pub fn settings(&self, mountpoint: &Path) -> Result<Settings, CliError> {
        let catalog = self.config.catalog()?;
        let about = match &self.config.file {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(CliError::system(file.display().to_string()))?;
                let config = Some(session::absolute(file)?);
                About { catalogue: "file", config, text: Some(text.into()), ..About::default() }
            }
            None => About { catalogue: "builtin", ..About::default() },
        };
        Ok(Settings {
            mountpoint: mountpoint.to_owned(),
            catalog: Arc::new(catalog.select(&self.dataset)?),
            about,
            memory: self.memory.unwrap_or_else(default_limit),
            timeout: self.timeout,
            cache: self.cache.cache()?,
            allow_other: false,
            own_namespace: false,
            guard: None,
        })
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Detail {
    /// What went wrong.
    Trouble,
    /// That, and so much of what goes on: 0 is the least.
    Progress(u8),
}

impl Detail {
    fn filter(self) -> EnvFilter {
        EnvFilter::new(match self {
            Detail::Trouble => "warn",
            Detail::Progress(0) => "warn,emfs=info",
            Detail::Progress(1) => "info,emfs=debug",
            Detail::Progress(_) => "debug,emfs=trace",
        })
    }
}

/// A log that cannot be written is not told of on stderr, which may be the same full disk.
pub(super) fn log_to_stderr(detail: Detail) {
    let log = tracing_subscriber::fmt().with_env_filter(detail.filter()).with_writer(std::io::stderr);
    // Fails only where a log is set already, as in tests.
    let _ = log.with_ansi(false).log_internal_errors(false).try_init();
}

/// Logs to the end of a file.
pub(super) fn log_to_file(detail: Detail, path: &Path) -> Result<(), CliError> {
    let file = background::open_log(path)?;
    let log = tracing_subscriber::fmt().with_env_filter(detail.filter()).with_writer(Mutex::new(file));
    let _ = log.with_ansi(false).log_internal_errors(false).try_init();
    Ok(())
}
