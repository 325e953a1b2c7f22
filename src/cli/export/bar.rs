//! How far an export is.

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::task::JoinHandle;

use super::super::progress_bar::{self, Moment};
use super::super::size::human;
use crate::export::{Progress, ProgressState};

/// Shows progress until it is dropped.
pub(super) struct ExportBar {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl ExportBar {
    pub(super) fn start(name: &str, progress: Arc<Progress>) -> ExportBar {
        let before = progress.state();
        // Short lines that are cut rather than wrapped: what a terminal wraps stays behind when it is resized.
        let bar =
            progress_bar::bar(false, "{prefix}\n{bar:30} {percent:>3} %\n{wide_msg}").with_prefix(name.to_owned());
        let (shown, name) = (bar.clone(), name.to_owned());
        let task = tokio::spawn(async move {
            let now = |elapsed| Now::of(&before, &progress.state(), elapsed).moment(&name);
            progress_bar::show(&shown, false, now).await;
        });
        ExportBar { bar, task }
    }
}

impl Drop for ExportBar {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

/// What one store has come to.
struct Now {
    voxels: u64,
    done: u64,
    state: ProgressState,
    wire: u64,
    elapsed: Duration,
    /// Voxels that this run wrote itself.
    own: u64,
}

impl Now {
    fn of(before: &ProgressState, state: &ProgressState, elapsed: Duration) -> Now {
        let done = state.done.saturating_sub(before.done);
        Now {
            voxels: state.voxels.saturating_sub(before.voxels),
            done,
            state: *state,
            wire: state.wire.saturating_sub(before.wire),
            elapsed,
            own: done.saturating_sub(state.found.saturating_sub(before.found)),
        }
    }

    fn moment(&self, name: &str) -> Moment {
        let (words, percent) = (self.words(), self.done as f64 * 100.0 / self.voxels.max(1) as f64);
        Moment { done: self.done, of: self.voxels, line: format!("{name}: {percent:.1} %, {words}"), words }
    }

    fn words(&self) -> String {
        let seconds = self.elapsed.as_secs_f64().max(0.001);
        let rate = human((self.wire as f64 / seconds) as u64);
        let left = match (self.voxels.saturating_sub(self.done), self.own) {
            (0, _) => String::new(),
            (_, 0) => ", time left unknown".to_owned(),
            (left, own) => format!(", {} left", duration(left as f64 / own as f64 * seconds)),
        };
        let failed = match self.state.failed {
            0 => String::new(),
            failed => format!(", {failed} chunks failed"),
        };
        // What a narrow terminal cuts comes last.
        format!(
            "{} from the wire, {rate}/s{left}{failed}, {} retries, {} voxels",
            human(self.wire),
            self.state.retries,
            self.done,
        )
    }
}

/// Seconds for people: `1 h 05 min`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.clamp(0.0, 1e12).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) if seconds < 9.95 => format!("{seconds:.1} s"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_people_do() {
        for (seconds, text) in
            [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.0, "59 s"), (61.0, "1 min 01 s"), (3900.0, "1 h 05 min")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
