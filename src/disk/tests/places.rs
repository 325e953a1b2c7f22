//! Folders on a full disk and folders that cannot be written. Mounting needs root; without, these tests do what is left.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;

use super::*;

/// A mounted filesystem, unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(arguments: &[&str], place: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(arguments).arg(place).output().is_ok_and(|done| done.status.success());
        if !mounted {
            eprintln!("not tried: mount {arguments:?}");
        }
        mounted.then(|| Self(place.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What is logged.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Does something of which the warnings are kept.
    pub(super) fn logged<T>(&self, work: impl FnOnce() -> T) -> T {
        let _listening = self.listen();
        work()
    }

    /// Keeps the warnings of this thread, and of a disk that it opens, until what is returned is dropped.
    ///
    /// As long as there is one subscriber alone, `tracing` asks the thread that reaches a place of a warning first
    /// whether anybody wants it, and remembers a no for all threads. Of two it asks both, whoever comes first.
    fn listen(&self) -> (tracing::subscriber::DefaultGuard, [tracing::Dispatch; 2]) {
        let [first, second] = [self.clone(), self.clone()].map(|lines| {
            let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN);
            tracing::Dispatch::new(log.with_writer(move || lines.clone()).finish())
        });
        (tracing::dispatcher::set_default(&first), [first, second])
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn on_a_full_disk_reads_go_on_and_one_line_warns() {
    let place = folder();
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=64m", "tmpfs"], place.path()) else { return };
    let lines = Lines::default();
    let _listening = lines.listen();
    let disk = Disk::open(&place.path().join("cache"), 20 << 30).unwrap();
    for part in 0..80 {
        keep(&disk, "o", "v", part << 20..(part + 1) << 20);
        disk.flush();
    }
    assert_eq!(lines.0.lock().as_slice(), b"");
    let free = nix::sys::statvfs::statvfs(place.path()).unwrap();
    assert!(
        free.blocks_available() >= free.blocks() / 20 - 64,
        "{} of {} blocks are free",
        free.blocks_available(),
        free.blocks()
    );
    let kept = read_and_check(&disk, "o", "v", 0..80 << 20);
    assert!(kept >= 48 << 20, "{kept} bytes kept");
    disk.set_metadata("gone", Bytes::from_static(b"note"));
    disk.flush();
    // Now somebody else takes the rest.
    let mut brim = fs::File::create(place.path().join("brim")).unwrap();
    while brim.write_all(&[1; 4096]).is_ok() {}
    for part in 100..120 {
        keep(&disk, "o", "v", part << 20..(part + 1) << 20);
        disk.forget("gone");
        assert_eq!(metadata(&disk, "gone"), None);
        disk.flush();
        assert_eq!(metadata(&disk, "gone"), None);
    }
    assert!(read_and_check(&disk, "o", "v", 0..80 << 20) >= 40 << 20);
    let lines = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains("WARN") && lines.contains(place.path().to_str().unwrap()), "{lines}");
    // A store that is opened now works as well as it can.
    drop(disk);
    let disk = Disk::open(&place.path().join("cache"), 20 << 30).unwrap();
    assert!(read_and_check(&disk, "o", "v", 0..80 << 20) >= 40 << 20);
    drop(brim);
    fs::remove_file(place.path().join("brim")).unwrap();
    drop(disk);
    let disk = Disk::open(&place.path().join("cache"), 20 << 30).unwrap();
    keep(&disk, "new", "v", 0..1000);
    disk.flush();
    assert_eq!(read_and_check(&disk, "new", "v", 0..1000), 1000);
}

#[test]
fn on_a_disk_full_from_the_start_there_is_no_cache_and_no_error() {
    let place = folder();
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], place.path()) else { return };
    let mut brim = fs::File::create(place.path().join("brim")).unwrap();
    while brim.write_all(&[1; 4096]).is_ok() {}
    let disk = Disk::open(place.path(), 20 << 30).unwrap();
    keep(&disk, "o", "v", 0..1000);
    disk.flush();
    assert_eq!(disk.read("o", "v", 0..1000), []);
    disk.stat().unwrap();
}

/// A way to `folder` on which it cannot be written.
fn read_only_way(folder: &Path, place: &Path) -> Option<Mounted> {
    let mounted = Mounted::new(&["--bind", folder.to_str().unwrap()], place)?;
    let read_only = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(place).output().unwrap();
    read_only.status.success().then_some(mounted)
}

#[test]
fn a_folder_that_cannot_be_written_is_used_and_not_written() {
    let (folder, place) = (folder(), super::folder());
    let writing = Disk::open(folder.path(), 1 << 20).unwrap();
    keep(&writing, "o", "v", 0..100_000);
    writing.set_metadata("o", Bytes::from_static(b"note"));
    writing.flush();
    let Some(_mounted) = read_only_way(folder.path(), place.path()) else { return };
    let disk = Disk::open(place.path(), 1 << 20).unwrap();
    assert_eq!(disk.access(), FolderAccess::ReadOnly);
    keep(&disk, "o", "v", 200_000..300_000);
    disk.set_metadata("other", Bytes::from_static(b"note"));
    disk.flush();
    assert_eq!(read_and_check(&disk, "o", "v", 0..300_000), 100_000);
    assert_eq!(metadata(&disk, "o").unwrap(), "note");
    assert_eq!(metadata(&disk, "other"), None);
    assert_eq!(disk.verify(&mut |_, _| {}).unwrap().damaged, 0);
    assert!(matches!(disk.clear(), Err(DiskError::ReadOnly(_))));
    assert!(matches!(disk.prune(0), Err(DiskError::ReadOnly(_))));
    assert_eq!(disk.stat().unwrap().access, FolderAccess::ReadOnly);
    // What another process keeps is seen, and what is forgotten here is not.
    keep(&writing, "o", "v", 400_000..500_000);
    writing.flush();
    assert_eq!(read_and_check(&disk, "o", "v", 0..500_000), 200_000);
    disk.forget("o");
    assert_eq!(disk.read("o", "v", 0..500_000), []);
    assert_eq!(metadata(&disk, "o"), None);
    assert_eq!(read_and_check(&writing, "o", "v", 0..500_000), 200_000);
}

#[test]
fn a_journal_left_in_a_folder_that_cannot_be_written_is_no_failure() {
    let (folder, copy, place) = (folder(), super::folder(), super::folder());
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    for part in 0..50 {
        keep(&disk, &format!("o{part}"), "v", 0..1000);
    }
    disk.flush();
    let index = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let index = index.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "sqlite")).unwrap();
    let connection = rusqlite::Connection::open(&index).unwrap();
    connection.pragma_update(None, "cache_size", 1).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE; UPDATE extents SET header = header + 1; DELETE FROM objects").unwrap();
    for entry in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    connection.execute_batch("ROLLBACK").unwrap();
    assert!(
        fs::read_dir(copy.path()).unwrap().any(|entry| entry.unwrap().path().to_string_lossy().ends_with("-journal"))
    );
    let Some(mounted) = read_only_way(copy.path(), place.path()) else { return };
    let disk = Disk::open(place.path(), 1 << 20).unwrap();
    assert_eq!(disk.access(), FolderAccess::ReadOnly);
    for part in 0..50 {
        read_and_check(&disk, &format!("o{part}"), "v", 0..1000);
    }
    drop((disk, mounted));
    // Where it can be written, the journal is rolled back and nothing is lost.
    let disk = Disk::open(copy.path(), 1 << 20).unwrap();
    for part in 0..50 {
        assert_eq!(read_and_check(&disk, &format!("o{part}"), "v", 0..1000), 1000);
    }
}

#[test]
fn a_bound_that_was_lowered_below_the_index_goes_on_keeping() {
    const LOWERED: u64 = 1 << 20;
    let folder = folder();
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    let name = |number: u64| format!("https://host/{number}/{}", "n".repeat(300));
    for number in 0..5000 {
        keep(&disk, &name(number), "v", 0..100);
    }
    disk.flush();
    drop(disk);
    let index_bytes = || {
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
        let is_index = |file: &fs::DirEntry| file.path().extension().is_some_and(|ending| ending == "sqlite");
        files.filter(is_index).map(|file| file.metadata().unwrap().len()).sum::<u64>()
    };
    assert!(index_bytes() > 2 * LOWERED, "{}", index_bytes());
    let disk = Disk::open(folder.path(), LOWERED).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // A child that another test is just starting may hold the lock of a segment for a moment.
    while read_and_check(&disk, "new", "v", 0..400_000) < 400_000 {
        assert!(Instant::now() < deadline, "nothing is kept");
        for number in 0..20 {
            keep(&disk, "new", "v", number * 20_000..(number + 1) * 20_000);
            disk.flush();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(disk.stat().unwrap().bytes <= LOWERED, "{:?}", disk.stat());
}
