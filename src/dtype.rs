//! The voxel types that emfs serves, always little-endian.

pub mod order;

use std::fmt;

use half::f16;

/// Type of one voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DataType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl DataType {
    /// Every type, for tables and tests.
    pub const ALL: [DataType; 10] = [
        DataType::U8,
        DataType::I8,
        DataType::U16,
        DataType::I16,
        DataType::U32,
        DataType::I32,
        DataType::U64,
        DataType::I64,
        DataType::F32,
        DataType::F64,
    ];

    /// Gives the value of each little-endian voxel of a row, in which one begins every `stride` bytes, up to one that is cut.
    pub fn values(self, row: &[u8], stride: usize, with: impl FnMut(f32)) {
        macro_rules! of {
            ($type:ty, $value:expr) => {{
                let voxels = row.chunks(stride).map_while(|voxel| voxel.first_chunk::<{ size_of::<$type>() }>());
                voxels.map(|voxel| $value(<$type>::from_le_bytes(*voxel))).for_each(with)
            }};
        }
        match self {
            DataType::U8 => of!(u8, f32::from),
            DataType::I8 => of!(i8, f32::from),
            DataType::U16 => of!(u16, f32::from),
            DataType::I16 => of!(i16, f32::from),
            DataType::U32 => of!(u32, |voxel| voxel as f32),
            DataType::I32 => of!(i32, |voxel| voxel as f32),
            DataType::U64 => of!(u64, |voxel| voxel as f32),
            DataType::I64 => of!(i64, |voxel| voxel as f32),
            DataType::F32 => of!(f32, f32::from),
            DataType::F64 => of!(f64, |voxel| voxel as f32),
        }
    }

    /// Bytes per voxel.
    pub const fn size(self) -> usize {
        match self {
            DataType::U8 | DataType::I8 => 1,
            DataType::U16 | DataType::I16 => 2,
            DataType::U32 | DataType::I32 | DataType::F32 => 4,
            DataType::U64 | DataType::I64 | DataType::F64 => 8,
        }
    }

    /// Name in Zarr v3 and in numpy, as `uint8`.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::U8 => "uint8",
            DataType::I8 => "int8",
            DataType::U16 => "uint16",
            DataType::I16 => "int16",
            DataType::U32 => "uint32",
            DataType::I32 => "int32",
            DataType::U64 => "uint64",
            DataType::I64 => "int64",
            DataType::F32 => "float32",
            DataType::F64 => "float64",
        }
    }

    /// Little-endian name in Zarr v2, as `|u1` or `<i2`.
    pub const fn v2_name(self) -> &'static str {
        match self {
            DataType::U8 => "|u1",
            DataType::I8 => "|i1",
            DataType::U16 => "<u2",
            DataType::I16 => "<i2",
            DataType::U32 => "<u4",
            DataType::I32 => "<i4",
            DataType::U64 => "<u8",
            DataType::I64 => "<i8",
            DataType::F32 => "<f4",
            DataType::F64 => "<f8",
        }
    }

    /// Lowest and highest value; for floating point the unit interval, which is the usual display range.
    pub const fn display_range(self) -> (f64, f64) {
        match self {
            DataType::U8 => (0.0, u8::MAX as f64),
            DataType::I8 => (i8::MIN as f64, i8::MAX as f64),
            DataType::U16 => (0.0, u16::MAX as f64),
            DataType::I16 => (i16::MIN as f64, i16::MAX as f64),
            DataType::U32 => (0.0, u32::MAX as f64),
            DataType::I32 => (i32::MIN as f64, i32::MAX as f64),
            DataType::U64 => (0.0, u64::MAX as f64),
            DataType::I64 => (i64::MIN as f64, i64::MAX as f64),
            DataType::F32 | DataType::F64 => (0.0, 1.0),
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Value of a voxel that nobody stored, as little-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillValue {
    bytes: [u8; 8],
    size: usize,
}

impl FillValue {
    /// Zero of the given type.
    pub const fn zero(dtype: DataType) -> Self {
        FillValue { bytes: [0; 8], size: dtype.size() }
    }

    /// From the little-endian bytes of one voxel; `None` unless there are 1, 2, 4 or 8.
    pub fn from_le_bytes(voxel: &[u8]) -> Option<Self> {
        if !matches!(voxel.len(), 1 | 2 | 4 | 8) {
            return None;
        }
        let mut bytes = [0; 8];
        bytes[..voxel.len()].copy_from_slice(voxel);
        Some(FillValue { bytes, size: voxel.len() })
    }

    /// Little-endian bytes of one voxel.
    pub fn as_le_bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }

    #[cfg(test)]
    /// `voxels` voxels of this value.
    pub fn repeat(&self, voxels: usize) -> Vec<u8> {
        if self.bytes == [0; 8] { vec![0; voxels * self.size] } else { self.as_le_bytes().repeat(voxels) }
    }
}

/// Little-endian floats of 16 bits as such of 32, which hold the same numbers.
pub fn widened(halves: &[u8]) -> Vec<u8> {
    halves.as_chunks::<2>().0.iter().flat_map(|half| f16::from_le_bytes(*half).to_f32().to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_row_are_the_numbers_that_its_bytes_stand_for() {
        fn row<const N: usize>(voxels: &[[u8; N]]) -> Vec<u8> {
            voxels.concat()
        }
        for (dtype, row, expected) in [
            (DataType::U8, row(&[[7], [255]]), [7.0, 255.0]),
            (DataType::I8, row(&[[7], [255]]), [7.0, -1.0]),
            (DataType::U16, row(&[[1, 2], [255, 255]]), [513.0, 65535.0]),
            (DataType::I16, row(&[[1, 2], [255, 255]]), [513.0, -1.0]),
            (DataType::U32, row(&[[1, 2, 0, 0], [255; 4]]), [513.0, 4294967296.0]),
            (DataType::I32, row(&[[1, 2, 0, 0], [255; 4]]), [513.0, -1.0]),
            (DataType::U64, row(&[[1, 2, 0, 0, 0, 0, 0, 0], [255; 8]]), [513.0, 18446744073709551616.0]),
            (DataType::I64, row(&[[1, 2, 0, 0, 0, 0, 0, 0], [255; 8]]), [513.0, -1.0]),
            (DataType::F32, row(&[1.5f32.to_le_bytes(), f32::INFINITY.to_le_bytes()]), [1.5, f32::INFINITY]),
            (DataType::F64, row(&[1.1f64.to_le_bytes(), (-1e300f64).to_le_bytes()]), [1.1, f32::NEG_INFINITY]),
        ] {
            let (size, of) = (dtype.size(), |row: &[u8], stride: usize| {
                let mut values = Vec::new();
                dtype.values(row, stride, |value| values.push(value));
                values
            });
            assert_eq!(of(&row, size), expected, "{dtype}");
            assert_eq!(of(&row[..2 * size - 1], size), &expected[..1], "{dtype}");
            let apart = [&row[..size], &[9; 5], &row[size..]].concat();
            assert_eq!(of(&apart, size + 5), expected, "{dtype}");
        }
    }
}
