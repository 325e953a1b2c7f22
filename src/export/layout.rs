//! How an array is cut: into chunks that are encoded, into files, and into batches that are fetched and written together.
//!
//! A batch is a box of chunks. Batches are walked shard by shard, so that few shards are half written at a time, and they
//! are as large as memory allows. Blocks are kept as they were fetched until the last batch that needs them is written
//! (see [`super::journal`]), so that no byte is fetched twice.

use std::ops::Range;

use crate::geometry::{CellIndex, Grid, Region, Shape};
use crate::volume::InFlightLimit;

/// Most chunks in a batch, whose states are held in memory.
const MAX_CHUNKS: u64 = 1 << 13;

/// An array to write and the grid of the source that it is made from.
#[derive(Debug, Clone)]
pub(super) struct ArrayLayout {
    /// The array and the chunks that are encoded, from its first voxel on.
    pub(super) chunks: Grid,
    /// Shape of a shard, a multiple of the chunk; `None` where each chunk is a file.
    pub(super) shard: Option<Shape>,
    /// Voxel of the source's level that is the array's first.
    pub(super) origin: [u64; 3],
    /// The source's level and its blocks.
    pub(super) native: Grid,
    /// Bytes of a voxel.
    pub(super) item_size: usize,
    /// Batches along each axis.
    cuts: [Cut; 3],
}

/// An axis cut into ranges of chunks, each of which lies in one file where several chunks share a file.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    /// Chunks along the axis.
    count: u64,
    /// Chunks after which a range ends at the latest.
    period: u64,
    /// Chunks of a range, fewer only at such ends.
    extent: u64,
}

impl Cut {
    fn new(count: u64, period: u64, extent: u64) -> Cut {
        let period = period.clamp(1, count.max(1));
        Cut { count, period, extent: extent.clamp(1, period) }
    }

    /// Number of the range with a chunk.
    fn of(&self, chunk: u64) -> u64 {
        chunk / self.period * self.period.div_ceil(self.extent) + chunk % self.period / self.extent
    }

    /// Number of ranges that begin before a chunk.
    fn before(&self, chunk: u64) -> u64 {
        chunk.min(self.count).checked_sub(1).map_or(0, |last| self.of(last) + 1)
    }

    /// The chunks of a range.
    fn range(&self, number: u64) -> Range<u64> {
        let per_period = self.period.div_ceil(self.extent);
        let first = number / per_period * self.period;
        let start = first + number % per_period * self.extent;
        start..start.saturating_add(self.extent).min(first.saturating_add(self.period)).min(self.count)
    }
}

/// A box of chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Position among the batches, from 0.
    pub(super) number: u64,
    /// Chunks along `z, y, x`.
    pub(super) chunks: [Range<u64>; 3],
}

impl ArrayLayout {
    /// Cuts an array. `most`: bytes of voxels that a batch should stay below, as far as one chunk allows.
    pub(super) fn new(
        chunks: Grid,
        shard: Option<Shape>,
        origin: [u64; 3],
        native: Grid,
        item_size: usize,
        most: u64,
    ) -> ArrayLayout {
        let mut layout = ArrayLayout { chunks, shard, origin, native, item_size, cuts: Default::default() };
        let (extent, counts) = (layout.extent(most), chunks.counts());
        layout.cuts = std::array::from_fn(|axis| {
            // Without shards batches may hold many files.
            let period = shard.map_or(u64::MAX, |shard| shard.0[axis] / chunks.cell.0[axis].max(1));
            Cut::new(counts[axis], period, extent[axis])
        });
        layout
    }

    /// Chunks of a batch along each axis: first as many as hold a native block, then as many as there is memory for.
    fn extent(&self, most: u64) -> [u64; 3] {
        let counts = self.chunks.counts();
        let chunk_bytes = self.chunk_bytes().max(1);
        let most = most.min(chunk_bytes.saturating_mul(MAX_CHUNKS));
        let limit: [u64; 3] = std::array::from_fn(|axis| match self.shard {
            Some(shard) => (shard.0[axis] / self.chunks.cell.0[axis].max(1)).clamp(1, counts[axis].max(1)),
            None => counts[axis].max(1),
        });
        let mut extent = [1u64; 3];
        let bytes = |extent: &[u64; 3]| extent.iter().fold(chunk_bytes, |n, count| n.saturating_mul(*count));
        for axis in [2, 1, 0] {
            let wanted = self.native.cell.0[axis].div_ceil(self.chunks.cell.0[axis].max(1)).clamp(1, limit[axis]);
            extent[axis] = (most / bytes(&extent)).clamp(1, wanted);
        }
        loop {
            let before = extent;
            for axis in [2, 1, 0] {
                let larger = extent[axis].saturating_mul(2).min(limit[axis]);
                if larger > extent[axis] && bytes(&extent) / extent[axis] <= most / larger {
                    extent[axis] = larger;
                }
            }
            if extent == before {
                return extent;
            }
        }
    }

    /// Bytes of an unencoded chunk.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.chunks.cell.bytes(self.item_size).unwrap_or(u64::MAX)
    }

    /// Bytes of an unencoded native block.
    pub(super) fn block_bytes(&self) -> u64 {
        self.native.cell.bytes(self.item_size).unwrap_or(u64::MAX)
    }

    /// Shape of the voxels in one file.
    pub(super) fn file_shape(&self) -> Shape {
        self.shard.unwrap_or(self.chunks.cell)
    }

    /// The array, divided into files.
    pub(super) fn files(&self) -> Grid {
        Grid { shape: self.chunks.shape, cell: self.file_shape() }
    }

    /// The file that a chunk is in.
    pub(super) fn file_of(&self, chunk: CellIndex) -> CellIndex {
        CellIndex(std::array::from_fn(|axis| {
            chunk.0[axis].saturating_mul(self.chunks.cell.0[axis]) / self.file_shape().0[axis].max(1)
        }))
    }

    /// The chunks in a file that hold voxels of the array, in `z, y, x` order.
    pub(super) fn chunks_of(&self, file: CellIndex) -> impl Iterator<Item = CellIndex> + use<> {
        self.chunks.cells_in(&self.files().region(file))
    }

    /// Number of these chunks.
    pub(super) fn count_of(&self, file: CellIndex) -> u64 {
        ArrayLayout::count(&Grid { shape: self.files().region(file).shape(), cell: self.chunks.cell })
    }

    /// Place of a cell among all of a grid in `z, y, x` order.
    pub(super) fn place(grid: &Grid, cell: CellIndex) -> u64 {
        let counts = grid.counts();
        (0..3).fold(0u64, |n, axis| n.saturating_mul(counts[axis]).saturating_add(cell.0[axis]))
    }

    /// Number of cells of a grid.
    pub(super) fn count(grid: &Grid) -> u64 {
        grid.counts().into_iter().fold(1, u64::saturating_mul)
    }

    /// The voxels of the source's level that a part of the array shows.
    pub(super) fn in_source(&self, part: &Region) -> Region {
        let shift = |corner: [u64; 3]| std::array::from_fn(|axis| corner[axis].saturating_add(self.origin[axis]));
        Region { start: shift(part.start), end: shift(part.end) }
    }

    /// The blocks that a chunk is made of.
    pub(super) fn blocks_of(&self, chunk: CellIndex) -> impl Iterator<Item = CellIndex> + use<> {
        self.native.cells_in(&self.in_source(&self.chunks.region(chunk)))
    }

    /// Bytes of voxels in the blocks that the array is made of.
    fn native_bytes(&self) -> u64 {
        let part = self.in_source(&self.chunks.shape.region());
        let along = |axis: usize| {
            let cell = self.native.cell.0[axis].max(1);
            part.end[axis].min(self.native.shape.0[axis]).div_ceil(cell).saturating_sub(part.start[axis] / cell)
        };
        (0..3).map(along).fold(self.block_bytes(), u64::saturating_mul)
    }

    /// The chunks of the array that a block has voxels of.
    pub(super) fn chunks_with(&self, block: CellIndex) -> impl Iterator<Item = CellIndex> + use<> {
        self.chunks.cells_in(&self.in_array(block))
    }

    fn in_array(&self, block: CellIndex) -> Region {
        let region = self.native.region(block);
        let shift = |corner: [u64; 3]| std::array::from_fn(|axis| corner[axis].saturating_sub(self.origin[axis]));
        Region { start: shift(region.start), end: shift(region.end) }
    }

    /// Number of batches.
    pub(super) fn batch_count(&self) -> u64 {
        self.cuts.iter().fold(1, |n, cut| n.saturating_mul(cut.before(cut.count)))
    }

    /// The batches in the order in which they are worked on: shard by shard.
    pub(super) fn batches(&self) -> impl Iterator<Item = Batch> + '_ {
        let shards = Grid { shape: self.chunks.shape, cell: self.shard.unwrap_or(self.chunks.shape) };
        shards.cells_in(&self.chunks.shape.region()).flat_map(move |shard| {
            let [z, y, x] = self.spans_in(&shards.region(shard));
            z.flat_map(move |z| {
                let x = x.clone();
                y.clone().flat_map(move |y| x.clone().map(move |x| self.batch(self.number([z, y, x]))))
            })
        })
    }

    /// Numbers of the batches with voxels of a block.
    pub(super) fn batches_with(&self, block: CellIndex) -> impl Iterator<Item = u64> + '_ {
        let [z, y, x] = self.spans_in(&self.in_array(block));
        z.flat_map(move |z| {
            let x = x.clone();
            y.clone().flat_map(move |y| x.clone().map(move |x| self.number([z, y, x])))
        })
    }

    /// Numbers of the ranges along each axis that hold voxels of a part of the array.
    fn spans_in(&self, part: &Region) -> [Range<u64>; 3] {
        std::array::from_fn(|axis| {
            let (cell, cut) = (self.chunks.cell.0[axis].max(1), &self.cuts[axis]);
            cut.of(part.start[axis] / cell)..cut.before(part.end[axis].div_ceil(cell))
        })
    }

    fn number(&self, at: [u64; 3]) -> u64 {
        (0..3).fold(0, |n, axis| n * self.cuts[axis].before(self.cuts[axis].count) + at[axis])
    }

    /// The batch of a number below [`ArrayLayout::batch_count`].
    pub(super) fn batch(&self, number: u64) -> Batch {
        let [_, height, width] = self.cuts.map(|cut| cut.before(cut.count).max(1));
        let at = [number / width / height, number / width % height, number % width];
        Batch { number, chunks: std::array::from_fn(|axis| self.cuts[axis].range(at[axis])) }
    }
}

impl Batch {
    /// Its chunks in `z, y, x` order.
    pub(super) fn cells(&self) -> impl Iterator<Item = CellIndex> + use<> {
        let [z, y, x] = self.chunks.clone();
        z.flat_map(move |z| {
            let x = x.clone();
            y.clone().flat_map(move |y| x.clone().map(move |x| CellIndex([z, y, x])))
        })
    }
}

/// What may be under way while these are written.
pub(super) fn window<'a>(layouts: impl Iterator<Item = &'a ArrayLayout> + Clone) -> InFlightLimit {
    let all = layouts.clone().map(ArrayLayout::native_bytes).fold(0, u64::saturating_add);
    InFlightLimit::of(all, layouts.map(ArrayLayout::block_bytes).max().unwrap_or(0))
}

#[cfg(test)]
mod tests;
