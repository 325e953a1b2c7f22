//! Which of the levels that an image lists are shown.

use serde_json::{Value, json};

use super::groups::with;
use super::*;
use crate::source::Source;

#[test]
fn levels_must_agree_and_shrink() {
    let error = |pointer: &str, value: Value| {
        let mut attributes = attributes();
        let second = json!({"path": "s1", "coordinateTransformations": [{"type": "scale", "scale": [16, 8, 8]}]});
        attributes["multiscales"][0]["datasets"].as_array_mut().unwrap().push(second);
        let shelf = [(".zattrs", attributes), ("s0/.zarray", zarray()), ("s1/.zarray", with(zarray(), pointer, value))];
        let shelf = Shelf::of(shelf);
        // One answer is not enough to leave a level out.
        let error = shelf.error();
        let source = shelf.open_past_caches().unwrap();
        assert_eq!((source.levels.len(), source.documents.len()), (1, 2));
        let format = source.description.format.to_string();
        assert_eq!(format, format!("OME-NGFF 0.4 in Zarr v2, uncompressed; without level `s1` ({error})"));
        error.replace(GROUP, "")
    };
    assert_eq!(error("/dtype", json!("<i2")), "/s1: dtype: int16 after a level of uint16 is not supported");
    assert!(error("/fill_value", json!(1)).starts_with("/s1: fill_value: another fill value"));
    assert_eq!(error("/shape", json!([4, 5, 7])), "/s1: shape: 4×5×7 after a level of 4×5×6 is not supported");
    assert!(error("/shape", json!([4, 0, 7])).contains("an extent of 0"));
    assert!(error("/compressor", json!({"id": "szip"})).contains("compressor `szip`"));
}

/// Three levels without units, of which the array of one is as told.
fn three(broken: usize, array: Option<Value>) -> Shelf {
    let mut attributes = attributes();
    let level = |number: i32| {
        let size = 2f64.powi(number);
        json!({"path": format!("s{number}"), "coordinateTransformations": [{"type": "scale", "scale": [size, size, size]}]})
    };
    attributes["multiscales"][0]["datasets"] = (0..3).map(level).collect();
    for axis in attributes["multiscales"][0]["axes"].as_array_mut().unwrap() {
        axis.as_object_mut().unwrap().remove("unit");
    }
    let arrays = (0..3).map(|level| with(zarray(), "/shape", json!([40 >> level, 40 >> level, 40 >> level])));
    let mut shelf = Shelf::of([(".zattrs", attributes)]);
    for (level, usual) in arrays.enumerate() {
        match (level == broken, &array) {
            (false, _) => shelf = shelf.raw(&format!("s{level}/.zarray"), &usual.to_string()),
            (true, Some(array)) => shelf = shelf.raw(&format!("s{level}/.zarray"), &array.to_string()),
            (true, None) => {}
        }
    }
    shelf
}

#[test]
fn a_level_that_is_missing_takes_no_other_along() {
    for broken in 0..3 {
        let shelf = three(broken, None);
        assert!(matches!(shelf.open(), Err(SourceError::Remote(error)) if error.cause == Cause::NotFound));
        let source = shelf.open_past_caches().unwrap();
        assert!(source.description.format.to_string().contains(&format!("; without level `s{broken}` (")));
        let left: Vec<u64> = (0..3).filter(|level| *level != broken).map(|level| 40 >> level).collect();
        let shown: Vec<u64> = source.description.levels.iter().map(|level| level.grid.shape.0[0]).collect();
        assert_eq!(shown, left);
        // Counted in voxels of the finest one that is shown.
        let scales: Vec<f64> = (0..2).map(|level| source.relative(LevelIndex(level)).unwrap().scale[0]).collect();
        assert_eq!(scales, [1.0, left[0] as f64 / left[1] as f64]);
    }
}

#[test]
fn a_level_is_shown_that_is_missing_for_a_moment_only() {
    let array = with(zarray(), "/shape", json!([20, 20, 20]));
    let shelf = || three(1, Some(array.clone()));
    assert_eq!(shelf().late("s1/.zarray", 1).open_past_caches().unwrap().levels.len(), 3);
    let source = shelf().late("s1/.zarray", 2).open_past_caches().unwrap();
    assert_eq!((source.levels.len(), source._missed.len()), (2, 1));
}

/// What servers answer in place of a document.
const DISGUISES: [&str; 7] = [
    "",
    "\n",
    "<!DOCTYPE html><html></html>",
    "{}",
    "[]",
    "{\"error\": {\"code\": 500}}",
    "{\"zarr_format\": 2, \"shape\": [40,",
];

fn extents(source: &ZarrSource) -> Vec<u64> {
    source.description.levels.iter().map(|level| level.grid.shape.0[0]).collect()
}

#[test]
fn something_else_in_place_of_the_finest_level_shows_no_other_one_in_its_place() {
    for text in DISGUISES {
        let shelf = three(0, Some(json!(null))).raw("s0/.zarray", text);
        let error = shelf.open_healed().map(|source| extents(&source)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{GROUP}/s0/.zarray: ")), "{error}");
        assert!(error.contains("`first_level = 1` in the configuration shows the image without it"), "{error}");
        let from_second = shelf.open_from(1).unwrap();
        assert_eq!((extents(&from_second), from_second.finer()), (vec![20, 10], 0));
        assert_eq!(from_second.description.format.left_out, Vec::<String>::new());
        let from_third = shelf.open_from(2).unwrap();
        assert_eq!((extents(&from_third), from_third.finer()), (vec![20, 10], 1));
    }
    // Two are not known: the second would be finer than the one that is shown as well.
    let shelf = three(0, Some(json!(null))).raw("s1/.zarray", "<html>");
    let error = shelf.open_healed().map(|source| extents(&source)).unwrap_err().to_string();
    assert!(error.contains("`first_level = 2`"), "{error}");
    assert!(shelf.open_from(1).is_err());
    assert_eq!(extents(&shelf.open_from(2).unwrap()), [10]);
}

#[test]
fn something_else_in_place_of_a_coarser_level_leaves_that_one_out_and_is_looked_at_again() {
    for text in DISGUISES {
        for level in [1, 2] {
            let source = three(level, None).raw(&format!("s{level}/.zarray"), text).open_healed().unwrap();
            let left: Vec<u64> = (0..3).filter(|other| *other != level).map(|level| 40 >> level).collect();
            assert_eq!((extents(&source), source._missed.len()), (left, 1));
            let told = format!("level `s{level}` (");
            assert!(source.description.format.left_out[0].starts_with(&told), "{text}");
        }
    }
}

#[test]
fn something_else_in_place_of_a_level_for_a_moment_hides_nothing() {
    for text in DISGUISES {
        for level in 0..3 {
            let array = with(zarray(), "/shape", json!([40 >> level, 40 >> level, 40 >> level]));
            let shelf = three(level, Some(array)).disguised(&format!("s{level}/.zarray"), text, 2);
            let source = shelf.open_healed().unwrap();
            assert_eq!((extents(&source), source._missed.len()), (vec![40, 20, 10], 0), "{text}");
        }
    }
}

#[test]
fn what_a_document_says_itself_leaves_its_level_out_though_it_is_the_finest() {
    for (pointer, value) in
        [("/shape", json!([0, 0, 0])), ("/dtype", json!("<c16")), ("/compressor", json!({"id": "szip"}))]
    {
        let source = three(0, Some(with(zarray(), pointer, value))).open_healed().unwrap();
        assert_eq!((extents(&source), source._missed.len()), (vec![20, 10], 0));
        assert!(source.description.format.left_out[0].starts_with("level `s0` ("));
    }
}

#[test]
fn which_level_is_the_finest_is_told_by_the_order_of_the_list_where_no_scales_tell_it() {
    let list = |names: [&str; 3]| {
        let paths: Vec<Value> = names.iter().map(|name| json!({"path": name})).collect();
        let attributes = json!({"multiscales": [{"version": "0.1", "datasets": paths}]});
        let array = |extent: u64| {
            with(with(zarray(), "/shape", json!([1, 1, extent, extent, extent])), "/chunks", json!([1, 1, 2, 3, 4]))
        };
        Shelf::of([
            (".zattrs", attributes),
            ("a/.zarray", array(40)),
            ("b/.zarray", array(20)),
            ("c/.zarray", array(10)),
        ])
    };
    for (names, bad, expected) in [
        (["a", "b", "c"], "a", None),
        (["a", "b", "c"], "c", Some([40, 20])),
        (["c", "b", "a"], "a", None),
        (["c", "b", "a"], "c", Some([40, 20])),
        (["c", "b", "a"], "b", Some([40, 10])),
    ] {
        let shelf = list(names).raw(&format!("{bad}/.zarray"), "<html>");
        let found = shelf.open_healed().map(|source| extents(&source)).ok();
        assert_eq!(found, expected.map(|all: [u64; 2]| all.to_vec()), "{names:?} without {bad}");
    }
}

#[test]
fn a_level_of_which_nothing_is_known_is_no_level_to_leave_out() {
    for cause in [Cause::timeout(60), Cause::Denied(403), Cause::Status(500)] {
        let shelf = three(1, None).refuse("s1/.zarray", cause.clone());
        assert!(matches!(shelf.open_past_caches(), Err(SourceError::Remote(error)) if error.cause == cause));
    }
}

#[test]
fn where_no_level_can_be_shown_the_reason_is_that_of_the_finest() {
    let shelf = Shelf::of([(".zattrs", attributes())]).raw("s0/.zarray", "{}");
    assert!(
        shelf
            .open_past_caches()
            .map(|source| source.description.format)
            .unwrap_err()
            .to_string()
            .contains("s0/.zarray: zarr_format")
    );
}
