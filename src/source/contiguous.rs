//! A volume whose voxels follow each other in one file. Blocks are bands of rows.

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::planes::little_endian;
use super::{Description, Placement, Source, SourceError};
use crate::document::Document;
use crate::geometry::{CellIndex, Grid, LevelIndex};
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

/// Makes voxels of the numbers that a file has.
pub(super) type Conversion = Box<dyn Fn(Bytes) -> Bytes + Send + Sync>;

/// Such a volume as a source of one level.
pub struct ContiguousSource {
    pub(super) voxels: Contiguous,
    /// Where its numbers are no voxels yet.
    pub(super) conversion: Option<Conversion>,
    pub(super) description: Description,
    /// What the file says of itself, unless it is a section of a volume whose first one has told that.
    pub(super) document: Option<Document>,
    /// Nanometres per voxel along `z, y, x`, where the file says them or else the configuration.
    pub(super) voxel_size: [Option<f64>; 3],
}

impl Source for ContiguousSource {
    fn description(&self) -> &Description {
        &self.description
    }

    fn documents(&self) -> Vec<Document> {
        self.document.iter().cloned().collect()
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        self.voxel_size
    }

    fn objects(&self, _planes: Range<u64>) -> Option<Vec<Option<Object>>> {
        Some(vec![Some(self.voxels.object.clone())])
    }

    fn locate(&self, _level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move { self.voxels.locate(block) })
    }

    fn decode(&self, _level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let numbers = self.voxels.numbers(block, raw)?;
        Ok(match &self.conversion {
            Some(convert) => convert(numbers),
            None => numbers,
        })
    }
}
