//! Splits that share no voxel: space is cut into blocks, each block belongs to one split, and a sample belongs to a split
//! where it and a margin around it lie in blocks of that split alone.

use super::SampleError;
use super::random::Random;
use crate::geometry::{Region, Shape};

/// Most blocks that space is cut into.
const MAX_BLOCKS: u64 = 1 << 24;

/// Units that a share is counted in.
pub const WHOLE: u64 = 1_000_000_000;

/// A split and its share of the samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitShare {
    /// Its name.
    pub name: String,
    /// Its share, in units of which [`WHOLE`] are all.
    pub share: u64,
}

/// Space cut into blocks of splits.
#[derive(Debug)]
pub struct Splits {
    within: Region,
    /// Blocks along each axis; all of about one size.
    counts: [u64; 3],
    /// The split of each block, x fastest.
    owners: Vec<u8>,
    margin: [u64; 3],
}

/// Reads `NAME:SHARE,…`, whose shares make one.
pub fn parse(text: &str) -> Result<Vec<SplitShare>, String> {
    let mut shares: Vec<SplitShare> = Vec::new();
    for part in text.split(',') {
        let (name, share) =
            part.split_once(':').ok_or_else(|| format!("`{part}` is not NAME:SHARE, such as train:0.8"))?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("`{name}` is no name of a split: those are letters, digits, `_` and `-`"));
        }
        if shares.iter().any(|other| other.name == name) {
            return Err(format!("`{name}` is there twice"));
        }
        let number = share.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
        let number = number.ok_or_else(|| format!("`{share}` is no share above 0 and up to 1"))?;
        shares.push(SplitShare { name: name.to_owned(), share: (number * WHOLE as f64).round() as u64 });
    }
    let sum: u64 = shares.iter().map(|share| share.share).sum();
    if shares.len() > 255 || sum.abs_diff(WHOLE) > WHOLE / 1_000_000 {
        return Err(format!("the shares make {}, not 1", sum as f64 / WHOLE as f64));
    }
    Ok(shares)
}

/// `total` divided by weights, so that no part is off by one or more; what is left goes to the largest rests.
pub fn divide(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().copied().map(u128::from).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: u64| u128::from(total) * u128::from(weight);
    let mut parts: Vec<u64> = weights.iter().map(|weight| (exact(*weight) / sum) as u64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&part| (std::cmp::Reverse(exact(weights[part]) % sum), part));
    let left = total - parts.iter().sum::<u64>();
    order.into_iter().take(left as usize).for_each(|part| parts[part] += 1);
    parts
}

impl Splits {
    /// Cuts `within` into blocks of at least `block` voxels, of which each split gets its share and at least one.
    pub fn cut(
        within: Region,
        block: Shape,
        margin: [u64; 3],
        shares: &[SplitShare],
        random: &mut Random,
    ) -> Result<Splits, SampleError> {
        let extent = within.shape().0;
        let counts: [u64; 3] = std::array::from_fn(|axis| (extent[axis] / block.0[axis].max(1)).max(1));
        let blocks = Shape(counts).voxels().filter(|blocks| *blocks <= MAX_BLOCKS);
        let Some(blocks) = blocks else {
            return Err(SampleError::Unsatisfiable(format!(
                "blocks of {block} voxels are more than {MAX_BLOCKS}; give a larger --split-block"
            )));
        };
        if blocks < shares.len() as u64 {
            return Err(SampleError::Unsatisfiable(format!(
                "{} splits need a block of space each, and blocks of {block} voxels make {blocks} of {}; give a smaller \
                 --split-block or --size",
                shares.len(),
                within.shape()
            )));
        }
        let weights: Vec<u64> = shares.iter().map(|share| share.share).collect();
        let rest = divide(blocks - shares.len() as u64, &weights);
        let mut owners: Vec<u8> = Vec::with_capacity(blocks as usize);
        for (split, count) in (0u8..).zip(rest) {
            owners.extend(std::iter::repeat_n(split, count as usize + 1));
        }
        random.shuffle(&mut owners);
        Ok(Splits { within, counts, owners, margin })
    }

    /// The split that a box and the margin around it lie in; `None` where they lie in several, or outside.
    pub fn of(&self, region: &Region) -> Option<usize> {
        let (mut first, mut last) = ([0; 3], [0; 3]);
        for axis in 0..3 {
            let start = region.start[axis].saturating_sub(self.margin[axis]).max(self.within.start[axis]);
            let end = region.end[axis].saturating_add(self.margin[axis]).min(self.within.end[axis]);
            if start >= end {
                return None;
            }
            (first[axis], last[axis]) = (self.block(axis, start), self.block(axis, end - 1));
        }
        let [_, height, width] = self.counts;
        let mut owner = None;
        for z in first[0]..=last[0] {
            for y in first[1]..=last[1] {
                for x in first[2]..=last[2] {
                    let of = *self.owners.get(((z * height + y) * width + x) as usize)?;
                    if *owner.get_or_insert(of) != of {
                        return None;
                    }
                }
            }
        }
        owner.map(usize::from)
    }

    /// Where a block begins along an axis, from the start of all of them.
    fn begin(&self, axis: usize, block: u64) -> u64 {
        (u128::from(self.within.shape().0[axis]) * u128::from(block) / u128::from(self.counts[axis])) as u64
    }

    /// The block with a voxel.
    fn block(&self, axis: usize, voxel: u64) -> u64 {
        let (at, extent) = (voxel - self.within.start[axis], self.within.shape().0[axis].max(1));
        let mut block = (u128::from(at) * u128::from(self.counts[axis]) / u128::from(extent)) as u64;
        while block + 1 < self.counts[axis] && self.begin(axis, block + 1) <= at {
            block += 1;
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::random::at;

    fn shares(text: &str) -> Vec<SplitShare> {
        parse(text).unwrap()
    }

    #[test]
    fn shares_make_one() {
        assert_eq!(shares("train:0.8,val:0.1,test:0.1").len(), 3);
        assert_eq!(shares("all:1"), [SplitShare { name: "all".to_owned(), share: WHOLE }]);
        for wrong in ["", "train", "train:0.8", "a:0.5,a:0.5", "a:0,b:1", "a:nan", "a b:1", "a:0.5,b:0.6", "a:-1,b:2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_make_the_whole_and_none_is_off_by_one() {
        assert_eq!(divide(10, &[8, 1, 1]), [8, 1, 1]);
        assert_eq!(divide(7, &[8, 1, 1]), [5, 1, 1]);
        assert_eq!(divide(1, &[1, 1, 1]), [1, 0, 0]);
        assert_eq!(divide(u64::MAX, &[u64::MAX, 1]), [u64::MAX - 1, 1]);
        assert_eq!(divide(5, &[0, 0]), [0, 0]);
    }

    #[test]
    fn space_that_is_too_small_for_all_splits_is_an_error() {
        let within = Region { start: [0; 3], end: [100; 3] };
        let cut = Splits::cut(within, Shape([60; 3]), [0; 3], &shares("a:0.5,b:0.5"), &mut Random::new(0, ""));
        let reason = cut.unwrap_err().to_string();
        assert!(reason.contains("2 splits need a block of space each") && reason.contains("--split-block"), "{reason}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn samples_of_two_splits_are_at_least_a_margin_apart(
            start in prop::array::uniform3(0u64..50), extent in prop::array::uniform3(40u64..90), block in 8u64..24,
            margin in 0u64..4, seed in any::<u64>(),
        ) {
            let within = at(start, Shape(extent));
            let mut random = Random::new(seed, "test");
            let cut = Splits::cut(within, Shape([block; 3]), [margin; 3], &shares("a:0.6,b:0.4"), &mut random).unwrap();
            let drawn: Vec<Region> = (0..200).filter_map(|_| random.place(&within, Shape([5; 3]))).collect();
            let of = |split| drawn.iter().filter(|region| cut.of(region) == Some(split)).collect::<Vec<_>>();
            for a in of(0) {
                let wider = Region { start: a.start.map(|v| v.saturating_sub(margin)), end: a.end.map(|v| v + margin) };
                for b in of(1) {
                    prop_assert_eq!(wider.intersection(b), None);
                }
            }
        }

        #[test]
        fn every_voxel_is_in_the_block_that_begins_before_it(extent in 1u64..500, count in 1u64..40, at in any::<prop::sample::Index>()) {
            let within = Region { start: [7; 3], end: [7 + extent; 3] };
            let counts = [count.min(extent); 3];
            let splits = Splits { within, counts, owners: Vec::new(), margin: [0; 3] };
            let voxel = at.index(extent as usize) as u64;
            let block = splits.block(0, 7 + voxel);
            prop_assert!(splits.begin(0, block) <= voxel && voxel < splits.begin(0, block + 1));
        }
    }
}
