//! What is wrong with the array of a level: whether it is known, or may be the fault of one answer.

use serde_json::Value;

use super::json;
use crate::remote::Cause;
use crate::source::SourceError;
use crate::store::Healable;

/// Why a level has no array that can be read.
#[derive(Debug, Clone)]
pub(super) enum LevelFault {
    /// Its document says so itself, or the array is none that the image can have.
    Unreadable(SourceError),
    /// The origin says that there is none.
    Missing(SourceError),
    /// Nothing is known of it: what came in place of its document is none, or nothing came.
    Unknown(SourceError),
}

impl LevelFault {
    /// Why a document that came, or did not, is not made use of. `is_array`: whether it is that of an array.
    pub fn of(error: SourceError, is_array: bool) -> Self {
        match error.cause() {
            Some(Cause::NotFound | Cause::Gone(_)) => LevelFault::Missing(error),
            None if is_array => LevelFault::Unreadable(error),
            _ => LevelFault::Unknown(error),
        }
    }

    /// The reason.
    pub fn error(&self) -> &SourceError {
        let (LevelFault::Unreadable(error) | LevelFault::Missing(error) | LevelFault::Unknown(error)) = self;
        error
    }

    /// Whether another answer may show that it is none.
    pub fn is_of_answer(&self) -> bool {
        !matches!(self, LevelFault::Unreadable(_)) && self.error().is_of_bytes()
    }
}

/// Whether a text is the document of an array, whatever else that says: an object with these members, which each has. A page,
/// nothing at all or the error of a server in its place say nothing of the array.
pub(super) fn is_document(bytes: &[u8], members: &[&str]) -> bool {
    let has = |document: &Value, name: &&str| document.get(name).is_some_and(|value| !value.is_null());
    json::parse("", bytes).is_ok_and(|document| members.iter().all(|name| has(&document, name)))
}

/// Whether a text is a document that says anything.
pub(super) fn is_object(bytes: &[u8]) -> bool {
    json::parse("", bytes).is_ok_and(|document| document.as_object().is_some_and(|members| !members.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_document_of_an_array_tells_nothing_of_it() {
        let members = ["shape", "dtype"];
        for text in [
            "",
            " ",
            "<!DOCTYPE html>",
            "{}",
            "[]",
            "null",
            "{\"error\": 1}",
            "{\"shape\": [1]",
            "{\"shape\": [1], \"dtype\": null}",
        ] {
            assert!(!is_document(text.as_bytes(), &members), "{text}");
        }
        assert!(is_document(br#"{"shape": [0], "dtype": "?", "more": 1}"#, &members));
    }
}
