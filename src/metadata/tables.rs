//! The records of all datasets as tables for programs, in CSV.

use csv::Writer;
use serde_json::Value;

use super::fields::{DATASET, FieldKind, IMAGE, RecordField};

/// One row per image and label image. Columns are named after the fields, lengths end in `_nm`, lists are joined by `; `.
pub fn csv(records: &[Value]) -> String {
    let mut writer = Writer::from_writer(Vec::new());
    let mut names = vec!["dataset".to_owned()];
    names.extend(IMAGE.iter().chain(DATASET).filter(|field| is_column(field)).map(column));
    let mut written = writer.write_record(&names);
    for record in records {
        for image in record["images"].as_array().into_iter().flatten() {
            let mut row = vec![plain(&record["id"])];
            row.extend(IMAGE.iter().filter(|field| is_column(field)).map(|field| plain(at(image, field))));
            row.extend(DATASET.iter().map(|field| plain(at(record, field))));
            written = written.and_then(|()| writer.write_record(&row));
        }
    }
    text(written, writer)
}

/// One row per field and dataset, and per image for the fields of images: where the value stands upstream, what stands
/// there, what became of it. Contradictions follow the row of their field with `alternative` as their role.
pub fn correspondence(records: &[Value]) -> String {
    let mut writer = Writer::from_writer(Vec::new());
    let mut written = writer.write_record([
        "field",
        "dataset",
        "image",
        "role",
        "method",
        "document",
        "upstream_field",
        "value_as_found",
        "unit_as_found",
        "value",
        "unit",
        "source",
    ]);
    let mut row = |field: &RecordField, record: &Value, image: &str, role: &str, value: &Value, entry: &Value| {
        let unit = if matches!(field.path.split_once('/'), Some(("voxel_size" | "origin", "z" | "y" | "x"))) {
            "nanometer"
        } else {
            unit(field.path)
        };
        let source = ["reference", "rule", "reason"].iter().map(|key| &entry[*key]).find(|value| !value.is_null());
        let cells = [
            field.path.to_owned(),
            plain(&record["id"]),
            image.to_owned(),
            role.to_owned(),
            plain(&entry["method"]),
            plain(&entry["document"]),
            plain(&entry["pointer"]),
            plain(&entry["value_as_found"]),
            plain(&entry["unit_as_found"]),
            plain(value),
            unit.to_owned(),
            source.map(plain).unwrap_or_default(),
        ];
        let before = std::mem::replace(&mut written, Ok(()));
        written = before.and_then(|()| writer.write_record(&cells));
    };
    for field in DATASET {
        for record in records {
            rows(field, record, "", &format!("/{}", field.path), &mut row);
        }
    }
    for field in IMAGE {
        for record in records {
            for (number, image) in record["images"].as_array().into_iter().flatten().enumerate() {
                let below = image["label_of"].as_str().map(|of| format!("{of}/labels/")).unwrap_or_default();
                let name = format!("{below}{}", plain(&image["name"]));
                rows(field, record, &name, &format!("/images/{number}/{}", field.path), &mut row);
            }
        }
    }
    text(written, writer)
}

/// The rows of one field of one record.
fn rows(
    field: &RecordField,
    record: &Value,
    image: &str,
    pointer: &str,
    row: &mut impl FnMut(&RecordField, &Value, &str, &str, &Value, &Value),
) {
    let pointers: Vec<String> = match record.pointer(pointer) {
        Some(Value::Array(items)) => (0..items.len()).map(|number| format!("{pointer}/{number}")).collect(),
        _ => vec![pointer.to_owned()],
    };
    for pointer in pointers {
        let value = record.pointer(&pointer).unwrap_or(&Value::Null);
        if value.is_null() {
            let entry = serde_json::json!({"method": "missing", "reason": record["missing"][pointer.as_str()]});
            row(field, record, image, "missing", value, &entry);
        } else {
            let entry = &record["provenance"][pointer.as_str()];
            row(field, record, image, "value", value, entry);
            for other in entry["confirmed_by"].as_array().into_iter().flatten() {
                row(field, record, image, "confirmation", value, other);
            }
        }
        for other in record["alternatives"][pointer.as_str()].as_array().into_iter().flatten() {
            row(field, record, image, "alternative", &other["value"], &other["provenance"]);
        }
    }
}

/// The unit that ends a field's name.
fn unit(path: &str) -> &'static str {
    const UNITS: [(&str, &str); 7] = [
        ("_nm", "nanometer"),
        ("_kv", "kilovolt"),
        ("_na", "nanoampere"),
        ("_v", "volt"),
        ("_us", "microsecond"),
        ("_mhz", "megahertz"),
        ("_days", "day"),
    ];
    UNITS.iter().find(|(ending, _)| path.ends_with(ending)).map_or("", |(_, unit)| unit)
}

/// The unit is in the names of the columns.
fn is_column(field: &RecordField) -> bool {
    !field.path.ends_with("/unit")
}

fn column(field: &RecordField) -> String {
    let name = field.path.replace('/', "_");
    match field.path.split_once('/') {
        Some(("voxel_size" | "origin", _)) => format!("{name}_nm"),
        None if field.path == "name" => "image".to_owned(),
        _ => name,
    }
}

fn at<'a>(of: &'a Value, field: &RecordField) -> &'a Value {
    let value = of.pointer(&format!("/{}", field.path)).unwrap_or(&Value::Null);
    // A whole number stays one where it is a number to a reader of JSON.
    if field.kind == FieldKind::Whole && value.is_f64() { &Value::Null } else { value }
}

/// A value without quotes; nothing for what is not known.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("; "),
        Value::Number(number) => match number.as_f64() {
            // 8.0 as 8.
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Writing into memory does not fail, so there is nothing to tell.
fn text(written: Result<(), csv::Error>, writer: Writer<Vec<u8>>) -> String {
    match written {
        Ok(()) => writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default(),
        Err(_) => String::new(),
    }
}
