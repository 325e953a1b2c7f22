//! The axes of arrays: which of them are `z, y, x`, and in which units their lengths are.

use super::array::{ArrayDocument, MAX_RANK};
use super::json::{JsonField, brief, quoted};
use crate::length::Unit;
use crate::source::{SourceError, remedy};

/// The axes that are shown, in the order in which they are.
const SHOWN: [&str; 3] = ["z", "y", "x"];

/// Which axes of an array are `z, y, x`, and which one counts channels. All others must have length 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    names: Vec<String>,
    /// Positions of `z, y, x`, in whichever order they are.
    pub kept: [usize; 3],
    /// Position of the one that counts channels.
    channels: Option<usize>,
    /// Which of several channels is shown.
    channel: Option<u64>,
}

/// What an axis is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// One of the axes that are shown, by its place among these.
    Space(usize),
    /// One of them, but its name does not say which.
    SomeSpace,
    Channel,
    Other,
}

impl Role {
    /// By its name, or where that says nothing by its type.
    fn of(name: &str, kind: Option<&str>) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let by_name = match name.as_str() {
            "c" | "channel" | "channels" => Some(Role::Channel),
            "t" | "time" => Some(Role::Other),
            name => SHOWN.iter().position(|shown| *shown == name).map(Role::Space),
        };
        by_name.or_else(|| match kind?.to_ascii_lowercase().as_str() {
            "space" => Some(Role::SomeSpace),
            "channel" => Some(Role::Channel),
            "time" => Some(Role::Other),
            _ => None,
        })
    }
}

/// The axes that an array names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StatedAxes {
    /// By names that say what they are.
    Known(Axes),
    /// By names of which some say nothing.
    Guessed(Axes),
}

/// The units of lengths along `z, y, x`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Units {
    /// Those that are known.
    pub along: [Option<Unit>; 3],
    /// Why the first of the others is not.
    pub lacking: Option<String>,
}

impl Units {
    /// None is known, for that reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Units { along: [None; 3], lacking: Some(reason.into()) }
    }

    /// Those that are `stated` along `z, y, x`.
    pub fn named(stated: [Option<&str>; 3]) -> Self {
        let mut units = Units { along: [None; 3], lacking: None };
        for (axis, stated) in stated.into_iter().enumerate() {
            units.along[axis] = stated.and_then(Unit::named);
            let lacking = || match stated {
                Some(stated) => format!("the unit {} of axis {} is no known length", quoted(stated), SHOWN[axis]),
                None => format!("axis {} has no unit", SHOWN[axis]),
            };
            if units.along[axis].is_none() {
                units.lacking.get_or_insert_with(lacking);
            }
        }
        if stated == [None; 3] { Units::unknown("the axes have no unit") } else { units }
    }
}

impl Axes {
    /// The axes of an array that says nothing of them.
    pub fn zyx() -> Self {
        Axes { names: SHOWN.map(str::to_owned).to_vec(), kept: [0, 1, 2], channels: None, channel: None }
    }

    /// The axes of an array that names none, of which the last three are `z, y, x` and the others are rather not there.
    pub fn of_rank(rank: usize) -> Option<Self> {
        let others = 2usize.checked_sub(rank.checked_sub(SHOWN.len())?)?;
        Self::named(["t", "c"].into_iter().skip(others).chain(SHOWN).map(str::to_owned).collect())
    }

    /// Reads the axes of an array of N5 from their names, which its `axes` list the fastest first. A name that says nothing
    /// is the one that [`Axes::of_rank`] has there; `None` where no name is known.
    pub fn of_dimensions(field: &JsonField, fastest_first: bool) -> Result<Option<Self>, SourceError> {
        let mut elements = field.elements(MAX_RANK)?;
        if fastest_first {
            elements.reverse();
        }
        let assumed = ["t", "c"].into_iter().chain(SHOWN).skip(MAX_RANK - elements.len());
        let (mut names, mut is_known) = (Vec::new(), false);
        for (element, assumed) in elements.iter().zip(assumed) {
            let own = stated(element)?;
            is_known |= own.as_deref().is_some_and(|name| Role::of(name, None).is_some());
            names.push(own.unwrap_or_else(|| assumed.to_owned()));
        }
        if !is_known {
            return Ok(None);
        }
        Self::named(names).map(Some).ok_or_else(|| {
            let names: Vec<String> = elements.iter().map(|element| brief(element.value)).collect();
            let reason = format!("an array with the axes {}, the slowest first,", names.join(", "));
            field.unsupported(reason).with_remedy(remedy_of(&names))
        })
    }

    /// The axes of these names, where they are those of a volume.
    pub fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Option<Self> {
        Self::named(names.map(str::to_owned).collect())
    }

    /// Axes of these names; `None` unless there is one of each of `z, y, x`, and the others are known.
    fn named(names: Vec<String>) -> Option<Self> {
        let roles = names.iter().map(|name| Role::of(name, None)).collect::<Option<Vec<_>>>()?;
        Self::of_roles(names, &roles)
    }

    /// Where the names of axes of space do not say which is which, they are `z, y, x` in their order.
    fn of_roles(names: Vec<String>, roles: &[Role]) -> Option<Self> {
        let mut kept = [None; 3];
        for (position, role) in roles.iter().enumerate() {
            if let Role::Space(shown) = role
                && kept[*shown].replace(position).is_some()
            {
                return None;
            }
        }
        for (position, _) in roles.iter().enumerate().filter(|(_, role)| **role == Role::SomeSpace) {
            *kept.iter_mut().find(|kept| kept.is_none())? = Some(position);
        }
        let [Some(z), Some(y), Some(x)] = kept else { return None };
        let mut channels = roles.iter().enumerate().filter(|(_, role)| **role == Role::Channel);
        let (first, second) = (channels.next(), channels.next());
        second.is_none().then_some(Axes {
            names,
            kept: [z, y, x],
            channels: first.map(|(position, _)| position),
            channel: None,
        })
    }

    /// Reads the axes of a lone array from their names; `None` where no name says anything. Where only some do not, the last
    /// three axes are `z, y, x`.
    pub fn of_array(field: &JsonField) -> Result<Option<StatedAxes>, SourceError> {
        let elements = field.elements(MAX_RANK)?;
        let names = elements.iter().map(stated).collect::<Result<Vec<_>, _>>()?;
        if !names.is_empty() && names.iter().all(Option::is_none) {
            return Ok(None);
        }
        let assumed = |(position, name): (usize, Option<String>)| {
            let shown = (position + SHOWN.len()).checked_sub(elements.len());
            name.unwrap_or_else(|| shown.map_or("", |shown| SHOWN[shown]).to_owned())
        };
        let names: Vec<String> = names.into_iter().enumerate().map(assumed).collect();
        if let Some(axes) = Self::named(names.clone()) {
            return Ok(Some(StatedAxes::Known(axes)));
        }
        Self::of_three(names).map(|axes| Some(StatedAxes::Guessed(axes))).ok_or_else(|| {
            let names: Vec<String> = elements.iter().map(|element| brief(element.value)).collect();
            field.unsupported(format!("an array with the axes {}", names.join(", "))).with_remedy(remedy_of(&names))
        })
    }

    /// Three axes of which not all names are known, and none is that of something else than space: in their order `z, y, x`,
    /// apart from those that are called so.
    fn of_three(names: Vec<String>) -> Option<Self> {
        let roles: Vec<Role> = names.iter().map(|name| Role::of(name, None).unwrap_or(Role::SomeSpace)).collect();
        let is_space = roles.iter().all(|role| matches!(role, Role::Space(_) | Role::SomeSpace));
        if is_space && names.len() == SHOWN.len() { Self::of_roles(names, &roles) } else { None }
    }

    /// The axes of an image of the first versions of the format.
    pub fn tczyx() -> Self {
        let names = ["t", "c"].into_iter().chain(SHOWN).map(str::to_owned).collect();
        Axes { names, kept: [2, 3, 4], channels: Some(1), channel: None }
    }

    /// Reads those that the `transform` of a level names, as OpenOrganelle has it, and their units.
    pub fn of_transform(transform: &JsonField) -> Result<(Self, Units), SourceError> {
        let field = transform.member("axes")?;
        let elements = field.elements(MAX_RANK)?;
        let names: Vec<String> =
            elements.iter().map(|name| name.text().map(str::to_ascii_lowercase)).collect::<Result<_, _>>()?;
        let listed = names.join(", ");
        let axes = Self::named(names)
            .ok_or_else(|| field.unsupported(format!("an image with the axes {listed}")).with_remedy(remedy::AXES))?;
        let listed = match transform.optional("units")? {
            Some(units) => units.elements(MAX_RANK)?,
            None => Vec::new(),
        };
        let mut stated = [None; 3];
        for (stated, position) in stated.iter_mut().zip(axes.kept) {
            *stated = listed.get(position).filter(|unit| !unit.value.is_null()).map(JsonField::text).transpose()?;
        }
        Ok((axes, Units::named(stated)))
    }

    /// Reads the axes of an image, and their units. Those of version 0.3 are names alone.
    pub fn of_image(field: &JsonField) -> Result<(Self, Units), SourceError> {
        let elements = field.elements(MAX_RANK)?;
        let (mut names, mut roles) = (Vec::new(), Vec::new());
        for axis in &elements {
            let name = if axis.value.is_string() { axis.clone() } else { axis.member("name")? };
            let kind = match axis.value.is_string() {
                true => None,
                false => axis.optional("type")?.map(|kind| kind.text()).transpose()?,
            };
            let role = Role::of(name.text()?, kind);
            let unknown = || format!("axis {}", quoted(name.text().unwrap_or_default()));
            roles.push(role.ok_or_else(|| name.unsupported(unknown()).with_remedy(remedy::AXES))?);
            names.push(name.text()?.to_owned());
        }
        let listed = names.join(", ");
        let axes = Self::of_roles(names, &roles);
        let axes = axes.ok_or_else(|| {
            let remedy = if is_plane(listed.split(", ")) { remedy::VOLUME } else { remedy::AXES };
            field.unsupported(format!("an image with the axes {listed}")).with_remedy(remedy)
        })?;
        let mut units = [const { None }; 3];
        for (unit, position) in units.iter_mut().zip(axes.kept) {
            if !elements[position].value.is_string() {
                *unit = elements[position].optional("unit")?;
            }
        }
        let mut stated = [None; 3];
        for (stated, unit) in stated.iter_mut().zip(&units) {
            *stated = unit.as_ref().map(JsonField::text).transpose()?;
        }
        Ok((axes, Units::named(stated)))
    }

    /// Their names, for people.
    pub fn told(&self) -> String {
        self.names.join(", ")
    }

    /// Which of three axes is taken for which, for people.
    pub fn taken(&self) -> String {
        let names = self.kept.map(|axis| self.names.get(axis).map_or("", String::as_str));
        format!("{} are taken to be z, y, x", names.join(", "))
    }

    /// Positions of `z, y, x` among the last three axes, where there are more and these are the last.
    pub fn among_last_three(&self) -> Option<[usize; 3]> {
        let others = self.rank().checked_sub(SHOWN.len())?;
        let [Some(z), Some(y), Some(x)] = self.kept.map(|axis| axis.checked_sub(others)) else { return None };
        Some([z, y, x])
    }

    /// Positions of `z, y, x` among the axes of space alone.
    pub fn among_space(&self) -> [usize; 3] {
        self.kept.map(|axis| self.kept.iter().filter(|other| **other < axis).count())
    }

    /// How many there are.
    pub fn rank(&self) -> usize {
        self.names.len()
    }

    /// The same of which that channel is shown.
    pub fn of_channel(self, channel: Option<u64>) -> Self {
        Axes { channel, ..self }
    }

    /// Position of the axis that counts channels, and which one is shown.
    pub fn channel(&self) -> Option<(usize, u64)> {
        self.channels.zip(self.channel)
    }

    /// Checks that an array read from `file` is a volume with these axes.
    pub fn check(&self, file: &str, array: &ArrayDocument) -> Result<(), SourceError> {
        let (rank, axes) = (array.shape.len(), self.rank());
        if rank != axes {
            let reason = format!("{rank} extents for the {axes} axes {}", self.told());
            return Err(SourceError::malformed(file, "shape", reason));
        }
        for (position, (name, &extent)) in self.names.iter().zip(&array.shape).enumerate() {
            let malformed = |reason: String| Err(SourceError::malformed(file, "shape", reason));
            match self.channel {
                _ if self.kept.contains(&position) => {}
                None if extent == 1 => {}
                Some(channel) if self.channels == Some(position) && channel < extent => {}
                Some(channel) if self.channels == Some(position) => {
                    let last = extent - 1;
                    return malformed(format!(
                        "`channel = {channel}` is asked for, but the last one of {extent} is {last}"
                    ));
                }
                None if self.channels == Some(position) => {
                    let remedy = format!("write `channel = N`, 0 to {}, beside `url` to show one", extent - 1);
                    return malformed(format!("there are {extent} channels; {remedy}"));
                }
                Some(_) if extent == 1 => {}
                _ => {
                    let reason = format!("axis `{name}` of length {extent}");
                    let remedy = if is_moment(name) { remedy::MOMENTS } else { remedy::VOLUME };
                    return Err(SourceError::unsupported(file, "shape", reason).with_remedy(remedy));
                }
            }
        }
        match self.channel {
            Some(1..) if self.channels.is_none() => Err(SourceError::malformed(
                file,
                "shape",
                "a channel is asked for by number, but no axis counts channels",
            )),
            _ => Ok(()),
        }
    }

    /// Picks the entries of `z, y, x`.
    pub fn pick<T: Copy>(&self, values: &[T]) -> [T; 3] {
        self.kept.map(|axis| values[axis])
    }
}

/// Whether an axis counts moments, by its name as it is or as a message has it.
fn is_moment(name: &str) -> bool {
    matches!(name.trim_matches('`').to_lowercase().as_str(), "t" | "time")
}

/// What to do with an array of axes of these names.
fn remedy_of(names: &[String]) -> &'static str {
    match names.iter().any(|name| is_moment(name)) {
        true => remedy::MOMENTS,
        false if is_plane(names.iter().map(|name| name.trim_matches('`'))) => remedy::VOLUME,
        false => remedy::AXES,
    }
}

/// Whether axes of these names are those of a plane, and of channels or moments.
fn is_plane<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let roles: Option<Vec<Role>> = names.map(|name| Role::of(name, None)).collect();
    let shown = |roles: Vec<Role>| -> Vec<usize> {
        roles.iter().filter_map(|role| if let Role::Space(shown) = role { Some(*shown) } else { None }).collect()
    };
    matches!(roles.map(shown).as_deref(), Some([first, second]) if first != second)
}

/// The name of an axis in lower case; `None` where it is none, or the number that writers give to an axis without name.
fn stated(element: &JsonField) -> Result<Option<String>, SourceError> {
    if element.value.is_null() {
        return Ok(None);
    }
    let name = element.text()?.to_lowercase();
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    // xarray and funlib number axes without names; funlib marks those that are none of space.
    let mut numbers = ["dim_", "d"].into_iter().filter_map(|start| name.strip_prefix(start));
    let is_numbered = numbers.any(|digits| !digits.is_empty() && is_number(digits));
    let is_channel = name.strip_prefix('c').and_then(|rest| rest.strip_suffix('^')).is_some_and(is_number);
    let name = if is_channel { "c".to_owned() } else { name };
    Ok(Some(name).filter(|name| !name.is_empty() && !is_numbered))
}
