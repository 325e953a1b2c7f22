//! What others do to the files while a store is open.

use super::*;

#[test]
fn metadata_is_restored_where_it_was_lost_and_replaces_none() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    let other = Disk::open(folder.path(), 1 << 20).unwrap();
    disk.set_metadata("lost", Bytes::from_static(b"first"));
    disk.set_metadata("newer", Bytes::from_static(b"first"));
    disk.flush();
    other.forget("lost");
    other.set_metadata("newer", Bytes::from_static(b"second"));
    other.flush();
    for name in ["lost", "newer"] {
        disk.restore_metadata(name, Bytes::from_static(b"again"));
    }
    disk.flush();
    assert_eq!(metadata(&disk, "lost").unwrap(), "again");
    assert_eq!(metadata(&disk, "newer").unwrap(), "second");
}

#[test]
fn that_the_index_cannot_be_asked_is_not_that_nothing_is_kept() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    disk.set_metadata("o", Bytes::from_static(b"note"));
    disk.flush();
    let locked = locked(folder.path());
    assert!(disk.metadata("o").is_err());
    drop(locked);
    assert_eq!(disk.metadata("o").unwrap().unwrap(), "note");
}

#[test]
fn what_is_to_be_kept_waits_for_an_index_that_others_use() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    keep(&disk, "o", "v", 0..1000);
    disk.flush();
    let locked = locked(folder.path());
    keep(&disk, "o", "v", 1000..3000);
    disk.set_metadata("o", Bytes::from_static(b"note"));
    // Longer than a reader waits.
    let others = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1200));
        drop(locked);
    });
    disk.flush();
    others.join().unwrap();
    assert_eq!(read_and_check(&disk, "o", "v", 0..3000), 3000);
    drop(disk);
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    assert_eq!(metadata(&disk, "o").unwrap(), "note");
    assert_eq!(read_and_check(&disk, "o", "v", 0..3000), 3000);
}

#[test]
fn pruning_gives_the_space_of_index_and_segments_back() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 4 << 20).unwrap();
    for object in 0..3000 {
        keep(&disk, &format!("https://host/of/an/object/{object}"), "v", 0..100);
    }
    drop(disk);
    let disk = Disk::open(folder.path(), 4 << 20).unwrap();
    let before = disk.stat().unwrap();
    let pruned = disk.prune(0).unwrap();
    assert_eq!((before.extents, pruned.segments), (3000, before.segments));
    let after = disk.stat().unwrap();
    assert_eq!((after.segments, after.objects, after.extents), (0, 0, 0));
    assert!(after.bytes < 100_000 && before.bytes > 10 * after.bytes, "{} of {} bytes", after.bytes, before.bytes);
}

#[test]
fn what_another_process_evicts_during_a_check_is_no_damage() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    keep(&disk, "o", "v", 0..500_000);
    drop(disk);
    let [disk, other] = [1, 2].map(|_| Disk::open(folder.path(), 1 << 20).unwrap());
    let mut removed = 0;
    let verified = disk.verify(&mut |done, _| {
        // The first record is read, the others are known to be there.
        if done > 0 && removed == 0 {
            removed = other.prune(0).unwrap().segments;
        }
    });
    assert!(removed > 1, "{removed}");
    assert_eq!(verified.unwrap().damaged, 0);
}

#[test]
fn that_the_files_of_others_cannot_be_opened_is_said_once() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    keep(&disk, "o", "v", 0..1000);
    drop(disk);
    let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    // As somebody to whom the files do not belong; root changes who it is for a thread of its own.
    let look = |mode| {
        files().for_each(|path| allow(&path, mode));
        allow(folder.path(), 0o555);
        let lines = places::Lines::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if nix::unistd::geteuid().is_root() {
                    nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
                }
                let disk = lines.logged(|| Disk::open(folder.path(), 1 << 20).unwrap());
                assert_eq!(disk.access(), FolderAccess::ReadOnly);
                lines.logged(|| read_and_check(&disk, "o", "v", 0..1000))
            });
        });
        lines.text()
    };
    assert_eq!(look(0o444), "");
    let said = look(0o000);
    allow(folder.path(), 0o700);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("chmod -R a+rX {}", folder.path().display())), "{said}");
}

#[test]
fn of_a_range_that_is_forgotten_nothing_is_there_and_of_the_others_all() {
    let folder = folder();
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    for start in (0..4000).step_by(1000) {
        keep(&disk, "o", "v", start..start + 1000);
        keep(&disk, "o", "other", start..start + 1000);
    }
    disk.set_metadata("o", Bytes::from_static(b"note"));
    // What waits to be written goes as well.
    disk.forget_range("o", "v", &(1500..2001));
    let look = |disk: &Disk| {
        let there: Vec<_> = disk.read("o", "v", 0..4000).iter().map(Extent::range).collect();
        assert_eq!(there, [0..1000, 3000..4000]);
        assert_eq!(read_and_check(disk, "o", "other", 0..4000), 4000);
        assert_eq!(metadata(disk, "o").unwrap(), "note");
    };
    disk.flush();
    look(&disk);
    drop(disk);
    let disk = Disk::open(folder.path(), 1 << 20).unwrap();
    look(&disk);
    keep(&disk, "o", "v", 1000..3000);
    disk.flush();
    assert_eq!(read_and_check(&disk, "o", "v", 0..4000), 4000);
    let locked = locked(folder.path());
    disk.forget_range("o", "v", &(0..1));
    drop(locked);
    assert_eq!(disk.covered("o", "v", 0..4000), vec![1000..4000_u64]);
    keep(&disk, "o", "v", 0..10);
    disk.flush();
    assert_eq!(read_and_check(&disk, "o", "v", 0..4000), 3010);
}
