//! What was fetched once is not fetched again, by this process or the next, as long as it is what the origin has.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::super::entry_metadata::{Absent, EntryMetadata, Present, Timestamp};
use super::origin::{Act, Origin, Request, answer, correct};
use super::*;
use crate::disk::Disk;
use crate::remote::Cause;
use crate::store::{CachePolicy, past_caches};

const URL_KEY: &str = "bucket/a key";

/// An origin, a disk, and as many processes as a test wants.
pub(super) struct Machine {
    pub(super) origin: Origin,
    _folder: tempfile::TempDir,
    pub(super) disk: Disk,
}

impl Machine {
    pub(super) async fn new(script: impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 30).unwrap();
        Machine { origin: Origin::start(script).await, _folder: folder, disk }
    }

    /// The object as a new process sees it.
    pub(super) fn process(&self, policy: impl FnOnce(&mut CachePolicy)) -> Object {
        self.object(&self.remote(SLACK, policy))
    }

    pub(super) fn object(&self, remote: &Remote) -> Object {
        let url = format!("{}/{URL_KEY}", self.origin.url());
        remote.object(&Location::parse(&url, None).unwrap()).unwrap()
    }

    /// A new process that waits so long for an answer.
    pub(super) fn remote(&self, timeout: Duration, policy: impl FnOnce(&mut CachePolicy)) -> Remote {
        self.disk.flush();
        let mut kept = CachePolicy { disk: Some(Arc::new(self.disk.clone())), ..CachePolicy::default() };
        policy(&mut kept);
        Remote::with_policy(LimitsByHost::default(), timeout, Arc::default(), kept).unwrap()
    }

    /// The object as a new process sees it that does not wait long for an answer.
    pub(super) fn impatient(&self) -> Object {
        self.object(&self.remote(TIMEOUT, |_| ()))
    }

    pub(super) fn online(&self) -> Object {
        self.process(|_| ())
    }

    pub(super) fn offline(&self) -> Object {
        self.process(|policy| policy.offline = true)
    }

    pub(super) fn revalidating(&self) -> Object {
        self.process(|policy| policy.doubted_before = Some(SystemTime::now()))
    }

    /// Ranges of the requests so far.
    pub(super) fn ranges(&self) -> Vec<Option<(usize, usize)>> {
        self.origin.requests().iter().map(Request::range).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.origin.requests().len()
    }

    fn key(&self) -> String {
        format!("{}/bucket/a%20key", self.origin.url())
    }

    pub(super) fn metadata(&self) -> Option<EntryMetadata> {
        EntryMetadata::parse(&self.disk.metadata(&self.key()).unwrap()?)
    }

    /// Makes the metadata `age` older than it is.
    pub(super) fn age(&self, age: Duration) {
        self.disk.flush();
        let metadata = self.metadata().unwrap();
        let at = serde_json::to_value(Timestamp::now()).unwrap().as_u64().unwrap() - age.as_millis() as u64;
        let at: Timestamp = serde_json::from_value(at.into()).unwrap();
        let metadata = match metadata {
            EntryMetadata::Absent(absent) => EntryMetadata::Absent(Absent { at, ..absent }),
            EntryMetadata::Present(there) => EntryMetadata::Present(Present { at, ..there }),
        };
        self.disk.set_metadata(&self.key(), metadata.write().unwrap().into());
    }
}

pub(super) const WEEK: Duration = Duration::from_secs(8 * 24 * 3600);

pub(super) async fn bytes(object: &Object, range: Range<u64>) -> Result<Vec<u8>, Cause> {
    object.range(range).await.map(|fetched| fetched.bytes.to_vec()).map_err(|error| error.cause)
}

/// Serves the version that the counter names; a changed file has another length as well where `longer`.
fn versions(now: Arc<AtomicUsize>, longer: bool) -> impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static {
    move |_, request| {
        let version = now.load(Ordering::SeqCst);
        let length = if longer { 100_000 + version } else { 100_000 };
        correct(&body(version, length), &format!("\"v{version}\""), request)
    }
}

fn body(version: usize, length: usize) -> Vec<u8> {
    data(length).iter().map(|byte| byte.wrapping_add(version as u8)).collect()
}

#[tokio::test]
async fn the_next_process_asks_for_nothing_that_is_kept() {
    let machine = Machine::new(|_, request| correct(&data(100_000), "\"v\"", request)).await;
    let first = machine.online();
    let start = first.start(64 << 10).await.unwrap();
    assert_eq!(bytes(&first, 70_000..80_000).await.unwrap(), data(100_000)[70_000..80_000]);
    assert_eq!(machine.count(), 2);
    for object in [machine.online(), machine.offline()] {
        let again = object.start(64 << 10).await.unwrap();
        assert_eq!((again.bytes, again.total, again.etag), (start.bytes.clone(), start.total, start.etag.clone()));
        assert_eq!(again.content_type, start.content_type);
        assert_eq!(bytes(&object, 70_001..79_000).await.unwrap(), data(100_000)[70_001..79_000]);
        assert!(object.has(&(70_000..80_000)) && !object.has(&(70_000..80_001)));
    }
    assert_eq!(machine.count(), 2);
}

#[tokio::test]
async fn only_what_is_missing_is_fetched_and_it_must_be_of_the_same_version() {
    let machine = Machine::new(|_, request| correct(&data(1 << 20), "\"v\"", request)).await;
    let first = machine.online();
    bytes(&first, 0..1000).await.unwrap();
    bytes(&first, 400_000..600_000).await.unwrap();
    let second = machine.online();
    assert_eq!(bytes(&second, 500..800_000).await.unwrap(), data(1 << 20)[500..800_000]);
    let mut asked = machine.ranges().split_off(2);
    asked.sort_unstable();
    assert_eq!(asked, [Some((1000, 400_000)), Some((600_000, 800_000))]);
    assert!(machine.origin.requests()[2..].iter().all(|request| request.headers["if-match"] == "\"v\""));
    assert_eq!(bytes(&machine.offline(), 0..800_000).await.unwrap(), data(1 << 20)[..800_000]);
}

#[tokio::test]
async fn offline_what_is_not_kept_fails_at_once_and_asks_nobody() {
    let machine = Machine::new(|_, request| correct(&data(1000), "\"v\"", request)).await;
    bytes(&machine.online(), 0..500).await.unwrap();
    let object = machine.offline();
    let error = object.range(400..600).await.unwrap_err();
    assert_eq!(error.cause, Cause::Offline("not in the cache".to_owned()));
    assert!(error.to_string().contains("offline"), "{error}");
    assert_eq!(bytes(&object, 0..500).await.unwrap(), data(1000)[..500]);
    assert_eq!(machine.count(), 1);
}

#[tokio::test]
async fn that_a_document_is_absent_is_kept_for_minutes() {
    let machine = Machine::new(|_, _| answer("404 Not Found", "", b"no")).await;
    for object in [machine.online(), machine.online(), machine.offline()] {
        assert_eq!(object.whole(100).await.unwrap_err().cause, Cause::NotFound);
    }
    assert_eq!(machine.count(), 2, "it was said twice");
    machine.age(Duration::from_secs(599));
    assert_eq!(machine.online().whole(100).await.unwrap_err().cause, Cause::NotFound);
    assert_eq!(machine.count(), 2);
    machine.age(Duration::from_secs(601));
    assert_eq!(machine.offline().whole(100).await.unwrap_err().cause, Cause::NotFound);
    assert_eq!(machine.count(), 2);
    assert_eq!(machine.online().whole(100).await.unwrap_err().cause, Cause::NotFound);
    assert_eq!(machine.count(), 4);
}

#[tokio::test]
async fn a_document_without_a_version_is_kept_for_a_week() {
    let machine = Machine::new(|number, _| answer("200 OK", "", format!("{{\"n\": {number}}}").as_bytes())).await;
    for object in [machine.online(), machine.online(), machine.offline()] {
        machine.disk.flush();
        assert_eq!(object.whole(100).await.unwrap().bytes, "{\"n\": 0}");
    }
    machine.age(WEEK);
    assert_eq!(machine.offline().whole(100).await.unwrap().bytes, "{\"n\": 0}");
    assert_eq!(machine.online().whole(100).await.unwrap().bytes, "{\"n\": 1}");
    assert_eq!(machine.online().whole(100).await.unwrap().bytes, "{\"n\": 1}");
    assert_eq!(machine.count(), 2);
}

#[tokio::test]
async fn ranges_without_a_version_are_not_kept() {
    let machine = Machine::new(|_, request| {
        let (start, end) = request.range().unwrap();
        let range = format!("Content-Range: bytes {start}-{}/1000\r\n", end - 1);
        answer("206 Partial Content", &range, &data(1000)[start..end])
    })
    .await;
    for expected in 1..3 {
        bytes(&machine.online(), 0..500).await.unwrap();
        assert_eq!(machine.count(), expected);
    }
}

#[tokio::test]
async fn a_compressed_document_is_kept_as_the_caller_got_it() {
    use std::io::Write;
    let plain = data(50_000).repeat(3);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    let machine =
        Machine::new(move |_, _| answer("200 OK", "Content-Encoding: gzip\r\nETag: \"z\"\r\n", &packed)).await;
    for object in [machine.online(), machine.online(), machine.offline()] {
        machine.disk.flush();
        let fetched = object.whole(1 << 20).await.unwrap();
        assert_eq!((fetched.bytes.to_vec(), fetched.total), (plain.clone(), Some(plain.len() as u64)));
    }
    assert_eq!(machine.count(), 1);
    assert!(matches!(machine.offline().whole(10).await.unwrap_err().cause, Cause::TooLong { .. }));
}

#[tokio::test]
async fn after_a_week_or_where_it_is_doubted_what_is_kept_is_confirmed_once() {
    let machine = Machine::new(|_, request| correct(&data(1000), "\"v\"", request)).await;
    bytes(&machine.online(), 0..500).await.unwrap();
    for (object, expected) in [(machine.revalidating(), 2), (machine.online(), 2)] {
        machine.disk.flush();
        for _ in 0..2 {
            assert_eq!(bytes(&object, 100..400).await.unwrap(), data(1000)[100..400]);
            assert_eq!(machine.count(), expected);
        }
    }
    machine.age(WEEK);
    let object = machine.online();
    let both = tokio::join!(bytes(&object, 0..100), bytes(&object, 100..200));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (data(1000)[..100].to_vec(), data(1000)[100..200].to_vec()));
    assert_eq!(machine.count(), 3);
    let request = machine.origin.requests().pop().unwrap();
    assert_eq!((request.range(), request.headers["if-match"].as_str()), (Some((0, 1)), "\"v\""));
}

#[tokio::test]
pub(super) async fn bytes_that_are_fetched_anyway_confirm_what_is_kept() {
    let machine = Machine::new(|_, request| correct(&data(1000), "\"v\"", request)).await;
    bytes(&machine.online(), 0..500).await.unwrap();
    let object = machine.revalidating();
    assert_eq!(bytes(&object, 0..600).await.unwrap(), data(1000)[..600]);
    assert_eq!(bytes(&object, 0..500).await.unwrap(), data(1000)[..500]);
    assert_eq!(machine.ranges(), [Some((0, 500)), Some((500, 600))]);
}

#[tokio::test]
async fn an_object_that_changed_before_anything_was_given_out_is_read_anew() {
    for longer in [false, true] {
        let now = Arc::new(AtomicUsize::new(0));
        let machine = Machine::new(versions(Arc::clone(&now), longer)).await;
        bytes(&machine.online(), 0..500).await.unwrap();
        now.store(1, Ordering::SeqCst);
        for object in [machine.online(), machine.offline()] {
            machine.disk.flush();
            assert_eq!(bytes(&object, 0..600).await.unwrap(), body(1, 1000)[..600]);
        }
        assert_eq!(machine.count(), 4, "the first, one that was refused twice, all of it again");
    }
}

#[tokio::test]
async fn an_object_that_changed_after_something_was_given_out_is_an_error() {
    let now = Arc::new(AtomicUsize::new(0));
    let machine = Machine::new(versions(Arc::clone(&now), false)).await;
    bytes(&machine.online(), 0..500).await.unwrap();
    let object = machine.online();
    assert_eq!(bytes(&object, 0..500).await.unwrap(), body(0, 500));
    now.store(1, Ordering::SeqCst);
    assert!(matches!(bytes(&object, 0..600).await, Err(Cause::Changed(_))));
    assert!(matches!(bytes(&object, 0..500).await, Err(Cause::Changed(_))), "it was dropped");
    assert!(matches!(bytes(&machine.offline(), 0..500).await, Err(Cause::Offline(_))));
    assert_eq!(bytes(&machine.online(), 0..500).await.unwrap(), body(1, 500));
}

#[tokio::test]
async fn what_another_process_kept_of_the_new_version_stays() {
    let now = Arc::new(AtomicUsize::new(0));
    let machine = Machine::new(versions(Arc::clone(&now), false)).await;
    let old = machine.online();
    bytes(&old, 0..500).await.unwrap();
    now.store(1, Ordering::SeqCst);
    bytes(&machine.revalidating(), 0..500).await.unwrap();
    machine.disk.flush();
    assert!(matches!(bytes(&old, 500..600).await, Err(Cause::Changed(_))));
    assert_eq!(bytes(&machine.offline(), 0..500).await.unwrap(), body(1, 500));
}

#[tokio::test]
async fn past_caches_the_origin_answers_and_what_it_says_is_kept() {
    let machine = Machine::new(|number, _| answer("200 OK", "", format!("{{\"n\": {number}}}").as_bytes())).await;
    let object = machine.online();
    object.whole(100).await.unwrap();
    machine.disk.flush();
    assert_eq!(past_caches(object.whole(100)).await.unwrap().bytes, "{\"n\": 1}");
    machine.disk.flush();
    assert_eq!(machine.offline().whole(100).await.unwrap().bytes, "{\"n\": 1}");
    let offline = machine.offline();
    assert!(matches!(past_caches(offline.whole(100)).await.unwrap_err().cause, Cause::Offline(_)));
    assert_eq!(offline.whole(100).await.unwrap().bytes, "{\"n\": 1}");
}

#[tokio::test]
async fn what_is_kept_is_used_where_its_origin_cannot_be_reached() {
    let machine = Machine::new(|_, request| correct(&data(1000), "\"v\"", request)).await;
    bytes(&machine.online(), 0..500).await.unwrap();
    machine.age(WEEK);
    let Machine { origin, disk, .. } = &machine;
    let policy = CachePolicy { disk: Some(Arc::new(disk.clone())), ..CachePolicy::default() };
    let remote = Remote::with_policy(LimitsByHost::default(), TIMEOUT, Arc::default(), policy).unwrap();
    let url = format!("{}/{URL_KEY}", origin.url());
    let object = remote.object(&Location::parse(&url, None).unwrap()).unwrap();
    let Machine { origin, _folder, disk } = machine;
    drop((origin, disk));
    assert_eq!(bytes(&object, 0..500).await.unwrap(), data(1000)[..500]);
    let error = object.range(400..600).await.unwrap_err();
    assert!(matches!(&error.cause, Cause::Offline(reason) if reason.contains("cannot be reached")), "{error}");
    assert_eq!(error.attempts, 0);
    assert_eq!(bytes(&object, 0..500).await.unwrap(), data(1000)[..500]);
}

#[tokio::test]
async fn credentials_and_endpoints_make_other_objects() {
    use super::super::remote::key;
    let location = Location::parse("s3://bucket/key", None).unwrap();
    let endpoint = Some(url::Url::parse("http://127.0.0.1:9000").unwrap());
    let with = crate::remote::Credentials::Env;
    let others = [
        location.clone(),
        Location { endpoint: endpoint.clone(), ..location.clone() },
        Location { credentials: with, ..location.clone() },
        Location { endpoint, credentials: with, ..location },
    ];
    let keys: std::collections::HashSet<_> = others.iter().map(key).collect();
    assert_eq!(keys.len(), others.len());
}

#[tokio::test]
async fn one_wrong_version_that_was_kept_of_a_first_answer_does_not_last_beyond_the_remount() {
    let wrong =
        ["ETag: \"other\"\r\nContent-Range: bytes 0-9/100\r\n", "ETag: \"v1\"\r\nContent-Range: bytes 0-9/7777\r\n"];
    for wrong in wrong {
        let machine = Machine::new(move |number, request| match number {
            0 => answer("206 P", wrong, &data(10)),
            _ => correct(&data(100), "\"v1\"", request),
        })
        .await;
        assert_eq!(bytes(&machine.online(), 0..10).await.unwrap(), data(10));
        let object = machine.online();
        for range in [0..10, 20..30, 0..10, 5..40] {
            assert_eq!(
                bytes(&object, range.clone()).await.unwrap(),
                data(100)[range.start as usize..range.end as usize],
                "{wrong}"
            );
        }
        assert_eq!(bytes(&machine.offline(), 20..30).await.unwrap(), data(100)[20..30]);
    }
}

#[tokio::test]
async fn bytes_that_another_process_kept_are_not_mixed_with_those_of_another_version_that_begins_alike() {
    // The two versions begin alike, as files with the same header do.
    let content = |version: u8| [data(10), vec![version; 90]].concat();
    let now = Arc::new(AtomicUsize::new(1));
    let version = now.clone();
    let machine = Machine::new(move |_, request| {
        let version = version.load(Ordering::SeqCst);
        correct(&content(version as u8), &format!("\"v{version}\""), request)
    })
    .await;
    for parts in [false, true] {
        now.store(1, Ordering::SeqCst);
        machine.disk.forget(&machine.key());
        let (first, other) = (machine.online(), machine.online());
        assert_eq!(bytes(&first, 0..10).await.unwrap(), data(10));
        assert_eq!(bytes(&other, 20..30).await.unwrap(), [1; 10]);
        machine.disk.flush();
        // The first one reads of the disk what it did not fetch, alone or as a part.
        if !parts {
            let before = machine.count();
            assert_eq!(bytes(&first, 20..30).await.unwrap(), [1; 10]);
            assert_eq!(machine.count(), before);
        }
        now.store(2, Ordering::SeqCst);
        let answer = bytes(&first, 20..40).await;
        assert!(matches!(answer, Err(Cause::Changed(_))), "{answer:?}");
    }
}

#[test]
fn what_gives_access_is_in_no_name_under_which_something_is_kept() {
    use super::super::remote::key;
    let of = |address: &str| key(&Location::parse(address, None).unwrap());
    assert_eq!(of("https://h/a?page=1"), "https://h/a?page=1");
    let [one, other] = ["https://h/a?code=first&sv=2024", "https://h/a?code=second&sv=2024"].map(of);
    assert!(one != other && one == of("https://h/a?code=first&sv=2024"), "objects are told apart as before");
    for part in ["first", "2024"] {
        assert!(one.starts_with("https://h/a?code=…") && !one.contains(part), "{one}");
    }
}
