//! Where levels lie: scalings and translations as documents list them, along `z, y, x`.

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
        let positions = match self.axes {
            None => match elements.len().checked_sub(3) {
                Some(first) => [first, first + 1, first + 2],
                None => return Err(wrong(3)),
            },
            Some(axes) if axes.rank() == elements.len() => axes.kept,
            Some(axes) => {
                let among = (elements.len() == 3).then(|| axes.among_last_three()).flatten();
                let positions = among.ok_or_else(|| wrong(axes.rank()))?;
                let told = axes.told();
                self.note =
                    Some(format!("its lists have 3 numbers for the axes {told}, taken for those of the last three"));
                positions
            }
        };
        let mut numbers = [0.0; 3];
        for (number, position) in numbers.iter_mut().zip(positions) {
            *number = elements.get(position).map_or_else(|| Err(wrong(3)), JsonField::finite)?;
        }
        Ok(numbers)
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
        let mut all = Transform::IDENTITY;
        for transformation in list.elements(MAX_TRANSFORMATIONS)? {
            let kind = transformation.member("type")?;
            let mut next = Transform::IDENTITY;
            match kind.text()? {
                "identity" => {}
                "scale" => next.scale = numbers.sizes(&transformation.member("scale")?)?,
                "translation" => next.translation = numbers.read(&transformation.member("translation")?)?,
                other => {
                    return Err(kind
                        .unsupported(format!("transformation {}", quoted(other)))
                        .with_remedy(remedy::TRANSFORMATION));
                }
            }
            all = all.then(&next);
        }
        Ok(all)
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
