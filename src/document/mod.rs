//! Documents that sources and archives were understood from, as they are shown to people: what is private in them is
//! taken out and marked, and the rest is as it was fetched.

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod bounds;
mod kind;
mod packed;
pub mod parts;
mod redact;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::kind::DocumentKind;
pub use self::packed::Packed;
use crate::cache::Reservation;

/// A JSON document.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// File name, as `omero-image.json`; `[A-Za-z0-9._-]+`.
    pub name: String,
    /// Where it was fetched, or the file that it is a dump of.
    pub url: String,
    /// Its bytes as shown.
    pub content: Packed,
    /// How many values are in it.
    pub values: usize,
    /// SHA-256 of [`Document::bytes`] in hexadecimal.
    pub sha256: String,
    /// When its origin sent it, or confirmed it last.
    pub retrieved: SystemTime,
    /// JSON Pointers of the texts from which something was taken out.
    pub redacted: Vec<String>,
    /// What it takes of the memory for what is kept, once that is counted.
    _kept: Option<Arc<Reservation>>,
}

impl Document {
    /// A fetched document; `None` where it is no JSON, as a page for people is not, or beyond its bounds. Bare words for numbers are
    /// shown as texts.
    pub fn fetched(kind: DocumentKind, url: impl Into<String>, bytes: &Bytes) -> Option<Self> {
        let bytes = &*bounds::sound(bytes);
        let values = bounds::measure(bytes).ok()?;
        let redact::Redacted { text, changed } = redact::redact(std::str::from_utf8(bytes).ok()?);
        Some(Self::of(kind, url.into(), text.as_bytes(), values, changed))
    }

    /// What a file of another format says, as JSON.
    pub fn dump(kind: DocumentKind, url: impl Into<String>, value: &Value) -> Self {
        let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
        text.push('\n');
        let redact::Redacted { text, changed } = redact::redact(&text);
        Self::of(kind, url.into(), text.as_bytes(), bounds::count(value), changed)
    }

    /// The same, fetched at another moment than now.
    pub fn retrieved_at(self, retrieved: SystemTime) -> Self {
        Self { retrieved, ..self }
    }

    fn of(kind: DocumentKind, url: String, bytes: &[u8], values: usize, redacted: Vec<String>) -> Self {
        Document {
            name: file_name(&kind.to_string()),
            kind,
            url,
            content: Packed::of(bytes),
            values,
            sha256: crate::hex::hex(&Sha256::digest(bytes)),
            retrieved: SystemTime::now(),
            redacted,
            _kept: None,
        }
    }

    /// Its bytes as shown.
    pub fn bytes(&self) -> Bytes {
        self.content.all()
    }

    /// The document's content.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap_or_default()
    }

    /// The same, counted where memory for what is kept is counted.
    pub fn counted(self, kept: Reservation) -> Self {
        Self { _kept: Some(Arc::new(kept)), ..self }
    }

    /// [`Document::retrieved`] in ISO 8601.
    pub fn retrieved_text(&self) -> String {
        iso(self.retrieved)
    }
}

/// A moment in ISO 8601, in seconds.
pub fn iso(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Letters that every file system takes, and no leading dot.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = name.chars().take(200).map(plain).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "document.json".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_without_private_texts_is_shown_byte_for_byte() {
        let bytes = Bytes::from_static(b"{ \"b\": 1.50,\n\"a\":2 }");
        let document = Document::fetched(DocumentKind::of_store("zattrs", ""), "http://h/.zattrs", &bytes).unwrap();
        assert_eq!(document.bytes(), bytes);
        assert!(document.redacted.is_empty());
        assert_eq!(document.sha256.len(), 64);
        let empty = Document::fetched(DocumentKind::EmpiarEntry, "u", &Bytes::from_static(b"{}")).unwrap();
        assert_eq!(empty.sha256, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }

    #[test]
    fn what_is_taken_out_is_marked_and_the_sum_is_that_of_what_is_shown() {
        let bytes = Bytes::from(json!({"pi": {"email": "a.b@c.de"}, "n": 1}).to_string());
        let document = Document::fetched(DocumentKind::EmpiarEntry, "u", &bytes).unwrap();
        assert_eq!(document.redacted, ["/pi/email"]);
        assert_eq!(document.value()["pi"]["email"], redact::E_MAIL);
        assert!(!document.bytes().windows(4).any(|part| part == b"c.de"));
        let again = Document::fetched(DocumentKind::EmpiarEntry, "u", &document.bytes()).unwrap();
        assert_eq!((again.sha256, again.redacted.len()), (document.sha256, 0));
    }

    #[test]
    fn what_is_no_json_is_no_document() {
        for body in ["", "<!DOCTYPE html>", "{\"a\": "] {
            assert!(Document::fetched(DocumentKind::EmpiarEntry, "u", &Bytes::from(body)).is_none(), "{body}");
        }
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!(file_name(".zattrs.json"), "zattrs.json");
        assert_eq!(file_name("../a b/ü.json"), "a-b--.json");
        assert_eq!(file_name("..."), "document.json");
    }
}
