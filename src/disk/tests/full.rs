//! A disk that is full, and has space again.

use std::{fs::File, io::Write, process::Command, time::Instant};

use super::*;

/// A filesystem of 16 MiB; `None` where this process may not mount one.
struct Small(TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = folder();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|done| done.status.success()).then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_was_full_is_written_again_when_it_has_space() {
    let Some(small) = Small::mount() else { return };
    let disk = Disk::open(&small.0.path().join("cache"), 64 << 20).unwrap();
    keep(&disk, "before", "v", 0..1 << 20);
    disk.flush();
    assert_eq!(read_and_check(&disk, "before", "v", 0..1 << 20), 1 << 20);
    let filler = small.0.path().join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    keep(&disk, "after", "v", 0..4 << 20);
    disk.flush();
    assert!(read_and_check(&disk, "after", "v", 0..4 << 20) < 4 << 20);
    // Not even the index can be written, and what is kept is there.
    assert_eq!(read_and_check(&disk, "before", "v", 0..1 << 20), 1 << 20);
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while read_and_check(&disk, "after", "v", 0..4 << 20) < 4 << 20 {
        assert!(Instant::now() < deadline, "nothing is kept");
        keep(&disk, "after", "v", 0..4 << 20);
        disk.flush();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read_and_check(&disk, "before", "v", 0..1 << 20), 1 << 20);
    assert_eq!(disk.verify(&mut |_, _| {}).unwrap().damaged, 0);
}
