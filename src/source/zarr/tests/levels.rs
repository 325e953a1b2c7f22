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
