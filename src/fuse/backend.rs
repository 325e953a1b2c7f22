//! What the adapter needs answered, so that it can be tried without a volume behind it.

use std::ffi::OsStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::vfs::{DirEntry, FileAttributes, LookupAnswer, Reply, Statfs, Vfs};

/// The filesystem behind the adapter. No method blocks: what has to wait is given back as [`Reply::Pending`].
pub trait Backend: Send + Sync + 'static {
    /// The entry `name` of the directory `parent`; counts as one lookup of the inode.
    fn lookup(self: &Arc<Self>, parent: u64, name: &OsStr) -> Reply<LookupAnswer>;
    /// The attributes of an inode.
    fn getattr(self: &Arc<Self>, inode: u64) -> Reply<FileAttributes>;
    /// Up to `size` bytes from `offset`; fewer only at the end of the file.
    fn read(self: &Arc<Self>, inode: u64, offset: u64, size: u32) -> Reply<Bytes>;
    /// Entries of a directory after the one whose `next_cookie` is `cookie`; 0 is the start. None only at the end.
    fn readdir(self: &Arc<Self>, inode: u64, cookie: u64) -> Reply<Vec<DirEntry>>;
    /// An entry of a directory was handed to the kernel, which counts it as a lookup.
    fn looked_up(&self, inode: u64);
    /// The kernel gives back `count` lookups.
    fn forget(&self, inode: u64, count: u64);
    /// Size of the whole.
    fn statfs(&self) -> Statfs;
    /// The path of an inode, for the log.
    fn path(&self, inode: u64) -> String;
}

impl Backend for Vfs {
    fn lookup(self: &Arc<Self>, parent: u64, name: &OsStr) -> Reply<LookupAnswer> {
        Vfs::lookup(self, parent, name)
    }

    fn getattr(self: &Arc<Self>, inode: u64) -> Reply<FileAttributes> {
        Vfs::getattr(self, inode)
    }

    fn read(self: &Arc<Self>, inode: u64, offset: u64, size: u32) -> Reply<Bytes> {
        Vfs::read(self, inode, offset, size)
    }

    fn readdir(self: &Arc<Self>, inode: u64, cookie: u64) -> Reply<Vec<DirEntry>> {
        Vfs::readdir(self, inode, cookie)
    }

    fn looked_up(&self, inode: u64) {
        Vfs::looked_up(self, inode);
    }

    fn forget(&self, inode: u64, count: u64) {
        Vfs::forget(self, inode, count);
    }

    fn statfs(&self) -> Statfs {
        Vfs::statfs(self)
    }

    fn path(&self, inode: u64) -> String {
        Vfs::path(self, inode)
    }
}
