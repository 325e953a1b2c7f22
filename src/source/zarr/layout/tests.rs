use proptest::prelude::*;

use super::{ByteOrder, ChunkLayout, c_order, f_order};

/// Storage of a chunk whose voxel at logical index `i` (C order) holds the number `i`, written axis by axis.
fn stored(chunk: &[u64], axes: &[usize], item_size: usize, order: ByteOrder) -> Vec<u8> {
    let count: u64 = chunk.iter().product();
    let mut bytes = Vec::new();
    for position in 0..count {
        // Indices along the axes of storage, the last being the fastest.
        let mut rest = position;
        let mut index = vec![0; chunk.len()];
        for &axis in axes.iter().rev() {
            index[axis] = rest % chunk[axis];
            rest /= chunk[axis];
        }
        let number = index.iter().zip(chunk).fold(0, |number, (i, extent)| number * extent + i);
        let little = &number.to_le_bytes()[..item_size];
        match order {
            ByteOrder::Little => bytes.extend_from_slice(little),
            ByteOrder::Big => bytes.extend(little.iter().rev()),
        }
    }
    bytes
}

#[test]
fn a_whole_chunk_is_not_copied_and_a_part_keeps_nothing_else_in_memory() {
    let layout = ChunkLayout::new(&[2, 3, 4], &c_order(3), 2, ByteOrder::Little);
    let bytes = bytes::Bytes::from(stored(&[2, 3, 4], &c_order(3), 2, ByteOrder::Little));
    for shape in [[2, 3, 4], [1, 3, 4], [1, 2, 4], [1, 1, 3], [2, 2, 4]] {
        let out = layout.extract(bytes.clone(), 0, [0, 1, 2], shape).unwrap();
        assert_eq!(out.as_ptr() == bytes.as_ptr(), shape == [2, 3, 4]);
        assert_eq!(out.len(), shape.iter().product::<usize>() * 2);
    }
}

#[test]
fn more_voxels_than_a_chunk_holds_are_none() {
    let layout = ChunkLayout::new(&[2, 3, 4], &f_order(3), 2, ByteOrder::Big);
    let bytes = bytes::Bytes::from(vec![0; 48]);
    for shape in [[3, 3, 4], [2, 3, 5], [usize::MAX, 3, 4], [2, 0, 4]] {
        assert_eq!(layout.extract(bytes.clone(), 0, [0, 1, 2], shape), None, "{shape:?}");
    }
    assert_eq!(layout.extract(bytes.slice(..47), 0, [0, 1, 2], [2, 3, 4]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(300)))]

    #[test]
    fn every_order_comes_out_as_c_order_little_endian(
        chunk in prop::collection::vec(1u64..6, 3..=5), item_size in prop::sample::select(&[1usize, 2, 4, 8][..]),
        big in any::<bool>(), keys in prop::collection::vec(any::<u32>(), 5), cut in [0u64..6, 0u64..6, 0u64..6],
        kept in any::<prop::sample::Index>(),
    ) {
        let rank = chunk.len();
        let mut axes = c_order(rank);
        axes.sort_by_key(|&axis| keys[axis]);
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        // Every ascending choice of three axes.
        let choices: Vec<[usize; 3]> = (0..rank)
            .flat_map(|a| (a + 1..rank).flat_map(move |b| (b + 1..rank).map(move |c| [a, b, c])))
            .collect();
        let kept = *kept.get(&choices);
        let shape: [usize; 3] = std::array::from_fn(|i| (chunk[kept[i]] - cut[i].min(chunk[kept[i]] - 1)) as usize);
        let layout = ChunkLayout::new(&chunk, &axes, item_size, order);
        let out = layout.extract(stored(&chunk, &axes, item_size, order).into(), 0, kept, shape).unwrap();
        let strides: Vec<u64> = (0..rank).map(|axis| chunk[axis + 1..].iter().product()).collect();
        let mut expected = Vec::new();
        for z in 0..shape[0] as u64 {
            for y in 0..shape[1] as u64 {
                for x in 0..shape[2] as u64 {
                    let number = z * strides[kept[0]] + y * strides[kept[1]] + x * strides[kept[2]];
                    expected.extend_from_slice(&number.to_le_bytes()[..item_size]);
                }
            }
        }
        prop_assert_eq!(out.to_vec(), expected);
    }
}
