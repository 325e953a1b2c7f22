//! Array documents with anything in any place, for both versions.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ArrayDocument, MAX_CHUNK_BYTES, MAX_RANK};
use crate::document::arbitrary::{any_json, exchange};
use crate::source::SourceError;
use crate::source::zarr::{v2, v3};

fn v2_document() -> Value {
    json!({"zarr_format": 2, "shape": [564, 2520, 2596], "chunks": [64, 64, 64], "dtype": ">i2", "fill_value": 0,
           "order": "F", "filters": null, "compressor": {"id": "zstd", "level": 1}, "dimension_separator": "/"})
}

fn v3_document() -> Value {
    json!({"zarr_format": 3, "node_type": "array", "shape": [4, 5, 6], "data_type": "float32", "fill_value": "NaN",
           "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3, 4]}},
           "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
           "codecs": [{"name": "transpose", "configuration": {"order": [2, 0, 1]}},
                      {"name": "bytes", "configuration": {"endian": "big"}},
                      {"name": "blosc", "configuration": {"cname": "lz4"}}, {"name": "crc32c"}],
           "attributes": {}, "storage_transformers": [], "dimension_names": ["z", "y", "x"]})
}

fn sharded_document() -> Value {
    let mut document = v3_document();
    document["chunk_grid"]["configuration"]["chunk_shape"] = json!([4, 6, 8]);
    document["codecs"] = json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2, 3, 4], "codecs": document["codecs"], "index_location": "start",
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]}}]);
    document
}

fn documents() -> [(Value, bool); 3] {
    [(v2_document(), true), (v3_document(), false), (sharded_document(), false)]
}

/// Words that mean something somewhere, numbers at the edges, and anything else.
fn any_value() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 14] =
        ["C", "F", ".", "/", "<u2", ">f8", "|u1", "zstd", "blosc", "bytes", "transpose", "regular", "NaN", "uint64"];
    let edges = [0, 1, 2, 3, 1 << 20, 1 << 31, 1 << 32, (1 << 53) + 1, i64::MAX as u64, u64::MAX];
    let texts = prop_oneof![prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned), any::<String>()];
    let edge = prop::sample::select(edges.to_vec()).prop_map(Value::from);
    prop_oneof![
        edge.clone(),
        prop::collection::vec(edge, 0..7).prop_map(Value::from),
        any_json(texts, "id|name|endian|order"),
    ]
}

/// A document that is accepted describes chunks that can be decoded; one that is not is refused by file and field.
fn check(result: Result<ArrayDocument, SourceError>) -> Result<(), TestCaseError> {
    match result {
        Ok(array) => {
            prop_assert!((1..=MAX_RANK).contains(&array.shape.len()));
            prop_assert_eq!(array.shape.len(), array.chunk.len());
            prop_assert!(array.shape.iter().chain(&array.chunk).all(|&extent| extent > 0));
            let bytes = array.chunk.iter().product::<u64>() * array.dtype.size() as u64;
            prop_assert!(bytes <= MAX_CHUNK_BYTES && array.sizes.stored() >= bytes);
            prop_assert_eq!(array.fill.as_le_bytes().len(), array.dtype.size());
        }
        Err(SourceError::Malformed { file, field, reason } | SourceError::Unsupported { file, field, reason, .. }) => {
            prop_assert_eq!(file, "file");
            prop_assert!(!field.is_empty() && !reason.is_empty() && reason.len() < 1000);
        }
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    }
    Ok(())
}

#[test]
fn the_documents_that_are_mutated_below_are_read() {
    assert!(v2::parse("file", v2_document().to_string().as_bytes()).is_ok());
    assert!(v3::parse("file", v3_document().to_string().as_bytes()).is_ok());
    assert!(v3::parse("file", sharded_document().to_string().as_bytes()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

    #[test]
    fn any_value_in_any_place_is_read_or_refused(
        value in any_value(), place in any::<prop::sample::Index>(), which in 0usize..3
    ) {
        let (mut document, second) = documents()[which].clone();
        exchange(&mut document, &place, value);
        let text = document.to_string();
        check(if second { v2::parse("file", text.as_bytes()) } else { v3::parse("file", text.as_bytes()) })?;
    }

    #[test]
    fn mutated_text_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(), cut in any::<bool>(), which in 0usize..3,
    ) {
        let (document, second) = documents()[which].clone();
        let mut text = document.to_string().into_bytes();
        for (place, byte) in changes {
            let at = place.index(text.len());
            text[at] = byte;
        }
        if cut {
            text.truncate(end.index(text.len()));
        }
        check(if second { v2::parse("file", &text) } else { v3::parse("file", &text) })?;
    }
}
