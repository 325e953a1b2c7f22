//! Why bytes could not be had.

use std::fmt;
use std::ops::Range;

/// A fetch that failed for good, after all its attempts.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{url}{} failed after {attempts} attempt{}: {cause}", RangeText(range), if *attempts == 1 { "" } else { "s" })]
pub struct RemoteError {
    /// What was asked for.
    pub url: String,
    /// Which bytes, where not the whole.
    pub range: Option<Range<u64>>,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last attempt ended with.
    pub cause: Cause,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The origin says there is no such object (404, a missing file).
    #[error("not found")]
    NotFound,
    /// The origin refuses (401, 403).
    #[error("access denied (status {0})")]
    Denied(u16),
    /// The system does not let the file be read; says why.
    #[error("access denied: {0}")]
    Forbidden(String),
    /// It is not where it was asked for; says where it is, as far as that is known.
    #[error("not at this address: {0}")]
    Elsewhere(String),
    /// It was there before, and the origin says now that it is not (404), or says itself that it was (410). What is kept of it is still used.
    #[error("not at the origin any more (status {0}); what is not kept of it cannot be read until it is back")]
    Gone(u16),
    /// The origin says there is no such object, and what should bear that out does not.
    #[error("said to be absent, which is not believed: {0}")]
    Unconfirmed(String),
    /// The object is not the one seen first under this mount.
    #[error("changed at the origin, remount ({0})")]
    Changed(String),
    /// Another status than the one that answers the request.
    #[error("status {0}")]
    Status(u16),
    /// The answer is not what was asked for: another range, a wrong length, HTML.
    #[error("invalid response: {0}")]
    Protocol(String),
    /// The object is longer than what is expected; `length` as far as that is known.
    #[error("invalid response: {length} bytes or more where at most {limit} are expected")]
    TooLong { length: u64, limit: u64 },
    /// The connection failed or broke.
    #[error("connection: {0}")]
    Connection(String),
    /// This machine may open no more files.
    #[error("not asked: {0}")]
    Exhausted(String),
    /// The environment's credentials are missing, incomplete or could not be had.
    #[error("credentials: {0}")]
    Credentials(String),
    /// What was asked for cannot be asked: an empty range, an address of another scheme.
    #[error("cannot be asked: {0}")]
    Request(String),
    /// The origin is not asked, and the bytes are not kept here; says why it is not asked.
    #[error("offline: {0}")]
    Offline(String),
    /// Nothing came for as long as the timeout allows. `before`: how the attempt before the last one ended, if there was one.
    #[error("no progress for {seconds} s{}", BeforeText(before))]
    Timeout { seconds: u64, before: Option<Box<Cause>> },
}

impl RemoteError {
    /// Whether the object is said to be another one than before.
    pub(super) fn is_change(&self) -> bool {
        matches!(self.cause, Cause::Changed(_))
    }
}

struct RangeText<'a>(&'a Option<Range<u64>>);

impl fmt::Display for RangeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(range) => write!(f, " bytes {}-{}", range.start, range.end.saturating_sub(1)),
            None => Ok(()),
        }
    }
}

struct BeforeText<'a>(&'a Option<Box<Cause>>);

impl fmt::Display for BeforeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(cause) => write!(f, ", before that: {cause}"),
            None => Ok(()),
        }
    }
}

impl Cause {
    /// The end of a time of so many seconds in which nothing came.
    pub(crate) fn timeout(seconds: u64) -> Self {
        Cause::Timeout { seconds, before: None }
    }

    /// The same, with how the last attempt ended that did end, where the time was over during the next.
    pub(super) fn after(self, last: Option<Cause>) -> Self {
        match (self, last) {
            (Cause::Timeout { seconds, .. }, Some(last)) if !matches!(last, Cause::Timeout { .. }) => {
                Cause::Timeout { seconds, before: Some(Box::new(last)) }
            }
            (cause, _) => cause,
        }
    }

    /// Whether it is an answer that another one may contradict.
    pub fn is_answer(&self) -> bool {
        self.is_invalid() || matches!(self, Cause::NotFound | Cause::Gone(_) | Cause::Changed(_))
    }

    /// Whether it is an answer that is not what was asked for.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Cause::Protocol(_) | Cause::TooLong { .. })
    }
}
