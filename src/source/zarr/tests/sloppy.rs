//! Images that say less than their format has it, or what cannot be.

use serde_json::{Value, json};

use super::groups::with;
use super::*;
use crate::geometry::Shape;
use crate::source::{Relative, Source};

fn sized(shape: [u64; 3]) -> Value {
    with(zarray(), "/shape", json!(shape))
}

/// An image of two levels, whose arrays are halved.
fn two(attributes: Value) -> Shelf {
    Shelf::of([(".zattrs", attributes), ("0/.zarray", sized([8, 9, 10])), ("1/.zarray", sized([4, 5, 5]))])
}

fn paths() -> Value {
    json!({"multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}]}]})
}

#[test]
fn an_image_of_paths_only_has_the_axes_of_its_arrays() {
    for version in [Value::Null, json!("0.1"), json!("0.4")] {
        let source = two(with(paths(), "/multiscales/0/version", version)).open().unwrap();
        let shapes: Vec<Shape> = source.description().levels.iter().map(|level| level.grid.shape).collect();
        assert_eq!(shapes, [Shape([8, 9, 10]), Shape([4, 5, 5])]);
        assert!(source.description().levels.iter().all(|level| level.scale.is_none()));
        assert!(source.relative(LevelIndex(1)).is_none());
    }
    let five = with(with(zarray(), "/shape", json!([1, 1, 4, 5, 6])), "/chunks", json!([1, 1, 2, 3, 4]));
    let image = json!({"multiscales": [{"version": "0.1", "datasets": [{"path": "0"}]}]});
    let source = Shelf::of([(".zattrs", image.clone()), ("0/.zarray", five)]).open().unwrap();
    assert_eq!(source.description().levels[0].grid.shape, Shape([4, 5, 6]));
    let flat = with(with(zarray(), "/shape", json!([5, 6])), "/chunks", json!([3, 4]));
    let error = Shelf::of([(".zattrs", image), ("0/.zarray", flat)]).error();
    assert!(
        error.contains(
            "an image without axes of arrays of 2 is not supported; write it as an array with the axes z, y, x"
        ),
        "{error}"
    );
}

#[test]
fn where_an_image_says_nothing_of_its_levels_these_do() {
    let own = |scale: [u32; 3], translation: [u32; 3]| {
        let transform =
            json!({"axes": ["x", "y", "z"], "scale": scale, "translate": translation, "units": ["nm", "nm", "nm"]});
        json!({"transform": transform}).to_string()
    };
    let shelf =
        two(paths()).raw("0/.zattrs", &own([8, 8, 40], [0, 0, 0])).raw("1/.zattrs", &own([16, 16, 80], [4, 4, 20]));
    let source = shelf.open().unwrap();
    let [fine, coarse] = source.description().levels.as_slice() else { panic!("two levels") };
    assert_eq!((fine.grid.shape, fine.scale), (Shape([10, 9, 8]), Some([40.0, 8.0, 8.0])));
    assert_eq!((coarse.scale, coarse.translation), (Some([80.0, 16.0, 16.0]), [20.0, 4.0, 4.0]));
    let failed = two(paths()).refuse("1/.zattrs", Cause::Status(500)).open();
    assert!(matches!(failed, Err(SourceError::Remote(error)) if error.cause == Cause::Status(500)));
}

/// An image whose levels all have this scale and this translation.
fn flat(translation: [f64; 3]) -> Value {
    let mut attributes = attributes();
    let level = |path: &str| {
        json!({"path": path, "coordinateTransformations": [
            {"type": "scale", "scale": [40, 8, 8]}, {"type": "translation", "translation": translation}]})
    };
    attributes["multiscales"][0]["datasets"] = json!([level("0"), level("1")]);
    attributes
}

#[test]
fn levels_that_shrink_and_state_one_scale_are_as_coarse_as_they_shrank() {
    let source = two(flat([1.0, 2.0, 3.0])).open().unwrap();
    let [fine, coarse] = source.description().levels.as_slice() else { panic!("two levels") };
    assert_eq!((fine.scale, fine.translation), (Some([40.0, 8.0, 8.0]), [1.0, 2.0, 3.0]));
    assert_eq!((coarse.scale, coarse.translation), (Some([80.0, 16.0, 16.0]), [21.0, 6.0, 7.0]));
    assert_eq!(source.relative(LevelIndex(1)), None::<Relative>);
    // In whichever order they are listed.
    let of = |shapes: [[u64; 3]; 2]| {
        let arrays = [(".zattrs", flat([0.0; 3])), ("0/.zarray", sized(shapes[0])), ("1/.zarray", sized(shapes[1]))];
        let source = Shelf::of(arrays).open().unwrap();
        source.description().levels.iter().map(|level| level.scale.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of([[4, 4, 4], [8, 8, 8]]), [[40.0, 8.0, 8.0], [80.0, 16.0, 16.0]]);
    assert_eq!(of([[10, 64, 65], [10, 16, 16]]), [[40.0, 8.0, 8.0], [40.0, 32.0, 32.0]]);
    assert_eq!(of([[3, 64, 64], [1, 16, 16]]), [[40.0, 8.0, 8.0], [160.0, 32.0, 32.0]]);
    // What is not halved, or no smaller, is as it is stated.
    assert_eq!(of([[9, 9, 9], [3, 3, 3]]), [[40.0, 8.0, 8.0]; 2]);
    assert_eq!(of([[900, 900, 900], [300, 300, 300]]), [[40.0, 8.0, 8.0]; 2]);
    assert_eq!(of([[8, 8, 8], [8, 8, 8]]), [[40.0, 8.0, 8.0]; 2]);
    assert_eq!(of([[9, 64, 64], [3, 16, 16]]), [[40.0, 8.0, 8.0], [160.0, 32.0, 32.0]]);
}

#[test]
fn a_path_may_lead_to_the_group_itself() {
    let mut attributes = attributes();
    attributes["multiscales"][0]["datasets"][0]["path"] = json!("");
    let source = Shelf::of([(".zattrs", attributes), (".zarray", zarray())]).open().unwrap();
    assert_eq!(source.description().levels[0].scale, Some([8.0, 4.0, 4.0]));
    assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "1/0/1");
}
