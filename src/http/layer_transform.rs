//! Where neuroglancer lays the source of a layer: the `transform` of its state.
//!
//! Its matrix takes voxels of the source to units of `outputDimensions`. A row is one of these, a column one of
//! `inputDimensions`, which are the array's in its own order where the state does not name them; the last column is added.

use serde_json::Value;

use super::dimension::{AXES, axis_named, scale_of};

/// A transform that turns and shears nothing. Lists are z, y, x.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LayerTransform(Option<[AxisTransform; 3]>);

/// What it does along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct AxisTransform {
    /// Units of the output for a voxel.
    factor: f64,
    /// What is added, in these units.
    shift: f64,
    /// The unit, in nanometres where it is a length.
    unit: f64,
}

impl LayerTransform {
    /// Reads it; where there is none, nothing is moved.
    pub fn parse(transform: &Value) -> Result<LayerTransform, String> {
        if transform.is_null() {
            return Ok(LayerTransform(None));
        }
        let unread = || "has a `transform` that cannot be read".to_owned();
        let output = transform["outputDimensions"].as_object().ok_or_else(unread)?;
        let columns: Vec<&str> = match transform.get("inputDimensions") {
            Some(input) => input.as_object().ok_or_else(unread)?.keys().map(String::as_str).collect(),
            None => AXES.to_vec(),
        };
        let rank = columns.len();
        let matrix = transform.get("matrix").filter(|matrix| !matrix.is_null());
        let mut found = [None; 3];
        for (row, (name, dimension)) in output.iter().enumerate() {
            let Some(axis) = axis_named(name) else { continue };
            let numbers: Vec<f64> = match matrix {
                Some(matrix) => {
                    let row = matrix[row].as_array().ok_or_else(unread)?;
                    row.iter().map(Value::as_f64).collect::<Option<_>>().ok_or_else(unread)?
                }
                None => (0..=rank).map(|column| f64::from(u8::from(column == row))).collect(),
            };
            let Some((shift, factors)) = numbers.split_last().filter(|(_, factors)| factors.len() == rank) else {
                return Err(unread());
            };
            let mut factors = columns.iter().zip(factors).filter(|(_, factor)| **factor != 0.0);
            let factor = match (factors.next(), factors.next()) {
                (Some((column, factor)), None) if column == name && factor.is_finite() => *factor,
                _ => return Err("has a `transform` that turns or shears its axes".to_owned()),
            };
            let (unit, _) = scale_of(name, dimension).map_err(|reason| format!("has a `transform`: {reason}"))?;
            found[axis] = Some(AxisTransform { factor, shift: *shift, unit });
        }
        match found {
            [Some(z), Some(y), Some(x)] => Ok(LayerTransform(Some([z, y, x]))),
            _ => Err(unread()),
        }
    }

    /// The place of the source, whose voxels have this scale, that is shown at a place.
    pub fn source_place(&self, shown: [f64; 3], scale: [f64; 3]) -> [f64; 3] {
        let Some(axes) = self.0 else { return shown };
        std::array::from_fn(|axis| {
            let AxisTransform { factor, shift, unit } = axes[axis];
            (shown[axis] / unit - shift) / factor * scale[axis]
        })
    }
}
