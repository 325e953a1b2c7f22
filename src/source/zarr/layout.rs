//! The order of voxels and bytes in a decoded chunk, and the way out of it: C order `z, y, x`, little-endian.

use bytes::Bytes;

/// Byte order of a voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Where each voxel of a chunk lies in its decoded bytes. Axes are those of the array document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkLayout {
    /// Voxels from one index to the next along each axis.
    strides: Vec<usize>,
    /// Bytes per voxel.
    item_size: usize,
    byte_order: ByteOrder,
}

/// Storage axes of C order: the last axis is the fastest.
pub(super) fn c_order(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

/// Storage axes of Fortran order: the first axis is the fastest.
pub(super) fn f_order(rank: usize) -> Vec<usize> {
    (0..rank).rev().collect()
}

impl ChunkLayout {
    /// The layout of chunks of the extents `chunk` whose bytes fit memory. `axes` is a permutation: for each axis of
    /// storage, slowest first, the axis of the array that it is.
    pub fn new(chunk: &[u64], axes: &[usize], item_size: usize, byte_order: ByteOrder) -> Self {
        let mut strides = vec![0; chunk.len()];
        let mut stride = 1usize;
        for &axis in axes.iter().rev() {
            strides[axis] = stride;
            stride = stride.saturating_mul(chunk[axis] as usize);
        }
        ChunkLayout { strides, item_size, byte_order }
    }

    /// Where in a decoded chunk the voxels with that index along an axis begin, in voxels.
    pub fn offset(&self, axis: usize, index: usize) -> usize {
        self.strides[axis].saturating_mul(index)
    }

    /// Takes the first `shape` voxels along the axes `kept` out of a decoded chunk, from the voxel `start` on.
    ///
    /// Gives C order in the order of `kept`, little-endian. `None` where the chunk does not hold so many voxels.
    pub fn extract(&self, decoded: Bytes, start: usize, kept: [usize; 3], shape: [usize; 3]) -> Option<Bytes> {
        let decoded = decoded.slice(start.checked_mul(self.item_size).filter(|start| *start <= decoded.len())?..);
        let strides = kept.map(|axis| self.strides[axis]);
        let voxels = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent))?;
        let length = voxels.checked_mul(self.item_size)?;
        let last = (0..3)
            .try_fold(0usize, |last, axis| last.checked_add(shape[axis].checked_sub(1)?.checked_mul(strides[axis])?))?;
        if last.checked_add(1)?.checked_mul(self.item_size)? > decoded.len() {
            return None;
        }
        let native = self.item_size == 1 || self.byte_order == ByteOrder::Little;
        let dense = shape[2] == 1 || strides[2] == 1;
        let rows_adjoin = (shape[1] == 1 || strides[1] == shape[2])
            && (shape[0] == 1 || shape[1].checked_mul(shape[2]) == Some(strides[0]));
        if native && dense && rows_adjoin {
            // A slice would keep the voxels beyond the array's edge in memory.
            return Some(if start == 0 && length == decoded.len() {
                decoded
            } else {
                Bytes::copy_from_slice(decoded.get(..length)?)
            });
        }
        let mut voxels = match self.item_size {
            _ if dense => copy_rows(&decoded, shape, strides, self.item_size),
            1 => copy_voxels::<1>(&decoded, shape, strides),
            2 => copy_voxels::<2>(&decoded, shape, strides),
            4 => copy_voxels::<4>(&decoded, shape, strides),
            _ => copy_voxels::<8>(&decoded, shape, strides),
        };
        if !native {
            voxels.chunks_exact_mut(self.item_size).for_each(<[u8]>::reverse);
        }
        Some(voxels.into())
    }
}

/// Copies rows whose voxels are adjacent.
fn copy_rows(decoded: &[u8], shape: [usize; 3], strides: [usize; 3], item_size: usize) -> Vec<u8> {
    let row = shape[2] * item_size;
    let mut out = Vec::with_capacity(shape[0] * shape[1] * row);
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            let start = (z * strides[0] + y * strides[1]) * item_size;
            out.extend_from_slice(&decoded[start..start + row]);
        }
    }
    out
}

/// Copies voxel by voxel.
fn copy_voxels<const SIZE: usize>(decoded: &[u8], shape: [usize; 3], strides: [usize; 3]) -> Vec<u8> {
    let (source, _) = decoded.as_chunks::<SIZE>();
    let mut out: Vec<[u8; SIZE]> = Vec::with_capacity(shape[0] * shape[1] * shape[2]);
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            let start = z * strides[0] + y * strides[1];
            out.extend((0..shape[2]).map(|x| source[start + x * strides[2]]));
        }
    }
    out.into_flattened()
}

#[cfg(test)]
mod tests;
