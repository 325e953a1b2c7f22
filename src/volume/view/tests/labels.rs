//! Labels through the views of their image.

use proptest::prelude::*;

use super::*;
use crate::source::StatedPlace;
use crate::volume::computed::DownsamplingRule;

#[test]
fn labels_that_count_from_elsewhere_are_cropped_by_the_same_indices_and_by_levels_of_their_own() {
    let image = pyramid(vec![placed([9; 3], [1; 3], [5; 3]), placed([5; 3], [2; 3], [2; 3])]);
    let labels = pyramid(vec![placed([9; 3], [1; 3], [0; 3]), placed([5; 3], [2; 3], [0; 3])]);
    let spec = ViewSpec { crop: Some(Region { start: [1; 3], end: [2; 3] }), ..ViewSpec::default() };
    let shown = spec.show_label(&image, &labels, |spec, label| spec.apply(label)).unwrap().unwrap();
    assert_eq!(spec.apply(&image).unwrap().origins, [[1; 3], [1; 3]]);
    assert_eq!(shown.origins, [[1; 3], [0; 3]]);
    assert_eq!((span(&shown.pyramid.levels[0], 2), span(&shown.pyramid.levels[1], 2)), ((0.5, 1.5), (-0.5, 1.5)));
}

#[test]
fn labels_of_other_voxels_are_cropped_by_nanometres() {
    let image = pyramid(vec![placed([40, 60, 80], [1; 3], [0; 3])]);
    // No file says where these are.
    let unplaced = |shape| {
        let level = Level { translation: [0.0; 3], ..placed(shape, [2; 3], [0; 3]) };
        Pyramid { stated_place: StatedPlace::Nowhere, ..pyramid(vec![level]) }
    };
    let labels = unplaced([20, 30, 40]);
    let shown = |start, end| {
        let spec = ViewSpec { crop: Some(Region { start, end }), ..ViewSpec::default() };
        spec.show_label(&image, &labels, |spec, label| spec.apply(label)).unwrap()
    };
    let view = shown([3, 4, 5], [9, 11, 14]).unwrap();
    assert_eq!((view.origins[0], view.pyramid.levels[0].grid.shape.0), ([1, 2, 2], [4, 4, 5]));
    let view = shown([39, 59, 79], [40, 60, 80]).unwrap();
    assert_eq!((view.origins[0], view.pyramid.levels[0].grid.shape.0), ([19, 29, 39], [1; 3]));
    let small = unplaced([5; 3]);
    let beyond = ViewSpec { crop: Some(Region { start: [20; 3], end: [30; 3] }), ..ViewSpec::default() };
    assert!(beyond.show_label(&image, &small, |spec, label| spec.apply(label)).unwrap().is_none());
}

/// A precomputed image of 30 × 8 × 8 nm whose first voxel is (21, 7, 13), and labels of these voxels without a place.
fn beside_offset(size: [f64; 3], shape: [u64; 3]) -> (Pyramid, Pyramid) {
    let at = [630.0, 56.0, 104.0];
    let image = Level { offset: [21, 7, 13], corner: at, ..level([45, 83, 97], [8; 3], [30.0, 8.0, 8.0], at) };
    let labels = pyramid(vec![level(shape, [8; 3], size, [0.0; 3])]);
    (pyramid(vec![image]), Pyramid { stated_place: StatedPlace::Nowhere, ..labels })
}

#[test]
fn labels_without_a_place_begin_at_the_corner_of_their_image_wherever_that_lies() {
    let (image, same) = beside_offset([30.0, 8.0, 8.0], [45, 83, 97]);
    assert_eq!(in_place(&image, &same).levels[0].translation, [630.0, 56.0, 104.0]);
    let uncalibrated = Pyramid { calibrated: [false; 3], ..beside_offset([1.0; 3], [45, 83, 97]).1 };
    assert_eq!(in_place(&image, &uncalibrated).levels[0], in_place(&image, &same).levels[0]);
    let (image, coarse) = beside_offset([60.0, 16.0, 16.0], [23, 42, 49]);
    let shown = in_place(&image, &coarse).levels[0].clone();
    assert_eq!((shown.translation, shown.corner), ([645.0, 60.0, 108.0], [630.0, 56.0, 104.0]));
    let crop = Some(Region { start: [4, 11, 20], end: [40, 60, 80] });
    let spec = ViewSpec { crop, ..ViewSpec::default() };
    let view = spec.show_label(&image, &coarse, |spec, label| spec.apply(label)).unwrap().unwrap();
    assert_eq!((view.origins[0], view.pyramid.levels[0].grid.shape.0), ([2, 5, 10], [18, 25, 30]));
    assert_eq!(view.pyramid.levels[0].corner, [750.0, 136.0, 264.0], "voxel 4, 10, 20 of the image");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn labels_have_as_many_levels_as_every_view_shows_of_their_image(
        levels in 1u32..6,
        stored in 1usize..8,
        coarser in 0u32..3,
        is_placed in any::<bool>(),
        cut in proptest::option::of(proptest::array::uniform3((0u64..1000, 0u64..1000))),
    ) {
        let image = halved([50, 60, 70], levels);
        // Of the image's voxels or coarser ones, of which some levels are there in any case and the others can be computed.
        let mut label = halved([50, 60, 70], 9);
        label.levels.drain(..coarser as usize);
        label.further = label.levels.split_off(stored.min(label.levels.len())).into();
        label.computed = Some(DownsamplingRule::Mode);
        label.stated_place = if is_placed { StatedPlace::Centre } else { StatedPlace::Nowhere };
        let crop = cut.map(|cut| {
            let start: [u64; 3] = std::array::from_fn(|axis| cut[axis].0 % [50, 60, 70][axis]);
            let end = std::array::from_fn(|axis| start[axis] + 1 + cut[axis].1 % ([50, 60, 70][axis] - start[axis]));
            Region { start, end }
        });
        let view = ViewSpec { crop, ..ViewSpec::default() };
        let of = |spec: ViewSpec| spec.show_label(&image, &label, |spec, label| spec.apply(label)).unwrap();
        let (shown, shown_of_image) = (of(view).unwrap(), view.apply(&image).unwrap());
        prop_assert_eq!(&shown.numbers, &shown_of_image.numbers);
        prop_assert_eq!(shown.pyramid.levels.len(), shown.numbers.len());
        for number in 0..9 {
            let alone = ViewSpec { level: Some(LevelIndex(number)), ..view };
            let is_there = shown_of_image.position(LevelIndex(number)).is_some();
            prop_assert_eq!(of(alone).is_some(), is_there, "{}", number);
        }
        // What cannot be computed is not made up.
        let few = Pyramid { further: std::sync::Arc::default(), ..label.clone() };
        let few = view.show_label(&image, &few, |spec, label| spec.apply(label)).unwrap().unwrap();
        prop_assert_eq!(few.numbers.len(), label.levels.len().min(shown.numbers.len()));
    }

    #[test]
    fn labels_lie_over_their_image_by_their_centres_as_by_their_corners(
        sizes in proptest::array::uniform2(proptest::array::uniform3(1u32..100)),
        first in proptest::array::uniform3(-1000i32..1000),
        own in proptest::array::uniform3(-1000i32..1000),
        unshown in proptest::array::uniform3(0u32..20),
        stated_place in proptest::sample::select(vec![StatedPlace::Centre, StatedPlace::Corner, StatedPlace::Nowhere]),
    ) {
        let of = |size: [u32; 3], at: [i32; 3]| level([9, 8, 7], [8; 3], size.map(f64::from), at.map(f64::from));
        // An image without its finest levels has the corner of its first voxel nearer than its centre.
        let image = of(sizes[0], first);
        let corner = std::array::from_fn(|axis| image.translation[axis] - f64::from(unshown[axis]));
        let image = Level { corner, ..image };
        let finest = of(sizes[1], own);
        let finest = Level { corner: finest.translation, ..finest };
        let coarser = Level {
            scale: finest.scale.map(|size| 2.0 * size),
            translation: std::array::from_fn(|axis| finest.translation[axis] + finest.scale[axis] / 2.0),
            ..finest.clone()
        };
        let labels = Pyramid { stated_place, ..pyramid(vec![finest.clone(), coarser.clone()]) };
        let all = in_place(&pyramid(vec![image.clone()]), &labels).into_owned().levels;
        let shown = &all[0];
        for axis in 0..3 {
            let by_centre = span(shown, axis).0 - span(&image, axis).0;
            let by_corner = shown.corner[axis] - image.corner[axis];
            prop_assert!((by_centre - by_corner).abs() < 1e-9);
            match stated_place {
                StatedPlace::Centre => prop_assert_eq!(shown.translation[axis], finest.translation[axis]),
                StatedPlace::Corner => prop_assert_eq!(shown.corner[axis], finest.corner[axis]),
                StatedPlace::Nowhere => prop_assert_eq!(by_corner, 0.0),
            }
            prop_assert_eq!(all[1].corner[axis], shown.corner[axis]);
            prop_assert_eq!(all[1].translation[axis] - shown.translation[axis], finest.scale[axis] / 2.0);
        }
    }
}
