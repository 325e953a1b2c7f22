//! What the documents of one array share in both formats.

use serde_json::{Map, Value, json};

use super::ome::whole;
use crate::view::AXES;
use crate::volume::{Level, Pyramid};

/// Attributes of a level in both formats: voxel size in words, and, where everything is a whole number of nanometres, the
/// keys that gunpowder and funlib read.
pub(super) fn attributes(pyramid: &Pyramid, level: &Level) -> Map<String, Value> {
    let mut keys = Map::new();
    if pyramid.calibrated == [false; 3] {
        return keys;
    }
    let unit = |axis: usize| pyramid.calibrated[axis].then(|| format!("{} nm", level.scale[axis]));
    keys.insert("dimension_units".into(), json!([0, 1, 2].map(unit)));
    if !pyramid.is_calibrated() {
        return keys;
    }
    // Those readers cut fractions off without a word, count from the corner of a voxel and cannot have it between two, so
    // what is not so is better not stated at all.
    if let (Some(size), Some(offset)) = (all_whole(level.scale), all_whole(level.corner))
        && (0..3).all(|axis| offset[axis] % size[axis] == 0)
    {
        keys.insert("resolution".into(), json!(size));
        keys.insert("voxel_size".into(), json!(size));
        keys.insert("offset".into(), json!(offset));
        keys.insert("axis_names".into(), json!(AXES));
        keys.insert("units".into(), json!(["nm", "nm", "nm"]));
        keys.insert("types".into(), json!(["space", "space", "space"]));
    }
    keys
}

fn all_whole(values: [f64; 3]) -> Option<[i64; 3]> {
    let [z, y, x] = values.map(whole);
    Some([z?, y?, x?])
}
