//! What an origin says before the body.

use reqwest::Version;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
    RETRY_AFTER, TRANSFER_ENCODING,
};

use super::checksum::{self, Checksum};
use super::compression::Compression;
use super::validators;
use crate::decimal;

/// Where the bucket is, as object stores say it that were asked in another region.
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// The part of an answer that the checks need, the same for every transport.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Head {
    /// HTTP status, or the one that says the same of a file.
    pub status: u16,
    pub content_length: Option<u64>,
    pub content_range: Option<String>,
    pub content_encoding: Option<String>,
    pub content_type: Option<String>,
    /// Where it tells versions apart; so with the date.
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub retry_after: Option<String>,
    /// The region that an object store names where the bucket is in another one than was asked.
    pub region: Option<String>,
    /// What the origin states of the bytes that it sends.
    pub checksums: Vec<Checksum>,
    /// Whether the end of the body can be told from a connection that broke.
    pub delimited: bool,
}

impl Head {
    /// The head of an HTTP answer, or the reason why it cannot be trusted. `is_s3`: the object is in a store that speaks S3.
    pub(super) fn of_http(status: u16, version: Version, headers: &HeaderMap, is_s3: bool) -> Result<Self, String> {
        let content_length = match single(headers, CONTENT_LENGTH)? {
            Some(text) => {
                Some(decimal::unsigned(&text).map_err(|_| format!("Content-Length is `{}`", shorten(&text)))?)
            }
            None => None,
        };
        let delimited =
            content_length.is_some() || headers.contains_key(TRANSFER_ENCODING) || version >= Version::HTTP_2;
        Ok(Head {
            status,
            content_length,
            content_range: single(headers, CONTENT_RANGE)?,
            content_encoding: single(headers, CONTENT_ENCODING)?,
            content_type: single(headers, CONTENT_TYPE)?,
            etag: single(headers, ETAG)?.and_then(validators::etag),
            last_modified: single(headers, LAST_MODIFIED)?.and_then(validators::last_modified),
            retry_after: single(headers, RETRY_AFTER)?,
            region: single(headers, BUCKET_REGION)?,
            checksums: checksum::stated(headers, is_s3),
            delimited,
        })
    }

    /// How the body is compressed (RFC 9110, 8.4), or an error where it is coded in a way that is not undone. Some stores
    /// keep the `aws-chunked` of an upload, which says nothing of the object any more, or an empty text.
    pub(super) fn compression(&self) -> Result<Option<Compression>, String> {
        let text = self.content_encoding.as_deref().unwrap_or_default();
        let mut compression = None;
        for coding in text.split(',').map(str::trim) {
            let means_nothing = ["", "identity", "aws-chunked"].iter().any(|name| coding.eq_ignore_ascii_case(name));
            if means_nothing {
                continue;
            }
            match Compression::coded(coding) {
                Some(known) if compression.is_none() => compression = Some(known),
                _ => return Err(shorten(text)),
            }
        }
        Ok(compression)
    }
}

/// The value of a header that must not be there twice with different values.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, String> {
    let mut values = headers.get_all(&name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(format!("several values of {name}"));
    }
    // ETags and dates are only compared, so bytes beyond ASCII need not be understood; but no two may become one.
    Ok(Some(first.as_bytes().iter().copied().map(char::from).collect::<String>().trim().to_owned()))
}

/// A `Content-Range` (RFC 9110, 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentRange {
    /// `bytes first-last/total`; here the end is the byte after the last.
    Part { start: u64, end: u64, total: Option<u64> },
    /// `bytes */total`: the range asked for is not in the object.
    Unsatisfied { total: u64 },
}

impl ContentRange {
    /// Reads the header's value; `None` if it is malformed or contradicts itself.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim().split_once('/')?;
        if range == "*" {
            return Some(ContentRange::Unsatisfied { total: decimal::unsigned(total).ok()? });
        }
        let total = if total == "*" { None } else { Some(decimal::unsigned(total).ok()?) };
        let (first, last) = range.split_once('-')?;
        let (start, end) = (decimal::unsigned(first).ok()?, decimal::unsigned(last).ok()?.checked_add(1)?);
        let fits = start < end && total.is_none_or(|total| end <= total);
        fits.then_some(ContentRange::Part { start, end, total })
    }
}

/// A remote text, cut to what fits a log line and without control characters.
pub(super) fn shorten(text: &str) -> String {
    const MAX_LETTERS: usize = 100;
    let mut short: String =
        text.chars().take(MAX_LETTERS).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if text.chars().nth(MAX_LETTERS).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
#[path = "head/tests.rs"]
mod tests;
