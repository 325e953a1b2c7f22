//! What is kept, where the disk or the origin makes trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::cache_entry::CacheEntry;
use super::super::entry_metadata::{Absent, EntryMetadata, Present, Timestamp};
use super::cache_policy::{Machine, WEEK, bytes};
use super::origin::{Act, answer, correct};
use super::*;
use crate::remote::Cause;
use crate::remote::RangeRequest;
use crate::remote::{ObjectVersion, Pin};
use crate::store::{CachePolicy, past_caches};

#[tokio::test]
async fn metadata_that_was_lost_is_written_again_with_the_next_bytes() {
    let machine = Machine::new(|_, request| correct(&data(1000), "\"v\"", request)).await;
    let object = machine.online();
    bytes(&object, 0..500).await.unwrap();
    machine.disk.clear().unwrap();
    bytes(&object, 500..1000).await.unwrap();
    assert_eq!(bytes(&machine.offline(), 500..1000).await.unwrap(), data(1000)[500..]);
    assert_eq!(machine.count(), 2);
}

#[tokio::test]
async fn a_disk_that_cannot_tell_what_is_kept_is_asked_again() {
    let machine = Machine::new(|_, request| correct(&data(1000), "\"v\"", request)).await;
    bytes(&machine.online(), 0..500).await.unwrap();
    let object = machine.online();
    let locked = crate::disk::locked(machine.disk.folder());
    assert!(!object.has(&(0..500)));
    drop(locked);
    assert!(object.has(&(0..500)));
    assert_eq!(bytes(&object, 0..500).await.unwrap(), data(1000)[..500]);
    assert_eq!(machine.count(), 1);
}

#[tokio::test]
async fn what_is_kept_of_an_object_that_is_gone_is_still_read_unless_it_is_doubted() {
    let gone = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&gone);
    let machine = Machine::new(move |_, request| match now.load(Ordering::SeqCst) {
        0 => correct(&data(1 << 20), "\"v\"", request),
        _ => answer("404 Not Found", "", b"no"),
    })
    .await;
    let first = machine.online();
    bytes(&first, 0..500).await.unwrap();
    gone.store(1, Ordering::SeqCst);
    assert_eq!(bytes(&first, 500..600).await, Err(Cause::Gone(404)));
    assert_eq!(bytes(&first, 0..500).await.unwrap(), data(1 << 20)[..500]);
    for (range, asked) in [(0..500, 0..500), (0..500, 400..600), (0..1 << 20, 0..1 << 20)] {
        gone.store(0, Ordering::SeqCst);
        machine.disk.clear().unwrap();
        bytes(&machine.online(), range).await.unwrap();
        gone.store(1, Ordering::SeqCst);
        assert_eq!(bytes(&machine.revalidating(), asked).await, Err(Cause::Gone(404)));
        machine.age(WEEK);
        for object in [machine.online(), machine.offline()] {
            assert_eq!(bytes(&object, 0..500).await.unwrap(), data(1 << 20)[..500]);
        }
    }
    gone.store(0, Ordering::SeqCst);
    assert_eq!(bytes(&machine.online(), 600_000..600_100).await.unwrap(), data(1 << 20)[600_000..600_100]);
}

#[tokio::test]
async fn an_absence_that_was_asked_for_before_the_object_came_is_not_kept() {
    let machine = Machine::new(|_, _| vec![Act::Close]).await;
    let policy = CachePolicy { disk: Some(Arc::new(machine.disk.clone())), ..CachePolicy::default() };
    let (kept, pin) = (CacheEntry::new(Arc::new(machine.disk.clone()), "o".to_owned(), policy, None), Pin::default());
    let known = kept.known(&pin);
    let version = ObjectVersion { etag: Some("\"v\"".to_owned()), last_modified: None, total: Some(5) };
    pin.settle(version, &RangeRequest::Whole(5), b"bytes").unwrap();
    let absent = Absent { at: Timestamp::now(), document: None };
    assert!(matches!(kept.store_negative(&pin, &known, absent), Err(Cause::Changed(_))));
    assert_eq!(machine.disk.metadata("o").unwrap(), None);
    pin.reset();
    kept.store_negative(&pin, &known, absent).unwrap();
    assert!(machine.disk.metadata("o").unwrap().is_some());
}

#[tokio::test]
async fn unversioned_bodies_of_the_same_moment_have_names_of_their_own() {
    let machine = Machine::new(|number, _| answer("200 OK", "", format!("{{\"n\": {number}}}").as_bytes())).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        machine.revalidating().whole(100).await.unwrap();
        machine.disk.flush();
        let Some(EntryMetadata::Present(Present { body: Some(body), .. })) = machine.metadata() else {
            panic!("no body is kept")
        };
        names.push(body.id.rsplit(' ').next().unwrap().to_owned());
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn an_origin_that_is_too_busy_to_confirm_what_is_kept_is_asked_once_and_does_not_take_it_away() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let machine = Machine::new(move |number, request| match number {
            0 => correct(&data(1 << 20), "\"v\"", request),
            _ => answer(status, "", b""),
        })
        .await;
        machine.online().whole(1 << 20).await.unwrap();
        machine.age(WEEK);
        let object = machine.impatient();
        assert_eq!(bytes(&object, 0..500).await.unwrap(), data(1 << 20)[..500]);
        let asked = machine.count();
        assert!(asked > 1);
        assert_eq!(bytes(&object, 100..700).await.unwrap(), data(1 << 20)[100..700]);
        assert_eq!(object.whole(1 << 20).await.unwrap().bytes, data(1 << 20));
        assert_eq!(machine.count(), asked);
    }
}

#[tokio::test]
async fn nobody_waits_for_another_who_tries_a_host_out_of_reach() {
    let machine = Machine::new(|number, request| match number {
        0 => correct(&data(1000), "\"v\"", request),
        _ => vec![Act::Hang],
    })
    .await;
    bytes(&machine.online(), 0..1000).await.unwrap();
    machine.age(WEEK);
    let remote = machine.remote(TIMEOUT * 4, |_| ());
    let at =
        |key: &str| remote.object(&Location::parse(&format!("{}/bucket/{key}", machine.origin.url()), None).unwrap());
    assert!(matches!(bytes(&at("another").unwrap(), 0..1).await, Err(Cause::Timeout { .. })));
    let object = at("a key").unwrap();
    let (asked, mut trial) = (machine.count(), Box::pin(bytes(&object, 0..500)));
    // As soon as it may, it tries; before, it does without.
    while machine.count() == asked {
        tokio::select! {
            done = &mut trial => {
                done.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
                trial = Box::pin(bytes(&object, 0..500));
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
    tokio::select! {
        biased;
        _ = trial => panic!("the other one had to wait"),
        done = bytes(&object, 500..1000) => assert_eq!(done.unwrap(), data(1000)[500..]),
    }
}

#[tokio::test]
async fn bytes_that_make_no_sense_are_fetched_again_and_the_others_stay() {
    let machine = Machine::new(|_, request| correct(&data(4000), "\"v\"", request)).await;
    let object = machine.online();
    for start in [0, 1000, 2000, 3000] {
        bytes(&object, start..start + 1000).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(past_caches(bytes(&object, 1000..2000)).await.unwrap(), data(4000)[1000..2000]);
        machine.disk.flush();
        assert_eq!(bytes(&object, 0..4000).await.unwrap(), data(4000));
    }
    assert_eq!(machine.ranges().split_off(4), [Some((1000, 2000)), Some((1000, 2000))]);
}
