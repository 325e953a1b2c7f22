//! Volumes written by hand into a folder, and what hostile ones lead to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::info::VoxelEncoding;
use super::*;
use crate::geometry::Region;
use crate::remote::LimitsByHost;
use crate::stats::Stats;
use crate::store::healed;

mod other_names;
mod places;

const CHUNK: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn remote() -> Remote {
    Remote::new(LimitsByHost::default(), Duration::from_secs(5), Arc::new(Stats::default())).unwrap()
}

/// Four chunks of 2×2×2 voxels along x; one minishard in one of two shards holds them all or some.
fn info(sharding: Value) -> Value {
    json!({
        "data_type": "uint8", "num_channels": 1, "type": "image",
        "scales": [{
            "key": "s", "size": [8, 2, 2], "chunk_sizes": [[2, 2, 2]], "resolution": [4, 4, 4], "encoding": "raw",
            "sharding": sharding, "voxel_offset": [10, -20, 30],
        }],
    })
}

fn sharding(minishard_bits: u32, shard_bits: u32) -> Value {
    json!({
        "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 0,
        "minishard_bits": minishard_bits, "shard_bits": shard_bits,
    })
}

/// A shard of one minishard: its entry, chunk bytes, the index (codes, positions, lengths).
fn shard(entry: (u64, u64), data: &[u8], index: [&[u64]; 3]) -> Vec<u8> {
    let mut bytes = [entry.0.to_le_bytes(), entry.1.to_le_bytes()].concat();
    bytes.extend_from_slice(data);
    bytes.extend(index.concat().iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

fn write(folder: &Path, info: &Value, files: &[(&str, &[u8])]) {
    std::fs::create_dir_all(folder.join("s")).unwrap();
    std::fs::write(folder.join("info"), info.to_string()).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join("s").join(name), bytes).unwrap();
    }
}

async fn opened(folder: &Path) -> PrecomputedSource {
    open(&remote(), &Location::parse(folder.to_str().unwrap(), None).unwrap(), None).await.unwrap()
}

async fn locate(source: &PrecomputedSource, x: u64) -> Result<Option<(u64, u64)>, String> {
    match source.locate(LevelIndex(0), CellIndex([0, 0, x])).await {
        Ok(Placement::Absent { .. }) => Ok(None),
        Ok(Placement::Range { start, length, .. }) => Ok(Some((start, length))),
        Ok(Placement::Whole { .. } | Placement::Packed { .. }) => Err("a whole object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What becomes of chunk 0 of a volume with this one shard.
async fn located(bytes: &[u8]) -> Result<Option<(u64, u64)>, String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &info(sharding(0, 0)), &[("0.shard", bytes)]);
    locate(&opened(folder.path()).await, 0).await
}

#[tokio::test]
async fn a_chunk_is_found_and_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = shard((16, 64), &[CHUNK, [9; 8]].concat(), [&[0, 2], &[0, 0], &[8, 8]]);
    write(folder.path(), &info(sharding(0, 0)), &[("0.shard", &bytes)]);
    let source = opened(folder.path()).await;
    assert_eq!(locate(&source, 0).await, Ok(Some((16, 8))));
    assert_eq!(locate(&source, 2).await, Ok(Some((24, 8))));
    let decoded = source.decode(LevelIndex(0), CellIndex([0, 0, 0]), Bytes::from_static(&CHUNK)).unwrap();
    assert_eq!(decoded.as_ref(), CHUNK);
    assert!(source.decode(LevelIndex(0), CellIndex([0, 0, 0]), Bytes::from_static(&CHUNK[..7])).is_err());
    let level = &source.description().levels[0];
    assert_eq!((level.translation, level.offset), ([120.0, -80.0, 40.0], [30, -20, 10]));
    assert_eq!(source.description().format.to_string(), "neuroglancer precomputed, sharded, raw");
}

#[tokio::test]
async fn the_folder_of_a_scale_is_told_with_the_address_of_the_volume() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &info(Value::Null), &[]);
    std::fs::create_dir_all(folder.path().join("s/deeper")).unwrap();
    let told = async |path: &str| {
        let location = Location::parse(folder.path().join(path).to_str().unwrap(), None).unwrap();
        open(&remote(), &location, None).await.err().unwrap().to_string()
    };
    let root = Location::parse(folder.path().to_str().unwrap(), None).unwrap();
    let expected = format!("/s/info: document: there is none; `info` is one level up: write the address {root}");
    assert!(told("s").await.ends_with(&expected), "{}", told("s").await);
    assert!(told("s/deeper").await.ends_with("not found"), "{}", told("s/deeper").await);
    assert_eq!(opened(folder.path()).await.info.scales.len(), 1);
}

#[tokio::test]
async fn a_byte_order_mark_before_info_is_passed_over_and_a_page_in_its_place_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &info(Value::Null), &[]);
    std::fs::write(folder.path().join("info"), format!("\u{feff}{}", info(Value::Null))).unwrap();
    let source = opened(folder.path()).await;
    assert_eq!(source.documents()[0].value(), info(Value::Null));
    std::fs::write(folder.path().join("info"), "<!DOCTYPE html><title>Sign in</title>").unwrap();
    let location = Location::parse(folder.path().to_str().unwrap(), None).unwrap();
    let told = open(&remote(), &location, None).await.err().unwrap().to_string();
    assert!(told.contains("/info: document: it is no valid JSON but an HTML page, `Sign in`"), "{told}");
}

#[tokio::test]
async fn all_kinds_of_absence_are_absent() {
    let folder = tempfile::tempdir().unwrap();
    // Chunk 4 in minishard 0 of shard 0, so that 0 is missing; minishard 1 is empty, so that 1 is; there is no shard 1 with 2.
    let mut bytes = [0u64, 24, 7, 7].map(u64::to_le_bytes).concat();
    bytes.extend([4u64, 0, 8].iter().flat_map(|number| number.to_le_bytes()));
    let mut wide = info(sharding(1, 1));
    wide["scales"][0]["size"][0] = json!(16);
    write(folder.path(), &wide, &[("0.shard", &bytes)]);
    let source = opened(folder.path()).await;
    for x in 0..3 {
        assert_eq!(locate(&source, x).await, Ok(None), "{x}");
    }
    write(folder.path(), &info(Value::Null), &[("12-14_-20--18_30-32", &CHUNK)]);
    let source = opened(folder.path()).await;
    for (x, there) in [(0, false), (1, true)] {
        let Placement::Whole { object, limit, .. } = source.locate(LevelIndex(0), CellIndex([0, 0, x])).await.unwrap()
        else {
            panic!("an unsharded chunk is a whole object")
        };
        assert_eq!(object.whole(limit).await.is_ok(), there, "{}", object.url());
    }
}

#[tokio::test]
async fn hostile_indices_are_errors() {
    for (bytes, reason) in [
        (shard((16, 8), &[], [&[0], &[0], &[8]]), "before its start"),
        (shard((0, u64::MAX), &[], [&[0], &[0], &[8]]), "an index of 18446744073709551615 bytes"),
        (shard((u64::MAX - 24, u64::MAX), &[], [&[0], &[0], &[8]]), "beyond 64 bits"),
        (shard((0, 23), &[], [&[0], &[0], &[8]]), "no whole number of entries"),
        (shard((0, 25), &[], [&[0], &[0], &[8]]), ""),
        (shard((0, 48), &[], [&[0, 0], &[0, 0], &[8, 8]]), "listed twice"),
        (shard((0, 48), &[], [&[0, 1], &[0, u64::MAX - 8], &[8, 8]]), "beyond 64 bits"),
        (shard((0, 48), &[], [&[0, 8], &[0, 0], &[8, 8]]), "chunk 8, which is outside the grid"),
        (shard((0, 24), &[], [&[0], &[0], &[0]]), "0 bytes cannot be a chunk"),
        (shard((0, 24), &[], [&[0], &[0], &[u64::MAX]]), "18446744073709551615 bytes cannot be a chunk"),
        (shard((0, 24), &[], [&[0], &[u64::MAX - 8], &[8]]), "beyond 64 bits"),
        (vec![0; 15], ""),
    ] {
        let error = located(&bytes).await.unwrap_err();
        assert!(error.contains(reason) && error.contains("0.shard"), "{error}");
    }
}

#[tokio::test]
async fn an_index_is_fetched_once_however_many_ask() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = shard((8, 80), &CHUNK, [&[0, 1, 1], &[0, 0, 0], &[2, 2, 4]]);
    write(folder.path(), &info(sharding(0, 0)), &[("0.shard", &bytes)]);
    let stats = Arc::new(Stats::default());
    let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(5), stats.clone()).unwrap();
    let source = open(&remote, &Location::parse(folder.path().to_str().unwrap(), None).unwrap(), None).await.unwrap();
    let all = futures::future::join_all((0..40).map(|n| locate(&source, n % 4))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    // The info, the names in the folder of the level, the index of the shard, that of the minishard.
    let requests: u64 = stats.snapshot().hosts.values().map(|host| host.requests).sum();
    assert_eq!(requests, 4);
}

#[tokio::test]
async fn an_index_that_makes_no_sense_is_fetched_twice_a_second_however_many_ask() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = shard((0, 48), &[], [&[0, 0], &[0, 0], &[8, 8]]);
    write(folder.path(), &info(sharding(0, 0)), &[("0.shard", &bytes)]);
    let stats = Arc::new(Stats::default());
    let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(5), stats.clone()).unwrap();
    let source = open(&remote, &Location::parse(folder.path().to_str().unwrap(), None).unwrap(), None).await.unwrap();
    let requests = || stats.snapshot().hosts.values().map(|host| host.requests).sum::<u64>();
    let before = requests();
    for x in [0, 1, 2, 3, 0] {
        let found = healed(|| source.locate(LevelIndex(0), CellIndex([0, 0, x]))).await;
        assert!(found.unwrap_err().to_string().contains("listed twice"));
    }
    // The index of the shard and that of the minishard.
    assert_eq!(requests() - before, 2 * 2);
    let whole = shard((8, 32), &CHUNK, [&[0], &[0], &[8]]);
    std::fs::write(folder.path().join("s/0.shard"), &whole).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(healed(|| source.locate(LevelIndex(0), CellIndex([0, 0, 0]))).await.is_ok());
}

#[tokio::test]
async fn a_level_or_chunk_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &info(Value::Null), &[]);
    let source = opened(folder.path()).await;
    for (level, cell) in [(1, [0, 0, 0]), (0, [0, 0, 4]), (0, [u64::MAX, 0, 0])] {
        assert!(source.locate(LevelIndex(level), CellIndex(cell)).await.is_err());
        assert!(source.decode(LevelIndex(level), CellIndex(cell), Bytes::new()).is_err());
    }
}

#[test]
fn keys_are_relative_to_the_folder_of_the_info() {
    let folder = Location::parse("gs://bucket/a/b/", None).unwrap();
    for (folder, url) in [
        ("https://h:9000/a/b", "https://h:9000/x"),
        ("s3://bucket/a", "s3://bucket/x"),
        ("file:///a", "file:///x"),
        ("https://h", "https://h/x"),
    ] {
        let folder = Location::parse(folder, None).unwrap();
        assert_eq!(resolve(&folder, "../.././../../x").to_string(), url, "neither the host nor the bucket is left");
        assert!(resolve(&folder, "%2e%2e/..%2F\\..\\y").to_string().starts_with(&folder.to_string()));
    }
    for (key, url) in [
        ("8.0x8.0x8.0", "gs://bucket/a/b/8.0x8.0x8.0"),
        ("./s//1", "gs://bucket/a/b/s/1"),
        ("../c/s", "gs://bucket/a/c/s"),
        ("../../../x", "gs://bucket/x"),
        ("a%2F..%20", "gs://bucket/a/b/a%252F..%2520"),
    ] {
        assert_eq!(resolve(&folder, key).to_string(), url);
    }
}

#[test]
fn objects_of_chunks_have_the_names_of_the_format() {
    let region = Region { start: [74, 64, 0], end: [90, 128, 64] };
    assert_eq!(ChunkNames::Flat.name(&region, [20, -44, 10]), "10-74_20-84_94-110");
}

#[tokio::test]
async fn chunks_are_contiguous_as_far_as_the_shift_reaches() {
    let folder = tempfile::tempdir().unwrap();
    for (preshift, size, expected) in [(9, 640, 3), (8, 640, 2), (2, 640, 0), (64, 640, 63), (3, 64, 63)] {
        let mut info = info(sharding(1, 1));
        info["scales"][0]["size"] = json!([size, size, size]);
        info["scales"][0]["chunk_sizes"] = json!([[64, 64, 64]]);
        info["scales"][0]["sharding"]["preshift_bits"] = json!(preshift);
        write(folder.path(), &info, &[]);
        assert_eq!(opened(folder.path()).await.contiguous_group_log2(LevelIndex(0)), expected, "{preshift} {size}");
    }
}

/// Recorded documents of public volumes are no part of the project. `EMFS_SAMPLES` names a folder that has them.
fn sample(name: &str) -> Option<Info> {
    let bytes = std::env::var_os("EMFS_SAMPLES").and_then(|folder| std::fs::read(Path::new(&folder).join(name)).ok());
    match bytes {
        Some(bytes) => Some(info::parse(name, &bytes, None).unwrap()),
        None => {
            eprintln!("not checked: EMFS_SAMPLES names no folder with {name}");
            None
        }
    }
}

#[test]
fn the_document_of_the_male_cns_is_understood() {
    let Some(info) = sample("malecns_em_info_recorded.json") else { return };
    assert_eq!((info.dtype, info.scales.len()), (crate::dtype::DataType::U8, 11));
    let bits: Vec<_> = info.scales.iter().map(|scale| scale.sharding.unwrap()).collect();
    let of = |n: usize| (bits[n].preshift_bits, bits[n].minishard_bits, bits[n].shard_bits);
    assert_eq!((of(0), of(6), of(7), of(10)), ((9, 6, 19), (9, 6, 1), (9, 4, 0), (4, 0, 0)));
    assert_eq!(info.scales[0].grid.shape.0, [134_576, 78_317, 94_088]);
    assert_eq!((info.scales[0].key.as_str(), info.scales[10].key.as_str()), ("8x8x8", "8192x8192x8192"));
    for scale in &info.scales {
        assert_eq!((scale.codec, scale.grid.cell.0, scale.offset), (VoxelEncoding::Jpeg, [64; 3], [0; 3]));
    }
}

#[test]
fn the_document_of_the_hemibrain_is_understood() {
    let Some(info) = sample("hemibrain_em_info_RECONSTRUCTED_not_recorded.json") else { return };
    assert_eq!(info.scales.len(), 9);
    assert_eq!(info.scales[0].grid.shape.0, [41_394, 39_725, 34_427]);
    assert_eq!(info.scales[0].grid.counts(), [647, 621, 538]);
    let sharding = info.scales[0].sharding.unwrap();
    let code = morton::code([281, 281, 234], info.scales[0].grid.counts()).unwrap();
    let place = sharding.place(code);
    assert_eq!((sharding.file(place.shard).as_str(), place.minishard), ("0c49.shard", 55));
}

proptest! {
    // A case opens a volume.
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(48).min(50_000)))]

    #[test]
    fn no_shard_makes_the_reader_panic(
        entry in (prop_oneof![0u64..80, any::<u64>()], prop_oneof![0u64..80, any::<u64>()]),
        data in proptest::collection::vec(any::<u8>(), 0..80), code in 0u64..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bytes = shard(entry, &data, [&[code], &[0], &[8]]);
        // A chunk that is found lies in 64 bits and is no longer than one can be.
        if let Ok(Some((start, length))) = runtime.block_on(located(&bytes)) {
            prop_assert!(start.checked_add(length).is_some() && length <= 8 + (64 << 10));
        }
    }
}
