//! `emfs mark`, and `emfs status --failed`: what failed since a moment, and what the origins do not have.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::output::print;
use super::{CliError, mounted};
use crate::daemon::client;
use crate::ledger::{Entries, LedgerPage, Mark};

/// Print a mark, for `emfs status --failed --since MARK`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  mark=$(emfs mark /mnt/em)
  python train.py
  emfs status /mnt/em --failed --since $mark || echo 'reads have failed'")]
pub(super) struct MarkArgs {
    /// Where emfs is mounted or serves
    mountpoint: PathBuf,
}

/// Asks the daemon for a mark and prints it.
pub(super) fn mark(args: &MarkArgs) -> Result<(), CliError> {
    let peer = mounted::peer(&args.mountpoint)?;
    let text = client::mark(peer.clone()).map_err(client::unanswered(peer))?;
    Ok(print(&text)?)
}

/// What of the ledger is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct LedgerQuery<'a> {
    pub absent: bool,
    pub since: Option<&'a Mark>,
    pub json: bool,
}

/// Lists what failed; that is an error where something did.
pub(super) fn failed(mountpoint: &std::path::Path, asked: LedgerQuery<'_>) -> Result<(), CliError> {
    let peer = mounted::peer(mountpoint)?;
    let page = client::ledger(peer.clone()).map_err(client::unanswered(peer))?;
    let page = match asked.since {
        None => page,
        Some(mark) => page.since(mark).ok_or_else(|| {
            let path = mountpoint.display();
            CliError::Usage(format!(
                "`{mark}` is no mark of what is at {path} now, but of an earlier mount or of another"
            ))
        })?,
    };
    print(&if asked.json { as_json(&page, asked.absent) } else { readable(&page, asked.absent) })?;
    match page.failed.count {
        0 => Ok(()),
        1 => Err(CliError::Failed("1 read or look-up has failed".to_owned())),
        count => Err(CliError::Failed(format!("{count} reads or look-ups have failed"))),
    }
}

fn as_json(page: &LedgerPage, absent: bool) -> String {
    let listed = |entries: &Entries| json!({"count": entries.count, "gone": entries.gone(), "entries": entries.kept});
    let mut value = json!({"mark": page.mark, "failed": listed(&page.failed)});
    if absent {
        value["absent"] = listed(&page.absent);
    }
    format!("{value:#}\n")
}

fn readable(page: &LedgerPage, absent: bool) -> String {
    let mut text = String::new();
    list(&mut text, "failed", &page.failed);
    if absent {
        list(&mut text, "absent", &page.absent);
    }
    text
}

fn list(text: &mut String, what: &str, entries: &Entries) {
    if entries.count == 0 {
        *text += &format!("nothing {what}\n");
    }
    match entries.gone() {
        0 => {}
        1 => *text += &format!("{what}: 1 earlier one is no longer listed\n"),
        gone => *text += &format!("{what}: {gone} earlier ones are no longer listed\n"),
    }
    for entry in &entries.kept {
        *text += &format!("{}  {what}  {}\n", entry.time, entry.line);
    }
}

/// How many blocks of each dataset are absent, in a line or none.
pub(super) fn absent(report: &Value) -> String {
    let counts = report["absent"].as_object().into_iter().flatten();
    let counts: Vec<_> = counts.map(|(dataset, count)| format!("{dataset} {}", count.as_u64().unwrap_or(0))).collect();
    let mut told = if counts.is_empty() {
        String::new()
    } else {
        format!("\nabsent at the origin, read as the fill value: {}\n", counts.join(", "))
    };
    for (store, means_absent) in report["denied_is_absent"].as_object().into_iter().flatten() {
        let meaning =
            if means_absent.as_bool() == Some(true) { "that it is absent" } else { "that it may not be read" };
        told += &format!("\"denied\" (403) of a chunk means {meaning} at {store}\n");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn a_page_is_readable_and_says_what_is_no_longer_listed() {
        let ledger = Ledger::default();
        assert_eq!(readable(&ledger.page(), true), "nothing failed\nnothing absent\n");
        ledger.failure("v/em.zarr/s0/0/0/0: it broke".to_owned());
        ledger.absence("w/em.zarr: s0/1/2/3 is absent".to_owned());
        let page = ledger.page();
        let text = readable(&page, false);
        assert!(text.ends_with("Z  failed  v/em.zarr/s0/0/0/0: it broke\n") && text.lines().count() == 1, "{text}");
        assert!(readable(&page, true).contains("Z  absent  w/em.zarr: s0/1/2/3 is absent\n"));
        let value: Value = serde_json::from_str(&as_json(&page, true)).unwrap();
        assert_eq!(
            (&value["failed"]["count"], &value["absent"]["entries"][0]["line"]),
            (&json!(1), &json!("w/em.zarr: s0/1/2/3 is absent"))
        );
        assert!(serde_json::from_str::<Value>(&as_json(&page, false)).unwrap().get("absent").is_none());

        let cut = LedgerPage { failed: Entries { count: 3, ..page.failed.clone() }, ..page };
        assert!(readable(&cut, false).starts_with("failed: 2 earlier ones are no longer listed\n"));
    }
}
