//! An image of the catalogue, opened, as samples are drawn from it.

use super::super::CliError;
use super::super::place::{ImagePart, ImagePlace};
use super::super::session::Session;
use crate::archive::OpenImage;
use crate::geometry::{LevelIndex, Region};
use crate::sample::list::Sample;
use crate::sample::statistics::ReadLevel;
use crate::sample::{DrawRule, Drawn, Ground};
use crate::view::{LevelNames, ViewSpec};
use crate::volume::{Level, View};

/// Which level is sampled.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum LevelChoice {
    Finest,
    Level(LevelIndex),
    /// That whose voxels are nearest to so many nanometres.
    Nearest(f64),
}

/// An open image, its view and the level to sample.
pub(in crate::cli) struct SampledLevel<'a> {
    place: &'a ImagePlace<'a>,
    pub opened: OpenImage,
    view: View,
    /// The level's place in the view, and its number.
    at: usize,
    pub level: LevelIndex,
    pub ground: Ground,
    /// By how much the voxels are of another size than was asked for.
    pub off: Option<String>,
}

impl<'a> SampledLevel<'a> {
    /// Opens an image. `within`: a box of s0 to sample, else the tissue where the catalogue says where that is.
    pub async fn open(
        session: &Session,
        place: &'a ImagePlace<'a>,
        choice: LevelChoice,
        within: Option<Region>,
    ) -> Result<SampledLevel<'a>, CliError> {
        let name = place.image_name();
        let failed = |reason: String| CliError::Failed(format!("{name}: {reason}"));
        let opened = session.open(place.source(), &name).await.map_err(|error| failed(error.to_string()))?;
        let view = place.view(session, &opened.pyramid).await.map_err(failed)?;
        let choice = match (&place.part, choice) {
            (ImagePart::All, choice) => choice,
            (ImagePart::Level(level, chunk), LevelChoice::Finest) if chunk.is_empty() => LevelChoice::Level(*level),
            _ => return Err(failed("name an image, or with no other choice of a level one of its levels".to_owned())),
        };
        let at = position(&view, choice).map_err(failed)?;
        let (Some(&number), Some(shown), Some(&origin)) =
            (view.numbers.get(at), view.pyramid.levels.get(at), view.origins.get(at))
        else {
            return Err(failed("it has no level".to_owned()));
        };
        let level = LevelIndex(number);
        let whole = shown.grid.shape.region();
        let tissue = place.source().tissue.filter(|_| place.store.view.crop.is_none() && place.label.is_none());
        let within = match within.or(tissue) {
            None => whole,
            Some(within) => boxed(&opened, within, level, origin, whole).map_err(failed)?,
        };
        let native = opened.image.source.description().levels.get(usize::from(number));
        let ground = Ground {
            name: format!("{} {level}", store(place)),
            within,
            cell: native.map_or(shown.grid.cell, |native| native.grid.cell),
            origin,
        };
        let off = match choice {
            LevelChoice::Nearest(length) => Some(off(shown, length)),
            _ => None,
        };
        Ok(SampledLevel { place, view, at, level, ground, off, opened })
    }

    /// The level as it is shown.
    pub fn shown(&self) -> &Level {
        // The place of a level that was found.
        &self.view.pyramid.levels[self.at]
    }

    /// Where the level's voxels are read.
    pub fn target(&self) -> ReadLevel<'_> {
        ReadLevel {
            image: &self.opened.image,
            level: self.level,
            cell: self.ground.cell,
            dtype: self.opened.pyramid.dtype,
            fill: self.opened.pyramid.fill,
        }
    }

    /// Voxels of the view's level as those of the image's.
    pub fn of_image(&self, place: &Region) -> Region {
        let moved = |voxel: [u64; 3]| std::array::from_fn(|axis| voxel[axis].saturating_add(self.ground.origin[axis]));
        Region { start: moved(place.start), end: moved(place.end) }
    }

    /// Nanometres of a voxel for the header, where they are known.
    pub fn voxel_size(&self) -> Option<String> {
        let [z, y, x] = self.shown().scale;
        self.opened.pyramid.is_calibrated().then(|| format!("{z} x {y} x {x}"))
    }

    /// A row of the list.
    pub fn sample(&self, drawn: &Drawn, rule: &DrawRule) -> Sample {
        Sample {
            dataset: self.place.store.dataset.name.clone(),
            image: image(self.place),
            store: store(self.place),
            level: self.level,
            place: drawn.place,
            split: rule.shares.get(drawn.split).map(|share| share.name.clone()).unwrap_or_default(),
            region: drawn.region,
        }
    }
}

/// Name of the image, or of its labels.
pub(in crate::cli) fn image(place: &ImagePlace<'_>) -> String {
    let label = place.label.map(|label| format!("/labels/{}", label.name)).unwrap_or_default();
    format!("{}{label}", place.store.image.name)
}

/// The store below the mountpoint, with levels called as in lists: of a numbered view the one of the same voxels.
pub(in crate::cli) fn store(place: &ImagePlace<'_>) -> String {
    let label = place.label.map(|label| format!("/labels/{}", label.name)).unwrap_or_default();
    let mut name = place.store.name.clone();
    name.view.level_names = LevelNames::Lettered;
    format!("{}/{name}{label}", place.store.dataset.name)
}

/// The place of the chosen level in the view.
fn position(view: &View, choice: LevelChoice) -> Result<usize, String> {
    let levels = || view.numbers.iter().map(|number| format!("s{number}")).collect::<Vec<_>>().join(", ");
    match choice {
        LevelChoice::Finest => Ok(0),
        LevelChoice::Level(level) => {
            view.position(level).ok_or_else(|| format!("there is no level {level}; the levels are {}", levels()))
        }
        LevelChoice::Nearest(length) => {
            if !view.pyramid.is_calibrated() {
                return Err("no voxel size is known along all axes; choose with --level".to_owned());
            }
            let far = |level: &Level| (mean_size(level) / length).ln().abs();
            let levels = view.pyramid.levels.iter().enumerate();
            let nearest = levels.min_by(|(_, a), (_, b)| far(a).total_cmp(&far(b)));
            nearest.map(|(at, _)| at).ok_or_else(|| "it has no level".to_owned())
        }
    }
}

/// The side of a cube of a voxel's volume, nm.
fn mean_size(level: &Level) -> f64 {
    level.scale.iter().product::<f64>().cbrt()
}

/// By how much voxels are larger or smaller than asked for, in words.
fn off(level: &Level, length: f64) -> String {
    let percent = (mean_size(level) / length - 1.0) * 100.0;
    if percent.abs() < 0.05 { format!("{length} nm as asked for") } else { format!("{percent:+.1} % off {length} nm") }
}

/// The voxels of a level of a view over which a box of s0 lies.
fn boxed(
    opened: &OpenImage,
    within: Region,
    level: LevelIndex,
    origin: [u64; 3],
    whole: Region,
) -> Result<Region, String> {
    let crop = ViewSpec { crop: Some(within), ..ViewSpec::default() };
    let crop = crop.apply(&opened.pyramid).map_err(|error| format!("--within: {error}"))?;
    let shown = crop.position(level).and_then(|at| Some((crop.pyramid.levels.get(at)?, *crop.origins.get(at)?)));
    let Some((shown, start)) = shown else { return Err(format!("{level} has no voxel of the box to sample")) };
    let moved = |voxel: u64, axis: usize| voxel.saturating_sub(origin[axis]);
    let region = Region {
        start: std::array::from_fn(|axis| moved(start[axis], axis)),
        end: std::array::from_fn(|axis| moved(start[axis] + shown.grid.shape.0[axis], axis)),
    };
    region.intersection(&whole).ok_or_else(|| "the view shows nothing of the box to sample".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Grid, Shape};

    #[test]
    fn how_far_a_level_is_off_is_told_in_per_cent() {
        let grid = Grid { shape: Shape([9; 3]), cell: Shape([9; 3]) };
        let level = |scale| Level { grid, scale, translation: [0.0; 3], corner: [0.0; 3], offset: [0; 3] };
        assert_eq!(off(&level([8.0; 3]), 8.0), "8 nm as asked for");
        assert_eq!(off(&level([10.0, 8.0, 8.0]), 8.0), "+7.7 % off 8 nm");
        assert_eq!(off(&level([4.0; 3]), 8.0), "-50.0 % off 8 nm");
    }
}
