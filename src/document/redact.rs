//! Taking e-mail addresses and names of users in paths out of JSON texts.

use std::borrow::Cow;

/// What stands in place of an e-mail address.
pub(super) const E_MAIL: &str = "[e-mail address removed]";
/// What stands in place of a user's name in a path.
const USER: &str = "[user removed]";
/// Folders whose entries are named after people.
const HOMES: [&str; 6] =
    ["/home/", "/Users/", "\\Users\\", "\\home\\", "\\Documents and Settings\\", "/Documents and Settings/"];

/// Pointers that are told of one document.
const MAX_TOLD: usize = 256;
/// Longest pointer that is told.
const MAX_TOLD_LENGTH: usize = 512;

/// A text of JSON without private parts.
pub(super) struct Redacted<'a> {
    pub text: Cow<'a, str>,
    /// JSON Pointers of the texts that changed; of very many or very long ones, how many more there are.
    pub changed: Vec<String>,
}

/// Takes private parts out of all texts of a JSON document, which must be a valid one. Everything else stays as it is
/// written, and no tree is made of it.
pub(super) fn redact(document: &str) -> Redacted<'_> {
    let (mut shown, mut done) = (String::new(), 0);
    let (mut changed, mut untold) = (Vec::new(), 0usize);
    let mut way: Vec<Step<'_>> = Vec::new();
    let (bytes, mut at) = (document.as_bytes(), 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => way.push(Step::Member(None)),
            b'[' => way.push(Step::Item(0)),
            b'}' | b']' => drop(way.pop()),
            b',' => match way.last_mut() {
                Some(Step::Item(number)) => *number += 1,
                Some(Step::Member(key)) => *key = None,
                None => {}
            },
            b'"' => {
                let end = end_of_text(bytes, at);
                let token = document.get(at..end).unwrap_or_default();
                match way.last_mut() {
                    Some(Step::Member(key @ None)) => *key = Some(token),
                    last => {
                        if let Some(replaced) = replaced(token, last.as_deref()) {
                            shown.push_str(document.get(done..at).unwrap_or_default());
                            shown.push_str(&replaced);
                            done = end;
                            match pointer(&way).filter(|_| changed.len() < MAX_TOLD) {
                                Some(pointer) => changed.push(pointer),
                                None => untold += 1,
                            }
                        }
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if untold > 0 {
        changed.push(format!("… and {untold} more"));
    }
    if done == 0 {
        return Redacted { text: document.into(), changed };
    }
    shown.push_str(document.get(done..).unwrap_or_default());
    Redacted { text: shown.into(), changed }
}

/// A step from the document to a value in it.
enum Step<'a> {
    /// The name as written, once it was read.
    Member(Option<&'a str>),
    Item(usize),
}

/// Where a text ends, its quotes included.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// What is to be written in place of a text, where that is something else.
fn replaced(token: &str, of: Option<&Step<'_>>) -> Option<String> {
    let text: String = serde_json::from_str(token).ok()?;
    let private = match of {
        Some(Step::Member(Some(key))) => {
            let key = serde_json::from_str::<String>(key).unwrap_or_default().to_ascii_lowercase();
            matches!(key.as_str(), "email" | "e-mail") && !text.is_empty() && text != E_MAIL
        }
        _ => false,
    };
    let shown = if private { E_MAIL.to_owned() } else { clean(&text) };
    if shown == text { None } else { serde_json::to_string(&shown).ok() }
}

/// The JSON Pointer of a value, unless it is long.
fn pointer(way: &[Step<'_>]) -> Option<String> {
    let mut pointer = String::new();
    for step in way {
        pointer.push('/');
        match step {
            Step::Item(number) => pointer.push_str(&number.to_string()),
            Step::Member(key) => {
                let key = key.filter(|key| key.len() <= MAX_TOLD_LENGTH)?;
                let key: String = serde_json::from_str(key).ok()?;
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
        }
        if pointer.len() > MAX_TOLD_LENGTH {
            return None;
        }
    }
    Some(pointer)
}

fn clean(text: &str) -> String {
    let text = without_addresses(text);
    HOMES.iter().fold(text, |text, home| without_users(&text, home))
}

fn without_addresses(text: &str) -> String {
    let local = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'');
    let domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let start = before.rfind(|c| !local(c)).map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        let end = after.find(|c| !domain(c)).unwrap_or(after.len());
        let host = after[..end].trim_end_matches(['.', '-']);
        if start < at && host.contains('.') && !host.starts_with('.') {
            shown.push_str(&before[..start]);
            shown.push_str(E_MAIL);
            rest = &after[host.len()..];
        } else {
            shown.push_str(&rest[..=at]);
            rest = after;
        }
    }
    shown + rest
}

fn without_users(text: &str, home: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(home) {
        let (before, name) = rest.split_at(at + home.len());
        let end = name.find(['/', '\\', '\n', '"']).unwrap_or(name.len());
        shown.push_str(before);
        if !name.is_empty() && end > 0 {
            shown.push_str(USER);
        }
        rest = &name[end..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::document::arbitrary::any_json;

    #[test]
    fn addresses_and_names_of_users_are_taken_out_and_nothing_else() {
        for (text, expected) in [
            ("mail a.b+c@x-y.example.org, please", "mail [e-mail address removed], please"),
            ("<jörg@uni.de>.", "<[e-mail address removed]>."),
            ("a@b and @home", "a@b and @home"),
            ("C:\\Users\\jane\\F57\\x", "C:\\Users\\[user removed]\\F57\\x"),
            ("/home/jane", "/home/[user removed]"),
            ("file:/Users/jane doe/a.tif", "file:/Users/[user removed]/a.tif"),
            ("spacing=0.02", "spacing=0.02"),
        ] {
            assert_eq!(clean(text), expected);
        }
        let document =
            "{ \"a/b\": [1.50, \"x@y.z\"],\n\"email\": \"none\", \"e\": null, \"x@y.z\": {\"n\": \"\\u0040\"}}";
        let redacted = redact(document);
        assert_eq!(redacted.changed, ["/a~1b/1", "/email"]);
        let expected = document.replace("[1.50, \"x@y.z\"]", "[1.50, \"[e-mail address removed]\"]");
        assert_eq!(redacted.text, expected.replace("\"none\"", "\"[e-mail address removed]\""));
    }

    #[test]
    fn few_and_short_pointers_are_told() {
        let key = "k".repeat(1000);
        let document = json!({"a": vec!["x@y.z"; 1000], key: ["x@y.z"]}).to_string();
        let redacted = redact(&document);
        assert_eq!(redacted.changed.len(), MAX_TOLD + 1);
        assert_eq!(redacted.changed.last().unwrap(), "… and 745 more");
        assert!(!redacted.text.contains("x@y"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn cleaning_twice_is_cleaning_once(text in "([a-z@./\\\\ ü]|/home/|\\\\Users\\\\){0,40}") {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn all_texts_are_cleaned_wherever_they_stand(value in any_json("([a-z@./\"\\\\]|/home/){0,12}", "[a-z/~\"\\\\]{1,8}")) {
            fn cleaned(value: &Value) -> Value {
                match value {
                    Value::String(text) => clean(text).into(),
                    Value::Array(items) => items.iter().map(cleaned).collect(),
                    Value::Object(members) => members.iter().map(|(key, member)| (key.clone(), cleaned(member))).collect(),
                    other => other.clone(),
                }
            }
            let document = value.to_string();
            let redacted = redact(&document);
            let found: Value = serde_json::from_str(&redacted.text).unwrap();
            for pointer in &redacted.changed {
                prop_assert_ne!(found.pointer(pointer), value.pointer(pointer), "{}", pointer);
            }
            prop_assert_eq!(found, cleaned(&value));
        }
    }
}
