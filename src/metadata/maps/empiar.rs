//! The document of an entry of EMPIAR. Its pixel sizes are in ångströms.

use serde_json::Value;

use super::{ClaimTarget, count, date, length, text};
use crate::document::DocumentKind;
use crate::metadata::claim_set::{ClaimSet, Rank};

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    let Some(doc) = target.doc(claims, &DocumentKind::EmpiarEntry) else { return };
    let Some(key) = claims.found(doc, "").and_then(Value::as_object).and_then(|entries| entries.keys().next().cloned())
    else {
        return;
    };
    let entry = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    let at = |rest: &str| format!("{entry}/{rest}");
    // With several image sets it is not known here which one is shown.
    if claims.found(doc, &at("imagesets")).and_then(Value::as_array).is_some_and(|sets| sets.len() == 1) {
        let set = |field: &str| at(&format!("imagesets/0/{field}"));
        claims.upstream(&target.at("shape/z"), Rank::Archive, (doc, &set("num_images_or_tilt_series")), None, count);
        for (axis, side) in [("y", "height"), ("x", "width")] {
            let field = target.at(&format!("shape/{axis}"));
            claims.upstream(&field, Rank::Archive, (doc, &set(&format!("image_{side}"))), Some("pixels"), count);
            let field = target.at(&format!("voxel_size/{axis}"));
            claims.upstream(&field, Rank::Archive, (doc, &set(&format!("pixel_{side}"))), Some("Å"), length("Å"));
        }
        claims.upstream(&target.at("dtype"), Rank::Archive, (doc, &set("voxel_type")), None, voxel_type);
    }
    if !target.main {
        return;
    }
    for (field, key) in [("title", "title"), ("doi/0", "entry_doi")] {
        claims.upstream(&format!("/study/{field}"), Rank::Archive, (doc, &at(key)), None, text);
    }
    for (field, key) in [("release_date", "release_date"), ("deposition_date", "deposition_date")] {
        claims.upstream(&format!("/study/{field}"), Rank::Archive, (doc, &at(key)), None, date);
    }
    claims.upstream("/acquisition/method", Rank::Archive, (doc, &at("experiment_type")), None, text);
    let authors = claims.found(doc, &at("authors")).and_then(Value::as_array).map_or(0, Vec::len);
    for number in 0..authors {
        let pointer = at(&format!("authors/{number}/author/name"));
        claims.upstream(&format!("/study/authors/{number}"), Rank::Archive, (doc, &pointer), None, text);
    }
}

/// The names of the deposition schema.
fn voxel_type(name: &Value) -> Option<Value> {
    Some(match name.as_str()? {
        "UNSIGNED BYTE" => "uint8".into(),
        "SIGNED BYTE" => "int8".into(),
        "UNSIGNED 16 BIT INTEGER" => "uint16".into(),
        "SIGNED 16 BIT INTEGER" => "int16".into(),
        "UNSIGNED 32 BIT INTEGER" => "uint32".into(),
        "SIGNED 32 BIT INTEGER" => "int32".into(),
        "32 BIT FLOAT" => "float32".into(),
        _ => return None,
    })
}
