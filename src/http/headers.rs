//! Headers of answers.

use hyper::header::HeaderValue;

/// The value of a header.
pub(super) fn value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}
