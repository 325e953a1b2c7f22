//! Bodies of answers, and the memory that clients may keep of them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Span;

/// Body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes that a permit stands for.
const UNIT: u64 = 1 << 10;

/// Pieces that there is room for at least, where there is much memory.
const PIECES: u64 = 32;

/// The shortest piece: less would be seen as nothing by the connection's clock.
const SHORTEST: u64 = 64 << 10;

/// The longest one.
const LONGEST: u64 = 1 << 20;

/// All of it at once.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Nothing.
pub(super) fn empty() -> Body {
    whole(Bytes::new())
}

/// Piece by piece, for the request of this task, which is answered before they are asked for. An error breaks the connection
/// off, so that nobody takes a part for the whole.
pub(super) fn pieces(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    let (span, mut pieces) = (Span::current(), Box::pin(pieces));
    let pieces = stream::poll_fn(move |context| span.in_scope(|| pieces.as_mut().poll_next(context)));
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// The memory for what clients have not taken yet: half of it for answers that are sent at once, half for the pieces of longer
/// ones, so that nobody waits for a chunk because others take their time with files.
#[derive(Debug, Clone)]
pub(super) struct Untaken {
    /// For what is sent at once.
    pub answers: Room,
    /// For what is sent piece by piece.
    pub pieces: Room,
}

/// A part of that memory.
#[derive(Debug, Clone)]
pub(super) struct Room {
    permits: Arc<Semaphore>,
    units: u32,
}

/// A share of that memory.
pub(super) struct Share(OwnedSemaphorePermit);

/// Bytes with the share that they take, until the last of them was sent.
struct Taken {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Untaken {
    /// At most so many bytes.
    pub fn of(bytes: u64) -> Self {
        Untaken { answers: Room::of(bytes / 2), pieces: Room::of(bytes / 2) }
    }
}

impl Room {
    /// At most so many bytes, but one answer however long it is.
    pub fn of(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4);
        Room { permits: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Bytes of a piece, so that there is room for those of many.
    pub fn piece(&self) -> u64 {
        (u64::from(self.units) * UNIT / PIECES).clamp(SHORTEST, LONGEST)
    }

    fn units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }

    /// Memory for so many bytes, where there is some now.
    pub fn try_take(&self, bytes: u64) -> Option<Share> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.units(bytes)).ok().map(Share)
    }

    /// Memory for so many bytes; `None` never comes, since this is never closed.
    pub async fn take(&self, bytes: u64) -> Option<Share> {
        Arc::clone(&self.permits).acquire_many_owned(self.units(bytes)).await.ok().map(Share)
    }
}

impl Share {
    /// The same bytes, which give the share back when they were sent.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Taken { bytes, _share: self })
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({})", self.0.num_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_sent_gives_its_memory_back() {
        let untaken = Room::of(4 << 10);
        let first = untaken.try_take(3 << 10).unwrap().hold(Bytes::from_static(b"abc"));
        let part = first.slice(1..2);
        drop(first);
        assert!(untaken.try_take(2 << 10).is_none());
        assert_eq!(part, "b");
        drop(part);
        // What is longer than all of it is sent alone.
        let long = untaken.take(1 << 30).await.unwrap();
        assert!(untaken.try_take(1).is_none());
        drop(long);
        assert!(untaken.try_take(1).is_some());
    }

    #[tokio::test]
    async fn pieces_of_files_take_no_room_of_other_answers() {
        let untaken = Untaken::of(8 << 20);
        let pieces = std::iter::from_fn(|| untaken.pieces.try_take(untaken.pieces.piece()));
        let pieces: Vec<Share> = pieces.collect();
        assert!(pieces.len() >= 32);
        assert!(untaken.answers.try_take(1 << 20).is_some());
        assert_eq!(Untaken::of(8 << 30).pieces.piece(), LONGEST);
        assert_eq!(Untaken::of(1 << 10).pieces.piece(), SHORTEST);
    }
}
