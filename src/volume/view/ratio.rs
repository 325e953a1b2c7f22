//! Which voxels of a coarser level lie over which of the finest one, along one axis.

use std::ops::Range;

use crate::volume::Level;

/// A ratio that is off by less than this part of it from a whole number is that number, written with few digits.
const ROUNDED: f64 = 1e-3;
/// Lengths that differ by less than this part of them, or by this part of a voxel, are the same.
const NOISE: f64 = 1e-6;

/// How the voxels of two levels lie over each other along an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LevelRatio {
    voxels: Voxels,
    /// Position of the first voxel of the finest level, and of the coarser one, each in its own voxels.
    offsets: (i128, i128),
}

/// Voxels of the finest level per voxel of the coarser one.
#[derive(Debug, Clone, Copy)]
enum Voxels {
    Whole(i128),
    Real(f64),
}

impl LevelRatio {
    /// Of `level` to the `finest` one along an axis, by what their documents say of the sizes of voxels.
    pub(crate) fn of(level: &Level, finest: &Level, axis: usize) -> Self {
        let ratio = level.scale[axis] / finest.scale[axis];
        let extents = (finest.grid.shape.0[axis], level.grid.shape.0[axis]);
        let offsets = (i128::from(finest.offset[axis]), i128::from(level.offset[axis]));
        LevelRatio { voxels: Voxels::of(ratio, extents), offsets }
    }

    /// The coarser level's voxels, whether or not it has them all, over which any of these voxels of the finest level lies.
    pub(crate) fn over(self, finest: Range<u64>) -> Range<u64> {
        let place = |voxel: u64| i128::from(voxel) + self.offsets.0;
        let (start, end) = match self.voxels {
            Voxels::Whole(factor) => {
                (place(finest.start).div_euclid(factor), (place(finest.end) - 1).div_euclid(factor) + 1)
            }
            Voxels::Real(ratio) => {
                // A float cast saturates.
                let start = (place(finest.start) as f64 / ratio + NOISE).floor() as i128;
                let end = (place(finest.end) as f64 / ratio - NOISE).ceil() as i128;
                (start, end.max(start.saturating_add(1)))
            }
        };
        let index = |place: i128| u64::try_from(place.saturating_sub(self.offsets.1).max(0)).unwrap_or(u64::MAX);
        index(start)..index(end)
    }

    /// The finest level's voxels, whether or not it has them all, over which no other than these voxels of the coarser level lie.
    pub(crate) fn below(self, coarser: Range<u64>) -> Range<u64> {
        let place = |voxel: u64| i128::from(voxel) + self.offsets.1;
        let (start, end) = match self.voxels {
            Voxels::Whole(factor) => {
                (place(coarser.start).saturating_mul(factor), place(coarser.end).saturating_mul(factor))
            }
            Voxels::Real(ratio) => {
                let start = (place(coarser.start) as f64 * ratio - NOISE).ceil() as i128;
                (start, (place(coarser.end) as f64 * ratio + NOISE).floor() as i128)
            }
        };
        let index = |place: i128| u64::try_from(place.saturating_sub(self.offsets.0).max(0)).unwrap_or(u64::MAX);
        index(start)..index(end)
    }
}

impl Voxels {
    /// `extents`: voxels of the finest level and of the coarser one.
    fn of(ratio: f64, extents: (u64, u64)) -> Self {
        if !ratio.is_finite() || ratio <= 0.0 {
            return Voxels::Whole(1);
        }
        let whole = ratio.round().max(1.0);
        // Levels that were resized to whole voxels span what the finest does: 1001 voxels in 500 are 2.002 to one.
        let spans = extents.0 as f64 / extents.1.max(1) as f64;
        let is_resized = (ratio - spans).abs() <= NOISE * ratio && (spans - whole).abs() > NOISE * whole;
        if (ratio - whole).abs() > ROUNDED * whole || is_resized {
            return Voxels::Real(ratio);
        }
        Voxels::Whole(whole as i128)
    }
}
