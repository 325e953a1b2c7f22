//! Compressed Morton codes: the number of a chunk in a sharded volume.
//!
//! The bits of the three indices are interleaved from the lowest up, x first. An axis gives no more bits than its
//! largest index has, so that the codes are as short as the grid allows.

/// Bits that the largest index of an axis of `count` chunks has.
fn bits(count: u64) -> u32 {
    u64::BITS - count.saturating_sub(1).leading_zeros()
}

/// Bits of the code in a grid of `counts` chunks along `z, y, x`.
pub(super) fn code_bits(counts: [u64; 3]) -> u32 {
    counts.map(bits).iter().sum()
}

/// Bits of the code that differ inside an aligned group of 2^`edge` chunks along each axis. They are the lowest ones.
pub(super) fn group_bits(counts: [u64; 3], edge: u32) -> u32 {
    counts.map(|count| bits(count).min(edge)).iter().sum()
}

/// The code of chunk `index` in a grid of `counts` chunks, both `z, y, x`; `None` where it has more than 64 bits or the
/// chunk lies outside the grid.
pub(super) fn code(index: [u64; 3], counts: [u64; 3]) -> Option<u64> {
    if code_bits(counts) > u64::BITS || (0..3).any(|axis| index[axis] >= counts[axis]) {
        return None;
    }
    let (mut code, mut place) = (0, 0);
    for bit in 0..u64::BITS {
        for axis in [2, 1, 0] {
            if bit < bits(counts[axis]) {
                code |= ((index[axis] >> bit) & 1) << place;
                place += 1;
            }
        }
    }
    Some(code)
}

/// Whether a chunk of the grid has that code.
pub(super) fn is_code(code: u64, counts: [u64; 3]) -> bool {
    if code_bits(counts) > u64::BITS || code.checked_shr(code_bits(counts)).is_some_and(|rest| rest != 0) {
        return false;
    }
    let (mut index, mut place) = ([0u64; 3], 0);
    for bit in 0..u64::BITS {
        for axis in [2, 1, 0] {
            if bit < bits(counts[axis]) {
                index[axis] |= ((code >> place) & 1) << bit;
                place += 1;
            }
        }
    }
    (0..3).all(|axis| index[axis] < counts[axis])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// The same with `x, y, z`, as the vectors are written.
    fn xyz(index: [u64; 3], counts: [u64; 3]) -> u64 {
        let turned = |[x, y, z]: [u64; 3]| [z, y, x];
        code(turned(index), turned(counts)).unwrap()
    }

    #[test]
    fn the_vectors_of_cloud_volume_hold() {
        assert_eq!(xyz([2, 0, 0], [3, 3, 3]), 0b1000);
        assert_eq!(xyz([2, 2, 0], [3, 3, 3]), 0b11000);
        assert_eq!(xyz([2, 2, 1], [3, 3, 3]), 0b11100);
        assert_eq!(xyz([1, 2, 0], [2, 3, 1]), 0b101);
        assert_eq!(xyz([3, 3, 0], [4, 4, 1]), 0b1111);
        assert_eq!(xyz([5, 5, 0], [8, 8, 2]), 0b110_0011);
    }

    #[test]
    fn the_hemibrain_s_grid_gives_the_known_codes() {
        let grid = [538, 621, 647];
        assert_eq!(xyz([234, 281, 281], grid), 103_083_534);
        assert_eq!(xyz([268, 310, 323], grid), 118_563_572);
        assert_eq!(xyz([537, 620, 646], grid), 948_508_577);
    }

    #[test]
    fn a_grid_of_one_chunk_has_a_code_without_bits() {
        assert_eq!(code([0; 3], [1; 3]), Some(0));
        assert_eq!(code([0, 0, 1], [1; 3]), None);
    }

    #[test]
    fn a_grid_too_large_for_64_bits_has_no_codes() {
        assert_eq!(code([0; 3], [1 << 22, 1 << 22, 1 << 21]), None);
        assert_eq!(code([0; 3], [1 << 22, 1 << 21, 1 << 21]), Some(0));
        assert_eq!(code([0; 3], [u64::MAX; 3]), None);
    }

    #[test]
    fn codes_of_64_bits_are_told_from_others() {
        let counts = [1 << 22, 1 << 21, 1 << 21];
        assert!(is_code(u64::MAX, counts) && is_code(0, counts));
        assert!(!is_code(u64::MAX, [1 << 22, 1 << 21, (1 << 21) - 1]));
        assert!(!is_code(0, [u64::MAX; 3]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(32)))]

        #[test]
        fn the_codes_of_a_grid_are_those_of_its_chunks(counts in proptest::array::uniform3(1u64..9), far in any::<u64>()) {
            let all = (0..counts[0]).flat_map(|z| (0..counts[1]).flat_map(move |y| (0..counts[2]).map(move |x| [z, y, x])));
            let codes: HashSet<u64> = all.map(|index| code(index, counts).unwrap()).collect();
            for code in (0..1 << 13).chain([far, u64::MAX]) {
                prop_assert_eq!(is_code(code, counts), codes.contains(&code));
            }
        }

        #[test]
        fn every_chunk_has_a_code_of_its_own(counts in proptest::array::uniform3(1u64..9)) {
            let mut seen = HashSet::new();
            for z in 0..counts[0] {
                for y in 0..counts[1] {
                    for x in 0..counts[2] {
                        let code = code([z, y, x], counts).unwrap();
                        prop_assert!(code >> code_bits(counts) == 0);
                        prop_assert!(seen.insert(code));
                    }
                }
            }
        }

        #[test]
        fn the_chunks_of_a_group_share_the_higher_bits(
            counts in proptest::array::uniform3(1u64..200), part in proptest::array::uniform3(0u64..200), edge in 0u32..4,
        ) {
            let index: [u64; 3] = std::array::from_fn(|axis| part[axis] % counts[axis]);
            let first = index.map(|i| i >> edge << edge);
            let shift = group_bits(counts, edge);
            prop_assert_eq!(code(index, counts).unwrap() >> shift, code(first, counts).unwrap() >> shift);
        }
    }
}
