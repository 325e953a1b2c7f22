//! What emfs itself knows of an image: how it shows it, and what follows from that.

use serde_json::{Value, json};

use super::claim_set::{ClaimSet, Evidence, Rank};
use super::fields::IMAGE;
use super::{ImageRecord, Knowledge};
use crate::catalog::SourceSpec;
use crate::dtype::DataType;
use crate::source::StatedPlace;
use crate::volume::Pyramid;
use crate::volume::intensity::Intensity;
use crate::volume::view::in_place;

/// Names of the axes in the order of arrays.
const AXES: [&str; 3] = ["z", "y", "x"];

/// The rule of what the source says.
const AS_SOURCE: &str = "the source as it was opened";

/// An image's part of the record, all fields there and unknown.
pub(super) fn template(levels: usize) -> Value {
    let mut image = super::template(IMAGE);
    let level = json!({
        "path": null, "shape": [null, null, null], "chunk": [null, null, null],
        "scale_nm": [null, null, null], "translation_nm": [null, null, null], "made_by": null,
    });
    image["levels"] = if levels == 0 { Value::Null } else { vec![level; levels].into() };
    image
}

/// Claims what is known of the image whether it is open or not. `image`: what a label image belongs to, where that is open.
pub(super) fn claim(
    claims: &mut ClaimSet<'_>,
    prefix: &str,
    record: &ImageRecord<'_>,
    image: Option<&Pyramid>,
    reference: &str,
) {
    let below = record.named.label.map(|label| format!("/labels/{label}")).unwrap_or_default();
    let layout = "the layout of the mount, by the names in the catalogue";
    let mut shown = |field: &str, value: Value, rule: &str| claims.shown(&format!("{prefix}/{field}"), value, rule);
    shown("name", record.named.label.unwrap_or(record.named.image).into(), layout);
    shown("content_type", if record.named.label.is_some() { "segmentation" } else { "em" }.into(), layout);
    shown("zarr", format!("{}.zarr{below}", record.named.image).into(), layout);
    shown("zarr_v3", format!("{}.v3.zarr{below}", record.named.image).into(), layout);
    shown("source_kind", record.named.source.kind.name().into(), "the catalogue");
    for (number, axis) in AXES.into_iter().enumerate() {
        shown(&format!("axes/{number}"), axis.into(), "arrays are always shown in the order z, y, x");
    }
    match record.named.label {
        Some(_) => shown("label_of", record.named.image.into(), layout),
        None => claims.missing(&format!("{prefix}/label_of"), "it is no label image"),
    }
    match &record.knowledge {
        Knowledge::Described { pyramid, origin, intensity } => {
            claims.shown(&format!("{prefix}/url"), *origin, "the address that the source was opened at");
            configured(claims, prefix, record.named.source, reference);
            match record.named.label {
                Some(_) => describe_label(claims, prefix, image, pyramid),
                None => describe(claims, prefix, pyramid, (AS_SOURCE, Some(AS_SOURCE))),
            }
            statistics(claims, prefix, pyramid.dtype, *intensity);
            if record.named.label.is_none() && !claims.has(&format!("{prefix}/membranes")) {
                let (value, reason) = match pyramid.inverted {
                    false => ("dark", "heavy metals are shown dark by custom; no source says otherwise"),
                    true => (
                        "bright",
                        "its source has low values shown bright, so what is dark by custom, heavy metals, has high values",
                    ),
                };
                let field = format!("{prefix}/membranes");
                claims.claim(
                    &field,
                    value.into(),
                    Evidence::Assumed { reason: reason.to_owned() },
                    Rank::Derived,
                    None,
                );
            } else if record.named.label.is_some() {
                claims.missing(&format!("{prefix}/membranes"), "it is a label image");
            }
        }
        Knowledge::Missing(reason) => {
            claims.missing(prefix, reason);
            claims.doubt(prefix, "so says the archive; the source itself has not answered yet");
            if AXES.iter().any(|axis| claims.has(&format!("{prefix}/voxel_size/{axis}"))) {
                let rule = "lengths are always told in nanometres".to_owned();
                let field = format!("{prefix}/voxel_size/unit");
                claims.claim(&field, "nanometer".into(), Evidence::Computed { rule }, Rank::Derived, None);
            }
            if let Some(url) = super::configured_url(record.named.source) {
                claims.shown(&format!("{prefix}/url"), url, "the address of the configuration");
            }
        }
    }
}

/// What the configuration says where the source is silent.
fn configured(claims: &mut ClaimSet<'_>, prefix: &str, spec: &SourceSpec, reference: &str) {
    let evidence = |unit: Option<&str>| Evidence::Curated {
        reference: reference.to_owned(),
        found: None,
        unit: unit.map(str::to_owned),
    };
    if let Some(size) = spec.overrides.voxel_size {
        for (axis, length) in AXES.into_iter().zip(size) {
            let field = format!("{prefix}/voxel_size/{axis}");
            let reason = Some("the configuration overrules the source".to_owned());
            claims.claim(&field, length.into(), evidence(Some("nm")), Rank::Preferred, reason);
        }
    }
    if let Some(size) = spec.voxel_size {
        for (axis, length) in AXES.into_iter().zip(size) {
            let field = format!("{prefix}/voxel_size/{axis}");
            claims.claim(&field, length.into(), evidence(Some("nm")), Rank::Catalogue, None);
        }
    }
    if let Some((low, high)) = spec.window {
        claims.claim(&format!("{prefix}/display_window/low"), low.into(), evidence(None), Rank::Catalogue, None);
        claims.claim(&format!("{prefix}/display_window/high"), high.into(), evidence(None), Rank::Catalogue, None);
    }
}

/// Claims of a label image what its image's stores show: it may have its voxel size and its place of the image only.
fn describe_label(claims: &mut ClaimSet<'_>, prefix: &str, image: Option<&Pyramid>, label: &Pyramid) {
    let Some(image) = image else {
        let place = Some(AS_SOURCE).filter(|_| label.stated_place == StatedPlace::Centre);
        return describe(claims, prefix, label, (AS_SOURCE, place));
    };
    let shown = in_place(image, label);
    let size = if shown.calibrated == label.calibrated { AS_SOURCE } else { "its image's, whose shape it has" };
    let place = match label.stated_place {
        StatedPlace::Nowhere if shown.is_calibrated() => {
            "it begins at the corner of its image, since its source states no place"
        }
        _ => AS_SOURCE,
    };
    describe(claims, prefix, &shown, (size, Some(place)));
}

/// `size_rule` and `place_rule` tell where voxel size and place are from; without the latter the place is not known.
fn describe(claims: &mut ClaimSet<'_>, prefix: &str, pyramid: &Pyramid, (size_rule, place_rule): (&str, Option<&str>)) {
    let Some(finest) = pyramid.levels.first() else { return };
    let mut shown = |field: &str, value: Value, rule: &str| claims.shown(&format!("{prefix}/{field}"), value, rule);
    let as_source = AS_SOURCE;
    let as_served = "the chunks that emfs serves";
    shown("dtype", pyramid.dtype.name().into(), as_source);
    shown("upstream_format", pyramid.format.to_string().into(), as_source);
    shown("level_count", pyramid.levels.len().into(), "the number of levels");
    for (axis, name) in AXES.into_iter().enumerate() {
        shown(&format!("shape/{name}"), finest.grid.shape.0[axis].into(), as_source);
        shown(&format!("chunk/{name}"), finest.grid.cell.0[axis].into(), as_served);
        if pyramid.calibrated[axis] {
            shown(&format!("voxel_size/{name}"), finest.scale[axis].into(), size_rule);
            if let Some(rule) = place_rule {
                shown(&format!("origin/{name}"), finest.translation[axis].into(), rule);
            }
        }
    }
    if pyramid.calibrated != [false; 3] {
        shown("voxel_size/unit", "nanometer".into(), "lengths are always told in nanometres");
    }
    if pyramid.calibrated != [false; 3] && place_rule.is_some() {
        shown("origin/unit", "nanometer".into(), "lengths are always told in nanometres");
    }
    if pyramid.is_calibrated() {
        let (least, most) = finest.scale.iter().fold((f64::INFINITY, 0.0f64), |(a, b), s| (a.min(*s), b.max(*s)));
        let ratio = (most / least * 1e6).round() / 1e6;
        shown("anisotropy", ratio.into(), "the largest voxel distance over the smallest, to six digits");
    }
    let bytes = finest.grid.shape.bytes(pyramid.dtype.size());
    shown("bytes_uncompressed", bytes.into(), "the product of the shape and the bytes of a voxel");
    shown("display_window/low", pyramid.window.0.into(), &pyramid.window_rule);
    shown("display_window/high", pyramid.window.1.into(), &pyramid.window_rule);
    if pyramid.format.is_uncompressed {
        shown("lossy", false.into(), "the archive stores the voxels as they are");
    }
    if pyramid.format.is_plain {
        shown("bytes_on_the_wire", bytes.into(), "the archive's file holds the voxels as they are");
    }
    for (number, level) in pyramid.levels.iter().enumerate() {
        let computed = pyramid.computed.filter(|_| number > 0);
        let as_source = if computed.is_some() { "emfs computes it from the level below" } else { as_source };
        let at = |field: &str| format!("levels/{number}/{field}");
        shown(&at("path"), format!("s{number}").into(), "the layout of the mount");
        for axis in 0..3 {
            shown(&at(&format!("shape/{axis}")), level.grid.shape.0[axis].into(), as_source);
            shown(&at(&format!("chunk/{axis}")), level.grid.cell.0[axis].into(), as_served);
            if pyramid.calibrated[axis] {
                let rule = |rule| if computed.is_some() { as_source } else { rule };
                shown(&at(&format!("scale_nm/{axis}")), level.scale[axis].into(), rule(size_rule));
                if let Some(place) = place_rule {
                    shown(&at(&format!("translation_nm/{axis}")), level.translation[axis].into(), rule(place));
                }
            }
        }
        let by = match (number, computed, &pyramid.downsampling) {
            (0, ..) => "as acquired or published".to_owned(),
            (_, Some(rule), _) => format!("emfs, from s{}: {}", number - 1, rule.sentence()),
            (_, _, Some(how)) => format!("the archive, by {how}"),
            (_, _, None) => "the archive, it does not say how".to_owned(),
        };
        shown(
            &at("made_by"),
            by.into(),
            "emfs shows the levels of the source, and computes coarser ones where it has none",
        );
    }
    if !pyramid.format.is_plain {
        let reason = match pyramid.format.is_uncompressed {
            true => {
                "pieces at the edges are sent padded and absent ones not at all, so it is known only when all is read"
            }
            false => "the archive stores it compressed; how many bytes it sends is known only when all is read",
        };
        claims.missing(&format!("{prefix}/bytes_on_the_wire"), reason);
    }
    if place_rule.is_none() {
        let reason = "it follows from the image that it belongs to, which is not open";
        for field in ["origin", "levels"] {
            claims.missing_otherwise(&format!("{prefix}/{field}"), reason);
        }
    }
    let told: Vec<&str> =
        AXES.into_iter().zip(pyramid.calibrated).filter(|(_, is)| *is).map(|(axis, _)| axis).collect();
    if told.is_empty() {
        for field in ["voxel_size", "origin", "anisotropy", "levels"] {
            let field = format!("{prefix}/{field}");
            claims.missing_otherwise(&field, "neither the source nor the configuration states a voxel size");
        }
    } else if !pyramid.is_calibrated() {
        let reason =
            format!("neither the source nor the configuration states more of the voxel size than {}", told.join(", "));
        for field in ["voxel_size", "origin", "anisotropy", "levels"] {
            claims.missing_otherwise(&format!("{prefix}/{field}"), &reason);
        }
    }
}

/// Statistics of voxels, where somebody had them computed on this machine; else what the type can hold.
fn statistics(claims: &mut ClaimSet<'_>, prefix: &str, dtype: DataType, intensity: Option<&Intensity>) {
    let field = |name: &str| format!("{prefix}/intensity/{name}");
    let Some(intensity) = intensity else {
        let (least, most) = range(dtype);
        claims.shown(&field("min"), least, "the range of the type");
        claims.shown(&field("max"), most, "the range of the type");
        let reason = "not computed on this machine; `emfs stats` does it and keeps it with the cache";
        for name in ["mean", "std", "percentiles"] {
            claims.missing_otherwise(&field(name), reason);
        }
        return;
    };
    let Intensity { blocks, blocks_sha256, .. } = intensity;
    let rule = format!("emfs stats of {blocks} blocks of s0, whose list has the SHA-256 {blocks_sha256}");
    claims.shown(&field("min"), intensity.min.clone(), &rule);
    claims.shown(&field("max"), intensity.max.clone(), &rule);
    claims.shown(&field("mean"), intensity.mean, &rule);
    claims.shown(&field("std"), intensity.std, &rule);
    for (percent, value) in &intensity.percentiles {
        claims.shown(&field(&format!("percentiles/{percent}")), *value, &rule);
    }
}

fn range(dtype: DataType) -> (Value, Value) {
    match dtype {
        DataType::U8 => (0.into(), u8::MAX.into()),
        DataType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::U16 => (0.into(), u16::MAX.into()),
        DataType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::U32 => (0.into(), u32::MAX.into()),
        DataType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::U64 => (0.into(), u64::MAX.into()),
        DataType::I64 => (i64::MIN.into(), i64::MAX.into()),
        DataType::F32 => (json!(f64::from(f32::MIN)), json!(f64::from(f32::MAX))),
        DataType::F64 => (json!(f64::MIN), json!(f64::MAX)),
    }
}
