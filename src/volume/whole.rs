//! Objects that are one block each.

use bytes::Bytes;

use super::block::BlockKey;
use super::image::Image;
use crate::remote::Compression;
use crate::source::SourceError;
use crate::store::{Object, Witness};

/// An object that is one block.
pub(super) struct Whole {
    pub(super) object: Object,
    /// Its longest valid body.
    pub(super) limit: u64,
    /// Where it is a compressed file, how it is and the longest that it may hold.
    pub(super) packed: Option<(Compression, u64)>,
    /// What bears out that it is absent.
    pub(super) witness: Witness,
}

impl Whole {
    pub(super) fn new(object: Object, limit: u64, witness: Witness) -> Self {
        Whole { object, limit, packed: None, witness }
    }

    /// A compressed file that holds at most `limit` bytes.
    pub(super) fn packed(object: Object, compression: Compression, limit: u64, witness: Witness) -> Self {
        // No such file is much longer than what it holds.
        let stored = limit.saturating_add(limit / 128).saturating_add(1 << 10);
        Whole { object, limit: stored, packed: Some((compression, limit)), witness }
    }

    /// Its bytes; nothing where the block is absent.
    pub(super) async fn fetch(&self, image: &Image, key: BlockKey) -> Result<Option<Bytes>, SourceError> {
        let fetched = self.object.whole_if_there(self.limit, &self.witness).await?;
        if fetched.is_none() {
            image.bear_out_absence(key.level, key.index).await?;
        }
        Ok(fetched.map(|fetched| fetched.bytes))
    }

    /// Bytes of memory that it takes to fetch it, its voxels aside.
    pub(super) fn needed(&self) -> u64 {
        self.limit.saturating_add(self.packed.map_or(0, |(_, most)| most))
    }
}
