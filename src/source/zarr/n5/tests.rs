mod axes;
mod places;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::block;
use super::*;
use crate::dtype::DataType;
use crate::geometry::LevelIndex;
use crate::source::Source;
use crate::source::zarr::codec::BytesCodec;
use crate::source::zarr::tests::{Shelf, chunk_key};

/// An array of 4 × 5 × 6 voxels (z, y, x) in blocks of 2 × 3 × 4.
fn array() -> Value {
    json!({"dimensions": [6, 5, 4], "blockSize": [4, 3, 2], "dataType": "uint16", "compression": {"type": "raw"}})
}

fn sized(side: u64) -> Value {
    json!({"dimensions": [side, side, side], "blockSize": [4, 4, 4], "dataType": "uint8", "compression": {"type": "gzip"}})
}

fn with(mut value: Value, more: Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

fn parsed(document: &Value) -> Result<ArrayDocument, String> {
    parse("attributes.json", document.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// A block with its header; `extents` as they are stored.
fn stored(mode: u16, extents: &[u32], data: &[u8]) -> Bytes {
    let mut bytes = [mode.to_be_bytes(), (extents.len() as u16).to_be_bytes()].concat();
    bytes.extend(extents.iter().flat_map(|extent| extent.to_be_bytes()));
    bytes.extend_from_slice(data);
    bytes.into()
}

#[test]
fn axes_are_turned_and_the_key_has_the_fastest_first() {
    let source = Shelf::of([("attributes.json", array())]).open_n5().unwrap();
    let level = &source.description().levels[0];
    assert_eq!((level.grid.shape.0, level.grid.cell.0), ([4, 5, 6], [2, 3, 4]));
    assert_eq!(chunk_key(&source, 0, [1, 0, 1]), "1/0/1");
    assert_eq!(source.description().format.to_string(), "N5, uncompressed");
}

#[test]
fn axes_beyond_three_have_length_one() {
    let four = |extent: u64| {
        let more = json!({"dimensions": [6, 5, 4, extent], "blockSize": [4, 3, 2, 1]});
        Shelf::of([("attributes.json", with(array(), more))]).open_n5()
    };
    assert_eq!(chunk_key(&four(1).unwrap(), 0, [1, 0, 0]), "0/0/1/0");
    assert!(four(2).map(drop).unwrap_err().to_string().contains("there are 2 channels; write `channel = N`, 0 to 1"));
    let two = with(array(), json!({"dimensions": [6, 5], "blockSize": [4, 3]}));
    assert!(
        Shelf::of([("attributes.json", two)])
            .open_n5()
            .map(drop)
            .unwrap_err()
            .to_string()
            .contains("an array of 2 axes")
    );
}

#[test]
fn blocks_are_big_endian_and_may_be_cut_or_whole_at_the_edges() {
    let array = parsed(&array()).unwrap();
    let decode = |raw: Bytes, shape: [usize; 3]| {
        block::decode(raw, &array, &Axes::zyx(), shape).map_err(|error| error.to_string())
    };
    let data: Vec<u8> = (0..24u16).flat_map(u16::to_be_bytes).collect();
    let voxels = |numbers: &[u16]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(decode(stored(0, &[4, 3, 2], &data), [2, 3, 4]).unwrap(), voxels(&(0..24).collect::<Vec<_>>()));
    // A whole block of which the array has a part, and one that is cut to it.
    assert_eq!(decode(stored(0, &[4, 3, 2], &data), [1, 2, 2]).unwrap(), voxels(&[0, 1, 4, 5]));
    assert_eq!(decode(stored(0, &[2, 2, 1], &data[..8]), [1, 2, 2]).unwrap(), voxels(&[0, 1, 2, 3]));
    for (raw, reason) in [
        (stored(1, &[4, 3, 2], &data), "mode 1 (varlength) is not supported"),
        (stored(0, &[4, 3], &data), "2 axes where the array has 3"),
        (stored(0, &[5, 3, 2], &data), "a block of 2×3×5 voxels"),
        (stored(0, &[0, 0, 0], &[]), "a block of 0×0×0"),
        (stored(0, &[2, 2, 1], &data), "more than the 8 bytes"),
        (stored(0, &[2, 2, 1], &data[..7]), "7 bytes"),
        (Bytes::from_static(&[0; 15]), "cut off"),
    ] {
        let error = decode(raw, [1, 2, 2]).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_block_that_is_smaller_than_its_place_holds_zeros_beyond() {
    let array = parsed(&array()).unwrap();
    let decode = |raw: Bytes, axes: &Axes, shape: [usize; 3]| block::decode(raw, &array, axes, shape).unwrap();
    let voxels = |numbers: &[u16]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let data: Vec<u8> = (1..25u16).flat_map(u16::to_be_bytes).collect();
    let short = decode(stored(0, &[3, 2, 1], &data[..12]), &Axes::zyx(), [2, 3, 4]);
    let rows: [[u16; 4]; 6] = [[1, 2, 3, 0], [4, 5, 6, 0], [0; 4], [0; 4], [0; 4], [0; 4]];
    assert_eq!(short, voxels(rows.as_flattened()));
    assert_eq!(decode(stored(0, &[1, 2, 1], &data[..4]), &Axes::zyx(), [1, 2, 2]), voxels(&[1, 0, 2, 0]));
    // The whole is in memory order where axes are turned.
    let turned = json!({"axes": ["z", "y", "x"]});
    let turned = Axes::of_dimensions(&JsonField::root("", &turned).unwrap().member("axes").unwrap(), true).unwrap();
    let rows: [[u16; 2]; 4] = [[1, 0], [3, 0], [2, 0], [4, 0]];
    assert_eq!(decode(stored(0, &[2, 2, 1], &data[..8]), &turned.unwrap(), [2, 2, 2]), voxels(rows.as_flattened()));
}

#[test]
fn a_channel_that_a_block_does_not_hold_is_zero_there() {
    let more = json!({"dimensions": [6, 5, 4, 2], "blockSize": [4, 3, 2, 2]});
    let array = parsed(&with(super::tests::array(), more)).unwrap();
    let block = stored(0, &[1, 1, 1, 1], &[0, 7]);
    for (channel, voxels) in [(0, [7, 0, 0, 0]), (1, [0; 4])] {
        let axes = Axes::of_rank(4).unwrap().of_channel(Some(channel));
        assert_eq!(block::decode(block.clone(), &array, &axes, [1, 1, 2]).unwrap(), Bytes::from(voxels.to_vec()));
    }
}

#[test]
fn multisets_of_labels_are_refused_where_they_are_opened() {
    let multiset = json!({"isLabelMultiset": true, "maxId": 7});
    let shelf = |group: Value| Shelf::of([("attributes.json", group), ("s0/attributes.json", sized(20))]);
    let arrays = Shelf::of([("s0/attributes.json", with(sized(20), multiset.clone()))]);
    for shelf in [Shelf::of([("attributes.json", with(sized(20), multiset.clone()))]), shelf(multiset), arrays] {
        let error = shelf.open_n5().map(drop).unwrap_err().to_string();
        assert!(error.contains("attributes.json: isLabelMultiset: Paintera's multisets of labels"), "{error}");
        assert!(error.contains("`paintera-convert to-scalar`"), "{error}");
    }
    assert!(shelf(json!({"isLabelMultiset": false})).open_n5().is_ok());
}

#[test]
fn a_group_above_the_image_says_where_it_is_without_a_listing() {
    for (path, folder) in [("data/s0", "data"), ("data", "data"), ("c0/s0", "c0"), ("c0", "c0")] {
        let file = format!("{path}/attributes.json");
        let shelf = Shelf::of([("attributes.json", json!({"painteraData": {"type": "raw"}})), (&file, sized(20))]);
        let error = shelf.open_n5().map(drop).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("write the address https://example.org/bucket/image.zarr/{folder}")),
            "{error}"
        );
    }
    let listed = json!({"multiscales": [{"datasets": []}]});
    let shelf = Shelf::of([("attributes.json", listed), ("s0/attributes.json", sized(20))]);
    assert!(
        shelf
            .open_n5()
            .map(drop)
            .unwrap_err()
            .to_string()
            .ends_with("write the address https://example.org/bucket/image.zarr/s0")
    );
}

#[test]
fn compressions_have_two_spellings_and_others_are_named() {
    for (compression, codec) in [
        (json!({"type": "gzip", "level": -1}), BytesCodecName("gzip")),
        (json!({"type": "gzip", "useZlib": true}), BytesCodecName("zlib")),
        (json!({"type": "bzip2"}), BytesCodecName("bz2")),
        (json!({"type": "xz"}), BytesCodecName("lzma")),
        (json!({"type": "lz4"}), BytesCodecName("lz4")),
        (json!({"type": "blosc", "cname": "lz4"}), BytesCodecName("blosc")),
        (json!({"type": "zstd"}), BytesCodecName("zstd")),
    ] {
        assert_eq!(parsed(&with(array(), json!({"compression": compression}))).unwrap().compression(), codec.0);
    }
    let mut old = array();
    old.as_object_mut().unwrap().remove("compression");
    assert!(parsed(&old).unwrap_err().contains("compression: it is missing"));
    assert_eq!(parsed(&with(old, json!({"compressionType": "gzip"}))).unwrap().compression(), "gzip");
    let jpeg = parsed(&with(array(), json!({"compression": {"type": "jpeg"}}))).unwrap_err();
    assert!(jpeg.contains("compression.type: compression `jpeg` is not supported; rewrite it with the"), "{jpeg}");
    assert!(parsed(&with(array(), json!({"dataType": "object"}))).unwrap_err().contains("type `object`"));
    assert_eq!(parsed(&with(array(), json!({"dataType": "bool"}))).unwrap().dtype, DataType::U8);
    assert!(parsed(&with(array(), json!({"dimensions": [6.0, 5.0, 4.0]}))).is_ok());
}

#[test]
fn lz4_is_that_of_numcodecs_where_its_writer_names_it_so_and_else_of_java() {
    for (compression, codec) in [
        (json!({"type": "lz4"}), BytesCodec::Lz4Java),
        (json!({"type": "lz4", "blockSize": 65536}), BytesCodec::Lz4Java),
        (json!({"type": "lz4", "id": "lz4", "acceleration": 1}), BytesCodec::Lz4),
        (json!({"type": "lz4", "acceleration": 1}), BytesCodec::Lz4),
        (json!({"type": "lz4", "id": "lz4", "blockSize": 65536}), BytesCodec::Lz4Java),
    ] {
        let array = parsed(&with(array(), json!({"compression": compression}))).unwrap();
        assert_eq!(array.codecs, [codec], "{compression}");
    }
}

#[test]
fn a_level_alone_has_the_place_that_its_group_lists_unless_it_says_one_itself() {
    let level = |path: &str, scale: f64| {
        json!({"path": path, "transform": {"axes": ["z", "y", "x"], "units": ["nm", "nm", "nm"],
            "scale": [5.0 * scale, scale, scale], "translate": [scale, 0.0, 0.0]}})
    };
    let group =
        |path: &str| json!({"multiscales": [{"datasets": [level("other", 1.0), level(path, 8.0)]}]}).to_string();
    let of = |shelf: Shelf| {
        let source = shelf.open_n5().unwrap();
        let level = &source.description().levels[0];
        (level.scale, level.translation)
    };
    let array = |more: Value| Shelf::of([("attributes.json", with(sized(20), more))]);
    let listed = (Some([40.0, 8.0, 8.0]), [8.0, 0.0, 0.0]);
    assert_eq!(of(array(json!({})).raw("../attributes.json", &group("image.zarr"))), listed);
    assert_eq!(of(array(json!({"axes": ["x", "y", "z"]})).raw("../attributes.json", &group("image.zarr"))), listed);
    assert_eq!(of(array(json!({})).raw("../attributes.json", &group("s1"))).0, None);
    let own = json!({"axes": ["x", "y", "z"], "resolution": [4, 4, 30], "units": ["nm", "nm", "nm"]});
    assert_eq!(of(array(own).raw("../attributes.json", &group("image.zarr"))).0, Some([30.0, 4.0, 4.0]));
}

struct BytesCodecName(&'static str);

/// Scale and translation in nanometres, and scale beside the finest level.
type Placed = (Option<[f64; 3]>, [f64; 3], Option<[f64; 3]>);

/// The scales and translations of a group of two levels of 20 and 10 voxels along each axis.
fn places(group: Option<Value>, levels: [Value; 2]) -> Vec<Placed> {
    let [first, second] = levels;
    let mut shelf =
        Shelf::of([("s0/attributes.json", with(sized(20), first)), ("s1/attributes.json", with(sized(10), second))]);
    if let Some(group) = group {
        shelf = shelf.raw("attributes.json", &group.to_string());
    }
    let source = shelf.open_n5_past_caches().unwrap();
    let levels = source.description().levels.iter().zip(0..);
    let place = |(level, number): (&crate::source::SourceLevel, u8)| {
        (level.scale, level.translation, source.relative(LevelIndex(number)).map(|relative| relative.scale))
    };
    levels.map(place).collect()
}

#[test]
fn sizes_are_understood_as_each_kind_of_writer_states_them() {
    let bare = || [json!({}), json!({})];
    let resolution = || json!({"dimensions": [4.0, 4.0, 5.0], "unit": "nm"});
    let factors = || json!([[1, 1, 1], [2, 2, 2]]);
    let nanometres = vec![(Some([5.0, 4.0, 4.0]), [0.0; 3], None), (Some([10.0, 8.0, 8.0]), [2.5, 2.0, 2.0], None)];
    let viewers = json!({"pixelResolution": resolution(), "downsamplingFactors": factors()});
    assert_eq!(places(Some(viewers), bare()), nanometres);
    let older = json!({"pixelResolution": resolution(), "scales": factors()});
    assert_eq!(places(Some(older), bare()), nanometres);
    let own = [json!({}), json!({"downsamplingFactors": [2, 2, 2]})];
    assert_eq!(places(Some(json!({"pixelResolution": resolution()})), own), nanometres);
    let transform = |size: f64, shift: f64| {
        json!({"transform": {"axes": ["z", "y", "x"], "scale": [5.0 * size, 4.0 * size, 4.0 * size],
               "translate": [5.0 * shift, 4.0 * shift, 4.0 * shift], "units": ["nm", "nm", "nm"]}})
    };
    let listed = json!({"multiscales": [{"datasets": [
        with(json!({"path": "s0"}), transform(1.0, 0.0)), with(json!({"path": "s1"}), transform(2.0, 0.5))]}]});
    assert_eq!(places(Some(listed), bare()), nanometres);
    assert_eq!(places(None, [transform(1.0, 0.0), transform(2.0, 0.5)]), nanometres);
    // As Paintera and funlib have it.
    let unsaid = json!({"downsamplingFactors": factors(), "resolution": [4, 4, 5]});
    assert_eq!(places(Some(unsaid.clone()), bare()), nanometres);
    let relative = vec![(None, [0.0; 3], Some([1.0; 3])), (None, [0.0; 3], Some([2.0; 3]))];
    // BigDataViewer has its unit in another file.
    assert_eq!(places(Some(with(unsaid.clone(), json!({"saved_completely": true}))), bare()), relative);
    assert_eq!(places(Some(with(unsaid, json!({"units": ["", "", ""]}))), bare()), relative);
    assert_eq!(places(Some(json!({"downsamplingFactors": factors()})), bare()), relative);
    assert_eq!(places(None, bare()), [(None, [0.0; 3], None), (None, [0.0; 3], None)]);
}

#[test]
fn a_scale_and_a_shift_of_an_n5_viewer_come_after_the_size_of_voxels_and_nothing_else_is_applied() {
    let of = |affine: Value| {
        let group = json!({"pixelResolution": {"dimensions": [4.0, 4.0, 5.0], "unit": "nm"},
            "downsamplingFactors": [[1, 1, 1], [2, 2, 2]], "affineTransform": affine});
        places(Some(group), [json!({}), json!({})])
    };
    let moved = of(json!([[2.0, 0.0, 0.0, 100.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, -7.0]]));
    let expected =
        vec![(Some([15.0, 8.0, 8.0]), [-7.0, 0.0, 100.0], None), (Some([30.0, 16.0, 16.0]), [0.5, 4.0, 104.0], None)];
    assert_eq!(moved, expected);
    let plain = of(json!([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]));
    for other in [
        json!([[1, -0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
        json!([[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
        json!([[1, 0, 0, 0], [0, 1, 0, 0]]),
        json!([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]),
        json!("none"),
        Value::Null,
    ] {
        assert_eq!(of(other.clone()), plain, "{other}");
    }
}

#[test]
fn places_of_ome_ngff_in_a_group_of_n5_are_along_the_axes_that_it_names() {
    let axis = |name: &str| json!({"name": name, "type": "space", "unit": "nanometer"});
    let level = |path: &str, scale: [f64; 3], shift: [f64; 3]| json!({"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]});
    let group = |names: [&str; 3], turn: fn([f64; 3]) -> [f64; 3]| {
        let axes: Vec<Value> = names.iter().map(|name| axis(name)).collect();
        let levels =
            [level("s0", turn([5.0, 4.0, 3.0]), [0.0; 3]), level("s1", turn([10.0, 8.0, 6.0]), turn([2.5, 2.0, 1.5]))];
        json!({"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]})
    };
    let expected = vec![(Some([5.0, 4.0, 3.0]), [0.0; 3], None), (Some([10.0, 8.0, 6.0]), [2.5, 2.0, 1.5], None)];
    assert_eq!(places(Some(group(["z", "y", "x"], |all| all)), [json!({}), json!({})]), expected);
    assert_eq!(places(Some(group(["x", "y", "z"], |[z, y, x]| [x, y, z])), [json!({}), json!({})]), expected);
    // What cannot be read takes no voxels along.
    let newer =
        with(json!({}), json!({"multiscales": [{"version": "9", "datasets": [level("s0", [5.0; 3], [0.0; 3])]}]}));
    assert_eq!(places(Some(newer), [json!({}), json!({})]), [(None, [0.0; 3], None)]);
}

#[test]
fn a_setup_of_big_data_viewer_is_read_at_its_first_moment() {
    let group = json!({"downsamplingFactors": [[1, 1, 1], [2, 2, 1]], "dataType": "uint8"});
    let shelf = Shelf::of([
        ("attributes.json", group),
        ("timepoint0/s0/attributes.json", sized(20)),
        ("timepoint0/s1/attributes.json", sized(10)),
    ]);
    assert_eq!(chunk_key(&shelf.open_n5().unwrap(), 1, [0, 1, 2]), "timepoint0/s1/2/1/0");
    let root = Shelf::of([("setup0/timepoint0/s0/attributes.json", sized(20))]);
    let error = root.open_n5().map(drop).unwrap_err().to_string();
    assert!(error.ends_with("/setup0/timepoint0"), "{error}");
    let zarr = Shelf::of([(".zattrs", json!({}))]).open_n5().map(drop).unwrap_err().to_string();
    assert!(zarr.contains("write `kind = \"zarr\"`"), "{zarr}");
}

/// The sizes of the levels that are shown.
fn sides(source: &crate::source::zarr::ZarrSource) -> Vec<u64> {
    source.description().levels.iter().map(|level| level.grid.shape.0[0]).collect()
}

#[test]
fn levels_that_nothing_lists_are_not_hidden_by_answers_that_one_is_missing() {
    let shelf = || {
        let level = |number: u32| {
            json!({"dimensions": [40 >> number, 40 >> number, 40 >> number], "blockSize": [4, 4, 4],
            "dataType": "uint8", "compression": {"type": "gzip"}})
        };
        Shelf::of([
            ("s0/attributes.json", level(0)),
            ("s1/attributes.json", level(1)),
            ("s2/attributes.json", level(2)),
        ])
    };
    for late in ["s1/attributes.json", "s2/attributes.json"] {
        for times in 0..=2 {
            let source = shelf().late(late, times).open_n5().unwrap();
            assert_eq!(sides(&source), [40, 20, 10], "{late} missing {times} times");
        }
    }
    // One that stays missing is left out, told and looked for; nothing says so before the origin itself was asked.
    let gap = shelf().late("s1/attributes.json", 1000);
    assert!(gap.open_n5().is_err());
    let source = gap.open_n5_past_caches().unwrap();
    // So are the level behind the last one and what the group might say of them.
    assert_eq!((sides(&source), source._missed.len()), (vec![40, 10], 3));
    assert!(
        source.description().format.to_string().contains("; without level `s1` ("),
        "{}",
        source.description().format
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn no_block_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), extents in [0u32..6, 0..6, 0..6]) {
        let array = parsed(&array()).unwrap();
        for raw in [Bytes::from(bytes.clone()), stored(0, &extents, &bytes)] {
            if let Ok(voxels) = block::decode(raw, &array, &Axes::zyx(), [2, 1, 3]) {
                prop_assert_eq!(voxels.len(), 12);
            }
        }
    }

    #[test]
    fn unusual_attributes_are_read_or_refused(
        value in crate::document::arbitrary::any_json(any::<String>().boxed(), "[a-z]{1,4}|type|unit|path|axes"), place in any::<prop::sample::Index>(),
    ) {
        let mut document = with(sized(20), json!({"pixelResolution": {"dimensions": [4, 4, 5], "unit": "nm"}, "downsamplingFactors": [2, 2, 2],
            "transform": {"axes": ["z", "y", "x"], "scale": [1, 1, 1], "translate": [0, 0, 0], "units": ["nm", "nm", "nm"]}}));
        crate::document::arbitrary::exchange(&mut document, &place, value);
        if let Ok(source) = Shelf::of([]).raw("attributes.json", &document.to_string()).open_n5() {
            let level = &source.description().levels[0];
            prop_assert!(level.scale.is_none_or(|scale| scale.iter().all(|size| size.is_finite() && *size > 0.0)));
        }
    }
}
