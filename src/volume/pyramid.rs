//! What an image or a view of it looks like: pure data, from which documents and the tree are made.

use std::sync::Arc;

use super::computed::DownsamplingRule;
use crate::catalog::LabelValue;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{Grid, Shape};
use crate::source::{StatedPlace, StorageFormat};

/// A multiscale image.
#[derive(Debug, Clone)]
pub struct Pyramid {
    /// Type of a voxel.
    pub dtype: DataType,
    /// Levels, finest first; never empty.
    pub levels: Vec<Level>,
    /// Coarser levels of labels that can be computed, which are shown as far as their image has levels.
    pub further: Arc<[Level]>,
    /// Value of voxels that are absent at the origin.
    pub fill: FillValue,
    /// Display window `(low, high)`.
    pub window: (f64, f64),
    /// How the window came to be, in words.
    pub window_rule: String,
    /// Whether 0 is the brightest value.
    pub inverted: bool,
    /// Along which of `z, y, x` a voxel size is known; along others scales count voxels, or where the source says numbers without
    /// a unit lengths of the finest voxel's shortest edge, and these carry no unit.
    pub calibrated: [bool; 3],
    /// How the volume is stored at its origin.
    pub format: StorageFormat,
    /// How coarser levels were made, where known.
    pub downsampling: Option<String>,
    /// What values of voxels mean, of a label image.
    pub values: Arc<[LabelValue]>,
    /// What its places are those of.
    pub stated_place: StatedPlace,
    /// The rule by which all levels but s0 are computed, where they are.
    pub computed: Option<DownsamplingRule>,
}

/// One array of a pyramid.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// The array and the chunks it is served in.
    pub grid: Grid,
    /// Nanometres per voxel along `z, y, x`.
    pub scale: [f64; 3],
    /// Position of the centre of the first voxel in nanometres along `z, y, x`.
    pub translation: [f64; 3],
    /// Position of the corner of the first voxel in nanometres along `z, y, x`, where the first voxel of a whole image has its
    /// corner at the image's translation. Levels that begin at one place have one corner and several centres, and so have an
    /// image and labels of other voxels that begin there.
    pub corner: [f64; 3],
    /// Position of the first voxel in voxels of this level along `z, y, x`. Voxels of two levels lie over each other where
    /// these positions say so and not where their indices do.
    pub offset: [i64; 3],
}

impl Pyramid {
    /// Whether the voxel size is known along all axes.
    pub fn is_calibrated(&self) -> bool {
        self.calibrated == [true; 3]
    }
}

#[cfg(test)]
impl Pyramid {
    /// Of these levels, calibrated, with 0 where nothing is stored.
    pub fn for_tests(dtype: DataType, levels: Vec<Level>) -> Self {
        Pyramid {
            dtype,
            levels,
            further: Arc::default(),
            fill: FillValue::zero(dtype),
            window: (0.0, 255.0),
            window_rule: "the source".to_owned(),
            inverted: false,
            calibrated: [true; 3],
            format: StorageFormat::for_tests(),
            downsampling: None,
            values: Arc::default(),
            stated_place: StatedPlace::Centre,
            computed: None,
        }
    }
}

/// A length in nanometres without what computing in binary adds to it, 4.44 in place of 4.4399999999999995: thirteen digits.
pub(crate) fn tidy(length: f64) -> f64 {
    sum([length])
}

/// The sum of lengths in nanometres, with thirteen digits of the largest of them: what is left where they cancel is no length.
pub(crate) fn sum<const PARTS: usize>(lengths: [f64; PARTS]) -> f64 {
    let sum: f64 = lengths.iter().sum();
    let largest = lengths.iter().fold(sum.abs(), |largest, length| largest.max(length.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return sum;
    }
    let decimals = 12 - largest.log10().floor() as i32;
    let told = match usize::try_from(decimals) {
        Ok(decimals) => format!("{sum:.decimals$}"),
        Err(_) => format!("{sum:.12e}"),
    };
    // A negative rest that is nothing is not told as -0.
    told.parse().map_or(sum, |sum: f64| sum + 0.0)
}

/// Bytes of one chunk file, edge chunks being padded to the full size.
pub fn chunk_bytes(chunk: Shape, dtype: DataType) -> u64 {
    chunk.bytes(dtype.size()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_without_the_noise_of_binary_numbers() {
        assert_eq!(tidy((11.84 - 2.96) / 2.0), 4.44);
        assert_eq!(tidy(100_000.0 * 2.96), 296_000.0);
        for plain in [0.0, -4.0, 7.99825, 1e-9, 1e300, f64::INFINITY] {
            assert_eq!(tidy(plain), plain);
        }
        assert!(tidy(f64::NAN).is_nan());
    }

    #[test]
    fn lengths_that_cancel_leave_nothing() {
        assert_eq!(sum([-46.2, 14.0 * 3.3]), 0.0);
        assert!(sum([46.2, -14.0 * 3.3]).is_sign_positive());
        assert_eq!(sum([-23.68, 8.0 * 2.96, 4.44]), 4.44);
        assert_eq!(sum([1e15, -0.25]), 1e15);
        assert_eq!(sum([0.0, 1e-300]), 1e-300);
    }
}
