//! A volume whose voxels follow each other in one file. Blocks are bands of rows.

use bytes::Bytes;

use super::planes::little_endian;
use super::{Placement, SourceError};
use crate::geometry::{CellIndex, Grid};
use crate::store::Object;

/// Where the voxels are, and how they are stored.
#[derive(Debug, Clone)]
pub(super) struct Contiguous {
    /// The file.
    pub object: Object,
    /// The volume and its blocks.
    pub grid: Grid,
    /// Where the voxels begin.
    pub offset: u64,
    /// Bytes of a voxel as it is stored.
    pub item: usize,
    /// Whether its most significant byte comes first.
    pub big_endian: bool,
    /// The field of the file that errors are about.
    pub field: &'static str,
}

impl Contiguous {
    /// Where the rows of a block lie.
    pub fn locate(&self, block: CellIndex) -> Result<Placement, SourceError> {
        self.check(block)?;
        let (start, length) = self.run(block).ok_or_else(|| self.wrong("it reaches beyond 2⁶⁴ bytes".into()))?;
        Ok(Placement::Range { object: self.object.clone(), start, length })
    }

    /// The voxels of a block from its bytes, least significant bytes first.
    pub fn numbers(&self, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        self.check(block)?;
        if self.grid.region(block).shape().bytes(self.item) != Some(raw.len() as u64) {
            return Err(self.wrong(format!("block {block} came with {} bytes", raw.len())));
        }
        Ok(little_endian(raw, self.item, self.big_endian))
    }

    /// The first byte of a block and its length.
    fn run(&self, block: CellIndex) -> Option<(u64, u64)> {
        let [_, height, width] = self.grid.shape.0;
        let row = width.checked_mul(self.item as u64)?;
        let region = self.grid.region(block);
        let rows = block.0[0].checked_mul(height)?.checked_add(region.start[1])?;
        Some((rows.checked_mul(row)?.checked_add(self.offset)?, region.shape().0[1].checked_mul(row)?))
    }

    fn check(&self, block: CellIndex) -> Result<(), SourceError> {
        match self.grid.contains(block) {
            true => Ok(()),
            false => Err(self.wrong(format!("block {block} lies outside of the volume"))),
        }
    }

    fn wrong(&self, reason: String) -> SourceError {
        SourceError::malformed(self.object.url(), self.field, reason)
    }
}
