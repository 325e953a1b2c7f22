//! The axes of arrays: which of them are `z, y, x`, and in which units their lengths are.

use super::array::{ArrayDocument, MAX_RANK};
use super::json::{Field, brief, quoted};
use crate::length::Unit;
use crate::source::SourceError;

/// The axes that are shown, in the order in which they are.
const SHOWN: [&str; 3] = ["z", "y", "x"];

/// Which axes of an array are `z, y, x`. All others are `t` or `c`, and must have length 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    names: Vec<String>,
    /// Positions of `z, y, x`, ascending.
    pub kept: [usize; 3],
}

/// The units of lengths along `z, y, x`, or why they are not known.
pub(super) type Units = Result<[Unit; 3], String>;

impl Axes {
    /// The axes of an array that says nothing of them.
    pub fn zyx() -> Self {
        Axes { names: SHOWN.map(str::to_owned).to_vec(), kept: [0, 1, 2] }
    }

    /// The axes of an array of N5, of which the last three are `z, y, x` and the others are rather not there.
    pub fn of_rank(rank: usize) -> Option<Self> {
        let others = 2usize.checked_sub(rank.checked_sub(SHOWN.len())?)?;
        Self::named(["t", "c"].into_iter().skip(others).chain(SHOWN).map(str::to_owned).collect())
    }

    /// Axes of these names; `None` unless they are `z, y, x` in this order among any `t` and `c`.
    fn named(names: Vec<String>) -> Option<Self> {
        let is_shown = |name: &str| SHOWN.contains(&name);
        let positions: Vec<usize> = (0..names.len()).filter(|&position| is_shown(&names[position])).collect();
        let kept = <[usize; 3]>::try_from(positions).ok()?;
        let in_order = kept.map(|position| names[position].as_str()) == SHOWN;
        let known = names.iter().all(|name| is_shown(name) || matches!(name.as_str(), "t" | "c"));
        (in_order && known).then_some(Axes { names, kept })
    }

    /// Reads the axes of a lone array from the names in the member `member`. Where that is missing, or a name says
    /// nothing, the last three axes are `z, y, x`.
    pub fn of_array(document: &Field, member: &str) -> Result<Self, SourceError> {
        let Some(field) = document.optional(member)? else {
            return Ok(Self::zyx());
        };
        let elements = field.elements(MAX_RANK)?;
        let mut names = Vec::new();
        for (position, element) in elements.iter().enumerate() {
            let assumed = (position + SHOWN.len()).checked_sub(elements.len()).map_or("", |shown| SHOWN[shown]);
            names.push(stated(element)?.unwrap_or_else(|| assumed.to_owned()));
        }
        Self::named(names).ok_or_else(|| {
            let names: Vec<String> = elements.iter().map(|element| brief(element.value)).collect();
            field.unsupported(format!("an array with the axes {}", names.join(", ")))
        })
    }

    /// The axes of an image of the first versions of the format.
    pub fn tczyx() -> Self {
        let names = ["t", "c"].into_iter().chain(SHOWN).map(str::to_owned).collect();
        Axes { names, kept: [2, 3, 4] }
    }

    /// Reads those that the `transform` of a level names, as OpenOrganelle has it, and their units.
    pub fn of_transform(transform: &Field) -> Result<(Self, Units), SourceError> {
        let field = transform.member("axes")?;
        let elements = field.elements(MAX_RANK)?;
        let names: Vec<String> =
            elements.iter().map(|name| name.text().map(str::to_ascii_lowercase)).collect::<Result<_, _>>()?;
        let listed = names.join(", ");
        let axes = Self::named(names).ok_or_else(|| field.unsupported(format!("an image with the axes {listed}")))?;
        let Some(stated) = transform.optional("units")? else {
            return Ok((axes, Err("the axes have no unit".to_owned())));
        };
        let stated = stated.elements(MAX_RANK)?;
        let mut units = [Unit::NANOMETRE; 3];
        for (unit, position) in units.iter_mut().zip(axes.kept) {
            let text = match stated.get(position) {
                Some(field) => field.text()?,
                None => return Ok((axes, Err("an axis has no unit".to_owned()))),
            };
            let Some(known) = Unit::named(text) else {
                return Ok((axes, Err(format!("the unit {} is no known length", quoted(text)))));
            };
            *unit = known;
        }
        Ok((axes, Ok(units)))
    }

    /// Reads the axes of an image, and their units. Those of version 0.3 are names alone.
    pub fn of_image(field: &Field) -> Result<(Self, Units), SourceError> {
        let elements = field.elements(MAX_RANK)?;
        let mut names = Vec::new();
        for axis in &elements {
            let name = if axis.value.is_string() { axis.clone() } else { axis.member("name")? };
            match name.text()? {
                known @ ("t" | "c" | "z" | "y" | "x") => names.push(known.to_owned()),
                other => return Err(name.unsupported(format!("axis {}", quoted(other)))),
            }
        }
        let listed = names.join(", ");
        let axes = Self::named(names);
        let axes = axes.ok_or_else(|| field.unsupported(format!("an image with the axes {listed}")))?;
        let mut units = [Unit::NANOMETRE; 3];
        for (unit, position) in units.iter_mut().zip(axes.kept) {
            let stated = match elements[position].value.is_string() {
                true => None,
                false => elements[position].optional("unit")?,
            };
            let Some(stated) = stated else {
                return Ok((axes, Err("the axes have no unit".to_owned())));
            };
            let Some(known) = Unit::named(stated.text()?) else {
                return Ok((axes, Err(format!("the unit {} is no known length", quoted(stated.text()?)))));
            };
            *unit = known;
        }
        Ok((axes, Ok(units)))
    }

    /// How many there are.
    pub fn rank(&self) -> usize {
        self.names.len()
    }

    /// Checks that an array read from `file` is a volume with these axes.
    pub fn check(&self, file: &str, array: &ArrayDocument) -> Result<(), SourceError> {
        let (rank, axes) = (array.shape.len(), self.rank());
        if rank != axes {
            let reason = format!("{rank} extents for the {axes} axes {}", self.names.join(", "));
            return Err(SourceError::malformed(file, "shape", reason));
        }
        for (position, (name, &extent)) in self.names.iter().zip(&array.shape).enumerate() {
            if extent != 1 && !self.kept.contains(&position) {
                return Err(SourceError::unsupported(file, "shape", format!("axis `{name}` of length {extent}")));
            }
        }
        Ok(())
    }

    /// Picks the entries of `z, y, x`.
    pub fn pick<T: Copy>(&self, values: &[T]) -> [T; 3] {
        self.kept.map(|axis| values[axis])
    }
}

/// The name of an axis in lower case; `None` where it is none, or the number that writers give to an axis without name.
fn stated(element: &Field) -> Result<Option<String>, SourceError> {
    if element.value.is_null() {
        return Ok(None);
    }
    let name = element.text()?.to_lowercase();
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    Ok(Some(name).filter(|name| !name.is_empty() && !name.strip_prefix("dim_").is_some_and(is_number)))
}
