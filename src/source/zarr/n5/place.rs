//! Where the levels of an N5 image lie, by what their group and their own attributes say.

use crate::length::Unit;
use crate::source::Relative;
use crate::source::zarr::multiscales::LevelEntry;

/// What a group says of the places of its levels.
#[derive(Debug, Default)]
pub(super) struct GroupPlaces {
    /// Those that it lists.
    pub places: Vec<Option<LevelPlace>>,
    /// How much coarser each is than the finest one.
    pub factors: Vec<Option<[f64; 3]>>,
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
    /// Whether nothing is said of a unit, so that these are nanometres where no other place has one, as funlib has it.
    pub is_bare: bool,
    /// How much coarser it is than the finest level.
    pub factor: Option<[f64; 3]>,
    /// What it is known by.
    pub said: Said,
}

/// What a place is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// OpenOrganelle's `transform`, which says all of the level itself.
    Transform,
    /// The size of voxels.
    Size,
    /// A factor, and nothing else.
    Factor,
}

impl LevelPlace {
    /// A level that is so much coarser than the finest one, in voxels of that: its first voxel holds the first ones there.
    pub fn coarser(factor: [f64; 3]) -> LevelPlace {
        let translation = factor.map(|factor| (factor - 1.0) / 2.0);
        let units = [None; 3];
        LevelPlace { scale: factor, translation, units, is_bare: false, factor: Some(factor), said: Said::Size }
    }

    fn settled(self) -> LevelPlace {
        let units = if self.is_bare { [Unit::named("nm"); 3] } else { self.units };
        LevelPlace { units, ..self }
    }

    fn of_finest(self, finest: LevelPlace) -> LevelPlace {
        let each = |values: [f64; 3]| std::array::from_fn(|axis| values[axis] * finest.scale[axis]);
        let translation = each(self.translation);
        let translation = std::array::from_fn(|axis| translation[axis] + finest.translation[axis]);
        LevelPlace { scale: each(self.scale), translation, units: finest.units, is_bare: finest.is_bare, ..self }
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
    /// The numbers that its size has without a unit, and nothing else.
    Plain([f64; 3]),
    Nanometres([f64; 3], [f64; 3]),
    /// Where it lies beside the finest one, and the nanometres of its voxels along the axes that have units.
    Relative {
        beside: Relative,
        partial: [Option<f64>; 3],
        /// The numbers that its size has without a unit.
        plain: Option<[f64; 3]>,
    },
}

impl KnownPlace {
    /// Notes it in what is said of a level.
    pub fn apply(self, dataset: &mut LevelEntry) {
        match self {
            KnownPlace::Nothing => {}
            KnownPlace::Plain(plain) => dataset.plain = Some(plain),
            KnownPlace::Nanometres(scale, translation) => {
                (dataset.scale, dataset.translation) = (Some(scale), translation);
            }
            KnownPlace::Relative { beside, partial, plain } => {
                (dataset.relative, dataset.partial, dataset.plain) = (Some(beside), partial, plain);
            }
        }
    }
}

/// The places of levels in the end.
pub(super) struct KnownPlaces {
    /// That of each.
    pub levels: Vec<KnownPlace>,
    /// Why they are no lengths, where they are none.
    pub unitless: Option<String>,
    /// Whether nanometres were taken for granted.
    pub is_assumed: bool,
}

/// The places of all levels by what the group says and what each says itself. Levels that are not readable have no say in it.
pub(super) fn of_levels(group: &GroupPlaces, own: &[Option<LevelPlace>], is_readable: &[bool]) -> KnownPlaces {
    let is_own = |place: &LevelPlace| place.said == Said::Transform;
    let is_place = |place: &LevelPlace| place.said != Said::Factor;
    let first = own.first().copied().flatten();
    // BigDataViewer states sizes of a group without a unit, beside which levels may have one.
    let sizes = [group.finest.filter(is_place), first.filter(is_place)];
    let with_unit = sizes.into_iter().flatten().find(|place| place.nanometres().is_some());
    let settled = |place: LevelPlace| if with_unit.is_none() { place.settled() } else { place };
    let finest = first.filter(is_own).or(with_unit).or(sizes.into_iter().flatten().next().map(settled));
    let place = |(number, own): (usize, &Option<LevelPlace>)| -> Option<LevelPlace> {
        let listed = group.places.get(number).copied().flatten().filter(is_place).map(settled);
        if let Some(place) = listed.or(own.filter(is_own)) {
            return Some(place);
        }
        let factor = group.factors.get(number).copied().flatten().or(own.and_then(|place| place.factor));
        match (factor, finest) {
            (Some(factor), Some(finest)) => Some(LevelPlace::coarser(factor).of_finest(finest)),
            (Some(factor), None) => Some(LevelPlace::coarser(factor)),
            (None, finest) => own.filter(is_place).map(settled).or(finest.filter(|_| number == 0)),
        }
    };
    let places: Vec<Option<LevelPlace>> = own.iter().enumerate().map(place).collect();
    let readable = || places.iter().zip(is_readable).filter(|(_, is_readable)| **is_readable).map(|(place, _)| place);
    let lengths = |place: &Option<LevelPlace>| place.as_ref().and_then(LevelPlace::nanometres);
    if readable().all(|place| lengths(place).is_some()) {
        let known = |place| match lengths(place) {
            Some((scale, translation)) => KnownPlace::Nanometres(scale, translation),
            None => KnownPlace::Nothing,
        };
        let is_assumed = places.iter().flatten().any(|place| place.is_bare);
        return KnownPlaces { levels: places.iter().map(known).collect(), unitless: None, is_assumed };
    }
    let unitless = Some("a known unit is missing".to_owned());
    let Some(first) = readable().next().copied().flatten().filter(|_| readable().all(Option::is_some)) else {
        // Where the coarser ones lie is not known, but what the finest is like may be.
        let plain = places.first().copied().flatten().filter(|place| place.units == [None; 3] && finest.is_some());
        let known = |number: usize| match plain {
            Some(place) if number == 0 => KnownPlace::Plain(place.scale),
            _ => KnownPlace::Nothing,
        };
        let levels = (0..own.len()).map(known).collect();
        return KnownPlaces { levels, unitless, is_assumed: false };
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
        // Where nothing says a size, these count voxels.
        let plain = Some(place.scale).filter(|_| finest.is_some() && place.units == [None; 3]);
        let beside = Relative { scale, translation };
        if is_sound { KnownPlace::Relative { beside, partial, plain } } else { KnownPlace::Nothing }
    };
    let levels = places.into_iter().map(|place| place.map_or(KnownPlace::Nothing, relative)).collect();
    KnownPlaces { levels, unitless, is_assumed: false }
}
