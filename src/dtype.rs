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

    /// The value of one little-endian voxel; none where it has not the type's length.
    pub fn value(self, voxel: &[u8]) -> Option<f32> {
        Some(match self {
            DataType::U8 => f32::from(*voxel.first()?),
            DataType::I8 => f32::from(i8::from_le_bytes(voxel.try_into().ok()?)),
            DataType::U16 => f32::from(u16::from_le_bytes(voxel.try_into().ok()?)),
            DataType::I16 => f32::from(i16::from_le_bytes(voxel.try_into().ok()?)),
            DataType::U32 => u32::from_le_bytes(voxel.try_into().ok()?) as f32,
            DataType::I32 => i32::from_le_bytes(voxel.try_into().ok()?) as f32,
            DataType::U64 => u64::from_le_bytes(voxel.try_into().ok()?) as f32,
            DataType::I64 => i64::from_le_bytes(voxel.try_into().ok()?) as f32,
            DataType::F32 => f32::from_le_bytes(voxel.try_into().ok()?),
            DataType::F64 => f64::from_le_bytes(voxel.try_into().ok()?) as f32,
        })
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
