use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answer::Answer;
use super::*;
use crate::catalog::VolumeFiles;
use crate::demo::Replica;
use crate::document::DocumentKind;
use crate::document::arbitrary::{any_json, exchange};
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::remote::LimitsByHost;
use crate::source::{Placement, SourceLevel, StorageFormat};

const IMAGE: u64 = 9_846_137;
const PATHS: &[u8] = include_bytes!("../../demo/replica/idr/original_file_paths.json");
const FACTS: &[u8] = include_bytes!("../../demo/replica/idr/image.json");
const EXCEPTION: &[u8] = include_bytes!("../../demo/replica/idr/imgData.json");
const FILE: &str = "https://files.example/IDR/idr0086-miron-micrographs/20200610-ftp/experimentD/Miron_FIB-SEM/\
                    Miron_FIB-SEM_processed/Figure_S3B_FIB-SEM_U2OS_20x20x20nm_xy.tif";

fn files() -> Location {
    Location::anonymous("https://files.example/IDR".parse().unwrap())
}

fn answer(bytes: &[u8]) -> Result<Answer, SourceError> {
    Answer::read("https://omero.example/x/".to_owned(), bytes)
}

fn named(json: &Value) -> Result<Vec<String>, String> {
    let found = answer(json.to_string().as_bytes()).and_then(|answer| answer.files(&files()));
    let texts = |found: Vec<Location>| found.iter().map(Location::to_string).collect();
    found.map(texts).map_err(|error| error.to_string())
}

fn facts(json: &Value) -> Result<Facts, String> {
    answer(json.to_string().as_bytes()).and_then(|answer| answer.facts(IMAGE)).map_err(|error| error.to_string())
}

/// The recorded description with the value at `pointer` replaced, or removed where there is none.
fn described(pointer: &str, value: Option<Value>) -> Value {
    let mut document: Value = serde_json::from_slice(FACTS).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
    document
}

#[test]
fn the_file_is_found_by_the_path_it_was_imported_from() {
    assert_eq!(named(&serde_json::from_slice(PATHS).unwrap()).unwrap(), [FILE]);
    let slash = json!({"client": ["/uod/idr/filesets/a/Figure_S3F+1F 100%.tif"]});
    assert_eq!(named(&slash).unwrap(), ["https://files.example/IDR/a/Figure_S3F+1F%20100%25.tif"]);
}

#[test]
fn paths_that_are_none_are_refused_by_name() {
    for (json, expected) in [
        (json!({}), "client: is missing"),
        (json!({"message": "Not logged in"}), "client: is missing, the server says \"Not logged in\""),
        (json!({"client": "a"}), "client: is no list of paths"),
        (json!({"client": [1]}), "client[0]: is no text"),
        (json!({"client": []}), "client: an image of 0 files is not supported"),
        (json!({"client": ["uod/idr/filesets/a", "b"]}), "client[1]: \"b\" is not below uod/idr/filesets/"),
        (json!({"client": ["/etc/passwd"]}), "client[0]: \"/etc/passwd\" is not below uod/idr/filesets/"),
        (json!({"client": ["uod/idr/filesets/../x"]}), "client[0]: \"uod/idr/filesets/../x\" is no path of a file"),
        (json!({"client": ["uod/idr/filesets/a/"]}), "client[0]: \"uod/idr/filesets/a/\" is no path of a file"),
        (json!({"client": ["uod/idr/filesets/a\n"]}), "client[0]: \"uod/idr/filesets/a\\n\" is no path of a file"),
        (json!({"client": ["uod/idr/filesets/a.zarr/0"]}), "client[0]: an image converted to Zarr is not supported"),
    ] {
        assert_eq!(named(&json).unwrap_err(), format!("https://omero.example/x/: {expected}"));
    }
}

#[test]
fn the_description_gives_shape_and_voxel_size() {
    let expected = Facts { shape: Shape([24, 155, 225]), voxel_size: Some([20.0; 3]) };
    assert_eq!(answer(FACTS).unwrap().facts(IMAGE).unwrap(), expected);
    let mut list: Value = serde_json::from_slice(FACTS).unwrap();
    list["data"] = json!([list["data"].take()]);
    assert_eq!(facts(&list), Ok(expected), "a list of one image is as good");
}

#[test]
fn physical_sizes_are_converted_and_optional() {
    let size = |length: Option<Value>| facts(&described("/data/Pixels/PhysicalSizeZ", length)).unwrap().voxel_size;
    for (value, unit, expected) in [
        (0.0069, "MICROMETER", Some(6.9)),
        (50.0, "NANOMETER", Some(50.0)),
        (29.6, "ANGSTROM", Some(2.96)),
        (0.00005, "MILLIMETER", Some(50.0)),
        (8e-9, "METER", Some(8.0)),
        (1.0, "PIXEL", None),
        (1.0, "REFERENCEFRAME", None),
        (0.0, "NANOMETER", None),
        (-1.0, "NANOMETER", None),
        (1e308, "METER", None),
    ] {
        let length = json!({"Unit": unit, "Value": value, "Symbol": "?"});
        assert_eq!(size(Some(length)).map(|size| size[0]), expected, "{value} {unit}");
    }
    assert_eq!(size(None), None);
    assert_eq!(size(Some(Value::Null)), None);
}

#[test]
fn descriptions_of_something_else_are_refused_by_name() {
    for (pointer, value, expected) in [
        ("/data/Pixels/SizeC", Some(json!(3)), "data.Pixels.SizeC: an image of 3 channels is not supported"),
        ("/data/Pixels/SizeT", Some(json!(9)), "data.Pixels.SizeT: an image of 9 time points is not supported"),
        ("/data/Pixels/SizeX", Some(json!("225")), "data.Pixels.SizeX: is no positive whole number"),
        ("/data/Pixels/SizeZ", Some(json!(0)), "data.Pixels.SizeZ: is no positive whole number"),
        ("/data/Pixels/SizeY", Some(json!(-1)), "data.Pixels.SizeY: is no positive whole number"),
        ("/data/Pixels/SizeY", None, "data.Pixels.SizeY: is missing"),
        ("/data/Pixels", None, "data.Pixels: is missing"),
        ("/data/@id", Some(json!(5)), "data.@id: is \"5\", not 9846137"),
        ("/data", Some(json!([])), "data: is neither an image nor a list of one"),
        ("/data", None, "data: is missing"),
    ] {
        assert_eq!(facts(&described(pointer, value)).unwrap_err(), format!("https://omero.example/x/: {expected}"));
    }
}

#[test]
fn bodies_that_are_no_answer_are_refused_by_name() {
    for (body, expected) in [
        (
            &b"<!DOCTYPE html><html>"[..],
            "body: it is no valid JSON but an HTML page: is the address right, and to be read without a login?",
        ),
        (b" \n", "body: it is no valid JSON but empty"),
        (b"{\"data\": ", "body: it is no valid JSON: EOF while parsing a value at line 1 column 9"),
    ] {
        assert_eq!(answer(body).unwrap_err().to_string(), format!("https://omero.example/x/: {expected}"));
    }
    let error = answer(EXCEPTION).unwrap_err().to_string();
    assert!(error.starts_with("https://omero.example/x/: Exception: \"Error instantiating pixel buffer"), "{error}");
}

#[test]
fn without_an_answer_the_configured_url_is_used_or_the_reason_told() {
    let malformed = || answer(b"<html>").unwrap_err();
    let known = || answer(FACTS).unwrap().facts(IMAGE);
    let url = Location::anonymous("https://files.example/given.tif".parse().unwrap());
    let choice = choose(Err(malformed()), known(), Some(&url)).unwrap();
    assert_eq!(choice.files, std::slice::from_ref(&url));
    assert!(choice.warning.unwrap().contains("an HTML page"));
    let choice = choose(Ok(vec![files()]), Err(malformed()), Some(&url)).unwrap();
    assert_eq!((choice.files, choice.facts), (vec![files()], None));
    assert!(choice.undescribed.is_some());
    assert!(choose(Ok(vec![files()]), known(), Some(&url)).unwrap().warning.is_none());
    assert!(choose(Err(malformed()), known(), None).unwrap_err().to_string().contains("an HTML page"));
    let channels = answer(described("/data/Pixels/SizeC", Some(json!(2))).to_string().as_bytes()).unwrap();
    let error = choose(Err(malformed()), channels.facts(IMAGE), Some(&url)).unwrap_err();
    assert!(error.to_string().contains("an image of 2 channels"));
}

#[test]
fn without_a_configured_url_only_the_word_that_there_is_no_description_lets_an_image_go_on() {
    let failed = |cause: Cause| {
        let url = "https://omero.example/x/".to_owned();
        Err(SourceError::Remote(crate::remote::RemoteError { url, range: None, attempts: 1, cause }))
    };
    let url = Location::anonymous("https://files.example/given.tif".parse().unwrap());
    let mut others =
        vec![Err(answer(b"<html>").unwrap_err()), Err(answer(b"").unwrap_err()), answer(b"{}").unwrap().facts(IMAGE)];
    others
        .extend([Cause::Status(503), Cause::timeout(5), Cause::Offline(String::new()), Cause::Denied(403)].map(failed));
    for facts in others {
        let error = choose(Ok(vec![files()]), facts.clone(), None).unwrap_err();
        assert_eq!(error.to_string(), facts.clone().unwrap_err().to_string());
        let choice = choose(Ok(vec![files()]), facts, Some(&url)).unwrap();
        assert_eq!((choice.files, choice.undescribed.is_some()), (vec![files()], true));
    }
    let choice = choose(Ok(vec![files()]), failed(Cause::NotFound), None).unwrap();
    assert_eq!((choice.facts, choice.undescribed.is_some()), (None, true));
}

/// A volume that states a voxel size, or none.
struct Stated(Description);

impl Source for Stated {
    fn description(&self) -> &Description {
        &self.0
    }

    fn locate(&self, _: LevelIndex, _: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        unimplemented!()
    }

    fn decode(&self, _: LevelIndex, _: CellIndex, _: Bytes) -> Result<Bytes, SourceError> {
        unimplemented!()
    }
}

fn stated(scale: Option<[f64; 3]>) -> Stated {
    let shape = Shape([24, 155, 225]);
    let level = SourceLevel { grid: Grid { shape, cell: shape }, scale, translation: [0.0; 3], offset: [0; 3] };
    Stated(Description {
        dtype: DataType::U8,
        levels: vec![level],
        fill: FillValue::zero(DataType::U8),
        window: None,
        format: StorageFormat::for_tests(),
        downsampling: None,
        chunked: false,
    })
}

#[tokio::test]
async fn an_image_without_a_description_is_not_shown_without_a_voxel_size() {
    let spec = |keys: &str| {
        let text = format!("[[dataset]]\nname = \"v\"\nsource = {{ kind = \"idr\", image = 1{keys} }}");
        crate::catalog::Catalog::parse(&text, "c.toml", None).unwrap().datasets[0].images[0].source.clone()
    };
    let about = Location::anonymous("https://omero.example/api/v0/m/images/1/".parse().unwrap());
    let of = |keys: &str, scale, undescribed: bool| {
        let undescribed = undescribed.then(|| (answer(b"<html>").unwrap_err(), about.clone()));
        let found = Found { files: vec![files()], facts: None, undescribed };
        found.without_description(&remote(), 1, &spec(keys), &stated(scale))
    };
    let error = of("", None, true).unwrap_err().to_string();
    assert!(error.contains("its file states no voxel size; `voxel_size = [z, y, x]`"), "{error}");
    assert!(of("", Some([40.0, 8.0, 8.0]), true).unwrap().is_some(), "it is looked at again");
    assert!(of(", voxel_size = [40, 8, 8]", None, true).unwrap().is_some());
    assert!(of(", voxel_size = { force = [40, 8, 8] }", None, true).unwrap().is_some());
    assert!(of("", None, false).unwrap().is_none(), "what OMERO describes needs no size");
}

#[test]
fn a_description_that_comes_late_is_a_failure_where_it_says_something_else_than_is_shown() {
    let (shape, size) = (Shape([24, 155, 225]), [20.0; 3]);
    let of = |text: &str| is_otherwise("https://omero.example/x/", text.as_bytes(), IMAGE, (shape, Some(size)));
    let changed = |pointer: &str, value: Value| described(pointer, Some(value)).to_string();
    assert!(!of(std::str::from_utf8(FACTS).unwrap()), "it is shown as that");
    assert!(!of(&described("/data/Pixels/PhysicalSizeZ", None).to_string()), "it says no size");
    assert!(!of("<html>") && !of("") && !of("{}"), "that is none");
    assert!(of(&changed("/data/Pixels/SizeC", json!(3))));
    assert!(of(&changed("/data/Pixels/SizeT", json!(3))));
    assert!(of(&changed("/data/Pixels/SizeZ", json!(12))));
    assert!(of(&changed("/data/Pixels/PhysicalSizeZ", json!({"Unit": "NANOMETER", "Value": 40.0}))));
}

fn remote() -> Remote {
    Remote::new(LimitsByHost::default(), Duration::from_secs(10), Default::default()).unwrap()
}

#[tokio::test]
async fn the_replica_tells_its_image() {
    let replica = Replica::start().unwrap();
    let url = |path: &str| format!("http://{}/{path}", replica.address()).parse::<Url>().unwrap();
    let mut heard = Vec::new();
    let found = find(&remote(), IMAGE, &url("idr"), &url("ebi/pub/databases/IDR"), None, &mut heard).await.unwrap();
    assert_eq!(found.files[0].url.path(), FILE.replace("https://files.example/IDR", "/ebi/pub/databases/IDR"));
    assert_eq!(found.facts.unwrap().shape, Shape([24, 155, 225]));
    assert_eq!((heard.len(), replica.requests()), (2, 2));
    let error = find(&remote(), 1, &url("idr"), &url("ebi"), None, &mut heard).await.unwrap_err().to_string();
    assert!(error.contains("/idr/webgateway/original_file_paths/1/"), "{error}");
}

#[tokio::test]
async fn notes_are_those_of_the_image_and_of_its_study() {
    let replica = Replica::start().unwrap();
    let server: Url = format!("http://{}/idr", replica.address()).parse().unwrap();
    let names = async |image| {
        let notes = notes(&remote(), image, &server).await;
        notes.into_iter().map(|document| document.name).collect::<Vec<_>>()
    };
    let expected = ["omero-annotations.json", "omero-datasets.json", "omero-projects.json", "omero-study.json"];
    assert_eq!((names(IMAGE).await, replica.requests()), (expected.map(str::to_owned).to_vec(), 4));
    assert_eq!(names(1).await, ["omero-annotations.json"], "what is unknown ends the way to the study");
}

#[test]
fn files_of_an_import_are_the_image_only_where_they_are_as_many_as_its_planes() {
    let below = |path: &str| files().join(path);
    let of = |names: &[&str], planes: Option<u64>, keys: &str| {
        let facts = planes.map(|planes| Facts { shape: Shape([planes, 4, 4]), voxel_size: None });
        let found = Found { files: names.iter().map(|name| below(name)).collect(), facts, undescribed: None };
        let text = format!("[[dataset]]\nname = \"v\"\nsource = {{ kind = \"idr\", image = 1{keys} }}");
        let catalog = crate::catalog::Catalog::parse(&text, "c.toml", None).unwrap();
        let volume = found.volume(1, &catalog.datasets[0].images[0].source.overrides);
        volume.map_err(|error| error.to_string())
    };
    let file = |name: &str| Ok(VolumeFiles::File(below(name)));
    let list = |names: &[&str]| Ok(VolumeFiles::List(names.iter().map(|name| below(name)).collect()));
    assert_eq!(of(&["a.tif"], Some(9), ""), file("a.tif"), "one file may hold all planes");
    assert_eq!(of(&["a.dat"], None, ""), file("a.dat"));
    assert_eq!(of(&["a.xml", "b.tif"], None, ""), file("b.tif"));
    let names = ["z/2.tif", "notes.xml", "z/1.TIFF"];
    assert_eq!(of(&names, Some(2), ""), list(&["z/2.tif", "z/1.TIFF"]));
    assert!(
        of(&names, Some(3), "").unwrap_err().contains("an image of 3 planes in an import of 2 TIFF files; `pattern")
    );
    assert!(of(&names, None, "").unwrap_err().contains("OMERO does not say"));
    assert_eq!(
        of(&names, Some(1), ", pattern = '^(2)'"),
        list(&["z/2.tif", "z/1.TIFF"]),
        "the pattern takes its part later"
    );
    assert!(
        of(&["a.xml", "b.csv"], Some(2), "").unwrap_err().contains("an image of 2 files of which none is a TIFF file")
    );
    let companions = ["a.companion.ome", "z1.ome.tif", "z0.ome.tif"];
    assert_eq!(of(&companions, Some(2), ""), file("z1.ome.tif"), "which says where the others are");
}

/// A server that gives each connection the next of `answers` (status line and body).
async fn scripted(answers: Vec<(&'static str, Vec<u8>)>) -> (Url, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let task = tokio::spawn(async move {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        }
    });
    (url, task)
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_not_for_ever() {
    let busy = || ("200 OK", br#"{"ConcurrencyException": {"backOff": 5}}"#.to_vec());
    let (url, server) = scripted(vec![busy(), busy(), ("200 OK", PATHS.to_vec())]).await;
    let file = || Arc::new(|answer: &Answer| answer.files(&files()));
    let (found, document) = ask(&remote(), Location::anonymous(url), DocumentKind::OmeroFiles, file()).await.unwrap();
    assert_eq!(found.unwrap()[0].to_string(), FILE);
    assert_eq!(document.unwrap().name, "omero-files.json");
    server.await.unwrap();

    let (url, server) = scripted(vec![busy(), busy(), busy(), busy()]).await;
    let error =
        ask(&remote(), Location::anonymous(url), DocumentKind::OmeroFiles, file()).await.unwrap_err().to_string();
    assert!(error.contains("ConcurrencyException: still so after 4 attempts"), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_refusal_without_a_body_falls_back_to_the_configured_url() {
    let (url, server) = scripted(vec![("403 Forbidden", Vec::new()), ("403 Forbidden", Vec::new())]).await;
    let given = Location::anonymous("https://files.example/given.tif".parse().unwrap());
    let mut heard = Vec::new();
    let found = find(&remote(), IMAGE, &url, &url, Some(&given), &mut heard).await.unwrap();
    assert_eq!((found.files, found.facts, heard.len()), (vec![given], None, 0));
    server.await.unwrap();
}

const KEYS: &str =
    "data|Pixels|client|@id|message|Exception|ConcurrencyException|backOff|Unit|Value|(Size|PhysicalSize)[XYZCT]";

/// Texts, with those that matter often enough to be met.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "(/?uod/idr/filesets/)?[a-z./%+ ]{0,12}",
        "MICROMETER|ANGSTROM|METER|PIXEL",
        (1usize..50_000).prop_map(|length| "é".repeat(length)),
    ]
}

/// Checks what holds for every body: no panic, messages of bounded length, and only sound results.
fn check(body: &[u8]) -> Result<(), TestCaseError> {
    let results = match answer(body) {
        Ok(answer) => {
            let _ = answer.busy();
            (answer.files(&files()).map(Some), answer.facts(IMAGE).map(Some))
        }
        Err(error) => (Err(error.clone()), Err(error)),
    };
    match results.0 {
        Ok(locations) => {
            for location in locations.unwrap().iter().map(Location::to_string) {
                prop_assert!(location.starts_with("https://files.example/IDR/"), "{location}");
                prop_assert!(!location.contains("/../"), "{location}");
            }
        }
        Err(error) => prop_assert!(error.to_string().len() < 2000),
    }
    match results.1 {
        Ok(facts) => {
            let facts = facts.unwrap();
            prop_assert!(facts.shape.0.iter().all(|&extent| extent > 0));
            prop_assert!(facts.voxel_size.unwrap_or([1.0; 3]).iter().all(|size| size.is_finite() && *size > 0.0));
        }
        Err(error) => prop_assert!(error.to_string().len() < 2000),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn any_json_gives_an_answer_or_an_error(json in any_json(texts(), KEYS)) {
        check(json.to_string().as_bytes())?;
    }

    #[test]
    fn a_recorded_answer_with_a_part_exchanged_gives_an_answer_or_an_error(
        part in any::<prop::sample::Index>(), json in any_json(texts(), KEYS), paths in any::<bool>()
    ) {
        let mut document: Value = serde_json::from_slice(if paths { PATHS } else { FACTS }).unwrap();
        exchange(&mut document, &part, json);
        check(document.to_string().as_bytes())?;
    }

    #[test]
    fn a_recorded_answer_with_bytes_changed_gives_an_answer_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(), paths in any::<bool>()
    ) {
        let mut body = if paths { PATHS } else { FACTS }.to_vec();
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        check(&body)?;
        body.truncate(end.index(body.len()));
        check(&body)?;
    }
}
