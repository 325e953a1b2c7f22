//! Which blocks readers of boxes will ask for next.
//!
//! A program that reads a box asks for its blocks in rounds of a few, as many as it has threads and in no order, so that a
//! far origin is waited for once a round. Readers cannot be told apart, but they are seen to read boxes: blocks that are asked
//! for close to each other in space and time are one, and nearly always all blocks of its hull are asked for. Where that held
//! for the last boxes of a level, the rest of the hull is fetched as soon as it grows; where it ceases to hold, no more. Where
//! the last boxes were also asked for from their first corner on, as arrays are, the next one is fetched to the extents of the
//! smallest of them.
//!
//! Blocks that were asked for before say nothing: the kernel keeps them, and whoever reads them again is not seen. A cube all of
//! whose blocks were asked for is over, so that the next box is not taken for a part of it where the two touch.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::geometry::CellIndex;

/// Boxes that are being read at once, by all readers of a level.
const MAX_OPEN: usize = 64;

/// Blocks along an axis of a box.
const MAX_EXTENT: u64 = 8;

/// Boxes by which the next one is judged.
const REMEMBERED: usize = 4;

/// Boxes that must have been read before one is judged by them.
const PROVEN: usize = 2;

/// How much of their hulls must have been asked for.
const NEEDED_SHARE: f64 = 0.9;

/// Blocks of a box that counts for two as soon as all of its hull was asked for.
const CLEARLY_A_BOX: usize = 8;

/// Blocks that a reader asks for at once, at least.
const ROUND: usize = 4;

/// Blocks of a level that are remembered to have been asked for.
const MAX_SEEN: usize = 1 << 15;

/// How long after its last block a box is over: longer than archives take for a round.
const IDLE: Duration = Duration::from_secs(1);

/// The hull of blocks: the first and the last along each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hull {
    first: [u64; 3],
    last: [u64; 3],
}

impl Hull {
    fn with(self, cell: [u64; 3]) -> Self {
        Hull {
            first: std::array::from_fn(|axis| self.first[axis].min(cell[axis])),
            last: std::array::from_fn(|axis| self.last[axis].max(cell[axis])),
        }
    }

    fn extents(&self) -> [u64; 3] {
        std::array::from_fn(|axis| self.last[axis] - self.first[axis] + 1)
    }

    /// Whether it is a cube larger than those that boxes grow through.
    fn is_cube(&self) -> bool {
        let [z, y, x] = self.extents();
        z == y && y == x && z > 2
    }

    /// Whether it begins where another one ends along one axis, and with it along the others: that was a part of a longer box.
    fn goes_on_behind(&self, other: &Hull) -> bool {
        let begins = |axis: usize| self.first[axis] == other.first[axis];
        let follows = |axis: usize| self.first[axis] == other.last[axis] + 1;
        (0..3).any(|along| (0..3).all(|axis| if axis == along { follows(axis) } else { begins(axis) }))
    }

    fn blocks(&self) -> u64 {
        self.extents().iter().fold(1, |product, &extent| product.saturating_mul(extent))
    }

    fn cells(self) -> impl Iterator<Item = CellIndex> {
        let span = move |axis: usize| self.first[axis]..=self.last[axis];
        span(0).flat_map(move |z| span(1).flat_map(move |y| span(2).map(move |x| CellIndex([z, y, x]))))
    }
}

/// A box of blocks that is being read.
#[derive(Debug)]
struct OpenBox {
    number: BoxNumber,
    hull: Hull,
    /// The first corner of the hull as it was after the first round.
    corner: [u64; 3],
    demanded: HashSet<[u64; 3]>,
    /// When the last of them was asked for.
    touched: Instant,
    /// Whether somebody is about to ask for its rest.
    is_awaited: bool,
    /// Whether it has many blocks and all of its hull was asked for.
    is_clear: bool,
}

impl OpenBox {
    fn at(number: BoxNumber, cell: [u64; 3], now: Instant) -> Self {
        let (hull, demanded) = (Hull { first: cell, last: cell }, HashSet::from([cell]));
        OpenBox { number, hull, corner: cell, demanded, touched: now, is_awaited: false, is_clear: false }
    }

    fn add(&mut self, cell: [u64; 3], now: Instant) {
        self.hull = self.hull.with(cell);
        self.demanded.insert(cell);
        if self.demanded.len() <= ROUND {
            self.corner = self.hull.first;
        }
        self.touched = now;
    }

    /// Whether nobody will ask for more of it.
    fn is_over(&self) -> bool {
        self.is_clear && self.hull.is_cube()
    }

    /// What it is as an example for others, where all of its blocks were asked for.
    fn whole(&self) -> Option<WholeBox> {
        let is_whole = self.demanded.len() > 1 && self.demanded.len() as u64 == self.hull.blocks();
        let is_from_corner = self.corner == self.hull.first;
        is_whole.then(|| WholeBox { extents: self.hull.extents(), is_from_corner })
    }
}

/// Tells the boxes of a level apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BoxNumber(u64);

/// A box that was read: how far it reached, and how much was asked for of what nobody had asked for before.
#[derive(Debug, Clone, Copy)]
struct Read {
    extents: [u64; 3],
    share: f64,
    /// For how many others it counts.
    weight: usize,
}

/// A box all of whose blocks were asked for, and none of them before.
#[derive(Debug, Clone, Copy)]
struct WholeBox {
    extents: [u64; 3],
    /// Whether its first round reached its first corner.
    is_from_corner: bool,
}

/// The boxes that are read of one level of an image.
#[derive(Debug)]
pub(super) struct Boxes {
    /// The one that was touched last is the last.
    open: VecDeque<OpenBox>,
    read: VecDeque<Read>,
    whole: VecDeque<WholeBox>,
    begun: u64,
    /// Blocks that somebody asked for, which the kernel may have since.
    seen: LruCache<[u64; 3], ()>,
}

impl Default for Boxes {
    fn default() -> Self {
        // A cache of a stated size would take all of its memory at once.
        Boxes {
            open: VecDeque::new(),
            read: VecDeque::new(),
            whole: VecDeque::new(),
            begun: 0,
            seen: LruCache::unbounded(),
        }
    }
}

impl Boxes {
    /// Notes that blocks of a level are asked for, which has `counts` of them along each axis. Returns the boxes whose rest is
    /// to be fetched, by [`Boxes::rest`], a moment later, when more of each is known.
    pub(super) fn note(&mut self, asked: &[CellIndex], counts: [u64; 3], now: Instant) -> Vec<BoxNumber> {
        while self.open.front().is_some_and(|open| now.saturating_duration_since(open.touched) > IDLE) {
            self.forget_oldest();
        }
        let mut growing = Vec::new();
        for cell in asked.iter().map(|cell| cell.0) {
            if self.open.iter().any(|open| open.demanded.contains(&cell)) {
                continue;
            }
            self.see(cell);
            let mut grown = match self.nearest(cell).and_then(|at| self.open.remove(at)) {
                Some(mut open) => {
                    open.add(cell, now);
                    open
                }
                None => self.begin(cell, now),
            };
            let is_whole = self.unseen(&grown.hull) == 0;
            grown.is_clear = is_whole && grown.demanded.len() >= CLEARLY_A_BOX;
            if grown.is_over() {
                self.learn(&grown);
            }
            if self.is_proven() && !grown.is_awaited && self.unseen(&self.expected(&grown, counts)) > 0 {
                grown.is_awaited = true;
                growing.push(grown.number);
            }
            self.open.push_back(grown);
        }
        growing
    }

    /// The blocks of a box that were not asked for yet, as far as it is known to reach.
    pub(super) fn rest(&mut self, number: BoxNumber, counts: [u64; 3]) -> Vec<CellIndex> {
        let Some(at) = self.open.iter().position(|open| open.number == number) else { return Vec::new() };
        self.open[at].is_awaited = false;
        self.expected(&self.open[at], counts).cells().filter(|cell| !self.seen.contains(&cell.0)).collect()
    }

    /// How far a box is expected to reach: over its hull, and where boxes are asked for from their first corner on, as far as
    /// the last ones and those of the moment all do.
    fn expected(&self, open: &OpenBox, counts: [u64; 3]) -> Hull {
        let mut hull = open.hull;
        let begins_here = open.demanded.len() > 1 && open.demanded.contains(&hull.first);
        let others = || self.open.iter().filter(|other| other.number != open.number && !other.is_over());
        let whole = || self.whole.iter().copied().chain(others().filter_map(OpenBox::whole));
        let goes_on = self.open.iter().any(|other| other.is_over() && hull.goes_on_behind(&other.hull));
        if begins_here && !open.is_over() && !goes_on && whole().all(|whole| whole.is_from_corner) {
            let extent = |axis: usize| whole().map(|whole| whole.extents[axis]).min().unwrap_or(1);
            let last = |axis: usize| hull.first[axis].saturating_add(extent(axis)).min(counts[axis]).saturating_sub(1);
            hull.last = std::array::from_fn(|axis| hull.last[axis].max(last(axis)));
        }
        hull
    }

    fn see(&mut self, cell: [u64; 3]) {
        self.seen.put(cell, ());
        if self.seen.len() > MAX_SEEN {
            self.seen.pop_lru();
        }
    }

    /// How many blocks of a hull nobody has asked for.
    fn unseen(&self, hull: &Hull) -> usize {
        hull.cells().filter(|cell| !self.seen.contains(&cell.0)).count()
    }

    fn begin(&mut self, cell: [u64; 3], now: Instant) -> OpenBox {
        if self.open.len() == MAX_OPEN {
            self.forget_oldest();
        }
        self.begun += 1;
        OpenBox::at(BoxNumber(self.begun), cell, now)
    }

    /// The open box that a block belongs to: the one whose hull grows least, of those that would not be larger than boxes are.
    fn nearest(&self, cell: [u64; 3]) -> Option<usize> {
        let most = self.longest();
        let grown = |open: &OpenBox| {
            let hull = open.hull.with(cell);
            let fits = !open.is_over() && (0..3).all(|axis| hull.extents()[axis] <= most[axis]);
            fits.then(|| hull.blocks() - open.hull.blocks())
        };
        let candidates = self.open.iter().enumerate().rev().filter_map(|(at, open)| Some((grown(open)?, at)));
        candidates.min_by_key(|&(growth, _)| growth).map(|(_, at)| at)
    }

    /// How long boxes are along each axis: as the last ones, where those are known.
    fn longest(&self) -> [u64; 3] {
        if !self.is_proven() {
            return [MAX_EXTENT; 3];
        }
        std::array::from_fn(|axis| self.read.iter().map(|read| read.extents[axis]).max().unwrap_or(MAX_EXTENT))
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.open.pop_front().filter(|oldest| !oldest.is_over()) {
            self.learn(&oldest);
        }
    }

    /// Learns from a box that was read; nothing from a single block.
    fn learn(&mut self, open: &OpenBox) {
        let (demanded, extents) = (open.demanded.len(), open.hull.extents());
        if demanded < 2 {
            return;
        }
        let unseen = if open.is_clear { 0 } else { self.unseen(&open.hull) };
        let share = demanded as f64 / (demanded + unseen) as f64;
        push(&mut self.read, Read { extents, share, weight: if open.is_clear { PROVEN } else { 1 } });
        if let Some(whole) = open.whole() {
            push(&mut self.whole, whole);
        }
    }

    /// Whether the last boxes, and those that are clear before they are over, were asked for whole.
    fn is_proven(&self) -> bool {
        let clear = self.open.iter().filter(|open| open.is_clear && !open.is_over()).map(|_| (1.0, PROVEN));
        let judged = self.read.iter().map(|read| (read.share, read.weight)).chain(clear);
        let (sum, count) =
            judged.fold((0.0, 0), |(sum, count), (share, weight)| (sum + share * weight as f64, count + weight));
        count >= PROVEN && sum >= NEEDED_SHARE * count as f64
    }
}

/// Adds to what is remembered of the last boxes.
fn push<T>(last: &mut VecDeque<T>, new: T) {
    last.push_back(new);
    if last.len() > REMEMBERED {
        last.pop_front();
    }
}

#[cfg(test)]
mod tests;
