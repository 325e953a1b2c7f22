//! How an array is cut: into chunks that are encoded, into files, and into batches that are fetched and written together.
//!
//! A batch is a box of chunks. Batches are walked shard by shard, so that few shards are half written at a time, and they
//! are large enough to hold whole native blocks where memory allows. Blocks that reach over several batches are kept
//! beside the export until the last of them is written (see [`super::spool`]), so that no byte is fetched twice.

use std::ops::Range;

use crate::geometry::{CellIndex, Grid, Region, Shape};

/// Fewest bytes of voxels in a batch.
const SMALLEST_BATCH: u64 = 1 << 20;
/// An interrupted export loses at most the batches under way: each is about this part of an array or less.
const PARTS: u64 = 64;

/// An array to write and the grid of the source that it is made from.
#[derive(Debug, Clone)]
pub(super) struct Layout {
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
    /// Batches along each axis, as ranges of chunks.
    spans: [Vec<Range<u64>>; 3],
}

/// A box of chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Position among the batches, from 0.
    pub(super) number: usize,
    /// Chunks along `z, y, x`.
    pub(super) chunks: [Range<u64>; 3],
}

impl Layout {
    /// Cuts an array. `most`: bytes of voxels that a batch should stay below, as far as one chunk allows.
    pub(super) fn new(
        chunks: Grid,
        shard: Option<Shape>,
        origin: [u64; 3],
        native: Grid,
        item_size: usize,
        most: u64,
    ) -> Layout {
        let mut layout = Layout { chunks, shard, origin, native, item_size, spans: Default::default() };
        let extent = layout.batch(most);
        let counts = chunks.counts();
        layout.spans = std::array::from_fn(|axis| {
            let per_file = layout.file_shape().0[axis] / chunks.cell.0[axis].max(1);
            let mut spans = Vec::new();
            let mut start = 0;
            while start < counts[axis] {
                let file_end = (start / per_file.max(1)).saturating_add(1).saturating_mul(per_file.max(1));
                // Without shards batches may hold many files.
                let limit = if shard.is_some() { file_end.min(counts[axis]) } else { counts[axis] };
                let end = start.saturating_add(extent[axis]).min(limit);
                spans.push(start..end);
                start = end;
            }
            spans
        });
        layout
    }

    /// Chunks of a batch along each axis: first as many as hold a native block, then up to the aimed size.
    fn batch(&self, most: u64) -> [u64; 3] {
        let counts = self.chunks.counts();
        let chunk_bytes = self.chunk_bytes().max(1);
        let whole = self.chunks.shape.bytes(self.item_size).unwrap_or(u64::MAX);
        let aim = (whole / PARTS).max(SMALLEST_BATCH).min(most);
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
                if larger > extent[axis] && bytes(&extent) / extent[axis] <= aim / larger {
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
    pub(super) fn batch_count(&self) -> usize {
        self.spans.iter().map(Vec::len).product()
    }

    /// The batches in the order in which they are worked on: shard by shard.
    pub(super) fn batches(&self) -> impl Iterator<Item = Batch> + '_ {
        let shards = Grid { shape: self.chunks.shape, cell: self.shard.unwrap_or(self.chunks.shape) };
        shards.cells_in(&self.chunks.shape.region()).flat_map(move |shard| {
            let [z, y, x] = self.spans_in(&shards.region(shard));
            z.flat_map(move |z| {
                let x = x.clone();
                y.clone().flat_map(move |y| x.clone().map(move |x| self.at([z, y, x])))
            })
        })
    }

    /// Numbers of the batches with voxels of a block.
    pub(super) fn batches_with(&self, block: CellIndex) -> impl Iterator<Item = usize> + '_ {
        let [z, y, x] = self.spans_in(&self.in_array(block));
        z.flat_map(move |z| {
            let x = x.clone();
            y.clone().flat_map(move |y| x.clone().map(move |x| self.number([z, y, x])))
        })
    }

    /// Indices of the spans along each axis that hold voxels of a part of the array.
    fn spans_in(&self, part: &Region) -> [Range<usize>; 3] {
        std::array::from_fn(|axis| {
            let cell = self.chunks.cell.0[axis].max(1);
            let (first, end) = (part.start[axis] / cell, part.end[axis].div_ceil(cell));
            let spans = &self.spans[axis];
            spans.partition_point(|span| span.end <= first)..spans.partition_point(|span| span.start < end)
        })
    }

    fn number(&self, at: [usize; 3]) -> usize {
        (at[0] * self.spans[1].len() + at[1]) * self.spans[2].len() + at[2]
    }

    fn at(&self, at: [usize; 3]) -> Batch {
        Batch {
            number: self.number(at),
            chunks: std::array::from_fn(|axis| self.spans[axis].get(at[axis]).cloned().unwrap_or(0..0)),
        }
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

#[cfg(test)]
mod tests;
