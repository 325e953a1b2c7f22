//! Where requests go: a head and a stream of pieces, whatever the origin is.

use std::path::PathBuf;

use bytes::Bytes;

use super::backoff::FailedAttempt;
use super::file::{self, FileBody};
use super::head::Head;
use super::http::{HttpBody, HttpTarget};
use super::limits::Permit;
use super::wanted::Wanted;

/// A way to ask for an object.
#[derive(Debug, Clone)]
pub(super) enum Transport {
    Http(HttpTarget),
    File(PathBuf),
}

/// The rest of an answer.
#[derive(Debug)]
pub(super) enum TransportBody {
    Http(HttpBody),
    File(FileBody),
}

impl Transport {
    /// Sends one request and waits for the head of its answer. `permit`: what the request has, which who asks keeps as well.
    pub(super) async fn open(
        &self,
        wanted: Wanted<'_>,
        permit: Permit,
    ) -> Result<(Head, TransportBody), FailedAttempt> {
        match self {
            Transport::Http(target) => {
                let (head, body) = target.open(wanted).await?;
                Ok((head, TransportBody::Http(body)))
            }
            Transport::File(path) => {
                let (head, body) = file::open(path, wanted.part, wanted.if_match, permit).await?;
                Ok((head, TransportBody::File(body)))
            }
        }
    }
}

impl TransportBody {
    /// The next piece, `None` at the end. `received`: bytes so far.
    pub(super) async fn chunk(&mut self, received: usize) -> Result<Option<Bytes>, FailedAttempt> {
        match self {
            TransportBody::Http(body) => {
                body.chunk().await.map_err(|reason| FailedAttempt::connection(reason, received))
            }
            TransportBody::File(body) => body.chunk().await,
        }
    }
}
