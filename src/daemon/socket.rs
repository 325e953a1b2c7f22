//! Where a daemon's Unix socket is.
//!
//! It is named after the device number of its mount, so that any path to that will do, or after the address of a server, and
//! lies in a folder that only the user can enter. A daemon may have been started with another environment than its client
//! (cron, sudo, another step of a job), so there is always something in a folder that does not depend on it.
//!
//! A mount that only one process and its children see leaves no file behind, however they end: its socket has a name in
//! the kernel instead (unix(7), "abstract"), which anybody could take and call. Both sides therefore look who the other is.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;

use super::peer::Peer;
use crate::xdg;

/// How long others may take to mount.
const TURN: Duration = Duration::from_secs(30);

/// Time between two looks whether they have.
const RETRY: Duration = Duration::from_millis(5);

/// A socket or a link to it, removed when dropped.
#[derive(Debug)]
pub(super) struct PlacedSocket {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl PlacedSocket {
    fn new(path: PathBuf) -> Self {
        PlacedSocket { identity: identity(&path), path }
    }
}

impl Drop for PlacedSocket {
    fn drop(&mut self) {
        // A later mount that got the same device number has put its own there.
        if identity(&self.path).is_some_and(|found| Some(found) == self.identity) {
            // Somebody cleaning up may have been faster.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of what is at `path`.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Where a daemon listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketAddress<'a> {
    /// What its name is made of: the device number of the mount, or the address of the server.
    pub device: &'a str,
    /// Whether it is a file, else a name in the kernel.
    pub has_file: bool,
}

/// Listens in the first folder where that is possible, or without a file: where none is wanted, or where the folders are
/// somebody else's. What it made goes with the second value.
pub(super) fn listen(address: SocketAddress<'_>) -> io::Result<(UnixListener, Vec<PlacedSocket>)> {
    let user = geteuid().as_raw();
    if !address.has_file {
        return listen_by_name(address.device, user);
    }
    listen_somewhere(address.device, user, named_folder().as_deref(), &usual_folders(user))
}

fn listen_somewhere(
    device: &str,
    user: u32,
    named: Option<&Path>,
    usual: &[PathBuf],
) -> io::Result<(UnixListener, Vec<PlacedSocket>)> {
    let by_file = listen_in(named, usual, &file_name(device));
    by_file.or_else(|error| listen_by_name(device, user).map_err(|_| error))
}

fn listen_by_name(device: &str, user: u32) -> io::Result<(UnixListener, Vec<PlacedSocket>)> {
    Ok((UnixListener::bind_addr(&name_in_kernel(user, device)?)?, Vec::new()))
}

/// Connects to a daemon.
pub(super) fn connect(peer: &Peer) -> io::Result<UnixStream> {
    let user = peer.user;
    let named = named_folder().filter(|_| user == geteuid().as_raw());
    let mut last = io::Error::from(ErrorKind::NotFound);
    for socket in &peer.sockets {
        // Names in the kernel end with their daemons, whereas a file may be that of an earlier one of this name.
        let found = connect_by_name(socket, user);
        let found =
            found.map_or_else(|| connect_in(named.as_deref(), &usual_folders(user), &file_name(socket), user), Ok);
        match found {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn name_in_kernel(user: u32, device: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("emfs-{user}-{device}"))
}

fn connect_by_name(device: &str, user: u32) -> Option<UnixStream> {
    let stream = UnixStream::connect_addr(&name_in_kernel(user, device).ok()?).ok()?;
    let peer = getsockopt(&stream, PeerCredentials).ok()?;
    (peer.uid() == user).then_some(stream)
}

/// Waits until no other daemon of the user is about to mount, and keeps others waiting until it is dropped. Nobody is waited
/// for where there is no place for that, or it takes too long.
pub(super) fn mount_lock() -> Option<File> {
    let [.., folder] = usual_folders(geteuid().as_raw());
    own(&folder).ok()?;
    let folder = File::open(folder).ok()?;
    let give_up = Instant::now() + TURN;
    loop {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => std::thread::sleep(RETRY),
            Err(_) => return None,
        }
    }
}

fn file_name(device: &str) -> String {
    format!("{}.sock", device.replace(':', "-"))
}

/// Where the environment says that a user's sockets are.
fn named_folder() -> Option<PathBuf> {
    xdg::runtime_dir().map(|folder| folder.join("emfs"))
}

/// Where every client looks, whatever its environment. The last is there on every machine.
fn usual_folders(user: u32) -> [PathBuf; 2] {
    [format!("/run/user/{user}/emfs").into(), format!("/tmp/emfs-{user}").into()]
}

fn listen_in(named: Option<&Path>, usual: &[PathBuf], name: &str) -> io::Result<(UnixListener, Vec<PlacedSocket>)> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for folder in named.into_iter().chain(usual.iter().map(PathBuf::as_path)) {
        let path = folder.join(name);
        // A path that is too long for a socket is found out by the attempt.
        match cleared(folder, &path).and_then(|()| UnixListener::bind(&path)) {
            Ok(listener) => {
                let mut placed = vec![PlacedSocket::new(path.clone())];
                if !usual.iter().any(|usual| usual == folder) {
                    placed.extend(linked(&path, usual, name));
                }
                return Ok((listener, placed));
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{}: {error}", path.display())),
        }
    }
    Err(last)
}

/// A link to `socket` for clients that do not look there.
fn linked(socket: &Path, usual: &[PathBuf], name: &str) -> Option<PlacedSocket> {
    let folder = usual.last()?;
    let path = folder.join(name);
    match cleared(folder, &path).and_then(|()| symlink(socket, &path)) {
        Ok(()) => Some(PlacedSocket::new(path)),
        Err(error) => {
            let variable = "`emfs status` works only with the same XDG_RUNTIME_DIR";
            tracing::warn!("{variable}: {}: {error}", path.display());
            None
        }
    }
}

/// Makes the folder, and removes what a dead daemon left at `path`: no living one has this device number.
fn cleared(folder: &Path, path: &Path) -> io::Result<()> {
    own(folder)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn connect_in(named: Option<&Path>, usual: &[PathBuf], name: &str, user: u32) -> io::Result<UnixStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for folder in named.into_iter().chain(usual.iter().map(PathBuf::as_path)) {
        match is_private(folder, user).and_then(|()| UnixStream::connect(folder.join(name))) {
            Ok(stream) => return Ok(stream),
            // "Not here", or a path where no socket can be, says less than what was found elsewhere.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Makes a folder that nobody else can read or write.
fn own(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    is_private(folder, geteuid().as_raw())
}

/// Refuses a folder that another user made or may write: `/tmp` is everybody's.
fn is_private(folder: &Path, user: u32) -> io::Result<()> {
    let found = folder.symlink_metadata()?;
    if found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::PermissionDenied,
        format!("{} must be a directory of user {user} with mode 0700", folder.display()),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NAME: &str = "0-45.sock";

    /// Connects as a client with that variable does.
    fn connects(named: Option<&Path>, usual: &[PathBuf]) -> io::Result<UnixStream> {
        connect_in(named, usual, NAME, geteuid().as_raw())
    }

    #[test]
    fn a_folder_whose_path_is_too_long_for_a_socket_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(120));
        let usual = [folder.path().join("none/emfs"), folder.path().join("usual")];
        let (_listener, placed) = listen_in(Some(&long), &usual, NAME).unwrap();
        assert!(long.is_dir() && placed.len() == 1 && usual[1].join(NAME).exists());
        assert!(connects(None, &usual).is_ok() && connects(Some(&long), &usual).is_ok());
        drop(placed);
        assert_eq!(connects(Some(&long), &usual).unwrap_err().kind(), ErrorKind::NotFound);
        let error = listen_in(None, std::slice::from_ref(&long), NAME).unwrap_err().to_string();
        assert!(error.starts_with(long.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_socket_where_the_environment_says_is_found_by_clients_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("named");
        let usual = [folder.path().join("none/emfs"), folder.path().join("usual")];
        // What a dead daemon left is replaced.
        own(&usual[1]).unwrap();
        symlink("/nowhere", usual[1].join(NAME)).unwrap();
        let (_listener, placed) = listen_in(Some(&named), &usual, NAME).unwrap();
        assert!(connects(Some(&named), &usual).is_ok() && connects(None, &usual).is_ok());
        drop(placed);
        for folder in [&named, &usual[1]] {
            assert_eq!(folder.read_dir().unwrap().count(), 0, "{}", folder.display());
        }
        let (_listener, placed) = listen_in(Some(&usual[1]), &usual, NAME).unwrap();
        assert_eq!(placed.len(), 1, "no link where everybody looks");
    }

    #[test]
    fn a_daemon_whose_folders_somebody_else_has_made_is_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (device, user) = (format!("test-{}:3", std::process::id()), geteuid().as_raw());
        let squatted = [folder.path().join("none/emfs"), folder.path().join("open to all")];
        std::fs::create_dir(&squatted[1]).unwrap();
        std::fs::set_permissions(&squatted[1], std::fs::Permissions::from_mode(0o777)).unwrap();
        let (_listener, placed) = listen_somewhere(&device, user, None, &squatted).unwrap();
        assert!(placed.is_empty() && connect_by_name(&device, user).is_some());
    }

    #[test]
    fn a_daemon_without_a_file_is_found_by_its_user_alone() {
        let (device, user) = (format!("test-{}:2", std::process::id()), geteuid().as_raw());
        assert!(connect_by_name(&device, user).is_none());
        let (listener, placed) = listen(SocketAddress { device: &device, has_file: false }).unwrap();
        assert!(placed.is_empty());
        assert!(connect_by_name(&device, user).is_some());
        // Somebody else may have taken the name that another user's daemon would have.
        let _taken = UnixListener::bind_addr(&name_in_kernel(user + 1, &device).unwrap()).unwrap();
        assert!(connect_by_name(&device, user + 1).is_none());
        drop(listener);
        assert!(connect_by_name(&device, user).is_none());
    }

    #[test]
    fn what_a_later_daemon_has_placed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let usual = [folder.path().join("usual")];
        let (_first, placed) = listen_in(None, &usual, NAME).unwrap();
        let (_second, _placed) = listen_in(None, &usual, NAME).unwrap();
        drop(placed);
        assert!(connects(None, &usual).is_ok());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let user = geteuid().as_raw();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is_private(folder.path(), user).is_err());
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(is_private(folder.path(), user).is_ok());
        assert!(is_private(folder.path(), user + 1).is_err());
        std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).unwrap();
        assert!(is_private(&folder.path().join("link"), user).is_err());
    }
}
