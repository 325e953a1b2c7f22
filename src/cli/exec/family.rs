//! The processes that descend from this one, also by way of others that have ended: as their subreaper it is then their
//! parent.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use rustix::process::{WaitOptions, WaitStatus};

use crate::cli::output::eprint_line;

/// Time between two looks at what is left.
const LOOK: Duration = Duration::from_millis(10);

/// How long what was killed may take to end. Only a process that hangs in the kernel, as on a dead file server, takes so long.
const ENDING: Duration = Duration::from_secs(20);

/// Makes this process the parent of descendants whose own has ended.
pub(super) fn adopt() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Takes note of children that have ended, so that they are gone; gives the status of `child` if it is one of them.
pub(super) fn reap(child: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == child.as_raw() {
            found = Some(status);
        }
    }
    found
}

/// Ends all descendants: asks them to, and kills what is there after `patience` or as soon as `is_urgent` says so.
pub(super) fn end(patience: Duration, mut is_urgent: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut asked = false;
    let mut killed_since = None;
    loop {
        reap(Pid::from_raw(0));
        let left = match descendants() {
            Ok(left) if left.is_empty() => return,
            Ok(left) => left,
            Err(error) => {
                return eprint_line(&format!("emfs exec: what the command left running goes on: /proc: {error}"));
            }
        };
        if start.elapsed() >= patience || is_urgent() {
            // Again and again, since they may start others meanwhile.
            send(&left, Signal::SIGKILL);
            let since = *killed_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= ENDING {
                return eprint_line(&format!("emfs exec: these processes do not end: {left:?}"));
            }
        } else if !asked {
            send(&left, Signal::SIGTERM);
            // What is stopped ends only when it goes on.
            send(&left, Signal::SIGCONT);
            asked = true;
        }
        std::thread::sleep(LOOK);
    }
}

fn send(processes: &[i32], signal: Signal) {
    for process in processes {
        // It may have ended meanwhile; what belongs to another user cannot be ended.
        let _ = kill(Pid::from_raw(*process), signal);
    }
}

/// The descendants that live.
fn descendants() -> io::Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // It may have ended since the folder was read.
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        if let Some((parent, is_alive)) = parse(&text) {
            children.entry(parent).or_default().push((process, is_alive));
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![getpid().as_raw()];
    while let Some(parent) = parents.pop() {
        for (process, is_alive) in children.remove(&parent).unwrap_or_default() {
            parents.push(process);
            if is_alive {
                found.push(process);
            }
        }
    }
    Ok(found)
}

/// The parent of a process and whether it lives, from its `stat` (proc_pid_stat(5)), where its name may hold anything.
fn parse(stat: &str) -> Option<(i32, bool)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some((fields.next()?.parse().ok()?, !matches!(state, "Z" | "X")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn parent_and_state_are_found_behind_any_name() {
        assert_eq!(parse("7 (sh) S 5 7 7 0"), Some((5, true)));
        assert_eq!(parse("7 (a) Z (b) 3) Z 5 7"), Some((5, false)));
        assert_eq!(parse("7 (sh"), None);
    }

    #[test]
    fn children_and_their_children_are_descendants() {
        let mut child = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let give_up = Instant::now() + Duration::from_secs(20);
        let grandchild = loop {
            assert!(Instant::now() < give_up);
            let found = descendants().unwrap();
            assert!(found.contains(&pid));
            let parent = |process: i32| parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?);
            let mut below = found.into_iter().filter(|process| parent(*process).is_some_and(|(of, _)| of == pid));
            if let Some(grandchild) = below.next() {
                break grandchild;
            }
        };
        send(&[grandchild], Signal::SIGKILL);
        child.wait().unwrap();
        assert!(!descendants().unwrap().contains(&pid));
    }
}
