//! A mask in memory, a bit per voxel, that says how much of a box is inside.

use std::ops::Range;

use crate::dtype::DataType;
use crate::geometry::{Region, Shape};

/// Side of the cells whose voxels are counted beforehand: the bits of a byte along x.
const CELL: usize = 8;

/// The labels that are inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelsInside {
    /// All but 0.
    Any,
    /// These.
    These(Vec<i128>),
}

impl LabelsInside {
    fn has(&self, label: i128) -> bool {
        match self {
            LabelsInside::Any => label != 0,
            LabelsInside::These(labels) => labels.contains(&label),
        }
    }

    /// How many of the labels in `data` (little-endian) are inside; `None` where they are no whole numbers.
    pub fn count(&self, data: &[u8], dtype: DataType) -> Option<u64> {
        let mut count = 0;
        each(data, dtype, |_, label| count += u64::from(self.has(label)))?;
        Some(count)
    }
}

/// Gives each voxel its number; `None` where they are no whole numbers.
fn each(data: &[u8], dtype: DataType, mut with: impl FnMut(usize, i128)) -> Option<()> {
    macro_rules! of {
        ($type:ty) => {{
            let (voxels, _) = data.as_chunks::<{ size_of::<$type>() }>();
            voxels.iter().enumerate().for_each(|(at, voxel)| with(at, i128::from(<$type>::from_le_bytes(*voxel))));
            Some(())
        }};
    }
    match dtype {
        DataType::U8 => of!(u8),
        DataType::I8 => of!(i8),
        DataType::U16 => of!(u16),
        DataType::I16 => of!(i16),
        DataType::U32 => of!(u32),
        DataType::I32 => of!(i32),
        DataType::U64 => of!(u64),
        DataType::I64 => of!(i64),
        DataType::F32 | DataType::F64 => None,
    }
}

/// The mask of a box of a label image.
#[derive(Debug)]
pub struct Mask {
    region: Region,
    /// Extents along z, y and x, and bytes of a row.
    shape: [usize; 3],
    row: usize,
    bits: Vec<u8>,
    /// Voxels inside of all cells before each, along all axes.
    sums: Vec<u64>,
}

impl Mask {
    /// A mask of a box, nothing of it inside yet; `None` where this machine cannot hold it.
    pub fn new(region: Region) -> Option<Mask> {
        let extents = region.shape().0.map(usize::try_from);
        let [Ok(depth), Ok(height), Ok(width)] = extents else { return None };
        let row = width.div_ceil(CELL);
        let bytes = depth.checked_mul(height)?.checked_mul(row)?;
        Some(Mask { region, shape: [depth, height, width], row, bits: vec![0; bytes], sums: Vec::new() })
    }

    /// Takes labels of a part of the box, C order; `None` where they are no whole numbers.
    pub fn put(&mut self, part: &Region, data: &[u8], dtype: DataType, inside: &LabelsInside) -> Option<()> {
        let Some(shared) = part.intersection(&self.region) else { return Some(()) };
        let Shape([_, height, width]) = part.shape();
        let (from, to) = (shared.relative_to(part.start), shared.relative_to(self.region.start));
        let length = (shared.end[2] - shared.start[2]) as usize * dtype.size();
        for z in 0..shared.end[0] - shared.start[0] {
            for y in 0..shared.end[1] - shared.start[1] {
                let first = ((from.start[0] + z) * height + from.start[1] + y) * width + from.start[2];
                let first = first as usize * dtype.size();
                let labels = data.get(first..first + length)?;
                let row = ((to.start[0] + z) as usize * self.shape[1] + (to.start[1] + y) as usize) * self.row;
                let bits = self.bits.get_mut(row..row + self.row)?;
                let begin = to.start[2] as usize;
                each(labels, dtype, |x, label| {
                    let at = begin + x;
                    bits[at / CELL] |= u8::from(inside.has(label)) << (at % CELL);
                })?;
            }
        }
        Some(())
    }

    /// Counts beforehand, after all labels were taken.
    pub fn finish(&mut self) {
        let cells = self.shape.map(|extent| extent.div_ceil(CELL) + 1);
        let mut sums = vec![0u64; cells.iter().product()];
        let place = |z: usize, y: usize, x: usize| (z * cells[1] + y) * cells[2] + x;
        for (number, row) in self.bits.chunks_exact(self.row.max(1)).enumerate() {
            let (z, y) = (number / self.shape[1] / CELL, number % self.shape[1] / CELL);
            for (x, byte) in row.iter().enumerate() {
                sums[place(z + 1, y + 1, x + 1)] += u64::from(byte.count_ones());
            }
        }
        for z in 1..cells[0] {
            for y in 1..cells[1] {
                for x in 1..cells[2] {
                    let before = |dz, dy, dx| sums[place(z - dz, y - dy, x - dx)];
                    let sum =
                        sums[place(z, y, x)] + before(1, 0, 0) + before(0, 1, 0) + before(0, 0, 1) + before(1, 1, 1);
                    sums[place(z, y, x)] = sum - before(1, 1, 0) - before(1, 0, 1) - before(0, 1, 1);
                }
            }
        }
        self.sums = sums;
    }

    /// Voxels of the box that are inside.
    pub fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// Whether at least `least` voxels of a box are inside. What of it lies beyond the mask is outside.
    pub fn has(&self, region: &Region, least: u64) -> bool {
        let Some(part) = self.part(region) else { return least == 0 };
        let outer = part.clone().map(|range| range.start / CELL..range.end.div_ceil(CELL));
        if self.in_cells(&outer) < least {
            return false;
        }
        let inner = part.clone().map(|range| range.start.div_ceil(CELL)..range.end / CELL);
        self.in_cells(&inner) >= least || self.in_part(&part) >= least
    }

    /// Voxels of a box that are inside.
    pub fn count(&self, region: &Region) -> u64 {
        self.part(region).map_or(0, |part| self.in_part(&part))
    }

    /// The voxels of a box, from the start of the mask.
    fn part(&self, region: &Region) -> Option<[Range<usize>; 3]> {
        let part = region.intersection(&self.region)?.relative_to(self.region.start);
        Some(std::array::from_fn(|axis| part.start[axis] as usize..part.end[axis] as usize))
    }

    fn in_cells(&self, [z, y, x]: &[Range<usize>; 3]) -> u64 {
        if z.is_empty() || y.is_empty() || x.is_empty() {
            return 0;
        }
        let cells = self.shape.map(|extent| extent.div_ceil(CELL) + 1);
        let sum = |z: usize, y: usize, x: usize| self.sums[(z * cells[1] + y) * cells[2] + x];
        let face = |z: usize| {
            sum(z, y.end, x.end) + sum(z, y.start, x.start) - sum(z, y.start, x.end) - sum(z, y.end, x.start)
        };
        face(z.end) - face(z.start)
    }

    fn in_part(&self, [z, y, x]: &[Range<usize>; 3]) -> u64 {
        let (first, last) = (x.start / CELL, (x.end - 1) / CELL);
        let (low, high) = (0xffu8 << (x.start % CELL), 0xffu8 >> (CELL - 1 - (x.end - 1) % CELL));
        let mut count = 0u64;
        for z in z.clone() {
            for y in y.clone() {
                let row = (z * self.shape[1] + y) * self.row;
                let bytes = &self.bits[row + first..=row + last];
                let ones: u32 = match bytes {
                    [one] => (one & low & high).count_ones(),
                    [one, middle @ .., other] => {
                        let middle: u32 = middle.iter().map(|byte| byte.count_ones()).sum();
                        (one & low).count_ones() + middle + (other & high).count_ones()
                    }
                    [] => 0,
                };
                count += u64::from(ones);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::random::at;

    #[test]
    fn labels_are_chosen_by_their_values() {
        let data: Vec<u8> = [0u16, 1, 300, 300, 7].iter().flat_map(|label| label.to_le_bytes()).collect();
        assert_eq!(LabelsInside::Any.count(&data, DataType::U16), Some(4));
        assert_eq!(LabelsInside::These(vec![300, -1]).count(&data, DataType::U16), Some(2));
        assert_eq!(LabelsInside::These(vec![-1]).count(&[0xff, 1], DataType::I8), Some(1));
        assert_eq!(LabelsInside::Any.count(&data, DataType::F32), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

        #[test]
        fn what_is_inside_is_counted_as_one_by_one(
            extent in prop::array::uniform3(1u64..30), seed in any::<u64>(), sparse in 1u64..9,
            from in prop::array::uniform3(0u64..35), size in prop::array::uniform3(1u64..35), cut in 1u64..30,
        ) {
            let whole = at([3, 4, 5], Shape(extent));
            let mut random = crate::sample::random::Random::new(seed, "mask");
            let voxels = Shape(extent).voxels().unwrap() as usize;
            let data: Vec<u8> = (0..voxels).map(|_| u8::from(random.below(sparse) == 0) * 9).collect();
            let mut mask = Mask::new(whole).unwrap();
            // In two parts, as it is read.
            let cut = cut.min(extent[0]);
            let plane = (extent[1] * extent[2]) as usize;
            let (top, bottom) = data.split_at(cut as usize * plane);
            mask.put(&at([3, 4, 5], Shape([cut, extent[1], extent[2]])), top, DataType::U8, &LabelsInside::Any).unwrap();
            let rest = at([3 + cut, 4, 5], Shape([extent[0] - cut, extent[1], extent[2]]));
            mask.put(&rest, bottom, DataType::U8, &LabelsInside::These(vec![9])).unwrap();
            mask.finish();
            prop_assert_eq!(mask.total(), data.iter().filter(|label| **label > 0).count() as u64);
            let region = at(from, Shape(size));
            let mut expected = 0u64;
            for z in 0..extent[0] {
                for y in 0..extent[1] {
                    for x in 0..extent[2] {
                        let voxel = at([3 + z, 4 + y, 5 + x], Shape([1; 3]));
                        let inside = data[((z * extent[1] + y) * extent[2] + x) as usize] > 0;
                        expected += u64::from(inside && voxel.intersection(&region).is_some());
                    }
                }
            }
            prop_assert_eq!(mask.count(&region), expected);
            prop_assert!(mask.has(&region, expected) && !mask.has(&region, expected + 1));
        }
    }
}
