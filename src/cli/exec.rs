//! `emfs exec`: a mount for one command.
//!
//! Three processes of emfs take part. The one that was called stays *outside* of the namespace that holds the mount: it
//! passes signals on and returns the exit code. It starts one *inside*, which mounts, serves, and is the command's parent. The
//! command itself begins as emfs, which makes itself the process that the command expects to be and then becomes it.
//!
//! Whichever of them is killed, another is there to see it: the outer process is the subreaper of all of them and ends
//! what is left when the inner one has gone; the inner one does so when the pipe to the outer one breaks. Where both are
//! killed at once, the kernel ends the command.

mod family;
mod inside;
mod launch;
mod line;
mod outside;
mod place;
mod signals;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::CliError;
use super::options::MountOptions;
use super::output::eprint_line;

/// The exit code where the command did well and a read failed, with `--require-clean`.
const UNCLEAN: u8 = 75;

/// What is added to the number of the signal by which a command died, as shells do.
const SIGNALLED: i32 = 128;

/// The variable that tells the command where the mount is.
const VARIABLE: &str = "EMFS_MOUNT";

/// Run a command with the datasets mounted for it alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The command finds the mountpoint in $EMFS_MOUNT. Where the kernel allows it, the mount is in a namespace of its own: \
neither root nor fusermount3 is needed, nobody else sees or unmounts it, and it cannot go while the command runs. Without \
--at it is then at a directory that is empty anyway (/media, /srv, ...), which root, too, cannot write to meanwhile. \
Elsewhere it is mounted as `emfs mount` does, in a temporary directory; if all processes are killed with SIGKILL there, \
`emfs umount` has to take it away.

Exit codes: that of the command; 128 + N if it died by signal N; 75 with --require-clean if the command returned 0 but a \
read failed; 126 and 127 if it cannot be executed or is not there; 1 if nothing could be mounted; 2 for wrong usage.

SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to the command. When it has ended, what it left \
running is ended as well: by SIGTERM, and by SIGKILL 2 seconds later. In a namespace of its own, programs that become \
another user (sudo) do not work unless root starts this.

Examples:
  emfs exec -- sh -c 'ls $EMFS_MOUNT'
  emfs exec --require-clean -- python train.py          a batch job that must not miss a read
  emfs exec --dataset hemibrain --at /mnt/em -- make    where paths below the mount are fixed
  emfs exec --config my.toml -- bash                    a shell with the mount; `exit` ends both")]
pub(super) struct ExecArgs {
    #[command(flatten)]
    options: MountOptions,
    /// Return 75 if a read failed, though the command returned 0
    #[arg(long)]
    require_clean: bool,
    /// Mount at this empty directory
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Where the log goes [default: stderr, and there only what went wrong unless there is a -v]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    stage: Stage,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Set by emfs itself, to say which of its processes one is.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Stage {
    #[arg(long, hide = true)]
    inside: Option<inside::InsideArgs>,
    /// Where the outer process has found a place.
    #[arg(long, hide = true, requires = "inside")]
    place: Option<PathBuf>,
    /// The reason why there is no namespace.
    #[arg(long, hide = true, requires = "inside")]
    visible: Option<String>,
    #[arg(long, hide = true, conflicts_with = "inside")]
    launch: Option<launch::Launch>,
}

/// Mounts, runs the command, unmounts.
pub(super) fn run(args: &ExecArgs) -> ExitCode {
    let done = match &args.stage {
        Stage { launch: Some(launch), .. } => Ok(launch::run(launch, &args.command)),
        Stage { inside: Some(inside), .. } => inside::run(args, inside),
        _ => outside::run(args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprint_line(&format!("emfs exec: {error}"));
            ExitCode::from(if matches!(error, CliError::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// The exit code for a process that a signal ended.
fn code_of_signal(number: i32) -> u8 {
    u8::try_from(SIGNALLED + number).unwrap_or(u8::MAX)
}
