//! `emfs help`: a command's options, or a topic of the manual.

use clap::CommandFactory;

use super::output::print;
use super::{Cli, CliError};

/// A page of the manual, a file of `src/manual`.
struct Topic {
    name: &'static str,
    /// What it is about, in a line.
    about: &'static str,
    text: &'static str,
}

macro_rules! topics {
    ($($name:literal: $about:literal,)*) => {
        &[$(Topic { name: $name, about: $about, text: include_str!(concat!("../manual/", $name, ".md")) }),*]
    };
}

/// The manual, in the order in which it is listed.
const TOPICS: &[Topic] = topics! {
    "views": "the tree of a mount, and names of crops, levels and chunk shapes",
    "pyramids": "computed levels, labels in place, and more volumes by name",
    "reading": "zarr, TensorStore, dask, xarray, napari and what some tools need",
    "clients": "which program shows what, and what to type",
    "viewers": "neuroglancer, napari, Fiji, a browser: from nothing to a picture, over HTTP",
    "ml": "training: where to sample, statistics, a reader for PyTorch",
    "access": "who can see what, and tokens of jobs",
    "jobs": "a mount for one command, and whether its reads have failed",
    "consistency": "what a reader may rely on",
    "unmounting": "what readers see when a mount goes away",
    "caching": "what is kept on disk, and reading without a network",
    "metadata": "what is known of each dataset, and where each value comes from",
    "export": "datasets, images and crops as stores of your own",
    "own-data": "mounting your own TIFF, DM, Zarr, N5 and precomputed volumes",
    "performance": "figures, and what limits them",
    "troubleshooting": "messages and what to do about them",
};

/// Show the options of a command, or a topic of the manual
#[derive(Debug, clap::Args)]
pub(super) struct HelpArgs {
    /// A command or a topic
    #[arg(value_name = "COMMAND|TOPIC")]
    name: Option<String>,
}

/// The topics, for the end of `emfs --help`.
pub(super) fn list() -> String {
    let lines = TOPICS.iter().map(|topic| format!("  {:<16} {}\n", topic.name, topic.about));
    format!("Topics of `emfs help TOPIC`:\n{}", lines.collect::<String>())
}

pub(super) fn run(args: &HelpArgs) -> Result<(), CliError> {
    let mut cli = super::with_topics(Cli::command());
    let Some(name) = &args.name else { return Ok(print(&cli.render_long_help().to_string())?) };
    // Gives the commands their usage lines.
    cli.build();
    let topic = TOPICS.iter().find(|topic| topic.name == name).map(|topic| topic.text.to_owned());
    let command = cli
        .find_subcommand_mut(name)
        .filter(|command| !command.is_hide_set())
        .map(|command| command.render_long_help().to_string());
    // Some commands have a topic of their name as well.
    let parts: Vec<String> = command.into_iter().chain(topic).collect();
    if parts.is_empty() {
        return Err(CliError::Usage(format!("`{name}` is neither a command nor a topic; `emfs help` lists both")));
    }
    Ok(print(&parts.join("\n"))?)
}
