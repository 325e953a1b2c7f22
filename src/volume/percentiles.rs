//! Percentiles of voxels, without a sorted list of them.

use crate::dtype::DataType;

/// Share of the voxels below and above a window.
pub(super) const TAIL: f64 = 0.0035;

/// The values below and above which [`TAIL`] of the voxels lie; `None` where no window follows from them.
pub(super) fn percentiles(data: &[u8], dtype: DataType) -> Option<(f64, f64)> {
    let values = || data.chunks_exact(dtype.size()).filter_map(|voxel| value(voxel, dtype)).filter(|v| v.is_finite());
    let last = values().count().checked_sub(1)?;
    let at = |share: f64| nth(values, ((last as f64 * share).round() as usize).min(last));
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    (low < high).then_some((low, high))
}

/// The value that `place` others come before, of values without order: found by counting sixteen bits of them at a time,
/// since a list of all takes eight times the memory of the voxels.
fn nth<I: Iterator<Item = f64>>(values: impl Fn() -> I, place: usize) -> f64 {
    let (mut found, mut left) = (0u64, place);
    for digit in (0..4u32).rev() {
        let mut counts = vec![0usize; 1 << 16];
        let known = |key: u64| key.checked_shr(16 * (digit + 1)).unwrap_or(0);
        for key in values().map(ordered).filter(|key| known(*key) == found) {
            counts[(key >> (16 * digit)) as usize & 0xffff] += 1;
        }
        let mut next = 0;
        while next < 0xffff && left >= counts[next] {
            left -= counts[next];
            next += 1;
        }
        found = found << 16 | next as u64;
    }
    // The way back from `ordered`.
    f64::from_bits(if found >> 63 == 1 { found ^ 1 << 63 } else { !found })
}

/// The bits of a number such that they are in order where the numbers are, as by [`f64::total_cmp`].
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The value of one little-endian voxel.
fn value(voxel: &[u8], dtype: DataType) -> Option<f64> {
    Some(match dtype {
        DataType::U8 => f64::from(*voxel.first()?),
        DataType::I8 => f64::from(i8::from_le_bytes(voxel.try_into().ok()?)),
        DataType::U16 => f64::from(u16::from_le_bytes(voxel.try_into().ok()?)),
        DataType::I16 => f64::from(i16::from_le_bytes(voxel.try_into().ok()?)),
        DataType::U32 => f64::from(u32::from_le_bytes(voxel.try_into().ok()?)),
        DataType::I32 => f64::from(i32::from_le_bytes(voxel.try_into().ok()?)),
        DataType::U64 => u64::from_le_bytes(voxel.try_into().ok()?) as f64,
        DataType::I64 => i64::from_le_bytes(voxel.try_into().ok()?) as f64,
        DataType::F32 => f64::from(f32::from_le_bytes(voxel.try_into().ok()?)),
        DataType::F64 => f64::from_le_bytes(voxel.try_into().ok()?),
    })
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
            mut values in prop::collection::vec(prop_oneof![any::<f64>(), (-9i16..9).prop_map(f64::from)], 1..60),
            place in any::<prop::sample::Index>(),
        ) {
            let place = place.index(values.len());
            let found = nth(|| values.iter().copied(), place);
            values.sort_by(f64::total_cmp);
            prop_assert_eq!(found.to_bits(), values[place].to_bits());
        }
    }

    #[test]
    fn a_flat_level_gives_no_window() {
        assert_eq!(percentiles(&[7, 0, 7, 0], DataType::U16), None);
        assert_eq!(percentiles(&[], DataType::F32), None);
        assert_eq!(percentiles(&f32::NAN.to_le_bytes(), DataType::F32), None);
    }
}
