use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::*;

fn cells(first: [u64; 3], extents: [u64; 3]) -> Vec<CellIndex> {
    Hull { first, last: std::array::from_fn(|axis| first[axis] + extents[axis] - 1) }.cells().collect()
}

const COUNTS: [u64; 3] = [1000; 3];

/// Readers that ask for boxes one after the other, four blocks at a time, with an origin that takes 20 ms.
struct Readers {
    /// Whether they ask for the blocks of a box as they lie in an array, or in no order.
    in_order: bool,
    boxes: Boxes,
    now: Instant,
    random: ChaCha8Rng,
    ahead: HashSet<CellIndex>,
    asked: HashSet<CellIndex>,
}

impl Readers {
    fn new(seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Readers {
            in_order: false,
            boxes: Boxes::default(),
            now: Instant::now(),
            random,
            ahead: HashSet::new(),
            asked: HashSet::new(),
        }
    }

    /// Reads boxes beside each other, and returns how often the origin was waited for.
    fn read(&mut self, boxes: &[([u64; 3], [u64; 3])]) -> usize {
        let mut left: Vec<Vec<CellIndex>> = boxes.iter().map(|&(first, extents)| cells(first, extents)).collect();
        left.iter_mut().for_each(|cells| match self.in_order {
            true => cells.reverse(),
            false => cells.shuffle(&mut self.random),
        });
        let mut rounds = 0;
        while left.iter().any(|cells| !cells.is_empty()) {
            let mut growing = Vec::new();
            for cells in &mut left {
                let mut waits = 0;
                while waits < 4
                    && let Some(cell) = cells.pop()
                {
                    // The kernel has it.
                    if self.asked.contains(&cell) {
                        continue;
                    }
                    growing.extend(self.boxes.note(&[cell], COUNTS, self.now));
                    waits += usize::from(!self.ahead.contains(&cell));
                    self.asked.insert(cell);
                    self.now += Duration::from_micros(100);
                }
            }
            self.ahead.extend(growing.into_iter().flat_map(|number| self.boxes.rest(number, COUNTS)));
            self.now += Duration::from_millis(20);
            rounds += 1;
        }
        rounds
    }

    fn corner(&mut self, below: u64) -> [u64; 3] {
        std::array::from_fn(|_| self.random.random_range(0..below))
    }

    /// Blocks that were fetched and that nobody asked for, as a share of those that somebody asked for.
    fn in_vain(&self) -> f64 {
        self.ahead.difference(&self.asked).count() as f64 / self.asked.len() as f64
    }
}

#[test]
fn a_random_box_is_had_in_half_the_rounds_and_nothing_in_vain() {
    for edge in [96, 128, 200] {
        let mut readers = Readers::new(edge);
        let mut rounds = Vec::new();
        for _ in 0..100 {
            let corner = readers.corner(60_000);
            let extents = corner.map(|at| (at + edge - 1) / 64 - at / 64 + 1);
            rounds.push(readers.read(&[(corner.map(|at| at / 64), extents)]));
        }
        let alone = rounds[0];
        rounds.sort_unstable();
        assert!(rounds[50] <= alone.div_ceil(2), "{edge}: {rounds:?}");
        assert!(readers.in_vain() < 0.01, "{edge}: {}", readers.in_vain());
    }
}

#[test]
fn boxes_that_are_asked_for_from_their_first_corner_on_are_had_in_few_rounds() {
    for (edge, most, in_vain) in [(96, 3, 0.02), (128, 2, 0.02), (200, 8, 0.05)] {
        let mut readers = Readers { in_order: true, ..Readers::new(edge) };
        let mut rounds = Vec::new();
        for _ in 0..100 {
            let corner = readers.corner(60_000);
            let extents = corner.map(|at| (at + edge - 1) / 64 - at / 64 + 1);
            rounds.push(readers.read(&[(corner.map(|at| at / 64), extents)]));
        }
        rounds.sort_unstable();
        assert!(rounds[50] <= most, "{edge}: {rounds:?}");
        assert!(readers.in_vain() < in_vain, "{edge}: {}", readers.in_vain());
    }
}

#[test]
fn boxes_that_overlap_are_had_in_few_rounds_though_the_kernel_has_parts_of_them() {
    let mut readers = Readers::new(8);
    let mut rounds = Vec::new();
    for _ in 0..30 {
        let corner = readers.corner(6);
        rounds.push(readers.read(&[(corner, [3; 3])]));
    }
    assert_eq!(rounds[0], 7);
    assert!(rounds[1..].iter().all(|&rounds| rounds <= 4), "{rounds:?}");
    assert!(readers.in_vain() < 0.05, "{}", readers.in_vain());
}

#[test]
fn boxes_that_are_read_beside_each_other_are_told_apart() {
    let mut readers = Readers::new(3);
    let mut rounds = Vec::new();
    for _ in 0..30 {
        let boxes: Vec<_> = (0..16).map(|_| (readers.corner(990), [3; 3])).collect();
        rounds.push(readers.read(&boxes));
    }
    assert!(rounds[0] == 7 && rounds[10..].iter().sum::<usize>() <= 4 * 20, "{rounds:?}");
    assert!(readers.in_vain() < 0.01, "{}", readers.in_vain());
}

#[test]
fn nothing_is_fetched_ahead_of_blocks_that_are_asked_for_one_by_one() {
    for below in [1000, 20] {
        let mut readers = Readers::new(below);
        for _ in 0..2000 {
            let corner = readers.corner(below);
            readers.read(&[(corner, [1; 3])]);
        }
        assert!(readers.in_vain() < 0.02, "{below}: {}", readers.in_vain());
    }
}

#[test]
fn readers_of_every_second_block_are_noticed() {
    let mut readers = Readers::new(5);
    for _ in 0..50 {
        let corner = readers.corner(900);
        let scattered: Vec<_> = cells(corner, [4; 3]).into_iter().step_by(2).map(|cell| (cell.0, [1; 3])).collect();
        readers.read(&scattered);
    }
    assert!(readers.in_vain() < 0.1, "{}", readers.in_vain());
}

#[test]
fn boxes_of_all_sizes_and_planes_are_fetched_ahead_in_their_hulls_alone() {
    let mut readers = Readers::new(6);
    for z in 0..200 {
        let corner = readers.corner(900);
        let extents = std::array::from_fn(|_| readers.random.random_range(1..=6));
        readers.read(&[(corner, extents)]);
        readers.read(&[([z, 100, 100], [1, 8, 8])]);
    }
    assert!(readers.in_vain() < 0.05, "{}", readers.in_vain());
}
