//! `emfs cache`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{aligned_columns, print};
use super::progress_bar::bar;
use super::session::{absolute, default_folder};
use super::size::human;
use super::{CliError, size};
use crate::disk::{Disk, FolderAccess, Stat};

/// Look after what is kept on disk.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All of this may be done while mounts use the cache.

Examples:
  emfs cache stat
  emfs cache verify --cache-dir /scratch/em
  emfs cache prune --to 5G
  emfs cache clear")]
pub(super) struct CacheCommand {
    #[command(subcommand)]
    action: Action,
    /// The cache [default: $XDG_CACHE_HOME/emfs or ~/.cache/emfs]
    #[arg(long, value_name = "DIR", global = true)]
    cache_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is kept, by host
    Stat,
    /// Read and check everything; what is damaged is dropped, and the exit code is 1
    Verify {
        /// Show no progress
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove what was used longest ago
    Prune {
        /// How much may stay: bytes, or K, M, G
        #[arg(long, value_name = "SIZE", value_parser = size::bytes_or_none)]
        to: u64,
    },
    /// Remove everything
    Clear,
}

/// Does what was asked.
pub(super) fn run(args: &CacheCommand) -> Result<(), CliError> {
    let folder = match &args.cache_dir {
        Some(folder) => absolute(folder)?,
        None => default_folder().map_err(CliError::Failed)?,
    };
    let failed = |error: crate::disk::DiskError| CliError::Failed(error.to_string());
    if !Disk::is_in(&folder).map_err(failed)? {
        return Err(CliError::Failed(format!("there is no cache at {}", folder.display())));
    }
    if let Action::Clear = args.action {
        Disk::clear_folder(&folder).map_err(failed)?;
        return show(args, json!({ "folder": folder }), &format!("{} is empty\n", folder.display()));
    }
    // Whoever looks must not make it smaller.
    let disk = Disk::open(&folder, u64::MAX).map_err(failed)?;
    match &args.action {
        Action::Stat => {
            let stat = disk.stat().map_err(failed)?;
            show(args, stat_json(&disk, &stat), &stat_text(&disk, &stat))
        }
        Action::Prune { to } => {
            let pruned = disk.prune(*to).map_err(failed)?;
            let mut text = format!("{} removed in {} segments\n", human(pruned.bytes), pruned.segments);
            if pruned.in_use > 0 {
                text += &format!("{} left, which mounts or commands are writing\n", pruned.in_use);
            }
            let value = json!({ "bytes": pruned.bytes, "segments": pruned.segments, "in_use": pruned.in_use });
            show(args, value, &text)
        }
        Action::Verify { quiet } => {
            let bar = bar(*quiet, "{wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
            let verified = disk.verify(&mut |done, total| {
                bar.set_length(total);
                bar.set_position(done);
            });
            bar.finish_and_clear();
            let found = verified.map_err(failed)?;
            let value = json!({
                "extents": found.extents, "bytes": found.bytes,
                "damaged": found.damaged, "damaged_bytes": found.damaged_bytes,
            });
            let text = format!("{} in {} pieces read, {} damaged\n", human(found.bytes), found.extents, found.damaged);
            show(args, value, &text)?;
            match found.damaged {
                0 => Ok(()),
                damaged => Err(CliError::Failed(format!(
                    "{damaged} damaged pieces ({}) were dropped and will be fetched again; the disk may be failing",
                    human(found.damaged_bytes)
                ))),
            }
        }
        Action::Clear => Ok(()),
    }
}

fn show(args: &CacheCommand, value: Value, text: &str) -> Result<(), CliError> {
    Ok(if args.json { print(&format!("{value:#}\n")) } else { print(text) }?)
}

fn seconds(time: Option<SystemTime>) -> Option<u64> {
    Some(time?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

fn stat_json(disk: &Disk, stat: &Stat) -> Value {
    let hosts = stat.hosts.iter();
    let hosts: Vec<Value> =
        hosts.map(|sum| json!({ "host": sum.host, "objects": sum.objects, "bytes": sum.bytes })).collect();
    json!({
        "folder": disk.folder(), "writable": stat.access == FolderAccess::ReadWrite, "bytes": stat.bytes,
        "files": stat.files, "segments": stat.segments, "objects": stat.objects, "extents": stat.extents,
        "oldest": seconds(stat.oldest), "newest": seconds(stat.newest), "hosts": hosts,
    })
}

fn stat_text(disk: &Disk, stat: &Stat) -> String {
    let read_only = if stat.access == FolderAccess::ReadOnly { ", read-only" } else { "" };
    let mut text = format!(
        "{}: {} in {} files{read_only}; {} objects in {} pieces\n",
        disk.folder().display(),
        human(stat.bytes),
        stat.files,
        stat.objects,
        stat.extents
    );
    let age = |time: Option<SystemTime>| {
        let age = time.and_then(|time| SystemTime::now().duration_since(time).ok())?;
        Some(format!("{:.1} days ago", age.as_secs_f64() / 86_400.0))
    };
    if let (Some(oldest), Some(newest)) = (age(stat.oldest), age(stat.newest)) {
        text += &format!("last used: the oldest segment {oldest}, the newest {newest}\n");
    }
    if !stat.hosts.is_empty() {
        let mut rows = vec![["host", "objects", "kept"].map(str::to_owned).to_vec()];
        rows.extend(stat.hosts.iter().map(|sum| vec![sum.host.clone(), sum.objects.to_string(), human(sum.bytes)]));
        text += &aligned_columns(&rows);
    }
    text
}
