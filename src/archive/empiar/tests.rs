use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::answer::{EntryAnswer, ImageSet};
use super::*;
use crate::demo::Replica;
use crate::document::arbitrary::any_json;
use crate::dtype::DataType;
use crate::geometry::Shape;
use crate::source::{Source, dm3, stack};

const ENTRY: &[u8] = include_bytes!("../../demo/replica/empiar/entry.json");

fn read(json: &Value) -> Result<EntryAnswer, SourceError> {
    EntryAnswer::read("https://empiar.example/x/".to_owned(), json.to_string().as_bytes(), 11759)
}

fn recorded() -> Value {
    serde_json::from_slice(ENTRY).unwrap()
}

/// The recorded document with keys of its image set exchanged.
fn with(changes: Value) -> Value {
    let mut document = recorded();
    let set = document["EMPIAR-11759"]["imagesets"][0].as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        set.insert(key.clone(), value.clone());
    }
    document
}

fn set(json: &Value) -> Result<ImageSet, String> {
    read(json).and_then(|answer| answer.image_set(None)).map_err(|error| error.to_string())
}

#[test]
fn the_document_tells_the_folder_and_lengths_in_nanometres() {
    let expected = ImageSet {
        directory: "data".into(),
        images: Some(8),
        width: Some(252),
        height: Some(242),
        pixel: [Some(8.0), Some(8.0)],
        dtype: Some(DataType::U8),
    };
    assert_eq!(set(&recorded()), Ok(expected.clone()));
    let slashed = with(json!({"directory": "/data/"}));
    assert_eq!(set(&slashed), Ok(expected.clone()));
    let texts = with(json!({"pixel_width": "80.0", "num_images_or_tilt_series": "8"}));
    assert_eq!(set(&texts), Ok(expected));
    let deep = set(&with(json!({"directory": "data/Foo b/Bar"}))).unwrap();
    assert_eq!(deep.directory, "data/Foo b/Bar");
}

#[test]
fn what_the_document_does_not_tell_is_not_known() {
    let unknown =
        ["image_width", "image_height", "pixel_width", "pixel_height", "num_images_or_tilt_series", "voxel_type"];
    for value in [Value::Null, json!("variable"), json!([]), json!(-1), json!(0), json!(1e300), json!("NaN")] {
        let document = with(unknown.iter().map(|key| ((*key).to_owned(), value.clone())).collect());
        let set = set(&document).unwrap();
        assert_eq!((set.images, set.width, set.height, set.dtype), (None, None, None, None), "{value}");
        assert!(set.pixel.iter().flatten().all(|size| *size > 0.0), "{value}");
    }
}

#[test]
fn answers_that_are_none_are_refused_by_name() {
    for (body, expected) in [
        ("", "body: it is no valid JSON but empty"),
        (" <html>", "body: it is no valid JSON but an HTML page"),
        ("{", "body: it is no valid JSON"),
        ("[]", "body: is no JSON object"),
        ("{\"EMPIAR-1\": {}}", "EMPIAR-11759: is missing, there is \"EMPIAR-1\""),
        ("{\"EMPIAR-11759\": 3}", "EMPIAR-11759: is no JSON object"),
    ] {
        let error = EntryAnswer::read("u".into(), body.as_bytes(), 11759).unwrap_err().to_string();
        assert!(error.starts_with(&format!("u: {expected}")), "{error}");
    }
    for (document, expected) in [
        (json!({"EMPIAR-11759": {}}), "imagesets: is missing or no list"),
        (json!({"11759": {"imagesets": []}}), "imagesets: there are 0: ; `imageset` must name one of them"),
        (with(json!({"directory": null})), "imagesets[0].directory: \"\" is no folder"),
        (with(json!({"directory": "data/../../x"})), "imagesets[0].directory: \"data/../../x\" is no folder"),
        (with(json!({"directory": "a//b"})), "imagesets[0].directory: \"a//b\" is no folder"),
    ] {
        let error = set(&document).unwrap_err();
        assert_eq!(error, format!("https://empiar.example/x/: {expected}"));
    }
}

#[test]
fn one_of_several_image_sets_must_be_named() {
    let mut document = recorded();
    let first = document["EMPIAR-11759"]["imagesets"][0].clone();
    let sets = document["EMPIAR-11759"]["imagesets"].as_array_mut().unwrap();
    sets.push(first);
    sets[1]["name"] = json!("other");
    sets[1]["directory"] = json!("data/other");
    let answer = read(&document).unwrap();
    let error = answer.image_set(None).unwrap_err().to_string();
    assert!(error.contains("there are 2") && error.contains("\"other\" in \"data/other\""), "{error}");
    assert_eq!(answer.image_set(Some("other")).unwrap().directory, "data/other");
    assert_eq!(answer.image_set(Some("/data/other/")).unwrap().directory, "data/other");
    assert!(answer.image_set(Some("third")).unwrap_err().to_string().contains("0 of them are \"third\""));
}

fn remote() -> Remote {
    Remote::new(Default::default(), Duration::from_secs(10), Default::default()).unwrap()
}

#[tokio::test]
async fn the_sections_of_the_replica_are_found_and_the_wrong_size_is_noticed() {
    let replica = Replica::start().unwrap();
    let (server, files) = (
        format!("http://{}/empiar", replica.address()).parse().unwrap(),
        format!("http://{}/ebi/empiar/world_availability/", replica.address()).parse().unwrap(),
    );
    let entry = EntrySpec { number: 11759, server: &server, files: &files, imageset: None };
    let mut heard = Vec::new();
    let found = find(&remote(), entry, &Overrides::default(), &mut heard).await.unwrap();
    assert_eq!((found.sections.names.len(), heard.len(), replica.requests()), (8, 1, 2));
    assert_eq!(&heard[0].bytes()[..], ENTRY);
    let remote = remote();
    let objects = found.sections.objects(&remote).unwrap();
    assert!(objects[7].as_ref().unwrap().url().ends_with("/11759/data/F57-8_test1_3VBSED_slice_0007.dm3"));
    let missing = found.voxel_size();
    let opener: stack::Opener = Arc::new(move |object, cell: Option<Shape>| {
        async move { Ok(Arc::new(dm3::open(object, missing, cell.is_none()).await?) as Arc<dyn Source>) }.boxed()
    });
    let source = stack::open(objects, opener).await.unwrap();
    assert_eq!(
        found.contradictions(source.description()),
        ["242 rows where there are 110", "252 columns where there are 120"]
    );
    assert_eq!(source.description().levels[0].scale, Some([50.0, 7.99825, 7.99825]));
    let nobody = find(&remote, EntrySpec { number: 1, ..entry }, &Overrides::default(), &mut heard)
        .await
        .unwrap_err()
        .to_string();
    assert!(nobody.contains("/empiar/api/entry/1/"), "{nobody}");
}

fn rules(promised: Option<u64>) -> Rules<'static> {
    static NOTHING: std::sync::LazyLock<Overrides> = std::sync::LazyLock::new(Overrides::default);
    Rules { formats: &ArchiveFormat::ALL, promised, overrides: &NOTHING }
}

/// A folder on this machine: its listing is what is in it.
fn folder(names: &[&str]) -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(folder.path().join(name), b"x").unwrap();
    }
    let location = Location::parse(folder.path().to_str().unwrap(), None).unwrap();
    (folder, location)
}

async fn sections_of(names: &[&str], promised: Option<u64>) -> Result<usize, String> {
    let (_folder, location) = folder(names);
    let found = sections::find(&remote(), &location, rules(promised)).await;
    found.map(|sections| sections.names.len()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_gap_is_an_error_that_names_it_and_strangers_are_left_out() {
    assert_eq!(sections_of(&["s_0.dm3", "s_1.DM3", "p.xml.gz", "s_2.tif"], None).await, Ok(2));
    let error = sections_of(&["s_0.dm3", "s_1.DM3", "s_1.dm3"], None).await.unwrap_err();
    assert!(error.contains("have the same number"), "{error}");
    for promised in [None, Some(2), Some(3), Some(1000)] {
        let error = sections_of(&["s_0.dm3", "s_2.dm3"], promised).await.unwrap_err();
        assert!(error.contains("listing: \"s_1.dm3\" of the series is missing; `gaps"), "{error}");
    }
    assert!(
        sections_of(&["p.xml.gz"], None)
            .await
            .unwrap_err()
            .contains("listing: has no file that ends in .dm3, .dm4, .mrc, .mrcs, .map, .rec, .st, .tif")
    );
    assert_eq!(sections_of(&["s_0.dm3", "s_1.dm3"], Some(16)).await, Ok(2), "the files are believed");
}

#[tokio::test]
async fn names_that_the_listing_lost_are_asked_for() {
    // Listed are all but the given ones, which are there all the same.
    for lost in [vec![3], vec![0], vec![7], vec![0, 1, 7], vec![2, 3, 6]] {
        let (listener, address) = lossy(lost.clone()).await;
        let location = Location::anonymous(format!("http://{address}/data").parse().unwrap());
        let names = sections::find(&remote(), &location, rules(Some(8))).await.unwrap().names;
        let names: Vec<String> = names.into_iter().flatten().collect();
        let expected: Vec<String> = (0..8).map(|number| format!("s_{number:04}.dm3")).collect();
        assert_eq!(names, expected, "{lost:?}");
        listener.abort();
    }
}

#[tokio::test]
async fn a_gap_of_the_listing_alone_is_not_shown_as_an_empty_section() {
    for lost in [vec![3], vec![1, 2, 6]] {
        let (listener, address) = lossy(lost.clone()).await;
        let location = Location::anonymous(format!("http://{address}/data").parse().unwrap());
        let overrides = Overrides { blank_gaps: true, ..Overrides::default() };
        let rules = Rules { overrides: &overrides, ..rules(None) };
        let names = sections::find(&remote(), &location, rules).await.unwrap().names;
        assert!(names.len() == 8 && names.iter().all(Option::is_some), "{lost:?}: {names:?}");
        listener.abort();
    }
}

/// A server of eight files whose listing lacks some of them.
async fn lossy(lost: Vec<u64>) -> (tokio::task::JoinHandle<()>, std::net::SocketAddr) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let lost = lost.clone();
            tokio::spawn(async move {
                let (reader, mut writer) = stream.split();
                let mut lines = BufReader::new(reader).lines();
                let path = lines.next_line().await.unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
                while lines.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
                let number =
                    path.strip_prefix("/data/s_").and_then(|name| name.strip_suffix(".dm3")?.parse::<u64>().ok());
                let answer = match number {
                    Some(0..8) => "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/9\r\nContent-Length: 1\r\n\
                                   Connection: close\r\n\r\nx"
                        .to_owned(),
                    Some(_) => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
                    None => {
                        let listed = (0..8).filter(|number| !lost.contains(number));
                        let page: String = listed.map(|n| format!("<a href=\"s_{n:04}.dm3\">x</a>\n")).collect();
                        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
                        format!("{head}Content-Length: {}\r\n\r\n{page}", page.len())
                    }
                };
                writer.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    (task, address)
}

/// Texts, some of them long.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z./ 0-9é]{0,12}", (1usize..5_000).prop_map(|length| "é".repeat(length))]
}

const KEYS: &str = "imagesets|name|directory|image_width|pixel_width|voxel_type|EMPIAR-11759|11759";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(200)))]

    #[test]
    fn any_document_gives_an_image_set_or_an_error(
        json in any_json(texts(), KEYS), key in "[a-z_]{0,3}|directory|name|image_width|pixel_width|num_images_or_tilt_series",
        whole in any::<bool>(), wanted in prop::option::of("[a-z/é]{0,5}")
    ) {
        let document = if whole { json } else { with(json!({key: json})) };
        match read(&document).and_then(|answer| answer.image_set(wanted.as_deref())) {
            Ok(set) => {
                prop_assert!(!set.directory.is_empty() && set.directory.split('/').all(|part| !matches!(part, "" | "." | "..")));
                prop_assert!(set.pixel.iter().flatten().all(|size| *size > 0.0 && size.is_finite()));
            }
            Err(error) => prop_assert!(error.to_string().len() < 12_000),
        }
    }
}
