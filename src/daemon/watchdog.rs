//! Ends a daemon that has stopped answering, so that whoever waits for it gets an error instead of waiting for ever.
//!
//! It runs in the guardian ([`super::guardian`]), which answers in place of the daemon from then on.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::statfs;
use nix::unistd::{Pid, getppid};

use crate::mountinfo;

/// Time between two questions.
const BETWEEN: Duration = Duration::from_secs(30);

/// Who is asked.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Where the daemon has mounted.
    pub mountpoint: PathBuf,
    /// The device number of its mount.
    pub device: String,
    /// The daemon, which is the parent of this process.
    pub daemon: Pid,
    /// How long it may take to answer.
    pub patience: Duration,
}

impl Watchdog {
    /// Asks the daemon now and then, until it does not answer or has ended.
    pub fn watch(&self) {
        let between = BETWEEN.min(self.patience);
        while self.is_there() {
            if self.is_mounted() && !self.answers() {
                // Another process may have its number once it has ended.
                if self.is_there() {
                    // Fails where it has just ended.
                    let _ = kill(self.daemon, Signal::SIGKILL);
                }
                return;
            }
            thread::sleep(between);
        }
    }

    fn is_there(&self) -> bool {
        getppid() == self.daemon
    }

    /// Whether the path leads to the daemon's mount, not to another one on top of it or to the directory below.
    fn is_mounted(&self) -> bool {
        mountinfo::all_at(&self.mountpoint)
            .is_ok_and(|mounts| mounts.last().is_some_and(|mount| mount.device == self.device))
    }

    /// Whether it answers a question that needs no network, in the time that it has for that while it is not stopped.
    fn answers(&self) -> bool {
        let (sender, receiver) = mpsc::channel::<()>();
        let path = self.mountpoint.clone();
        let ask = move || {
            // Whatever the answer is, it is one.
            let _ = statfs(&path);
            drop(sender);
        };
        // Where no thread can be started, nothing is known of the daemon.
        if thread::Builder::new().spawn(ask).is_err() {
            return true;
        }
        let step = self.patience / 10;
        let mut waited = Duration::ZERO;
        while waited < self.patience {
            match receiver.recv_timeout(step) {
                // Somebody has stopped it and will let it go on, or is looking into it with a debugger.
                Err(RecvTimeoutError::Timeout) if is_stopped(self.daemon) => waited = Duration::ZERO,
                Err(RecvTimeoutError::Timeout) => waited += step,
                _ => return true,
            }
        }
        false
    }
}

/// Whether the first thread of a process is stopped by a signal or a debugger.
fn is_stopped(process: Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program, which may have any letters in it, stands in parentheses before the state.
    state.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with(['T', 't']))
}
