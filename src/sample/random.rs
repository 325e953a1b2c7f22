//! Numbers from a seed that are the same on every machine and with every version of the libraries.
//!
//! The generator is ChaCha with 8 rounds, keyed with a hash of the seed and of what the numbers are for. All that is made of
//! its 64-bit words is written out here, since what libraries make of them may change.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::geometry::{Region, Shape};

/// A stream of numbers.
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream of `seed` for one purpose, which no other purpose changes. The key is the SHA-256 of
    /// `emfs sample 1\nSEED\nPURPOSE`, the seed in decimal digits; the 1 is the version of the numbers, not of lists.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let text = format!("emfs sample 1\n{seed}\n{purpose}");
        Random(ChaCha8Rng::from_seed(Sha256::digest(text).into()))
    }

    /// A number below `end`, which is not 0; all are equally likely.
    pub fn below(&mut self, end: u64) -> u64 {
        below(&mut self.0, end)
    }

    /// Puts the items in any order, all orders being equally likely (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// A box of `size` anywhere in `within`, `None` where it does not fit. Draws z, y and x in this order.
    pub fn place(&mut self, within: &Region, size: Shape) -> Option<Region> {
        let mut start = [0; 3];
        for (axis, first) in start.iter_mut().enumerate() {
            let slack = within.shape().0[axis].checked_sub(size.0[axis])?;
            *first = within.start[axis].checked_add(self.below(slack.checked_add(1)?))?;
        }
        Some(at(start, size))
    }
}

/// The box of `size` that begins at `start`.
pub(super) fn at(start: [u64; 3], size: Shape) -> Region {
    Region { start, end: std::array::from_fn(|axis| start[axis].saturating_add(size.0[axis])) }
}

/// A number below `end`, which is not 0 (D. Lemire, "Fast random integer generation in an interval", 2019). Written out,
/// so that no version of a library draws others from a seed.
pub fn below(random: &mut impl Rng, end: u64) -> u64 {
    loop {
        let product = u128::from(random.next_u64()) * u128::from(end);
        if product as u64 >= end.wrapping_neg() % end {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_purpose_give_the_same_numbers_for_ever() {
        let mut random = Random::new(7, "a/em.zarr s0");
        let drawn: Vec<u64> = (0..4).map(|_| random.below(1_000_000)).collect();
        assert_eq!(drawn, [565_045, 999_024, 141_865, 400_948]);
        assert_ne!(Random::new(7, "b").below(u64::MAX), Random::new(7, "c").below(u64::MAX));
        assert_ne!(Random::new(7, "b").below(u64::MAX), Random::new(8, "b").below(u64::MAX));
    }

    #[test]
    fn all_numbers_are_drawn() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut counts = [0; 7];
        (0..7000).for_each(|_| counts[below(&mut random, 7) as usize] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn all_orders_are_drawn() {
        let mut random = Random::new(0, "orders");
        let mut counts = std::collections::BTreeMap::<[u8; 3], u32>::new();
        for _ in 0..6000 {
            let mut items = [0, 1, 2];
            random.shuffle(&mut items);
            *counts.entry(items).or_default() += 1;
        }
        assert!(counts.len() == 6 && counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_place_lies_within_and_touches_both_ends() {
        let within = Region { start: [5, 6, 7], end: [8, 16, 27] };
        let mut random = Random::new(1, "places");
        let places: Vec<Region> = (0..500).filter_map(|_| random.place(&within, Shape([2, 10, 18]))).collect();
        assert!(places.iter().all(|place| place.intersection(&within) == Some(*place)));
        let starts =
            |axis: usize| places.iter().map(|place| place.start[axis]).collect::<std::collections::BTreeSet<_>>();
        assert_eq!((starts(0), starts(1), starts(2)), ([5, 6].into(), [6].into(), [7, 8, 9].into()));
        assert_eq!(random.place(&within, Shape([4, 1, 1])), None);
    }
}
