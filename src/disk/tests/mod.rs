//! What the store promises, tried on real folders.

mod computed;
mod damage;
mod full;
mod model;
mod places;
mod processes;
mod sharing;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;

/// The byte at `at` of that version of the object: what a wrong byte is told by.
pub(super) fn byte(object: &str, version: &str, at: u64) -> u8 {
    let seed = record::hash(object).wrapping_add(record::hash(version).rotate_left(17)).cast_unsigned();
    (seed ^ (at / 7).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes()[(at % 7) as usize]
}

pub(super) fn expected_bytes(object: &str, version: &str, range: Range<u64>) -> Bytes {
    range.map(|at| byte(object, version, at)).collect()
}

/// Reads, checks every byte, and returns how many there were.
pub(super) fn read_and_check(disk: &Disk, object: &str, version: &str, range: Range<u64>) -> u64 {
    let mut at = range.start;
    let mut count = 0;
    for extent in disk.read(object, version, range.clone()) {
        assert!(extent.start >= at && extent.range().end <= range.end && !extent.bytes.is_empty(), "{extent:?}");
        assert_eq!(extent.bytes, expected_bytes(object, version, extent.range()), "wrong bytes of {object} {version}");
        at = extent.range().end + 1;
        count += extent.bytes.len() as u64;
    }
    count
}

pub(super) fn keep(disk: &Disk, object: &str, version: &str, range: Range<u64>) {
    disk.write(object, version, range.start, expected_bytes(object, version, range));
}

pub(super) fn metadata(disk: &Disk, object: &str) -> Option<Bytes> {
    disk.metadata(object).unwrap()
}

/// The same where others may be in the way.
pub(super) fn metadata_or_none(disk: &Disk, object: &str) -> Option<Bytes> {
    disk.metadata(object).unwrap_or_default()
}

/// The index, past the disk.
fn index(folder: &Path) -> rusqlite::Connection {
    let mut names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let index = names.find(|path| path.extension().is_some_and(|ending| ending == "sqlite"));
    rusqlite::Connection::open(index.unwrap()).unwrap()
}

/// Nobody can use the index while this lives.
pub fn locked(folder: &Path) -> rusqlite::Connection {
    let connection = index(folder);
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    connection
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_was_kept_is_read_by_the_next_process_with_its_metadata() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    keep(&disk, "https://host/a", "1", 10..3_000_000);
    keep(&disk, "https://host/a", "1", 4_000_000..4_000_010);
    disk.set_metadata("https://host/a", Bytes::from_static(b"note"));
    assert_eq!(metadata(&disk, "https://host/a").unwrap(), "note");
    drop(disk);
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    assert_eq!(metadata(&disk, "https://host/a").unwrap(), "note");
    assert_eq!(metadata(&disk, "https://host/b"), None);
    let read = disk.read("https://host/a", "1", 0..5_000_000);
    assert_eq!(read.iter().map(Extent::range).collect::<Vec<_>>(), [10..3_000_000, 4_000_000..4_000_010]);
    assert_eq!(disk.covered("https://host/a", "1", 0..5_000_000), [10..3_000_000, 4_000_000..4_000_010]);
    assert_eq!(disk.covered("https://host/a", "1", 20..30), vec![20..30_u64]);
    assert_eq!(read_and_check(&disk, "https://host/a", "1", 0..5_000_000), 3_000_000);
    assert_eq!(disk.read("https://host/a", "2", 0..100), []);
    assert_eq!(disk.read("https://host/b", "1", 0..100), []);
}

#[test]
fn what_is_kept_twice_takes_the_space_of_once() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    keep(&disk, "o", "v", 1000..200_000);
    disk.flush();
    let before = disk.stat().unwrap();
    keep(&disk, "o", "v", 1000..200_000);
    keep(&disk, "o", "v", 5000..6000);
    disk.flush();
    assert_eq!(disk.stat().unwrap().extents, before.extents);
    keep(&disk, "o", "v", 0..300_000);
    disk.flush();
    assert_eq!(read_and_check(&disk, "o", "v", 0..400_000), 300_000);
    assert_eq!(disk.stat().unwrap().hosts[0].bytes, 300_000);
}

#[test]
fn what_is_forgotten_is_gone_at_once_and_stays_gone() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    for version in ["1", "2"] {
        keep(&disk, "o", version, 0..1000);
    }
    keep(&disk, "other", "1", 0..1000);
    disk.set_metadata("o", Bytes::from_static(b"old"));
    disk.flush();
    keep(&disk, "o", "1", 1000..2000);
    disk.forget("o");
    assert_eq!(disk.read("o", "1", 0..2000), []);
    assert_eq!(disk.covered("o", "2", 0..2000), []);
    assert_eq!(metadata(&disk, "o"), None);
    disk.set_metadata("o", Bytes::from_static(b"new"));
    keep(&disk, "o", "2", 0..500);
    disk.flush();
    for disk in [disk.clone(), {
        drop(disk);
        Disk::open(folder.path(), 64 << 20).unwrap()
    }] {
        assert_eq!(disk.read("o", "1", 0..2000), []);
        assert_eq!(read_and_check(&disk, "o", "2", 0..2000), 500);
        assert_eq!(metadata(&disk, "o").unwrap(), "new");
        assert_eq!(read_and_check(&disk, "other", "1", 0..2000), 1000);
    }
}

#[test]
fn the_folder_is_for_its_owner_alone_and_says_that_it_is_a_cache() {
    use std::os::unix::fs::PermissionsExt;
    let parent = folder();
    let folder = parent.path().join("a/b");
    let disk = Disk::open(&folder, 1 << 20).unwrap();
    keep(&disk, "o", "v", 0..1000);
    disk.flush();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(names.iter().all(|path| mode(path) == 0o600), "{names:?}");
    assert!(
        std::fs::read(folder.join("CACHEDIR.TAG")).unwrap().starts_with(b"Signature: 8a477f597d28d172789f06886806bc55")
    );
}

#[test]
fn a_folder_that_holds_other_things_is_not_said_to_be_a_cache() {
    let folder = folder();
    assert!(!Disk::is_in(folder.path()).unwrap() && !Disk::is_in(&folder.path().join("missing")).unwrap());
    for name in ["lock", "thesis.tex", "CACHEDIR.TAG", "index-1.sqlite"] {
        std::fs::write(folder.path().join(name), "mine").unwrap();
    }
    assert!(!Disk::is_in(folder.path()).unwrap());
    std::fs::remove_file(folder.path().join("CACHEDIR.TAG")).unwrap();
    for _ in 0..2 {
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        keep(&disk, "o", "v", 0..1000);
        drop(disk);
        assert!(Disk::is_in(folder.path()).unwrap());
        assert!(!folder.path().join("CACHEDIR.TAG").exists());
    }
    let own = folder.path().join("own");
    drop(Disk::open(&own, 1 << 20).unwrap());
    Disk::clear_folder(&own).unwrap();
    assert!(Disk::is_in(&own).unwrap() && own.join("CACHEDIR.TAG").exists());
}

#[test]
fn what_cannot_be_kept_is_no_error() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    disk.write("o", "v", u64::MAX - 1, Bytes::from_static(b"abc"));
    disk.write("o", "v", u64::MAX / 2 + 5, Bytes::from_static(b"abc"));
    disk.write(&"long".repeat(5000), "v", 0, Bytes::from_static(b"abc"));
    disk.write("o", "v", 0, Bytes::new());
    disk.set_metadata("o", vec![0; MAX_METADATA + 1].into());
    disk.flush();
    assert_eq!(disk.stat().unwrap().extents, 0);
    assert_eq!(metadata(&disk, "o"), None);
    assert_eq!(disk.read("o", "v", 0..u64::MAX), []);
    assert_eq!(disk.read("o", "v", Range { start: 9, end: 3 }), []);
}

#[test]
fn clear_removes_all_of_it_and_nothing_else() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    for name in ["notes.txt", "index-1.sqlite", "0123.segment", "abcdefghabcdefgh.segment"] {
        std::fs::write(folder.path().join(name), "mine").unwrap();
    }
    keep(&disk, "o", "v", 0..100_000);
    disk.clear().unwrap();
    assert_eq!(disk.read("o", "v", 0..100_000), []);
    keep(&disk, "o", "v", 0..1000);
    disk.flush();
    assert_eq!(read_and_check(&disk, "o", "v", 0..100_000), 1000);
    drop(disk);
    Disk::clear_folder(folder.path()).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["0123.segment", "CACHEDIR.TAG", "abcdefghabcdefgh.segment", "index-1.sqlite", "lock", "notes.txt"]
    );
}

#[test]
fn the_segments_used_longest_ago_go_first() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 2 << 20).unwrap();
    for part in 0..8 {
        keep(&disk, &format!("o{part}"), "v", 0..128 << 10);
        disk.flush();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(read_and_check(&disk, "o0", "v", 0..128 << 10), 128 << 10);
    let before = disk.stat().unwrap();
    let pruned = disk.prune(before.bytes / 2).unwrap();
    let after = disk.stat().unwrap();
    assert!(pruned.segments > 0 && after.segments + pruned.segments == before.segments, "{pruned:?} {after:?}");
    assert!(read_and_check(&disk, "o0", "v", 0..128 << 10) > 64 << 10);
    assert_eq!(read_and_check(&disk, "o2", "v", 0..128 << 10), 0);
}

#[test]
fn metadata_of_another_object_whose_name_has_the_same_hash_is_not_shown() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    disk.set_metadata("absent", Bytes::from_static(b"note"));
    disk.flush();
    // As if the hash of the one were that of the other.
    let connection = index(folder.path());
    let (one, other) = (record::hash("absent"), record::hash("other"));
    let note: Vec<u8> =
        connection.query_row("SELECT note FROM notes WHERE object = ?1", [one], |row| row.get(0)).unwrap();
    let params = rusqlite::params![other, note, record::metadata_sum(other, &note)];
    connection.execute("INSERT INTO notes (object, note, sum, set_at) VALUES (?1, ?2, ?3, 0)", params).unwrap();
    drop(connection);
    assert_eq!(metadata(&disk, "absent").unwrap(), "note");
    assert_eq!(metadata(&disk, "other"), None);
    // What is lost is written again.
    disk.restore_metadata("other", Bytes::from_static(b"own"));
    disk.flush();
    assert_eq!(metadata(&disk, "other").unwrap(), "own");
}

#[test]
fn metadata_of_a_cache_that_did_not_keep_names_is_not_read() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    let old = b"{\"Absent\":{\"at\":1,\"document\":null}}";
    disk.set_metadata("o", Bytes::from_static(old));
    disk.flush();
    let sum = record::metadata_sum(record::hash("o"), old);
    let params = rusqlite::params![record::hash("o"), old, sum];
    index(folder.path()).execute("UPDATE notes SET note = ?2, sum = ?3 WHERE object = ?1", params).unwrap();
    drop(disk);
    let disk = Disk::open(folder.path(), 64 << 20).unwrap();
    assert_eq!(metadata(&disk, "o"), None);
    disk.set_metadata("o", Bytes::from_static(b"new"));
    disk.flush();
    assert_eq!(metadata(&disk, "o").unwrap(), "new");
}
