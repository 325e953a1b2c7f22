//! What one request asks for, whichever way it goes.

use std::ops::Range;

/// What one request asks for.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// Which bytes; all where there is none.
    pub range: Option<Range<u64>>,
    /// The ETag that the object must have.
    pub if_match: Option<&'a str>,
    /// Whether no cache on the way may answer.
    pub past_caches: bool,
}
