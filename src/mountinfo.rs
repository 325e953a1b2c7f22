//! What is mounted where, from `/proc/self/mountinfo` (its format: proc_pid_mountinfo(5)).

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statfs::statfs;

/// The name under which emfs mounts.
pub const NAME: &str = "emfs";

/// How long a daemon may take to say that it lives.
const ANSWERING: Duration = Duration::from_secs(5);

/// Symbolic links in a path that are followed, as many as the kernel does.
const MAX_LINKS: usize = 40;

/// Time between two looks at whether a process has ended.
const RETRY: Duration = Duration::from_millis(1);

/// The running program, also after its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The name of the command with which [`Mount::state`] starts the process that asks.
pub const PROBE: &str = "probe";

/// Its exit codes.
const ALIVE: u8 = 0;
const DEAD: u8 = 3;

/// How the daemon of a mount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountState {
    /// It answers.
    Alive,
    /// It has gone.
    Dead,
    /// It is there but does not answer.
    Silent,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Device number `major:minor`, the same wherever the filesystem is seen.
    pub device: String,
    /// The directory of the filesystem that is seen there, from its own root: another than `/` of a bind mount of a part.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Type of the filesystem: `fuse` or `fuse.emfs` for emfs.
    pub kind: String,
    /// What is mounted: `emfs`.
    pub source: String,
    /// Who mounted it, for FUSE filesystems.
    pub user: Option<u32>,
}

impl Mount {
    /// Whether this is a mount of emfs, alive or dead.
    pub fn is_emfs(&self) -> bool {
        self.kind == "fuse.emfs" || (self.kind == "fuse" && self.source == NAME)
    }

    /// How its daemon is. Asks for what the kernel never answers from memory, in a process of its own: who asks a daemon
    /// that hangs cannot end before that answers, however it is killed.
    pub fn state(&self) -> MountState {
        let mut command = Command::new(OWN_PROGRAM);
        command.arg(PROBE).arg("--").arg(&self.mountpoint);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let asked = command.spawn().and_then(|mut asking| ended(&mut asking, ANSWERING));
        let code = asked.ok().flatten().and_then(|status| u8::try_from(status.code()?).ok());
        match code {
            Some(ALIVE) => MountState::Alive,
            Some(DEAD) => MountState::Dead,
            // Where no process can be started, there is no answer either.
            _ => MountState::Silent,
        }
    }

    fn parse(line: &[u8]) -> Option<Mount> {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = text(fields.nth(2)?);
        let root = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
        let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
        // Optional fields end at a dash of their own.
        fields.find(|field| *field == b"-")?;
        let kind = text(fields.next()?);
        let source = text(fields.next()?);
        let options = text(fields.next()?);
        let user = options.split(',').find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
        Some(Mount { device, root, mountpoint, kind, source, user })
    }
}

/// All mounts that this process sees, in the order they were mounted.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// In the process that [`Mount::state`] starts: asks, and says by its exit code what came of it.
pub fn probe(mountpoint: &Path) -> u8 {
    match statfs(mountpoint) {
        Err(Errno::ENOTCONN | Errno::ECONNABORTED) => DEAD,
        _ => ALIVE,
    }
}

/// How a process ended. One that takes longer is killed and left to end when it can, without a status.
pub fn ended(process: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let give_up = Instant::now() + patience;
    loop {
        match process.try_wait()? {
            None if Instant::now() >= give_up => return process.kill().map(|()| None),
            None => std::thread::sleep(RETRY),
            ended => return Ok(ended),
        }
    }
}

/// The uppermost mount at `path`, which need not be reachable any more.
pub fn at(path: &Path) -> io::Result<Option<Mount>> {
    Ok(all_at(&resolve(path)?)?.pop())
}

/// All mounts at `path`, which [`resolve`] gave, the uppermost last.
pub fn all_at(path: &Path) -> io::Result<Vec<Mount>> {
    Ok(mounts()?.into_iter().filter(|mount| mount.mountpoint == path).collect())
}

/// A process that has the filesystem with this device number in another mount namespace than this process, with the place
/// where it is there. The processes of other users can be looked into by root alone.
pub fn in_another_namespace(device: &str) -> Option<(i32, PathBuf)> {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let mut seen: HashSet<PathBuf> = namespace("self").into_iter().collect();
    std::fs::read_dir("/proc").ok()?.find_map(|entry| {
        let name = entry.ok()?.file_name();
        let process: i32 = name.to_str()?.parse().ok()?;
        if !seen.insert(namespace(name.to_str()?)?) {
            return None;
        }
        let table = std::fs::read(format!("/proc/{process}/mountinfo")).ok()?;
        let there = parse(&table).into_iter().find(|mount| mount.device == device)?;
        Some((process, there.mountpoint))
    })
}

/// `path` without symbolic links and dots, found without touching what is mounted at its end: a dead or hanging mount
/// answers no `stat`.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    if mounts()?.iter().any(|mount| mount.mountpoint == path) {
        return Ok(path);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path.canonicalize() };
    let resolved = parent.canonicalize()?.join(name);
    if mounts()?.iter().any(|mount| mount.mountpoint == resolved) {
        return Ok(resolved);
    }
    path.canonicalize()
}

/// A path without dots, and without symbolic links but where `is_end` says that none are looked for.
pub fn followed(path: &Path, is_end: impl Fn(&Path) -> bool) -> PathBuf {
    let parts = |path: &Path| -> Vec<OsString> { path.components().map(|part| part.as_os_str().to_owned()).collect() };
    let (mut rest, mut at, mut links) = (VecDeque::from(parts(path)), PathBuf::new(), 0);
    while let Some(part) = rest.pop_front() {
        match part.to_str() {
            Some(".") => continue,
            Some("..") => {
                at.pop();
                continue;
            }
            _ => at.push(part),
        }
        if links < MAX_LINKS
            && at.parent().is_some()
            && !is_end(&at)
            && let Ok(target) = std::fs::read_link(&at)
        {
            links += 1;
            at.pop();
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
        }
    }
    at
}

/// The mounts of a table, without lines that make no sense.
pub(crate) fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(Mount::parse).collect()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Space, tab, newline and backslash stand as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'\\').then(|| after.get(..3)).flatten().and_then(|digits| {
            digits.iter().try_fold(0u8, |code, digit| match digit {
                b'0'..=b'7' => code.checked_mul(8)?.checked_add(digit - b'0'),
                _ => None,
            })
        });
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r"22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw
77 28 0:45 / /mnt/a\040b ro,nosuid,nodev,noatime shared:12 master:1 - fuse.emfs emfs rw,user_id=1000,group_id=1000
78 28 0:46 /a\040b/em.zarr /mnt/root ro,nosuid - fuse emfs rw,user_id=0,group_id=0,default_permissions
79 28 0:47 / /mnt/ssh rw - fuse.sshfs host:/ rw,user_id=1000
short line
";

    #[test]
    fn a_table_is_read_with_its_escapes_and_optional_fields() {
        let mounts = parse(TABLE.as_bytes());
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[1].mountpoint, Path::new("/mnt/a b"));
        assert_eq!((mounts[1].device.as_str(), mounts[1].user), ("0:45", Some(1000)));
        assert_eq!(mounts.iter().map(Mount::is_emfs).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(mounts[0].user, None);
        assert_eq!((mounts[1].root.as_path(), mounts[2].root.as_path()), (Path::new("/"), Path::new("/a b/em.zarr")));
    }

    #[test]
    fn malformed_escapes_stay_as_they_are() {
        assert_eq!(unescape(br"a\134b\9\04"), br"a\b\9\04");
        assert_eq!(unescape(br"\777"), br"\777");
    }

    #[test]
    fn a_path_is_resolved_without_touching_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("mnt")).unwrap();
        std::os::unix::fs::symlink(real.join("mnt"), real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/../mnt")).unwrap(), real.join("mnt"));
        assert_eq!(resolve(&real.join("link")).unwrap(), real.join("mnt"));
        assert!(resolve(&real.join("none")).is_err());
        assert_eq!(at(Path::new("/proc")).unwrap().unwrap().kind, "proc");
    }

    #[test]
    fn dots_and_links_lead_to_the_same_place_and_no_link_is_read_in_the_mount() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let mount = base.join("mnt");
        std::fs::create_dir_all(mount.join("set")).unwrap();
        std::fs::create_dir(base.join("work")).unwrap();
        std::os::unix::fs::symlink("../mnt", base.join("work/em")).unwrap();
        std::os::unix::fs::symlink("/nowhere", mount.join("set/link")).unwrap();
        std::os::unix::fs::symlink("loop", base.join("loop")).unwrap();
        for (given, expected) in [
            ("work/em/set", "mnt/set"),
            ("work/../mnt/./set", "mnt/set"),
            ("work/em/set/../link", "mnt/link"),
            ("work/em/set/link", "mnt/set/link"),
            ("mnt/missing/em.zarr", "mnt/missing/em.zarr"),
        ] {
            assert_eq!(followed(&base.join(given), |place| place.starts_with(&mount)), base.join(expected), "{given}");
        }
        assert!(followed(&base.join("loop/x"), |_| false).ends_with("loop/x"), "a loop ends");
    }
}
