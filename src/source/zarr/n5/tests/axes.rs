//! Which axis is which.

use super::*;
use crate::remote::Cause;
use crate::source::zarr::ZarrSource;

/// An array of these extents and axes, as N5 lists them.
fn named(extents: &[u64], axes: &[&str]) -> Value {
    let block: Vec<u64> = extents.iter().map(|extent| extent.div_ceil(2)).collect();
    let array =
        json!({"dimensions": extents, "blockSize": block, "dataType": "uint8", "compression": {"type": "gzip"}});
    with(array, json!({"axes": axes}))
}

fn opened(array: Value) -> Result<ZarrSource, String> {
    Shelf::of([("attributes.json", array)]).open_n5().map_err(|error| error.to_string())
}

fn shape(source: &ZarrSource) -> [u64; 3] {
    source.description().levels[0].grid.shape.0
}

fn scale(source: &ZarrSource) -> Option<[f64; 3]> {
    source.description().levels[0].scale
}

#[test]
fn axes_resolution_and_units_are_in_the_order_of_dimensions() {
    for (extents, axes, resolution, units, key) in [
        ([6, 5, 4], ["x", "y", "z"], json!([8, 9, 0.04]), json!(["nm", "nm", "um"]), "0/1/1"),
        ([4, 5, 6], ["z", "y", "x"], json!([0.04, 9, 8]), json!(["um", "nm", "nm"]), "1/1/0"),
        ([5, 4, 6], ["Y", "Z", "X"], json!([9, 0.04, 8]), json!(["nm", "um", "nm"]), "1/1/0"),
    ] {
        let sizes = json!({"resolution": resolution, "units": units, "offset": resolution});
        let source = opened(with(named(&extents, &axes), sizes)).unwrap();
        assert_eq!((shape(&source), scale(&source)), ([4, 5, 6], Some([40.0, 9.0, 8.0])), "{axes:?}");
        assert_eq!(source.description().levels[0].translation, [40.0, 9.0, 8.0]);
        assert_eq!(chunk_key(&source, 0, [1, 1, 0]), key);
    }
}

fn size(axis: &str) -> u64 {
    match axis {
        "x" => 8,
        "y" => 9,
        "z" => 40,
        _ => 0,
    }
}

#[test]
fn axes_that_are_not_of_space_have_length_one_or_count_channels() {
    for (extents, axes) in [
        (vec![1, 6, 5, 4], vec!["c", "x", "y", "z"]),
        (vec![1, 6, 5, 4, 1], vec!["c", "x", "y", "z", "t"]),
        (vec![6, 5, 1, 4, 1], vec!["x", "y", "c", "z", "t"]),
    ] {
        assert_eq!(shape(&opened(named(&extents, &axes)).unwrap()), [4, 5, 6], "{axes:?}");
        // Sizes of all axes, or of those of space alone.
        let all: Vec<u64> = axes.iter().map(|name| size(name)).collect();
        for sizes in [json!(all), json!([8, 9, 40])] {
            let source =
                opened(with(named(&extents, &axes), json!({"pixelResolution": {"dimensions": sizes, "unit": "nm"}})));
            assert_eq!(scale(&source.unwrap()), Some([40.0, 9.0, 8.0]), "{axes:?}");
        }
    }
    let channels = Shelf::of([("attributes.json", named(&[3, 6, 5, 4], &["c", "x", "y", "z"]))]);
    let error = channels.open_n5().map(drop).unwrap_err().to_string();
    assert!(error.contains("there are 3 channels; write `channel = N`, 0 to 2"), "{error}");
    assert_eq!(chunk_key(&channels.open_n5_at("", Some(2)).unwrap(), 0, [0, 0, 1]), "1/1/0/0");
    let error = opened(named(&[6, 5, 4, 3], &["x", "y", "z", "t"])).map(drop).unwrap_err();
    assert!(error.contains("axis `t` of length 3"), "{error}");
}

#[test]
fn names_that_say_nothing_are_no_axes_and_others_must_say_all() {
    for axes in [["", "", ""], ["i", "j", "k"], ["dim_0", "dim_1", "dim_2"], ["x", "", ""], ["", "y", ""]] {
        assert_eq!(shape(&opened(named(&[6, 5, 4], &axes)).unwrap()), [4, 5, 6], "{axes:?}");
    }
    for (axes, reason) in [
        (vec!["x", "y", "t"], "an array with the axes `t`, `y`, `x`, the slowest first, is not supported"),
        (vec!["x", "x", "y"], "an array with the axes"),
        (vec!["x", "y"], "an array with the axes"),
        (vec!["c", "x", "y", "z"], "3 extents for the 4 axes z, y, x, c"),
    ] {
        let error = opened(named(&[6, 5, 4], &axes)).map(drop).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

/// OpenOrganelle's `transform` of these axes.
fn transform(axes: [&str; 3], order: Value) -> Value {
    let sizes = axes.map(size);
    json!({"transform": with(json!({"axes": axes, "scale": sizes, "translate": sizes, "units": ["nm", "nm", "nm"]}), order)})
}

#[test]
fn a_transform_has_the_slowest_axis_first_unless_its_order_is_of_fortran() {
    let plain = |extents: &[u64]| with(named(extents, &[]), json!({"axes": null}));
    for (axes, order, turned) in [
        (["z", "y", "x"], json!({}), false),
        (["z", "y", "x"], json!({"order": "C"}), false),
        (["x", "y", "z"], json!({"order": "F"}), false),
        (["x", "y", "z"], json!({"ordering": "F"}), false),
        (["x", "y", "z"], json!({"order": null}), true),
        (["z", "y", "x"], json!({"order": "F"}), true),
    ] {
        let extents = if turned { [4, 5, 6] } else { [6, 5, 4] };
        let source = opened(with(plain(&extents), transform(axes, order))).unwrap();
        assert_eq!((shape(&source), scale(&source)), ([4, 5, 6], Some([40.0, 9.0, 8.0])), "{axes:?}");
        assert_eq!(source.description().levels[0].translation, [40.0, 9.0, 8.0]);
    }
    // What `dimensions` are is said by `axes`, and a transform of space alone says nothing of others.
    let both = with(named(&[6, 5, 4], &["x", "y", "z"]), transform(["x", "y", "z"], json!({})));
    assert_eq!(shape(&opened(both).unwrap()), [4, 5, 6]);
    let four = with(plain(&[6, 5, 4, 1]), transform(["z", "y", "x"], json!({})));
    let four = opened(four).unwrap();
    assert_eq!((shape(&four), scale(&four)), ([4, 5, 6], Some([40.0, 9.0, 8.0])));
}

#[test]
fn a_group_says_the_axes_of_levels_that_do_not() {
    let bare = |extents: [u64; 3]| with(named(&extents, &[]), json!({"axes": null}));
    let levels = |group: Value, first: Value, second: Value| {
        let files = [("attributes.json", group), ("s0/attributes.json", first), ("s1/attributes.json", second)];
        // That a level is left out is told once the origin itself was asked.
        Shelf::of(files).open_n5_past_caches().map(|source| (shape(&source), source.description().levels.len()))
    };
    let turned = json!({"axes": ["z", "y", "x"], "resolution": [40, 9, 8], "units": ["nm", "nm", "nm"],
                        "downsamplingFactors": [[1, 1, 1], [2, 1, 1]]});
    let (first, second) = (bare([8, 5, 6]), bare([4, 5, 6]));
    assert_eq!(levels(turned.clone(), first.clone(), second.clone()).unwrap(), ([8, 5, 6], 2));
    // That of a level comes before that of the group, and levels of other axes are none of one pyramid.
    let own = with(bare([6, 5, 8]), json!({"axes": ["x", "y", "z"]}));
    assert_eq!(levels(turned.clone(), own, second.clone()).unwrap(), ([8, 5, 6], 1));
    let listed = json!({"multiscales": [{"datasets": [
        with(json!({"path": "s0"}), transform(["x", "y", "z"], json!({}))), json!({"path": "s1"})]}]});
    assert_eq!(levels(listed, first.clone(), second.clone()).unwrap(), ([8, 5, 6], 2));
    // Only a level says it.
    let own = with(first.clone(), json!({"axes": ["z", "y", "x"]}));
    assert_eq!(levels(json!({}), own, second.clone()).unwrap(), ([8, 5, 6], 2));
    // Sizes of a turned group.
    let files = [("attributes.json", turned), ("s0/attributes.json", first), ("s1/attributes.json", second)];
    let source = Shelf::of(files).open_n5().unwrap();
    let second = &source.description().levels[1];
    assert_eq!((second.scale, second.translation), (Some([80.0, 9.0, 8.0]), [20.0, 0.0, 0.0]));
    assert_eq!(chunk_key(&source, 1, [1, 0, 0]), "s1/1/0/0");
}

#[test]
fn levels_may_have_channels_as_arrays_may() {
    let level = |extents: &[u64]| with(named(extents, &[]), json!({"axes": null}));
    let group = json!({"pixelResolution": {"dimensions": [8, 9, 40], "unit": "nm"}, "scales": [[1, 1, 1], [2, 1, 1]]});
    let shelf = |channels: u64| {
        let files =
            [("s0/attributes.json", level(&[8, 5, 4, channels])), ("s1/attributes.json", level(&[4, 5, 4, channels]))];
        Shelf::of(files).raw("attributes.json", &group.to_string())
    };
    let source = shelf(1).open_n5().unwrap();
    assert_eq!(source.description().levels[1].scale, Some([40.0, 9.0, 16.0]));
    let error = shelf(2).open_n5().map(drop).unwrap_err().to_string();
    assert!(error.contains("there are 2 channels"), "{error}");
    let second = shelf(2).open_n5_at("", Some(1)).unwrap();
    assert_eq!((second.description().levels.len(), chunk_key(&second, 0, [0, 0, 1])), (2, "s0/1/0/0/1".to_owned()));
}

#[test]
fn an_array_follows_the_group_above_it() {
    let bare = || with(named(&[4, 5, 6], &[]), json!({"axes": null}));
    let below = |group: Value, array: Value| {
        let shelf = Shelf::of([("attributes.json", group), ("s0/attributes.json", array)]);
        shelf.open_n5_healed_at("s0").map(|source| shape(&source)).map_err(|error| error.to_string())
    };
    let turned = json!({"axes": ["z", "y", "x"]});
    assert_eq!(below(turned.clone(), bare()).unwrap(), [4, 5, 6]);
    assert_eq!(below(turned.clone(), named(&[4, 5, 6], &["x", "y", "z"])).unwrap(), [6, 5, 4]);
    assert_eq!(below(json!({"axes": ["z", "y", "x", "c"]}), bare()).unwrap(), [6, 5, 4]);
    assert_eq!(below(json!({"axes": 7}), bare()).unwrap(), [6, 5, 4]);
    let above = |cause: Cause| {
        Shelf::of([("s0/attributes.json", bare())]).refuse("attributes.json", cause).open_n5_healed_at("s0").map(drop)
    };
    for cause in [Cause::Denied(403), Cause::Protocol("HTML".to_owned()), Cause::Status(400)] {
        assert!(above(cause).is_ok());
    }
    // Who cannot be asked is not said to have nothing.
    assert!(above(Cause::Connection("reset".to_owned())).is_err());
    let page = Shelf::of([("s0/attributes.json", bare())]).raw("attributes.json", "<html>");
    assert!(page.open_n5_healed_at("s0").is_ok());
    let source =
        Shelf::of([("attributes.json", turned), ("s0/attributes.json", bare())]).open_n5_at("s0", None).unwrap();
    let names: Vec<String> = source.documents().iter().map(|document| document.kind.to_string()).collect();
    assert_eq!(names, ["attributes-above.json", "attributes.json"]);
}

#[test]
fn what_makes_no_sense_above_an_array_is_not_believed_before_it_was_asked_for_past_every_cache() {
    let array = || Shelf::of([("s0/attributes.json", with(named(&[4, 5, 6], &[]), json!({"axes": null})))]);
    let garbled = [
        array().refuse("attributes.json", Cause::Protocol("HTML".to_owned())),
        array().raw("attributes.json", "<html>"),
        array().raw("attributes.json", r#"{"axes": ["z", "y""#),
    ];
    for shelf in garbled {
        assert!(shelf.open_n5_at("s0", None).is_err(), "one such answer would turn the volume around");
        assert_eq!(shape(&shelf.open_n5_healed_at("s0").unwrap()), [6, 5, 4]);
    }
}
