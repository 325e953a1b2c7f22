//! Filters of numcodecs, which make voxels compress better and keep the number of bytes.

use super::layout::ByteOrder;
use crate::dtype::DataType;

/// Adds up differences.
pub(super) fn undelta(encoded: &[u8], dtype: DataType, order: ByteOrder) -> Vec<u8> {
    let mut out = encoded.to_vec();
    macro_rules! sum {
        ($number:ty, $add:expr) => {{
            let mut last = <$number>::default();
            for voxel in out.as_chunks_mut::<{ size_of::<$number>() }>().0 {
                let step = match order {
                    ByteOrder::Little => <$number>::from_le_bytes(*voxel),
                    ByteOrder::Big => <$number>::from_be_bytes(*voxel),
                };
                last = $add(last, step);
                *voxel = match order {
                    ByteOrder::Little => last.to_le_bytes(),
                    ByteOrder::Big => last.to_be_bytes(),
                };
            }
        }};
    }
    // Sums of numbers with a sign have the same bits.
    match dtype {
        DataType::U8 | DataType::I8 => sum!(u8, u8::wrapping_add),
        DataType::U16 | DataType::I16 => sum!(u16, u16::wrapping_add),
        DataType::U32 | DataType::I32 => sum!(u32, u32::wrapping_add),
        DataType::U64 | DataType::I64 => sum!(u64, u64::wrapping_add),
        DataType::F32 => sum!(f32, std::ops::Add::add),
        DataType::F64 => sum!(f64, std::ops::Add::add),
    }
    out
}

/// Puts the bytes of words together again.
pub(super) fn unshuffle(encoded: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if size == 0 || !encoded.len().is_multiple_of(size) {
        return Err(format!("{} bytes are no whole number of words of {size}", encoded.len()));
    }
    let words = encoded.len() / size;
    Ok((0..encoded.len()).map(|at| encoded[at % size * words + at / size]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_added_up_in_their_own_order() {
        let little = undelta(&[1, 0, 2, 0, 255, 255], DataType::I16, ByteOrder::Little);
        assert_eq!(little, [1, 0, 3, 0, 2, 0]);
        assert_eq!(undelta(&[0, 1, 0, 2, 255, 255], DataType::U16, ByteOrder::Big), [0, 1, 0, 3, 0, 2]);
        assert_eq!(undelta(&[200, 100], DataType::U8, ByteOrder::Little), [200, 44]);
        let floats: Vec<u8> = [0.5f32, 0.25].iter().flat_map(|number| number.to_le_bytes()).collect();
        let sums: Vec<u8> = [0.5f32, 0.75].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(undelta(&floats, DataType::F32, ByteOrder::Little), sums);
    }

    #[test]
    fn words_are_put_together_again() {
        assert_eq!(unshuffle(&[1, 3, 5, 2, 4, 6], 2).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert!(unshuffle(&[1, 2, 3], 2).is_err() && unshuffle(&[1], 0).is_err());
        assert!(unshuffle(&[], 4).unwrap().is_empty());
    }
}
