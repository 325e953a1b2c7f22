//! What makes no sense leaves nothing behind: neither a version nor a trace in what an export says of its origin.

use std::sync::Arc;

use super::origin::{Act, Origin, Request, answer, correct};
use super::*;
use crate::disk::Disk;
use crate::remote::Cause;
use crate::source::SourceError;
use crate::store::{CachePolicy, Object, SeenVersions, Witness, healed, past_caches, unproven};

const DOCUMENT: &[u8] = b"{\"shape\": [1]}";

/// How an object that its store may lack is asked for.
const WAYS: [&str; 3] = ["whole", "range", "end"];

async fn ask(object: &Object, witness: &Witness, way: &str) -> Result<Option<Vec<u8>>, Cause> {
    let fetched = match way {
        "whole" => object.whole_if_there(100, witness).await,
        "range" => object.range_if_there(0..4, witness).await,
        _ => object.end_if_there(4, witness).await,
    };
    fetched.map(|fetched| fetched.map(|fetched| fetched.bytes.to_vec())).map_err(|error| error.cause)
}

fn remote(folder: &tempfile::TempDir, revalidates: bool) -> Remote {
    let disk = Disk::open(folder.path(), 1 << 30).unwrap();
    with_disk(&disk, revalidates)
}

fn with_disk(disk: &Disk, revalidates: bool) -> Remote {
    let disk = Some(Arc::new(disk.clone()) as _);
    let doubted_before = revalidates.then(std::time::SystemTime::now);
    let policy = CachePolicy { disk, doubted_before, ..CachePolicy::default() };
    Remote::with_policy(LimitsByHost::default(), SLACK, Arc::default(), policy).unwrap()
}

/// A store whose chunks are absent, of which each gives one bad answer of this body before it says so.
async fn sparse(body: &'static [u8]) -> Origin {
    let given = parking_lot::Mutex::new(std::collections::BTreeSet::new());
    Origin::start(move |_, request: &Request| -> Vec<Act> {
        if request.path.ends_with("/.zarray") {
            return correct(DOCUMENT, "\"d\"", request);
        }
        if request.path.ends_with("/lacking") || !given.lock().insert(request.path.clone()) {
            return answer("404 Not Found", "", b"no");
        }
        correct(body, "\"bad\"", request)
    })
    .await
}

#[tokio::test]
async fn a_bad_answer_for_an_object_that_its_store_lacks_is_no_version_of_it() {
    let bodies: [&[u8]; 3] = [b"<html>", b"", b"{\"error\": 1}"];
    // Whether the document was asked for a moment before decides whether the absence is kept.
    let cases =
        || bodies.iter().flat_map(|body| WAYS.iter().flat_map(move |way| [(body, way, true), (body, way, false)]));
    for (body, way, for_now) in cases() {
        let (folder, origin) = (tempfile::tempdir().unwrap(), sparse(body).await);
        let location = |key: &str| Location::parse(&format!("{}/s/{key}", origin.url()), None).unwrap();
        let opened = async |revalidates| {
            let remote = remote(&folder, revalidates);
            let witness = Witness::new(&remote, &location(".zarray"), 1000, DOCUMENT).await;
            (remote, witness)
        };
        let told = format!("{body:?} {way} {for_now}");
        {
            let (remote, witness) = opened(false).await;
            if for_now {
                let lacking = remote.object(&location("lacking")).unwrap();
                assert_eq!(ask(&lacking, &witness, "whole").await, Ok(None));
            }
            let object = remote.object(&location("chunk")).unwrap();
            let (first, senseless) = unproven(false, ask(&object, &witness, way)).await;
            drop(senseless);
            assert!(*way != "whole" || matches!(first, Ok(Some(_))), "{told}: {first:?}");
            for handle in [object, remote.object(&location("chunk")).unwrap()] {
                let (again, sense) = unproven(true, ask(&handle, &witness, way)).await;
                assert_eq!(again, Ok(None), "{told}");
                assert!(sense.makes_sense());
            }
        }
        for revalidates in [false, true] {
            let (remote, witness) = opened(revalidates).await;
            let object = remote.object(&location("chunk")).unwrap();
            for _ in 0..2 {
                assert_eq!(ask(&object, &witness, way).await, Ok(None), "{told} revalidates: {revalidates}");
            }
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_a_second_time_is_kept_nowhere_unless_something_was_made_of_its_object() {
    for is_relied_on in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::start(move |_, request| correct(b"<html>", "\"bad\"", request)).await;
        let location = Location::parse(&format!("{}/chunk", origin.url()), None).unwrap();
        let disk = Disk::open(folder.path(), 1 << 30).unwrap();
        let object = with_disk(&disk, false).object(&location).unwrap();
        let (_, senseless) = unproven(false, object.whole(100)).await;
        drop(senseless);
        disk.flush();
        if is_relied_on {
            object.whole(100).await.unwrap();
        }
        object.drop_senseless();
        let asked = origin.requests().len();
        object.whole(100).await.unwrap();
        assert_eq!(origin.requests().len(), asked + usize::from(!is_relied_on));
    }
}

#[tokio::test]
async fn the_version_of_an_answer_that_made_no_sense_is_not_told() {
    let list = async |object: &Object| {
        let bytes = object.whole(100).await?.bytes;
        match bytes.starts_with(b"[") {
            true => Ok(()),
            false => Err(SourceError::malformed(object.url(), "body", "is no list")),
        }
    };
    // The bad answer is given once, or for ever; it has a name, or none.
    for (lasts, headers) in [(false, "ETag: \"bad\"\r\n"), (false, ""), (true, "ETag: \"bad\"\r\n"), (true, "")] {
        for is_kept in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let origin = Origin::start(move |number, request| match number {
                0 => answer("200 OK", headers, b"null"),
                _ if lasts => answer("200 OK", headers, b"null"),
                _ => correct(b"[1, 2]", "\"good\"", request),
            })
            .await;
            let remote = match is_kept {
                true => remote(&folder, false),
                false => Remote::new(LimitsByHost::default(), SLACK, Arc::default()).unwrap(),
            };
            remote.seen().record();
            let location = Location::parse(&format!("{}/document", origin.url()), None).unwrap();
            let etags = |seen: &SeenVersions| seen.versions().into_values().map(|seen| seen.etag).collect::<Vec<_>>();
            let object = remote.object(&location).unwrap();
            let read = healed(|| list(&object)).await;
            let right = if lasts { vec![] } else { vec![Some("\"good\"".to_owned())] };
            assert_eq!(read.is_ok(), !lasts);
            assert_eq!(etags(remote.seen()), right, "healed");
            remote.seen().record();
            let other = remote.object(&location).unwrap();
            let (_, senseless) = unproven(false, other.whole(100)).await;
            drop(senseless);
            assert_eq!(etags(remote.seen()), Vec::<Option<String>>::new(), "nobody made sense of it");
            // What is asked for once more within a reading counts with that.
            let (_, sense) = unproven(false, past_caches(other.whole(100))).await;
            assert_eq!(etags(remote.seen()), Vec::<Option<String>>::new());
            assert!(sense.makes_sense());
            assert_eq!(etags(remote.seen()).len(), 1);
        }
    }
}
