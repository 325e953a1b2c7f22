//! The dump of the tags of a TIFF file's first page.

use serde_json::{Value, json};

use super::{ClaimTarget, any_number, count, date, length};
use crate::document::DocumentKind;
use crate::length::Unit;
use crate::metadata::claim_set::{ClaimSet, Evidence, Rank};

/// Why a resolution is not taken for a voxel size.
const OF_PRINT: &str = "most programs write the resolution of a print into these tags, so they alone are no voxel size";

/// Pixels of so many nanometres or more may be those of a print.
const SMALLEST_OF_PRINT: f64 = 1000.0;

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    let Some(doc) = target.doc(claims, &DocumentKind::TiffTags) else { return };
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
        // Of a list all are alike.
        let bits = bits.as_u64().or_else(|| bits.get(0)?.as_u64())?;
        // Numbers of other sizes are shown in the next larger type.
        let shown = match (kind, bits) {
            ("uint", 1..=8) => 8,
            ("uint", 9..=16) => 16,
            ("float", 16) => 32,
            (_, bits) => bits,
        };
        Some(format!("{kind}{shown}").into())
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

fn voxel_size(claims: &mut ClaimSet<'_>, target: &ClaimTarget, doc: usize) {
    // ImageJ2's `unit` is not that of its resolution tags; it lists the sizes of all axes.
    let is_scifio = claims.found(doc, "/description/SCIFIO").is_some();
    if is_scifio {
        lists(claims, target, doc);
    } else if let Some(unit) = unit_of(claims, doc, "zunit") {
        let pointer = (doc, "/description/spacing");
        claims.upstream(&target.at("voxel_size/z"), Rank::File, pointer, Some(&unit), length(&unit));
    }
    let tag_unit = match claims.found(doc, "/tags/ResolutionUnit/value").and_then(Value::as_u64) {
        Some(2) => Some("inch"),
        Some(3) => Some("cm"),
        _ => None,
    };
    for (axis, own, tag) in [("y", "yunit", "YResolution"), ("x", "unit", "XResolution")] {
        let unit = if is_scifio { None } else { unit_of(claims, doc, own) };
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
                let (rank, reason) = match value < SMALLEST_OF_PRINT {
                    true => (Rank::File, None),
                    false => (Rank::Hint, Some(OF_PRINT.to_owned())),
                };
                claims.claim(&field, json!(value), evidence, rank, reason);
            }
            (None, None) => {}
        }
    }
}

/// The sizes that ImageJ2 lists, `axes=X,Y,Z`, `scales=…` and `units=…`.
fn lists(claims: &mut ClaimSet<'_>, target: &ClaimTarget, doc: usize) {
    let list = |claims: &ClaimSet<'_>, key: &str| -> Vec<String> {
        let found = claims.found(doc, &format!("/description/{key}")).and_then(Value::as_str).unwrap_or_default();
        found.split(',').map(|item| item.trim().to_owned()).collect()
    };
    let (axes, units) = (list(claims, "axes"), list(claims, "units"));
    for axis in ["z", "y", "x"] {
        let Some(place) = axes.iter().position(|name| name.eq_ignore_ascii_case(axis)) else { continue };
        let unit = units.get(place).cloned().unwrap_or_default();
        let field = target.at(&format!("voxel_size/{axis}"));
        claims.upstream(&field, Rank::File, (doc, "/description/scales"), Some(&unit), |scales| {
            length(&unit)(&scales.as_str()?.split(',').nth(place)?.trim().into())
        });
    }
}
