//! The list as JSON: an object with the rule, the lines of the header, and `samples`, each with the columns of CSV as keys.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{NEEDED, Sample, sample};
use crate::geometry::Shape;
use crate::sample::RULE;

/// The list as JSON.
pub fn json(header: &[String], samples: &[Sample]) -> Value {
    let rows = samples.iter().map(|sample| {
        let ([z, y, x], Shape([dz, dy, dx])) = (sample.place.start, sample.place.shape());
        json!({
            "dataset": sample.dataset, "image": sample.image, "store": sample.store, "level": sample.level.to_string(),
            "z": z, "y": y, "x": x, "dz": dz, "dy": dy, "dx": dx, "split": sample.split, "region": sample.region,
        })
    });
    json!({"rule": RULE, "header": header, "samples": rows.collect::<Vec<_>>()})
}

/// The rows of a list, each with the line that it begins in; a line and the reason where it is no list.
pub(super) fn rows(text: &str) -> Result<Vec<(u64, Sample)>, (u64, String)> {
    let list: Value = serde_json::from_str(text).map_err(|error| (error.line() as u64, error.to_string()))?;
    let Some(rows) = list.get("samples").and_then(Value::as_array) else {
        return Err((1, "there is no list `samples`, as in what `emfs sample --format json` prints".to_owned()));
    };
    let lines = lines(text);
    let read = |(number, row): (usize, &Value)| {
        let line = lines.get(number).copied().unwrap_or(1);
        row_of(row).map(|row| (line, row)).map_err(|reason| (line, reason))
    };
    rows.iter().enumerate().map(read).collect()
}

fn row_of(row: &Value) -> Result<Sample, String> {
    if let Some(missing) = NEEDED.iter().find(|name| row.get(name).is_none()) {
        return Err(format!("there is no `{missing}`; a sample has {}", NEEDED.join(", ")));
    }
    sample(|name| match row.get(name) {
        None | Some(Value::Null) => Cow::default(),
        Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
        Some(other) => Cow::Owned(other.to_string()),
    })
}

/// The lines in which the members of `samples` begin, of a text that is known to be JSON.
fn lines(text: &str) -> Vec<u64> {
    let (mut line, mut depth, mut lines) = (1, 0u32, Vec::new());
    // The last text of the outermost object, and where it begins; and whether what is looked at is in its `samples`.
    let (mut key, mut text_from, mut escaped, mut is_wanted) = ("", None, false, false);
    for (at, byte) in text.bytes().enumerate() {
        line += u64::from(byte == b'\n');
        if let Some(from) = text_from {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    text_from = None;
                    key = if depth == 1 { text.get(from..at).unwrap_or_default() } else { key };
                }
                _ => {}
            }
            continue;
        }
        if depth == 2 && is_wanted && !matches!(byte, b',' | b']') && !byte.is_ascii_whitespace() {
            lines.push(line);
        }
        match byte {
            b'"' => text_from = Some(at + 1),
            b'{' | b'[' => {
                if depth == 1 {
                    is_wanted = key == "samples" && byte == b'[';
                    // Of two of that name the last one counts.
                    lines.truncate(if is_wanted { 0 } else { lines.len() });
                }
                depth += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let list = json(&["a \"header\\".to_owned(), "samples".to_owned()], &[sample(None), sample(Some(0))]);
        assert_eq!((&list["rule"], &list["samples"][1]["dx"]), (&json!(2), &json!(8)));
        for (text, lines) in [(format!("\u{feff}{list:#}\n"), [8, 22]), (list.to_string(), [1, 1])] {
            assert!(super::super::is_list(&text));
            assert_eq!(parse(&text, "l.json").unwrap(), [(lines[0], sample(None)), (lines[1], sample(Some(0)))]);
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_file_line_and_key() {
        let row = r#"{"store":"a/em.zarr","level":"s0","z":1,"y":2,"x":3,"dz":4,"dy":4,"dx":4}"#;
        let told = |text: &str| parse(text, "l.json").unwrap_err().to_string();
        for (from, to, expected) in [
            ("\"x\":3", "\"x\":-3", "l.json:4: x: `-3` is no number of voxels"),
            ("\"x\":3", "\"x\":1.5", "l.json:4: x: `1.5` is no number of voxels"),
            ("\"x\":3", "\"x\":null", "l.json:4: x: `` is no number of voxels"),
            ("\"dy\":4", "\"dy\":0", "l.json:4: dy is 0, so that there are no voxels"),
            ("\"s0\"", "0", "l.json:4: level: `0` is no level, such as s0"),
            ("a/em.zarr", "a", "l.json:4: store: `a` is no DATASET/NAME"),
            (",\"dx\":4", "", "l.json:4: there is no `dx`; a sample has store, level, z, y, x, dz, dy, dx"),
        ] {
            let text = format!("{{\"header\": [{{}}, \"{{\"],\n \"samples\": [\n{row},\n{}]}}", row.replace(from, to));
            assert_eq!(told(&text), expected);
        }
        assert!(told("{\"samples\":\n [}").starts_with("l.json:2: "));
        for other in ["{}", "[]", "{\"samples\": 3}"] {
            assert!(told(other).starts_with("l.json:1: there is no list `samples`"), "{}", told(other));
        }
        assert!(told("{\"samples\": [1]}").starts_with("l.json:1: there is no `store`"));
    }
}
