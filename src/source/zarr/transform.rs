//! Where levels lie: scalings and translations as documents list them, along `z, y, x`.

use serde_json::Value;

use super::array::MAX_RANK;
use super::axes::Axes;
use super::json::{JsonField, quoted};
use crate::source::{SourceError, remedy};

/// Transformations in one list; the format has two, more are composed all the same.
const MAX_TRANSFORMATIONS: usize = 16;

/// A scaling followed by a translation, along `z, y, x`: nothing is shown of the other axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Transform {
    pub scale: [f64; 3],
    pub translation: [f64; 3],
}

/// Which of the numbers in a list are those of `z, y, x`.
pub(super) struct Numbers<'a> {
    /// The axes that the image names; `None` where it names none and the last three are `z, y, x`.
    pub axes: Option<&'a Axes>,
    /// How a list was read that has other numbers than the image has axes.
    pub note: Option<String>,
}

impl Numbers<'_> {
    /// Reads the numbers along `z, y, x`.
    pub fn read(&mut self, field: &JsonField) -> Result<[f64; 3], SourceError> {
        let elements = field.elements(MAX_RANK)?;
        let wrong = |axes: usize| field.malformed(format!("{} numbers for {axes} axes", elements.len()));
        let positions = self.positions(elements.len()).map_err(wrong)?;
        let mut numbers = [0.0; 3];
        for (number, position) in numbers.iter_mut().zip(positions) {
            *number = elements.get(position).map_or_else(|| Err(wrong(3)), JsonField::finite)?;
        }
        Ok(numbers)
    }

    /// Which of `count` numbers are those of `z, y, x`; an error says of how many axes there should be some.
    fn positions(&mut self, count: usize) -> Result<[usize; 3], usize> {
        match self.axes {
            None => count.checked_sub(3).map(|first| [first, first + 1, first + 2]).ok_or(3usize),
            Some(axes) if axes.rank() == count => Ok(axes.kept),
            Some(axes) => {
                let among = (count == 3).then(|| axes.among_last_three()).flatten();
                let positions = among.ok_or_else(|| axes.rank())?;
                let told = axes.told();
                self.note =
                    Some(format!("its lists have 3 numbers for the axes {told}, taken for those of the last three"));
                Ok(positions)
            }
        }
    }

    /// The same of sizes.
    pub fn sizes(&mut self, field: &JsonField) -> Result<[f64; 3], SourceError> {
        field.above_zero(self.read(field)?)
    }
}

impl Transform {
    /// One that leaves all where it is.
    pub const IDENTITY: Transform = Transform { scale: [1.0; 3], translation: [0.0; 3] };

    /// Reads the transformations of a document, applied in their order.
    pub fn of_list(list: &JsonField, numbers: &mut Numbers) -> Result<Transform, SourceError> {
        Self::in_turn(&list.elements(MAX_TRANSFORMATIONS)?, numbers)
    }

    /// The same of an image's own list, and what was taken for granted: those of SpatialData lead to several systems of
    /// coordinates, and are no steps of one way.
    pub fn of_image(list: &JsonField, numbers: &mut Numbers) -> Result<(Transform, Option<String>), SourceError> {
        const WHOLE: &str = "global";
        let all = list.elements(MAX_TRANSFORMATIONS)?;
        let names =
            |member: &str| -> Vec<Option<&str>> { all.iter().map(|one| system(one.value.get(member)?)).collect() };
        let (inputs, outputs) = (names("input"), names("output"));
        let is_choice = outputs.iter().all(Option::is_some)
            && outputs.iter().any(|output| *output != outputs[0])
            && inputs.iter().all(|input| *input == inputs[0]);
        if !is_choice {
            return Self::or_own(&all, outputs.last().copied().flatten(), numbers, None);
        }
        let chosen = outputs.iter().position(|output| *output == Some(WHOLE)).unwrap_or(0);
        let listed: Vec<String> = outputs.iter().flatten().map(|output| quoted(output)).collect();
        let note = format!(
            "the image has a place in each of the systems {}, of which that in {} is shown",
            listed.join(", "),
            listed[chosen]
        );
        Self::or_own(&all[chosen..=chosen], outputs[chosen], numbers, Some(note))
    }

    /// Those that lead from the image to a system of coordinates that has a name; where they are no scaling and translation, the
    /// image is shown where its levels have it in its own system.
    fn or_own(
        transformations: &[JsonField],
        system: Option<&str>,
        numbers: &mut Numbers,
        note: Option<String>,
    ) -> Result<(Transform, Option<String>), SourceError> {
        match (Self::in_turn(transformations, numbers), system) {
            (Err(error @ SourceError::Unsupported { .. }), Some(system)) => {
                let note = format!("shown in its own coordinates, not in those of {}: {error}", quoted(system));
                Ok((Transform::IDENTITY, Some(note)))
            }
            (transform, _) => Ok((transform?, note)),
        }
    }

    fn in_turn(transformations: &[JsonField], numbers: &mut Numbers) -> Result<Transform, SourceError> {
        let mut all = Transform::IDENTITY;
        for transformation in transformations {
            let kind = transformation.member("type")?;
            let unread = |other: &str| {
                kind.unsupported(format!("transformation {}", quoted(other))).with_remedy(remedy::TRANSFORMATION)
            };
            let mut next = Transform::IDENTITY;
            match kind.text()? {
                "identity" => {}
                "scale" => next.scale = numbers.sizes(&transformation.member("scale")?)?,
                "translation" => next.translation = numbers.read(&transformation.member("translation")?)?,
                "sequence" => {
                    // Documents are not nested deep.
                    let parts = transformation.optional("transformations")?.ok_or_else(|| unread("sequence"))?;
                    next = Self::in_turn(&parts.elements(MAX_TRANSFORMATIONS)?, numbers)?;
                }
                "affine" => {
                    let matrix = transformation.optional("affine")?.filter(|_| has_axes_in_place(transformation));
                    let read = matrix.map(|matrix| Self::of_matrix(&matrix, numbers)).transpose()?;
                    next = read.flatten().ok_or_else(|| unread("affine"))?;
                }
                other => return Err(unread(other)),
            }
            all = all.then(&next);
        }
        Ok(all)
    }

    /// Reads a matrix that has a row per axis, with the translation at its end; `None` where it turns, mirrors or shears what is
    /// shown.
    fn of_matrix(matrix: &JsonField, numbers: &mut Numbers) -> Result<Option<Transform>, SourceError> {
        let rows = matrix.elements(MAX_RANK)?;
        let wrong = |axes: usize| matrix.malformed(format!("{} rows for {axes} axes", rows.len()));
        let positions = numbers.positions(rows.len()).map_err(wrong)?;
        let mut all = Transform::IDENTITY;
        for (axis, position) in positions.into_iter().enumerate() {
            let row = rows.get(position).ok_or_else(|| wrong(positions.len()))?.numbers(rows.len() + 1)?;
            let is_other = |(column, number): (usize, &f64)| column != position && *number != 0.0;
            let (Some(translation), Some(scale)) = (row.last(), row.get(position)) else { return Ok(None) };
            if *scale <= 0.0 || row.iter().take(rows.len()).enumerate().any(is_other) {
                return Ok(None);
            }
            (all.scale[axis], all.translation[axis]) = (*scale, *translation);
        }
        Ok(Some(all))
    }

    /// Reads the `transform` of a level or an array as OpenOrganelle writes it.
    pub fn of_own(own: &JsonField, numbers: &mut Numbers) -> Result<Transform, SourceError> {
        let scale = numbers.sizes(&own.member("scale")?)?;
        let translation = own.optional("translate")?.map(|field| numbers.read(&field)).transpose()?;
        Ok(Transform { scale, translation: translation.unwrap_or_default() })
    }

    /// This one and then `outer`.
    pub fn then(&self, outer: &Transform) -> Transform {
        let moved = |axis: usize| self.translation[axis] * outer.scale[axis] + outer.translation[axis];
        Transform {
            scale: std::array::from_fn(|axis| self.scale[axis] * outer.scale[axis]),
            translation: std::array::from_fn(moved),
        }
    }
}

/// The name of a system of coordinates, which is written alone or with its axes.
fn system(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("name")?.as_str())
}

/// Whether the axes are the same ones in the same order on both sides, as far as they are named.
fn has_axes_in_place(transformation: &JsonField) -> bool {
    let names = |side: &str| -> Option<Vec<Option<&str>>> {
        let axes = transformation.value.get(side)?.get("axes")?.as_array()?;
        Some(axes.iter().map(|axis| axis.get("name").and_then(Value::as_str)).collect())
    };
    names("input").zip(names("output")).is_none_or(|(input, output)| input == output)
}

#[cfg(test)]
#[path = "transform/tests.rs"]
mod tests;
