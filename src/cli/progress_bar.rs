//! How far a command is, while it runs: a bar in a terminal, else a line now and then.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use super::output::eprint_line;

/// Time between two looks at the counters.
const TICK: Duration = Duration::from_millis(200);
/// Time between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// How far it is.
pub(super) struct Moment {
    /// What is done, of how much.
    pub done: u64,
    pub of: u64,
    /// What stands beside the bar.
    pub words: String,
    /// What is told where there is no bar.
    pub line: String,
}

/// A bar on stderr, which is not seen where that is no terminal. `{left}` in its template is the time that is left, once
/// there is something to tell it by.
pub(super) fn bar(quiet: bool, template: &str) -> ProgressBar {
    let bar = if quiet || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new(0) };
    // The template is one of ours, which the tests have seen.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.with_key("left", left))
}

fn left(state: &ProgressState, text: &mut dyn Write) {
    if state.pos() > 0 {
        let _ = write!(text, ", {:#} left", HumanDuration(state.eta()));
    }
}

/// Shows how far it is, by the time since this began, until it is dropped.
pub(super) async fn show(bar: &ProgressBar, quiet: bool, now: impl Fn(Duration) -> Moment) {
    let lines = !quiet && !std::io::stderr().is_terminal();
    let begin = Instant::now();
    let (mut ticks, mut next) = (tokio::time::interval(TICK), begin + LINE);
    loop {
        ticks.tick().await;
        let Moment { done, of, words, line } = now(begin.elapsed());
        bar.set_length(of);
        bar.set_position(done);
        bar.set_message(words);
        if lines && Instant::now() >= next {
            next += LINE;
            eprint_line(&line);
        }
    }
}
