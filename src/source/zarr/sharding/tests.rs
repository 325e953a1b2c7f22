use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::zarr::array::ArrayDocument;
use crate::source::zarr::v3;

/// An array of 20 × 30 × 40 voxels in shards of 8 × 12 × 16, of chunks of 4.
fn document(outer: Value, index: Value, inner: Value) -> Value {
    let mut codecs = outer.as_array().unwrap().clone();
    codecs.push(json!({"name": "sharding_indexed", "configuration": {
        "chunk_shape": [4, 4, 4], "codecs": inner, "index_codecs": index, "index_location": "start"}}));
    json!({"zarr_format": 3, "node_type": "array", "shape": [20, 30, 40], "data_type": "uint16", "fill_value": 0,
           "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8, 12, 16]}},
           "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "codecs": codecs})
}

fn little() -> Value {
    json!({"name": "bytes", "configuration": {"endian": "little"}})
}

fn plain() -> Value {
    document(json!([]), json!([little(), {"name": "crc32c"}]), json!([little()]))
}

fn read(document: &Value) -> Result<ArrayDocument, String> {
    v3::parse("zarr.json", document.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn sharding(document: &Value) -> ArraySharding {
    read(document).unwrap().sharding.unwrap()
}

#[test]
fn the_blocks_of_a_sharded_array_are_the_chunks_in_the_shards() {
    let array = read(&plain()).unwrap();
    let sharding = array.sharding.unwrap();
    assert_eq!((array.chunk, sharding.counts.as_slice()), (vec![4, 4, 4], [2, 3, 4].as_slice()));
    assert_eq!(sharding.index_bytes(), 2 * 3 * 4 * 16 + 4);
    assert_eq!((sharding.location, sharding.is_checked()), (IndexEnd::Start, true));
    assert_eq!(sharding.place(&[3, 7, 9]), (vec![1, 2, 2], 2 * (12 + 4 + 1)));
}

#[test]
fn the_axes_of_a_shard_may_be_turned_and_its_index_as_well() {
    let turned = json!([{"name": "transpose", "configuration": {"order": [2, 1, 0]}}]);
    let mut document = document(turned, json!([little()]), json!([little()]));
    document["codecs"][1]["configuration"]["chunk_shape"] = json!([8, 4, 2]);
    let array = read(&document).unwrap();
    assert_eq!(array.chunk, [2, 4, 8]);
    let turned = array.sharding.unwrap();
    // 4 × 3 × 2 chunks; x is the slowest.
    assert_eq!((turned.counts.as_slice(), turned.strides.as_slice()), ([4, 3, 2].as_slice(), [2, 8, 24].as_slice()));
    let index = json!([{"name": "transpose", "configuration": {"order": [3, 0, 1, 2]}}, little()]);
    document = plain();
    document["codecs"][0]["configuration"]["index_codecs"] = index;
    let apart = sharding(&document);
    assert_eq!((apart.strides.as_slice(), apart.length_step), ([12, 4, 1].as_slice(), 24));
}

#[test]
fn an_index_without_a_word_has_a_checksum_and_one_of_no_codecs_has_none() {
    let mut document = plain();
    document["codecs"][0]["configuration"]["index_codecs"] = Value::Null;
    document["codecs"][0]["configuration"]["index_location"] = Value::Null;
    let unsaid = sharding(&document);
    assert_eq!((unsaid.codecs.as_slice(), unsaid.location), ([BytesCodec::Crc32c].as_slice(), IndexEnd::End));
    document["codecs"][0]["configuration"]["index_codecs"] = json!([]);
    assert!(!sharding(&document).is_checked());
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let complaint = |pointer: &str, value: Value| {
        let mut document = plain();
        *document.pointer_mut(pointer).unwrap() = value;
        read(&document).unwrap_err()
    };
    let inner = plain()["codecs"][0].clone();
    let nested = complaint("/codecs/0/configuration/codecs", json!([inner]));
    assert!(nested.contains("`sharding_indexed` within `sharding_indexed` is not supported"), "{nested}");
    let whole = complaint("/codecs", json!([inner, {"name": "gzip", "configuration": {"level": 1}}]));
    assert!(whole.contains("codec `gzip` after `sharding_indexed` is not supported"), "{whole}");
    let packed = complaint("/codecs/0/configuration/index_codecs", json!([little(), {"name": "gzip"}]));
    assert!(packed.contains("`gzip` gives no index of a fixed length"), "{packed}");
    assert!(complaint("/codecs/0/configuration/chunk_shape", json!([4, 4, 3])).contains("are no multiples"));
    assert!(complaint("/codecs/0/configuration/chunk_shape", json!([4, 4])).contains("2 extents"));
    assert!(complaint("/codecs/0/configuration/chunk_shape", json!([4, 0, 4])).contains("an extent of 0"));
    assert!(complaint("/codecs/0/configuration/index_location", json!("middle")).contains("`middle` is neither"));
    assert!(complaint("/codecs/0/configuration/codecs", json!([])).contains("codec `bytes` is missing"));
    let many = complaint("/chunk_grid/configuration/chunk_shape", json!([1u64 << 40, 1u64 << 40, 1u64 << 40]));
    assert!(many.contains("a shard of more than 262144 chunks is not supported"), "{many}");
}

#[test]
fn an_entry_is_absent_or_lies_beside_the_index() {
    let sharding = sharding(&plain());
    let first = sharding.index_bytes();
    let entry = |start: u64, length: u64, total: Option<u64>| {
        sharding.entry(&[start.to_le_bytes(), length.to_le_bytes()].concat(), 0, total)
    };
    assert_eq!(entry(u64::MAX, u64::MAX, Some(1000)), Ok(ShardEntry::Absent));
    assert_eq!(entry(first, 10, Some(1000)), Ok(ShardEntry::At(first..first + 10)));
    assert_eq!(entry(990, 10, Some(1000)), Ok(ShardEntry::At(990..1000)));
    for (start, length) in
        [(991, 10), (first - 1, 10), (0, 0), (u64::MAX, 10), (10, u64::MAX), (u64::MAX, u64::MAX - 1)]
    {
        assert!(entry(start, length, Some(1000)).is_err(), "{start} {length}");
    }
    assert!(sharding.entry(&[0; 16], 1, None).is_err());
    let mut at_end = sharding.clone();
    at_end.location = IndexEnd::End;
    let total = first + 10;
    let last = at_end.entry(&[0u64.to_le_bytes(), 10u64.to_le_bytes()].concat(), 0, Some(total));
    assert_eq!(last, Ok(ShardEntry::At(0..10)));
    assert!(at_end.entry(&[0u64.to_le_bytes(), 11u64.to_le_bytes()].concat(), 0, Some(total)).is_err());
}

#[test]
fn an_index_with_another_checksum_is_an_error() {
    let sharding = sharding(&plain());
    let index = vec![0xff; 24 * 16];
    let good = [index.as_slice(), &crc32c::crc32c(&index).to_le_bytes()].concat();
    assert_eq!(sharding.decode(good.clone().into()).unwrap(), index);
    for at in [0, 100, 383, 384, 387] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(sharding.decode(bad.into()).unwrap_err().contains("checksum"));
    }
    assert!(sharding.decode(good[1..].to_vec().into()).is_err());
}

#[test]
fn groups_of_chunks_are_seen_to_follow_each_other_or_not() {
    let mut document = plain();
    document["chunk_grid"]["configuration"]["chunk_shape"] = json!([32, 32, 32]);
    let sharding = sharding(&document);
    let morton = |[z, y, x]: [u64; 3]| {
        (0..3).map(|bit| ((x >> bit & 1) | (y >> bit & 1) << 1 | (z >> bit & 1) << 2) << (3 * bit)).sum::<u64>()
    };
    let index = |order: &dyn Fn([u64; 3]) -> u64| -> Vec<u8> {
        let first = sharding.index_bytes();
        cells([8; 3]).flat_map(|cell| [first + 10 * order(cell), 10]).flat_map(u64::to_le_bytes).collect()
    };
    assert_eq!(sharding.contiguous_group_log2(&index(&morton), [0, 1, 2], 3), 3);
    // As zarr-python has it: each cube is one range, but not each half of it.
    assert_eq!(sharding.contiguous_group_log2(&index(&|[z, y, x]| morton([x, y, z])), [0, 1, 2], 3), 0);
    assert_eq!(sharding.contiguous_group_log2(&index(&morton), [2, 1, 0], 3), 0);
    assert_eq!(sharding.contiguous_group_log2(&index(&|[z, y, x]| 64 * z + 8 * y + x), [0, 1, 2], 3), 0);
    assert_eq!(sharding.contiguous_group_log2(&vec![0xff; 512 * 16], [0, 1, 2], 3), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn no_index_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..500), at in any::<u64>(), total in any::<Option<u64>>()) {
        let sharding = sharding(&plain());
        if let Ok(ShardEntry::At(range)) = sharding.entry(&bytes, at, total) {
            prop_assert!(range.start <= range.end && total.is_none_or(|total| range.end <= total));
        }
        let _ = sharding.contiguous_group_log2(&bytes, [0, 1, 2], 3);
        let _ = sharding.decode(bytes.into());
    }
}
