//! Crops of levels whose voxels are no whole multiple of the finest ones, or are said to be with few digits.

use proptest::prelude::*;

use super::*;

/// A pyramid of levels of these sizes of a voxel, each as long as the finest but for what is no whole voxel.
fn resized(extent: u64, offset: i64, sizes: &[f64]) -> Pyramid {
    let at = |&size: &f64| {
        let ratio = size / sizes[0];
        let first = (offset as f64 / ratio + 1e-9).floor();
        let last = ((offset as f64 + extent as f64) / ratio - 1e-9).ceil();
        let corner = [first * size; 3];
        Level {
            offset: [first as i64; 3],
            corner,
            ..level(
                [(last - first) as u64; 3],
                [8; 3],
                [size; 3],
                corner.map(|corner| corner + (size - sizes[0]) / 2.0),
            )
        }
    };
    pyramid(sizes.iter().map(at).collect())
}

#[test]
fn coarser_levels_of_a_crop_show_its_place_whatever_the_ratio() {
    let image = resized(400, 0, &[4.0, 6.0]);
    let view = cropped(&image, [300; 3], [400; 3]);
    assert_eq!((view.origins[1], view.pyramid.levels[1].grid.shape.0), ([200; 3], [67; 3]));
    let view = cropped(&image, [399; 3], [400; 3]);
    assert_eq!((view.origins[1], view.pyramid.levels[1].grid.shape.0), ([266; 3], [1; 3]));
}

#[test]
fn levels_that_were_resized_to_whole_voxels_have_all_of_the_finest() {
    let scale = |voxels: u64| [1001.0 / voxels as f64; 3];
    let of = |voxels: u64| level([voxels; 3], [8; 3], scale(voxels), [0.0; 3]);
    let image = pyramid(vec![of(1001), of(500), of(250)]);
    let view = cropped(&image, [1000; 3], [1001; 3]);
    assert_eq!(view.origins, [[1000; 3], [499; 3], [249; 3]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn a_crop_s_coarser_levels_contain_its_nanometres_and_nothing_beside_them(
        extent in 1u64..3000,
        offset in prop_oneof![Just(0i64), -4000i64..4000],
        size in 0.5f64..50.0,
        ratios in proptest::collection::vec(prop_oneof![
            proptest::sample::select(vec![1.5, 4.0 / 3.0, 2.5, 16.18, 2.0, 3.0, 1.0]), 1.01f64..20.0,
        ], 1..4),
        cut in (any::<u64>(), any::<u64>()),
    ) {
        // What is a whole number but for its last digits is the whole number.
        let ratios = ratios.into_iter().map(|ratio: f64| if (ratio - ratio.round()).abs() < 0.02 * ratio { ratio.round() } else { ratio });
        let sizes: Vec<f64> = Some(size).into_iter().chain(ratios.map(|ratio| size * ratio)).collect();
        let image = resized(extent, offset, &sizes);
        let start = cut.0 % extent;
        let end = start + 1 + cut.1 % (extent - start);
        let view = cropped(&image, [start; 3], [end; 3]);
        prop_assert_eq!(view.pyramid.levels.len(), image.levels.len(), "each level lies over all of the finest");
        let finest = span(&view.pyramid.levels[0], 1);
        for (shown, &size) in view.pyramid.levels.iter().zip(&sizes) {
            let (begin, end) = span(shown, 1);
            let noise = 1e-4 * size;
            prop_assert!(begin <= finest.0 + noise && end >= finest.1 - noise, "{:?} of {finest:?}", (begin, end));
            prop_assert!(begin + size > finest.0 - noise && end - size < finest.1 + noise, "{:?} of {finest:?}", (begin, end));
        }
    }

    #[test]
    fn whole_factors_that_are_written_with_few_digits_are_whole(
        size in 1.0f64..10.0,
        factor in 2u64..40,
        digits in 3usize..7,
        coarse in 1u64..100_000,
        cut in (any::<u64>(), any::<u64>()),
    ) {
        let told = |size: f64| format!("{size:.digits$e}").parse::<f64>().unwrap();
        let extent = coarse * factor;
        let sizes = [told(size), told(size * factor as f64)];
        let of = |extent: u64, size: f64| level([extent; 3], [8; 3], [size; 3], [0.0; 3]);
        let image = pyramid(vec![of(extent, sizes[0]), of(coarse, sizes[1])]);
        let start = cut.0 % extent;
        let end = start + 1 + cut.1 % (extent - start);
        let view = cropped(&image, [start; 3], [end; 3]);
        let begin = view.origins[1][0];
        let expected = (start / factor, end.div_ceil(factor));
        prop_assert_eq!((begin, begin + view.pyramid.levels[1].grid.shape.0[0]), expected);
    }

    #[test]
    fn the_voxels_below_a_part_of_a_level_are_a_crop_that_shows_just_that_part(
        extent in 2u64..3000,
        offset in prop_oneof![Just(0i64), -4000i64..4000],
        ratio in prop_oneof![proptest::sample::select(vec![1.5, 4.0 / 3.0, 2.5, 16.18, 2.0, 3.0, 1.0]), 1.03f64..1.97],
        cut in (any::<u64>(), any::<u64>()),
    ) {
        let image = resized(extent, offset, &[4.0, 4.0 * ratio]);
        let [finest, coarse] = &image.levels[..] else { panic!("two levels") };
        let all = coarse.grid.shape.0[2];
        let start = cut.0 % all;
        let part = start..start + 1 + cut.1 % (all - start);
        let ratio = LevelRatio::of(coarse, finest, 2);
        let below = ratio.below(part.clone());
        if below.is_empty() {
            prop_assert_eq!(part.end - part.start, 1, "no voxel of the finest level lies within a lone one");
            return Ok(());
        }
        prop_assert_eq!(ratio.over(below.start..below.end.min(extent)), part);
    }
}
