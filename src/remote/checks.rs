//! What an answer must look like to be the answer to a request. The same for every transport.

use std::ops::Range;
use std::time::SystemTime;

use super::Cause;
use super::backoff::{FailedAttempt, retry_after};
use super::head::{ContentRange, Head, shorten};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RangeRequest {
    /// Exactly these bytes; not empty.
    Range(Range<u64>),
    /// The first so many bytes, fewer where the object is shorter; not 0.
    Start(u64),
    /// The last so many bytes, fewer where the object is shorter; not 0.
    End(u64),
    /// The whole object, at most so many bytes.
    Whole(u64),
}

impl RangeRequest {
    /// The bytes that the request names, as far as they can be named before the object's length is known.
    pub(crate) fn range(&self) -> Option<Range<u64>> {
        match self {
            RangeRequest::Range(range) => Some(range.clone()),
            RangeRequest::Start(length) => Some(0..*length),
            RangeRequest::End(_) | RangeRequest::Whole(_) => None,
        }
    }

    /// Where the `length` bytes of an answer are; `total`: length of the object, where it is known.
    pub(crate) fn place(&self, length: u64, total: Option<u64>) -> Range<u64> {
        let start = match self {
            RangeRequest::Range(range) => range.start,
            RangeRequest::End(_) => total.unwrap_or(length).saturating_sub(length),
            RangeRequest::Start(_) | RangeRequest::Whole(_) => 0,
        };
        start..start.saturating_add(length)
    }

    /// Whether it can be asked at all.
    pub(super) fn check(&self) -> Result<(), Cause> {
        let empty = self.range().is_some_and(|range| range.is_empty()) || *self == RangeRequest::End(0);
        let longest = match self {
            RangeRequest::Range(range) => range.end.saturating_sub(range.start),
            RangeRequest::Start(length) | RangeRequest::End(length) => *length,
            RangeRequest::Whole(_) => 0,
        };
        if empty {
            Err(Cause::Request("an empty range".into()))
        } else if usize::try_from(longest).is_err() {
            Err(Cause::Request(format!("{longest} bytes do not fit into memory")))
        } else {
            Ok(())
        }
    }
}

/// How long the body has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Exactly(u64),
    AtMost(u64),
    /// There are no bytes to read: the object is empty.
    Empty,
}

/// What a head that passed promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExpectedBody {
    pub length: Length,
    /// Length of the whole object; known at the end of the body at the latest, except where the origin hides it.
    pub total: Option<u64>,
}

/// Compares an answer's head with the request. `known`: a version of the object was seen before; `conditional`: the
/// request had an `If-Match`.
pub(super) fn expected_body(
    ask: &RangeRequest,
    head: &Head,
    known: bool,
    conditional: bool,
) -> Result<ExpectedBody, FailedAttempt> {
    match head.status {
        200 | 206 => {}
        // What was taken away is not what never was, and an absent chunk is shown as fill value.
        410 => return Err(FailedAttempt::doubtful(Cause::Gone(head.status))),
        404 if known => return Err(FailedAttempt::doubtful(Cause::Gone(head.status))),
        404 => return Err(FailedAttempt::doubtful(Cause::NotFound)),
        401 | 403 => return Err(FailedAttempt::doubtful(Cause::Denied(head.status))),
        412 if conditional => {
            return Err(FailedAttempt::doubtful(Cause::Changed("the pinned ETag does not match".into())));
        }
        416 => return unsatisfied(ask, head),
        301 | 302 | 303 | 307 | 308 => return Err(FailedAttempt::doubtful(Cause::Elsewhere(elsewhere(head)))),
        400 if head.region.is_some() => return Err(FailedAttempt::doubtful(Cause::Elsewhere(elsewhere(head)))),
        408 | 429 | 500 | 502 | 503 | 504 => {
            let wish = head.retry_after.as_deref().and_then(|text| retry_after(text, SystemTime::now()));
            return Err(FailedAttempt::later(head.status, wish));
        }
        other => return Err(FailedAttempt::doubtful(Cause::Status(other))),
    }
    // Object stores give what was uploaded with an encoding, whatever is asked for. A range of it would be one of the
    // encoded bytes, so that only the whole can be decoded.
    let is_whole = matches!((ask, head.status), (RangeRequest::Whole(_), 200));
    if !head.compression().is_ok_and(|compression| is_whole || compression.is_none()) {
        let coding = head.content_encoding.as_deref().map(shorten).unwrap_or_default();
        return Err(FailedAttempt::invalid(format!("Content-Encoding `{coding}` though identity was asked for")));
    }
    match (ask, head.status) {
        (RangeRequest::Whole(limit), 200) => whole(*limit, head),
        (RangeRequest::Whole(_), _) => {
            Err(FailedAttempt::invalid("a part (status 206) though the whole was asked for"))
        }
        (RangeRequest::Range(range), 200) => match head.content_length {
            Some(length) if range.start == 0 && length == range.end => exactly(length, Some(length), head),
            _ => Err(ignores_ranges(head)),
        },
        (RangeRequest::Start(most) | RangeRequest::End(most), 200) => match head.content_length {
            Some(length) if length <= *most => exactly(length, Some(length), head),
            _ => Err(ignores_ranges(head)),
        },
        (RangeRequest::Range(range), _) => {
            let (part, total) = part(head)?;
            if part != *range {
                return Err(FailedAttempt::invalid(format!("bytes {} instead", show(head))));
            }
            exactly(part.end - part.start, total, head)
        }
        (RangeRequest::Start(most) | RangeRequest::End(most), _) => {
            let (part, total) = part(head)?;
            // The last bytes end where the object does. From the first one on may be what is given where ends are not known.
            let is_end = matches!(ask, RangeRequest::End(_)) && part.start > 0 && part.end - part.start == *most;
            let Some(total) = total.or(is_end.then_some(part.end)) else {
                return Err(FailedAttempt::invalid(format!("Content-Range `{}` hides the total length", show(head))));
            };
            if part != ask.place(total.min(*most), Some(total)) {
                return Err(FailedAttempt::invalid(format!("bytes {} instead", show(head))));
            }
            exactly(part.end - part.start, Some(total), head)
        }
    }
}

/// What is known of where an object is that is not where it was asked for.
fn elsewhere(head: &Head) -> String {
    let status = head.status;
    let Some(region) = &head.region else {
        return format!("status {status} without a Location; write the address that has the object, or its `endpoint`");
    };
    let region = shorten(region);
    format!(
        "status {status} with x-amz-bucket-region: {region}; write `endpoint = \"https://s3.{region}.amazonaws.com\"` beside \
         `url`, or the region into the address, and AWS_REGION={region} where credentials are used"
    )
}

fn whole(limit: u64, head: &Head) -> Result<ExpectedBody, FailedAttempt> {
    match head.content_length {
        Some(length) if length > limit => Err(FailedAttempt::doubtful(Cause::TooLong { length, limit })),
        Some(length) => Ok(ExpectedBody { length: Length::Exactly(length), total: Some(length) }),
        None if head.delimited => Ok(ExpectedBody { length: Length::AtMost(limit), total: None }),
        None => Err(FailedAttempt::invalid("a body without length, which may have been cut")),
    }
}

fn exactly(length: u64, total: Option<u64>, head: &Head) -> Result<ExpectedBody, FailedAttempt> {
    match head.content_length {
        Some(announced) if announced != length => {
            Err(FailedAttempt::malformed_body(format!("a body of {announced} bytes instead of {length}")))
        }
        _ => Ok(ExpectedBody { length: Length::Exactly(length), total }),
    }
}

fn part(head: &Head) -> Result<(Range<u64>, Option<u64>), FailedAttempt> {
    match head.content_range.as_deref().and_then(ContentRange::parse) {
        Some(ContentRange::Part { start, end, total }) => Ok((start..end, total)),
        _ => Err(FailedAttempt::invalid(format!("status 206 with Content-Range `{}`", show(head)))),
    }
}

fn unsatisfied(ask: &RangeRequest, head: &Head) -> Result<ExpectedBody, FailedAttempt> {
    match (ask, head.content_range.as_deref().and_then(ContentRange::parse)) {
        (RangeRequest::Start(_) | RangeRequest::End(_), Some(ContentRange::Unsatisfied { total: 0 })) => {
            Ok(ExpectedBody { length: Length::Empty, total: Some(0) })
        }
        (_, Some(ContentRange::Unsatisfied { total })) => {
            Err(FailedAttempt::invalid(format!("the range is outside of the object's {total} bytes")))
        }
        _ => Err(FailedAttempt::invalid("the range cannot be satisfied (status 416)")),
    }
}

fn ignores_ranges(head: &Head) -> FailedAttempt {
    let kind = head.content_type.as_deref().map_or_else(String::new, |kind| format!(", {}", shorten(kind)));
    let length = head.content_length.map_or_else(String::new, |length| format!(", {length} bytes"));
    FailedAttempt::invalid(format!(
        "the origin ignores ranges (status 200 to a range{kind}{length}); put the data on a server that knows them (nginx, Apache, a \
         bucket), or write the path of a copy"
    ))
}

fn show(head: &Head) -> String {
    head.content_range.as_deref().map_or_else(|| "none".to_owned(), shorten)
}

#[cfg(test)]
#[path = "checks/tests.rs"]
mod tests;
