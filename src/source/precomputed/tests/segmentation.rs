use proptest::prelude::*;

use super::*;

/// Encodes channels of a chunk as the format says, with the bits that are asked for where they suffice.
fn encode<const N: usize>(channels: &[Vec<u64>], block: [usize; 3], chunk: [usize; 3], least_bits: u32) -> Vec<u8> {
    let mut words = vec![0u32; channels.len()];
    for (number, voxels) in channels.iter().enumerate() {
        words[number] = words.len() as u32;
        let counts: [usize; 3] = std::array::from_fn(|axis| chunk[axis].div_ceil(block[axis]));
        let mut data = vec![0u32; 2 * counts.iter().product::<usize>()];
        for b in 0..counts.iter().product::<usize>() {
            let at = [b / (counts[1] * counts[2]), b / counts[2] % counts[1], b % counts[2]];
            let mut lookup_table: Vec<u64> = Vec::new();
            let mut indices = vec![0u32; block.iter().product()];
            for (i, index) in indices.iter_mut().enumerate() {
                let within = [i / (block[1] * block[2]), i / block[2] % block[1], i % block[2]];
                let place: [usize; 3] = std::array::from_fn(|axis| at[axis] * block[axis] + within[axis]);
                if (0..3).any(|axis| place[axis] >= chunk[axis]) {
                    continue;
                }
                let value = voxels[(place[0] * chunk[1] + place[1]) * chunk[2] + place[2]];
                *index = lookup_table.iter().position(|known| *known == value).unwrap_or_else(|| {
                    lookup_table.push(value);
                    lookup_table.len() - 1
                }) as u32;
            }
            let needed =
                [0, 1, 2, 4, 8, 16, 32].into_iter().find(|&bits| lookup_table.len() as u64 <= 1 << bits).unwrap();
            let bits: u32 = needed.max(least_bits);
            let values_at = data.len() as u32;
            let mut packed = vec![0u32; (indices.len() * bits as usize).div_ceil(32)];
            for (i, index) in indices.iter().enumerate().filter(|_| bits > 0) {
                packed[i * bits as usize / 32] |= index << (i * bits as usize % 32);
            }
            data.extend(packed);
            let lookup_table_at = data.len() as u32;
            for value in lookup_table {
                data.extend([value as u32, (value >> 32) as u32].into_iter().take(N / 4));
            }
            data[2 * b] = lookup_table_at | bits << 24;
            data[2 * b + 1] = values_at;
        }
        words.extend(data);
    }
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn blocks(extents: [usize; 3]) -> BlockShape {
    BlockShape::new(extents.map(|extent| extent as u64)).unwrap()
}

fn extents(most: usize) -> impl Strategy<Value = [usize; 3]> {
    [1..=most, 1..=most, 1..=most]
}

#[test]
fn one_value_takes_no_indices() {
    let raw = encode::<8>(&[vec![7 << 40; 27]], [2, 2, 2], [3, 3, 3], 0);
    let decoded = decode::<8>(&raw, blocks([2, 2, 2]), (0, 1), [3, 3, 3]).unwrap();
    assert_eq!(decoded, (7u64 << 40).to_le_bytes().repeat(27));
}

#[test]
fn what_leads_behind_the_end_is_an_error() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let one = |raw: &[u8]| decode::<4>(raw, blocks([1, 1, 2]), (0, 1), [1, 1, 2]).unwrap_err();
    assert!(one(&[0; 7]).contains("no whole number of words"));
    assert!(one(&[]).contains("too few for 1 channels"));
    assert!(one(&words(&[9])).contains("begins behind the end"));
    assert!(one(&words(&[1])).contains("its header is behind the end"));
    assert!(one(&words(&[1, 0xff_ffff, 0])).contains("its table is behind the end"));
    assert!(one(&words(&[1, 2, 0])).contains("behind the end of its table"));
    assert!(one(&words(&[1, 1 << 24, 9])).contains("its indices are behind the end"));
    assert!(one(&words(&[1, 1 << 24, 2])).contains("its indices go on behind the end"));
    assert!(one(&words(&[1, 3 << 24, 0])).contains("bits per voxel"));
    assert!(one(&words(&[1, 3 | 1 << 24, 2, 2])).contains("behind the end of its table"));
}

#[test]
fn a_block_is_not_empty_and_not_beyond_a_gibibyte() {
    assert_eq!(BlockShape::new([0, 8, 8]), None);
    assert_eq!(BlockShape::new([1 << 10, 1 << 10, 1 << 9]), None);
    assert_eq!(BlockShape::new([u64::MAX; 3]), None);
    assert!(BlockShape::new([1 << 10, 1 << 10, 1 << 8]).is_some());
    assert_eq!(BlockShape::new([1 << 28, 1, 1]).unwrap().longest([u64::MAX; 3], 8), u64::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn what_was_encoded_is_decoded(
        chunk in extents(9), block in extents(6), channels in 1usize..4, different in 1u64..400, least_bits in prop::sample::select(vec![0, 1, 2, 4, 8, 16, 32]),
        seed in any::<u64>(),
    ) {
        let voxels: usize = chunk.iter().product();
        let value = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed) % different * 0x1_0000_0001;
        let plain: Vec<Vec<u64>> = (0..channels as u64).map(|c| (0..voxels as u64).map(|n| value(n + c * 977)).collect()).collect();
        let long = encode::<8>(&plain, block, chunk, least_bits);
        let short = encode::<4>(&plain, block, chunk, least_bits);
        prop_assert!(long.len() as u64 <= channels as u64 * (4 + blocks(block).longest(chunk.map(|n| n as u64), 8)));
        prop_assert!(short.len() as u64 <= channels as u64 * (4 + blocks(block).longest(chunk.map(|n| n as u64), 4)));
        for (number, voxels) in plain.iter().enumerate() {
            let expected: Vec<u8> = voxels.iter().flat_map(|value| value.to_le_bytes()).collect();
            prop_assert_eq!(decode::<8>(&long, blocks(block), (number, channels), chunk).unwrap(), expected);
            let expected: Vec<u8> = voxels.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect();
            prop_assert_eq!(decode::<4>(&short, blocks(block), (number, channels), chunk).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_damaged_is_an_error_or_has_the_right_length(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), is_cut in any::<bool>(),
    ) {
        let plain: Vec<u64> = (0..5 * 6 * 7).map(|n| n % 23).collect();
        let mut raw = encode::<8>(&[plain], [2, 4, 3], [5, 6, 7], 0);
        for (at, byte) in changes {
            let at = at.index(raw.len());
            raw[at] = byte;
        }
        if is_cut {
            raw.truncate(cut.index(raw.len()));
        }
        if let Ok(decoded) = decode::<8>(&raw, blocks([2, 4, 3]), (0, 1), [5, 6, 7]) {
            prop_assert_eq!(decoded.len(), 5 * 6 * 7 * 8);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(prop_oneof![0u32..16, any::<u32>()], 0..80), chunk in extents(5), block in extents(7), channels in 0usize..4,
    ) {
        let raw: Vec<u8> = bytes.into_iter().flat_map(u32::to_le_bytes).collect();
        let _ = decode::<4>(&raw, blocks(block), (channels.saturating_sub(1), channels), chunk);
        let _ = decode::<8>(&raw, blocks(block), (0, channels), chunk);
    }
}
