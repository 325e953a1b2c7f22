//! Where levels lie.

use super::*;
use crate::source::StatedPlace;

fn place(attributes: Value) -> Placed {
    let source = Shelf::of([("attributes.json", with(sized(20), attributes))]).open_n5().unwrap();
    let level = &source.description().levels[0];
    (level.scale, level.translation, source.relative(LevelIndex(0)).map(|relative| relative.scale))
}

#[test]
fn an_offset_is_in_its_own_unit_or_in_that_of_the_resolution() {
    let (scale, at) = (Some([5.0, 4.0, 2.0]), [400.0, 160.0, 80.0]);
    // Crops of Heinrich et al., 2021.
    let crop = json!({"resolution": [2, 4, 5], "resolution_unit": "nm", "offset": [80, 160, 400], "offset_unit": "nm"});
    assert_eq!(place(crop.clone()), (scale, at, None));
    assert_eq!(place(with(crop.clone(), json!({"offset_unit": null}))), (scale, at, None));
    assert_eq!(place(with(crop.clone(), json!({"offset_unit": "um", "offset": [0.08, 0.16, 0.4]}))), (scale, at, None));
    assert_eq!(place(json!({"resolution": [2, 4, 5], "unit": "nm", "offset": [80, 160, 400]})), (scale, at, None));
    let viewers = json!({"pixelResolution": {"dimensions": [2, 4, 5], "unit": "nm"}, "offset": [80, 160, 400]});
    assert_eq!(place(viewers), (scale, at, None));
    let apart = json!({"pixelResolution": {"unit": "nm"}, "resolution": [2, 4, 5], "offset": [80, 160, 400]});
    assert_eq!(place(apart), (scale, at, None));
    // What is no position in space.
    for other in [json!(7), json!([1, 2]), json!("0")] {
        let (_, translation, _) = place(with(crop.clone(), json!({"offset": other, "resolution_unit": null})));
        assert_eq!(translation, [0.0; 3]);
    }
    assert_eq!(place(with(crop, json!({"offset_unit": "parsec"}))), (scale, [0.0; 3], None));
}

#[test]
fn without_a_unit_an_offset_is_counted_in_voxels() {
    let levels = |group: Value| {
        let second = with(sized(10), json!({"downsamplingFactors": [2.0, 2.0, 2.0], "offset": [9, 9, 9]}));
        let files = [("attributes.json", group), ("s0/attributes.json", sized(20)), ("s1/attributes.json", second)];
        let source = Shelf::of(files).open_n5().unwrap();
        [0, 1].map(|number| source.relative(LevelIndex(number)).unwrap().translation)
    };
    // The offset is in the units of the resolution.
    let paintera = json!({"multiScale": true, "resolution": [8, 8, 40], "unit": "pixel", "offset": [800, 80, 0]});
    assert_eq!(levels(paintera.clone()), [[0.0, 10.0, 100.0], [0.5, 10.5, 100.5]]);
    assert_eq!(levels(with(paintera, json!({"offset_unit": "nm"}))), [[0.0; 3], [0.5; 3]]);
}

#[test]
fn a_resolution_beside_which_nothing_says_a_unit_is_in_nanometres_as_funlib_and_paintera_have_it() {
    let (scale, at) = (Some([40.0, 9.0, 8.0]), [400.0, 160.0, 80.0]);
    let bare = json!({"resolution": [8, 9, 40], "offset": [80, 160, 400]});
    assert_eq!(place(bare.clone()), (scale, at, None));
    assert_eq!(place(with(bare.clone(), json!({"offset": [0.08, 0.16, 0.4], "offset_unit": "um"}))), (scale, at, None));
    for other in [json!({"unit": "pixel"}), json!({"units": ["px", "px", "px"]}), json!({"saved_completely": true})] {
        let group = Shelf::of([("attributes.json", with(bare.clone(), other)), ("s0/attributes.json", sized(20))]);
        let source = group.open_n5().unwrap();
        assert_eq!(source.description().levels[0].scale, None);
        assert_eq!(source.plain_voxel_size(), Some([40.0, 9.0, 8.0]));
    }
    // A unit that another size has comes before what is taken for granted.
    let levels = [json!({"pixelResolution": {"dimensions": [0.008, 0.009, 0.04], "unit": "um"}}), json!({})];
    let group = json!({"resolution": [1, 1, 1], "downsamplingFactors": [[1, 1, 1], [2, 2, 2]]});
    assert_eq!(places(Some(group), levels)[1].0, Some([80.0, 18.0, 16.0]));
    let corner = |attributes: Value| {
        let lone = Shelf::of([("attributes.json", with(sized(20), attributes))]).open_n5().unwrap();
        lone.stated_place()
    };
    assert_eq!(corner(bare.clone()), StatedPlace::Corner);
    assert_eq!(corner(with(bare, json!({"unit": "nm"}))), StatedPlace::Centre);
}

#[test]
fn lengths_as_dacapo_writes_them_are_along_the_axes_that_it_names() {
    let array = |axes: [&str; 3], sizes: [u64; 3], units: Value| {
        let named = json!({"axes": axes, "resolution": sizes, "dimension_units": units, "offset": [80, 160, 400]});
        place(named).0
    };
    let lengths = |sizes: [&str; 3]| json!(sizes.map(|size| format!("{size} nm")));
    let expected = Some([40.0, 9.0, 8.0]);
    assert_eq!(array(["x", "y", "z"], [8, 9, 40], lengths(["8", "9", "40"])), expected);
    assert_eq!(array(["z", "y", "x"], [40, 9, 8], lengths(["40", "9", "8"])), expected);
    // Units alone, a resolution in another unit, and none.
    assert_eq!(array(["x", "y", "z"], [8, 9, 40], json!(["nm", "nm", "nm"])), expected);
    assert_eq!(array(["x", "y", "z"], [1, 1, 5], json!(["0.008 um", "0.009 um", "0.04 um"])), expected);
    assert_eq!(place(json!({"dimension_units": ["8 nm", "9 nm", "40 nm"]})).0, expected);
    // It has the number of channels first, although that axis is the last.
    let four = json!({"dimensions": [20, 20, 20, 1], "blockSize": [4, 4, 4, 1], "axes": ["x", "y", "z", "c"]});
    let lone = with(four, json!({"resolution": [8, 9, 40], "dimension_units": ["1", "8 nm", "9 nm", "40 nm"]}));
    assert_eq!(place(lone).0, expected);
    // What are no lengths is nothing against the resolution.
    assert_eq!(array(["x", "y", "z"], [8, 9, 40], json!("nm")), expected);
    assert_eq!(array(["x", "y", "z"], [8, 9, 40], json!([7, null, "8 parsec"])), expected);
}

#[test]
fn a_setup_of_big_data_viewer_has_the_ratio_of_edges_that_its_first_moment_says() {
    let files = |moment: Value| {
        Shelf::of([
            ("attributes.json", json!({"downsamplingFactors": [[1, 1, 1], [2, 2, 1]], "dataType": "uint8"})),
            ("timepoint0/attributes.json", moment),
            ("timepoint0/s0/attributes.json", sized(20)),
            ("timepoint0/s1/attributes.json", sized(10)),
        ])
    };
    let source = files(json!({"resolution": [8.0, 8.0, 40.0], "multiScale": true})).open_n5().unwrap();
    assert_eq!(source.plain_voxel_size(), Some([40.0, 8.0, 8.0]));
    assert_eq!((source.description().levels[0].scale, source.partial_voxel_size()), (None, [None; 3]));
    assert_eq!(files(json!({})).open_n5().unwrap().plain_voxel_size(), None);
    assert_eq!(files(json!({"resolution": [0, 8.0, 40.0]})).open_n5().unwrap().plain_voxel_size(), None);
}

/// OpenOrganelle's transform of a level that is so much coarser, away from the origin.
fn transform(size: f64, at: [f64; 3]) -> Value {
    json!({"transform": {"axes": ["z", "y", "x"], "ordering": "C", "scale": [5.0 * size, 4.0 * size, 4.0 * size],
           "translate": at, "units": ["nm", "nm", "nm"]}})
}

#[test]
fn what_a_level_says_of_itself_comes_before_what_its_group_says_of_all() {
    let at = [[400.0, 80.0, 16.0], [420.0, 84.0, 20.0]];
    let own = || [transform(1.0, at[0]), transform(2.0, at[1])];
    let sizes = vec![(Some([5.0, 4.0, 4.0]), at[0], None), (Some([10.0, 8.0, 8.0]), at[1], None)];
    let resolution = json!({"dimensions": [4.0, 4.0, 5.0], "unit": "nm"});
    for group in [
        json!({"scales": [[1, 1, 1], [2, 2, 2]], "pixelResolution": resolution}),
        json!({"downsamplingFactors": [[1, 1, 1], [2, 2, 2]], "resolution": [4, 4, 5], "units": ["nm", "nm", "nm"]}),
        json!({"scales": [[1, 1, 1], [2, 2, 2]]}),
        json!({"pixelResolution": resolution}),
    ] {
        assert_eq!(places(Some(group), own()), sizes);
    }
    // A level without one lies beside the finest one that has.
    let group = || Some(json!({"scales": [[1, 1, 1], [2, 2, 2]], "pixelResolution": resolution}));
    let [first, _] = own();
    assert_eq!(places(group(), [first, json!({})])[1], (Some([10.0, 8.0, 8.0]), [402.5, 82.0, 18.0], None));
}

#[test]
fn a_level_that_cannot_be_read_takes_no_sizes_from_the_others() {
    let unreadable = json!({"compression": {"type": "jpeg"}});
    for first in [transform(1.0, [0.0; 3]), json!({"pixelResolution": {"dimensions": [4.0, 4.0, 5.0], "unit": "nm"}})] {
        assert_eq!(places(None, [first, unreadable.clone()]), [(Some([5.0, 4.0, 4.0]), [0.0; 3], None)]);
    }
}

#[test]
fn sizes_that_are_none_are_no_reason_to_do_without_the_voxels() {
    for wrong in [
        json!({"pixelResolution": {"dimensions": [0, 0, 0], "unit": "nm"}}),
        json!({"resolution": [4, 5], "units": ["nm", "nm"]}),
        json!({"pixelResolution": [4, 4, 5, 6]}),
        json!({"pixelResolution": {"unit": "nm"}}),
    ] {
        assert_eq!(place(wrong.clone()).0, None);
        let levels = places(Some(with(wrong, json!({"scales": [[1, 1, 1], [2, 2, 2]]}))), [json!({}), json!({})]);
        assert_eq!(levels.iter().map(|level| level.2).collect::<Vec<_>>(), [Some([1.0; 3]), Some([2.0; 3])]);
    }
    let unlisted = json!({"pixelResolution": {"dimensions": [4, 4, 5], "unit": "nm"}, "scales": [[1, 1], [2, 2]]});
    assert!(places(Some(unlisted), [json!({}), json!({})]).iter().all(|level| level.2.is_none()));
}
