//! Hostile documents, and what is made of contradictions.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;
use crate::catalog::Catalog;
use crate::document::DocumentKind;
use crate::document::arbitrary::{any_json, exchange};
use crate::dtype::DataType;
use crate::geometry::{Grid, Shape};
use crate::source::StatedPlace;
use crate::volume::Level;

const CATALOG: &str = r#"
[[dataset]]
name = "d"
[dataset.about]
title = "A title"
licence = "do as you like"
facts = [
    { field = "acquisition/accelerating_voltage_kv", value = 1.5, as_found = "1500", unit = "V" },
    { field = "images/em/shape/x", value = 7, rejected = "a slip" },
    { field = "no/such/field", value = 1 },
    { field = "extra/slabs", value = 13, reference = "https://h/page" },
    { field = "extra/borders", value = [0, 7], reference = "https://h/page" },
    { field = "extra/no such", value = 1 },
]
[dataset.source]
kind = "tiff"
url = "https://h/a.tif"
[[dataset.view]]
name = "sample"
image = "em"
crop = "z0-4_y1-5_x2-6"
"#;

fn pyramid() -> Pyramid {
    let grid = Grid { shape: Shape([4, 5, 6]), cell: Shape([4, 5, 6]) };
    let level = Level { grid, scale: [50.0, 8.0, 8.0], translation: [0.0; 3], corner: [0.0; 3], offset: [0; 3] };
    Pyramid::for_tests(DataType::U8, vec![level])
}

fn record_of(documents: &[Document]) -> Value {
    record_with(Knowledge::Described { pyramid: &pyramid(), origin: "https://h/a.tif", intensity: None }, documents)
}

fn record_with(knowledge: Knowledge<'_>, documents: &[Document]) -> Value {
    let catalog = Catalog::parse(CATALOG, "test", None).unwrap();
    let dataset = &catalog.datasets[0];
    let named = dataset.sources().next().unwrap();
    record(dataset, &[ImageRecord { named, knowledge, documents }])
}

fn entry(width: Value, pixel: Value) -> Document {
    let set = json!({"image_width": width, "image_height": "5", "pixel_width": pixel, "pixel_height": 80.0});
    Document::dump(
        DocumentKind::EmpiarEntry,
        "u",
        &json!({"EMPIAR-1": {"imagesets": [set], "title": "T", "free": [1, null]}}),
    )
}

/// Every known value has a way it came, every unknown one a reason, and every pointer leads to what was found.
fn check(record: &Value, documents: &[Document]) {
    let sections = super::places::SECTIONS;
    let mut places: Vec<(String, &Value)> = sections.iter().map(|name| (format!("/{name}"), &record[*name])).collect();
    while let Some((pointer, value)) = places.pop() {
        match value {
            Value::Object(members) => {
                places.extend(members.iter().map(|(key, value)| (format!("{pointer}/{key}"), value)));
            }
            Value::Array(items) => {
                places.extend(items.iter().enumerate().map(|(number, value)| (format!("{pointer}/{number}"), value)));
            }
            Value::Null => assert!(record["missing"][&pointer].is_string(), "{pointer}"),
            _ => {
                let entry = &record["provenance"][&pointer];
                assert!(entry["method"].is_string(), "{pointer}");
                if entry["method"] == "upstream" {
                    let file = entry["document"].as_str().unwrap().trim_start_matches("upstream/");
                    let document = documents.iter().find(|document| document.name == file).unwrap();
                    let found = document.value();
                    assert_eq!(found.pointer(entry["pointer"].as_str().unwrap()), Some(&entry["value_as_found"]));
                }
            }
        }
    }
}

#[test]
fn a_voxel_size_along_some_axes_is_told_of_these() {
    let partly = Pyramid { calibrated: [false, true, true], ..pyramid() };
    let record =
        record_with(Knowledge::Described { pyramid: &partly, origin: "https://h/a.tif", intensity: None }, &[]);
    let image = &record["images"][0];
    assert_eq!(image["voxel_size"], json!({"z": null, "y": 8.0, "x": 8.0, "unit": "nanometer"}));
    assert_eq!(image["levels"][0]["scale_nm"], json!([null, 8.0, 8.0]));
    assert_eq!(image["anisotropy"], Value::Null);
    let reason = "neither the source nor the configuration states more of the voxel size than y, x";
    for field in ["voxel_size/z", "origin/z", "anisotropy", "levels/0/scale_nm/0"] {
        assert!(record["missing"].to_string().contains(reason), "{field}: {}", record["missing"]);
    }
    check(&record, &[]);
}

/// The label image's part of a record, with its image open or not.
fn label_record(image: Option<&Pyramid>, label: &Pyramid) -> (Value, Value) {
    let text = format!(
        "{CATALOG}\n[[dataset.labels]]\nname = \"cells\"\nsource = {{ kind = \"tiff\", url = \"https://h/l.tif\" }}\n"
    );
    let catalog = Catalog::parse(&text, "test", None).unwrap();
    let dataset = &catalog.datasets[0];
    let open = |pyramid| Knowledge::Described { pyramid, origin: "https://h/a.tif", intensity: None };
    let image = image.map_or(Knowledge::Missing("no answer".into()), open);
    let records: Vec<_> = dataset
        .sources()
        .zip([image, open(label)])
        .map(|(named, knowledge)| ImageRecord { named, knowledge, documents: &[] })
        .collect();
    let record = record(dataset, &records);
    check(&record, &[]);
    (record["images"][1].clone(), record["missing"].clone())
}

#[test]
fn labels_have_in_the_record_the_voxel_size_and_the_place_that_their_store_shows() {
    let mut image = pyramid();
    image.levels[0].translation = [100.0, 16.0, 24.0];
    image.levels[0].corner = [100.0, 16.0, 24.0];
    let silent = Pyramid { stated_place: StatedPlace::Nowhere, ..pyramid() };
    let size = |record: &Value| record["voxel_size"].clone();
    let place = |record: &Value| (record["origin"]["z"].clone(), record["levels"][0]["translation_nm"].clone());
    let scaled = |record: &Value| record["levels"][0]["scale_nm"].clone();

    let mut lone = Pyramid { calibrated: [false; 3], ..silent.clone() };
    lone.levels[0].scale = [1.0; 3];
    let (record, _) = label_record(Some(&image), &lone);
    assert_eq!(size(&record), json!({"z": 50.0, "y": 8.0, "x": 8.0, "unit": "nanometer"}));
    assert_eq!(
        (place(&record), scaled(&record)),
        ((json!(100.0), json!([100.0, 16.0, 24.0])), json!([50.0, 8.0, 8.0]))
    );

    let mut coarse = silent.clone();
    coarse.levels[0].scale = [100.0, 16.0, 16.0];
    let (record, _) = label_record(Some(&image), &coarse);
    assert_eq!(place(&record), (json!(125.0), json!([125.0, 20.0, 28.0])));
    let (record, missing) = label_record(None, &coarse);
    assert_eq!((size(&record)["z"].clone(), place(&record)), (json!(100.0), (Value::Null, json!([null, null, null]))));
    assert!(missing["/images/1/origin/z"].as_str().unwrap().contains("not open"), "{missing}");

    let placed = Pyramid { stated_place: StatedPlace::Centre, ..coarse };
    for image in [Some(&image), None] {
        assert_eq!(place(&label_record(image, &placed).0), (json!(0.0), json!([0.0, 0.0, 0.0])));
    }
}

#[test]
fn views_that_are_listed_are_in_the_record() {
    let expected = json!({
        "name": "sample", "image": "em", "crop": "z0-4_y1-5_x2-6", "zarr": "sample.zarr", "zarr_v3": "sample.v3.zarr",
    });
    assert_eq!(record_of(&[])["views"], json!([expected]));
}

#[test]
fn what_is_shown_is_the_value_and_what_contradicts_it_is_kept() {
    let documents = [entry(json!("9"), json!(80.0))];
    let record = record_of(&documents);
    check(&record, &documents);
    assert_eq!(record["images"][0]["shape"]["x"], 6);
    let others = &record["alternatives"]["/images/0/shape/x"];
    assert_eq!((&others[0]["value"], &others[0]["provenance"]["value_as_found"]), (&json!(9), &json!("9")));
    assert_eq!((&others[1]["value"], &others[1]["reason"]), (&json!(7), &json!("a slip")));
    assert_eq!(record["provenance"]["/images/0/voxel_size/x"]["unit_as_found"], "Å");
    assert_eq!(record["provenance"]["/images/0/shape/y"]["method"], "upstream");
    assert_eq!(record["acquisition"]["accelerating_voltage_kv"], 1.5);
    assert_eq!((&record["study"]["title"], &record["title"]), (&json!("T"), &json!("A title")));
    assert_eq!(record["extra"]["upstream"]["empiar-entry.json"]["/EMPIAR-1/free/0"], 1);
    assert!(record["missing"]["/study/licence"].as_str().unwrap().contains("licence_statement"));
}

#[test]
fn what_the_archive_said_is_told_and_marked_while_the_source_is_silent() {
    let documents = [entry(json!("9"), json!(80.0))];
    let record = record_with(Knowledge::Missing("no answer".into()), &documents);
    check(&record, &documents);
    assert_eq!((&record["study"]["title"], &record["images"][0]["shape"]["x"]), (&json!("T"), &json!(9)));
    assert_eq!(record["images"][0]["voxel_size"], json!({"z": null, "y": 8.0, "x": 8.0, "unit": "nanometer"}));
    assert_eq!(record["missing"]["/images/0/shape/z"], "no answer");
    let reason = &record["provenance"]["/images/0/shape/x"]["reason"];
    assert!(reason.as_str().unwrap().contains("has not answered"), "{reason}");
    assert!(record["provenance"]["/study/title"]["reason"].is_null());
}

#[test]
fn a_size_by_imagej_is_in_the_unit_of_its_axis() {
    let description = json!({"unit": "micron", "yunit": "Å", "zunit": "nm", "spacing": "50"});
    let tags = json!({"XResolution": {"value": [125, 1]}, "YResolution": {"value": [1, 80]}});
    let documents = [Document::dump(DocumentKind::TiffTags, "u", &json!({"tags": tags, "description": description}))];
    let record = record_with(Knowledge::Missing("no answer".into()), &documents);
    check(&record, &documents);
    assert_eq!(record["images"][0]["voxel_size"], json!({"z": 50.0, "y": 8.0, "x": 8.0, "unit": "nanometer"}));
}

#[test]
fn facts_without_a_field_are_extra_and_have_their_source() {
    let record = record_of(&[]);
    assert_eq!(record["extra"]["curated"], json!({"slabs": 13, "borders": [0, 7]}));
    assert_eq!(record["provenance"]["/extra/curated/slabs"]["reference"], "https://h/page");
    assert_eq!(record["provenance"]["/extra/curated/borders/1"]["method"], "curated");
    assert!(record["extra"]["about"]["facts"].is_null());
}

#[test]
fn notes_of_a_study_are_understood_and_those_of_a_screen_of_its_number_are_not() {
    let notes = |class: &str| {
        let values = json!([
            ["License", "CC BY 4.0 https://h/by"],
            ["Data DOI", "10.1/d https://doi.org/10.1/d"],
            ["Publication DOI", "10.1/p"],
            ["Publication Authors", "A B, C D"],
            ["Release Date", "2020-07-22"]
        ]);
        let annotation = json!({"link": {"parent": {"class": class}}, "values": values});
        Document::dump(DocumentKind::OmeroStudy, "u", &json!({"annotations": [annotation]}))
    };
    let documents = [notes("ProjectI")];
    let record = record_of(&documents);
    check(&record, &documents);
    assert_eq!(
        (&record["study"]["licence"], &record["study"]["licence_url"]),
        (&json!("CC-BY-4.0"), &json!("https://h/by"))
    );
    assert_eq!(
        (&record["study"]["doi"], &record["study"]["authors"]),
        (&json!(["10.1/d", "10.1/p"]), &json!(["A B", "C D"]))
    );
    assert_eq!(record["study"]["release_date"], "2020-07-22");
    assert!(record_of(&[notes("ScreenI")])["study"]["doi"].is_null());
}

/// The tags of a real section, as another program printed them: `root.ImageList.1.Name`.
#[test]
fn a_real_section_tells_its_date_voxel_size_and_microscope() {
    let Some(folder) = std::env::var_os("EMFS_SAMPLES") else { return };
    let Ok(text) = std::fs::read(std::path::Path::new(&folder).join("empiar11759_tags_slice0000.json")) else { return };
    let dump: Value = serde_json::from_slice(&text).unwrap();
    let mut tags = json!({});
    for (path, value) in dump["full_original_tags"].as_object().unwrap() {
        // Numbers of list members are names of tags here, too; a dot inside a name is followed by a space.
        let mut place = &mut tags;
        for part in path.trim_start_matches("root.").split('.') {
            place = &mut place[part];
            if place.is_null() {
                *place = json!({});
            }
        }
        let text = value.as_str().unwrap();
        *place = text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .unwrap_or(text.into());
    }
    let documents = [Document::dump(DocumentKind::DmTags, "u", &tags)];
    let record = record_with(Knowledge::Missing("no answer".into()), &documents);
    check(&record, &documents);
    let acquisition = &record["acquisition"];
    assert_eq!(acquisition["started"], "2018-06-11T20:27:16Z");
    assert_eq!((&acquisition["instrument"], &acquisition["detector"]), (&json!("FEI Quanta"), &json!("3VBSED")));
    assert_eq!((&acquisition["dwell_time_us"], &acquisition["slice_thickness_nm"]), (&json!(0.5), &json!(50.0)));
    assert_eq!(record["images"][0]["shape"], json!({"z": null, "y": 5500, "x": 5496}));
    assert_eq!(record["images"][0]["voxel_size"]["x"], 7.998250424861908);
    assert_eq!(record["images"][0]["display_window"], json!({"low": 65.0, "high": 123.0}));
}

#[test]
fn values_of_a_wrong_type_are_a_reason_and_no_failure() {
    for wrong in [json!(null), json!({}), json!([1]), json!("many"), json!(-3), json!(1e300), json!(""), json!(true)] {
        let documents = [entry(wrong.clone(), wrong.clone())];
        let record = record_of(&documents);
        check(&record, &documents);
        assert_eq!(record["images"][0]["shape"]["x"], 6, "{wrong}");
    }
    let documents = [Document::dump(DocumentKind::EmpiarEntry, "u", &json!({"EMPIAR-1": {"release_date": "soon"}}))];
    let reason = record_of(&documents)["missing"]["/study/release_date"].as_str().unwrap().to_owned();
    assert_eq!(reason, "upstream/empiar-entry.json has \"soon\" at /EMPIAR-1/release_date, which is no such value");
    let long = "x".repeat(1 << 20);
    let documents = [Document::dump(DocumentKind::EmpiarEntry, "u", &json!({"E": {"title": long}}))];
    assert_eq!(record_of(&documents)["study"]["title"], "A title");
}

#[test]
fn the_built_in_facts_are_all_fields_of_the_record() {
    for dataset in Catalog::builtin().unwrap().datasets {
        for fact in dataset.about.get("facts").and_then(toml::Value::as_array).into_iter().flatten() {
            let field = fact["field"].as_str().unwrap();
            let name = field.strip_prefix("images/em/").unwrap_or(field);
            let extra = field.strip_prefix("extra/").is_some_and(|name| !name.contains(['/', ' ', '-']));
            assert!(extra || DATASET.iter().chain(fields::IMAGE).any(|known| known.path == name), "{field}");
            assert!(fact.get("value").is_some());
        }
    }
}

#[test]
fn a_pattern_chooses_rows() {
    for (pattern, text, fits) in [
        ("acquisition/*", "acquisition/method", true),
        ("*size*", "image/voxel_size", true),
        ("study/?oi", "study/doi", true),
        ("study", "study/doi", false),
        ("*", "", true),
    ] {
        assert_eq!(text::matches(pattern, text), fits, "{pattern} {text}");
    }
    let records = [record_of(&[])];
    let all = aligned_columns(&records, 80, Some("*voxel_size*"));
    assert!(all.lines().nth(2).unwrap().contains("50, 8, 8"), "{all}");
}

proptest! {
    // A case makes a whole record and five tables of it.
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64).min(100_000)))]

    #[test]
    fn no_document_breaks_a_record(
        kind in 0usize..8, place: Index, value in any_json("[ -~µÅ]{0,12}", "[a-zA-Z/~]{1,8}")
    ) {
        let (kind, text) = [
            (DocumentKind::OmeroImage, include_str!("../demo/replica/idr/image.json")),
            (DocumentKind::OmeroAnnotations, include_str!("../demo/replica/idr/annotations.json")),
            (DocumentKind::OmeroStudy, include_str!("../demo/replica/idr/study.json")),
            (DocumentKind::EmpiarEntry, include_str!("../demo/replica/empiar/entry.json")),
            (DocumentKind::TiffTags, r#"{"pages": 4, "tags": {"XResolution": {"value": [50, 1]}, "ResolutionUnit": {"value": 2},
                "BitsPerSample": {"value": 8}}, "description": {"unit": "nm", "spacing": "50", "min": "0"}}"#),
            (DocumentKind::DmTags, r#"{"ImageList": {"1": {"ImageData": {"DataType": 6, "Dimensions": {"0": 6, "1": 5},
                "Calibrations": {"Dimension": {"0": {"Scale": 0.008, "Units": "µm"}}}},
                "ImageTags": {"DataBar": {"Acquisition Date": "11.06.2018", "Acquisition Time (OS)": 1.3e17}}}}}"#),
            (DocumentKind::of_store("zattrs", ""), r#"{"multiscales": [{"axes": [{"name": "z"}, {"name": "y"}, {"name": "x", "unit": "nanometer"}],
                "datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [50, 8, 8]}]}]}]}"#),
            (DocumentKind::PrecomputedInfo, r#"{"data_type": "uint8", "scales": [{"size": [6, 5, 4], "resolution": [8, 8, 50],
                "chunk_sizes": [[6, 5, 4]], "encoding": "jpeg"}]}"#),
        ]
        .into_iter()
        .nth(kind)
        .unwrap();
        let mut document = serde_json::from_str(text).unwrap();
        exchange(&mut document, &place, value);
        let documents = [Document::dump(kind, "u", &document)];
        let record = record_of(&documents);
        check(&record, &documents);
        let records = [record];
        prop_assert!(!csv(&records).is_empty() && !correspondence(&records).is_empty());
        for width in [40, 80, 160] {
            prop_assert!(aligned_columns(&records, width, None).lines().all(|line| line.chars().count() <= width));
        }
        markdown(&records, None);
        readme(&records);
    }

    #[test]
    fn bytes_that_are_no_json_are_no_document(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Some(document) = Document::fetched(DocumentKind::EmpiarEntry, "u", &Bytes::from(bytes)) {
            record_of(&[document]);
        }
    }
}
