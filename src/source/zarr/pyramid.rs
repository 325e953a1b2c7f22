//! Which of the levels that an image lists make one pyramid. A level that does not fit is left out, and takes no other along.

use std::cmp::Reverse;

use super::array::ArrayDocument;
use super::axes::Axes;
use super::multiscales::LevelEntry;
use crate::geometry::Shape;
use crate::remote::{Cause, Location};
use crate::source::{Relative, SourceError};
use crate::store::Healable;

/// A level that an image lists, and its array or what is wrong with that.
pub(super) struct Listed {
    /// What the image says of it.
    pub dataset: LevelEntry,
    /// Where its array is.
    pub location: Location,
    /// What is there.
    pub array: Result<ArrayDocument, SourceError>,
}

/// A level that is shown.
pub(super) struct ShownLevel {
    /// What the image says of it.
    pub dataset: LevelEntry,
    /// Where its array is.
    pub location: Location,
    /// Its array.
    pub array: ArrayDocument,
}

/// A level that is left out.
pub(super) struct LeftOut {
    /// Where its array should be.
    pub location: Location,
    /// Its path below the group.
    pub path: String,
    /// Why it is.
    pub error: SourceError,
}

impl LeftOut {
    /// Whether the origin says that there is none.
    pub fn is_missing(&self) -> bool {
        matches!(&self.error, SourceError::Remote(error) if matches!(error.cause, Cause::NotFound | Cause::Gone(_)))
    }
}

/// Parts the levels, which are listed by their scales, into those that are shown, finest first, and those that are left out.
///
/// # Errors
/// Where none could be shown, or it is not known of one whether it could.
pub(super) fn choose(axes: &Axes, listed: Vec<Listed>) -> Result<(Vec<ShownLevel>, Vec<LeftOut>), SourceError> {
    let (mut shown, mut left_out): (Vec<ShownLevel>, _) = (Vec::new(), Vec::new());
    for Listed { dataset, location, array } in listed {
        match array {
            Ok(array) => shown.push(ShownLevel { dataset, location, array }),
            Err(error) if error.is_of_bytes() => left_out.push(LeftOut { path: dataset.path, location, error }),
            Err(error) => return Err(error),
        }
    }
    // Where no scales tell of the order, sizes do.
    if shown.iter().all(|level| level.dataset.is_unscaled()) {
        shown.sort_by_cached_key(|level| Reverse(axes.pick(&level.array.shape)));
    }
    let mut fitting: Vec<ShownLevel> = Vec::new();
    for level in shown {
        match unlike(axes, fitting.first(), fitting.last(), &level) {
            None => fitting.push(level),
            Some(error) => left_out.push(LeftOut { path: level.dataset.path, location: level.location, error }),
        }
    }
    match (fitting.first().and_then(|finest| finest.dataset.relative), left_out.first()) {
        (_, Some(first)) if fitting.is_empty() => return Err(first.error.clone()),
        (Some(finest), _) => fitting.iter_mut().for_each(|level| relate(&mut level.dataset, finest)),
        _ => {}
    }
    Ok((fitting, left_out))
}

/// Why a level does not fit below the ones that do.
fn unlike(
    axes: &Axes,
    finest: Option<&ShownLevel>,
    before: Option<&ShownLevel>,
    level: &ShownLevel,
) -> Option<SourceError> {
    let (finest, before) = finest.zip(before)?;
    let unlike =
        |field: &str, reason: String| Some(SourceError::unsupported(level.location.to_string(), field, reason));
    if level.array.dtype != finest.array.dtype {
        return unlike("dtype", format!("{} after a level of {}", level.array.dtype, finest.array.dtype));
    }
    if level.array.fill != finest.array.fill {
        return unlike("fill_value", "another fill value than that of the finest level".to_owned());
    }
    let (shape, larger) = (axes.pick(&level.array.shape), axes.pick(&before.array.shape));
    if (0..3).any(|axis| shape[axis] > larger[axis]) {
        return unlike("shape", format!("{} after a level of {}", Shape(shape), Shape(larger)));
    }
    let (scale, finer) = (level.dataset.spacing(), before.dataset.spacing());
    // Rounding apart: 378.8799999999999 follows 189.44.
    if (0..3).any(|axis| scale[axis] < finer[axis] * (1.0 - 1e-6)) {
        return unlike("coordinateTransformations", "a level that is finer than the one before it".to_owned());
    }
    None
}

/// Counts in voxels of the finest level that is shown what was counted in those of the finest one that is listed.
fn relate(dataset: &mut LevelEntry, finest: Relative) {
    if let Some(relative) = &mut dataset.relative {
        for axis in 0..3 {
            relative.scale[axis] /= finest.scale[axis];
            relative.translation[axis] /= finest.scale[axis];
        }
    }
}
