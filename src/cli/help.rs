//! `emfs help`: the manual, and what the commands say of themselves.

use super::CliError;
use super::output::print;

/// The chapters of the manual. A further one is a file and a line here.
const CHAPTERS: &[(&str, &str)] = &[("clients", include_str!("../manual/clients.md"))];

/// Print a chapter of the manual, or the help of a command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  emfs help                list the chapters
  emfs help clients        which program shows what, and what to type
  emfs help export         the same as `emfs export --help`")]
pub(super) struct HelpArgs {
    /// A chapter or a command [default: what there is]
    topic: Option<String>,
}

/// Prints what is asked for.
pub(super) fn run(args: &HelpArgs, mut program: clap::Command) -> Result<(), CliError> {
    let chapters = CHAPTERS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some(topic) = &args.topic else {
        let help = program.render_long_help().to_string();
        return Ok(print(&format!("{help}\n\nChapters of the manual, for `emfs help CHAPTER`: {chapters}\n"))?);
    };
    if let Some((_, text)) = CHAPTERS.iter().find(|(name, _)| name == topic) {
        return Ok(print(text)?);
    }
    // So that a command knows what it is part of.
    program.build();
    match program.find_subcommand_mut(topic).filter(|command| !command.is_hide_set()) {
        Some(command) => Ok(print(&command.render_long_help().to_string())?),
        None => {
            let reason = format!("there is no chapter and no command `{topic}`; the chapters are: {chapters}");
            Err(CliError::Usage(reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn chapters_and_commands_have_different_names_and_chapters_fit_a_terminal() {
        let program = Cli::command();
        for (name, text) in CHAPTERS {
            assert!(program.find_subcommand(name).is_none(), "{name}");
            assert!(text.starts_with("# ") && text.ends_with('\n'), "{name}");
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{name}");
        }
    }
}
