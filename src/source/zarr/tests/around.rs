//! What fails in the group around an array that is shown alone.

use serde_json::json;

use super::groups::with;
use super::lone::image;
use super::*;
use crate::geometry::Shape;
use crate::source::Source;
use crate::source::zarr::above;
use crate::source::zarr::documents::MAX_GROUP_DOCUMENT;

/// An array of each format, as it is opened, and the document of the group around it.
type Alone = (fn() -> Shelf, fn(&Shelf) -> Result<ZarrSource, SourceError>, &'static str);

const ALONE: [Alone; 3] = [
    (|| Shelf::of([(".zarray", zarray())]), Shelf::open_healed, "../.zattrs"),
    (|| Shelf::of([("zarr.json", zarr_json())]), Shelf::open_healed, "../zarr.json"),
    (n5, |shelf| shelf.open_n5_healed_at("s0"), "attributes.json"),
];

fn n5() -> Shelf {
    let array =
        json!({"dimensions": [6, 5, 4], "blockSize": [4, 3, 2], "dataType": "uint16", "compression": {"type": "raw"}});
    Shelf::of([("s0/attributes.json", array)])
}

fn shape(source: &ZarrSource) -> Shape {
    source.description().levels[0].grid.shape
}

/// What is wrong with the document at that key, past every cache.
fn fault(shelf: &Shelf, key: &str) -> Option<String> {
    let document = Location::anonymous(Url::parse(&url_of(key)).unwrap());
    let read = |file: &str, bytes: &[u8]| {
        let value = crate::source::json::parse(file, bytes)?;
        crate::source::json::JsonField::root(file, &value).map(drop)
    };
    run(past_caches(above::said(shelf, &document, MAX_GROUP_DOCUMENT, read))).unwrap().note()
}

#[test]
fn a_bad_document_around_an_array_takes_nothing_but_what_it_says_and_is_named() {
    for (array, open, around) in ALONE {
        for text in ["{", "[]", "<html></html>", "", "7"] {
            let shelf = array().raw(around, text);
            assert_eq!(shape(&open(&shelf).unwrap()), Shape([4, 5, 6]), "{around} {text}");
            let note = fault(&shelf, around).unwrap();
            assert!(note.starts_with(&format!("shown without what the group around it says: {}", url_of(around))));
        }
        for cause in [
            Cause::Protocol("not a regular file".to_owned()),
            Cause::Forbidden("permission denied".to_owned()),
            Cause::Elsewhere("status 301".to_owned()),
            Cause::Request("too many symbolic links".to_owned()),
            Cause::Gone(410),
            Cause::Status(400),
        ] {
            let shelf = array().refuse(around, cause.clone());
            assert_eq!(shape(&open(&shelf).unwrap()), Shape([4, 5, 6]), "{around} {cause}");
            assert!(fault(&shelf, around).unwrap().ends_with(&cause.to_string()));
        }
        for cause in [Cause::NotFound, Cause::Denied(403)] {
            let shelf = array().refuse(around, cause);
            assert!(open(&shelf).is_ok());
            assert_eq!(fault(&shelf, around), None, "nothing is there");
        }
    }
}

#[test]
fn a_document_around_an_array_that_cannot_be_had_just_now_is_an_error() {
    for (array, open, around) in ALONE {
        for cause in [
            Cause::timeout(60),
            Cause::Status(500),
            Cause::Status(503),
            Cause::Status(408),
            Cause::Status(429),
            Cause::Connection("refused".to_owned()),
            Cause::Exhausted("too many open files".to_owned()),
            Cause::Offline("said so".to_owned()),
            Cause::Credentials("expired".to_owned()),
            Cause::Changed("another ETag".to_owned()),
        ] {
            let failed = open(&array().refuse(around, cause.clone())).map(drop);
            assert!(matches!(failed, Err(SourceError::Remote(error)) if error.cause == cause), "{around} {cause}");
        }
    }
}

#[test]
fn a_bad_image_around_an_array_is_believed_past_every_cache_and_says_what_it_can() {
    let array = || Shelf::of([(".zarray", zarray())]);
    let listed =
        |pointer: &str, value: Value| with(image(&["x", "y", "z"], &[json!([8, 8, 40])]), pointer, value).to_string();
    let first = "/multiscales/0/datasets/0/coordinateTransformations";
    for (bad, shape) in [
        (listed("/multiscales/0/version", json!("9.9")), [4, 5, 6]),
        (listed("/multiscales/0/axes", json!([{"name": "lambda"}, {"name": "y"}, {"name": "x"}])), [4, 5, 6]),
        (listed("/multiscales/0/axes", json!(7)), [4, 5, 6]),
        // Without its place it may still say which axis is which.
        (listed(first, json!([{"type": "affine"}])), [6, 5, 4]),
    ] {
        let shelf = array().raw("../.zattrs", &bad);
        assert!(shelf.open().is_err(), "one such answer would turn the volume around: {bad}");
        let source = shelf.open_healed().unwrap();
        assert_eq!((self::shape(&source), source.description().levels[0].scale), (Shape(shape), None), "{bad}");
    }
    // What it says itself stays.
    let named = array().raw(".zattrs", r#"{"_ARRAY_DIMENSIONS": ["x", "y", "z"]}"#);
    assert_eq!(shape(&named.raw("../.zattrs", "{").open_healed().unwrap()), Shape([6, 5, 4]));
    // Where nothing is known of the axes without it, it is the one to be mended.
    let four = with(with(zarray(), "/shape", json!([3, 4, 5, 6])), "/chunks", json!([1, 2, 3, 4]));
    let error = Shelf::of([(".zarray", four)]).raw("../.zattrs", "{").open_healed().map(drop).unwrap_err().to_string();
    assert!(error.starts_with("https://example.org/bucket/.zattrs: document: it is no valid JSON"), "{error}");
}
