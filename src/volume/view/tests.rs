//! Grammar and arithmetic of views.

mod labels;
mod ratio;

use proptest::prelude::*;

use super::*;

fn level(shape: [u64; 3], cell: [u64; 3], scale: [f64; 3], translation: [f64; 3]) -> Level {
    Level {
        grid: Grid { shape: Shape(shape), cell: Shape(cell) },
        scale,
        translation,
        corner: [0.0; 3],
        offset: [0; 3],
    }
}

/// A level as precomputed volumes have them: a lattice of `factor` nanometres whose voxel `offset` is the first.
fn placed(shape: [u64; 3], factor: [u64; 3], offset: [i64; 3]) -> Level {
    let scale = factor.map(|factor| factor as f64);
    let translation = std::array::from_fn(|axis| offset[axis] as f64 * scale[axis] + (scale[axis] - 1.0) / 2.0);
    let corner = std::array::from_fn(|axis| offset[axis] as f64 * scale[axis]);
    Level { offset, corner, ..level(shape, [8; 3], scale, translation) }
}

/// Where the level's first voxel begins and its last one ends along an axis, in nanometres, by what its document says (positions are
/// those of centres, counted from the centre of the finest voxel at 0).
fn span(level: &Level, axis: usize) -> (f64, f64) {
    let begin = level.translation[axis] - level.scale[axis] / 2.0;
    (begin, begin + level.grid.shape.0[axis] as f64 * level.scale[axis])
}

fn cropped(image: &Pyramid, start: [u64; 3], end: [u64; 3]) -> View {
    ViewSpec { crop: Some(Region { start, end }), ..ViewSpec::default() }.apply(image).unwrap()
}

fn pyramid(levels: Vec<Level>) -> Pyramid {
    Pyramid::for_tests(DataType::U8, levels)
}

/// A pyramid halved along every axis, with the half-voxel shifts of block averages.
fn halved(shape: [u64; 3], levels: u32) -> Pyramid {
    pyramid(
        (0..levels)
            .map(|n| {
                let factor = 1u64 << n;
                let scale = [5.24 * factor as f64, 4.0 * factor as f64, 4.0 * factor as f64];
                let half = (factor as f64 - 1.0) / 2.0;
                level(
                    shape.map(|extent| extent.div_ceil(factor)),
                    [64; 3],
                    scale,
                    [5.24 * half, 4.0 * half, 4.0 * half],
                )
            })
            .collect(),
    )
}

fn message(text: &str) -> String {
    ViewSpec::parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_text_is_the_image_itself() {
    assert_eq!(ViewSpec::parse(""), Ok(ViewSpec::default()));
    assert_eq!(ViewSpec::default().to_string(), "");
}

#[test]
fn the_name_of_the_contract_is_read_and_written() {
    let text = ".crop-z16000-17000_y18000-19000_x20000-21000.chunk-128";
    let spec = ViewSpec::parse(text).unwrap();
    assert_eq!(spec.crop, Some(Region { start: [16000, 18000, 20000], end: [17000, 19000, 21000] }));
    assert_eq!(spec.chunk, Some(Shape([128; 3])));
    assert_eq!(spec.to_string(), text);
    assert_eq!(ViewSpec::parse(".chunk-1x512x256").unwrap().chunk, Some(Shape([1, 512, 256])));
}

#[test]
fn equal_extents_may_be_written_one_by_one_which_is_a_name_of_its_own() {
    let (short, long) = (ViewSpec::parse(".chunk-64").unwrap(), ViewSpec::parse(".chunk-64x64x64").unwrap());
    assert_eq!(short.chunk, long.chunk);
    assert_ne!(short, long);
    assert_eq!((short.to_string().as_str(), long.to_string().as_str()), (".chunk-64", ".chunk-64x64x64"));
}

#[test]
fn levels_may_be_called_by_their_numbers() {
    let text = ".crop-z0-1_y0-1_x0-1.s2.numbered.chunk-64";
    let spec = ViewSpec::parse(text).unwrap();
    assert_eq!((spec.level, spec.level_names), (Some(LevelIndex(2)), LevelNames::Numbered));
    assert_eq!(spec.to_string(), text);
}

#[test]
fn numbered_levels_have_one_chunk_shape_that_of_the_finest_one_shown() {
    let image = pyramid(vec![
        level([64, 1500, 1500], [4, 256, 256], [8.0; 3], [0.0; 3]),
        level([64, 750, 750], [1, 512, 512], [8.0, 16.0, 16.0], [0.0; 3]),
        level([32, 375, 375], [1, 375, 375], [16.0, 32.0, 32.0], [0.0; 3]),
    ]);
    let cells = |text: &str| -> Vec<[u64; 3]> {
        let view = ViewSpec::parse(text).unwrap().apply(&image).unwrap();
        view.pyramid.levels.iter().map(|level| level.grid.cell.0).collect()
    };
    assert_eq!(cells(""), [[4, 256, 256], [1, 512, 512], [1, 375, 375]]);
    assert_eq!(cells(".numbered"), [[4, 256, 256]; 3]);
    assert_eq!(cells(".crop-z3-60_y9-900_x9-900.numbered"), [[4, 256, 256]; 3]);
    assert_eq!(cells(".numbered.chunk-64"), [[64; 3]; 3]);
    assert_eq!(cells(".s1.numbered"), [[1, 512, 512]]);
}

const ORDER: &str = "the parts come in this order: `.crop-….s<N>.numbered.chunk-…`";

#[test]
fn every_other_spelling_is_refused_with_a_sentence() {
    let parts = "the parts are `.crop-z<a>-<b>_y<a>-<b>_x<a>-<b>`, `.s<N>`, `.numbered`, and `.chunk-<N>` or `.chunk-<Z>x<Y>x<X>`";
    let axes = "a box is written `z<a>-<b>_y<a>-<b>_x<a>-<b>`, with all three axes in this order";
    for (text, expected) in [
        (".", format!("`` is no part of a view's name; {parts}")),
        ("chunk-64", format!("`chunk-64` is no part of a view's name; {parts}")),
        (".foo", format!("`foo` is no part of a view's name; {parts}")),
        (".v3.chunk-64", "`.v3` stands right before `.zarr` or nowhere".into()),
        (".chunk-64.", format!("`` is no part of a view's name; {parts}")),
        (".Chunk-64", format!("`Chunk-64` is no part of a view's name; {parts}")),
        (".chunk-64.crop-z0-1_y0-1_x0-1", ORDER.into()),
        (".chunk-64.numbered", ORDER.into()),
        (".numbered.s2", ORDER.into()),
        (".numbered.crop-z0-1_y0-1_x0-1", ORDER.into()),
        (".numbered.numbered", "a view has only one numbered".into()),
        (".chunk-64.chunk-64", "a view has only one chunk".into()),
        (".crop-z0-1_y0-1_x0-1.crop-z0-1_y0-1_x0-1", "a view has only one crop".into()),
        (".crop-", format!("`` is no box; {axes}")),
        (".crop-z0-1", format!("`z0-1` is no box; {axes}")),
        (".crop-x0-1_y0-1_z0-1", format!("`x0-1_y0-1_z0-1` is no box; {axes}")),
        (".crop-z0-1_y0-1_x0-1_z0-1", format!("`z0-1_y0-1_x0-1_z0-1` is no box; {axes}")),
        (".crop-z0_y0-1_x0-1", format!("`z0_y0-1_x0-1` is no box; {axes}")),
        (".crop-z00-1_y0-1_x0-1", "`00` has a leading zero".into()),
        (".crop-z0-01_y0-1_x0-1", "`01` has a leading zero".into()),
        (".crop-z+0-1_y0-1_x0-1", "`+0` is not a decimal number".into()),
        (".crop-z0--1_y0-1_x0-1", "`-1` is not a decimal number".into()),
        (".crop-z-1_y0-1_x0-1", "`` is not a decimal number".into()),
        (".crop-z0-1_y0- 1_x0-1", "` 1` is not a decimal number".into()),
        (".crop-z0-0x1_y0-1_x0-1", "`0x1` is not a decimal number".into()),
        (".crop-z0-٣_y0-1_x0-1", "`٣` is not a decimal number".into()),
        (".crop-z0-18446744073709551616_y0-1_x0-1", "18446744073709551616 is too large a number".into()),
        (
            ".crop-z5-5_y0-1_x0-1",
            "z 5-5 is empty: the end is the first voxel that is left out, so it must be larger".into(),
        ),
        (
            ".crop-z0-1_y0-1_x9-3",
            "x 9-3 is empty: the end is the first voxel that is left out, so it must be larger".into(),
        ),
        (".chunk-", "`` is not a decimal number".into()),
        (".chunk-064", "`064` has a leading zero".into()),
        (".chunk-64x64", "`64x64` is no chunk shape; one is written `<N>` or `<Z>x<Y>x<X>`".into()),
        (".chunk-1x2x3x4", "`1x2x3x4` is no chunk shape; one is written `<N>` or `<Z>x<Y>x<X>`".into()),
        (".chunk-0", "a chunk of 0 along z is not possible: extents are 1 to 4096".into()),
        (".chunk-1x1x4097", "a chunk of 4097 along x is not possible: extents are 1 to 4096".into()),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn what_an_image_does_not_allow_is_refused_with_a_sentence() {
    let image = halved([100, 200, 34427], 3);
    for (text, expected) in [
        (".crop-z0-10_y0-10_x0-99999", "x 0-99999 is outside the image, whose x extent is 34427"),
        (".crop-z100-101_y0-10_x0-9", "z 100-101 is outside the image, whose z extent is 100"),
        (".chunk-15", "a chunk of 15×15×15 uint8 voxels is a file of 3375 bytes; the smallest is 4 KiB"),
        (".chunk-1x1x4095", "a chunk of 1×1×4095 uint8 voxels is a file of 4095 bytes; the smallest is 4 KiB"),
        (".chunk-407", "a chunk of 407×407×407 uint8 voxels is a file of 67419143 bytes; the largest is 64 MiB"),
        (".chunk-4096", "a chunk of 4096×4096×4096 uint8 voxels is a file of 68719476736 bytes; the largest is 64 MiB"),
    ] {
        let spec = ViewSpec::parse(text).unwrap();
        assert_eq!(spec.apply(&image).unwrap_err().to_string(), expected, "{text}");
    }
    for text in [".chunk-16", ".chunk-1x1x4096", ".chunk-16x2048x2048", ".crop-z99-100_y0-200_x34426-34427"] {
        assert!(ViewSpec::parse(text).unwrap().apply(&image).is_ok(), "{text}");
    }
}

#[test]
fn a_crop_starts_its_own_grid_at_its_corner() {
    let image = halved([100, 200, 300], 3);
    let view = ViewSpec::parse(".crop-z10-20_y21-41_x30-130").unwrap().apply(&image).unwrap();
    assert_eq!(view.origins, [[10, 21, 30], [5, 10, 15], [2, 5, 7]]);
    let shapes: Vec<_> = view.pyramid.levels.iter().map(|level| level.grid.shape.0).collect();
    assert_eq!(shapes, [[10, 20, 100], [5, 11, 50], [3, 6, 26]]);
    assert_eq!(view.pyramid.levels[0].grid.cell, Shape([64; 3]));
    assert_eq!(view.pyramid.levels[1].translation, [2.62 + 5.0 * 10.48, 2.0 + 10.0 * 8.0, 2.0 + 15.0 * 8.0]);
}

#[test]
fn levels_from_the_first_empty_one_on_are_left_out() {
    // A source that drops the odd last plane: voxel 8 of s0 has no counterpart in s1, though it would in s2.
    let scale = |factor: f64| [4.0 * factor; 3];
    let image = pyramid(vec![
        level([9, 9, 9], [4; 3], scale(1.0), [0.0; 3]),
        level([4, 4, 4], [4; 3], scale(2.0), [0.0; 3]),
        level([3, 3, 3], [4; 3], scale(4.0), [0.0; 3]),
    ]);
    let view = ViewSpec::parse(".crop-z8-9_y0-9_x0-9").unwrap().apply(&image).unwrap();
    assert_eq!(view.pyramid.levels.len(), 1);
    assert_eq!(view.origins, [[8, 0, 0]]);
}

#[test]
fn levels_of_a_crop_lie_over_each_other_whatever_the_source_counts_from() {
    // s0 counts from 5, s1 from 2 (4 of s0) and s2 from 1 (4 as well): voxel 6 of s0 is in voxels 3 and 1 of the others.
    let image =
        pyramid(vec![placed([9; 3], [1; 3], [5; 3]), placed([5; 3], [2; 3], [2; 3]), placed([3; 3], [4; 3], [1; 3])]);
    let view = cropped(&image, [1; 3], [2; 3]);
    assert_eq!(view.origins, [[1; 3], [1; 3], [0; 3]]);
    let spans: Vec<_> = view.pyramid.levels.iter().map(|level| span(level, 0)).collect();
    assert_eq!(spans, [(5.5, 6.5), (5.5, 7.5), (3.5, 7.5)]);
    let negative = pyramid(vec![placed([9; 3], [1; 3], [-3; 3]), placed([6; 3], [2; 3], [-2; 3])]);
    assert_eq!(cropped(&negative, [0; 3], [2; 3]).origins, [[0; 3], [0; 3]]);
    assert_eq!(cropped(&negative, [1; 3], [2; 3]).origins, [[1; 3], [1; 3]]);
}

#[test]
fn a_level_alone_is_the_one_that_the_crop_shows_under_its_number() {
    let image = pyramid([1, 2, 4].map(|n| placed([100 / n, 200 / n, 300 / n], [n; 3], [0; 3])).to_vec());
    let all = ViewSpec::parse(".crop-z5-90_y7-90_x9-90").unwrap().apply(&image).unwrap();
    assert_eq!(all.numbers, [0, 1, 2]);
    for number in 0..3u8 {
        let spec = ViewSpec::parse(&format!(".crop-z5-90_y7-90_x9-90.s{number}.chunk-32")).unwrap();
        let view = spec.apply(&image).unwrap();
        let place = usize::from(number);
        assert_eq!((&view.numbers[..], &view.origins[..]), (&[number][..], &all.origins[place..=place]));
        let [level] = &view.pyramid.levels[..] else { panic!("one level") };
        let Level { grid, scale, translation, corner, offset } = &all.pyramid.levels[place];
        assert_eq!((level.grid.shape, level.grid.cell), (grid.shape, Shape([32; 3])));
        let places = (&level.scale, &level.translation, &level.corner, &level.offset);
        assert_eq!(places, (scale, translation, corner, offset));
    }
    let message = |text: &str| ViewSpec::parse(text).and_then(|spec| spec.apply(&image)).unwrap_err().to_string();
    assert_eq!(message(".s3"), "there is no level s3; the coarsest one is s2");
    assert_eq!(message(".s0.s0"), "a view has only one level");
    assert_eq!(message(".chunk-64.s0"), ORDER);
    assert_eq!(message(".s0.crop-z0-1_y0-1_x0-1"), ORDER);
    assert_eq!(message(".s00"), "`00` has a leading zero");
    assert_eq!(message(".s256"), "256 is too large a number");
    let long = pyramid(vec![placed([1, 1, 1 << 33], [1; 3], [0; 3])]);
    let refused = ViewSpec::parse(".s0").unwrap().apply(&long).unwrap_err().to_string();
    assert!(refused.contains("is too long for a level alone"), "{refused}");
}

#[test]
fn a_crop_of_a_crop_is_the_crop_of_both() {
    let image = pyramid([1, 2, 4].map(|n| placed([100 / n, 200 / n, 300 / n], [n; 3], [0; 3])).to_vec());
    let outer = cropped(&image, [5, 7, 9], [90, 90, 90]);
    let inner = cropped(&outer.pyramid, [1, 2, 4], [10, 20, 30]);
    let both = cropped(&image, [6, 9, 13], [15, 27, 39]);
    for number in 0..3 {
        let sum: [u64; 3] = std::array::from_fn(|axis| outer.origins[number][axis] + inner.origins[number][axis]);
        assert_eq!(sum, both.origins[number]);
        assert_eq!(inner.pyramid.levels[number], both.pyramid.levels[number]);
    }
}

/// The box of a level by asking each voxel of s0 in which coarse voxel it lies.
fn naive_range(start: u64, end: u64, factor: u64, extent: u64) -> Option<(u64, u64)> {
    let touched: Vec<u64> = (start..end).map(|voxel| voxel / factor).filter(|&voxel| voxel < extent).collect();
    Some((*touched.iter().min()?, touched.iter().max()? + 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn a_name_says_all_of_a_view_and_is_the_only_one(
        crop in proptest::option::of(proptest::array::uniform3((0u64..1 << 40, 1u64..1 << 40))),
        level in proptest::option::of(any::<u8>().prop_map(LevelIndex)),
        chunk in proptest::option::of(proptest::array::uniform3(1u64..=4096)),
        level_names in proptest::sample::select(&LevelNames::ALL),
    ) {
        let crop = crop.map(|ranges| Region {
            start: ranges.map(|(start, _)| start),
            end: ranges.map(|(start, length)| start + length),
        });
        let spec = ViewSpec { crop, level, level_names, chunk: chunk.map(Shape), ..ViewSpec::default() };
        prop_assert_eq!(ViewSpec::parse(&spec.to_string()), Ok(spec));
    }

    #[test]
    fn any_text_is_refused_or_is_its_view_s_name(text in r"(\.crop-z[0-9]{1,3}-[0-9]{1,3}_y[0-9]{1,3}-[0-9]{1,3}_x[0-9]{1,3}-[0-9]{1,3})?(\.s[0-9]{1,3})?(\.numbered)?(\.chunk-[0-9x]{1,9})?|\PC{0,40}") {
        if let Ok(spec) = ViewSpec::parse(&text) {
            prop_assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn crops_agree_with_counting_voxels(
        shape in proptest::array::uniform3(1u64..60),
        cut in proptest::array::uniform3((0u64..1000, 0u64..1000)),
        factors in proptest::collection::vec(proptest::array::uniform3(1u64..5), 0..4),
        rounded_up in any::<bool>(),
    ) {
        let mut total = [1u64; 3];
        let mut totals = vec![total];
        for factor in factors {
            total = std::array::from_fn(|axis| total[axis] * factor[axis]);
            totals.push(total);
        }
        let extents = |total: [u64; 3]| std::array::from_fn(|axis| {
            (if rounded_up { shape[axis].div_ceil(total[axis]) } else { shape[axis] / total[axis] }).max(1)
        });
        let image = pyramid(totals.iter().map(|&total| {
            level(extents(total), [8; 3], total.map(|factor| 5.24 * factor as f64), [1.0; 3])
        }).collect());
        let start: [u64; 3] = std::array::from_fn(|axis| cut[axis].0 % shape[axis]);
        let end = std::array::from_fn(|axis| start[axis] + 1 + cut[axis].1 % (shape[axis] - start[axis]));
        let view = ViewSpec { crop: Some(Region { start, end }), ..ViewSpec::default() }.apply(&image).unwrap();

        let expected: Vec<[(u64, u64); 3]> = totals.iter().map_while(|&total| {
            let extent: [u64; 3] = extents(total);
            let axis = |axis: usize| naive_range(start[axis], end[axis], total[axis], extent[axis]);
            Some([axis(0)?, axis(1)?, axis(2)?])
        }).collect();
        prop_assert_eq!(view.pyramid.levels.len(), expected.len());
        for (number, ranges) in expected.into_iter().enumerate() {
            let shown = &view.pyramid.levels[number];
            prop_assert_eq!(view.origins[number], ranges.map(|(start, _)| start));
            prop_assert_eq!(shown.grid.shape, Shape(ranges.map(|(start, end)| end - start)));
            let scale = image.levels[number].scale;
            prop_assert_eq!(shown.translation, std::array::from_fn(|axis| sum([1.0, ranges[axis].0 as f64 * scale[axis]])));
        }
    }

    #[test]
    fn a_level_s_box_is_the_voxels_that_lie_over_the_crop(
        shape in proptest::array::uniform3(1u64..40),
        cut in proptest::array::uniform3((0u64..1000, 0u64..1000)),
        offset in proptest::array::uniform3(-30i64..30),
        coarser in proptest::collection::vec(
            (proptest::array::uniform3(1u64..6), proptest::array::uniform3(-1i64..2), proptest::array::uniform3(1u64..30)),
            1..4,
        ),
    ) {
        let mut levels = vec![placed(shape, [1; 3], offset)];
        for (factor, shift, extent) in coarser {
            // Writers round offsets down, up, or anyhow.
            let first = std::array::from_fn(|axis| offset[axis].div_euclid(factor[axis] as i64) + shift[axis]);
            levels.push(placed(extent, factor, first));
        }
        let image = pyramid(levels);
        let start: [u64; 3] = std::array::from_fn(|axis| cut[axis].0 % shape[axis]);
        let end = std::array::from_fn(|axis| start[axis] + 1 + cut[axis].1 % (shape[axis] - start[axis]));
        let view = cropped(&image, start, end);

        let expected: Vec<[(u64, u64); 3]> = image.levels.iter().map_while(|level| {
            let over = |axis: usize| {
                let finest = |voxel: u64| (voxel as i64 + offset[axis]) as f64;
                let voxels = (0..level.grid.shape.0[axis]).filter(|&voxel| {
                    let begin = (voxel as i64 + level.offset[axis]) as f64 * level.scale[axis];
                    begin < finest(end[axis]) && begin + level.scale[axis] > finest(start[axis])
                });
                let voxels: Vec<u64> = voxels.collect();
                Some((*voxels.first()?, *voxels.last()? + 1))
            };
            Some([over(0)?, over(1)?, over(2)?])
        }).collect();
        let found: Vec<[(u64, u64); 3]> = view.origins.iter().zip(&view.pyramid.levels).map(|(origin, level)| {
            std::array::from_fn(|axis| (origin[axis], origin[axis] + level.grid.shape.0[axis]))
        }).collect();
        prop_assert_eq!(found, expected);

        for (shown, whole) in view.pyramid.levels.iter().zip(&image.levels) {
            prop_assert_eq!(shown.corner, std::array::from_fn(|axis| span(shown, axis).0 + 0.5), "beside the centres");
            for axis in 0..3 {
                let (finest, shown, whole) = (span(&view.pyramid.levels[0], axis), span(shown, axis), span(whole, axis));
                prop_assert!(shown.0 <= finest.0.max(whole.0) && shown.1 >= finest.1.min(whole.1));
            }
        }
    }

    #[test]
    fn no_offset_and_no_factor_leads_out_of_the_level(
        shapes in proptest::array::uniform2(proptest::array::uniform3(any_extent())),
        offsets in proptest::array::uniform2(proptest::array::uniform3(any_offset())),
        scales in proptest::array::uniform2(proptest::array::uniform3(any::<f64>())),
        cut in proptest::array::uniform3((any::<u64>(), any::<u64>())),
    ) {
        let at = |number: usize| Level { offset: offsets[number], ..level(shapes[number], [8; 3], scales[number], [0.0; 3]) };
        let image = pyramid(vec![at(0), at(1)]);
        let start: [u64; 3] = std::array::from_fn(|axis| cut[axis].0 % shapes[0][axis]);
        let end = std::array::from_fn(|axis| start[axis] + 1 + cut[axis].1 % (shapes[0][axis] - start[axis]));
        let view = cropped(&image, start, end);
        for (number, (level, origin)) in view.pyramid.levels.iter().zip(&view.origins).enumerate() {
            for axis in 0..3 {
                let extent = level.grid.shape.0[axis];
                prop_assert!(extent > 0 && origin[axis] < shapes[number][axis]);
                prop_assert!(extent <= shapes[number][axis] - origin[axis]);
            }
        }
    }
}

fn any_extent() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..9, Just(u64::MAX), 1u64..=u64::MAX]
}

fn any_offset() -> impl Strategy<Value = i64> {
    prop_oneof![-9i64..9, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
}
