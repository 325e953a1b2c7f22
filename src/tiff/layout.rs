//! Where everything lies in a TIFF file of one level: all directories first, so that a program knows the pages after one
//! read, then the voxels of all planes one after another, so that the whole is also one array at one offset.

use std::ops::Range;

use super::description::{describe, resolution};
use super::directory::{PageFields, Width};
use crate::dtype::DataType;
use crate::geometry::Shape;
use crate::volume::{Level, Pyramid, View};

/// Voxels begin at a multiple of this, so that files may be mapped into memory as arrays.
const ALIGNMENT: u64 = 4096;

/// Longest file, which is what a filesystem can tell of one.
const MAX_FILE: u64 = i64::MAX as u64;

/// The parts of a TIFF file.
#[derive(Debug, Clone)]
pub struct TiffLayout {
    shape: Shape,
    dtype: DataType,
    /// Whether 0 is white.
    inverted: bool,
    width: Width,
    description: Vec<u8>,
    resolution: [[u32; 2]; 2],
    /// Where the second page's directory is.
    second: u64,
    voxels: u64,
    size: u64,
}

/// A level that is no TIFF file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a level of {shape} {dtype} voxels is no TIFF file: its numbers are too large for one")]
pub struct TiffError {
    /// Shape of the level.
    pub shape: Shape,
    /// Type of its voxels.
    pub dtype: DataType,
}

impl TiffLayout {
    /// The file of a level as a view shows it: classic where that can hold it, else BigTIFF.
    pub fn of(pyramid: &Pyramid, level: &Level, is_label: bool) -> Result<TiffLayout, TiffError> {
        let (shape, dtype) = (level.grid.shape, pyramid.dtype);
        let description = describe(pyramid, level, is_label);
        let scale = |axis: usize| if pyramid.is_calibrated() { resolution(level.scale[axis]) } else { [1, 1] };
        let of = |width| TiffLayout::sized(shape, dtype, width, &description, [scale(2), scale(1)]);
        let classic = of(Width::Classic).filter(|layout| u32::try_from(layout.size).is_ok());
        let layout = classic.or_else(|| of(Width::Big)).ok_or(TiffError { shape, dtype })?;
        Ok(TiffLayout { inverted: pyramid.inverted && !is_label, ..layout })
    }

    /// The file of a view, with the place of its level among those that are shown: the finest one that a classic file has
    /// space for, because many programs read no other ones; the coarsest as BigTIFF where there is none.
    pub fn of_view(view: &View, is_label: bool) -> Result<(usize, TiffLayout), TiffError> {
        let levels = view.pyramid.levels.iter().enumerate();
        let layouts = levels.map(|(place, level)| Ok((place, TiffLayout::of(&view.pyramid, level, is_label)?)));
        let mut last = Err(TiffError { shape: Shape([0; 3]), dtype: view.pyramid.dtype });
        for layout in layouts {
            let fits = matches!(&layout, Ok((_, layout)) if layout.is_classic());
            last = layout;
            if fits {
                break;
            }
        }
        last
    }

    fn sized(
        shape: Shape,
        dtype: DataType,
        width: Width,
        description: &[u8],
        resolution: [[u32; 2]; 2],
    ) -> Option<TiffLayout> {
        let [planes, height, columns] = shape.0;
        let plane = Shape([1, height, columns]).bytes(dtype.size())?;
        // The fields of width and height have 32 bits in both kinds.
        u32::try_from(height.max(columns)).ok()?;
        let second = width.header() + width.directory(true) + width.beside(description);
        let others = planes.checked_sub(1)?.checked_mul(width.directory(false))?;
        let voxels = second.checked_add(others)?.checked_next_multiple_of(ALIGNMENT)?;
        let size = plane.checked_mul(planes)?.checked_add(voxels).filter(|&size| size <= MAX_FILE)?;
        let description = description.to_vec();
        Some(TiffLayout { shape, dtype, inverted: false, width, description, resolution, second, voxels, size })
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the first voxel is; all others follow in C order.
    pub fn voxels(&self) -> u64 {
        self.voxels
    }

    /// Whether programs that know no BigTIFF read it.
    pub fn is_classic(&self) -> bool {
        self.width == Width::Classic
    }

    /// Bytes of a plane.
    pub fn plane(&self) -> u64 {
        let [_, height, columns] = self.shape.0;
        // It fitted when the layout was made.
        Shape([1, height, columns]).bytes(self.dtype.size()).unwrap_or(u64::MAX)
    }

    /// Bytes of what is before the voxels.
    pub fn front(&self, wanted: Range<u64>) -> Vec<u8> {
        let wanted = wanted.start..wanted.end.min(self.voxels);
        let step = self.width.directory(false);
        let mut bytes = Vec::new();
        let mut part = |start: u64, content: &[u8]| {
            let from = wanted.start.saturating_sub(start).min(content.len() as u64);
            let to = wanted.end.saturating_sub(start).min(content.len() as u64).max(from);
            bytes.extend(content.get(from as usize..to as usize).unwrap_or_default());
        };
        if wanted.start < self.second {
            let mut front = self.width.front(&self.page(0));
            front.resize(self.second as usize, 0);
            part(0, &front);
        }
        let [planes, ..] = self.shape.0;
        let number = |place: u64| place.saturating_sub(self.second) / step + 1;
        for page in (number(wanted.start)..=number(wanted.end)).take_while(|&page| page < planes) {
            part(self.directory(page), &self.width.page(&self.page(page)));
        }
        // What is left is padding, and less than the alignment.
        bytes.resize(wanted.end.saturating_sub(wanted.start) as usize, 0);
        bytes
    }

    /// Where a page's directory is.
    fn directory(&self, page: u64) -> u64 {
        match page.checked_sub(1) {
            None => self.width.header(),
            Some(others) => self.second + others * self.width.directory(false),
        }
    }

    fn page(&self, page: u64) -> PageFields<'_> {
        let [planes, height, columns] = self.shape.0;
        let plane = self.plane();
        PageFields {
            width: columns as u32,
            height: height as u32,
            dtype: self.dtype,
            inverted: self.inverted,
            resolution: self.resolution,
            voxels: self.voxels + page * plane,
            bytes: plane,
            next: if page + 1 < planes { self.directory(page + 1) } else { 0 },
            description: (page == 0).then_some(&self.description),
        }
    }
}
