//! What was taken for absent and is to be confirmed.

use std::fmt;
use std::sync::{Arc, Weak};

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use crate::remote::Cause;

/// Something by which objects were taken for absent.
pub(super) trait Unconfirmed: fmt::Debug + Send + Sync {
    /// Confirms what was not confirmed yet.
    ///
    /// # Errors
    /// Why it may not be so.
    fn revalidate(self: Arc<Self>) -> BoxFuture<'static, Result<(), Cause>>;
}

/// All of it, and what is confirmed by now.
#[derive(Debug, Default)]
pub(super) struct Believed(Mutex<Vec<Weak<dyn Unconfirmed>>>);

impl Believed {
    pub(super) fn add(&self, unconfirmed: &Arc<dyn Unconfirmed>) {
        let mut all = self.0.lock();
        all.retain(|other| other.strong_count() > 0 && !std::ptr::addr_eq(other.as_ptr(), Arc::as_ptr(unconfirmed)));
        all.push(Arc::downgrade(unconfirmed));
    }

    /// Confirms all of it; the first reason why that fails.
    pub(super) async fn revalidate(&self) -> Result<(), Cause> {
        let all = self.0.lock().clone();
        join_all(all.iter().filter_map(Weak::upgrade).map(Unconfirmed::revalidate)).await.into_iter().collect()
    }
}
