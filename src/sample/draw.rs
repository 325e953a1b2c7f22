//! Draws samples: boxes of one size anywhere in a box of an image, or several at a time from one small region, which share
//! the blocks that have to be fetched.

use std::collections::BTreeSet;

use super::SampleError;
use super::random::{Random, at};
use super::split::{SplitShare, Splits, divide};
use crate::geometry::{Region, Shape};

/// Places that are drawn one after the other without one that is allowed, before it is given up.
const TRIES: u64 = 200_000;

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
    /// Whether a place may be allowed; asked of each.
    fn may_be(&self, place: &Region) -> bool;
    /// The share of a place that is inside, for messages.
    fn share(&self, place: &Region) -> Option<f64>;
    /// Which of these are allowed, of those that may be.
    fn are_allowed(&self, places: &[Region]) -> impl Future<Output = Result<Vec<bool>, SampleError>>;
    /// What is asked of a place, in words: `90 % of mitochondria`.
    fn asked(&self) -> String;
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
        let (mut missed, mut in_split, mut best) = (0u64, 0u64, None::<f64>);
        while self.drawn.len() as u64 - before < count {
            let left = count - (self.drawn.len() as u64 - before);
            let (places, number, most) = self.places(split, left);
            if places.is_empty() {
                missed += BATCH;
            }
            let mut allowed: Vec<Region> = Vec::new();
            for place in places {
                missed += 1;
                if !self.is_in(split, &place) {
                    continue;
                }
                in_split += 1;
                if judge.may_be(&place) {
                    allowed.push(place);
                } else if in_split <= LOOKED_AT {
                    best = judge.share(&place).map_or(best, |share| Some(best.map_or(share, |best| best.max(share))));
                }
            }
            let are_allowed = judge.are_allowed(&allowed).await?;
            let kept =
                allowed.into_iter().zip(are_allowed).filter_map(|(place, is_allowed)| is_allowed.then_some(place));
            let kept: Vec<Region> = kept.take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
            if !kept.is_empty() {
                missed = 0;
                self.regions += u64::from(number.is_some());
            }
            self.drawn.extend(kept.into_iter().map(|place| Drawn { place, split, region: number }));
            if missed >= TRIES {
                let found = self.drawn.len() as u64 - before;
                return Err(self.unsatisfiable(split, (found, count), in_split, best, judge));
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
        in_split: u64,
        best: Option<f64>,
        judge: &impl Judge,
    ) -> SampleError {
        let name = &self.ground.name;
        let of = match self.splits {
            Some(_) => format!(" of split {}", self.rule.shares.get(split).map_or("", |share| &share.name)),
            None => String::new(),
        };
        let begun = format!("{name}: {found} of {count} samples{of} were found");
        if in_split == 0 {
            let (block, margin) = (self.rule.block(), Shape(self.rule.margin()));
            return SampleError::Unsatisfiable(format!(
                "{begun}: none of {TRIES} places lies in its blocks of {block} voxels, {margin} away from other splits; \
                 give a larger --split-block, or a smaller --margin or --size"
            ));
        }
        let most = best
            .map_or(String::new(), |best| format!("; of those that were not, the fullest had {:.3} %", best * 100.0));
        SampleError::Unsatisfiable(format!(
            "{begun}: after {TRIES} places in a row none had {}{most}; give a smaller --fraction or --size",
            judge.asked()
        ))
    }
}

/// Native blocks that samples touch, each once. `origin` and `cell` as of a ground.
pub fn native_blocks<'a>(places: impl IntoIterator<Item = &'a Region>, ground: &Ground) -> u64 {
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
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::sample::split::{WHOLE, parse};

    /// Allows places that begin left of a voxel.
    struct Left(u64);

    impl Judge for Left {
        fn may_be(&self, place: &Region) -> bool {
            place.start[2] < self.0
        }
        fn share(&self, _: &Region) -> Option<f64> {
            Some(0.25)
        }
        async fn are_allowed(&self, places: &[Region]) -> Result<Vec<bool>, SampleError> {
            Ok(vec![true; places.len()])
        }
        fn asked(&self) -> String {
            "90 % of cells".to_owned()
        }
    }

    fn ground(extent: u64) -> Ground {
        Ground {
            name: "a/em.zarr s0".to_owned(),
            within: Region { start: [0; 3], end: [extent; 3] },
            cell: Shape([64; 3]),
            origin: [0; 3],
        }
    }

    fn rule(size: u64) -> DrawRule {
        let shares = vec![SplitShare { name: "all".to_owned(), share: WHOLE }];
        DrawRule { seed: 7, size: Shape([size; 3]), regions: None, shares, block: None, margin: None }
    }

    fn drawn(ground: &Ground, rule: &DrawRule, count: u64, judge: &Left) -> Result<Vec<Drawn>, SampleError> {
        draw(ground, rule, count, judge).now_or_never().unwrap()
    }

    #[test]
    fn a_seed_draws_the_same_samples_for_ever() {
        let starts = |rule: DrawRule| {
            let drawn = drawn(&ground(1000), &rule, 3, &Left(u64::MAX)).unwrap();
            drawn.iter().map(|sample| sample.place.start).collect::<Vec<_>>()
        };
        let regions = Some(Regions { shape: Shape([256; 3]), samples: 2 });
        let shares = parse("train:0.5,test:0.5").unwrap();
        let all =
            [starts(rule(128)), starts(DrawRule { regions, ..rule(128) }), starts(DrawRule { shares, ..rule(128) })];
        assert_eq!(
            all,
            [
                [[493, 872, 123], [350, 623, 758], [435, 97, 153]],
                [[371, 796, 856], [384, 718, 766], [778, 522, 74]],
                [[25, 232, 72], [727, 16, 487], [701, 541, 399]]
            ]
        );
    }

    #[test]
    fn as_many_are_drawn_as_were_asked_for_by_split_and_region() {
        let regions = Some(Regions { shape: Shape([256; 3]), samples: 8 });
        let shares = parse("train:0.8,val:0.1,test:0.1").unwrap();
        let drawn = drawn(&ground(4000), &DrawRule { regions, shares, ..rule(128) }, 100, &Left(u64::MAX)).unwrap();
        let of = |split| drawn.iter().filter(move |sample| sample.split == split).count();
        assert_eq!((of(0), of(1), of(2)), (80, 10, 10));
        let regions: BTreeSet<_> = drawn.iter().map(|sample| sample.region).collect();
        assert_eq!(regions.len(), 14, "ten of train, two of val, two of test");
        for one in &drawn {
            for other in drawn.iter().filter(|other| other.split != one.split) {
                assert_eq!(one.place.intersection(&other.place), None);
            }
        }
    }

    #[test]
    fn regions_save_native_blocks() {
        let per_sample = |regions: Option<(u64, u64)>| {
            let regions = regions.map(|(side, samples)| Regions { shape: Shape([side; 3]), samples });
            let ground = ground(20_000);
            let drawn = drawn(&ground, &DrawRule { regions, ..rule(128) }, 960, &Left(u64::MAX)).unwrap();
            native_blocks(drawn.iter().map(|sample| &sample.place), &ground) as f64 / 960.0
        };
        assert!((25.5..27.0).contains(&per_sample(None)), "{}", per_sample(None));
        assert!((6.0..8.0).contains(&per_sample(Some((256, 8)))), "{}", per_sample(Some((256, 8))));
        assert!(per_sample(Some((256, 16))) < 4.1, "{}", per_sample(Some((256, 16))));
    }

    #[test]
    fn what_cannot_be_found_is_told_with_what_was_found() {
        let reason = drawn(&ground(1000), &rule(128), 5, &Left(0)).unwrap_err().to_string();
        assert_eq!(
            reason,
            "a/em.zarr s0: 0 of 5 samples were found: after 200000 places in a row none had 90 % of cells; of those that \
             were not, the fullest had 25.000 %; give a smaller --fraction or --size"
        );
        let reason = drawn(&ground(100), &rule(128), 5, &Left(9)).unwrap_err().to_string();
        assert!(reason.contains("samples of 128×128×128 voxels do not fit into 100×100×100 voxels"), "{reason}");
        let narrow = DrawRule { shares: parse("a:0.5,b:0.5").unwrap(), margin: Some(Shape([200; 3])), ..rule(128) };
        let reason = drawn(&ground(600), &narrow, 5, &Left(999)).unwrap_err().to_string();
        assert!(reason.contains("of split a were found: none of 200000 places lies in its blocks"), "{reason}");
    }

    #[test]
    fn places_are_uniform_among_the_allowed_ones() {
        let drawn = drawn(&ground(40), &rule(9), 8000, &Left(8)).unwrap();
        let mut counts = [0f64; 8];
        drawn.iter().for_each(|sample| counts[sample.place.start[2] as usize] += 1.0);
        let chi: f64 = counts.iter().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 18.48, "χ² of {counts:?} is {chi}, p < 0.01");
    }
}
