//! OMERO's description of an image, and what people noted about it (map annotations).

use serde_json::Value;

use super::{Target, count, date, length, text};
use crate::metadata::sheet::{Rank, Sheet};

/// Namespace of what IDR notes about a study.
const NOTES: [(&str, &str); 10] = [
    ("Organism", "/biosample/organism"),
    ("Cell Line", "/biosample/cell_line"),
    ("Cell Cycle Stage", "/biosample/stage"),
    ("Developmental Stage", "/biosample/stage"),
    ("Organism Part", "/biosample/tissue"),
    ("Strain", "/biosample/strain"),
    ("Study Title", "/study/title"),
    ("Publication Authors", "/study/authors/0"),
    ("Imaging Method", "/acquisition/method"),
    ("Release Date", "/study/release_date"),
];

pub(super) fn read(sheet: &mut Sheet<'_>, target: &Target) {
    if let Some(doc) = target.doc(sheet, "omero-image.json") {
        image(sheet, target, doc);
    }
    if target.main
        && let Some(doc) = target.doc(sheet, "omero-annotations.json")
    {
        annotations(sheet, doc);
    }
}

fn image(sheet: &mut Sheet<'_>, target: &Target, doc: usize) {
    let root = if sheet.found(doc, "/data/0").is_some() { "/data/0" } else { "/data" };
    let pixels = format!("{root}/Pixels");
    for axis in ["z", "y", "x"] {
        let upper = axis.to_ascii_uppercase();
        let shape = target.at(&format!("shape/{axis}"));
        sheet.upstream(&shape, Rank::Archive, (doc, &format!("{pixels}/Size{upper}")), None, count);
        let size = format!("{pixels}/PhysicalSize{upper}");
        let unit = sheet.found(doc, &format!("{size}/Unit")).and_then(Value::as_str).unwrap_or_default().to_owned();
        let field = target.at(&format!("voxel_size/{axis}"));
        sheet.upstream(&field, Rank::Archive, (doc, &format!("{size}/Value")), Some(&unit), length(&unit));
    }
    sheet.upstream(&target.at("dtype"), Rank::Archive, (doc, &format!("{pixels}/Type/value")), None, |name| {
        Some(match name.as_str()? {
            "float" => "float32".into(),
            "double" => "float64".into(),
            name => name.into(),
        })
    });
    if target.main {
        let pointer = format!("{root}/AcquisitionDate");
        sheet.upstream("/acquisition/started", Rank::Archive, (doc, &pointer), None, date);
    }
}

/// Pairs of key and value, of which a key may be there twice.
fn annotations(sheet: &mut Sheet<'_>, doc: usize) {
    let list = sheet.found(doc, "/annotations").and_then(Value::as_array).cloned().unwrap_or_default();
    for (number, annotation) in list.iter().enumerate() {
        let Some(pairs) = annotation.get("values").and_then(Value::as_array) else { continue };
        for (place, pair) in pairs.iter().enumerate() {
            let Some(key) = pair.get(0).and_then(Value::as_str) else { continue };
            let Some((_, field)) = NOTES.iter().find(|(name, _)| *name == key) else { continue };
            let pointer = format!("/annotations/{number}/values/{place}/1");
            let convert = if *field == "/study/release_date" { date } else { text };
            sheet.upstream(field, Rank::Archive, (doc, &pointer), None, convert);
        }
    }
}
