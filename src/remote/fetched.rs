//! What comes of an operation.

use bytes::Bytes;

/// Bytes with what the origin said about the whole object.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes asked for.
    pub bytes: Bytes,
    /// Length of the whole object.
    pub total: Option<u64>,
    /// ETag as sent, quotes included.
    pub etag: Option<String>,
    /// `Last-Modified` as sent.
    pub last_modified: Option<String>,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// Whether `bytes` are not as they were sent, which is compressed.
    pub(crate) decoded: bool,
}
