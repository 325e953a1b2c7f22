use proptest::prelude::*;

use super::*;

fn block(n: u64) -> CellIndex {
    CellIndex([n, 2 * n, 3 * n])
}

fn open(folder: &Path) -> BlockFiles {
    BlockFiles::open(folder.to_owned()).unwrap()
}

fn put(journal: &BlockFiles, blocks: &[(u64, &[u8])]) {
    let blocks: Vec<_> = blocks.iter().map(|(n, bytes)| (block(*n), Bytes::copy_from_slice(bytes))).collect();
    journal.put(&blocks).unwrap();
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn blocks_survive_the_process_also_those_that_the_origin_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    put(&journal, &[(1, b"one"), (2, b""), (3, b"three")]);
    put(&journal, &[(1, b"another")]);
    for journal in [journal, open(folder.path())] {
        assert_eq!(journal.get(block(1)).unwrap(), b"another"[..]);
        assert_eq!(journal.get(block(2)).unwrap(), b""[..]);
        assert_eq!(journal.get(block(3)).unwrap(), b"three"[..]);
        assert!(journal.has(block(2)) && !journal.has(block(4)) && journal.get(block(4)).is_none());
    }
}

#[test]
fn files_go_when_nothing_in_them_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let large = vec![7; MAX_FILE as usize / 2];
    for n in 0..5 {
        put(&journal, &[(n, &large)]);
    }
    assert_eq!(files(folder.path()), 3);
    journal.release(&[block(0)]);
    assert_eq!(files(folder.path()), 3);
    journal.release(&[block(1)]);
    assert_eq!((files(folder.path()), journal.has(block(1)), journal.has(block(2))), (2, false, true));
    drop(journal);
    let journal = open(folder.path());
    journal.retain(|needed| needed == block(4));
    assert_eq!(files(folder.path()), 1);
    assert_eq!(journal.get(block(4)).unwrap(), large);
    put(&journal, &[(8, b"eight")]);
    journal.release(&[block(8), block(4)]);
    assert_eq!(files(folder.path()), 0, "also that which is written");
    put(&journal, &[(9, b"nine")]);
    drop(journal);
    assert_eq!(open(folder.path()).get(block(9)).unwrap(), b"nine"[..]);
}

#[test]
fn what_is_not_needed_gives_its_place_on_the_disk_back() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let bytes = vec![7; 100_000];
    for n in 0..20 {
        put(&journal, &[(2 * n, &bytes), (2 * n + 1, b"small")]);
    }
    let taken = || fs::metadata(folder.path().join("0")).unwrap().blocks() * 512;
    let before = taken();
    journal.release(&(0..38).map(block).collect::<Vec<_>>());
    if taken() == before {
        eprintln!("skipped: the filesystem of {} cannot give back parts of a file", folder.path().display());
    } else {
        assert!(taken() < before / 4, "{} of {before}", taken());
    }
    for journal in [journal, open(folder.path())] {
        assert_eq!(journal.get(block(38)).unwrap(), bytes);
        assert_eq!(journal.get(block(39)).unwrap(), b"small"[..]);
        assert!(journal.get(block(2)).is_none());
    }
}

#[test]
fn of_two_records_of_a_block_the_later_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..12u8 {
        put(&open(folder.path()), &[(1, &[round]), (u64::from(round) + 5, b"other")]);
    }
    assert_eq!(files(folder.path()), 12);
    assert_eq!(open(folder.path()).get(block(1)).unwrap(), [11][..]);
}

#[test]
fn what_is_no_part_of_it_is_removed_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("4-5-6"), b"voxels").unwrap();
    fs::write(folder.path().join("3"), b"no record").unwrap();
    open(folder.path());
    assert_eq!(files(folder.path()), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(100)))]

    #[test]
    fn damage_and_ends_cut_off_lose_blocks_and_change_none(
        blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..20),
        at in any::<proptest::sample::Index>(), bit in 0u8..8, cut: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        for (n, bytes) in blocks.iter().enumerate() {
            put(&journal, &[(n as u64, bytes)]);
        }
        drop(journal);
        let file = folder.path().join("0");
        let mut written = fs::read(&file).unwrap();
        let at = at.index(written.len());
        if cut { written.truncate(at) } else { written[at] ^= 1 << bit }
        fs::write(&file, &written).unwrap();
        let journal = open(folder.path());
        let mut before = 0;
        for (n, bytes) in blocks.iter().enumerate() {
            let end = before + HEADER + bytes.len();
            match journal.get(block(n as u64)) {
                Some(found) => prop_assert_eq!(&found[..], &bytes[..]),
                None => prop_assert!(end > at, "a block before the damage is lost"),
            }
            before = end;
        }
    }

    #[test]
    fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), lengths: [u64; 4], check: u32) {
        let folder = tempfile::tempdir().unwrap();
        let mut written = header(CellIndex([lengths[1], lengths[2], lengths[3]]), lengths[0], check).to_vec();
        written.extend(bytes);
        fs::write(folder.path().join(u32::MAX.to_string()), &written).unwrap();
        fs::write(folder.path().join("5"), &written).unwrap();
        let journal = open(folder.path());
        let _ = journal.get(CellIndex([lengths[1], lengths[2], lengths[3]]));
        put(&journal, &[(1, b"one")]);
        prop_assert_eq!(journal.get(block(1)).unwrap(), &b"one"[..]);
    }
}
