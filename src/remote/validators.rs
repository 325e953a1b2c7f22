//! What an origin says of an object's version, and what says nothing although a header holds it.
//!
//! An ETag without a text is the same for all versions of all objects, and so is the date of a server that has none to tell.
//! Taken for a name, it would hide that an object was replaced by another one of its length.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer};

/// Texts of ETags that programs make of a value that they do not have.
const PLACEHOLDERS: [&str; 6] = ["null", "(null)", "none", "nil", "undefined", "-"];

/// An ETag, where it tells versions apart.
pub(super) fn etag(text: String) -> Option<String> {
    let opaque = text.get(2..).filter(|_| is_weak(&text)).unwrap_or(&text);
    let opaque = opaque.trim_matches(|letter: char| letter == '"' || letter.is_whitespace());
    let says_nothing = opaque.is_empty() || PLACEHOLDERS.iter().any(|none| opaque.eq_ignore_ascii_case(none));
    (!says_nothing).then_some(text)
}

/// Whether an ETag may be the same for other bytes, as long as they mean the same (RFC 9110, 8.8.1).
pub(crate) fn is_weak(etag: &str) -> bool {
    etag.starts_with("W/") || etag.starts_with("w/")
}

/// Whether an ETag may stand in `If-Match`, which compares strongly (RFC 9110, 13.1.1), with each byte as it came.
pub(super) fn is_strong(etag: &str) -> bool {
    etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"') && etag.is_ascii()
}

/// A `Last-Modified`, where it tells versions apart: the first second of 1970 and what has no digit are of nothing.
pub(super) fn last_modified(text: String) -> Option<String> {
    let is_unset = httpdate::parse_http_date(&text).is_ok_and(|date| date == SystemTime::UNIX_EPOCH);
    let is_date = text.bytes().any(|byte| byte.is_ascii_alphanumeric()) && text != "0" && text != "-1";
    (is_date && !is_unset).then_some(text)
}

/// Reads an ETag that was kept, by whichever version of emfs.
pub(super) fn kept_etag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.and_then(etag))
}

/// The same of a date.
pub(super) fn kept_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.and_then(last_modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_without_a_text_is_none() {
        for empty in [
            "",
            "\"\"",
            "W/\"\"",
            "w/\"\"",
            "W/",
            "\"",
            "\" \"",
            "W/\" \"",
            "\"null\"",
            "\"None\"",
            "\"-\"",
            "W/\"undefined\"",
        ] {
            assert_eq!(etag(empty.to_owned()), None, "{empty}");
        }
        for tag in ["\"a\"", "W/\"a\"", "a", "\"0\"", "\"W/\"", "\"nullable\""] {
            assert_eq!(etag(tag.to_owned()).as_deref(), Some(tag));
        }
    }

    #[test]
    fn a_date_that_every_object_has_is_none() {
        for unset in ["", "-", "0", "-1", "Thu, 01 Jan 1970 00:00:00 GMT", "Thursday, 01-Jan-70 00:00:00 GMT"] {
            assert_eq!(last_modified(unset.to_owned()), None, "{unset}");
        }
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Thu, 01 Jan 1970 00:00:01 GMT", "monday"] {
            assert_eq!(last_modified(date.to_owned()).as_deref(), Some(date));
        }
    }

    #[test]
    fn weak_etags_and_those_beyond_ascii_are_not_sent() {
        assert!(is_strong("\"a\""));
        assert!(!is_strong("W/\"a\"") && !is_strong("\"") && !is_strong("a") && !is_strong("\"ä\""));
    }
}
