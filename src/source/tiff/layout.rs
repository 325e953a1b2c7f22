//! Where the directory of a section is expected, after that of the first one, so that it comes with the file's header.
//!
//! Nothing is believed of it: what comes is parsed as that of any file, and what is found to lie elsewhere is read there.

use std::ops::Range;

use bytes::Bytes;
use futures::future::{Either, select};

use crate::remote::{Fetched, RemoteError};
use crate::store::Object;

/// Bytes of the longest header.
pub(super) const HEADER: u64 = 16;
/// Longest directory, with all that it refers to, that is fetched in one piece.
const MAX_LAYOUT: u64 = 512 << 10;
/// A file so short is read whole rather than its two ends one by one.
const SHORT: u64 = 256 << 10;
/// By so much the texts of a directory may be longer than the first one's.
const SLACK: u64 = 512;

/// What the first section is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the file.
    total: u64,
    /// First and last byte of its directory and what that refers to, without the header.
    start: u64,
    end: u64,
    /// Whether files of the same shape are equally long.
    is_plain: bool,
}

/// The beginning of a file, and what else of it came with that: where it begins and its bytes.
pub(super) type Beginning = (Fetched, Option<(u64, Bytes)>);

impl Layout {
    /// `directory`: the bytes of the file from which it was understood; `None` where they are scattered.
    pub(super) fn new(total: u64, directory: Range<u64>, is_plain: bool) -> Option<Layout> {
        let Range { start, end } = directory;
        (end.saturating_sub(start) <= MAX_LAYOUT).then_some(Layout { total, start, end, is_plain })
    }

    /// The beginning of another such file, of which at least `front` bytes are read where its directory is not expected
    /// somewhere else.
    pub(super) async fn fetch(self, object: &Object, front: u64) -> Result<Beginning, RemoteError> {
        let first = if self.start < front && self.end <= MAX_LAYOUT {
            self.end.saturating_add(SLACK)
        } else if self.total <= SHORT {
            self.total
        } else if self.is_plain {
            return self.fetch_both(object).await;
        } else {
            front
        };
        Ok((object.start(first).await?, None))
    }

    /// The header, and the directory far behind it, at once.
    async fn fetch_both(self, object: &Object) -> Result<Beginning, RemoteError> {
        let header = Box::pin(object.start(HEADER));
        let directory = Box::pin(object.range(self.start..self.end));
        let (header, directory) = match select(header, directory).await {
            Either::Left((header, directory)) => {
                let header = header?;
                // It would have to be asked for in vain.
                if header.total != Some(self.total) {
                    return Ok((header, None));
                }
                (header, directory.await)
            }
            Either::Right((directory, header)) => (header.await?, directory),
        };
        let is_like = header.total == Some(self.total);
        match directory {
            Ok(directory) if is_like => Ok((header, Some((self.start, directory.bytes)))),
            Err(error) if is_like => Err(error),
            _ => Ok((header, None)),
        }
    }
}
