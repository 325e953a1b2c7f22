use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn layout(shape: [u64; 3], chunk: [u64; 3], shard: Option<[u64; 3]>, origin: [u64; 3], block: [u64; 3]) -> ArrayLayout {
    let native = Shape(std::array::from_fn(|axis| shape[axis] + origin[axis] + 3));
    let chunks = Grid { shape: Shape(shape), cell: Shape(chunk) };
    ArrayLayout::new(chunks, shard.map(Shape), origin, Grid { shape: native, cell: Shape(block) }, 1, 200)
}

fn triple(most: u64) -> impl Strategy<Value = [u64; 3]> {
    [1..=most, 1..=most, 1..=most]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(200)))]

    #[test]
    fn every_chunk_is_in_exactly_one_batch(
        shape in triple(30), chunk in triple(8), times in triple(3), sharded: bool, origin in triple(9), block in triple(12),
    ) {
        let shard = sharded.then(|| std::array::from_fn(|axis| chunk[axis] * times[axis]));
        let layout = layout(shape, chunk, shard, origin, block);
        let batches: Vec<Batch> = layout.batches().collect();
        prop_assert_eq!(batches.len() as u64, layout.batch_count());
        prop_assert!(batches.iter().all(|batch| layout.batch(batch.number) == *batch));
        let numbers: HashSet<u64> = batches.iter().map(|batch| batch.number).collect();
        prop_assert!(numbers.len() == batches.len() && numbers.iter().all(|number| *number < layout.batch_count()));
        let cells: Vec<CellIndex> = batches.iter().flat_map(Batch::cells).collect();
        let all: HashSet<CellIndex> = layout.chunks.cells_in(&layout.chunks.shape.region()).collect();
        prop_assert_eq!(cells.len(), all.len());
        prop_assert_eq!(cells.into_iter().collect::<HashSet<_>>(), all);
    }

    #[test]
    fn a_block_belongs_to_the_batches_whose_chunks_need_it(
        shape in triple(30), chunk in triple(8), origin in triple(9), block in triple(12),
    ) {
        let layout = layout(shape, chunk, None, origin, block);
        let mut needed: HashSet<(CellIndex, u64)> = HashSet::new();
        for batch in layout.batches() {
            for cell in batch.cells() {
                for block in layout.blocks_of(cell) {
                    prop_assert!(layout.chunks_with(block).any(|chunk| chunk == cell));
                    needed.insert((block, batch.number));
                }
            }
        }
        let blocks: HashSet<CellIndex> = needed.iter().map(|(block, _)| *block).collect();
        let told: HashSet<(CellIndex, u64)> =
            blocks.iter().flat_map(|block| layout.batches_with(*block).map(|number| (*block, number))).collect();
        prop_assert_eq!(needed, told);
    }
}

#[test]
fn batches_hold_whole_bands_of_planes_where_memory_allows() {
    let chunks = Grid { shape: Shape([64, 512, 512]), cell: Shape([16, 128, 128]) };
    let native = Grid { shape: Shape([64, 512, 512]), cell: Shape([1, 512, 512]) };
    let layout = ArrayLayout::new(chunks, None, [0; 3], native, 1, 4 << 20);
    assert_eq!(layout.batches().next().unwrap().chunks, [0..1, 0..4, 0..4]);
    let small = ArrayLayout::new(chunks, None, [0; 3], native, 1, 1 << 20);
    assert_eq!(small.batches().next().unwrap().chunks, [0..1, 0..1, 0..4]);
}

#[test]
fn shards_are_worked_on_one_after_the_other() {
    let layout = layout([8, 8, 8], [2, 2, 2], Some([4, 4, 4]), [0; 3], [3, 3, 3]);
    let mut shards: Vec<CellIndex> =
        layout.batches().flat_map(|batch| batch.cells().collect::<Vec<_>>()).map(|cell| layout.file_of(cell)).collect();
    shards.dedup();
    assert_eq!(shards.len(), 8);
}
