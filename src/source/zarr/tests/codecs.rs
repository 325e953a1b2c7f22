//! The names under which codecs are listed.

use serde_json::{Value, json};

use super::groups::with;
use super::*;
use crate::dtype::DataType;
use crate::source::Source;
use crate::source::zarr::codec::BytesCodec;
use crate::source::zarr::layout::ByteOrder;
use crate::source::zarr::v3;

fn little() -> Value {
    json!({"name": "bytes", "configuration": {"endian": "little"}})
}

fn codecs(chain: Value) -> Result<Vec<BytesCodec>, String> {
    let document = with(zarr_json(), "/codecs", chain).to_string();
    v3::parse("zarr.json", document.as_bytes()).map(|array| array.codecs).map_err(|error| error.to_string())
}

#[test]
fn codecs_of_numcodecs_are_read_by_the_names_that_zarr_python_writes() {
    for (name, configuration, codec) in [
        ("zlib", json!({"level": 1}), BytesCodec::Zlib),
        ("gzip", json!({"level": 1}), BytesCodec::Gzip),
        ("lz4", json!({"acceleration": 1}), BytesCodec::Lz4),
        ("bz2", json!({"level": 1}), BytesCodec::Bzip2),
        ("lzma", json!({"format": 1, "check": -1, "preset": null, "filters": null}), BytesCodec::Xz),
        ("zstd", json!({"level": 0, "checksum": false}), BytesCodec::Zstd),
        ("blosc", json!({"cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}), BytesCodec::Blosc),
        ("shuffle", json!({"elementsize": 2}), BytesCodec::Shuffle(2)),
        ("shuffle", json!({}), BytesCodec::Shuffle(4)),
    ] {
        let named = json!({"name": format!("numcodecs.{name}"), "configuration": configuration});
        assert_eq!(codecs(json!([little(), named])), Ok(vec![codec]), "{name}");
    }
    let lzma = json!({"name": "numcodecs.lzma", "configuration": {"format": 3}});
    let place = "zarr.json: codecs[1]";
    let refused = "configuration.format: lzma without a header is not supported; rewrite it by `zarr` of Python without filters and with Blosc, Zstandard, gzip or no compressor";
    assert_eq!(codecs(json!([little(), lzma])), Err(format!("{place}.{refused}")));
    let other = json!({"name": "numcodecs.fletcher32"});
    let error = codecs(json!([little(), other])).unwrap_err();
    assert!(
        error.starts_with(&format!("{place}: codec `numcodecs.fletcher32` is not supported; rewrite it by `zarr`")),
        "{error}"
    );
}

#[test]
fn delta_is_of_voxels_and_of_their_type() {
    let delta = |configuration: Value| json!({"name": "numcodecs.delta", "configuration": configuration});
    let of = |order: ByteOrder| BytesCodec::Delta(DataType::U16, order);
    let zlib = json!({"name": "numcodecs.zlib"});
    assert_eq!(
        codecs(json!([delta(json!({"dtype": "<u2"})), little(), zlib])),
        Ok(vec![of(ByteOrder::Little), BytesCodec::Zlib])
    );
    let big = json!({"name": "bytes", "configuration": {"endian": "big"}});
    assert_eq!(codecs(json!([delta(json!({"dtype": "<i2"})), big])), Ok(vec![of(ByteOrder::Big)]));
    let transpose = json!({"name": "transpose", "configuration": {"order": [2, 1, 0]}});
    for (chain, reason) in [
        (json!([delta(json!({"dtype": "<u4"})), little()]), "`delta` of uint32 for voxels of uint16"),
        (json!([delta(json!({"dtype": ">u2"})), little()]), "`delta` of big-endian numbers"),
        (json!([delta(json!({"dtype": "<u2", "astype": "<i4"})), little()]), "delta of uint16 as another type"),
        (json!([delta(json!({})), little()]), "dtype: it is missing"),
        (json!(["numcodecs.delta", little()]), "`configuration` is missing"),
        (json!([transpose, delta(json!({"dtype": "<u2"})), little()]), "`numcodecs.delta` together with `transpose`"),
        (json!([little(), delta(json!({"dtype": "<u2"}))]), "codec `numcodecs.delta` stands in the wrong place"),
    ] {
        let error = codecs(chain).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_old_words_for_the_order_of_voxels_and_bytes_are_read() {
    let open = |chain: Value| Shelf::of([("zarr.json", with(zarr_json(), "/codecs", chain))]).open().unwrap();
    let raw: Bytes = (0..24u16).flat_map(u16::to_le_bytes).collect::<Vec<u8>>().into();
    let decode = |chain: Value| open(chain).decode(LevelIndex(0), CellIndex([0; 3]), raw.clone()).unwrap();
    let transpose = |order: Value| json!([{"name": "transpose", "configuration": {"order": order}}, little()]);
    assert_eq!(decode(transpose(json!("F"))), decode(transpose(json!([2, 1, 0]))));
    assert_eq!(decode(transpose(json!("C"))), raw);
    assert_eq!(decode(json!([{"name": "endian", "configuration": {"endian": "little"}}])), raw);
}
