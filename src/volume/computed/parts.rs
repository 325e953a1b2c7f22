//! How a block is cut into parts that are computed one after the other, so that little memory holds what they are made of.

use super::ComputedLevel;
use crate::geometry::{Grid, Region};

/// Cuts a box of a level into parts of which each is made of at most about `most` bytes of voxels. They are cut where blocks
/// of the level below end, so that no two parts need one block, as far as that allows.
pub(super) fn parts(level: &ComputedLevel, region: Region, below: &Grid, item_size: usize, most: u64) -> Vec<Region> {
    let cut = Cut { level, below, item_size, most: most.max(1) };
    let aligned = cut.along(region, 0, true);
    // Blocks that are much larger than that are used more than once.
    aligned
        .into_iter()
        .flat_map(|part| if cut.bytes(&part) > 2 * cut.most { cut.along(part, 0, false) } else { vec![part] })
        .collect()
}

struct Cut<'a> {
    level: &'a ComputedLevel,
    below: &'a Grid,
    item_size: usize,
    most: u64,
}

impl Cut<'_> {
    fn bytes(&self, region: &Region) -> u64 {
        self.level.below(region).shape().bytes(self.item_size).unwrap_or(u64::MAX)
    }

    /// Cuts along an axis, and parts that are still too large along the next ones.
    fn along(&self, region: Region, axis: usize, is_aligned: bool) -> Vec<Region> {
        let bytes = self.bytes(&region);
        if axis == 3 || bytes <= self.most {
            return vec![region];
        }
        let (start, end) = (region.start[axis], region.end[axis]);
        let longest = (u128::from(end - start) * u128::from(self.most) / u128::from(bytes)).max(1) as u64;
        let cell = self.below.cell.0[axis].max(1);
        let may_cut = |at: u64| !is_aligned || self.level.start(axis, at).is_multiple_of(cell);
        let mut parts = Vec::new();
        let mut first = start;
        while first < end {
            let far = first.saturating_add(longest).min(end);
            let cut = (first + 1..=far).rev().find(|&at| at == end || may_cut(at));
            let next = cut.or_else(|| (far + 1..end).find(|&at| may_cut(at))).unwrap_or(end);
            let mut part = region;
            (part.start[axis], part.end[axis]) = (first, next);
            parts.extend(self.along(part, axis + 1, is_aligned));
            first = next;
        }
        parts
    }
}
