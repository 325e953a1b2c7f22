use proptest::prelude::*;

use super::rule::{HalvedRanges, downsample};
use super::*;
use crate::dtype::{DataType, FillValue};
use crate::source::{SourceLevel, StorageFormat};

fn description(shape: [u64; 3], chunk: Option<[u64; 3]>, offset: [i64; 3]) -> Description {
    let grid = Grid { shape: Shape(shape), cell: Shape(chunk.unwrap_or([1, 256, shape[2]])) };
    Description {
        dtype: DataType::U8,
        levels: vec![SourceLevel { grid, scale: None, translation: [0.0; 3], offset }],
        fill: FillValue::zero(DataType::U8),
        window: None,
        format: StorageFormat::for_tests(),
        downsampling: None,
        chunked: chunk.is_some(),
    }
}

fn shapes(shape: [u64; 3], size: [f64; 3]) -> Vec<[u64; 3]> {
    levels(&description(shape, None, [0; 3]), size.map(Some)).iter().map(|level| level.grid.shape.0).collect()
}

#[test]
fn the_levels_of_the_built_in_datasets_are_those_that_were_agreed() {
    assert_eq!(shapes([1065, 1536, 2048], [5.0; 3]), [[533, 768, 1024], [267, 384, 512]]);
    assert_eq!(shapes([184, 775, 1121], [8.0; 3]), [[92, 388, 561]]);
    let empiar = [[16, 2750, 2748], [16, 1375, 1374], [16, 688, 687], [16, 344, 344]];
    assert_eq!(shapes([16, 5500, 5496], [70.0, 8.0, 8.0]), empiar);
    assert_eq!(shapes([16, 5500, 5496], [8.0; 3]), empiar, "what is short is never halved and stops nothing");
}

#[test]
fn thick_sections_are_halved_last() {
    let found = shapes([1000, 8000, 8000], [50.0, 8.0, 8.0]);
    assert_eq!(found[..4], [[1000, 4000, 4000], [1000, 2000, 2000], [500, 1000, 1000], [250, 500, 500]]);
    assert_eq!(shapes([70, 50, 3000], [1.0, 1.0, 1.0]), [[35, 50, 1500], [35, 50, 750], [35, 50, 375]]);
}

#[test]
fn labels_can_go_on_however_short_their_axes_are_and_begin_as_all_do() {
    for (shape, chunk, size) in [
        ([20, 30, 60], None, [16.0; 3]),
        ([1, 1, 1], None, [8.0, 4.0, 4.0]),
        ([16, 5500, 5496], None, [70.0, 8.0, 8.0]),
        ([90, 131, 1407], Some([32, 64, 128]), [16.0, 8.0, 8.0]),
    ] {
        let description = description(shape, chunk, [3, 0, -5]);
        let common = levels(&description, size.map(Some));
        let mut all = common.clone();
        extend(&mut all, &description, size.map(Some));
        assert_eq!((all.len(), &all[..common.len()]), (MAX_LEVELS, &common[..]));
        let mut below = Shape(shape);
        for level in &all {
            assert!(level.factors != [1; 3] && level.below == below, "{level:?}");
            assert!(level.grid.shape.0.iter().all(|extent| *extent > 0), "{level:?}");
            assert_eq!(
                level.below(&level.grid.shape.region()),
                below.region(),
                "all of it lies over all of the one below"
            );
            below = level.grid.shape;
        }
    }
    let mut small = Vec::new();
    extend(&mut small, &description([20, 30, 60], None, [0; 3]), [Some(8.0), Some(4.0), Some(4.0)]);
    assert_eq!(small[..2].iter().map(|level| level.grid.shape.0).collect::<Vec<_>>(), [[20, 15, 30], [10, 8, 15]]);
    let mut stored = description([20, 30, 60], None, [0; 3]);
    stored.levels.push(stored.levels[0].clone());
    let mut none = Vec::new();
    extend(&mut none, &stored, [None; 3]);
    assert!(none.is_empty(), "a source with levels of its own gets none");
}

#[test]
fn small_planes_sources_with_levels_and_unknown_sizes() {
    assert!(shapes([9000, 640, 640], [1.0; 3]).is_empty());
    let mut two = description([100, 1000, 1000], None, [0; 3]);
    assert_eq!(levels(&two, [None; 3]), levels(&two, [Some(3.0); 3]));
    assert_eq!(levels(&two, [None, Some(4.0), Some(4.0)]), levels(&two, [Some(4.0); 3]));
    two.levels.push(two.levels[0].clone());
    assert!(levels(&two, [None; 3]).is_empty());
}

#[test]
fn blocks_are_parts_of_planes_or_the_chunks_of_the_source() {
    let planes = levels(&description([100, 1000, 1300], None, [0; 3]), [None; 3]);
    let cells: Vec<[u64; 3]> = planes.iter().map(|level| level.grid.cell.0).collect();
    assert_eq!(cells, [[1, 500, 512], [1, 250, 325]]);
    let chunked = levels(&description([100, 1000, 1300], Some([32, 64, 64]), [0; 3]), [None; 3]);
    assert!(chunked.iter().all(|level| level.grid.cell == Shape([32, 64, 64])));
}

#[test]
fn voxels_lie_where_their_positions_say_and_not_their_indices() {
    let found = levels(&description([100, 1001, 1000], Some([64; 3]), [3, -5, 8]), [None; 3]);
    assert_eq!((found[0].offset, found[0].grid.shape.0), ([1, -3, 4], [51, 501, 500]));
    // Position 3 is the second half of voxel 1, -5 of voxel -3.
    assert_eq!((found[0].phase, found[0].centre()), ([-1, -1, 0], [-0.5, -0.5, 0.5]));
    assert_eq!(found[0].below(&Region { start: [0; 3], end: [1; 3] }), Region { start: [0; 3], end: [1, 1, 2] });
    assert_eq!(found[0].below(&Region { start: [50; 3], end: [51; 3] }).end, [100, 101, 102]);
}

/// Bytes of numbers.
fn bytes<const N: usize, T: Copy>(values: &[T], le: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| le(*value)).collect()
}

fn of_pairs(rule: DownsamplingRule, dtype: DataType, below: &[u8]) -> Vec<u8> {
    let count = below.len() / dtype.size();
    let pairs: Vec<(usize, usize)> = (0..count.div_ceil(2)).map(|x| (2 * x, (2 * x + 2).min(count))).collect();
    let windows = HalvedRanges { z: &[(0, 1)], y: &[(0, 1)], x: &pairs };
    downsample(rule, dtype, below, [1, count], &windows).unwrap()
}

#[test]
fn halves_are_rounded_to_the_even_number_whatever_the_type() {
    assert_eq!(
        of_pairs(DownsamplingRule::Mean, DataType::U8, &[0, 1, 1, 2, 2, 3, 3, 4, 254, 255, 7]),
        [0, 2, 2, 4, 254, 7]
    );
    let i16 = |values: &[i16]| bytes(values, i16::to_le_bytes);
    let signed = [-1, 0, -2, -1, -3, -2, -4, -3, 0, 1, 1, 2];
    assert_eq!(of_pairs(DownsamplingRule::Mean, DataType::I16, &i16(&signed)), i16(&[0, -2, -2, -4, 0, 2]));
    let u64 = |values: &[u64]| bytes(values, u64::to_le_bytes);
    let large = [u64::MAX, u64::MAX - 1, (1 << 53) + 1, (1 << 53) + 2, u64::MAX, u64::MAX];
    assert_eq!(
        of_pairs(DownsamplingRule::Mean, DataType::U64, &u64(&large)),
        u64(&[u64::MAX - 1, (1 << 53) + 2, u64::MAX])
    );
    let i64 = |values: &[i64]| bytes(values, i64::to_le_bytes);
    let extreme = [i64::MAX, i64::MAX, i64::MIN, i64::MIN, i64::MIN, i64::MAX];
    assert_eq!(of_pairs(DownsamplingRule::Mean, DataType::I64, &i64(&extreme)), i64(&[i64::MAX, i64::MIN, 0]));
}

#[test]
fn the_most_frequent_label_wins_and_of_several_the_smallest() {
    let u64 = |values: &[u64]| bytes(values, u64::to_le_bytes);
    let of_cube = |values: [u64; 8]| {
        let windows = HalvedRanges { z: &[(0, 2)], y: &[(0, 2)], x: &[(0, 2)] };
        downsample(DownsamplingRule::Mode, DataType::U64, &u64(&values), [2, 2], &windows).unwrap()
    };
    let large = (1 << 60) + 1;
    assert_eq!(of_cube([large, 5, large, 5, large, 7, 8, 9]), u64(&[large]));
    assert_eq!(of_cube([large, 5, large, 5, 9, 8, 7, 6]), u64(&[5]));
    assert_eq!(of_cube([8, 7, 6, 5, 4, 3, 2, 1]), u64(&[1]));
    assert_eq!(of_pairs(DownsamplingRule::Mode, DataType::I8, &[3, 251, 0, 255, 9]), [251, 255, 9]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn parts_make_the_block_and_are_not_made_of_much(
        shape in [1u64..40, 700u64..900, 650u64..900], cell in [1u64..9, 1u64..300, 1u64..300],
        block in [0u64..3, 0u64..3, 0u64..3], most in 1u64..1 << 20, offset in [-9i64..9, -9i64..9, -9i64..9],
    ) {
        let found = levels(&description(shape, Some(cell), offset), [None; 3]);
        let level = &found[0];
        let counts = level.grid.counts();
        let region = level.grid.region(CellIndex(std::array::from_fn(|axis| block[axis].min(counts[axis] - 1))));
        let below = Grid { shape: Shape(shape), cell: Shape(cell) };
        let parts = parts::parts(level, region, &below, 2, most);
        let voxels: u64 = parts.iter().map(|part| part.shape().voxels().unwrap()).sum();
        prop_assert_eq!(Some(voxels), region.shape().voxels());
        for part in &parts {
            prop_assert_eq!(part.intersection(&region), Some(*part));
            let made_of = level.below(part);
            prop_assert_eq!(made_of.intersection(&below.shape.region()), Some(made_of));
            prop_assert!(made_of.shape().bytes(2).unwrap() <= 2 * most + 64 * cell[1] * cell[2] || part.shape().voxels() == Some(1));
        }
    }
}
