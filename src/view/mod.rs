//! What a view is called: a crop, one level, another chunk shape, and the grammar of their names. What it looks like is for
//! `crate::volume` to say.

mod error;
mod level_names;
mod name;

pub use error::ViewError;
pub use level_names::LevelNames;

use crate::geometry::{LevelIndex, Region, Shape};

/// Names of the axes, in the order of every triple.
pub(crate) const AXES: [char; 3] = ['z', 'y', 'x'];

/// Longest extent of a chosen chunk along an axis, in voxels.
pub(crate) const MAX_CHUNK_EXTENT: u64 = 4096;
/// Sizes of the files that a chosen chunk shape may lead to.
pub(crate) const CHUNK_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=64 << 20;

/// A parsed view name, without the image's name and the `.zarr` ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ViewSpec {
    /// Half-open voxel box of level s0.
    pub crop: Option<Region>,
    /// The only level that is shown.
    pub level: Option<LevelIndex>,
    /// What the levels are called.
    pub level_names: LevelNames,
    /// Chunk shape in place of the image's own.
    pub chunk: Option<Shape>,
    /// Whether the name gives three equal extents one by one. That is a name of its own, and so a directory of its own.
    pub spelled_out: bool,
}

impl ViewSpec {
    /// Whether chunks of this shape make files that are neither too short nor too long, whatever the type of the voxels.
    pub fn suits_any_type(chunk: Shape) -> bool {
        let holds = |item_size: usize| chunk.bytes(item_size).is_some_and(|bytes| CHUNK_BYTES.contains(&bytes));
        holds(1) && holds(8)
    }
}
