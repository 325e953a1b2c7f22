//! One object at an origin.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::answer;
use super::cache_entry::{CachedExtent, KnownEntry};
use super::entry_metadata::{Absent, EntryMetadata, Timestamp};
use super::handle::Handle;
use super::healing::{self, Came};
use super::seen::SeenVersion;
use crate::cache::{Desk, FetchPlace, PoolShare};
use crate::remote::{Cause, Fetched, RangeRequest, RemoteError};

/// Bytes of a document that describes an image, at the most: N5 viewers keep all that a microscope says in it, some megabytes.
pub const LONGEST_DOCUMENT: u64 = 4 << 20;

/// Whether it is a document that is longer than the [`LONGEST_DOCUMENT`].
pub fn is_long_document(error: &RemoteError) -> bool {
    matches!(error.cause, Cause::TooLong { limit: LONGEST_DOCUMENT, .. })
}

/// A handle of one object: remembers its ETag and length from the first answer and refuses any other. Cheap to clone;
/// clones share what they remember.
#[derive(Clone)]
pub struct Object(Arc<Handle>);

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.0.origin.url()).finish()
    }
}

/// How often an answer is asked for whose version is doubted each time before it is given to anybody.
const ANSWERS: u32 = 4;

/// A document with the share of memory that it takes.
struct Arrived {
    bytes: Bytes,
    _share: Option<PoolShare>,
}

impl AsRef<[u8]> for Arrived {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Object {
    pub(super) fn new(handle: Handle) -> Self {
        Object(Arc::new(handle))
    }

    /// The address, for messages.
    pub fn url(&self) -> &str {
        self.0.origin.url()
    }

    /// Tells this handle, with its clones, from all others that live; no order of anything.
    pub(crate) fn handle(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Exactly `range`, which must not be empty.
    pub async fn range(&self, range: Range<u64>) -> Result<Fetched, RemoteError> {
        self.run(RangeRequest::Range(range)).await
    }

    /// The bytes of `parts`, of which each begins where the one before ends, each in memory of its own; `None` where they
    /// cannot all be had from the disk without asking the origin.
    pub async fn kept_parts(&self, parts: Vec<Range<u64>>) -> Option<Vec<Bytes>> {
        let doubts = self.0.origin.pin().doubts();
        let parts = answer::kept_parts(&self.0, self.0.kept.as_ref()?, parts).await?;
        self.0.origin.pin().rely(doubts).then_some(parts)
    }

    /// The first `length` bytes, fewer only where the object is shorter; `total` is always known.
    pub async fn start(&self, length: u64) -> Result<Fetched, RemoteError> {
        self.run(RangeRequest::Start(length)).await
    }

    /// The whole object, refused as [`Cause::TooLong`] when longer than `limit`. It is remembered for a while where
    /// there is none.
    pub async fn whole(&self, limit: u64) -> Result<Fetched, RemoteError> {
        let was_absent = self
            .look()
            .await
            .is_some_and(|known| known.believed && matches!(known.metadata, Some(EntryMetadata::Absent(_))));
        let answer = self.run(RangeRequest::Whole(limit)).await;
        if let (Err(RemoteError { cause: Cause::NotFound, .. }), false) = (&answer, was_absent) {
            // A bad answer of before, of which nothing could be made, is forgotten by now and does not speak against it.
            let known = self.look().await;
            self.store_negative(known, Absent { at: Timestamp::now(), document: None })
                .map_err(|cause| self.0.origin.failed(&RangeRequest::Whole(limit), cause))?;
        }
        answer
    }

    /// A whole document of `limit` bytes at the most. Its bytes are counted as long as they are held, so it is made
    /// something of before another one is asked for.
    pub async fn document(&self, limit: u64) -> Result<Bytes, RemoteError> {
        let share = self.0.desk.arrive(self.0.origin.place(), limit).await;
        let bytes = self.whole(limit).await?.bytes;
        Ok(Bytes::from_owner(Arrived { bytes, _share: share }))
    }

    /// A whole document that describes an image, of [`LONGEST_DOCUMENT`] bytes at the most. Hardly any has more than `usual`,
    /// and so many wait for as much memory only.
    pub async fn description(&self, usual: u64) -> Result<Bytes, RemoteError> {
        match self.document(usual).await {
            Err(RemoteError { cause: Cause::TooLong { .. }, .. }) if usual < LONGEST_DOCUMENT => {
                self.document(LONGEST_DOCUMENT).await
            }
            answer => answer,
        }
    }

    /// Memory for documents.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.0.desk
    }

    /// Length of the whole, where an answer said it.
    pub(super) fn total(&self) -> Option<u64> {
        self.0.origin.pin().version().and_then(|version| version.total)
    }

    /// Whether it was seen to be there.
    pub(super) fn has_version(&self) -> bool {
        self.0.origin.pin().version().is_some()
    }

    /// Where requests for it go; the same as [`Object::url`] but for buckets.
    pub fn address(&self) -> &str {
        self.0.origin.address()
    }

    /// Who has to answer for it: its host, or the filesystem it is on.
    pub fn place(&self) -> &FetchPlace {
        self.0.origin.place()
    }

    /// A sum of its address and of the version that its bytes are of, where an answer told which that is.
    pub fn version_sum(&self) -> Option<u64> {
        let version = self.0.origin.pin().version()?.id()?;
        Some(xxh3_64(format!("{} {version}", self.url()).as_bytes()))
    }

    /// The same for the version that is believed to be at the origin. Where that is not known without asking, but something
    /// is kept that is not believed any more, the origin is asked; `None` where nothing tells.
    pub async fn believed_version_sum(&self) -> Option<u64> {
        let Some(known) = self.look().await else { return self.version_sum() };
        if !known.believed && matches!(known.metadata, Some(EntryMetadata::Present(_))) {
            self.start(1).await.ok()?;
        }
        self.version_sum()
    }

    /// Whether it is a file of this machine.
    pub fn is_local(&self) -> bool {
        self.0.origin.is_local()
    }

    /// Whether all of `range` is kept on disk.
    pub fn has(&self, range: &Range<u64>) -> bool {
        self.kept_bytes(range) == range.end.saturating_sub(range.start)
    }

    /// How many bytes of `range` are kept on disk, as far as can be said without reading them. Waits for the disk.
    pub fn kept_bytes(&self, range: &Range<u64>) -> u64 {
        self.0.kept.as_ref().map_or(0, |kept| kept.bytes(self.0.origin.pin(), range))
    }

    /// What is kept on disk of the whole object, as far as can be said without reading it.
    pub fn kept_whole(&self) -> CachedExtent {
        self.0.kept.as_ref().map_or(CachedExtent::Unknown, |kept| kept.whole(self.0.origin.pin()))
    }

    /// Whether `range` of it, or the whole where there is none, can be had from the disk without asking the origin, as far
    /// as can be said without reading it. Waits for the disk, see [`off_the_runtime`](super::off_the_runtime).
    pub fn is_at_hand(&self, range: Option<&Range<u64>>) -> bool {
        let is_all = || match range {
            Some(range) => self.has(range),
            None => matches!(self.kept_whole(), CachedExtent::Present { length, kept } if length == kept),
        };
        self.known().is_some_and(|known| known.believed) && is_all()
    }

    /// Forgets which version it is, unless something was made of its bytes: what it gave makes no sense. Says whether it did.
    fn doubt(&self) -> bool {
        match &self.0.kept {
            _ if self.0.offline => false,
            Some(kept) => kept.doubt(self.0.origin.pin()),
            None => self.0.origin.pin().doubt(),
        }
    }

    /// Drops all that is known and kept of it, unless something was made of its bytes: what it gave makes no sense, nor did
    /// what it gave when it was asked once more.
    pub fn drop_senseless(&self) {
        if self.doubt() {
            self.forget();
        }
    }

    /// Drops what is kept of it.
    pub(super) fn forget(&self) {
        if let Some(kept) = self.0.kept.as_ref().filter(|_| !self.0.offline) {
            kept.forget();
        }
    }

    /// Whether the origin gives `bytes` of `range` a second time: what they leave out is believed to be left out then. It is
    /// asked once, and kept that it does.
    pub async fn gives_again(&self, range: Range<u64>, bytes: &Bytes) -> Result<bool, RemoteError> {
        let hash = xxh3_64(bytes);
        let was_given_twice = match &self.0.kept {
            Some(kept) => kept.was_given_twice(&range, hash).await,
            None => false,
        };
        if was_given_twice || self.is_local() {
            return Ok(true);
        }
        let again = healing::past_caches(self.range(range.clone())).await?;
        let is_same = again.bytes == *bytes;
        if let (Some(kept), true) = (&self.0.kept, is_same) {
            kept.keep_given_twice(&range, hash);
        }
        Ok(is_same)
    }

    /// When the origin last sent or confirmed what is known of it, as far as that was looked up; now where that is not kept.
    pub fn confirmed(&self) -> SystemTime {
        let metadata = self.0.kept.as_ref().and_then(|kept| kept.snapshot().metadata);
        metadata.map_or_else(SystemTime::now, |metadata| metadata.at())
    }

    /// Looks up what is kept of it, so that nobody waits for the disk later.
    pub async fn look_up(&self) {
        self.look().await;
    }

    /// What is kept of it, to start an operation from; waits for the disk, but not on the thread.
    pub(super) async fn look(&self) -> Option<KnownEntry> {
        Some(self.0.kept.as_ref()?.look(self.0.origin.pin()).await)
    }

    /// Whether anything of it may be kept on disk.
    pub fn may_be_kept(&self) -> bool {
        self.0.kept.is_some()
    }

    /// What is kept of it. Waits for the disk where it was not looked for before.
    fn known(&self) -> Option<KnownEntry> {
        self.0.kept.as_ref().map(|kept| kept.known(self.0.origin.pin()))
    }

    /// What is kept of its absence, believed or not, as far as that was looked up.
    pub(super) fn looked_up_absence(&self) -> Option<Absent> {
        match self.0.kept.as_ref()?.snapshot().metadata? {
            EntryMetadata::Absent(absent) => Some(absent),
            EntryMetadata::Present(_) => None,
        }
    }

    /// Keeps that it is absent, unless it was found to be there since `known`.
    pub(super) fn store_negative(&self, known: Option<KnownEntry>, absent: Absent) -> Result<(), Cause> {
        match (&self.0.kept, known) {
            (Some(kept), Some(known)) => kept.store_negative(self.0.origin.pin(), &known, absent),
            _ => Ok(()),
        }
    }

    /// Whether its host sent an object since then that it had just said to be absent.
    pub(super) fn has_taken_absence_back_since(&self, when: std::time::Instant) -> bool {
        self.0.origin.has_taken_absence_back_since(when)
    }

    /// Asks the origin, whatever is kept, and keeps nothing.
    pub(super) async fn ask_origin(&self, ask: RangeRequest) -> Result<Fetched, RemoteError> {
        self.0.ask(&ask).await
    }

    /// The status that its host is known to have for what is not there.
    pub(super) fn absent_status(&self) -> Option<u16> {
        self.0.origin.absent_status()
    }

    /// Gets it from the disk or the origin.
    pub(super) async fn run(&self, ask: RangeRequest) -> Result<Fetched, RemoteError> {
        let is_watched = healing::touch(self.0.origin.pin(), || {
            self.doubt();
        });
        self.handed(is_watched, &ask, false).await
    }

    /// Gets it from the origin, whatever is kept of it.
    pub(super) async fn run_past_caches(&self, ask: RangeRequest) -> Result<Fetched, RemoteError> {
        let is_watched = healing::touch(self.0.origin.pin(), || ());
        self.handed(is_watched, &ask, true).await
    }

    /// An answer that is relied on from now on, unless somebody makes sense of it before, as `is_watched` says. One of a
    /// version that was doubted meanwhile is left, and another one asked for.
    async fn handed(&self, is_watched: bool, ask: &RangeRequest, anew: bool) -> Result<Fetched, RemoteError> {
        let pin = self.0.origin.pin();
        for _ in 0..ANSWERS {
            let doubts = pin.doubts();
            let fetched = self.answer(ask, anew).await?;
            if is_watched || pin.rely(doubts) {
                self.note(&fetched);
                return Ok(fetched);
            }
        }
        Err(self.0.origin.failed(ask, Cause::Changed("while it was read".to_owned())))
    }

    /// Notes of what version an answer is.
    fn note(&self, fetched: &Fetched) {
        if self.0.seen.is_recording() {
            let Fetched { etag, last_modified, total, .. } = fetched;
            let version = SeenVersion { etag: etag.clone(), last_modified: last_modified.clone(), bytes: *total };
            healing::noted(Came { seen: self.0.seen.clone(), url: self.url().to_owned(), version });
        }
    }

    /// `anew`: from the origin, whatever is kept.
    async fn answer(&self, ask: &RangeRequest, anew: bool) -> Result<Fetched, RemoteError> {
        match &self.0.kept {
            Some(kept) if anew => answer::past_caches(&self.0, kept, ask).await,
            Some(kept) => answer::run(&self.0, kept, ask).await,
            None => self.0.ask(ask).await,
        }
    }
}
