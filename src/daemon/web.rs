//! The server of the same tree over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::DaemonError;
use crate::http::{Access, Server, Site};
use crate::vfs::Vfs;

/// A server that is about to be.
pub struct Web {
    /// Where it will listen.
    pub address: SocketAddr,
    /// Who may read.
    pub access: Access,
    /// What it answers connections with, unless they are plain.
    pub tls: Option<TlsAcceptor>,
}

/// A server that answers.
pub struct Serving {
    /// Its address as one of the web.
    pub url: String,
    /// The address itself.
    pub address: SocketAddr,
    /// Ends after the last answer.
    pub answering: JoinHandle<()>,
}

impl Web {
    /// At a port of this machine that is free, for whoever is on it.
    pub fn anywhere() -> Self {
        Web { address: SocketAddr::from(([127, 0, 0, 1], 0)), access: Access::default(), tls: None }
    }

    /// Takes the address and begins to answer, until `ended`.
    pub fn start(
        self,
        runtime: &Handle,
        vfs: Arc<Vfs>,
        memory: u64,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Serving, DaemonError> {
        let Web { address, access, tls } = self;
        let is_tls = tls.is_some();
        let server = runtime.block_on(Server::bind(address, tls)).map_err(|error| {
            DaemonError::Failed(format!("{address}: {error}; another port can be named, and port 0 takes a free one"))
        })?;
        let (url, address) = (server.url(), server.address());
        let site = Site::new(vfs, access, memory, is_tls);
        Ok(Serving { url, address, answering: runtime.spawn(server.run(site, ended)) })
    }
}
