//! Which of the levels that an image lists make one pyramid. A level that does not fit is left out, and takes no other along.

use std::cmp::Reverse;

use super::array::ArrayDocument;
use super::axes::Axes;
use super::fault::LevelFault;
use super::json::quoted;
use super::multiscales::LevelEntry;
use crate::geometry::Shape;
use crate::remote::Location;
use crate::source::{Relative, SourceError, TOO_LONG};
use crate::store::Healable;

/// A level that an image lists, and its array or what is wrong with that.
pub(super) struct Listed {
    /// What the image says of it.
    pub dataset: LevelEntry,
    /// Where its array is.
    pub location: Location,
    /// What is there.
    pub array: Result<ArrayDocument, LevelFault>,
    /// Its place in the list.
    number: usize,
}

impl Listed {
    /// One whose place is told by [`sort`].
    pub fn new(dataset: LevelEntry, location: Location, array: Result<ArrayDocument, LevelFault>) -> Self {
        Listed { dataset, location, array, number: 0 }
    }
}

/// Brings levels, as they are listed, into the order of the volumes of their voxels, the finest first.
pub(super) fn sort(levels: &mut [Listed]) {
    levels.iter_mut().enumerate().for_each(|(number, level)| level.number = number);
    let volume = |listed: &Listed| listed.dataset.spacing().iter().product::<f64>();
    levels.sort_by(|a, b| volume(a).total_cmp(&volume(b)));
}

/// A level that is shown.
pub(super) struct ShownLevel {
    /// What the image says of it.
    pub dataset: LevelEntry,
    /// Where its array is.
    pub location: Location,
    /// Its array.
    pub array: ArrayDocument,
    /// Its place in the list.
    number: usize,
}

/// A level that is left out.
pub(super) struct LeftOut {
    /// Where its array should be.
    pub location: Location,
    /// What the image says of it.
    pub dataset: LevelEntry,
    /// Why it is.
    pub fault: LevelFault,
    number: usize,
}

/// Levels parted into those that are shown and others.
pub(super) struct Chosen {
    /// Finest first.
    pub shown: Vec<ShownLevel>,
    /// Those that are left out.
    pub left_out: Vec<LeftOut>,
    /// What is said of levels of which a part is shown.
    pub notes: Vec<String>,
    /// How many of those that are shown are finer than the one from which on they are wanted.
    pub finer: usize,
    /// What the image says of the finest one where it is finer than that and cannot be shown.
    pub unshown: Option<LevelEntry>,
}

/// Parts the levels, which are listed by their scales, into those that are shown, and those that are left out. `first`: the one
/// from which on they are wanted, as they are listed; of finer ones that cannot be shown nothing is said.
///
/// # Errors
/// Where none could be shown, or it is not known of one whether it could: of a coarser one for now, of one that would be the
/// finest for good, since all indices are those of its voxels.
pub(super) fn choose(axes: &Axes, listed: Vec<Listed>, first: usize) -> Result<Chosen, SourceError> {
    let count = listed.len();
    let (mut shown, mut left_out): (Vec<ShownLevel>, _) = (Vec::new(), Vec::new());
    for Listed { dataset, location, array, number } in listed {
        match array {
            Ok(array) => shown.push(ShownLevel { dataset, location, array, number }),
            Err(fault) if fault.error().is_of_bytes() => left_out.push(LeftOut { dataset, location, fault, number }),
            Err(fault) => return Err(fault.error().clone()),
        }
    }
    // Where no scales tell of the order, sizes do.
    if shown.iter().all(|level| level.dataset.is_unscaled()) || state_one_scale(&shown) {
        shown.sort_by_cached_key(|level| Reverse(axes.pick(&level.array.shape)));
    }
    let (mut fitting, mut notes): (Vec<ShownLevel>, _) = (Vec::new(), Vec::new());
    for mut level in shown {
        let cut = match (fitting.first(), fitting.last()) {
            (Some(finest), Some(before)) => cut(axes, finest, before, &mut level),
            _ => None,
        };
        notes.extend(cut);
        match unlike(axes, fitting.first(), fitting.last(), &level) {
            None => fitting.push(level),
            Some(error) => {
                let ShownLevel { dataset, location, number, .. } = level;
                left_out.push(LeftOut { dataset, location, fault: LevelFault::Unreadable(error), number })
            }
        }
    }
    let order = ListOrder::of(&fitting, count);
    let finer = fitting.iter().filter(|level| order.place(level.number) < first).count();
    let mut unshown = None;
    if let Some(finest) = fitting.first() {
        let place = |level: &LeftOut| order.place(level.number);
        let finer = left_out.iter().filter(|level| place(level) < first.min(order.place(finest.number)));
        unshown = finer.min_by_key(|level| place(level)).map(|level| level.dataset.clone());
        left_out.retain(|level| place(level) >= first);
    }
    if let Some(shown) = fitting.get(finer) {
        let is_finest = |level: &&LeftOut| order.place(level.number) < order.place(shown.number) || !order.is_known;
        // A file of this machine is what it is, where a server may have given another answer this once.
        let unknown = |level: &&LeftOut| matches!(level.fault, LevelFault::Unknown(_)) && !level.location.is_local();
        if let Some(level) = left_out.iter().find(|level| unknown(level) && is_finest(level)) {
            return Err(level.refused(order.place(shown.number)));
        }
    }
    match (fitting.first().and_then(|finest| finest.dataset.relative), left_out.first()) {
        (_, Some(first)) if fitting.is_empty() => return Err(first.fault.error().clone()),
        (Some(finest), _) => fitting.iter_mut().for_each(|level| relate(&mut level.dataset, finest)),
        _ => {}
    }
    Ok(Chosen { shown: fitting, left_out, notes, finer, unshown })
}

impl LeftOut {
    /// Why an image is not shown without it, of which the level `next` in the list could be shown.
    fn refused(&self, next: usize) -> SourceError {
        let (file, field, reason) = match self.fault.error() {
            SourceError::Remote(error) => (&error.url, "document", error.cause.to_string()),
            SourceError::TooLong { file } => (file, "document", TOO_LONG.to_owned()),
            SourceError::Malformed { file, field, reason } | SourceError::Unsupported { file, field, reason, .. } => {
                (file, field.as_str(), reason.clone())
            }
        };
        let told = format!(
            "{reason}; so it is not known whether there is level {}, which would be the finest, and no other is shown in its \
             place; where it stays so, `first_level = {next}` in the configuration shows the image without it",
            quoted(&self.dataset.path)
        );
        SourceError::malformed(file, field, told)
    }
}

/// In which order levels are listed.
struct ListOrder {
    is_coarsest_first: bool,
    /// Whether it is one order at all.
    is_known: bool,
    count: usize,
}

impl ListOrder {
    /// That of levels of which these, the finest first, can be shown.
    fn of(shown: &[ShownLevel], count: usize) -> Self {
        let is_finest_first = shown.is_sorted_by_key(|level| level.number);
        let is_coarsest_first = !is_finest_first && shown.is_sorted_by_key(|level| Reverse(level.number));
        ListOrder { is_coarsest_first, is_known: is_finest_first || is_coarsest_first, count }
    }

    /// The place of a listed level where the finest is the first.
    fn place(&self, number: usize) -> usize {
        if self.is_coarsest_first { self.count.saturating_sub(number + 1) } else { number }
    }
}

/// Cuts a coarser level that would be larger than the one before it to the extent of the image, where it is that rounded up to
/// whole objects, as WEBKNOSSOS has it. What is beyond is none of the image. Says what was done.
fn cut(axes: &Axes, finest: &ShownLevel, before: &ShownLevel, level: &mut ShownLevel) -> Option<String> {
    let [shape, larger, full] = [&*level, before, finest].map(|level| axes.pick(&level.array.shape));
    let (place, first) = (&level.dataset, &finest.dataset);
    let (size, fine) = (place.spacing(), first.spacing());
    // By how many times voxels are larger; rounding apart.
    let factor = |axis: usize| {
        let times = size[axis] / fine[axis];
        let whole = times.round();
        ((1.0..1e9).contains(&whole) && (times - whole).abs() < 1e-6 * whole).then_some(whole as u64)
    };
    let (Some(z), Some(y), Some(x)) = (factor(0), factor(1), factor(2)) else { return None };
    let factors = [z, y, x];
    let extents: [u64; 3] = std::array::from_fn(|axis| full[axis].div_ceil(factors[axis]));
    let objects = axes.pick(&level.array.object());
    let is_rounded = (0..3).all(|axis| extents[axis].checked_next_multiple_of(objects[axis]) == Some(shape[axis]));
    let begins_there = (0..3).all(|axis| (place.translation[axis] - first.translation[axis]).abs() < size[axis]);
    let is_larger = (0..3).any(|axis| shape[axis] > larger[axis]);
    if !is_larger || !is_rounded || !begins_there || factors == [1; 3] {
        return None;
    }
    for (position, extent) in axes.kept.into_iter().zip(extents) {
        level.array.shape[position] = extent;
    }
    let (path, shape, extents) = (quoted(&place.path), Shape(shape), Shape(extents));
    Some(format!(
        "level {path} of {shape} is rounded up to whole objects; {extents} of it lie in the image and are shown"
    ))
}

/// Whether all levels state the same size of their voxels.
fn state_one_scale(levels: &[ShownLevel]) -> bool {
    let scale = |level: &ShownLevel| level.dataset.scale;
    levels.first().and_then(scale).is_some_and(|first| levels.iter().all(|level| scale(level) == Some(first)))
}

/// Sets right the scales of levels that all state that of the finest one although they shrink, where their shapes say clearly
/// what is meant: along each axis voxels are larger by a power of two. Says what was done.
pub(super) fn mend_scales(axes: &Axes, levels: &mut [ShownLevel]) -> Option<String> {
    let shapes: Vec<[u64; 3]> = levels.iter().map(|level| axes.pick(&level.array.shape)).collect();
    let largest = *shapes.first()?;
    if !state_one_scale(levels) || shapes.iter().all(|shape| *shape == largest) {
        return None;
    }
    let [z, y, x] = levels.first()?.dataset.scale?;
    let stated = format!("all levels state the finest one's voxel size, {z} × {y} × {x} nm,");
    let factors: Option<Vec<[f64; 3]>> = shapes.iter().map(|shape| halvings(largest, *shape)).collect();
    let Some(factors) = factors else {
        return Some(format!("{stated} but have other shapes; those of the coarser ones are shown as they are stated"));
    };
    let translation = levels.first()?.dataset.translation;
    let is_one_place = levels.iter().all(|level| level.dataset.translation == translation);
    for (level, factor) in levels.iter_mut().zip(&factors) {
        let size = [z, y, x];
        level.dataset.scale = Some(std::array::from_fn(|axis| size[axis] * factor[axis]));
        if is_one_place {
            // The first voxel of a coarser level holds the first ones of the finest.
            let centre = |axis: usize| translation[axis] + size[axis] * (factor[axis] - 1.0) / 2.0;
            level.dataset.translation = std::array::from_fn(centre);
        }
    }
    let told: Vec<String> = factors.iter().skip(1).map(|[z, y, x]| format!("{z}×{y}×{x}")).collect();
    Some(format!(
        "{stated} but shrink; by their shapes the voxels of the coarser ones are taken to be {} times as large",
        told.join(", ")
    ))
}

/// How much larger voxels are along each axis where a shape was halved, once or several times, rounded up or down; `None`
/// where that is not clear.
fn halvings(largest: [u64; 3], shape: [u64; 3]) -> Option<[f64; 3]> {
    if shape == largest {
        return Some([1.0; 3]);
    }
    let fits = |axis: usize, factor: u64| {
        let (full, part) = (largest[axis], shape[axis]);
        factor > 0 && (full.div_ceil(factor) == part || (full / factor).max(1) == part)
    };
    let (mut factors, mut certain) = ([1; 3], [false; 3]);
    for axis in 0..3 {
        let factor = (0..u64::BITS).map(|power| 1u64 << power).find(|factor| fits(axis, *factor))?;
        let is_exact = largest[axis] == shape[axis].saturating_mul(factor);
        // Few voxels fit other factors as well: 3 of 9 may be a third or, rounded up, a fourth.
        let is_only = !fits(axis, factor + 1) && !fits(axis, factor - 1);
        (factors[axis], certain[axis]) = (factor, is_exact || is_only);
    }
    let most = (0..3).filter(|axis| certain[*axis]).map(|axis| factors[axis]).max().filter(|most| *most > 1)?;
    for axis in (0..3).filter(|axis| !certain[*axis] && fits(*axis, most)) {
        factors[axis] = most;
    }
    Some(factors.map(|factor| factor as f64))
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
