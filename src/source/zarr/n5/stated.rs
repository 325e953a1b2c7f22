//! What attributes say of a place, in whichever words, before it is known which axis is which.

use super::place::{LevelPlace, Said};
use crate::length::Unit;
use crate::source::SourceError;
use crate::source::zarr::array::MAX_RANK;
use crate::source::zarr::axes::Axes;
use crate::source::zarr::imagej::Calibration;
use crate::source::zarr::json::JsonField;
use crate::source::zarr::own;

/// The keys that say the unit of a `resolution`.
const UNIT_KEYS: [&str; 4] = ["units", "resolution_unit", "unit", "pixelUnit"];

/// Numbers in the order of `dimensions`, the fastest axis first: one for each axis, or for those of space alone.
#[derive(Debug, Clone)]
pub(super) struct StatedNumbers {
    member: &'static str,
    numbers: Vec<f64>,
}

/// What attributes say of the size and position of voxels.
#[derive(Debug, Default)]
pub(super) struct StatedPlace {
    /// By OpenOrganelle, whose `transform` names its axes itself.
    transform: Option<LevelPlace>,
    size: Option<StatedNumbers>,
    /// Those of `size`, as many as it has numbers.
    units: Vec<Option<Unit>>,
    /// Whether it is a `resolution` beside which nothing is said of a unit.
    is_bare: bool,
    /// Position of the first voxel.
    offset: Option<StatedNumbers>,
    /// That of `offset`, where it is stated; else it is in those of `size`.
    offset_unit: Option<Unit>,
    factor: Option<StatedNumbers>,
}

/// Reads what the attributes of a level or a group say.
pub(super) fn of(attributes: &JsonField) -> Result<StatedPlace, SourceError> {
    if let Some(transform) = attributes.optional("transform")? {
        return Ok(StatedPlace { transform: Some(transformed(&transform)?), ..StatedPlace::default() });
    }
    let factor = match attributes.optional("downsamplingFactors")? {
        // A group lists those of all levels.
        Some(list) if list.value.get(0).is_none_or(|first| !first.is_array()) => Some(factor(&list)?),
        _ => None,
    };
    let (size, unit) = match attributes.optional("pixelResolution")? {
        Some(resolution) if resolution.value.is_object() => {
            (resolution.optional("dimensions")?, resolution.optional("unit")?.map(|unit| unit.text()).transpose()?)
        }
        other => (other, None),
    };
    let mut is_bare = false;
    let size = match size {
        Some(size) => Some(StatedNumbers::read("pixelResolution", &size)?),
        None => match attributes.optional("resolution")? {
            Some(size) => {
                let is_said = |key: &&str| attributes.value.get(key).is_some_and(|unit| !unit.is_null());
                is_bare = unit.is_none() && !UNIT_KEYS.iter().any(is_said);
                Some(StatedNumbers::read("resolution", &size)?)
            }
            None => Calibration::read(attributes)?
                .map(|known| StatedNumbers { member: "pixelWidth", numbers: known.size.to_vec() }),
        },
    };
    let dimensions = attributes.optional("dimension_units")?.filter(|_| is_bare || size.is_none());
    let dimensions = dimensions.and_then(|list| of_dimensions(&list));
    is_bare &= dimensions.is_none();
    let (size, units) = match (dimensions, unit, attributes.optional("units")?) {
        // Units alone are those of the resolution.
        (Some((lengths, units)), ..) if lengths.numbers == [1.0; 3] => (size.or(Some(lengths)), units),
        (Some((lengths, units)), ..) => (Some(lengths), units),
        (None, None, Some(units)) => (size, named(&units)?),
        (None, unit, _) => {
            let named = ["resolution_unit", "unit", "pixelUnit"].into_iter().find_map(|name| text(attributes, name));
            let unit = unit.or(named);
            let count = size.as_ref().map_or(0, |size| size.numbers.len());
            (size, vec![unit.and_then(Unit::named); count])
        }
    };
    // Others call something else an offset.
    let offset = attributes.optional("offset")?.and_then(|offset| StatedNumbers::read("offset", &offset).ok());
    let offset_unit = text(attributes, "offset_unit");
    let is_known = offset_unit.is_none_or(|unit| Unit::named(unit).is_some());
    let (mut size, mut offset) = (size, offset);
    if let Some(affine) = attributes.optional("affineTransform")? {
        match (plain(&affine), &mut size) {
            (Some(steps), Some(size)) if size.numbers.len() == steps.len() => {
                let moved = offset.get_or_insert(StatedNumbers { member: "offset", numbers: vec![0.0; steps.len()] });
                for ((size, moved), (factor, shift)) in size.numbers.iter_mut().zip(&mut moved.numbers).zip(steps) {
                    *size *= factor;
                    *moved = *moved * factor + shift;
                }
            }
            _ => tracing::warn!(
                "{}",
                affine.malformed(
                    "it is not applied, as it is more than a scale and a shift of sizes in `pixelResolution`; voxels are \
                     shown as they are stored"
                )
            ),
        }
    }
    Ok(StatedPlace {
        transform: None,
        size,
        units,
        is_bare,
        offset: offset.filter(|_| is_known),
        offset_unit: offset_unit.and_then(Unit::named),
        factor,
    })
}

/// The lengths and their units as DaCapo writes them, `8 nm` for each axis in the order of its `axes` and `resolution`. What
/// counts channels has no unit, and stands first whichever axis that is.
fn of_dimensions(list: &JsonField) -> Option<(StatedNumbers, Vec<Option<Unit>>)> {
    let lengths = list.elements(MAX_RANK).ok()?.into_iter().filter_map(|field| {
        let (count, unit) = own::stated_length(field.value)?;
        Some((count, Some(Unit::named(unit)?)))
    });
    let (numbers, units): (Vec<f64>, Vec<Option<Unit>>) = lengths.unzip();
    (units.len() == 3).then_some((StatedNumbers { member: "dimension_units", numbers }, units))
}

/// The scale and the shift along each axis, the fastest first, of what N5 viewers do to an image once its voxels have their
/// size; `None` where it is more than these.
fn plain(affine: &JsonField) -> Option<[(f64, f64); 3]> {
    let rows = affine.elements(3).ok().filter(|rows| rows.len() == 3)?;
    let mut steps = [(1.0, 0.0); 3];
    for (axis, (step, row)) in steps.iter_mut().zip(&rows).enumerate() {
        let numbers = row.numbers(4).ok()?;
        let is_apart = (0..3).all(|other| other == axis || numbers[other] == 0.0);
        if !is_apart || numbers[axis] <= 0.0 {
            return None;
        }
        *step = (numbers[axis], numbers[3]);
    }
    Some(steps)
}

/// How much coarser a level is.
pub(super) fn factor(field: &JsonField) -> Result<StatedNumbers, SourceError> {
    StatedNumbers::read("downsamplingFactors", field)
}

/// A `transform` as OpenOrganelle writes it.
fn transformed(transform: &JsonField) -> Result<LevelPlace, SourceError> {
    let axes = transform.member("axes")?;
    let names = axes.elements(MAX_RANK)?;
    let names = names.iter().map(|name| name.text().map(str::to_ascii_lowercase)).collect::<Result<Vec<_>, _>>()?;
    let mut at = [0; 3];
    for (place, name) in at.iter_mut().zip(["z", "y", "x"]) {
        let found = names.iter().position(|other| other == name);
        *place = found.ok_or_else(|| axes.unsupported(format!("axes without `{name}`")))?;
    }
    let turned = |numbers: Vec<f64>| at.map(|place| numbers[place]);
    let size = transform.member("scale")?;
    let scale = size.above_zero(turned(size.numbers(names.len())?))?;
    let translation = match transform.optional("translate")? {
        Some(translation) => turned(translation.numbers(names.len())?),
        None => [0.0; 3],
    };
    let units = transform.optional("units")?.map(|units| named(&units)).transpose()?.unwrap_or_default();
    let units = at.map(|place| units.get(place).copied().flatten().filter(|_| units.len() == names.len()));
    Ok(LevelPlace { scale, translation, units, is_bare: false, factor: None, said: Said::Transform })
}

/// The units in a list of names, as far as they are known.
fn named(units: &JsonField) -> Result<Vec<Option<Unit>>, SourceError> {
    let unit = |name: &JsonField| match name.value.is_null() {
        true => Ok(None),
        false => name.text().map(Unit::named),
    };
    units.elements(MAX_RANK)?.iter().map(unit).collect()
}

/// The text of a member, where it is one.
fn text<'a>(attributes: &JsonField<'a>, member: &str) -> Option<&'a str> {
    attributes.value.get(member)?.as_str()
}

impl StatedNumbers {
    fn read(member: &'static str, field: &JsonField) -> Result<Self, SourceError> {
        let numbers = field.elements(MAX_RANK)?.iter().map(JsonField::finite).collect::<Result<_, _>>()?;
        Ok(StatedNumbers { member, numbers })
    }

    /// Those along `z, y, x`, or why they are none.
    pub fn along(&self, axes: &Axes) -> Result<[f64; 3], String> {
        let count = self.numbers.len();
        turned(&self.numbers, axes)
            .ok_or_else(|| format!("`{}` lists {count} numbers for {} axes", self.member, axes.rank()))
    }

    /// The same where they must be above 0.
    pub fn sizes(&self, axes: &Axes) -> Result<[f64; 3], String> {
        let sizes = self.along(axes)?;
        match sizes.iter().find(|size| **size <= 0.0) {
            Some(size) => Err(format!("`{}` says {size}, which is not above 0", self.member)),
            None => Ok(sizes),
        }
    }
}

/// The entries along `z, y, x` of a list that has one for each axis, or for those of space alone, the fastest first.
fn turned<T: Copy>(list: &[T], axes: &Axes) -> Option<[T; 3]> {
    let slower = |own: usize| axes.kept.iter().filter(|other| **other < own).count();
    let places = match list.len() {
        count if count == axes.rank() => axes.kept,
        3 => axes.kept.map(slower),
        _ => return None,
    };
    Some(places.map(|place| list[list.len() - 1 - place]))
}

impl StatedPlace {
    /// A place that is known along `z, y, x`.
    pub fn of_nanometres(scale: [f64; 3], translation: [f64; 3]) -> Self {
        let units = [Unit::named("nm"); 3];
        let place = LevelPlace { scale, translation, units, is_bare: false, factor: None, said: Said::Transform };
        StatedPlace { transform: Some(place), ..StatedPlace::default() }
    }

    /// Whether it has the size of a voxel.
    pub fn says_size(&self) -> bool {
        self.transform.is_some() || self.size.is_some()
    }

    /// Of which it is known that its unit is told elsewhere, where it has none.
    pub fn of_bigdataviewer(self) -> Self {
        StatedPlace { is_bare: false, ..self }
    }

    /// Whether it is as funlib writes it, whose offset is that of the corner of the first voxel.
    pub fn is_of_funlib(&self) -> bool {
        let is_of_dimensions = |size: &StatedNumbers| size.member == "dimension_units";
        self.size.as_ref().is_some_and(|size| self.is_bare || is_of_dimensions(size))
    }

    /// The place along `z, y, x`; `None` where nothing is said of it, or why it is none.
    pub fn along(&self, axes: &Axes) -> Result<Option<LevelPlace>, String> {
        if self.transform.is_some() {
            return Ok(self.transform);
        }
        let factor = self.factor.as_ref().map(|factor| factor.sizes(axes)).transpose()?;
        let Some(size) = &self.size else {
            return Ok(factor.map(|factor| LevelPlace { said: Said::Factor, ..LevelPlace::coarser(factor) }));
        };
        let scale = size.sizes(axes)?;
        let units = turned(&self.units, axes).unwrap_or_default();
        let offset = self.offset.as_ref().map(|offset| offset.along(axes)).transpose()?.unwrap_or_default();
        let position = |axis: usize| match (self.offset_unit, units[axis]) {
            (Some(own), Some(unit)) if own != unit => {
                own.nanometres(offset[axis]).zip(unit.nanometres(1.0)).map_or(f64::NAN, |(length, unit)| length / unit)
            }
            // It cannot be compared with voxels without a unit.
            (Some(own), None) if self.is_bare => own.nanometres(offset[axis]).unwrap_or(f64::NAN),
            (Some(_), None) => 0.0,
            _ => offset[axis],
        };
        let (translation, is_bare) = (std::array::from_fn(position), self.is_bare);
        Ok(Some(LevelPlace { scale, translation, units, is_bare, factor, said: Said::Size }))
    }
}
