//! One object at an origin.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Location, Manners, RemoteError};
use crate::stats::Stats;

/// Connections, limits and counters that all objects share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {}

impl Remote {
    /// `timeout`: an operation fails when it made no progress (4 KiB/s) for so long.
    pub fn new(_manners: Manners, _timeout: Duration, _stats: Arc<Stats>) -> Result<Self, RemoteError> {
        Ok(Remote {})
    }

    /// A handle of the object at `location`. Uses no network.
    pub fn object(&self, location: &Location) -> Result<Object, RemoteError> {
        Ok(Object { location: location.clone() })
    }
}

/// A handle of one object: remembers its ETag and length from the first answer and refuses any other. Cheap to clone;
/// clones share what they remember.
#[derive(Debug, Clone)]
pub struct Object {
    location: Location,
}

/// Bytes with what the origin said about the whole object.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes asked for.
    pub bytes: Bytes,
    /// Length of the whole object.
    pub total: Option<u64>,
    /// ETag as sent, quotes included.
    pub etag: Option<String>,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
}

impl Object {
    /// The address, for messages.
    pub fn url(&self) -> &str {
        self.location.url.as_str()
    }

    /// Exactly `range`, which must not be empty.
    pub async fn range(&self, range: Range<u64>) -> Result<Fetched, RemoteError> {
        let _ = range;
        unimplemented!()
    }

    /// The first `length` bytes, fewer only where the object is shorter; `total` is always known.
    pub async fn start(&self, length: u64) -> Result<Fetched, RemoteError> {
        let _ = length;
        unimplemented!()
    }

    /// The whole object, refused as [`super::Cause::Protocol`] when longer than `limit`.
    pub async fn whole(&self, limit: u64) -> Result<Fetched, RemoteError> {
        let _ = limit;
        unimplemented!()
    }
}
