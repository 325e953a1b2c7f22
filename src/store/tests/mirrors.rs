//! Several servers behind one name, which tell the versions of their files differently.

use futures::future::join_all;

use super::origin::{answer, correct};
use super::*;
use crate::remote::Cause;

const MONDAY: &str = "Mon, 02 Nov 2026 08:00:00 GMT";
const TUESDAY: &str = "Tue, 03 Nov 2026 08:00:00 GMT";

/// What a server answers that has `bytes` under an ETag, where it tells one, and a date.
fn served(bytes: &[u8], etag: Option<&str>, date: &str, request: &Request) -> Vec<Act> {
    if request.headers.get("if-match").is_some_and(|wanted| Some(wanted.as_str()) != etag) {
        return answer("412 Precondition Failed", "", b"");
    }
    let names = etag.map_or_else(String::new, |etag| format!("ETag: {etag}\r\n"));
    let (start, end) = request.range().map_or((0, bytes.len()), |(start, end)| (start, end.min(bytes.len())));
    let headers =
        format!("{names}Last-Modified: {date}\r\nContent-Range: bytes {start}-{}/{}\r\n", end - 1, bytes.len());
    answer("206 Partial Content", &headers, &bytes[start..end])
}

/// Reads ten parts of the object one after the other and ten at once: each as it is or an error.
async fn read(bench: &Bench, expected: &[u8]) -> Vec<Cause> {
    let object = bench.object("http");
    let part = |number: u64| {
        let object = object.clone();
        async move {
            let range = number * 1000..number * 1000 + 900;
            let bytes = match object.range(range.clone()).await {
                Ok(fetched) => fetched.bytes,
                Err(error) => return Some(error.cause),
            };
            assert_eq!(bytes, expected[range.start as usize..range.end as usize]);
            None
        }
    };
    let mut failed = Vec::new();
    for number in 0..10 {
        failed.extend(part(number).await);
    }
    failed.extend(join_all((10..20).map(part)).await.into_iter().flatten());
    failed
}

#[tokio::test]
async fn mirrors_that_name_the_same_bytes_differently_are_read_as_one() {
    for (one, other) in [(Some("\"a\""), Some("\"b\"")), (Some("\"a\""), None), (None, Some("\"b\""))] {
        let bench = Bench::new(SLACK, 4, move |number, request| {
            served(&data(20_000), if number % 2 == 0 { one } else { other }, MONDAY, request)
        })
        .await;
        assert_eq!(read(&bench, &data(20_000)).await, []);
    }
}

#[tokio::test]
async fn a_mirror_with_another_version_is_passed_over_and_none_of_its_bytes_are_used() {
    let other: Vec<u8> = data(20_000).iter().map(|byte| byte ^ 1).collect();
    for (etag, date, length) in [
        (Some("\"b\""), TUESDAY, 20_000),
        (Some("\"b\""), MONDAY, 20_000),
        (Some("\"b\""), MONDAY, 19_999),
        (None, MONDAY, 20_000),
    ] {
        let other = other[..length].to_vec();
        let bench = Bench::new(SLACK, 4, move |number, request| match number % 2 {
            0 => served(&data(20_000), Some("\"a\""), MONDAY, request),
            _ => served(&other, etag, date, request),
        })
        .await;
        assert_eq!(read(&bench, &data(20_000)).await, [], "{etag:?} {date} {length}");
    }
}

#[tokio::test]
async fn an_object_that_changed_is_no_mirror_though_its_date_and_length_are_the_same() {
    let bench = Bench::new(SLACK, 4, |number, request| match number {
        0..2 => served(&data(20_000), Some("\"a\""), MONDAY, request),
        _ => served(&vec![7; 20_000], Some("\"b\""), MONDAY, request),
    })
    .await;
    let failed = read(&bench, &data(20_000)).await;
    assert_eq!(failed.len(), 18);
    assert!(failed.iter().all(|cause| matches!(cause, Cause::Changed(_))));
    // It is looked at once, not for each who asks.
    assert!(bench.counters().requests < 2 + 18 * 2 + 10);
}

#[tokio::test]
async fn a_correct_origin_is_asked_once_for_each_part() {
    let bench = Bench::new(SLACK, 4, |_, request| correct(&data(20_000), "\"a\"", request)).await;
    assert_eq!(read(&bench, &data(20_000)).await, []);
    assert_eq!(bench.counters().requests, 20);
}
