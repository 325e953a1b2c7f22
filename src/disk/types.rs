//! What the store tells: pieces, sums and reasons.

use std::{io, path::PathBuf, time::SystemTime};

/// What may be done with the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderAccess {
    /// Read and written.
    ReadWrite,
    /// The folder or its filesystem cannot be written: what is there is used, nothing is kept.
    ReadOnly,
}

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// May the folder be written?
    pub access: FolderAccess,
    /// Bytes of all files of the store.
    pub bytes: u64,
    /// The bound in bytes.
    pub bound: u64,
    /// Number of files.
    pub files: u64,
    /// Number of segments, the files that hold payload.
    pub segments: u64,
    /// Number of objects of which something is kept.
    pub objects: u64,
    /// Number of kept pieces.
    pub extents: u64,
    /// When the segment used longest ago was used.
    pub oldest: Option<SystemTime>,
    /// When the segment used last was used.
    pub newest: Option<SystemTime>,
    /// Sums by what precedes the path in the objects' names (`https://host`), most bytes first.
    pub hosts: Vec<HostSum>,
}

/// What is kept of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSum {
    /// Scheme and host as the objects are named.
    pub host: String,
    /// Number of objects.
    pub objects: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

/// What a check of all that is kept found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Pieces read.
    pub extents: u64,
    /// Bytes of payload read.
    pub bytes: u64,
    /// Pieces that were damaged, and dropped.
    pub damaged: u64,
    /// Bytes of payload of those.
    pub damaged_bytes: u64,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Segments removed.
    pub segments: u64,
    /// Bytes removed.
    pub bytes: u64,
    /// Segments that should have been removed too, but for somebody who writes them.
    pub in_use: usize,
}

/// Why the store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("{path}: {reason}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        reason: io::Error,
    },
    /// The index cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        reason: rusqlite::Error,
    },
    /// The filesystem of the folder hangs.
    #[error("{}: does not answer", .0.display())]
    Silent(PathBuf),
    /// Only a folder that can be written can do this.
    #[error("{}: cannot be written, so nothing can be changed in it", .0.display())]
    ReadOnly(PathBuf),
}
