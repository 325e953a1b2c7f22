//! An object of which bytes are kept on disk: they are used as long as they are believed, and only what is missing is
//! asked for.
//!
//! What is kept pins the object as an answer of its origin would: whatever is fetched beside it must be of the same
//! version. An object that changed is dropped from the disk; nobody mixes bytes of two versions.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::cache_policy::CachePolicy;
use super::entry_metadata::{Absent, EntryMetadata, Present, Timestamp, WholeBody};
use super::range_store::{Extent, RangeStore, Unavailable};
use super::source_change::SourceChange;
use crate::remote::{Cause, Fetched, Pin, RangeRequest, RemoteError};

/// How long an origin that could not revalidate what is kept is not asked to again.
const SILENCE: Duration = Duration::from_secs(60);

/// What is kept of one object.
pub(super) struct CacheEntry {
    disk: Arc<dyn RangeStore>,
    key: String,
    policy: CachePolicy,
    /// Changes of the source that it is a part of, where it is one of a source.
    source: Option<Arc<SourceChange>>,
    state: Mutex<State>,
    /// Held while the origin is asked whether it still has what is kept, so that it is asked once.
    pub(super) confirming: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the disk said what it has as metadata, or an answer took its place.
    looked: bool,
    metadata: Option<EntryMetadata>,
    /// Whether the metadata may be believed without asking.
    believed: bool,
    /// When the origin was asked last whether it still has what is kept, and could not say.
    silent: Option<Instant>,
    /// Whether bytes of the pinned version were given to a caller.
    handed: bool,
    /// How often the object was found to be another.
    renewed: u32,
}

/// What is kept on disk of a whole object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachedExtent {
    /// Nothing is known of it.
    Unknown,
    /// Its length, and how many of its bytes are kept.
    Present {
        /// Bytes of the object.
        length: u64,
        /// Bytes of it on disk.
        kept: u64,
    },
}

/// What an operation starts from.
#[derive(Debug, Clone)]
pub(super) struct KnownEntry {
    pub metadata: Option<EntryMetadata>,
    /// Whether the metadata is used without asking.
    pub believed: bool,
    renewed: u32,
}

impl CacheEntry {
    /// `key`: what tells the object from all others.
    pub(super) fn new(
        disk: Arc<dyn RangeStore>,
        key: String,
        policy: CachePolicy,
        source: Option<Arc<SourceChange>>,
    ) -> Self {
        CacheEntry { disk, key, policy, source, state: Mutex::default(), confirming: tokio::sync::Mutex::default() }
    }

    /// What is known, from the disk's metadata where this is the first touch. A disk that cannot tell now is asked again at
    /// the next one.
    pub(super) async fn look(&self, pin: &Pin) -> KnownEntry {
        if let Some(source) = &self.source {
            source.look().await;
        }
        if !self.has_looked()
            && let Ok(bytes) = self.disk.metadata_soon(&self.key).await
        {
            self.learn(pin, bytes);
        }
        self.snapshot()
    }

    /// The same for whoever may wait on the thread.
    pub(super) fn known(&self, pin: &Pin) -> KnownEntry {
        if let Some(source) = &self.source {
            source.look_now();
        }
        if !self.has_looked()
            && let Ok(bytes) = self.disk.metadata(&self.key)
        {
            self.learn(pin, bytes);
        }
        self.snapshot()
    }

    /// What is known without asking the disk.
    pub(super) fn snapshot(&self) -> KnownEntry {
        let state = self.state.lock();
        KnownEntry {
            metadata: state.metadata.clone(),
            believed: self.is_believed(&state) || self.policy.offline,
            renewed: state.renewed,
        }
    }

    /// Whether what is known was not found to be in doubt since, by what became of others of its source.
    fn is_believed(&self, state: &State) -> bool {
        state.believed && !state.metadata.as_ref().is_some_and(|metadata| self.is_doubted(metadata))
    }

    fn is_doubted(&self, metadata: &EntryMetadata) -> bool {
        let since = self.source.as_ref().and_then(|source| source.since());
        since.is_some_and(|since| metadata.at() < since.time())
    }

    fn has_looked(&self) -> bool {
        self.state.lock().looked
    }

    /// Takes the disk's metadata for what is known, unless something else was learnt meanwhile.
    fn learn(&self, pin: &Pin, bytes: Option<Bytes>) {
        let mut state = self.state.lock();
        if !state.looked {
            state.looked = true;
            // The origin may have answered while the disk could not.
            let fits = |metadata: &EntryMetadata| match metadata {
                EntryMetadata::Present(there) => pin.preset(there.version.clone()),
                EntryMetadata::Absent(_) => pin.version().is_none(),
            };
            state.metadata = bytes.and_then(|bytes| EntryMetadata::parse(&bytes)).filter(fits);
            state.believed = state.metadata.as_ref().is_some_and(|metadata| self.policy.is_fresh(metadata));
        }
    }

    /// The pieces of `range` that are kept under `id`: in order, not overlapping.
    pub(super) async fn read(&self, id: String, range: Range<u64>) -> Vec<Extent> {
        self.disk.read(&self.key, id, range).await
    }

    /// The bytes of `parts`, each in memory of its own; `None` unless all are kept under `id`.
    pub(super) async fn read_parts(&self, id: String, parts: Vec<Range<u64>>) -> Option<Vec<Bytes>> {
        self.disk.read_parts(&self.key, id, parts).await
    }

    /// How many bytes of `range` are kept.
    pub(super) fn bytes(&self, pin: &Pin, range: &Range<u64>) -> u64 {
        match self.known(pin).metadata {
            Some(EntryMetadata::Present(there)) => there.version.id().map_or(0, |id| self.count(&id, range.clone())),
            _ => 0,
        }
    }

    /// What is kept of the whole.
    pub(super) fn whole(&self, pin: &Pin) -> CachedExtent {
        match self.known(pin).metadata {
            Some(EntryMetadata::Present(there)) => match there.whole() {
                Some((id, length)) => CachedExtent::Present { length, kept: self.count(&id, 0..length) },
                None => CachedExtent::Unknown,
            },
            Some(EntryMetadata::Absent(_)) | None => CachedExtent::Unknown,
        }
    }

    fn count(&self, id: &str, range: Range<u64>) -> u64 {
        self.disk.covered(&self.key, id, range).iter().map(|part| part.end - part.start).sum()
    }

    /// Drops all that is kept.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        self.disk.forget(&self.key);
        (state.looked, state.metadata, state.believed) = (true, None, false);
    }

    /// Keeps an answer as [`CacheEntry::keep`] does, in place of what is kept of the same bytes and of other versions.
    pub(super) async fn replace(
        &self,
        pin: &Pin,
        known: &KnownEntry,
        ask: &RangeRequest,
        fetched: &Fetched,
    ) -> Result<(), Cause> {
        let kept = self.kept_id().await.ok().flatten();
        if self.state.lock().renewed == known.renewed {
            let id = pin.version().and_then(|version| version.id());
            let range =
                (!matches!(ask, RangeRequest::Whole(_))).then(|| ask.place(fetched.bytes.len() as u64, fetched.total));
            match (range, id) {
                (Some(range), Some(id)) if kept.as_ref() == Some(&id) => {
                    self.disk.forget_range(&self.key, &id, &range);
                }
                _ => self.disk.forget(&self.key),
            }
        }
        self.keep(pin, known, ask, fetched)
    }

    /// The name of the version that the disk has.
    async fn kept_id(&self) -> Result<Option<String>, Unavailable> {
        let metadata = self.disk.metadata_soon(&self.key).await?;
        Ok(match metadata.and_then(|bytes| EntryMetadata::parse(&bytes)) {
            Some(EntryMetadata::Present(there)) => there.version.id(),
            Some(EntryMetadata::Absent(_)) | None => None,
        })
    }

    /// Forgets what is known of the object, unless something was made of it: its next answer may be of any version. Says
    /// whether it did.
    pub(super) fn doubt(&self, pin: &Pin) -> bool {
        let mut state = self.state.lock();
        let is_forgotten = pin.doubt();
        if is_forgotten {
            *state = State { looked: true, renewed: state.renewed.saturating_add(1), ..State::default() };
        }
        is_forgotten
    }

    /// Whether what is kept is used although its object is not at the origin any more: an archive that is down or moves
    /// says so of everything. Where it was to be asked whether it still has that, its word counts.
    pub(super) fn outlives(&self, cause: &Cause) -> bool {
        matches!(cause, Cause::Gone(_)) && self.policy.doubted_before.is_none()
    }

    /// After the object was found to be another than `known`: drops what is kept of that; says whether to start anew.
    pub(super) async fn renew(&self, pin: &Pin, known: &KnownEntry) -> bool {
        // Asked before anything is locked: the disk may take its time, and another process may have replaced it already.
        let kept = self.kept_id().await;
        let mut state = self.state.lock();
        if state.renewed != known.renewed {
            return true;
        }
        // Where it was in doubt, so are the others of its source.
        if let (Some(source), Some(metadata)) = (&self.source, &known.metadata)
            && !self.is_doubted(metadata)
        {
            source.note();
        }
        let old = pin.version().and_then(|version| version.id());
        // Rather too much than what is known to be of an old version.
        let kept = kept.unwrap_or_else(|_| old.clone());
        if kept == old {
            self.disk.forget(&self.key);
        }
        state.looked = true;
        state.metadata = None;
        if state.handed {
            return false;
        }
        state.renewed = state.renewed.saturating_add(1);
        pin.reset();
        true
    }

    /// An error with what is to be done, where it is more than to mount again: what changed cannot be noted for the next mount.
    pub(super) fn advised(&self, mut error: RemoteError) -> RemoteError {
        if let Cause::Changed(how) = &mut error.cause
            && !self.disk.is_writable()
        {
            how.push_str("; with --revalidate, because the cache cannot be written");
        }
        error
    }

    /// Marks bytes as given out, unless the object was found to be another than `known` meanwhile.
    pub(super) fn mark_served(&self, known: &KnownEntry) -> Result<(), Cause> {
        mark_served(&mut self.state.lock(), known)
    }

    /// Notes an answer of the origin, keeps its bytes and marks them as given out, unless the object was found to be
    /// another than `known` meanwhile.
    pub(super) fn keep(
        &self,
        pin: &Pin,
        known: &KnownEntry,
        ask: &RangeRequest,
        fetched: &Fetched,
    ) -> Result<(), Cause> {
        let mut state = self.state.lock();
        mark_served(&mut state, known)?;
        let Some(version) = pin.version() else { return Ok(()) };
        let at = Timestamp::now();
        let whole = matches!(ask, RangeRequest::Whole(_));
        let own_body = whole && (fetched.decoded || version.id().is_none());
        let body = match &state.metadata {
            _ if own_body => {
                // Another process may get another body at the same moment.
                let id = format!("body {at} {:016x}", xxh3_64(&fetched.bytes));
                Some(WholeBody { id, length: fetched.bytes.len() as u64 })
            }
            Some(EntryMetadata::Present(there)) if there.version.id() == version.id() => there.body.clone(),
            _ => None,
        };
        let id = match &body {
            Some(body) if own_body => body.id.clone(),
            _ => match version.id() {
                Some(id) => id,
                None => return Ok(()),
            },
        };
        let there = Present { at, version, content_type: fetched.content_type.clone(), body };
        self.record(&mut state, EntryMetadata::Present(there));
        let start = ask.place(fetched.bytes.len() as u64, fetched.total).start;
        if !fetched.bytes.is_empty() {
            self.disk.write(&self.key, &id, start, fetched.bytes.clone());
        }
        Ok(())
    }

    /// Remembers that there is no such object, unless there was one since `known`, or bytes of it are kept.
    pub(super) fn store_negative(&self, pin: &Pin, known: &KnownEntry, absent: Absent) -> Result<(), Cause> {
        let mut state = self.state.lock();
        if state.renewed != known.renewed || pin.version().is_some() {
            return Err(Cause::Changed("it is not there any more".to_owned()));
        }
        self.record(&mut state, EntryMetadata::Absent(absent));
        Ok(())
    }

    /// Whether the origin gave bytes of `range` with that hash twice.
    pub(super) async fn was_given_twice(&self, range: &Range<u64>, hash: u64) -> bool {
        let metadata = self.disk.metadata_soon(&self.twice(range)).await.ok().flatten();
        metadata.is_some_and(|metadata| *metadata == hash.to_le_bytes())
    }

    /// Keeps that it did.
    pub(super) fn keep_given_twice(&self, range: &Range<u64>, hash: u64) {
        self.disk.set_metadata(&self.twice(range), Bytes::copy_from_slice(&hash.to_le_bytes()));
    }

    fn twice(&self, range: &Range<u64>) -> String {
        format!("{} twice {}-{}", self.key, range.start, range.end)
    }

    /// Remembers that the origin has what is kept.
    pub(super) fn confirmed(&self) {
        let mut state = self.state.lock();
        if let Some(EntryMetadata::Present(there)) = &state.metadata {
            let metadata = EntryMetadata::Present(Present { at: Timestamp::now(), ..there.clone() });
            self.record(&mut state, metadata);
        }
    }

    /// Remembers that the origin could not say whether it has what is kept.
    pub(super) fn unconfirmed(&self) {
        self.state.lock().silent = Some(Instant::now());
    }

    /// Whether what is kept is used although the origin did not revalidate it: it could not a short while ago.
    pub(super) fn was_unconfirmed(&self) -> bool {
        self.state.lock().silent.is_some_and(|silent| silent.elapsed() < SILENCE)
    }

    /// Puts metadata on the disk; what says no more than what was put there only if that was lost meanwhile.
    /// Without it nobody else finds the bytes.
    fn record(&self, state: &mut State, metadata: EntryMetadata) {
        let same = match (&state.metadata, &metadata) {
            (Some(EntryMetadata::Present(old)), EntryMetadata::Present(new)) => {
                Present { at: new.at, ..old.clone() } == *new
            }
            _ => false,
        };
        match metadata.write() {
            Some(bytes) if same && self.is_believed(state) => self.disk.restore_metadata(&self.key, bytes.into()),
            Some(bytes) => self.disk.set_metadata(&self.key, bytes.into()),
            None => {}
        }
        state.looked = true;
        state.metadata = Some(metadata);
        state.believed = true;
    }
}

fn mark_served(state: &mut State, known: &KnownEntry) -> Result<(), Cause> {
    if state.renewed != known.renewed {
        return Err(Cause::Changed("while it was read".to_owned()));
    }
    state.handed = true;
    Ok(())
}
