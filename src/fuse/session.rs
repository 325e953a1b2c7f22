//! A mount from its beginning to its end.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fuser::{BackgroundSession, Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use nix::unistd::{getegid, geteuid};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::adapter::{Adapter, Owner};
use super::backend::Backend;
use super::direct::mount_directly;
use super::stage::Stage;
use super::unmount::{UnmountError, unmount};
use crate::mountinfo::{self, Mount, NAME};
use crate::shell::word;
use crate::stats::Stats;

/// Time between two tries to unmount what is in use.
const RETRY: Duration = Duration::from_millis(50);

/// What the kernel may ask for at once when files are read from one end to the other, in KiB. By itself it takes 128, two
/// messages for a chunk file of the usual 256 KiB.
const READ_AHEAD: &str = "1024";

/// How to mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct FuseOptions {
    /// Whether other users may read, too.
    pub allow_other: bool,
}

/// Why a mount could not be made. Each sentence says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum MountError {
    #[error("{path} does not exist; create it with `mkdir -p {path}`", path = .0.display())]
    Missing(PathBuf),
    #[error("{} is not a directory; name an empty directory", .0.display())]
    NotDirectory(PathBuf),
    #[error("{} is not empty; name an empty directory, since a mount hides what is in it", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} cannot be read ({reason}); name a directory of your own", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{} is not writable for you, as fusermount3 demands; name a directory of your own", .0.display())]
    NotWritable(PathBuf),
    #[error("emfs is mounted at {} already; use it, or unmount it with `emfs umount {path}`", .0.display(), path = word(.0))]
    Mounted(PathBuf),
    #[error("the emfs mounted at {} has died; remove the mount with `emfs umount {path}`", .0.display(), path = word(.0))]
    Dead(PathBuf),
    #[error(
        "the emfs mounted at {} does not answer; try again, or remove the mount with `emfs umount {path}`",
        .0.display(), path = word(.0)
    )]
    Silent(PathBuf),
    #[error("another filesystem ({kind}) is mounted at {}; name another directory", path.display())]
    Taken { path: PathBuf, kind: String },
    #[error(
        "/dev/fuse is missing; load the module with `modprobe fuse` as root, or start the container with \
         `--device /dev/fuse --cap-add SYS_ADMIN`"
    )]
    NoDevice,
    #[error("/dev/fuse cannot be opened ({0}); give access to it with `chmod 666 /dev/fuse` as root")]
    DeviceDenied(String),
    #[error(
        "fusermount3 is missing; install the package fuse3 (`apt install fuse3`, `dnf install fuse3`), or mount as root"
    )]
    NoHelper,
    #[error(
        "user {0} has no name (no entry in /etc/passwd), and without one fusermount3 mounts nothing; have root add one, mount \
         as root, or use `emfs exec`, which needs no fusermount3 where namespaces are allowed"
    )]
    NoName(u32),
    #[error("--allow-other needs the line `user_allow_other` in /etc/fuse.conf, which root can add")]
    OthersNotAllowed,
    #[error("mounting at {} failed: {reason}", path.display())]
    Failed { path: PathBuf, reason: String },
}

/// Mounts `backend` at `mountpoint`, which [`mod@super::check`] has found free. What it answers later is answered on
/// `runtime`, which has to outlive the mount.
pub fn mount<B: Backend>(
    backend: Arc<B>,
    stats: Arc<Stats>,
    runtime: Handle,
    mountpoint: &Path,
    options: FuseOptions,
) -> Result<Mounted, MountError> {
    let failed = |reason: String| MountError::Failed { path: mountpoint.to_owned(), reason };
    let owner = Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() };
    let (alive, ended) = watch::channel(());
    let gone = Arc::new(AtomicBool::new(false));
    let adapter = Adapter::new(backend, stats, runtime, owner, Arc::clone(&gone), alive);
    let stage = Stage::choose(mountpoint).map_err(failed)?;
    let session = begin(adapter, stage.path(), options).map_err(|error| failed(error.to_string()))?;
    let channel = session.as_fd().try_clone_to_owned();
    let (channel, session) = channel.and_then(|channel| Ok((channel, session.spawn()?))).map_err(|error| {
        take_back(stage.path());
        failed(error.to_string())
    })?;
    let settled = settle(&stage, mountpoint);
    // `fuser` unmounts by path when it drops this, even where the mount has ended and another has taken its place.
    // Here, a mount is known by its device number instead.
    let session = ManuallyDrop::new(session);
    match settled {
        Ok((mount, covered)) => {
            read_ahead(&mount.device);
            let (mountpoint, device, replaces) = (mount.mountpoint, mount.device, stage.replaces());
            Ok(Mounted { mountpoint, device, replaces, covered, gone, ended, channel, session })
        }
        Err(reason) => {
            take_back(stage.path());
            drop(ManuallyDrop::into_inner(session));
            Err(failed(reason))
        }
    }
}

/// Mounts at `place` and begins to talk with the kernel.
fn begin<B: Backend>(adapter: Adapter<B>, place: &Path, options: FuseOptions) -> io::Result<Session<Adapter<B>>> {
    let config = config(options);
    let Some(device) = mount_directly(place, options.allow_other)? else {
        return Session::new(adapter, place, &config);
    };
    let session = Session::from_fd(adapter, device, config.acl, config);
    if session.is_err() {
        take_back(place);
    }
    session
}

/// Takes away the mount that was made at `place` and of which nothing became.
fn take_back(place: &Path) {
    if matches!(mountinfo::at(place), Ok(Some(mount)) if mount.is_emfs())
        && let Err(error) = unmount(place, true)
    {
        tracing::error!("{error}");
    }
}

/// Brings the new mount to its place and finds it there, with the device number of a dead mount that it covers.
fn settle(stage: &Stage, mountpoint: &Path) -> Result<(Mount, Option<String>), String> {
    let found = mountinfo::at(stage.path());
    let Ok(Some(made)) = &found else { return Err(format!("it is not in the table of mounts ({found:?})")) };
    let covered = stage.settle()?;
    match mountinfo::at(mountpoint) {
        Ok(Some(mount)) if mount.is_emfs() && mount.device == made.device => Ok((mount, covered)),
        found => Err(format!("it is not in the table of mounts ({found:?})")),
    }
}

/// Has the kernel ask for more at once. Only root may, and others lose some speed: each message wakes several threads.
fn read_ahead(device: &str) {
    if let Err(reason) = std::fs::write(format!("/sys/class/bdi/{device}/read_ahead_kb"), READ_AHEAD) {
        tracing::debug!("the kernel reads chunks in pieces of 128 KiB: {reason}");
    }
}

fn config(options: FuseOptions) -> Config {
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    let mut config = Config::default();
    // Without `default_permissions`, which would ask for the attributes of a dataset's directory at every step of a path:
    // everything is readable by whom the kernel lets in, and nothing is writable.
    config.mount_options = vec![
        MountOption::FSName(NAME.to_owned()),
        MountOption::Subtype(NAME.to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(threads);
    // One for all threads, since what a thread takes from one of its own is an error when the daemon ends, a look-up, too.
    // From this one, whoever has it open then can have it again (see `guardian`).
    config.clone_fd = false;
    config
}

/// A living mount. Dropping it takes the mount out of sight, unless it was left; a reader that still holds a file keeps it
/// going until the process ends.
#[derive(Debug)]
pub struct Mounted {
    mountpoint: PathBuf,
    device: String,
    replaces: bool,
    /// The device number of a dead mount under this one, which is taken away with it.
    covered: Option<String>,
    gone: Arc<AtomicBool>,
    ended: watch::Receiver<()>,
    channel: OwnedFd,
    session: ManuallyDrop<BackgroundSession>,
}

impl Mounted {
    /// Where it is, without symbolic links.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Its device number, `major:minor`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Whether it took the place of one that had died.
    pub fn replaces(&self) -> bool {
        self.replaces
    }

    /// Leaves the mount to whoever has it and fails all reads from now on as the kernel does when the process has ended,
    /// `ENOTCONN`, so that who still reads learns of it. Where it is in sight, only [`Mounted::detach`] takes it away then.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// The way to the kernel, for [`super::guard`]: who has it open keeps the mount from being dead.
    pub fn channel(&self) -> io::Result<OwnedFd> {
        self.channel.try_clone()
    }

    /// What the kernel remembers of the mount.
    pub fn names(&self) -> KernelNames {
        KernelNames(self.session.notifier())
    }

    /// Whether the session with the kernel is over: nobody has the mount any more, here or in another mount namespace.
    pub fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// Waits until the session is over, whoever ended it.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Unmounts, unless a program uses the mount or another mount covers it.
    pub fn unmount(&self) -> Result<(), UnmountError> {
        if self.is_in_sight()? { unmount(&self.mountpoint, false) } else { Ok(()) }
    }

    /// Takes the mount out of sight, in use or not, unless another mount covers it.
    pub fn detach(&self) -> Result<(), UnmountError> {
        if self.is_in_sight()? {
            unmount(&self.mountpoint, true)?;
        }
        let uppermost = mountinfo::at(&self.mountpoint).ok().flatten().map(|mount| mount.device);
        if self.covered.is_some() && uppermost == self.covered { unmount(&self.mountpoint, true) } else { Ok(()) }
    }

    /// Unmounts; what is in use after `patience` is taken out of sight. Returns when the session is over, or when programs
    /// still use it after twice the patience, also such as have it in another mount namespace: the end of the process then
    /// ends it, as it does a covered mount.
    pub async fn stop(&self, patience: Duration) {
        let give_up = tokio::time::Instant::now() + patience;
        while let Err(error) = self.unmount() {
            if let UnmountError::Covered { .. } = error {
                tracing::error!("{error}");
                return;
            }
            if tokio::time::Instant::now() >= give_up || !matches!(error, UnmountError::Busy(_)) {
                if let Err(error) = self.detach() {
                    tracing::error!("{error}");
                }
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        if tokio::time::timeout(patience, self.ended()).await.is_err() {
            tracing::warn!("programs still use {}; their reads fail from now on", self.mountpoint.display());
        }
    }

    /// Whether it is still at its mountpoint, in sight or covered.
    pub fn is_there(&self) -> bool {
        mountinfo::all_at(&self.mountpoint).is_ok_and(|there| there.iter().any(|mount| mount.device == self.device))
    }

    /// Whether the mount at the mountpoint is this one, which the path names only as long as nothing is mounted over it.
    fn is_in_sight(&self) -> Result<bool, UnmountError> {
        let mut there = mountinfo::all_at(&self.mountpoint).unwrap_or_default();
        let Some(uppermost) = there.pop() else { return Ok(false) };
        let is_this = |mount: &Mount| mount.device == self.device;
        if there.iter().any(is_this) && !is_this(&uppermost) {
            return Err(UnmountError::Covered { over: Box::new(uppermost) });
        }
        Ok(is_this(&uppermost))
    }
}

/// The names that the kernel remembers, with all that is below them.
#[derive(Debug)]
pub struct KernelNames(Notifier);

impl KernelNames {
    /// Asks the kernel to forget the entry `name` of the directory `parent`. What is in use below it stays so. Blocks as
    /// long as a look-up in the directory is waiting, so not to be called where that is answered.
    pub fn forget(&self, parent: u64, name: &str) {
        if let Err(error) = self.0.inval_entry(INodeNo(parent), name.as_ref()) {
            tracing::debug!("the kernel does not forget `{name}`: {error}");
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.gone.load(Ordering::Acquire) {
            return;
        }
        match self.detach() {
            // `stop` has said so.
            Ok(()) | Err(UnmountError::Covered { .. }) => {}
            Err(error) => tracing::error!("{error}"),
        }
    }
}
