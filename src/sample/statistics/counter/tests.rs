use proptest::prelude::*;

use super::*;

fn summary(blocks: &[Vec<u8>], dtype: DataType) -> Summary {
    let mut counter = VoxelCounter::new(dtype, FillValue::zero(dtype));
    loop {
        blocks.iter().for_each(|block| counter.take(block));
        if let Some(summary) = counter.next_pass() {
            return summary;
        }
    }
}

fn bytes(values: &[f64], dtype: DataType) -> Vec<u8> {
    let cast = |value: f64| match dtype {
        DataType::U8 => (value as u8).to_le_bytes().to_vec(),
        DataType::I8 => (value as i8).to_le_bytes().to_vec(),
        DataType::U16 => (value as u16).to_le_bytes().to_vec(),
        DataType::I16 => (value as i16).to_le_bytes().to_vec(),
        DataType::U32 => (value as u32).to_le_bytes().to_vec(),
        DataType::I32 => (value as i32).to_le_bytes().to_vec(),
        DataType::U64 => (value as u64).to_le_bytes().to_vec(),
        DataType::I64 => (value as i64).to_le_bytes().to_vec(),
        DataType::F32 => (value as f32).to_le_bytes().to_vec(),
        DataType::F64 => value.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(|value| cast(*value)).collect()
}

#[test]
fn no_voxels_have_no_statistics() {
    for dtype in DataType::ALL {
        let none = summary(&[], dtype);
        assert_eq!((none.voxels, none.mean, none.std, none.min), (0, None, None, None), "{dtype}");
    }
    let not_a_number = summary(&[f32::NAN.to_le_bytes().to_vec()], DataType::F32);
    assert_eq!((not_a_number.voxels, not_a_number.left_out), (0, 1));
}

#[test]
fn the_extremes_of_a_type_do_not_overflow() {
    let data = [u64::MAX, 0, u64::MAX, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let of = summary(&[data], DataType::U64);
    assert_eq!((of.mean, of.std), (Some(9_223_372_036_854_775_807.5), Some(9_223_372_036_854_775_808.0)));
    assert_eq!(of.max.unwrap().json(), json!(u64::MAX));
    let data = [i64::MIN, i64::MAX].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(summary(&[data], DataType::I64).min.unwrap().json(), json!(i64::MIN));
    let huge = summary(&[bytes(&[f64::MAX, f64::MIN], DataType::F64)], DataType::F64);
    assert_eq!((huge.mean, huge.std), (Some(0.0), None));
}

#[test]
fn means_and_deviations_of_large_numbers_are_rounded_once() {
    // Means and variances by Python's fractions.
    let values: [u64; 7] = [
        16_226_036_896_878_218_267,
        13_096_354_663_356_810_774,
        18_222_738_929_508_363_916,
        16_414_075_337_596_777_394,
        14_136_303_640_247_592_237,
        11_109_130_273_206_125_218,
        15_078_915_304_296_018_745,
    ];
    let of = summary(&[values.iter().flat_map(|value| value.to_le_bytes()).collect()], DataType::U64);
    assert_eq!((of.mean, of.std), (Some(1.489765072072713e+19), Some(2.1820837335513992e+18)));
    let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
    assert_ne!(of.mean, Some(sum as f64 / 7.0), "that is rounded twice");
}

#[test]
fn the_fill_value_is_counted_and_bins_hold_all_voxels() {
    let of = summary(&[vec![0, 0, 5, 255]], DataType::U8);
    assert_eq!((of.fill_fraction(), of.histogram.iter().sum::<u64>(), of.histogram[5]), (Some(0.5), 4, 1));
    assert_eq!((of.edges.len(), of.edges[0], of.edges[256]), (257, 0.0, 256.0));
    let of = summary(&[bytes(&[-1.0, 0.0, 1.0], DataType::F32)], DataType::F32);
    assert_eq!((of.histogram[0], of.histogram[128], of.histogram[255]), (1, 1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn statistics_are_those_of_the_sorted_list_in_whatever_blocks_it_comes(
        values in prop::collection::vec(-120i32..120, 1..200), cut in any::<prop::sample::Index>(), at in 0usize..10,
    ) {
        let dtype = DataType::ALL[at];
        let is_signed = !matches!(dtype, DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64);
        let values: Vec<f64> = values.into_iter().map(|v| f64::from(if is_signed { v } else { v.abs() })).collect();
        let (first, second) = values.split_at(cut.index(values.len()));
        let (first, second) = (bytes(first, dtype), bytes(second, dtype));
        let of = summary(&[first.clone(), second.clone()], dtype);
        prop_assert_eq!(&of, &summary(&[second, first], dtype));
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        prop_assert_eq!(of.mean, Some(mean));
        let std = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
        prop_assert!((of.std.unwrap() - std).abs() <= 1e-12 * std.max(1.0), "{:?} {std}", of.std);
        let told = |value: Option<ToldValue>| value.unwrap().json().as_f64().unwrap();
        prop_assert_eq!((told(of.min), told(of.max)), (sorted[0], sorted[values.len() - 1]));
        prop_assert_eq!(of.histogram.iter().sum::<u64>(), values.len() as u64);
        for (percent, value) in of.percentiles {
            let place = (n - 1.0) * percent / 100.0;
            let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            prop_assert!((value - (low + (high - low) * place.fract())).abs() < 1e-9);
        }
    }
}
