//! Dimensions as neuroglancer's states have them: a name, a scale and its unit.

use serde_json::Value;

/// Axes as lists of emfs have them.
pub(super) const AXES: [&str; 3] = ["z", "y", "x"];

/// The number of an axis of that name.
pub(super) fn axis_named(name: &str) -> Option<usize> {
    AXES.iter().position(|axis| *axis == name)
}

/// The unit of a dimension, in nanometres, and whether it is a length.
pub(super) fn scale_of(name: &str, dimension: &Value) -> Result<(f64, bool), String> {
    let unit = dimension[1].as_str().unwrap_or_default();
    let factor = match unit {
        "" => Some(1.0),
        "pm" => Some(1e-3),
        "nm" => Some(1.0),
        "um" | "µm" | "μm" => Some(1e3),
        "mm" => Some(1e6),
        "cm" => Some(1e7),
        "m" => Some(1e9),
        "km" => Some(1e12),
        _ => None,
    };
    let factor = factor.ok_or_else(|| format!("the dimension {name} is in `{unit}`, which is no length"))?;
    let scale = dimension[0].as_f64().map(|scale| scale * factor).filter(|scale| scale.is_finite() && *scale > 0.0);
    let scale = scale.ok_or_else(|| format!("the dimension {name} has no scale above 0"))?;
    Ok((scale, !unit.is_empty()))
}
