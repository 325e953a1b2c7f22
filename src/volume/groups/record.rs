//! What was asked for of one largest group, in the order in which its blocks lie at the origin.

use super::{Group, MAX_GROUP_LOG2};
use crate::geometry::{CellIndex, Grid};

/// Requests that all blocks of a largest group may cost together, in whatever order and company they are missed.
pub(super) const BUDGET: usize = 6;

/// Blocks of a largest group.
const BLOCKS: usize = 1 << (3 * MAX_GROUP_LOG2);

/// Bits in a word.
const BITS: usize = u64::BITS as usize;

/// Some blocks of a largest group, as bits in Morton order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockBits([u64; BLOCKS / BITS]);

impl BlockBits {
    const NONE: BlockBits = BlockBits([0; BLOCKS / BITS]);

    /// The blocks of `group`, which is part of a largest one.
    fn of(group: &Group) -> BlockBits {
        let first = code(CellIndex(group.at.map(|index| index << group.edge)));
        let mut blocks = BlockBits::NONE;
        (first..first + (1 << (3 * group.edge))).for_each(|code| blocks.set(code));
        blocks
    }

    /// A block and those between it and the nearer end of its cube of 2, so that the rest of the cube is one range.
    fn lone(cell: CellIndex, whole: &BlockBits) -> BlockBits {
        let at = code(cell);
        let first = at / 8 * 8;
        let sides = [(first..at + 1), (at..first + 8)];
        let blocks = sides.map(|side| {
            let mut blocks = BlockBits::NONE;
            side.filter(|&code| whole.get(code)).for_each(|code| blocks.set(code));
            blocks
        });
        let [before, after] = blocks;
        if after.count() < before.count() { after } else { before }
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn or(&self, other: &BlockBits) -> BlockBits {
        BlockBits(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    fn without(&self, other: &BlockBits) -> BlockBits {
        BlockBits(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    fn has(&self, cell: CellIndex) -> bool {
        self.get(code(cell))
    }

    /// How many ranges these blocks are at the origin. `whole`: the blocks of the group that lie in the array; the others
    /// are nowhere, so they part nothing.
    fn ranges(&self, whole: &BlockBits) -> usize {
        let mut ranges = 0;
        let mut before = false;
        for code in (0..BLOCKS).filter(|&code| whole.get(code)) {
            let now = self.get(code);
            ranges += usize::from(now && !before);
            before = now;
        }
        ranges
    }

    fn get(&self, code: usize) -> bool {
        self.0[code / BITS] >> (code % BITS) & 1 == 1
    }

    fn set(&mut self, code: usize) {
        self.0[code / BITS] |= 1 << (code % BITS);
    }
}

/// The block at a place in the largest group that `near` is in.
fn cell(code: usize, near: CellIndex) -> CellIndex {
    let gather = |axis: usize| {
        (0..MAX_GROUP_LOG2).map(|bit| ((code >> (3 * bit as usize + axis) & 1) as u64) << bit).sum::<u64>()
    };
    let [z, y, x] = near.0.map(|index| index >> MAX_GROUP_LOG2 << MAX_GROUP_LOG2);
    CellIndex([z + gather(2), y + gather(1), x + gather(0)])
}

/// Place of a block in its largest group by Morton code, x fastest.
fn code(cell: CellIndex) -> usize {
    let [z, y, x] = cell.0.map(|index| move |bit: u32| (index >> bit & 1) as usize);
    (0..MAX_GROUP_LOG2).map(|bit| (x(bit) | y(bit) << 1 | z(bit) << 2) << (3 * bit)).sum()
}

/// What was asked for of one largest group.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupRecord {
    /// Blocks of the group that lie in the array.
    whole: BlockBits,
    /// Those that are fetched or being fetched.
    there: BlockBits,
    /// Requests for them.
    requests: usize,
    misses: usize,
    /// First and last miss along each axis.
    first: [u64; 3],
    last: [u64; 3],
}

impl GroupRecord {
    pub(super) fn new(group: &Group, grid: &Grid) -> Self {
        let mut whole = BlockBits::NONE;
        group.cells(grid).for_each(|cell| whole.set(code(cell)));
        GroupRecord { whole, there: BlockBits::NONE, requests: 0, misses: 0, first: [u64::MAX; 3], last: [0; 3] }
    }

    /// Whether a block was asked for before. If it is missed again, it was dropped from memory or could not be had.
    pub(super) fn had(&self, cell: CellIndex) -> bool {
        self.there.has(cell)
    }

    /// Notes a miss.
    pub(super) fn add(&mut self, cell: CellIndex) {
        self.misses += 1;
        for axis in 0..3 {
            self.first[axis] = self.first[axis].min(cell.0[axis]);
            self.last[axis] = self.last[axis].max(cell.0[axis]);
        }
    }

    /// The blocks to fetch for `groups`. `single`: there is no memory for more than one block at a time.
    pub(super) fn blocks(&self, groups: &[Group], single: bool) -> BlockBits {
        let blocks = groups.iter().map(|group| match group.edge {
            0 if !single => BlockBits::lone(CellIndex(group.at), &self.whole),
            _ => BlockBits::of(group),
        });
        blocks.fold(BlockBits::NONE, |all, blocks| all.or(&blocks))
    }

    /// Whether fetching `blocks` now leaves enough of the budget for the rest.
    pub(super) fn affords(&self, blocks: &BlockBits) -> bool {
        let rest = self.whole.without(&self.there.or(blocks));
        self.requests + blocks.without(&self.there).ranges(&self.whole) + rest.ranges(&self.whole) <= BUDGET
    }

    /// Whether the misses so far are those of a reader of a box of up to three blocks along each axis: they go on beside
    /// each other without reaching any farther. One that reads a large box row by row would, before that, have to wait for
    /// more than half of a row.
    pub(super) fn is_small_box(&self) -> bool {
        let reach: [u64; 3] = std::array::from_fn(|axis| self.last[axis].saturating_sub(self.first[axis]));
        let axes = |blocks: u64| reach.iter().filter(|&&reach| reach >= blocks).count();
        self.misses >= 4 && axes(1) >= 2 && axes(3) == 0
    }

    /// Notes that `blocks` are being fetched, and says which of them were not before; `near` is one of them.
    pub(super) fn fetch(&mut self, blocks: &BlockBits, near: CellIndex) -> Vec<CellIndex> {
        let new = blocks.without(&self.there);
        self.requests += new.ranges(&self.whole);
        self.there = self.there.or(blocks);
        (0..BLOCKS).filter(|&code| new.get(code) && self.whole.get(code)).map(|code| cell(code, near)).collect()
    }
}
