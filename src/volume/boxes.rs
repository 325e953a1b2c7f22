//! Which blocks readers of boxes will ask for next.
//!
//! A program that reads a box asks for its blocks in rounds of a few, as many as it has threads and in no order, so that a
//! far origin is waited for once a round. Readers cannot be told apart, but they are seen to read boxes: blocks that are asked
//! for close to each other in space and time are one, and nearly always all blocks of its hull are asked for. Where that held
//! for the last boxes of a level, the rest of the hull is fetched as soon as it grows; where it ceases to hold, no more.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

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

/// Blocks of a box that is taken for a proof while it is read, because all of its hull was asked for.
const CLEARLY_A_BOX: usize = 8;

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
    demanded: HashSet<[u64; 3]>,
    /// When the last of them was asked for.
    touched: Instant,
    /// Whether somebody is about to ask for its rest.
    is_awaited: bool,
}

impl OpenBox {
    fn at(number: BoxNumber, cell: [u64; 3], now: Instant) -> Self {
        let (hull, demanded) = (Hull { first: cell, last: cell }, HashSet::from([cell]));
        OpenBox { number, hull, demanded, touched: now, is_awaited: false }
    }

    fn add(&mut self, cell: [u64; 3], now: Instant) {
        self.hull = self.hull.with(cell);
        self.demanded.insert(cell);
        self.touched = now;
    }

    fn is_whole(&self) -> bool {
        self.demanded.len() as u64 == self.hull.blocks()
    }
}

/// Tells the boxes of a level apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BoxNumber(u64);

/// A box that was read: how far it reached, and how much of its hull was asked for.
#[derive(Debug, Clone, Copy)]
struct Read {
    extents: [u64; 3],
    share: f64,
}

impl Read {
    /// What is to be learned of a box; nothing of a single block.
    fn of(open: &OpenBox) -> Option<Read> {
        let share = open.demanded.len() as f64 / open.hull.blocks().max(1) as f64;
        (open.demanded.len() > 1).then(|| Read { extents: open.hull.extents(), share })
    }
}

/// The boxes that are read of one level of an image.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    /// The one that was touched last is the last.
    open: VecDeque<OpenBox>,
    read: VecDeque<Read>,
    begun: u64,
}

impl Boxes {
    /// Notes that blocks of a level are asked for. Returns the boxes whose rest is to be fetched, by [`Boxes::rest`], a moment
    /// later, when more of each is known.
    pub(super) fn note(&mut self, asked: &[CellIndex], now: Instant) -> Vec<BoxNumber> {
        while let Some(over) = self.open.front().filter(|open| now.saturating_duration_since(open.touched) > IDLE) {
            let read = Read::of(over);
            self.open.pop_front();
            self.learn(read);
        }
        let mut growing = Vec::new();
        for cell in asked.iter().map(|cell| cell.0) {
            if self.open.iter().any(|open| open.demanded.contains(&cell)) {
                continue;
            }
            let mut grown = match self.nearest(cell).and_then(|at| self.open.remove(at)) {
                Some(mut open) => {
                    open.add(cell, now);
                    open
                }
                None => self.begin(cell, now),
            };
            if self.is_proven() && !grown.is_awaited && !grown.is_whole() {
                grown.is_awaited = true;
                growing.push(grown.number);
            }
            self.open.push_back(grown);
        }
        growing
    }

    /// The blocks of a box's hull that were not asked for yet.
    pub(super) fn rest(&mut self, number: BoxNumber) -> Vec<CellIndex> {
        let Some(open) = self.open.iter_mut().find(|open| open.number == number) else { return Vec::new() };
        open.is_awaited = false;
        open.hull.cells().filter(|cell| !open.demanded.contains(&cell.0)).collect()
    }

    fn begin(&mut self, cell: [u64; 3], now: Instant) -> OpenBox {
        if self.open.len() == MAX_OPEN
            && let Some(oldest) = self.open.pop_front()
        {
            self.learn(Read::of(&oldest));
        }
        self.begun += 1;
        OpenBox::at(BoxNumber(self.begun), cell, now)
    }

    /// The open box that a block belongs to: the one whose hull grows least, of those that would not be larger than boxes are.
    fn nearest(&self, cell: [u64; 3]) -> Option<usize> {
        let most = self.longest();
        let grown = |open: &OpenBox| {
            let hull = open.hull.with(cell);
            let fits = (0..3).all(|axis| hull.extents()[axis] <= most[axis]);
            fits.then(|| hull.blocks() - open.hull.blocks())
        };
        let candidates = self.open.iter().enumerate().rev().filter_map(|(at, open)| Some((grown(open)?, at)));
        candidates.min_by_key(|&(growth, _)| growth).map(|(_, at)| at)
    }

    /// How long boxes are along each axis: as the last ones, where those are known.
    fn longest(&self) -> [u64; 3] {
        if self.read.len() < PROVEN || !self.is_proven() {
            return [MAX_EXTENT; 3];
        }
        std::array::from_fn(|axis| self.read.iter().map(|read| read.extents[axis]).max().unwrap_or(MAX_EXTENT))
    }

    /// Learns from a box that is over.
    fn learn(&mut self, read: Option<Read>) {
        self.read.extend(read);
        if self.read.len() > REMEMBERED {
            self.read.pop_front();
        }
    }

    fn is_proven(&self) -> bool {
        let clear = self.open.iter().filter(|open| open.demanded.len() >= CLEARLY_A_BOX && open.is_whole()).count();
        let (sum, count) =
            (self.read.iter().map(|read| read.share).sum::<f64>() + clear as f64, self.read.len() + clear);
        count >= PROVEN && sum >= NEEDED_SHARE * count as f64
    }
}

#[cfg(test)]
mod tests;
