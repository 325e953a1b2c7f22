//! The kernel's requests in, replies out. What can be answered at once is, on the thread that took the request; the
//! rest is answered from the runtime, so that no loop thread ever waits.

use std::any::Any;
use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::backend::Backend;
use super::callers;
use crate::stats::{FuseMessage, Stats};
use crate::task;
use crate::vfs::{self, DirEntry, FileAttributes, LookupAnswer, NodeKind, Reply};

/// Reads that the kernel may have open at once. It counts all buffered reads of a mount together, so a low number would
/// let those that wait for one dead server hold up all others.
const MAX_BACKGROUND: u16 = u16::MAX;

/// What is asked of the kernel, each for itself: a kernel that lacks one loses speed, not function.
///
/// Not asked for: `AUTO_INVAL_DATA`, which drops cached pages on a new mtime although content never changes under an
/// inode, and `READDIRPLUS_AUTO`, with which a `find` that pauses between directories gets names without attributes.
const WANTED: [InitFlags; 5] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    InitFlags::FUSE_ASYNC_DIO,
];

/// Block size that `stat` reports.
const BLOCK_SIZE: u32 = 4096;

/// Whom the files belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// The `fuser` side of a mount.
pub(super) struct Adapter<B> {
    backend: Arc<B>,
    stats: Arc<Stats>,
    runtime: Handle,
    owner: Owner,
    no_open: bool,
    no_opendir: bool,
    /// Whether every request is answered as if there were no daemon any more, but for what is there.
    gone: Arc<AtomicBool>,
    /// Dropped with the adapter, which `fuser` drops when the session ends.
    _alive: watch::Sender<()>,
}

/// A request of the kernel.
#[derive(Clone, Copy)]
struct KernelRequest<'a> {
    request: FuseMessage,
    /// The thread that waits.
    caller: u32,
    inode: INodeNo,
    /// The name that is looked up in it.
    name: Option<&'a OsStr>,
}

impl KernelRequest<'_> {
    fn of(kind: FuseMessage, request: &Request, inode: INodeNo) -> Self {
        KernelRequest { request: kind, caller: request.pid(), inode, name: None }
    }
}

impl<B: Backend> Adapter<B> {
    pub fn new(
        backend: Arc<B>,
        stats: Arc<Stats>,
        runtime: Handle,
        owner: Owner,
        gone: Arc<AtomicBool>,
        alive: watch::Sender<()>,
    ) -> Self {
        Adapter { backend, stats, runtime, owner, no_open: false, no_opendir: false, gone, _alive: alive }
    }

    /// Asks the backend and sends its answer, from here or from the runtime. A panic in either is an `EIO` for this
    /// request alone. A `caller` that is killed while it waits gets an answer at once, so that it can end.
    fn answer<T: Send + 'static, R: Send + 'static>(
        &self,
        asked: KernelRequest<'_>,
        reply: R,
        ask: impl FnOnce(&Arc<B>) -> Reply<T>,
        send: impl FnOnce(R, Result<T, vfs::Errno>) + Send + 'static,
    ) {
        let KernelRequest { request, caller, inode, name } = asked;
        self.stats.fuse(request);
        let gone = self.gone.load(Ordering::Acquire);
        // Programs that ask whether a file is there before they read it, and take any error for a no, as zarr 2 does, have to
        // get to the read.
        if gone && !matches!(request, FuseMessage::Lookup | FuseMessage::Getattr) {
            return send(reply, Err(GONE));
        }
        // What is asked may start tasks.
        let _within = self.runtime.enter();
        let span = task::request(request.name(), || {
            let path = self.backend.path(inode.0);
            Some(name.map_or_else(|| path.clone(), |name| format!("{path}/{}", name.display())))
        });
        let in_span = span.enter();
        match catch_unwind(AssertUnwindSafe(|| ask(&self.backend))) {
            Ok(Reply::Ready(answer)) => send(reply, answer),
            Ok(Reply::Pending(_)) if gone => send(reply, Err(GONE)),
            Ok(Reply::Pending(answer)) => {
                let stats = Arc::clone(&self.stats);
                task::spawn(async move {
                    let mut answer = AssertUnwindSafe(answer).catch_unwind();
                    let answer = tokio::select! {
                        biased;
                        answer = &mut answer => answer,
                        // What was begun for it goes on, and the next who asks for the same joins that.
                        () = callers::killed(caller) => {
                            task::spawn(answer);
                            Ok(Err(INTERRUPTED))
                        }
                    };
                    send(reply, answer.unwrap_or_else(|panic| Err(panicked(&stats, request, inode, &*panic))));
                });
            }
            Err(panic) => send(reply, Err(panicked(&self.stats, request, inode, &*panic))),
        }
        drop(in_span);
    }

    fn open_reply(&self, request: FuseMessage, without: bool, reply: ReplyOpen) {
        self.stats.fuse(request);
        if without {
            // The kernel takes this once for "opening needs no message" and asks no more.
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
    }
}

impl<B: Backend> Filesystem for Adapter<B> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in WANTED {
            if config.add_capabilities(capability).is_err() {
                tracing::debug!(?capability, "this kernel lacks a FUSE capability");
            }
        }
        self.no_open = config.capabilities().contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.no_opendir = config.capabilities().contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        // Neither can be refused: both are above 0.
        let _ = config.set_max_background(MAX_BACKGROUND);
        let _ = config.set_congestion_threshold(MAX_BACKGROUND / 4 * 3);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let owner = self.owner;
        // Names that outlive the daemon lead to reads that fail, also when nobody can be asked for them any more.
        let least = if self.gone.load(Ordering::Acquire) { YEARS } else { Duration::ZERO };
        let ask = |backend: &Arc<B>| backend.lookup(parent.0, name);
        self.answer(
            KernelRequest { name: Some(name), ..KernelRequest::of(FuseMessage::Lookup, request, parent) },
            reply,
            ask,
            move |reply, answer: Result<LookupAnswer, _>| match answer {
                Ok(LookupAnswer { attributes, ttl }) => {
                    let ttl = ttl.max(least);
                    let attributes_ttl = attributes.map_or(ttl, |attributes| attributes.ttl);
                    let attributes = attributes.map_or(ABSENT, |attributes| file_attr(&attributes, owner));
                    reply.entry_with_ttls(&attributes_ttl, &ttl, &attributes, Generation(0));
                }
                Err(errno) => reply.error(to_errno(errno)),
            },
        );
    }

    fn getattr(&self, request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let owner = self.owner;
        let ask = |backend: &Arc<B>| backend.getattr(inode.0);
        self.answer(KernelRequest::of(FuseMessage::Getattr, request, inode), reply, ask, move |reply, answer| {
            match answer {
                Ok(attributes) => reply.attr(&attributes.ttl, &file_attr(&attributes, owner)),
                Err(errno) => reply.error(to_errno(errno)),
            }
        });
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.open_reply(FuseMessage::Open, self.no_open, reply);
    }

    fn opendir(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.open_reply(FuseMessage::Opendir, self.no_opendir, reply);
    }

    fn read(
        &self,
        request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let ask = |backend: &Arc<B>| backend.read(inode.0, offset, size);
        self.answer(KernelRequest::of(FuseMessage::Read, request, inode), reply, ask, |reply, answer| match answer {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(to_errno(errno)),
        });
    }

    fn readdir(&self, request: &Request, inode: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let stats = Arc::clone(&self.stats);
        let ask = |backend: &Arc<B>| backend.readdir(inode.0, offset);
        self.answer(
            KernelRequest::of(FuseMessage::Readdir, request, inode),
            (),
            ask,
            move |(), answer: Result<Vec<DirEntry>, _>| {
                let filled = answer.and_then(|entries| {
                    catch_unwind(AssertUnwindSafe(|| {
                        // `add` says whether the buffer was full, so that the entry is not in it.
                        let _full = entries.into_iter().any(|DirEntry { name, attributes, next_cookie, .. }| {
                            reply.add(INodeNo(attributes.inode), next_cookie, file_type(attributes.kind), &name)
                        });
                    }))
                    .map_err(|panic| panicked(&stats, FuseMessage::Readdir, inode, &*panic))
                });
                match filled {
                    Ok(()) => reply.ok(),
                    Err(errno) => reply.error(to_errno(errno)),
                }
            },
        );
    }

    fn readdirplus(
        &self,
        request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (owner, backend, stats) = (self.owner, Arc::clone(&self.backend), Arc::clone(&self.stats));
        let ask = |backend: &Arc<B>| backend.readdir(inode.0, offset);
        self.answer(
            KernelRequest::of(FuseMessage::Readdirplus, request, inode),
            (),
            ask,
            move |(), answer: Result<Vec<DirEntry>, _>| {
                let filled = answer.and_then(|entries| {
                    catch_unwind(AssertUnwindSafe(|| {
                        let mut given = Vec::new();
                        let _full = entries.into_iter().any(|DirEntry { name, attributes, ttl, next_cookie }| {
                            // One time holds for the name and the attributes here.
                            let ttl = ttl.min(attributes.ttl);
                            let file_attr = file_attr(&attributes, owner);
                            if reply.add(file_attr.ino, next_cookie, &name, &ttl, &file_attr, Generation(0)) {
                                return true;
                            }
                            // The kernel takes each entry for a lookup, but these two.
                            if name != "." && name != ".." {
                                given.push(attributes.inode);
                            }
                            false
                        });
                        given
                    }))
                    .map_err(|panic| panicked(&stats, FuseMessage::Readdirplus, inode, &*panic))
                });
                match filled {
                    Ok(given) => {
                        // Before the reply, for the kernel may forget them as soon as it has it.
                        given.into_iter().for_each(|inode| backend.looked_up(inode));
                        reply.ok();
                    }
                    Err(errno) => reply.error(to_errno(errno)),
                }
            },
        );
    }

    fn forget(&self, _request: &Request, inode: INodeNo, count: u64) {
        self.stats.fuse(FuseMessage::Forget);
        self.backend.forget(inode.0, count);
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        self.stats.fuse(FuseMessage::Statfs);
        if self.gone.load(Ordering::Acquire) {
            return reply.error(to_errno(GONE));
        }
        // What is shown takes no space here and leaves none: all blocks are free and none is to be had, so that `df` tells the
        // size and no share of use, and nothing that watches disks takes it for a full one.
        let blocks = self.backend.statfs().bytes.div_ceil(u64::from(BLOCK_SIZE));
        reply.statfs(blocks, blocks, 0, 0, 0, BLOCK_SIZE, 255, BLOCK_SIZE);
    }

    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        self.stats.fuse(FuseMessage::Flush);
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.stats.fuse(FuseMessage::Release);
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.stats.fuse(FuseMessage::Releasedir);
        reply.ok();
    }

    fn getxattr(&self, _request: &Request, _inode: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        self.stats.fuse(FuseMessage::Getxattr);
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _inode: INodeNo, _size: u32, reply: ReplyXattr) {
        self.stats.fuse(FuseMessage::Listxattr);
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        // Python's `open` asks each file whether it is a terminal.
        self.stats.fuse(FuseMessage::Ioctl);
        reply.error(Errno::ENOTTY);
    }
}

/// Longer than any mount lives.
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The answer that nobody sees: its program was killed.
const INTERRUPTED: vfs::Errno = vfs::Errno(libc::EINTR);

/// What the kernel itself answers where there is no daemon.
const GONE: vfs::Errno = vfs::Errno(libc::ENOTCONN);

/// A name that does not exist: inode 0, which unlike `ENOENT` the kernel remembers.
const ABSENT: FileAttr = FileAttr {
    ino: INodeNo(0),
    size: 0,
    blocks: 0,
    atime: SystemTime::UNIX_EPOCH,
    mtime: SystemTime::UNIX_EPOCH,
    ctime: SystemTime::UNIX_EPOCH,
    crtime: SystemTime::UNIX_EPOCH,
    kind: FileType::RegularFile,
    perm: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: BLOCK_SIZE,
    flags: 0,
};

fn file_attr(attributes: &FileAttributes, owner: Owner) -> FileAttr {
    let time = attributes.mtime;
    FileAttr {
        ino: INodeNo(attributes.inode),
        size: attributes.size,
        blocks: attributes.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attributes.kind),
        // Nobody writes here, which the mount says. Copies have these modes too, and their owner must be able to delete them.
        perm: match attributes.kind {
            NodeKind::Directory => 0o755,
            NodeKind::File => 0o644,
        },
        nlink: attributes.nlink,
        uid: owner.uid,
        gid: owner.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

fn file_type(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::Directory => FileType::Directory,
        NodeKind::File => FileType::RegularFile,
    }
}

fn to_errno(errno: vfs::Errno) -> Errno {
    Errno::from_i32(errno.0)
}

/// Notes a panic and turns it into the errno of the request it happened in.
fn panicked(stats: &Stats, request: FuseMessage, inode: INodeNo, panic: &(dyn Any + Send)) -> vfs::Errno {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let line = format!("{request} of inode {:#x} failed by a defect of emfs, please report it: {text}", inode.0);
    tracing::error!("{line}");
    stats.failure(line);
    vfs::Errno(libc::EIO)
}
