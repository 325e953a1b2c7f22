//! The process that was called. It stays outside of the namespace, small and with a single thread, and sees to it that all
//! comes to an end.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, WaitOptions};
use tokio::signal::unix::SignalKind;

use super::line::{News, Pipes, order};
use super::place::Mountpoint;
use super::signals::SignalQueue;
use super::{ExecArgs, SIGNALLED, code_of_signal, family, inside};
use crate::cli::output::eprint_line;
use crate::cli::{CliError, session};
use crate::daemon::ignores;
use crate::fuse::unmount;
use crate::mountinfo::{self, MountState};

/// How it went.
enum Outcome {
    /// The exit code.
    Ended(u8),
    /// The kernel allows no namespace; why.
    NoNamespace(String),
}

/// Has everything done and returns the exit code.
pub(super) fn run(args: &ExecArgs) -> Result<u8, CliError> {
    let failed = CliError::system("preparing to run a command");
    let signals = SignalQueue::all().and_then(|signals| family::adopt().map(|()| signals)).map_err(failed)?;
    let named = args.at.as_deref().map(Mountpoint::named);
    let place = named.map_or_else(|| Mountpoint::hidden(&used(args)), Ok)?;
    let reason = match attend(&place, None, &signals)? {
        Outcome::Ended(code) => return Ok(code),
        Outcome::NoNamespace(reason) => reason,
    };
    let place = match &args.at {
        Some(_) => place,
        None => Mountpoint::made()?,
    };
    let outcome = attend(&place, Some(&reason), &signals)?;
    clear(&place);
    match outcome {
        Outcome::Ended(code) => Ok(code),
        Outcome::NoNamespace(reason) => Err(CliError::Failed(reason)),
    }
}

/// Paths that must not be hidden by the mount. What cannot be told is not used.
fn used(args: &ExecArgs) -> Vec<PathBuf> {
    let given = [&args.log, &args.options.config.file, &args.options.cache.cache_dir].into_iter().flatten();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let usual = [std::env::current_dir().ok(), std::env::current_exe().ok(), home, session::default_folder().ok()];
    given.filter_map(|path| std::path::absolute(path).ok()).chain(usual.into_iter().flatten()).collect()
}

/// Starts the process inside and attends it until the end of all that it started.
fn attend(place: &Mountpoint, visible: Option<&str>, signals: &SignalQueue) -> Result<Outcome, CliError> {
    let mut pipes = Pipes::new().map_err(CliError::system("making a pipe"))?;
    let inside = start(place, visible, &pipes)?;
    drop(pipes.for_inside);
    let mut orders = Some(pipes.orders);
    let (mut text, mut told) = (Vec::new(), Vec::new());
    let mut refused = None;
    let mut has_started = false;
    loop {
        let (has_signal, has_news) = wait(signals, &pipes.news).map_err(CliError::system("waiting for the command"))?;
        // First, since a signal may have been sent because of what they tell.
        if has_news {
            let mut piece = [0; 1024];
            match pipes.news.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => text.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(error) => return Err(CliError::system("listening to the mount")(error)),
            }
            for news in News::take(&mut text) {
                if news == News::Started && !has_started {
                    has_started = true;
                    // A reader of the command's output is to see its end, not that of emfs.
                    inside::let_go_of_streams().map_err(CliError::system("/dev/null"))?;
                }
                told.push(news);
            }
        }
        if has_signal {
            while let Some(signal) = signals.next() {
                if has_started && let Some(orders) = &orders {
                    // Fails where the other side has just gone, which is news.
                    let _ = order(signal, orders);
                } else if !ignores(SignalKind::from_raw(signal as i32)) {
                    // As if the command had been there already and had died of it.
                    refused.get_or_insert(signal);
                    orders = None;
                }
            }
        }
    }
    let status = end_of(&inside);
    family::end(Duration::ZERO, || true);
    if let Some(signal) = refused {
        return Ok(Outcome::Ended(code_of_signal(signal as i32)));
    }
    Ok(match told.pop() {
        Some(News::Ended(code)) => Outcome::Ended(code),
        Some(News::NoNamespace(reason)) => Outcome::NoNamespace(reason),
        _ => {
            let command = if has_started { "; the command was ended" } else { "" };
            let how = status.map_or_else(|| "has gone".to_owned(), |signal| format!("was killed by signal {signal}"));
            eprint_line(&format!("emfs exec: the process that serves the mount {how}{command}"));
            Outcome::Ended(status.map_or(1, |signal| u8::try_from(SIGNALLED + signal).unwrap_or(u8::MAX)))
        }
    })
}

/// Starts this program again, with the same arguments and some more.
fn start(place: &Mountpoint, visible: Option<&str>, pipes: &Pipes) -> Result<Child, CliError> {
    let program = std::env::current_exe().map_err(CliError::system("finding the emfs program"))?;
    let mut arguments = std::env::args_os().skip(1);
    let mut command = Command::new(program);
    // Behind the command's name, since what follows a `--` is not for emfs.
    command.args(arguments.next()).arg(inside::option(pipes.numbers(), place.is_made()));
    command.arg("--place").arg(place.path());
    match visible {
        Some(reason) => drop(command.arg(format!("--visible={reason}"))),
        // The kernel gives a user namespace to processes with one thread only.
        None => inside::without_background_threads(&mut command),
    }
    command.args(arguments).spawn().map_err(CliError::system("starting emfs again"))
}

/// Waits for a signal or for news, and says of which there are some.
fn wait(signals: &SignalQueue, news: &impl AsFd) -> io::Result<(bool, bool)> {
    let mut both = [signals.as_fd(), news.as_fd()].map(|end| PollFd::new(end, PollFlags::POLLIN));
    loop {
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let [signal, news] = both.map(|end| end.any().unwrap_or(true));
    Ok((signal, news))
}

/// Waits for the end of the process inside, whose pipe has broken; gives the signal that killed it.
fn end_of(inside: &Child) -> Option<i32> {
    let pid = Pid::from_raw(inside.id().try_into().ok()?)?;
    // Fails where the caller has children's ends ignored: they leave no trace then.
    rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok()??.1.terminating_signal()
}

/// Takes away a mount that others can see, where the process that should have done so was killed.
fn clear(place: &Mountpoint) {
    if let Ok(Some(mount)) = mountinfo::at(place.path())
        && mount.is_emfs()
        && mount.state() == MountState::Dead
        && let Err(error) = unmount(&mount.mountpoint, true)
    {
        eprint_line(&format!("emfs exec: {error}"));
    }
}
