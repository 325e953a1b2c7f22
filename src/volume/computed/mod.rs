//! Levels that no archive stores: each voxel follows from voxels of the level below by a rule, so that it is the same on every
//! machine.
//!
//! The rules and their rounding are those of TensorStore's `downsample`, level by level. An axis is halved while its voxel
//! is less than twice the smallest one of all axes of more than [`SHORT_AXIS`] voxels and it has as many itself; levels end
//! when a plane is at most [`PLANE_SIDE`] voxels wide and high. Labels go on as far as their image does.

mod compute;
mod kept;
mod parts;
mod rule;

use crate::geometry::{CellIndex, Grid, LevelIndex, Region, Shape};
use crate::source::{Description, Source};

pub(super) use compute::{Below, compute};
pub use kept::KeptLevels;
pub use rule::DownsamplingRule;

/// An axis of so many voxels is not halved.
const SHORT_AXIS: u64 = 64;
/// Planes whose sides are no longer have no coarser level.
const PLANE_SIDE: u64 = 640;
/// Most levels that are computed.
pub(super) const MAX_LEVELS: usize = 16;
/// Longest side of a block of a plane.
const BLOCK_SIDE: u64 = 512;

/// A level that is computed from the one below.
#[derive(Debug, Clone, PartialEq)]
pub struct ComputedLevel {
    /// The array and the blocks it is computed by.
    pub grid: Grid,
    /// Voxels of the level below per voxel, along `z, y, x`: 1 or 2.
    pub factors: [u64; 3],
    /// Position of the first voxel in voxels of this level.
    pub offset: [i64; 3],
    /// Voxel of the level below at which the first voxel begins: -1 or 0 along each axis.
    phase: [i64; 3],
    /// Shape of the level below.
    below: Shape,
}

impl ComputedLevel {
    /// The voxels of the level below that a box of this level is made of.
    pub(super) fn below(&self, region: &Region) -> Region {
        let start = |axis: usize| self.start(axis, region.start[axis]);
        let end = |axis: usize| self.start(axis, region.end[axis]).min(self.below.0[axis]);
        Region { start: std::array::from_fn(start), end: std::array::from_fn(end) }
    }

    /// Where a voxel begins in the level below.
    fn start(&self, axis: usize, voxel: u64) -> u64 {
        voxel.saturating_mul(self.factors[axis]).saturating_add_signed(self.phase[axis])
    }

    /// Position of the centre of the first voxel in voxels of the level below, from the centre of the first one there.
    pub(super) fn centre(&self) -> [f64; 3] {
        std::array::from_fn(|axis| self.phase[axis] as f64 + (self.factors[axis] as f64 - 1.0) / 2.0)
    }
}

/// The computed levels of a source, finest first: none where it has levels of its own. `voxel_size`: of the finest level
/// along `z, y, x`, where it is known.
pub(super) fn levels(description: &Description, voxel_size: [Option<f64>; 3]) -> Vec<ComputedLevel> {
    let mut levels = Vec::new();
    let Some(mut above) = Halving::of(description, voxel_size) else { return levels };
    while levels.len() < MAX_LEVELS && above.shape.0[1].max(above.shape.0[2]) > PLANE_SIDE {
        let factors = above.factors(SHORT_AXIS);
        if factors == [1; 3] {
            break;
        }
        levels.push(above.next(factors));
    }
    levels
}

/// Adds levels of labels that are shown only as far as their image has levels. Axes are halved however short they are.
pub(super) fn extend(levels: &mut Vec<ComputedLevel>, description: &Description, voxel_size: [Option<f64>; 3]) {
    let Some(mut above) = Halving::of(description, voxel_size) else { return };
    for level in levels.iter() {
        above.next(level.factors);
    }
    while levels.len() < MAX_LEVELS {
        let factors = above.factors(0);
        levels.push(above.next(factors));
    }
}

/// What a next level is computed from.
struct Halving {
    stored: Grid,
    is_chunked: bool,
    shape: Shape,
    offset: [i64; 3],
    /// Of a voxel along `z, y, x`.
    size: [f64; 3],
}

impl Halving {
    /// The stored level of a source, where it has no other.
    fn of(description: &Description, voxel_size: [Option<f64>; 3]) -> Option<Self> {
        let [stored] = description.levels.as_slice() else { return None };
        let least = voxel_size.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        // Nothing says that an unknown axis is another one.
        let size = voxel_size.map(|size| size.unwrap_or(if least.is_finite() { least } else { 1.0 }));
        let (grid, offset) = (stored.grid, stored.offset);
        Some(Halving { stored: grid, is_chunked: description.chunked, shape: grid.shape, offset, size })
    }

    /// Which of the axes are halved that have more than so many voxels: those whose voxel is less than twice the smallest of
    /// theirs.
    fn factors(&self, short: u64) -> [u64; 3] {
        let is_long = |axis: usize| self.shape.0[axis] > short;
        let lengths = (0..3).filter(|axis| is_long(*axis)).map(|axis| self.size[axis]);
        let smallest = lengths.fold(f64::INFINITY, f64::min);
        std::array::from_fn(|axis| if is_long(axis) && self.size[axis] < 2.0 * smallest { 2 } else { 1 })
    }

    /// Goes on to the next level.
    fn next(&mut self, factors: [u64; 3]) -> ComputedLevel {
        let Halving { shape, offset, .. } = *self;
        let above = |axis: usize| offset[axis].div_euclid(factors[axis] as i64);
        let first: [i64; 3] = std::array::from_fn(above);
        let phase = std::array::from_fn(|axis| first[axis].saturating_mul(factors[axis] as i64) - offset[axis]);
        let extent = |axis: usize| shape.0[axis].saturating_sub_signed(phase[axis]).div_ceil(factors[axis]);
        let next = Shape(std::array::from_fn(extent));
        let cell = match self.is_chunked {
            true => self.stored.cell,
            false => Shape([1, BLOCK_SIDE.min(next.0[1]), BLOCK_SIDE.min(next.0[2])]),
        };
        self.size = std::array::from_fn(|axis| self.size[axis] * factors[axis] as f64);
        (self.shape, self.offset) = (next, first);
        ComputedLevel { grid: Grid { shape: next, cell }, factors, offset: first, phase, below: shape }
    }
}

/// Some computed levels above the stored one.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    pub(super) levels: Vec<ComputedLevel>,
    /// How many of these, the first ones, are shown in any case; the others only as far as the image of labels has levels.
    pub(super) always: usize,
    pub(super) rule: DownsamplingRule,
    /// Where what is computed is kept.
    pub(super) kept: Option<KeptLevels>,
}

impl Levels {
    /// None at all.
    pub(super) fn none() -> Self {
        Levels { levels: Vec::new(), always: 0, rule: DownsamplingRule::Mean, kept: None }
    }

    /// A level by its number in the pyramid, in which the stored one is the first.
    pub(super) fn get(&self, level: LevelIndex) -> Option<&ComputedLevel> {
        self.levels.get(usize::from(level.0).checked_sub(1)?)
    }

    /// Whether a block of `bytes` is kept on disk, made of what is believed to be at the origin.
    pub(super) async fn is_kept(&self, source: &dyn Source, level: LevelIndex, block: CellIndex, bytes: u64) -> bool {
        let Some(kept) = &self.kept else { return false };
        let Some(versions) = kept::believed(source, self, level, block).await else { return false };
        match kept.place(self, level, block, &versions, bytes) {
            Some(place) => kept.has(place).await,
            None => false,
        }
    }

    /// The voxels of the stored level that a box of a computed one is made of.
    pub(super) fn stored(&self, level: LevelIndex, mut region: Region) -> Option<Region> {
        self.get(level)?;
        for number in (1..=level.0).rev() {
            region = self.get(LevelIndex(number))?.below(&region);
        }
        Some(region)
    }
}

#[cfg(test)]
mod tests;
