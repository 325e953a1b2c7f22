//! Folders of which the documents of one version fail, or that have those of both.

use serde_json::json;

use super::lone::image;
use super::*;
use crate::source::Source;

/// An array and an image of version 3.
fn third() -> [Shelf; 2] {
    let group = json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": attributes()}});
    [Shelf::of([("zarr.json", zarr_json())]), Shelf::of([("zarr.json", group), ("s0/zarr.json", zarr_json())])]
}

fn format(source: &ZarrSource) -> String {
    source.description().format.to_string()
}

#[test]
fn what_is_of_version_3_is_shown_whatever_becomes_of_documents_of_version_2() {
    for cause in [
        Cause::NotFound,
        Cause::Denied(403),
        Cause::Status(500),
        Cause::Status(400),
        Cause::timeout(60),
        Cause::Connection("refused".to_owned()),
        Cause::Protocol("not a regular file".to_owned()),
        Cause::Forbidden("permission denied".to_owned()),
    ] {
        for shelf in third() {
            let refused = shelf.refuse(".zattrs", cause.clone()).refuse(".zarray", cause.clone());
            assert!(format(&refused.open_healed().unwrap()).contains("in Zarr v3"), "{cause}");
        }
        // Without `zarr.json` such a failure is that of the image, which may be of version 2.
        let nothing = Shelf::of([]).refuse(".zattrs", cause.clone()).open_healed().map(drop).unwrap_err();
        let is_absent = cause == Cause::NotFound;
        assert!(is_absent || matches!(&nothing, SourceError::Remote(error) if error.cause == cause), "{nothing}");
    }
    for text in ["<html></html>", "{", "[]", "{}", r#"{"multiscales": 7}"#, r#"{"_ARRAY_DIMENSIONS": ["q"]}"#] {
        for shelf in third() {
            assert!(format(&shelf.raw(".zattrs", text).open_healed().unwrap()).contains("in Zarr v3"), "{text}");
        }
    }
}

#[test]
fn nobody_waits_for_documents_of_version_2_of_what_is_of_version_3() {
    for shelf in third() {
        assert!(format(&shelf.silent(".zattrs").open().unwrap()).contains("in Zarr v3"));
    }
}

#[test]
fn a_folder_of_both_versions_is_the_image_of_version_2_unless_that_fails() {
    let [_, group] = third();
    let both = group.raw(".zattrs", &attributes().to_string()).raw("s0/.zarray", &zarray().to_string());
    assert!(format(&both.open().unwrap()).contains("in Zarr v2"));
    assert_eq!(both.asked(), [".zattrs", "s0/.zarray"]);
    // A single bad answer changes nothing of that.
    assert!(both.raw(".zattrs", "<html></html>").open().is_err());
}

#[test]
fn a_page_in_place_of_each_missing_document_hides_no_array_of_version_2() {
    let page = "<!DOCTYPE html>";
    let array = |attributes: &str| {
        Shelf::of([(".zarray", zarray())]).raw(".zattrs", attributes).raw("zarr.json", page).raw("../.zattrs", page)
    };
    for attributes in [page, " \n<html>", "{}"] {
        assert!(array(attributes).open().is_err());
        assert!(format(&array(attributes).open_healed().unwrap()).contains("in Zarr v2"), "{attributes}");
    }
    // What is its own and broken is no such page.
    let error = array("{").open_healed().map(drop).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{GROUP}/.zattrs: document: it is no valid JSON")), "{error}");
    // Nor is an array of version 2 shown while what may be its `zarr.json` cannot be had.
    let later = Shelf::of([(".zarray", zarray())]).refuse("zarr.json", Cause::Status(503));
    assert!(later.open_healed().is_err());
    let listed = image(&["x", "y", "z"], &[json!([8, 8, 40])]).to_string();
    let source = array(page).raw("../.zattrs", &listed).open_healed().unwrap();
    assert_eq!(source.description().levels[0].scale, Some([40.0, 8.0, 8.0]));
}
