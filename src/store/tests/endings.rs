//! Every operation ends, whatever the origin does not do.

use std::time::Instant;

use futures::future::join_all;

use super::origin::{answer, correct};
use super::*;
use crate::remote::Cause;

fn head(length: usize) -> Act {
    let head =
        format!("HTTP/1.1 206 P\r\nContent-Range: bytes 0-{}/{length}\r\nContent-Length: {length}\r\n\r\n", length - 1);
    Act::Send(head.into_bytes())
}

/// One KiB per second, in pieces.
fn drip() -> Vec<Act> {
    let mut acts = vec![head(10_000)];
    for _ in 0..100 {
        acts.extend([Act::Send(vec![0; 102]), Act::Sleep(Duration::from_millis(100))]);
    }
    acts
}

#[tokio::test]
async fn an_origin_without_progress_fails_within_the_timeout() {
    let cases = [
        vec![Act::Hang],
        vec![Act::Send(b"HTTP/1.1 206 Part".to_vec()), Act::Hang],
        vec![head(10_000), Act::Hang],
        vec![head(10_000), Act::Send(data(9_999)), Act::Hang],
        drip(),
    ];
    let mut benches = Vec::new();
    for acts in cases {
        for scheme in SCHEMES {
            let acts = acts.clone();
            benches.push((scheme, Bench::racing(TIMEOUT, 4, move |_, _| acts.clone()).await));
        }
    }
    let checks = benches.iter().map(|(scheme, bench)| async move {
        let start = Instant::now();
        let error = bench.object(scheme).range(0..10_000).await.unwrap_err();
        assert!(start.elapsed() >= TIMEOUT);
        // The bytes before a stall are progress, those of its races too.
        assert!(start.elapsed() < TIMEOUT * 3 + SLACK);
        assert_eq!(error.cause, Cause::timeout(2), "{error}");
        assert_eq!(bench.counters().in_flight, 0);
    });
    join_all(checks).await;
}

#[tokio::test]
async fn a_slow_origin_that_makes_progress_is_waited_for() {
    let timeout = Duration::from_millis(1200);
    let bench = Bench::new(timeout, 4, |_, _| {
        let mut acts = vec![head(40_000)];
        for piece in data(40_000).chunks(2000) {
            acts.extend([Act::Send(piece.to_vec()), Act::Sleep(Duration::from_millis(150))]);
        }
        acts
    })
    .await;
    let start = Instant::now();
    assert_eq!(bench.object("http").range(0..40_000).await.unwrap().bytes, data(40_000));
    assert!(start.elapsed() > timeout * 2);
    assert_eq!(bench.counters().requests, 1);
}

#[tokio::test]
async fn an_origin_that_is_down_fails_within_the_timeout_and_recovers_without_a_new_handle() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let remote = Remote::new(LimitsByHost::default(), TIMEOUT, Arc::default()).unwrap();
    let object = remote.object(&Location::parse(&format!("http://{address}/x"), None).unwrap()).unwrap();
    let start = Instant::now();
    let error = object.range(0..5).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Connection(_)) && error.attempts >= 2, "{error}");
    assert!(start.elapsed() < TIMEOUT + SLACK);

    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let origin = Origin::on(listener, |_, request| correct(&data(10), "\"v1\"", request));
    // A host that cannot be reached is tried again after a moment.
    let recovered = loop {
        match object.range(0..5).await {
            Ok(fetched) => break fetched,
            Err(error) => assert!(matches!(error.cause, Cause::Offline(_)), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(start.elapsed() < TIMEOUT + 2 * SLACK);
    };
    assert_eq!(recovered.bytes, data(5));
    drop(origin);
}

#[tokio::test]
async fn busy_origins_are_asked_again_later() {
    for status in ["429 Too Many", "500 E", "502 E", "503 E", "504 E", "408 Timeout"] {
        let bench = Bench::new(SLACK, 4, move |number, request| match number {
            0 => answer(status, "Content-Type: text/html\r\n", b"<html>busy</html>"),
            _ => correct(&data(100), "\"v1\"", request),
        })
        .await;
        assert_eq!(bench.object("s3").range(3..50).await.unwrap().bytes, data(100)[3..50]);
        assert_eq!((bench.counters().requests, bench.counters().retries), (2, 1));
    }
}

#[tokio::test]
async fn retry_after_is_waited_for_by_all_requests_to_the_host() {
    let bench = Bench::new(Duration::from_secs(20), 4, |number, request| match number {
        0 => answer("429 Too Many", "Retry-After: 1\r\n", b""),
        _ => correct(&data(100), "\"v1\"", request),
    })
    .await;
    let (first, second) = (bench.object("http"), bench.object("gs"));
    let start = Instant::now();
    let other = async {
        while bench.counters().bytes == 0 && bench.counters().in_flight == 0 && bench.counters().requests == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        second.range(0..5).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1));
    };
    let (fetched, ()) = tokio::join!(first.range(0..5), other);
    assert_eq!(fetched.unwrap().bytes, data(5));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(bench.counters().requests, 3);
}

#[tokio::test]
async fn a_pause_that_outlasts_the_operation_ends_it_at_once() {
    let bench = Bench::new(Duration::from_secs(30), 4, |_, _| {
        answer("503 Busy", "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n", b"")
    })
    .await;
    let start = Instant::now();
    let object = bench.object("http");
    let error = object.range(0..5).await.unwrap_err();
    assert_eq!((error.cause, error.attempts), (Cause::Status(503), 1));
    // Another operation would have to wait too long as well, and does not bother the host.
    assert_eq!(object.whole(5).await.unwrap_err().cause, Cause::Status(503));
    assert_eq!(bench.origin.requests().len(), 1);
    assert!(start.elapsed() < SLACK);
}
