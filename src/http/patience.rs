//! Connections whose other side takes nothing are broken off, so that what waits to be sent does not take memory for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take for the next [`LEAST`] bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that count as taking something.
const LEAST: usize = 64 << 10;

/// A connection that ends when its other side takes less than that.
pub(super) struct Patient<T> {
    inner: T,
    patience: Duration,
    /// Since when the other side lets us wait, and what it took since.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<T> Patient<T> {
    pub fn new(inner: T) -> Self {
        Patient { inner, patience: PATIENCE, waiting: None }
    }

    /// What comes of writing, with an eye on the clock.
    fn watched(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => {
                if let Some((_, taken)) = &mut self.waiting {
                    *taken = taken.saturating_add(count);
                    if *taken >= LEAST {
                        self.waiting = None;
                    }
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let patience = self.patience;
                let (end, _) = self.waiting.get_or_insert_with(|| (Box::pin(sleep(patience)), 0));
                match end.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        match self.watched(context, flushed.map_ok(|()| 0)) {
            Poll::Ready(Ok(_)) => {
                // All that there was has gone.
                self.waiting = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watched(context, ended.map_ok(|()| 0)).map_ok(drop)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_left_and_a_slow_one_is_not() {
        let (server, mut client) = duplex(1 << 10);
        let mut server = Patient { patience: Duration::from_secs(2), ..Patient::new(server) };
        let reading = tokio::spawn(async move {
            let mut piece = vec![0; 64 << 10];
            for _ in 0..8 {
                client.read_exact(&mut piece).await.unwrap();
                sleep(Duration::from_millis(500)).await;
            }
            client
        });
        server.write_all(&vec![1; 512 << 10]).await.unwrap();
        server.flush().await.unwrap();
        let _client = reading.await.unwrap();
        // Nothing is to be sent, so nobody waits.
        sleep(Duration::from_secs(3)).await;
        let start = Instant::now();
        let error = server.write_all(&vec![1; 512 << 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_secs(2));
    }
}
