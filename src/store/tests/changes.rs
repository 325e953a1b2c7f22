//! One object of a source that changed puts all others of it in doubt, for this process and later ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cache_policy::{Machine, bytes};
use super::origin::{Request, correct};
use super::*;
use crate::remote::Cause;

/// What an object is in a version: no byte of it is that of another one.
fn content(path: &str, version: usize) -> Vec<u8> {
    path.repeat(20).bytes().map(|byte| byte + version as u8).collect()
}

/// An origin of many objects, all in the version that the counter names.
async fn machine(now: &Arc<AtomicUsize>) -> Machine {
    let now = now.clone();
    Machine::new(move |_, request: &Request| {
        let version = now.load(Ordering::SeqCst);
        let path = request.path.trim_start_matches('/').to_owned();
        correct(&content(&path, version), &format!("\"{version}\""), request)
    })
    .await
}

struct Source<'a> {
    machine: &'a Machine,
    remote: Remote,
}

impl<'a> Source<'a> {
    /// As a new process sees the source.
    fn new(machine: &'a Machine, name: &str) -> Self {
        Source { machine, remote: machine.remote(SLACK, |_| ()).of_source(name) }
    }

    fn object(&self, path: &str) -> Object {
        let url = format!("{}/{path}", self.machine.origin.url());
        self.remote.object(&Location::parse(&url, None).unwrap()).unwrap()
    }

    /// The version of an object, whose bytes are of one.
    async fn version(&self, path: &str) -> Result<usize, Cause> {
        let length = content(path, 0).len() as u64;
        let read = bytes(&self.object(path), 0..length).await?;
        Ok((0..3).find(|version| content(path, *version) == read).expect("bytes of no version"))
    }
}

/// Files of a folder, and chunks of a store in folders of their own.
const KINDS: [[&str; 3]; 2] =
    [["f/s_01.tif", "f/s_02.tif", "f/s_03.tif"], ["v.zarr/0/0/0", "v.zarr/0/0/1", "v.zarr/1/7/7"]];

#[tokio::test]
async fn after_a_change_was_found_a_later_process_believes_nothing_of_that_source_without_asking() {
    for [changed, other, third] in KINDS {
        let now = Arc::new(AtomicUsize::new(0));
        let machine = machine(&now).await;
        let first = Source::new(&machine, "a");
        for path in [other, third] {
            assert_eq!(first.version(path).await, Ok(0));
        }
        let held = first.object(changed);
        bytes(&held, 0..10).await.unwrap();
        now.store(1, Ordering::SeqCst);
        assert!(matches!(bytes(&held, 10..20).await, Err(Cause::Changed(_))));
        let later = Source::new(&machine, "a");
        for path in [changed, other, third] {
            assert_eq!(later.version(path).await, Ok(1), "{path}");
        }
        // What was asked for since then is believed again.
        machine.disk.flush();
        let asked = machine.count();
        let last = Source::new(&machine, "a");
        for path in [changed, other, third] {
            assert_eq!(last.version(path).await, Ok(1), "{path}");
        }
        assert_eq!(machine.count(), asked);
    }
}

#[tokio::test]
async fn what_did_not_change_is_confirmed_once_and_not_fetched_again() {
    let now = Arc::new(AtomicUsize::new(0));
    let replaced = now.clone();
    let machine = Machine::new(move |_, request: &Request| {
        let version = if request.path.ends_with("changed") { replaced.load(Ordering::SeqCst) } else { 0 };
        let path = request.path.trim_start_matches('/').to_owned();
        correct(&content(&path, version), &format!("\"{version}\""), request)
    })
    .await;
    let first = Source::new(&machine, "a");
    assert_eq!(first.version("f/same").await, Ok(0));
    let held = first.object("f/changed");
    bytes(&held, 0..10).await.unwrap();
    now.store(1, Ordering::SeqCst);
    assert!(matches!(bytes(&held, 0..100).await, Err(Cause::Changed(_))));
    for expected in [1, 1] {
        machine.disk.flush();
        let asked = machine.count();
        let later = Source::new(&machine, "a");
        for _ in 0..3 {
            assert_eq!(later.version("f/same").await, Ok(0));
        }
        let ranges = machine.ranges().split_off(asked);
        assert!(ranges.len() <= expected && ranges.iter().all(|range| *range == Some((0, 1))), "{ranges:?}");
    }
}

#[tokio::test]
async fn in_the_process_that_found_the_change_what_is_kept_of_the_others_is_not_shown_beside_the_new() {
    let now = Arc::new(AtomicUsize::new(0));
    let machine = machine(&now).await;
    let source = Source::new(&machine, "a");
    let (shown, changed) = (source.object("f/1"), source.object("f/2"));
    assert!(bytes(&shown, 0..10).await.is_ok() && bytes(&changed, 0..10).await.is_ok());
    now.store(1, Ordering::SeqCst);
    machine.disk.flush();
    assert!(bytes(&shown, 0..10).await.is_ok(), "nobody knows of it yet");
    assert!(matches!(bytes(&changed, 10..20).await, Err(Cause::Changed(_))));
    assert!(matches!(bytes(&shown, 0..10).await, Err(Cause::Changed(_))));
}

#[tokio::test]
async fn a_change_that_is_found_before_anything_was_shown_counts_as_well_and_other_sources_are_believed() {
    let now = Arc::new(AtomicUsize::new(0));
    let machine = machine(&now).await;
    for path in ["f/1", "f/2"] {
        assert_eq!(Source::new(&machine, "a").version(path).await, Ok(0));
    }
    assert_eq!(Source::new(&machine, "b").version("g/1").await, Ok(0));
    now.store(1, Ordering::SeqCst);
    let revalidating = machine.remote(SLACK, |policy| policy.doubted_before = Some(std::time::SystemTime::now()));
    let source = Source { machine: &machine, remote: revalidating.of_source("a") };
    assert_eq!(source.version("f/1").await, Ok(1));
    machine.disk.flush();
    assert_eq!(Source::new(&machine, "a").version("f/2").await, Ok(1));
    assert_eq!(Source::new(&machine, "b").version("g/1").await, Ok(0));
}
