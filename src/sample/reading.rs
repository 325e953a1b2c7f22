//! Voxels of boxes of images, for who reads many of them without a mount.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;

use super::SampleError;
use super::mask::{LabelsInside, Mask};
use crate::cache::Held;
use crate::dtype::DataType;
use crate::geometry::{Grid, LevelIndex, Region, Shape};
use crate::stats::Stats;
use crate::volume::{Blocks, ChunkGeometry, ChunkKey, Chunks, Image};

/// Bytes that are read at a time, about.
const PIECE: u64 = 8 << 20;

/// Pieces that are read at a time.
const AT_ONCE: usize = 4;

/// Reads voxels as a mount does.
pub struct VoxelReader {
    chunks: Arc<Chunks>,
}

impl VoxelReader {
    /// Takes at most `memory` bytes beside the blocks.
    pub fn new(memory: u64, blocks: Arc<Blocks>, stats: Arc<Stats>) -> VoxelReader {
        VoxelReader { chunks: Chunks::new(memory, blocks, stats) }
    }

    /// The voxels of a box of a level of the image, C order, little-endian: all of them or an error.
    pub async fn voxels(
        &self,
        image: &Arc<Image>,
        level: LevelIndex,
        region: Region,
    ) -> Result<Arc<Held>, SampleError> {
        let geometry = ChunkGeometry { level, region, chunk: region.shape() };
        let key = ChunkKey { image: image.number, geometry };
        let read = self.chunks.read(image, key).await;
        // Nobody asks for the same box again; the blocks stay.
        self.chunks.release(&key);
        read.map_err(|error| SampleError::Read { what: format!("{} {level} at {:?}", image.name, region.start), error })
    }

    /// Reads a box in pieces, and gives each to `take`, in any order. `cell`: the chunks or blocks of the level.
    pub async fn each_piece(
        &self,
        image: &Arc<Image>,
        level: LevelIndex,
        (region, cell, dtype): (Region, Shape, DataType),
        mut take: impl FnMut(&Region, &[u8]),
    ) -> Result<(), SampleError> {
        let pieces = pieces(region, cell, dtype);
        let mut reading = stream::iter(pieces)
            .map(|piece| async move { (piece, self.voxels(image, level, piece).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((piece, read)) = reading.next().await {
            take(&piece, &read?.data);
        }
        Ok(())
    }

    /// The mask of a box of labels.
    pub async fn mask(
        &self,
        image: &Arc<Image>,
        level: LevelIndex,
        (region, cell, dtype): (Region, Shape, DataType),
        inside: &LabelsInside,
    ) -> Result<Mask, SampleError> {
        let unfit = |reason: &str| SampleError::Unsatisfiable(format!("{} {level}: {reason}", image.name));
        let Some(mut mask) = Mask::new(region) else { return Err(unfit("the mask does not fit this machine")) };
        let mut fits = true;
        let take = |piece: &Region, data: &[u8]| fits &= mask.put(piece, data, dtype, inside).is_some();
        self.each_piece(image, level, (region, cell, dtype), take).await?;
        if !fits {
            return Err(unfit("labels have to be whole numbers"));
        }
        mask.finish();
        Ok(mask)
    }
}

/// A box in pieces of whole cells, longest along x.
fn pieces(region: Region, cell: Shape, dtype: DataType) -> impl Iterator<Item = Region> {
    let mut piece = cell.0.map(|extent| extent.max(1));
    for axis in (0..3).rev() {
        let bytes = Shape(piece).bytes(dtype.size()).unwrap_or(u64::MAX).max(1);
        let extent = region.shape().0[axis].div_ceil(piece[axis]).saturating_add(1);
        piece[axis] = piece[axis].saturating_mul((PIECE / bytes).clamp(1, extent));
    }
    let grid = Grid { shape: Shape(region.end), cell: Shape(piece) };
    grid.cells_in(&region).filter_map(move |index| grid.region(index).intersection(&region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_box_and_are_of_about_eight_mebibytes() {
        for (cell, size) in
            [([64; 3], [300, 1000, 2000]), ([1, 4000, 4000], [20, 3000, 3500]), ([16, 128, 128], [20, 144, 192])]
        {
            let region = Region { start: [5, 6, 7], end: [5 + size[0], 6 + size[1], 7 + size[2]] };
            let all: Vec<Region> = pieces(region, Shape(cell), DataType::U8).collect();
            let voxels: u64 = all.iter().map(|piece| piece.shape().voxels().unwrap()).sum();
            assert_eq!(voxels, region.shape().voxels().unwrap(), "{cell:?}");
            let most = all.iter().map(|piece| piece.shape().voxels().unwrap()).max().unwrap();
            assert!(most <= PIECE.max(Shape(cell).voxels().unwrap()), "{cell:?}: {most}");
            assert!(all.len() < 200, "{cell:?}: {}", all.len());
        }
    }
}
