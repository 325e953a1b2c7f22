//! What sources of planes have in common: the shape of their chunks, and the bands by which they are fetched.

use bytes::Bytes;

use crate::dtype::DataType;
use crate::geometry::Shape;

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
pub(super) const SHORTEST_BAND: u64 = 512 << 10;

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

/// Bands are at most this long, unless a single row is longer.
pub const MAX_BAND: u64 = 64 << 20;

/// The rows of [`band_rows`], fewer where so many are longer than [`MAX_BAND`]. `bytes`: of so many rows as they are stored.
pub fn bounded_band(shape: Shape, dtype: DataType, bytes: impl Fn(u64) -> u64) -> u64 {
    let mut rows = band_rows(shape, dtype);
    while rows > 1 && bytes(rows) > MAX_BAND {
        rows = rows.div_ceil(2);
    }
    rows
}

/// Numbers of `size` bytes in little-endian order.
pub fn little_endian(raw: Bytes, size: usize, big_endian: bool) -> Bytes {
    if !big_endian || size <= 1 {
        return raw;
    }
    let mut voxels = Vec::from(raw);
    voxels.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    voxels.into()
}

/// The values along all axes, if none is missing.
pub fn all([z, y, x]: [Option<f64>; 3]) -> Option<[f64; 3]> {
    Some([z?, y?, x?])
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
    fn bands_are_about_a_megabyte_and_hold_whole_chunks() {
        assert_eq!(band_rows(IDR, DataType::U8), 775);
        assert_eq!(band_rows(EPFL, DataType::U8), 256);
        assert_eq!(band_rows(EMPIAR, DataType::U8), 512);
        assert_eq!(band_rows(Shape([10, 3000, 400]), DataType::U8), 1536);
    }
}
