//! OMERO's description of an image, and what people noted about it (map annotations).

use serde_json::Value;

use super::{ClaimTarget, count, date, length, text};
use crate::document::DocumentKind;
use crate::metadata::claim_set::{ClaimSet, Rank};
use crate::metadata::terms;

/// What is noted about images, by the keys of IDR.
const NOTES: [(&str, &str); 7] = [
    ("Organism", "/biosample/organism"),
    ("Cell Line", "/biosample/cell_line"),
    ("Cell Cycle Stage", "/biosample/stage"),
    ("Developmental Stage", "/biosample/stage"),
    ("Organism Part", "/biosample/tissue"),
    ("Strain", "/biosample/strain"),
    ("Imaging Method", "/acquisition/method"),
];

/// How a note about a study is understood.
type Convert = fn(&Value) -> Option<Value>;

/// What is noted about studies. The values of some end with an address: `CC BY 4.0 https://…`.
const STUDY: [(&str, &str, Convert); 7] = [
    ("Study Title", "/study/title", text),
    ("Publication Title", "/study/title", text),
    ("Release Date", "/study/release_date", date),
    ("License", "/study/licence", |note| terms::licence(named(note)?).map(Value::from)),
    ("License", "/study/licence_url", |note| {
        note.as_str()?.split_whitespace().find(|word| is_url(word)).map(Value::from)
    }),
    ("Copyright", "/study/copyright", text),
    ("Data Publisher", "/study/publisher", text),
];

/// Keys of DOIs; the data's stands before the publication's.
const DOIS: [&str; 2] = ["Data DOI", "Publication DOI"];
/// Names that are taken of one list of authors.
const MAX_AUTHORS: usize = 1000;

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    if let Some(doc) = target.doc(claims, &DocumentKind::OmeroImage) {
        image(claims, target, doc);
    }
    if target.main
        && let Some(doc) = target.doc(claims, &DocumentKind::OmeroAnnotations)
    {
        for (pointer, key) in pairs(claims, doc, None) {
            if let Some((_, field)) = NOTES.iter().find(|(name, _)| *name == key) {
                claims.upstream(field, Rank::Archive, (doc, &pointer), None, text);
            }
        }
    }
    if target.main
        && let Some(doc) = target.doc(claims, &DocumentKind::OmeroStudy)
    {
        study(claims, doc);
    }
}

fn image(claims: &mut ClaimSet<'_>, target: &ClaimTarget, doc: usize) {
    let root = if claims.found(doc, "/data/0").is_some() { "/data/0" } else { "/data" };
    let pixels = format!("{root}/Pixels");
    for axis in ["z", "y", "x"] {
        let upper = axis.to_ascii_uppercase();
        let shape = target.at(&format!("shape/{axis}"));
        claims.upstream(&shape, Rank::Archive, (doc, &format!("{pixels}/Size{upper}")), None, count);
        let size = format!("{pixels}/PhysicalSize{upper}");
        let unit = claims.found(doc, &format!("{size}/Unit")).and_then(Value::as_str).unwrap_or_default().to_owned();
        let field = target.at(&format!("voxel_size/{axis}"));
        claims.upstream(&field, Rank::Archive, (doc, &format!("{size}/Value")), Some(&unit), length(&unit));
    }
    claims.upstream(&target.at("dtype"), Rank::Archive, (doc, &format!("{pixels}/Type/value")), None, |name| {
        Some(match name.as_str()? {
            "float" => "float32".into(),
            "double" => "float64".into(),
            name => name.into(),
        })
    });
    if target.main {
        let pointer = format!("{root}/AcquisitionDate");
        claims.upstream("/acquisition/started", Rank::Archive, (doc, &pointer), None, date);
    }
}

fn study(claims: &mut ClaimSet<'_>, doc: usize) {
    let pairs = pairs(claims, doc, Some("ProjectI"));
    for (pointer, key) in &pairs {
        for (_, field, convert) in STUDY.iter().filter(|(name, ..)| name == key) {
            claims.upstream(field, Rank::Archive, (doc, pointer), None, convert);
        }
        if key == "Publication Authors" {
            let names = claims.found(doc, pointer).and_then(Value::as_str).map_or(0, |names| names.split(',').count());
            for number in 0..names.min(MAX_AUTHORS) {
                let one = |all: &Value| all.as_str()?.split(',').nth(number).map(|name| name.trim().into());
                claims.upstream(&format!("/study/authors/{number}"), Rank::Archive, (doc, pointer), None, one);
            }
        }
    }
    let dois = DOIS.iter().filter_map(|wanted| pairs.iter().find(|(_, key)| key == wanted));
    for (number, (pointer, _)) in dois.enumerate() {
        let convert = |note: &Value| terms::doi(note.as_str()?).map(Value::from);
        claims.upstream(&format!("/study/doi/{number}"), Rank::Archive, (doc, pointer), None, convert);
    }
}

/// The pointers of all noted values with their keys, of which one may be there twice. `parent` is the class of the object
/// that the notes must be of, since projects and screens share numbers.
fn pairs(claims: &ClaimSet<'_>, doc: usize, parent: Option<&str>) -> Vec<(String, String)> {
    let list = claims.found(doc, "/annotations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut found = Vec::new();
    for (number, annotation) in list.iter().enumerate() {
        let of = annotation.pointer("/link/parent/class").and_then(Value::as_str);
        if of.zip(parent).is_some_and(|(is, wanted)| is != wanted) {
            continue;
        }
        let pairs = annotation.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (place, pair) in pairs.iter().enumerate() {
            if let Some(key) = pair.get(0).and_then(Value::as_str) {
                found.push((format!("/annotations/{number}/values/{place}/1"), key.to_owned()));
            }
        }
    }
    found
}

fn is_url(word: &str) -> bool {
    word.starts_with("https://") || word.starts_with("http://")
}

/// What stands before the address.
fn named(note: &Value) -> Option<&str> {
    let note = note.as_str()?;
    Some(note.find("http").map_or(note, |at| &note[..at]).trim())
}
