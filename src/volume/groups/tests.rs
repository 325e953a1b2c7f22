use std::collections::HashSet;

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::record::BUDGET;
use super::*;
use crate::geometry::Shape;

const GRID: Grid = Grid { shape: Shape([1600; 3]), cell: Shape([64; 3]) };
const EDGES: Edges = Edges { contiguous_group_log2: MAX_GROUP_LOG2, permitted_group_log2: MAX_GROUP_LOG2 };

/// How many blocks each batch of misses fetches that were not there yet, by a reader that asks for `cells` in
/// batches of `at_once`.
fn requests(cells: impl Iterator<Item = CellIndex>, at_once: usize) -> (usize, usize) {
    let (mut array, mut there, mut batches) = (ArrayMisses::default(), HashSet::new(), 0);
    let cells: Vec<_> = cells.collect();
    for batch in cells.chunks(at_once) {
        let missed: Vec<_> = batch.iter().copied().filter(|cell| !there.contains(cell)).collect();
        if missed.is_empty() {
            continue;
        }
        batches += 1;
        there.extend(array.neighbours(&missed, &GRID, EDGES));
        there.extend(missed);
    }
    (batches, there.len())
}

fn cube(start: [u64; 3], edge: u64) -> impl Iterator<Item = CellIndex> {
    let span = |axis: usize| start[axis]..start[axis] + edge;
    let (z, y, x) = (span(0), span(1), span(2));
    z.flat_map(move |z| {
        let x = x.clone();
        y.clone().flat_map(move |y| x.clone().map(move |x| CellIndex([z, y, x])))
    })
}

#[test]
fn a_second_miss_in_a_cube_of_two_fetches_the_rest() {
    let mut array = ArrayMisses::default();
    for lone in [CellIndex([2, 2, 2]), CellIndex([4, 2, 2])] {
        assert_eq!(array.neighbours(&[lone], &GRID, EDGES), [lone]);
    }
    let rest = array.neighbours(&[CellIndex([3, 2, 3])], &GRID, EDGES);
    assert_eq!(rest, cube([2; 3], 2).skip(1).collect::<Vec<_>>());
}

#[test]
fn a_cube_of_two_costs_at_most_two_whichever_block_comes_first() {
    for first in cube([2; 3], 2) {
        let mut array = ArrayMisses::default();
        let lone = array.neighbours(&[first], &GRID, EDGES);
        assert!(lone.contains(&first) && lone.len() <= 4 && ranges(&lone.iter().copied().collect()) == 1);
        let Some(second) = cube([2; 3], 2).find(|cell| !lone.contains(cell)) else { continue };
        let rest = array.neighbours(&[second], &GRID, EDGES);
        assert!(ranges(&rest.iter().copied().collect()) == 1 && rest.len() + lone.len() == 8);
    }
}

#[test]
fn an_aligned_block_of_two_costs_nothing_more() {
    assert_eq!(requests(cube([4; 3], 2), 8), (1, 8));
}

#[test]
fn lone_blocks_cost_one_request_each_and_few_neighbours() {
    let (batches, blocks) = requests((0..20).map(|n| CellIndex([n * 3 % 24, n * 7 % 24, n])), 1);
    assert!(batches == 20 && blocks <= 50, "{batches} batches, {blocks} blocks");
}

#[test]
fn a_reader_of_a_large_box_soon_gets_all_of_it() {
    for at_once in [1, 2, 3, 4, 8, 10, 16, 64] {
        let (batches, blocks) = requests(cube([8; 3], 8), at_once);
        assert!(batches <= 6 && blocks == 512, "{at_once} at once: {batches} batches, {blocks} blocks");
    }
}

#[test]
fn a_small_box_across_the_groups_costs_little_more_than_its_own_groups() {
    // 27 blocks in eight groups of eight; at most groups of 64 are fetched.
    for start in [[7, 7, 7], [3, 3, 3], [1, 5, 9]] {
        let (_, blocks) = requests(cube(start, 3), 10);
        assert!(blocks <= 128, "{start:?}: {blocks}");
    }
}

#[test]
fn a_row_of_blocks_fetches_groups_along_it_only() {
    assert!(requests((0..4).map(|x| CellIndex([5, 5, x])), 1).1 <= 16);
    assert!(requests((0..24).map(|x| CellIndex([4, 4, x])), 1).1 <= 240);
}

#[test]
fn groups_end_where_the_array_ends() {
    let grid = Grid { shape: Shape([64, 130, 64]), cell: Shape([64; 3]) };
    let mut array = ArrayMisses::default();
    let rest = array.neighbours(&[CellIndex([0, 0, 0]), CellIndex([0, 1, 0])], &grid, EDGES);
    assert_eq!(rest, [CellIndex([0, 0, 0]), CellIndex([0, 1, 0])]);
}

#[test]
fn without_memory_nothing_is_fetched_along() {
    let mut array = ArrayMisses::default();
    let missed = [CellIndex([0, 0, 0]), CellIndex([0, 1, 1])];
    assert_eq!(
        array.neighbours(&missed, &GRID, Edges { contiguous_group_log2: MAX_GROUP_LOG2, permitted_group_log2: 0 }),
        missed
    );
}

/// Ranges at the origin of the blocks that are new in each batch, by the order of the file: neighbours in Morton order are
/// one range.
fn ranges(new: &HashSet<CellIndex>) -> usize {
    let code = |cell: &CellIndex| {
        (0..15)
            .map(|bit| {
                cell.0.iter().rev().enumerate().map(|(axis, at)| (at >> bit & 1) << (3 * bit + axis)).sum::<u64>()
            })
            .sum::<u64>()
    };
    let codes: HashSet<u64> = new.iter().map(code).collect();
    codes.iter().filter(|&&code| code == 0 || !codes.contains(&(code - 1))).count()
}

/// A reader that has up to `window` of `reads` open at a time. They arrive in any order, any of them as late as it likes,
/// and are looked at in any batches; what an earlier one fetches may still be under way. Returns the requests and the blocks that were fetched.
fn read_by(rng: &mut ChaCha8Rng, mut reads: Vec<Vec<CellIndex>>, window: usize) -> (usize, usize) {
    let (mut array, mut there, mut requests) = (ArrayMisses::default(), HashSet::new(), 0);
    reads.reverse();
    let mut open: Vec<Vec<CellIndex>> = Vec::new();
    while !reads.is_empty() || !open.is_empty() {
        while open.len() < window
            && let Some(read) = reads.pop()
        {
            open.push(read);
        }
        let arrived = rng.random_range(1..=open.len());
        let mut missed = Vec::new();
        for _ in 0..arrived {
            let read = open.swap_remove(rng.random_range(0..open.len()));
            missed.extend(read.into_iter().filter(|cell| !there.contains(cell)));
        }
        if missed.is_empty() {
            continue;
        }
        let mut new: HashSet<CellIndex> = array.neighbours(&missed, &GRID, EDGES).into_iter().collect();
        new.extend(missed);
        new.retain(|cell| !there.contains(cell));
        requests += ranges(&new);
        there.extend(new);
    }
    (requests, there.len())
}

/// Reads of `unit`³ blocks of a box, row by row along `axes`, the fastest last.
fn rows(start: [u64; 3], edge: u64, unit: u64, axes: [usize; 3]) -> Vec<Vec<CellIndex>> {
    let turned = |cell: CellIndex| {
        let mut at = [0; 3];
        (0..3).for_each(|n| at[axes[n]] = cell.0[n]);
        at
    };
    cube([0; 3], edge / unit)
        .map(turned)
        .map(|at| cube(std::array::from_fn(|axis| start[axis] + at[axis] * unit), unit).collect())
        .collect()
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn an_aligned_box_of_eight_costs_at_most_the_budget_however_its_misses_come() {
    for seed in 0..u64::from(crate::test_cases(1000)) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let unit = [1, 2, 4][rng.random_range(0..3)];
        let mut reads = rows([8; 3], 8, unit, ORDERS[rng.random_range(0..6)]);
        if seed % 2 == 1 {
            reads.shuffle(&mut rng);
        }
        let window = rng.random_range(1..=10);
        let (requests, blocks) = read_by(&mut rng, reads, window);
        assert!(requests <= BUDGET, "seed {seed}: {requests} requests in a window of {window} reads of {unit}³ blocks");
        assert_eq!(blocks, 512);
    }
}

#[test]
fn a_reader_of_small_boxes_gets_few_blocks_of_other_groups() {
    for window in [1, 4, 10, 27] {
        let (mut blocks, boxes) = (0, 300);
        for seed in 0..boxes {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let corner = std::array::from_fn(|_| rng.random_range(0..16));
            blocks += read_by(&mut rng, rows(corner, 3, 1, ORDERS[0]), window).1;
        }
        let most = if window == 1 { 300 } else { 128 };
        assert!(blocks / (boxes as usize) < most, "{window} at once: {} blocks a box", blocks / boxes as usize);
    }
}

#[test]
fn blocks_that_are_missed_again_begin_a_new_budget() {
    let mut array = ArrayMisses::default();
    for _ in 0..20 {
        assert_eq!(array.neighbours(&[CellIndex([2, 2, 2])], &GRID, EDGES), [CellIndex([2, 2, 2])]);
    }
}
