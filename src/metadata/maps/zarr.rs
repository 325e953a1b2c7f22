//! The documents of a Zarr group with OME-NGFF multiscales, v2 and v3.

use serde_json::Value;

use super::{AXES, ClaimTarget, count, text};
use crate::document::DocumentKind;
use crate::length::Unit;
use crate::metadata::claim_set::{ClaimSet, Rank};

/// Codecs that give back what they were given.
const LOSSLESS: [&str; 8] = ["blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd", "bytes"];

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    let of_store = DocumentKind::of_store;
    let (doc, image, array) = if let Some(doc) = target.doc(claims, &of_store("zattrs", "")) {
        (doc, "/multiscales/0", "zarray")
    } else if let Some(doc) = target.doc(claims, &of_store("zarr", "")) {
        (doc, "/attributes/ome/multiscales/0", "zarr")
    } else {
        if let Some(lone) = target.doc(claims, &of_store("zarray", "")) {
            arrays(claims, target, lone, 0, [0, 1, 2]);
        }
        return;
    };
    let Some(multiscale) = claims.found(doc, image).cloned() else { return };
    let Some(axes) = axes(&multiscale) else { return };
    let global = transform(&multiscale, "scale").map(|(_, values)| values);
    let units: Vec<Option<String>> = axes
        .iter()
        .map(|axis| multiscale.pointer(&format!("/axes/{axis}/unit")).and_then(Value::as_str).map(str::to_owned))
        .collect();
    let datasets = multiscale.get("datasets").and_then(Value::as_array).cloned().unwrap_or_default();
    // Levels are shown finest first, whatever the order of the document, and only those of which the array is.
    let found = |dataset: &Value| {
        let path = dataset.get("path").and_then(Value::as_str).unwrap_or_default().trim_matches('/');
        target.doc(claims, &of_store(array, path))
    };
    let mut shown: Vec<_> =
        datasets.iter().enumerate().filter_map(|(listed, dataset)| Some((listed, dataset, found(dataset)?))).collect();
    let size = |dataset: &Value| {
        let (_, scale) = transform(dataset, "scale")?;
        axes.iter().map(|&axis| scale.get(axis)?.as_f64()).product::<Option<f64>>()
    };
    shown.sort_by(|a, b| size(a.1).unwrap_or(1.0).total_cmp(&size(b.1).unwrap_or(1.0)));
    for (level, (listed, dataset, found)) in shown.into_iter().enumerate() {
        arrays(claims, target, found, level, axes);
        for (kind, list, first) in [("scale", "scale_nm", "voxel_size"), ("translation", "translation_nm", "origin")] {
            let Some((number, _)) = transform(dataset, kind) else { continue };
            for (place, axis) in axes.iter().enumerate() {
                let pointer = format!("{image}/datasets/{listed}/coordinateTransformations/{number}/{kind}/{axis}");
                // A number along an axis without a unit of length is no length.
                let unit = units.get(place).cloned().flatten();
                let Some(known) = unit.as_deref().and_then(Unit::named) else { continue };
                let factor = global.as_ref().and_then(|scale| scale.get(*axis)?.as_f64()).unwrap_or(1.0);
                let mut claim = |field: &str| {
                    claims.upstream(&target.at(field), Rank::File, (doc, &pointer), unit.as_deref(), |value| {
                        known.nanometres(value.as_f64()? * factor).map(Value::from)
                    });
                };
                claim(&format!("levels/{level}/{list}/{place}"));
                if level == 0 {
                    claim(&format!("{first}/{}", AXES[place]));
                }
            }
        }
    }
    let name = (doc, &*format!("{image}/name"));
    if target.main {
        claims.upstream("/study/title", Rank::Archive, name, None, text);
    }
}

/// The numbers of z, y and x among the axes.
fn axes(multiscale: &Value) -> Option<[usize; 3]> {
    let axes = multiscale.get("axes")?.as_array()?;
    let name = |axis: &Value| axis.get("name").or(Some(axis)).and_then(Value::as_str).map(str::to_ascii_lowercase);
    let find = |wanted: &str| axes.iter().position(|axis| name(axis).as_deref() == Some(wanted));
    Some([find("z")?, find("y")?, find("x")?])
}

/// The transformation of this kind and its number.
fn transform(of: &Value, kind: &str) -> Option<(usize, Vec<Value>)> {
    let list = of.get("coordinateTransformations")?.as_array()?;
    list.iter().enumerate().find_map(|(number, transform)| Some((number, transform.get(kind)?.as_array()?.clone())))
}

fn arrays(claims: &mut ClaimSet<'_>, target: &ClaimTarget, doc: usize, level: usize, axes: [usize; 3]) {
    // The chunks of a sharded array are those in its shards.
    let is_sharded = claims.found(doc, "/codecs/0/name").and_then(Value::as_str) == Some("sharding_indexed");
    let in_v3 =
        if is_sharded { "/codecs/0/configuration/chunk_shape" } else { "/chunk_grid/configuration/chunk_shape" };
    for (place, axis) in axes.iter().enumerate() {
        let pointer = format!("/shape/{axis}");
        claims.upstream(&target.at(&format!("levels/{level}/shape/{place}")), Rank::File, (doc, &pointer), None, count);
        if level == 0 {
            let field = target.at(&format!("shape/{}", AXES[place]));
            claims.upstream(&field, Rank::File, (doc, &pointer), None, count);
        }
        for pointer in [format!("/chunks/{axis}"), format!("{in_v3}/{axis}")] {
            let field = target.at(&format!("levels/{level}/chunk/{place}"));
            claims.upstream(&field, Rank::File, (doc, &pointer), None, count);
            if level == 0 {
                claims.upstream(
                    &target.at(&format!("chunk/{}", AXES[place])),
                    Rank::File,
                    (doc, &pointer),
                    None,
                    count,
                );
            }
        }
    }
    if level > 0 {
        return;
    }
    claims.upstream(&target.at("dtype"), Rank::File, (doc, "/dtype"), None, numpy);
    claims.upstream(&target.at("dtype"), Rank::File, (doc, "/data_type"), None, text);
    claims.upstream(&target.at("lossy"), Rank::File, (doc, "/compressor/id"), None, |codec| {
        LOSSLESS.contains(&codec.as_str()?).then_some(false.into())
    });
}

/// `<i2` as `int16`.
fn numpy(dtype: &Value) -> Option<Value> {
    let dtype = dtype.as_str()?;
    let (kind, bytes) = dtype.strip_prefix(['<', '>', '|'])?.split_at_checked(1)?;
    let kind = match kind {
        "u" => "uint",
        "i" => "int",
        "f" => "float",
        _ => return None,
    };
    let bytes: u32 = bytes.parse().ok().filter(|bytes| (1..=8).contains(bytes))?;
    Some(format!("{kind}{}", bytes * 8).into())
}
