//! Walking through JSON by JSON Pointers.

use serde_json::{Value, json};

/// The parts of a record whose values have a source.
pub(super) const SECTIONS: [&str; 5] = ["study", "biosample", "specimen", "acquisition", "images"];

/// Sorts `/images/10` behind `/images/9`.
pub(super) fn sort_key(pointer: &str) -> Vec<(u64, String)> {
    pointer.split('/').map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect()
}

/// Puts a value where there is `null`, or at the end of a list.
pub(super) fn put(record: &mut Value, pointer: &str, value: Value) -> bool {
    if let Some(place) = record.pointer_mut(pointer) {
        *place = value;
        return true;
    }
    let Some((list, number)) = pointer.rsplit_once('/') else { return false };
    match record.pointer_mut(list) {
        Some(place @ Value::Null) if number == "0" => *place = json!([value]),
        Some(Value::Array(items)) if number == items.len().to_string() => items.push(value),
        _ => return false,
    }
    true
}

/// All leaves; a list of plain values is one.
pub(super) fn leaves(value: &Value, pointer: &mut String, each: &mut impl FnMut(&str, &Value)) {
    let length = pointer.len();
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                leaves(member, pointer, each);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{number}"));
                leaves(item, pointer, each);
                pointer.truncate(length);
            }
        }
        leaf => each(pointer, leaf),
    }
}

/// The JSON Pointers of all values that are not known.
pub(super) fn unknown(record: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for section in SECTIONS {
        let Some(value) = record.get(section) else { continue };
        leaves(value, &mut format!("/{section}"), &mut |pointer, leaf| {
            if leaf.is_null() {
                found.push(pointer.to_owned());
            }
        });
    }
    found
}
