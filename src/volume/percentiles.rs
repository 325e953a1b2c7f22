//! Percentiles of voxels, without a list of them: of many voxels only those in the tails are kept.

use crate::dtype::DataType;
use crate::dtype::order::{keys, number};

/// Share of the voxels below and above a window.
pub(super) const TAIL: f64 = 0.0035;

/// The least and the greatest of the finite voxels that came so far: as many as it takes to find the window.
#[derive(Debug)]
pub(super) struct Tails {
    dtype: DataType,
    finite: usize,
    least: Least,
    /// Of the keys turned around.
    greatest: Least,
}

impl Tails {
    /// Those of so many voxels at the most.
    pub(super) fn of(voxels: u64, dtype: DataType) -> Self {
        // One for the voxel itself, one for the places that are rounded.
        let most = (voxels as f64 * TAIL).ceil() as usize + 2;
        Tails { dtype, finite: 0, least: Least::of(most), greatest: Least::of(most) }
    }

    /// Adds voxels, little-endian.
    pub(super) fn add(&mut self, data: &[u8]) {
        let Tails { dtype, finite, least, greatest } = self;
        keys(data, *dtype, |key| {
            *finite += 1;
            least.add(key);
            greatest.add(!key);
        });
    }

    /// The values below and above which [`TAIL`] of the voxels lie; `None` where no window follows from them.
    pub(super) fn window(mut self) -> Option<(f64, f64)> {
        let last = self.finite.checked_sub(1)?;
        let place = |share: f64| ((last as f64 * share).round() as usize).min(last);
        let low = self.least.nth(place(TAIL))?;
        let high = !self.greatest.nth(last - place(1.0 - TAIL))?;
        let [low, high] = [low, high].map(|key| number(key, self.dtype).value());
        (low < high).then_some((low, high))
    }
}

/// The least of all keys, in no order.
#[derive(Debug)]
struct Least {
    most: usize,
    /// Up to twice as many, so that each is looked at a few times only.
    keys: Vec<u64>,
    /// The greatest of those that were kept, from which on none is among the least.
    bound: Option<u64>,
}

impl Least {
    /// As many as `most`, not 0.
    fn of(most: usize) -> Self {
        Least { most, keys: Vec::new(), bound: None }
    }

    fn add(&mut self, key: u64) {
        if self.bound.is_some_and(|bound| key >= bound) {
            return;
        }
        self.keys.push(key);
        if self.keys.len() >= 2 * self.most {
            self.bound = Some(*self.keys.select_nth_unstable(self.most - 1).1);
            self.keys.truncate(self.most);
        }
    }

    /// The key that `place` others come before, where it is one of the least.
    fn nth(&mut self, place: usize) -> Option<u64> {
        (place < self.most && place < self.keys.len()).then(|| *self.keys.select_nth_unstable(place).1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn percentiles(data: &[u8], dtype: DataType) -> Option<(f64, f64)> {
        let mut tails = Tails::of((data.len() / dtype.size()) as u64, dtype);
        tails.add(data);
        tails.window()
    }

    #[test]
    fn the_window_leaves_a_few_thousandths_on_either_side() {
        let data: Vec<u8> = (0..=1000i16).flat_map(|v| (v - 500).to_le_bytes()).collect();
        assert_eq!(percentiles(&data, DataType::I16), Some((-496.0, 497.0)));
        let shuffled: Vec<u8> = (0..=1000i16).flat_map(|v| (v * 5 % 1001 - 500).to_le_bytes()).collect();
        assert_eq!(percentiles(&shuffled, DataType::I16), Some((-496.0, 497.0)));
    }

    /// The window by a sorted list of all voxels that are finite.
    fn of_list(values: &[f64]) -> Option<(f64, f64)> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| sorted[((last as f64 * share).round() as usize).min(last)];
        let (low, high) = (at(TAIL), at(1.0 - TAIL));
        (low < high).then_some((low, high))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn the_window_is_that_of_the_sorted_list_in_whichever_parts_the_voxels_come(
            values in prop::collection::vec(
                prop_oneof![
                    8 => prop::num::f64::NORMAL,
                    8 => (-9i16..9).prop_map(f64::from),
                    1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN]),
                ],
                0..3000,
            ),
            order in 0..3u8,
            part in 1..700usize,
            missing in 0..50u64,
        ) {
            let mut values = values;
            match order {
                0 => values.sort_by(f64::total_cmp),
                1 => values.sort_by(|one, other| other.total_cmp(one)),
                _ => {}
            }
            // Of some blocks nothing comes.
            let mut tails = Tails::of(values.len() as u64 + missing, DataType::F64);
            for part in values.chunks(part) {
                tails.add(&part.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            }
            prop_assert_eq!(tails.window(), of_list(&values));
            let small: Vec<u8> = values.iter().map(|value| *value as u8).collect();
            let as_floats: Vec<f64> = small.iter().copied().map(f64::from).collect();
            prop_assert_eq!(percentiles(&small, DataType::U8), of_list(&as_floats));
        }
    }

    #[test]
    fn what_is_kept_of_voxels_is_a_hundredth_of_them() {
        let values: Vec<u32> = (0..1u32 << 20).map(|v| v.wrapping_mul(0x9E37_79B1)).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let descending: Vec<u32> = sorted.iter().rev().copied().collect();
        for values in [values, sorted.clone(), descending] {
            let mut tails = Tails::of(values.len() as u64, DataType::U32);
            for part in values.chunks(1 << 16) {
                tails.add(&part.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
                assert!(tails.least.keys.len() + tails.greatest.keys.len() < values.len() * 3 / 200);
            }
            let last = sorted.len() - 1;
            let at = |share: f64| f64::from(sorted[(last as f64 * share).round() as usize]);
            assert_eq!(tails.window(), Some((at(TAIL), at(1.0 - TAIL))));
        }
    }

    #[test]
    fn a_flat_level_gives_no_window() {
        assert_eq!(percentiles(&[7, 0, 7, 0], DataType::U16), None);
        assert_eq!(percentiles(&[], DataType::F32), None);
        assert_eq!(percentiles(&f32::NAN.to_le_bytes(), DataType::F32), None);
    }
}
