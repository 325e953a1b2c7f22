//! What writers other than OME-NGFF's say of an array that is shown alone, and of where an image lies.

use serde_json::{Value, json};

use super::groups::with;
use super::lone::image;
use super::*;
use crate::geometry::Shape;
use crate::source::{Source, StatedPlace};

/// What is shown of the finest level: its shape, the size of a voxel and where it lies.
type Shown = (Shape, Option<[f64; 3]>, [f64; 3]);

fn shown(source: &ZarrSource) -> Shown {
    let level = &source.description().levels[0];
    (level.grid.shape, level.scale, level.translation)
}

fn v2(attributes: Value) -> Shown {
    shown(&Shelf::of([(".zarray", zarray()), (".zattrs", attributes)]).open().unwrap())
}

fn v3(attributes: Value) -> Shown {
    shown(&Shelf::of([("zarr.json", with(zarr_json(), "/attributes", attributes))]).open().unwrap())
}

#[test]
fn a_coarser_level_of_an_n5_viewer_has_the_size_and_the_place_of_its_voxels() {
    let resolution = json!({"unit": "nm", "dimensions": [4.0, 8.0, 40.0]});
    for (factor, size, place) in [
        (json!([1, 1, 1]), [40.0, 8.0, 4.0], [0.0, 0.0, 0.0]),
        (json!([2, 2, 2]), [80.0, 16.0, 8.0], [20.0, 4.0, 2.0]),
        (json!([4.0, 2.0, 1.0]), [40.0, 16.0, 16.0], [0.0, 4.0, 6.0]),
    ] {
        let attributes = json!({"pixelResolution": resolution, "downsamplingFactors": factor});
        assert_eq!(v2(attributes.clone()), (Shape([4, 5, 6]), Some(size), place));
        assert_eq!(v3(attributes.clone()), (Shape([4, 5, 6]), Some(size), place));
        // N5 says the same by the same words.
        let array = json!({"dimensions": [6, 5, 4], "blockSize": [4, 3, 2], "dataType": "uint16", "compression": {"type": "raw"}});
        let mut n5 = array.as_object().unwrap().clone();
        n5.extend(attributes.as_object().unwrap().clone());
        let source = Shelf::of([("attributes.json", Value::Object(n5))]).open_n5().unwrap();
        assert_eq!(shown(&source), (Shape([4, 5, 6]), Some(size), place));
    }
    for bad in [json!([2, 2]), json!([0, 2, 2]), json!("two"), json!([[1, 1, 1], [2, 2, 2]])] {
        let (shape, _, _) = v2(json!({"pixelResolution": resolution, "downsamplingFactors": bad}));
        assert_eq!(shape, Shape([4, 5, 6]));
    }
}

#[test]
fn sizes_in_a_list_have_the_unit_that_stands_beside_it() {
    for unit in [
        json!({"pixelUnit": "um"}),
        json!({"unit": "um"}),
        json!({"units": ["um", "um", "um"]}),
        json!({"units": "um"}),
        json!({"resolution_unit": "µm"}),
    ] {
        let mut attributes = json!({"pixelResolution": [0.004, 0.008, 0.04]});
        attributes.as_object_mut().unwrap().extend(unit.as_object().unwrap().clone());
        assert_eq!(v2(attributes.clone()).1, Some([40.0, 8.0, 4.0]), "{attributes}");
    }
    assert_eq!(v2(json!({"pixelResolution": [4, 8, 40], "units": ["nm", "nm", null]})).1, None);
}

fn hyperstack(counts: [u64; 3]) -> Value {
    let [channels, slices, frames] = counts;
    json!({"pixelWidth": 4.0, "pixelHeight": 8.0, "pixelDepth": 40.0, "pixelUnit": "nm", "xOrigin": 0.0,
        "numChannels": channels, "numSlices": slices, "numFrames": frames})
}

#[test]
fn an_array_of_imagej_has_its_calibration_and_the_axes_of_its_hyperstack() {
    let size = Some([40.0, 8.0, 4.0]);
    assert_eq!(v2(hyperstack([1, 4, 1])), (Shape([4, 5, 6]), size, [0.0; 3]));
    // Slowest first: z, c, y, x.
    let four = with(with(zarray(), "/shape", json!([4, 3, 5, 6])), "/chunks", json!([2, 1, 3, 4]));
    let shelf = Shelf::of([(".zarray", four), (".zattrs", hyperstack([3, 4, 1]))]);
    let source = shelf.open_channel(2).unwrap();
    assert_eq!(shown(&source), (Shape([4, 5, 6]), size, [0.0; 3]));
    assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "1/2/0/1");
    assert!(shelf.error().contains("there are 3 channels; write `channel = N`, 0 to 2,"), "{}", shelf.error());
    // The same of N5, whose dimensions are x, y, c, z.
    let mut n5 = json!({"dimensions": [6, 5, 3, 4], "blockSize": [4, 3, 1, 2], "dataType": "uint16", "compression": {"type": "raw"}});
    n5.as_object_mut().unwrap().extend(hyperstack([3, 4, 1]).as_object().unwrap().clone());
    let source = Shelf::of([("attributes.json", n5)]).open_n5_at("", Some(2)).unwrap();
    assert_eq!(shown(&source), (Shape([4, 5, 6]), size, [0.0; 3]));
    assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "1/0/2/1");
    // Axes that are named are those, whatever is counted.
    let named = with(hyperstack([1, 4, 1]), "/_ARRAY_DIMENSIONS", json!(["x", "y", "z"]));
    assert_eq!(v2(named), (Shape([6, 5, 4]), size, [0.0; 3]));
    // Pixels are no lengths, and 0 is none.
    assert_eq!(v2(with(hyperstack([1, 4, 1]), "/pixelUnit", json!("pixel"))).1, None);
    assert_eq!(v2(with(hyperstack([1, 4, 1]), "/pixelDepth", json!(0.0))).1, None);
}

#[test]
fn an_array_of_tensorstore_has_the_lengths_of_its_dimension_units() {
    for units in [
        json!(["40 nm", "8 nm", "4 nm"]),
        json!(["4e-8 m", "8nm", [4, "nm"]]),
        json!(["0.04 um", "8e0 nm", "4 nanometers"]),
    ] {
        assert_eq!(v3(json!({"dimension_units": units})).1, Some([40.0, 8.0, 4.0]), "{units}");
    }
    let turned = with(
        with(zarr_json(), "/attributes", json!({"dimension_units": ["4 nm", "8 nm", "nm"]})),
        "/dimension_names",
        json!(["x", "y", "z"]),
    );
    let source = Shelf::of([("zarr.json", turned)]).open().unwrap();
    assert_eq!(shown(&source), (Shape([6, 5, 4]), Some([1.0, 8.0, 4.0]), [0.0; 3]));
    assert_eq!(source.stated_place(), StatedPlace::Corner);
    for other in [
        json!([null, null, null]),
        json!(["40 nm", "8 nm", null]),
        json!(["40", "8 s", "4 nm"]),
        json!([40, 8, 4]),
        json!(["-4 nm", "0 nm", "nan nm"]),
        json!(["40 nm"]),
        json!("nm"),
    ] {
        assert_eq!(v3(json!({"dimension_units": other})).1, None, "{other}");
    }
}

#[test]
fn names_of_axes_that_a_migration_left_in_the_attributes_are_read() {
    let turned = json!({"_ARRAY_DIMENSIONS": ["x", "y", "z"]});
    assert_eq!(v3(turned.clone()).0, Shape([6, 5, 4]));
    let document = |names: Value| with(with(zarr_json(), "/attributes", turned.clone()), "/dimension_names", names);
    for (names, shape) in [
        (json!([null, null, null]), [6, 5, 4]),
        (json!(null), [6, 5, 4]),
        (json!(["z", "y", "x"]), [4, 5, 6]),
        (json!(["y", "x", "z"]), [6, 4, 5]),
    ] {
        let source = Shelf::of([("zarr.json", document(names.clone()))]).open().unwrap();
        assert_eq!(shown(&source).0, Shape(shape), "{names}");
    }
}

#[test]
fn an_array_two_folders_below_its_image_has_the_place_that_the_image_lists() {
    let mut listing = image(&["z", "y", "x"], &[json!([40, 8, 4]), json!([80, 16, 8])]);
    listing["multiscales"][0]["datasets"][1]["path"] = json!("bucket/image.zarr");
    let expected = (Shape([4, 5, 6]), Some([80.0, 16.0, 8.0]), [0.0; 3]);
    let v2 = || Shelf::of([(".zarray", zarray())]).raw("../.zattrs", r#"{"_ARRAY_DIMENSIONS": ["z"]}"#);
    assert_eq!(shown(&v2().raw("../../.zattrs", &listing.to_string()).open().unwrap()), expected);
    let group =
        |attributes: &Value| json!({"zarr_format": 3, "node_type": "group", "attributes": attributes}).to_string();
    let v3 = Shelf::of([("zarr.json", zarr_json())]).raw("../zarr.json", &group(&json!({})));
    let v3 = v3.raw("../../zarr.json", &group(&json!({"ome": listing})));
    assert_eq!(shown(&v3.open().unwrap()), expected);
    // What is further up need not be of the store: whatever it is says nothing.
    for other in ["<html></html>", "{", "[]", "{}"] {
        assert_eq!(shown(&v2().raw("../../.zattrs", other).open_healed().unwrap()).1, None, "{other}");
    }
    // One that lists the array and is not read is told.
    let mut newer = listing.clone();
    newer["multiscales"][0]["version"] = json!("0.9");
    assert_eq!(shown(&v2().raw("../../.zattrs", &newer.to_string()).open_healed().unwrap()).1, None);
    assert!(v2().raw("../../.zattrs", &newer.to_string()).error().contains("OME-NGFF version `0.9`"));
    // Where there is no group around the array nobody further up is asked.
    let alone = Shelf::of([(".zarray", zarray())]).raw("../../.zattrs", &listing.to_string());
    assert_eq!(shown(&alone.open().unwrap()).1, None);
    assert_eq!(alone.asked().last().unwrap(), "../.zattrs");
}
