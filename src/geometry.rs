//! Shapes, grids and regions of three-dimensional arrays. Axes are always `z, y, x`.

use std::fmt;

/// Extent along `z, y, x`, in voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape(pub [u64; 3]);

impl Shape {
    /// Number of voxels, or `None` where that does not fit 64 bits.
    pub fn voxels(self) -> Option<u64> {
        self.0.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent))
    }

    /// Bytes of a dense array of this shape with `item_size` bytes per voxel, or `None` on overflow.
    pub fn bytes(self, item_size: usize) -> Option<u64> {
        self.voxels()?.checked_mul(item_size as u64)
    }

    /// The region that starts at the origin and covers the whole shape.
    pub fn region(self) -> Region {
        Region { start: [0; 3], end: self.0 }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [z, y, x] = self.0;
        write!(f, "{z}×{y}×{x}")
    }
}

/// Number of a level in a pyramid; 0 is the finest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LevelIndex(pub u8);

impl fmt::Display for LevelIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// Position of a cell (a block of a source or a chunk of a view) in its grid, `z, y, x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellIndex(pub [u64; 3]);

impl fmt::Display for CellIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [z, y, x] = self.0;
        write!(f, "{z}/{y}/{x}")
    }
}

/// A half-open box of voxels, `start` inclusive and `end` exclusive, `z, y, x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// First voxel.
    pub start: [u64; 3],
    /// One past the last voxel.
    pub end: [u64; 3],
}

impl Region {
    /// Extent along each axis; zero where the region is empty.
    pub fn shape(&self) -> Shape {
        Shape(std::array::from_fn(|axis| self.end[axis].saturating_sub(self.start[axis])))
    }

    /// Whether the region holds no voxel.
    pub fn is_empty(&self) -> bool {
        (0..3).any(|axis| self.end[axis] <= self.start[axis])
    }

    /// The part that both regions share, or `None` where they share none.
    pub fn intersection(&self, other: &Region) -> Option<Region> {
        let shared = Region {
            start: std::array::from_fn(|axis| self.start[axis].max(other.start[axis])),
            end: std::array::from_fn(|axis| self.end[axis].min(other.end[axis])),
        };
        (!shared.is_empty()).then_some(shared)
    }

    /// The same region seen from an origin at `origin`, which must not lie beyond `start`.
    pub fn relative_to(&self, origin: [u64; 3]) -> Region {
        Region {
            start: std::array::from_fn(|axis| self.start[axis] - origin[axis]),
            end: std::array::from_fn(|axis| self.end[axis] - origin[axis]),
        }
    }
}

/// A regular grid that divides an array of `shape` into cells of `cell`; cells at the far edges are clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Shape of the whole array.
    pub shape: Shape,
    /// Shape of one cell; no extent is zero.
    pub cell: Shape,
}

impl Grid {
    /// Number of cells along each axis.
    pub fn counts(&self) -> [u64; 3] {
        std::array::from_fn(|axis| self.shape.0[axis].div_ceil(self.cell.0[axis].max(1)))
    }

    /// Whether `index` lies in the grid.
    pub fn contains(&self, index: CellIndex) -> bool {
        let counts = self.counts();
        (0..3).all(|axis| index.0[axis] < counts[axis])
    }

    /// The voxels of a cell, clipped to the array.
    pub fn region(&self, index: CellIndex) -> Region {
        let start = std::array::from_fn(|axis| index.0[axis].saturating_mul(self.cell.0[axis]));
        Region {
            start,
            end: std::array::from_fn(|axis| start[axis].saturating_add(self.cell.0[axis]).min(self.shape.0[axis])),
        }
    }

    /// The voxels of all cells that hold any voxel of `region`: a box that is read by whole cells. Nothing of a box beyond the array.
    pub fn whole_cells(&self, region: &Region) -> Region {
        let clipped = region.intersection(&self.shape.region()).unwrap_or(Region { start: [0; 3], end: [0; 3] });
        let cell: [u64; 3] = self.cell.0.map(|extent| extent.max(1));
        let end = |axis: usize| clipped.end[axis].div_ceil(cell[axis]).saturating_mul(cell[axis]);
        Region {
            start: std::array::from_fn(|axis| clipped.start[axis] / cell[axis] * cell[axis]),
            end: std::array::from_fn(|axis| end(axis).min(self.shape.0[axis])),
        }
    }

    /// The cells that hold any voxel of `region`, in `z, y, x` order.
    pub fn cells_in(&self, region: &Region) -> impl Iterator<Item = CellIndex> + use<> {
        let clipped = region.intersection(&self.shape.region()).unwrap_or(Region { start: [0; 3], end: [0; 3] });
        let first: [u64; 3] = std::array::from_fn(|axis| clipped.start[axis] / self.cell.0[axis].max(1));
        let end: [u64; 3] = std::array::from_fn(|axis| clipped.end[axis].div_ceil(self.cell.0[axis].max(1)));
        (first[0]..end[0]).flat_map(move |z| {
            (first[1]..end[1]).flat_map(move |y| (first[2]..end[2]).map(move |x| CellIndex([z, y, x])))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn whole_cells_are_those_that_hold_a_voxel_of_the_box_and_no_others(
            shape in prop::array::uniform3(1u64..30), cell in prop::array::uniform3(1u64..12),
            start in prop::array::uniform3(0u64..40), extent in prop::array::uniform3(1u64..20),
        ) {
            let grid = Grid { shape: Shape(shape), cell: Shape(cell) };
            let region = Region { start, end: std::array::from_fn(|axis| start[axis] + extent[axis]) };
            let cells: Vec<Region> = grid.cells_in(&region).map(|cell| grid.region(cell)).collect();
            let whole = grid.whole_cells(&region);
            prop_assert!(cells.iter().all(|cell| cell.intersection(&whole) == Some(*cell)));
            let voxels: u64 = cells.iter().map(|cell| cell.shape().voxels().unwrap()).sum();
            prop_assert_eq!(whole.shape().voxels().unwrap(), voxels);
        }
    }

    #[test]
    fn a_box_at_the_end_of_numbers_has_whole_cells() {
        let grid = Grid { shape: Shape([u64::MAX; 3]), cell: Shape([1 << 40; 3]) };
        let region = Region { start: [u64::MAX - 1; 3], end: [u64::MAX; 3] };
        assert_eq!(grid.whole_cells(&region).end, [u64::MAX; 3]);
    }
}
