use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn scale_json() -> Value {
    json!({
        "key": "8_8_40", "size": [300, 200, 100], "chunk_sizes": [[64, 32, 16]], "resolution": [8, 8.0, 40.5],
        "voxel_offset": [10, -20, 30], "encoding": "raw",
    })
}

fn sharding_json() -> Value {
    json!({
        "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 9, "minishard_bits": 6,
        "shard_bits": 15,
    })
}

fn info(scale: Value, dtype: &str) -> Value {
    json!({ "type": "image", "data_type": dtype, "num_channels": 1, "scales": [scale] })
}

fn read(value: &Value) -> Result<Info, String> {
    parse("info", &serde_json::to_vec(value).unwrap(), None).map_err(|error| error.to_string())
}

/// The complaint about a scale in which `key` is `value`.
fn complaint(key: &str, value: Value) -> String {
    let mut scale = scale_json();
    scale[key] = value;
    read(&info(scale, "uint8")).unwrap_err()
}

/// The complaint about a sharding in which `key` is `value`.
fn sharding_complaint(key: &str, value: Value) -> String {
    let (mut scale, mut sharding) = (scale_json(), sharding_json());
    sharding[key] = value;
    scale["sharding"] = sharding;
    read(&info(scale, "uint8")).unwrap_err()
}

#[test]
fn one_of_several_channels_has_to_be_chosen_by_number() {
    let mut document = info(scale_json(), "uint8");
    document["num_channels"] = json!(3);
    let read = |document: &Value, channel| {
        let read = parse("info", &serde_json::to_vec(document).unwrap(), channel);
        read.map(|info| info.channel).map_err(|error| error.to_string())
    };
    assert_eq!(
        read(&document, None).unwrap_err(),
        "info: num_channels: there are 3 channels; write `channel = N`, 0 to 2, beside `url` to show one"
    );
    assert_eq!(read(&document, Some(2)), Ok(Channel { number: 2, of: 3 }));
    assert!(read(&document, Some(3)).unwrap_err().contains("the last one of 3 is 2"));
    document["num_channels"] = json!(u64::MAX);
    assert!(read(&document, Some(0)).unwrap_err().contains("18446744073709551615 channels is not supported"));
    document["num_channels"] = json!(30_000);
    assert!(read(&document, Some(0)).is_ok());
    document["scales"][0]["chunk_sizes"] = json!([[64, 64, 64]]);
    assert!(read(&document, Some(0)).unwrap_err().contains("in 30000 channels, more than 1 GiB"));
    (document["num_channels"], document["scales"][0]["encoding"]) = (json!(3), json!("jpeg"));
    assert_eq!(read(&document, Some(1)), Ok(Channel { number: 1, of: 3 }));
    for (encoding, channels) in [("jpeg", 2), ("jpeg", 4), ("png", 5)] {
        (document["num_channels"], document["scales"][0]["encoding"]) = (json!(channels), json!(encoding));
        let error = read(&document, Some(0)).unwrap_err();
        assert!(error.contains(&format!(" of {channels} channels is not supported; rewrite it as `raw`")), "{error}");
    }
    for channels in 1..=4 {
        (document["num_channels"], document["scales"][0]["encoding"]) = (json!(channels), json!("png"));
        assert!(read(&document, Some(channels - 1)).is_ok(), "{channels}");
    }
    document["num_channels"] = json!(1);
    assert!(read(&document, Some(1)).unwrap_err().contains("the last one of 1 is 0"));
}

#[test]
fn segmentations_say_their_blocks_and_are_of_32_or_64_bits() {
    let mut scale = scale_json();
    scale["encoding"] = json!("compressed_segmentation");
    let missing = read(&info(scale.clone(), "uint64")).unwrap_err();
    assert_eq!(missing, "info: scales[0].compressed_segmentation_block_size: it is missing");
    for (block, reason) in [(json!([8, 8]), "2 values for three axes"), (json!([8, 0, 8]), "an extent of 0")] {
        scale["compressed_segmentation_block_size"] = block;
        assert!(read(&info(scale.clone(), "uint64")).unwrap_err().contains(reason));
    }
    scale["compressed_segmentation_block_size"] = json!([1 << 20, 1 << 20, 1]);
    assert!(read(&info(scale.clone(), "uint64")).unwrap_err().contains("more than 1 GiB is not supported"));
    scale["compressed_segmentation_block_size"] = json!([8, 4, 2]);
    let read_scale = read(&info(scale.clone(), "uint64")).unwrap().scales.remove(0);
    assert_eq!(read_scale.codec, VoxelEncoding::Segmentation(BlockShape::new([2, 4, 8]).unwrap()));
    assert!(read(&info(scale.clone(), "uint32")).is_ok());
    assert!(read(&info(scale, "uint16")).unwrap_err().contains("cannot hold uint16 voxels"));
}

#[test]
fn axes_are_turned_to_z_y_x() {
    let info = read(&info(scale_json(), "UInt16")).unwrap();
    assert_eq!(info.dtype, DataType::U16);
    let scale = &info.scales[0];
    assert_eq!(scale.grid, Grid { shape: Shape([100, 200, 300]), cell: Shape([16, 32, 64]) });
    assert_eq!((scale.offset, scale.resolution), ([30, -20, 10], [40.5, 8.0, 8.0]));
    assert_eq!((scale.codec, scale.sharding), (VoxelEncoding::Raw, None));
}

#[test]
fn whole_numbers_may_be_written_as_floats() {
    let mut scale = scale_json();
    scale["size"] = json!([300.0, 200.0, 100.0]);
    scale["voxel_offset"] = json!([10.0, -20.0, 30]);
    assert_eq!(read(&info(scale.clone(), "uint8")).unwrap().scales[0].offset, [30, -20, 10]);
    scale["voxel_offset"] = json!([10.5, -20.0, 30]);
    assert!(read(&info(scale, "uint8")).unwrap_err().contains("voxel_offset[0]: it is no whole number of 64 bits"));
}

#[test]
fn encodings_are_read_in_any_case_as_types_are() {
    for (name, codec) in [("RAW", VoxelEncoding::Raw), ("Jpeg", VoxelEncoding::Jpeg), ("PNG", VoxelEncoding::Png)] {
        let mut scale = scale_json();
        scale["encoding"] = json!(name);
        let read = read(&info(scale, "UINT8")).unwrap();
        assert_eq!(read.scales[0].codec.name(), codec.name());
    }
}

#[test]
fn what_writers_leave_out_has_a_default() {
    let mut scale = scale_json();
    scale.as_object_mut().unwrap().remove("voxel_offset");
    scale["sharding"] = Value::Null;
    scale["hidden"] = json!(true);
    scale["jpeg_quality"] = json!("any");
    let plain = read(&info(scale.clone(), "uint8")).unwrap();
    assert_eq!((plain.scales[0].offset, plain.scales[0].sharding), ([0; 3], None));
    scale["sharding"] = sharding_json();
    let sharded = read(&info(scale, "uint8")).unwrap().scales[0].sharding.unwrap();
    assert_eq!((sharded.index_encoding, sharded.data_encoding), (ShardEncoding::Raw, ShardEncoding::Raw));
}

#[test]
fn scales_are_sorted_finest_first() {
    let mut document = info(scale_json(), "uint8");
    let mut coarse = scale_json();
    (coarse["key"], coarse["resolution"]) = (json!("coarse"), json!([16, 16, 81]));
    document["scales"] = json!([coarse, scale_json()]);
    let keys: Vec<_> = read(&document).unwrap().scales.into_iter().map(|scale| scale.key).collect();
    assert_eq!(keys, ["8_8_40", "coarse"]);
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    for name in ["compresso", "jxl"] {
        let error = complaint("encoding", json!(name));
        let expected =
            format!("info: scales[0].encoding: the encoding `{name}` is not supported; rewrite it as `raw`,");
        assert!(error.starts_with(&expected), "{error}");
    }
    assert!(complaint("encoding", json!("zfp")).contains("unknown encoding `zfp` is not supported"));
    assert!(complaint("key", json!("https://elsewhere/x")).contains("is not supported"));
    assert!(
        sharding_complaint("@type", json!("neuroglancer_uint64_sharded_v2")).contains("sharded_v2` is not supported")
    );
    assert!(sharding_complaint("hash", json!("sha256")).contains("hash: `sha256` is not supported"));
    assert!(sharding_complaint("data_encoding", json!("zstd")).contains("data_encoding: `zstd` is not supported"));
    let mut document = info(scale_json(), "uint8");
    document["@type"] = json!("neuroglancer_annotations_v1");
    assert!(read(&document).unwrap_err().contains("`neuroglancer_annotations_v1` is not supported"));
    assert!(
        read(&info(scale_json(), "float64"))
            .unwrap_err()
            .contains("data_type: type `float64` is not supported; rewrite it")
    );
}

#[test]
fn hostile_numbers_are_errors_with_the_field() {
    for (key, value) in [
        ("size", json!([0, 1, 1])),
        ("size", json!([1u64 << 40, 1u64 << 40, 1])),
        ("size", json!([1, 1])),
        ("size", json!([-1, 1, 1])),
        ("chunk_sizes", json!([])),
        ("chunk_sizes", json!([[0, 64, 64]])),
        ("chunk_sizes", json!([[4096, 4096, 4096]])),
        ("voxel_offset", json!([0.5, 0, 0])),
        ("resolution", json!([0, 1, 1])),
        ("resolution", json!([8, 8, "8"])),
        ("key", json!(7)),
        ("encoding", Value::Null),
    ] {
        let error = complaint(key, value);
        assert!(error.starts_with(&format!("info: scales[0].{key}")), "{error}");
    }
    assert!(complaint("voxel_offset", json!([i64::MAX, 0, 0])).contains("ends beyond"));
    for (key, value) in [("preshift_bits", 65), ("minishard_bits", 33), ("shard_bits", 59), ("shard_bits", -1)] {
        let error = sharding_complaint(key, json!(value));
        assert!(error.starts_with(&format!("info: scales[0].sharding.{key}: ")), "{error}");
    }
    let mut scale = scale_json();
    (scale["encoding"], scale["sharding"]) = (json!("jpeg"), Value::Null);
    assert!(read(&info(scale, "uint16")).unwrap_err().contains("`jpeg` cannot hold uint16 voxels"));
    let mut document = info(scale_json(), "uint8");
    document["scales"] = json!([]);
    assert!(read(&document).unwrap_err().contains("there is no scale"));
    document["scales"] = vec![scale_json(); 32].into();
    assert!(read(&document).unwrap_err().contains("32 elements where 31 are the most"));
    document["scales"] = vec![scale_json(); 31].into();
    assert!(read(&document).is_ok());
}

#[test]
fn of_several_chunk_sizes_the_first_is_taken_but_a_shard_has_one() {
    let mut scale = scale_json();
    scale["chunk_sizes"] = json!([[8, 16, 32], [64, 64, 64]]);
    assert_eq!(read(&info(scale.clone(), "uint8")).unwrap().scales[0].grid.cell, Shape([32, 16, 8]));
    scale["sharding"] = sharding_json();
    assert!(read(&info(scale, "uint8")).unwrap_err().contains("a sharded scale has one chunk size, not 2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn no_document_makes_the_parser_panic(
        place in 0usize..1000, length in 0usize..6, noise in "[-0-9eE\\[\\]{}\",a-z]{0,8}",
    ) {
        let mut scale = scale_json();
        scale["sharding"] = sharding_json();
        let text = info(scale, "uint8").to_string();
        let start = place % text.len();
        let end = (start + length).min(text.len());
        let _ = parse("info", format!("{}{noise}{}", &text[..start], &text[end..]).as_bytes(), None);
    }

    #[test]
    fn no_number_makes_the_parser_panic(numbers in proptest::array::uniform12(any::<i64>()), bits in proptest::array::uniform3(any::<u64>())) {
        let n = |at: usize| json!(numbers[at]);
        let mut scale = scale_json();
        scale["size"] = json!([n(0), n(1), n(2)]);
        scale["chunk_sizes"] = json!([[n(3), n(4), n(5)]]);
        scale["voxel_offset"] = json!([n(6), n(7), n(8)]);
        scale["resolution"] = json!([n(9), n(10), n(11)]);
        let mut sharding = sharding_json();
        sharding["preshift_bits"] = json!(bits[0] % 70);
        sharding["minishard_bits"] = json!(bits[1] % 70);
        sharding["shard_bits"] = json!(bits[2] % 70);
        scale["sharding"] = sharding;
        let _ = read(&info(scale, "uint8"));
    }
}

#[test]
fn the_table_tells_what_is_read() {
    use crate::source::variants::{TYPES, check};

    let kind = "`precomputed`";
    check(kind, "types", &TYPES, |dtype| read(&info(scale_json(), dtype)).is_ok());
    let encodings =
        ["raw", "jpeg", "png", "compressed_segmentation", "compresso", "crackle", "fpzip", "kempressed", "zfpc", "jxl"];
    check(kind, "encodings", &encodings, |encoding| {
        let mut scale = scale_json();
        scale["encoding"] = json!(encoding);
        scale["compressed_segmentation_block_size"] = json!([8, 8, 8]);
        ["uint8", "uint32"].iter().any(|dtype| read(&info(scale.clone(), dtype)).is_ok())
    });
    let with_sharding = |key: &str, value: &str| {
        let (mut scale, mut sharding) = (scale_json(), sharding_json());
        sharding[key] = json!(value);
        scale["sharding"] = sharding;
        read(&info(scale, "uint8")).is_ok()
    };
    check(kind, "sharding", &["neuroglancer_uint64_sharded_v1", "neuroglancer_uint64_sharded_v2"], |name| {
        with_sharding("@type", name)
    });
    check(kind, "hashes", &["identity", "murmurhash3_x86_128", "sha1"], |name| with_sharding("hash", name));
    check(kind, "compression in shards", &["raw", "gzip", "zstd", "br"], |name| {
        with_sharding("data_encoding", name) && with_sharding("minishard_index_encoding", name)
    });
    let files = ["gz", "br", "zstd", "xz", "bz2"];
    check(kind, "endings of local files", &files, |ending| {
        crate::remote::Compression::ALL.iter().any(|compression| compression.ending() == ending)
    });
}
