//! What an object was when it was first seen, so that nobody mixes bytes of two versions.

use std::ops::Range;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::Cause;
use super::checks::RangeRequest;
use super::head::{Head, shorten};
use super::validators::{is_strong, is_weak, kept_date, kept_etag};

/// What tells one version of an object from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectVersion {
    #[serde(default, deserialize_with = "kept_etag")]
    pub etag: Option<String>,
    #[serde(default, deserialize_with = "kept_date")]
    pub last_modified: Option<String>,
    pub total: Option<u64>,
}

impl ObjectVersion {
    /// The name of the version, where the origin said enough to tell it from another.
    pub(crate) fn id(&self) -> Option<String> {
        match (&self.etag, &self.last_modified, self.total) {
            (Some(etag), Some(date), _) if is_weak(etag) => Some(format!("etag {etag} date {date}")),
            (Some(etag), ..) => Some(format!("etag {etag}")),
            (None, Some(date), Some(total)) => Some(format!("date {date} length {total}")),
            _ => None,
        }
    }

    pub(super) fn of(head: &Head, total: Option<u64>) -> Self {
        ObjectVersion { etag: head.etag.clone(), last_modified: head.last_modified.clone(), total }
    }

    /// Whether both were last changed at the same moment and have the same length.
    pub(super) fn is_like(&self, other: &ObjectVersion) -> bool {
        let (date, total) = (&self.last_modified, self.total);
        date.is_some() && *date == other.last_modified && total.is_some() && total == other.total
    }

    /// Says how `other` differs, where it does. A date counts only where the first answer had no ETag or a weak one, because
    /// mirrors behind one name often disagree on dates alone.
    fn difference(&self, other: &ObjectVersion) -> Option<String> {
        let show = |text: &Option<String>| text.as_deref().map_or("none".to_owned(), shorten);
        if let (Some(first), Some(now)) = (self.total, other.total)
            && first != now
        {
            return Some(format!("length {now} instead of {first}"));
        }
        if let Some(etag) = &self.etag {
            if other.etag.as_ref() != Some(etag) {
                return Some(format!("ETag {} instead of {}", show(&other.etag), shorten(etag)));
            }
            if !is_weak(etag) {
                return None;
            }
        }
        (self.last_modified.is_some() && self.last_modified != other.last_modified)
            .then(|| format!("Last-Modified {} instead of {}", show(&other.last_modified), show(&self.last_modified)))
    }
}

/// The version of the first complete answer. Shared by all clones of an object.
#[derive(Debug, Default)]
pub(crate) struct Pin {
    state: Mutex<PinState>,
    /// Held while it is found out whether the origin gives this version and another in turn: when that was last done.
    pub(super) looked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct PinState {
    pinned: Pinned,
    /// Whether something was made of the object's bytes: from now on it must not become another object.
    relied_on: bool,
    /// How often the version was forgotten because its bytes made no sense.
    doubts: u32,
}

#[derive(Debug, Default)]
struct Pinned {
    version: Option<ObjectVersion>,
    /// The first answer, as long as no other one bore its version out.
    only: Option<PinnedAnswer>,
    /// Whether any answer was of the version, which may have been seen before this process began.
    answered: bool,
    /// Whether an answer of the origin was, since this process began.
    told: bool,
    /// What the origin calls the version beside its ETag: where it is several mirrors, each may have a name of its own.
    aliases: Vec<Option<String>>,
    /// Whether the origin gives this version and another in turn.
    flaps: bool,
}

impl Pinned {
    /// Says how `version` is another one, where it is.
    fn refuses(&self, version: &ObjectVersion) -> Option<String> {
        let pinned = self.version.as_ref()?;
        let is_alias = self.aliases.contains(&version.etag) && pinned.is_like(version);
        pinned.difference(version).filter(|_| !is_alias)
    }
}

/// An answer by what was asked and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PinnedAnswer {
    pub ask: RangeRequest,
    hash: u64,
}

impl PinnedAnswer {
    /// Whether `bytes` are the same answer.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.hash == xxh3_64(bytes)
    }

    fn covers(&self, range: &Range<u64>) -> bool {
        match &self.ask {
            RangeRequest::Whole(_) => true,
            // Where the end lies is not known here.
            RangeRequest::End(_) => false,
            RangeRequest::Range(_) | RangeRequest::Start(_) => {
                self.ask.range().is_some_and(|asked| asked.start <= range.start && range.end <= asked.end)
            }
        }
    }
}

impl Pin {
    /// The pinned version, if there is one yet.
    pub(crate) fn version(&self) -> Option<ObjectVersion> {
        self.lock().version.clone()
    }

    /// Pins a version that was seen before this process began, unless an answer came first; says whether that, if there
    /// was one, is of the same version.
    pub(crate) fn preset(&self, version: ObjectVersion) -> bool {
        let mut pinned = self.lock();
        let (known, name) = (pinned.version.is_some(), version.id());
        pinned.version.get_or_insert(version).id() == name && (name.is_some() || !known)
    }

    /// How often the version was doubted, to be told to [`Pin::rely`] by who reads from now on.
    pub(crate) fn doubts(&self) -> u32 {
        self.state.lock().doubts
    }

    /// Notes that something is made of bytes that were read since there were so many doubts. Where there is one more, they
    /// may be of a version that was forgotten, and must not be used: `false`.
    pub(crate) fn rely(&self, doubts: u32) -> bool {
        let mut state = self.state.lock();
        state.relied_on |= state.doubts == doubts;
        state.doubts == doubts
    }

    /// Forgets the version because its bytes make no sense, unless something was made of them; says whether it did.
    pub(crate) fn doubt(&self) -> bool {
        let mut state = self.state.lock();
        if !state.relied_on {
            *state = PinState { doubts: state.doubts.wrapping_add(1), ..PinState::default() };
        }
        !state.relied_on
    }

    /// Forgets the version of which nothing was given to anybody.
    pub(crate) fn reset(&self) {
        *self.lock() = Pinned::default();
    }

    /// The answer that alone says which version it is, where nothing else came of the object.
    pub(super) fn only_answer(&self) -> Option<PinnedAnswer> {
        self.lock().only.clone()
    }

    /// Pins another version in place of the one that `answer` had, unless another answer bore that out meanwhile.
    pub(super) fn correct(&self, answer: &PinnedAnswer, version: ObjectVersion) {
        let mut pinned = self.lock();
        if pinned.only.as_ref() == Some(answer) {
            *pinned = Pinned { version: Some(version), answered: true, told: true, ..Pinned::default() };
        }
    }

    /// Notes that bytes of `range`, which are kept under `version`, are given out, as an `answer` alone where they are
    /// one; says whether the object still is of that version.
    pub(crate) fn give(
        &self,
        version: &ObjectVersion,
        range: &Range<u64>,
        answer: Option<(&RangeRequest, &[u8])>,
    ) -> bool {
        let mut pinned = self.lock();
        if pinned.version.as_ref().is_none_or(|pinned| version.difference(pinned).is_some()) {
            return false;
        }
        if !std::mem::replace(&mut pinned.answered, true) {
            pinned.only = answer.map(|(ask, bytes)| PinnedAnswer { ask: ask.clone(), hash: xxh3_64(bytes) });
        } else if !pinned.only.as_ref().is_some_and(|only| only.covers(range)) {
            pinned.only = None;
        }
        true
    }

    /// The ETag that an answer must have, where it has to be one and may stand in `If-Match`.
    pub(super) fn condition(&self) -> Option<String> {
        let pinned = self.lock();
        let etag = pinned.version.as_ref()?.etag.as_ref()?;
        (pinned.aliases.is_empty() && is_strong(etag)).then(|| etag.clone())
    }

    /// From now on `etag` stands for the pinned version as well, where that still is `version` and all else is the same.
    pub(super) fn add_alias(&self, version: &ObjectVersion, etag: Option<String>) {
        let mut pinned = self.lock();
        if pinned.version.as_ref() == Some(version) && !pinned.aliases.contains(&etag) {
            pinned.aliases.push(etag);
        }
    }

    /// Whether the origin itself gave the version since this process began.
    pub(super) fn is_told(&self) -> bool {
        self.lock().told
    }

    /// Notes whether the origin gives the pinned version and another in turn.
    pub(super) fn set_flaps(&self, flaps: bool) {
        self.lock().flaps = flaps;
    }

    /// Whether it does.
    pub(super) fn flaps(&self) -> bool {
        self.lock().flaps
    }

    /// Refuses an answer of another version, before its body is read.
    pub(super) fn check(&self, version: &ObjectVersion) -> Result<(), Cause> {
        match self.lock().refuses(version) {
            Some(difference) => Err(Cause::Changed(difference)),
            None => Ok(()),
        }
    }

    /// Pins the version of a complete answer, or refuses it if another was pinned meanwhile. What the first answer did not
    /// say of the version is taken from a later one.
    pub(crate) fn settle(&self, version: ObjectVersion, ask: &RangeRequest, bytes: &[u8]) -> Result<(), Cause> {
        let mut pinned = self.lock();
        let refused = pinned.refuses(&version);
        let Some(known) = pinned.version.as_mut() else {
            let only = Some(PinnedAnswer { ask: ask.clone(), hash: xxh3_64(bytes) });
            *pinned = Pinned { version: Some(version), only, answered: true, told: true, ..Pinned::default() };
            return Ok(());
        };
        if let Some(difference) = refused {
            return Err(Cause::Changed(difference));
        }
        known.etag = known.etag.take().or(version.etag);
        known.last_modified = known.last_modified.take().or(version.last_modified);
        known.total = known.total.or(version.total);
        (pinned.only, pinned.answered, pinned.told) = (None, true, true);
        Ok(())
    }

    fn lock(&self) -> MappedMutexGuard<'_, Pinned> {
        MutexGuard::map(self.state.lock(), |state| &mut state.pinned)
    }
}

#[cfg(test)]
#[path = "pin/tests.rs"]
mod tests;
