//! Views: the same image seen through a crop, at one level, or in another chunk shape.

mod label;
mod ratio;
#[cfg(test)]
mod tests;

pub(crate) use label::{in_place, unlike};
pub(crate) use ratio::LevelRatio;

use super::pyramid::{Level, Pyramid, chunk_bytes, sum};
use crate::dtype::DataType;
use crate::geometry::{Grid, LevelIndex, Region, Shape};
use crate::view::{AXES, CHUNK_BYTES, LevelNames, MAX_CHUNK_EXTENT, ViewError, ViewSpec};

/// Longest axis of a level that is shown alone, whose positions are files: 65 536 of them.
const MAX_AXIS: u64 = 1 << 32;
/// A view of a pyramid.
#[derive(Debug, Clone)]
pub struct View {
    /// What the view looks like; its levels are the image's first ones, cropped, or one of them.
    pub pyramid: Pyramid,
    /// For each level, its number in the image.
    pub numbers: Vec<u8>,
    /// What the levels are called.
    pub level_names: LevelNames,
    /// For each level, the voxel of the image's level that is the view's first, `z, y, x`.
    pub origins: Vec<[u64; 3]>,
}

impl ViewSpec {
    /// The view of `image` that this names.
    pub fn apply(&self, image: &Pyramid) -> Result<View, ViewError> {
        let finest = image.levels.first().ok_or(ViewError::NoLevels)?;
        if let Some(crop) = &self.crop {
            check_crop(crop, finest.grid.shape)?;
        }
        if let Some(chunk) = self.chunk {
            check_chunk(chunk, image.dtype)?;
        }
        // Some programs that look for numbered levels (cloud-volume) take the chunk shape of the finest for that of all.
        let first = match self.level {
            Some(level) => image.levels.get(usize::from(level.0)),
            None => Some(finest),
        };
        let common = first.filter(|_| self.level_names == LevelNames::Numbered).map(|first| first.grid.cell);
        let chunk = self.chunk.or(common);
        let mut view = View {
            pyramid: Pyramid { levels: Vec::with_capacity(image.levels.len()), ..image.clone() },
            numbers: vec![],
            level_names: self.level_names,
            origins: vec![],
        };
        for (number, level) in (0u8..).zip(&image.levels) {
            let whole = level.grid.shape.region();
            let shown = match &self.crop {
                None => whole,
                Some(crop) => match level_box(crop, finest, level) {
                    Some(part) => part,
                    // Coarser levels would be holes in the pyramid.
                    None => break,
                },
            };
            let shifted = |from: [f64; 3]| {
                std::array::from_fn(|axis| sum([from[axis], shown.start[axis] as f64 * level.scale[axis]]))
            };
            view.numbers.push(number);
            view.origins.push(shown.start);
            view.pyramid.levels.push(Level {
                grid: Grid { shape: shown.shape(), cell: chunk.unwrap_or(level.grid.cell) },
                scale: level.scale,
                translation: shifted(level.translation),
                corner: shifted(level.corner),
                offset: std::array::from_fn(|axis| level.offset[axis].saturating_add_unsigned(shown.start[axis])),
            });
        }
        if let Some(level) = self.level {
            view.keep_only(level)?;
        }
        Ok(view)
    }
}

impl View {
    /// The place of a level of the image among those that are shown.
    pub fn position(&self, level: LevelIndex) -> Option<usize> {
        self.numbers.iter().position(|&number| number == level.0)
    }

    /// Leaves out all levels but one.
    fn keep_only(&mut self, level: LevelIndex) -> Result<(), ViewError> {
        let last = LevelIndex(self.numbers.last().copied().unwrap_or_default());
        let position = self.position(level).ok_or(ViewError::Level { level, last })?;
        let extents = self.pyramid.levels.get(position).map_or([0; 3], |level| level.grid.shape.0);
        if let Some(extent) = extents.into_iter().find(|extent| *extent > MAX_AXIS) {
            return Err(ViewError::LongAxis { extent, limit: MAX_AXIS });
        }
        self.pyramid.levels = vec![self.pyramid.levels.swap_remove(position)];
        self.origins = vec![self.origins.swap_remove(position)];
        self.numbers = vec![level.0];
        Ok(())
    }
}

/// The part of `level` that a crop of the finest level shows: the voxels over which any of the crop lies. `None` where
/// there are none.
fn level_box(crop: &Region, finest: &Level, level: &Level) -> Option<Region> {
    let mut shown = Region { start: [0; 3], end: [0; 3] };
    for axis in 0..3 {
        let over = LevelRatio::of(level, finest, axis).over(crop.start[axis]..crop.end[axis]);
        shown.start[axis] = over.start;
        shown.end[axis] = over.end.min(level.grid.shape.0[axis]);
    }
    (!shown.is_empty()).then_some(shown)
}

fn check_crop(crop: &Region, extent: Shape) -> Result<(), ViewError> {
    for (axis, name) in AXES.into_iter().enumerate() {
        let (start, end, extent) = (crop.start[axis], crop.end[axis], extent.0[axis]);
        if start >= end {
            return Err(ViewError::EmptyCrop { axis: name, start, end });
        }
        if end > extent {
            return Err(ViewError::Outside { axis: name, start, end, extent });
        }
    }
    Ok(())
}

fn check_chunk(chunk: Shape, dtype: DataType) -> Result<(), ViewError> {
    for (axis, name) in AXES.into_iter().enumerate() {
        let extent = chunk.0[axis];
        if !(1..=MAX_CHUNK_EXTENT).contains(&extent) {
            return Err(ViewError::ChunkExtent { axis: name, extent, limit: MAX_CHUNK_EXTENT });
        }
    }
    let bytes = chunk_bytes(chunk, dtype);
    if bytes < *CHUNK_BYTES.start() {
        return Err(ViewError::SmallChunk { chunk, dtype, bytes });
    }
    if bytes > *CHUNK_BYTES.end() {
        return Err(ViewError::LargeChunk { chunk, dtype, bytes });
    }
    Ok(())
}
