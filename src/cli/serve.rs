//! `emfs serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::CliError;
use super::options::{Detail, MountOptions, log_to_file, log_to_stderr};
use super::output::print;
use super::web::{ADDRESS, WebArgs, address};
use crate::daemon::{self, Places, Serving, Settings, Signals, Web};
use crate::stats::Stats;

/// Serve the datasets over HTTP.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The paths are those below a mountpoint; no FUSE is needed. The address alone is a page with all datasets, `/DATASET/IMAGE/`
one with slices of an image; `emfs link` prints links to viewers. The first line on stdout is the address; SIGTERM and
Ctrl-C end it. What failed is answered with 503 and the reason, never with 404, which Zarr takes for zeros.

Examples:
  emfs serve                                          for viewers on this machine
  emfs serve --listen 0.0.0.0:8474 --token-file t     for others who know the token: http://HOST:8474/TOKEN/
  emfs serve --config my.toml --listen 127.0.0.1:0")]
pub(super) struct ServeArgs {
    /// Address and port; port 0 takes a free one. Others than those of this machine need a token or --public
    #[arg(long, value_name = "ADDR:PORT", default_value = ADDRESS, value_parser = address)]
    listen: SocketAddr,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    options: MountOptions,
    /// Where the log goes [default: stderr]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Serves until a signal.
pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let web = args.web.web(args.listen)?;
    let detail = Detail::Progress(args.options.verbose);
    match &args.log {
        Some(log) => log_to_file(detail, log)?,
        None => log_to_stderr(detail),
    }
    let settings = args.options.settings(Path::new(""))?;
    let runtime = daemon::runtime()?;
    let mut signals = Signals::but_ignored_hangup(&runtime).map_err(CliError::system("catching signals"))?;
    let tree = {
        let _inside = runtime.enter();
        daemon::tree(&settings, Arc::new(Stats::default()))?
    };
    runtime.spawn(daemon::sweep(Arc::clone(&tree), None));
    let (end, ended) = oneshot::channel();
    let ended = async {
        // Both ways: it was told, or there is nobody left who could.
        let _ = ended.await;
    };
    let Serving { url, address, answering } = web.start(runtime.handle(), Arc::clone(&tree), settings.memory, ended)?;
    let places = Places { mountpoint: None, url: Some(url.clone()) };
    let _control = daemon::answers_at(runtime.handle(), address, places, &settings, &tree);
    print(&format!("{url}\n"))?;
    tracing::info!("serving at {url}");
    let name = runtime.block_on(async {
        let name = signals.next().await;
        let _ = end.send(());
        let _ = answering.await;
        daemon::last_look(&tree).await;
        name
    });
    tracing::info!("{name}: ended");
    runtime.shutdown_background();
    if let Some(disk) = &settings.cache.disk {
        disk.flush();
    }
    Ok(())
}

/// Serves a catalogue given as text to this machine, at a free port, as long as what this returns first lives; the second is
/// the address.
pub(super) fn of_text(catalog: &str) -> Result<(Runtime, String), CliError> {
    let settings = Settings::of_text(catalog, Path::new(""))?;
    let runtime = daemon::runtime()?;
    let tree = {
        let _inside = runtime.enter();
        daemon::tree(&settings, Arc::new(Stats::default()))?
    };
    runtime.spawn(daemon::sweep(Arc::clone(&tree), None));
    let serving = Web::anywhere().start(runtime.handle(), tree, settings.memory, std::future::pending())?;
    Ok((runtime, serving.url))
}
