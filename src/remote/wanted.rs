//! What one request asks for, whichever way it goes.

use std::ops::Range;

/// The bytes of an object that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WantedBytes {
    Range(Range<u64>),
    /// The last so many.
    End(u64),
}

/// What one request asks for.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// Which bytes; all where there is none.
    pub part: Option<WantedBytes>,
    /// The ETag that the object must have.
    pub if_match: Option<&'a str>,
    /// Whether no cache on the way may answer.
    pub past_caches: bool,
}
