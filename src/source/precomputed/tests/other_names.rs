//! Volumes at a server that has their chunks by other names than the format gives them.

use std::collections::BTreeSet;

use super::*;
use crate::disk::Disk;
use crate::remote::tests::origin::{Act, Origin, answer, correct};
use crate::store::CachePolicy;

const LEVEL: LevelIndex = LevelIndex(0);

/// So many chunks of 2×2×2 voxels along x.
const CHUNKS: u64 = 40;

fn long() -> Value {
    let mut info = info(Value::Null);
    info["scales"][0]["size"] = json!([2 * CHUNKS, 2, 2]);
    info
}

/// The usual name of a chunk.
fn name(x: u64) -> String {
    format!("{}-{}_-20--18_30-32", 10 + 2 * x, 12 + 2 * x)
}

/// A server that has `info` and these files of the scale, and that answers as `otherwise` says of what it lacks.
async fn server(files: &[String], otherwise: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> Origin {
    let files: BTreeSet<String> = files.iter().map(|name| format!("/v/s/{name}")).collect();
    let info = long().to_string();
    Origin::start(move |_, request| match request.path.as_str() {
        "/v/info" => correct(info.as_bytes(), "\"i\"", request),
        path if files.contains(path) => correct(&CHUNK, "\"c\"", request),
        path => answer(otherwise(path), "", b""),
    })
    .await
}

const MISSING: fn(&str) -> &'static str = |_| "404 Not Found";

async fn at(origin: &Origin, remote: &Remote) -> PrecomputedSource {
    let folder = Location::parse(&format!("{}/v", origin.url()), None).unwrap();
    open(remote, &folder, None).await.unwrap()
}

/// The bytes of a chunk, nothing where it is absent.
async fn read(source: &PrecomputedSource, x: u64) -> Result<Option<Bytes>, String> {
    let block = CellIndex([0, 0, x]);
    let told = |error: SourceError| error.to_string();
    match source.locate(LEVEL, block).await.map_err(told)? {
        Placement::Absent { .. } => Ok(None),
        Placement::Whole { object, limit, witness } => {
            let fetched = object.whole_if_there(limit, &witness).await.map_err(|error| error.to_string())?;
            match fetched {
                Some(fetched) => source.decode(LEVEL, block, fetched.bytes).map(Some).map_err(told),
                None => source.bear_out_absence(LEVEL, block).await.map(|()| None).map_err(told),
            }
        }
        other => panic!("{other:?}"),
    }
}

/// The chunks that were asked for by a compressed name.
fn asked(origin: &Origin) -> BTreeSet<String> {
    let paths = origin.requests().into_iter().map(|request| request.path);
    paths.filter_map(|path| path.strip_suffix(".gz").filter(|path| path.contains('_')).map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_chunk_that_is_there_by_another_name_makes_what_is_absent_an_error() {
    let nested = name(0).replace('_', "/");
    for other in ["gz", "br", "zstd"]
        .map(|ending| format!("{}.{ending}", name(0)))
        .into_iter()
        .chain([format!("{nested}.gz"), nested])
    {
        let origin = server(&[other.clone(), name(3)], MISSING).await;
        let source = at(&origin, &remote()).await;
        let told = read(&source, 0).await.unwrap_err();
        assert!(told.contains(&format!("/v/s/{other}: name: it is there, and ")), "{told}");
        assert!(told.contains(&format!("/v/s/{} is not", name(0))) && told.contains("`Content-Encoding`"), "{told}");
        // All others are, too, and nobody is asked for their other names; what is there is read.
        let before = asked(&origin);
        for x in [1, 2, 0, CHUNKS - 1] {
            assert!(read(&source, x).await.is_err(), "{other}: {x}");
        }
        assert_eq!(read(&source, 3).await, Ok(Some(Bytes::from_static(&CHUNK))));
        assert!(read(&source, 4).await.is_err(), "{other}");
        assert_eq!(asked(&origin), before);
    }
}

#[tokio::test]
async fn it_is_asked_for_other_names_of_the_first_absent_chunks_and_seldom_after_them() {
    let origin = server(&[], MISSING).await;
    let source = at(&origin, &remote()).await;
    for x in 0..CHUNKS {
        assert_eq!(read(&source, x).await, Ok(None));
    }
    let numbers = [0, 1, 2, 3, 4, 5, 6, 7, 15, 31];
    assert_eq!(asked(&origin), numbers.map(|x| format!("/v/s/{}", name(x))).into_iter().collect());
}

#[tokio::test]
async fn it_is_not_asked_once_a_chunk_was_read_by_its_usual_name() {
    let origin = server(&[name(0), format!("{}.gz", name(1))], MISSING).await;
    let source = at(&origin, &remote()).await;
    assert_eq!(read(&source, 0).await, Ok(Some(Bytes::from_static(&CHUNK))));
    assert_eq!(read(&source, 2).await, Ok(None));
    assert_eq!(asked(&origin), BTreeSet::new());
}

#[tokio::test]
async fn a_chunk_of_which_that_cannot_be_learnt_is_not_known_to_be_absent() {
    for (status, is_known) in
        [("500 Broken", false), ("400 Bad Request", true), ("410 Gone", true), ("401 Unauthorized", false)]
    {
        let origin = server(&[], move |path| if path.ends_with(".br") { status } else { "404 Not Found" }).await;
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(1), Arc::default()).unwrap();
        let source = at(&origin, &remote).await;
        for _ in 0..2 {
            assert_eq!(read(&source, 0).await.is_ok(), is_known, "{status}");
        }
    }
}

#[tokio::test]
async fn all_who_wait_for_a_server_that_says_nothing_wait_once() {
    let folder = info(Value::Null).to_string();
    let origin = Origin::start(move |_, request| match request.path.as_str() {
        "/v/info" => correct(folder.as_bytes(), "\"i\"", request),
        path if path.ends_with(".zstd") => vec![Act::Hang],
        _ => answer("404 Not Found", "", b""),
    })
    .await;
    let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(2), Arc::default()).unwrap();
    let source = at(&origin, &remote).await;
    let all = futures::future::join_all((0..4).map(|x| read(&source, x)));
    let all = tokio::time::timeout(Duration::from_secs(6), all).await.unwrap();
    assert!(all.iter().all(Result::is_err), "{all:?}");
}

#[tokio::test]
async fn what_was_kept_to_be_absent_is_an_error_still_where_nobody_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::open(folder.path(), 1 << 30).unwrap());
    let process = |offline| {
        let policy = CachePolicy { disk: Some(disk.clone()), offline, ..CachePolicy::default() };
        Remote::with_policy(LimitsByHost::default(), Duration::from_secs(5), Arc::default(), policy).unwrap()
    };
    for (other, is_error) in [(format!("{}.gz", name(1)), true), ("x".to_owned(), false)] {
        let origin = server(&[other], MISSING).await;
        let online = process(false);
        let source = at(&origin, &online).await;
        // The first ones are asked for at once, and all are noted to be absent by their usual names.
        let both = [1, 2].map(|x| read(&source, x));
        let both = futures::future::join_all(both).await;
        assert_eq!(both.iter().map(Result::is_err).collect::<Vec<_>>(), [is_error; 2]);
        online.confirm_absences().await.unwrap();
        disk.flush();
        let source = at(&origin, &process(true)).await;
        for x in [2, 1] {
            assert_eq!(read(&source, x).await.is_err(), is_error, "{x}");
        }
    }
}

#[tokio::test]
async fn shards_have_no_other_names() {
    let (mut sharded, chunks) = (long(), name(0));
    sharded["scales"][0]["sharding"] = sharding(0, 0);
    let sharded = sharded.to_string();
    let origin = Origin::start(move |_, request| match request.path.as_str() {
        "/v/info" => correct(sharded.as_bytes(), "\"i\"", request),
        _ => answer("404 Not Found", "", b""),
    })
    .await;
    let source = at(&origin, &remote()).await;
    assert_eq!(read(&source, 0).await, Ok(None));
    assert!(origin.requests().iter().all(|request| !request.path.contains(&chunks)));
}
