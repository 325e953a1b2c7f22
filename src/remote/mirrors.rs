//! Whether an object of another version is another object.
//!
//! Behind one name may be several servers, which have the same files and tell their versions differently: an ETag with the
//! number of an inode in it, or none at all. Who pinned the version of one would be refused by the others for ever. So an
//! object that is said to have changed is looked at once more, and never is a byte of another version used for it:
//!
//! - Where one answer alone told the version, and the origin now gives the same bytes under another, that answer was wrong
//!   in what it said of the object.
//! - Where the origin gives the old version and another in turn, both last changed at the same moment, of the same length
//!   and with the same bytes where it was looked, both are names of one version. An object that really changed does not
//!   come back.
//! - Where it gives the old version in turn with one that is not the same in all that, it is asked more often for the old one.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use super::RemoteError;
use super::checks::RangeRequest;
use super::fetched::Fetched;
use super::origin::Origin;
use super::pin::{ObjectVersion, Pin};

/// So many bytes are compared.
const COMPARED: u64 = 64 << 10;

/// Requests that look for the old version, in two rounds: those of one may all be sent to the same mirror.
const LOOKS: usize = 4;

/// How long they may take.
const LOOKING: Duration = Duration::from_secs(10);

/// How long an object that was found to have changed is not looked at again.
const BELIEVED: Duration = Duration::from_secs(60);

/// How often an operation may find one more name of its object.
const NAMES: usize = 4;

impl Origin {
    /// Exactly what `ask` wants, or the reason why not. That the object changed is not believed before it was looked at more
    /// closely. `past_caches`: no cache on the way may answer.
    pub(crate) async fn ask(&self, ask: &RangeRequest, past_caches: bool) -> Result<Fetched, RemoteError> {
        let error = match self.ask_once(ask, self.pin(), past_caches).await {
            // A file of this machine is what it says.
            Err(error) if error.is_change() && !self.is_local() => error,
            answer => return answer,
        };
        ask_again(self, ask, past_caches, error).await
    }
}

/// Asks once more for what could not be had because of `error`: the object is said to be of another version.
async fn ask_again(
    origin: &Origin,
    ask: &RangeRequest,
    past_caches: bool,
    mut error: RemoteError,
) -> Result<Fetched, RemoteError> {
    if let Some(answer) = after_a_wrong_version(origin, ask, past_caches).await {
        match answer {
            Err(other) if other.is_change() => error = other,
            answer => return answer,
        }
    }
    for _ in 0..NAMES {
        if !is_given_in_turn(origin, ask, past_caches).await {
            break;
        }
        match origin.ask_once(ask, origin.pin(), past_caches).await {
            Err(other) if other.is_change() => error = other,
            answer => return answer,
        }
    }
    Err(error)
}

/// The answer where only one answer told the version, and the origin gives the same bytes under another.
async fn after_a_wrong_version(
    origin: &Origin,
    ask: &RangeRequest,
    past_caches: bool,
) -> Option<Result<Fetched, RemoteError>> {
    let only = origin.pin().only_answer()?;
    let pin = Pin::default();
    let again = origin.ask_once(&only.ask, &pin, past_caches).await.ok()?;
    let version = pin.version().filter(|_| only.is(&again.bytes))?;
    origin.pin().correct(&only, version);
    Some(origin.ask_once(ask, origin.pin(), past_caches).await)
}

/// Whether the origin gives the pinned version in turn with others. That is found out by one operation at a time, of which
/// those that wait for it take the result.
async fn is_given_in_turn(origin: &Origin, ask: &RangeRequest, past_caches: bool) -> bool {
    let began = Instant::now();
    let mut looked = origin.pin().looked.lock().await;
    let flaps = origin.pin().flaps();
    // Most objects that are said to have changed did, and are asked for again and again.
    if looked.is_some_and(|looked| looked >= began || !flaps && looked.elapsed() < BELIEVED) {
        return flaps;
    }
    let pinned = origin.pin().version();
    let found = match &pinned {
        Some(pinned) => {
            timeout(LOOKING.min(origin.timeout()), look(origin, ask, past_caches, pinned)).await.unwrap_or(false)
        }
        None => false,
    };
    *looked = Some(Instant::now());
    origin.pin().set_flaps(found);
    found
}

/// Looks for the pinned version and for others. Those that are the same but for their name are taken for it from now on.
async fn look(origin: &Origin, ask: &RangeRequest, past_caches: bool, pinned: &ObjectVersion) -> bool {
    let part = part(ask, pinned);
    let one = || async {
        let pin = Pin::default();
        let fetched = origin.ask_once(&part, &pin, past_caches).await.ok()?;
        Some((pin.version()?, fetched))
    };
    // Where only what is kept tells the version, an object that may well be another is mostly read anew.
    if !origin.pin().is_told() {
        let has_names = pinned.is_like(pinned);
        if !has_names || one().await.is_none_or(|(version, _)| !pinned.is_like(&version)) {
            return false;
        }
    }
    let mut seen: Vec<(ObjectVersion, Fetched)> = Vec::new();
    for _ in 0..2 {
        seen.extend(join_all((0..LOOKS).map(|_| one())).await.into_iter().flatten());
    }
    let Some((_, old)) = seen.iter().find(|(version, _)| version == pinned) else { return false };
    for (version, fetched) in seen.iter().filter(|(version, _)| version != pinned) {
        if pinned.is_like(version) && fetched.bytes == old.bytes {
            if origin.host().is_found_to_have_mirrors() {
                tracing::warn!(
                    "{}: given by {} under the ETags {} and {} in turn, with the same date, length and bytes: taken for one \
                     version, here and where the same is found of other objects of this host",
                    origin.url(),
                    origin.host().name(),
                    pinned.etag.as_deref().unwrap_or("none"),
                    version.etag.as_deref().unwrap_or("none"),
                );
            }
            origin.pin().add_alias(pinned, version.etag.clone());
        }
    }
    true
}

/// What is compared: from the first byte of `ask` on, more than it asks for where that is little.
fn part(ask: &RangeRequest, pinned: &ObjectVersion) -> RangeRequest {
    let is_short = pinned.total.is_some_and(|total| total <= COMPARED);
    match ask.range() {
        Some(range) => {
            let end = pinned.total.unwrap_or(range.end).min(range.start.saturating_add(COMPARED));
            RangeRequest::Range(range.start..end.max(range.start.saturating_add(1)))
        }
        None if is_short => ask.clone(),
        None => RangeRequest::Start(COMPARED),
    }
}
