//! What is counted of voxels, pass by pass.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::PERCENTILES;
use super::bins::{BINS, Bins};
use super::exact::Sum;
use crate::dtype::order::{Number, bits, keys, number};
use crate::dtype::{DataType, FillValue};

/// Values that are counted at a time.
const DIGIT: usize = 1 << 16;

/// Statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Finite voxels.
    pub voxels: u64,
    /// Voxels that are not finite numbers, and count for nothing.
    pub left_out: u64,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Standard deviation, the squares divided by the number of voxels.
    pub std: Option<f64>,
    /// The least value.
    pub min: Option<ToldValue>,
    /// The greatest value.
    pub max: Option<ToldValue>,
    /// Per cent and value, interpolated linearly between neighbours as numpy does.
    pub percentiles: Vec<(f64, f64)>,
    /// Voxels that have the fill value.
    pub filled: u64,
    /// Edges of the bins, one more than there are bins.
    pub edges: Vec<f64>,
    /// Voxels in each bin.
    pub histogram: Vec<u64>,
}

/// A value of a voxel to be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToldValue(Number);

impl ToldValue {
    /// As a number of JSON, whole ones without a point.
    pub fn json(self) -> Value {
        match self.0 {
            Number::Whole(number) => match (u64::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => json!(number as f64),
            },
            Number::Real(number) => json!(number),
        }
    }
}

impl Summary {
    /// Share of the voxels that have the fill value.
    pub fn fill_fraction(&self) -> Option<f64> {
        (self.voxels > 0).then(|| self.filled as f64 / self.voxels as f64)
    }
}

/// Counts voxels: the same blocks in each pass, until [`VoxelCounter::next_pass`] has the summary.
pub struct VoxelCounter {
    dtype: DataType,
    fill: Option<u64>,
    /// Passes that are over.
    passes: u32,
    voxels: u64,
    left_out: u64,
    filled: u64,
    range: Option<(u64, u64)>,
    /// Voxels by the next 16 bits of their keys, for each beginning that is looked at.
    counts: BTreeMap<u64, Vec<u64>>,
    /// For each place in the order of all voxels: what is known of its key, and its place among those that begin so.
    wanted: Vec<(u64, u64)>,
    whole: i128,
    real: Sum,
    /// What deviations are taken from: whole for whole numbers.
    centre: Number,
    /// Squares of deviations: of whole numbers the low and the high 64 bits apart.
    squares: (u128, u128),
    real_squares: Sum,
    overflowed: bool,
    histogram: Vec<u64>,
    bins: Option<Bins>,
}

impl VoxelCounter {
    /// Nothing counted yet.
    pub fn new(dtype: DataType, fill: FillValue) -> VoxelCounter {
        let mut of_fill = None;
        keys(fill.as_le_bytes(), dtype, |key| of_fill = Some(key));
        VoxelCounter {
            dtype,
            fill: of_fill,
            passes: 0,
            voxels: 0,
            left_out: 0,
            filled: 0,
            range: None,
            counts: BTreeMap::from([(0, vec![0; DIGIT])]),
            wanted: Vec::new(),
            whole: 0,
            real: Sum::default(),
            centre: Number::Whole(0),
            squares: (0, 0),
            real_squares: Sum::default(),
            overflowed: false,
            histogram: vec![0; BINS as usize],
            bins: None,
        }
    }

    /// Counts voxels (little-endian).
    pub fn take(&mut self, data: &[u8]) {
        match (bits(self.dtype), self.passes) {
            (16, _) => self.take_short(data),
            (_, 0) => self.take_first(data),
            _ => self.take_again(data),
        }
    }

    /// All values are counted, which says everything.
    fn take_short(&mut self, data: &[u8]) {
        let Some(counts) = self.counts.get_mut(&0) else { return };
        keys(data, self.dtype, |key| counts[key as usize & (DIGIT - 1)] += 1);
    }

    fn take_first(&mut self, data: &[u8]) {
        let (dtype, shift) = (self.dtype, bits(self.dtype) - 16);
        let Some(counts) = self.counts.get_mut(&0) else { return };
        let (mut low, mut high) = self.range.unwrap_or((u64::MAX, 0));
        let (mut voxels, mut filled, mut whole) = (0, 0, 0i128);
        let real = &mut self.real;
        let left_out = keys(data, dtype, |key| {
            counts[(key >> shift) as usize & (DIGIT - 1)] += 1;
            (low, high) = (low.min(key), high.max(key));
            voxels += 1;
            filled += u64::from(Some(key) == self.fill);
            match number(key, dtype) {
                Number::Whole(number) => whole += number,
                Number::Real(number) => real.add(number),
            }
        });
        self.range = (voxels > 0).then_some((low, high)).or(self.range);
        self.voxels += voxels;
        self.filled += filled;
        self.whole += whole;
        self.left_out += left_out;
    }

    fn take_again(&mut self, data: &[u8]) {
        let shift = bits(self.dtype) - 16 * (self.passes + 1);
        let (dtype, is_second) = (self.dtype, self.passes == 1);
        let mut counts = std::mem::take(&mut self.counts);
        keys(data, dtype, |key| {
            if let Some(counts) = counts.get_mut(&key.checked_shr(shift + 16).unwrap_or(0)) {
                counts[(key >> shift) as usize & (DIGIT - 1)] += 1;
            }
            if is_second {
                self.deviate(number(key, dtype), 1);
            }
        });
        self.counts = counts;
    }

    /// Counts a value in the histogram and its deviation from the centre, so many times.
    fn deviate(&mut self, of: Number, times: u64) {
        if let Some(bins) = &self.bins {
            self.histogram[bins.bin(of)] += times;
        }
        match (of, self.centre) {
            (Number::Whole(number), Number::Whole(centre)) => {
                let deviation = number.abs_diff(centre);
                // Less than 2^64, and so is its square less than 2^128.
                let square = deviation.wrapping_mul(deviation);
                self.squares.0 += (square & u128::from(u64::MAX)) * u128::from(times);
                self.squares.1 += (square >> 64) * u128::from(times);
            }
            (number, centre) => {
                let deviation = number.value() - centre.value();
                self.overflowed |= !(deviation * deviation).is_finite();
                if !self.overflowed {
                    self.real_squares.add_square(deviation);
                }
            }
        }
    }

    /// Ends a pass; gives the summary where no other one is needed.
    pub fn next_pass(&mut self) -> Option<Summary> {
        if self.passes == 0 {
            if bits(self.dtype) == 16 {
                self.sum_short();
            }
            self.begin();
        }
        self.refine();
        self.passes += 1;
        (self.voxels == 0 || 16 * self.passes >= bits(self.dtype)).then(|| self.summary())
    }

    /// What the first pass of longer types knows, of counts of all values.
    fn sum_short(&mut self) {
        let Some(counts) = self.counts.get(&0) else { return };
        let (first, last) = (counts.iter().position(|count| *count > 0), counts.iter().rposition(|count| *count > 0));
        self.range = first.zip(last).map(|(first, last)| (first as u64, last as u64));
        self.voxels = counts.iter().sum();
        self.filled = self.fill.and_then(|fill| counts.get(fill as usize)).copied().unwrap_or(0);
        let total = |(key, count): (usize, &u64)| match number(key as u64, self.dtype) {
            Number::Whole(number) => number * i128::from(*count),
            Number::Real(_) => 0,
        };
        self.whole = counts.iter().enumerate().map(total).sum();
    }

    /// Knows the mean, the range and the places of percentiles after the first pass.
    fn begin(&mut self) {
        let Some(range) = self.range else { return };
        self.bins = Some(Bins::of(self.dtype, range));
        self.centre = match number(range.0, self.dtype) {
            // To the nearest whole number.
            Number::Whole(_) => {
                Number::Whole((2 * self.whole + i128::from(self.voxels)).div_euclid(2 * i128::from(self.voxels)))
            }
            Number::Real(_) => Number::Real(self.mean().unwrap_or(0.0)),
        };
        if bits(self.dtype) == 16 {
            let counts = self.counts.get(&0).cloned().unwrap_or_default();
            for (key, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                self.deviate(number(key as u64, self.dtype), count);
            }
        }
        for percent in PERCENTILES {
            let (below, above, _) = self.between(percent);
            self.wanted.extend([(0, below), (0, above)]);
        }
    }

    /// The places of a percentile's neighbours in the order of all voxels, and where it is between them.
    fn between(&self, percent: f64) -> (u64, u64, f64) {
        let last = self.voxels.saturating_sub(1);
        let place = last as f64 * (percent / 100.0);
        let below = (place.floor() as u64).min(last);
        (below, (below + 1).min(last), place - place.floor())
    }

    /// Adds the digit that was counted to what is known of keys.
    fn refine(&mut self) {
        for (known, place) in &mut self.wanted {
            let Some(counts) = self.counts.get(known) else { continue };
            let mut digit = 0;
            while digit + 1 < DIGIT && *place >= counts[digit] {
                *place -= counts[digit];
                digit += 1;
            }
            *known = *known << 16 | digit as u64;
        }
        self.counts = self.wanted.iter().map(|(known, _)| (*known, vec![0; DIGIT])).collect();
    }

    /// The float that is nearest to the mean.
    fn mean(&self) -> Option<f64> {
        let (key, _) = self.range?;
        Some(match number(key, self.dtype) {
            Number::Whole(_) => {
                let mut sum = Sum::default();
                sum.add_whole(self.whole);
                sum.quotient(&[self.voxels])
            }
            Number::Real(_) => self.real.quotient(&[self.voxels]),
        })
    }

    /// The root of the variance, which for whole numbers is the float that is nearest to it.
    fn std(&self) -> Option<f64> {
        self.range?;
        match self.centre {
            Number::Whole(centre) => {
                let voxels = i128::from(self.voxels);
                // How far the sum is from what it were with the centre as the mean, half of the voxels at most.
                let off = self.whole - centre * voxels;
                let mut sum = Sum::default();
                sum.add_product(voxels, self.squares.0);
                sum.add_product(voxels << 64, self.squares.1);
                sum.add_product(-off.abs(), off.unsigned_abs());
                Some(sum.quotient(&[self.voxels, self.voxels]).sqrt())
            }
            Number::Real(_) if self.overflowed => None,
            Number::Real(_) => Some(self.real_squares.quotient(&[self.voxels]).sqrt()),
        }
    }

    fn summary(&self) -> Summary {
        let known: Vec<f64> = self.wanted.iter().map(|(key, _)| number(*key, self.dtype).value()).collect();
        let percentiles = PERCENTILES.into_iter().zip(known.as_chunks::<2>().0).map(|(percent, [below, above])| {
            let (_, _, between) = self.between(percent);
            let step = above - below;
            // As numpy does, from the nearer one.
            (percent, if between >= 0.5 { above - step * (1.0 - between) } else { below + step * between })
        });
        let told = |key: u64| ToldValue(number(key, self.dtype));
        Summary {
            voxels: self.voxels,
            left_out: self.left_out,
            mean: self.mean(),
            std: self.std(),
            min: self.range.map(|(low, _)| told(low)),
            max: self.range.map(|(_, high)| told(high)),
            percentiles: percentiles.collect(),
            filled: self.filled,
            edges: self.bins.as_ref().map(Bins::edges).unwrap_or_default(),
            histogram: if self.bins.is_some() { self.histogram.clone() } else { Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests;
