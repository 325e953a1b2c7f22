//! Links to neuroglancer, read.

use serde_json::Value;

use crate::zarr::StoreName;

/// What a link to neuroglancer looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Dataset and store of its first layer that is one of emfs.
    pub dataset: String,
    /// Name of the store.
    pub store: String,
    /// Where its centre is, in nanometres where the axis has a length, else in units of the array: z, y, x.
    pub position: [f64; 3],
}

impl Seen {
    /// Reads a link to neuroglancer, or the state in it.
    pub fn parse(link: &str) -> Result<Seen, String> {
        let state = link.split_once("#!").map_or(link, |(_, state)| state);
        let state = percent_encoding::percent_decode_str(state).decode_utf8().map_err(|_| "the state is no UTF-8")?;
        let state: Value = serde_json::from_str(&state)
            .map_err(|error| format!("what stands behind `#!` is no state of neuroglancer: {error}"))?;
        let position = state["position"].as_array().ok_or("the state has no position; move the view first")?;
        let dimensions = state["dimensions"].as_object().ok_or("the state has no dimensions")?;
        let mut place = [f64::NAN; 3];
        for ((name, dimension), index) in dimensions.iter().zip(position) {
            let Some(axis) = ["z", "y", "x"].iter().position(|axis| axis == name) else { continue };
            let (scale, unit) = (dimension[0].as_f64(), dimension[1].as_str().unwrap_or_default());
            let factor = match unit {
                "m" => 1e9,
                "" => 1.0,
                other => return Err(format!("the dimension {name} is in `{other}`, which is no length")),
            };
            place[axis] = scale.zip(index.as_f64()).map_or(f64::NAN, |(scale, index)| scale * factor * index);
        }
        if place.iter().any(|place| !place.is_finite()) {
            return Err("the state has no position along z, y and x".to_owned());
        }
        let layers = state["layers"].as_array().ok_or("the state has no layers")?;
        let sources = layers.iter().filter_map(|layer| match &layer["source"] {
            Value::String(source) => Some(source.as_str()),
            Value::Array(sources) => sources.first().and_then(|source| source.as_str().or(source["url"].as_str())),
            source => source["url"].as_str(),
        });
        let store = sources.filter_map(store_of).next();
        let (dataset, store) = store.ok_or("no layer of the state is a store of emfs (…/DATASET/NAME.zarr)")?;
        Ok(Seen { dataset, store, position: place })
    }

    /// Name of the image that the store shows.
    pub fn image(&self) -> String {
        self.store.parse::<StoreName>().map_or_else(|_| self.store.clone(), |name| name.image)
    }
}

/// Dataset and store of a source of neuroglancer.
fn store_of(source: &str) -> Option<(String, String)> {
    let source = source.split('|').next()?;
    let parts: Vec<&str> = source.split('/').filter(|part| !part.is_empty()).collect();
    let at = parts.iter().position(|part| part.ends_with(".zarr"))?;
    Some(((*parts.get(at.checked_sub(1)?)?).to_owned(), (*parts.get(at)?).to_owned()))
}
