//! What an origin can get wrong: an error that says what, and no byte of it.

use futures::future::join_all;

use super::origin::{answer, correct};
use super::*;
use crate::remote::Cause;

const WHOLE: usize = 20_000;

/// An answer with this head, this `Content-Length` and this body, after which the connection is closed.
fn raw(head: &str, length: usize, body: &[u8]) -> Vec<Act> {
    let head = format!("HTTP/1.1 {head}Content-Length: {length}\r\n\r\n");
    vec![Act::Send([head.as_bytes(), body].concat()), Act::Close]
}

fn part(range: &str, length: usize, body: &[u8]) -> Vec<Act> {
    raw(&format!("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes {range}\r\n"), length, body)
}

/// Answers to the range 1000..5096 of 20000 bytes that must not pass, with a word of the reason.
fn wrong_answers() -> Vec<(&'static str, Vec<Act>)> {
    let (all, good) = (data(WHOLE), &data(WHOLE)[1000..5096]);
    let range = "1000-5095/20000";
    let closing = |head: &str| vec![Act::Send([head.as_bytes(), good].concat()), Act::Close];
    let chunked = |body: &[u8], end: &str| {
        let head = format!(
            "HTTP/1.1 206 P\r\nContent-Range: bytes {range}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        vec![Act::Send([head.as_bytes(), body, end.as_bytes()].concat()), Act::Close]
    };
    vec![
        ("ignores ranges", raw("200 OK\r\n", WHOLE, &all)),
        ("ignores ranges", raw("200 OK\r\n", 4096, good)),
        ("ignores ranges", closing("HTTP/1.1 200 OK\r\n\r\n")),
        ("text/html", raw("200 OK\r\nContent-Type: text/html\r\n", 14, b"<html></html>\n")),
        ("connection", part(range, 4096, &good[..4000])),
        ("4000", part(range, 4000, &good[..4000])),
        ("4097", part(range, 4097, &all[1000..5097])),
        ("instead", chunked(&all[1000..5097], "\r\n0\r\n\r\n")),
        ("instead", chunked(&all[1000..5000], "\r\n0\r\n\r\n")),
        ("connection", chunked(good, "")),
        ("instead", part("999-5094/20000", 4096, good)),
        ("instead", part("1000-4999/20000", 4000, &good[..4000])),
        ("instead", part("0-4095/20000", 4096, &all[..4096])),
        ("Content-Range", part("1000-5095/5000", 4096, good)),
        ("Content-Range", part("5095-1000/20000", 4096, good)),
        ("Content-Range", part("1000-18446744073709551615/20000", 4096, good)),
        ("Content-Range", raw("206 P\r\n", 4096, good)),
        ("Content-Range", raw("206 P\r\nContent-Type: multipart/byteranges; boundary=x\r\n", 4096, good)),
        ("several", part(&format!("{range}\r\nContent-Range: bytes 0-4095/20000"), 4096, good)),
        ("gzip", part(&format!("{range}\r\nContent-Encoding: gzip"), 4096, good)),
        ("connection", vec![Act::Close]),
        ("connection", vec![Act::Send(b"220 ftp.example.org ready\r\n".repeat(9)), Act::Close]),
        ("connection", vec![Act::Send(vec![0xff; 5000]), Act::Close]),
        ("connection", part(&format!("{range}\r\nX-Long: {}", "x".repeat(1 << 20)), 4096, good)),
        ("connection", part(&format!("{range}{}", "\r\nX-Many: y".repeat(500)), 4096, good)),
        ("connection", raw(&format!("206 P\r\nContent-Range: bytes {range}\r\nContent-Length: 1\r\n"), 4096, good)),
    ]
}

#[tokio::test]
async fn a_wrong_answer_is_an_error_that_says_what_is_wrong() {
    let mut benches = Vec::new();
    for (number, (word, acts)) in wrong_answers().into_iter().enumerate() {
        for scheme in SCHEMES {
            let acts = acts.clone();
            let bench = Bench::new(SLACK, 4, move |_, _| acts.clone()).await;
            benches.push((number, word, scheme, bench));
        }
    }
    let checks = benches.iter().map(|(number, word, scheme, bench)| async move {
        let error = bench.object(scheme).range(1000..5096).await.unwrap_err();
        // On a busy machine the time may be over during an attempt.
        let cause = match &error.cause {
            Cause::Timeout { before: Some(before), .. } => before,
            cause => cause,
        };
        assert!(matches!(cause, Cause::Protocol(_) | Cause::Connection(_)), "case {number}: {error}");
        assert!(error.to_string().contains(word), "case {number}: {error}");
        assert!(error.to_string().contains("bytes 1000-5095"), "{error}");
        assert!(error.attempts >= 2 && bench.counters().failures == 1, "case {number}: {error}");
        assert_eq!(bench.counters().in_flight, 0);
    });
    join_all(checks).await;
}

#[tokio::test]
async fn a_wrong_answer_that_was_an_accident_is_made_good() {
    let mut benches = Vec::new();
    for (_, acts) in wrong_answers() {
        let script = move |request, asked: &Request| match request {
            0 => acts.clone(),
            _ => correct(&data(WHOLE), "\"v1\"", asked),
        };
        benches.push(Bench::new(SLACK, 4, script).await);
    }
    let checks = benches.iter().enumerate().map(|(number, bench)| async move {
        let fetched = bench.object("http").range(1000..5096).await.unwrap();
        assert_eq!(fetched.bytes, data(WHOLE)[1000..5096], "case {number}");
        assert_eq!((bench.counters().retries, bench.counters().failures), (1, 0));
    });
    join_all(checks).await;
}

#[tokio::test]
async fn whatever_mixture_an_origin_answers_the_bytes_are_right_or_there_are_none() {
    let bench = Bench::new(TIMEOUT, 16, |_, request| {
        let wrong = wrong_answers();
        match rand::random_range(0..wrong.len() * 3 / 2) {
            number if number < wrong.len() => wrong[number].1.clone(),
            _ => correct(&data(WHOLE), "\"v1\"", request),
        }
    })
    .await;
    let reads = (0..crate::test_cases(60).min(2_000)).map(|_| async {
        match bench.object("http").range(1000..5096).await {
            Ok(fetched) => assert_eq!(fetched.bytes, data(WHOLE)[1000..5096]),
            Err(error) => assert_ne!(error.cause, Cause::NotFound),
        }
    });
    join_all(reads).await;
    assert_eq!(bench.counters().in_flight, 0);
}

#[tokio::test]
async fn answers_that_are_no_accident_are_believed_when_they_are_given_twice() {
    let cases = [
        ("404 Not Found", Cause::NotFound),
        ("410 Gone", Cause::Gone(410)),
        ("401 Unauthorized", Cause::Denied(401)),
        ("403 Forbidden", Cause::Denied(403)),
        ("400 Bad Request", Cause::Status(400)),
        ("204 No Content", Cause::Status(204)),
        ("304 Not Modified", Cause::Status(304)),
        ("412 Precondition Failed", Cause::Status(412)),
        ("416 Range Not Satisfiable", Cause::Protocol("the range cannot be satisfied (status 416)".into())),
    ];
    for scheme in SCHEMES {
        for (status, cause) in cases.clone() {
            let bench = Bench::new(SLACK, 4, move |_, _| answer(status, "", b"")).await;
            let error = bench.object(scheme).range(0..10).await.unwrap_err();
            assert_eq!((error.cause, error.attempts), (cause.clone(), 2));
            assert_eq!(bench.counters().failures, u64::from(cause != Cause::NotFound));
        }
    }
}

#[tokio::test]
async fn a_changed_object_is_an_error_until_the_remount() {
    let old = || correct(&data(100), "\"v1\"", &Request { path: String::new(), headers: range_header() });
    let part = |headers: &str| answer("206 P", &format!("{headers}Content-Range: bytes 0-9/100\r\n"), b"other data");
    let cases = [
        part("ETag: \"v2\"\r\n"),
        part(""),
        answer("206 P", "ETag: \"v1\"\r\nContent-Range: bytes 0-9/101\r\n", b"other data"),
        answer("200 OK", "ETag: \"v1\"\r\n", b"other data"),
        answer("412 Precondition Failed", "", b""),
    ];
    for changed in cases {
        let bench = Bench::new(SLACK, 4, move |number, _| if number == 0 { old() } else { changed.clone() }).await;
        let object = bench.object("http");
        object.range(0..10).await.unwrap();
        let error = object.clone().range(0..10).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Changed(_)) && error.attempts == 2, "{error}");
        assert!(error.to_string().contains("changed at the origin, remount"));
    }
}

#[tokio::test]
async fn a_first_answer_that_was_wrong_of_the_version_alone_does_not_pin_it() {
    let wrong = [
        answer("206 P", "ETag: \"v1\"\r\nContent-Range: bytes 0-9/7777\r\n", &data(10)),
        answer("206 P", "ETag: \"other\"\r\nContent-Range: bytes 0-9/100\r\n", &data(10)),
        answer("206 P", "Content-Range: bytes 0-9/77\r\n", &data(10)),
    ];
    for wrong in wrong {
        let bench = Bench::new(SLACK, 4, move |number, request| match number {
            0 => wrong.clone(),
            _ => correct(&data(100), "\"v1\"", request),
        })
        .await;
        let object = bench.object("http");
        object.range(0..10).await.unwrap();
        for range in [20..30, 0..10, 90..100] {
            let fetched = object.range(range.clone()).await.unwrap();
            assert_eq!(
                (&fetched.bytes[..], fetched.total),
                (&data(100)[range.start as usize..range.end as usize], Some(100))
            );
        }
    }
}

#[tokio::test]
async fn one_answer_that_an_object_changed_or_is_gone_or_absent_is_not_believed() {
    let wrong = [
        answer("412 Precondition Failed", "", b""),
        answer("404 Not Found", "", b""),
        answer("403 Forbidden", "", b""),
        answer("416 Range Not Satisfiable", "", b""),
        answer("206 P", "ETag: \"v2\"\r\nContent-Range: bytes 0-9/100\r\n", &data(10)),
        answer("206 P", "ETag: \"v1\"\r\nContent-Range: bytes 0-9/101\r\n", &data(10)),
        answer("206 P", "ETag: \"v1\"\r\nContent-Range: bytes 0-99/100\r\n", &[0; 100]),
    ];
    for wrong in wrong {
        for at in 0..2 {
            let wrong = wrong.clone();
            let bench = Bench::new(SLACK, 4, move |number, request| match number {
                number if number == at => wrong.clone(),
                _ => correct(&data(100), "\"v1\"", request),
            })
            .await;
            let object = bench.object("http");
            for _ in 0..2 {
                assert_eq!(object.range(0..100).await.unwrap().bytes, data(100));
            }
        }
    }
}

#[tokio::test]
async fn zeros_are_believed_when_they_come_twice() {
    let bench = Bench::new(SLACK, 4, |_, request| correct(&[0; 1000], "\"v1\"", request)).await;
    assert_eq!(bench.object("http").range(0..1000).await.unwrap().bytes, vec![0; 1000]);
    assert_eq!(bench.counters().requests, 2);
    assert_eq!(bench.object("http").range(0..8).await.unwrap().bytes, vec![0; 8]);
    assert_eq!(bench.counters().requests, 3, "so few are often zero");
}

#[tokio::test]
async fn a_host_that_took_an_absence_back_is_asked_more_often() {
    // One object is said to be absent once; another one nearly always.
    let bench = Bench::new(SLACK, 4, |number, request| match number {
        0 | 2..=5 => answer("404 Not Found", "", b""),
        _ => correct(&data(100), "\"v1\"", request),
    })
    .await;
    for _ in 0..2 {
        assert_eq!(bench.object("http").range(0..10).await.unwrap().bytes, data(10));
    }
}

fn range_header() -> std::collections::BTreeMap<String, String> {
    [("range".to_owned(), "bytes=0-9".to_owned())].into()
}

#[tokio::test]
async fn without_an_etag_the_date_and_length_are_pinned() {
    let bench = Bench::new(SLACK, 4, |number, _| {
        let day = if number < 2 { 1 } else { 2 };
        let date = format!("Last-Modified: Mon, 0{day} Jan 2024 00:00:00 GMT\r\nContent-Range: bytes 0-9/100\r\n");
        answer("206 P", &date, &data(10))
    })
    .await;
    let object = bench.object("http");
    object.range(0..10).await.unwrap();
    object.range(0..10).await.unwrap();
    assert!(matches!(object.range(0..10).await.unwrap_err().cause, Cause::Changed(_)));
}

#[tokio::test]
async fn a_whole_that_may_have_been_cut_is_refused() {
    let cases = [
        ("without length", vec![Act::Send(b"HTTP/1.1 200 OK\r\n\r\n[1, 2".to_vec()), Act::Close]),
        ("connection", raw("200 OK\r\n", 7, b"[1, 2")),
        ("status 206", answer("206 P", "Content-Range: bytes 0-5/7\r\n", b"[1, 2]")),
        ("gzip", answer("200 OK", "Content-Encoding: gzip\r\n", b"[1, 2]")),
    ];
    for (word, acts) in cases {
        let bench = Bench::new(SLACK, 4, move |_, _| acts.clone()).await;
        let error = bench.object("http").whole(1000).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_downloaded() {
    let bench = Bench::new(SLACK, 4, |_, _| raw("200 OK\r\n", 1 << 40, &data(1 << 16))).await;
    let error = bench.object("http").whole(1000).await.unwrap_err();
    assert!(matches!(error.cause, Cause::TooLong { .. }) && error.attempts == 2, "{error}");
    assert_eq!(bench.counters().bytes, 0);
}
