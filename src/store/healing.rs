//! What does not parse is fetched once more, past every cache.
//!
//! A single bad answer (a page of errors, zeros, a flipped bit) may be kept on disk with a good checksum, or pin an object to
//! a version that never was. So whoever makes sense of fetched bytes does it within [`healed`]: where that makes no sense, it
//! reads once more while neither the disk nor a proxy answers, and what comes then takes the place of what was kept. Only
//! what makes no sense then is an error. What is kept stays where nothing comes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use parking_lot::Mutex;

use super::seen::{SeenVersion, SeenVersions};
use crate::remote::Pin;

/// How often something is read anew because an object of it was doubted by somebody else meanwhile. Then nobody may doubt
/// it any more.
const RENEWALS: u32 = 3;

tokio::task_local! {
    static READING: Arc<Reading>;
}

/// What is read while somebody makes sense of it.
#[derive(Debug, Default)]
struct Reading {
    past_caches: bool,
    /// Whether each object is relied on from its first answer on.
    relies_at_once: bool,
    /// The objects that were asked for, by where their pins are, each with how often it had been doubted then.
    touched: Mutex<BTreeMap<usize, (Arc<Pin>, u32)>>,
    /// The versions of what came, which are noted once somebody made sense of it.
    came: Mutex<Vec<Came>>,
}

/// The version that an object had when it was given to who is to make sense of it.
#[derive(Debug)]
pub(super) struct Came {
    pub seen: Arc<SeenVersions>,
    pub url: String,
    pub version: SeenVersion,
}

impl Came {
    fn note(self) {
        self.seen.note(&self.url, || self.version);
    }
}

/// What was read and makes no sense to anybody yet: none of its objects is relied on.
#[must_use = "its objects may become others until somebody made sense of them"]
#[derive(Debug)]
pub struct Unproven(Arc<Reading>);

impl Unproven {
    /// Somebody made sense of it, so that its objects must not become others from now on. Where one was doubted meanwhile,
    /// what was made may be of a version that was forgotten, and must not be used: `false`.
    #[must_use]
    pub fn makes_sense(self) -> bool {
        self.0.is_trusted()
    }
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
    made(false, read).await
}

/// The same for a task that somebody starts, which is no part of what that one reads. `past_caches`: what [`is_past_caches`]
/// says to that one, whose reason is this one's as well.
///
/// # Errors
/// As [`healed`].
pub async fn healed_apart<T, E, F>(past_caches: bool, read: impl Fn() -> F) -> Result<T, E>
where
    E: Healable,
    F: Future<Output = Result<T, E>>,
{
    made(past_caches, read).await
}

async fn made<T, E, F>(past_caches: bool, read: impl Fn() -> F) -> Result<T, E>
where
    E: Healable,
    F: Future<Output = Result<T, E>>,
{
    let mut renewals = 0;
    loop {
        let reading =
            |past_caches| Arc::new(Reading { past_caches, relies_at_once: renewals == RENEWALS, ..Reading::default() });
        let first = reading(past_caches);
        let error = match READING.scope(first.clone(), read()).await {
            Ok(value) if first.is_trusted() => return Ok(value),
            Ok(_) => {
                renewals += 1;
                continue;
            }
            Err(error) if error.is_of_bytes() && !past_caches => error,
            Err(error) => return Err(error),
        };
        drop(first);
        tracing::debug!("{error}; it is fetched once more");
        let second = reading(true);
        match READING.scope(second.clone(), read()).await {
            Ok(value) if second.is_trusted() => {
                tracing::info!("{error}; fetched once more, it is well");
                return Ok(value);
            }
            Ok(_) => renewals += 1,
            Err(other) if other.is_of_bytes() => return Err(other),
            Err(_) => return Err(error),
        }
    }
}

/// The same as `read`, for which the origin itself is asked.
pub async fn past_caches<T>(read: impl Future<Output = T>) -> T {
    let reading = Arc::new(Reading { past_caches: true, ..Reading::default() });
    let answer = READING.scope(reading.clone(), read).await;
    let came = std::mem::take(&mut *reading.came.lock());
    came.into_iter().for_each(noted);
    answer
}

/// The same as `read`, of which the caller has to make sense. `past_caches`: for which the origin itself is asked.
pub async fn unproven<T>(past_caches: bool, read: impl Future<Output = T>) -> (T, Unproven) {
    let reading = Arc::new(Reading { past_caches, ..Reading::default() });
    (READING.scope(reading.clone(), read).await, Unproven(reading))
}

/// Notes the version of what came: once somebody made sense of it, where somebody is to.
pub(super) fn noted(came: Came) {
    let later = READING.try_with(|reading| (!reading.relies_at_once).then(|| reading.clone())).ok().flatten();
    match later {
        Some(reading) => reading.came.lock().push(came),
        None => came.note(),
    }
}

/// Whether what is remembered must not be used, because it led to bytes that make no sense.
pub fn is_past_caches() -> bool {
    READING.try_with(|reading| reading.past_caches).unwrap_or(false)
}

/// Notes that an object, which has this pin, is asked for; says whether somebody makes sense of its bytes before they are
/// relied on. `doubt` is called where it is asked for the first time past every cache.
pub(super) fn touch(pin: &Arc<Pin>, doubt: impl FnOnce()) -> bool {
    let note = |reading: &Arc<Reading>| {
        let mut touched = reading.touched.lock();
        touched.entry(Arc::as_ptr(pin).addr()).or_insert_with(|| {
            if reading.past_caches {
                doubt();
            }
            (pin.clone(), pin.doubts())
        });
        !reading.relies_at_once
    };
    READING.try_with(note).unwrap_or(false)
}

impl Reading {
    /// What made sense is relied on: its objects must not become others. Where one was doubted since it was asked for, what
    /// was made may be of two versions: `false`.
    fn is_trusted(&self) -> bool {
        let is_trusted = {
            let touched = self.touched.lock();
            self.relies_at_once || touched.values().all(|(pin, doubts)| pin.rely(*doubts))
        };
        if is_trusted {
            std::mem::take(&mut *self.came.lock()).into_iter().for_each(Came::note);
        }
        is_trusted
    }
}
