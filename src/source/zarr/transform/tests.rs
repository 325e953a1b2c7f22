//! Transformations as SpatialData and others write them.

use serde_json::{Value, json};

use super::*;

fn read(list: &Value) -> Result<(Transform, Option<String>), SourceError> {
    let axes = Axes::of_rank(4);
    let mut numbers = Numbers { axes: axes.as_ref(), note: None };
    let document = json!({"list": list});
    Transform::of_image(&JsonField::root("a/zarr.json", &document)?.member("list")?, &mut numbers)
}

fn at(scale: [f64; 3], translation: [f64; 3]) -> Transform {
    Transform { scale, translation }
}

/// A matrix for the axes c, z, y, x.
fn affine(rows: [[f64; 5]; 4]) -> Value {
    json!({"type": "affine", "affine": rows})
}

const DIAGONAL: [[f64; 5]; 4] =
    [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 50.0, 0.0, 0.0, 3.0], [0.0, 0.0, 10.0, 0.0, -4.0], [0.0, 0.0, 0.0, 20.0, 5.0]];

#[test]
fn a_diagonal_affine_and_a_sequence_are_the_scaling_and_translation_that_they_are() {
    let scale = json!({"type": "scale", "scale": [1, 50, 10, 20]});
    let translation = json!({"type": "translation", "translation": [0, 3, -4, 5]});
    let expected = at([50.0, 10.0, 20.0], [3.0, -4.0, 5.0]);
    let sequence = |parts: Value| json!({"type": "sequence", "transformations": parts});
    for list in [
        json!([scale, translation]),
        json!([affine(DIAGONAL)]),
        json!([sequence(json!([scale, translation]))]),
        json!([sequence(json!([scale])), sequence(json!([{"type": "identity"}, sequence(json!([translation]))]))]),
    ] {
        assert_eq!(read(&list).unwrap(), (expected, None), "{list}");
    }
    let turned_round = read(&json!([sequence(json!([translation, affine(DIAGONAL)]))])).unwrap().0;
    assert_eq!(turned_round, at([50.0, 10.0, 20.0], [153.0, -44.0, 105.0]));
}

#[test]
fn an_affine_that_turns_mirrors_or_shears_what_is_shown_is_refused_by_name() {
    let changed = |row: usize, column: usize, number: f64| {
        let mut rows = DIAGONAL;
        rows[row][column] = number;
        affine(rows)
    };
    let swapped = json!({"axes": [{"name": "c"}, {"name": "z"}, {"name": "x"}, {"name": "y"}]});
    let mut moved = affine(DIAGONAL);
    (moved["input"], moved["output"]) =
        (json!({"axes": [{"name": "c"}, {"name": "z"}, {"name": "y"}, {"name": "x"}]}), swapped);
    for one in [
        changed(1, 2, 0.1),
        changed(3, 0, 1.0),
        changed(2, 2, -10.0),
        changed(2, 2, 0.0),
        moved,
        json!({"type": "affine"}),
        json!({"type": "affine", "path": "matrix"}),
        json!({"type": "sequence"}),
        json!({"type": "rotation", "rotation": [[1, 0], [0, 1]]}),
    ] {
        let told = read(&json!([one])).unwrap_err().to_string();
        assert!(told.contains(" is not supported; write its place as a `scale` and a `translation`"), "{told}");
        let inner = json!([{"type": "sequence", "transformations": [one]}]);
        assert!(read(&inner).unwrap_err().to_string().contains("transformations[0].type: transformation `"), "{inner}");
    }
    for (rows, told) in [
        (json!([[1, 0], [0, 1]]), "affine: 2 rows for 4 axes"),
        (json!([[1, 0], [1, 0], [1, 0], [1, 0]]), "affine[1]: 2 numbers for 5 axes"),
        (json!(3), "affine: it is 3, not an array"),
    ] {
        let error = read(&json!([{"type": "affine", "affine": rows}])).unwrap_err().to_string();
        assert!(error.ends_with(told), "{error}");
    }
    // What becomes of other axes is not shown.
    assert_eq!(read(&json!([changed(0, 0, 7.0)])).unwrap().0, at([50.0, 10.0, 20.0], [3.0, -4.0, 5.0]));
}

#[test]
fn an_image_that_is_turned_into_a_named_system_is_shown_in_its_own_with_a_note() {
    let into = |mut one: Value, output: Value| {
        (one["input"], one["output"]) = (json!({"name": "czyx"}), output);
        one
    };
    let scale = json!({"type": "scale", "scale": [1, 2, 2, 2]});
    let turned = json!({"type": "rotation"});
    let (transform, note) = read(&json!([into(turned.clone(), json!({"name": "global"}))])).unwrap();
    assert_eq!(transform, Transform::IDENTITY);
    let note = note.unwrap();
    assert!(note.starts_with("shown in its own coordinates, not in those of `global`: "), "{note}");
    assert!(note.contains("transformation `rotation` is not supported"), "{note}");
    // Of several systems one is meant.
    let both = json!([into(scale.clone(), json!("pixels")), into(turned.clone(), json!("global"))]);
    assert_eq!(read(&both).unwrap().0, Transform::IDENTITY);
    let other = json!([into(turned, json!("aligned")), into(scale, json!({"name": "global"}))]);
    let (transform, note) = read(&other).unwrap();
    assert_eq!(transform, at([2.0; 3], [0.0; 3]));
    assert!(note.unwrap().contains("`aligned`, `global`"));
    // What breaks the format is no choice.
    assert!(read(&json!([into(json!({"type": "scale", "scale": [1, 2]}), json!("global"))])).is_err());
}
