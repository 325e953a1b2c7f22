//! The journal of an array as the blocks that are fetched see it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::array::ArrayExport;
use super::error::ExportError;
use super::outage::Outage;
use super::versions::ObservedVersions;
use crate::geometry::CellIndex;
use crate::volume::{BulkRead, InFlightLimit, Journal};

/// Keeps what is fetched for an array.
pub(super) struct ExportBlockLog {
    array: Arc<ArrayExport>,
    versions: Arc<ObservedVersions>,
    outage: Arc<Outage>,
    failure: Mutex<Option<ExportError>>,
}

impl ExportBlockLog {
    pub(super) fn new(
        array: &Arc<ArrayExport>,
        versions: &Arc<ObservedVersions>,
        outage: &Arc<Outage>,
    ) -> Arc<ExportBlockLog> {
        let (array, versions, outage) = (array.clone(), versions.clone(), outage.clone());
        Arc::new(ExportBlockLog { array, versions, outage, failure: Mutex::default() })
    }

    /// How the array's blocks are fetched.
    pub(super) fn bulk_read(self: &Arc<Self>, window: &Arc<InFlightLimit>) -> BulkRead {
        BulkRead { journal: self.clone(), window: window.clone() }
    }

    /// An error where something could not be kept.
    pub(super) fn check(&self) -> Result<(), ExportError> {
        self.failure.lock().take().map_or(Ok(()), Err)
    }
}

impl Journal for ExportBlockLog {
    fn has(&self, block: CellIndex) -> bool {
        self.array.journal.has(block)
    }

    fn get(&self, block: CellIndex) -> Option<Bytes> {
        self.array.journal.get(block)
    }

    fn put(&self, blocks: Vec<(CellIndex, Bytes)>) {
        self.outage.served();
        // First the versions, so that an interrupted export knows what it is made of.
        let kept = self.versions.save().and_then(|()| {
            let kept = self.array.journal.put(&blocks);
            kept.map_err(ExportError::write(self.array.journal.folder().display().to_string()))
        });
        if let Err(error) = kept {
            self.failure.lock().get_or_insert(error);
        }
    }

    fn forget(&self, block: CellIndex) {
        self.array.journal.release(&[block]);
    }
}
