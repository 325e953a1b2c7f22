//! How an image lies on its labels, by nanometres.

use crate::geometry::{Region, Shape};
use crate::volume::Level;

/// Voxels by which a centre has to lie before a border to count as before it, so that how lengths are rounded decides nothing.
const BORDER: f64 = 1e-6;

/// The voxels of labels under a place of an image, and how much each of them counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Cover {
    /// The voxels.
    pub region: Region,
    /// What each counts along z, y and x; their product is what a voxel counts.
    pub counts: [Vec<u64>; 3],
    /// What all of them count together, and what of the place lies beyond the labels.
    pub all: u64,
}

impl Cover {
    /// Each voxel of a box, once.
    pub fn each(region: Region) -> Cover {
        let counts = region.shape().0.map(|extent| vec![1; usize::try_from(extent).unwrap_or(0)]);
        Cover { region, counts, all: region.shape().voxels().unwrap_or(u64::MAX) }
    }
}

/// How a level of an image lies on a level of its labels.
#[derive(Debug, Clone, Copy)]
pub struct Laid {
    /// Voxels of the labels' level per voxel of the image's.
    scale: [f64; 3],
    /// Where in the labels' level the image's first voxel begins.
    shift: [f64; 3],
    /// Of the labels' level.
    shape: Shape,
}

impl Laid {
    /// By nanometres.
    pub fn on(image: &Level, labels: &Level) -> Laid {
        let shift = |axis: usize| (image.corner[axis] - labels.corner[axis]) / labels.scale[axis];
        Laid {
            scale: std::array::from_fn(|axis| image.scale[axis] / labels.scale[axis]),
            shift: std::array::from_fn(shift),
            shape: labels.grid.shape,
        }
    }

    /// What a place of the image covers; `None` where that is nothing of the labels. Of the image and the labels the voxels
    /// of the finer ones are counted, along each axis: those of the image by the label that their centres lie in, those of the
    /// labels by whether their centres lie in the place.
    pub fn cover(&self, place: &Region) -> Option<Cover> {
        let mut cover = Cover { region: *place, counts: [const { Vec::new() }; 3], all: 1 };
        for axis in 0..3 {
            let (start, counts, all) = self.along(axis, place.start[axis], place.end[axis]);
            cover.region.start[axis] = start;
            cover.region.end[axis] = start + counts.len() as u64;
            cover.all = cover.all.saturating_mul(all);
            cover.counts[axis] = counts;
        }
        cover.counts.iter().all(|counts| !counts.is_empty()).then_some(cover)
    }

    /// The first label voxel along an axis, what each counts from there on, and what all do with those beyond the labels.
    fn along(&self, axis: usize, start: u64, end: u64) -> (u64, Vec<u64>, u64) {
        let (scale, shift, extent) = (self.scale[axis], self.shift[axis], self.shape.0[axis]);
        // A cast saturates.
        let inside = |voxel: f64| (voxel.max(0.0) as u64).min(extent);
        if scale > 1.0 {
            let border = |voxel: u64| (voxel as f64 * scale + shift + 0.5 + BORDER).floor();
            let (first, last) = (border(start), border(end));
            let counts = vec![1; (inside(last) - inside(first)) as usize];
            return (inside(first), counts, (last - first).max(1.0) as u64);
        }
        let label = |voxel: u64| ((voxel as f64 + 0.5) * scale + shift + BORDER).floor();
        let mut found = (0, Vec::new(), end - start);
        for label in (start..end).map(label).filter(|label| *label >= 0.0).map(|label| label as u64) {
            if label >= extent {
                break;
            }
            if found.1.is_empty() {
                found.0 = label;
            }
            found.1.resize((label - found.0) as usize + 1, 0);
            found.1.last_mut().into_iter().for_each(|count| *count += 1);
        }
        found
    }

    /// The voxels of the labels that a place touches with however little; `None` where it touches none.
    pub fn touched(&self, place: &Region) -> Option<Region> {
        let at = |axis: usize, voxel: u64| voxel as f64 * self.scale[axis] + self.shift[axis];
        let touched = Region {
            start: std::array::from_fn(|axis| (at(axis, place.start[axis]) + BORDER).floor().max(0.0) as u64),
            end: std::array::from_fn(|axis| (at(axis, place.end[axis]) - BORDER).ceil().max(0.0) as u64),
        };
        touched.intersection(&self.shape.region())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Grid;
    use crate::sample::random::at;

    fn level(scale: f64, corner: f64, extent: u64) -> Level {
        let grid = Grid { shape: Shape([extent; 3]), cell: Shape([64; 3]) };
        Level { grid, scale: [scale; 3], translation: [0.0; 3], corner: [corner; 3], offset: [0; 3] }
    }

    fn along(laid: &Laid, start: u64, extent: u64) -> (u64, Vec<u64>, u64) {
        laid.along(2, start, start + extent)
    }

    #[test]
    fn places_are_found_in_labels_by_nanometres() {
        // The labels' first voxel begins 32 nm, that is 2 of their voxels, before the image's.
        let laid = Laid::on(&level(8.0, 0.0, 1000), &level(16.0, -32.0, 600));
        let cover = laid.cover(&at([10, 20, 30], Shape([100; 3]))).unwrap();
        assert_eq!((cover.region, cover.all), (at([7, 12, 17], Shape([50; 3])), 1_000_000));
        assert!(cover.counts.iter().all(|counts| *counts == vec![2; 50]));
        let small = Laid::on(&level(8.0, 0.0, 1000), &level(8.0, 800.0, 50));
        assert_eq!(small.cover(&at([0; 3], Shape([90; 3]))), None, "labels begin later");
        assert_eq!(along(&small, 90, 100), (0, vec![1; 50], 100));
        assert_eq!(small.touched(&at([90; 3], Shape([100; 3]))), Some(at([0; 3], Shape([50; 3]))));
    }

    #[test]
    fn a_place_that_begins_within_a_label_voxel_has_a_part_of_it() {
        let on = |image, labels| Laid::on(&level(image, 0.0, 1000), &level(labels, 0.0, 600));
        assert_eq!(along(&on(8.0, 16.0), 3, 4), (1, vec![1, 2, 1], 4));
        assert_eq!(along(&on(8.0, 24.0), 4, 6), (1, vec![2, 3, 1], 6));
        assert_eq!(along(&on(8.0, 12.0), 1, 6), (1, vec![2, 1, 2, 1], 6), "centres at 12, 20, 28, 36, 44, 52 nm");
        assert_eq!(along(&on(16.0, 8.0), 3, 2), (6, vec![1; 4], 4), "labels are finer");
        assert_eq!(along(&on(8.0, 8.0), 3, 4), (3, vec![1; 4], 4));
        assert_eq!(
            on(8.0, 64.0).touched(&at([7, 8, 15], Shape([2; 3]))),
            Some(Region { start: [0, 1, 1], end: [2, 2, 3] })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn image_voxels_count_for_the_label_at_their_centre(
            ratio in 1u64..7, begin in -40i64..40, start in 0u64..200, extent in 1u64..100,
        ) {
            // Labels of `ratio` image voxels, which begin a whole number of image voxels before or after the image.
            let (image, labels) = (level(8.0, 0.0, 1000), level(8.0 * ratio as f64, 8.0 * begin as f64, 20));
            let (first, counts, all) = along(&Laid::on(&image, &labels), start, extent);
            let mut expected = vec![0u64; 20];
            for voxel in start..start + extent {
                let label = (voxel as i64 - begin).div_euclid(ratio as i64);
                if let Some(count) = usize::try_from(label).ok().and_then(|label| expected.get_mut(label)) {
                    *count += 1;
                }
            }
            let mut found = vec![0u64; 20];
            counts.iter().enumerate().for_each(|(at, count)| found[first as usize + at] = *count);
            prop_assert_eq!((found, all), (expected, extent));
        }
    }
}
