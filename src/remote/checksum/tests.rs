use proptest::prelude::*;
use reqwest::header::{HeaderName, HeaderValue};

use super::*;

/// Values from Python's hashlib and google_crc32c.
const BODY: &[u8] = b"dog";
const CRC: &str = "CnKk3w==";
const MD5: &str = "BtgOsMULSaUJtJ8kJOjIBQ==";
const SHA256: &str = "zWNX792WbejAyy+HbMiex0zjXwlo4RdDmHCEvUL7iUQ=";
const SHA512: &str = "O77ZwQbOrqnh0fhRtJOlJYKub23quBcNpD2jRqhxBiKyHWwsoUxjNr3HcPFhZzvvXtrW5l2GsFvmKBe8kIjZJA==";
const MD5_DIGITS: &str = "06d80eb0c50b49a509b49f2424e8c805";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

/// The headers and kinds of what is stated.
fn names(pairs: &[(&'static str, &str)], is_s3: bool) -> Vec<(&'static str, &'static str)> {
    stated(&headers(pairs), is_s3).iter().map(|checksum| (checksum.header, checksum.kind.name())).collect()
}

/// Whether the whole body passes.
fn passes(pairs: &[(&'static str, &str)], body: &[u8]) -> bool {
    check(&stated(&headers(pairs), false), true, true, body).is_ok()
}

#[test]
fn every_header_is_read_as_its_specification_has_it() {
    let (sha256, sha512, md5) = (SHA256, SHA512, MD5);
    for (header, value) in [
        ("x-goog-hash", format!("crc32c={CRC}")),
        ("x-goog-hash", format!("crc32c={CRC},md5={md5}")),
        ("x-goog-hash", format!("md5={md5} , crc32c={CRC}")),
        ("content-md5", md5.to_owned()),
        ("digest", format!("SHA-256={sha256}")),
        ("digest", format!("unixsum=30637, sha-512={sha512}")),
        ("digest", format!("md5={md5}")),
        ("digest", "crc32c=A72A4DF".to_owned()),
        ("digest", "CRC32c=0a72a4df".to_owned()),
        ("repr-digest", format!("sha-256=:{sha256}:")),
        ("repr-digest", format!("id-sha-256=:AAAA:, sha-512=:{sha512}:;x=1")),
        ("content-digest", format!("sha-256=:{sha256}:")),
    ] {
        assert!(!names(&[(header, &value)], false).is_empty(), "{header}: {value}");
        assert!(passes(&[(header, &value)], BODY), "{header}: {value}");
        assert!(!passes(&[(header, &value)], b"dof"), "{header}: {value}");
    }
}

#[test]
fn what_is_malformed_or_unknown_says_nothing() {
    for (header, value) in [
        ("x-goog-hash", "crc32c=CnKk3w"),
        ("x-goog-hash", "crc32c=CnKk3wAA"),
        ("x-goog-hash", "crc32c"),
        ("x-goog-hash", "sha-256=AAAA"),
        ("x-goog-hash", ""),
        ("content-md5", MD5_DIGITS),
        ("content-md5", "BtgONxx1"),
        ("digest", "crc32c=123456789"),
        ("digest", "crc32c=+1"),
        ("digest", "crc32c="),
        ("digest", "adler32=03da0195"),
        ("repr-digest", "sha-256=AAAA"),
        ("repr-digest", "sha-256=:AAAA:"),
        ("repr-digest", "crc32c=:CnKk3w==:"),
        ("content-digest", "sha-256=:"),
    ] {
        assert_eq!(names(&[(header, value)], true), [], "{header}: {value}");
    }
    let contradiction = format!("crc32c={CRC},crc32c=AAAAAA==,md5={MD5}");
    assert_eq!(names(&[("x-goog-hash", &contradiction)], false), [("x-goog-hash", "md5")]);
    let twice = [("x-goog-hash", "crc32c=CnKk3w=="), ("x-goog-hash", "crc32c=CnKk3w==")];
    assert!(passes(&twice, BODY) && !passes(&twice, b"dof"));
}

#[test]
fn what_was_decompressed_on_the_way_is_not_what_the_hash_is_of() {
    let hash = ("x-goog-hash", "crc32c=CnKk3w==");
    for (more, applies) in [
        (vec![("x-goog-stored-content-encoding", "gzip")], false),
        (vec![("x-goog-stored-content-encoding", "gzip"), ("content-encoding", "gzip")], true),
        (vec![("x-goog-stored-content-encoding", "identity")], true),
        (vec![("x-goog-stored-content-encoding", "identity"), ("content-encoding", "gzip")], false),
        (vec![("content-encoding", "gzip")], true),
        (vec![("x-guploader-response-body-transformations", "gunzipped")], false),
    ] {
        let all: Vec<_> = more.iter().copied().chain([hash]).collect();
        assert_eq!(names(&all, false).len(), usize::from(applies), "{more:?}");
    }
}

#[test]
fn an_etag_is_a_checksum_only_where_s3_makes_it_one() {
    let quoted = format!("\"{MD5_DIGITS}\"");
    let etag = ("etag", quoted.as_str());
    let found = [("etag", "md5")];
    assert_eq!(names(&[etag], true), found);
    assert_eq!(names(&[etag], false), []);
    assert_eq!(names(&[etag, ("x-amz-request-id", "1")], false), found);
    assert_eq!(names(&[etag, ("x-amz-id-2", "1")], false), found);
    assert_eq!(names(&[etag, ("x-amz-server-side-encryption", "AES256")], true), found);
    for (name, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption", "aws:kms:dsse"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-server-side-encryption-customer-key-md5", "x"),
        ("x-amz-storage-class", "EXPRESS_ONEZONE"),
    ] {
        assert_eq!(names(&[etag, (name, value)], true), [], "{name}: {value}");
    }
    for other in [
        MD5_DIGITS.to_owned(),
        format!("W/{quoted}"),
        format!("\"{MD5_DIGITS}-2\""),
        format!("\"{}g\"", &MD5_DIGITS[1..]),
        format!("\"+{}\"", &MD5_DIGITS[1..]),
        "\"\"".to_owned(),
    ] {
        assert_eq!(names(&[("etag", &other)], true), [], "{other}");
    }
    let stated = stated(&headers(&[etag]), true);
    assert!(check(&stated, true, true, BODY).is_ok() && check(&stated, true, true, b"dof").is_err());
    assert!(check(&stated, true, false, b"dof").is_ok() && check(&stated, false, true, b"dof").is_ok());
}

#[test]
fn a_part_is_compared_with_what_is_said_of_it_alone() {
    let crc = "crc32c=CnKk3w==";
    assert!(check(&stated(&headers(&[("x-goog-hash", crc)]), false), false, true, b"do").is_ok());
    let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(BODY)));
    let stated = stated(&headers(&[("content-digest", &digest), ("repr-digest", "sha-256=:x:")]), false);
    assert!(check(&stated, false, true, BODY).is_ok() && check(&stated, false, true, b"dof").is_err());
}

#[test]
fn the_error_names_the_header_and_both_checksums() {
    let error = check(&stated(&headers(&[("x-goog-hash", "crc32c=AAAAAA==")]), false), true, true, BODY).unwrap_err();
    let text = "the body's crc32c is 0a72a4df, and the header `x-goog-hash` says 00000000";
    assert!(error.cause.to_string().contains(text), "{}", error.cause);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn no_text_makes_the_readers_panic(
        header in proptest::sample::select(vec!["x-goog-hash", "content-md5", "digest", "repr-digest", "content-digest", "etag"]),
        text in "((crc32c|md5|sha-256|sha-512|MD5)=:?[A-Za-z0-9+/]{0,90}={0,2}:?[,; ]{0,2}){0,4}|\"?[0-9a-fA-F+]{30,34}\"?|[ -~]{0,60}",
        body in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let found = stated(&headers(&[(header, &text)]), true);
        let fits = found.iter().all(|checksum| checksum.kind.of(&body) == checksum.value);
        prop_assert_eq!(found.iter().all(|checksum| checksum.value.len() == checksum.kind.length()), true);
        prop_assert!(!fits || check(&found, true, true, &body).is_ok());
    }

    #[test]
    fn no_flipped_bit_passes(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        kind in proptest::sample::select(vec![Kind::Crc32c, Kind::Md5, Kind::Sha256, Kind::Sha512]),
    ) {
        let stated = [Checksum { header: "x", kind, value: kind.of(&body), of: Of::Object }];
        prop_assert!(check(&stated, true, true, &body).is_ok());
        let mut flipped = body;
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        prop_assert!(check(&stated, true, true, &flipped).is_err());
    }
}
