//! What was computed is kept for longer than what was fetched.

use super::*;
use crate::store::COMPUTED;

const MAX_SIZE: u64 = 4 << 20;

fn kept(disk: &Disk, object: &str, length: u64) -> u64 {
    disk.flush();
    read_and_check(disk, object, "v", 0..length)
}

#[test]
fn what_was_computed_goes_after_what_was_fetched() {
    let folder = TempDir::new().unwrap();
    let disk = Disk::open(folder.path(), MAX_SIZE).unwrap();
    let computed = format!("{COMPUTED}https://h/v");
    for part in 0..8 {
        keep(&disk, &computed, "v", part * (128 << 10)..(part + 1) * (128 << 10));
        keep(&disk, "https://h/v", "v", part << 20..(part + 1) << 20);
        disk.flush();
    }
    assert_eq!(kept(&disk, &computed, 1 << 20), 1 << 20, "all of it is there");
    let fetched = kept(&disk, "https://h/v", 8 << 20);
    assert!((1 << 20..4 << 20).contains(&fetched), "{fetched} bytes of what was fetched first are gone");
}

#[test]
fn what_was_computed_leaves_space_for_what_is_fetched() {
    let folder = TempDir::new().unwrap();
    let disk = Disk::open(folder.path(), MAX_SIZE).unwrap();
    let computed = format!("{COMPUTED}https://h/v");
    for part in 0..8 {
        keep(&disk, &computed, "v", part << 20..(part + 1) << 20);
        disk.flush();
    }
    keep(&disk, "https://h/v", "v", 0..1 << 20);
    assert_eq!(kept(&disk, "https://h/v", 1 << 20), 1 << 20);
    keep(&disk, "https://h/v", "v", 1 << 20..2 << 20);
    let fetched = kept(&disk, "https://h/v", 2 << 20);
    assert!(fetched > 3 << 19, "{fetched}: not at the cost of what was fetched before");
}
