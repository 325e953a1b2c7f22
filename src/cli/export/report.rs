//! What an export did, what one would cost, and what those who get it have to know.

use std::fmt::Write;
use std::time::Duration;

use super::super::size::human;
use super::bar::duration;
use crate::catalog::Dataset;
use crate::export::{AbsentIn, Destination, Estimate, ProgressState};
use crate::remote::LimitsByHost;

/// The line at the end.
pub(super) fn summary(
    name: &str,
    destination: &Destination,
    before: &ProgressState,
    after: &ProgressState,
    took: Duration,
) -> String {
    let found = match after.found - before.found {
        0 => String::new(),
        found => format!(" ({found} of them earlier)"),
    };
    format!(
        "{name}: {} voxels{found} in {} files, {}, at {destination}; {} requests, {} from the wire, {} retries, {}",
        after.done - before.done,
        after.files - before.files,
        human(after.bytes - before.bytes),
        after.requests - before.requests,
        human(after.wire - before.wire),
        after.retries - before.retries,
        duration(took.as_secs_f64()),
    )
}

/// What is said of an array of which the archive lacks blocks.
pub(super) fn absent(name: &str, AbsentIn { array, blocks, is_all }: &AbsentIn) -> String {
    match is_all {
        true => format!(
            "{name}: warning: all {blocks} blocks of {array} that were asked for are absent at the archive; \
             nothing but its fill value was written"
        ),
        false => format!("{name}: {blocks} blocks of {array} are absent at the archive, and hold its fill value"),
    }
}

/// What `--dry-run` prints.
pub(super) fn cost(name: &str, cost: &Estimate, limits: &LimitsByHost) -> String {
    let about = if cost.whole { "" } else { "about " };
    let mut text = String::new();
    // Writing to a text does not fail.
    let disk = if cost.compressed { "at most about " } else { "" };
    let _ = writeln!(text, "{name}: {} files, {disk}{} on disk", cost.files, human(cost.plain));
    if !cost.fetches() {
        let _ = writeln!(text, "  nothing has to be fetched{}", of_sample(cost));
    }
    for (host, of) in &cost.hosts {
        let limits = limits.of(host);
        let most = if cost.exact { "" } else { "at most " };
        let requests = of.requests.ceil();
        let _ = write!(
            text,
            "  {host}: {about}{requests} requests, {most}{about}{} on the wire, {} connections",
            human(of.bytes as u64),
            limits.connections
        );
        let _ = match limits.rate {
            Some(rate) => {
                writeln!(text, ", {rate} requests per second: at least {}", duration(requests / rate))
            }
            None => writeln!(text, ", no limit of requests per second"),
        };
    }
    text
}

/// What `--dry-run` prints where nobody may be asked: what is not there.
pub(super) fn missing(name: &str, cost: &Estimate) -> String {
    let about = if cost.whole { "" } else { "about " };
    let most = if cost.exact { "" } else { "at most " };
    if !cost.fetches() {
        return format!("{name}: all of it is here{}\n", of_sample(cost));
    }
    let mut text = format!("{name}: not all of it is here\n");
    for (host, of) in &cost.hosts {
        let requests = of.requests.ceil();
        let bytes = human(of.bytes as u64);
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {host}: {most}{about}{bytes} are not kept, {about}{requests} requests");
    }
    if cost.unplaced > 0.0 {
        let blocks = cost.unplaced.ceil();
        let _ = writeln!(text, "  {about}{blocks} blocks are not kept, nor the index that says where they are");
    }
    text
}

/// What is added to a statement on all of an export of which a part was looked at.
fn of_sample(cost: &Estimate) -> &'static str {
    if cost.whole { "" } else { ", as far as the part that was looked at tells" }
}

/// Licences that let everybody pass data on begin like this.
const OPEN: [&str; 6] = ["CC0", "CC-BY", "PDDL", "ODC-By", "ODbL", "Unlicense"];

/// The text of `NOTICE`, for data that may not be passed on or of which nobody says that they may.
pub(super) fn notice(dataset: &Dataset) -> Option<String> {
    let text = |key: &str| dataset.about.get(key)?.as_str();
    let licence = text("licence")?;
    let closed = licence.contains("-ND") || !OPEN.iter().any(|open| licence.starts_with(open));
    if !closed {
        return None;
    }
    let mut notice = format!(
        "This is a copy of data of {}{}.\nLicence: {licence}.\nDo not redistribute it.\n",
        dataset.name,
        text("title").map(|title| format!(", {title}")).unwrap_or_default(),
    );
    for (word, key) in [("Source", "landing_page"), ("Cite", "citation")] {
        if let Some(value) = text(key) {
            let _ = writeln!(notice, "{word}: {value}");
        }
    }
    Some(notice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn only_data_that_may_not_be_passed_on_get_a_notice() {
        let catalog = Catalog::builtin().unwrap();
        let noticed: Vec<_> =
            catalog.datasets.iter().filter(|dataset| notice(dataset).is_some()).map(|dataset| &dataset.name).collect();
        assert_eq!(noticed, ["epfl-hippocampus"]);
    }
}
