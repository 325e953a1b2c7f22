//! The mount: the adapter to the kernel, and what is around it. The only place that knows the `fuser` crate.

mod adapter;
mod backend;
mod callers;
mod check;
mod direct;
mod guardian;
pub mod own_namespace;
mod session;
mod stage;
#[cfg(test)]
mod tests;
mod unmount;

pub use check::check;
pub use guardian::guard;
pub use session::{FuseOptions, KernelNames, MountError, Mounted, mount};
pub use unmount::{UnmountError, unmount};
