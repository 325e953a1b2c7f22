//! What commands ask a daemon through its socket ([`super::control`]).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as Client;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use serde::Deserialize;

use super::DaemonError;
use super::control::{Catalogue, PATIENCE, Recent};
use super::peer::Peer;
use super::socket;
use crate::fuse::MountError;
use crate::ledger::LedgerPage;
use crate::shell::word;

/// Longest answer that is taken.
const MAX_ANSWER: u64 = 64 << 20;

/// Asks a daemon for its report, as JSON.
pub fn status(peer: impl Into<Peer>) -> io::Result<String> {
    ask(peer, "status")
}

/// The same once what it has fetched and found so far is on its disk, where others find it.
pub fn flushed_status(peer: impl Into<Peer>) -> io::Result<String> {
    ask(peer, "flushed")
}

/// Tells a daemon to end, unless its mount is still to be seen where it runs: there, it goes on for whoever reads. Gives that
/// place.
pub fn end(peer: impl Into<Peer>) -> io::Result<Option<PathBuf>> {
    place(peer, "end")
}

/// Where the mount of a daemon is to be seen where it runs, which may be another mount namespace.
pub fn seen_at(peer: impl Into<Peer>) -> io::Result<Option<PathBuf>> {
    place(peer, "where")
}

fn place(peer: impl Into<Peer>, question: &str) -> io::Result<Option<PathBuf>> {
    Ok(Some(PathBuf::from(said(peer, question)?)).filter(|place| place.is_absolute()))
}

/// Asks a daemon for a mark, as text.
pub fn mark(peer: impl Into<Peer>) -> io::Result<String> {
    ask(peer, "mark")
}

/// Asks a daemon what failed and what was absent.
pub fn ledger(peer: impl Into<Peer>) -> io::Result<LedgerPage> {
    Ok(serde_json::from_str(&ask(peer, "ledger")?)?)
}

/// Asks a daemon for its catalogue.
pub fn catalogue(peer: impl Into<Peer>) -> io::Result<Catalogue> {
    Ok(serde_json::from_str(&ask(peer, "catalogue")?)?)
}

/// Asks a daemon who read within the last minute.
pub fn reader(peer: impl Into<Peer>) -> io::Result<Option<Recent>> {
    #[derive(Deserialize)]
    struct Answer {
        reader: Option<Recent>,
    }
    let answer: Answer = serde_json::from_str(&status(peer)?)?;
    Ok(answer.reader)
}

/// What a daemon answers, which may be nothing.
fn said(peer: impl Into<Peer>, question: &str) -> io::Result<String> {
    let mut text = String::new();
    connect(peer, question)?.take(MAX_ANSWER).read_to_string(&mut text)?;
    Ok(text)
}

fn ask(peer: impl Into<Peer>, question: &str) -> io::Result<String> {
    let text = said(peer, question)?;
    if text.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(text) }
}

/// A daemon whose end can be waited for.
pub struct Watched(Client);

impl Watched {
    /// Begins to watch a daemon.
    pub fn new(peer: impl Into<Peer>) -> io::Result<Self> {
        connect(peer, "wait").map(Watched)
    }

    /// Its process, unless that is not to be seen from here, as out of a container.
    pub fn process(&self) -> Option<i32> {
        getsockopt(&self.0, sockopt::PeerCredentials).ok().map(|peer| peer.pid()).filter(|pid| *pid > 0)
    }

    /// Whether the daemon ends within `patience`.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let ended = self.0.set_read_timeout(Some(patience)).and_then(|()| self.0.read(&mut [0]));
        match ended {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

fn connect(peer: impl Into<Peer>, request: &str) -> io::Result<Client> {
    let mut stream = socket::connect(&peer.into())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    Ok(stream)
}

/// For `map_err`: why a daemon gave no answer.
pub fn unanswered(peer: impl Into<Peer>) -> impl FnOnce(io::Error) -> DaemonError {
    let Peer { name, is_mount, .. } = peer.into();
    move |error| match error.kind() {
        // One that ends while it is asked takes the question and never answers.
        io::ErrorKind::NotFound
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
            if is_mount =>
        {
            DaemonError::Failed(format!(
                "the emfs mounted at {name} does not listen; if it has died, mount again, or remove the mount with \
             `emfs umount {}`",
                word(&name)
            ))
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => DaemonError::Failed(format!(
            "no emfs of this user and machine serves at {name}; `emfs serve` prints its address when it begins"
        )),
        // What a socket says when the time to read or to write is over.
        io::ErrorKind::WouldBlock if is_mount => MountError::Silent(name.into()).into(),
        io::ErrorKind::WouldBlock => DaemonError::Failed(format!("the emfs that serves at {name} does not answer")),
        _ => DaemonError::System { what: format!("asking the daemon of {name}"), error },
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use nix::unistd::geteuid;
    use std::sync::Arc;

    use super::super::control::{About, ControlServer, Inspected};
    use super::super::peer::Places;
    use super::super::socket::SocketAddress;
    use super::*;
    use crate::ledger::Mark;
    use crate::mountinfo::Mount;
    use crate::stats::Snapshot;
    use crate::stats::{FuseMessage, Stats};
    use crate::vfs::RecentReader;

    impl Inspected for Stats {
        fn counters(&self) -> Snapshot {
            self.snapshot()
        }

        fn reader(&self) -> Option<RecentReader> {
            Some(RecentReader { dataset: "v".to_owned(), ago: Duration::from_secs(3) })
        }

        fn mark(&self) -> Mark {
            Stats::mark(self)
        }

        fn confirm_absences(&self) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }

        fn ledger(&self) -> LedgerPage {
            Stats::ledger(self)
        }
    }

    fn places() -> Places {
        Places { mountpoint: Some("/nowhere".to_owned()), url: None }
    }

    fn mount(device: &str) -> Mount {
        Mount {
            device: device.to_owned(),
            root: "/".into(),
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
        let address = SocketAddress { device: &mount.device, has_file: true };
        let stats = Stats::default();
        stats.fuse(FuseMessage::Read);
        stats.failure("a/b: it broke".to_owned());
        assert!(status(&mount).is_err());
        let start = |runtime: &tokio::runtime::Runtime, stats| {
            ControlServer::start(runtime.handle(), address, places(), About::default(), Arc::new(stats), None).unwrap()
        };
        let server = start(&runtime, stats);
        let report: serde_json::Value = serde_json::from_str(&status(&mount).unwrap()).unwrap();
        assert_eq!((report["fuse"]["READ"].as_u64(), report["mountpoint"].as_str()), (Some(1), Some("/nowhere")));
        assert_eq!(report["pid"], std::process::id());
        assert_eq!(reader(&mount).unwrap().unwrap().dataset, "v");
        let page = ledger(&mount).unwrap();
        assert_eq!(page.failed.kept[0].line, "a/b: it broke");
        assert_eq!(mark(&mount).unwrap().trim_end(), page.mark);
        let mut watched = Watched::new(&mount).unwrap();
        assert_eq!(watched.process(), i32::try_from(std::process::id()).ok());
        assert!(!watched.ends_within(Duration::from_millis(50)));
        // As if it had died: the socket stays behind.
        std::mem::forget(server);
        runtime.shutdown_timeout(Duration::from_secs(5));
        assert!(status(&mount).is_err());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let again = start(&runtime, Stats::default());
        assert!(status(&mount).is_ok());
        drop(again);
        assert_eq!(status(&mount).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
