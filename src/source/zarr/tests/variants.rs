//! Which variants are read, as the manual tells.

use serde_json::{Value, json};

use super::groups::with;
use super::*;
use crate::source::variants::{TYPES, check};
use crate::source::zarr::{n5, v2, v3};

/// Codecs of numcodecs.
const NUMCODECS: [&str; 25] = [
    "adler32",
    "astype",
    "base64",
    "bitround",
    "blosc",
    "bz2",
    "categorize",
    "crc32",
    "crc32c",
    "delta",
    "fixedscaleoffset",
    "fletcher32",
    "gzip",
    "jenkins_lookup3",
    "json2",
    "lz4",
    "lzma",
    "msgpack2",
    "packbits",
    "pcodec",
    "pickle",
    "quantize",
    "shuffle",
    "vlen-utf8",
    "zfpy",
];

fn reads_v2(pointer: &str, value: Value) -> bool {
    v2::parse(".zarray", with(zarray(), pointer, value).to_string().as_bytes()).is_ok()
}

fn reads_v3(pointer: &str, value: Value) -> bool {
    v3::parse("zarr.json", with(zarr_json(), pointer, value).to_string().as_bytes()).is_ok()
}

/// The name of a type in the words of numpy.
fn numpy(name: &str) -> String {
    let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let bytes = digits.parse::<usize>().map_or(0, |bits| bits / 8);
    match name {
        "bool" => "|b1".to_owned(),
        "string" => "<U4".to_owned(),
        name if bytes == 1 && !name.starts_with("float") => format!("|{}1", &name[..1]),
        name if name.starts_with("bfloat") || name.starts_with('r') => format!("|V{bytes}"),
        name => format!("<{}{bytes}", &name[..1]),
    }
}

#[test]
fn the_table_tells_what_is_read_of_zarr_v2() {
    let kind = "`zarr`, v2";
    check(kind, "types", &TYPES, |name| reads_v2("/dtype", json!(numpy(name))));
    let known: Vec<&str> = NUMCODECS.into_iter().chain(["zlib", "zstd"]).collect();
    check(kind, "compressors", &known, |id| reads_v2("/compressor", json!({"id": id, "cname": "lz4", "level": 1})));
    check(kind, "filters", &known, |id| reads_v2("/filters", json!([{"id": id, "dtype": "<u2", "elementsize": 2}])));
    check(kind, "orders", &["C", "F", "A"], |order| reads_v2("/order", json!(order)));
}

#[test]
fn the_table_tells_what_is_read_of_zarr_v3() {
    let kind = "`zarr`, v3";
    check(kind, "types", &TYPES, |name| {
        let fill = if name == "bool" { json!(false) } else { json!(0) };
        let document = with(with(zarr_json(), "/data_type", json!(name)), "/fill_value", fill);
        v3::parse("zarr.json", document.to_string().as_bytes()).is_ok()
    });
    let of_bytes = [
        "blosc",
        "crc32c",
        "gzip",
        "zstd",
        "zlib",
        "bz2",
        "lzma",
        "lz4",
        "adler32",
        "fletcher32",
        "pcodec",
        "zfp",
        "packbits",
        "vlen-utf8",
        "gdeflate",
        "cast_value",
    ];
    let of_numcodecs: Vec<String> =
        NUMCODECS.into_iter().chain(["zlib", "zstd"]).map(|name| format!("numcodecs.{name}")).collect();
    let of_bytes: Vec<&str> = of_bytes.into_iter().chain(of_numcodecs.iter().map(String::as_str)).collect();
    check(kind, "codecs of bytes", &of_bytes, |name| {
        reads_v3("/codecs", json!([{"name": "bytes", "configuration": {"endian": "little"}}, {"name": name}]))
    });
    let of_arrays = [
        "bytes",
        "endian",
        "transpose",
        "sharding_indexed",
        "vlen-bytes",
        "bitround",
        "numcodecs.delta",
        "numcodecs.astype",
    ];
    check(kind, "codecs of arrays", &of_arrays, |name| {
        let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
        let shards = json!({"order": [2, 1, 0], "endian": "little", "chunk_shape": [1, 1, 1], "codecs": [bytes.clone()], "dtype": "<u2"});
        let codec = json!({"name": name, "configuration": shards});
        let chain =
            if matches!(name, "transpose" | "numcodecs.delta") { json!([codec, bytes]) } else { json!([codec]) };
        reads_v3("/codecs", chain)
    });
    check(kind, "chunk keys", &["default", "v2", "suffix", "fanout"], |name| {
        reads_v3("/chunk_key_encoding", json!({"name": name}))
    });
    check(kind, "chunk grids", &["regular", "rectangular", "rectilinear"], |name| {
        reads_v3("/chunk_grid", json!({"name": name, "configuration": {"chunk_shape": [2, 3, 4]}}))
    });
}

#[test]
fn the_table_tells_which_versions_of_ome_ngff_are_read() {
    check("`zarr`", "OME-NGFF", &["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "1.0"], |version| {
        let mut attributes = attributes();
        attributes["multiscales"][0]["version"] = json!(version);
        Shelf::of([(".zattrs", attributes), ("s0/.zarray", zarray())]).open().is_ok()
    });
}

#[test]
fn the_table_tells_what_is_read_of_n5() {
    let document = |key: &str, value: Value| {
        let mut document = json!({"dimensions": [6, 5, 4], "blockSize": [4, 3, 2], "dataType": "uint16", "compression": {"type": "raw"}});
        document[key] = value;
        n5::parse("attributes.json", document.to_string().as_bytes()).is_ok()
    };
    let types: Vec<&str> = TYPES.into_iter().chain(["object"]).collect();
    check("`n5`", "types", &types, |name| document("dataType", json!(name)));
    let compressions =
        ["raw", "gzip", "zlib", "bzip2", "xz", "lz4", "blosc", "zstd", "jpeg", "snappy", "jetraw", "zfp"];
    check("`n5`", "compressions", &compressions, |name| document("compression", json!({"type": name})));
}
