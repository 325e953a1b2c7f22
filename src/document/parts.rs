//! Documents of which some parts are far longer than what is read of them: the metadata of a thousand arrays in that of a group, the
//! position of a stage at each moment.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::bounds::{self, DEEPEST, MAX_VALUES};

/// Values of a part of a document that has too many of them. No list that describes an image comes near.
const MAX_OF_PART: usize = 1 << 13;

/// The document as a tree, as [`bounds::parse`] makes it. Of one that has more values than are read, a list or an object in it
/// that has many itself is a text which says so: whoever needs it finds another type than expected, and not that it is missing.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    match bounds::parse(bytes) {
        Err(reason) if reason == bounds::too_many() => without_long_parts(&bounds::sound(bytes)).ok_or(reason),
        answer => answer,
    }
}

/// What stands in place of a part.
fn left_out() -> Value {
    format!("more than {MAX_OF_PART} values, which are not read").into()
}

fn without_long_parts(bytes: &[u8]) -> Option<Value> {
    let mut held = 0;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let (value, _) = Part { held: &mut held, depth: 0 }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

/// A value that is made with how many there are in it.
struct Part<'a> {
    /// Values that are in memory, those of unfinished lists and objects included.
    held: &'a mut usize,
    depth: usize,
}

impl Part<'_> {
    fn one<E: Error>(self, value: Value) -> Result<(Value, usize), E> {
        *self.held += 1;
        if *self.held > MAX_VALUES {
            return Err(E::custom("too many values"));
        }
        Ok((value, 1))
    }

    /// One level further down.
    fn within<E: Error>(&mut self) -> Result<Part<'_>, E> {
        if self.depth == DEEPEST {
            return Err(E::custom("nested too deep"));
        }
        Ok(Part { held: self.held, depth: self.depth + 1 })
    }

    /// Whether a list or an object of so many values is left out, of which there are none in memory then.
    fn leaves_out(&mut self, values: usize) -> bool {
        let is_long = self.depth > 0 && values > MAX_OF_PART;
        if is_long {
            *self.held -= values;
        }
        is_long
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = (Value, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = (Value, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        self.one(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.one(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.one(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.one(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.one(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        self.one(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut list, mut values) = (Vec::new(), 0);
        while let Some((item, within)) = items.next_element_seed(self.within()?)? {
            list.push(item);
            values += within;
            if self.leaves_out(values) {
                drop(list);
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return self.one(left_out());
            }
        }
        self.one(Value::Array(list)).map(|(list, one)| (list, values + one))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut object, mut values) = (Map::new(), 0);
        while let Some(name) = members.next_key::<String>()? {
            let (member, within) = members.next_value_seed(self.within()?)?;
            object.insert(name, member);
            values += within;
            if self.leaves_out(values) {
                drop(object);
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return self.one(left_out());
            }
        }
        self.one(Value::Object(object)).map(|(object, one)| (object, values + one))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::document::arbitrary::any_json;

    #[test]
    fn a_long_part_says_that_it_is_not_read_and_the_rest_is_as_it_stands() {
        let array = json!({"shape": [1, 2, 3], "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]});
        let all: Map<String, Value> = (0..20_000).map(|number| (format!("t{number}"), array.clone())).collect();
        let group = |metadata: Value| json!({"a": 1.5, "consolidated_metadata": {"kind": "inline", "metadata": metadata}, "b": [null, true, "x", -1]});
        let read = parse(group(Value::Object(all)).to_string().as_bytes()).unwrap();
        assert_eq!(read, group(left_out()));
        let frames: Vec<Value> = (0..MAX_VALUES).map(|number| json!({"t": number})).collect();
        let read = parse(json!({"attributes": {"ome": {"x": [1]}, "frames": frames}}).to_string().as_bytes()).unwrap();
        assert_eq!(read, json!({"attributes": {"ome": {"x": [1]}, "frames": left_out()}}));
    }

    #[test]
    fn a_document_that_is_long_without_a_long_part_is_refused() {
        let many = |item: &str| format!("[{}]", vec![item; MAX_VALUES].join(","));
        let parts = format!("[{}]", vec![format!("[{}]", vec!["0"; MAX_OF_PART - 1].join(",")); 9].join(","));
        for document in [many("0"), many("[]"), parts] {
            assert_eq!(parse(document.as_bytes()), Err(bounds::too_many()));
        }
        // What is wrong further on is wrong.
        let broken = format!("{{\"a\": {}, \"b\": ", many("0"));
        assert_eq!(parse(broken.as_bytes()), Err(bounds::too_many()));
        let nested = format!("{}{}{}", "[".repeat(20), many("0"), "]".repeat(20));
        assert!(parse(nested.as_bytes()).is_ok());
    }

    #[test]
    fn no_more_values_than_a_document_may_have_are_in_memory_at_once() {
        // Each list is shorter than a part by itself, and they are within each other.
        let item = "0,".repeat(MAX_OF_PART - 100);
        let document = format!("{}0{}", format!("[{item}").repeat(60), "]".repeat(60));
        assert_eq!(without_long_parts(document.as_bytes()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn a_document_within_its_bounds_is_read_as_it_stands(value in any_json(".{0,8}", ".{0,4}")) {
            let bytes = value.to_string();
            let expected: Value = serde_json::from_str(&bytes).unwrap();
            prop_assert_eq!(without_long_parts(bytes.as_bytes()), Some(expected));
        }
    }
}
