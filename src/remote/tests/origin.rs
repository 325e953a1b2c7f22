//! A server that does what a test tells it to, down to the bytes on the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One step of an answer.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits.
    Sleep(Duration),
    /// Says nothing more until the client goes away.
    Hang,
    /// Closes the connection.
    Close,
}

/// A request as it came, with names of headers in lower case.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// The half-open range asked for.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse::<usize>().unwrap() + 1))
    }
}

type Script = dyn Fn(usize, &Request) -> Vec<Act> + Send + Sync;

/// The server; ends with its connections when dropped.
pub struct Origin {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Origin {
    pub async fn start(script: impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    pub fn on(listener: TcpListener, script: impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&requests), Arc::new(script));
        let number = Arc::new(AtomicUsize::new(0));
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen, number) = (Arc::clone(&script), Arc::clone(&seen), Arc::clone(&number));
                accepted.fetch_add(1, Ordering::SeqCst);
                running.spawn(async move {
                    let _ = connection(stream, &*script, &seen, &number).await;
                });
            }
        });
        Origin { address, requests, connections, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(
    mut stream: TcpStream,
    script: &Script,
    seen: &Mutex<Vec<Request>>,
    number: &AtomicUsize,
) -> std::io::Result<()> {
    let mut text = Vec::new();
    loop {
        while !text.ends_with(b"\r\n\r\n") {
            let byte = stream.read_u8().await?;
            text.push(byte);
        }
        let request = parse(&String::from_utf8(std::mem::take(&mut text)).unwrap());
        seen.lock().unwrap().push(request.clone());
        for act in script(number.fetch_add(1, Ordering::SeqCst), &request) {
            match act {
                Act::Send(bytes) => stream.write_all(&bytes).await?,
                Act::Sleep(time) => tokio::time::sleep(time).await,
                Act::Hang => while stream.read(&mut [0; 64]).await? > 0 {},
                Act::Close => return stream.shutdown().await,
            }
        }
    }
}

fn parse(text: &str) -> Request {
    let mut lines = text.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Request { path, headers }
}

/// An answer with its `Content-Length`.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<Act> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    vec![Act::Send([head.as_bytes(), body].concat())]
}

/// What a correct server answers.
pub fn correct(data: &[u8], etag: &str, request: &Request) -> Vec<Act> {
    let total = data.len();
    let tag = format!("ETag: {etag}\r\nContent-Type: image/tiff\r\n");
    if request.headers.get("if-match").is_some_and(|wanted| wanted != etag) {
        return answer("412 Precondition Failed", &tag, b"");
    }
    match request.range() {
        None => answer("200 OK", &tag, data),
        Some((start, _)) if start >= total => {
            answer("416 Range Not Satisfiable", &format!("Content-Range: bytes */{total}\r\n"), b"no such range")
        }
        Some((start, end)) => {
            let end = end.min(total);
            let range = format!("{tag}Content-Range: bytes {start}-{}/{total}\r\n", end - 1);
            answer("206 Partial Content", &range, &data[start..end])
        }
    }
}
