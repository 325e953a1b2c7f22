//! Which ranges to ask for: neighbouring blocks of one object are one request.

use std::ops::Range;

use crate::store::{CachedExtent, Object, off_the_runtime};

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
}

/// Pieces whose bytes are kept on this machine, and those whose bytes are not.
pub(crate) async fn kept_apart<T>(pieces: Vec<Piece<T>>) -> (Vec<Piece<T>>, Vec<Piece<T>>) {
    let answers = are_kept(&pieces).await;
    let (mut kept, mut missing) = (Vec::new(), Vec::new());
    for (piece, is_kept) in pieces.into_iter().zip(answers) {
        if is_kept { kept.push(piece) } else { missing.push(piece) }
    }
    (kept, missing)
}

/// Of each piece whether its bytes are kept on this machine. The disk is asked once for all of them, and not on the caller's
/// thread.
pub(crate) async fn are_kept<T>(pieces: &[Piece<T>]) -> Vec<bool> {
    ask_of_each(pieces, |object, range| object.has(range)).await
}

/// How many bytes of each range are kept on this machine, asked in the same way.
pub(crate) async fn kept_bytes(ranges: Vec<(Object, Range<u64>)>) -> Vec<u64> {
    let nothing = vec![0; ranges.len()];
    let ask = move || ranges.iter().map(|(object, range)| object.kept_bytes(range)).collect();
    off_the_runtime(ask).await.unwrap_or(nothing)
}

/// What is kept of each object as a whole, asked in the same way.
pub(crate) async fn kept_wholes(objects: Vec<Object>) -> Vec<CachedExtent> {
    let nothing = vec![CachedExtent::Unknown; objects.len()];
    off_the_runtime(move || objects.iter().map(Object::kept_whole).collect()).await.unwrap_or(nothing)
}

/// Whether all pieces can be had from the disk without asking an origin, as far as can be said without reading them.
pub(crate) async fn are_at_hand<T>(pieces: &[Piece<T>]) -> bool {
    ask_of_each(pieces, |object, range| object.is_at_hand(Some(range))).await.into_iter().all(|is_at_hand| is_at_hand)
}

/// Whether an object can be had as a whole from the disk without asking its origin.
pub(crate) async fn is_at_hand(object: &Object) -> bool {
    let asked = object.clone();
    object.may_be_kept() && off_the_runtime(move || asked.is_at_hand(None)).await.unwrap_or(false)
}

/// The answers of a question about the bytes of each piece; no for objects of which nothing can be kept.
async fn ask_of_each<T>(pieces: &[Piece<T>], question: fn(&Object, &Range<u64>) -> bool) -> Vec<bool> {
    if !pieces.iter().any(|piece| piece.object.may_be_kept()) {
        return vec![false; pieces.len()];
    }
    let asked: Vec<_> = pieces.iter().map(|piece| (piece.object.clone(), piece.range())).collect();
    let answers = off_the_runtime(move || asked.iter().map(|(object, range)| question(object, range)).collect()).await;
    answers.unwrap_or_else(|| vec![false; pieces.len()])
}

/// One range to fetch and the pieces in it, by their first byte.
pub(crate) struct PlannedRequest<T> {
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
pub(crate) fn join<T>(pieces: Vec<Piece<T>>, longest: impl Into<Longest>) -> Vec<PlannedRequest<T>> {
    join_within(pieces, longest, GAP)
}

/// The same for pieces that are at most `gap` bytes apart.
pub(super) fn join_within<T>(pieces: Vec<Piece<T>>, longest: impl Into<Longest>, gap: u64) -> Vec<PlannedRequest<T>> {
    join_where(pieces, longest.into(), |_, _| gap)
}

/// The same for pieces that lie in rows.
pub(super) fn join_rows<T>(pieces: Vec<Piece<T>>, longest: impl Into<Longest>) -> Vec<PlannedRequest<T>> {
    let wanted = |last: &PlannedRequest<T>, piece: &Piece<T>| (last.end - last.start).saturating_add(piece.length);
    join_where(pieces, longest.into(), |last, piece| wanted(last, piece).clamp(GAP, WIDE_GAP))
}

/// Joins pieces of which `gap` says how far they may be apart.
fn join_where<T>(
    mut pieces: Vec<Piece<T>>,
    longest: Longest,
    gap: impl Fn(&PlannedRequest<T>, &Piece<T>) -> u64,
) -> Vec<PlannedRequest<T>> {
    // By handle: two of one URL may be of different versions, and positions of one mean nothing in the other.
    pieces.sort_by(|a, b| {
        let place = |piece: &Piece<T>| (piece.object.handle(), piece.start);
        a.object.url().cmp(b.object.url()).then_with(|| place(a).cmp(&place(b)))
    });
    let mut requests: Vec<PlannedRequest<T>> = Vec::new();
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
                requests.push(PlannedRequest { object, start: piece.start, end, pieces: vec![piece] });
            }
        }
    }
    requests
}
