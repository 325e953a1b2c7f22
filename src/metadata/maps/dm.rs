//! The dump of the tags of a DM3 or DM4 file. Its axes are x, y, z.

use serde_json::Value;

use super::{ClaimTarget, count, date, length, number, positive, text};
use crate::document::DocumentKind;
use crate::length::shifted;
use crate::metadata::claim_set::{ClaimSet, Rank};
use crate::metadata::dates::filetime;

/// Data types of an image by Gatan's numbers.
const TYPES: [(u64, &str); 8] = [
    (1, "int16"),
    (2, "float32"),
    (6, "uint8"),
    (7, "int32"),
    (9, "int8"),
    (10, "uint16"),
    (11, "uint32"),
    (12, "float64"),
];

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    let Some(doc) = target.doc(claims, &DocumentKind::DmTags) else { return };
    let Some(image) = image(claims, doc) else { return };
    let image = format!("/ImageList/{image}");
    let tags = format!("{image}/ImageTags");
    let at = |rest: &str| format!("{image}/ImageData/{rest}");
    for (axis, number) in [("x", 0), ("y", 1), ("z", 2)] {
        let shape = target.at(&format!("shape/{axis}"));
        claims.upstream(&shape, Rank::File, (doc, &at(&format!("Dimensions/{number}"))), Some("pixels"), count);
        let size = target.at(&format!("voxel_size/{axis}"));
        calibration(claims, doc, &size, &at(&format!("Calibrations/Dimension/{number}")));
        calibration(claims, doc, &size, &format!("{tags}/Meta Data/Dimension info/{number}"));
    }
    claims.upstream(&target.at("dtype"), Rank::File, (doc, &at("DataType")), None, |kind| {
        let kind = kind.as_u64()?;
        TYPES.iter().find(|(number, _)| *number == kind).map(|(_, name)| (*name).into())
    });
    let thickness = format!("{tags}/SBFSEM/Record/Slice thickness");
    claims.upstream(&target.at("voxel_size/z"), Rank::Archive, (doc, &thickness), Some("nm"), length("nm"));
    let display = "/DocumentObjectList/0/ImageDisplayInfo";
    for (field, tag) in [("display_window/low", "LowLimit"), ("display_window/high", "HighLimit")] {
        let pointer = format!("{display}/{tag}");
        claims.upstream(&target.at(field), Rank::File, (doc, &pointer), None, |value| number(value).map(Value::from));
    }
    if target.main {
        acquisition(claims, doc, &tags, &thickness);
    }
}

fn acquisition(claims: &mut ClaimSet<'_>, doc: usize, tags: &str, thickness: &str) {
    let at = |rest: &str| format!("{tags}/{rest}");
    let scaled = |exponent: i32| move |value: &Value| shifted(positive(value)?, exponent).map(Value::from);
    claims.upstream("/acquisition/slice_thickness_nm", Rank::File, (doc, thickness), Some("nm"), length("nm"));
    let mut claim = |field: &str, tag: &str, unit: &str, exponent: i32| {
        claims.upstream(&format!("/acquisition/{field}"), Rank::File, (doc, &at(tag)), Some(unit), scaled(exponent));
    };
    claim("accelerating_voltage_kv", "Microscope Info/Voltage", "V", -3);
    claim("beam_current_na", "Microscope Info/Probe Current (nA)", "nA", 0);
    claim("dwell_time_us", "DigiScan/Sample Time", "µs", 0);
    claims.upstream("/acquisition/instrument", Rank::File, (doc, &at("Microscope Info/Name")), None, text);
    claims.upstream("/acquisition/detector", Rank::File, (doc, &at("DataBar/Signal Name")), None, text);
    let ticks = "100 ns since 1601-01-01 UTC";
    claims.upstream(
        "/acquisition/started",
        Rank::File,
        (doc, &at("DataBar/Acquisition Time (OS)")),
        Some(ticks),
        |value| filetime(number(value)?).map(Value::from),
    );
    if claims.value("/acquisition/started").is_none() {
        claims.upstream(
            "/acquisition/started",
            Rank::File,
            (doc, &at("DataBar/Acquisition Date")),
            Some("dd.mm.yyyy"),
            date,
        );
    }
}

/// A calibration whose unit stands beside its scale.
fn calibration(claims: &mut ClaimSet<'_>, doc: usize, field: &str, pointer: &str) {
    let unit = claims.found(doc, &format!("{pointer}/Units")).and_then(Value::as_str).unwrap_or_default().to_owned();
    // Without a unit it counts pixels.
    if !unit.is_empty() {
        claims.upstream(field, Rank::File, (doc, &format!("{pointer}/Scale")), Some(&unit), length(&unit));
    }
}

/// The number of the image, which is not the thumbnail.
fn image(claims: &ClaimSet<'_>, doc: usize) -> Option<String> {
    let images = claims.found(doc, "/ImageList")?.as_object()?;
    let kind = |image: &Value| image.pointer("/ImageData/DataType").and_then(Value::as_u64);
    let size = |image: &Value| {
        let extent = |axis: &str| image.pointer(&format!("/ImageData/Dimensions/{axis}")).and_then(Value::as_u64);
        extent("0").zip(extent("1")).map_or(0, |(x, y)| x.saturating_mul(y))
    };
    let shown = images.iter().filter(|(_, image)| kind(image).is_some_and(|kind| kind != 23));
    shown.max_by_key(|(_, image)| size(image)).map(|(number, _)| number.clone())
}
