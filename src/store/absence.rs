//! Objects that a store may lack, such as the empty chunks of an array: their voxels are shown as the fill value, so what
//! says that they are absent has to be borne out.
//!
//! A status says little: an archive that moves, a mirror that lags and a bucket that may not be listed answer the same for
//! what they have. So "absent" is believed when it was said twice, and the store's own document, its [`Witness`], is still
//! answered as it was read. It is kept for minutes, and no longer than that document holds.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;
use lru::LruCache;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::believed::Unconfirmed;
use super::entry_metadata::{Absent, EntryMetadata, Timestamp};
use super::healing::{is_past_caches, past_caches};
use super::object::Object;
use super::remote::Remote;
use crate::remote::{Cause, Credentials, Fetched, Location, RangeRequest, RemoteError};

/// How long one answer of the document bears out what is said to be absent.
const BORNE_OUT: Duration = Duration::from_secs(60);

/// How long a document that does not bear it out is not asked for again.
const FAILED: Duration = Duration::from_secs(1);

/// How long it is remembered which status an origin gives for what it lacks.
const PROBED: Duration = Duration::from_secs(600);

/// Absent objects of a store that are remembered beside the disk.
const REMEMBERED: usize = 1 << 16;

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
    /// Held while the document is asked for, so that it is asked for once.
    asking: tokio::sync::Mutex<()>,
    /// Held while it is asked for what surely does not exist, for the same reason.
    probing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Memory {
    absent: LruCache<String, Belief>,
    /// When the document was answered as it was read.
    borne_out: Option<(Instant, Timestamp)>,
    /// When it was not, and why.
    failed: Option<(Instant, Cause)>,
    /// What was said to be absent before this moment is not believed.
    doubted: Option<Timestamp>,
    /// Whether the origin says "denied" of what it lacks, and when it was asked that.
    denies: Option<(Instant, bool)>,
    /// Set where something was taken for absent after the document was asked for, by the answer of that time.
    unconfirmed: Option<Instant>,
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
    pub fn new(remote: &Remote, location: &Location, limit: u64, content: &[u8]) -> Self {
        let memory = Memory {
            absent: LruCache::unbounded(),
            borne_out: None,
            failed: None,
            doubted: remote.doubted_absences(location),
            denies: None,
            unconfirmed: None,
        };
        Witness(Arc::new(Inner {
            remote: remote.clone(),
            location: location.clone(),
            limit,
            content: xxh3_64(content),
            memory: Mutex::new(memory),
            asking: tokio::sync::Mutex::default(),
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

    fn remember(&self, object: &Object, at: Timestamp) {
        let since = Instant::now();
        let belief =
            Belief { since, until: since + self.0.remote.absence_left(at.time()).unwrap_or_default(), at: at.time() };
        self.0.memory.lock().remember(object, belief);
    }

    /// Whether the document is still answered as it was read; asked for at most once a minute.
    async fn bears_out(&self) -> Result<Timestamp, Cause> {
        let _one = self.0.asking.lock().await;
        {
            let mut memory = self.0.memory.lock();
            if let Some((when, cause)) = &memory.failed
                && when.elapsed() < FAILED
            {
                return Err(cause.clone());
            }
            if let Some((when, stamp)) = memory.borne_out
                && when.elapsed() < BORNE_OUT
            {
                if memory.unconfirmed != Some(when) {
                    memory.unconfirmed = Some(when);
                    let unconfirmed: Arc<dyn Unconfirmed> = self.0.clone();
                    self.0.remote.believed_absences(&unconfirmed);
                    tokio::spawn(self.clone().follow(when));
                }
                return Ok(stamp);
            }
        }
        self.look().await
    }

    /// Asks for the document. Where it does not bear out what was taken for absent since the last time, that is a failure.
    async fn look(&self) -> Result<Timestamp, Cause> {
        let Inner { remote, location, content, .. } = &*self.0;
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
        let was_believed = memory.unconfirmed.take().is_some();
        match &result {
            Ok(stamp) => {
                memory.borne_out = Some((Instant::now(), *stamp));
                memory.failed = None;
            }
            Err(cause) => {
                memory.borne_out = None;
                memory.failed = Some((Instant::now(), cause.clone()));
                memory.absent.clear();
                let now = Timestamp::now();
                memory.doubted = Some(now);
                remote.doubt_absences(location, now);
            }
        }
        drop(memory);
        if let (Err(cause), true) = (&result, was_believed) {
            let line = format!("what of {location} was shown as absent in the last minute may not be: {cause}");
            tracing::error!("{line}");
            remote.count_failure(line);
        }
        result
    }

    /// The hash of what the origin has as the document.
    async fn hash(&self) -> Result<u64, Cause> {
        let Inner { remote, location, limit, .. } = &*self.0;
        let document = remote.object(location).map_err(|error| error.cause)?;
        // A proxy may have the document still when its archive has gone.
        let answer = past_caches(document.ask_origin(RangeRequest::Whole(*limit))).await;
        Ok(xxh3_64(&answer.map_err(|error| error.cause)?.bytes))
    }

    /// Looks at the document again a minute after it bore something out at `when`.
    async fn follow(self, when: Instant) {
        tokio::time::sleep_until((when + BORNE_OUT).into()).await;
        let _one = self.0.asking.lock().await;
        let is_open = self.0.memory.lock().unconfirmed == Some(when);
        if is_open {
            // It tells of its failure.
            let _ = self.look().await;
        }
    }

    /// Looks at the document now if anything was taken for absent since the last time.
    async fn revalidate(&self) -> Result<(), Cause> {
        let _one = self.0.asking.lock().await;
        let is_open = self.0.memory.lock().unconfirmed.is_some();
        if is_open { self.look().await.map(drop) } else { Ok(()) }
    }

    /// Whether the origin says "denied" (403) of an object that it surely lacks, as buckets do that may not be listed. With
    /// credentials "denied" is meant so.
    async fn denies_what_it_lacks(&self) -> Result<bool, Cause> {
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
        Box::pin(async move { Witness(self).revalidate().await })
    }
}

impl Object {
    /// The same of an object that its store may lack: `None` where that is believed, for which `witness` says when.
    pub async fn whole_if_there(&self, limit: u64, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
        ask(self, RangeRequest::Whole(limit), witness).await
    }

    /// The bytes of `range`, which must not be empty, of an object that its store may lack.
    pub async fn range_if_there(&self, range: Range<u64>, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
        ask(self, RangeRequest::Range(range), witness).await
    }

    /// The last `length` bytes, which must not be 0, fewer only where the object is shorter; `total` is always known.
    pub async fn end_if_there(&self, length: u64, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
        if let Some(total) = self.total().filter(|total| *total > 0) {
            let fetched = self.range_if_there(total.saturating_sub(length)..total, witness).await?;
            // It may have become another one meanwhile.
            if fetched.as_ref().and_then(|fetched| fetched.total).is_none_or(|now| now == total) {
                return Ok(fetched);
            }
        }
        match ask(self, RangeRequest::End(length), witness).await {
            // Some servers give ranges, but no ends.
            Err(RemoteError { cause: Cause::Protocol(_) | Cause::Status(400 | 501), .. }) => {
                let Some(start) = ask(self, RangeRequest::Start(1), witness).await? else { return Ok(None) };
                match start.total.filter(|total| *total > 0) {
                    Some(total) => self.range_if_there(total.saturating_sub(length)..total, witness).await,
                    None => Ok(Some(start)),
                }
            }
            answer => answer,
        }
    }
}

/// Gets what `ask` wants of an object that its store may lack; `None` where it does.
async fn ask(object: &Object, ask: RangeRequest, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
    let known = object.look().await;
    if !is_past_caches() && witness.knows_absent(object).is_some() {
        return Ok(None);
    }
    // Metadata that is not believed must not be the answer.
    let answer = match known.as_ref().and_then(|known| known.metadata.as_ref()) {
        Some(EntryMetadata::Absent(_)) => object.run_past_caches(ask).await,
        _ => object.run(ask).await,
    };
    let error = match answer {
        Ok(fetched) => return Ok(Some(fetched)),
        Err(error) => error,
    };
    let failed = |cause| RemoteError { cause, ..error.clone() };
    let is_absent = match error.cause {
        Cause::NotFound => true,
        Cause::Denied(403) => witness.denies_what_it_lacks().await.map_err(failed)?,
        _ => false,
    };
    if !is_absent {
        return Err(error);
    }
    let at = witness.bears_out().await.map_err(failed)?;
    object.store_negative(known, Absent { at, document: Some(witness.0.content) }).map_err(failed)?;
    witness.remember(object, at);
    Ok(None)
}
