//! Connections: accepted, bounded, ended.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::link::Link;
use super::memory_file::Outlet;
use super::patience::Patient;
use super::respond::respond;
use super::site::Site;
use super::tls::HTTP_2;

/// Connections at a time; the others wait.
const CONNECTIONS: usize = 1024;

/// Requests of one HTTP/2 connection at a time.
const STREAMS: u32 = 128;

/// Bytes of a connection that are kept before the next piece of an answer is asked for; the head of a request is no longer.
const BUFFER: usize = 64 << 10;

/// How long a client may take for the head of a request, or keep a connection without one.
const HEAD: Duration = Duration::from_secs(30);

/// The same for the beginning of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long answers that are under way may take when the server ends.
const ENDING: Duration = Duration::from_secs(1);

/// A server that has its address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Takes an address; port 0 is any free one.
    pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Server { listener, address, tls })
    }

    /// Where it is, as an address of the web.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `ended`, and what is under way a moment longer.
    pub async fn run(self, site: Arc<Site>, ended: impl Future<Output = ()>) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        tokio::pin!(ended);
        loop {
            let (stream, permit) = tokio::select! {
                accepted = self.accept(&permits) => accepted,
                () = &mut ended => break,
            };
            tokio::spawn(connection(stream, self.tls.clone(), Arc::clone(&site), graceful.watcher(), permit));
        }
        drop(self);
        // Who takes longer is cut off with the process.
        let _ = timeout(ENDING, graceful.shutdown()).await;
    }

    async fn accept(&self, permits: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        // Never closed.
        let permit = Arc::clone(permits).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                // Out of descriptors, most likely: they come back.
                Err(error) => {
                    tracing::warn!("a connection cannot be taken: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    site: Arc<Site>,
    watcher: Watcher,
    _permit: Option<OwnedSemaphorePermit>,
) {
    let outlet = Outlet::default();
    let (link, watch) = Link::new(stream, outlet.clone());
    // What TLS writes is no longer what an answer has in memory.
    let outlet = tls.is_none().then_some(outlet);
    tokio::select! {
        biased;
        () = answer(Patient::new(link), tls, (site, outlet), watcher) => {}
        // hyper looks for the end behind one request, and would carry out all that a client has sent before it went.
        () = watch.gone() => tracing::debug!("a connection ended: the client has closed it"),
    }
}

async fn answer(
    stream: Patient<Link>,
    tls: Option<TlsAcceptor>,
    served: (Arc<Site>, Option<Outlet>),
    watcher: Watcher,
) {
    let ended = match tls {
        None => serve(stream, false, served, watcher).await,
        Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
                serve(stream, is_http2, served, watcher).await
            }
            Ok(Err(error)) => return tracing::debug!("no TLS: {error}"),
            Err(_) => return tracing::debug!("no TLS in time"),
        },
    };
    if let Err(error) = ended {
        // Clients that give a request up close their connection; that is their right.
        tracing::debug!("a connection ended: {error}");
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    is_http2: bool,
    (site, outlet): (Arc<Site>, Option<Outlet>),
    watcher: Watcher,
) -> hyper::Result<()> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let site = Arc::clone(&site);
        if let Some(outlet) = &outlet {
            request.extensions_mut().insert(outlet.clone());
        }
        async move { Ok::<_, Infallible>(respond(site, request).await) }
    });
    let stream = TokioIo::new(stream);
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(HEAD);
        return watcher.watch(builder.serve_connection(stream, service)).await;
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    watcher.watch(builder.serve_connection(stream, service)).await
}
