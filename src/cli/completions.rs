//! `emfs completions` and `emfs man`: made from the same definitions as the commands.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::print;
use super::{Cli, CliError};

/// Print a script by which a shell completes commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  mkdir -p ~/.local/share/bash-completion/completions
  emfs completions bash > ~/.local/share/bash-completion/completions/emfs")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the manual pages, one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  emfs man ~/.local/share/man/man1 && man emfs-export")]
pub(super) struct ManArgs {
    /// Their directory, which is made where it is missing
    directory: PathBuf,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "emfs", &mut script);
    Ok(print(&String::from_utf8_lossy(&script))?)
}

pub(super) fn man(args: &ManArgs) -> Result<(), CliError> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).map_err(CliError::system(directory.display().to_string()))?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(CliError::system(directory.display().to_string()))
}
