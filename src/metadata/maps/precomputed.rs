//! The `info` of a neuroglancer precomputed volume. Its axes are x, y, z.

use serde_json::Value;

use super::{AXES, ClaimTarget, count, length};
use crate::document::DocumentKind;
use crate::metadata::claim_set::{ClaimSet, Rank};

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    let Some(doc) = target.doc(claims, &DocumentKind::PrecomputedInfo) else { return };
    claims.upstream(&target.at("dtype"), Rank::File, (doc, "/data_type"), None, |name| {
        Some(name.as_str()?.to_ascii_lowercase().into())
    });
    let scales = claims.found(doc, "/scales").and_then(Value::as_array).cloned().unwrap_or_default();
    let voxel = |scale: &Value| {
        let sides = scale.get("resolution").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        sides.iter().filter_map(Value::as_f64).product::<f64>()
    };
    // Levels are shown finest first, whatever the order of the document.
    let is_empty = |scale: &Value| {
        scale
            .get("size")
            .and_then(Value::as_array)
            .is_some_and(|size| size.iter().any(|extent| extent.as_u64() == Some(0)))
    };
    let mut order: Vec<usize> = (0..scales.len()).filter(|scale| !is_empty(&scales[*scale])).collect();
    order.sort_by(|a, b| voxel(&scales[*a]).total_cmp(&voxel(&scales[*b])));
    for (level, scale) in order.into_iter().enumerate() {
        for (place, axis) in AXES.iter().enumerate() {
            let from = 2 - place;
            let size = format!("/scales/{scale}/size/{from}");
            let resolution = format!("/scales/{scale}/resolution/{from}");
            let chunk = format!("/scales/{scale}/chunk_sizes/0/{from}");
            let mut claim = |field: &str, pointer: &str, unit: Option<&str>, lengths: bool| {
                claims.upstream(&target.at(field), Rank::File, (doc, pointer), unit, |value| {
                    if lengths { length("nm")(value) } else { count(value) }
                });
            };
            claim(&format!("levels/{level}/shape/{place}"), &size, None, false);
            claim(&format!("levels/{level}/scale_nm/{place}"), &resolution, Some("nm"), true);
            claim(&format!("levels/{level}/chunk/{place}"), &chunk, None, false);
            if level == 0 {
                claim(&format!("shape/{axis}"), &size, None, false);
                claim(&format!("voxel_size/{axis}"), &resolution, Some("nm"), true);
                claim(&format!("chunk/{axis}"), &chunk, None, false);
            }
        }
        if level == 0 {
            let pointer = format!("/scales/{scale}/encoding");
            claims.upstream(&target.at("lossy"), Rank::File, (doc, &pointer), None, |encoding| {
                match encoding.as_str()? {
                    "jpeg" => Some(true.into()),
                    "raw" | "png" | "compressed_segmentation" | "compresso" => Some(false.into()),
                    _ => None,
                }
            });
        }
    }
}
