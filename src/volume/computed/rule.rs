//! How voxels of a level are made of those of the level below.

use crate::dtype::DataType;

/// How a voxel follows from those it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownsamplingRule {
    /// Their mean. Of whole numbers exactly, halves to the even one; of floating-point numbers the sum in their own type in
    /// the order z, y, x, divided by their count.
    Mean,
    /// The most frequent one, of several the smallest.
    Mode,
}

impl DownsamplingRule {
    /// Changes whenever the same voxels would give others.
    pub const VERSION: u32 = 1;

    /// What it does, in words, with its version.
    pub fn sentence(self) -> String {
        let what = match self {
            DownsamplingRule::Mean => {
                "the mean of the voxels it covers, of whole numbers rounded with halves to the even one"
            }
            DownsamplingRule::Mode => "the most frequent of the voxels it covers, of several the smallest",
        };
        format!("{what} (rule {} {}, as TensorStore's downsample)", self.name(), DownsamplingRule::VERSION)
    }

    /// Its name, which is that of TensorStore's method.
    pub const fn name(self) -> &'static str {
        match self {
            DownsamplingRule::Mean => "mean",
            DownsamplingRule::Mode => "mode",
        }
    }
}

/// The voxels that a box is made of, as ranges along each axis of the box: for each of its voxels those of the array below.
pub(super) struct HalvedRanges<'a> {
    pub(super) z: &'a [(usize, usize)],
    pub(super) y: &'a [(usize, usize)],
    pub(super) x: &'a [(usize, usize)],
}

/// A box of the coarser level. `below`: a dense array of `height` × `width` planes; each window holds 1 or 2 of its voxels
/// along an axis. `None` where a window lies outside of it.
pub(super) fn downsample(
    rule: DownsamplingRule,
    dtype: DataType,
    below: &[u8],
    [height, width]: [usize; 2],
    windows: &HalvedRanges<'_>,
) -> Option<Vec<u8>> {
    macro_rules! of {
        ($number:ty, $mean:expr) => {{
            let numbers = |row: &[u8]| -> Vec<$number> {
                row.as_chunks::<{ size_of::<$number>() }>()
                    .0
                    .iter()
                    .map(|&bytes| <$number>::from_le_bytes(bytes))
                    .collect()
            };
            let voxel: fn(&mut [$number]) -> $number = match rule {
                DownsamplingRule::Mean => $mean,
                DownsamplingRule::Mode => most_frequent,
            };
            walk(below, [height, width], windows, numbers, voxel, |value, out| out.extend(value.to_le_bytes()))
        }};
    }
    macro_rules! integers {
        ($number:ty, $sum:ty, $rounded:ident) => {
            |values| $rounded(values.iter().map(|&value| <$sum>::from(value)).sum(), values.len()) as $number
        };
    }
    macro_rules! floats {
        ($number:ty) => {
            |values| values.iter().fold(0.0, |sum, value| sum + value) / values.len() as $number
        };
    }
    match dtype {
        DataType::U8 => of!(u8, integers!(u8, i64, rounded)),
        DataType::I8 => of!(i8, integers!(i8, i64, rounded)),
        DataType::U16 => of!(u16, integers!(u16, i64, rounded)),
        DataType::I16 => of!(i16, integers!(i16, i64, rounded)),
        DataType::U32 => of!(u32, integers!(u32, i64, rounded)),
        DataType::I32 => of!(i32, integers!(i32, i64, rounded)),
        DataType::U64 => of!(u64, integers!(u64, i128, rounded_128)),
        DataType::I64 => of!(i64, integers!(i64, i128, rounded_128)),
        DataType::F32 => of!(f32, floats!(f32)),
        DataType::F64 => of!(f64, floats!(f64)),
    }
}

/// Walks the voxels of a box and makes each of its window.
fn walk<T: Copy + Default>(
    below: &[u8],
    [height, width]: [usize; 2],
    windows: &HalvedRanges<'_>,
    numbers: impl Fn(&[u8]) -> Vec<T>,
    voxel: fn(&mut [T]) -> T,
    put: impl Fn(T, &mut Vec<u8>),
) -> Option<Vec<u8>> {
    let row = width.checked_mul(size_of::<T>())?;
    let voxels = windows.z.len().checked_mul(windows.y.len())?.checked_mul(windows.x.len())?;
    let mut out = Vec::with_capacity(voxels.checked_mul(size_of::<T>())?);
    let mut rows: Vec<Vec<T>> = Vec::with_capacity(4);
    for &(z, z_end) in windows.z {
        for &(y, y_end) in windows.y {
            rows.clear();
            for z in z..z_end {
                for y in y..y_end {
                    let first = z.checked_mul(height)?.checked_add(y)?.checked_mul(row)?;
                    rows.push(numbers(below.get(first..first.checked_add(row)?)?));
                }
            }
            for &(x, x_end) in windows.x {
                let mut values = [T::default(); 8];
                let mut count = 0;
                for row in &rows {
                    for value in row.get(x..x_end)? {
                        *values.get_mut(count)? = *value;
                        count += 1;
                    }
                }
                put(voxel(values.get_mut(..count).filter(|values| !values.is_empty())?), &mut out);
            }
        }
    }
    Some(out)
}

macro_rules! rounded {
    ($(#[$doc:meta])* $name:ident, $sum:ty) => {
        $(#[$doc])*
        fn $name(sum: $sum, count: usize) -> $sum {
            let bits = count.trailing_zeros();
            let (floor, rest, half) = (sum >> bits, sum & ((1 << bits) - 1), (1 << bits) / 2);
            let is_up = rest > half || (rest == half && half > 0 && floor & 1 == 1);
            floor + <$sum>::from(is_up)
        }
    };
}

rounded!(
    /// A sum of 1, 2, 4 or 8 numbers divided by that, halves to the even number.
    rounded,
    i64
);
rounded!(
    /// The same for sums that 64 bits do not hold.
    rounded_128,
    i128
);

/// The most frequent of some values, of several the smallest.
fn most_frequent<T: Copy + PartialOrd + Default>(values: &mut [T]) -> T {
    let mut best = (0, values.first().copied().unwrap_or_default());
    // Nearly always all are the same.
    if values.iter().all(|value| *value == best.1) {
        return best.1;
    }
    for value in values.iter() {
        let count = values.iter().filter(|other| *other == value).count();
        if count > best.0 || (count == best.0 && *value < best.1) {
            best = (count, *value);
        }
    }
    best.1
}
