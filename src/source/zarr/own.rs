//! What the attributes of an array say of itself: its axes, the size of its voxels, and where it lies.

use serde_json::Value;

use super::array::MAX_RANK;
use super::axes::{Axes, StatedAxes, Units};
use super::imagej::{Calibration, Hyperstack};
use super::json::JsonField;
use super::multiscales::{LevelEntry, Place};
use super::transform::{Numbers, Transform};
use crate::source::SourceError;

/// What an array says.
#[derive(Debug, Default)]
pub(super) struct OwnAttributes {
    /// Its axes, where it names them.
    pub axes: Option<Axes>,
    /// What its axes may be, where it names them by words that say nothing.
    pub guessed: Option<Axes>,
    /// How its planes are counted, where ImageJ wrote it.
    hyperstack: Option<Hyperstack>,
    /// The size of its voxels, in whichever words.
    size: Option<OwnSize>,
    /// What is wrong with what it says.
    pub note: Option<String>,
}

/// The ways in which arrays tell the size of their voxels.
#[derive(Debug)]
enum OwnSize {
    /// As OpenOrganelle, N5 viewers and ImageJ write it, with axes of its own.
    Placed(Transform, Units),
    /// As funlib and TensorStore write it: a number per axis of space, in the order of the array.
    Listed { size: Vec<f64>, corner: Option<Vec<f64>>, units: Option<Vec<Option<String>>> },
}

/// What is known of an array's place in the end.
#[derive(Debug)]
pub(super) struct OwnPlace {
    /// The array as a level.
    pub dataset: LevelEntry,
    /// Why its size is no length, where it is none.
    pub unitless: Option<String>,
    /// Whether its place is that of the corner of the first voxel.
    pub by_corner: bool,
    /// What was taken for granted.
    pub note: Option<String>,
}

/// Reads the attributes of an array, and `names`, which lists the names of its axes. What is wrong with the size of its voxels
/// is told and no reason to do without them.
pub(super) fn read(attributes: Option<&JsonField>, names: Option<&JsonField>) -> Result<OwnAttributes, SourceError> {
    let mut own = OwnAttributes::default();
    if let Some(names) = names {
        own.named(Axes::of_array(names)?);
    }
    let Some(attributes) = attributes.filter(|attributes| attributes.value.is_object()) else { return Ok(own) };
    // Others call something else so.
    let transform = attributes.optional("transform")?.filter(|field| field.value.get("axes").is_some());
    let size = match transform {
        Some(transform) => {
            let (axes, units) = Axes::of_transform(&transform)?;
            let mut numbers = Numbers { axes: Some(&axes), note: None };
            let at = Transform::of_own(&transform, &mut numbers);
            own.axes.get_or_insert(axes);
            at.map(|at| Some(OwnSize::Placed(at, units)))
        }
        None => {
            if let (None, Some(names)) = (&own.axes, list(attributes, "axis_names")?) {
                own.named(Axes::of_array(&names)?);
            }
            own.hyperstack = Hyperstack::read(attributes);
            match listed(attributes).transpose().or_else(|| of_dimensions(attributes).transpose()) {
                Some(size) => size.map(Some),
                None => of_viewer(attributes),
            }
        }
    };
    match size {
        Ok(size) => own.size = size,
        Err(error) => own.note = Some(error.to_string()),
    }
    Ok(own)
}

fn list<'a>(attributes: &JsonField<'a>, name: &str) -> Result<Option<JsonField<'a>>, SourceError> {
    Ok(attributes.optional(name)?.filter(|field| field.value.is_array()))
}

/// The size as funlib writes it.
fn listed(attributes: &JsonField) -> Result<Option<OwnSize>, SourceError> {
    let Some(size) = list(attributes, "voxel_size")?.or(list(attributes, "resolution")?) else { return Ok(None) };
    let corner = list(attributes, "offset")?.map(|offset| numbers(&offset)).transpose()?;
    Ok(Some(OwnSize::Listed { size: sizes(&size)?, corner, units: units(attributes)? }))
}

/// The size as TensorStore writes it in Zarr v3: a length for each axis, `null` where one has none.
fn of_dimensions(attributes: &JsonField) -> Result<Option<OwnSize>, SourceError> {
    let Some(list) = list(attributes, "dimension_units")? else { return Ok(None) };
    let (mut size, mut units) = (Vec::new(), Vec::new());
    for field in list.elements(MAX_RANK)? {
        let stated = match field.value.is_null() {
            true => None,
            false => Some(stated_length(field.value).ok_or_else(|| field.malformed("it is no length"))?),
        };
        let (count, unit) = stated.map_or((1.0, None), |(count, unit)| (count, Some(unit.to_owned())));
        size.push(count);
        units.push(unit);
    }
    if units.iter().all(Option::is_none) {
        return Ok(None);
    }
    Ok(Some(OwnSize::Listed { size: list.above_zero(size)?, corner: None, units: Some(units) }))
}

/// The number and the unit of a length as TensorStore writes it: `40 nm`, `nm`, or a pair of both.
pub(super) fn stated_length(value: &Value) -> Option<(f64, &str)> {
    if let Some([count, unit]) = value.as_array().map(Vec::as_slice) {
        return Some((count.as_f64()?, unit.as_str()?));
    }
    let text = value.as_str()?.trim();
    if !text.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.') {
        return Some((1.0, text));
    }
    // An `e` may be that of a number or of a unit, so the longest number counts.
    let split = |end: usize| Some((text.get(..end)?.parse::<f64>().ok()?, text.get(end..)?.trim()));
    (1..=text.len().min(64)).rev().find_map(split)
}

/// The size as N5 viewers and ImageJ write it, and how much coarser than that a level is. The fastest axis is listed first in
/// these words, whatever the order of the array's own.
fn of_viewer(attributes: &JsonField) -> Result<Option<OwnSize>, SourceError> {
    let text = |name: &str| attributes.value.get(name).and_then(Value::as_str);
    let of_all = || [["pixelUnit", "unit", "resolution_unit", "units"].into_iter().find_map(text); 3];
    let (size, units) = match attributes.optional("pixelResolution")? {
        Some(resolution) if resolution.value.is_object() => {
            let unit = resolution.optional("unit")?.map(|unit| unit.text()).transpose()?;
            (sizes(&resolution.member("dimensions")?)?, [unit; 3])
        }
        Some(resolution) if resolution.value.is_array() => {
            let each = attributes.value.get("units").and_then(Value::as_array).map(Vec::as_slice);
            let units = match each {
                Some([x, y, z]) => [x.as_str(), y.as_str(), z.as_str()],
                _ => of_all(),
            };
            (sizes(&resolution)?, units)
        }
        _ => match Calibration::read(attributes)? {
            Some(Calibration { size, unit }) => (size.to_vec(), [unit; 3]),
            None => return Ok(None),
        },
    };
    let factor = list(attributes, "downsamplingFactors")?.map(|factor| sizes(&factor)).transpose()?;
    let ([x, y, z], [of_x, of_y, of_z]) = (size.as_slice(), units) else { return Ok(None) };
    let factor = match factor.as_deref() {
        Some([x, y, z]) => [*z, *y, *x],
        _ => [1.0; 3],
    };
    let size = [*z, *y, *x];
    let at = Transform {
        scale: std::array::from_fn(|axis| size[axis] * factor[axis]),
        // The first voxel of a coarser level holds the first ones of the finest.
        translation: std::array::from_fn(|axis| size[axis] * (factor[axis] - 1.0) / 2.0),
    };
    Ok(Some(OwnSize::Placed(at, Units::named([of_z, of_y, of_x]))))
}

fn numbers(field: &JsonField) -> Result<Vec<f64>, SourceError> {
    field.elements(MAX_RANK)?.iter().map(JsonField::finite).collect()
}

fn sizes(field: &JsonField) -> Result<Vec<f64>, SourceError> {
    field.above_zero(numbers(field)?)
}

/// The units of funlib, of each axis or of all.
fn units(attributes: &JsonField) -> Result<Option<Vec<Option<String>>>, SourceError> {
    let stated = ["units", "resolution_unit"].into_iter().find_map(|name| attributes.optional(name).transpose());
    let Some(field) = stated.transpose()? else { return Ok(None) };
    let unit = |field: &JsonField| field.value.as_str().map(str::to_owned);
    match field.value.is_array() {
        true => Ok(Some(field.elements(MAX_RANK)?.iter().map(unit).collect())),
        false => Ok(unit(&field).map(|unit| vec![Some(unit); MAX_RANK])),
    }
}

impl OwnAttributes {
    /// Those of an array that says nothing, for that reason where it should.
    pub fn lacking(note: Option<String>) -> Self {
        OwnAttributes { note, ..OwnAttributes::default() }
    }

    fn named(&mut self, axes: Option<StatedAxes>) {
        match axes {
            Some(StatedAxes::Known(axes)) => self.axes = Some(axes),
            Some(StatedAxes::Guessed(axes)) => self.guessed = Some(axes),
            None => {}
        }
    }

    /// The axes that it names, or has by ImageJ's counts where its shape is that one.
    pub fn axes_of(&self, shape: &[u64]) -> Option<Axes> {
        self.axes.clone().or_else(|| self.hyperstack?.axes(shape))
    }

    /// Whether nothing is left to ask for.
    pub fn is_complete(&self) -> bool {
        self.axes.is_some() && self.size.is_some()
    }

    /// The place of the array, whose axes are `axes`.
    pub fn place(&self, axes: &Axes) -> Option<OwnPlace> {
        let mut place =
            OwnPlace { dataset: LevelEntry::bare(String::new()), unitless: None, by_corner: false, note: None };
        let (at, units) = match self.size.as_ref()? {
            OwnSize::Placed(at, units) => (*at, units.clone()),
            OwnSize::Listed { size, corner, units } => {
                place.by_corner = true;
                let scale = along(axes, size)?;
                let translation = corner.as_ref().map_or(Some([0.0; 3]), |corner| along(axes, corner))?;
                let units = match units {
                    Some(units) => along(axes, &units[..units.len().min(size.len())])
                        .map(|units| Units::named(units.each_ref().map(Option::as_deref))),
                    None => None,
                };
                let units = units.unwrap_or_else(|| {
                    place.note =
                        Some("its voxel size has no unit and is taken for nanometres, as funlib has it".to_owned());
                    Units::named([Some("nm"); 3])
                });
                (Transform { scale, translation }, units)
            }
        };
        place.unitless = units.lacking.clone();
        let level = Place { path: String::new(), at }.level(&units, at.scale).ok()?;
        // There is no other level beside which it would lie.
        place.dataset = LevelEntry { relative: None, ..level };
        Some(place)
    }
}

/// Those of the values, one for each axis or each one of space, that are along `z, y, x`.
fn along<T: Clone>(axes: &Axes, values: &[T]) -> Option<[T; 3]> {
    let positions = if values.len() == axes.rank() { axes.kept } else { axes.among_space() };
    let is_sound = values.len() == axes.rank() || values.len() == positions.len();
    let [z, y, x] = positions.map(|position| values.get(position).filter(|_| is_sound).cloned());
    Some([z?, y?, x?])
}
