//! What the documents of one array share in both formats.

use serde_json::{Map, Value, json};

use super::ome::whole;
use crate::dtype::{DataType, FillValue};
use crate::volume::view::AXES;
use crate::volume::{Level, Pyramid};

/// Attributes of a level: axis names, voxel size in words, and, where everything is a whole number of nanometres, the
/// keys that gunpowder and funlib read.
pub(super) fn attributes(pyramid: &Pyramid, level: &Level) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert("_ARRAY_DIMENSIONS".into(), json!(AXES));
    if !pyramid.calibrated {
        return keys;
    }
    keys.insert("dimension_units".into(), json!(level.scale.map(|size| format!("{size} nm"))));
    // Those readers cut fractions off without a word, so a fractional value is better not stated at all.
    if let (Some(size), Some(offset)) = (all_whole(level.scale), all_whole(level.translation)) {
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

/// The fill value as both formats write it: a number, or a word for the floats that JSON has no number for.
pub(super) fn fill_value(dtype: DataType, fill: &FillValue) -> Value {
    let mut wide = [0; 8];
    let bytes = fill.as_le_bytes();
    let size = bytes.len().min(dtype.size());
    wide[..size].copy_from_slice(&bytes[..size]);
    let unsigned = u64::from_le_bytes(wide);
    match dtype {
        DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64 => json!(unsigned),
        DataType::I8 => json!(unsigned as u8 as i8),
        DataType::I16 => json!(unsigned as u16 as i16),
        DataType::I32 => json!(unsigned as u32 as i32),
        DataType::I64 => json!(unsigned as i64),
        DataType::F32 => float(f64::from(f32::from_bits(unsigned as u32))),
        DataType::F64 => float(f64::from_bits(unsigned)),
    }
}

fn float(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}
