//! Arrays that are shown alone: what they and the groups around them say of them.

use serde_json::{Value, json};

use super::groups::with;
use super::*;
use crate::geometry::Shape;
use crate::source::{Source, StatedPlace};

/// Attributes of an image that lists the array under these tests, with axes of these names.
pub(super) fn image(names: &[&str], scales: &[Value]) -> Value {
    let axis = |name: &&str| match *name {
        "c" => json!({"name": "c", "type": "channel"}),
        "t" => json!({"name": "t", "type": "time"}),
        name => json!({"name": name, "type": "space", "unit": "nanometer"}),
    };
    let level = |(number, scale): (usize, &Value)| {
        let path = if number == 0 { "image.zarr".to_owned() } else { format!("coarser{number}") };
        json!({"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    };
    let datasets: Vec<Value> = scales.iter().enumerate().map(level).collect();
    let axes: Vec<Value> = names.iter().map(axis).collect();
    json!({"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]})
}

/// The first level, and its translation and what that is the place of.
fn of(shelf: &Shelf) -> (Shape, Option<[f64; 3]>, [f64; 3], StatedPlace) {
    let source = shelf.open().unwrap();
    let level = &source.description().levels[0];
    (level.grid.shape, level.scale, level.translation, source.stated_place())
}

#[test]
fn an_array_below_a_group_has_the_axes_and_the_place_that_the_group_lists() {
    let v2 = |attributes: Value| Shelf::of([(".zarray", zarray())]).raw("../.zattrs", &attributes.to_string());
    let turned = v2(image(&["x", "y", "z"], &[json!([8, 8, 40]), json!([16, 16, 80])]));
    assert_eq!(of(&turned), (Shape([6, 5, 4]), Some([40.0, 8.0, 8.0]), [0.0; 3], StatedPlace::Centre));
    // One request, after those for the array itself.
    assert_eq!(turned.asked(), [".zattrs", "zarr.json", ".zarray", "../.zattrs"]);
    let v3 = Shelf::of([("zarr.json", zarr_json())]);
    let group = json!({"zarr_format": 3, "node_type": "group",
        "attributes": {"ome": image(&["x", "y", "z"], &[json!([8, 8, 40])])}});
    let v3 = v3.raw("../zarr.json", &group.to_string());
    assert_eq!(of(&v3), (Shape([6, 5, 4]), Some([40.0, 8.0, 8.0]), [0.0; 3], StatedPlace::Centre));
    let five = with(with(zarray(), "/shape", json!([1, 1, 4, 5, 6])), "/chunks", json!([1, 1, 2, 3, 4]));
    let five = Shelf::of([(".zarray", five)]);
    let group = image(&["t", "c", "z", "y", "x"], &[json!([0, 1, 40, 8, 8])]);
    assert_eq!(of(&five.raw("../.zattrs", &group.to_string())).1, Some([40.0, 8.0, 8.0]));
    // An image that lists other arrays is that of others.
    let mut other = image(&["x", "y", "z"], &[json!([8, 8, 40])]);
    other["multiscales"][0]["datasets"][0]["path"] = json!("another.zarr");
    assert_eq!(of(&v2(other)), (Shape([4, 5, 6]), None, [0.0; 3], StatedPlace::Nowhere));
    for nothing in [json!({}), json!({"multiscales": []})] {
        assert_eq!(of(&v2(nothing)).0, Shape([4, 5, 6]));
    }
}

#[test]
fn a_coarser_array_has_no_voxel_size_where_its_group_states_one_for_all() {
    let mut group = image(&["z", "y", "x"], &[json!([40, 8, 8]), json!([40, 8, 8])]);
    let array = |group: &Value| Shelf::of([(".zarray", zarray())]).raw("../.zattrs", &group.to_string());
    assert_eq!(of(&array(&group)).1, Some([40.0, 8.0, 8.0]));
    group["multiscales"][0]["datasets"][0]["path"] = json!("finest");
    group["multiscales"][0]["datasets"][1]["path"] = json!("/image.zarr/");
    assert_eq!(of(&array(&group)).1, None);
}

#[test]
fn an_array_says_itself_what_its_axes_and_its_place_are() {
    let v2 = |attributes: Value| {
        let shelf = Shelf::of([(".zarray", zarray()), (".zattrs", attributes)]);
        let found = of(&shelf);
        // It says all that is to know, so nobody else is asked.
        (found, shelf.asked().len())
    };
    let v3 = |attributes: Value| of(&Shelf::of([("zarr.json", with(zarr_json(), "/attributes", attributes))]));
    let nm = || json!(["nm", "nm", "nm"]);
    let transform =
        json!({"transform": {"axes": ["x", "y", "z"], "scale": [8, 8, 40], "translate": [3, 2, 1], "units": nm()}});
    let placed = (Shape([6, 5, 4]), Some([40.0, 8.0, 8.0]), [1.0, 2.0, 3.0], StatedPlace::Centre);
    assert_eq!(v2(transform.clone()), (placed, 2));
    assert_eq!(v3(transform), placed);
    let funlib = |names: [&str; 3]| json!({"axis_names": names, "voxel_size": [40, 8, 4], "offset": [400, 16, 4], "units": nm()});
    let turned = (Shape([6, 5, 4]), Some([4.0, 8.0, 40.0]), [4.0, 16.0, 400.0], StatedPlace::Corner);
    assert_eq!(v2(funlib(["x", "y", "z"])), (turned, 2));
    let straight = (Shape([4, 5, 6]), Some([40.0, 8.0, 4.0]), [400.0, 16.0, 4.0], StatedPlace::Corner);
    assert_eq!(v2(funlib(["d0", "d1", "d2"])), (straight, 3));
    assert_eq!(v3(json!({"resolution": [40, 8, 4], "offset": [400, 16, 4]})), straight);
    let viewers = json!({"pixelResolution": {"dimensions": [4, 8, 40], "unit": "nm"}});
    assert_eq!(v2(viewers).0, (Shape([4, 5, 6]), Some([40.0, 8.0, 4.0]), [0.0; 3], StatedPlace::Centre));
    let named = json!({"_ARRAY_DIMENSIONS": ["x", "y", "z"], "voxel_size": [4, 8, 40], "units": "um"});
    assert_eq!(v2(named).0, (Shape([6, 5, 4]), Some([40e3, 8e3, 4e3]), [0.0; 3], StatedPlace::Corner));
    // Sizes that make no sense hide no voxels, and other things have these names too.
    for other in [
        json!({"resolution": "high"}),
        json!({"resolution": [0, 8, 8]}),
        json!({"transform": [1, 0, 0]}),
        json!({"voxel_size": [1, 2]}),
        json!({"pixelResolution": [4, 4, 40]}),
        json!({"units": 5}),
    ] {
        assert_eq!(v2(other).0, (Shape([4, 5, 6]), None, [0.0; 3], StatedPlace::Nowhere));
    }
}

#[test]
fn sizes_of_an_array_with_channels_are_those_of_its_axes_of_space() {
    let array = with(with(zarray(), "/shape", json!([3, 4, 5, 6])), "/chunks", json!([1, 2, 3, 4]));
    let attributes = json!({"axis_names": ["c^", "z", "y", "x"], "voxel_size": [40, 8, 4], "offset": [0, 0, 4], "units": ["nm", "nm", "nm"]});
    let source = Shelf::of([(".zarray", array), (".zattrs", attributes)]).open_channel(2).unwrap();
    let level = &source.description().levels[0];
    assert_eq!((level.scale, level.translation), (Some([40.0, 8.0, 4.0]), [0.0, 0.0, 4.0]));
    assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "2/1/0/1");
}

#[test]
fn axes_that_nobody_names_are_dropped_where_they_have_length_one() {
    let array =
        |shape: Value, chunk: Value| Shelf::of([(".zarray", with(with(zarray(), "/shape", shape), "/chunks", chunk))]);
    let five = array(json!([1, 1, 4, 5, 6]), json!([1, 1, 2, 3, 4]));
    assert_eq!(chunk_key(&five.open().unwrap(), 0, [1, 0, 1]), "0/0/1/0/1");
    let four = || array(json!([3, 4, 5, 6]), json!([1, 2, 3, 4]));
    let error = four().error();
    assert!(error.contains("nothing names the 4 axes of lengths 3×4×5×6"), "{error}");
    assert!(error.contains("write the address https://example.org/bucket if that is its image"), "{error}");
    assert_eq!(chunk_key(&four().open_channel(2).unwrap(), 0, [1, 0, 1]), "2/1/0/1");
    assert!(
        array(json!([5, 6]), json!([3, 4])).error().contains("an array of 2 axes instead of z, y, x is not supported")
    );
}

#[test]
fn an_image_whose_places_are_not_read_says_that_its_arrays_can_be_shown_alone() {
    let mut image = image(&["x", "y", "z"], &[json!([8, 8, 40])]);
    image["multiscales"][0]["datasets"][0] = json!({"path": "0", "coordinateTransformations": [{"type": "affine"}]});
    let group = Shelf::of([(".zattrs", image.clone()), ("0/.zarray", zarray())]).error();
    let remedy = format!("its arrays can be shown alone: write the address {GROUP}/0, and `voxel_size`");
    assert!(group.ends_with(&format!("transformation `affine` is not supported; {remedy}")), "{group}");
    image["multiscales"][0]["axes"] = json!([{"name": "lambda"}, {"name": "y"}, {"name": "x"}]);
    assert!(Shelf::of([(".zattrs", image.clone())]).error().contains("axis `lambda` is not supported; name its axes"));
    // Nor is an image of a version that is not read.
    image["multiscales"][0]["version"] = json!("0.6");
    let newer = Shelf::of([(".zattrs", image)]).error();
    assert!(newer.contains("write it as version 0.4 or 0.5") && newer.ends_with(&remedy), "{newer}");
}
