//! The `emfs` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    emfs::cli::run(std::env::args_os())
}
