//! What bears out that objects of a store are absent: their voxels are shown as the fill value.
//!
//! A status says little: an archive that moves, a mirror that lags and a bucket that may not be listed answer the same for
//! what they have. So "absent" is believed when it was said twice, and the store is seen to be well after that: its own
//! document, the [`Witness`], is answered as it was read, or, within a minute of that, an object is still there that the store
//! was seen to have. Where no such object is known, what is said within the minute is believed for now: it is kept nowhere,
//! asked for once more when the minute is over, and told where it is there then.
//!
//! What is borne out is kept for minutes, and no longer than the document holds.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use lru::LruCache;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::believed::Unconfirmed;
use super::cache_entry::KnownEntry;
use super::entry_metadata::{Absent, Timestamp};
use super::healing::past_caches;
use super::object::Object;
use super::remote::Remote;
use crate::cache::RecentFailure;
use crate::remote::{Cause, Credentials, Location, RangeRequest, RemoteError, file_for_folder};
use crate::task;

/// How long the document is not asked for again, unless something speaks against the store.
const MINUTE: Duration = Duration::from_secs(60);

/// How long it is remembered which status an origin gives for what it lacks.
const PROBED: Duration = Duration::from_secs(600);

/// Absent objects of a store that are remembered beside the disk.
const REMEMBERED: usize = 1 << 16;

/// Objects that are believed to be absent for now before it is looked whether they are.
const FOR_NOW: usize = 1 << 10;

/// So many of them are asked for at a time.
const AT_A_TIME: usize = 16;

/// A folder that no store has beside its document.
const NOWHERE: &str = "emfs-no-such-object";

/// The document of a store, which bears out that objects of the store are absent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Witness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    remote: Remote,
    location: Location,
    /// Longest document that is accepted.
    limit: u64,
    /// Hash of the document as it was read.
    content: u64,
    memory: Mutex<Memory>,
    /// Held while it is looked whether the store is well, so that all who wait for that learn it from one look.
    asking: tokio::sync::Mutex<()>,
    /// Held while it is asked for what is believed to be absent for now.
    confirming: tokio::sync::Mutex<()>,
    /// Held while it is asked for what surely does not exist, for the same reason.
    probing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Memory {
    absent: LruCache<String, Belief>,
    /// When the document was asked for and answered as it was read.
    document: Option<Instant>,
    /// When the store was looked at and seen to be well, last.
    well: Option<(Instant, Timestamp)>,
    /// Why it was not, when it was not.
    failed: Option<RecentFailure<Cause>>,
    /// An object that the store was seen to have.
    present: Option<Object>,
    /// What was said to be absent before this moment is not believed.
    doubted: Option<Timestamp>,
    /// Whether the origin says "denied" of what it lacks, and when it was asked that.
    denies: Option<(Instant, bool)>,
    /// What is believed to be absent for now.
    for_now: Vec<Object>,
    /// Whether somebody will look whether that is so.
    is_followed: bool,
}

/// How far it is borne out that something is absent.
enum Borne {
    /// The store was seen to be well after it was said.
    Out(Timestamp),
    /// It was seen to be well a moment before.
    ForNow,
}

#[derive(Debug, Clone, Copy)]
struct Belief {
    since: Instant,
    until: Instant,
    at: SystemTime,
}

impl Memory {
    fn remember(&mut self, object: &Object, belief: Belief) {
        if self.absent.len() >= REMEMBERED {
            self.absent.pop_lru();
        }
        self.absent.put(object.url().to_owned(), belief);
    }
}

impl Witness {
    /// The document at `location`, of at most `limit` bytes, which was read as `content`. Uses no network.
    pub async fn new(remote: &Remote, location: &Location, limit: u64, content: &[u8]) -> Self {
        let memory = Memory {
            absent: LruCache::unbounded(),
            document: None,
            well: None,
            failed: None,
            present: None,
            doubted: remote.doubted_absences(location).await,
            denies: None,
            for_now: Vec::new(),
            is_followed: false,
        };
        Witness(Arc::new(Inner {
            remote: remote.clone(),
            location: location.clone(),
            limit,
            content: xxh3_64(content),
            memory: Mutex::new(memory),
            asking: tokio::sync::Mutex::default(),
            confirming: tokio::sync::Mutex::default(),
            probing: tokio::sync::Mutex::default(),
        }))
    }

    /// When it was last borne out that the object is absent; `None` where that is not known or not believed any more.
    pub fn knows_absent(&self, object: &Object) -> Option<SystemTime> {
        let mut memory = self.0.memory.lock();
        if let Some(belief) = memory.absent.get(object.url()) {
            if Instant::now() < belief.until && !object.has_taken_absence_back_since(belief.since) {
                return Some(belief.at);
            }
            memory.absent.pop(object.url());
        }
        let absent = object.looked_up_absence().filter(|absent| {
            absent.document == Some(self.0.content) && memory.doubted.is_none_or(|moment| absent.at > moment)
        })?;
        let (since, at) = (Instant::now(), absent.at.time());
        let left = self.0.remote.absence_left(at)?;
        memory.remember(object, Belief { since, until: since + left, at });
        Some(at)
    }

    /// Notes an object that the store has.
    pub(super) fn has_seen(&self, object: &Object) {
        self.0.memory.lock().present = Some(object.clone());
    }

    /// Takes an object for absent that was said to be so, twice, until `said`; an error where that is not borne out. `known`
    /// is what was kept of it before.
    pub(super) async fn believe(&self, object: &Object, known: Option<KnownEntry>, said: Instant) -> Result<(), Cause> {
        match self.bears_out(said).await? {
            Borne::Out(at) => self.keep(object, known, at),
            Borne::ForNow => {
                let since = Instant::now();
                let until = since + MINUTE.min(self.0.remote.absent_ttl());
                let belief = Belief { since, until, at: SystemTime::now() };
                let mut memory = self.0.memory.lock();
                memory.remember(object, belief);
                memory.for_now.push(object.clone());
                let is_first = !std::mem::replace(&mut memory.is_followed, true);
                let is_full = memory.for_now.len() == FOR_NOW;
                let end = memory.document.map_or(since, |document| document + MINUTE);
                drop(memory);
                if is_first {
                    let unconfirmed: Arc<dyn Unconfirmed> = self.0.clone();
                    self.0.remote.believed_absences(&unconfirmed);
                    task::spawn(self.clone().follow(end));
                }
                if is_full {
                    task::spawn(self.clone().follow(since));
                }
                Ok(())
            }
        }
    }

    /// Keeps that an object is absent.
    fn keep(&self, object: &Object, known: Option<KnownEntry>, at: Timestamp) -> Result<(), Cause> {
        object.store_negative(known, Absent { at, document: Some(self.0.content) })?;
        let since = Instant::now();
        let left = self.0.remote.absence_left(at.time()).unwrap_or_default();
        self.0.memory.lock().remember(object, Belief { since, until: since + left, at: at.time() });
        Ok(())
    }

    /// Whether the store is well, as far as can be said by asking for its document once a minute.
    async fn bears_out(&self, said: Instant) -> Result<Borne, Cause> {
        let _one = self.0.asking.lock().await;
        let present = {
            let memory = self.0.memory.lock();
            if let Some(cause) = memory.failed.as_ref().and_then(RecentFailure::recent) {
                return Err(cause.clone());
            }
            if let Some((when, stamp)) = memory.well
                && when >= said
            {
                return Ok(Borne::Out(stamp));
            }
            let is_recent = memory.document.is_some_and(|when| when.elapsed() < MINUTE);
            is_recent.then(|| memory.present.clone())
        };
        match present {
            Some(None) => return Ok(Borne::ForNow),
            Some(Some(object)) => {
                let start = Instant::now();
                let is_there = past_caches(object.ask_origin(RangeRequest::Start(1))).await.is_ok();
                let mut memory = self.0.memory.lock();
                if is_there {
                    let stamp = Timestamp::now();
                    memory.well = Some((start, stamp));
                    return Ok(Borne::Out(stamp));
                }
                memory.present = None;
            }
            None => {}
        }
        Ok(Borne::Out(self.look().await?))
    }

    /// Asks for the document. Where it does not bear out what is believed to be absent for now, that is a failure.
    async fn look(&self) -> Result<Timestamp, Cause> {
        let Inner { remote, location, content, .. } = &*self.0;
        let start = Instant::now();
        let unlike = |how: &str| Err(Cause::Unconfirmed(format!("{location}, which should bear it out, {how}")));
        let answer = match self.hash().await {
            // No single answer is final.
            Ok(hash) if hash != *content => self.hash().await,
            answer => answer,
        };
        let result = match answer {
            Ok(hash) if hash == *content => Ok(Timestamp::now()),
            Ok(_) => {
                // The next mount must not read the old one.
                if let Ok(document) = remote.object(location) {
                    document.forget();
                }
                remote.found_changed();
                unlike("changed at the origin; remount")
            }
            Err(Cause::NotFound | Cause::Gone(_)) => unlike("is absent as well: the archive may be moving"),
            Err(cause @ (Cause::Denied(_) | Cause::Forbidden(_) | Cause::Credentials(_))) => Err(cause),
            Err(cause) => unlike(&format!("cannot be had: {cause}")),
        };
        let mut memory = self.0.memory.lock();
        match &result {
            Ok(stamp) => {
                memory.document = Some(start);
                memory.well = Some((start, *stamp));
                memory.failed = None;
            }
            Err(cause) => {
                memory.failed = Some(RecentFailure::now(cause.clone()));
                let was_believed = !std::mem::take(&mut memory.for_now).is_empty();
                drop(memory);
                self.doubt();
                if was_believed {
                    self.tell(format!("what of {location} was shown as absent in the last minute may not be: {cause}"));
                }
            }
        }
        result
    }

    /// Believes nothing any more of what was said to be absent until now.
    fn doubt(&self) {
        let now = Timestamp::now();
        let mut memory = self.0.memory.lock();
        (memory.document, memory.well, memory.present) = (None, None, None);
        memory.absent.clear();
        // A clock that was set back must not make what is in doubt believed.
        let since = memory.doubted.map_or(now, |before| before.max(now));
        memory.doubted = Some(since);
        self.0.remote.doubt_absences(&self.0.location, since);
    }

    /// Tells of something that was shown as absent and may not be.
    fn tell(&self, line: String) {
        tracing::error!("{line}");
        self.0.remote.count_failure(line);
    }

    /// The hash of what the origin has as the document.
    async fn hash(&self) -> Result<u64, Cause> {
        let Inner { remote, location, limit, .. } = &*self.0;
        let document = remote.object(location).map_err(|error| error.cause)?;
        // A proxy may have the document still when its archive has gone.
        let answer = past_caches(document.ask_origin(RangeRequest::Whole(*limit))).await;
        Ok(xxh3_64(&answer.map_err(|error| error.cause)?.bytes))
    }

    /// Looks at `when` whether what is believed for now is absent. It tells where that is not so.
    async fn follow(self, when: Instant) {
        tokio::time::sleep_until(when.into()).await;
        let _ = self.confirm().await;
    }

    /// Asks for the document, and once more for all that is believed to be absent for now: the store may not have been well
    /// when that was said, and be so again.
    async fn confirm(&self) -> Result<(), Cause> {
        let _one = self.0.confirming.lock().await;
        let (at, believed) = {
            let _one = self.0.asking.lock().await;
            self.0.memory.lock().is_followed = false;
            if self.0.memory.lock().for_now.is_empty() {
                return Ok(());
            }
            (self.look().await?, std::mem::take(&mut self.0.memory.lock().for_now))
        };
        let count = believed.len();
        let found: Vec<Cause> = stream::iter(believed)
            .map(|object| self.confirm_one(object, at))
            .buffer_unordered(AT_A_TIME)
            .filter_map(|confirmed| std::future::ready(confirmed.err()))
            .collect()
            .await;
        let Some(cause) = found.first() else { return Ok(()) };
        self.doubt();
        let location = &self.0.location;
        self.tell(format!(
            "{} of {count} objects of {location} that were shown as absent in the last minute may not be; mount again: {cause}",
            found.len()
        ));
        Err(cause.clone())
    }

    /// Asks for an object once more that is believed to be absent for now, and keeps that it is.
    async fn confirm_one(&self, object: Object, at: Timestamp) -> Result<(), Cause> {
        let known = object.look().await;
        let unlike = |how: &str| Err(Cause::Unconfirmed(format!("{} was said to be absent and {how}", object.url())));
        match past_caches(object.ask_origin(RangeRequest::Start(1))).await.map_err(|error| error.cause) {
            Err(Cause::NotFound) => self.keep(&object, known, at),
            Err(Cause::Denied(403)) if self.denies_what_it_lacks().await? => self.keep(&object, known, at),
            Ok(_) => unlike("is there"),
            Err(cause) => unlike(&format!("gave: {cause}")),
        }
    }

    /// The file in the place of a folder on the way to a local object. A document below a file is one that is not there; a
    /// chunk is none of those that its store left out.
    pub(super) async fn in_the_way(&self, object: &Object) -> Result<Option<String>, RemoteError> {
        match Location::parse(object.url(), None) {
            Ok(location) if object.is_local() => self.0.remote.with_path(&location, file_for_folder).await,
            _ => Ok(None),
        }
    }

    /// Whether the origin says "denied" (403) of an object that it surely lacks, as buckets do that may not be listed. With
    /// credentials "denied" is meant so.
    pub(super) async fn denies_what_it_lacks(&self) -> Result<bool, Cause> {
        let Inner { remote, location, .. } = &*self.0;
        if location.credentials != Credentials::None {
            return Ok(false);
        }
        if let Some(status) = remote.object(location).ok().and_then(|document| document.absent_status()) {
            return Ok(status == 403);
        }
        let _one = self.0.probing.lock().await;
        if let Some((when, denies)) = self.0.memory.lock().denies
            && when.elapsed() < PROBED
        {
            return Ok(denies);
        }
        let nowhere = location.in_folder_beside(NOWHERE);
        let answer = match remote.object(&nowhere) {
            Ok(object) => past_caches(object.ask_origin(RangeRequest::Start(1))).await.map_err(|error| error.cause),
            Err(error) => Err(error.cause),
        };
        let denies = match answer {
            Ok(_) | Err(Cause::NotFound) => false,
            Err(Cause::Denied(403)) => true,
            Err(cause) => {
                return Err(Cause::Unconfirmed(format!(
                    "denied, and {nowhere}, which is surely absent, gave: {cause}"
                )));
            }
        };
        self.0.memory.lock().denies = Some((Instant::now(), denies));
        remote.found_denial(location, denies);
        Ok(denies)
    }
}

impl Unconfirmed for Inner {
    fn revalidate(self: Arc<Self>) -> BoxFuture<'static, Result<(), Cause>> {
        Box::pin(async move { Witness(self).confirm().await })
    }
}
