//! Conditions of requests (RFC 9110, section 13): what a client has already, and whether a part of that is worth having.

use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};

use crate::byte_range::{RequestedRange, wanted};

/// What the conditions of a request come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client has it is.
    NotModified,
    /// It is not what the client wants to read on from.
    Changed,
    /// It is to be sent, so much of it.
    Send(RequestedRange),
}

/// Weighs the conditions of a request for content of `length` bytes with this tag.
pub(super) fn weigh(headers: &HeaderMap, tag: &str, length: u64) -> Outcome {
    let strong = |listed: &str| listed == tag;
    if let Some(listed) = text(headers, IF_MATCH)
        && !matches(&listed, strong)
    {
        return Outcome::Changed;
    }
    if let Some(listed) = text(headers, IF_NONE_MATCH)
        && matches(&listed, |listed| listed.strip_prefix("W/").unwrap_or(listed) == tag)
    {
        return Outcome::NotModified;
    }
    let is_same = text(headers, IF_RANGE).is_none_or(|listed| strong(listed.trim()));
    let range = text(headers, RANGE).filter(|_| is_same);
    Outcome::Send(wanted(range.as_deref(), length))
}

/// All lines of a header as one.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Whether a list of tags has one that is the same. No tag of ours has a comma in it.
fn matches(listed: &str, is_same: impl Fn(&str) -> bool) -> bool {
    listed.split(',').map(str::trim).any(|listed| listed == "*" || is_same(listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(headers: &[(HeaderName, &str)]) -> Outcome {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        weigh(&headers, "\"a\"", 10)
    }

    #[test]
    fn a_client_that_has_it_gets_it_not_again() {
        for has in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert_eq!(outcome(&[(IF_NONE_MATCH, has)]), Outcome::NotModified, "{has}");
        }
        assert_eq!(
            outcome(&[(IF_NONE_MATCH, "\"b\""), (RANGE, "bytes=1-2")]),
            Outcome::Send(RequestedRange::Part(1..3))
        );
        assert_eq!(outcome(&[(IF_MATCH, "\"b\"")]), Outcome::Changed);
        assert_eq!(outcome(&[(IF_MATCH, "\"a\"")]), Outcome::Send(RequestedRange::Whole));
    }

    #[test]
    fn a_part_of_what_has_changed_is_all_of_it() {
        let range = (RANGE, "bytes=-4");
        assert_eq!(outcome(&[range.clone(), (IF_RANGE, "\"a\"")]), Outcome::Send(RequestedRange::Part(6..10)));
        for other in ["\"b\"", "W/\"a\"", "Thu, 01 Jan 2026 00:00:00 GMT"] {
            assert_eq!(outcome(&[range.clone(), (IF_RANGE, other)]), Outcome::Send(RequestedRange::Whole), "{other}");
        }
    }
}
