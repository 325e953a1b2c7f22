//! The process that mounts, in a namespace of its own where there is one, serves, and is the command's parent.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::RawFd;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};
use rustix::process::WaitStatus;
use rustix::thread::capabilities;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::launch::Launch;
use super::line::{News, take_over};
use super::place::Mountpoint;
use super::signals::{SignalQueue, do_not_stop};
use super::{ExecArgs, UNCLEAN, VARIABLE, code_of_signal, family};
use crate::cli::options::{Detail, log_to_file, log_to_stderr};
use crate::cli::output::eprint_line;
use crate::cli::{CliError, raise_open_files};
use crate::daemon::{self, Daemon, DaemonError, Settings};
use crate::fuse::{MountError, own_namespace};
use crate::stats::Snapshot;

/// How long what the command left running may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the allocator looks for its settings, and the one that starts it without threads.
const ALLOCATOR: &str = "_RJEM_MALLOC_CONF";
const NO_THREADS: &str = "background_thread:false";

/// What the outer process has given to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InsideArgs {
    orders: RawFd,
    news: RawFd,
    outside: i32,
    is_place_made: bool,
}

/// The option that makes a process this one.
pub(super) fn option((orders, news): (RawFd, RawFd), is_place_made: bool) -> String {
    format!("--inside={orders},{news},{},{}", getpid(), u8::from(is_place_made))
}

impl FromStr for InsideArgs {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<i32>> = text.split(',').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some([orders, news, outside, made]) => {
                Ok(InsideArgs { orders: *orders, news: *news, outside: *outside, is_place_made: *made != 0 })
            }
            _ => Err("set by emfs itself"),
        }
    }
}

/// Has the allocator start without threads of its own.
pub(super) fn without_background_threads(command: &mut Command) {
    let others = std::env::var(ALLOCATOR).ok().filter(|others| !others.is_empty());
    command.env(ALLOCATOR, others.map(|others| format!("{others},")).unwrap_or_default() + NO_THREADS);
}

/// The settings that the command is to be given back.
fn without_ours(settings: &str) -> Option<&str> {
    let others = settings.strip_suffix(NO_THREADS)?;
    Some(others.strip_suffix(',').unwrap_or(others))
}

/// Lets go of stdin and stdout, which are the command's.
pub(super) fn let_go_of_streams() -> std::io::Result<()> {
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(nix::unistd::dup2_stdout(File::options().write(true).open("/dev/null")?)?)
}

/// What ended the run.
enum End {
    Command(WaitStatus),
    /// The outer process has gone, or wants an end.
    Abandoned,
    /// Somebody took the mount away.
    Unmounted,
}

/// Mounts, runs the command and tells the outer process how that went, also by the exit code.
pub(super) fn run(args: &ExecArgs, inside: &InsideArgs) -> Result<u8, CliError> {
    let capabilities = capabilities(None).map_err(|error| CliError::system("capabilities")(error.into()))?.permitted;
    let broken = CliError::system("taking over the pipes");
    let (orders, news) = take_over(inside.orders, inside.news).map_err(broken)?;
    if getppid().as_raw() != inside.outside {
        return Err(CliError::Failed("the process that started this one has gone".to_owned()));
    }
    let has_namespace = args.stage.visible.is_none();
    if has_namespace {
        if let Err(error) = own_namespace::enter() {
            tell(&News::NoNamespace(error.to_string()), &news);
            return Ok(1);
        }
        // Memory goes back to the system by that thread.
        if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
            eprint_line(&format!("emfs exec: freed memory is given back late: {error}"));
        }
    }
    let prepared = family::adopt().and_then(|()| do_not_stop()).and_then(|()| SignalQueue::sent_to_groups());
    let at_group = prepared.map_err(CliError::system("preparing to run a command"))?;
    let open_files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    raise_open_files();
    let launch = Launch { parent: getpid().as_raw(), open_files, capabilities };
    let code = match serve(args, &launch, orders, &news, &at_group) {
        Err(CliError::Daemon(DaemonError::Mount(MountError::Failed { reason, .. }))) if has_namespace => {
            tell(&News::NoNamespace(format!("a mount in it: {reason}")), &news);
            return Ok(1);
        }
        Err(error) => {
            let reason = args.stage.visible.as_ref();
            let namespace = reason.map(|reason| format!("; there is no namespace either ({reason})"));
            eprint_line(&format!("emfs exec: {error}{}", namespace.unwrap_or_default()));
            1
        }
        Ok(code) => code,
    };
    if inside.is_place_made
        && let Some(place) = &args.stage.place
    {
        Mountpoint::remove(place);
    }
    tell(&News::Ended(code), &news);
    Ok(code)
}

fn tell(news: &News, to: &File) {
    // Where the outer process has gone, there is nobody to tell.
    let _ = news.tell(to);
}

/// Serves the mount as long as the command runs; returns the exit code when both have ended.
fn serve(args: &ExecArgs, launch: &Launch, orders: File, news: &File, at_group: &SignalQueue) -> Result<u8, CliError> {
    match (&args.log, args.options.verbose) {
        (Some(log), detail) => log_to_file(Detail::Progress(detail), log)?,
        (None, 0) => log_to_stderr(Detail::Trouble),
        (None, detail) => log_to_stderr(Detail::Progress(detail - 1)),
    }
    let place = args.stage.place.as_deref().or(args.at.as_deref()).unwrap_or(std::path::Path::new(""));
    let settings = Settings { own_namespace: args.stage.visible.is_none(), ..args.options.settings(place)? };
    let runtime = daemon::runtime()?;
    let (ends, orders) = {
        let _inside = runtime.enter();
        // Before there are children, of which none must be missed.
        signal(SignalKind::child()).and_then(|ends| Ok((ends, pipe::Receiver::from_file(orders)?)))
    }
    .map_err(CliError::system("waiting for the command"))?;
    let daemon = Daemon::start(runtime, settings)?;
    // Before there is a command: a signal that somebody sends because it runs must be for the command, not for emfs.
    tell(&News::Started, news);
    let command = start(args, launch, &daemon)?;
    let_go_of_streams().map_err(CliError::system("/dev/null"))?;
    let mut running = RunningCommand { command, ends, orders, at_group };
    let end = daemon.serve_during(running.end(&daemon)).unwrap_or(End::Abandoned);
    // Whatever is there still is ended before the mount is.
    match &end {
        End::Command(_) => family::end(PATIENCE, || running.is_urgent()),
        End::Abandoned | End::Unmounted => family::end(Duration::ZERO, || true),
    }
    if args.require_clean && matches!(end, End::Command(_)) {
        daemon.confirm_absences();
    }
    let counters = daemon.snapshot();
    drop(daemon);
    Ok(match end {
        End::Abandoned => 1,
        End::Unmounted => {
            eprint_line(
                "emfs exec: the mount was taken away; the command was ended, because it would have read nothing as zeros",
            );
            1
        }
        End::Command(status) => {
            for (dataset, blocks) in counters.only_absent() {
                let told = "blocks that were asked for are absent at the archive, and were read as its fill value";
                eprint_line(&format!("emfs exec: {dataset}: all {blocks} {told}"));
            }
            code(status, args.require_clean.then_some(&counters))
        }
    })
}

/// Starts the command, by way of [`super::launch`].
fn start(args: &ExecArgs, launch: &Launch, daemon: &Daemon) -> Result<Pid, CliError> {
    let program = std::env::current_exe().map_err(CliError::system("finding the emfs program"))?;
    let mut command = Command::new(program);
    command.args([OsStr::new("exec"), launch.option().as_ref(), "--".as_ref()]).args(&args.command);
    command.env(VARIABLE, daemon.mountpoint());
    match std::env::var(ALLOCATOR).as_deref().map(without_ours) {
        Ok(Some("")) => drop(command.env_remove(ALLOCATOR)),
        Ok(Some(others)) => drop(command.env(ALLOCATOR, others)),
        _ => {}
    }
    let child = command.spawn().map_err(CliError::system("starting the command"))?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(|error| CliError::Failed(error.to_string()))
}

/// The command while it runs.
struct RunningCommand<'a> {
    command: Pid,
    ends: tokio::signal::unix::Signal,
    orders: pipe::Receiver,
    at_group: &'a SignalQueue,
}

impl RunningCommand<'_> {
    /// Passes signals on until the command or the mount has ended, or the outer process has gone.
    async fn end(&mut self, daemon: &Daemon) -> End {
        let mut order = [0];
        loop {
            if let Some(status) = family::reap(self.command) {
                return End::Command(status);
            }
            tokio::select! {
                _ = self.ends.recv() => {}
                read = self.orders.read(&mut order) => match read {
                    Ok(1..) => self.pass_on(order),
                    _ => return End::Abandoned,
                },
                () = daemon.ended() => return End::Unmounted,
            }
        }
    }

    fn pass_on(&self, [number]: [u8; 1]) {
        let Ok(signal) = Signal::try_from(i32::from(number)) else { return };
        // What came here, too, was sent to the whole group (as Ctrl-C is), and so to the command.
        if !std::iter::from_fn(|| self.at_group.next()).any(|came| came == signal) {
            // It may just have ended, but its number is not another's: it has not been waited for.
            let _ = kill(self.command, signal);
        }
    }

    /// Whether a signal came after the end of the command, or the outer process has gone.
    fn is_urgent(&mut self) -> bool {
        !matches!(self.orders.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// The exit code for the command's end; `counters` where failed reads count.
fn code(status: WaitStatus, counters: Option<&Snapshot>) -> u8 {
    let code = match status.terminating_signal() {
        Some(number) => code_of_signal(number),
        None => status.exit_status().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    };
    let Some(counters) = counters.filter(|counters| counters.failed > 0) else { return code };
    let latest = counters.failures.iter().map(|line| format!("\n  {line}")).collect::<String>();
    eprint_line(&format!("emfs exec: {} reads failed; the latest:{latest}", counters.failed));
    if code == 0 { UNCLEAN } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_to_the_process_inside_passes_the_command_line() {
        let parsed = option((5, 6), true).strip_prefix("--inside=").unwrap().parse();
        assert_eq!(parsed, Ok(InsideArgs { orders: 5, news: 6, outside: getpid().as_raw(), is_place_made: true }));
        assert!("5,6".parse::<InsideArgs>().is_err() && "".parse::<InsideArgs>().is_err());
    }

    #[test]
    fn the_command_gets_back_the_settings_of_the_allocator() {
        assert_eq!(without_ours("narenas:2,background_thread:false"), Some("narenas:2"));
        assert_eq!(without_ours("background_thread:false"), Some(""));
        assert_eq!(without_ours("narenas:2"), None);
    }
}
