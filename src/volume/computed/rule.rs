//! How voxels of a level are made of those of the level below.

use crate::dtype::DataType;

/// How a voxel follows from those it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Their mean. Of whole numbers exactly, halves to the even one; of floating-point numbers the sum in their own type in
    /// the order z, y, x, divided by their count.
    Mean,
    /// The most frequent one, of several the smallest.
    Mode,
}

impl Rule {
    /// Changes whenever the same voxels would give others.
    pub const VERSION: u32 = 1;

    /// What it does, in words, with its version.
    pub fn sentence(self) -> String {
        let what = match self {
            Rule::Mean => "the mean of the voxels it covers, of whole numbers rounded with halves to the even one",
            Rule::Mode => "the most frequent of the voxels it covers, of several the smallest",
        };
        format!("{what} (rule {} {}, as TensorStore's downsample)", self.name(), Rule::VERSION)
    }

    /// Its name, which is that of TensorStore's method.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Mean => "mean",
            Rule::Mode => "mode",
        }
    }
}

/// The voxels that a box is made of, as ranges along each axis of the box: for each of its voxels those of the array below.
pub(super) struct Windows<'a> {
    pub(super) z: &'a [(usize, usize)],
    pub(super) y: &'a [(usize, usize)],
    pub(super) x: &'a [(usize, usize)],
}

/// A box of the coarser level. `below`: a dense array of `height` × `width` planes; each window holds 1 or 2 of its voxels
/// along an axis. `None` where a window lies outside of it.
pub(super) fn downsample(
    rule: Rule,
    dtype: DataType,
    below: &[u8],
    [height, width]: [usize; 2],
    windows: &Windows<'_>,
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
                Rule::Mean => $mean,
                Rule::Mode => |values: &mut [$number]| most_frequent(values, <$number>::lesser),
            };
            walk(below, [height, width], windows, numbers, voxel, |value, out| out.extend(value.to_le_bytes()))
        }};
    }
    match dtype {
        DataType::U8 => {
            of!(u8, |values| rounded(values.iter().map(|&value| i64::from(value)).sum(), values.len()) as u8)
        }
        DataType::I8 => {
            of!(i8, |values| rounded(values.iter().map(|&value| i64::from(value)).sum(), values.len()) as i8)
        }
        DataType::U16 => {
            of!(u16, |values| rounded(values.iter().map(|&value| i64::from(value)).sum(), values.len()) as u16)
        }
        DataType::I16 => {
            of!(i16, |values| rounded(values.iter().map(|&value| i64::from(value)).sum(), values.len()) as i16)
        }
        DataType::U32 => {
            of!(u32, |values| rounded(values.iter().map(|&value| i64::from(value)).sum(), values.len()) as u32)
        }
        DataType::I32 => {
            of!(i32, |values| rounded(values.iter().map(|&value| i64::from(value)).sum(), values.len()) as i32)
        }
        DataType::U64 => {
            of!(u64, |values| rounded_128(values.iter().map(|&value| i128::from(value)).sum(), values.len()) as u64)
        }
        DataType::I64 => {
            of!(i64, |values| rounded_128(values.iter().map(|&value| i128::from(value)).sum(), values.len()) as i64)
        }
        DataType::F32 => of!(f32, |values| values.iter().fold(0.0, |sum, value| sum + value) / values.len() as f32),
        DataType::F64 => of!(f64, |values| values.iter().fold(0.0, |sum, value| sum + value) / values.len() as f64),
    }
}

/// Which of two numbers comes first.
trait Lesser: Copy + PartialEq {
    fn lesser(self, other: Self) -> bool;
}

macro_rules! lesser {
    ($($number:ty),*) => { $(impl Lesser for $number {
        fn lesser(self, other: Self) -> bool {
            self < other
        }
    })* };
}

lesser!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// Walks the voxels of a box and makes each of its window.
fn walk<T: Copy + Default>(
    below: &[u8],
    [height, width]: [usize; 2],
    windows: &Windows<'_>,
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

/// A sum of 1, 2, 4 or 8 numbers divided by that, halves to the even number.
fn rounded(sum: i64, count: usize) -> i64 {
    let bits = count.trailing_zeros();
    let (floor, rest, half) = (sum >> bits, sum & ((1 << bits) - 1), (1i64 << bits) / 2);
    let is_up = rest > half || (rest == half && half > 0 && floor & 1 == 1);
    floor + i64::from(is_up)
}

/// The same for sums that 64 bits do not hold.
fn rounded_128(sum: i128, count: usize) -> i128 {
    let bits = count.trailing_zeros();
    let (floor, rest, half) = (sum >> bits, sum & ((1 << bits) - 1), (1i128 << bits) / 2);
    let is_up = rest > half || (rest == half && half > 0 && floor & 1 == 1);
    floor + i128::from(is_up)
}

/// The most frequent of some values, of several the smallest.
fn most_frequent<T: Copy + PartialEq + Default>(values: &mut [T], lesser: fn(T, T) -> bool) -> T {
    let mut best = (0, values.first().copied().unwrap_or_default());
    // Nearly always all are the same.
    if values.iter().all(|value| *value == best.1) {
        return best.1;
    }
    for value in values.iter() {
        let count = values.iter().filter(|other| *other == value).count();
        if count > best.0 || (count == best.0 && lesser(*value, best.1)) {
            best = (count, *value);
        }
    }
    best.1
}
