//! The dump of the tags of a TIFF file's first page.

use serde_json::{Value, json};

use super::{Target, any_number, count, date, length};
use crate::length::Unit;
use crate::metadata::claim_set::{ClaimSet, Evidence, Rank};

/// Why a resolution is not taken for a voxel size.
const OF_PRINT: &str = "most programs write the resolution of a print into these tags, so they alone are no voxel size";

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &Target) {
    let Some(doc) = target.doc(claims, "tiff-tags.json") else { return };
    claims.upstream(&target.at("shape/z"), Rank::File, (doc, "/pages"), Some("pages"), count);
    for (axis, tag) in [("y", "ImageLength"), ("x", "ImageWidth")] {
        let pointer = format!("/tags/{tag}/value");
        claims.upstream(&target.at(&format!("shape/{axis}")), Rank::File, (doc, &pointer), Some("pixels"), count);
    }
    let format = claims.found(doc, "/tags/SampleFormat/value").and_then(Value::as_u64).unwrap_or(1);
    let kind = match format {
        1 | 4 => "uint",
        2 => "int",
        _ => "float",
    };
    claims.upstream(&target.at("dtype"), Rank::File, (doc, "/tags/BitsPerSample/value"), Some("bits"), |bits| {
        Some(format!("{kind}{}", bits.as_u64()?).into())
    });
    voxel_size(claims, target, doc);
    for (field, key) in [("display_window/low", "min"), ("display_window/high", "max")] {
        claims.upstream(&target.at(field), Rank::File, (doc, &format!("/description/{key}")), None, any_number);
    }
    claims.upstream(&target.at("lossy"), Rank::File, (doc, "/tags/Compression/value"), None, |compression| {
        // JPEG in its variants.
        Some(matches!(compression.as_u64()?, 6 | 7 | 34712 | 33003 | 33005 | 34892).into())
    });
    if target.main {
        claims.upstream("/acquisition/started", Rank::File, (doc, "/tags/DateTime/value"), None, date);
    }
}

/// ImageJ's unit along an axis: `own`, which it writes where that differs, else `unit`.
fn unit_of(claims: &ClaimSet<'_>, doc: usize, own: &str) -> Option<String> {
    let found = claims.found(doc, &format!("/description/{own}")).or_else(|| claims.found(doc, "/description/unit"));
    found.and_then(Value::as_str).map(str::to_owned)
}

fn voxel_size(claims: &mut ClaimSet<'_>, target: &Target, doc: usize) {
    if let Some(unit) = unit_of(claims, doc, "zunit") {
        let pointer = (doc, "/description/spacing");
        claims.upstream(&target.at("voxel_size/z"), Rank::File, pointer, Some(&unit), length(&unit));
    }
    let tag_unit = match claims.found(doc, "/tags/ResolutionUnit/value").and_then(Value::as_u64) {
        Some(2) => Some("inch"),
        Some(3) => Some("cm"),
        _ => None,
    };
    for (axis, own, tag) in [("y", "yunit", "YResolution"), ("x", "unit", "XResolution")] {
        let unit = unit_of(claims, doc, own);
        let pointer = format!("/tags/{tag}/value");
        let field = target.at(&format!("voxel_size/{axis}"));
        let size = |unit: &str, found: &Value| {
            Unit::named(unit)?.per_pixel([found.get(0)?.as_f64()?, found.get(1)?.as_f64()?])
        };
        match (&unit, tag_unit) {
            (Some(unit), _) => {
                let as_found = format!("pixels per {unit}");
                claims.upstream(&field, Rank::File, (doc, &pointer), Some(&as_found), |found| {
                    size(unit, found).map(Value::from)
                });
            }
            (None, Some(unit)) => {
                let Some(found) = claims.found(doc, &pointer).cloned() else { continue };
                let Some(value) = size(unit, &found) else { continue };
                let unit = Some(format!("pixels per {unit}"));
                let evidence = Evidence::Upstream { doc, pointer, found, unit };
                claims.claim(&field, json!(value), evidence, Rank::Hint, Some(OF_PRINT.to_owned()));
            }
            (None, None) => {}
        }
    }
}
