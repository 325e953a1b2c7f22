//! The header of an MRC file. Its cell is in ångströms, over as many samples as it says.

use serde_json::Value;

use super::{ClaimTarget, count};
use crate::document::DocumentKind;
use crate::length::Unit;
use crate::metadata::claim_set::{ClaimSet, Rank};

pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    let Some(doc) = target.doc(claims, &DocumentKind::MrcHeader) else { return };
    for (number, axis) in ["x", "y", "z"].into_iter().enumerate() {
        let shape = target.at(&format!("shape/{axis}"));
        // Where bytes hold two voxels, the header may count bytes.
        let is_counted = axis == "x" && claims.found(doc, "/voxels_per_row").is_some();
        let place = if is_counted { "/voxels_per_row".to_owned() } else { format!("/n{axis}") };
        claims.upstream(&shape, Rank::File, (doc, &place), Some("voxels"), count);
        let samples = claims.found(doc, &format!("/m{axis}")).and_then(Value::as_f64).unwrap_or(0.0);
        let field = target.at(&format!("voxel_size/{axis}"));
        let size = |cell: &Value| {
            let size = cell.as_f64()? / samples;
            let short: f64 = format!("{size:.6e}").parse().ok()?;
            Unit::named("Å")?.nanometres(short).filter(|size| *size > 0.0).map(Value::from)
        };
        // A cell of 0 is one that nobody stated.
        if samples > 0.0 && claims.found(doc, &format!("/cella/{number}")).and_then(Value::as_f64) != Some(0.0) {
            claims.upstream(&field, Rank::File, (doc, &format!("/cella/{number}")), Some("Å"), size);
        }
    }
}
