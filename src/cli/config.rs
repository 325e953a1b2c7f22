//! `--config`: which catalogue a command is about.

use std::path::PathBuf;

use super::CliError;
use crate::catalog::Catalog;

/// The option, which is the same for all commands.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ConfigArgs {
    /// Datasets of your own (TOML) in place of the built-in ones; `emfs datasets --toml` prints an example
    #[arg(id = "config", long = "config", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

impl ConfigArgs {
    /// The catalogue of the file, or the built-in one.
    pub fn catalog(&self) -> Result<Catalog, CliError> {
        Ok(match &self.file {
            Some(file) => Catalog::load(file)?,
            None => Catalog::builtin()?,
        })
    }
}
