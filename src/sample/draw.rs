//! Draws samples: boxes of one size anywhere in a box of an image, or several at a time from one small region, which share
//! the blocks that have to be fetched.

use std::collections::BTreeSet;

use super::SampleError;
use super::random::{Random, at};
use super::split::{SplitShare, Splits, divide};
use crate::geometry::{Region, Shape};

/// Places that are drawn one after the other without one that is allowed, before it is given up.
const TRIES: u64 = 200_000;

/// Voxels of places that are read one after the other without one that is allowed, before it is given up, and how many
/// places that may be: reading one takes longer than drawing a thousand.
const READ_VOXELS: u64 = 1 << 33;
const READS: (u64, u64) = (256, 4096);

/// Places that are looked at together.
const BATCH: u64 = 64;

/// Places that are drawn in a region for each sample of it.
const PER_SAMPLE: u64 = 4;

/// Places whose shares are told where nothing was found.
const LOOKED_AT: u64 = 1000;

/// Samples are drawn so many at a time from a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regions {
    /// Of the region, in voxels.
    pub shape: Shape,
    /// Of each.
    pub samples: u64,
}

/// How samples are drawn.
#[derive(Debug, Clone)]
pub struct DrawRule {
    /// Seed of all draws.
    pub seed: u64,
    /// Of a sample, in voxels.
    pub size: Shape,
    /// Where several are drawn from one region.
    pub regions: Option<Regions>,
    /// The splits; at least one.
    pub shares: Vec<SplitShare>,
    /// Voxels of the blocks that splits are made of; else two samples or regions.
    pub block: Option<Shape>,
    /// Voxels between samples of two splits at least; else an eighth of a sample.
    pub margin: Option<Shape>,
}

impl DrawRule {
    /// Blocks of splits, in voxels.
    pub fn block(&self) -> Shape {
        let twice = self.regions.map_or(self.size, |regions| regions.shape).0.map(|extent| extent.saturating_mul(2));
        self.block.unwrap_or(Shape(twice))
    }

    /// Places that are read in a row without one that is allowed. No time decides, so that all machines give up alike.
    fn reads(&self) -> u64 {
        (READ_VOXELS / self.size.voxels().unwrap_or(u64::MAX)).clamp(READS.0, READS.1)
    }

    /// Voxels between samples of two splits at least.
    pub fn margin(&self) -> [u64; 3] {
        self.margin.map_or(self.size.0.map(|extent| extent / 8), |margin| margin.0)
    }
}

/// Where samples are drawn.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Store and level, for messages and as the purpose of the numbers.
    pub name: String,
    /// Voxels of the level.
    pub within: Region,
    /// Native blocks of the source, at which regions begin.
    pub cell: Shape,
    /// The voxel of the source's level that is the store's first.
    pub origin: [u64; 3],
}

/// Which places are allowed.
pub trait Judge {
    /// Whether a place may be allowed; asked of each, and answered from memory.
    fn may_be(&self, place: &Region) -> bool;
    /// The share of a place that is inside, where memory has it; for messages.
    fn share(&self, place: &Region) -> Option<f64>;
    /// Looks at places that may be allowed, one after the other until that is enough.
    fn look(&self, places: &[Region], enough: Enough) -> impl Future<Output = Result<Vec<Look>, SampleError>>;
    /// What is asked of a place, in words: `90 % of mitochondria`.
    fn asked(&self) -> String;
    /// What to do where there are no such places.
    fn remedy(&self) -> String;
}

/// When to look at no more places.
#[derive(Debug, Clone, Copy)]
pub struct Enough {
    /// So many are allowed.
    pub allowed: u64,
    /// Voxels of so many were read.
    pub read: u64,
}

/// What a look at a place gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Whether it is allowed.
    pub is_allowed: bool,
    /// The share of it that is inside, where voxels were read for it.
    pub read: Option<f64>,
}

impl Look {
    /// Allowed, as memory says.
    pub const ALLOWED: Look = Look { is_allowed: true, read: None };
}

/// A sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Its voxels.
    pub place: Region,
    /// Its split, as an index of the rule's shares.
    pub split: usize,
    /// Number of the region that it was drawn from.
    pub region: Option<u64>,
}

/// Draws `count` samples, split by split.
pub async fn draw(ground: &Ground, rule: &DrawRule, count: u64, judge: &impl Judge) -> Result<Vec<Drawn>, SampleError> {
    let extent = ground.within.shape();
    if (0..3).any(|axis| extent.0[axis] < rule.size.0[axis]) {
        return Err(SampleError::Unsatisfiable(format!(
            "{}: samples of {} voxels do not fit into {extent} voxels; give a smaller --size",
            ground.name, rule.size
        )));
    }
    let mut random = Random::new(rule.seed, &ground.name);
    let splits = match rule.shares.len() {
        0 | 1 => None,
        _ => {
            let cut = Splits::cut(ground.within, rule.block(), rule.margin(), &rule.shares, &mut random);
            Some(cut.map_err(|error| error.of(&ground.name))?)
        }
    };
    let weights: Vec<u64> = rule.shares.iter().map(|share| share.share).collect();
    let counts = if weights.is_empty() { vec![count] } else { divide(count, &weights) };
    let mut drawing = Drawing { ground, rule, splits, random, regions: 0, drawn: Vec::new() };
    for (split, count) in counts.into_iter().enumerate() {
        drawing.split(split, count, judge).await?;
    }
    Ok(drawing.drawn)
}

/// What was tried for a split.
#[derive(Debug, Default)]
struct Tried {
    /// Places since the last one that was allowed, of regions that do not lie in the split each as one, and how many were read.
    missed: u64,
    read: u64,
    /// Those that lay in the split.
    in_split: u64,
    /// The largest share of one that was refused.
    best: Option<f64>,
}

impl Tried {
    fn refused(&mut self, share: Option<f64>) {
        self.best = share.map_or(self.best, |share| Some(self.best.map_or(share, |best| best.max(share))));
    }
}

struct Drawing<'a> {
    ground: &'a Ground,
    rule: &'a DrawRule,
    splits: Option<Splits>,
    random: Random,
    regions: u64,
    drawn: Vec<Drawn>,
}

impl Drawing<'_> {
    async fn split(&mut self, split: usize, count: u64, judge: &impl Judge) -> Result<(), SampleError> {
        let before = self.drawn.len() as u64;
        let mut tried = Tried::default();
        while self.drawn.len() as u64 - before < count {
            let left = count - (self.drawn.len() as u64 - before);
            let (places, number, most) = self.places(split, left);
            if places.is_empty() {
                // The region lies in no split, or in another one.
                tried.missed += 1;
            }
            let mut candidates: Vec<Region> = Vec::new();
            for place in places {
                tried.missed += 1;
                if !self.is_in(split, &place) {
                    continue;
                }
                tried.in_split += 1;
                if judge.may_be(&place) {
                    candidates.push(place);
                } else if tried.in_split <= LOOKED_AT {
                    tried.refused(judge.share(&place));
                }
            }
            let enough = Enough { allowed: most, read: self.rule.reads().saturating_sub(tried.read) };
            let looks = judge.look(&candidates, enough).await?;
            let mut kept: Vec<Region> = Vec::new();
            for (place, look) in candidates.into_iter().zip(looks) {
                tried.read += u64::from(look.read.is_some());
                match look.is_allowed {
                    true if (kept.len() as u64) < most => kept.push(place),
                    true => {}
                    false => tried.refused(look.read),
                }
            }
            if !kept.is_empty() {
                (tried.missed, tried.read, tried.in_split) = (0, 0, 0);
                self.regions += u64::from(number.is_some());
            }
            self.drawn.extend(kept.into_iter().map(|place| Drawn { place, split, region: number }));
            let found = self.drawn.len() as u64 - before;
            if found < count && (tried.missed >= TRIES || tried.read >= self.rule.reads()) {
                return Err(self.unsatisfiable(split, (found, count), &tried, judge));
            }
        }
        Ok(())
    }

    /// Places to look at next, the number of their region, and how many of them are taken at most.
    fn places(&mut self, split: usize, left: u64) -> (Vec<Region>, Option<u64>, u64) {
        let (within, size) = (self.ground.within, self.rule.size);
        let Some(regions) = self.rule.regions else {
            let places = (0..BATCH).filter_map(|_| self.random.place(&within, size)).collect();
            return (places, None, left);
        };
        let region = self.region(regions.shape);
        if !self.is_in(split, &region) {
            return (Vec::new(), None, 0);
        }
        let tries = regions.samples.saturating_mul(PER_SAMPLE);
        let places = (0..tries).filter_map(|_| self.random.place(&region, size)).collect();
        (places, Some(self.regions), regions.samples.min(left))
    }

    /// A region: anywhere along axes where native blocks are long, else from the start of one on, or at either end.
    fn region(&mut self, shape: Shape) -> Region {
        let within = self.ground.within;
        let mut start = [0; 3];
        let extent: [u64; 3] = std::array::from_fn(|axis| shape.0[axis].min(within.shape().0[axis]));
        for (axis, start) in start.iter_mut().enumerate() {
            let (first, last) = (within.start[axis], within.end[axis] - extent[axis]);
            let (cell, origin) = (self.ground.cell.0[axis].max(1), self.ground.origin[axis]);
            // The first of them that begins at a block.
            let aligned = first.saturating_add(origin).div_ceil(cell).saturating_mul(cell).saturating_sub(origin);
            *start = if cell > extent[axis] {
                first + self.random.below(last - first + 1)
            } else {
                let inner = if aligned > last { 0 } else { (last - aligned) / cell + 1 };
                match self.random.below(inner + 2) {
                    0 => first,
                    1 => last,
                    number => aligned + (number - 2) * cell,
                }
            };
        }
        at(start, Shape(extent))
    }

    fn is_in(&self, split: usize, place: &Region) -> bool {
        self.splits.as_ref().is_none_or(|splits| splits.of(place) == Some(split))
    }

    fn unsatisfiable(
        &self,
        split: usize,
        (found, count): (u64, u64),
        tried: &Tried,
        judge: &impl Judge,
    ) -> SampleError {
        let name = &self.ground.name;
        let of = match self.splits {
            Some(_) => format!(" of split {}", self.rule.shares.get(split).map_or("", |share| &share.name)),
            None => String::new(),
        };
        let begun = format!("{name}: {found} of {count} samples{of} were found");
        if tried.in_split == 0 {
            let (block, margin) = (self.rule.block(), Shape(self.rule.margin()));
            let (what, smaller) = match self.rule.regions {
                Some(regions) => (format!("regions of {} voxels", regions.shape), "--region"),
                None => ("places".to_owned(), "--size"),
            };
            return SampleError::Unsatisfiable(format!(
                "{begun}: none of {TRIES} {what} in a row lies in its blocks of {block} voxels, {margin} away from other \
                 splits; give a larger --split-block, or a smaller --margin or {smaller}"
            ));
        }
        let read = match tried.read {
            0 => String::new(),
            read => format!(", {read} of them read,"),
        };
        let most = match tried.best {
            Some(best) => format!("; of those that were not, the fullest had {:.3} %", best * 100.0),
            None => "; not one of them was worth reading".to_owned(),
        };
        let (missed, asked, remedy) = (tried.missed, judge.asked(), judge.remedy());
        let reason = format!("{begun}: after {missed} places in a row{read} none had {asked}{most}; {remedy}");
        SampleError::Unsatisfiable(reason)
    }
}

/// Native blocks that boxes touch, each once. `origin` and `cell` as of a ground.
pub fn native_blocks(places: impl IntoIterator<Item = Region>, ground: &Ground) -> u64 {
    let mut blocks = BTreeSet::new();
    for place in places {
        let side = |axis: usize| {
            let (cell, origin) = (ground.cell.0[axis].max(1), ground.origin[axis]);
            (place.start[axis] + origin) / cell..(place.end[axis] + origin).div_ceil(cell)
        };
        for z in side(0) {
            for y in side(1) {
                blocks.extend(side(2).map(|x| [z, y, x]));
            }
        }
    }
    blocks.len() as u64
}

#[cfg(test)]
mod tests;
