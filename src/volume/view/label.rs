//! How label images are seen through the views of their images.

use std::borrow::Cow;

use crate::geometry::Shape;
use crate::view::{ViewError, ViewSpec};
use crate::volume::pyramid::sum;
use crate::volume::{Level, Pyramid};

impl ViewSpec {
    /// Shows a label image through a view of its image, with `show`; `None` where the view leaves it out. A box of the
    /// image means the same voxels of the labels only if both have one shape, so others are left out of crops. Labels of
    /// that shape without a voxel size have the image's. The labels keep their own chunks where their voxel type makes
    /// files of the view's ones too small or too large.
    pub fn show_label<T, E>(
        self,
        image: &Pyramid,
        label: &Pyramid,
        show: impl Fn(ViewSpec, &Pyramid) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let are_alike = unlike(image, label).is_none();
        if self.crop.is_some() && !are_alike {
            return Ok(None);
        }
        // Labels may have fewer levels than their image, and of a crop none that is as coarse.
        let alone = ViewSpec { chunk: None, ..self };
        if self.level.is_some() && matches!(alone.apply(label), Err(ViewError::Level { .. })) {
            return Ok(None);
        }
        let label = match image.levels.first() {
            Some(finest) if are_alike && image.is_calibrated() && label.calibrated == [false; 3] => {
                Cow::Owned(laid_on(finest, label))
            }
            _ => Cow::Borrowed(label),
        };
        show(self, &label).or_else(|_| show(alone, &label)).map(Some)
    }
}

/// The shapes of an image and of its label image, where they differ.
pub(crate) fn unlike(image: &Pyramid, label: &Pyramid) -> Option<(Shape, Shape)> {
    let shape = |pyramid: &Pyramid| pyramid.levels.first().map(|level| level.grid.shape);
    shape(image).zip(shape(label)).filter(|(image, label)| image != label)
}

/// Labels whose scales count voxels, with their first voxel and its size as those of the image are.
fn laid_on(image: &Level, label: &Pyramid) -> Pyramid {
    let (first, corner) = label.levels.first().map_or(([0.0; 3], [0.0; 3]), |level| (level.translation, level.corner));
    let level = |level: &Level| Level {
        grid: level.grid,
        scale: std::array::from_fn(|axis| level.scale[axis] * image.scale[axis]),
        translation: std::array::from_fn(|axis| {
            sum([image.translation[axis], (level.translation[axis] - first[axis]) * image.scale[axis]])
        }),
        corner: std::array::from_fn(|axis| {
            sum([image.corner[axis], (level.corner[axis] - corner[axis]) * image.scale[axis]])
        }),
        offset: level.offset,
    };
    Pyramid { levels: label.levels.iter().map(level).collect(), calibrated: [true; 3], ..label.clone() }
}
