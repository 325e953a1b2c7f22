use proptest::prelude::*;

use super::*;

fn numbers(rows: [&[u64]; 3]) -> Vec<u8> {
    rows.concat().iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[test]
fn codes_and_positions_are_differences() {
    let index = Minishard::parse(&numbers([&[7, 1, 4], &[100, 0, 50], &[10, 20, 30]])).unwrap();
    assert_eq!(index.find(7), Some((100, 10)));
    assert_eq!(index.find(8), Some((110, 20)));
    assert_eq!(index.find(12), Some((180, 30)));
    assert_eq!([6, 9, 13].map(|code| index.find(code)), [None; 3]);
}

#[test]
fn an_empty_index_has_no_chunk() {
    assert_eq!(Minishard::parse(&[]).unwrap().find(0), None);
}

#[test]
fn a_chunk_may_lie_before_the_one_with_the_code_below() {
    let index = Minishard::parse(&numbers([&[0, 1, 1], &[100, 80u64.wrapping_neg(), 0], &[10, 20, 30]])).unwrap();
    assert_eq!([0, 1, 2].map(|code| index.find(code)), [Some((100, 10)), Some((30, 20)), Some((50, 30))]);
}

#[test]
fn a_broken_index_is_an_error() {
    let error = |rows| Minishard::parse(&numbers(rows)).unwrap_err();
    assert!(Minishard::parse(&[0; 25]).unwrap_err().contains("25 bytes are no whole number of entries"));
    assert!(error([&[7, 0], &[0, 0], &[1, 1]]).contains("chunk 7 is listed twice"));
    assert!(error([&[7, u64::MAX], &[0, 0], &[1, 1]]).contains("beyond 64 bits"));
    assert!(error([&[7, 1], &[5, u64::MAX - 8], &[1, 9]]).contains("beyond 64 bits"));
    assert!(error([&[7], &[5], &[u64::MAX]]).contains("beyond 64 bits"));
}

#[test]
fn an_entry_of_a_shard_is_a_range_or_nothing() {
    let entry = |start: u64, end: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&start.to_le_bytes());
        bytes[8..].copy_from_slice(&end.to_le_bytes());
        shard_entry(bytes)
    };
    assert_eq!(entry(3, 10), Ok(Some(3..10)));
    assert_eq!(entry(u64::MAX, u64::MAX), Ok(None));
    assert!(entry(10, 3).unwrap_err().contains("before its start"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn what_is_written_is_found(entries in proptest::collection::vec((1u64..9, 0u64..9, 1u64..9), 0..40)) {
        let (mut code, mut end) = (0, 0);
        let rows: [Vec<u64>; 3] =
            [entries.iter().map(|e| e.0).collect(), entries.iter().map(|e| e.1).collect(), entries.iter().map(|e| e.2).collect()];
        let index = Minishard::parse(&numbers([&rows[0], &rows[1], &rows[2]])).unwrap();
        for (step, gap, length) in entries {
            code += step;
            prop_assert_eq!(index.find(code), Some((end + gap, length)));
            end += gap + length;
        }
    }

    #[test]
    fn no_bytes_make_an_index_panic_or_a_chunk_end_beyond_64_bits(bytes in proptest::collection::vec(any::<u8>(), 0..240), code in any::<u64>()) {
        if let Ok(index) = Minishard::parse(&bytes) {
            let _ = index.find(code);
            for (start, length) in &index.ranges {
                prop_assert!(start.checked_add(*length).is_some());
            }
        }
    }
}
