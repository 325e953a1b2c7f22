//! Documents, compared with the texts that all readers were seen to accept.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{Grid, LevelIndex, Region, Shape};
use crate::source::StorageFormat;
use crate::view::ViewSpec;
use crate::volume::Level;

fn level(shape: [u64; 3], scale: [f64; 3], translation: [f64; 3]) -> Level {
    Level {
        grid: Grid { shape: Shape(shape), cell: Shape([64; 3]) },
        scale,
        translation,
        corner: [0.0; 3],
        offset: [0; 3],
    }
}

/// A level of 8 nm whose first voxel has this corner; its centre, which other keys tell, is no whole multiple.
fn at_corner(corner: [f64; 3]) -> Level {
    Level { corner, ..level([9; 3], [8.0; 3], corner.map(|corner| corner + 4.0)) }
}

fn image(pyramid: &Pyramid) -> Group<'_> {
    let (numbers, level_names) = (None, LevelNames::Lettered);
    Group { name: "em", pyramid, numbers, level_names, coordinates: false, is_label: false }
}

fn label(pyramid: &Pyramid) -> Group<'_> {
    Group { name: "mitochondria", is_label: true, ..image(pyramid) }
}

fn pyramid() -> Pyramid {
    let levels = vec![
        level([100, 200, 300], [5.24, 4.0, 4.0], [0.0; 3]),
        level([50, 100, 150], [10.48, 8.0, 8.0], [2.62, 2.0, 2.0]),
    ];
    let format = StorageFormat { name: "Zarr v2, zstd".to_owned(), ..StorageFormat::for_tests() };
    Pyramid { format, downsampling: Some("mean".to_owned()), ..Pyramid::for_tests(DataType::U8, levels) }
}

fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn parsed(bytes: Bytes) -> Value {
    serde_json::from_slice(&bytes).unwrap()
}

const AXES: &str = r#"[{"name":"z","type":"space","unit":"nanometer"},{"name":"y","type":"space","unit":"nanometer"},{"name":"x","type":"space","unit":"nanometer"}]"#;
const DATASETS: &str = r#"[{"path":"s0","coordinateTransformations":[{"type":"scale","scale":[5.24,4.0,4.0]},{"type":"translation","translation":[0.0,0.0,0.0]}]},{"path":"s1","coordinateTransformations":[{"type":"scale","scale":[10.48,8.0,8.0]},{"type":"translation","translation":[2.62,2.0,2.0]}]}]"#;
const METADATA: &str = r#""type":"mean","metadata":{"description":"s0 is the origin's data (Zarr v2, zstd); the coarser levels are the origin's own, made by: mean"}"#;
const CHANNELS: &str = r#""channels":[{"label":"EM","color":"FFFFFF","active":true,"coefficient":1,"family":"linear","inverted":false,"window":{"min":0,"max":255,"start":0,"end":255}}],"rdefs":{"model":"greyscale"}"#;

#[test]
fn the_v2_group_says_what_readers_accept() {
    let pyramid = pyramid();
    let group = image(&pyramid);
    assert_eq!(text(v2::group()), r#"{"zarr_format":2}"#);
    assert_eq!(
        text(v2::attributes(&group)),
        format!(
            r#"{{"multiscales":[{{"version":"0.4","name":"em","axes":{AXES},"datasets":{DATASETS},{METADATA}}}],"omero":{{"version":"0.4","name":"em",{CHANNELS}}}}}"#
        )
    );
}

#[test]
fn the_v3_group_says_the_same_without_inner_versions() {
    let pyramid = pyramid();
    let group = image(&pyramid);
    assert_eq!(
        text(v3::group(&group)),
        format!(
            r#"{{"zarr_format":3,"node_type":"group","attributes":{{"ome":{{"version":"0.5","multiscales":[{{"name":"em","axes":{AXES},"datasets":{DATASETS},{METADATA}}}],"omero":{{"name":"em",{CHANNELS}}}}}}}}}"#
        )
    );
}

#[test]
fn levels_without_the_finest_are_described_as_coarser_ones_under_their_names() {
    let mut pyramid = pyramid();
    let told = |pyramid: &Pyramid, numbers: &[u8]| {
        let group = Group { numbers: Some(numbers), ..image(pyramid) };
        let multiscale = parsed(v2::attributes(&group))["multiscales"][0].take();
        let paths: Vec<_> = multiscale["datasets"].as_array().unwrap().iter().map(|of| of["path"].clone()).collect();
        (paths, multiscale["metadata"]["description"].as_str().unwrap().to_owned())
    };
    let made = "s0 is the origin's data (Zarr v2, zstd); the coarser levels are the origin's own, made by: mean";
    assert_eq!(told(&pyramid, &[0, 2]), (vec![json!("s0"), json!("s2")], made.to_owned()));
    let made = "all levels (s1, s3) are coarser ones of the origin's (Zarr v2, zstd), made by: mean";
    assert_eq!(told(&pyramid, &[1, 3]), (vec![json!("s1"), json!("s3")], made.to_owned()));
    pyramid.downsampling = None;
    pyramid.levels.truncate(1);
    let made =
        "all levels (s2) are coarser ones of the origin's (Zarr v2, zstd), which does not say how they were made";
    assert_eq!(told(&pyramid, &[2]), (vec![json!("s2")], made.to_owned()));
}

#[test]
fn arrays_are_raw_with_slashes_in_their_keys() {
    let mut pyramid = pyramid();
    assert_eq!(
        text(v2::array(&pyramid, &pyramid.levels[0])),
        r#"{"zarr_format":2,"shape":[100,200,300],"chunks":[64,64,64],"dtype":"|u1","order":"C","fill_value":null,"compressor":null,"filters":null,"dimension_separator":"/"}"#
    );
    assert_eq!(
        text(v3::array(&pyramid, &pyramid.levels[0])),
        r#"{"zarr_format":3,"node_type":"array","shape":[100,200,300],"data_type":"uint8","chunk_grid":{"name":"regular","configuration":{"chunk_shape":[64,64,64]}},"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"codecs":[{"name":"bytes"}],"fill_value":0,"attributes":{"dimension_units":["5.24 nm","4 nm","4 nm"]},"dimension_names":["z","y","x"]}"#
    );
    pyramid.dtype = DataType::U16;
    pyramid.fill = FillValue::from_le_bytes(&500u16.to_le_bytes()).unwrap();
    let array = parsed(v3::array(&pyramid, &pyramid.levels[0]));
    assert_eq!(array["codecs"], json!([{"name": "bytes", "configuration": {"endian": "little"}}]));
    // What is absent at the origin is served as files that hold its fill value; nothing is absent here.
    assert_eq!(array["fill_value"], json!(0), "v3 has to state one");
    assert_eq!(parsed(v2::array(&pyramid, &pyramid.levels[0]))["fill_value"], Value::Null);
    assert_eq!(parsed(v2::array(&pyramid, &pyramid.levels[0]))["dtype"], "<u2");
}

#[test]
fn whole_nanometres_are_stated_for_those_who_read_integers() {
    let pyramid = Pyramid { levels: vec![at_corner([0.0, -8.0, 16.0])], ..pyramid() };
    assert_eq!(
        text(v2::array_attributes(&pyramid, &pyramid.levels[0])),
        r#"{"_ARRAY_DIMENSIONS":["z","y","x"],"dimension_units":["8 nm","8 nm","8 nm"],"resolution":[8,8,8],"voxel_size":[8,8,8],"offset":[0,-8,16],"axis_names":["z","y","x"],"units":["nm","nm","nm"],"types":["space","space","space"]}"#
    );
}

#[test]
fn arrays_have_the_same_attributes_in_both_formats() {
    let whole = Pyramid { levels: vec![at_corner([0.0, -8.0, 16.0])], ..pyramid() };
    let uncalibrated = Pyramid { calibrated: [false; 3], ..pyramid() };
    for pyramid in [pyramid(), whole, uncalibrated] {
        let level = &pyramid.levels[0];
        let v3 = parsed(v3::array(&pyramid, level));
        let mut v2 = parsed(v2::array_attributes(&pyramid, level));
        assert_eq!(v2.as_object_mut().unwrap().remove("_ARRAY_DIMENSIONS"), Some(v3["dimension_names"].clone()));
        assert_eq!(v3["attributes"], v2);
    }
}

#[test]
fn fractional_nanometres_are_not_stated_where_readers_would_cut_them_off() {
    let fractional_size = pyramid();
    let expected = r#"{"_ARRAY_DIMENSIONS":["z","y","x"],"dimension_units":["5.24 nm","4 nm","4 nm"]}"#;
    assert_eq!(text(v2::array_attributes(&fractional_size, &fractional_size.levels[0])), expected);
    for corner in [[0.5, 0.0, 0.0], [0.0, 4.0, 0.0]] {
        let between_voxels = Pyramid { levels: vec![at_corner(corner)], ..pyramid() };
        let keys = parsed(v2::array_attributes(&between_voxels, &between_voxels.levels[0]));
        assert_eq!(keys, json!({"_ARRAY_DIMENSIONS": ["z", "y", "x"], "dimension_units": ["8 nm", "8 nm", "8 nm"]}));
    }
}

#[test]
fn without_a_voxel_size_there_is_no_unit() {
    let pyramid = Pyramid { calibrated: [false; 3], levels: vec![level([9; 3], [1.0; 3], [0.0; 3])], ..pyramid() };
    let group = image(&pyramid);
    let axes = &parsed(v2::attributes(&group))["multiscales"][0]["axes"];
    assert_eq!(axes[0], json!({"name": "z", "type": "space"}));
    let keys = text(v2::array_attributes(&pyramid, &pyramid.levels[0]));
    assert_eq!(keys, r#"{"_ARRAY_DIMENSIONS":["z","y","x"]}"#);
}

#[test]
fn a_voxel_size_along_some_axes_gives_units_to_these() {
    let levels = vec![level([9; 3], [1.0, 8.0, 4.0], [0.0; 3])];
    let pyramid = Pyramid { calibrated: [false, true, true], levels, ..pyramid() };
    let group = image(&pyramid);
    let axes = &parsed(v2::attributes(&group))["multiscales"][0]["axes"];
    let axis = |name: &str| json!({"name": name, "type": "space", "unit": "nanometer"});
    assert_eq!(*axes, json!([{"name": "z", "type": "space"}, axis("y"), axis("x")]));
    let keys = text(v2::array_attributes(&pyramid, &pyramid.levels[0]));
    assert_eq!(keys, r#"{"_ARRAY_DIMENSIONS":["z","y","x"],"dimension_units":[null,"8 nm","4 nm"]}"#);
    let units = Coordinate::all(&pyramid.levels[0], pyramid.calibrated).map(|axis| axis.attributes()["units"].clone());
    assert_eq!(units, [json!("1"), json!("nm"), json!("nm")]);
}

#[test]
fn everything_is_in_the_consolidated_document() {
    let pyramid = pyramid();
    let group = image(&pyramid);
    let label = label(&pyramid);
    let document = parsed(v2::consolidated(&group, &[label]));
    assert_eq!(document["zarr_consolidated_format"], 1);
    let documents = document["metadata"].as_object().unwrap();
    let image = [".zgroup", ".zattrs", "s0/.zarray", "s0/.zattrs", "s1/.zarray", "s1/.zattrs"];
    let mut expected: Vec<String> = image.iter().map(|&name| name.to_owned()).collect();
    expected.extend(["labels/.zgroup".to_owned(), "labels/.zattrs".to_owned()]);
    expected.extend(image.iter().map(|name| format!("labels/mitochondria/{name}")));
    assert_eq!(documents.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(documents[".zattrs"], parsed(v2::attributes(&group)));
    assert_eq!(documents["s1/.zarray"], parsed(v2::array(&pyramid, &pyramid.levels[1])));
    assert_eq!(documents["labels/.zattrs"], json!({"labels": ["mitochondria"]}));
    assert_eq!(documents["labels/mitochondria/.zattrs"], parsed(v2::attributes(&label)));
}

#[test]
fn everything_is_in_the_document_of_a_v3_group() {
    let pyramid = pyramid();
    let group = image(&pyramid);
    let label = label(&pyramid);
    let mut document = parsed(v3::consolidated(&group, &[label]));
    let inline = document.as_object_mut().unwrap().remove("consolidated_metadata").unwrap();
    assert_eq!(document, parsed(v3::group(&group)));
    assert_eq!((&inline["kind"], &inline["must_understand"]), (&json!("inline"), &json!(false)));
    let nodes = inline["metadata"].as_object().unwrap();
    let expected = ["s0", "s1", "labels", "labels/mitochondria", "labels/mitochondria/s0", "labels/mitochondria/s1"];
    assert_eq!(nodes.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(nodes["s1"], parsed(v3::array(&pyramid, &pyramid.levels[1])));
    assert_eq!(nodes["labels"], parsed(v3::labels(["mitochondria"].into_iter())));
    assert_eq!(nodes["labels/mitochondria"], parsed(v3::group(&label)));
}

#[test]
fn a_level_alone_has_arrays_of_positions_beside_it() {
    let pyramid = Pyramid { levels: vec![level([3, 4, 70_000], [10.48, 8.0, 8.0], [2.62, 2.0, -2.0])], ..pyramid() };
    let group = Group { numbers: Some(&[1]), coordinates: true, ..image(&pyramid) };
    let [z, _, x] = Coordinate::all(&pyramid.levels[0], [true; 3]);
    assert_eq!(
        text(v2::coordinate(&z)),
        r#"{"zarr_format":2,"shape":[3],"chunks":[3],"dtype":"<f8","order":"C","fill_value":null,"compressor":null,"filters":null,"dimension_separator":"/"}"#
    );
    assert_eq!(
        text(v2::coordinate_attributes(&z)),
        r#"{"_ARRAY_DIMENSIONS":["z"],"long_name":"centre of the voxel along z","units":"nm","axis":"Z"}"#
    );
    let array = parsed(v3::coordinate(&x));
    assert_eq!((&array["dimension_names"], &array["data_type"]), (&json!(["x"]), &json!("float64")));
    assert_eq!(array["codecs"], json!([{"name": "bytes", "configuration": {"endian": "little"}}]));
    let positions = |bytes: Bytes| -> Vec<f64> {
        bytes.chunks_exact(8).map(|value| f64::from_le_bytes(value.try_into().unwrap())).collect()
    };
    assert_eq!(positions(z.values(0)), [2.62, 2.62 + 10.48, 2.62 + 2.0 * 10.48]);
    let last = positions(x.values(1));
    assert_eq!((x.chunks(), x.chunk_bytes(), last.len()), (2, 65_536 * 8, 65_536));
    assert_eq!((last[0], last[4463], last[4464]), (8.0 * 65_536.0 - 2.0, 8.0 * 69_999.0 - 2.0, 0.0));
    let v2 = parsed(v2::consolidated(&group, &[]));
    let keys: Vec<&String> = v2["metadata"].as_object().unwrap().keys().collect();
    let arrays = ["s1", "z", "y", "x"].iter().flat_map(|name| [format!("{name}/.zarray"), format!("{name}/.zattrs")]);
    assert_eq!(keys[2..], arrays.collect::<Vec<_>>().iter().collect::<Vec<_>>());
    let v3 = parsed(v3::consolidated(&group, &[]));
    assert_eq!(v3["consolidated_metadata"]["metadata"]["x"], array);
    assert_eq!(v3["attributes"]["ome"]["multiscales"][0]["datasets"].as_array().unwrap().len(), 1);
}

#[test]
fn numbered_levels_have_their_numbers_for_names_in_every_document() {
    let pyramid = pyramid();
    let group = Group { level_names: LevelNames::Numbered, ..image(&pyramid) };
    let attributes = parsed(v2::attributes(&group));
    assert_eq!(attributes["multiscales"][0]["datasets"][1]["path"], "1");
    // iohub knows nothing of an image without these.
    assert_eq!(attributes["omero"]["rdefs"], json!({"model": "greyscale", "defaultT": 0, "defaultZ": 0}));
    let description = attributes["multiscales"][0]["metadata"]["description"].as_str().unwrap().to_owned();
    assert!(description.starts_with("0 is the origin's data"), "{description}");
    let v2 = parsed(v2::consolidated(&group, &[]));
    assert_eq!(v2["metadata"]["1/.zarray"], parsed(v2::array(&pyramid, &pyramid.levels[1])));
    assert_eq!(v2["metadata"].get("s1/.zarray"), None);
    let v3 = parsed(v3::consolidated(&group, &[]));
    assert_eq!(v3["consolidated_metadata"]["metadata"]["1"], parsed(v3::array(&pyramid, &pyramid.levels[1])));
    // Some levels of an image keep their numbers.
    let some = Group { numbers: Some(&[2, 3]), ..group };
    assert_eq!(parsed(v2::attributes(&some))["multiscales"][0]["datasets"][0]["path"], "2");
}

#[test]
fn labels_say_of_which_image_they_are() {
    let pyramid = pyramid();
    let label = label(&pyramid);
    let v2 = parsed(v2::attributes(&label));
    assert_eq!(v2["image-label"], json!({"version": "0.4", "source": {"image": "../../"}}));
    assert_eq!(v2.get("omero"), None, "napari would refuse to show them");
    let v3 = parsed(v3::group(&label));
    assert_eq!(v3["attributes"]["ome"]["image-label"], json!({"source": {"image": "../../"}}));
    let names = ["mitochondria", "er"];
    assert_eq!(text(v2::labels_attributes(names.into_iter())), r#"{"labels":["mitochondria","er"]}"#);
    assert_eq!(
        text(v3::labels(names.into_iter())),
        r#"{"zarr_format":3,"node_type":"group","attributes":{"ome":{"version":"0.5","labels":["mitochondria","er"]}}}"#
    );
}

#[test]
fn windows_lie_in_the_range_of_the_type() {
    for (dtype, window, expected) in [
        (DataType::U8, (10.5, 200.0), json!({"min": 0, "max": 255, "start": 10.5, "end": 200})),
        (DataType::I16, (-5.0, 5.0), json!({"min": -32768, "max": 32767, "start": -5, "end": 5})),
        (DataType::F32, (-2.0, 0.5), json!({"min": -2, "max": 1, "start": -2, "end": 0.5})),
    ] {
        let pyramid = Pyramid { dtype, window, fill: FillValue::zero(dtype), ..pyramid() };
        let group = image(&pyramid);
        assert_eq!(parsed(v2::attributes(&group))["omero"]["channels"][0]["window"], expected);
    }
}

#[test]
fn keys_have_one_spelling() {
    assert_eq!(parse_index("0"), Some(0));
    assert_eq!(parse_index("120"), Some(120));
    for name in ["", "00", "01", "+1", "-1", "1 ", "1.0", "0x1", "٣", "18446744073709551616", "c"] {
        assert_eq!(parse_index(name), None, "{name}");
    }
}

#[test]
fn store_names_are_split_into_image_view_and_format() {
    let name = "em.crop-z16000-17000_y18000-19000_x20000-21000.chunk-128.v3.zarr";
    let store = StoreName::parse(name).unwrap();
    assert_eq!((store.image.as_str(), store.format), ("em", Format::V3));
    assert_eq!(store.to_string(), name);
    for name in
        ["em", "em.zip", "em.zarr.v3", ".zarr", ".v3.zarr", "Em.zarr", "em.v3.v3.zarr", "em.zarr.zarr", "-.zarr"]
    {
        assert!(StoreName::parse(name).is_err(), "{name}");
    }
    let message = |name| StoreName::parse(name).unwrap_err().to_string();
    assert_eq!(message("em"), "the name of a store ends in `.zarr` or `.v3.zarr`");
    assert_eq!(message("EM.zarr"), "`EM` is no name of an image: those are lower-case letters, digits, `_` and `-`");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn a_store_name_is_read_back_as_it_was_written(
        image in "[a-z0-9][a-z0-9_-]{0,12}",
        level in proptest::option::of(any::<u8>().prop_map(LevelIndex)),
        chunk in proptest::option::of(proptest::array::uniform3(1u64..=4096)),
        start in proptest::option::of(proptest::array::uniform3(0u64..1 << 20)),
        level_names in proptest::sample::select(&LevelNames::ALL),
        v3 in any::<bool>(),
    ) {
        let crop = start.map(|start| Region { start, end: start.map(|voxel| voxel + 7) });
        let view = ViewSpec { crop, level, level_names, chunk: chunk.map(Shape), ..ViewSpec::default() };
        let store = StoreName { image, view, format: if v3 { Format::V3 } else { Format::V2 } };
        prop_assert_eq!(StoreName::parse(&store.to_string()), Ok(store));
    }

    #[test]
    fn any_name_is_refused_or_canonical(name in r"\PC{0,30}(\.v3)?(\.zarr)?") {
        if let Ok(store) = StoreName::parse(&name) {
            prop_assert_eq!(store.to_string(), name);
        }
    }
}
