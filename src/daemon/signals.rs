//! The signals that end a mount, or what else goes on until it is told to stop.

use std::io;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those signals, caught from the moment this exists.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Catches all of them.
    pub fn all(runtime: &Runtime) -> io::Result<Self> {
        Signals::catch(true, runtime)
    }

    /// Leaves SIGHUP alone where whoever started this had it ignored, as nohup(1) does.
    pub fn but_ignored_hangup(runtime: &Runtime) -> io::Result<Self> {
        Signals::catch(!ignores(SignalKind::hangup()), runtime)
    }

    fn catch(hangup: bool, runtime: &Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if hangup { Some(signal(SignalKind::hangup())?) } else { None },
        })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = received(self.hangup.as_mut()) => "SIGHUP",
        }
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Has writes to a file that may be no longer (`ulimit -f`) fail, as on a full disk, where they would end the process.
pub fn survive_file_size_limit(runtime: &Runtime) -> io::Result<()> {
    let _inside = runtime.enter();
    // Once caught, a signal has no other effect for as long as the process lives.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

/// Whether whoever started this process had it ignore a signal.
pub fn ignores(kind: SignalKind) -> bool {
    // Where that cannot be read, nothing is known to be ignored.
    is_ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), kind)
}

/// Whether a process with this `status` (proc_pid_status(5)) ignores a signal: the first is the mask's lowest bit.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_ignores_is_in_its_status() {
        let (hangup, interrupt, terminate) = (SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate());
        let status = "SigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(is_ignored(status, hangup) && !is_ignored(status, interrupt) && !is_ignored(status, terminate));
        assert!(is_ignored("SigIgn:\t0000000000004002\n", interrupt));
        assert!(is_ignored("SigIgn:\t0000000000004002\n", terminate));
        for unknown in ["", "SigIgn:\n", "SigIgn:\tzz\n"] {
            assert!(!is_ignored(unknown, hangup), "{unknown}");
        }
    }
}
