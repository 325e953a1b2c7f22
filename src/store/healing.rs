//! What does not parse is fetched once more, past every cache.
//!
//! A single bad answer (a page of errors, zeros, a flipped bit) may be kept on disk with a good checksum, or pin an object to
//! a version that never was. So whoever makes sense of fetched bytes does it within [`healed`]: where that makes no sense, it
//! reads once more while neither the disk nor a proxy answers, and what comes then takes the place of what was kept. Only
//! what makes no sense then is an error. What is kept stays where nothing comes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

tokio::task_local! {
    static READING: Arc<Reading>;
}

/// What is read while somebody makes sense of it.
#[derive(Debug, Default)]
struct Reading {
    past_caches: bool,
    /// The objects that were asked for, by their handles, each with whether something was made of its bytes.
    touched: Mutex<BTreeMap<usize, Arc<AtomicBool>>>,
}

/// An error of which can be told whether other bytes may be the remedy.
pub trait Healable: Display {
    /// Whether the bytes that were read are, or may be, the reason.
    fn is_of_bytes(&self) -> bool;
}

/// The result of `read`. Where that fails by what it was given, this is dropped from every cache, and `read` is called once
/// more, for which the origin itself is asked. Within another call of this, that one does so.
///
/// # Errors
/// That of the second time; where nothing more could be had then, that of the first.
pub async fn healed<T, E, F>(read: impl Fn() -> F) -> Result<T, E>
where
    E: Healable,
    F: Future<Output = Result<T, E>>,
{
    if READING.try_with(|_| ()).is_ok() {
        return read().await;
    }
    let first = Arc::new(Reading::default());
    let error = match READING.scope(first.clone(), read()).await {
        Err(error) if error.is_of_bytes() => error,
        answer => return first.trusted_by(answer),
    };
    drop(first);
    tracing::debug!("{error}; it is fetched once more");
    let second = Arc::new(Reading { past_caches: true, ..Reading::default() });
    match READING.scope(second.clone(), read()).await {
        Ok(value) => {
            tracing::info!("{error}; fetched once more, it is well");
            second.trusted_by(Ok(value))
        }
        Err(other) if other.is_of_bytes() => Err(other),
        Err(_) => Err(error),
    }
}

/// The same as `read`, for which the origin itself is asked.
pub async fn past_caches<T>(read: impl Future<Output = T>) -> T {
    READING.scope(Arc::new(Reading { past_caches: true, ..Reading::default() }), read).await
}

/// Whether what is remembered must not be used, because it led to bytes that make no sense.
pub fn is_past_caches() -> bool {
    READING.try_with(|reading| reading.past_caches).unwrap_or(false)
}

/// Where somebody makes sense of what is read, notes that the object with this handle is asked for and says whether it is for the first time.
pub(super) fn touch(handle: usize, relied_on: &Arc<AtomicBool>) -> Option<bool> {
    READING.try_with(|reading| reading.touched.lock().insert(handle, relied_on.clone()).is_none()).ok()
}

impl Reading {
    /// What made sense is relied on: its objects must not become others.
    fn trusted_by<T, E>(&self, answer: Result<T, E>) -> Result<T, E> {
        if answer.is_ok() {
            self.touched.lock().values().for_each(|relied_on| relied_on.store(true, Ordering::Release));
        }
        answer
    }
}
