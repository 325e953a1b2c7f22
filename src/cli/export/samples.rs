//! `emfs export --list`: a store for each sample of a list.

use std::ops::Range;
use std::path::Path;

use super::{ExportArgs, Job, must_be_new};
use crate::catalog::Catalog;
use crate::cli::stats::read_list;
use crate::cli::{CliError, target};
use crate::export::Destination;
use crate::geometry::{LevelIndex, Region};
use crate::view::ViewSpec;
use crate::volume::Pyramid;
use crate::volume::view::LevelRatio;

/// A job for each row of a list.
pub(super) fn jobs<'a>(
    args: &ExportArgs,
    catalog: &'a Catalog,
    list: &Path,
    root: &Destination,
) -> Result<Vec<Job<'a>>, CliError> {
    must_be_new(args, root)?;
    let mut jobs = Vec::new();
    for (number, (line, sample)) in read_list(list)?.into_iter().enumerate() {
        let failed = |reason: String| CliError::Failed(format!("{}:{line}: {reason}", list.display()));
        let found = catalog.datasets.iter().find(|dataset| dataset.name == sample.dataset);
        let dataset = found.ok_or_else(|| failed(format!("there is no dataset `{}`", sample.dataset)))?;
        let (_, name) = sample.store.split_once('/').unwrap_or_default();
        let store = target::store(dataset, name).map_err(|error| failed(error.to_string()))?;
        let destination = root.join(&format!("{number:06}.zarr"));
        let sample = Some((sample.level, sample.place));
        jobs.push(Job { dataset, image: store.image, name: store.name, view: store.view, sample, destination });
    }
    Ok(jobs)
}

/// The view of the image that shows a place of a level of a view, and that level alone.
pub(in crate::cli) fn view(
    of: ViewSpec,
    image: &Pyramid,
    level: LevelIndex,
    place: &Region,
) -> Result<ViewSpec, String> {
    let whole = of.apply(image).map_err(|error| error.to_string())?;
    let shown = whole.position(level).and_then(|at| Some((whole.pyramid.levels.get(at)?, *whole.origins.get(at)?)));
    let Some((shown, origin)) = shown else { return Err(format!("there is no level {level}")) };
    if place.intersection(&shown.grid.shape.region()) != Some(*place) {
        return Err(format!("the sample does not lie in the {} voxels of {level}", shown.grid.shape));
    }
    let (Some(finest), Some(coarse)) = (image.levels.first(), image.levels.get(usize::from(level.0))) else {
        return Err(format!("there is no level {level}"));
    };
    let moved = |voxel: u64, axis: usize| voxel.saturating_add(origin[axis]);
    let wanted = Region {
        start: std::array::from_fn(|axis| moved(place.start[axis], axis)),
        end: std::array::from_fn(|axis| moved(place.end[axis], axis)),
    };
    // The voxels of s0 below the place, as the names of crops count them.
    let below: [Range<u64>; 3] =
        std::array::from_fn(|axis| LevelRatio::of(coarse, finest, axis).below(wanted.start[axis]..wanted.end[axis]));
    let inside = |voxel: u64, axis: usize| voxel.min(finest.grid.shape.0[axis]);
    let crop = Region {
        start: std::array::from_fn(|axis| inside(below[axis].start, axis)),
        end: std::array::from_fn(|axis| inside(below[axis].end, axis)),
    };
    let view = ViewSpec { crop: Some(crop), level: Some(level), ..of };
    let shows = view.apply(image).map_err(|error| error.to_string())?;
    let is_wanted = shows.origins.first() == Some(&wanted.start)
        && shows.pyramid.levels.first().is_some_and(|level| level.grid.shape == wanted.shape());
    if is_wanted { Ok(view) } else { Err(format!("no crop of s0 shows exactly this part of {level}")) }
}
