//! Odd JSON for property tests of what reads documents of others.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

/// Any JSON: `texts` are its texts, `keys` (a regular expression) the names of members.
pub(crate) fn any_json(texts: impl Strategy<Value = String> + 'static, keys: &'static str) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(4, 32, 7, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..7).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..7).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    nested.boxed()
}

/// Puts `value` at some place of a document.
pub(crate) fn exchange(document: &mut Value, place: &Index, value: Value) {
    let mut pointers = Vec::new();
    collect(document, String::new(), &mut pointers);
    if let Some(target) = document.pointer_mut(place.get::<String>(&pointers)) {
        *target = value;
    }
}

/// The pointers of a value and of all below it.
fn collect(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                collect(member, format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), pointers);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                collect(item, format!("{pointer}/{number}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(pointer);
}
