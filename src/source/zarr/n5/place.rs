//! Where a level of an N5 image lies, in whichever words its attributes say it.

use crate::length::Unit;
use crate::source::zarr::json::JsonField;
use crate::source::zarr::multiscales::LevelEntry;
use crate::source::{Relative, SourceError};

/// What a group says of its levels.
#[derive(Debug, Default)]
pub(super) struct N5Group {
    /// Their paths, where it lists them.
    pub levels: Option<Vec<String>>,
    /// Their places, as far as it lists those.
    pub places: Vec<Option<LevelPlace>>,
    /// How much coarser each is than the finest one, along `z, y, x`.
    pub factors: Vec<[f64; 3]>,
    /// Size and unit of the finest one's voxels.
    pub finest: Option<LevelPlace>,
}

/// Size and position of a level's voxels along `z, y, x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LevelPlace {
    /// Lengths, or voxels of the finest level where there are no units.
    pub scale: [f64; 3],
    /// Position of the centre of the first voxel.
    pub translation: [f64; 3],
    /// In which units.
    pub units: [Option<Unit>; 3],
    /// How much coarser it is than the finest level.
    pub factor: Option<[f64; 3]>,
    /// Whether nothing but the factor is known of it.
    pub is_factor: bool,
}

/// Reads what the attributes of a level or a group say.
pub(super) fn of(attributes: &JsonField) -> Result<Option<LevelPlace>, SourceError> {
    if let Some(transform) = attributes.optional("transform")? {
        return transformed(&transform).map(Some);
    }
    let factor = match attributes.optional("downsamplingFactors")? {
        // A group lists those of all levels.
        Some(list) if list.value.get(0).is_none_or(|first| !first.is_array()) => Some(factor(&list)?),
        _ => None,
    };
    let size = match attributes.optional("pixelResolution")? {
        Some(resolution) if resolution.value.is_object() => {
            let unit = resolution.optional("unit")?.map(|unit| unit.text().map(Unit::named)).transpose()?.flatten();
            Some((triple(&resolution.member("dimensions")?)?, [unit; 3]))
        }
        Some(resolution) => Some((triple(&resolution)?, [None; 3])),
        None => match attributes.optional("resolution")? {
            Some(resolution) => Some((triple(&resolution)?, units_of(attributes)?)),
            None => None,
        },
    };
    Ok(match (size, factor) {
        (Some((scale, units)), factor) => {
            Some(LevelPlace { scale, translation: [0.0; 3], units, factor, is_factor: false })
        }
        (None, Some(factor)) => Some(LevelPlace { is_factor: true, ..LevelPlace::coarser(factor) }),
        (None, None) => None,
    })
}

/// A `transform` as OpenOrganelle writes it: it names its axes itself.
fn transformed(transform: &JsonField) -> Result<LevelPlace, SourceError> {
    let axes = transform.member("axes")?;
    let names =
        axes.elements(3)?.iter().map(|name| name.text().map(str::to_ascii_lowercase)).collect::<Result<Vec<_>, _>>()?;
    let mut at = [0; 3];
    for (place, name) in at.iter_mut().zip(["z", "y", "x"]) {
        let found = names.iter().position(|other| other == name);
        *place = found.ok_or_else(|| axes.unsupported(format!("axes without `{name}`")))?;
    }
    let turned = |numbers: Vec<f64>| at.map(|place| numbers[place]);
    let scale = turned(transform.member("scale")?.numbers(3)?);
    let translation = match transform.optional("translate")? {
        Some(translation) => turned(translation.numbers(3)?),
        None => [0.0; 3],
    };
    let units = units_of(transform)?;
    let units = at.map(|place| units[place]);
    positive(transform, &scale)?;
    Ok(LevelPlace { scale, translation, units, factor: None, is_factor: false })
}

/// Those of the three `units` that are known, in their order.
fn units_of(field: &JsonField) -> Result<[Option<Unit>; 3], SourceError> {
    let mut known = [None; 3];
    let Some(units) = field.optional("units")? else { return Ok(known) };
    let elements = units.elements(3)?;
    if elements.len() != 3 {
        return Ok(known);
    }
    for (known, element) in known.iter_mut().zip(&elements).filter(|(_, element)| !element.value.is_null()) {
        *known = Unit::named(element.text()?);
    }
    Ok(known)
}

/// Three numbers above 0, listed `x, y, z`.
fn triple(field: &JsonField) -> Result<[f64; 3], SourceError> {
    let numbers = field.numbers(3)?;
    positive(field, &numbers)?;
    Ok([numbers[2], numbers[1], numbers[0]])
}

/// How much coarser a level is, listed `x, y, z`.
pub(super) fn factor(field: &JsonField) -> Result<[f64; 3], SourceError> {
    triple(field)
}

fn positive(field: &JsonField, numbers: &[f64]) -> Result<(), SourceError> {
    match numbers.iter().find(|number| **number <= 0.0) {
        Some(number) => Err(field.malformed(format!("{number} is not above 0"))),
        None => Ok(()),
    }
}

impl LevelPlace {
    /// A level that is so much coarser than the finest one, in voxels of that: its first voxel holds the first ones there.
    fn coarser(factor: [f64; 3]) -> LevelPlace {
        let translation = factor.map(|factor| (factor - 1.0) / 2.0);
        LevelPlace { scale: factor, translation, units: [None; 3], factor: Some(factor), is_factor: false }
    }

    fn of_finest(self, finest: LevelPlace) -> LevelPlace {
        let each = |values: [f64; 3]| std::array::from_fn(|axis| values[axis] * finest.scale[axis]);
        let translation = each(self.translation);
        let translation = std::array::from_fn(|axis| translation[axis] + finest.translation[axis]);
        LevelPlace { scale: each(self.scale), translation, units: finest.units, ..self }
    }

    fn nanometres(&self) -> Option<([f64; 3], [f64; 3])> {
        let [Some(z), Some(y), Some(x)] = self.units else { return None };
        let units = [z, y, x];
        let convert = |values: [f64; 3]| -> Option<[f64; 3]> {
            let mut lengths = [0.0; 3];
            for axis in 0..3 {
                lengths[axis] = units[axis].nanometres(values[axis]).filter(|length| length.is_finite())?;
            }
            Some(lengths)
        };
        let scale = convert(self.scale).filter(|scale| scale.iter().all(|size| *size > 0.0))?;
        Some((scale, convert(self.translation)?))
    }
}

/// What is known of a level's place in the end.
pub(super) enum KnownPlace {
    Nothing,
    Nanometres([f64; 3], [f64; 3]),
    /// Where it lies beside the finest one, and the nanometres of its voxels along the axes that have units.
    Relative(Relative, [Option<f64>; 3]),
}

impl KnownPlace {
    /// Notes it in what is said of a level.
    pub fn apply(self, dataset: &mut LevelEntry) {
        match self {
            KnownPlace::Nothing => {}
            KnownPlace::Nanometres(scale, translation) => {
                (dataset.scale, dataset.translation) = (Some(scale), translation);
            }
            KnownPlace::Relative(relative, partial) => (dataset.relative, dataset.partial) = (Some(relative), partial),
        }
    }
}

/// The places of all levels by what the group says and what each says itself, and why they are no lengths, where they are none.
pub(super) fn of_levels(group: &N5Group, own: &[Option<LevelPlace>]) -> (Vec<KnownPlace>, Option<String>) {
    let finest = group.finest.filter(|place| !place.is_factor);
    let finest = finest.or(own.first().copied().flatten().filter(|place| !place.is_factor));
    let place = |(number, own): (usize, &Option<LevelPlace>)| -> Option<LevelPlace> {
        let listed = group.places.get(number).copied().flatten();
        if let Some(place) = listed.filter(|place| !place.is_factor) {
            return Some(place);
        }
        let factor = group.factors.get(number).copied().or(own.and_then(|place| place.factor));
        match (factor, finest) {
            (Some(factor), Some(finest)) => Some(LevelPlace::coarser(factor).of_finest(finest)),
            (Some(factor), None) => Some(LevelPlace::coarser(factor)),
            (None, finest) => own.filter(|place| !place.is_factor).or(finest.filter(|_| number == 0)),
        }
    };
    let places: Vec<Option<LevelPlace>> = own.iter().enumerate().map(place).collect();
    let lengths: Option<Vec<_>> = places.iter().map(|place| place.as_ref()?.nanometres()).collect();
    if let Some(lengths) = lengths {
        let known = lengths.into_iter().map(|(scale, translation)| KnownPlace::Nanometres(scale, translation));
        return (known.collect(), None);
    }
    let unitless = Some("a known unit is missing".to_owned());
    let all: Option<Vec<LevelPlace>> = places.into_iter().collect();
    let Some((all, first)) = all.and_then(|all| all.first().copied().map(|first| (all, first))) else {
        return (own.iter().map(|_| KnownPlace::Nothing).collect(), unitless);
    };
    let relative = |place: LevelPlace| {
        let each = |values: [f64; 3]| -> [f64; 3] { std::array::from_fn(|axis| values[axis] / first.scale[axis]) };
        let (scale, translation) = (each(place.scale), each(place.translation));
        let is_sound =
            scale.iter().all(|size| size.is_finite() && *size > 0.0) && translation.iter().all(|part| part.is_finite());
        let size = |axis: usize| {
            place.units[axis]?.nanometres(place.scale[axis]).filter(|size| size.is_finite() && *size > 0.0)
        };
        let partial = std::array::from_fn(size);
        if is_sound { KnownPlace::Relative(Relative { scale, translation }, partial) } else { KnownPlace::Nothing }
    };
    (all.into_iter().map(relative).collect(), unitless)
}
