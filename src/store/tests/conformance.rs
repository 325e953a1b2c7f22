//! What holds for every scheme when the origin is right.

use super::origin::{answer, correct};
use super::*;
use crate::remote::Cause;

async fn right(scheme: &str) -> (Bench, Object) {
    let bench = Bench::new(SLACK, 4, |_, request| correct(&data(10_000), "\"v1\"", request)).await;
    let object = bench.object(scheme);
    (bench, object)
}

#[tokio::test]
async fn a_range_is_exactly_these_bytes() {
    for scheme in SCHEMES {
        let (bench, object) = right(scheme).await;
        for range in [0..1, 0..10_000, 17..4711, 9_999..10_000] {
            let fetched = object.range(range.clone()).await.unwrap();
            assert_eq!(fetched.bytes, data(10_000)[range.start as usize..range.end as usize], "{scheme}");
            assert_eq!(fetched.total, Some(10_000));
            assert_eq!(fetched.etag.as_deref(), Some("\"v1\""));
            assert_eq!(fetched.content_type.as_deref(), Some("image/tiff"));
        }
        let counters = bench.counters();
        assert_eq!((counters.requests, counters.retries, counters.hedges, counters.failures), (4, 0, 0, 0));
        assert_eq!((counters.in_flight, counters.bytes), (0, 1 + 10_000 + 4694 + 1));
    }
}

#[tokio::test]
async fn the_start_of_a_short_object_is_all_of_it() {
    for scheme in SCHEMES {
        let (_bench, object) = right(scheme).await;
        for length in [1, 9_999, 10_000, 10_001, 1 << 40] {
            let fetched = object.start(length).await.unwrap();
            assert_eq!(fetched.bytes, data(10_000)[..length.min(10_000) as usize]);
            assert_eq!(fetched.total, Some(10_000));
        }
    }
}

#[tokio::test]
async fn the_whole_is_all_within_the_limit() {
    for scheme in SCHEMES {
        let (_bench, object) = right(scheme).await;
        assert_eq!(object.whole(10_000).await.unwrap().bytes, data(10_000));
        let error = object.whole(9_999).await.unwrap_err();
        assert!(matches!(error.cause, Cause::TooLong { .. }) && error.attempts == 2, "{error}");
    }
}

#[tokio::test]
async fn a_request_names_the_project_the_object_and_the_version() {
    for scheme in SCHEMES {
        let (bench, object) = right(scheme).await;
        object.range(5..9).await.unwrap();
        object.range(6..7).await.unwrap();
        let requests = bench.origin.requests();
        assert_eq!(requests[0].path, "/bucket/a%20key");
        assert_eq!(requests[0].headers["range"], "bytes=5-8");
        assert_eq!(requests[0].headers["accept-encoding"], "identity");
        assert!(requests[0].headers["user-agent"].starts_with("emfs/"));
        assert!(requests[0].headers["user-agent"].contains("(+https://"));
        assert!(!requests[0].headers.contains_key("if-match"));
        assert!(!requests[0].headers.contains_key("authorization"));
        assert_eq!(requests[1].headers["if-match"], "\"v1\"");
    }
}

#[tokio::test]
async fn an_empty_object_is_empty() {
    for scheme in SCHEMES {
        let bench = Bench::new(SLACK, 4, |_, request| correct(b"", "\"v1\"", request)).await;
        let object = bench.object(scheme);
        for _ in 0..2 {
            let fetched = object.start(100).await.unwrap();
            assert_eq!((fetched.bytes.len(), fetched.total), (0, Some(0)));
        }
        assert!(object.whole(100).await.unwrap().bytes.is_empty());
        assert!(object.range(0..1).await.is_err());
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_to_its_end_but_not_beyond_the_limit() {
    let bench = Bench::new(SLACK, 4, |_, _| {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1, \r\n2\r\n2]\r\n0\r\n\r\n";
        vec![Act::Send(text.into())]
    })
    .await;
    let object = bench.object("http");
    let fetched = object.whole(6).await.unwrap();
    assert_eq!((&fetched.bytes[..], fetched.total), (&b"[1, 2]"[..], Some(6)));
    assert!(object.whole(5).await.is_err());
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let bench = Bench::new(SLACK, 4, |_, request| match request.path.as_str() {
        "/bucket/a%20key" => answer("302 Found", "Location: /there\r\n", b""),
        "/there" => correct(&data(100), "\"v1\"", request),
        _ => answer("302 Found", &format!("Location: {}x\r\n", request.path), b""),
    })
    .await;
    assert_eq!(bench.object("http").range(3..50).await.unwrap().bytes, data(100)[3..50]);
    let endless = bench.remote.object(&bench.location("http").join("endless")).unwrap();
    let error = endless.range(3..50).await.unwrap_err();
    assert!(matches!(&error.cause, Cause::Protocol(reason) if reason.contains("redirect")), "{error}");
}

#[tokio::test]
async fn a_redirect_of_http_leads_to_no_other_host() {
    let bench = Bench::new(SLACK, 4, |_, request| match request.path.as_str() {
        "/there" => correct(&data(100), "\"v1\"", request),
        _ => {
            let port = request.headers.get("host").and_then(|host| host.rsplit(':').next()).unwrap_or_default();
            answer("302 Found", &format!("Location: http://localhost:{port}/there\r\n"), b"")
        }
    })
    .await;
    let error = bench.object("http").range(3..50).await.unwrap_err();
    assert!(matches!(&error.cause, Cause::Protocol(reason) if reason.contains("without encryption")), "{error}");
    assert!(bench.origin.requests().iter().all(|request| request.path != "/there"));
}

#[tokio::test]
async fn what_a_redirect_leads_to_cannot_say_that_the_object_is_absent() {
    let bench = Bench::new(SLACK, 4, |_, request| match request.path.as_str() {
        "/bucket/a%20key" => answer("302 Found", "Location: /errors\r\n", b""),
        "/moved" => answer("307 Moved", "Location: /region/moved\r\n", b""),
        _ => answer("404 Not Found", "", b"no such page"),
    })
    .await;
    let error = bench.object("http").whole(1000).await.unwrap_err();
    assert!(matches!(&error.cause, Cause::Protocol(reason) if reason.contains("/errors")), "{error}");
    let mut location = bench.location("http");
    location.url.set_path("/moved");
    // Another server for the same path speaks for the object.
    assert_eq!(bench.remote.object(&location).unwrap().whole(1000).await.unwrap_err().cause, Cause::NotFound);
}

#[tokio::test]
async fn an_empty_range_is_refused_without_a_request() {
    let (bench, object) = right("http").await;
    for answer in [object.range(5..5).await, object.start(0).await] {
        assert!(matches!(answer.unwrap_err().cause, Cause::Request(_)));
    }
    assert!(bench.origin.requests().is_empty());
}

#[tokio::test]
async fn a_connection_is_used_again_after_answers_and_errors() {
    let bench = Bench::new(SLACK, 4, |number, request| match number % 3 {
        0 => correct(&data(100), "\"v1\"", request),
        _ => {
            let head = "HTTP/1.1 404 N\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<xml>\r\n";
            let end = Act::Send(b"0\r\n\r\n".to_vec());
            vec![Act::Send(head.into()), Act::Sleep(Duration::from_millis(20)), end]
        }
    })
    .await;
    for number in 0..6 {
        assert_eq!(bench.object("s3").range(3..50).await.is_ok(), number % 2 == 0);
    }
    assert_eq!(bench.origin.connections(), 1);
}
