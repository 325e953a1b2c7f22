//! What the core answers to a filesystem protocol.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Errno;
pub use crate::tree::NodeKind;

/// An answer, now or when something was fetched. A pending one always ends: what it waits for has deadlines.
pub enum Reply<T> {
    /// Known at once.
    Ready(Result<T, Errno>),
    /// To be waited for, on the runtime.
    Pending(BoxFuture<'static, Result<T, Errno>>),
}

/// What `stat` says of a file or directory, as far as the core decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAttributes {
    /// Its number.
    pub inode: u64,
    /// Bytes of a file, 0 for a directory.
    pub size: u64,
    /// Its type.
    pub kind: NodeKind,
    /// Number of names.
    pub nlink: u32,
    /// When it last changed.
    pub mtime: SystemTime,
    /// How long these attributes hold.
    pub ttl: Duration,
}

/// The answer to a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupAnswer {
    /// What the name stands for; `None`: there is no such name.
    pub attributes: Option<FileAttributes>,
    /// How long the name stands for that.
    pub ttl: Duration,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub attributes: FileAttributes,
    /// How long the name stands for that.
    pub ttl: Duration,
    /// Where a listing goes on after this entry.
    pub next_cookie: u64,
}

/// Size of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes of the finest levels of all images known so far.
    pub bytes: u64,
}

/// `size` bytes from `offset`, as far as there are.
pub(super) fn slice(bytes: &Bytes, offset: u64, size: u32) -> Bytes {
    let length = bytes.len() as u64;
    let start = offset.min(length);
    let end = offset.saturating_add(u64::from(size)).min(length);
    bytes.slice(start as usize..end as usize)
}
