//! The tags of a page as JSON, for people: `{"tags": {"ImageWidth": {"tag": 256, "type": "SHORT", "count": 1, "value":
//! 1121}, …}, "description": {"unit": "…"}}`. Only what was read anyway is told; nothing is fetched for it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::ifd::{Entry, Header, Ifd, Tag, number, tags};
use super::read::ReadAhead;

/// Numbers of one tag that are told; arrays of offsets have thousands, which say nothing of the image.
const MAX_NUMBERS: usize = 16;
/// Bytes of all texts.
const MAX_TEXT: usize = 1 << 20;
/// Lines of the description that are told one by one.
const MAX_LINES: usize = 1024;

/// Name, bytes per value. By the number of the type.
const TYPES: [(&str, u64); 19] = [
    ("", 0),
    ("BYTE", 1),
    ("ASCII", 1),
    ("SHORT", 2),
    ("LONG", 4),
    ("RATIONAL", 8),
    ("SBYTE", 1),
    ("UNDEFINED", 1),
    ("SSHORT", 2),
    ("SLONG", 4),
    ("SRATIONAL", 8),
    ("FLOAT", 4),
    ("DOUBLE", 8),
    ("IFD", 4),
    ("", 0),
    ("", 0),
    ("LONG8", 8),
    ("SLONG8", 8),
    ("IFD8", 8),
];

impl Ifd {
    /// All tags by name; those without a known one by `Tag` and number.
    pub(super) fn dump(&self, file: &ReadAhead) -> Value {
        let mut left = MAX_TEXT;
        let mut dump = Map::new();
        let mut times = HashMap::new();
        for entry in &self.entries {
            let known = tags::TOLD_BY_NAME.iter().find(|Tag(tag, _)| *tag == entry.tag);
            let name = known.map_or_else(|| format!("Tag{}", entry.tag), |Tag(_, name)| (*name).to_owned());
            let value = self.dump_entry(entry, file, &mut left);
            // Of a tag that comes again each is told.
            let time = times.entry(entry.tag).and_modify(|time| *time += 1).or_insert(1u32);
            dump.insert(if *time == 1 { name } else { format!("{name}-{time}") }, value);
        }
        Value::Object(dump)
    }

    fn dump_entry(&self, entry: &Entry, file: &ReadAhead, left: &mut usize) -> Value {
        let kind =
            usize::try_from(entry.kind).ok().and_then(|kind| TYPES.get(kind)).filter(|(name, _)| !name.is_empty());
        let mut dump = json!({"tag": entry.tag, "type": kind.map(|(name, _)| *name), "count": entry.count});
        let value = kind.and_then(|(name, size)| {
            let length = entry.count.checked_mul(*size)?;
            let word = if self.header.big_tiff { 8 } else { 4 };
            let offset = number(entry.inline.get(..word)?, self.header.big_endian);
            let bytes = if length <= word as u64 {
                bytes::Bytes::copy_from_slice(entry.inline.get(..length as usize)?)
            } else {
                file.at_hand(&(offset..offset.checked_add(length)?))?
            };
            self.dump_values(name, *size as usize, &bytes, left)
        });
        dump["value"] = value.unwrap_or_default();
        dump
    }

    fn dump_values(&self, kind: &str, size: usize, bytes: &[u8], left: &mut usize) -> Option<Value> {
        if kind == "ASCII" {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = text.get(..text.len().min(*left))?;
            *left -= text.len();
            return Some(match std::str::from_utf8(text) {
                Ok(text) => text.into(),
                Err(_) => text.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
            });
        }
        let one = |value: &[u8]| -> Value {
            let unsigned = |bytes: &[u8]| number(bytes, self.header.big_endian);
            match kind {
                "RATIONAL" => json!([unsigned(&value[..4]), unsigned(&value[4..])]),
                "SRATIONAL" => json!([unsigned(&value[..4]) as u32 as i32, unsigned(&value[4..]) as u32 as i32]),
                "SBYTE" => (unsigned(value) as u8 as i8).into(),
                "SSHORT" => (unsigned(value) as u16 as i16).into(),
                "SLONG" => (unsigned(value) as u32 as i32).into(),
                "SLONG8" => (unsigned(value) as i64).into(),
                "FLOAT" => f64::from(f32::from_bits(unsigned(value) as u32)).into(),
                "DOUBLE" => f64::from_bits(unsigned(value)).into(),
                _ => unsigned(value).into(),
            }
        };
        let mut values = bytes.chunks_exact(size).take(MAX_NUMBERS).map(one);
        if bytes.len() == size { values.next() } else { Some(values.collect()) }
    }
}

/// The document: the file's layout, the first page's tags, and the `key=value` lines of their ImageDescription.
pub(super) fn document(header: &Header, pages: u64, tags: Value) -> Value {
    let text = tags.pointer("/ImageDescription/value").and_then(Value::as_str).unwrap_or_default();
    let mut description = Map::new();
    if !text.starts_with(['<', '{']) {
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')).take(MAX_LINES) {
            description.entry(key.trim()).or_insert_with(|| value.trim().into());
        }
    }
    json!({
        "byte_order": if header.big_endian { "big-endian" } else { "little-endian" },
        "big_tiff": header.big_tiff,
        "pages": pages,
        "tags": tags,
        "description": description,
    })
}
