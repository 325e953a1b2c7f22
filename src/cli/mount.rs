//! `emfs mount`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::control::About;
use super::output::complain;
use super::serve::{self, Daemon, Settings};
use super::session::{self, CacheArgs};
use super::signals::Signals;
use super::{CliError, background, memory, size};
use crate::catalog::Catalog;
use crate::fuse;

/// Mount the datasets.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Returns when the tree answers. Mounting and listing datasets use no network.

Examples:
  emfs mount /mnt/em
  emfs mount ~/em --dataset epfl-hippocampus --memory 512M
  emfs mount ~/em --config my.toml --foreground -v")]
pub(super) struct MountArgs {
    /// An empty directory, or one where an emfs of yours was mounted and has died
    mountpoint: PathBuf,
    /// Datasets of your own (TOML) in place of the built-in ones; `emfs datasets --toml` prints an example
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Mount this dataset alone; can be given several times
    #[arg(long, value_name = "NAME")]
    dataset: Vec<String>,
    /// Stay in the foreground until Ctrl-C
    #[arg(long)]
    foreground: bool,
    /// Let other users read, too
    #[arg(long)]
    allow_other: bool,
    /// Memory for voxels: bytes, or K, M, G [default: a quarter of what there is, at most 1G]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes, allow_negative_numbers = true)]
    memory: Option<u64>,
    /// A read fails when nothing it waits for has made progress for so many seconds
    #[arg(long, value_name = "S", default_value = "60", value_parser = size::seconds, allow_negative_numbers = true)]
    timeout: Duration,
    #[command(flatten)]
    cache: CacheArgs,
    /// Where the log goes [default: stderr in the foreground, else a file in $XDG_STATE_HOME/emfs or ~/.local/state/emfs]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// More in the log; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Set by emfs itself
    #[arg(long = background::OPTION, hide = true, conflicts_with = "foreground")]
    background_child: bool,
}

/// Mounts, in the background or the foreground.
pub(super) fn run(args: MountArgs) -> Result<(), CliError> {
    if args.background_child {
        background::detach()?;
        log_to_stderr(args.verbose);
        let started = start(&args);
        background::report(started.as_ref().map(|(daemon, _)| daemon.notice()))?;
        let (daemon, signals) = started?;
        // What the caller's directory is on can be unmounted from now on.
        std::env::set_current_dir("/").map_err(CliError::system("changing to /"))?;
        daemon.run(signals);
        return Ok(());
    }
    if args.foreground {
        match &args.log {
            Some(log) => log_to_file(args.verbose, background::open_log(log)?),
            None => log_to_stderr(args.verbose),
        }
        let (daemon, signals) = start(&args)?;
        // Elsewhere the log says so on stderr.
        if let (Some(_), Some(notice)) = (&args.log, daemon.notice()) {
            complain(&format!("emfs mount: {notice}"));
        }
        daemon.run(signals);
        return Ok(());
    }
    let log = match &args.log {
        Some(log) => log.clone(),
        None => background::default_log(&fuse::check(&args.mountpoint, args.allow_other)?)?,
    };
    if let Some(notice) = background::start(&log)? {
        complain(&format!("emfs mount: {notice}"));
    }
    Ok(())
}

fn start(args: &MountArgs) -> Result<(Daemon, Signals), CliError> {
    let catalog = match &args.config {
        Some(file) => Catalog::load(file)?,
        None => Catalog::builtin()?,
    };
    let about = match &args.config {
        Some(file) => About { catalogue: "file", config: Some(session::absolute(file)?), ..About::default() },
        None => About { catalogue: "builtin", ..About::default() },
    };
    let settings = Settings {
        mountpoint: args.mountpoint.clone(),
        catalog: Arc::new(catalog.select(&args.dataset)?),
        about,
        memory: args.memory.unwrap_or_else(memory::default_limit),
        timeout: args.timeout,
        keeping: args.cache.keeping()?,
        allow_other: args.allow_other,
    };
    let runtime = serve::runtime()?;
    // Before the mount is there, so that no signal leaves it behind.
    let signals = match args.background_child {
        // It has left the terminal and the session of whoever had them ignored.
        true => Signals::all(&runtime),
        false => Signals::but_ignored_hangup(&runtime),
    };
    let signals = signals.map_err(CliError::system("catching signals"))?;
    Ok((Daemon::start(runtime, settings)?, signals))
}

fn filter(verbose: u8) -> EnvFilter {
    EnvFilter::new(match verbose {
        0 => "warn,emfs=info",
        1 => "info,emfs=debug",
        _ => "debug,emfs=trace",
    })
}

/// A log that cannot be written is not told of on stderr, which may be the same full disk.
fn log_to_stderr(verbose: u8) {
    let log = tracing_subscriber::fmt().with_env_filter(filter(verbose)).with_writer(std::io::stderr);
    // Fails only where a log is set already, as in tests.
    let _ = log.with_ansi(false).log_internal_errors(false).try_init();
}

fn log_to_file(verbose: u8, file: std::fs::File) {
    let log = tracing_subscriber::fmt().with_env_filter(filter(verbose)).with_writer(Mutex::new(file));
    let _ = log.with_ansi(false).log_internal_errors(false).try_init();
}
