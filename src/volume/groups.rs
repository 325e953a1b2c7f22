//! Which neighbours of missed blocks are fetched along.
//!
//! Some formats store neighbours next to each other, so that a group of them costs one request (see
//! [`crate::source::Source::contiguous_group_log2`]). Readers cannot be told apart, and each of them asks for many blocks within
//! milliseconds and in any order; so the misses of an array are gathered for a moment and looked at together. A group
//! is an aligned cube of 2, 4 or 8 blocks along each axis:
//!
//! - the second miss in a cube of 2 fetches the rest of it; so does the first, if cubes of 2 were fetched nearby;
//! - once a part of a larger cube was fetched, a later miss in it fetches the rest, if the misses so far reach over
//!   more than half of it along two axes: a reader of a large box walks on, one of small boxes does not. Where a cube
//!   of 8 has two fetched parts and is crossed along one axis, cubes of 4 in it are fetched.
//!
//! A lone block is fetched with those up to the nearer end of its cube of 2, one and a half on average, so that the rest
//! of the cube is one request whichever block came first. Where misses trickle in, the groups would be many small ones with gaps between them, so
//! each largest group has a budget of requests: what leaves too few of them for the rest gives way to larger groups. Only
//! those who are seen to read small boxes are exempt.

mod record;

use std::collections::HashMap;

use lru::LruCache;

use self::record::GroupRecord;
use super::block::BlockLeader;
use crate::geometry::{CellIndex, Grid};

/// The largest groups have 2³ blocks along each axis.
const MAX_GROUP_LOG2: u32 = 3;

/// Groups of an array whose misses are remembered.
const REMEMBERED: usize = 4096;

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
        let rows = edge == MAX_GROUP_LOG2
            && (0..3).any(|axis| reaches(axis, 2 * half - 2) && (0..3).any(|other| other != axis && reaches(other, 2)));
        self.parts > 0 && (wide >= 2 || rows)
    }

    /// Whether the reader of a largest group walks along a row of it.
    fn is_crossed(&self) -> bool {
        self.parts >= 2 && (0..3).any(|axis| self.last[axis] - self.first[axis] >= 1 << (MAX_GROUP_LOG2 - 1))
    }
}

/// Edges of groups of an array, as powers of 2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edges {
    /// Of the largest group whose blocks lie together.
    pub(super) contiguous_group_log2: u32,
    /// Of the largest group that memory permits.
    pub(super) permitted_group_log2: u32,
}

/// The misses of one array.
pub(super) struct ArrayMisses {
    /// Misses that wait for others of the same moment.
    gathered: Vec<BlockLeader>,
    /// Whether somebody will take them.
    gathering: bool,
    seen: LruCache<Group, Seen>,
    records: LruCache<Group, GroupRecord>,
}

impl Default for ArrayMisses {
    fn default() -> Self {
        ArrayMisses {
            gathered: Vec::new(),
            gathering: false,
            // With a bound of their own they would take the memory for all of it at once, for each level of each image.
            seen: LruCache::unbounded(),
            records: LruCache::unbounded(),
        }
    }
}

impl ArrayMisses {
    /// Adds misses to those of the moment. Where nobody is gathering, the caller does from now on, and has to call
    /// [`ArrayMisses::take`] soon.
    pub(super) fn gather(&mut self, leaders: Vec<BlockLeader>) -> bool {
        self.gathered.extend(leaders);
        !std::mem::replace(&mut self.gathering, true)
    }

    /// Misses that were gathered so far.
    pub(super) fn gathered(&self) -> usize {
        self.gathered.len()
    }

    /// Takes what was gathered, with the blocks to fetch along.
    pub(super) fn take(&mut self, grid: Option<&Grid>, edges: Edges) -> (Vec<BlockLeader>, Vec<CellIndex>) {
        self.gathering = false;
        let leaders = std::mem::take(&mut self.gathered);
        let missed: Vec<CellIndex> = leaders.iter().map(|leader| leader.key().index).collect();
        let neighbours = grid.map(|grid| self.neighbours(&missed, grid, edges));
        forget_oldest(&mut self.seen);
        forget_oldest(&mut self.records);
        (leaders, neighbours.unwrap_or_default())
    }

    /// The blocks to fetch along with `missed`; may name blocks that are in `missed` or in memory.
    fn neighbours(&mut self, missed: &[CellIndex], grid: &Grid, edges: Edges) -> Vec<CellIndex> {
        let contiguous_group_log2 = edges.contiguous_group_log2.min(MAX_GROUP_LOG2);
        let largest = edges.permitted_group_log2.min(contiguous_group_log2);
        let preferred = self.preferred(missed, grid, largest);
        let mut parts: HashMap<Group, Vec<CellIndex>> = HashMap::new();
        for &cell in missed {
            parts.entry(Group::of(cell, contiguous_group_log2)).or_default().push(cell);
        }
        parts
            .into_iter()
            .flat_map(|(whole, missed)| self.affordable(whole, &missed, &preferred, grid, largest))
            .collect()
    }

    /// The blocks in `whole` to fetch for the misses in it: groups of `preferred`, or larger ones where they would leave
    /// too few requests for the rest.
    fn affordable(
        &mut self,
        whole: Group,
        missed: &[CellIndex],
        preferred: &[Group],
        grid: &Grid,
        largest: u32,
    ) -> Vec<CellIndex> {
        let Some(&first) = missed.first() else { return Vec::new() };
        let record = self.records.get_or_insert_mut(whole, || GroupRecord::new(&whole, grid));
        if missed.iter().any(|&cell| record.had(cell)) {
            *record = GroupRecord::new(&whole, grid);
        }
        missed.iter().for_each(|&cell| record.add(cell));
        let mut groups: Vec<Group> = Vec::new();
        for edge in 0..=largest {
            groups.clear();
            for &cell in missed {
                if !groups.iter().any(|group| group.holds(cell)) {
                    let group = preferred.iter().find(|group| group.edge >= edge && group.holds(cell));
                    groups.push(group.copied().unwrap_or_else(|| Group::of(cell, edge)));
                }
            }
            if record.is_small_box() || record.affords(&record.blocks(&groups, largest == 0)) {
                break;
            }
        }
        let cells = record.fetch(&record.blocks(&groups, largest == 0), first);
        groups.retain(|group| group.edge > 0);
        self.forget(&groups);
        cells
    }

    /// The groups that the misses ask for by the way they lie. `largest`: edge of the largest one.
    fn preferred(&mut self, missed: &[CellIndex], grid: &Grid, largest: u32) -> Vec<Group> {
        let mut in_batch: HashMap<Group, usize> = HashMap::new();
        let begun: Vec<bool> = missed.iter().map(|&cell| self.is_begun(cell)).collect();
        for &cell in missed {
            for edge in 1..=MAX_GROUP_LOG2 {
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
            let around = self.seen.peek(&Group::of(cell, MAX_GROUP_LOG2)).copied();
            let group = (1..=largest).rev().map(|edge| Group::of(cell, edge)).find(|group| {
                let complete = in_batch.get(group).is_some_and(|&count| count == group.cells(grid).count());
                let crossed = group.edge == MAX_GROUP_LOG2 - 1 && around.is_some_and(|seen| seen.is_crossed());
                let seen = self.seen.peek(group);
                complete || crossed || seen.is_some_and(|seen| seen.suffices(group.edge, grid.counts()))
            });
            fetched.extend(group);
        }
        for (&cell, begun) in missed.iter().zip(begun) {
            let around = Group::of(cell, MAX_GROUP_LOG2);
            let near = |group: &Group| around.holds(CellIndex(group.at.map(|index| index << group.edge)));
            if largest > 0 && !fetched.iter().any(|group| group.holds(cell)) && (begun || fetched.iter().any(near)) {
                fetched.push(Group::of(cell, 1));
            }
        }
        fetched
    }

    /// Notes that groups are fetched.
    fn forget(&mut self, fetched: &[Group]) {
        for group in fetched {
            // If it is dropped from memory, the next reader has to show anew what it wants.
            self.seen.pop(group);
            let first = CellIndex(group.at.map(|index| index << group.edge));
            for edge in group.edge + 1..=MAX_GROUP_LOG2 {
                if let Some(seen) = self.seen.peek_mut(&Group::of(first, edge)) {
                    seen.parts = seen.parts.saturating_add(1);
                }
            }
        }
    }

    /// Whether groups were fetched around a block.
    fn is_begun(&self, cell: CellIndex) -> bool {
        self.seen.peek(&Group::of(cell, MAX_GROUP_LOG2)).is_some_and(|seen| seen.parts > 0)
    }
}

/// Lets go of groups beyond those that are remembered.
fn forget_oldest<V>(groups: &mut LruCache<Group, V>) {
    while groups.len() > REMEMBERED {
        groups.pop_lru();
    }
}

#[cfg(test)]
mod tests;
