//! That a store lacks an object is believed when it is said twice and the store's document bears it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::cache_policy::Machine;
use super::origin::{Act, Origin, Request, answer, correct};
use super::*;
use crate::disk::Disk;
use crate::remote::Cause;
use crate::source::SourceError;
use crate::store::{CachePolicy, Witness, healed, healed_apart, past_caches};

const DOCUMENT: &[u8] = b"{\"shape\": [1]}";

/// How the origin is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// It has the document, and lacks the chunks.
    Well = 0,
    /// It has both.
    Full,
    /// It lacks everything.
    Gone,
    /// It has another document.
    Other,
    /// It says "denied" of what it lacks.
    Denies,
    /// It says "denied" of chunks alone.
    DeniesChunks,
    /// It says "denied" of everything.
    Locked,
}

use Weather::*;

fn at(number: usize) -> Weather {
    [Well, Full, Gone, Other, Denies, DeniesChunks, Locked][number]
}

fn respond(weather: Weather, request: &Request) -> Vec<Act> {
    let is_document = request.path.ends_with("/s/.zarray");
    match (weather, is_document) {
        (Well | Full | Denies | DeniesChunks, true) => correct(DOCUMENT, "\"d\"", request),
        (Other, true) => correct(b"{\"shape\": [2]}", "\"e\"", request),
        (Full, false) => correct(b"voxels", "\"c\"", request),
        (Well | Denies, false) if request.path.ends_with("/there") => correct(b"others", "\"t\"", request),
        (DeniesChunks, false) if request.path.contains("emfs") => answer("404 Not Found", "", b""),
        (Denies | DeniesChunks, false) | (Locked, _) => answer("403 Forbidden", "", b"<Error/>"),
        (Well | Other, false) | (Gone, _) => answer("404 Not Found", "", b"no"),
    }
}

/// A store at an origin, and a disk.
struct Store {
    origin: Origin,
    weather: Arc<AtomicUsize>,
    folder: tempfile::TempDir,
    stats: Arc<Stats>,
}

impl Store {
    async fn new(weather: Weather) -> Self {
        let weather = Arc::new(AtomicUsize::new(weather as usize));
        let now = weather.clone();
        let origin = Origin::start(move |_, request| respond(at(now.load(Ordering::SeqCst)), request)).await;
        Store { origin, weather, folder: tempfile::tempdir().unwrap(), stats: Arc::default() }
    }

    fn becomes(&self, weather: Weather) {
        self.weather.store(weather as usize, Ordering::SeqCst);
    }

    /// The store as a new process sees it, which read the document before.
    async fn process(&self, change: impl FnOnce(&mut CachePolicy)) -> (Remote, Witness) {
        let disk = Disk::open(self.folder.path(), 1 << 30).unwrap();
        let mut policy = CachePolicy { disk: Some(Arc::new(disk)), ..CachePolicy::default() };
        change(&mut policy);
        let remote = Remote::with_policy(LimitsByHost::default(), SLACK, self.stats.clone(), policy).unwrap();
        let witness = Witness::new(&remote, &self.location(".zarray"), 1000, DOCUMENT).await;
        (remote, witness)
    }

    fn location(&self, key: &str) -> Location {
        Location::parse(&format!("{}/s/{key}", self.origin.url()), None).unwrap()
    }

    /// How often each was asked for: chunks and the document.
    fn asked(&self) -> (usize, usize) {
        let requests = self.origin.requests();
        let documents = requests.iter().filter(|request| request.path.ends_with("/s/.zarray")).count();
        let probes = requests.iter().filter(|request| request.path.contains("emfs-no-such-object")).count();
        (requests.len() - documents - probes, documents)
    }

    async fn chunk(&self, (remote, witness): &(Remote, Witness), key: &str) -> Result<Option<Vec<u8>>, Cause> {
        let object = remote.object(&self.location(key)).unwrap();
        let fetched = object.whole_if_there(100, witness).await.map_err(|error| error.cause)?;
        Ok(fetched.map(|fetched| fetched.bytes.to_vec()))
    }
}

#[tokio::test]
async fn an_absent_object_costs_two_requests_and_its_document_one_a_minute() {
    let store = Store::new(Well).await;
    let process = store.process(|_| ()).await;
    for number in 0..20 {
        assert_eq!(store.chunk(&process, &number.to_string()).await, Ok(None));
    }
    assert_eq!(store.asked(), (40, 1));
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    assert_eq!(store.asked(), (40, 1), "it is remembered");
}

#[tokio::test]
async fn what_bears_an_absence_out_is_asked_for_past_every_proxy() {
    let store = Store::new(Denies).await;
    let process = store.process(|_| ()).await;
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    let requests = store.origin.requests();
    let is_past = |request: &&Request| request.headers.get("cache-control").is_some_and(|value| value == "no-cache");
    let (past, others): (Vec<_>, Vec<_>) = requests.iter().partition(is_past);
    // The chunk, which is asked for again that way.
    assert!(others.len() == 1 && others[0].path.ends_with("/0"), "{others:?}");
    assert!(past.iter().any(|request| request.path.ends_with("/s/.zarray")), "{past:?}");
}

#[tokio::test]
async fn what_is_said_once_is_no_absence_where_no_time_is_left_to_ask_again() {
    for status in ["404 Not Found", "403 Forbidden"] {
        let origin = Origin::start(move |number, request| match number {
            _ if request.path.ends_with("/.zarray") => correct(DOCUMENT, "\"d\"", request),
            0 => answer("503 Busy", "", b""),
            1 => [vec![Act::Sleep(Duration::from_millis(700))], answer(status, "", b"")].concat(),
            _ => answer("403 Forbidden", "", b""),
        })
        .await;
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(1), Arc::default()).unwrap();
        let location = |key: &str| Location::parse(&format!("{}/s/{key}", origin.url()), None).unwrap();
        let witness = Witness::new(&remote, &location(".zarray"), 1000, DOCUMENT).await;
        let answer = remote.object(&location("0")).unwrap().whole_if_there(100, &witness).await;
        assert!(matches!(&answer, Err(error) if matches!(error.cause, Cause::Timeout { .. })), "{status}: {answer:?}");
    }
}

#[tokio::test]
async fn what_was_believed_of_an_archive_that_vanished_is_a_failure_once_it_is_to_be_confirmed() {
    let store = Store::new(Well).await;
    let (remote, witness) = store.process(|_| ()).await;
    let process = (remote.clone(), witness);
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    remote.confirm_absences().await.unwrap();
    assert_eq!(store.asked(), (2, 1), "the document was asked for after the chunk");
    store.becomes(Gone);
    assert_eq!(store.chunk(&process, "1").await, Ok(None), "the document bore absences out a moment ago");
    assert!(matches!(remote.confirm_absences().await, Err(Cause::Unconfirmed(_))));
    assert_eq!(store.stats.snapshot().failed, 1);
    assert!(store.chunk(&process, "1").await.is_err());
    remote.confirm_absences().await.unwrap();
    assert_eq!(store.stats.snapshot().failed, 1, "it is told once");
}

#[tokio::test]
async fn what_is_said_in_an_outage_is_no_absence_though_the_document_was_well_a_moment_before() {
    for (well, outage) in [(Well, Gone), (Denies, Locked)] {
        let store = Store::new(well).await;
        let process = store.process(|_| ()).await;
        assert!(store.chunk(&process, "there").await.unwrap().is_some());
        for key in ["0", "1"] {
            assert_eq!(store.chunk(&process, key).await, Ok(None));
        }
        assert_eq!(store.asked(), (1 + 2 + 2 + 1, 1), "what is there is asked for in place of the document");
        store.becomes(outage);
        assert!(store.chunk(&process, "2").await.is_err(), "{outage:?}");
        store.becomes(Full);
        assert_eq!(store.chunk(&process, "2").await, Ok(Some(b"voxels".to_vec())));
    }
}

#[tokio::test]
async fn where_nothing_was_seen_to_be_there_an_outage_of_less_than_a_minute_is_told_and_kept_nowhere() {
    for (well, outage) in [(Well, Gone), (Denies, Locked)] {
        let store = Store::new(well).await;
        let process = store.process(|_| ()).await;
        assert_eq!(store.chunk(&process, "0").await, Ok(None));
        store.becomes(outage);
        assert_eq!(store.chunk(&process, "1").await, Ok(None), "it cannot be told");
        store.becomes(Full);
        let other = store.process(|_| ()).await;
        assert_eq!(store.chunk(&other, "1").await, Ok(Some(b"voxels".to_vec())));
        let Err(Cause::Unconfirmed(reason)) = process.0.confirm_absences().await else { panic!("nobody is told") };
        assert!(reason.contains("/s/1 was said to be absent and is there"), "{reason}");
        assert_eq!(store.stats.snapshot().failed, 1);
        assert_eq!(store.chunk(&process, "1").await, Ok(Some(b"voxels".to_vec())));
    }
}

#[tokio::test]
async fn what_is_believed_for_now_is_kept_once_it_was_asked_for_again() {
    let store = Store::new(Well).await;
    let process = store.process(|_| ()).await;
    for key in ["0", "1", "2"] {
        assert_eq!(store.chunk(&process, key).await, Ok(None));
    }
    assert_eq!(store.asked(), (6, 1));
    process.0.confirm_absences().await.unwrap();
    let (chunks, documents) = store.asked();
    assert!((8..=10).contains(&chunks) && documents == 2, "{chunks}, {documents}");
    process.0.confirm_absences().await.unwrap();
    assert_eq!(store.asked(), (chunks, documents), "all is confirmed");
    assert_eq!(store.stats.snapshot().failed, 0);
    for key in ["0", "1", "2"] {
        // What is kept is written a moment later.
        let is_kept = async {
            loop {
                let object = store.process(|_| ()).await.0.object(&store.location(key)).unwrap();
                object.look_up().await;
                if object.looked_up_absence().is_some() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), is_kept).await.unwrap();
    }
}

#[tokio::test]
async fn absence_is_kept_for_minutes_and_read_offline() {
    let store = Store::new(Well).await;
    let process = store.process(|_| ()).await;
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    drop(process);
    for offline in [false, true] {
        let process = store.process(|policy| policy.offline = offline).await;
        assert_eq!(store.chunk(&process, "0").await, Ok(None));
    }
    assert_eq!(store.asked(), (2, 1));
    let offline = store.process(|policy| policy.offline = true).await;
    assert!(matches!(store.chunk(&offline, "1").await, Err(Cause::Offline(_))));
    drop(offline);
    let process = store.process(|policy| policy.absent_ttl = Duration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    assert_eq!(store.asked(), (4, 2), "it is not believed for longer");
}

#[tokio::test]
async fn nothing_is_absent_of_a_store_whose_document_does_not_bear_it_out() {
    for (weather, word) in [(Gone, "is absent as well"), (Other, "changed at the origin")] {
        let store = Store::new(weather).await;
        let process = store.process(|_| ()).await;
        let Err(Cause::Unconfirmed(reason)) = store.chunk(&process, "0").await else { panic!("it was believed") };
        assert!(reason.contains(word) && reason.contains("/s/.zarray"), "{reason}");
        let object = process.0.object(&store.location("0")).unwrap();
        object.look_up().await;
        assert!(object.looked_up_absence().is_none());
        store.becomes(Full);
        assert_eq!(store.chunk(&process, "0").await, Ok(Some(b"voxels".to_vec())), "it came back");
    }
}

#[tokio::test]
async fn what_was_absent_before_an_archive_vanished_is_asked_again_also_by_the_next_process() {
    let store = Store::new(Well).await;
    let process = store.process(|_| ()).await;
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    drop(process);
    store.becomes(Gone);
    let process = store.process(|_| ()).await;
    assert!(matches!(store.chunk(&process, "1").await, Err(Cause::Unconfirmed(_))));
    assert!(matches!(store.chunk(&process, "0").await, Err(Cause::Unconfirmed(_))));
    drop(process);
    let process = store.process(|_| ()).await;
    assert!(matches!(store.chunk(&process, "0").await, Err(Cause::Unconfirmed(_))));
    store.becomes(Full);
    assert_eq!(store.chunk(&process, "0").await, Ok(Some(b"voxels".to_vec())));
}

#[tokio::test]
async fn denied_means_absent_only_where_the_origin_says_so_of_what_it_lacks() {
    let store = Store::new(Denies).await;
    let process = store.process(|_| ()).await;
    for key in ["0", "1"] {
        assert_eq!(store.chunk(&process, key).await, Ok(None));
    }
    assert_eq!(store.asked(), (4, 1));
    for weather in [DeniesChunks, Locked] {
        let store = Store::new(weather).await;
        let process = store.process(|_| ()).await;
        assert_eq!(store.chunk(&process, "0").await, Err(Cause::Denied(403)));
    }
}

#[tokio::test]
async fn past_caches_an_absent_object_is_asked_for_again() {
    let store = Store::new(Well).await;
    let process = store.process(|_| ()).await;
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    store.becomes(Full);
    assert_eq!(store.chunk(&process, "0").await, Ok(None));
    assert_eq!(past_caches(store.chunk(&process, "0")).await, Ok(Some(b"voxels".to_vec())));
}

/// Makes sense of a document, which must be a list.
async fn read(object: &Object) -> Result<Vec<u8>, SourceError> {
    let fetched = object.whole(100).await?;
    let is_list = fetched.bytes.starts_with(b"[");
    is_list.then(|| fetched.bytes.to_vec()).ok_or_else(|| SourceError::malformed(object.url(), "body", "is no list"))
}

#[tokio::test]
async fn what_makes_no_sense_is_fetched_once_more_and_what_does_takes_its_place() {
    let bad: [(&str, &[u8]); 4] =
        [("200 OK", b"<html>"), ("404 Not Found", b"no"), ("200 OK", b""), ("200 OK", &[0; 20])];
    for (status, body) in bad {
        let folder = tempfile::tempdir().unwrap();
        let remote = |offline| {
            let policy = CachePolicy {
                disk: Some(Arc::new(Disk::open(folder.path(), 1 << 30).unwrap())),
                offline,
                ..CachePolicy::default()
            };
            Remote::with_policy(LimitsByHost::default(), SLACK, Arc::default(), policy).unwrap()
        };
        // The bad answer is given as often as one read of it takes it for an accident.
        let origin = Origin::start(move |number, request| match number {
            0 | 1 => answer(status, "ETag: \"bad\"\r\n", body),
            _ => correct(b"[1, 2]", "\"good\"", request),
        })
        .await;
        let location = Location::parse(&format!("{}/document", origin.url()), None).unwrap();
        {
            let online = remote(false);
            let object = online.object(&location).unwrap();
            // Where the second answer is as bad as the first, it is an error, but not for longer than that.
            let first = healed(|| read(&object)).await;
            assert!(first.is_ok() || matches!(first, Err(SourceError::Malformed { .. })), "{first:?}");
            assert_eq!(healed(|| read(&object)).await.unwrap(), b"[1, 2]");
            let past =
                |request: &Request| request.headers.get("cache-control").is_some_and(|value| value == "no-cache");
            assert!(!past(&origin.requests()[0]) && past(&origin.requests()[1]));
        }
        let offline = remote(true);
        assert_eq!(read(&offline.object(&location).unwrap()).await.unwrap(), b"[1, 2]", "{status}");
    }
}

#[tokio::test]
async fn a_bad_answer_for_a_document_that_is_not_there_is_no_version_of_it() {
    let bad: [&[u8]; 3] = [b"<html>", b"", b"{"];
    for body in bad {
        let folder = tempfile::tempdir().unwrap();
        let remote = |revalidates: bool| {
            let disk = Some(Arc::new(Disk::open(folder.path(), 1 << 30).unwrap()) as _);
            let doubted_before = revalidates.then(std::time::SystemTime::now);
            let policy = CachePolicy { disk, doubted_before, ..CachePolicy::default() };
            Remote::with_policy(LimitsByHost::default(), SLACK, Arc::default(), policy).unwrap()
        };
        let origin = Origin::start(move |number, _| match number {
            0 => answer("200 OK", "ETag: \"bad\"\r\n", body),
            _ => answer("404 Not Found", "", b"no"),
        })
        .await;
        let location = Location::parse(&format!("{}/document", origin.url()), None).unwrap();
        for revalidates in [false, false, true] {
            let remote = remote(revalidates);
            let object = remote.object(&location).unwrap();
            for _ in 0..2 {
                let read = healed(|| read(&object)).await;
                let is_missing = matches!(&read, Err(SourceError::Remote(error)) if error.cause == Cause::NotFound);
                assert!(is_missing, "{revalidates}: {read:?}");
            }
        }
    }
}

#[tokio::test]
async fn something_that_was_relied_on_does_not_become_another_object_by_healing() {
    let bench = Bench::new(SLACK, 4, |number, request| match number {
        0 => correct(&data(100), "\"v1\"", request),
        1 | 2 => answer("206 P", "ETag: \"v1\"\r\nContent-Range: bytes 10-13/100\r\n", b"<htm"),
        _ => correct(&data(200), "\"v2\"", request),
    })
    .await;
    let object = bench.object("http");
    object.range(0..10).await.unwrap();
    let parse = async || match object.range(10..14).await {
        Ok(fetched) if fetched.bytes[0] != b'<' => Ok(()),
        Ok(_) => Err(SourceError::malformed("file", "field", "is no number")),
        Err(error) => Err(error.into()),
    };
    for _ in 0..2 {
        assert!(healed(&parse).await.is_err());
    }
    assert!(matches!(object.range(0..10).await.unwrap_err().cause, Cause::Changed(_)));
}

#[tokio::test]
async fn nothing_is_made_of_two_versions_where_another_reader_doubts_the_object_meanwhile() {
    let script = |number: usize, request: &Request| match number {
        0 => correct(&data(100), "\"v1\"", request),
        _ => correct(&[7; 100], "\"v2\"", request),
    };
    let (bench, machine) = (Bench::new(SLACK, 4, script).await, Machine::new(script).await);
    for object in [bench.object("http"), machine.online()] {
        let bytes = async |range| Ok::<_, SourceError>(object.range(range).await?.bytes);
        let one = healed(async || {
            let start = bytes(0..10).await?;
            // It makes no sense to somebody else, who has it fetched anew.
            let other = healed_apart(true, || bytes(10..14)).await?;
            Ok::<_, SourceError>((start, bytes(10..20).await?, other))
        });
        let (start, end, other) = one.await.unwrap();
        assert_eq!((&start[..], &end[..], &other[..]), (&[7; 10][..], &[7; 10][..], &[7; 4][..]));
        // From then on it is relied on.
        assert!(healed_apart(true, || bytes(10..14)).await.is_ok());
    }
}
