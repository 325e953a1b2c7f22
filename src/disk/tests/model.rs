//! The store against a map of bytes.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Write { object: u8, version: u8, start: u64, length: u64 },
    Read { object: u8, version: u8, start: u64, length: u64 },
    SetMetadata { object: u8, metadata: u8 },
    Forget { object: u8 },
    Flush,
    Reopen,
    Verify,
}

fn step() -> impl Strategy<Value = Step> {
    let place = (0..3_u8, 0..2_u8, 0..400_000_u64, 1..150_000_u64);
    prop_oneof![
        8 => place.clone().prop_map(|(object, version, start, length)| Step::Write { object, version, start, length }),
        8 => place.prop_map(|(object, version, start, length)| Step::Read { object, version, start, length }),
        2 => (0..3_u8, any::<u8>()).prop_map(|(object, metadata)| Step::SetMetadata { object, metadata }),
        1 => (0..3_u8).prop_map(|object| Step::Forget { object }),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Verify),
    ]
}

proptest! {
    // A case writes and reads megabytes.
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(crate::test_cases(20).min(2_000)) })]

    #[test]
    fn the_store_holds_what_was_kept_and_not_forgotten(steps in prop::collection::vec(step(), 1..30)) {
        let folder = folder();
        let size = 32 << 20;
        let mut disk = Disk::open(folder.path(), size).unwrap();
        // Whether a byte must be there: it was kept, not forgotten, and flushed.
        let mut kept: HashMap<(u8, u8), Vec<bool>> = HashMap::new();
        let mut kept_metadata: HashMap<u8, u8> = HashMap::new();
        for step in steps {
            match step {
                Step::Write { object, version, start, length } => {
                    keep(&disk, &object.to_string(), &version.to_string(), start..start + length);
                    let bytes = kept.entry((object, version)).or_insert_with(|| vec![false; 600_000]);
                    bytes[start as usize..(start + length) as usize].fill(true);
                }
                Step::Read { object, version, start, length } => {
                    disk.flush();
                    let range = start..start + length;
                    let (name, version_name) = (object.to_string(), version.to_string());
                    let read = read_and_check(&disk, &name, &version_name, range.clone());
                    let want = kept.get(&(object, version)).map_or(0, |bytes| {
                        bytes[start as usize..range.end as usize].iter().filter(|kept| **kept).count() as u64
                    });
                    prop_assert_eq!(read, want);
                    let (first, second) = (start + length / 5, start + length / 2);
                    let parts = [start..first, first..second, second..range.end];
                    let apart = disk.read_parts(&name, &version_name, &parts);
                    let right = || parts.clone().map(|part| expected_bytes(&name, &version_name, part)).to_vec();
                    let is_whole = want == length && parts.iter().all(|part| !part.is_empty());
                    prop_assert_eq!(apart, is_whole.then(right));
                    let covered = disk.covered(&name, &version_name, range);
                    prop_assert_eq!(covered.iter().map(|part| part.end - part.start).sum::<u64>(), want);
                }
                Step::SetMetadata { object, metadata } => {
                    disk.set_metadata(&object.to_string(), vec![metadata].into());
                    kept_metadata.insert(object, metadata);
                }
                Step::Forget { object } => {
                    disk.forget(&object.to_string());
                    kept.retain(|(name, _), _| *name != object);
                    kept_metadata.remove(&object);
                    for version in 0..2 {
                        prop_assert_eq!(read_and_check(&disk, &object.to_string(), &version.to_string(), 0..600_000), 0);
                    }
                }
                Step::Flush => disk.flush(),
                Step::Reopen => {
                    drop(disk);
                    disk = Disk::open(folder.path(), size).unwrap();
                }
                Step::Verify => {
                    let verified = disk.verify(&mut |done, total| assert!(done <= total)).unwrap();
                    prop_assert_eq!(verified.damaged, 0);
                }
            }
            for object in 0..3 {
                let metadata = metadata(&disk, &object.to_string()).map(|metadata| metadata[0]);
                prop_assert_eq!(metadata, kept_metadata.get(&object).copied());
            }
        }
    }
}
