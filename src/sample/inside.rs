//! Places that lie inside labels: how an image lies on its labels, and how much of a place is inside.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;

use super::SampleError;
use super::draw::Judge;
use super::mask::{LabelsInside, Mask};
use super::reading::VoxelReader;
use crate::dtype::DataType;
use crate::geometry::{LevelIndex, Region, Shape};
use crate::volume::{Image, Level};

/// Places that are looked at in full resolution at a time.
const AT_ONCE: usize = 4;

/// All places are allowed.
pub struct Everywhere;

impl Judge for Everywhere {
    fn may_be(&self, _: &Region) -> bool {
        true
    }

    fn share(&self, _: &Region) -> Option<f64> {
        None
    }

    async fn are_allowed(&self, places: &[Region]) -> Result<Vec<bool>, SampleError> {
        Ok(vec![true; places.len()])
    }

    fn asked(&self) -> String {
        "any voxels".to_owned()
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
    pub shape: Shape,
}

impl Laid {
    /// By nanometres. `finest`: those per voxel of the finest level of the image and of that of the labels.
    pub fn on(image: &Level, labels: &Level, finest: [[f64; 3]; 2]) -> Laid {
        // The corner of a level is where the centre of the pyramid's first voxel is, half a finest voxel further in.
        let begin = |level: &Level, finest: [f64; 3], axis: usize| level.corner[axis] - finest[axis] / 2.0;
        let shift = |axis: usize| (begin(image, finest[0], axis) - begin(labels, finest[1], axis)) / labels.scale[axis];
        Laid {
            scale: std::array::from_fn(|axis| image.scale[axis] / labels.scale[axis]),
            shift: std::array::from_fn(shift),
            shape: labels.grid.shape,
        }
    }

    /// The voxels of the labels that a place of the image covers, rounded to whole ones; `None` where it covers none.
    pub fn region(&self, place: &Region) -> Option<Region> {
        let end = |axis: usize, voxel: u64| {
            // A cast saturates.
            (voxel as f64 * self.scale[axis] + self.shift[axis]).round().max(0.0) as u64
        };
        let covered = Region {
            start: std::array::from_fn(|axis| end(axis, place.start[axis])),
            end: std::array::from_fn(|axis| end(axis, place.end[axis])),
        };
        covered.intersection(&self.shape.region())
    }

    /// Voxels of the labels that a place would cover were they everywhere.
    fn voxels(&self, place: &Region) -> u64 {
        let extents: [u64; 3] = std::array::from_fn(|axis| {
            let extent = (place.end[axis] - place.start[axis]) as f64 * self.scale[axis];
            (extent.round() as u64).max(1)
        });
        Shape(extents).voxels().unwrap_or(u64::MAX)
    }
}

/// Places of which a share lies inside labels.
pub struct InsideLabels<'a> {
    /// Name of the labels.
    pub name: String,
    /// Which of them.
    pub inside: LabelsInside,
    /// The share that has to be inside, of 1.
    pub fraction: f64,
    /// A mask of a level of the labels, and how the image lies on it.
    pub mask: (Mask, Laid),
    /// The labels' finest level where the mask is of a coarser one: what is found by the mask is looked at there.
    pub finest: Option<Laid>,
    /// Where the labels are.
    pub labels: Arc<Image>,
    /// Their type.
    pub dtype: DataType,
    /// Reads them.
    pub reader: &'a VoxelReader,
}

impl InsideLabels<'_> {
    fn least(&self, voxels: u64) -> u64 {
        (self.fraction * voxels as f64).ceil() as u64
    }
}

impl Judge for InsideLabels<'_> {
    fn may_be(&self, place: &Region) -> bool {
        let (mask, laid) = &self.mask;
        laid.region(place).is_some_and(|region| mask.has(&region, self.least(laid.voxels(place))))
    }

    fn share(&self, place: &Region) -> Option<f64> {
        let (mask, laid) = &self.mask;
        let inside = laid.region(place).map_or(0, |region| mask.count(&region));
        Some(inside as f64 / laid.voxels(place) as f64)
    }

    async fn are_allowed(&self, places: &[Region]) -> Result<Vec<bool>, SampleError> {
        let Some(laid) = self.finest else { return Ok(vec![true; places.len()]) };
        let asked = places.iter().map(|place| async move {
            let Some(region) = laid.region(place) else { return Ok(false) };
            let mut count = 0;
            let cell = Shape([64; 3]);
            let of = (region, cell, self.dtype);
            let take = |_: &Region, data: &[u8]| count += self.inside.count(data, self.dtype).unwrap_or(0);
            self.reader.each_piece(&self.labels, LevelIndex(0), of, take).await?;
            Ok(count >= self.least(laid.voxels(place)))
        });
        let answers: Vec<Result<bool, SampleError>> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        answers.into_iter().collect()
    }

    fn asked(&self) -> String {
        let which = match &self.inside {
            LabelsInside::Any => String::new(),
            LabelsInside::These(labels) => {
                let labels: Vec<String> = labels.iter().map(i128::to_string).collect();
                format!(" {}", labels.join(","))
            }
        };
        format!("{} % inside {}{which}", self.fraction * 100.0, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use crate::sample::random::at;

    fn level(scale: f64, corner: f64, extent: u64) -> Level {
        let grid = Grid { shape: Shape([extent; 3]), cell: Shape([64; 3]) };
        Level { grid, scale: [scale; 3], translation: [0.0; 3], corner: [corner; 3], offset: [0; 3] }
    }

    #[test]
    fn places_are_found_in_labels_by_nanometres() {
        let laid = Laid::on(&level(8.0, 4.0, 1000), &level(16.0, -24.0, 600), [[8.0; 3], [16.0; 3]]);
        let place = at([10, 20, 30], Shape([100; 3]));
        assert_eq!(laid.region(&place), Some(at([7, 12, 17], Shape([50; 3]))));
        assert_eq!(laid.voxels(&place), 125_000);
        let small = Laid::on(&level(8.0, 0.0, 1000), &level(8.0, 800.0, 50), [[8.0; 3]; 2]);
        assert_eq!(small.region(&at([0; 3], Shape([90; 3]))), None, "labels begin later");
        assert_eq!(small.region(&at([90; 3], Shape([100; 3]))), Some(at([0; 3], Shape([50; 3]))));
    }
}
