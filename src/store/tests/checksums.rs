//! Bodies that are damaged on the way, where the origin states a checksum.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use sha2::Sha256;

use super::origin::answer;
use super::*;
use crate::hex::hex;
use crate::remote::Cause;

const LENGTH: usize = 5_000;

/// What an origin of the scheme states of a body.
fn header(scheme: &str, body: &[u8]) -> String {
    match scheme {
        "s3" => format!("ETag: \"{}\"\r\n", hex(&Md5::digest(body))),
        "gs" => format!("x-goog-hash: crc32c={}\r\n", STANDARD.encode(crc32c::crc32c(body).to_be_bytes())),
        _ => format!("Digest: sha-256={}\r\n", STANDARD.encode(Sha256::digest(body))),
    }
}

fn flipped(mut body: Vec<u8>) -> Vec<u8> {
    let middle = body.len() / 2;
    body[middle] ^= 4;
    body
}

#[tokio::test]
async fn a_flipped_bit_is_fetched_again_and_never_given_out() {
    for scheme in SCHEMES {
        let once = Bench::new(SLACK, 4, move |number, _| {
            let body = if number == 0 { flipped(data(LENGTH)) } else { data(LENGTH) };
            answer("200 OK", &header(scheme, &data(LENGTH)), &body)
        })
        .await;
        assert_eq!(once.object(scheme).whole(LENGTH as u64).await.unwrap().bytes, data(LENGTH));
        assert_eq!((once.counters().retries, once.counters().failures), (1, 0));
        let always =
            Bench::new(SLACK, 4, move |_, _| answer("200 OK", &header(scheme, &data(LENGTH)), &flipped(data(LENGTH))))
                .await;
        let error = always.object(scheme).whole(LENGTH as u64).await.unwrap_err();
        let name = header(scheme, b"").split(':').next().unwrap().to_lowercase();
        assert!(matches!(&error.cause, Cause::Protocol(reason) if reason.contains(&format!("`{name}`"))), "{error}");
        assert_eq!((error.attempts, always.counters().failures), (5, 1));
    }
}

#[tokio::test]
async fn a_checksum_is_of_the_bytes_as_they_were_sent() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&data(LENGTH)).unwrap();
    let packed = encoder.finish().unwrap();
    for scheme in SCHEMES {
        let packed = packed.clone();
        let bench = Bench::new(SLACK, 4, move |number, _| {
            let body = if number == 0 { flipped(packed.clone()) } else { packed.clone() };
            answer("200 OK", &format!("Content-Encoding: gzip\r\n{}", header(scheme, &packed)), &body)
        })
        .await;
        assert_eq!(bench.object(scheme).whole(LENGTH as u64).await.unwrap().bytes, data(LENGTH));
        assert_eq!(bench.counters().retries, 1);
    }
}

#[tokio::test]
async fn a_range_is_not_compared_with_the_checksum_of_the_whole() {
    for scheme in SCHEMES {
        let bench = Bench::new(SLACK, 4, move |_, request| {
            let (start, end) = request.range().unwrap();
            let range = format!("Content-Range: bytes {start}-{}/{LENGTH}\r\n", end - 1);
            let digest = STANDARD.encode(Sha256::digest(&data(LENGTH)[start..end]));
            let own = format!("Content-Digest: sha-256=:{digest}:\r\n");
            let body = if start == 7 { flipped(data(LENGTH)) } else { data(LENGTH) };
            answer("206 P", &format!("{range}{own}{}", header(scheme, &data(LENGTH))), &body[start..end])
        })
        .await;
        assert_eq!(bench.object(scheme).range(5..50).await.unwrap().bytes, data(LENGTH)[5..50]);
        // The flipped bit is outside of this range, and inside the next.
        assert_eq!(bench.object(scheme).range(7..50).await.unwrap().bytes, data(LENGTH)[7..50]);
        let error = bench.object(scheme).range(7..LENGTH as u64).await.unwrap_err();
        assert!(error.to_string().contains("`content-digest`"), "{error}");
    }
}

#[tokio::test]
async fn a_host_whose_etags_are_no_checksums_can_be_told() {
    for md5_etags in [true, false] {
        let limits = HostLimits { md5_etags, stall: SLACK, ..HostLimits::default() };
        let bench = Bench::with(SLACK, limits, |_, _| answer("200 OK", &header("s3", b"other"), &data(LENGTH))).await;
        assert_eq!(bench.object("s3").whole(LENGTH as u64).await.is_err(), md5_etags);
    }
}
