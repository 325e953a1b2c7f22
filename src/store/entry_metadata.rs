//! What is remembered of an object beside its bytes.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::remote::ObjectVersion;

/// What an origin last said of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EntryMetadata {
    /// There is no such object.
    Absent(Absent),
    /// There is one.
    Present(Present),
}

/// An object that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Absent {
    /// When the origin said so.
    pub at: Timestamp,
    /// The content of its store's document that bore it out; nothing where nobody was asked.
    pub document: Option<u64>,
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Present {
    /// When the origin last said so.
    pub at: Timestamp,
    pub version: ObjectVersion,
    pub content_type: Option<String>,
    /// A body that stands for itself: one that is not kept under the object's version.
    pub body: Option<WholeBody>,
}

/// A body that was sent compressed, or without anything that tells its version. Only the whole of it is of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WholeBody {
    /// The name that stands for a version.
    pub id: String,
    /// Bytes as the caller got them.
    pub length: u64,
}

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Timestamp(u64);

impl Timestamp {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment; that of a number no clock can show is the earliest.
    pub(super) fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.0)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl EntryMetadata {
    /// Reads metadata; `None` for anything that is none, as of another version of emfs.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn write(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }

    /// When the origin last confirmed it.
    pub(super) fn at(&self) -> SystemTime {
        match self {
            EntryMetadata::Absent(Absent { at, .. }) | EntryMetadata::Present(Present { at, .. }) => at.time(),
        }
    }
}

impl Present {
    /// The name under which the whole is kept, and its length.
    pub(super) fn whole(&self) -> Option<(String, u64)> {
        match &self.body {
            Some(body) => Some((body.id.clone(), body.length)),
            None => Some((self.version.id()?, self.version.total?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(etag: Option<&str>, date: Option<&str>, total: Option<u64>) -> ObjectVersion {
        ObjectVersion { etag: etag.map(str::to_owned), last_modified: date.map(str::to_owned), total }
    }

    #[test]
    fn metadata_is_read_as_it_was_written() {
        let version = version(Some("\"a\""), None, Some(5));
        let body = Some(WholeBody { id: "b".to_owned(), length: 9 });
        let there = Present { at: Timestamp::now(), version, content_type: Some("text/html".to_owned()), body };
        for metadata in [
            EntryMetadata::Absent(Absent { at: Timestamp(7), document: Some(u64::MAX) }),
            EntryMetadata::Present(there),
        ] {
            assert_eq!(EntryMetadata::parse(&metadata.write().unwrap()), Some(metadata));
        }
    }

    #[test]
    fn versions_that_cannot_be_told_apart_have_no_name() {
        assert_eq!(version(None, None, Some(5)).id(), None);
        assert_eq!(version(None, Some("monday"), None).id(), None);
        let named = [
            version(Some("\"a\""), Some("monday"), Some(5)),
            version(Some("\"b\""), Some("monday"), Some(5)),
            version(None, Some("monday"), Some(5)),
            version(None, Some("monday"), Some(6)),
            version(None, Some("tuesday"), Some(5)),
        ];
        let names: std::collections::HashSet<_> = named.iter().map(|version| version.id().unwrap()).collect();
        assert_eq!(names.len(), named.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn no_bytes_break_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<u64>()) {
            let _ = EntryMetadata::parse(&bytes);
            let text = format!("{{\"Absent\":{{\"at\":{at},\"document\":null}}}}");
            let _ = EntryMetadata::parse(text.as_bytes()).unwrap().at();
        }
    }
}
