//! emfs shows public volume electron-microscopy datasets as local OME-Zarr stores.
//!
//! The way of a read: `fuse` takes a request of the kernel, [`vfs`] answers it, [`tree`] knows what is at an inode,
//! [`volume`] assembles a chunk from the native blocks of a [`source`], [`cache`] keeps and shares them, and [`remote`]
//! fetches byte ranges. Each knows only the ones after it.

pub mod archive;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod demo;
pub mod disk;
pub mod dm;
pub mod document;
pub mod dtype;
pub mod export;
pub mod fuse;
pub mod geometry;
mod hex;
pub mod ledger;
pub mod length;
pub mod lock;
pub mod metadata;
pub mod mountinfo;
mod ranges;
pub mod remote;
pub mod source;
pub mod stats;
pub mod store;
pub mod tiff;
pub mod tree;
pub mod vfs;
pub mod view;
pub mod volume;
pub mod zarr;

/// Number of cases of a property test: `EMFS_CASES` where set (`scripts/test --long`), else `default`.
#[cfg(test)]
pub(crate) fn test_cases(default: u32) -> u32 {
    std::env::var("EMFS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
