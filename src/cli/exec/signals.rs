//! The signals that are passed on to the command.
//!
//! They are blocked in all processes of emfs rather than caught, so that none of them is ended by one and what the command
//! inherits stays as the caller has set it; `launch` lets them through again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What is passed on.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Of these, the ones that a terminal or a shell sends to a command and emfs alike, and of which a command must not get
/// two: a second Ctrl-C ends the tidying up that the first has begun.
const SENT_TO_GROUPS: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// Blocked signals, to be read.
pub(super) struct SignalQueue(SignalFd);

impl SignalQueue {
    /// Blocks what is passed on in this thread and in those and the processes that it starts.
    pub fn all() -> io::Result<Self> {
        SignalQueue::of(&PASSED_ON)
    }

    /// Those that may have come to the command by another way.
    pub fn sent_to_groups() -> io::Result<Self> {
        SignalQueue::of(&SENT_TO_GROUPS)
    }

    fn of(signals: &[Signal]) -> io::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block()?;
        Ok(SignalQueue(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next one that has come, if any.
    pub fn next(&self) -> Option<Signal> {
        let information = self.0.read_signal().ok()??;
        i32::try_from(information.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Keeps Ctrl-Z from stopping this thread and those that it starts: a stopped command is to find its mount alive.
pub(super) fn do_not_stop() -> io::Result<()> {
    Ok(SigSet::from(Signal::SIGTSTP).thread_block()?)
}

/// Lets through what emfs has blocked.
pub(super) fn unblock() -> io::Result<()> {
    let set: SigSet = PASSED_ON.into_iter().chain([Signal::SIGTSTP]).collect();
    Ok(set.thread_unblock()?)
}
