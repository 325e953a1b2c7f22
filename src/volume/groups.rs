//! Which neighbours of missed blocks are fetched along.
//!
//! Some formats store neighbours next to each other, so that a group of them costs one request (see
//! [`crate::source::Source::together`]). Readers cannot be told apart, and each of them asks for many blocks within
//! milliseconds and in any order; so the misses of an array are gathered for a moment and looked at together. A group
//! is an aligned cube of 2, 4 or 8 blocks along each axis:
//!
//! - the second miss in a cube of 2 fetches the rest of it; so does the first, if cubes of 2 were fetched nearby;
//! - once a part of a larger cube was fetched, a later miss in it fetches the rest, if the misses so far reach over
//!   more than half of it along two axes: a reader of a large box walks on, one of small boxes does not. Where a cube
//!   of 8 has two fetched parts and is crossed along one axis, cubes of 4 in it are fetched.
//!
//! A lone block is fetched alone.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

use super::blocks::BlockWorker;
use crate::geometry::{CellIndex, Grid, LevelIndex};

/// The largest groups have 2³ blocks along each axis.
const LARGEST: u32 = 3;

/// Groups of an array whose misses are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// An aligned cube of 2^`edge` blocks along each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    edge: u32,
    at: [u64; 3],
}

impl Group {
    fn of(cell: CellIndex, edge: u32) -> Self {
        Group { edge, at: cell.0.map(|index| index >> edge) }
    }

    fn holds(&self, cell: CellIndex) -> bool {
        Group::of(cell, self.edge) == *self
    }

    /// The blocks of the group that lie in the grid.
    fn cells(&self, grid: &Grid) -> impl Iterator<Item = CellIndex> + use<> {
        let counts = grid.counts();
        let span = |axis: usize| {
            let start = self.at[axis] << self.edge;
            start..start.saturating_add(1 << self.edge).min(counts[axis])
        };
        let (z, y, x) = (span(0), span(1), span(2));
        z.flat_map(move |z| {
            let x = x.clone();
            y.clone().flat_map(move |y| x.clone().map(move |x| CellIndex([z, y, x])))
        })
    }
}

/// What was missed in a group.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first: [u64; 3],
    last: [u64; 3],
    /// Smaller groups in it that were fetched.
    parts: u32,
}

impl Seen {
    fn at(cell: CellIndex) -> Self {
        Seen { first: cell.0, last: cell.0, parts: 0 }
    }

    fn add(&mut self, cell: CellIndex) {
        for axis in 0..3 {
            self.first[axis] = self.first[axis].min(cell.0[axis]);
            self.last[axis] = self.last[axis].max(cell.0[axis]);
        }
    }

    /// Whether the rest of a group of this edge is fetched.
    fn suffices(&self, edge: u32, counts: [u64; 3]) -> bool {
        if edge == 1 {
            return self.first != self.last;
        }
        let half = 1 << (edge - 1);
        let reaches = |axis: usize, blocks: u64| self.last[axis] - self.first[axis] >= blocks;
        // Along an axis on which the array has no more than half, nothing is to be seen.
        let wide = (0..3).filter(|&axis| reaches(axis, half) || counts[axis] <= half).count();
        // Rows from end to end that go on beside each other: the last block of a row comes with the one before it.
        let rows = edge == LARGEST
            && (0..3).any(|axis| reaches(axis, 2 * half - 2) && (0..3).any(|other| other != axis && reaches(other, 2)));
        self.parts > 0 && (wide >= 2 || rows)
    }

    /// Whether the reader of a largest group walks along a row of it.
    fn is_crossed(&self) -> bool {
        self.parts >= 2 && (0..3).any(|axis| self.last[axis] - self.first[axis] >= 1 << (LARGEST - 1))
    }
}

/// The misses of one array.
struct Array {
    /// Misses that wait for others of the same moment.
    gathered: Vec<BlockWorker>,
    /// Whether somebody will take them.
    gathering: bool,
    seen: LruCache<Group, Seen>,
}

impl Default for Array {
    fn default() -> Self {
        Array { gathered: Vec::new(), gathering: false, seen: LruCache::new(REMEMBERED) }
    }
}

impl Array {
    /// The blocks to fetch along with `missed`; may name blocks that are in `missed` or in memory. `largest`: edge of
    /// the largest group.
    fn neighbours(&mut self, missed: &[CellIndex], grid: &Grid, largest: u32) -> Vec<CellIndex> {
        let mut in_batch: HashMap<Group, usize> = HashMap::new();
        let begun: Vec<bool> = missed.iter().map(|&cell| self.is_begun(cell)).collect();
        for &cell in missed {
            for edge in 1..=LARGEST {
                let group = Group::of(cell, edge);
                self.seen.get_or_insert_mut(group, || Seen::at(cell)).add(cell);
                *in_batch.entry(group).or_default() += 1;
            }
        }
        let mut fetched: Vec<Group> = Vec::new();
        for &cell in missed {
            if fetched.iter().any(|group| group.holds(cell)) {
                continue;
            }
            let around = self.seen.peek(&Group::of(cell, LARGEST)).copied();
            let group = (1..=largest).rev().map(|edge| Group::of(cell, edge)).find(|group| {
                let complete = in_batch.get(group).is_some_and(|&count| count == group.cells(grid).count());
                let crossed = group.edge == LARGEST - 1 && around.is_some_and(|seen| seen.is_crossed());
                let seen = self.seen.peek(group);
                complete || crossed || seen.is_some_and(|seen| seen.suffices(group.edge, grid.counts()))
            });
            fetched.extend(group);
        }
        for (&cell, begun) in missed.iter().zip(begun) {
            let around = Group::of(cell, LARGEST);
            let near = |group: &Group| around.holds(CellIndex(group.at.map(|index| index << group.edge)));
            if largest > 0 && !fetched.iter().any(|group| group.holds(cell)) && (begun || fetched.iter().any(near)) {
                fetched.push(Group::of(cell, 1));
            }
        }
        for group in &fetched {
            // If it is dropped from memory, the next reader has to show anew what it wants.
            self.seen.pop(group);
            let first = CellIndex(group.at.map(|index| index << group.edge));
            for edge in group.edge + 1..=LARGEST {
                if let Some(seen) = self.seen.peek_mut(&Group::of(first, edge)) {
                    seen.parts = seen.parts.saturating_add(1);
                }
            }
        }
        fetched.iter().flat_map(|group| group.cells(grid)).collect()
    }

    /// Whether groups were fetched around a block.
    fn is_begun(&self, cell: CellIndex) -> bool {
        self.seen.peek(&Group::of(cell, LARGEST)).is_some_and(|seen| seen.parts > 0)
    }
}

/// The misses of all arrays of a mount whose neighbours lie together.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<(u32, LevelIndex), Array>>);

impl Groups {
    /// Adds misses of an array to those of the moment. Where nobody is gathering there, the caller does from now on,
    /// and has to call [`Groups::take`] soon.
    pub(super) fn gather(&self, image: u32, level: LevelIndex, workers: Vec<BlockWorker>) -> bool {
        let mut arrays = self.0.lock();
        let array = arrays.entry((image, level)).or_default();
        array.gathered.extend(workers);
        !std::mem::replace(&mut array.gathering, true)
    }

    /// Takes what was gathered, with the blocks to fetch along. `largest`: edge of the largest group that there is room
    /// for, as a power of 2.
    pub(super) fn take(
        &self,
        image: u32,
        level: LevelIndex,
        grid: &Grid,
        largest: u32,
    ) -> (Vec<BlockWorker>, Vec<CellIndex>) {
        let mut arrays = self.0.lock();
        let array = arrays.entry((image, level)).or_default();
        array.gathering = false;
        let workers = std::mem::take(&mut array.gathered);
        let missed: Vec<CellIndex> = workers.iter().map(|worker| worker.key().index).collect();
        let neighbours = array.neighbours(&missed, grid, largest.min(LARGEST));
        (workers, neighbours)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::geometry::Shape;

    const GRID: Grid = Grid { shape: Shape([1600; 3]), cell: Shape([64; 3]) };

    /// How many blocks each batch of misses fetches that were not there yet, by a reader that asks for `cells` in
    /// batches of `at_once`.
    fn requests(cells: impl Iterator<Item = CellIndex>, at_once: usize) -> (usize, usize) {
        let (mut array, mut there, mut batches) = (Array::default(), HashSet::new(), 0);
        let cells: Vec<_> = cells.collect();
        for batch in cells.chunks(at_once) {
            let missed: Vec<_> = batch.iter().copied().filter(|cell| !there.contains(cell)).collect();
            if missed.is_empty() {
                continue;
            }
            batches += 1;
            there.extend(array.neighbours(&missed, &GRID, LARGEST));
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
        let mut array = Array::default();
        assert!(array.neighbours(&[CellIndex([2, 2, 2])], &GRID, LARGEST).is_empty());
        assert!(array.neighbours(&[CellIndex([4, 2, 2])], &GRID, LARGEST).is_empty());
        let rest = array.neighbours(&[CellIndex([3, 2, 3])], &GRID, LARGEST);
        assert_eq!(rest, cube([2; 3], 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_aligned_block_of_two_costs_nothing_more() {
        assert_eq!(requests(cube([4; 3], 2), 8), (1, 8));
    }

    #[test]
    fn lone_blocks_stay_alone() {
        assert_eq!(requests((0..20).map(|n| CellIndex([n * 3 % 24, n * 7 % 24, n])), 1), (20, 20));
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
        assert_eq!(requests((0..4).map(|x| CellIndex([5, 5, x])), 1).1, 16);
        assert!(requests((0..24).map(|x| CellIndex([5, 5, x])), 1).1 <= 240);
    }

    #[test]
    fn groups_end_where_the_array_ends() {
        let grid = Grid { shape: Shape([64, 130, 64]), cell: Shape([64; 3]) };
        let mut array = Array::default();
        let rest = array.neighbours(&[CellIndex([0, 0, 0]), CellIndex([0, 1, 0])], &grid, LARGEST);
        assert_eq!(rest, [CellIndex([0, 0, 0]), CellIndex([0, 1, 0])]);
    }

    #[test]
    fn without_room_nothing_is_fetched_along() {
        let mut array = Array::default();
        assert!(array.neighbours(&cube([0; 3], 2).collect::<Vec<_>>(), &GRID, 0).is_empty());
    }
}
