//! What the adapter needs answered, so that it can be tried without a volume behind it.

use std::ffi::OsStr;
use std::time::Duration;

use bytes::Bytes;

use crate::vfs::{Attributes, DirEntries, Entry, Reply, Statfs, Vfs};

/// The filesystem behind the adapter. No method blocks: what has to wait is given back as [`Reply::Pending`].
pub trait Backend: Send + Sync + 'static {
    /// The entry `name` of the directory `parent`; counts as one lookup of the inode.
    fn lookup(&self, parent: u64, name: &OsStr) -> Reply<Entry>;
    /// The attributes of an inode and how long they hold.
    fn getattr(&self, inode: u64) -> Reply<(Attributes, Duration)>;
    /// Up to `size` bytes from `offset`; fewer only at the end of the file.
    fn read(&self, inode: u64, offset: u64, size: u32) -> Reply<Bytes>;
    /// The entries of a directory after the one whose `next_cookie` is `cookie`; 0 is the start.
    fn readdir(&self, inode: u64, cookie: u64) -> Reply<DirEntries>;
    /// An entry of a directory was handed to the kernel, which counts it as a lookup.
    fn looked_up(&self, inode: u64);
    /// The kernel gives back `count` lookups.
    fn forget(&self, inode: u64, count: u64);
    /// Size of the whole.
    fn statfs(&self) -> Statfs;
}

impl Backend for Vfs {
    fn lookup(&self, parent: u64, name: &OsStr) -> Reply<Entry> {
        self.lookup(parent, name)
    }

    fn getattr(&self, inode: u64) -> Reply<(Attributes, Duration)> {
        self.getattr(inode)
    }

    fn read(&self, inode: u64, offset: u64, size: u32) -> Reply<Bytes> {
        self.read(inode, offset, size)
    }

    fn readdir(&self, inode: u64, cookie: u64) -> Reply<DirEntries> {
        self.readdir(inode, cookie)
    }

    fn looked_up(&self, inode: u64) {
        self.looked_up(inode);
    }

    fn forget(&self, inode: u64, count: u64) {
        self.forget(inode, count);
    }

    fn statfs(&self) -> Statfs {
        self.statfs()
    }
}
