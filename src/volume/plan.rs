//! Which ranges to ask for: neighbouring blocks of one object are one request.

use std::ops::Range;

use crate::store::Object;

/// Bytes between two blocks that are fetched along rather than asked around: as long as what formats put between planes,
/// and too short to hold another block that somebody else may be fetching.
const GAP: u64 = 4 << 10;

/// The same where blocks of one object lie in rows: no more than is wanted, and so much that another request would cost about
/// as long.
const WIDE_GAP: u64 = 1 << 20;

/// Joined requests stay about this long, so that several run in parallel and a broken one loses little.
pub(crate) const JOINED: u64 = 2 << 20;

/// A block that lies at a range of an object. `tag` is the caller's.
pub(crate) struct Piece<T> {
    pub(crate) object: Object,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) tag: T,
}

impl<T> Piece<T> {
    /// Its bytes in the object.
    pub(crate) fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.length)
    }

    /// Whether its bytes are kept on this machine.
    pub(crate) fn is_kept(&self) -> bool {
        self.object.has(&self.range())
    }
}

/// One range to fetch and the pieces in it, by their first byte.
pub(crate) struct Request<T> {
    pub(crate) object: Object,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) pieces: Vec<Piece<T>>,
}

/// How long requests may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Longest {
    /// Bytes, about.
    pub(crate) bytes: u64,
    /// Pieces.
    pub(crate) pieces: usize,
}

impl From<u64> for Longest {
    fn from(bytes: u64) -> Self {
        Longest { bytes, pieces: usize::MAX }
    }
}

/// Joins pieces that lie together to requests that are not longer than told. Every piece is in exactly one request, which
/// covers it.
pub(crate) fn join<T>(pieces: Vec<Piece<T>>, longest: impl Into<Longest>) -> Vec<Request<T>> {
    join_within(pieces, longest, GAP)
}

/// The same for pieces that are at most `gap` bytes apart.
pub(super) fn join_within<T>(pieces: Vec<Piece<T>>, longest: impl Into<Longest>, gap: u64) -> Vec<Request<T>> {
    join_where(pieces, longest.into(), |_, _| gap)
}

/// The same for pieces that lie in rows.
pub(super) fn join_rows<T>(pieces: Vec<Piece<T>>, longest: impl Into<Longest>) -> Vec<Request<T>> {
    let wanted = |last: &Request<T>, piece: &Piece<T>| (last.end - last.start).saturating_add(piece.length);
    join_where(pieces, longest.into(), |last, piece| wanted(last, piece).clamp(GAP, WIDE_GAP))
}

/// Joins pieces of which `gap` says how far they may be apart.
fn join_where<T>(
    mut pieces: Vec<Piece<T>>,
    longest: Longest,
    gap: impl Fn(&Request<T>, &Piece<T>) -> u64,
) -> Vec<Request<T>> {
    // By handle: two of one URL may be of different versions, and positions of one mean nothing in the other.
    pieces.sort_by(|a, b| {
        let place = |piece: &Piece<T>| (piece.object.handle(), piece.start);
        a.object.url().cmp(b.object.url()).then_with(|| place(a).cmp(&place(b)))
    });
    let mut requests: Vec<Request<T>> = Vec::new();
    for piece in pieces {
        let end = piece.start.saturating_add(piece.length);
        match requests.last_mut() {
            Some(last)
                if last.object.handle() == piece.object.handle()
                    && piece.start <= last.end.saturating_add(gap(last, &piece))
                    && (end <= last.end || end - last.start <= longest.bytes)
                    && last.pieces.len() < longest.pieces =>
            {
                last.end = last.end.max(end);
                last.pieces.push(piece);
            }
            _ => {
                let object = piece.object.clone();
                requests.push(Request { object, start: piece.start, end, pieces: vec![piece] });
            }
        }
    }
    requests
}
