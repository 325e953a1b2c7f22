//! The tags of a file as JSON, for people: groups are objects, members of lists have their numbers as names.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::encoding::{Scalar, TagEncoding};
use super::tags::{ROOT, TagData, Tags};

/// Tags that are told; real files have some hundreds to some thousands.
const MAX_TAGS: usize = 1 << 14;
/// Letters of one text.
const MAX_TEXT: usize = 1 << 16;

impl Tags {
    /// All tags. Numbers and texts are told as such, of everything else the number of its bytes.
    pub fn to_json(&self) -> Value {
        self.group(ROOT, &mut 0)
    }

    fn group(&self, index: usize, told: &mut usize) -> Value {
        let Some(group) = self.nodes.get(index) else { return Value::Null };
        let mut members = Map::new();
        let mut equal = HashMap::new();
        for &child in &group.children {
            let Some(node) = self.nodes.get(child) else { continue };
            *told += 1;
            if *told > MAX_TAGS {
                break;
            }
            let name = node.name.as_deref().map_or_else(|| node.number.to_string(), str::to_owned);
            let name = unused(name, &members, &mut equal);
            let value = match &node.data {
                Some(data) => leaf(data),
                None => self.group(child, told),
            };
            members.insert(name, value);
        }
        Value::Object(members)
    }
}

/// A name that is there twice is legal; the second `a` becomes `a'2`. `equal`: the highest number given to each name, from
/// which the search goes on, or many equal names would take hours.
fn unused(name: String, members: &Map<String, Value>, equal: &mut HashMap<String, u64>) -> String {
    if !members.contains_key(&name) {
        return name;
    }
    let highest = equal.entry(name.clone()).or_insert(1);
    loop {
        *highest += 1;
        let numbered = format!("{name}'{highest}");
        if !members.contains_key(&numbered) {
            return numbered;
        }
    }
}

fn leaf(data: &TagData) -> Value {
    let other = || json!({"bytes": data.length});
    match &data.encoding {
        TagEncoding::Scalar(Scalar::Bool) => data.unsigned().map_or_else(other, |number| (number != 0).into()),
        TagEncoding::Scalar(Scalar::F32 | Scalar::F64) => data.number().map_or_else(other, Value::from),
        TagEncoding::Scalar(_) => match (data.unsigned(), data.number()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => (number as i64).into(),
            (None, None) => other(),
        },
        _ => match data.text() {
            // Arrays of numbers look like text; text has no control characters.
            Some(text) if text.len() <= MAX_TEXT && text.chars().all(is_letter) => text.into(),
            _ => other(),
        },
    }
}

fn is_letter(letter: char) -> bool {
    !letter.is_control() && letter != char::REPLACEMENT_CHARACTER || matches!(letter, '\n' | '\r' | '\t')
}
