//! The `emfs` command.

fn main() {}
