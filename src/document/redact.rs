//! Taking e-mail addresses and names of users in paths out of JSON texts.

use serde_json::Value;

/// What stands in place of an e-mail address.
pub(super) const E_MAIL: &str = "[e-mail address removed]";
/// What stands in place of a user's name in a path.
const USER: &str = "[user removed]";
/// Folders whose entries are named after people.
const HOMES: [&str; 6] =
    ["/home/", "/Users/", "\\Users\\", "\\home\\", "\\Documents and Settings\\", "/Documents and Settings/"];

/// Takes private parts out of all texts; gives the JSON Pointers of those that changed.
pub(super) fn redact(value: &mut Value) -> Vec<String> {
    let mut changed = Vec::new();
    walk(value, &mut String::new(), &mut changed);
    changed
}

fn walk(value: &mut Value, pointer: &mut String, changed: &mut Vec<String>) {
    let length = pointer.len();
    match value {
        Value::String(text) => {
            let key = pointer.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
            let private = matches!(key.as_str(), "email" | "e-mail") && !text.is_empty() && text != E_MAIL;
            let shown = if private { E_MAIL.to_owned() } else { clean(text) };
            if shown != *text {
                *text = shown;
                changed.push(pointer.clone());
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                pointer.push_str(&format!("/{number}"));
                walk(item, pointer, changed);
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            for (key, item) in members.iter_mut() {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                walk(item, pointer, changed);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
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
    use serde_json::json;

    use super::*;

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
        let mut value = json!({"a/b": [1, "x@y.z"], "email": "none of yours", "e": null});
        assert_eq!(redact(&mut value), ["/a~1b/1", "/email"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn cleaning_twice_is_cleaning_once(text in "([a-z@./\\\\ ü]|/home/|\\\\Users\\\\){0,40}") {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }
    }
}
