//! Walks a JSON document of an origin so that every complaint names the file and the field.

use serde_json::{Map, Value};

use crate::document::parts;
use crate::source::SourceError;

/// Parses a document that is within the bounds of documents. Of a longer one, parts that are too long are not read.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Value, SourceError> {
    parts::parse(bytes).map_err(|reason| SourceError::malformed(file, "document", reason))
}

/// A value with the way to it.
#[derive(Debug, Clone)]
pub(super) struct JsonField<'a> {
    file: &'a str,
    path: String,
    /// The value itself.
    pub value: &'a Value,
}

impl<'a> JsonField<'a> {
    /// The document as a whole, which must be an object.
    pub fn root(file: &'a str, value: &'a Value) -> Result<Self, SourceError> {
        let field = JsonField { file, path: String::new(), value };
        field.object()?;
        Ok(field)
    }

    /// A member that must be there and not be `null`.
    pub fn member(&self, name: &str) -> Result<JsonField<'a>, SourceError> {
        match self.optional(name)? {
            Some(member) => Ok(member),
            None => Err(SourceError::malformed(self.file, self.path_of(name), "it is missing")),
        }
    }

    /// A member that may be absent; `null` counts as absent.
    pub fn optional(&self, name: &str) -> Result<Option<JsonField<'a>>, SourceError> {
        Ok(self.object()?.get(name).filter(|value| !value.is_null()).map(|value| JsonField {
            file: self.file,
            path: self.path_of(name),
            value,
        }))
    }

    /// The members of an object.
    pub fn object(&self) -> Result<&'a Map<String, Value>, SourceError> {
        self.value.as_object().ok_or_else(|| self.wrong_type("an object"))
    }

    /// The elements of an array, of which there may be `limit` at most.
    pub fn elements(&self, limit: usize) -> Result<Vec<JsonField<'a>>, SourceError> {
        let values = self.value.as_array().ok_or_else(|| self.wrong_type("an array"))?;
        if values.len() > limit {
            return Err(self.unsupported(format!("{} elements where {limit} are the most", values.len())));
        }
        let element = |(i, value)| JsonField { file: self.file, path: format!("{}[{i}]", self.path), value };
        Ok(values.iter().enumerate().map(element).collect())
    }

    /// A text.
    pub fn text(&self) -> Result<&'a str, SourceError> {
        self.value.as_str().ok_or_else(|| self.wrong_type("a text"))
    }

    /// A whole number from 1 to 2⁶³ − 1: an extent.
    pub fn extent(&self) -> Result<u64, SourceError> {
        let number = self.whole()?;
        if number == 0 {
            return Err(self.unsupported("an extent of 0"));
        }
        if i64::try_from(number).is_err() {
            return Err(self.malformed(format!("an extent of {number} is beyond any array")));
        }
        Ok(number)
    }

    /// A whole number that is not negative.
    pub fn whole(&self) -> Result<u64, SourceError> {
        // Some writers write `64.0`.
        let whole =
            |number: f64| (number.fract() == 0.0 && (0.0..2f64.powi(53)).contains(&number)).then_some(number as u64);
        self.value.as_u64().or_else(|| whole(self.value.as_f64()?)).ok_or_else(|| self.wrong_type("a whole number"))
    }

    /// A whole number of 64 bits, which may be negative.
    pub fn position(&self) -> Result<i64, SourceError> {
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 2f64.powi(53)).then_some(number as i64);
        let position = self.value.as_i64().or_else(|| whole(self.value.as_f64()?));
        position.ok_or_else(|| self.malformed("it is no whole number of 64 bits"))
    }

    /// These numbers, which the field lists, where all are above 0.
    pub fn above_zero<T: AsRef<[f64]>>(&self, numbers: T) -> Result<T, SourceError> {
        match numbers.as_ref().iter().find(|number| **number <= 0.0) {
            Some(number) => Err(self.malformed(format!("{number} is not above 0"))),
            None => Ok(numbers),
        }
    }

    /// A finite number.
    pub fn finite(&self) -> Result<f64, SourceError> {
        self.value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| self.wrong_type("a finite number"))
    }

    /// Exactly `count` finite numbers.
    pub fn numbers(&self, count: usize) -> Result<Vec<f64>, SourceError> {
        let elements = self.elements(count)?;
        if elements.len() != count {
            return Err(self.malformed(format!("{} numbers for {count} axes", elements.len())));
        }
        elements.iter().map(JsonField::finite).collect()
    }

    /// Says that the field breaks its format.
    pub fn malformed(&self, reason: impl Into<String>) -> SourceError {
        SourceError::malformed(self.file, self.path_or_document(), reason)
    }

    /// Says that the field holds a variant that is not read.
    pub fn unsupported(&self, reason: impl Into<String>) -> SourceError {
        SourceError::unsupported(self.file, self.path_or_document(), reason)
    }

    fn wrong_type(&self, expected: &str) -> SourceError {
        self.malformed(format!("it is {}, not {expected}", brief(self.value)))
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn path_or_document(&self) -> &str {
        if self.path.is_empty() { "document" } else { &self.path }
    }
}

/// A value in a few words, because a hostile one may be of any length.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(elements) => format!("an array of {}", elements.len()),
        Value::Object(members) => format!("an object of {}", members.len()),
    }
}

/// A text of an origin as it may stand in a message: on one line and not longer than 64 characters.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let more = if text.chars().nth(64).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}
