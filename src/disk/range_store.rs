//! The disk as a store of ranges. What hangs is passed over.

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Disk, FolderAccess};
use crate::store::{Extent, RangeStore, Unavailable};

impl RangeStore for Disk {
    fn is_writable(&self) -> bool {
        self.access() == FolderAccess::ReadWrite
    }

    fn metadata(&self, object: &str) -> Result<Option<Bytes>, Unavailable> {
        self.metadata(object).map_err(|_| Unavailable)
    }

    fn metadata_soon<'a>(&'a self, object: &str) -> BoxFuture<'a, Result<Option<Bytes>, Unavailable>> {
        let object = object.to_owned();
        Box::pin(async move {
            let metadata = self.soon(move |disk| disk.metadata(&object).map_err(|_| Unavailable)).await;
            metadata.unwrap_or(Err(Unavailable))
        })
    }

    fn set_metadata(&self, object: &str, metadata: Bytes) {
        self.set_metadata(object, metadata);
    }

    fn restore_metadata(&self, object: &str, metadata: Bytes) {
        self.restore_metadata(object, metadata);
    }

    fn covered(&self, object: &str, version: &str, range: Range<u64>) -> Vec<Range<u64>> {
        self.covered(object, version, range)
    }

    fn read<'a>(&'a self, object: &str, version: String, range: Range<u64>) -> BoxFuture<'a, Vec<Extent>> {
        let object = object.to_owned();
        Box::pin(async move {
            // A thread that ended without an answer has read nothing.
            self.soon(move |disk| disk.read(&object, &version, range)).await.unwrap_or_default()
        })
    }

    fn read_parts<'a>(
        &'a self,
        object: &str,
        version: String,
        parts: Vec<Range<u64>>,
    ) -> BoxFuture<'a, Option<Vec<Bytes>>> {
        let object = object.to_owned();
        Box::pin(
            async move { self.soon(move |disk| disk.read_parts(&object, &version, &parts)).await.unwrap_or_default() },
        )
    }

    fn write(&self, object: &str, version: &str, start: u64, bytes: Bytes) {
        self.write(object, version, start, bytes);
    }

    fn forget(&self, object: &str) {
        self.forget(object);
    }

    fn forget_range(&self, object: &str, version: &str, range: &Range<u64>) {
        self.forget_range(object, version, range);
    }
}
