//! The connection to a client, and whether that is still there.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::memory_file::Outlet;

/// Bytes that the system takes before the client's window has room for them. Without a bound these are megabytes, and what a
/// slow client takes is seen in steps of as many.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;

/// How long a client may be gone before that is seen, while something of it is still to be read.
const STEP: Duration = Duration::from_millis(100);

/// A connection that is watched from beside while it is read and written.
pub(super) struct Link {
    stream: Arc<TcpStream>,
    outlet: Outlet,
}

/// What watches it.
pub(super) struct Watch(Arc<TcpStream>);

impl Link {
    /// `outlet`: what is said of the answers that are written.
    pub fn new(stream: TcpStream, outlet: Outlet) -> (Link, Watch) {
        // An answer is written at once; without this its end would wait for the client's word.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        let stream = Arc::new(stream);
        (Link { stream: Arc::clone(&stream), outlet }, Watch(stream))
    }
}

impl Watch {
    /// Waits until the client has closed the connection or broken it off, though requests of it be unread.
    pub async fn gone(&self) {
        while !self.0.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed()) {
            // What is unread makes it ready all the time.
            sleep(STEP).await;
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(into.initialize_unfilled()) {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Link {
    fn poll_try(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_try(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.outlet.file() {
            None => self.poll_try(context, |stream| stream.try_write_vectored(bytes)),
            Some(file) => {
                self.poll_try(context, |stream| stream.try_io(Interest::WRITABLE, || file.send(stream, bytes)))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (Link, Watch, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (link, watch) = Link::new(listener.accept().await.unwrap().0, Outlet::default());
        (link, watch, client)
    }

    /// Writes as much as goes.
    async fn fill(link: &mut Link) -> usize {
        let mut written = 0;
        while let Ok(count) = timeout(Duration::from_millis(300), link.write(&[1; 16 << 10])).await {
            written += count.unwrap();
        }
        written
    }

    #[tokio::test]
    async fn little_is_written_before_a_client_takes_it_and_more_once_it_does() {
        let (mut link, _watch, mut client) = pair().await;
        for _ in 0..4 {
            let written = fill(&mut link).await;
            assert!((1..4 << 20).contains(&written), "{written} bytes");
            client.read_exact(&mut vec![0; written]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_has_gone_is_missed_behind_what_is_unread() {
        let (mut link, watch, mut client) = pair().await;
        client.write_all(b"unread").await.unwrap();
        assert!(timeout(Duration::from_millis(300), watch.gone()).await.is_err());
        drop(client);
        timeout(Duration::from_secs(5), watch.gone()).await.unwrap();
        let mut left = Vec::new();
        link.read_to_end(&mut left).await.unwrap();
        assert_eq!(left, b"unread");
    }
}
