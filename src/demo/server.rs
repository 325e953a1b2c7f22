//! The replica's server: HTTP/1.1 on a free port of the loopback interface.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::http::header::RANGE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::files::Files;
use super::respond::respond;

/// Takes a line of the access log, without line end: `METHOD path range status bytes`; `-` where no range was asked for.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How the replica behaves.
#[derive(Clone, Default)]
pub struct ReplicaOptions {
    /// Time that each answer waits, as if the server were far away.
    pub delay: Duration,
    /// Where the access log goes.
    pub log: Option<Log>,
}

/// A running replica. It has a thread of its own and stops when dropped.
#[derive(Debug)]
pub struct Replica {
    address: SocketAddr,
    #[cfg(test)]
    requests: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Replica {
    #[cfg(test)]
    /// Starts a replica that answers at once and logs nothing.
    pub fn start() -> io::Result<Self> {
        Self::start_with(ReplicaOptions::default())
    }

    /// Starts a replica that behaves as `options` say.
    pub fn start_with(options: ReplicaOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let requests = Arc::new(AtomicU64::new(0));
        let shared = Arc::new(Shared { files: Files::embedded(), options, requests: requests.clone() });
        let (stop, stopped) = oneshot::channel::<()>();
        // The runtime ends with the thread and closes what connections are left.
        let thread = std::thread::Builder::new().name("replica".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Replica {
            address,
            #[cfg(test)]
            requests,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[cfg(test)]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[cfg(test)]
    /// Requests received so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// The built-in catalogue's datasets, found at this server: a configuration for `--config`.
    pub fn catalog_toml(&self) -> String {
        super::catalog::toml(self.address)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

struct Shared {
    files: Files,
    options: ReplicaOptions,
    requests: Arc<AtomicU64>,
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, for instance: others may be closed meanwhile.
                tracing::warn!("the replica cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&shared, request));
            let served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                // Clients that give up a request close their connection; that is their right.
                tracing::debug!("connection to the replica: {error}");
            }
        });
    }
}

async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<hyper::Response<super::respond::ReplicaBody>, Infallible> {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    if !shared.options.delay.is_zero() {
        tokio::time::sleep(shared.options.delay).await;
    }
    let response = respond(&shared.files, request.method(), request.uri(), request.headers());
    if let Some(log) = &shared.options.log {
        let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok()).unwrap_or("-");
        let bytes = response.body().size_hint().exact().unwrap_or_default();
        log(&format!("{} {} {range} {} {bytes}", request.method(), request.uri(), response.status().as_u16()));
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
