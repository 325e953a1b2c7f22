//! A mask in memory, a bit per voxel, that says how much of a box is inside.

use std::ops::Range;

use super::laid::Cover;
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

/// Voxels of a mask from its start, along z, y and x, and what each counts.
type CoveredPart<'a> = ([Range<usize>; 3], [&'a [u64]; 3]);

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

    /// Whether at least `least` of what is covered is inside. What of it lies beyond the mask is outside.
    pub fn has(&self, cover: &Cover, least: u64) -> bool {
        let Some((part, counts)) = self.part(cover) else { return least == 0 };
        let times = |of: fn(&[u64]) -> u64| counts.iter().map(|counts| of(counts)).fold(1u64, u64::saturating_mul);
        let most = times(|counts| counts.iter().copied().max().unwrap_or(0));
        let outer = part.clone().map(|range| range.start / CELL..range.end.div_ceil(CELL));
        if self.in_cells(&outer).saturating_mul(most) < least {
            return false;
        }
        let fewest = times(|counts| counts.iter().copied().min().unwrap_or(0));
        let inner = part.clone().map(|range| range.start.div_ceil(CELL)..range.end / CELL);
        self.in_cells(&inner).saturating_mul(fewest) >= least || self.in_part(&part, counts) >= least
    }

    /// How much of what is covered is inside.
    pub fn count(&self, cover: &Cover) -> u64 {
        self.part(cover).map_or(0, |(part, counts)| self.in_part(&part, counts))
    }

    /// The voxels of the mask that are covered, from its start, and what they count.
    fn part<'a>(&self, cover: &'a Cover) -> Option<CoveredPart<'a>> {
        let shared = cover.region.intersection(&self.region)?;
        let (of_mask, of_cover) = (shared.relative_to(self.region.start), shared.relative_to(cover.region.start));
        let range = |part: &Region, axis: usize| part.start[axis] as usize..part.end[axis] as usize;
        let mut counts: [&[u64]; 3] = [&[]; 3];
        for (axis, counts) in counts.iter_mut().enumerate() {
            *counts = cover.counts[axis].get(range(&of_cover, axis))?;
        }
        Some((std::array::from_fn(|axis| range(&of_mask, axis)), counts))
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

    fn in_part(&self, [z, y, x]: &[Range<usize>; 3], [of_z, of_y, of_x]: [&[u64]; 3]) -> u64 {
        let (first, last) = (x.start / CELL, (x.end - 1) / CELL);
        // For each number that a voxel may count along x: the bits of a row that do.
        let mut chosen: Vec<(u64, Vec<u8>)> = Vec::new();
        for (x, count) in x.clone().zip(of_x) {
            let at = chosen.iter().position(|(times, _)| times == count).unwrap_or_else(|| {
                chosen.push((*count, vec![0; last - first + 1]));
                chosen.len() - 1
            });
            chosen[at].1[x / CELL - first] |= 1 << (x % CELL);
        }
        let mut sum = 0u64;
        for (z, of_z) in z.clone().zip(of_z) {
            for (y, of_y) in y.clone().zip(of_y) {
                let row = (z * self.shape[1] + y) * self.row;
                let bytes = &self.bits[row + first..=row + last];
                for (times, chosen) in &chosen {
                    let ones: u32 = bytes.iter().zip(chosen).map(|(byte, chosen)| (byte & chosen).count_ones()).sum();
                    sum += of_z * of_y * times * u64::from(ones);
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::random::at;

    #[test]
    fn labels_are_chosen_by_their_values() {
        let count = |data: &[u8], dtype: DataType, inside: LabelsInside| {
            let region = at([0; 3], Shape([1, 1, (data.len() / dtype.size()) as u64]));
            let mut mask = Mask::new(region)?;
            mask.put(&region, data, dtype, &inside)?;
            mask.finish();
            Some(mask.total())
        };
        let data: Vec<u8> = [0u16, 1, 300, 300, 7].iter().flat_map(|label| label.to_le_bytes()).collect();
        assert_eq!(count(&data, DataType::U16, LabelsInside::Any), Some(4));
        assert_eq!(count(&data, DataType::U16, LabelsInside::These(vec![300, -1])), Some(2));
        assert_eq!(count(&[0xff, 1], DataType::I8, LabelsInside::These(vec![-1])), Some(1));
        assert_eq!(count(&data[..8], DataType::F32, LabelsInside::Any), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

        #[test]
        fn what_is_inside_is_counted_as_one_by_one(
            extent in prop::array::uniform3(1u64..30), seed in any::<u64>(), sparse in 1u64..9,
            from in prop::array::uniform3(0u64..35), size in prop::array::uniform3(1u64..35), cut in 1u64..30, times in 1u64..4,
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
            let mut cover = Cover::each(at(from, Shape(size)));
            // Voxels count differently, as where the box begins within one.
            cover.counts.iter_mut().flatten().for_each(|count| *count = random.below(times) + 1);
            let region = cover.region;
            let mut expected = 0u64;
            for z in 0..extent[0] {
                for y in 0..extent[1] {
                    for x in 0..extent[2] {
                        let voxel = [3 + z, 4 + y, 5 + x];
                        let counts = |axis: usize| {
                            let at = voxel[axis].checked_sub(region.start[axis]).unwrap_or(u64::MAX);
                            cover.counts[axis].get(at as usize).copied().unwrap_or(0)
                        };
                        let inside = data[((z * extent[1] + y) * extent[2] + x) as usize] > 0;
                        expected += u64::from(inside) * counts(0) * counts(1) * counts(2);
                    }
                }
            }
            prop_assert_eq!(mask.count(&cover), expected);
            prop_assert!(mask.has(&cover, expected) && !mask.has(&cover, expected + 1));
        }
    }
}
