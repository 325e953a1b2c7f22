//! Percentiles of voxels, without a sorted list of them.

use crate::dtype::DataType;
use crate::dtype::order::{bits, keys, number};

/// Share of the voxels below and above a window.
pub(super) const TAIL: f64 = 0.0035;

/// The values below and above which [`TAIL`] of the voxels lie; `None` where no window follows from them.
pub(super) fn percentiles(data: &[u8], dtype: DataType) -> Option<(f64, f64)> {
    let mut finite = 0usize;
    keys(data, dtype, |_| finite += 1);
    let last = finite.checked_sub(1)?;
    let at = |share: f64| nth(data, dtype, ((last as f64 * share).round() as usize).min(last));
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    (low < high).then_some((low, high))
}

/// The finite voxel that `place` others come before in their order: found by counting sixteen bits of their keys at a time,
/// since a list of all takes up to eight times the memory of the voxels.
fn nth(data: &[u8], dtype: DataType, place: usize) -> f64 {
    let (mut found, mut left) = (0u64, place);
    for digit in (0..bits(dtype) / 16).rev() {
        let mut counts = vec![0usize; 1 << 16];
        let known = |key: u64| key.checked_shr(16 * (digit + 1)).unwrap_or(0);
        keys(data, dtype, |key| {
            if known(key) == found {
                counts[(key >> (16 * digit)) as usize & 0xffff] += 1;
            }
        });
        let mut next = 0;
        while next < 0xffff && left >= counts[next] {
            left -= counts[next];
            next += 1;
        }
        found = found << 16 | next as u64;
    }
    number(found, dtype).value()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_window_leaves_a_few_thousandths_on_either_side() {
        let data: Vec<u8> = (0..=1000i16).flat_map(|v| (v - 500).to_le_bytes()).collect();
        assert_eq!(percentiles(&data, DataType::I16), Some((-496.0, 497.0)));
        let shuffled: Vec<u8> = (0..=1000i16).flat_map(|v| (v * 5 % 1001 - 500).to_le_bytes()).collect();
        assert_eq!(percentiles(&shuffled, DataType::I16), Some((-496.0, 497.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn the_value_at_a_place_is_that_of_the_sorted_list(
            mut values in prop::collection::vec(prop_oneof![prop::num::f64::NORMAL, (-9i16..9).prop_map(f64::from)], 1..60),
            place in any::<prop::sample::Index>(),
        ) {
            let place = place.index(values.len());
            let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            values.sort_by(f64::total_cmp);
            prop_assert_eq!(nth(&data, DataType::F64, place), values[place]);
        }
    }

    #[test]
    fn a_flat_level_gives_no_window() {
        assert_eq!(percentiles(&[7, 0, 7, 0], DataType::U16), None);
        assert_eq!(percentiles(&[], DataType::F32), None);
        assert_eq!(percentiles(&f32::NAN.to_le_bytes(), DataType::F32), None);
    }
}
