//! The `emfs` command.

use std::process::ExitCode;

/// Blocks of many sizes that come and go on many threads: the system's allocator was seen to hold as much again as was in
/// use, which `--memory` could not answer for. How soon memory is given back stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    emfs::cli::run(std::env::args_os())
}
