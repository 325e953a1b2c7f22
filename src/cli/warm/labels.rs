//! Labels over a sample of their image: what of them is read along with it.

use super::super::export;
use super::super::place::{self, ImagePlace};
use crate::geometry::{LevelIndex, Region};
use crate::sample::Laid;
use crate::volume::{Level, Pyramid, View};

/// Chunks of the labels that lie over a sample, as boxes of levels of the label image; none where the labels are not there.
///
/// `image`: the image that they lie over; `voxels` of its `level`, through the view. Programs read labels of the level of the same
/// name, or of that whose voxels are most like the image's; exports write the former, as a crop shows it.
pub(super) fn over_sample(
    place: &ImagePlace<'_>,
    (image, label): (&Pyramid, &Pyramid),
    level: LevelIndex,
    voxels: &Region,
) -> Vec<(LevelIndex, Region)> {
    let view = place.store.view;
    let (Ok(of_image), Ok(Some(of_labels))) = (view.apply(image), place.seen(Some(image), None).view(label)) else {
        return Vec::new();
    };
    // A sample beyond the image is told of where the image itself is fetched.
    let Some(image_level) = place::shown(&of_image, level).ok().map(|(shown, _)| shown) else { return Vec::new() };
    if voxels.intersection(&image_level.grid.shape.region()) != Some(*voxels) {
        return Vec::new();
    }
    let mut boxes = Vec::new();
    let mut add = |number: LevelIndex, touched: Option<Region>| {
        if let (Ok((shown, origin)), Some(touched)) = (place::shown(&of_labels, number), touched) {
            let read = place::chunks_of(shown, origin, &touched);
            if !boxes.contains(&(number, read)) {
                boxes.push((number, read));
            }
        }
    };
    for number in [Some(level), nearest(image_level, &of_labels)].into_iter().flatten() {
        let by_nanometres =
            place::shown(&of_labels, number).ok().and_then(|(shown, _)| Laid::on(image_level, shown).touched(voxels));
        add(number, by_nanometres);
    }
    if let Ok((_, origin)) = place::shown(&of_labels, level)
        && let Ok(crop) = export::view_of_sample(view, image, level, voxels)
        && let Ok(Some(crop)) = crop.show_label(image, label, |spec, label| spec.apply(label))
        && let Ok((shown, start)) = place::shown(&crop, level)
    {
        let start: [u64; 3] = std::array::from_fn(|axis| start[axis].saturating_sub(origin[axis]));
        let extent = shown.grid.shape.0;
        add(level, Some(Region { start, end: std::array::from_fn(|axis| start[axis].saturating_add(extent[axis])) }));
    }
    boxes
}

/// The level of the labels whose voxels are most like those of a level of the image.
fn nearest(image: &Level, labels: &View) -> Option<LevelIndex> {
    let far = |level: &Level| (0..3).map(|axis| (level.scale[axis] / image.scale[axis]).ln().abs()).sum::<f64>();
    let levels = labels.pyramid.levels.iter().zip(&labels.numbers);
    let nearest = levels.min_by(|(a, _), (b, _)| far(a).total_cmp(&far(b)));
    nearest.map(|(_, &number)| LevelIndex(number))
}
