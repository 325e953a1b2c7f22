//! `emfs mount`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::CliError;
use super::options::{Detail, MountOptions, log_to_file, log_to_stderr};
use super::output::eprint_line;
use super::web::{ADDRESS, WebArgs, address};
use crate::daemon::{self, Daemon, Guard, Settings, Signals, background};
use crate::fuse;
use crate::mountinfo::{self, Mount, MountState};

/// Seconds after which a daemon is ended that answers nothing, not even what needs no network.
const WATCHDOG: u64 = 300;

/// Mount the datasets.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Returns when the tree answers. Mounting and listing datasets use no network.

Examples:
  emfs mount /mnt/em
  emfs mount ~/em --dataset epfl-hippocampus --memory 512M
  emfs mount ~/em --config my.toml --foreground -v
  emfs mount ~/em --serve                             for programs and viewers at once, over one cache")]
pub(super) struct MountArgs {
    /// An empty directory, or one where an emfs of yours was mounted and has died
    mountpoint: PathBuf,
    /// Stay in the foreground until Ctrl-C
    #[arg(long)]
    foreground: bool,
    /// Let other users read, too
    #[arg(long)]
    allow_other: bool,
    /// End this mount's daemon when it has answered nothing at all for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = WATCHDOG)]
    watchdog: u64,
    /// Serve the same over HTTP, as `emfs serve` does, at this address [default: 127.0.0.1:8474]
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, require_equals = true, default_missing_value = ADDRESS, value_parser = address)]
    serve: Option<SocketAddr>,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    options: MountOptions,
    /// Where the log goes [default: stderr in the foreground, else a file in $XDG_STATE_HOME/emfs or ~/.local/state/emfs]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Set by emfs itself
    #[arg(long = background::OPTION, hide = true, conflicts_with = "foreground")]
    background_child: bool,
}

/// Mounts, in the background or the foreground.
pub(super) fn run(args: MountArgs) -> Result<(), CliError> {
    check(&args)?;
    let detail = Detail::Progress(args.options.verbose);
    if args.background_child {
        background::detach()?;
        log_to_stderr(detail);
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
            Some(log) => log_to_file(detail, log)?,
            None => log_to_stderr(detail),
        }
        let (daemon, signals) = start(&args)?;
        // Elsewhere the log says so on stderr.
        if let (Some(_), Some(notice)) = (&args.log, daemon.notice()) {
            eprint_line(&format!("emfs mount: {notice}"));
        }
        daemon.run(signals);
        return Ok(());
    }
    let log = match &args.log {
        Some(log) => log.clone(),
        None => background::default_log(&fuse::check(&args.mountpoint, args.allow_other)?)?,
    };
    let before = mounted_at(&args.mountpoint);
    let started = background::start(&log).inspect_err(|_| clear(&args.mountpoint, before.as_ref()))?;
    if let Some(notice) = started {
        eprint_line(&format!("emfs mount: {notice}"));
    }
    Ok(())
}

fn mounted_at(mountpoint: &Path) -> Option<Mount> {
    mountinfo::at(mountpoint).ok().flatten()
}

/// Takes away what a daemon has left that ended while it started, for want of memory, say. `before`: what was there before it.
fn clear(mountpoint: &Path, before: Option<&Mount>) {
    let left = mounted_at(mountpoint)
        .filter(|mount| mount.is_emfs() && Some(&mount.device) != before.map(|before| &before.device));
    if let Some(left) = left.filter(|left| left.state() == MountState::Dead)
        && let Err(error) = fuse::unmount(&left.mountpoint, true)
    {
        eprint_line(&format!("emfs mount: {error}"));
    }
}

/// Refuses options that do not go together, before there is a second process, which could only say that it failed.
fn check(args: &MountArgs) -> Result<(), CliError> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(CliError::system(path.display().to_string()));
    let mountpoint = absolute(&args.mountpoint)?;
    for (option, path) in [("--log", &args.log), ("--cache-dir", &args.options.cache.cache_dir)] {
        if let Some(path) = path
            && absolute(path)?.starts_with(&mountpoint)
        {
            return Err(CliError::Usage(format!(
                "{option} {} lies in the mountpoint, where the mount hides it; name another place",
                path.display()
            )));
        }
    }
    match args.serve {
        Some(address) => args.web.check(address),
        None if args.web.is_given() => {
            Err(CliError::Usage("options of serving over HTTP mean something with --serve only".to_owned()))
        }
        None => Ok(()),
    }
}

fn start(args: &MountArgs) -> Result<(Daemon, Signals), CliError> {
    let watchdog = Some(Duration::from_secs(args.watchdog)).filter(|patience| !patience.is_zero());
    let settings = Settings {
        allow_other: args.allow_other,
        guard: Some(Guard { watchdog }),
        ..args.options.settings(&args.mountpoint)?
    };
    let runtime = daemon::runtime()?;
    // Before the mount is there, so that no signal leaves it behind.
    let signals = match args.background_child {
        // It has left the terminal and the session of whoever had them ignored.
        true => Signals::all(&runtime),
        false => Signals::but_ignored_hangup(&runtime),
    };
    let signals = signals.map_err(CliError::system("catching signals"))?;
    let web = args.serve.map(|address| args.web.web(address)).transpose()?;
    let mut daemon = Daemon::start(runtime, settings)?;
    if let Some(web) = web {
        daemon.serve(web)?;
    }
    Ok((daemon, signals))
}
