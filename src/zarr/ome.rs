//! The OME-NGFF description of a multiscale image, shared by both formats.
//!
//! Sources: <https://ngff.openmicroscopy.org/0.4/> and <https://ngff.openmicroscopy.org/0.5/>. Readers differ in what
//! they need: some use only the first transform of a level, so the scale comes first; some need the whole `omero` block;
//! some refuse unit names other than the long ones.

use serde_json::{Map, Value, json};

use super::{Format, Group};
use crate::dtype::DataType;
use crate::geometry::LevelIndex;
use crate::view::{AXES, LevelNames};
use crate::volume::computed::DownsamplingRule;

/// The keys that make a group an OME-Zarr image: `multiscales` and either `omero`, how to display it, or `image-label`.
pub(super) fn image(group: &Group<'_>, format: Format) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert("multiscales".into(), json!([multiscale(group, format)]));
    if group.is_label {
        // No `omero`: napari's reader would hand its contrast limits to a layer of labels, which refuses them.
        keys.insert("image-label".into(), versioned(format, label(group)));
    } else {
        keys.insert("omero".into(), omero(group, format));
    }
    keys
}

/// Whose labels they are, and what is known of their values.
fn label(group: &Group<'_>) -> Value {
    let values = &group.pyramid.values;
    let colours = values.iter().filter_map(|value| {
        let [red, green, blue] = value.colour?;
        Some(json!({"label-value": value.value, "rgba": [red, green, blue, 255]}))
    });
    let names = values.iter().filter_map(|value| {
        let name = value.name.as_deref()?;
        Some(json!({"label-value": value.value, "name": name}))
    });
    let (colours, names): (Vec<Value>, Vec<Value>) = (colours.collect(), names.collect());
    let mut label = json!({"source": {"image": "../../"}});
    // An empty list is none by the specification.
    if !colours.is_empty() {
        label["colors"] = colours.into();
    }
    if !names.is_empty() {
        label["properties"] = names.into();
    }
    label
}

fn multiscale(group: &Group<'_>, format: Format) -> Value {
    let pyramid = group.pyramid;
    let axes: Vec<Value> = AXES
        .iter()
        .zip(pyramid.calibrated)
        .map(|(axis, is_calibrated)| {
            if is_calibrated {
                json!({"name": axis, "type": "space", "unit": "nanometer"})
            } else {
                json!({"name": axis, "type": "space"})
            }
        })
        .collect();
    let names: Vec<String> = group.levels().map(|(name, _)| name).collect();
    let datasets: Vec<Value> = names
        .iter()
        .zip(&pyramid.levels)
        .map(|(name, level)| {
            json!({"path": name, "coordinateTransformations": [
                {"type": "scale", "scale": level.scale},
                {"type": "translation", "translation": level.translation},
            ]})
        })
        .collect();
    let mut multiscale = versioned(format, json!({"name": group.name, "axes": axes, "datasets": datasets}));
    if let Value::Object(keys) = &mut multiscale {
        let mut metadata = json!({"description": description(group, &names)});
        if let Some(rule) = pyramid.computed {
            keys.insert("type".into(), json!(rule.name()));
            metadata["method"] = json!(format!("emfs {}", rule.name()));
            metadata["version"] = json!(DownsamplingRule::VERSION.to_string());
        } else if let Some(method) = &pyramid.downsampling {
            keys.insert("type".into(), json!(method));
        }
        keys.insert("metadata".into(), metadata);
    }
    multiscale
}

/// How the levels came to be, in a sentence.
fn description(group: &Group<'_>, names: &[String]) -> String {
    let (pyramid, finest) = (group.pyramid, group.level_names.name(LevelIndex(0)));
    let origin = &pyramid.format;
    if let Some(rule) = pyramid.computed {
        let made = format!("each computed by emfs from the level below: {}", rule.sentence());
        return match names.split_first() {
            Some((first, coarser)) if *first == finest => match coarser {
                [] => format!("{finest} is the origin's data ({origin})"),
                _ => format!("{finest} is the origin's data ({origin}); the coarser levels are {made}"),
            },
            _ => format!("{} of the origin's data ({origin}), {made}", names.join(", ")),
        };
    }
    let made = match &pyramid.downsampling {
        Some(method) => format!("made by: {method}"),
        None => "which does not say how they were made".to_owned(),
    };
    match names.split_first() {
        Some((first, coarser)) if *first == finest => {
            let data = format!("{finest} is the origin's data ({origin})");
            if coarser.is_empty() { data } else { format!("{data}; the coarser levels are the origin's own, {made}") }
        }
        _ => format!("all levels ({}) are coarser ones of the origin's ({origin}), {made}", names.join(", ")),
    }
}

/// One channel, though there is no channel axis: the specification ties `channels` to none, and readers (iohub, napari,
/// neuroglancer, vizarr) take name and contrast from there.
fn omero(group: &Group<'_>, format: Format) -> Value {
    let pyramid = group.pyramid;
    let (start, end) = pyramid.window;
    let (low, high) = match pyramid.dtype {
        // Floating-point voxels have no range of use, so the displayed one widens the unit interval.
        dtype @ (DataType::F32 | DataType::F64) => {
            let (low, high) = dtype.display_range();
            (low.min(start), high.max(end))
        }
        dtype => dtype.display_range(),
    };
    versioned(
        format,
        json!({
            "name": group.name,
            "channels": [{
                "label": "EM", "color": "FFFFFF", "active": true, "coefficient": 1, "family": "linear",
                "inverted": pyramid.inverted,
                "window": {"min": number(low), "max": number(high), "start": number(start), "end": number(end)},
            }],
            "rdefs": rendering(group.level_names),
        }),
    )
}

/// How to begin showing it. No plane is named: viewers take the middle one, and vizarr takes the number for an index at every
/// level, where coarser ones have fewer planes. iohub, for which numbered levels are there, knows nothing of an image without it.
fn rendering(names: LevelNames) -> Value {
    match names {
        LevelNames::Lettered => json!({"model": "greyscale"}),
        LevelNames::Numbered => json!({"model": "greyscale", "defaultT": 0, "defaultZ": 0}),
    }
}

/// In OME-NGFF 0.4 every block states the version, in 0.5 only the group does.
fn versioned(format: Format, block: Value) -> Value {
    match (format, block) {
        (Format::V2, Value::Object(keys)) => {
            let mut block = Map::new();
            block.insert("version".into(), json!("0.4"));
            block.extend(keys);
            Value::Object(block)
        }
        (_, block) => block,
    }
}

/// A whole number without a decimal point where it is one.
fn number(value: f64) -> Value {
    whole(value).map_or_else(|| json!(value), |value| json!(value))
}

/// The integer that a float is, if it is one that floats hold exactly.
pub(super) fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < (1u64 << 53) as f64).then_some(value as i64)
}
