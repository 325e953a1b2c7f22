//! From the stored bytes of a strip or tile to voxels.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::page::Compression;

/// Shape and type of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Rows and columns as stored.
    pub(super) stored: [usize; 2],
    /// Rows and columns that lie in the page: the first ones of those stored.
    pub(super) wanted: [usize; 2],
    /// Bytes per voxel.
    pub(super) item: usize,
    /// Whether the file's voxels are big-endian.
    pub(super) big_endian: bool,
}

/// Decodes a block to little-endian voxels in C order. Bytes that are that already are returned as they are.
pub(super) fn block(raw: Bytes, compression: Compression, layout: Layout) -> Result<Bytes, String> {
    let [rows, columns] = layout.stored;
    let row = columns.checked_mul(layout.item).ok_or("a row too long")?;
    let expected = row.checked_mul(rows).ok_or("a block too long")?;
    let swap = layout.big_endian && layout.item > 1;
    let crop = layout.stored != layout.wanted;
    let mut voxels = match compression {
        Compression::None => {
            if raw.len() != expected {
                return Err(format!("{} bytes where {expected} are expected", raw.len()));
            }
            if !swap && !crop {
                return Ok(raw);
            }
            Vec::from(raw)
        }
        Compression::Deflate { .. } => inflate(&raw, expected)?,
    };
    if swap {
        voxels.chunks_exact_mut(layout.item).for_each(<[u8]>::reverse);
    }
    if compression == (Compression::Deflate { predictor: true }) && row > 0 {
        voxels.chunks_exact_mut(row).for_each(|row| integrate(row, layout.item));
    }
    if crop && row > 0 {
        let width = layout.wanted[1] * layout.item;
        let mut wanted = Vec::with_capacity(width.saturating_mul(layout.wanted[0]).min(voxels.len()));
        for row in voxels.chunks_exact(row).take(layout.wanted[0]) {
            wanted.extend_from_slice(row.get(..width).unwrap_or_default());
        }
        voxels = wanted;
    }
    Ok(voxels.into())
}

/// A whole zlib stream of exactly `expected` bytes; no more than one further byte is ever made.
fn inflate(raw: &[u8], expected: usize) -> Result<Vec<u8>, String> {
    let mut voxels = vec![0; expected.checked_add(1).ok_or("a block too long")?];
    let mut stream = Decompress::new(true);
    let status = stream.decompress(raw, &mut voxels, FlushDecompress::Finish);
    let made = stream.total_out();
    match status {
        Err(error) => Err(format!("broken deflate data: {error}")),
        Ok(_) if made > expected as u64 => Err(format!("deflate data of more than the {expected} bytes expected")),
        Ok(Status::StreamEnd) if made == expected as u64 => {
            voxels.truncate(expected);
            Ok(voxels)
        }
        Ok(Status::StreamEnd) => Err(format!("deflate data of {made} bytes where {expected} are expected")),
        Ok(_) => Err(format!("deflate data that ends after {made} of {expected} bytes")),
    }
}

/// Undoes the horizontal predictor (TIFF 6.0, section 14): each voxel of a row is stored as the difference to the one
/// before it, in integers of its size whatever its type.
fn integrate(row: &mut [u8], item: usize) {
    match item {
        1 => sums(row, u8::from_le_bytes, u8::wrapping_add, u8::to_le_bytes),
        2 => sums(row, u16::from_le_bytes, u16::wrapping_add, u16::to_le_bytes),
        4 => sums(row, u32::from_le_bytes, u32::wrapping_add, u32::to_le_bytes),
        _ => sums(row, u64::from_le_bytes, u64::wrapping_add, u64::to_le_bytes),
    }
}

fn sums<T: Copy + Default, const N: usize>(
    row: &mut [u8],
    from: impl Fn([u8; N]) -> T,
    add: impl Fn(T, T) -> T,
    to: impl Fn(T) -> [u8; N],
) {
    let mut sum = T::default();
    for voxel in row.as_chunks_mut::<N>().0 {
        sum = add(sum, from(*voxel));
        *voxel = to(sum);
    }
}
