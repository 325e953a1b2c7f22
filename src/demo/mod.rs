//! A small replica of the archives, embedded in the binary and served on loopback: for `emfs demo` and for tests.
//!
//! Its files are real ones, written by tifffile, SimpleITK, zarr-python, nionswift-io and TensorStore
//! (`scripts/make-replica`); its addresses have the shape of the archives' own, below `/idr` (OMERO), `/empiar` (entries),
//! `/ebi` and `/epfl` (file servers), `/s3` and `/gs` (buckets, path style).

mod catalog;
mod files;
mod listing;
pub mod picture;

mod respond;
mod server;
pub mod slice;

pub use server::{Log, Replica, ReplicaOptions};
