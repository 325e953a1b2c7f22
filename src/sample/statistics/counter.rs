//! What is counted of voxels, pass by pass.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::PERCENTILES;
use super::bins::{BINS, Bins};
use super::exact::Sum;
use super::number::{Number, bits, keys, number};
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
    /// The nearest float.
    pub fn value(self) -> f64 {
        self.0.value()
    }

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

    fn mean(&self) -> Option<f64> {
        let (key, _) = self.range?;
        let sum = match number(key, self.dtype) {
            Number::Whole(_) => self.whole as f64,
            Number::Real(_) => self.real.value(),
        };
        Some(sum / self.voxels as f64)
    }

    fn std(&self) -> Option<f64> {
        self.range?;
        let voxels = self.voxels as f64;
        match self.centre {
            Number::Whole(centre) => {
                let squares = self.squares.1 as f64 * 2f64.powi(64) + self.squares.0 as f64;
                // How far the mean is from the centre, at most a half.
                let off = (self.whole - centre * i128::from(self.voxels)) as f64 / voxels;
                Some((squares / voxels - off * off).max(0.0).sqrt())
            }
            Number::Real(_) if self.overflowed => None,
            Number::Real(_) => Some((self.real_squares.value() / voxels).sqrt()),
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn summary(blocks: &[Vec<u8>], dtype: DataType) -> Summary {
        let mut counter = VoxelCounter::new(dtype, FillValue::zero(dtype));
        loop {
            blocks.iter().for_each(|block| counter.take(block));
            if let Some(summary) = counter.next_pass() {
                return summary;
            }
        }
    }

    fn bytes(values: &[f64], dtype: DataType) -> Vec<u8> {
        let cast = |value: f64| match dtype {
            DataType::U8 => (value as u8).to_le_bytes().to_vec(),
            DataType::I8 => (value as i8).to_le_bytes().to_vec(),
            DataType::U16 => (value as u16).to_le_bytes().to_vec(),
            DataType::I16 => (value as i16).to_le_bytes().to_vec(),
            DataType::U32 => (value as u32).to_le_bytes().to_vec(),
            DataType::I32 => (value as i32).to_le_bytes().to_vec(),
            DataType::U64 => (value as u64).to_le_bytes().to_vec(),
            DataType::I64 => (value as i64).to_le_bytes().to_vec(),
            DataType::F32 => (value as f32).to_le_bytes().to_vec(),
            DataType::F64 => value.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(|value| cast(*value)).collect()
    }

    #[test]
    fn no_voxels_have_no_statistics() {
        for dtype in DataType::ALL {
            let none = summary(&[], dtype);
            assert_eq!((none.voxels, none.mean, none.std, none.min), (0, None, None, None), "{dtype}");
        }
        let not_a_number = summary(&[f32::NAN.to_le_bytes().to_vec()], DataType::F32);
        assert_eq!((not_a_number.voxels, not_a_number.left_out), (0, 1));
    }

    #[test]
    fn the_extremes_of_a_type_do_not_overflow() {
        let data = [u64::MAX, 0, u64::MAX, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let of = summary(&[data], DataType::U64);
        assert_eq!((of.mean, of.std), (Some(9_223_372_036_854_775_807.5), Some(9_223_372_036_854_775_808.0)));
        assert_eq!(of.max.unwrap().json(), json!(u64::MAX));
        let data = [i64::MIN, i64::MAX].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(summary(&[data], DataType::I64).min.unwrap().json(), json!(i64::MIN));
        let huge = summary(&[bytes(&[f64::MAX, f64::MIN], DataType::F64)], DataType::F64);
        assert_eq!((huge.mean, huge.std), (Some(0.0), None));
    }

    #[test]
    fn the_fill_value_is_counted_and_bins_hold_all_voxels() {
        let of = summary(&[vec![0, 0, 5, 255]], DataType::U8);
        assert_eq!((of.fill_fraction(), of.histogram.iter().sum::<u64>(), of.histogram[5]), (Some(0.5), 4, 1));
        assert_eq!((of.edges.len(), of.edges[0], of.edges[256]), (257, 0.0, 256.0));
        let of = summary(&[bytes(&[-1.0, 0.0, 1.0], DataType::F32)], DataType::F32);
        assert_eq!((of.histogram[0], of.histogram[128], of.histogram[255]), (1, 1, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

        #[test]
        fn statistics_are_those_of_the_sorted_list_in_whatever_blocks_it_comes(
            values in prop::collection::vec(-120i32..120, 1..200), cut in any::<prop::sample::Index>(), at in 0usize..10,
        ) {
            let dtype = DataType::ALL[at];
            let is_signed = !matches!(dtype, DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64);
            let values: Vec<f64> = values.into_iter().map(|v| f64::from(if is_signed { v } else { v.abs() })).collect();
            let (first, second) = values.split_at(cut.index(values.len()));
            let (first, second) = (bytes(first, dtype), bytes(second, dtype));
            let of = summary(&[first.clone(), second.clone()], dtype);
            prop_assert_eq!(&of, &summary(&[second, first], dtype));
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            prop_assert_eq!(of.mean, Some(mean));
            let std = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
            prop_assert!((of.std.unwrap() - std).abs() <= 1e-12 * std.max(1.0), "{:?} {std}", of.std);
            prop_assert_eq!((of.min.unwrap().value(), of.max.unwrap().value()), (sorted[0], sorted[values.len() - 1]));
            prop_assert_eq!(of.histogram.iter().sum::<u64>(), values.len() as u64);
            for (percent, value) in of.percentiles {
                let place = (n - 1.0) * percent / 100.0;
                let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
                prop_assert!((value - (low + (high - low) * place.fract())).abs() < 1e-9);
            }
        }
    }
}
