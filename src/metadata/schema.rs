//! The JSON Schema of a record, made of its list of fields.

use serde_json::{Map, Value, json};

use super::fields::{DATASET, FieldKind, IMAGE, LEVEL, RecordField};

/// JSON Schema 2020-12 of `metadata.json`: that of a dataset, and that of all of them.
pub fn schema() -> Value {
    let mut image = group(IMAGE);
    image["properties"]["levels"] = levels();
    require_all(&mut image);
    let mut record = group(DATASET);
    let rest = json!({
        "schema_version": {"type": "string", "description": "Version of this layout"},
        "id": {"type": "string", "description": "Name of the dataset's directory"},
        "title": {"type": ["string", "null"], "description": "Title for lists"},
        "documents": {"type": "array", "items": document(), "description": "The files below upstream"},
        "views": {"type": "array", "items": view(), "description": "Crops of images that are listed under names of their own"},
        "images": {"type": "array", "items": image},
        "extra": {"type": "object", "description": "What belongs to no field"},
        "provenance": {"type": "object", "additionalProperties": {"$ref": "#/$defs/provenance"},
            "description": "How each value came, by its JSON Pointer"},
        "alternatives": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["value", "reason", "provenance"], "additionalProperties": false,
            "properties": {"value": {}, "reason": {"type": "string"}, "provenance": {"$ref": "#/$defs/provenance"}}}},
            "description": "What is said elsewhere, by the JSON Pointer of the value"},
        "missing": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1},
            "description": "Why a value is null, by its JSON Pointer"},
        "generated_by": {"type": "object", "required": ["software", "version"]},
    });
    if let (Some(properties), Value::Object(rest)) = (record["properties"].as_object_mut(), rest) {
        properties.extend(rest);
    }
    require_all(&mut record);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Record of a volume electron-microscopy dataset, or a list of them",
        "if": {"type": "array"},
        "then": {"items": {"$ref": "#/$defs/record"}},
        "else": {"$ref": "#/$defs/record"},
        "$defs": {"record": record, "provenance": provenance()},
    })
}

fn provenance() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    let optional = json!({"type": ["string", "null"]});
    let more = json!({"reason": text, "confirmed_by": {"type": "array", "items": {"$ref": "#/$defs/provenance"}}});
    let variant = |method: &str, required: &[&str], properties: Value| {
        let mut all = json!({"method": {"const": method}});
        if let (Some(all), Value::Object(own), Value::Object(more)) = (all.as_object_mut(), properties, more.clone()) {
            all.extend(own);
            all.extend(more);
        }
        let required: Vec<&str> = ["method"].iter().chain(required).copied().collect();
        json!({"type": "object", "required": required, "properties": all, "additionalProperties": false})
    };
    json!({"oneOf": [
        variant(
            "upstream",
            &["document", "pointer", "value_as_found", "unit_as_found", "retrieved", "sha256"],
            json!({"document": text, "pointer": {"type": "string"}, "value_as_found": {}, "unit_as_found": optional,
                "retrieved": text, "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}),
        ),
        variant("curated", &["reference"], json!({"reference": text, "value_as_found": {}, "unit_as_found": optional})),
        variant("computed", &["rule"], json!({"rule": text})),
        variant("assumed", &["rule"], json!({"rule": text})),
    ]})
}

fn view() -> Value {
    let names = ["name", "image", "crop", "zarr", "zarr_v3"];
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"type": "string", "minLength": 1}))).collect();
    json!({"type": "object", "required": names, "additionalProperties": false, "properties": properties})
}

fn document() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    json!({"type": "object", "additionalProperties": false,
        "required": ["file", "url", "retrieved", "bytes", "sha256", "redacted"],
        "properties": {"file": text, "url": text, "retrieved": text, "bytes": {"type": "integer"},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "redacted": {"type": "array", "items": {"type": "string"}}}})
}

fn levels() -> Value {
    let triple = |kind: &str| json!({"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": [kind, "null"]}});
    let mut properties = Map::new();
    for (name, about) in LEVEL {
        let mut property = match *name {
            "path" | "made_by" => json!({"type": ["string", "null"]}),
            "shape" | "chunk" => triple("integer"),
            _ => triple("number"),
        };
        property["description"] = (*about).into();
        properties.insert((*name).to_owned(), property);
    }
    let names: Vec<&str> = LEVEL.iter().map(|(name, _)| *name).collect();
    json!({"type": ["array", "null"], "description": "Levels, finest first",
        "items": {"type": "object", "required": names, "additionalProperties": false, "properties": properties}})
}

fn group(fields: &[RecordField]) -> Value {
    let mut root = json!({"type": "object", "additionalProperties": false, "properties": {}});
    for field in fields {
        let mut place = &mut root;
        for part in field.path.split('/') {
            if place.is_null() {
                *place = json!({"type": "object", "additionalProperties": false, "properties": {}});
            }
            place = &mut place["properties"][part];
        }
        let mut leaf = match field.kind {
            FieldKind::Text => json!({"type": ["string", "null"], "minLength": 1}),
            FieldKind::Texts => {
                json!({"type": ["array", "null"], "minItems": 1, "items": {"type": "string", "minLength": 1}})
            }
            FieldKind::Number => json!({"type": ["number", "null"]}),
            FieldKind::Whole => json!({"type": ["integer", "null"]}),
            FieldKind::Flag => json!({"type": ["boolean", "null"]}),
        };
        leaf["description"] = field.about.into();
        *place = leaf;
    }
    root
}

/// Demands every field of every object, so that an unknown one is `null` and not left out.
fn require_all(schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for property in properties.values_mut() {
        if property.get("required").is_none() {
            require_all(property);
        }
    }
    let names: Vec<String> = properties.keys().cloned().collect();
    schema["required"] = names.into();
}
