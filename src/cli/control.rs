//! The daemon's Unix socket, through which other commands ask it.
//!
//! A client sends one line. `status` is answered by a JSON document; `wait` by nothing, until the daemon has ended and
//! the connection with it. The socket is known by the device number of its mount, so that any path to it will do.

use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;

use crate::fuse::mountinfo::Mount;
use crate::stats::Snapshot;

/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest request line.
const LONGEST_REQUEST: u64 = 64;

/// Longest answer that a client takes.
const LONGEST_ANSWER: u64 = 64 << 20;

/// What is mounted, for commands that look at the same.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct About {
    /// `builtin`, `file` or `text`.
    pub catalogue: &'static str,
    /// The file, by its absolute path.
    pub config: Option<PathBuf>,
    /// Where fetched bytes are kept.
    pub cache_folder: Option<PathBuf>,
    /// Whether nobody is asked.
    pub offline: bool,
}

/// What a daemon says of itself.
#[derive(Debug, Clone, Serialize)]
struct Report {
    version: &'static str,
    pid: u32,
    mountpoint: String,
    #[serde(flatten)]
    about: About,
    /// Seconds since the mount.
    uptime: f64,
    #[serde(flatten)]
    counters: Snapshot,
}

/// A listening socket, removed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

/// Device and inode of what is at `path`.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Server {
    /// Listens for questions about the mount of `device` at `mountpoint`.
    pub fn start(
        runtime: &Handle,
        device: &str,
        mountpoint: &Path,
        about: About,
        counters: impl Fn() -> Snapshot + Send + 'static,
    ) -> io::Result<Self> {
        let folder = folders(geteuid().as_raw()).into_iter().find_map(|folder| own(&folder).ok().map(|()| folder));
        let folder = folder.ok_or_else(|| io::Error::other("no private directory for the socket"))?;
        let path = folder.join(file_name(device));
        // No living daemon has this device number, so what is there is left over.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let _inside = runtime.enter();
        let listener = UnixListener::bind(&path)?;
        let (mountpoint, start) = (mountpoint.display().to_string(), Instant::now());
        runtime.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let report = Report {
                            version: env!("CARGO_PKG_VERSION"),
                            pid: std::process::id(),
                            mountpoint: mountpoint.clone(),
                            about: about.clone(),
                            uptime: start.elapsed().as_secs_f64(),
                            counters: counters(),
                        };
                        tokio::spawn(answer(stream, report));
                    }
                    // Out of descriptors, most likely: they come back.
                    Err(error) => {
                        tracing::warn!("status socket: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        });
        Ok(Server { identity: identity(&path), path })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A later mount that got the same device number has put its own socket there.
        if identity(&self.path).is_some_and(|found| Some(found) == self.identity) {
            // Somebody cleaning up may have been faster.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn answer(stream: UnixStream, report: Report) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = reader.take(LONGEST_REQUEST);
    let mut request = Vec::new();
    let line = async {
        while !request.ends_with(b"\n") && reader.read_buf(&mut request).await? > 0 {}
        io::Result::Ok(())
    };
    if !matches!(tokio::time::timeout(PATIENCE, line).await, Ok(Ok(()))) {
        return;
    }
    match request.as_slice() {
        b"status\n" => {
            let text = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
            // A client that has gone needs no answer.
            let _ = tokio::time::timeout(PATIENCE, writer.write_all(text.as_bytes())).await;
        }
        b"wait\n" => {
            // Until the client goes or this process ends, which comes after the end of the runtime and of this task: what was
            // fetched is written to disk in between.
            let held = writer.as_ref().as_fd().try_clone_to_owned().map(ManuallyDrop::new);
            writer.forget();
            while reader.read_buf(&mut request).await.is_ok_and(|count| count > 0) {
                reader.set_limit(LONGEST_REQUEST);
                request.clear();
            }
            drop(held.map(ManuallyDrop::into_inner));
        }
        _ => {}
    }
}

/// Asks the daemon of `mount` for its report, as JSON.
pub(super) fn status(mount: &Mount) -> io::Result<String> {
    let stream = connect(mount, "status")?;
    let mut text = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut text)?;
    if text.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(text) }
}

/// A daemon whose end can be waited for.
pub(super) struct Watched(Client);

impl Watched {
    /// Begins to watch the daemon of `mount`.
    pub fn new(mount: &Mount) -> io::Result<Self> {
        connect(mount, "wait").map(Watched)
    }

    /// Whether the daemon ends within `patience`.
    pub fn ends_within(mut self, patience: Duration) -> bool {
        let ended = self.0.set_read_timeout(Some(patience)).and_then(|()| self.0.read(&mut [0]));
        match ended {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

fn connect(mount: &Mount, request: &str) -> io::Result<Client> {
    let user = mount.user.unwrap_or_else(|| geteuid().as_raw());
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in folders(user) {
        let connected = is_private(&folder, user).and_then(|()| Client::connect(folder.join(file_name(&mount.device))));
        match connected {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.write_all(format!("{request}\n").as_bytes())?;
                return Ok(stream);
            }
            // "Not here" says less than what was found elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn file_name(device: &str) -> String {
    format!("{}.sock", device.replace(':', "-"))
}

/// Where sockets of a user's daemons may be. The daemon may have been started with another environment than the client.
fn folders(user: u32) -> Vec<PathBuf> {
    let own = (user == geteuid().as_raw()).then(|| std::env::var_os("XDG_RUNTIME_DIR")).flatten();
    let mut folders: Vec<_> =
        own.filter(|path| !path.is_empty()).map(|path| PathBuf::from(path).join("emfs")).into_iter().collect();
    folders.push(PathBuf::from(format!("/run/user/{user}/emfs")));
    folders.push(PathBuf::from(format!("/tmp/emfs-{user}")));
    folders
}

/// Makes a folder that nobody else can read or write.
fn own(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
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
        io::ErrorKind::PermissionDenied,
        format!("{} must be a directory of user {user} with mode 0700", folder.display()),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mount(device: &str) -> Mount {
        Mount {
            device: device.to_owned(),
            mountpoint: "/nowhere".into(),
            kind: "fuse".to_owned(),
            source: "emfs".to_owned(),
            user: Some(geteuid().as_raw()),
        }
    }

    #[test]
    fn a_daemon_answers_and_the_socket_that_a_dead_one_left_is_taken_over() {
        let mount = mount(&format!("test-{}:1", std::process::id()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let stats = crate::stats::Stats::default();
        stats.fuse("READ");
        assert!(status(&mount).is_err());
        let server = Server::start(runtime.handle(), &mount.device, &mount.mountpoint, About::default(), move || {
            stats.snapshot()
        })
        .unwrap();
        let report: serde_json::Value = serde_json::from_str(&status(&mount).unwrap()).unwrap();
        assert_eq!((report["fuse"]["READ"].as_u64(), report["mountpoint"].as_str()), (Some(1), Some("/nowhere")));
        assert_eq!(report["pid"], std::process::id());
        assert!(!Watched::new(&mount).unwrap().ends_within(Duration::from_millis(50)));
        // As if it had died: the socket stays behind.
        std::mem::forget(server);
        runtime.shutdown_timeout(Duration::from_secs(5));
        assert!(status(&mount).is_err());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let again = Server::start(runtime.handle(), &mount.device, &mount.mountpoint, About::default(), || {
            crate::stats::Stats::default().snapshot()
        })
        .unwrap();
        assert!(status(&mount).is_ok());
        let path = again.path.clone();
        drop(again);
        assert!(!path.exists());
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
