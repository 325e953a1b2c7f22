//! Opening of hand-written groups: which documents are asked for, and how each refusal reads.

use serde_json::{Value, json};

use super::{AROUND, GROUP, Shelf, attributes, chunk_key, zarr_json, zarray};
use crate::dtype::FillValue;
use crate::geometry::{CellIndex, LevelIndex, Shape};
use crate::remote::Cause;
use crate::source::{Placement, Source, SourceError};

pub(super) fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(elements) => elements[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
    document
}

fn v3_group(attributes: Value) -> Value {
    json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": with(attributes, "/version", json!("0.5"))}})
}

/// The error of a group whose array document has one other value.
fn v2_error(pointer: &str, value: Value) -> String {
    Shelf::of([(".zattrs", attributes()), ("s0/.zarray", with(zarray(), pointer, value))]).error()
}

fn v3_error(pointer: &str, value: Value) -> String {
    Shelf::of([("zarr.json", v3_group(attributes())), ("s0/zarr.json", with(zarr_json(), pointer, value))]).error()
}

#[test]
fn a_v2_group_takes_one_request_and_one_per_array() {
    let shelf = Shelf::of([(".zattrs", attributes()), ("s0/.zarray", zarray())]);
    let source = shelf.open().unwrap();
    assert_eq!(shelf.asked(), [".zattrs", "s0/.zarray"]);
    let description = source.description();
    assert_eq!(description.format.to_string(), "OME-NGFF 0.4 in Zarr v2, uncompressed");
    assert_eq!(description.levels[0].grid.shape, Shape([4, 5, 6]));
    assert_eq!(description.levels[0].grid.cell, Shape([2, 3, 4]));
    assert_eq!(description.levels[0].scale, Some([8.0, 4.0, 4.0]));
    assert!(description.chunked && description.window.is_none() && description.downsampling.is_none());
    assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "s0/1/0/1");
}

#[test]
fn a_v3_group_is_found_where_there_is_no_v2_one() {
    for cause in [None, Some(Cause::Denied(403))] {
        let mut shelf = Shelf::of([("zarr.json", v3_group(attributes())), ("s0/zarr.json", zarr_json())]);
        if let Some(cause) = cause {
            shelf = shelf.refuse(".zattrs", cause);
        }
        let source = shelf.open().unwrap();
        assert_eq!(shelf.asked(), [".zattrs", "zarr.json", "s0/zarr.json"]);
        assert_eq!(source.description().format.to_string(), "OME-NGFF 0.5 in Zarr v3, uncompressed");
        assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "s0/c/1/0/1");
    }
}

#[test]
fn a_lone_array_is_an_image_of_one_level_without_voxel_size() {
    let v2 = Shelf::of([(".zarray", zarray())]).open().unwrap();
    let v2_with_attributes = Shelf::of([(".zarray", zarray()), (".zattrs", json!({"x": 1}))]).open().unwrap();
    let v3 = Shelf::of([("zarr.json", zarr_json())]).open().unwrap();
    for (source, key) in [(v2, "1/1/1"), (v2_with_attributes, "1/1/1"), (v3, "c/1/1/1")] {
        assert_eq!(source.description().levels.len(), 1);
        assert_eq!(source.description().levels[0].scale, None);
        assert_eq!(chunk_key(&source, 0, [1, 1, 1]), key);
    }
}

#[test]
fn a_lone_array_whose_axes_are_named_is_shown_if_they_are_z_y_x_in_any_order() {
    let v3 = |names: Value| Shelf::of([("zarr.json", with(zarr_json(), "/dimension_names", names))]);
    let v2 = |names: Value| Shelf::of([(".zarray", zarray()), (".zattrs", json!({"_ARRAY_DIMENSIONS": names}))]);
    let accepted = [
        json!(["z", "y", "x"]),
        json!(["Z", "Y", "X"]),
        json!([null, null, null]),
        json!(["dim_0", "dim_1", "dim_2"]),
        json!([null, "y", ""]),
        Value::Null,
    ];
    for names in accepted {
        assert_eq!(chunk_key(&v3(names.clone()).open().unwrap(), 0, [1, 0, 1]), "c/1/0/1", "{names}");
        assert_eq!(chunk_key(&v2(names.clone()).open().unwrap(), 0, [1, 0, 1]), "1/0/1", "{names}");
    }
    for store in [v3(json!(["X", "y", "z"])), v2(json!(["x", "Y", "z"]))] {
        let source = store.open().unwrap();
        assert_eq!(source.description().levels[0].grid.shape, Shape([6, 5, 4]));
        assert!(chunk_key(&source, 0, [0, 1, 1]).ends_with("1/1/0"));
    }
    let refused = [
        (json!(["t", "y", "x"]), "an array with the axes `t`, `y`, `x` is not supported; write the moment that is"),
        (
            json!(["time", "lat", "lon"]),
            "an array with the axes `time`, `lat`, `lon` is not supported; write the moment",
        ),
        (
            json!(["channel", "row", "col"]),
            "an array with the axes `channel`, `row`, `col` is not supported; name its axes",
        ),
        (json!(["x", null, null]), "an array with the axes `x`, null, null is not supported; name its axes z, y, x"),
        (json!(["z", "z", "row"]), "an array with the axes `z`, `z`, `row` is not supported; name its axes z, y, x"),
        (json!(["y", "x"]), "an array with the axes `y`, `x` is not supported; write it as an array with the"),
        (json!([]), "an array with the axes  is not supported; name its axes z, y, x"),
        (json!("zyx"), "it is `zyx`, not an array"),
    ];
    for (names, reason) in refused {
        let error = v3(names.clone()).error();
        assert!(error.starts_with(&format!("{GROUP}/zarr.json: dimension_names: {reason}")), "{error}");
        let error = v2(names).error();
        assert!(error.starts_with(&format!("{GROUP}/.zattrs: _ARRAY_DIMENSIONS: {reason}")), "{error}");
    }
}

#[test]
fn three_axes_of_names_that_say_nothing_are_in_the_given_order_apart_from_those_that_do() {
    let shape = |names: &Value| {
        let v3 = Shelf::of([("zarr.json", with(zarr_json(), "/dimension_names", names.clone()))]);
        let v2 = Shelf::of([(".zarray", zarray()), (".zattrs", json!({"_ARRAY_DIMENSIONS": names}))]);
        let [v3, v2] = [v3, v2].map(|shelf| shelf.open().unwrap().description().levels[0].grid.shape.0);
        assert_eq!(v3, v2, "{names}");
        v3
    };
    for (names, expected) in [
        (json!(["depth", "row", "col"]), [4, 5, 6]),
        (json!(["depth", "y", "x"]), [4, 5, 6]),
        (json!(["sections", "lat", null]), [4, 5, 6]),
        (json!(["row", "col", "z"]), [6, 4, 5]),
        (json!(["y", "x", "depth"]), [6, 4, 5]),
    ] {
        assert_eq!(shape(&names), expected, "{names}");
    }
    // What the group around it says goes before.
    let v3 = Shelf::of([("zarr.json", with(zarr_json(), "/dimension_names", json!(["depth", "row", "col"])))]);
    let group = json!({"zarr_format": 3, "node_type": "group",
        "attributes": {"ome": super::lone::image(&["x", "y", "z"], &[json!([8, 8, 40])])}});
    let source = v3.raw("../zarr.json", &group.to_string()).open().unwrap();
    assert_eq!(source.description().levels[0].grid.shape.0, [6, 5, 4]);
}

#[test]
fn a_named_axis_of_length_one_of_a_lone_array_is_dropped() {
    let array = |channels: u64| {
        let array = with(with(zarray(), "/shape", json!([channels, 4, 5, 6])), "/chunks", json!([1, 2, 3, 4]));
        Shelf::of([(".zarray", array), (".zattrs", json!({"_ARRAY_DIMENSIONS": ["c", "z", "y", "x"]}))])
    };
    assert_eq!(chunk_key(&array(1).open().unwrap(), 0, [1, 0, 1]), "0/1/0/1");
    assert!(array(2).error().ends_with("there are 2 channels; write `channel = N`, 0 to 1, beside `url` to show one"));
    let second = array(3).open_channel(2).unwrap();
    assert_eq!(chunk_key(&second, 0, [1, 0, 1]), "2/1/0/1");
    let beyond = array(3).open_channel(3).map(drop).unwrap_err().to_string();
    assert!(beyond.ends_with("`channel = 3` is asked for, but the last one of 3 is 2"), "{beyond}");
    assert!(Shelf::of([(".zarray", zarray())]).open_channel(0).is_ok());
    assert!(Shelf::of([(".zarray", zarray())]).open_channel(1).is_err());
}

#[test]
fn a_channel_within_a_chunk_is_taken_out_of_it() {
    let array = with(with(zarray(), "/shape", json!([4, 1, 2, 2])), "/chunks", json!([3, 1, 2, 2]));
    let store = Shelf::of([(".zarray", array), (".zattrs", json!({"_ARRAY_DIMENSIONS": ["c", "z", "y", "x"]}))]);
    let raw: Vec<u8> = (0..12u16).flat_map(u16::to_le_bytes).collect();
    for (channel, key, first) in [(0, "0/0/0/0", 0), (2, "0/0/0/0", 8), (3, "1/0/0/0", 0)] {
        let source = store.open_channel(channel).unwrap();
        assert_eq!(chunk_key(&source, 0, [0; 3]), key);
        let voxels = source.decode(LevelIndex(0), CellIndex([0; 3]), raw.clone().into()).unwrap();
        assert_eq!(voxels, raw[2 * first..2 * first + 8]);
    }
}

#[test]
fn a_failed_fetch_is_an_error_and_never_another_kind_of_store() {
    let shelf = Shelf::of([(".zarray", zarray())]).refuse(".zattrs", Cause::timeout(60));
    assert!(matches!(shelf.open(), Err(SourceError::Remote(error)) if error.cause == Cause::timeout(60)));
    assert_eq!(shelf.asked(), [".zattrs", "zarr.json"]);
    let shelf = Shelf::of([(".zattrs", attributes())]);
    assert!(matches!(shelf.open(), Err(SourceError::Remote(error)) if error.cause == Cause::NotFound));
    let shelf = Shelf::of([]).refuse(".zattrs", Cause::Denied(403)).refuse("zarr.json", Cause::Denied(403));
    assert!(matches!(shelf.open(), Err(SourceError::Remote(error)) if error.cause == Cause::Denied(403)));
    assert!(Shelf::of([]).error().starts_with(&format!("{GROUP}: document: neither .zattrs nor zarr.json")));
}

#[test]
fn a_group_without_an_image_says_what_it_is_and_which_address_to_write() {
    let zgroup = || json!({"zarr_format": 2});
    let v2 = |attributes: Value| Shelf::of([(".zattrs", attributes), (".zgroup", zgroup())]);
    let v3 = |attributes: Value| {
        Shelf::of([("zarr.json", json!({"zarr_format": 3, "node_type": "group", "attributes": attributes}))])
    };
    let write = |path: &str| format!("write the address {GROUP}/{path}");
    for (attributes, what, path) in [
        (json!({"bioformats2raw.layout": 3}), "bioformats2raw", "0"),
        (json!({"labels": ["cells", "nuclei"]}), "a group of labels: `cells`, `nuclei`", "cells"),
        (json!({"plate": {"wells": [{"path": "A/1"}]}}), "a plate", "A/1/0"),
        (json!({"well": {"images": [{"path": "0"}]}}), "a well", "0"),
    ] {
        for error in
            [v2(attributes.clone()).error(), v3(attributes.clone()).error(), v3(json!({"ome": attributes})).error()]
        {
            assert!(error.contains(what) && error.ends_with(&write(path)), "{error}");
        }
    }
    let array = Shelf::of([(".zattrs", json!({})), ("s0/.zarray", zarray())]).error();
    assert!(array.contains("the arrays in it are `s0`") && array.ends_with(&write("s0")), "{array}");
    let image = Shelf::of([(".zgroup", zgroup()), ("0/.zattrs", attributes()), ("1/.zarray", zarray())]).error();
    assert!(image.contains("the images in it are `0`") && image.ends_with(&write("0")), "{image}");
    let deeper = Shelf::of([(".zgroup", zgroup()), ("0/.zgroup", zgroup())]).error();
    assert!(deeper.contains("the groups in it are `0`: look further down, and write"), "{deeper}");
    let metadata = json!({"metadata": {".zgroup": zgroup(), "em/raw/.zarray": zarray(), "em/.zattrs": {}}});
    let told = Shelf::of([(".zgroup", zgroup()), (".zmetadata", metadata)]).error();
    assert!(told.contains("the arrays in it are `em/raw`") && told.ends_with(&write("em/raw")), "{told}");
    let consolidated = json!({"zarr_format": 3, "node_type": "group",
        "consolidated_metadata": {"kind": "inline", "must_understand": false, "metadata": {"em": zarr_json()}}});
    let told = Shelf::of([("zarr.json", consolidated)]).error();
    assert!(told.contains("the arrays in it are `em`") && told.ends_with(&write("em")), "{told}");
    for bare in [Shelf::of([(".zgroup", zgroup())]), v2(json!({})), v3(json!({}))] {
        assert!(bare.error().contains("it is a group without an image, and no array was found in it"));
    }
    assert!(Shelf::of([]).error().contains("is the address right?"));
    let foreign = Shelf::of([("attributes.json", json!({}))]).error();
    assert!(foreign.ends_with("`attributes.json` is there instead: write `kind = \"n5\"` for it"), "{foreign}");
    assert!(Shelf::of([("info", json!({}))]).error().contains("kind = \"precomputed\""));
}

#[test]
fn a_folder_within_an_image_is_told_with_the_address_of_the_image() {
    for document in [".zattrs", ".zgroup", "zarr.json", ".zarray"] {
        let told = Shelf::of([]).raw(&format!("../{document}"), "{}").error();
        assert!(told.ends_with(&format!("`{document}` is one level up: write the address {AROUND}")), "{told}");
    }
    let told = Shelf::of([]).raw("../attributes.json", "{}").open_n5().map(drop).unwrap_err().to_string();
    assert!(told.ends_with(&format!("`attributes.json` is one level up: write the address {AROUND}")), "{told}");
    // What can be opened asks for nothing of that.
    let shelf = Shelf::of([(".zattrs", attributes()), ("s0/.zarray", zarray())]).raw("../.zattrs", "{}");
    shelf.open().unwrap();
    assert_eq!(shelf.asked(), [".zattrs", "s0/.zarray"]);
}

#[test]
fn a_byte_order_mark_before_any_document_is_passed_over() {
    let marked = |value: Value| format!("\u{feff}{value}");
    let v2 = Shelf::of([]).raw(".zattrs", &marked(attributes())).raw("s0/.zarray", &marked(zarray()));
    let v3 = Shelf::of([]).raw("zarr.json", &marked(zarr_json()));
    for source in [v2.open().unwrap(), v3.open().unwrap()] {
        assert_eq!(source.description.levels[0].grid.shape.0, [4, 5, 6]);
        assert!(source.documents.iter().all(|document| document.value().is_object()) && !source.documents.is_empty());
    }
    let n5 =
        json!({"dimensions": [6, 5, 4], "blockSize": [4, 3, 2], "dataType": "uint16", "compression": {"type": "raw"}});
    let n5 = Shelf::of([]).raw("attributes.json", &marked(n5)).open_n5().unwrap();
    assert_eq!(n5.description.levels[0].grid.shape.0, [4, 5, 6]);
}

#[test]
fn documents_that_are_none_are_refused_by_name() {
    assert!(Shelf::of([]).raw(".zattrs", "<html>").error().contains(".zattrs: document: it is no valid JSON"));
    assert!(Shelf::of([]).raw(".zattrs", "[]").error().contains("it is an array of 0, not an object"));
    assert!(Shelf::of([]).raw("zarr.json", &"[".repeat(100_000)).error().contains("nested more than 64 deep"));
}

#[test]
fn unsupported_v2_arrays_are_refused_by_field_and_name() {
    let cases = [
        ("/zarr_format", json!(3), "zarr_format: a .zarray has format 2"),
        ("/shape", json!([4, 5]), "chunks: 3 extents for an array of 2 axes"),
        ("/shape", json!([4, -5, 6]), "shape[1]: it is -5, not a whole number"),
        ("/shape", json!([4, 0, 6]), "shape[1]: an extent of 0 is not supported"),
        ("/shape", json!([4294967296u64, 4294967296u64, 4294967296u64]), "shape: an array of 4294967296×"),
        ("/shape", json!([u64::MAX, 1, 1]), "shape[0]: an extent of 18446744073709551615 is beyond any array"),
        ("/shape", json!("4,5,6"), "shape: it is `4,5,6`, not an array"),
        ("/shape", json!([1, 1, 1, 1, 1, 1]), "shape: 6 elements where 5 are the most is not supported"),
        ("/chunks", json!([2, 3, 0]), "chunks[2]: an extent of 0 is not supported"),
        ("/chunks", json!([1 << 20, 1 << 20, 1 << 20]), "chunks: a chunk of 1048576×1048576×1048576 uint16 voxels"),
        ("/chunks", json!([2.5, 3, 4]), "chunks[0]: it is 2.5, not a whole number"),
        ("/dtype", json!("<c8"), "dtype: type `<c8` is not supported"),
        ("/dtype", json!("|f2"), "dtype: type `|f2` is not supported"),
        ("/dtype", json!("|u2"), "dtype: `|u2` has no byte order"),
        ("/dtype", json!([["a", "<u2"]]), "dtype: a structured type is not supported"),
        ("/dtype", json!(""), "dtype: type `` is not supported"),
        ("/dtype", Value::Null, "dtype: it is missing"),
        ("/order", json!("K"), "order: `K` is neither `C` nor `F`"),
        ("/dimension_separator", json!("-"), "dimension_separator: a separator is `.` or `/`"),
        ("/fill_value", json!(65536), "fill_value: 65536 is no uint16"),
        ("/fill_value", json!("NaN"), "fill_value: `NaN` is no uint16"),
        ("/filters", json!([{"id": "packbits"}]), "filters[0]: filter `packbits` is not supported"),
        ("/filters", json!([{"id": "delta"}]), "filters[0].dtype: it is missing"),
        ("/filters", json!([{"id": "delta", "dtype": "<i2", "astype": "|i1"}]), "filters[0].astype: delta of int16 as"),
        ("/filters", json!([{"id": "shuffle", "elementsize": 1 << 20}]), "filters[0]: words of 1048576 bytes"),
        ("/compressor", json!({"id": "szip"}), "compressor.id: compressor `szip` is not supported"),
        (
            "/compressor",
            json!({"id": "lzma", "format": 3}),
            "compressor.format: lzma without a header is not supported",
        ),
        ("/compressor", json!({"id": "crc32c"}), "compressor.id: compressor `crc32c` is not supported"),
        ("/compressor", json!({"level": 1}), "compressor.id: it is missing"),
        ("/compressor", json!("zstd"), "compressor: it is `zstd`, not an object"),
    ];
    for (pointer, value, expected) in cases {
        let error = v2_error(pointer, value.clone());
        let (file, complaint) = error.split_at(format!("{GROUP}/s0/.zarray: ").len());
        assert_eq!(file, format!("{GROUP}/s0/.zarray: "));
        assert!(complaint.starts_with(expected), "{pointer} = {value}: {error}");
    }
}

#[test]
fn unsupported_v3_arrays_are_refused_by_field_and_name() {
    let sharding = json!([{"name": "sharding_indexed", "configuration": {}}]);
    let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
    let transpose = |order: Value| json!([{"name": "transpose", "configuration": {"order": order}}, bytes.clone()]);
    let cases = [
        ("/zarr_format", json!(2), "zarr_format: a zarr.json has format 3"),
        ("/node_type", json!("group"), "node_type: it is a group where an array is expected"),
        ("/node_type", json!("table"), "node_type: `table` is neither `group` nor `array`"),
        ("/data_type", json!("float128"), "data_type: type `float128` is not supported"),
        ("/data_type", json!({"name": "numpy.datetime64"}), "data_type: type `numpy.datetime64` is not supported"),
        ("/chunk_grid", json!({"name": "rectangular"}), "chunk_grid: chunk grid `rectangular` is not supported"),
        ("/chunk_grid", json!({"name": "regular"}), "chunk_grid: `configuration.chunk_shape` is missing"),
        ("/chunk_key_encoding", json!("morton"), "chunk_key_encoding: chunk key encoding `morton` is not supported"),
        ("/codecs", sharding, "codecs[0]: `configuration.codecs` is missing"),
        ("/codecs", json!([]), "codecs: codec `bytes` is missing"),
        ("/codecs", json!(["bytes"]), "codecs[0]: `configuration.endian` is missing for uint16"),
        ("/codecs", json!([{"name": "zstd"}, bytes.clone()]), "codecs[0]: codec `zstd` stands in the wrong place"),
        ("/codecs", json!([bytes.clone(), bytes.clone()]), "codecs[1]: codec `bytes` stands in the wrong place"),
        ("/codecs", transpose(json!([0, 0, 1])), "codecs[0].configuration.order: it is no permutation"),
        ("/codecs", transpose(json!([0, 1, 3])), "codecs[0].configuration.order[2]: there are 3 axes"),
        ("/codecs", transpose(json!("A")), "codecs[0].configuration.order: `A` is neither `C` nor `F`"),
        ("/codecs", transpose(json!(1)), "codecs[0].configuration.order: it is 1, not an array"),
        (
            "/codecs",
            json!([bytes, {"name": "vendor.pack", "must_understand": false}]),
            "codecs[1]: codec `vendor.pack`",
        ),
        ("/storage_transformers", json!([{"name": "cache"}]), "storage_transformers[0]: storage transformer `cache`"),
        ("/fill_value", Value::Null, "fill_value: it is missing"),
        ("/layers", json!({"must_understand": true}), "document: extension `layers` is not supported"),
        ("/layers", json!(1), "document: extension `layers` is not supported"),
    ];
    for (pointer, value, expected) in cases {
        let error = v3_error(pointer, value.clone());
        let (file, complaint) = error.split_at(format!("{GROUP}/s0/zarr.json: ").len());
        assert_eq!(file, format!("{GROUP}/s0/zarr.json: "));
        assert!(complaint.starts_with(expected), "{pointer} = {value}: {error}");
    }
    let tolerated = with(zarr_json(), "/layers", json!({"must_understand": false}));
    assert!(Shelf::of([("zarr.json", tolerated)]).open().is_ok());
}

#[test]
fn extra_keys_of_known_codecs_are_tolerated() {
    let compressor = json!({"id": "zstd", "level": 1, "checksum": false, "new": {"key": [1]}});
    let array = with(with(zarray(), "/compressor", compressor), "/another", json!("key"));
    assert!(Shelf::of([(".zattrs", attributes()), ("s0/.zarray", array)]).open().is_ok());
}

#[test]
fn keys_follow_the_separator_and_the_encoding() {
    let v2 = |array: Value| chunk_key(&Shelf::of([(".zarray", array)]).open().unwrap(), 0, [1, 0, 1]);
    assert_eq!(v2(with(zarray(), "/dimension_separator", json!("."))), "1.0.1");
    let mut old = zarray();
    old.as_object_mut().unwrap().remove("dimension_separator");
    assert_eq!(v2(old), "1.0.1");
    let v3 = |encoding: Value| {
        let array = with(zarr_json(), "/chunk_key_encoding", encoding);
        chunk_key(&Shelf::of([("zarr.json", array)]).open().unwrap(), 0, [1, 0, 1])
    };
    assert_eq!(v3(json!("default")), "c/1/0/1");
    assert_eq!(v3(json!({"name": "default", "configuration": {"separator": "."}})), "c.1.0.1");
    assert_eq!(v3(json!({"name": "v2"})), "1.0.1");
    assert_eq!(v3(json!({"name": "v2", "configuration": {"separator": "/"}})), "1/0/1");
}

#[test]
fn axes_of_length_one_are_dropped_and_others_refused() {
    let mut attributes = attributes();
    let image = &mut attributes["multiscales"][0];
    image["axes"].as_array_mut().unwrap().insert(0, json!({"name": "c", "type": "channel"}));
    image["datasets"][0]["coordinateTransformations"][0]["scale"] = json!([1, 8.0, 4.0, 4.0]);
    let array = |channels: u64| {
        let array = with(zarray(), "/shape", json!([channels, 4, 5, 6]));
        with(with(array, "/chunks", json!([2, 2, 3, 4])), "/dimension_separator", json!("."))
    };
    let source = Shelf::of([(".zattrs", attributes.clone()), ("s0/.zarray", array(1))]).open().unwrap();
    assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "s0/0.1.0.1");
    // The first channel of the chunk is taken; the second lies outside of the array.
    let raw: Vec<u8> = (0..48u16).flat_map(u16::to_le_bytes).collect();
    let voxels = source.decode(LevelIndex(0), CellIndex([0, 0, 0]), raw.into()).unwrap();
    assert_eq!(voxels.to_vec(), (0..24u16).flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let error = Shelf::of([(".zattrs", attributes.clone()), ("s0/.zarray", array(2))]).error();
    assert!(
        error.ends_with(
            "s0/.zarray: shape: there are 2 channels; write `channel = N`, 0 to 1, beside `url` to show one"
        ),
        "{error}"
    );
    let error = Shelf::of([(".zattrs", attributes), ("s0/.zarray", zarray())]).error();
    assert!(error.ends_with("shape: 3 extents for the 4 axes c, z, y, x"), "{error}");
}

#[test]
fn the_limit_of_a_chunk_is_its_own_size_and_space_for_a_header() {
    let compressed = with(zarray(), "/compressor", json!({"id": "gzip"}));
    for (array, expected) in [(zarray(), 48), (compressed, 48 + 65536)] {
        let source = Shelf::of([(".zarray", array)]).open().unwrap();
        let placement = futures::executor::block_on(source.locate(LevelIndex(0), CellIndex([1, 1, 1]))).unwrap();
        assert!(matches!(placement, Placement::Whole { object, limit, .. }
            if limit == expected && object.url() == format!("{GROUP}/1/1/1")));
    }
}

#[test]
fn chunks_outside_of_the_grid_are_errors() {
    let source = Shelf::of([(".zarray", zarray())]).open().unwrap();
    assert_eq!(source.description().fill, FillValue::zero(source.description().dtype));
    for (level, block) in [(0, [2, 0, 0]), (0, [0, 0, u64::MAX]), (1, [0, 0, 0]), (255, [0, 0, 0])] {
        let (level, block) = (LevelIndex(level), CellIndex(block));
        assert!(futures::executor::block_on(source.locate(level, block)).is_err());
        assert!(source.decode(level, block, vec![0; 48].into()).is_err());
    }
}

#[test]
fn a_pyramid_as_openorganelle_has_it_is_read() {
    let attributes = json!({"multiscales": [{
        "axes": attributes()["multiscales"][0]["axes"],
        "coordinateTransformations": [{"scale": [1.0, 1.0, 1.0], "type": "scale"}],
        "datasets": [
            {"coordinateTransformations": [{"scale": [2.96, 4.0, 4.0], "type": "scale"},
                {"translation": [0.0, 0.0, 0.0], "type": "translation"}], "path": "s0"},
            {"coordinateTransformations": [{"scale": [11.840000000000002, 16.0, 16.0], "type": "scale"},
                {"translation": [4.4399999999999995, 6.0, 6.0], "type": "translation"}], "path": "s2"}],
        "metadata": null, "name": "", "type": null, "version": "0.4"}]});
    let array = |shape: [u64; 3]| {
        json!({"chunks": [64, 64, 64], "compressor": {"id": "zstd", "level": 1}, "dimension_separator": "/",
               "dtype": "<i2", "fill_value": 0, "filters": null, "order": "C", "shape": shape, "zarr_format": 2})
    };
    let documents =
        [(".zattrs", attributes), ("s0/.zarray", array([564, 2520, 2596])), ("s2/.zarray", array([141, 630, 649]))];
    let source = Shelf::of(documents).open().unwrap();
    let [fine, coarse] = source.description().levels.as_slice() else { panic!("two levels") };
    assert_eq!(fine.grid.counts(), [9, 40, 41]);
    assert_eq!(
        (coarse.scale, coarse.translation),
        (Some([11.840000000000002, 16.0, 16.0]), [4.4399999999999995, 6.0, 6.0])
    );
    assert_eq!(source.description().format.to_string(), "OME-NGFF 0.4 in Zarr v2, zstd");
}
