//! Documents of which a store did without because they were said to be missing, or because something else came in their place,
//! such as that of a level: what is shown without them stays so as long as it is open, so that they come back is looked for, and
//! told.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::believed::Unconfirmed;
use super::healing::past_caches;
use super::object::LONGEST_DOCUMENT;
use super::remote::Remote;
use crate::remote::{Cause, Location, RangeRequest};

/// When it is looked for first, and twice as long after each time.
const FIRST: Duration = Duration::from_secs(60);

/// The longest time after which it is looked for again.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Says whether bytes are a certain document.
type IsDocument = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What is known of such a document.
pub struct Lost {
    /// Whether bytes are the document.
    pub is_document: IsDocument,
    /// What became of it: `was said to be missing`.
    pub was: &'static str,
    /// What is done without it.
    pub without: String,
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").field("was", &self.was).field("without", &self.without).finish_non_exhaustive()
    }
}

/// A document that is missing. It is looked for as long as this is kept.
#[derive(Debug)]
pub struct Missed {
    _kept: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    remote: Remote,
    location: Location,
    lost: Lost,
    is_told: AtomicBool,
}

impl Missed {
    /// Looks for the document at `location` from time to time, and once it is there tells that something goes on without it.
    pub fn new(remote: &Remote, location: &Location, lost: Lost) -> Self {
        let (remote, location) = (remote.clone(), location.clone());
        let inner = Arc::new(Inner { remote, location, lost, is_told: AtomicBool::new(false) });
        let unconfirmed: Arc<dyn Unconfirmed> = inner.clone();
        inner.remote.believed_absences(&unconfirmed);
        tokio::spawn(follow(Arc::downgrade(&inner)));
        Missed { _kept: inner }
    }
}

async fn follow(missed: Weak<Inner>) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        let Some(missed) = missed.upgrade() else { return };
        if missed.look().await.is_err() {
            return;
        }
        pause = pause.saturating_mul(2).min(MAX_PAUSE);
    }
}

impl Inner {
    /// Looks for the document; an error where it is there.
    async fn look(&self) -> Result<(), Cause> {
        let Inner { remote, location, lost: Lost { is_document, was, without }, is_told } = self;
        let Ok(object) = remote.object(location) else { return Ok(()) };
        let _share = object.desk().arrive(object.place(), LONGEST_DOCUMENT).await;
        // Whatever else comes or goes wrong says nothing of it.
        match past_caches(object.ask_origin(RangeRequest::Whole(LONGEST_DOCUMENT))).await {
            Ok(found) if object.desk().work_now(|| is_document(&found.bytes)) => {}
            _ => return Ok(()),
        }
        let line = format!("{location} {was} and is there now; mount again, for {without}");
        if !is_told.swap(true, Ordering::AcqRel) {
            tracing::error!("{line}");
            remote.count_failure(line.clone());
        }
        Err(Cause::Unconfirmed(line))
    }
}

impl Unconfirmed for Inner {
    fn revalidate(self: Arc<Self>) -> BoxFuture<'static, Result<(), Cause>> {
        async move { self.look().await }.boxed()
    }
}
