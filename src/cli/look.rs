//! `emfs look`, which the daemon starts.

use std::path::PathBuf;

use super::CliError;
use crate::daemon::look;
pub(super) use crate::daemon::look::COMMAND;

/// List a directory and say nothing. Used by emfs itself.
#[derive(Debug, clap::Args)]
pub(super) struct LookArgs {
    directory: PathBuf,
}

/// Looks.
pub(super) fn run(args: &LookArgs) -> Result<(), CliError> {
    Ok(look::at(&args.directory)?)
}
