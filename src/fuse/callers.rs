//! Whether a program that waits for an answer was killed meanwhile.
//!
//! The kernel lets a killed program end only when the request that it waits for is answered, once a daemon has it. It says
//! so by a message, `FUSE_INTERRUPT`, which `fuser` does not pass on. So whoever is to wait for long is looked at now and
//! then: a program that is being killed has the signal pending, and whatever it is answered then, it never sees it.

use std::fs;
use std::time::Duration;

use tokio::time::sleep;

/// Nobody is looked at who waits no longer than this. Programs that wait for the answer to another one's question of the
/// same name cannot be seen from here: they ask when that one has ended, so many that are killed end one by one.
const PATIENCE: Duration = Duration::from_millis(100);
/// Time between two looks.
const BETWEEN: Duration = Duration::from_secs(1);
/// `SIGKILL` in a mask of signals. Every signal that ends a program without a dump is turned into it.
const KILL: u64 = 1 << (libc::SIGKILL - 1);

/// Ends when the thread `id` is being killed; never where it lives on, or cannot be seen from here.
pub(super) async fn killed(id: u32) {
    sleep(PATIENCE).await;
    if id != 0 && sees_own_processes() {
        // A thread that has ended waits for nothing; another may get its number.
        while let Some(is_killed) = is_being_killed(id) {
            if is_killed {
                return;
            }
            sleep(BETWEEN).await;
        }
    }
    std::future::pending().await
}

/// Whether the numbers below `/proc` are those that the kernel tells this process. In a container they may be others.
fn sees_own_processes() -> bool {
    fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == std::process::id().to_string().as_str())
}

/// Whether the thread has a signal pending that ends it; `None` where there is no such thread.
fn is_being_killed(id: u32) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    Some(status.lines().filter_map(pending).any(|signals| signals & KILL != 0))
}

/// The signals that a line of a `status` tells as pending, for the thread or for all of its process.
fn pending(line: &str) -> Option<u64> {
    let (name, mask) = line.split_once(':')?;
    matches!(name, "SigPnd" | "ShdPnd").then(|| u64::from_str_radix(mask.trim(), 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_kill_is_told_from_other_signals() {
        assert_eq!(pending("SigPnd:\t0000000000000100"), Some(KILL));
        assert_eq!(pending("ShdPnd:\t0000000000004002").map(|signals| signals & KILL), Some(0));
        for line in ["SigBlk:\t0000000000000100", "SigPnd: x", "SigPnd", ""] {
            assert_eq!(pending(line), None, "{line}");
        }
    }

    #[test]
    fn a_thread_that_lives_is_not_being_killed_and_one_that_is_none_is_not_there() {
        assert!(sees_own_processes());
        assert_eq!(is_being_killed(std::process::id()), Some(false));
        assert_eq!(is_being_killed(u32::MAX), None);
    }
}
