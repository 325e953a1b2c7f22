//! Objects whose origin sends an ETag that says nothing: the date alone tells that they were replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cache_policy::{Machine, bytes};
use super::origin::{Act, Request, answer};
use super::*;
use crate::remote::Cause;

/// ETags that are the same for every version; the last as a weak one may be.
const TAGS: [&str; 5] = ["\"\"", "W/\"\"", "", "\"null\"", "W/\"same\""];

/// Bytes of a version: no byte is that of another one, and all have one length.
fn content(version: usize) -> Vec<u8> {
    data(10_000).iter().map(|byte| byte.wrapping_add(version as u8)).collect()
}

/// An origin of the version that the counter names, which tells it by the date alone.
fn replaced(now: Arc<AtomicUsize>, etag: &'static str) -> impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static {
    move |_, request| {
        let version = now.load(Ordering::SeqCst);
        let names = format!("ETag: {etag}\r\nLast-Modified: Mon, 02 Nov 2026 08:00:0{version} GMT\r\n");
        assert!(!request.headers.contains_key("if-match"), "nothing to compare with");
        match request.range() {
            None => answer("200 OK", &names, &content(version)),
            Some((start, end)) => {
                let range = format!("{names}Content-Range: bytes {start}-{}/10000\r\n", end - 1);
                answer("206 Partial Content", &range, &content(version)[start..end])
            }
        }
    }
}

#[tokio::test]
async fn an_object_that_was_replaced_under_an_etag_that_says_nothing_is_not_mixed() {
    for (scheme, etag) in SCHEMES.into_iter().flat_map(|scheme| TAGS.map(|etag| (scheme, etag))) {
        let now = Arc::new(AtomicUsize::new(0));
        let bench = Bench::new(SLACK, 4, replaced(now.clone(), etag)).await;
        let object = bench.object(scheme);
        assert_eq!(bytes(&object, 0..100).await.unwrap(), content(0)[..100]);
        assert_eq!(bytes(&object, 100..200).await.unwrap(), content(0)[100..200]);
        now.store(1, Ordering::SeqCst);
        let read = bytes(&object, 200..300).await;
        assert!(matches!(read, Err(Cause::Changed(_))), "{scheme} {etag}: {read:?}");
    }
}

#[tokio::test]
async fn what_is_kept_of_an_object_that_was_replaced_under_an_etag_that_says_nothing_is_not_confirmed() {
    for etag in TAGS {
        let now = Arc::new(AtomicUsize::new(0));
        let machine = Machine::new(replaced(now.clone(), etag)).await;
        assert_eq!(bytes(&machine.online(), 0..100).await.unwrap(), content(0)[..100]);
        // It is kept as any other.
        assert_eq!(bytes(&machine.offline(), 0..100).await.unwrap(), content(0)[..100]);
        now.store(1, Ordering::SeqCst);
        let later = machine.revalidating();
        assert_eq!(bytes(&later, 0..100).await.unwrap(), content(1)[..100], "{etag}");
        assert_eq!(bytes(&later, 100..200).await.unwrap(), content(1)[100..200], "{etag}");
        // Beside what is believed nothing of another version is shown either.
        now.store(2, Ordering::SeqCst);
        let last = machine.online();
        let read = bytes(&last, 50..250).await;
        assert!(read.is_err() || read == Ok(content(2)[50..250].to_vec()), "{etag}: {read:?}");
    }
}
