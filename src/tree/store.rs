//! A store: one view of an image, together with the same view of the image's labels.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::inode::LEVELS;
use super::numbering::Numbering;
use super::{DatasetId, ImageId, TreeError, ViewId};
use crate::geometry::{LevelIndex, Shape};
use crate::view::ViewSpec;
use crate::volume::pyramid::chunk_bytes;
use crate::volume::{Level, Pyramid, View};

/// One view of an image and its labels. Each of them has a view number: the image the first, its labels the next ones.
pub(super) struct TreeStore {
    pub dataset: DatasetId,
    pub image: ImageId,
    /// Name without the ending.
    pub name: String,
    pub spec: ViewSpec,
    /// Tells stores apart that had the same view number at different times; 0 for those of the catalogue.
    pub serial: u64,
    /// References of the kernel to anything in the store, where it is not in the catalogue.
    pub lookups: AtomicU64,
    /// Grows with the time at which the store came to those that the kernel may be asked to forget.
    pub age: AtomicU64,
    first: ViewId,
    /// How many label images the image has.
    labels: u32,
}

/// A view of an image, `None` where it shows nothing of a label image.
pub(super) type Applied = Result<Option<Arc<AppliedView>>, TreeError>;

/// A label image by its member number, with what a view shows of it, `None` where that cannot be told.
pub(super) type Label = (usize, Option<Arc<AppliedView>>);

/// An image as a view shows it.
pub(super) struct AppliedView {
    pub image: ImageId,
    pub view: View,
    pub numberings: Vec<Numbering>,
}

impl AppliedView {
    /// Bytes of each chunk file of a level.
    pub fn chunk_bytes(&self, level: LevelIndex) -> u64 {
        self.level(level).map_or(0, |level| chunk_bytes(level.grid.cell, self.view.pyramid.dtype))
    }

    /// A level that is shown.
    pub fn level(&self, level: LevelIndex) -> Option<&Level> {
        self.view.pyramid.levels.get(self.view.position(level)?)
    }

    /// The voxel of the image's level that is the first of the one that is shown.
    pub fn origin(&self, level: LevelIndex) -> Option<[u64; 3]> {
        self.view.origins.get(self.view.position(level)?).copied()
    }

    /// The numbers of the nodes of a level that is shown.
    pub fn numbering(&self, level: LevelIndex) -> Option<&Numbering> {
        self.numberings.get(self.view.position(level)?)
    }
}

impl TreeStore {
    /// A store of the catalogue.
    pub fn fixed(
        dataset: DatasetId,
        image: ImageId,
        labels: usize,
        name: String,
        spec: ViewSpec,
        first: ViewId,
    ) -> TreeStore {
        let labels = labels as u32;
        let (lookups, age) = (AtomicU64::new(0), AtomicU64::new(0));
        TreeStore { dataset, image, name, spec, serial: 0, lookups, age, first, labels }
    }

    /// A store that was looked up.
    pub fn looked_up(new_store: NewStore, first: ViewId, serial: u64) -> TreeStore {
        let NewStore { dataset, image, labels, name, spec } = new_store;
        TreeStore { serial, ..TreeStore::fixed(dataset, image, labels, name, spec, first) }
    }

    /// The view numbers of the image and its labels.
    pub fn views(&self) -> Range<u32> {
        self.first.0..self.first.0 + self.labels + 1
    }

    /// The view number of the image (0) or a label (from 1).
    pub fn view(&self, member: usize) -> ViewId {
        ViewId(self.first.0 + member as u32)
    }

    /// How many label images the image has, whether or not this view shows them.
    pub fn labels(&self) -> usize {
        self.labels as usize
    }

    /// The image (0) or label image (from 1) behind a member.
    pub fn image_of(&self, member: usize) -> ImageId {
        ImageId(self.image.0 + member as u32)
    }
}

/// A store that has no numbers yet.
pub(super) struct NewStore {
    pub dataset: DatasetId,
    pub image: ImageId,
    pub labels: usize,
    pub name: String,
    pub spec: ViewSpec,
}

/// An image through a view.
pub(super) fn show(spec: ViewSpec, image: ImageId, pyramid: &Pyramid) -> Result<Arc<AppliedView>, TreeError> {
    let view = spec.apply(pyramid)?;
    let numberings = check(&view.pyramid)?;
    Ok(Arc::new(AppliedView { image, view, numberings }))
}

/// Checks that files can be numbered and documents written for an image, and numbers its levels.
pub(super) fn check(pyramid: &Pyramid) -> Result<Vec<Numbering>, TreeError> {
    let limit = usize::from(LEVELS);
    if !(1..=limit).contains(&pyramid.levels.len()) {
        return Err(TreeError::Levels { levels: pyramid.levels.len(), limit });
    }
    if !pyramid.window.0.is_finite() || !pyramid.window.1.is_finite() {
        return Err(TreeError::DisplayWindow);
    }
    let mut numberings = Vec::with_capacity(pyramid.levels.len());
    for (number, level) in pyramid.levels.iter().enumerate() {
        let Shape(shape) = level.grid.shape;
        let chunk = level.grid.cell;
        let file = chunk.bytes(pyramid.dtype.size()).is_some_and(|bytes| i64::try_from(bytes).is_ok());
        if shape.contains(&0) || chunk.0.contains(&0) || !file {
            return Err(TreeError::Shape { level: number, shape: level.grid.shape, chunk });
        }
        let positive = level.scale.iter().all(|size| size.is_finite() && *size > 0.0);
        if !positive || level.translation.iter().any(|position| !position.is_finite()) {
            return Err(TreeError::Scale { level: number });
        }
        let counts = Shape(level.grid.counts());
        numberings.push(Numbering::new(&level.grid).ok_or(TreeError::Grid { level: number, counts })?);
    }
    Ok(numberings)
}
