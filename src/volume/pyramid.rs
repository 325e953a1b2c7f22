//! What an image or a view of it looks like: pure data, from which documents and the tree are made.

use crate::dtype::{DataType, FillValue};
use crate::geometry::{Grid, Shape};

/// A multiscale image.
#[derive(Debug, Clone)]
pub struct Pyramid {
    /// Type of a voxel.
    pub dtype: DataType,
    /// Levels, finest first; never empty.
    pub levels: Vec<Level>,
    /// Value of voxels that are absent at the origin.
    pub fill: FillValue,
    /// Display window `(low, high)`.
    pub window: (f64, f64),
    /// Whether a voxel size is known; else scales count voxels and axes carry no unit.
    pub calibrated: bool,
    /// How the volume is stored at its origin, for people.
    pub format: String,
    /// How coarser levels were made, where known.
    pub downsampling: Option<String>,
}

/// One array of a pyramid.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// The array and the chunks it is served in.
    pub grid: Grid,
    /// Nanometres per voxel along `z, y, x`.
    pub scale: [f64; 3],
    /// Position of the centre of the first voxel in nanometres along `z, y, x`.
    pub translation: [f64; 3],
}

/// Bytes of one chunk file, edge chunks being padded to the full size.
pub fn chunk_bytes(chunk: Shape, dtype: DataType) -> u64 {
    chunk.bytes(dtype.size()).unwrap_or(u64::MAX)
}

/// The chunk shape for a stack of planes of `shape`: files of 256 KiB, `cz` of them deep where `cz` planes stay within
/// 16 MiB, so that a first slice costs no more than that (or one plane).
pub fn plane_chunk(shape: Shape, dtype: DataType) -> Shape {
    let plane = shape.0[1].saturating_mul(shape.0[2]).saturating_mul(dtype.size() as u64);
    let depth = [16u64, 4].into_iter().find(|depth| depth.saturating_mul(plane) <= 16 << 20).unwrap_or(1);
    let side = match depth {
        16 => 128,
        4 => 256,
        _ => 512,
    };
    let width = (side / dtype.size() as u64).max(1);
    // A chunk wider than the plane would only add padding.
    Shape([depth, side.min(shape.0[1].max(1)), width.min(shape.0[2].max(1))])
}
