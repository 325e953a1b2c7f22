use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Axes, LevelEntry, Multiscales, Reading, parse};
use crate::document::arbitrary::{any_json, exchange};
use crate::source::zarr::json::JsonField;
use crate::source::{Relative, SourceError};

fn read(attributes: &Value) -> Result<Option<Multiscales>, SourceError> {
    Ok(reading(attributes)?.map(|(image, _)| image))
}

fn reading(attributes: &Value) -> Result<Option<(Multiscales, Reading)>, SourceError> {
    parse(&JsonField::root("a/.zattrs", attributes)?)
}

fn axis(name: &str, unit: Value) -> Value {
    json!({"name": name, "type": "space", "unit": unit})
}

/// An image of two levels, with one member of `multiscales[0]` replaced.
fn image(pointer: &str, value: Value) -> Value {
    let nm = || json!("nanometer");
    let level = |path: &str, factor: f64| {
        json!({"path": path, "coordinateTransformations": [
            {"type": "scale", "scale": [8.0 * factor, 4.0 * factor, 4.0 * factor]},
            {"type": "translation", "translation": [4.0 * (factor - 1.0), 2.0 * (factor - 1.0), 2.0 * (factor - 1.0)]}]})
    };
    let mut image = json!({"version": "0.4", "axes": [axis("z", nm()), axis("y", nm()), axis("x", nm())],
        "datasets": [level("s0", 1.0), level("s1", 2.0)]});
    if !pointer.is_empty() {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match image.pointer_mut(parent).unwrap() {
            Value::Array(elements) => elements[key.parse::<usize>().unwrap()] = value,
            object => object[key] = value,
        }
    }
    json!({"multiscales": [image]})
}

/// What is wrong with the image, or with a level of it.
fn error(pointer: &str, value: Value) -> String {
    match read(&image(pointer, value)) {
        Ok(image) => image.unwrap().rejected[0].to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn transformations_of_the_image_come_after_those_of_the_level() {
    let outer = json!([{"type": "scale", "scale": [2, 2, 2]}, {"type": "translation", "translation": [1, 10, 100]}]);
    let read = read(&image("/coordinateTransformations", outer)).unwrap().unwrap();
    assert_eq!(read.datasets[0].scale, Some([16.0, 8.0, 8.0]));
    assert_eq!(read.datasets[1].scale, Some([32.0, 16.0, 16.0]));
    assert_eq!(read.datasets[1].translation, [4.0 * 2.0 + 1.0, 2.0 * 2.0 + 10.0, 2.0 * 2.0 + 100.0]);
}

#[test]
fn transformations_of_the_image_into_several_systems_are_no_steps_of_one_way() {
    let into = |output: Value, size: u32| json!({"type": "scale", "scale": [size, size, size], "input": {"name": "zyx"}, "output": output});
    let scale = |list: Value| {
        let (image, reading) = reading(&image("/coordinateTransformations", list)).unwrap().unwrap();
        (image.datasets[0].scale, reading.notes)
    };
    let of_first = |factor: f64| Some([8.0 * factor, 4.0 * factor, 4.0 * factor]);
    let note = |all: &str, shown: &str| {
        vec![format!("the image has a place in each of the systems {all}, of which that in {shown} is shown")]
    };
    let named = |name: &str| json!({"name": name, "axes": []});
    assert_eq!(
        scale(json!([into(named("aligned"), 10), into(named("global"), 2)])),
        (of_first(2.0), note("`aligned`, `global`", "`global`"))
    );
    assert_eq!(
        scale(json!([into(json!("one"), 10), into(json!("other"), 2)])),
        (of_first(10.0), note("`one`, `other`", "`one`"))
    );
    // One place, or steps from one system to the next.
    assert_eq!(scale(json!([into(named("global"), 10)])), (of_first(10.0), vec![]));
    assert_eq!(scale(json!([into(named("global"), 10), into(named("global"), 2)])), (of_first(20.0), vec![]));
    let mut second = into(named("world"), 2);
    second["input"] = named("global");
    assert_eq!(scale(json!([into(named("global"), 10), second])), (of_first(20.0), vec![]));
}

#[test]
fn units_become_nanometres() {
    let micrometres = json!([axis("z", json!("micrometer")), axis("y", json!("µm")), axis("x", json!("nanometer"))]);
    let read = read(&image("/axes", micrometres)).unwrap().unwrap();
    let level = &read.datasets[1];
    assert_eq!((level.scale, level.translation), (Some([16000.0, 8000.0, 8.0]), [4000.0, 2000.0, 2.0]));
    assert_eq!((level.relative, read.unitless), (None, None));
}

#[test]
fn thousandths_of_a_micrometre_are_whole_nanometres() {
    for thousandths in 1..=20_000 {
        let axes = json!(["z", "y", "x"].map(|name| axis(name, json!("micrometer"))));
        let micrometres = f64::from(thousandths) / 1e3;
        let (scale, translation) = ([micrometres; 3], [-micrometres; 3]);
        let mut image = image("/axes", axes);
        image["multiscales"][0]["datasets"] = json!([{"path": "s0", "coordinateTransformations": [
            {"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]}]);
        let level = read(&image).unwrap().unwrap().datasets.remove(0);
        let nanometres = f64::from(thousandths);
        assert_eq!((level.scale, level.translation), (Some([nanometres; 3]), [-nanometres; 3]), "{micrometres} µm");
    }
}

#[test]
fn without_any_unit_the_numbers_of_sizes_are_kept() {
    let of = |first: Value| {
        let mut image = image("/axes", json!(["z", "y", "x"]));
        image["multiscales"][0]["datasets"] = json!([first]);
        read(&image).unwrap().unwrap().datasets.remove(0).plain
    };
    let scale = json!([{"type": "scale", "scale": [40, 9, 8]}]);
    assert_eq!(of(json!({"path": "s0", "coordinateTransformations": scale})), Some([40.0, 9.0, 8.0]));
    // What nobody wrote are no numbers.
    assert_eq!(of(json!({"path": "s0"})), None);
}

#[test]
fn without_a_known_unit_along_every_axis_levels_are_told_in_voxels_of_the_finest_and_sizes_where_known() {
    let cases = [
        (axis("y", Value::Null), "axis y has no unit"),
        (json!({"name": "y"}), "axis y has no unit"),
        (axis("y", json!("pixel")), "the unit `pixel` of axis y is no known length"),
        (axis("y", json!("")), "the unit `` of axis y is no known length"),
    ];
    for (unitless, reason) in cases {
        let read = read(&image("/axes/1", unitless)).unwrap().unwrap();
        assert_eq!(read.unitless.as_deref(), Some(reason));
        let [fine, coarse] = read.datasets.as_slice() else { panic!("two levels") };
        assert_eq!((fine.scale, fine.translation), (None, [0.0; 3]));
        assert_eq!((coarse.scale, coarse.translation), (None, [0.0; 3]));
        assert_eq!(fine.relative, Some(Relative { scale: [1.0; 3], translation: [0.0; 3] }));
        assert_eq!(fine.plain, None);
        assert_eq!(coarse.relative, Some(Relative { scale: [2.0; 3], translation: [0.5; 3] }));
        assert_eq!((fine.partial, coarse.partial), ([Some(8.0), None, Some(4.0)], [Some(16.0), None, Some(8.0)]));
    }
    let names = json!(["z", "y", "x"].map(|name| json!({"name": name})));
    let read = read(&image("/axes", names)).unwrap().unwrap();
    assert_eq!((read.unitless.as_deref(), read.datasets[0].partial), (Some("the axes have no unit"), [None; 3]));
    let number = error("/axes/1", axis("y", json!(4)));
    assert_eq!(number, "a/.zattrs: multiscales[0].axes[1].unit: it is 4, not a text");
}

#[test]
fn levels_that_all_have_the_same_scale_or_none_are_told_nowhere() {
    let pixels = json!([axis("z", json!("pixel")), axis("y", json!("pixel")), axis("x", json!("pixel"))]);
    let mut attributes = image("/axes", pixels);
    for same in [json!({"type": "identity"}), json!({"type": "scale", "scale": [4, 4, 4]})] {
        for level in attributes["multiscales"][0]["datasets"].as_array_mut().unwrap() {
            level["coordinateTransformations"] = json!([same]);
        }
        let read = read(&attributes).unwrap().unwrap();
        assert!(read.datasets.iter().all(|level| level.scale.is_none() && level.relative.is_none()), "{same}");
    }
}

#[test]
fn other_axes_and_orders_are_refused_by_name() {
    let axes = |names: &[&str]| Value::Array(names.iter().map(|name| axis(name, json!("nanometer"))).collect());
    for names in [&["y", "x"][..], &["c", "y", "x"], &["t", "Y", "X"], &["z", "y"]] {
        let expected = format!("an image with the axes {} is not supported; write it as an array", names.join(", "));
        let told = error("/axes", axes(names));
        assert!(told.contains(&expected) && told.contains("a single plane with a z of length 1"), "{told}");
    }
    for names in [&["z", "y", "x", "x"][..], &[], &["z", "y", "c", "y"], &["y", "c"]] {
        let expected = format!("multiscales[0].axes: an image with the axes {} is not supported", names.join(", "));
        assert!(error("/axes", axes(names)).contains(&format!("{expected}; name its axes z, y, x")), "{names:?}");
    }
    assert!(error("/axes", axes(&["z", "y", "x", "Z"])).contains("an image with the axes z, y, x, Z is not supported"));
    let other = json!([axis("z", json!("nm")), {"name": "lambda"}, axis("y", json!("nm")), axis("x", json!("nm"))]);
    assert!(error("/axes", other).contains("axes[1].name: axis `lambda` is not supported; name its axes"));
    assert!(error("/axes", json!([1, "y", "x"])).ends_with("axes[0]: it is 1, not an object"));
    assert!(error("/axes", axes(&["t", "c", "z", "y", "x", "t"])).contains("6 elements where 5 are the most"));
}

#[test]
fn axes_are_known_by_name_in_any_order_and_else_by_type() {
    let kept = |axes: Value| {
        let rank = axes.as_array().unwrap().len();
        let scale: Vec<usize> = (1..=rank).collect();
        let level = json!({"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": scale}]});
        let image = json!({"version": "0.4", "axes": axes, "datasets": [level]});
        let image = read(&json!({"multiscales": [image]})).unwrap().unwrap();
        (image.axes.kept, image.datasets[0].spacing())
    };
    let space = |name: &str| axis(name, json!("nanometer"));
    let of = |name: &str, kind: &str| json!({"name": name, "type": kind});
    assert_eq!(kept(json!([space("x"), space("y"), space("z")])), ([2, 1, 0], [3.0, 2.0, 1.0]));
    assert_eq!(kept(json!([of("c", "channel"), space("X"), space("Y"), space("Z")])).0, [3, 2, 1]);
    assert_eq!(
        kept(json!([space("y"), of("Channel", "channel"), space("x"), of("time", "time"), space("z")])).0,
        [4, 0, 2]
    );
    assert_eq!(kept(json!([of("wavelength", "channel"), space("depth"), space("row"), space("column")])).0, [1, 2, 3]);
    assert_eq!(kept(json!([space("x"), space("slice"), space("y")])).0, [1, 2, 0]);
    let cased = json!([of("wavelength", "Channel"), of("depth", "Space"), of("row", "SPACE"), of("column", "space")]);
    assert_eq!(kept(cased).0, [1, 2, 3]);
}

#[test]
fn malformed_levels_are_refused_by_field() {
    let scale = |scale: Value| json!([{"type": "scale", "scale": scale}]);
    let first = "/datasets/0/coordinateTransformations";
    let place = "a/.zattrs: multiscales[0].datasets[0].coordinateTransformations";
    assert_eq!(error(first, scale(json!([0, 4, 4]))), format!("{place}[0].scale: 0 is not above 0"));
    assert_eq!(error(first, scale(json!([8, -4, 4]))), format!("{place}[0].scale: -4 is not above 0"));
    assert_eq!(error(first, scale(json!([8, 4]))), format!("{place}[0].scale: 2 numbers for 3 axes"));
    assert_eq!(error(first, scale(json!([8, 4, "4"]))), format!("{place}[0].scale[2]: it is `4`, not a finite number"));
    assert_eq!(error(first, json!([{"type": "scale", "path": "x"}])), format!("{place}[0].scale: it is missing"));
    let affine = error(first, json!([{"type": "affine"}]));
    assert_eq!(
        affine,
        format!(
            "{place}[0].type: transformation `affine` is not supported; write its place as a `scale` and a `translation`"
        )
    );
    let tiny =
        error(first, json!([{"type": "scale", "scale": [1e-300, 1, 1]}, {"type": "scale", "scale": [1e-300, 1, 1]}]));
    assert_eq!(tiny, format!("{place}: the voxel size is not a positive number of nanometres"));
    assert!(error("/datasets", json!([])).ends_with("multiscales[0].datasets: there is no level"));
    assert!(error("/datasets", Value::Null).ends_with("multiscales[0].datasets: it is missing"));
    let many = Value::Array(vec![image("", Value::Null)["multiscales"][0]["datasets"][0].clone(); 32]);
    assert!(error("/datasets", many).ends_with("datasets: 32 elements where 31 are the most is not supported"));
    for path in ["../s0", "a/..", "a\u{0}b", "a\\b"] {
        assert!(error("/datasets/0/path", json!(path)).contains("datasets[0].path: the path `"), "{path}");
    }
}

#[test]
fn an_odd_level_takes_no_other_along_and_the_finest_is_the_first() {
    let one = image("/datasets/0/coordinateTransformations", json!([{"type": "affine"}]));
    let read_one = read(&one).unwrap().unwrap();
    assert_eq!((read_one.datasets[0].path.as_str(), read_one.datasets.len(), read_one.rejected.len()), ("s1", 1, 1));
    let mut reversed = image("", Value::Null);
    reversed["multiscales"][0]["datasets"].as_array_mut().unwrap().reverse();
    let paths: Vec<String> = read(&reversed).unwrap().unwrap().datasets.into_iter().map(|level| level.path).collect();
    assert_eq!(paths, ["s0", "s1"]);
}

#[test]
fn the_first_versions_say_little_of_axes_and_nothing_of_sizes() {
    let old = |version: &str, axes: Option<Value>| {
        let mut image = json!({"version": version, "datasets": [{"path": "0"}, {"path": "1"}]});
        if let Some(axes) = axes {
            image["axes"] = axes;
        }
        read(&json!({"multiscales": [image]})).map(|image| image.unwrap())
    };
    for image in [old("0.1", None), old("0.2", None), old("0.3", Some(json!(["t", "c", "z", "y", "x"])))] {
        let image = image.unwrap();
        assert_eq!((image.axes.rank(), image.axes.kept, image.datasets.len()), (5, [2, 3, 4], 2));
        assert!(image.datasets.iter().all(LevelEntry::is_unscaled) && image.unitless.is_some());
    }
    assert_eq!(old("0.3", Some(json!(["z", "y", "x"]))).unwrap().axes, Axes::zyx());
    let without = error("/datasets/0", json!({"path": "s0"}));
    assert!(without.ends_with("datasets[0]: `coordinateTransformations` is missing, which other levels have"));
}

#[test]
fn slashes_around_a_path_say_nothing() {
    for (path, expected) in [("/s0", "s0"), ("s0/", "s0"), ("a//b", "a/b"), ("./a/./b", "a/b"), ("", ""), (".", "")] {
        let read = read(&image("/datasets/0/path", json!(path))).unwrap().unwrap();
        assert_eq!(read.datasets[0].path, expected);
    }
}

#[test]
fn scales_of_axes_that_are_not_shown_say_nothing() {
    let axes = |names: &str| {
        let kind = |name: char| if name == 'c' { "channel" } else { "time" };
        let axis = |name: char| match name {
            'x' | 'y' | 'z' => axis(&name.to_string(), json!("nanometer")),
            name => json!({"name": name.to_string(), "type": kind(name)}),
        };
        names.chars().map(axis).collect::<Vec<_>>()
    };
    let of = |names: &str, scale: Value, translation: Value| {
        let transformations =
            json!([{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]);
        let level = json!({"path": "s0", "coordinateTransformations": transformations});
        let image = json!({"version": "0.4", "axes": axes(names), "datasets": [level]});
        reading(&json!({"multiscales": [image]})).map(|found| {
            let (image, reading) = found.unwrap();
            (image.datasets[0].scale.unwrap(), image.datasets[0].translation, reading.notes.join("; "))
        })
    };
    // bioformats2raw#280 writes 0 for t.
    let zero = of("tczyx", json!([0.0, -1, 40, 8, 8]), json!([0, 0, 3, 2, 1])).unwrap();
    assert_eq!(zero, ([40.0, 8.0, 8.0], [3.0, 2.0, 1.0], String::new()));
    // fractal-client#112 writes those of space only.
    let (scale, translation, note) = of("czyx", json!([40, 8, 8]), json!([3, 2, 1])).unwrap();
    assert_eq!((scale, translation), ([40.0, 8.0, 8.0], [3.0, 2.0, 1.0]));
    assert!(note.contains("3 numbers for the axes c, z, y, x"), "{note}");
    assert_eq!(of("cxyz", json!([8, 8, 40]), json!([1, 2, 3])).unwrap().0, [40.0, 8.0, 8.0]);
    // Which three are meant is not clear.
    assert!(of("zyxc", json!([40, 8, 8]), json!([3, 2, 1])).unwrap_err().to_string().contains("3 numbers for 4 axes"));
    assert!(of("tczyx", json!([1, 1, 0, 8, 8]), json!([0, 0, 0, 0, 0])).is_err());
}

#[test]
fn images_that_say_less_than_their_version_has_are_read_like_the_first_ones() {
    let paths = || json!([{"path": "0"}, {"path": "1"}]);
    let of = |image: Value| reading(&json!({"multiscales": [image]})).unwrap().unwrap();
    for version in [Value::Null, json!("0.1"), json!("0.3"), json!("0.4")] {
        let (image, reading) = of(json!({"version": version, "datasets": paths()}));
        assert!(reading.is_nameless && reading.is_silent && image.datasets.len() == 2);
        assert!(image.datasets.iter().all(LevelEntry::is_unscaled) && image.unitless.is_some());
    }
    let axes = || json!([axis("z", json!("nm")), axis("y", json!("nm")), axis("x", json!("nm"))]);
    let (bare, reading) = of(json!({"version": "0.4", "axes": axes(), "datasets": paths()}));
    assert!(!reading.is_nameless && reading.is_silent && bare.datasets.iter().all(LevelEntry::is_unscaled));
    assert_eq!(bare.unitless.as_deref(), Some("the levels have no coordinateTransformations"));
    let outer = json!([{"type": "scale", "scale": [40, 8, 8]}]);
    let (scaled, reading) =
        of(json!({"version": "0.4", "axes": axes(), "datasets": paths(), "coordinateTransformations": outer}));
    assert!(!reading.is_silent);
    assert!(scaled.datasets.iter().all(|level| level.scale == Some([40.0, 8.0, 8.0])));
    let level = |path: &str, scale: [u32; 3]| json!({"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]});
    let nameless = json!({"version": "0.4", "datasets": [level("0", [40, 8, 8]), level("1", [80, 16, 16])]});
    let (image, reading) = of(nameless);
    assert!(reading.is_nameless && !reading.is_silent);
    assert_eq!(image.datasets[1].relative.unwrap().scale, [2.0; 3]);
}

#[test]
fn the_transform_of_open_organelle_has_axes_and_units_itself() {
    let level = |path: &str, factor: f64, unit: &str| {
        json!({"path": path, "transform": {"axes": ["z", "y", "x"], "scale": [5.24 * factor, 4.0 * factor, 4.0 * factor],
               "translate": [2.62 * (factor - 1.0), 2.0 * (factor - 1.0), 2.0 * (factor - 1.0)], "units": [unit, unit, unit]}})
    };
    let image = |second: Value| {
        let image = json!({"name": "em", "datasets": [level("s0", 1.0, "nm"), second]});
        read(&json!({"multiscales": [image]})).unwrap().unwrap()
    };
    let both = image(level("s1", 2.0, "nm"));
    assert_eq!(both.datasets[1].scale, Some([10.48, 8.0, 8.0]));
    assert_eq!(both.datasets[1].translation, [2.62, 2.0, 2.0]);
    let other = image(level("s1", 2.0, "um"));
    assert_eq!((other.datasets.len(), other.rejected.len()), (1, 1));
    assert!(other.rejected[0].to_string().ends_with("it has other units than the first level"));
}

#[test]
fn versions_are_0_1_to_0_5() {
    assert!(
        error("/version", json!("0.6"))
            .contains("version: OME-NGFF version `0.6` is not supported; write it as version 0.4 or 0.5")
    );
    assert!(error("/version", json!(4)).contains("version: OME-NGFF version `4` is not supported; write it as"));
    assert!(error("/version", json!([])).ends_with("version: it is an array of 0, not a text"));
    // As a number in dandi-cli#1409.
    assert_eq!(read(&image("/version", json!(0.4))).unwrap().unwrap().version, "OME-NGFF 0.4");
    let mut ome = image("/version", Value::Null);
    ome["version"] = json!("0.5");
    assert_eq!(read(&json!({"ome": ome})).unwrap().unwrap().version, "OME-NGFF 0.5");
    assert_eq!(read(&image("/version", Value::Null)).unwrap().unwrap().version, "OME-NGFF");
}

#[test]
fn the_window_and_the_downsampling_are_taken_where_they_are_sound() {
    let window = |window: Value| {
        let mut attributes = image("", Value::Null);
        attributes["omero"] = json!({"channels": [{"window": window}]});
        read(&attributes).unwrap().unwrap().display().window
    };
    assert_eq!(window(json!({"start": 10, "end": 200.5, "min": 0, "max": 255})), Some((10.0, 200.5)));
    assert_eq!(window(json!({"start": 10, "end": 10})), None);
    assert_eq!(window(json!({"start": "a", "end": 10})), None);
    assert_eq!(window(json!(7)), None);
    let inverted = |channels: Value| {
        let mut attributes = image("", Value::Null);
        attributes["omero"] = json!({"channels": channels});
        read(&attributes).unwrap().unwrap().display().is_inverted
    };
    assert!(inverted(json!([{"inverted": true}])) && !inverted(json!([{"inverted": false}])) && !inverted(json!([{}])));
    assert!(
        !inverted(json!([{}, {"inverted": true}])) && !inverted(json!([{"inverted": "yes"}])) && !inverted(json!([]))
    );
    let downsampling = |pointer, value| read(&image(pointer, value)).unwrap().unwrap().downsampling;
    assert_eq!(downsampling("/type", json!("gaussian")).as_deref(), Some("gaussian"));
    assert_eq!(downsampling("/metadata", json!({"method": "skimage", "version": 3})).as_deref(), Some("skimage"));
    assert_eq!(downsampling("/type", Value::Null), None);
    assert_eq!(downsampling("/metadata", json!([1])), None);
}

#[test]
fn attributes_without_an_image_are_none() {
    for attributes in [json!({}), json!({"multiscales": []}), json!({"ome": {}}), json!({"multiscales": null})] {
        assert!(read(&attributes).unwrap().is_none());
    }
    assert!(read(&json!({"multiscales": 5})).is_err());
}

/// Texts, with names of members and axes often enough to be met.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![Just("scale".to_owned()), Just("z".to_owned()), any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(200)))]

    #[test]
    fn any_attributes_are_an_image_of_sound_levels_or_an_error(
        value in any_json(texts(), "[a-z]{0,4}|scale|name|path"), place in any::<prop::sample::Index>()
    ) {
        let mut attributes = image("", Value::Null);
        exchange(&mut attributes, &place, value);
        if let Ok(Some(image)) = read(&attributes) {
            prop_assert!((1..=31).contains(&image.datasets.len()));
            for dataset in image.datasets {
                let relative = dataset.relative.unwrap_or(Relative { scale: [1.0; 3], translation: [0.0; 3] });
                let mut sizes = dataset.scale.iter().flatten().chain(&relative.scale);
                prop_assert!(sizes.all(|&size| size.is_finite() && size > 0.0));
                prop_assert!(dataset.translation.iter().chain(&relative.translation).all(|length| length.is_finite()));
            }
        }
    }
}
