//! From the stored bytes of a strip or tile to voxels.

use bytes::Bytes;

use super::codecs::{self, Size};
use super::page_format::PageFormat;
use super::storage::{Codec, Predictor, Storage};
use crate::dtype::{DataType, widened};

/// Rows and columns of a strip or tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentExtent {
    /// Rows that are wanted: the first ones of those stored.
    pub(super) rows: u64,
    /// Rows that are stored at the most.
    pub(super) most: u64,
    pub(super) width: u64,
}

/// Decodes a strip or tile to little-endian voxels in C order: as many rows as are wanted.
pub(super) fn segment(
    raw: Bytes,
    storage: &Storage,
    form: &PageFormat,
    extent: SegmentExtent,
    big_endian: bool,
) -> Result<Bytes, String> {
    let size = Size {
        needed: usize_of(storage.bytes(extent.rows, extent.width))?,
        most: usize_of(storage.bytes(extent.most, extent.width))?,
        row: usize_of(storage.row(extent.width))?,
    };
    let raw = if storage.reversed { raw.iter().map(|byte| byte.reverse_bits()).collect() } else { raw };
    let numbers = match storage.codec {
        Codec::None if raw.len() != size.needed => {
            return Err(format!("{} bytes where {} are expected", raw.len(), size.needed));
        }
        Codec::None => Vec::from(raw),
        codec => codecs::unpack(&raw, codec, storage.tables.as_ref(), size)?,
    };
    rows(numbers, storage, form.dtype, extent.width, big_endian)
}

/// The little-endian voxels of rows of `width` numbers as they were packed.
pub(super) fn rows(
    mut numbers: Vec<u8>,
    storage: &Storage,
    dtype: DataType,
    width: u64,
    big_endian: bool,
) -> Result<Bytes, String> {
    let row = usize_of(storage.row(width))?;
    let item = (storage.bits / 8) as usize;
    match storage.predictor {
        Predictor::Float => numbers.chunks_exact_mut(row.max(1)).for_each(|row| floats(row, item)),
        predictor => {
            if big_endian && item > 1 {
                numbers.chunks_exact_mut(item).for_each(<[u8]>::reverse);
            }
            if predictor == Predictor::Horizontal {
                numbers.chunks_exact_mut(row.max(1)).for_each(|row| integrate(row, item));
            }
        }
    }
    let width = usize_of(width)?;
    Ok(Bytes::from(match (dtype, storage.bits) {
        (DataType::U8, bits @ 1..8) => spread(&numbers, row, width, bits, |number| [number as u8]),
        (DataType::U16, bits @ 9..16) => spread(&numbers, row, width, bits, |number| (number as u16).to_le_bytes()),
        (DataType::F32, 16) => widened(&numbers),
        _ => numbers,
    }))
}

fn usize_of(bytes: u64) -> Result<usize, String> {
    usize::try_from(bytes).map_err(|_| "a block too long".to_owned())
}

/// Numbers of fewer bits than their type has, the first in the highest bits, each row from a whole byte on.
fn spread<const N: usize>(packed: &[u8], row: usize, width: usize, bits: u64, to: impl Fn(u32) -> [u8; N]) -> Vec<u8> {
    let mut voxels = Vec::with_capacity(packed.len().saturating_mul(8) / bits.max(1) as usize * N);
    for row in packed.chunks_exact(row.max(1)) {
        let (mut held, mut count) = (0u32, 0u64);
        let mut bytes = row.iter();
        for _ in 0..width {
            while count < bits {
                held = held << 8 | u32::from(bytes.next().copied().unwrap_or_default());
                count += 8;
            }
            count -= bits;
            voxels.extend_from_slice(&to(held >> count & ((1 << bits) - 1)));
        }
    }
    voxels
}

/// Undoes the floating-point predictor (TIFF Technical Note 3): the bytes of a row are differences, and hold all highest
/// bytes first, whatever the file's order is.
fn floats(row: &mut [u8], item: usize) {
    sums(row, u8::from_le_bytes, u8::wrapping_add, u8::to_le_bytes);
    let planes = row.to_vec();
    let width = (row.len() / item.max(1)).max(1);
    for (byte, plane) in planes.chunks_exact(width).enumerate() {
        for (voxel, value) in row.chunks_exact_mut(item.max(1)).zip(plane) {
            if let Some(place) = item.checked_sub(byte + 1).and_then(|place| voxel.get_mut(place)) {
                *place = *value;
            }
        }
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
