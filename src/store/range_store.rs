//! Where ranges of objects are kept: what a store of them has to do.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::task;

/// The names of what was computed and not fetched begin with it. It costs more to have again, so it is kept for longer.
pub const COMPUTED: &str = "computed ";

/// A piece of an object, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the first byte in the object.
    pub start: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Extent {
    /// The bytes of the object this is.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.bytes.len() as u64)
    }
}

/// Questions that are asked at once: each has a thread of its own, which is lost while the disk hangs.
static ASKING: Semaphore = Semaphore::const_new(8);

/// Asks what is kept, on a thread that may wait: an index answers late where another process writes to it.
pub(crate) async fn off_the_runtime<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // Never closed, and without a permit there would only be more threads.
    let _permit = ASKING.acquire().await;
    task::spawn_blocking(question).await.ok()
}

/// Whether something is kept cannot be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// Keeps bytes of objects by version, and metadata of each object. Several processes may share what is behind it. Who
/// writes never waits; what cannot be kept is not.
pub trait RangeStore: fmt::Debug + Send + Sync {
    /// Whether what is written is kept.
    fn is_writable(&self) -> bool;

    /// The metadata kept of an object. Waits for the disk, so it is not for a thread that serves others.
    fn metadata(&self, object: &str) -> Result<Option<Bytes>, Unavailable>;

    /// The same for whoever must not wait on the thread.
    fn metadata_soon<'a>(&'a self, object: &str) -> BoxFuture<'a, Result<Option<Bytes>, Unavailable>>;

    /// Keeps metadata of an object in place of what there was; [`RangeStore::metadata`] gives it at once.
    fn set_metadata(&self, object: &str, metadata: Bytes);

    /// Keeps metadata, but only where there is none when it would be kept: it may have been lost after it was set, or another
    /// process may have set newer metadata.
    fn restore_metadata(&self, object: &str, metadata: Bytes);

    /// The parts of `range` that are kept of that version of the object, without reading them: in order, neither overlapping
    /// nor touching. Waits for the disk, see [`off_the_runtime`].
    fn covered(&self, object: &str, version: &str, range: Range<u64>) -> Vec<Range<u64>>;

    /// What is kept of `range`, verified: in order, not overlapping. Nothing where that takes too long.
    fn read<'a>(&'a self, object: &str, version: String, range: Range<u64>) -> BoxFuture<'a, Vec<Extent>>;

    /// The bytes of `parts`, of which each begins where the one before ends, verified, each in memory of its own; `None`
    /// where not all of them are kept, or where that takes too long.
    fn read_parts<'a>(
        &'a self,
        object: &str,
        version: String,
        parts: Vec<Range<u64>>,
    ) -> BoxFuture<'a, Option<Vec<Bytes>>>;

    /// Keeps bytes of that version of the object, from `start` on.
    fn write(&self, object: &str, version: &str, start: u64, bytes: Bytes);

    /// Drops all versions of the object and its metadata. Readers of this process find nothing of it at once.
    fn forget(&self, object: &str);

    /// Drops of that version of the object what holds bytes of `range`.
    fn forget_range(&self, object: &str, version: &str, range: &Range<u64>);
}
