//! Bins of a histogram.

use crate::dtype::DataType;
use crate::dtype::order::{Number, number};

/// Bins of a histogram.
pub const BINS: u64 = 256;

/// Bins of equal width.
pub enum Bins {
    /// `width` whole numbers each, from `low` on.
    Whole {
        /// The first.
        low: i128,
        /// Of each.
        width: i128,
    },
    /// Equal parts of what lies between two numbers.
    Real {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
}

impl Bins {
    /// Those of a range of keys.
    pub fn of(dtype: DataType, range: (u64, u64)) -> Bins {
        match (number(range.0, dtype), number(range.1, dtype)) {
            (Number::Whole(low), Number::Whole(high)) => {
                let width = (high - low) / i128::from(BINS) + 1;
                Bins::Whole { low, width }
            }
            (low, high) => Bins::Real { low: low.value(), high: high.value() },
        }
    }

    /// The bin of a value of the range.
    pub fn bin(&self, of: Number) -> usize {
        let bin = match (self, of) {
            (Bins::Whole { low, width }, Number::Whole(number)) => ((number - low) / width) as u64,
            (Bins::Real { low, high }, of) if high > low => {
                // A cast saturates. Halves, since the difference of two floats may be too large for one.
                ((of.value() / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) * BINS as f64) as u64
            }
            _ => 0,
        };
        bin.min(BINS - 1) as usize
    }

    /// Edges, one more than there are bins.
    pub fn edges(&self) -> Vec<f64> {
        let edge = |at: u64| match self {
            Bins::Whole { low, width } => (low + width * i128::from(at)) as f64,
            Bins::Real { low, high } => low + (high / 2.0 - low / 2.0) * (at as f64 / BINS as f64) * 2.0,
        };
        (0..=BINS).map(edge).collect()
    }
}
