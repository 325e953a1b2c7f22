//! Places that lie inside labels, and how much of each.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;

use super::SampleError;
use super::draw::{Enough, Judge, Look};
use super::laid::{Cover, Laid};
use super::mask::{LabelsInside, Mask};
use super::reading::VoxelReader;
use crate::dtype::DataType;
use crate::geometry::{LevelIndex, Region, Shape};
use crate::volume::Image;

/// Places that are read at a time.
const AT_ONCE: usize = 4;

/// Chunks of labels as they are read.
const CELL: Shape = Shape([64; 3]);

/// All places are allowed.
pub struct Everywhere;

impl Judge for Everywhere {
    fn may_be(&self, _: &Region) -> bool {
        true
    }

    fn share(&self, _: &Region) -> Option<f64> {
        None
    }

    async fn look(&self, places: &[Region], _: Enough) -> Result<Vec<Look>, SampleError> {
        Ok(vec![Look::ALLOWED; places.len()])
    }

    fn asked(&self) -> String {
        "any voxels".to_owned()
    }

    fn remedy(&self) -> String {
        "give a smaller --size".to_owned()
    }
}

/// What is known of labels beforehand.
#[derive(Debug)]
pub enum Known {
    /// Nothing: each place is read.
    Nothing,
    /// Their finest level, so that no place is read.
    Finest(Mask),
    /// A coarser level and how the image lies on it. Places of which it has nothing inside are not read.
    Coarse(LevelIndex, Mask, Laid),
}

/// Places of which a share lies inside labels, counted in their finest level.
pub struct InsideLabels<'a> {
    /// Name of the labels.
    pub name: String,
    /// Which of them.
    pub inside: LabelsInside,
    /// The share that has to be inside, of 1.
    pub fraction: f64,
    /// How the image lies on the labels' finest level.
    pub laid: Laid,
    /// What is known beforehand.
    pub known: Known,
    /// Where the labels are.
    pub labels: Arc<Image>,
    /// Their type.
    pub dtype: DataType,
    /// Reads them.
    pub reader: &'a VoxelReader,
}

impl InsideLabels<'_> {
    fn least(&self, cover: &Cover) -> u64 {
        (self.fraction * cover.all as f64).ceil() as u64
    }

    /// Reads a place.
    async fn read(&self, place: &Region) -> Result<Look, SampleError> {
        let Some(cover) = self.laid.cover(place) else { return Ok(Look { is_allowed: false, read: Some(0.0) }) };
        let of = (cover.region, CELL, self.dtype);
        let inside = self.reader.mask(&self.labels, LevelIndex(0), of, &self.inside).await?.count(&cover);
        Ok(Look { is_allowed: inside >= self.least(&cover), read: Some(inside as f64 / cover.all as f64) })
    }
}

impl Judge for InsideLabels<'_> {
    fn may_be(&self, place: &Region) -> bool {
        match &self.known {
            Known::Nothing => true,
            Known::Finest(mask) => self.laid.cover(place).is_some_and(|cover| mask.has(&cover, self.least(&cover))),
            Known::Coarse(_, mask, laid) => {
                laid.touched(place).is_some_and(|touched| mask.has(&Cover::each(touched), 1))
            }
        }
    }

    fn share(&self, place: &Region) -> Option<f64> {
        let Known::Finest(mask) = &self.known else { return None };
        Some(self.laid.cover(place).map_or(0.0, |cover| mask.count(&cover) as f64 / cover.all as f64))
    }

    async fn look(&self, places: &[Region], enough: Enough) -> Result<Vec<Look>, SampleError> {
        if matches!(self.known, Known::Finest(_)) {
            return Ok(vec![Look::ALLOWED; places.len()]);
        }
        let places = places.iter().take(usize::try_from(enough.read).unwrap_or(usize::MAX));
        let mut reading = stream::iter(places).map(|place| self.read(place)).buffered(AT_ONCE);
        let (mut looks, mut allowed) = (Vec::new(), 0);
        while allowed < enough.allowed
            && let Some(look) = reading.next().await
        {
            let look = look?;
            allowed += u64::from(look.is_allowed);
            looks.push(look);
        }
        Ok(looks)
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

    fn remedy(&self) -> String {
        let more = match &self.known {
            Known::Nothing => ", or a --within or --mask-level that says where to look".to_owned(),
            Known::Finest(_) => String::new(),
            Known::Coarse(level, ..) => format!(", or a finer --mask-level, since {level} may have lost what there is"),
        };
        format!("give a smaller --fraction or --size{more}")
    }
}
