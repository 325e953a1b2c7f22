//! How label images are seen through the views of their images.

use std::borrow::Cow;

use crate::geometry::{Region, Shape};
use crate::view::{ViewError, ViewSpec};
use crate::volume::pyramid::sum;
use crate::volume::{Level, Pyramid};

/// Voxels that are off by less than this part of one are where they should be.
const TOLERANCE: f64 = 1e-6;

impl ViewSpec {
    /// Shows a label image through a view of its image, with `show`; `None` where the view leaves it out. A crop shows the
    /// labels that lie over it by nanometres, where these are known of both; of labels of the image's shape and voxel size it shows
    /// the same voxels wherever they lie. Labels without a voxel size and of another shape are left out of crops; those of its
    /// shape have the image's voxel size. The labels keep their own chunks where their voxel type makes files of the view's ones too small or too
    /// large.
    pub fn show_label<T, E>(
        self,
        image: &Pyramid,
        label: &Pyramid,
        show: impl Fn(ViewSpec, &Pyramid) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let are_alike = unlike(image, label).is_none();
        let are_placed = image.is_calibrated() && label.is_calibrated();
        // Labels may have fewer levels than their image, and of a crop none that is as coarse.
        if self.level.is_some() {
            let whole = ViewSpec { chunk: None, crop: None, ..self };
            if matches!(whole.apply(label), Err(ViewError::Level { .. })) {
                return Ok(None);
            }
        }
        let label = match image.levels.first() {
            Some(finest) if are_alike && image.is_calibrated() && label.calibrated == [false; 3] => {
                Cow::Owned(laid_on(finest, label))
            }
            Some(finest) if are_placed && label.by_corner => Cow::Owned(at_corner(finest, label)),
            _ => Cow::Borrowed(label),
        };
        let crop = match self.crop {
            Some(crop) if are_placed && !(are_alike && are_of_one_size(image, &label)) => {
                match over(&crop, image, &label) {
                    Some(crop) => Some(crop),
                    None => return Ok(None),
                }
            }
            Some(_) if !are_alike => return Ok(None),
            crop => crop,
        };
        let spec = ViewSpec { crop, ..self };
        if spec.level.is_some()
            && matches!((ViewSpec { chunk: None, ..spec }).apply(&label), Err(ViewError::Level { .. }))
        {
            return Ok(None);
        }
        show(spec, &label).or_else(|_| show(ViewSpec { chunk: None, ..spec }, &label)).map(Some)
    }
}

/// Whether the voxels of an image and of its labels have one size.
fn are_of_one_size(image: &Pyramid, label: &Pyramid) -> bool {
    let sizes = image.levels.first().zip(label.levels.first());
    sizes.is_some_and(|(image, label)| {
        (0..3).all(|axis| (image.scale[axis] - label.scale[axis]).abs() <= TOLERANCE * image.scale[axis])
    })
}

/// The labels' voxels over which any of a box of the image lies, by nanometres; `None` where there are none.
fn over(crop: &Region, image: &Pyramid, label: &Pyramid) -> Option<Region> {
    let (image, label) = image.levels.first().zip(label.levels.first())?;
    let corner = |level: &Level, axis: usize| level.translation[axis] - level.scale[axis] / 2.0;
    let place = |voxel: u64, axis: usize| {
        let nanometres = corner(image, axis) + voxel as f64 * image.scale[axis] - corner(label, axis);
        nanometres / label.scale[axis]
    };
    // A float cast saturates.
    let start = |axis: usize| (place(crop.start[axis], axis) + TOLERANCE).floor().max(0.0) as u64;
    let end = |axis: usize| (place(crop.end[axis], axis) - TOLERANCE).ceil().max(0.0) as u64;
    let shown = Region { start: std::array::from_fn(start), end: std::array::from_fn(end) };
    shown.intersection(&label.grid.shape.region())
}

/// Labels of which no file says where the centre of their first voxel is, with its corner where the image has one.
fn at_corner(image: &Level, label: &Pyramid) -> Pyramid {
    let size = label.levels.first().map_or(image.scale, |level| level.scale);
    let moved = |from: [f64; 3]| std::array::from_fn(|axis| sum([from[axis], (size[axis] - image.scale[axis]) / 2.0]));
    let level =
        |level: &Level| Level { translation: moved(level.translation), corner: moved(level.corner), ..level.clone() };
    Pyramid { levels: label.levels.iter().map(level).collect(), ..label.clone() }
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
