//! How far the fetching is.

use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;

use super::super::progress_bar::{self, Moment};
use super::super::size::human;
use crate::stats::Stats;
use crate::volume::warm::WarmProgress;

/// The bar. Gone when dropped.
pub(super) struct WarmBar {
    bar: ProgressBar,
    quiet: bool,
    expected: AtomicU64,
}

impl WarmBar {
    pub fn new(quiet: bool) -> Self {
        let bar = progress_bar::bar(quiet, "{wide_bar} {pos}/{len} blocks, {msg}{left}");
        WarmBar { bar, quiet, expected: AtomicU64::new(0) }
    }

    /// There are so many blocks more.
    pub fn expect(&self, blocks: u64) {
        self.expected.fetch_add(blocks, Ordering::Relaxed);
    }

    /// There are so many blocks fewer.
    pub fn unexpect(&self, blocks: u64) {
        self.expected.fetch_sub(blocks, Ordering::Relaxed);
    }

    /// Shows the counters until it is dropped.
    pub async fn show(&self, progress: &WarmProgress, stats: &Stats) {
        let now = |elapsed: std::time::Duration| {
            let (done, bytes) = (progress.blocks.load(Ordering::Relaxed), stats.received());
            let of = self.expected.load(Ordering::Relaxed);
            let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
            let words = format!("{}, {}/s", human(bytes), human(rate as u64));
            Moment { done, of, line: format!("{done} of {of} blocks, {words}"), words }
        };
        progress_bar::show(&self.bar, self.quiet, now).await;
    }
}

impl Drop for WarmBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
