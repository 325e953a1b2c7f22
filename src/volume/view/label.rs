//! How label images are seen through the views of their images.

use std::borrow::Cow;
use std::sync::Arc;

use crate::geometry::{Region, Shape};
use crate::source::StatedPlace;
use crate::view::{ViewError, ViewSpec};
use crate::volume::computed::DownsamplingRule;
use crate::volume::pyramid::{sum, tidy};
use crate::volume::{Level, Pyramid};

/// Voxels that are off by less than this part of one are where they should be.
const TOLERANCE: f64 = 1e-6;

impl ViewSpec {
    /// Shows a label image through a view of its image, with `show`; `None` where the view leaves it out. It has as many levels as
    /// the image, as far as there are so many or they can be computed. A crop shows the labels that lie over it by nanometres,
    /// where these are known of both; of labels of the image's shape and voxel size it shows the same voxels wherever they lie.
    /// Labels without a voxel size and of another shape are left out of crops; those of its shape have the image's voxel size.
    /// The labels keep their own chunks where their voxel type makes files of the view's ones too small or too large.
    pub fn show_label<T, E>(
        self,
        image: &Pyramid,
        label: &Pyramid,
        show: impl Fn(ViewSpec, &Pyramid) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let are_alike = unlike(image, label).is_none();
        let are_placed = image.is_calibrated() && label.is_calibrated();
        let all_levels = ViewSpec { crop: self.crop, ..ViewSpec::default() }.apply(image);
        let count = all_levels.map_or(image.levels.len(), |view| view.numbers.len());
        let label = with_levels(count, in_place(image, label));
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
        // Labels may have fewer levels than their image all the same, and of a crop none that is as coarse.
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

/// Labels as they lie over their image: where they state no voxel size and have its shape with the image's, and where they state
/// no place with the corner of their first voxel where the image's has its own. OME-NGFF has as many levels of labels as of
/// their image, so that computed ones beyond these are left out, and further ones added where they can be computed.
pub(crate) fn in_place<'a>(image: &Pyramid, label: &'a Pyramid) -> Cow<'a, Pyramid> {
    let label = with_levels(image.levels.len(), Cow::Borrowed(label));
    let (Some(first), true) = (image.levels.first(), image.is_calibrated()) else { return label };
    if unlike(image, &label).is_none() && label.calibrated == [false; 3] {
        return Cow::Owned(laid_on(first, &label));
    }
    match label.levels.first() {
        Some(own) if label.is_calibrated() => Cow::Owned(moved(first, own, &label)),
        _ => label,
    }
}

/// Labels with so many levels, where there are so many or they can be computed. Those that their source has are all there.
fn with_levels(count: usize, label: Cow<'_, Pyramid>) -> Cow<'_, Pyramid> {
    let there = label.levels.len();
    let is_fit = match there < count {
        true => label.further.is_empty(),
        false => there == count || label.computed.is_none(),
    };
    if is_fit {
        return label;
    }
    let levels: Vec<Level> = label.levels.iter().chain(&*label.further).take(count).cloned().collect();
    let computed = match levels.len() {
        0 | 1 => None,
        more if more > there => Some(DownsamplingRule::Mode),
        _ => label.computed,
    };
    Cow::Owned(Pyramid { levels, further: Arc::default(), computed, ..label.into_owned() })
}

/// The same of labels whose voxel size is known; `own` is their finest level. Corners are counted as those of the image are.
fn moved(image: &Level, own: &Level, label: &Pyramid) -> Pyramid {
    // Along an axis, how much farther a first voxel of the labels' size has its centre from its corner than the image's.
    let half = |axis: usize| (own.scale[axis] - image.scale[axis]) / 2.0;
    let corner: [f64; 3] = std::array::from_fn(|axis| match label.stated_place {
        StatedPlace::Nowhere => image.corner[axis],
        StatedPlace::Corner => own.corner[axis],
        StatedPlace::Centre => sum([image.corner[axis], own.translation[axis], -image.translation[axis], -half(axis)]),
    });
    let centre: [f64; 3] = std::array::from_fn(|axis| match label.stated_place {
        StatedPlace::Centre => own.translation[axis],
        _ => sum([image.translation[axis], corner[axis], -image.corner[axis], half(axis)]),
    });
    let shift =
        |to: [f64; 3], of: [f64; 3], from: [f64; 3]| std::array::from_fn(|axis| sum([to[axis], of[axis], -from[axis]]));
    let level = |level: &Level| Level {
        translation: shift(centre, level.translation, own.translation),
        corner: shift(corner, level.corner, own.corner),
        ..level.clone()
    };
    Pyramid { levels: label.levels.iter().map(level).collect(), ..label.clone() }
}

/// The shapes of an image and of its label image, where they differ.
pub(crate) fn unlike(image: &Pyramid, label: &Pyramid) -> Option<(Shape, Shape)> {
    let shape = |pyramid: &Pyramid| pyramid.levels.first().map(|level| level.grid.shape);
    shape(image).zip(shape(label)).filter(|(image, label)| image != label)
}

/// Labels whose scales count voxels, with their first voxel and its size as those of the image are.
fn laid_on(image: &Level, label: &Pyramid) -> Pyramid {
    let first = label.levels.first();
    let (start, corner) = first.map_or(([0.0; 3], [0.0; 3]), |level| (level.translation, level.corner));
    // The labels' finest voxel is one of the image.
    let size: [f64; 3] = std::array::from_fn(|axis| image.scale[axis] / first.map_or(1.0, |level| level.scale[axis]));
    let level = |level: &Level| Level {
        grid: level.grid,
        scale: std::array::from_fn(|axis| tidy(level.scale[axis] * size[axis])),
        translation: std::array::from_fn(|axis| {
            sum([image.translation[axis], (level.translation[axis] - start[axis]) * size[axis]])
        }),
        corner: std::array::from_fn(|axis| sum([image.corner[axis], (level.corner[axis] - corner[axis]) * size[axis]])),
        offset: level.offset,
    };
    Pyramid { levels: label.levels.iter().map(level).collect(), calibrated: [true; 3], ..label.clone() }
}
