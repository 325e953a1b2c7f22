//! What others do to the files while a store is open.

use super::*;

#[test]
fn a_note_is_restored_where_it_was_lost_and_replaces_none() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    let other = Disk::open(folder.path(), 1 << 20).unwrap();
    disk.set_note("lost", Bytes::from_static(b"first"));
    disk.set_note("newer", Bytes::from_static(b"first"));
    disk.flush();
    other.forget("lost");
    other.set_note("newer", Bytes::from_static(b"second"));
    other.flush();
    for name in ["lost", "newer"] {
        disk.restore_note(name, Bytes::from_static(b"again"));
    }
    disk.flush();
    assert_eq!(note(&disk, "lost").unwrap(), "again");
    assert_eq!(note(&disk, "newer").unwrap(), "second");
}

#[test]
fn that_the_index_cannot_be_asked_is_not_that_nothing_is_kept() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    disk.set_note("o", Bytes::from_static(b"note"));
    disk.flush();
    let locked = locked(folder.path());
    assert!(disk.note("o").is_err());
    drop(locked);
    assert_eq!(disk.note("o").unwrap().unwrap(), "note");
}
