//! Named parts of the documents of Zarr v3: codecs, grids, key encodings, types.

use serde_json::Value;

use super::json::JsonField;
use crate::source::SourceError;

/// A named part of a document: a bare name, or an object of a name and its configuration.
pub(super) struct Extension<'a> {
    /// The part.
    pub field: JsonField<'a>,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Extension<'a> {
    /// Reads either form.
    pub fn read(field: JsonField<'a>) -> Result<Self, SourceError> {
        let name = match field.value {
            Value::String(name) => name,
            _ => field.member("name")?.text()?,
        };
        Ok(Extension { field, name })
    }

    /// The configuration, which may be absent.
    pub fn configuration(&self) -> Result<Option<JsonField<'a>>, SourceError> {
        match self.field.value {
            Value::String(_) => Ok(None),
            _ => self.field.optional("configuration"),
        }
    }

    /// A member of the configuration that may be absent.
    pub fn optional(&self, member: &str) -> Result<Option<JsonField<'a>>, SourceError> {
        match self.configuration()? {
            Some(configuration) => configuration.optional(member),
            None => Ok(None),
        }
    }

    /// A member of the configuration that must be there.
    pub fn member(&self, member: &str) -> Result<JsonField<'a>, SourceError> {
        let missing = || self.field.malformed(format!("`configuration.{member}` is missing"));
        self.optional(member)?.ok_or_else(missing)
    }
}
