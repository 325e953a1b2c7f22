//! How far the fetching is: a bar in a terminal, else a line now and then.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use super::super::output::eprint_line;
use super::super::size::human;
use crate::volume::warm::WarmProgress;

/// Time between two looks at the counters.
const TICK: Duration = Duration::from_millis(200);
/// Time between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// The bar. Gone when dropped.
pub(super) struct Bar {
    bar: ProgressBar,
    lines: bool,
}

impl Bar {
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if quiet || !terminal { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} blocks, {msg}{left}");
        // The template is one of ours, which the tests have seen.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("left", left));
        Bar { bar, lines: !quiet && !terminal }
    }

    /// There are so many blocks more.
    pub fn expect(&self, blocks: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_add(blocks));
    }

    /// There are so many blocks fewer.
    pub fn unexpect(&self, blocks: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_sub(blocks));
    }

    /// Shows the counters until it is dropped.
    pub async fn show(&self, progress: &WarmProgress) {
        let begin = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut line = begin + LINE;
        loop {
            ticks.tick().await;
            let (blocks, bytes) = (progress.blocks.load(Ordering::Relaxed), progress.bytes.load(Ordering::Relaxed));
            let rate = bytes as f64 / begin.elapsed().as_secs_f64().max(0.001);
            let words = format!("{}, {}/s", human(bytes), human(rate as u64));
            self.bar.set_position(blocks);
            self.bar.set_message(words.clone());
            if self.lines && Instant::now() >= line {
                line += LINE;
                eprint_line(&format!("{blocks} of {} blocks, {words}", self.bar.length().unwrap_or(0)));
            }
        }
    }
}

/// The time that is left, once there is something to tell it by.
fn left(state: &ProgressState, text: &mut dyn Write) {
    if state.pos() > 0 {
        let _ = write!(text, ", {:#} left", HumanDuration(state.eta()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
