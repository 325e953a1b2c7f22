//! Links to neuroglancer, read.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::dimension::{AXES, axis_named, scale_of};
use super::layer_transform::LayerTransform;
use crate::neuroglancer;
use crate::zarr::StoreName;

/// What to do with a link that does not hold what is asked for.
const REMEDY: &str = "open the link in a browser and copy the long address from its bar";

/// What a link to neuroglancer looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Where its centre is: z, y, x.
    position: [Place; 3],
    /// Its layers that may be stores of emfs, the one that is most likely meant first; never empty.
    pub layers: Vec<SeenLayer>,
}

/// A place along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    /// In nanometres, or in units of the array where it has no length.
    at: f64,
    /// Whether it is in nanometres.
    is_length: bool,
}

/// A layer whose source may be a store of emfs.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenLayer {
    /// What the state calls it.
    name: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the store.
    pub store: String,
    /// How the state places its source, as it is written there.
    transform: Value,
    /// How the state of an old neuroglancer places the layer.
    old_transform: Value,
}

impl Seen {
    /// Reads a link to neuroglancer, or the state in it.
    pub fn parse(link: &str) -> Result<Seen, String> {
        let state = state(link)?;
        let position = position(&state)?;
        let mut layers = layers(&state)?;
        let selected = state["selectedLayer"]["layer"].as_str();
        // Stable: what is alike stays in the order of the state.
        layers.sort_by_key(|(rank, layer)| (selected != Some(layer.name.as_str()), *rank));
        let layers: Vec<SeenLayer> = layers.into_iter().map(|(_, layer)| layer).collect();
        if layers.is_empty() {
            return Err("no layer of the state is a store of emfs (…/DATASET/NAME.zarr)".to_owned());
        }
        Ok(Seen { position, layers })
    }

    /// The place that the link looks at as one of a layer's store: in nanometres where `calibrated`, else in units of the
    /// array. `scale` is that of the finest level of the store, of `z, y, x` as all lists.
    pub fn place(&self, layer: &SeenLayer, scale: [f64; 3], calibrated: [bool; 3]) -> Result<[f64; 3], String> {
        for ((axis, place), calibrated) in AXES.into_iter().zip(self.position).zip(calibrated) {
            let (link, image) = match (place.is_length, calibrated) {
                (true, false) => ("a length", "none"),
                (false, true) => ("no length", "one"),
                _ => continue,
            };
            return Err(format!(
                "the dimension {axis} of the link has {link}, the image has {image}; take a link that `emfs link` prints"
            ));
        }
        if !layer.old_transform.is_null() {
            return Err(layer.refused("has the `transform` of an old neuroglancer"));
        }
        let transform = LayerTransform::parse(&layer.transform).map_err(|reason| layer.refused(&reason))?;
        Ok(transform.source_place(self.position.map(|place| place.at), scale))
    }
}

impl SeenLayer {
    fn refused(&self, reason: &str) -> String {
        format!("the layer `{}` {reason}, so its voxels lie elsewhere; reset it in the layer's tab Source", self.name)
    }
}

/// The state that a link holds.
fn state(link: &str) -> Result<Value, String> {
    let link = link.trim();
    let state = link.split_once("#!").map_or(link, |(_, state)| state).trim();
    let state = percent_decode_str(state).decode_utf8().map_err(|_| format!("the state is no UTF-8; {REMEDY}"))?;
    if !state.starts_with(['{', '[']) && state.contains("://") {
        return Err(format!("the link leads to its state by another address, which is not asked; {REMEDY}"));
    }
    if state.is_empty() {
        return Err(format!("there is no state behind `#!`; {REMEDY}"));
    }
    serde_json::from_str(&state)
        .map_err(|error| format!("what stands behind `#!` is no state of neuroglancer: {error}; {REMEDY}"))
}

/// The centre of the view.
fn position(state: &Value) -> Result<[Place; 3], String> {
    let mut found = [None; 3];
    if let (None, Some(old)) = (state.get("position"), state.pointer("/navigation/pose/position")) {
        let (size, voxel) = (&old["voxelSize"], &old["voxelCoordinates"]);
        for (axis, found) in found.iter_mut().enumerate() {
            // Its order is x, y, z.
            let number = |list: &Value| list[2 - axis].as_f64();
            *found = number(size).zip(number(voxel)).map(|(size, voxel)| Place { at: size * voxel, is_length: true });
        }
    } else {
        let position = state["position"].as_array().ok_or("the state has no position; move the view first")?;
        let dimensions = state["dimensions"].as_object().ok_or("the state has no dimensions; move the view first")?;
        for ((name, dimension), index) in dimensions.iter().zip(position) {
            let Some(axis) = axis_named(name) else { continue };
            let (scale, is_length) = scale_of(name, dimension)?;
            found[axis] = index.as_f64().map(|index| Place { at: scale * index, is_length });
        }
    }
    match found {
        [Some(z), Some(y), Some(x)] if [z, y, x].iter().all(|place| place.at.is_finite()) => Ok([z, y, x]),
        _ => Err("the state has no position along z, y and x".to_owned()),
    }
}

/// The layers that may be stores of emfs, each with a rank: visible ones come before others, and images before what lies over them.
fn layers(state: &Value) -> Result<Vec<(u8, SeenLayer)>, String> {
    let layers = neuroglancer::layers(state).ok_or("the state has no layers")?;
    let mut found = Vec::new();
    for (name, layer) in layers {
        let is_image = layer["type"].as_str().is_none_or(|kind| matches!(kind, "image" | "auto" | "new"));
        let is_visible = layer["visible"] != false && layer["archived"] != true;
        let rank = u8::from(!is_visible) * 2 + u8::from(!is_image);
        found.extend(neuroglancer::sources(layer).filter_map(|(source, address)| {
            let (dataset, store) = store_of(address)?;
            let part = |of: Option<&Map<String, Value>>| of.and_then(|of| of.get("transform")).cloned();
            let transform = part(source.as_object()).unwrap_or_default();
            let old_transform = part(layer.as_object()).unwrap_or_default();
            Some((rank, SeenLayer { name: name.to_owned(), dataset, store, transform, old_transform }))
        }));
    }
    Ok(found)
}

/// Dataset and store of a source of neuroglancer, where its address is built as those of a server of emfs.
fn store_of(source: &str) -> Option<(String, String)> {
    let source = source.split(['|', '?', '#']).next()?;
    let (scheme, path) = source.rsplit_once("://")?;
    if !scheme.ends_with("http") && !scheme.ends_with("https") {
        return None;
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    let parts = parts.map(|part| percent_decode_str(part).decode_utf8()).collect::<Result<Vec<_>, _>>().ok()?;
    let is_store = |part: &str| StoreName::parse(part).is_ok();
    // The first part is the host.
    let at = parts.iter().skip(2).position(|part| is_store(part))? + 2;
    Some((parts.get(at - 1)?.clone().into_owned(), parts.get(at)?.clone().into_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EM: &str = "zarr2://http://127.0.0.1:8474/h/em.zarr";

    fn base() -> Value {
        json!({
            "dimensions": {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [1.6e-8, "m"]},
            "position": [80, 90, 100],
            "layers": [{"type": "image", "source": EM, "name": "h"}],
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut state = base();
        state[key] = value;
        state
    }

    fn seen(state: &Value) -> Result<Seen, String> {
        Seen::parse(&format!("https://n/#!{state}"))
    }

    /// The voxel that the first layer shows in the centre.
    fn voxel(state: &Value) -> Result<[f64; 3], String> {
        let (seen, scale) = (seen(state)?, [16.0, 8.0, 8.0]);
        let place = seen.place(&seen.layers[0], scale, [true; 3])?;
        Ok(std::array::from_fn(|axis| (place[axis] / scale[axis] * 1e6).round() / 1e6))
    }

    fn stores(state: &Value) -> Vec<String> {
        seen(state).unwrap().layers.into_iter().map(|layer| format!("{}/{}", layer.dataset, layer.store)).collect()
    }

    #[test]
    fn a_place_is_the_same_in_whichever_units_and_order_it_is_written() {
        assert_eq!(voxel(&base()), Ok([100.0, 90.0, 80.0]));
        let zyx = json!({"z": [1.6e-8, "m"], "y": [8e-9, "m"], "x": [8e-9, "m"]});
        let mut turned = with("dimensions", zyx);
        turned["position"] = json!([100, 90, 80]);
        assert_eq!(voxel(&turned), Ok([100.0, 90.0, 80.0]));
        for (scale, unit) in [(8.0, "nm"), (0.008, "um"), (0.008, "µm"), (0.008, "\u{3bc}m"), (8e-6, "mm")] {
            let dimensions = json!({"x": [scale, unit], "y": [scale, unit], "z": [2.0 * scale, unit]});
            assert_eq!(voxel(&with("dimensions", dimensions)), Ok([100.0, 90.0, 80.0]), "{unit}");
        }
        let old = json!({
            "navigation": {"pose": {"position": {"voxelSize": [8, 8, 16], "voxelCoordinates": [80, 90, 100]}}},
            "layers": {"h": {"type": "image", "source": EM}},
        });
        assert_eq!(voxel(&old), Ok([100.0, 90.0, 80.0]));
        for (dimension, words) in [
            (json!([1, "s"]), "`s`, which is no length"),
            (json!([0, "m"]), "no scale above 0"),
            (json!([-8e-9, "m"]), "no scale above 0"),
            (json!([8, ""]), "has no length, the image has one"),
        ] {
            let dimensions = json!({"x": dimension, "y": [8e-9, "m"], "z": [1.6e-8, "m"]});
            let error = voxel(&with("dimensions", dimensions)).unwrap_err();
            assert!(error.contains(words) && error.contains(" x "), "{error}");
        }
    }

    #[test]
    fn the_transform_of_a_layer_is_applied_or_refused_by_name() {
        let axis = |name: &str, scale: f64| (name.to_owned(), json!([scale, "nm"]));
        let dimensions = |names: [&str; 3]| -> Value {
            names.map(|name| axis(name, if name == "z" { 16.0 } else { 8.0 })).into_iter().collect::<Map<_, _>>().into()
        };
        let (zyx, xyz) = (dimensions(["z", "y", "x"]), dimensions(["x", "y", "z"]));
        let placed = |transform: Value| {
            let source = json!({"url": EM, "transform": transform});
            voxel(&with("layers", json!([{"type": "image", "name": "moved", "source": source}])))
        };
        let same = json!([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]);
        let moved = json!([[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, -10]]);
        let still = Ok([100.0, 90.0, 80.0]);
        assert_eq!(placed(Value::Null), still);
        assert_eq!(placed(json!({"outputDimensions": zyx})), still);
        assert_eq!(placed(json!({"matrix": same, "outputDimensions": zyx})), still);
        assert_eq!(placed(json!({"matrix": moved, "outputDimensions": zyx})), Ok([95.0, 90.0, 90.0]));
        // Its columns are those of `inputDimensions`, and without them the array's.
        let moved_x = json!([[1, 0, 0, 10], [0, 1, 0, 0], [0, 0, 1, 0]]);
        let both = json!({"matrix": moved_x, "outputDimensions": xyz, "inputDimensions": xyz});
        assert_eq!(placed(both), Ok([100.0, 90.0, 70.0]));
        let stretched = json!([[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 4]]);
        assert_eq!(placed(json!({"matrix": stretched, "outputDimensions": zyx})), Ok([50.0, 90.0, 152.0]));
        let finer = json!({"z": [8, "nm"], "y": [4, "nm"], "x": [4, "nm"]});
        assert_eq!(placed(json!({"outputDimensions": finer})), Ok([200.0, 180.0, 160.0]));
        let turned = json!([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]);
        let sheared = json!([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]);
        for transform in [
            json!({"matrix": turned, "outputDimensions": zyx}),
            json!({"matrix": sheared, "outputDimensions": zyx}),
            json!({"matrix": moved_x, "outputDimensions": xyz}),
            json!({"outputDimensions": xyz}),
            json!({"matrix": [[1, 0, 0, 0]], "outputDimensions": zyx}),
            json!({"matrix": [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "outputDimensions": zyx}),
            json!({"matrix": [["1", 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "outputDimensions": zyx}),
            json!({"matrix": same}),
            json!({"matrix": same, "outputDimensions": {"z": [1, "s"], "y": [8, "nm"], "x": [8, "nm"]}}),
            json!({"matrix": same, "outputDimensions": zyx, "inputDimensions": {"a": [1, ""], "y": [1, ""], "x": [1, ""]}}),
            json!([1]),
        ] {
            let error = placed(transform.clone()).unwrap_err();
            assert!(error.contains("the layer `moved`") && error.contains("tab Source"), "{transform}: {error}");
        }
        let old = json!([{"source": EM, "name": "moved", "transform": [[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}]);
        assert!(voxel(&with("layers", old)).unwrap_err().contains("the layer `moved`"));
    }

    #[test]
    fn the_layer_that_is_meant_comes_first() {
        let layer = |name: &str, kind: &str, source: &str, visible: bool| json!({"type": kind, "name": name, "source": source, "visible": visible});
        let of = |store: &str| format!("zarr2://http://h:1/{store}");
        let layers = json!([
            layer("foreign", "image", "zarr://s3://bucket/h/em.zarr", true),
            layer("hidden", "image", &of("a/em.zarr"), false),
            layer("labels", "segmentation", "zarr3://http://h:1/b/em.v3.zarr/labels/m", true),
            layer("shown", "image", &of("c/em.zarr"), true),
            {"type": "image", "name": "kept", "source": of("d/em.zarr"), "archived": true},
        ]);
        let mut state = with("layers", layers);
        assert_eq!(stores(&state), ["c/em.zarr", "b/em.v3.zarr", "a/em.zarr", "d/em.zarr"]);
        state["selectedLayer"] = json!({"layer": "hidden"});
        assert_eq!(stores(&state), ["a/em.zarr", "c/em.zarr", "b/em.v3.zarr", "d/em.zarr"]);
        state["selectedLayer"] = json!({"layer": "foreign"});
        assert_eq!(stores(&state)[0], "c/em.zarr");
    }

    #[test]
    fn a_store_is_found_in_each_form_of_a_source() {
        for source in [
            json!(EM),
            json!({"url": EM}),
            json!([{"url": EM}, "local://annotations"]),
            json!(["local://annotations", {"url": EM}]),
            json!("http://127.0.0.1:8474/h/em.zarr/|zarr2:"),
            json!("zarr2://https://host/0123456789abcdef01/h/em%2Ezarr/"),
        ] {
            assert_eq!(stores(&with("layers", json!([{"source": source}]))), ["h/em.zarr"], "{source}");
        }
        let old = json!({"first": "precomputed://gs://a/b", "em": {"type": "image", "source": EM}});
        assert_eq!(stores(&with("layers", old)), ["h/em.zarr"]);
        for source in [
            "zarr://s3://h/em.zarr",
            "zarr2://http://em.zarr",
            "zarr2://http://h/em.zarr",
            "zarr2://http://h/d/No.zarr",
        ] {
            assert!(seen(&with("layers", json!([{"source": source}]))).is_err(), "{source}");
        }
    }

    #[test]
    fn a_link_without_its_state_says_what_to_copy() {
        for link in [
            "https://neuroglancer-demo.appspot.com/#!https://global.daf-apis.com/nglstate/api/v1/5555",
            "https://spelunker.cave-explorer.org/#!middleauth+https://global.daf-apis.com/nglstate/api/v1/1234",
            "https://hemibrain-dot-neuroglancer-demo.appspot.com/#!gs://flyem-user-links/short/hb.json",
            "https://n/?json_url=https://x/y.json",
            "https://tinyurl.com/hemibrain-ng",
            "https://n/",
            "https://n/#!",
            "",
            "https://n/#!{'position':[1_2_3]}",
            "https://n/#!{\"position\":[1",
        ] {
            assert!(Seen::parse(link).unwrap_err().ends_with("copy the long address from its bar"), "{link}");
        }
        let encoded =
            percent_encoding::utf8_percent_encode(&base().to_string(), percent_encoding::NON_ALPHANUMERIC).to_string();
        for link in [base().to_string(), format!(" https://n/#!{encoded}\n"), encoded] {
            assert!(Seen::parse(&link).is_ok(), "{link}");
        }
    }
}
