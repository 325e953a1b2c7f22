//! What is wrong with a catalogue file, and where.

use std::fmt;
use std::ops::Range;
use std::string::FromUtf8Error;

/// A catalogue that cannot be used: which file, which place, which key, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {}{}", PlaceText(place), KeyText(key), shortened(reason))]
pub struct CatalogError {
    /// The file, as the user named it.
    pub file: String,
    /// Line and column, counted from 1, where the reason lies in the text.
    pub place: Option<(usize, usize)>,
    /// The key, or the table where no key is at fault.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// How the parser calls what it expects, and what that is.
const EXPECTED: [(&str, &str); 6] = [
    ("expected u64", "expected a whole number"),
    ("expected u32", "expected a whole number"),
    ("expected u16", "expected a whole number"),
    ("expected u8", "expected a whole number"),
    ("expected usize", "expected a whole number"),
    ("expected f64", "expected a number"),
];

/// Characters of a reason that are told: a value that it repeats may be as long as a file.
const TOLD: usize = 400;

/// A text without its middle where it is too long. What was expected instead of a value stands at the end.
fn shortened(text: &str) -> String {
    let letters = text.chars().count();
    if letters <= TOLD {
        return text.to_owned();
    }
    let (begin, end) = (text.chars().take(TOLD / 2), text.chars().skip(letters - TOLD / 2));
    begin.chain(" … ".chars()).chain(end).collect()
}

/// An error about a file that is no text, with the place of the first letter that is none.
pub(super) fn not_utf_8(file: &str, error: &FromUtf8Error) -> CatalogError {
    let valid = error.utf8_error().valid_up_to();
    let (before, rest) = error.as_bytes().split_at(valid);
    let before = String::from_utf8_lossy(before);
    let byte = rest.first().copied().unwrap_or_default();
    let reason = format!("the byte 0x{byte:02x} is no part of a text in UTF-8; save the file in that encoding");
    CatalogText { file, text: &before }.error(valid..valid, "", reason)
}

/// What the parser says of a value, which it takes for one of Rust, in words of the format.
fn in_words(message: &str, key: &str, value: &str) -> String {
    let mut reason = message.replace('\n', "; ");
    for (own, meant) in EXPECTED {
        if let Some(start) = reason.strip_suffix(own) {
            reason = format!("{start}{meant}");
            break;
        }
    }
    // A number that stands in a text, as that of `EMPIAR-11759`.
    let digits = value.trim_matches(['"', '\'']).rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    if message.starts_with("invalid type: string") && reason.ends_with("a whole number") && !digits.is_empty() {
        reason = format!("{reason}: write {key} = {digits}");
    }
    reason
}

struct PlaceText<'a>(&'a Option<(usize, usize)>);

impl fmt::Display for PlaceText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

struct KeyText<'a>(&'a str);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", shortened(self.0)) }
    }
}

/// The text of a catalogue, to turn byte offsets into places that an editor finds.
#[derive(Debug, Clone, Copy)]
pub(super) struct CatalogText<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl CatalogText<'_> {
    /// An error about `key`, whose text lies at `span`.
    pub fn error(&self, span: Range<usize>, key: impl Into<String>, reason: impl Into<String>) -> CatalogError {
        CatalogError {
            file: self.file.to_owned(),
            place: Some(self.place(span.start)),
            key: key.into(),
            reason: reason.into(),
        }
    }

    /// The parser's own error, with the key it is about.
    pub fn parser_error(&self, error: &toml::de::Error) -> CatalogError {
        let span = error.span().unwrap_or(0..0);
        if let Some(key) = self.header_at(span.start)
            && error.message().contains("expected a sequence")
        {
            return self.error(span, key, format!("a list is due; write [[{key}]]"));
        }
        if let Some(host) = self.bare_host(span.start) {
            let reason = format!("a name with dots stands in quotes; write [host.\"{host}\"]");
            return self.error(span, "host", reason);
        }
        // An array of tables has no key before its first value: the place alone says where.
        let key = self.key_at(span.clone());
        let reason = in_words(error.message(), &key, self.text.get(span.clone()).unwrap_or(""));
        self.error(span, key, reason)
    }

    /// The name of a host in the header of the table that `offset` is in, where it should stand in quotes.
    fn bare_host(&self, offset: usize) -> Option<&str> {
        let is_header = |line: &&str| line.trim_start().starts_with('[');
        let start = self.text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
        let line = self.text.get(start..)?.lines().next()?;
        let header = Some(line).filter(is_header).or_else(|| self.text.get(..start)?.lines().rfind(is_header))?;
        let (name, _) = header.trim().strip_prefix("[host.")?.split_once(']')?;
        (name.contains('.') && !name.contains(['"', '\''])).then_some(name)
    }

    /// The name in the header of a single table that starts at `offset`.
    fn header_at(&self, offset: usize) -> Option<&str> {
        let line = self.text.get(offset..)?.lines().next()?;
        let (name, _) = line.strip_prefix('[')?.split_once(']')?;
        (!name.starts_with('[')).then_some(name)
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }

    /// The key at `span`, or the one whose value starts there; empty where there is none.
    fn key_at(&self, span: Range<usize>) -> String {
        let is_key = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"'))
        };
        let inside = self.text.get(span.clone()).unwrap_or("").trim();
        let after = self.text.get(span.end..).unwrap_or("").trim_start();
        if is_key(inside) && (after.starts_with('=') || after.starts_with(']')) {
            return inside.trim_matches('"').to_owned();
        }
        let before = self.text.get(..span.start).unwrap_or("");
        let line = before.rsplit('\n').next().unwrap_or("");
        let Some((left, _)) = line.rsplit_once('=') else { return String::new() };
        let key = left.trim_end().rsplit([' ', '{', ',', '\t']).next().unwrap_or("");
        if is_key(key) { key.to_owned() } else { String::new() }
    }
}
