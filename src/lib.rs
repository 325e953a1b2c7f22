#![doc = include_str!("README.md")]

mod archive;
mod byte_range;
mod cache;
mod catalog;
pub mod cli;
mod daemon;
mod decimal;
mod decompress;
mod demo;
mod disk;
mod dm;
mod document;
mod dtype;
mod export;
mod fuse;
mod geometry;
mod hex;
mod http;
mod kind;
mod ledger;
mod length;
mod lock;
mod metadata;
pub mod mountinfo;
mod neuroglancer;
mod pasted;
mod ranges;
mod remote;
mod sample;
mod shell;
mod source;
mod stats;
mod store;
mod task;
mod tiff;
mod tiff_tags;
mod token;
mod tree;
mod vfs;
mod view;
mod volume;
mod xdg;
mod xml;
mod zarr;

pub use catalog::BUILTIN;
pub use fuse::unmount;

/// Number of cases of a property test: `EMFS_CASES` where set (`scripts/test --long`), else `default`.
#[cfg(test)]
pub(crate) fn test_cases(default: u32) -> u32 {
    std::env::var("EMFS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
