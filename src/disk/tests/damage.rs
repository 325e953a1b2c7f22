//! Damaged files: right bytes or none, and the store goes on.

use std::{fs, path::PathBuf};

use proptest::{prelude::*, sample::Index};

use super::*;

const SIZE: u64 = 8 << 20;
const OBJECTS: [&str; 3] = ["https://one/a", "https://one/b", "https://two/c"];
const LENGTH: u64 = 300_000;

#[derive(Clone, Debug)]
enum Damage {
    Flip(Index),
    Truncate(Index),
    Remove,
    Noise(Vec<u8>),
    Overwrite(Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let noise = || prop::collection::vec(any::<u8>(), 1..3000);
    prop_oneof![
        3 => any::<Index>().prop_map(Damage::Flip),
        2 => any::<Index>().prop_map(Damage::Truncate),
        1 => Just(Damage::Remove),
        1 => noise().prop_map(Damage::Noise),
        2 => (any::<Index>(), noise()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
    ]
}

impl Damage {
    fn inflict(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Flip(bit) if !bytes.is_empty() => {
                let bit = bit.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Truncate(length) if !bytes.is_empty() => bytes.truncate(length.index(bytes.len())),
            Self::Overwrite(at, noise) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes.truncate(bytes.len().max(at + noise.len()));
                bytes.resize(bytes.len().max(at + noise.len()), 0);
                bytes[at..at + noise.len()].copy_from_slice(noise);
            }
            Self::Noise(noise) => bytes.clone_from(noise),
            Self::Remove => return fs::remove_file(path).unwrap(),
            _ => {}
        }
        fs::write(path, bytes).unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn fill(disk: &Disk) {
    for object in OBJECTS {
        keep(disk, object, "v", 0..LENGTH);
        disk.set_metadata(object, object.as_bytes().to_vec().into());
    }
    disk.flush();
}

fn read_all(disk: &Disk) -> u64 {
    for object in OBJECTS {
        assert!(metadata_or_none(disk, object).is_none_or(|metadata| metadata == object.as_bytes()));
    }
    OBJECTS.map(|object| read_and_check(disk, object, "v", 0..LENGTH)).iter().sum()
}

proptest! {
    // A case writes and reads megabytes.
    #![proptest_config(ProptestConfig { max_shrink_iters: 100, ..ProptestConfig::with_cases(crate::test_cases(40).min(2_000)) })]

    #[test]
    fn after_any_damage_there_are_right_bytes_or_none_and_what_is_kept_again_is_there(
        damages in prop::collection::vec((any::<Index>(), damage()), 1..4), is_open in any::<bool>(), index_too in any::<bool>(),
    ) {
        let folder = folder();
        let mut disk = Disk::open(folder.path(), SIZE).unwrap();
        fill(&disk);
        if !is_open {
            drop(disk);
            disk = inflict(&damages, folder.path(), index_too);
        } else {
            inflict_all(&damages, folder.path(), index_too);
        }
        read_all(&disk);
        disk.verify(&mut |_, _| {}).unwrap();
        // What is found to be damaged is dropped, so that it can be kept again; an index is made anew before.
        let complete = (0..4).any(|_| {
            fill(&disk);
            read_all(&disk) == LENGTH * OBJECTS.len() as u64
        });
        prop_assert!(complete);
        drop(disk);
        let disk = Disk::open(folder.path(), SIZE).unwrap();
        prop_assert_eq!(read_all(&disk), LENGTH * OBJECTS.len() as u64);
        for object in OBJECTS {
            prop_assert_eq!(metadata(&disk, object).unwrap(), object.as_bytes());
        }
    }
}

fn inflict(damages: &[(Index, Damage)], folder: &Path, index_too: bool) -> Disk {
    inflict_all(damages, folder, index_too);
    Disk::open(folder, SIZE).unwrap()
}

fn inflict_all(damages: &[(Index, Damage)], folder: &Path, index_too: bool) {
    for (file, damage) in damages {
        let mut files = files(folder);
        files.retain(|path| index_too || path.extension().is_some_and(|extension| extension == "segment"));
        if !files.is_empty() {
            damage.inflict(&files[file.index(files.len())]);
        }
    }
}

#[test]
fn what_cannot_be_read_now_is_not_dropped() {
    let folder = folder();
    fill(&Disk::open(folder.path(), SIZE).unwrap());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "segment");
    let segments: Vec<_> = files(folder.path()).into_iter().filter(is_segment).collect();
    let away = |segment: &PathBuf| segment.with_extension("away");
    for segment in &segments {
        fs::rename(segment, away(segment)).unwrap();
        // It opens, but cannot be read.
        fs::create_dir(segment).unwrap();
    }
    let disk = Disk::open(folder.path(), SIZE).unwrap();
    assert_eq!(read_all(&disk), 0);
    assert!(disk.verify(&mut |_, _| {}).unwrap_err().to_string().contains(".segment"));
    disk.flush();
    drop(disk);
    for segment in &segments {
        fs::remove_dir(segment).unwrap();
        fs::rename(away(segment), segment).unwrap();
    }
    assert_eq!(read_all(&Disk::open(folder.path(), SIZE).unwrap()), LENGTH * OBJECTS.len() as u64);
}

#[test]
fn a_lost_index_is_made_anew_from_the_segments() {
    let folder = folder();
    let disk = Disk::open(folder.path(), SIZE).unwrap();
    fill(&disk);
    drop(disk);
    for path in files(folder.path()) {
        if path.extension().is_some_and(|extension| extension == "sqlite") {
            fs::remove_file(path).unwrap();
        }
    }
    let disk = Disk::open(folder.path(), SIZE).unwrap();
    // A change is made after the segments were looked through.
    keep(&disk, "another", "v", 0..10);
    disk.flush();
    assert_eq!(read_all(&disk), LENGTH * 3);
    assert_eq!(disk.verify(&mut |_, _| {}).unwrap().damaged, 0);
}

#[test]
fn a_process_whose_index_is_replaced_goes_on_with_the_new_one() {
    let folder = folder();
    let one = Disk::open(folder.path(), SIZE).unwrap();
    fill(&one);
    let index = files(folder.path()).into_iter().find(|path| path.extension().is_some_and(|ending| ending == "sqlite"));
    fs::write(index.unwrap(), "no index").unwrap();
    let other = Disk::open(folder.path(), SIZE).unwrap();
    keep(&other, "new", "v", 0..1000);
    other.flush();
    for disk in [&one, &other] {
        read_all(disk);
        keep(disk, "newer", "v", 0..1000);
        disk.flush();
    }
    drop(one);
    fill(&other);
    assert_eq!(read_all(&other), LENGTH * 3);
    assert_eq!(read_and_check(&other, "newer", "v", 0..1000), 1000);
    assert_eq!(files(folder.path()).iter().filter(|path| path.to_string_lossy().contains("index-")).count(), 1);
}

#[test]
fn verify_drops_what_is_damaged_and_says_how_much() {
    let folder = folder();
    let disk = Disk::open(folder.path(), SIZE).unwrap();
    fill(&disk);
    let segment =
        files(folder.path()).into_iter().find(|path| path.extension().is_some_and(|ending| ending == "segment"));
    let segment = segment.unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[1000] ^= 4;
    fs::write(&segment, bytes).unwrap();
    let before = disk.stat().unwrap();
    let verified = disk.verify(&mut |_, _| {}).unwrap();
    assert_eq!((verified.damaged, verified.extents), (1, before.extents));
    assert_eq!(verified.bytes, LENGTH * 3);
    assert_eq!(disk.stat().unwrap().extents, before.extents - 1);
    assert_eq!(read_all(&disk), LENGTH * 3 - verified.damaged_bytes);
    assert_eq!(disk.verify(&mut |_, _| {}).unwrap().damaged, 0);
}

#[test]
fn a_folder_removed_under_an_open_store_is_made_again() {
    let parent = folder();
    let place = parent.path().join("cache");
    let disk = Disk::open(&place, SIZE).unwrap();
    fill(&disk);
    read_all(&disk);
    fs::remove_dir_all(&place).unwrap();
    let complete = (0..4).any(|_| {
        fill(&disk);
        read_all(&disk) == LENGTH * 3
    });
    assert!(complete);
    drop(disk);
    assert_eq!(read_all(&Disk::open(&place, SIZE).unwrap()), LENGTH * 3);
}

#[test]
fn an_index_that_mixes_up_its_records_serves_none_of_them() {
    let folder = folder();
    let disk = Disk::open(folder.path(), SIZE).unwrap();
    for version in ["1", "2"] {
        keep(&disk, "one", version, 0..1000);
        keep(&disk, "two", version, 0..1000);
        keep(&disk, "one", version, 5000..6000);
    }
    disk.flush();
    let index = files(folder.path()).into_iter().find(|path| path.extension().is_some_and(|ending| ending == "sqlite"));
    let index = rusqlite::Connection::open(index.unwrap()).unwrap();
    // All records have the same length, so that nothing but their names and starts tells them apart.
    index
        .execute_batch(
            "CREATE TEMP TABLE places AS SELECT row_number() OVER (ORDER BY offset) AS number, offset FROM extents;
             UPDATE extents SET offset = (
                SELECT next.offset FROM places AS here JOIN places AS next ON next.number = here.number % 6 + 1
                WHERE here.offset = extents.offset);",
        )
        .unwrap();
    for (object, version) in [("one", "1"), ("one", "2"), ("two", "1"), ("two", "2")] {
        assert_eq!(disk.covered(object, version, 0..1000), vec![0..1000_u64]);
        assert_eq!(read_and_check(&disk, object, version, 0..10_000), 0);
    }
    disk.flush();
    assert_eq!(disk.stat().unwrap().extents, 0);
}
