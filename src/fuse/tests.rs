//! The adapter against a real kernel, with a small tree of known bytes behind it. Skipped where there is no
//! `/dev/fuse` or no right to mount.

use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;
use crate::fuse::backend::Backend;
use crate::mountinfo;
use crate::stats::Stats;
use crate::vfs::{DirEntry, Errno, FileAttributes, LookupAnswer, NodeKind, Reply, Statfs};

const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);
const ROOT: u64 = 1;
const FOLDER: u64 = 2;
const FIRST_FILE: u64 = 10;
const FILES: u64 = 40;
const SIZE: u64 = 300_001;

/// `/folder/f0` … `/folder/f39`, of known bytes; f1 fails, f2 panics, odd ones are answered later.
#[derive(Default)]
struct Fake {
    lookups: Mutex<std::collections::BTreeMap<u64, i64>>,
    reads: AtomicI64,
}

fn byte(inode: u64, offset: u64) -> u8 {
    (inode.wrapping_mul(31) ^ offset ^ (offset >> 8)) as u8
}

fn attributes(inode: u64) -> FileAttributes {
    let kind = if inode < FIRST_FILE { NodeKind::Directory } else { NodeKind::File };
    let size = if kind == NodeKind::File { SIZE } else { 0 };
    let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    FileAttributes { inode, size, kind, nlink: 1, mtime, ttl: FOREVER }
}

impl Fake {
    fn count(&self, inode: u64, change: i64) {
        *self.lookups.lock().unwrap().entry(inode).or_default() += change;
    }
}

impl Backend for Fake {
    fn lookup(self: &Arc<Self>, parent: u64, name: &OsStr) -> Reply<LookupAnswer> {
        let name = name.to_str().unwrap();
        let number = || name.strip_prefix('f')?.parse().ok().filter(|number| *number < FILES);
        let inode = match parent {
            ROOT if name == "folder" => Some(FOLDER),
            FOLDER => number().map(|number: u64| FIRST_FILE + number),
            _ => None,
        };
        if let Some(inode) = inode {
            self.count(inode, 1);
        }
        Reply::Ready(Ok(LookupAnswer { attributes: inode.map(attributes), ttl: FOREVER }))
    }

    fn getattr(self: &Arc<Self>, inode: u64) -> Reply<FileAttributes> {
        Reply::Ready(Ok(attributes(inode)))
    }

    fn path(&self, inode: u64) -> String {
        inode.to_string()
    }

    fn read(self: &Arc<Self>, inode: u64, offset: u64, size: u32) -> Reply<Bytes> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let end = (offset + u64::from(size)).min(SIZE);
        let bytes: Bytes = (offset.min(end)..end).map(|offset| byte(inode, offset)).collect();
        match inode - FIRST_FILE {
            1 => Reply::Pending(Box::pin(async { Err(Errno(libc::EIO)) })),
            2 => Reply::Pending(Box::pin(async { panic!("this file is broken") })),
            3 => panic!("this one at once"),
            number if number % 2 == 0 => Reply::Ready(Ok(bytes)),
            _ => Reply::Pending(Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(bytes)
            })),
        }
    }

    fn readdir(self: &Arc<Self>, inode: u64, cookie: u64) -> Reply<Vec<DirEntry>> {
        let mut names = vec![(".".to_owned(), inode), ("..".to_owned(), ROOT)];
        match inode {
            ROOT => names.push(("folder".to_owned(), FOLDER)),
            _ => names.extend((0..FILES).map(|number| (format!("f{number}"), FIRST_FILE + number))),
        }
        let entries = names.into_iter().zip(1u64..).skip(cookie as usize).map(|((name, inode), next_cookie)| {
            let attributes = attributes(inode);
            DirEntry { name, attributes, ttl: FOREVER, next_cookie }
        });
        Reply::Ready(Ok(entries.collect()))
    }

    fn looked_up(&self, inode: u64) {
        self.count(inode, 1);
    }

    fn forget(&self, inode: u64, count: u64) {
        self.count(inode, -(count as i64));
    }

    fn statfs(&self) -> Statfs {
        Statfs { bytes: 77 * 4096 }
    }
}

struct Setup {
    // In this order they end: the mount, its runtime, the folder it is on.
    mounted: Mounted,
    runtime: tokio::runtime::Runtime,
    stats: Arc<Stats>,
    fake: Arc<Fake>,
    _folder: tempfile::TempDir,
}

/// A mount of the fake tree, or `None` where this machine cannot mount.
fn setup() -> Option<Setup> {
    let folder = tempfile::tempdir().unwrap();
    let mountpoint = match check(folder.path(), false) {
        Ok(mountpoint) => mountpoint,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (stats, fake) = (Arc::new(Stats::default()), Arc::new(Fake::default()));
    let mounted =
        mount(Arc::clone(&fake), Arc::clone(&stats), runtime.handle().clone(), &mountpoint, FuseOptions::default());
    match mounted {
        Ok(mounted) => Some(Setup { mounted, runtime, stats, fake, _folder: folder }),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

impl Setup {
    fn file(&self, number: u64) -> PathBuf {
        self.mounted.mountpoint().join(format!("folder/f{number}"))
    }

    fn messages(&self) -> std::collections::BTreeMap<&'static str, u64> {
        let mut messages = self.stats.snapshot().fuse;
        // Sent when the kernel likes.
        messages.remove("FORGET");
        messages
    }
}

fn content(number: u64) -> Vec<u8> {
    (0..SIZE).map(|offset| byte(FIRST_FILE + number, offset)).collect()
}

#[test]
fn files_hold_the_bytes_of_the_backend() {
    let Some(setup) = setup() else { return };
    std::thread::scope(|scope| {
        for number in [0, 4, 5, 7, 38, 39] {
            let path = setup.file(number);
            scope.spawn(move || assert!(std::fs::read(path).unwrap() == content(number), "f{number}"));
        }
    });
    let mut file = std::fs::File::open(setup.file(8)).unwrap();
    file.seek(SeekFrom::Start(SIZE + 5)).unwrap();
    assert_eq!(file.read(&mut [0; 10]).unwrap(), 0, "there is nothing beyond the end");
}

#[test]
fn a_second_read_sends_no_message() {
    let Some(setup) = setup() else { return };
    let read = || assert!(std::fs::read(setup.file(5)).unwrap() == content(5));
    read();
    // The first close asks whether closing needs a message, too; the second may find a page dropped by the kernel.
    let quiet = (0..5).any(|_| {
        read();
        let before = setup.messages();
        read();
        setup.messages() == before
    });
    assert!(quiet, "{:?}", setup.messages());
    let messages = setup.messages();
    assert_eq!(messages.get("RELEASE"), None, "{messages:?}");
    assert_eq!(messages.get("OPEN"), Some(&1), "opening asks once for all files: {messages:?}");
}

#[test]
fn a_missing_name_is_asked_for_once() {
    let Some(setup) = setup() else { return };
    let missing = setup.mounted.mountpoint().join("folder/zarr.json");
    assert_eq!(missing.metadata().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let before = setup.messages();
    for _ in 0..3 {
        assert_eq!(std::fs::File::open(&missing).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
    assert_eq!(setup.messages(), before);
}

#[test]
fn a_listing_gives_names_and_attributes_at_once() {
    let Some(setup) = setup() else { return };
    let folder = setup.mounted.mountpoint().join("folder");
    let mut names = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().len(), SIZE);
        names.push(entry.file_name().into_string().unwrap());
    }
    let expected: Vec<_> = (0..FILES).map(|number| format!("f{number}")).collect();
    assert_eq!(names, expected);
    let messages = setup.messages();
    assert_eq!(messages.get("LOOKUP"), Some(&1), "the folder alone: {messages:?}");
    assert!(messages.contains_key("READDIRPLUS"), "{messages:?}");
    // What was listed counts as looked up, the two names of directories apart.
    let counts = setup.fake.lookups.lock().unwrap().clone();
    assert!((FIRST_FILE..FIRST_FILE + FILES).all(|inode| counts[&inode] == 1), "{counts:?}");
    assert_eq!((counts.get(&FOLDER), counts.get(&ROOT)), (Some(&1), None));
}

#[test]
fn every_lookup_is_given_back_at_the_end() {
    let Some(setup) = setup() else { return };
    let folder = setup.mounted.mountpoint().join("folder");
    assert_eq!(folder.read_dir().unwrap().count() as u64, FILES);
    std::fs::read(setup.file(4)).unwrap();
    // Dropping caches makes the kernel forget; where that is not allowed, nothing is shown.
    if std::fs::write("/proc/sys/vm/drop_caches", "2").is_err() {
        return;
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let all_back = || setup.fake.lookups.lock().unwrap().values().all(|count| *count == 0);
    while !all_back() && std::time::Instant::now() < deadline {
        std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let counts = setup.fake.lookups.lock().unwrap().clone();
    assert!(counts.values().all(|count| *count == 0), "{counts:?}");
}

#[test]
fn a_failure_and_a_panic_are_eio_for_their_request_alone() {
    let Some(setup) = setup() else { return };
    for number in [1, 2, 3] {
        let error = std::fs::read(setup.file(number)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "f{number}");
    }
    for _ in 0..8 {
        let error = std::fs::read(setup.file(3)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "no loop thread is lost");
    }
    assert!(std::fs::read(setup.file(4)).unwrap() == content(4));
}

#[test]
fn nothing_can_be_written() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let Some(setup) = setup() else { return };
    let folder = setup.mounted.mountpoint().join("folder");
    let errors = [
        std::fs::write(folder.join("new"), "x").unwrap_err(),
        std::fs::OpenOptions::new().append(true).open(setup.file(0)).unwrap_err(),
        std::fs::remove_file(setup.file(0)).unwrap_err(),
        std::fs::create_dir(folder.join("d")).unwrap_err(),
        std::fs::rename(setup.file(0), folder.join("g")).unwrap_err(),
        std::fs::set_permissions(setup.file(0), std::fs::Permissions::from_mode(0o600)).unwrap_err(),
    ];
    for error in errors {
        // The kernel looks at permissions first where the writer is not root.
        let errno = error.raw_os_error();
        assert!(errno == Some(libc::EROFS) || errno == Some(libc::EACCES), "{error}");
    }
    let file = setup.file(0).metadata().unwrap();
    assert_eq!((file.mode() & 0o7777, file.size(), file.blocks()), (0o644, SIZE, SIZE.div_ceil(512)));
    assert_eq!(file.uid(), nix::unistd::geteuid().as_raw());
    assert_eq!(folder.metadata().unwrap().mode() & 0o7777, 0o755);
    assert_eq!(file.mtime(), 1_600_000_000);
}

#[test]
fn an_unmounted_tree_leaves_nothing() {
    let Some(setup) = setup() else { return };
    let mountpoint = setup.mounted.mountpoint().to_owned();
    assert!(mountinfo::at(&mountpoint).unwrap().unwrap().is_emfs());
    assert_eq!(check(&mountpoint, false).unwrap_err(), MountError::Mounted(mountpoint.clone()));
    let held = std::fs::File::open(setup.file(0)).unwrap();
    assert_eq!(setup.mounted.unmount().unwrap_err(), UnmountError::Busy(mountpoint.clone()));
    drop(held);
    setup.runtime.block_on(setup.mounted.stop(Duration::from_secs(10)));
    assert!(setup.mounted.has_ended());
    assert!(mountinfo::at(&mountpoint).unwrap().is_none());
    assert_eq!(mountpoint.read_dir().unwrap().count(), 0);
}

#[test]
fn a_mount_in_use_is_taken_out_of_sight() {
    let Some(setup) = setup() else { return };
    let mountpoint = setup.mounted.mountpoint().to_owned();
    let mut held = std::fs::File::open(setup.file(4)).unwrap();
    setup.runtime.block_on(setup.mounted.stop(Duration::from_millis(200)));
    assert!(!setup.mounted.has_ended() && mountinfo::at(&mountpoint).unwrap().is_none());
    let mut bytes = Vec::new();
    held.read_to_end(&mut bytes).unwrap();
    assert!(bytes == content(4), "whoever holds a file keeps it");
    drop(held);
    setup.runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), setup.mounted.ended()).await.unwrap();
    });
}

#[test]
fn another_s_unmount_ends_the_session() {
    let Some(setup) = setup() else { return };
    unmount(setup.mounted.mountpoint(), false).unwrap();
    setup.runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), setup.mounted.ended()).await.unwrap();
    });
}
