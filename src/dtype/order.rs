//! Voxels as keys that are in order where the voxels are, and as the numbers that they stand for.

use crate::dtype::DataType;

/// The value of a voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole one.
    Whole(i128),
    /// One of a floating-point type.
    Real(f64),
}

impl Number {
    /// The nearest float.
    pub fn value(self) -> f64 {
        match self {
            Number::Whole(number) => number as f64,
            Number::Real(number) => number,
        }
    }
}

/// Bits of the keys of a type: 16, 32 or 64.
pub fn bits(dtype: DataType) -> u32 {
    match dtype {
        DataType::U8 | DataType::I8 | DataType::U16 | DataType::I16 => 16,
        DataType::U32 | DataType::I32 | DataType::F32 => 32,
        DataType::U64 | DataType::I64 | DataType::F64 => 64,
    }
}

/// Gives the key of each finite voxel in `data` (little-endian); returns how many are not finite.
pub fn keys(data: &[u8], dtype: DataType, mut with: impl FnMut(u64)) -> u64 {
    let mut left_out = 0;
    macro_rules! of {
        ($type:ty, $key:expr) => {{
            let (voxels, _) = data.as_chunks::<{ size_of::<$type>() }>();
            voxels.iter().map(|voxel| <$type>::from_le_bytes(*voxel)).for_each($key)
        }};
    }
    match dtype {
        DataType::U8 => of!(u8, |voxel| with(u64::from(voxel))),
        DataType::U16 => of!(u16, |voxel| with(u64::from(voxel))),
        DataType::U32 => of!(u32, |voxel| with(u64::from(voxel))),
        DataType::U64 => of!(u64, &mut with),
        DataType::I8 => of!(i8, |voxel| with(u64::from(i16::from(voxel) as u16 ^ 1 << 15))),
        DataType::I16 => of!(i16, |voxel| with(u64::from(voxel as u16 ^ 1 << 15))),
        DataType::I32 => of!(i32, |voxel| with(u64::from(voxel as u32 ^ 1 << 31))),
        DataType::I64 => of!(i64, |voxel| with(voxel as u64 ^ 1 << 63)),
        // Zeros of both signs are one number.
        DataType::F32 => of!(f32, |voxel| match voxel.is_finite() {
            true => with(u64::from(ordered32((voxel + 0.0).to_bits()))),
            false => left_out += 1,
        }),
        DataType::F64 => of!(f64, |voxel| match voxel.is_finite() {
            true => with(ordered64((voxel + 0.0).to_bits())),
            false => left_out += 1,
        }),
    }
    left_out
}

/// What a key stands for.
pub fn number(key: u64, dtype: DataType) -> Number {
    match dtype {
        DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64 => Number::Whole(i128::from(key)),
        DataType::I8 | DataType::I16 => Number::Whole(i128::from((key as u16 ^ 1 << 15) as i16)),
        DataType::I32 => Number::Whole(i128::from((key as u32 ^ 1 << 31) as i32)),
        DataType::I64 => Number::Whole(i128::from((key ^ 1 << 63) as i64)),
        DataType::F32 => {
            let key = key as u32;
            Number::Real(f64::from(f32::from_bits(if key >> 31 == 1 { key ^ 1 << 31 } else { !key })))
        }
        DataType::F64 => Number::Real(f64::from_bits(if key >> 63 == 1 { key ^ 1 << 63 } else { !key })),
    }
}

fn ordered32(bits: u32) -> u32 {
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn ordered64(bits: u64) -> u64 {
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_and_lead_back() {
        for (dtype, voxels) in [
            (DataType::I8, [-128i8, -1, 0, 127].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()),
            (DataType::I16, [-32768i16, -1, 0, 32767].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (DataType::I32, [i32::MIN, -1, 0, i32::MAX].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (DataType::I64, [i64::MIN, -1, 0, i64::MAX].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (DataType::U64, [0u64, 1, 2, u64::MAX].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (DataType::F32, [f32::MIN, -1e-45, 0.0, f32::MAX].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (DataType::F64, [f64::MIN, -5e-324, 0.0, f64::MAX].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ] {
            let mut all = Vec::new();
            assert_eq!(keys(&voxels, dtype, |key| all.push(key)), 0);
            assert!(
                all.is_sorted() && all.iter().all(|key| bits(dtype) == 64 || key >> bits(dtype) == 0),
                "{dtype}: {all:?}"
            );
            let numbers: Vec<f64> = all.iter().map(|key| number(*key, dtype).value()).collect();
            assert!(
                numbers.is_sorted() && numbers[2] == if dtype == DataType::U64 { 2.0 } else { 0.0 },
                "{dtype}: {numbers:?}"
            );
        }
        let special: Vec<u8> = [f32::NAN, -0.0, 0.0, f32::INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut all = Vec::new();
        assert_eq!(keys(&special, DataType::F32, |key| all.push(key)), 2);
        assert!(all.len() == 2 && all[0] == all[1]);
    }
}
