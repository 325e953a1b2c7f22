//! Bounds of JSON documents. A tree of a document takes a hundred times its bytes where it is made of many small values,
//! so these are counted, without making any of them, before anything is made of a document.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Values in one document: numbers, texts, lists, objects. Real ones have some dozens to some thousands. A tree of so many
/// takes 32 MiB at the most.
pub const MAX_VALUES: usize = 1 << 16;

/// Lists and objects within each other.
pub const DEEPEST: usize = 64;

/// What some editors put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes of a page in which its title is looked for.
const FRONT: usize = 4096;

/// Letters of a title that are told.
const TOLD: usize = 64;

/// The document as a tree; the reason if it is none or beyond the bounds.
///
/// Bare words for numbers are texts in it, and a byte order mark is passed over, see [`sound`].
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let bytes = &*sound(bytes);
    measure(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| invalid(bytes, &error))
}

/// The document with the words `NaN`, `Infinity` and `-Infinity` as texts where they stand for numbers: JSON has none such,
/// and Python writes them. The byte order mark that editors write before it is taken off.
pub fn sound(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    if WORDS.iter().all(|word| memmem::find(bytes, word).is_none()) {
        return Cow::Borrowed(bytes);
    }
    let (mut out, mut at, mut in_text) = (Vec::with_capacity(bytes.len()), 0, false);
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let word = WORDS.into_iter().find(|word| !in_text && rest.starts_with(word));
        let length = match (word, byte) {
            (Some(word), _) => {
                out.push(b'"');
                out.extend_from_slice(word);
                out.push(b'"');
                at += word.len();
                continue;
            }
            (None, b'\\') if in_text => 2,
            (None, b'"') => {
                in_text = !in_text;
                1
            }
            _ => 1,
        };
        out.extend_from_slice(rest.get(..length).unwrap_or(rest));
        at += length;
    }
    Cow::Owned(out)
}

/// How many values a document has; the reason if it is none or beyond the bounds.
pub fn measure(bytes: &[u8]) -> Result<usize, String> {
    let (mut values, mut beyond) = (0, None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let count = Count { values: &mut values, beyond: &mut beyond, depth: 0 };
    let counted = count.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (counted, beyond) {
        (Ok(()), _) => Ok(values),
        (Err(_), Some(beyond)) => Err(beyond),
        (Err(error), None) => Err(invalid(bytes, &error)),
    }
}

/// What is said of a document with more values than are read.
pub(super) fn too_many() -> String {
    format!("it has more than {MAX_VALUES} values, the most that are read of one document")
}

fn invalid(bytes: &[u8], error: &serde_json::Error) -> String {
    match instead(bytes) {
        Some(what) => format!("it is no valid JSON but {what}"),
        None => format!("it is no valid JSON: {error}"),
    }
}

/// What is often found in place of a document, and what to do with it.
fn instead(bytes: &[u8]) -> Option<String> {
    let body = bytes.trim_ascii_start();
    if body.is_empty() {
        return Some("empty".to_owned());
    }
    if body.starts_with(b"\x1f\x8b") {
        let remedy = "store it unpacked, or let its server say `Content-Encoding: gzip`";
        return Some(format!("data that gzip has compressed, which nothing says: {remedy}"));
    }
    if !body.starts_with(b"<") {
        return None;
    }
    let front = String::from_utf8_lossy(body.get(..FRONT).unwrap_or(body));
    let folded = front.to_ascii_lowercase();
    if !folded.contains("<html") && !folded.contains("<!doctype html") {
        return Some("XML, as of the message of a server: is the address right?".to_owned());
    }
    let title = title(&front, &folded).map(|title| format!(", `{title}`")).unwrap_or_default();
    Some(format!("an HTML page{title}: is the address right, and to be read without a login?"))
}

/// The title of a page of which `folded` is the same in small letters.
fn title(page: &str, folded: &str) -> Option<String> {
    let start = folded.find("<title")?;
    let start = start + folded.get(start..)?.find('>')? + 1;
    let end = start + folded.get(start..)?.find('<')?;
    let words: Vec<&str> = page.get(start..end)?.split_whitespace().collect();
    let title: String = words.join(" ").chars().filter(|letter| !letter.is_control()).take(TOLD).collect();
    (!title.is_empty()).then_some(title)
}

/// How many values a tree has.
pub(super) fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

struct Count<'a> {
    values: &'a mut usize,
    /// Which bound does not hold.
    beyond: &'a mut Option<String>,
    depth: usize,
}

impl Count<'_> {
    fn one<E: Error>(self) -> Result<(), E> {
        *self.values += 1;
        if *self.values <= MAX_VALUES {
            return Ok(());
        }
        *self.beyond = Some(too_many());
        Err(E::custom("too many values"))
    }

    /// One level further down.
    fn within<E: Error>(&mut self) -> Result<Count<'_>, E> {
        if self.depth == DEEPEST {
            *self.beyond = Some(format!("its values are nested more than {DEEPEST} deep, the most that is read"));
            return Err(E::custom("nested too deep"));
        }
        Ok(Count { values: self.values, beyond: self.beyond, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.one()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.one()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.one()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.one()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.one()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.within()?)?.is_some() {}
        self.one()
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<IgnoredAny>()?.is_some() {
            members.next_value_seed(self.within()?)?;
        }
        self.one()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::document::arbitrary::any_json;

    /// Bytes that a tree takes, as the allocator rounds them up, and the most it took while it was made.
    fn taken(value: &Value) -> usize {
        // The smallest list has capacity for four, an empty one takes nothing.
        let capacity = |count: usize| if count == 0 { 0 } else { 3 * count.max(4) / 2 };
        let own = std::mem::size_of::<Value>();
        own + match value {
            Value::String(text) => text.capacity(),
            Value::Array(items) => own * capacity(items.len()) + items.iter().map(taken).sum::<usize>(),
            Value::Object(members) => {
                let entry = own + 40;
                let keys = members.iter().map(|(key, member)| key.capacity() + taken(member)).sum::<usize>();
                entry * capacity(members.len()) + keys
            }
            _ => 0,
        }
    }

    #[test]
    fn a_document_of_any_shape_at_its_bounds_is_a_tree_of_32_mebibytes_and_its_own_bytes() {
        let half = MAX_VALUES / 2 - 1;
        let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
        let members = |value: &str, count: usize| {
            let all: Vec<String> = (0..count).map(|number| format!("\"{number}\":{value}")).collect();
            format!("{{{}}}", all.join(","))
        };
        let shapes = [
            list("0", MAX_VALUES - 1),
            list("[0]", half),
            list("{\"a\":0}", half),
            list("{}", MAX_VALUES - 1),
            members("{}", MAX_VALUES - 1),
            members("{\"a\":0}", half),
            list(&format!("{}{}", "[".repeat(60), "]".repeat(60)), MAX_VALUES / 61),
        ];
        for shape in shapes {
            let tree = parse(shape.as_bytes()).unwrap();
            assert!(taken(&tree) <= (32 << 20) + shape.len(), "{} bytes of {}", taken(&tree), &shape[..20]);
        }
    }

    #[test]
    fn one_value_more_or_one_level_deeper_is_refused() {
        let list = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert_eq!(measure(list(MAX_VALUES - 1).as_bytes()), Ok(MAX_VALUES));
        let error = parse(list(MAX_VALUES).as_bytes()).unwrap_err();
        assert!(error.contains("more than 65536 values"), "{error}");
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(measure(deep(DEEPEST).as_bytes()), Ok(DEEPEST));
        let error = parse(deep(DEEPEST + 1).as_bytes()).unwrap_err();
        assert!(error.contains("nested more than 64 deep"), "{error}");
        let unclosed = "[".repeat(1 << 20);
        assert!(parse(unclosed.as_bytes()).is_err());
    }

    #[test]
    fn members_of_one_name_count_each() {
        let equal = format!("{{{}}}", vec!["\"a\":0"; MAX_VALUES].join(","));
        assert!(parse(equal.as_bytes()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn what_is_within_the_bounds_is_parsed_as_it_stands(value in any_json("[ -~µÅ]{0,12}", "[a-zA-Z/~\"\\\\]{1,8}")) {
            let text = value.to_string();
            prop_assert_eq!(measure(text.as_bytes()).unwrap(), count(&value));
            let plain: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), plain);
        }

        #[test]
        fn what_is_no_json_is_refused_as_by_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            prop_assert_eq!(measure(&bytes).is_ok(), serde_json::from_slice::<Value>(&bytes).is_ok());
        }

        #[test]
        fn what_is_nearly_json_is_refused_as_by_the_parser(text in "[\\[\\]{}:,\"a0-9e.\\\\u ]{0,24}") {
            prop_assert_eq!(measure(text.as_bytes()).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
        }
    }

    #[test]
    fn bare_words_for_numbers_are_texts_and_texts_stay_as_they_are() {
        let text = br#"{"a": NaN, "NaN": [-Infinity, Infinity,"x NaN \\\" Infinity", 1]}"#;
        let expected = json!({"a": "NaN", "NaN": ["-Infinity", "Infinity", "x NaN \\\" Infinity", 1]});
        assert_eq!(parse(text).unwrap(), expected);
        for broken in [&b"{\"a\": NaNs}"[..], b"[\"NaN", b"[\"NaN\\", b"[NaN", b"nan"] {
            assert!(parse(broken).is_err());
        }
    }

    #[test]
    fn a_byte_order_mark_before_a_document_is_passed_over() {
        for text in ["{\"a\": [1]}", " {\"a\": [1]}", "{\"a\": [NaN]}"] {
            let marked = [BYTE_ORDER_MARK, text.as_bytes()].concat();
            assert_eq!(parse(&marked), parse(text.as_bytes()));
            assert_eq!(sound(&marked), sound(text.as_bytes()));
        }
        // There is one at most, and it stands before everything.
        for broken in ["\u{feff}\u{feff}{}", " \u{feff}{}", "{\u{feff}}"] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn what_is_no_json_at_all_is_told_by_what_it_is_like() {
        for (body, expected) in [
            (&b""[..], "it is no valid JSON but empty"),
            (b" \n", "but empty"),
            (b"\xef\xbb\xbf", "but empty"),
            (b"\x1f\x8b\x08\0rest", "but data that gzip has compressed, which nothing says: store it unpacked, or"),
            (b"<!DOCTYPE html>\n<p>Hello", "but an HTML page: is the address right"),
            (b"\xef\xbb\xbf\n<HTML lang='en'><head><Title>\n Sign\tin </title>", "but an HTML page, `Sign in`: is"),
            (b"<html><title>\xc3\xbc\xff", "but an HTML page: is"),
            (b"<?xml version='1.0'?><Error>", "but XML, as of the message of a server"),
            (b"{\"a\": ", "it is no valid JSON: EOF"),
        ] {
            let told = parse(body).unwrap_err();
            assert!(told.contains(expected), "{body:?}: {told}");
        }
        let long = format!("<html><title>{}</title>", "ü".repeat(1 << 20));
        assert!(parse(long.as_bytes()).unwrap_err().len() < 400);
        let long = format!("<html><title>{}</title>", "ü".repeat(100));
        assert!(parse(long.as_bytes()).unwrap_err().contains(&"ü".repeat(TOLD)));
    }

    #[test]
    fn the_parser_bears_depths_beyond_the_bound() {
        assert_eq!(count(&json!({"a": [1, {"b": null}]})), 5);
    }
}
