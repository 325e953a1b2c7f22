//! Going to the background: the program starts itself again, with a pipe through which the second tells the first how it
//! went. (A fork would take only one of the threads along; a sleep would be a guess.)

use std::fmt::Display;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Resource, getrlimit};

use super::DaemonError;
use crate::xdg;

/// The hidden option that the second process is started with.
pub const OPTION: &str = "background-child";

/// What the second process says last when the tree answers, behind what else the caller should know; anything else is the
/// reason why not.
const MOUNTED: &str = "mounted\n";

/// Longest reason that is taken.
const MAX_REASON: u64 = 1 << 20;

/// Starts this program again with the same arguments and returns when it has mounted, with what it has to say of that, or
/// with its reason why not.
pub fn start(log: &Path) -> Result<Option<String>, DaemonError> {
    let program = std::env::current_exe().map_err(DaemonError::system("finding the emfs program"))?;
    let mut arguments = std::env::args_os().skip(1);
    let mut child = Command::new(program)
        // Behind the command's name, since everything after a `--` is a mountpoint.
        .args(arguments.next())
        .arg(format!("--{OPTION}"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(open_log(log)?)
        .spawn()
        .map_err(DaemonError::system("starting the daemon"))?;
    let mut said = String::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(MAX_REASON).read_to_string(&mut said).map_err(DaemonError::system("listening to the daemon"))?;
    }
    if let Some(notice) = said.strip_suffix(MOUNTED) {
        return Ok(Some(notice.trim_end().to_owned()).filter(|notice| !notice.is_empty()));
    }
    // It has nothing left to do but to end.
    let _ = child.wait();
    match said.trim_end() {
        "" => {
            Err(DaemonError::Failed(format!("the daemon ended without a reason; see {}{}", log.display(), scarcity())))
        }
        reason => Err(DaemonError::Failed(reason.to_owned())),
    }
}

/// What may be the reason where there is none: a process without memory has none left to say so.
fn scarcity() -> String {
    let limit = getrlimit(Resource::As).current;
    limit.map_or_else(String::new, |bytes| {
        format!("; `ulimit -v` leaves it {} MiB, which may be too little", bytes >> 20)
    })
}

/// In the second process, before it opens anything: leaves the terminal and the group of the first, so that their signals
/// do not come here, and closes what the caller had open (a lock, somebody's pipe), which would stay so with the mount.
pub fn detach() -> Result<(), DaemonError> {
    nix::unistd::setsid().map_err(|errno| DaemonError::system("leaving the terminal")(errno.into()))?;
    let listed = std::fs::read_dir("/proc/self/fd").map_err(DaemonError::system("listing /proc/self/fd"))?;
    let open: Vec<RawFd> = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > libc::STDERR_FILENO) {
        // That of the listing is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// In the second process: tells the first how it went, and lets go of the pipe. Fails where the first has gone, which
/// then knows nothing of a mount.
pub fn report(outcome: Result<Option<String>, &impl Display>) -> Result<(), DaemonError> {
    let text = match outcome {
        Ok(None) => MOUNTED.to_owned(),
        Ok(Some(notice)) => format!("{notice}\n{MOUNTED}"),
        Err(reason) => format!("{reason}\n"),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .and_then(|()| File::options().write(true).open("/dev/null"))
        .and_then(|null| Ok(nix::unistd::dup2_stdout(null)?))
        .map_err(DaemonError::system("telling the caller"))
}

/// Opens the log, where the second process writes its lines and what libraries say.
pub fn open_log(path: &Path) -> Result<File, DaemonError> {
    let options = &mut OpenOptions::new();
    let options = options.create(true).append(true).mode(0o600);
    options.open(path).map_err(DaemonError::system(format!("the log {}", path.display())))
}

/// Where the log goes when nobody says: a file named after the mountpoint, whose folder is made.
pub fn default_log(mountpoint: &Path) -> Result<PathBuf, DaemonError> {
    let no_place = |reason: String| {
        DaemonError::Failed(format!("{reason}, so there is no place for the log; name one with --log"))
    };
    let folder = xdg::state_home().map_err(|missing| no_place(missing.to_string()))?.join("emfs");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| no_place(format!("the log's folder {} cannot be made ({error})", folder.display())))?;
    Ok(folder.join(log_name(mountpoint)))
}

fn log_name(mountpoint: &Path) -> String {
    let path = mountpoint.to_string_lossy();
    let name = path.trim_matches('/').replace('/', "-");
    // The end says most; a name may have 255 bytes.
    let start = name.char_indices().rev().map(|(start, _)| start).take_while(|start| name.len() - start <= 200).last();
    format!("{}.log", start.and_then(|start| name.get(start..)).unwrap_or("root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_named_after_its_mountpoint() {
        assert_eq!(log_name(Path::new("/mnt/em")), "mnt-em.log");
        assert_eq!(log_name(Path::new("/")), "root.log");
        let long = log_name(Path::new(&format!("/a/{}", "ü".repeat(300))));
        assert_eq!(long, format!("{}.log", "ü".repeat(100)));
    }
}
