//! What an object was when it was first seen, so that nobody mixes bytes of two versions.

use std::ops::Range;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Cause;
use super::checks::Ask;
use super::head::{Head, shorten};

/// What tells one version of an object from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub total: Option<u64>,
}

impl Version {
    pub(super) fn of(head: &Head, total: Option<u64>) -> Self {
        Version { etag: head.etag.clone(), last_modified: head.last_modified.clone(), total }
    }

    /// Says how `other` differs, where it does. A date counts only where the first answer had no ETag, because mirrors
    /// behind one name often disagree on dates alone.
    fn difference(&self, other: &Version) -> Option<String> {
        let show = |text: &Option<String>| text.as_deref().map_or("none".to_owned(), shorten);
        if let (Some(first), Some(now)) = (self.total, other.total)
            && first != now
        {
            return Some(format!("length {now} instead of {first}"));
        }
        if self.etag.is_some() {
            return (self.etag != other.etag)
                .then(|| format!("ETag {} instead of {}", show(&other.etag), show(&self.etag)));
        }
        (self.last_modified.is_some() && self.last_modified != other.last_modified)
            .then(|| format!("Last-Modified {} instead of {}", show(&other.last_modified), show(&self.last_modified)))
    }
}

/// The version of the first complete answer. Shared by all clones of an object.
#[derive(Debug, Default)]
pub(super) struct Pin(Mutex<Pinned>);

#[derive(Debug, Default)]
struct Pinned {
    version: Option<Version>,
    /// The first answer, as long as no other one bore its version out.
    only: Option<Answer>,
    /// Whether any answer was of the version, which may have been seen before this process began.
    answered: bool,
}

/// An answer by what was asked and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub ask: Ask,
    hash: u64,
}

impl Answer {
    /// Whether `bytes` are the same answer.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.hash == xxh3_64(bytes)
    }

    fn covers(&self, range: &Range<u64>) -> bool {
        self.ask.range().is_none_or(|asked| asked.start <= range.start && range.end <= asked.end)
    }
}

impl Pin {
    /// The pinned version, if there is one yet.
    pub(super) fn version(&self) -> Option<Version> {
        self.lock().version.clone()
    }

    /// Pins a version that was seen before this process began, unless an answer came first; says whether that, if there
    /// was one, is of the same version.
    pub(super) fn preset(&self, version: Version) -> bool {
        let mut pinned = self.lock();
        let (known, name) = (pinned.version.is_some(), version.id());
        pinned.version.get_or_insert(version).id() == name && (name.is_some() || !known)
    }

    /// Forgets the version.
    pub(super) fn reset(&self) {
        *self.lock() = Pinned::default();
    }

    /// The answer that alone says which version it is, where nothing else came of the object.
    pub(super) fn only_answer(&self) -> Option<Answer> {
        self.lock().only.clone()
    }

    /// Pins another version in place of the one that `answer` had, unless another answer bore that out meanwhile.
    pub(super) fn correct(&self, answer: &Answer, version: Version) {
        let mut pinned = self.lock();
        if pinned.only.as_ref() == Some(answer) {
            *pinned = Pinned { version: Some(version), only: None, answered: true };
        }
    }

    /// Notes that bytes of `range`, which are kept under `version`, are given out, as an `answer` alone where they are
    /// one; says whether the object still is of that version.
    pub(super) fn give(&self, version: &Version, range: &Range<u64>, answer: Option<(&Ask, &[u8])>) -> bool {
        let mut pinned = self.lock();
        if pinned.version.as_ref().is_none_or(|pinned| version.difference(pinned).is_some()) {
            return false;
        }
        if !std::mem::replace(&mut pinned.answered, true) {
            pinned.only = answer.map(|(ask, bytes)| Answer { ask: ask.clone(), hash: xxh3_64(bytes) });
        } else if !pinned.only.as_ref().is_some_and(|only| only.covers(range)) {
            pinned.only = None;
        }
        true
    }

    /// Refuses an answer of another version, before its body is read.
    pub(super) fn check(&self, version: &Version) -> Result<(), Cause> {
        match self.lock().version.as_ref().and_then(|pinned| pinned.difference(version)) {
            Some(difference) => Err(Cause::Changed(difference)),
            None => Ok(()),
        }
    }

    /// Pins the version of a complete answer, or refuses it if another was pinned meanwhile. What the first answer did not
    /// say of the version is taken from a later one.
    pub(super) fn settle(&self, version: Version, ask: &Ask, bytes: &[u8]) -> Result<(), Cause> {
        let mut pinned = self.lock();
        let Some(known) = pinned.version.as_mut() else {
            let only = Some(Answer { ask: ask.clone(), hash: xxh3_64(bytes) });
            *pinned = Pinned { version: Some(version), only, answered: true };
            return Ok(());
        };
        if let Some(difference) = known.difference(&version) {
            return Err(Cause::Changed(difference));
        }
        known.etag = known.etag.take().or(version.etag);
        known.last_modified = known.last_modified.take().or(version.last_modified);
        known.total = known.total.or(version.total);
        (pinned.only, pinned.answered) = (None, true);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Pinned> {
        self.0.lock()
    }
}

/// Whether an ETag may stand in `If-Match`, which compares strongly (RFC 9110, 13.1.1).
pub(super) fn is_strong(etag: &str) -> bool {
    etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(etag: Option<&str>, date: Option<&str>, total: Option<u64>) -> Version {
        Version { etag: etag.map(str::to_owned), last_modified: date.map(str::to_owned), total }
    }

    fn refused(first: Version, second: Version) -> bool {
        let pin = Pin::default();
        settle(&pin, first).unwrap();
        let is_refused = pin.check(&second).is_err();
        assert_eq!(settle(&pin, second).is_err(), is_refused);
        is_refused
    }

    fn settle(pin: &Pin, version: Version) -> Result<(), Cause> {
        pin.settle(version, &Ask::Whole(9), b"bytes")
    }

    #[test]
    fn another_etag_or_length_is_another_version() {
        let first = || version(Some("\"a\""), Some("monday"), Some(5));
        assert!(refused(first(), version(Some("\"b\""), Some("monday"), Some(5))));
        assert!(refused(first(), version(None, Some("monday"), Some(5))));
        assert!(refused(first(), version(Some("\"a\""), Some("monday"), Some(6))));
        assert!(!refused(first(), version(Some("\"a\""), Some("tuesday"), None)));
    }

    #[test]
    fn without_an_etag_the_date_tells_versions_apart() {
        let first = || version(None, Some("monday"), Some(5));
        assert!(refused(first(), version(None, Some("tuesday"), Some(5))));
        assert!(refused(first(), version(None, None, Some(5))));
        assert!(!refused(first(), version(Some("\"a\""), Some("monday"), Some(5))));
    }

    #[test]
    fn what_was_seen_earlier_does_not_take_the_place_of_an_answer() {
        let known = || version(Some("\"a\""), None, Some(5));
        for (first, same) in [(known(), true), (version(Some("\"b\""), None, Some(5)), false)] {
            let pin = Pin::default();
            settle(&pin, first.clone()).unwrap();
            assert_eq!(pin.preset(known()), same);
            assert_eq!(pin.version(), Some(first));
        }
        let pin = Pin::default();
        let nameless = version(None, None, Some(5));
        assert!(pin.preset(nameless.clone()) && !pin.preset(nameless));
    }

    #[test]
    fn a_name_that_comes_later_is_the_object_s_name_from_then_on() {
        let pin = Pin::default();
        settle(&pin, version(None, None, Some(5))).unwrap();
        settle(&pin, version(Some("\"a\""), Some("monday"), Some(5))).unwrap();
        assert_eq!(pin.version(), Some(version(Some("\"a\""), Some("monday"), Some(5))));
        assert!(settle(&pin, version(Some("\"b\""), Some("monday"), Some(5))).is_err());
        assert!(settle(&pin, version(None, None, Some(5))).is_err());
    }

    #[test]
    fn only_a_version_that_one_answer_alone_had_is_corrected() {
        let pin = Pin::default();
        settle(&pin, version(Some("\"a\""), None, Some(5))).unwrap();
        let answer = pin.only_answer().unwrap();
        assert!(answer.is(b"bytes") && !answer.is(b"other"));
        let corrected = version(Some("\"b\""), None, Some(6));
        pin.correct(&answer, corrected.clone());
        assert_eq!(pin.version(), Some(corrected.clone()));
        settle(&pin, corrected.clone()).unwrap();
        assert_eq!(pin.only_answer(), None);
        pin.correct(&answer, version(Some("\"a\""), None, Some(5)));
        assert_eq!(pin.version(), Some(corrected));
    }

    #[test]
    fn weak_etags_are_not_sent() {
        assert!(is_strong("\"a\""));
        assert!(!is_strong("W/\"a\"") && !is_strong("\"") && !is_strong("a"));
    }
}
