//! When somebody last read from each dataset.
//!
//! What was read once stays in the kernel's cache, and reading it again sends no message. So that such a reader is seen
//! as well, the kernel has to ask for the name of a dataset anew every [`NAMES`]: whoever opens a file by its path asks,
//! and that counts as reading where somebody has read from the dataset before. Look-ups and listings alone are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::tree::DatasetId;

/// How long the kernel may keep the name of a dataset. Well below [`RECENTLY`], since a reader who finds all in the
/// kernel's cache is seen as seldom as that.
pub(super) const NAMES: Duration = Duration::from_secs(20);

/// Who read so long ago may go on with it.
const RECENTLY: Duration = Duration::from_secs(60);

/// Milliseconds before the start that stand for a past that no longer matters; 0 stands for never.
const LONG_AGO: u64 = 1;

/// Milliseconds that the clock shows at the start, so that what was long ago is more than [`RECENTLY`] before it.
const START: u64 = 24 * 3600 * 1000;

/// Somebody who read a moment ago, or still waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentReader {
    /// Name of the dataset.
    pub dataset: String,
    /// How long ago.
    pub ago: Duration,
}

impl RecentReader {
    /// How long it takes until this is no longer recent.
    pub fn recent_for(&self) -> Duration {
        RECENTLY.saturating_sub(self.ago)
    }
}

#[derive(Debug, Default)]
struct Dataset {
    last: AtomicU64,
    waiting: AtomicUsize,
}

/// The moments of the last reads.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    start: Instant,
    datasets: Arc<[Dataset]>,
}

/// A read that is being answered. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct OngoingRead {
    readers: Readers,
    dataset: DatasetId,
}

impl Readers {
    /// Nobody has read yet from any of so many datasets.
    pub(super) fn of(datasets: usize) -> Self {
        Readers { start: Instant::now(), datasets: (0..datasets).map(|_| Dataset::default()).collect() }
    }

    /// A read begins.
    pub(super) fn read(&self, dataset: DatasetId) -> OngoingRead {
        if let Some(found) = self.get(dataset) {
            found.waiting.fetch_add(1, Ordering::Relaxed);
        }
        OngoingRead { readers: self.clone(), dataset }
    }

    /// Somebody asks for the dataset's name.
    pub(super) fn named(&self, dataset: DatasetId) {
        if let Some(found) = self.get(dataset)
            && found.last.load(Ordering::Relaxed) > 0
        {
            found.last.store(self.now(), Ordering::Relaxed);
        }
    }

    /// All reads so far were long ago.
    pub(super) fn forget(&self) {
        for dataset in self.datasets.iter() {
            let _ = dataset.last.fetch_min(LONG_AGO, Ordering::Relaxed);
        }
    }

    /// The dataset that was read last, and how long ago, if that is recent.
    pub(super) fn recent(&self) -> Option<(DatasetId, Duration)> {
        let now = self.now();
        let ago = |dataset: &Dataset| match dataset.waiting.load(Ordering::Relaxed) {
            0 => Duration::from_millis(now.saturating_sub(dataset.last.load(Ordering::Relaxed))),
            _ => Duration::ZERO,
        };
        let (number, ago) =
            self.datasets.iter().map(ago).zip(0..).map(|(ago, number)| (number, ago)).min_by_key(|(_, ago)| *ago)?;
        (ago < RECENTLY).then_some((DatasetId(number), ago))
    }

    fn get(&self, dataset: DatasetId) -> Option<&Dataset> {
        self.datasets.get(dataset.0 as usize)
    }

    fn now(&self) -> u64 {
        START + self.start.elapsed().as_millis() as u64
    }
}

impl Drop for OngoingRead {
    fn drop(&mut self) {
        if let Some(found) = self.readers.get(self.dataset) {
            // Before it is counted as answered, so that it never looks as if nobody read.
            found.last.store(self.readers.now(), Ordering::Release);
            found.waiting.fetch_sub(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: DatasetId = DatasetId(0);
    const B: DatasetId = DatasetId(1);

    /// As if so much time had passed.
    fn later(readers: &mut Readers, time: Duration) {
        readers.start -= time;
    }

    fn recent(readers: &Readers) -> Option<DatasetId> {
        readers.recent().map(|(dataset, _)| dataset)
    }

    #[test]
    fn who_read_a_minute_ago_reads_no_longer() {
        let mut readers = Readers::of(2);
        assert_eq!(recent(&readers), None);
        drop(readers.read(A));
        later(&mut readers, Duration::from_secs(5));
        drop(readers.read(B));
        assert_eq!(recent(&readers), Some(B));
        later(&mut readers, RECENTLY - Duration::from_secs(2));
        let (dataset, ago) = readers.recent().unwrap();
        let reader = RecentReader { dataset: String::new(), ago };
        assert!(dataset == B && reader.recent_for() <= Duration::from_secs(2), "{ago:?}");
        later(&mut readers, Duration::from_secs(2));
        assert_eq!(recent(&readers), None);
    }

    #[test]
    fn who_waits_for_an_answer_reads_however_long_that_takes() {
        let mut readers = Readers::of(2);
        let reading = readers.read(B);
        later(&mut readers, 2 * RECENTLY);
        assert_eq!(readers.recent(), Some((B, Duration::ZERO)));
        // The clock of a test goes on in `readers` alone.
        std::mem::forget(reading);
    }

    #[test]
    fn a_name_that_is_asked_for_is_read_where_something_was_read_before() {
        let mut readers = Readers::of(2);
        readers.named(A);
        assert_eq!(recent(&readers), None);
        drop(readers.read(A));
        later(&mut readers, RECENTLY);
        readers.named(B);
        assert_eq!(recent(&readers), None);
        readers.named(A);
        assert_eq!(recent(&readers), Some(A));
    }

    #[test]
    fn reads_that_are_forgotten_were_long_ago() {
        let readers = Readers::of(1);
        drop(readers.read(A));
        readers.forget();
        assert_eq!(recent(&readers), None);
        readers.named(A);
        assert_eq!(recent(&readers), Some(A), "what was read is in the kernel's cache");
        let never = Readers::of(1);
        never.forget();
        never.named(A);
        assert_eq!(recent(&never), None);
    }
}
