//! The command line: arguments in, sentences and exit codes out.

mod add;
mod cache;
mod completions;
mod config;
mod crop;
mod datasets;
mod decode_rate;
mod demo;
mod exec;
mod explain;
mod export;
mod help;
mod ledger;
mod link;
mod locate;
mod look;
mod metadata;
mod mount;
mod mounted;
mod options;
mod output;
mod place;
mod probe_failures;
mod progress_bar;
mod sample;
mod serve;
mod session;
mod size;
mod stats;
mod status;
mod target;
mod token;
mod umount;
mod warm;
mod web;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::catalog::{CatalogError, UnknownDataset};
use crate::daemon::{Daemon, DaemonError, guardian};
use crate::fuse::{MountError, UnmountError};
use crate::mountinfo;

const EXAMPLES: &str = "\
Examples:
  emfs demo                                     see it work, without a network
  emfs mount /mnt/em                            mount the built-in datasets
  emfs mount ~/em --config my.toml -v           mount your own, with more in the log
  emfs status /mnt/em                           requests, hits, memory, latest failures
  emfs umount /mnt/em
  emfs exec -- python train.py                  mount for this command alone; it finds the datasets in $EMFS_MOUNT

  python -c \"import zarr; print(zarr.open('/mnt/em/epfl-hippocampus/em.zarr')['s0'])\"";

/// Public volume electron microscopy as local OME-Zarr: what is read is fetched and converted
#[derive(Debug, Parser)]
#[command(name = "emfs", version, max_term_width = 120, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mount the datasets at an empty directory
    Mount(mount::MountArgs),
    /// Serve the datasets over HTTP, for viewers and machines without FUSE
    Serve(serve::ServeArgs),
    /// Print a link that opens an image in a viewer
    Link(link::LinkArgs),
    /// Run a command with the datasets mounted for it alone
    Exec(exec::ExecArgs),
    /// Unmount and wait until the daemon has ended
    Umount(umount::UmountArgs),
    /// Show what a mount has done so far
    Status(status::StatusArgs),
    /// Print a mark, for `emfs status --failed --since MARK`
    Mark(ledger::MarkArgs),
    /// Show what would be mounted
    Datasets(datasets::DatasetsArgs),
    Add(add::AddArgs),
    /// Print the name of a random crop
    Crop(crop::CropArgs),
    /// Print a list of places to train on
    Sample(sample::SampleArgs),
    /// Print the statistics of images, of the voxels in a list of blocks
    Stats(stats::StatsArgs),
    /// Say what a name stands for, or why it is no view
    Explain(explain::ExplainArgs),
    /// Fetch what a job will read, to be kept on disk
    Warm(warm::WarmArgs),
    /// Look after what is kept on disk
    Cache(cache::CacheCommand),
    /// Say where the bytes behind a chunk are, and whether they are kept
    Locate(locate::LocateArgs),
    #[command(name = look::COMMAND, hide = true)]
    Look(look::LookArgs),
    #[command(name = decode_rate::COMMAND, hide = true)]
    DecodeRate(decode_rate::DecodeRateArgs),
    /// Give jobs tokens for `emfs serve`
    Token(token::TokenCommand),
    /// Show what is known of datasets, side by side
    Metadata(metadata::MetadataArgs),
    /// Write datasets, images or views as OME-Zarr stores
    Export(export::ExportArgs),
    /// Mount a small replica of the archives from inside the binary and show what is in it
    Demo(demo::DemoArgs),
    Help(help::HelpArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// The command with the topics of the manual at the end of its help.
fn with_topics(cli: clap::Command) -> clap::Command {
    cli.after_help(format!("{EXAMPLES}\n\n{}", help::list()))
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Dataset(#[from] UnknownDataset),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Unmount(#[from] UnmountError),
    #[error("writing the output failed: {0}")]
    Output(#[from] output::OutputError),
    #[error("{what}: {error}")]
    System { what: String, error: io::Error },
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
}

impl CliError {
    /// For `map_err`: an error of the system while doing `what`.
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> CliError {
        move |error| CliError::System { what: what.into(), error }
    }
}

/// Runs the command that `arguments` (the program's name first) ask for: 0 is success, 1 a failure, 2 wrong usage.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    // It stays as long as a mount does, and the parser of all commands would stay in memory with it.
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == guardian::COMMAND
    {
        return match guardian::guard(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::eprint_line(&format!("emfs {}: {error}", guardian::COMMAND));
                ExitCode::FAILURE
            }
        };
    }
    if let [_, command, _, mountpoint] = arguments.as_slice()
        && command == mountinfo::PROBE
    {
        return ExitCode::from(mountinfo::probe(Path::new(mountpoint)));
    }
    let parsed = with_topics(Cli::command()).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe must not hide what the code says.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // It raises them itself, after it has noted what to give back to the command.
    if !matches!(cli.command, Command::Exec(_)) {
        raise_open_files();
    }
    let (name, done) = match cli.command {
        Command::Exec(args) => return exec::run(&args),
        Command::Mount(args) => ("mount", mount::run(args)),
        Command::Serve(args) => ("serve", serve::run(&args)),
        Command::Link(args) => ("link", link::run(&args)),
        Command::Umount(args) => ("umount", umount::run(&args)),
        Command::Status(args) => ("status", status::run(&args)),
        Command::Mark(args) => ("mark", ledger::mark(&args)),
        Command::Datasets(args) => ("datasets", datasets::run(&args)),
        Command::Add(args) => ("add", add::run(&args)),
        Command::Crop(args) => ("crop", crop::run(&args)),
        Command::Sample(args) => ("sample", sample::run(&args)),
        Command::Stats(args) => ("stats", stats::run(&args)),
        Command::Explain(args) => ("explain", explain::run(&args)),
        Command::Warm(args) => ("warm", warm::run(&args)),
        Command::Cache(args) => ("cache", cache::run(&args)),
        Command::Locate(args) => ("locate", locate::run(&args)),
        Command::Look(args) => (look::COMMAND, look::run(&args)),
        Command::DecodeRate(args) => (decode_rate::COMMAND, decode_rate::run(&args)),
        Command::Token(args) => ("token", token::run(&args)),
        Command::Metadata(args) => ("metadata", metadata::run(&args)),
        Command::Export(args) => ("export", export::run(&args)),
        Command::Demo(args) => return demo::run(args, shown, serve::of_text),
        Command::Help(args) => ("help", help::run(&args)),
        Command::Completions(args) => ("completions", completions::completions(&args)),
        Command::Man(args) => ("man", completions::man(&args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe has seen enough.
        Err(CliError::Output(error)) if error.is_closed() => ExitCode::SUCCESS,
        Err(error) => {
            output::eprint_line(&format!("emfs {name}: {error}"));
            if matches!(error, CliError::Usage(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Mounts a catalogue and serves it over HTTP, for the demo: what unmounts when dropped, the address and a link to a viewer.
fn shown(catalog: &str, mountpoint: &Path) -> Result<(Daemon, demo::DemoPages), CliError> {
    let mut daemon = Daemon::of_text(catalog, mountpoint)?;
    let (page, link) = daemon.show(demo::LINKED)?;
    Ok((daemon, demo::DemoPages { page, link }))
}

/// Takes as many open files as there may be: connections and segments of the cache may need more than the usual 1024.
fn raise_open_files() {
    // Where that is refused, the limit stays.
    let _ = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_of_the_commands_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_documented_form_is_understood() {
        for line in [
            "emfs mount /m --config f.toml --dataset a --dataset b --foreground --allow-other --memory 2G --timeout 5 --log l -v -v",
            "emfs mount /m -vvv --cache-dir /c --cache-size 0 --offline",
            "emfs exec -- true",
            "emfs exec --config f --dataset a --memory 1G --timeout 5 --cache-dir c --cache-size 1G --offline --log l -v -- c --at -x",
            "emfs exec --require-clean --at /m --revalidate -- c -- d",
            "emfs serve",
            "emfs serve --listen 127.0.0.1:0 --config f --dataset a --token-file t --allow-origin https://a --allow-origin https://b",
            "emfs serve --listen [::]:8474 --public --tls-cert c --tls-key k --cache-dir c --cache-size 1G --offline --log l -v",
            "emfs link a",
            "emfs link a/em.crop-z0-1_y0-1_x0-1 --viewer napari --at 1,2,3 --server http://h:1/t/ --config f",
            "emfs link a --open --page http://h/",
            "emfs link a/em.chunk-64 --crop z0-1_y0-1_x0-1",
            "emfs umount /m",
            "emfs umount --force /m",
            "emfs status /m --json",
            "emfs status /m --failed --absent --since 7f.1.0 --json",
            "emfs mark /m",
            "emfs datasets --config f --json --probe",
            "emfs datasets --toml",
            "emfs crop a --size 1000",
            "emfs crop a/em --size 64x128x128 --seed 7 --within z0-200_y0-200_x0-200 --nm --chunk 64x128x128 --config f",
            "emfs crop a --size 64,128,128 --chunk 64,128,128",
            "emfs explain a/em.chunk-64.zarr --config f",
            "emfs warm a b/em.zarr/s0 --list - --level s2 --box z0-5_y0-5_x0-5 --config f --quiet --cache-dir c",
            "emfs warm --list chunks.txt",
            "emfs cache stat --json --cache-dir c",
            "emfs cache prune --to 5G",
            "emfs cache clear",
            "emfs cache verify -q",
            "emfs locate a/em.zarr/s0/0/0/0 --json --config f --offline",
            "emfs export a/em out --config f --format v3 --compress zstd:5 --chunk 64 --shard 128x256x256 --level s0 --level s1",
            "emfs export a b/em.crop-z0-1_y0-1_x0-1 s3://b/p --resume --verify --jobs 2 --quiet --memory 1G --timeout 5",
            "emfs export --all out --dry-run --compress none",
            "emfs export --list l.csv out --chunk 128",
            "emfs warm --follow l.csv --ahead 64 --position p --cache-dir c",
            "emfs sample a b/em.chunk-64 --count 5 --size 64x128x128 --seed 7 --level s1 --within z0-5_y0-5_x0-5 --format json",
            "emfs sample a --count 5 --voxel-size 8 --inside cells=1,2 --fraction 0.9 --mask-level s1 --region 256x8 --weights equal",
            "emfs sample a --count 5 --split train:0.8,val:0.1,test:0.1 --split-block 256 --margin 0 --config f --offline",
            "emfs stats a b/em --blocks 8 --size 64 --seed 1 --level s1 --format json",
            "emfs stats --list l.csv --split train",
            "emfs token create --key-file k --dataset a --dataset b --expires 12h --job j",
            "emfs token create --expires 7d",
            "emfs token key --key-file k --revoke",
            "emfs token show --key-file k -",
            "emfs help",
            "emfs help clients",
            "emfs metadata a b --format correspondence --field acquisition/* --config f",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_is_an_error() {
        for line in [
            "emfs",
            "emfs mount",
            "emfs mount /m --memory lots",
            "emfs mount /m --memory 0",
            "emfs mount /m --timeout 0",
            "emfs mount /m --timeout nan",
            "emfs mount /m --offline --revalidate",
            "emfs mount /m --cache-size none",
            "emfs serve --listen 8474",
            "emfs serve --tls-cert c",
            "emfs serve --public --token-file t",
            "emfs link",
            "emfs link a --viewer other",
            "emfs link a --at 1,2",
            "emfs link a --crop z0-1",
            "emfs status /m --absent",
            "emfs status /m --since 7f.1.0",
            "emfs status /m --failed --since yesterday",
            "emfs mark",
            "emfs exec",
            "emfs exec --",
            "emfs exec c",
            "emfs exec --allow-other -- c",
            "emfs datasets --toml --config f",
            "emfs crop a",
            "emfs crop a --size 0",
            "emfs crop a --size 5 --chunk 64x64",
            "emfs crop a --size 5 --within z5-5_y0-1_x0-1",
            "emfs sample a",
            "emfs sample --count 5",
            "emfs sample a --count 0",
            "emfs sample a --count 5 --size 0",
            "emfs sample a --count 5 --level s0 --voxel-size 8",
            "emfs sample a --count 5 --split train:0.8",
            "emfs sample a --count 5 --margin 4",
            "emfs sample a --count 5 --inside cells --fraction 1.5",
            "emfs token",
            "emfs token create",
            "emfs token create --expires 12",
            "emfs stats",
            "emfs stats a --list l.csv --blocks 5",
            "emfs explain",
            "emfs warm",
            "emfs warm a --level 2",
            "emfs warm a --follow l.csv",
            "emfs export --all --list l.csv out",
            "emfs cache",
            "emfs cache prune",
            "emfs locate",
            "emfs export",
            "emfs export a out --compress gzip",
            "emfs export a out --chunk 64x64",
            "emfs export a out --shard 0",
            "emfs export a out --level 1",
            "emfs export a out --format v4",
            "emfs export a out --jobs 0",
            "emfs export a out --dry-run --resume",
        ] {
            assert!(parse(line).is_err_and(|error| error.use_stderr()), "{line}");
        }
    }
}
