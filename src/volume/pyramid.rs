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
    /// How the window came to be, in words.
    pub window_rule: String,
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
    /// Position of the corner of the first voxel in nanometres along `z, y, x`, where the first voxel of a whole image has its
    /// corner at the image's translation. Levels that begin at one place have one corner and several centres.
    pub corner: [f64; 3],
    /// Position of the first voxel in voxels of this level along `z, y, x`. Voxels of two levels lie over each other where
    /// these positions say so and not where their indices do.
    pub offset: [i64; 3],
}

/// A length in nanometres without what computing in binary adds to it, 4.44 in place of 4.4399999999999995: thirteen digits.
pub(crate) fn tidy(length: f64) -> f64 {
    format!("{length:.12e}").parse().unwrap_or(length)
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

/// Planes of at most this many bytes are fetched whole.
const WHOLE_PLANE: u64 = 1 << 20;
/// Bands of larger planes are at least this long.
const SHORTEST_BAND: u64 = 512 << 10;

/// Rows of the band that a stack of planes is fetched by: a whole number of chunks of [`plane_chunk`] high, and about a
/// megabyte or less, since archives are slow to answer and quick to send. Small planes are one band.
pub fn band_rows(shape: Shape, dtype: DataType) -> u64 {
    let [_, height, width] = shape.0.map(|extent| extent.max(1));
    let row = width.saturating_mul(dtype.size() as u64);
    if row.saturating_mul(height) <= WHOLE_PLANE {
        return height;
    }
    let rows = plane_chunk(shape, dtype).0[1];
    let bands = SHORTEST_BAND.div_ceil(row.saturating_mul(rows).max(1)).max(1);
    rows.saturating_mul(bands).min(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDR: Shape = Shape([184, 775, 1121]);
    const EPFL: Shape = Shape([1065, 1536, 2048]);
    const EMPIAR: Shape = Shape([16, 5500, 5496]);

    #[test]
    fn chunks_of_planes_are_files_of_a_quarter_mebibyte() {
        assert_eq!(plane_chunk(IDR, DataType::U8), Shape([16, 128, 128]));
        assert_eq!(plane_chunk(EPFL, DataType::U8), Shape([4, 256, 256]));
        assert_eq!(plane_chunk(EMPIAR, DataType::U8), Shape([1, 512, 512]));
        assert_eq!(plane_chunk(IDR, DataType::I16), Shape([4, 256, 128]));
        assert_eq!(plane_chunk(Shape([3, 20, 30]), DataType::F32), Shape([16, 20, 30]));
    }

    #[test]
    fn lengths_are_told_without_the_noise_of_binary_numbers() {
        assert_eq!(tidy((11.84 - 2.96) / 2.0), 4.44);
        assert_eq!(tidy(100_000.0 * 2.96), 296_000.0);
        for plain in [0.0, -4.0, 7.99825, 1e-9, 1e300, f64::INFINITY] {
            assert_eq!(tidy(plain), plain);
        }
        assert!(tidy(f64::NAN).is_nan());
    }

    #[test]
    fn bands_are_about_a_megabyte_and_hold_whole_chunks() {
        assert_eq!(band_rows(IDR, DataType::U8), 775);
        assert_eq!(band_rows(EPFL, DataType::U8), 256);
        assert_eq!(band_rows(EMPIAR, DataType::U8), 512);
        assert_eq!(band_rows(Shape([10, 3000, 400]), DataType::U8), 1536);
    }
}
