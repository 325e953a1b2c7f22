//! States of neuroglancer, as links to it hold them: their layers, and where these come from.

use serde_json::Value;

/// The layers of a state with their names; `None` where it has no list of them.
pub fn layers(state: &Value) -> Option<Vec<(&str, &Value)>> {
    match state.get("layers")? {
        Value::Array(layers) => {
            Some(layers.iter().map(|layer| (layer["name"].as_str().unwrap_or_default(), layer)).collect())
        }
        // As states were until 2018.
        Value::Object(layers) => Some(layers.iter().map(|(name, layer)| (name.as_str(), layer)).collect()),
        _ => None,
    }
}

/// What a layer is made of, each with its address; a layer may be its one address.
pub fn sources(layer: &Value) -> impl Iterator<Item = (&Value, &str)> {
    let source = if layer.is_string() { layer } else { &layer["source"] };
    let sources = source.as_array().map_or(std::slice::from_ref(source), Vec::as_slice);
    sources.iter().filter_map(|source| Some((source, source.as_str().or(source["url"].as_str())?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sources_are_found_in_every_form_that_states_have() {
        let layers_of = |of: Value| -> Vec<(String, Vec<String>)> {
            let state = json!({ "layers": of });
            let addresses = |layer| sources(layer).map(|(_, address)| address.to_owned()).collect();
            let found = layers(&state).unwrap();
            found.into_iter().map(|(name, layer)| (name.to_owned(), addresses(layer))).collect()
        };
        let expected =
            |name: &str, sources: &[&str]| (name.to_owned(), sources.iter().map(|of| (*of).to_owned()).collect());
        let new =
            json!([{"name": "a", "source": "x"}, {"source": ["y", {"url": "z", "transform": {}}, 3]}, {"name": "b"}]);
        assert_eq!(layers_of(new), [expected("a", &["x"]), expected("", &["y", "z"]), expected("b", &[])]);
        assert_eq!(layers_of(json!({"a": "x", "b": {"source": "y"}})), [expected("a", &["x"]), expected("b", &["y"])]);
        assert!(layers(&json!({"layers": 3})).is_none() && layers(&json!([])).is_none());
    }
}
