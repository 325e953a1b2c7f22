//! Stalled requests, limits and operations that are given up.

use futures::future::join_all;

use super::origin::{answer, correct};
use super::*;
use crate::remote::Cause;

const LONG: Duration = Duration::from_secs(30);

fn stalling(
    stalls: impl Fn(usize) -> Option<Vec<Act>> + Send + Sync + 'static,
) -> impl Fn(usize, &Request) -> Vec<Act> {
    move |number, request| stalls(number).unwrap_or_else(|| correct(&data(10_000), "\"v1\"", request))
}

#[tokio::test]
async fn a_stalled_request_is_hedged_by_a_second_one() {
    let head = "HTTP/1.1 206 P\r\nETag: \"v1\"\r\nContent-Range: bytes 10-5009/10000\r\nContent-Length: 5000\r\n\r\n";
    let middle = [head.as_bytes(), &data(10_000)[10..2000]].concat();
    for stall in [vec![Act::Hang], vec![Act::Send(middle), Act::Hang]] {
        for scheme in SCHEMES {
            let stall = stall.clone();
            let bench = Bench::racing(LONG, 4, stalling(move |number| (number == 0).then(|| stall.clone()))).await;
            assert_eq!(bench.object(scheme).range(10..5010).await.unwrap().bytes, data(10_000)[10..5010]);
            let counters = bench.counters();
            assert_eq!((counters.requests, counters.hedges, counters.retries), (2, 1, 0));
            assert_eq!((counters.in_flight, counters.failures), (0, 0));
        }
    }
}

#[tokio::test]
async fn the_first_of_a_race_may_win() {
    let bench = Bench::racing(LONG, 4, |number, request| match number {
        0 => [vec![Act::Sleep(STALL * 3 / 4)], correct(&data(100), "\"v1\"", request)].concat(),
        _ => vec![Act::Hang],
    })
    .await;
    assert_eq!(bench.object("http").range(0..50).await.unwrap().bytes, data(50));
    assert!(bench.counters().hedges > 0);
    assert_eq!(bench.counters().in_flight, 0);
}

#[tokio::test]
async fn a_race_goes_on_when_one_of_two_breaks() {
    let bench = Bench::racing(LONG, 4, |number, request| match number {
        0 => [vec![Act::Sleep(STALL * 3)], correct(&data(100), "\"v1\"", request)].concat(),
        _ => answer("503 Busy", "", b""),
    })
    .await;
    assert_eq!(bench.object("http").range(0..50).await.unwrap().bytes, data(50));
}

#[tokio::test]
async fn requests_that_stall_again_and_again_are_replaced() {
    let bench = Bench::racing(LONG, 4, stalling(|number| (number < 4).then(|| vec![Act::Hang]))).await;
    assert_eq!(bench.object("http").range(10..50).await.unwrap().bytes, data(10_000)[10..50]);
    let counters = bench.counters();
    assert_eq!((counters.requests, counters.hedges, counters.retries, counters.in_flight), (5, 3, 1, 0));
}

#[tokio::test]
async fn a_stalled_request_is_given_up_where_no_second_permit_is_free() {
    let bench = Bench::racing(LONG, 1, stalling(|number| (number == 0).then(|| vec![Act::Hang]))).await;
    assert_eq!(bench.object("http").range(10..50).await.unwrap().bytes, data(10_000)[10..50]);
    let counters = bench.counters();
    assert_eq!((counters.requests, counters.hedges, counters.retries), (2, 0, 1));
}

#[tokio::test]
async fn there_are_never_more_requests_than_connections_even_when_some_hang() {
    let seen = Arc::<std::sync::Mutex<Vec<u64>>>::default();
    let stats = Arc::<std::sync::Mutex<Option<Arc<Stats>>>>::default();
    let (noted, known) = (Arc::clone(&seen), Arc::clone(&stats));
    let bench = Bench::racing(LONG, 3, move |number, request| {
        let stats = known.lock().unwrap().clone().unwrap();
        noted.lock().unwrap().extend(stats.snapshot().hosts.values().map(|host| host.in_flight));
        match number % 7 {
            3 => vec![Act::Hang],
            _ => [vec![Act::Sleep(Duration::from_millis(10))], correct(&data(10_000), "\"v1\"", request)].concat(),
        }
    })
    .await;
    *stats.lock().unwrap() = Some(Arc::clone(&bench.stats));
    let object = bench.object("http");
    let reads = (0..40u64).map(|number| {
        let object = object.clone();
        async move {
            let range = number * 100..number * 100 + 50;
            let bytes = object.range(range.clone()).await.unwrap().bytes;
            assert_eq!(bytes, data(10_000)[range.start as usize..range.end as usize]);
        }
    });
    join_all(reads).await;
    let most = seen.lock().unwrap().iter().copied().max().unwrap();
    assert_eq!(most, 3);
    assert_eq!(bench.counters().in_flight, 0);
}

#[tokio::test]
async fn a_rate_holds_for_all_operations_together() {
    let origin = Origin::start(|_, request| correct(&data(100), "\"v1\"", request)).await;
    let limits = HostLimits { rate: Some(20.0), ..HostLimits::default() };
    let limits = LimitsByHost { hosts: [("127.0.0.1".to_owned(), limits)].into() };
    let remote = Remote::new(limits, TIMEOUT, Arc::default()).unwrap();
    let start = std::time::Instant::now();
    let object = remote.object(&Location::parse(&format!("{}/x", origin.url()), None).unwrap()).unwrap();
    for read in join_all((0..9).map(|_| object.range(0..5))).await {
        read.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(399));
}

#[tokio::test]
async fn an_operation_that_is_given_up_frees_its_permit() {
    let bench = Bench::racing(LONG, 1, stalling(|number| (number == 0).then(|| vec![Act::Hang]))).await;
    let object = bench.object("http");
    let given_up = tokio::time::timeout(STALL / 2, object.range(0..5)).await;
    assert!(given_up.is_err());
    assert_eq!(bench.counters().in_flight, 0);
    assert_eq!(object.range(0..5).await.unwrap().bytes, data(5));
}

#[tokio::test]
async fn waiting_in_the_queue_of_a_busy_host_is_no_failure() {
    let timeout = Duration::from_millis(700);
    let bench = Bench::new(timeout, 1, |_, request| {
        [vec![Act::Sleep(Duration::from_millis(150))], correct(&data(100), "\"v1\"", request)].concat()
    })
    .await;
    let object = bench.object("http");
    for read in join_all((0..15).map(|_| object.range(0..5))).await {
        read.unwrap();
    }
}

/// The head of the right answer to `request` and so many bytes of its body.
fn part_of_answer(request: &Request, bytes: usize) -> Vec<u8> {
    let (start, end) = request.range().unwrap();
    let (first, length) = (start, end - start);
    let head = format!(
        "HTTP/1.1 206 P\r\nETag: \"v1\"\r\nContent-Range: bytes {first}-{}/1000000\r\nContent-Length: {length}\r\n\r\n",
        end - 1
    );
    [head.as_bytes(), &data(1_000_000)[start..start + bytes.min(length)]].concat()
}

#[tokio::test]
async fn a_connection_that_drips_is_hedged_like_a_silent_one() {
    for bytes in [1, 20] {
        let drip = move |request: &Request| {
            let body = &data(1_000_000)[request.range().unwrap().0..];
            let pieces = body[..2000].chunks(bytes).map(<[u8]>::to_vec);
            let acts = pieces.flat_map(|piece| [Act::Send(piece), Act::Sleep(Duration::from_millis(10))]);
            [Act::Send(part_of_answer(request, 0))].into_iter().chain(acts).collect::<Vec<_>>()
        };
        for connections in [1, 4] {
            let bench = Bench::racing(LONG, connections, move |number, request| match number {
                0 => drip(request),
                _ => correct(&data(1_000_000), "\"v1\"", request),
            })
            .await;
            let began = std::time::Instant::now();
            assert_eq!(bench.object("http").range(10..900_010).await.unwrap().bytes, data(1_000_000)[10..900_010]);
            assert!(began.elapsed() < SLACK);
            let counters = bench.counters();
            let others = (counters.hedges, counters.retries);
            assert_eq!((counters.requests, others), (2, if connections == 1 { (0, 1) } else { (1, 0) }));
        }
    }
}

#[tokio::test]
async fn bytes_that_come_again_do_not_put_the_end_off() {
    let timeout = Duration::from_secs(3);
    for connections in [1, 4] {
        let bench = Bench::racing(timeout, connections, |_, request| {
            vec![Act::Send(part_of_answer(request, 450_000)), Act::Hang]
        })
        .await;
        let began = std::time::Instant::now();
        let error = bench.object("http").range(10..900_010).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Timeout { seconds: 3, .. }), "{error}");
        assert!(began.elapsed() < timeout + SLACK, "{:?}", began.elapsed());
        assert!(bench.counters().requests > 2);
    }
}

#[tokio::test]
async fn nothing_is_sent_when_the_time_is_as_good_as_over() {
    let timeout = Duration::from_secs(4);
    let seen = Arc::<std::sync::Mutex<Vec<std::time::Instant>>>::default();
    let noted = Arc::clone(&seen);
    let bench = Bench::racing(timeout, 16, move |_, _| {
        noted.lock().unwrap().push(std::time::Instant::now());
        vec![Act::Hang]
    })
    .await;
    let began = std::time::Instant::now();
    let object = bench.object("http");
    for read in join_all((0..64).map(|number| object.range(number..number + 1))).await {
        assert!(matches!(read.unwrap_err().cause, Cause::Timeout { seconds: 4, .. }));
    }
    assert!(began.elapsed() < timeout + SLACK, "{:?}", began.elapsed());
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|sent| *sent < began + timeout * 3 / 4 + Duration::from_millis(100)));
}

#[tokio::test]
async fn a_slow_origin_that_sends_all_over_again_has_the_time_for_it() {
    // Zeros are asked for twice, and each time they take longer than the timeout.
    let bench = Bench::new(Duration::from_secs(2), 4, |_, _| {
        let head =
            "HTTP/1.1 206 P\r\nETag: \"v1\"\r\nContent-Range: bytes 0-59999/60000\r\nContent-Length: 60000\r\n\r\n";
        let pieces = (0..6).flat_map(|_| [Act::Sleep(Duration::from_millis(500)), Act::Send(vec![0; 10_000])]);
        [Act::Send(head.into())].into_iter().chain(pieces).collect()
    })
    .await;
    assert_eq!(bench.object("http").range(0..60_000).await.unwrap().bytes, vec![0; 60_000]);
}
