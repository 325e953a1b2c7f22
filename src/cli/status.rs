//! `emfs status`.

use std::path::PathBuf;

use serde_json::Value;

use super::output::{aligned_columns, print};
use super::size::human;
use super::{CliError, ledger, mounted};
use crate::daemon::client;
use crate::ledger::Mark;

/// Show what a mount or a server has done so far.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --failed the exit code is 1 if a read or a look-up has failed, and 0 if not; what is absent is no failure. A mark of
an earlier mount is wrong usage, 2.")]
pub(super) struct StatusArgs {
    /// Where emfs is mounted, or a path below; or where `emfs serve` serves, as http://127.0.0.1:8474
    mountpoint: PathBuf,
    /// Print all counters as JSON, or what failed
    #[arg(long)]
    json: bool,
    /// List what failed instead
    #[arg(long)]
    failed: bool,
    /// List also what the origins do not have, which reads as the fill value
    #[arg(long, requires = "failed")]
    absent: bool,
    /// Only what came since `emfs mark` has printed this
    #[arg(long, value_name = "MARK", requires = "failed")]
    since: Option<Mark>,
}

/// Asks the daemon and prints its answer.
pub(super) fn run(args: &StatusArgs) -> Result<(), CliError> {
    if args.failed {
        let asked = ledger::LedgerQuery { absent: args.absent, since: args.since.as_ref(), json: args.json };
        return ledger::failed(&args.mountpoint, asked);
    }
    let peer = mounted::peer(&args.mountpoint)?;
    let text = client::status(peer.clone()).map_err(client::unanswered(peer))?;
    if args.json {
        return Ok(print(&text)?);
    }
    let report: Value =
        serde_json::from_str(&text).map_err(|error| CliError::Failed(format!("the daemon's answer: {error}")))?;
    Ok(print(&readable(&report))?)
}

fn readable(report: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let places: Vec<_> = ["mountpoint", "url"].into_iter().filter_map(|place| report[place].as_str()).collect();
    let mut out = format!(
        "{}: emfs {}, process {}, for {:.0} s\n",
        places.join(", "),
        text(&report["version"]),
        number(&report["pid"]),
        report["uptime"].as_f64().unwrap_or(0.0),
    );
    let (memory, cache) = (&report["memory"], &report["cache"]);
    out += &format!("memory   {} of {}\n", human(number(&memory["used"])), human(number(&memory["limit"])));
    for kind in ["chunk", "block"] {
        let count = |what: &str| number(&cache[format!("{kind}_{what}")]);
        out += &format!("{kind}s   {} found in memory, {} not\n", count("hits"), count("misses"));
    }
    let disk = &report["disk"];
    out += &match report["cache_folder"].as_str() {
        Some(folder) => format!(
            "disk     {} found, {} not, {} read from {folder}\n",
            number(&disk["hits"]),
            number(&disk["misses"]),
            human(number(&disk["bytes"]))
        ),
        None => "disk     nothing is kept\n".to_owned(),
    };
    let messages = report["fuse"].as_object().into_iter().flatten();
    let messages: Vec<_> = messages.map(|(kind, count)| format!("{kind} {}", number(count))).collect();
    if let (Some(dataset), Some(ago)) = (report["reader"]["dataset"].as_str(), report["reader"]["ago"].as_f64()) {
        out += &format!("read     {dataset}, {ago:.0} s ago\n");
    }
    if report["mountpoint"].is_string() || !messages.is_empty() {
        out += &format!("kernel   {}\n", if messages.is_empty() { "-".to_owned() } else { messages.join(", ") });
    }

    let mut rows =
        vec![["host", "requests", "received", "retries", "hedges", "failed", "now"].map(str::to_owned).to_vec()];
    for (host, counters) in report["hosts"].as_object().into_iter().flatten() {
        let count = |key: &str| number(&counters[key]).to_string();
        rows.push(vec![
            host.clone(),
            count("requests"),
            human(number(&counters["bytes"])),
            count("retries"),
            count("hedges"),
            count("failures"),
            count("in_flight"),
        ]);
    }
    out += if rows.len() > 1 { "\n" } else { "hosts    no request was sent\n" };
    if rows.len() > 1 {
        out += &aligned_columns(&rows);
    }
    out += &ledger::absent(report);
    let failed = number(&report["failed"]);
    if failed > 0 {
        out += &format!("\n{failed} failed; the latest:\n");
        for line in report["failures"].as_array().into_iter().flatten() {
            out += &format!("  {}\n", text(line));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{FuseMessage, Stats};

    #[test]
    fn a_report_is_readable() {
        let stats = Stats::default();
        assert!(readable(&serde_json::to_value(stats.snapshot()).unwrap()).contains("no request was sent"));
        stats.fuse(FuseMessage::Read);
        stats.memory(3 << 20, 1 << 30);
        let host = stats.host("ftp.ebi.ac.uk");
        host.requests.add(7);
        host.bytes.add(2048);
        stats.failure("a/b: it broke".to_owned());
        stats.absence("a", "a: s0/0/0/0 is absent".to_owned());
        stats.absence("a", "a: s0/0/0/1 is absent".to_owned());
        let text = readable(&serde_json::to_value(stats.snapshot()).unwrap());
        for part in [
            "3.0 MiB of 1.0 GiB",
            "READ 1",
            "ftp.ebi.ac.uk  7         2.0 KiB",
            "1 failed",
            "  a/b: it broke",
            "fill value: a 2\n",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn a_report_of_another_version_is_no_reason_to_panic() {
        let report = serde_json::json!({"hosts": 3, "failed": 1, "failures": [4], "absent": 7, "reader": "x"});
        assert!(readable(&report).contains("1 failed"));
    }
}
