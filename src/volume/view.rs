//! Views: the same image seen through a crop or another chunk shape, and the grammar of their names.

use super::Pyramid;
use crate::geometry::Region;
use crate::geometry::Shape;

/// A parsed view name, without the image's name and the `.zarr` ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ViewSpec {
    /// Half-open voxel box of level s0.
    pub crop: Option<Region>,
    /// Chunk shape in place of the image's own.
    pub chunk: Option<Shape>,
}

/// A view of a pyramid.
#[derive(Debug, Clone)]
pub struct View {
    /// What the view looks like; its levels are the image's first ones, cropped.
    pub pyramid: Pyramid,
    /// For each level, the voxel of the image's level that is the view's first, `z, y, x`.
    pub origins: Vec<[u64; 3]>,
}

/// Why a name is no view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {}
